//! Rows as the bytes of a Parquet file: the relation's columns, `_epoch` and `_diff`.
//!
//! Parquet has no interval of ours and no jsonb: those columns are text as PostgreSQL writes it. Summed by `_diff` the rows of a manifest's
//! files are the relation.

use crate::{error::Fault, rows::conform};
use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use regauge_plan::functions::cast::text_column;
use regauge_types::Delta;
use std::sync::Arc;

/// The epoch of a row.
pub const EPOCH: &str = "_epoch";
/// How often it came (below zero: went).
pub const DIFF: &str = "_diff";

fn fault(error: impl std::fmt::Display) -> Fault {
    Fault::Hopeless(format!("rows have no form in Parquet: {error}"))
}

/// How a column is stored.
fn stored(ty: &DataType) -> DataType {
    match ty {
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Interval(_) => DataType::Utf8,
        DataType::Decimal128(_, scale) if *scale < 0 => DataType::Utf8,
        DataType::List(item) if stored(item.data_type()) != *item.data_type() => DataType::Utf8,
        other => other.clone(),
    }
}

/// A file on its way.
pub struct Writer {
    relation: SchemaRef,
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
    n_rows: u64,
}

impl Writer {
    /// Of a relation's rows.
    pub fn new(relation: &SchemaRef) -> Result<Writer, Fault> {
        let mut fields: Vec<Field> =
            relation.fields().iter().map(|f| Field::new(f.name(), stored(f.data_type()), true)).collect();
        fields.push(Field::new(EPOCH, DataType::Int64, false));
        fields.push(Field::new(DIFF, DataType::Int64, false));
        let schema = Arc::new(Schema::new(fields));
        let level = ZstdLevel::try_new(3).map_err(fault)?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        let writer = ArrowWriter::try_new(vec![], schema.clone(), Some(properties)).map_err(fault)?;
        Ok(Writer { relation: relation.clone(), schema, writer, n_rows: 0 })
    }

    /// Rows of one epoch.
    pub fn push(&mut self, epoch: u64, delta: &Delta) -> Result<(), Fault> {
        let rows = conform(&delta.rows, &self.relation)?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for (column, field) in rows.columns().iter().zip(self.schema.fields()) {
            columns.push(match (column.data_type(), field.data_type()) {
                (from, to) if from == to => column.clone(),
                (_, DataType::Utf8) => text_column(column).map_err(fault)?,
                (_, to) => cast(column, to).map_err(fault)?,
            });
        }
        let epoch = i64::try_from(epoch).map_err(fault)?;
        columns.push(Arc::new(Int64Array::from_value(epoch, delta.n_rows())));
        columns.push(Arc::new(delta.diffs_array()));
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(fault)?;
        self.writer.write(&batch).map_err(fault)?;
        self.n_rows += delta.n_rows() as u64;
        Ok(())
    }

    /// How many rows it has.
    #[must_use]
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// The file's bytes.
    pub fn finish(self) -> Result<Vec<u8>, Fault> {
        self.writer.into_inner().map_err(fault)
    }
}
