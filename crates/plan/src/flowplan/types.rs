//! The SQL types a plan may carry, and their names. One place decides what is supported.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use regauge_types::arrays::{DIMS_MAX, depth, leaf};

/// A HOP whose row would have more windows than this is refused.
pub const MAX_HOP_WINDOWS: i64 = 10_000;

/// May a plan's column have this type? Lists only of supported scalars, in as many dimensions as arrays have.
pub fn is_supported(ty: &DataType) -> bool {
    depth(ty) <= DIMS_MAX && is_supported_scalar(leaf(ty))
}

fn is_supported_scalar(ty: &DataType) -> bool {
    match ty {
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::FixedSizeBinary(16)
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Date32
        | DataType::Time64(TimeUnit::Microsecond)
        | DataType::Timestamp(TimeUnit::Microsecond, None)
        | DataType::Interval(IntervalUnit::MonthDayNano) => true,
        DataType::Timestamp(TimeUnit::Microsecond, Some(tz)) => tz.as_ref() == "UTC",
        DataType::Decimal128(p, s) => (1..=38).contains(p) && *s >= 0 && u8::try_from(*s).is_ok_and(|s| s <= *p),
        _ => false,
    }
}

/// PostgreSQL's name of the type, for messages, DESCRIBE and EXPLAIN.
pub fn sql_name(ty: &DataType) -> String {
    match ty {
        DataType::Boolean => "boolean".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Utf8 => "text".into(),
        DataType::Binary => "bytea".into(),
        DataType::FixedSizeBinary(16) => "uuid".into(),
        DataType::LargeUtf8 => "jsonb".into(),
        DataType::Utf8View => "json".into(),
        DataType::Date32 => "date".into(),
        DataType::Time64(_) => "time".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".into(),
        DataType::Interval(_) => "interval".into(),
        DataType::Decimal128(p, s) => format!("numeric({p},{s})"),
        DataType::List(item) => format!("{}[]", sql_name(item.data_type())),
        DataType::Null => "unknown".into(),
        other => other.to_string().to_lowercase(),
    }
}
