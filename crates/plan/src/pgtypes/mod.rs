//! SQL types, their Arrow types, and PostgreSQL's text form of their values, in and out.
//!
//! `parse_text` is PostgreSQL's input function of a type (its rules, its SQLSTATEs), `format_text` its output function
//! with `DateStyle = ISO`, `IntervalStyle = postgres` and `extra_float_digits = 1`. The time zone of `timestamptz` is [`crate::local::here`].
//! `text` is Utf8 and nothing else: LargeUtf8 is jsonb, Utf8View json, FixedSizeBinary(16) uuid.
//! Not here: `NaN` of numeric (a Decimal128 has none), `now` and `today` as dates.
//! A numeric without precision is Decimal128(38,16); its text keeps all 16 digits.

pub mod calendar;
pub(crate) mod format;
pub mod interval;
pub mod json;
mod moment;
pub(crate) mod parse;
pub mod uuid;

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

pub use format::{float4_text, float8_text, format_text, write_value};
pub use interval::{format_interval, parse_interval};
pub use parse::{parse_bool, parse_decimal, parse_float8, parse_int, parse_text};

use crate::functions::error::EvalError;

/// Scale of a numeric without one.
pub const NUMERIC_SCALE: i8 = 16;
/// Precision of every numeric result.
pub const NUMERIC_PRECISION: u8 = 38;

/// numeric without precision.
pub fn numeric() -> DataType {
    DataType::Decimal128(NUMERIC_PRECISION, NUMERIC_SCALE)
}

/// timestamp without time zone.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// timestamp with time zone.
pub fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// interval.
pub fn interval() -> DataType {
    DataType::Interval(IntervalUnit::MonthDayNano)
}

/// time without time zone.
pub fn time() -> DataType {
    DataType::Time64(TimeUnit::Microsecond)
}

/// uuid: its 16 bytes.
pub fn uuid() -> DataType {
    DataType::FixedSizeBinary(16)
}

/// jsonb: its canonical text, as PostgreSQL prints it.
pub fn jsonb() -> DataType {
    DataType::LargeUtf8
}

/// json: the text that was written.
pub fn json() -> DataType {
    DataType::Utf8View
}

/// An array of this element type.
pub fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(arrow::datatypes::Field::new_list_field(item, true)))
}

/// PostgreSQL's name of the type, as `format_type` gives it (numeric without its precision); Arrow's own name for a type that
/// SQL here does not have.
pub fn type_name(ty: &DataType) -> String {
    match ty {
        DataType::Boolean => "boolean",
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal128(..) => "numeric",
        DataType::Utf8 => "text",
        DataType::LargeUtf8 => "jsonb",
        DataType::Utf8View => "json",
        DataType::FixedSizeBinary(16) => "uuid",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea",
        DataType::Date32 => "date",
        DataType::Time64(_) => "time without time zone",
        DataType::Timestamp(_, None) => "timestamp without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Interval(_) => "interval",
        DataType::Null => "unknown",
        // of any number of dimensions
        DataType::List(_) => return format!("{}[]", type_name(regauge_types::arrays::leaf(ty))),
        DataType::LargeList(item) => return format!("{}[]", type_name(item.data_type())),
        other => return other.to_string(),
    }
    .to_string()
}

/// The Arrow type of a SQL type's name (lowercase, without modifiers other than those given).
///
/// # Errors
/// 42704 for a name that is not supported, 22023 for a precision or scale that Decimal128 cannot hold.
pub fn type_by_name(name: &str, modifiers: &[i64]) -> Result<DataType, EvalError> {
    Ok(match name {
        "bool" | "boolean" => DataType::Boolean,
        "int2" | "smallint" => DataType::Int16,
        "int" | "int4" | "integer" => DataType::Int32,
        "int8" | "bigint" => DataType::Int64,
        "float4" | "real" => DataType::Float32,
        "float8" | "double precision" | "float" | "double" => DataType::Float64,
        "text" | "varchar" | "character varying" | "name" => DataType::Utf8,
        "bytea" => DataType::Binary,
        "uuid" => uuid(),
        "jsonb" => jsonb(),
        "json" => json(),
        "date" => DataType::Date32,
        "time" | "time without time zone" => time(),
        "timestamp" | "timestamp without time zone" => timestamp(),
        "timestamptz" | "timestamp with time zone" => timestamptz(),
        "interval" => interval(),
        "numeric" | "decimal" => match modifiers {
            [] => numeric(),
            [precision, rest @ ..] => {
                let scale = rest.first().copied().unwrap_or(0);
                let bad =
                    || EvalError::new("22023", format!("NUMERIC precision and scale not supported here: {precision}, {scale}"));
                match (u8::try_from(*precision), i8::try_from(scale)) {
                    (Ok(p @ 1..=38), Ok(s)) if s >= 0 && i64::from(s) <= *precision => DataType::Decimal128(p, s),
                    _ => return Err(bad()),
                }
            }
        },
        other => return Err(EvalError::new("42704", format!("type \"{other}\" does not exist"))),
    })
}
