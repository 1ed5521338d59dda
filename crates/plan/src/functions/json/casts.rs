//! Casts of json and jsonb other than those from and to text: json to jsonb and back, jsonb to numbers and booleans.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};

use super::super::bind::{is_decimal, is_float, is_int, is_json, is_jsonb};
use super::super::error::{EvalError, EvalResult};
use super::super::udf::Args;
use super::{invalid, strict, texts};
use crate::pgtypes::json::canonical;
use crate::pgtypes::json::slice::Kind;
use crate::pgtypes::{parse, type_name};

/// Is there such a cast, and may it fail?
pub(in crate::functions) fn can_fail(from: &DataType, to: &DataType) -> Option<bool> {
    match (from, to) {
        (DataType::LargeUtf8, DataType::Utf8View) => Some(false),
        (f, t) if is_json(f) && is_jsonb(t) => Some(true),
        (f, t) if is_jsonb(f) && (is_int(t) || is_float(t) || is_decimal(t) || *t == DataType::Boolean) => Some(true),
        _ => None,
    }
}

pub(in crate::functions) fn cast(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (of, s) = texts(args, 0)?;
    let ret = args.ret;
    let wrong = |text: &str| invalid(format!("cannot cast jsonb {} to type {}", described(text), type_name(ret)));
    let number = |i: usize| {
        let text = of.value(i * s);
        if Kind::of(text) == Kind::Number { Ok(text) } else { Err(wrong(text)) }
    };
    let narrow = |name: &'static str| move |_| EvalError::out_of_range(name);
    match ret {
        DataType::LargeUtf8 => strict(args, |i, out| {
            out.push_str(&canonical(of.value(i * s))?);
            Ok(true)
        }),
        DataType::Utf8View => strict(args, |i, out| {
            out.push_str(of.value(i * s));
            Ok(true)
        }),
        DataType::Boolean => args.rows_bool(|i| match of.value(i * s) {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(wrong(other)),
        }),
        DataType::Int16 => args.rows::<Int16Type>(|i| i16::try_from(whole(number(i)?, "smallint")?).map_err(narrow("smallint"))),
        DataType::Int32 => args.rows::<Int32Type>(|i| i32::try_from(whole(number(i)?, "integer")?).map_err(narrow("integer"))),
        DataType::Int64 => args.rows::<Int64Type>(|i| i64::try_from(whole(number(i)?, "bigint")?).map_err(narrow("bigint"))),
        DataType::Float32 => args.rows::<Float32Type>(|i| parse::parse_float4(number(i)?)),
        DataType::Float64 => args.rows::<Float64Type>(|i| parse::parse_float8(number(i)?)),
        DataType::Decimal128(p, scale) => args.rows::<Decimal128Type>(|i| parse::parse_numeric(number(i)?, *p, *scale)),
        other => Err(EvalError::internal(format!("no cast from JSON to {other}"))),
    }
}

fn described(text: &str) -> &'static str {
    match Kind::of(text) {
        Kind::Null => "null",
        Kind::Text => "string",
        Kind::Number => "numeric",
        Kind::Bool => "boolean",
        Kind::Array => "array",
        Kind::Object => "object",
    }
}

/// A number rounded half away from zero.
fn whole(text: &str, name: &'static str) -> EvalResult<i128> {
    let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
    let value: i128 = digits.parse().map_err(|_| EvalError::out_of_range(name))?;
    let up = fraction.as_bytes().first().is_some_and(|d| *d >= b'5');
    let away = if text.starts_with('-') { -1 } else { 1 };
    Ok(value.saturating_add(if up { away } else { 0 }))
}
