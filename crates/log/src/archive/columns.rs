//! How a topic's rows stand in Parquet: the user's columns first, then ours, and what each is stored as.
//!
//! ```text
//! user columns ... | _offset i64 | _lsn i64 | _commit_ts i64 | _cause binary?
//! ```
//!
//! The field's column id stays in its metadata (`regauge.column`). Parquet has no place for an interval of months, days and
//! nanoseconds: it is stored as 16 bytes, marked in the metadata. A user's column that bears the name of one of ours, or
//! of an earlier one, gets its column id behind the name; readers of ours go by position and id.

use crate::error::LogError;
use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, IntervalMonthDayNanoArray},
    buffer::{Buffer, ScalarBuffer},
    datatypes::{DataType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef},
};
use bytes::Bytes;
use regauge_types::{COLUMN_ID_KEY, ColumnId};
use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc};

/// Names of our columns in a segment, in their order after the user's.
pub(crate) const OFFSET: &str = "_offset";
pub(crate) const LSN: &str = "_lsn";
pub(crate) const COMMIT_TS: &str = "_commit_ts";
pub(crate) const CAUSE: &str = "_cause";
/// Constants of a segment, so not stored as columns; named here for scans.
pub(crate) const PARTITION: &str = "_partition";
pub(crate) const SCHEMA: &str = "_schema";

/// How many columns of ours follow the user's.
pub(crate) const N_SYSTEM: usize = 4;

/// Metadata key of a column that is stored as something else.
const STORED_KEY: &str = "regauge.stored";
const STORED_INTERVAL: &str = "interval_month_day_nano";
const INTERVAL_BYTES: i32 = 16;

/// The column id in a field's metadata.
#[must_use]
pub(crate) fn column_id(field: &Field) -> Option<ColumnId> {
    field.metadata().get(COLUMN_ID_KEY)?.parse().ok().map(ColumnId)
}

/// Whether rows of this schema can be archived. The log asks when the schema is defined: later would be too late.
pub fn check_archivable(schema: &Schema) -> Result<(), LogError> {
    for field in schema.fields() {
        if !(is_archivable(field.data_type()) || is_interval(field.data_type())) {
            return Err(LogError::UnsupportedType { column: field.name().clone(), data_type: field.data_type().to_string() });
        }
    }
    Ok(())
}

fn is_interval(ty: &DataType) -> bool {
    matches!(ty, DataType::Interval(IntervalUnit::MonthDayNano))
}

fn is_archivable(ty: &DataType) -> bool {
    use DataType as T;
    match ty {
        T::List(item) | T::LargeList(item) => is_archivable(item.data_type()),
        T::Struct(fields) => !fields.is_empty() && fields.iter().all(|f| is_archivable(f.data_type())),
        T::Null | T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => true,
        T::Float32 | T::Float64 => true,
        // Parquet knows digits behind the point only.
        T::Decimal128(_, scale) | T::Decimal256(_, scale) => *scale >= 0,
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Binary | T::LargeBinary | T::FixedSizeBinary(_) => true,
        T::Date32 | T::Time32(_) | T::Time64(_) | T::Timestamp(_, _) => true,
        _ => false,
    }
}

/// The schema of a segment whose rows have the user's `schema`.
pub(crate) fn stored_schema(schema: &Schema) -> SchemaRef {
    let mut taken: HashSet<String> = [OFFSET, LSN, COMMIT_TS, CAUSE, PARTITION, SCHEMA].map(str::to_owned).into();
    let mut fields: Vec<FieldRef> = Vec::with_capacity(schema.fields().len() + N_SYSTEM);
    for (i, field) in schema.fields().iter().enumerate() {
        let mut name = field.name().clone();
        while !taken.insert(name.clone()) {
            name = format!("{name}#{}", column_id(field).map_or(i, |id| id.0 as usize));
        }
        let mut stored = field.as_ref().clone().with_name(name).with_nullable(true);
        if is_interval(field.data_type()) {
            let mut metadata = stored.metadata().clone();
            metadata.insert(STORED_KEY.to_owned(), STORED_INTERVAL.to_owned());
            stored = stored.with_data_type(DataType::FixedSizeBinary(INTERVAL_BYTES)).with_metadata(metadata);
        }
        fields.push(Arc::new(stored));
    }
    fields.push(Arc::new(Field::new(OFFSET, DataType::Int64, false)));
    fields.push(Arc::new(Field::new(LSN, DataType::Int64, false)));
    fields.push(Arc::new(Field::new(COMMIT_TS, DataType::Int64, false)));
    fields.push(Arc::new(Field::new(CAUSE, DataType::Binary, true)));
    Arc::new(Schema::new(fields))
}

/// A user's column as it is stored.
pub(crate) fn to_stored(column: &ArrayRef) -> ArrayRef {
    let Some(intervals) = column.as_primitive_opt::<IntervalMonthDayNanoType>() else { return Arc::clone(column) };
    let mut bytes = Vec::with_capacity(intervals.len() * 16);
    for value in intervals.values() {
        bytes.extend_from_slice(&value.months.to_le_bytes());
        bytes.extend_from_slice(&value.days.to_le_bytes());
        bytes.extend_from_slice(&value.nanoseconds.to_le_bytes());
    }
    Arc::new(FixedSizeBinaryArray::new(INTERVAL_BYTES, Buffer::from(bytes), intervals.nulls().cloned()))
}

/// A stored column as the user wrote it; the inverse of [`to_stored`]. `None` if the array is not what the field says.
pub(crate) fn from_stored(field: &Field, column: &ArrayRef) -> Option<ArrayRef> {
    if column.data_type() != field.data_type() {
        return None;
    }
    if field.metadata().get(STORED_KEY).is_none_or(|stored| stored != STORED_INTERVAL) {
        return Some(Arc::clone(column));
    }
    let stored = column.as_fixed_size_binary_opt()?;
    let values: Option<Vec<IntervalMonthDayNano>> = (0..stored.len())
        .map(|i| {
            let (months, rest) = stored.value(i).split_first_chunk::<4>()?;
            let (days, rest) = rest.split_first_chunk::<4>()?;
            let nanos = rest.first_chunk::<8>()?;
            Some(IntervalMonthDayNano::new(i32::from_le_bytes(*months), i32::from_le_bytes(*days), i64::from_le_bytes(*nanos)))
        })
        .collect();
    Some(Arc::new(IntervalMonthDayNanoArray::new(ScalarBuffer::from(values?), stored.nulls().cloned())))
}

/// A schema as bytes for the manifest: Arrow's IPC schema message.
pub(crate) fn schema_to_bytes(schema: &Schema) -> Bytes {
    let message = arrow::ipc::convert::IpcSchemaEncoder::new().schema_to_fb(schema);
    Bytes::copy_from_slice(message.finished_data())
}

/// The inverse of [`schema_to_bytes`]. Arrow's decoder may panic on damaged bytes; ours are behind a checksum, and a
/// panic becomes `None` all the same.
#[must_use]
pub fn schema_from_bytes(bytes: &[u8]) -> Option<Schema> {
    std::panic::catch_unwind(AssertUnwindSafe(|| {
        let schema = arrow::ipc::root_as_schema(bytes).ok()?;
        Some(arrow::ipc::convert::fb_to_schema(schema))
    }))
    .ok()
    .flatten()
}
