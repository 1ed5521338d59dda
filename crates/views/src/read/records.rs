//! The records of a stream as a query sees them: its columns out of a scan of the log, system columns by their names, watermark records
//! left out.

use super::{Reading, relation::SYSTEM_COLUMNS};
use crate::event_time::layout;
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions},
    compute::{cast, filter_record_batch, is_null},
    datatypes::{DataType, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
};
use datafusion::common::{Result, exec_datafusion_err};
use regauge_log::ScanColumn;
use regauge_plan::catalog::{LATE, LATE_COLUMN};
use regauge_types::{COLUMN_ID_KEY, ColumnId, Hlc, TopicId};
use std::sync::Arc;

/// What a scan brings, and where each column of the output is in it.
pub struct Records {
    /// To be scanned.
    pub columns: Vec<ScanColumn>,
    /// None for lateness in a stream without a watermark.
    places: Vec<Option<usize>>,
    /// The last column tells watermark records.
    marked: bool,
}

impl Records {
    /// Of a stream, in these columns.
    pub fn new(reading: &Reading, topic: TopicId, output: &Schema) -> Result<Records> {
        let spec = reading.log.topics().into_iter().find(|t| t.id == topic);
        let spec = spec.ok_or_else(|| exec_datafusion_err!("stream is gone topic={topic}"))?;
        let has = |id: ColumnId| {
            let id = id.0.to_string();
            spec.schema.fields().iter().any(|f| f.metadata().get(COLUMN_ID_KEY) == Some(&id))
        };
        let (mut columns, mut places) = (vec![], vec![]);
        for field in output.fields() {
            let column = match field.name().as_str() {
                "_offset" => ScanColumn::Offset,
                "_partition" => ScanColumn::Partition,
                "_commit_ts" => ScanColumn::CommitTs,
                "_schema" => ScanColumn::Schema,
                LATE if !has(LATE_COLUMN) => {
                    places.push(None);
                    continue;
                }
                LATE => ScanColumn::User(LATE_COLUMN),
                name => {
                    let id = spec.schema.field_with_name(name)?.metadata().get(COLUMN_ID_KEY).and_then(|id| id.parse().ok());
                    let id = id.ok_or_else(|| exec_datafusion_err!("column has no id column={name}"))?;
                    ScanColumn::User(ColumnId(id))
                }
            };
            places.push(Some(columns.len()));
            columns.push(column);
        }
        let marked = has(layout::CARRIED_COLUMN);
        columns.extend(marked.then_some(ScanColumn::User(layout::CARRIED_COLUMN)));
        Ok(Records { columns, places, marked })
    }

    /// A batch of the scan as the plan declares it.
    pub fn rows(&self, batch: &RecordBatch, output: &SchemaRef) -> Result<RecordBatch> {
        let carried = batch.columns().last().filter(|c| self.marked && c.null_count() < c.len());
        let batch = match carried {
            Some(carried) => filter_record_batch(batch, &is_null(carried)?)?,
            None => batch.clone(),
        };
        let n = batch.num_rows();
        let column = |(place, field): (&Option<usize>, &arrow::datatypes::FieldRef)| match place {
            None => Ok(Arc::new(BooleanArray::from(vec![false; n])) as ArrayRef),
            Some(at) => conform(batch.column(*at), field.name(), field.data_type()),
        };
        let columns = self.places.iter().zip(output.fields()).map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(n));
        Ok(RecordBatch::try_new_with_options(output.clone(), columns, &options)?)
    }
}

/// A system column from the log's own type.
fn conform(column: &ArrayRef, name: &str, ty: &DataType) -> Result<ArrayRef> {
    match (name, column.data_type()) {
        (LATE, DataType::Boolean) => Ok(layout::told(column.as_boolean())),
        (_, same) if same == ty => Ok(column.clone()),
        // A commit's clock is 48 bits of milliseconds and 16 of counter: the milliseconds as timestamptz.
        ("_commit_ts", DataType::Int64) => {
            let us = column.as_primitive::<Int64Type>().unary::<_, TimestampMicrosecondType>(|hlc| {
                i64::try_from(Hlc(hlc.cast_unsigned()).ms()).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
            });
            Ok(Arc::new(us.with_timezone("UTC")))
        }
        _ => Ok(cast(column, ty)?),
    }
}

/// Whether a text names one of the system columns, as a word of its own.
pub fn names_system_column(text: &str) -> bool {
    SYSTEM_COLUMNS.iter().any(|column| regauge_plan::catalog::mentions(text, column))
}
