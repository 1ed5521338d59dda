//! How the records of a stream with a watermark lie in its topic.
//!
//! ```text
//!   the user's columns ..   _late: boolean    _watermark: as the time column
//!   a record                false or true     NULL
//!   a watermark record      NULL              the watermark; all else is NULL, and nobody is shown it
//! ```
//! Records of a topic that was made before it had these columns have NULL in them: they are not late. Ids of the two have the
//! highest bit set, which no user's column has.

use crate::{
    catalog::{self, Kind, Relation, schema_of},
    error::{Error, Result},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{filter_record_batch, is_null},
    datatypes::{DataType, Schema, SchemaRef, TimestampMicrosecondType},
    error::ArrowError,
};
use regauge_plan::catalog::{LATE, LATE_COLUMN};
use regauge_types::{COLUMN_ID_KEY, ColumnId};
use std::sync::Arc;

/// The column that makes a record a watermark.
pub const CARRIED: &str = "_watermark";
/// Its id.
pub const CARRIED_COLUMN: ColumnId = ColumnId(LATE_COLUMN.0 | 1);

/// A stream's event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Position of the time column.
    pub column: usize,
    /// How long after the greatest time a record may come, in microseconds.
    pub delay_us: i64,
}

/// The event time of a stream that has a watermark.
#[must_use]
pub fn clock(relation: &Relation) -> Option<Clock> {
    let Kind::Stream { watermark: Some(watermark), .. } = &relation.kind else { return None };
    let column = relation.columns.iter().position(|c| c.id == watermark.column)?;
    Some(Clock { column, delay_us: watermark.delay_us()? })
}

/// The topic's columns for a stream.
#[must_use]
pub fn topic_schema(relation: &Relation) -> SchemaRef {
    let schema = schema_of(&relation.columns);
    let Some(clock) = clock(relation) else { return schema };
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(catalog::field(LATE, &DataType::Boolean, LATE_COLUMN)));
    fields.push(Arc::new(catalog::field(CARRIED, &relation.columns[clock.column].ty, CARRIED_COLUMN)));
    Arc::new(Schema::new(fields))
}

/// The user's rows as records that are not late as far as their writer can know.
pub fn records(relation: &Relation, rows: RecordBatch) -> Result<RecordBatch> {
    let Some(clock) = clock(relation) else { return Ok(rows) };
    let late: ArrayRef = Arc::new(BooleanArray::from(vec![false; rows.num_rows()]));
    let carried = new_null_array(&relation.columns[clock.column].ty, rows.num_rows());
    let columns = rows.columns().iter().cloned().chain([late, carried]).collect();
    RecordBatch::try_new(topic_schema(relation), columns).map_err(Error::arrow)
}

/// A watermark record; `at` is one value of the time column's type.
pub fn watermark(relation: &Relation, at: ArrayRef) -> Result<RecordBatch> {
    let schema = topic_schema(relation);
    let mut columns: Vec<ArrayRef> = schema.fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
    if let Some(last) = columns.last_mut() {
        *last = at;
    }
    RecordBatch::try_new(schema, columns).map_err(Error::arrow)
}

/// Where a column of a topic's rows is, by id.
fn place(rows: &RecordBatch, id: ColumnId) -> Option<usize> {
    let id = id.0.to_string();
    rows.schema_ref().fields().iter().position(|f| f.metadata().get(COLUMN_ID_KEY) == Some(&id))
}

/// The lateness of a topic's rows, where the topic has it.
#[must_use]
pub fn late(rows: &RecordBatch) -> Option<&BooleanArray> {
    rows.column(place(rows, LATE_COLUMN)?).as_boolean_opt()
}

/// The place and the watermarks that a topic's rows carry, NULL for records.
#[must_use]
pub fn carried(rows: &RecordBatch) -> Option<&arrow::array::PrimitiveArray<TimestampMicrosecondType>> {
    rows.column(place(rows, CARRIED_COLUMN)?).as_primitive_opt()
}

/// A topic's rows without those that carry a watermark.
pub fn without_watermarks(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    match place(rows, CARRIED_COLUMN).map(|at| rows.column(at)) {
        Some(carried) if carried.null_count() < carried.len() => filter_record_batch(rows, &is_null(carried)?),
        _ => Ok(rows.clone()),
    }
}

/// What a scan gave of a topic, in the columns of `schema`; one column more says which rows are no records. Lateness that nobody has
/// decided is false.
pub fn scanned(schema: &SchemaRef, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let n = schema.fields().len();
    let rows = match rows.columns().get(n) {
        Some(carried) if carried.null_count() < carried.len() => filter_record_batch(rows, &is_null(carried)?)?,
        _ => rows.clone(),
    };
    let id = LATE_COLUMN.0.to_string();
    let column = |(column, field): (&ArrayRef, &arrow::datatypes::FieldRef)| {
        let is_late = field.metadata().get(COLUMN_ID_KEY) == Some(&id);
        column.as_boolean_opt().filter(|_| is_late).map_or_else(|| column.clone(), told)
    };
    let columns = rows.columns().iter().zip(schema.fields()).map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// A column of lateness where NULL, from before there was one, is false.
pub fn told(late: &BooleanArray) -> ArrayRef {
    if late.null_count() == 0 {
        return Arc::new(late.clone());
    }
    Arc::new(late.iter().map(|late| Some(late == Some(true))).collect::<BooleanArray>())
}
