//! Rows as JSON arrays.
//!
//! What a double holds exactly is a number: boolean aside, smallint, integer, real, double precision, and bigint within ±(2^53 - 1).
//! Everything else is a string in PostgreSQL's text form: bigint beyond that, numeric always, NaN and infinities, dates and times,
//! intervals, bytea as `\x..`. Arrays are arrays, json and jsonb stand as the JSON they are. So no reader loses a digit, whatever its numbers are made of.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNanoType, IntervalUnit, Schema, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    },
    util::display::{ArrayFormatter, FormatOptions},
};
use regauge_views::{
    Datum, Value,
    catalog::ty,
    pgtypes::{float4_text, float8_text, write_value},
};
use serde_json::{Value as Json, json};
use std::fmt::Write;

/// The greatest integer up to which a double holds every one.
const EXACT_MAX: i64 = (1 << 53) - 1;

/// Names and types of columns.
pub(super) fn columns(schema: &Schema) -> Json {
    schema.fields().iter().map(|f| json!({ "name": f.name(), "type": type_name(f.data_type()) })).collect()
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "text".to_owned(),
        DataType::UInt64 | DataType::UInt32 => "bigint".to_owned(),
        other => ty::name(other),
    }
}

/// Appends a row as an array.
pub(super) fn write_row(out: &mut String, batch: &RecordBatch, row: usize) {
    out.push('[');
    for (at, column) in batch.columns().iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_cell(out, column, row);
    }
    out.push(']');
}

fn write_cell(out: &mut String, column: &ArrayRef, row: usize) {
    if column.is_null(row) || column.data_type() == &DataType::Null {
        out.push_str("null");
        return;
    }
    let datum = match column.data_type() {
        DataType::Boolean => {
            out.push_str(if column.as_boolean().value(row) { "true" } else { "false" });
            return;
        }
        DataType::Int16 => return number(out, column.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => return number(out, column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => {
            let value = column.as_primitive::<Int64Type>().value(row);
            return if (-EXACT_MAX..=EXACT_MAX).contains(&value) { number(out, value) } else { string(out, &value.to_string()) };
        }
        DataType::Float32 => {
            let value = column.as_primitive::<Float32Type>().value(row);
            return float(out, value.is_finite(), &float4_text(value));
        }
        DataType::Float64 => {
            let value = column.as_primitive::<Float64Type>().value(row);
            return float(out, value.is_finite(), &float8_text(value));
        }
        DataType::Utf8 => return string(out, column.as_string::<i32>().value(row)),
        // JSON stands as itself; a line holds no line feed
        DataType::Utf8View => return nested(out, column.as_string_view().value(row)),
        DataType::LargeUtf8 => return nested(out, column.as_string::<i64>().value(row)),
        DataType::FixedSizeBinary(16) => Datum::Bytes(column.as_fixed_size_binary().value(row).to_vec()),
        DataType::List(_) => return list(out, &column.as_list::<i32>().value(row)),
        DataType::Decimal128(..) => Datum::Decimal(column.as_primitive::<Decimal128Type>().value(row)),
        DataType::Binary => Datum::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        DataType::Date32 => Datum::Date(column.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => Datum::Time(column.as_primitive::<Time64MicrosecondType>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Datum::Timestamp(column.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = column.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Datum::Interval { months: value.months, days: value.days, nanos: value.nanoseconds }
        }
        _ => return other(out, column, row),
    };
    let mut text = String::new();
    write_value(&mut text, &Value { ty: column.data_type().clone(), datum });
    string(out, &text);
}

/// JSON as it is written; between its tokens a line feed is a blank.
fn nested(out: &mut String, text: &str) {
    out.extend(text.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
}

fn number(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

fn float(out: &mut String, finite: bool, text: &str) {
    if finite { out.push_str(text) } else { string(out, text) }
}

fn list(out: &mut String, items: &ArrayRef) {
    out.push('[');
    for row in 0..items.len() {
        if row > 0 {
            out.push(',');
        }
        write_cell(out, items, row);
    }
    out.push(']');
}

/// A type without a text form of PostgreSQL's: Arrow's.
fn other(out: &mut String, column: &ArrayRef, row: usize) {
    let options = FormatOptions::default();
    let text = ArrayFormatter::try_new(column.as_ref(), &options).map(|f| f.value(row).to_string());
    string(out, &text.unwrap_or_default());
}

/// Appends a JSON string.
pub(super) fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{Decimal128Array, Float64Array, Int64Array, StringArray},
        datatypes::Field,
    };
    use std::sync::Arc;

    #[test]
    fn no_digit_is_lost_and_the_row_is_json() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![EXACT_MAX, i64::MAX])),
            Arc::new(Float64Array::from(vec![0.1, f64::NAN])),
            Arc::new(Decimal128Array::from(vec![1234, -5]).with_precision_and_scale(38, 2).unwrap()),
            Arc::new(StringArray::from(vec![Some("a\"\\\u{1}\n"), None])),
        ];
        let fields: Vec<Field> =
            columns.iter().enumerate().map(|(i, c)| Field::new(format!("c{i}"), c.data_type().clone(), true)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let row = |at| {
            let mut out = String::new();
            write_row(&mut out, &batch, at);
            serde_json::from_str::<Json>(&out).unwrap()
        };
        assert_eq!(row(0), json!([9_007_199_254_740_991_i64, 0.1, "12.34", "a\"\\\u{1}\n"]));
        assert_eq!(row(1), json!(["9223372036854775807", "NaN", "-0.05", null]));
    }
}
