//! Values to text: PostgreSQL's output functions. Infallible; cost is one pass over the digits.

use std::fmt::Write;

use arrow::datatypes::DataType;

use super::calendar::{self, Civil, DAY_US};
use super::interval::format_interval;
use crate::value::{Datum, Value};

/// The text that PostgreSQL would send for the value; `None` for NULL. Booleans are `t` and `f` (a cast to text says `true`).
pub fn format_text(value: &Value) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let mut out = String::new();
    write_value(&mut out, value);
    Some(out)
}

/// Appends [`format_text`]'s text; nothing for NULL.
pub fn write_value(out: &mut String, value: &Value) {
    match (&value.datum, &value.ty) {
        (Datum::Null, _) => {}
        (Datum::Bool(v), _) => out.push(if *v { 't' } else { 'f' }),
        (Datum::Int(v), _) => write_display(out, v),
        #[expect(clippy::cast_possible_truncation, reason = "a Float32 was widened when it was stored")]
        (Datum::Float(v), DataType::Float32) => out.push_str(&float4_text(*v as f32)),
        (Datum::Float(v), _) => out.push_str(&float8_text(*v)),
        (Datum::Decimal(v), DataType::Decimal128(_, scale)) => write_decimal(out, *v, *scale),
        (Datum::Decimal(v), _) => write_display(out, v),
        (Datum::Text(v), _) => out.push_str(v),
        (Datum::Bytes(v), DataType::FixedSizeBinary(16)) => super::uuid::write(out, v),
        (Datum::Bytes(v), _) => write_bytes(out, v),
        (Datum::Date(v), _) => write_date(out, *v),
        (Datum::Time(v), _) => write_time(out, *v),
        (Datum::Timestamp(v), ty) => write_timestamp(out, *v, matches!(ty, DataType::Timestamp(_, Some(_)))),
        (Datum::Interval { months, days, nanos }, _) => out.push_str(&format_interval(*months, *days, *nanos)),
        (Datum::List(items), _) => write_array(out, items),
    }
}

/// Elements that could be read otherwise are quoted.
fn write_array(out: &mut String, items: &[Value]) {
    out.push('{');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        let Some(text) = format_text(item) else {
            out.push_str("NULL");
            continue;
        };
        let odd = |c: char| c.is_ascii_whitespace() || matches!(c, '{' | '}' | ',' | '"' | '\\');
        if text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(odd) {
            let _ = write!(out, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        } else {
            out.push_str(&text);
        }
    }
    out.push('}');
}

fn write_display(out: &mut String, v: impl std::fmt::Display) {
    // writing to a String cannot fail
    let _ = write!(out, "{v}");
}

pub(crate) fn write_decimal(out: &mut String, v: i128, scale: i8) {
    let scale = usize::try_from(scale).unwrap_or(0);
    if scale == 0 {
        return write_display(out, v);
    }
    let digits = format!("{:0>width$}", v.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let _ = write!(out, "{}{whole}.{fraction}", if v < 0 { "-" } else { "" });
}

pub(crate) fn write_bytes(out: &mut String, v: &[u8]) {
    out.push_str("\\x");
    for b in v {
        let _ = write!(out, "{b:02x}");
    }
}

/// Shortest text that reads back as the same double.
pub fn float8_text(v: f64) -> String {
    shortest(format!("{v:e}"), v.is_nan(), v.is_infinite(), 15)
}

/// Shortest text that reads back as the same real.
pub fn float4_text(v: f32) -> String {
    shortest(format!("{v:e}"), v.is_nan(), v.is_infinite(), 6)
}

/// Rust's shortest digits in C's `%g` dress: scientific below 1e-4 and from 10^precision on.
fn shortest(e: String, nan: bool, infinite: bool, precision: i32) -> String {
    if nan {
        return "NaN".to_string();
    }
    let negative = e.starts_with('-');
    let sign = if negative { "-" } else { "" };
    if infinite {
        return format!("{sign}Infinity");
    }
    let unsigned = e.trim_start_matches('-');
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if exponent < -4 || exponent >= precision {
        let tail = if digits.len() > 1 { format!(".{}", &digits[1..]) } else { String::new() };
        let es = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{}{tail}e{es}{:02}", &digits[..1], exponent.abs());
    }
    match usize::try_from(exponent) {
        Err(_) => format!("{sign}0.{}{digits}", "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0))),
        Ok(e) if digits.len() > e + 1 => format!("{sign}{}.{}", &digits[..=e], &digits[e + 1..]),
        Ok(e) => format!("{sign}{digits}{}", "0".repeat(e + 1 - digits.len())),
    }
}

fn write_civil(out: &mut String, c: Civil) -> bool {
    let bc = c.year <= 0;
    let year = if bc { 1 - c.year } else { c.year };
    let _ = write!(out, "{year:04}-{:02}-{:02}", c.month, c.day);
    bc
}

pub(crate) fn write_date(out: &mut String, days: i32) {
    match days {
        calendar::DATE_INFINITY => out.push_str("infinity"),
        calendar::DATE_MINUS_INFINITY => out.push_str("-infinity"),
        _ => {
            if write_civil(out, calendar::civil_from_days(days.into())) {
                out.push_str(" BC");
            }
        }
    }
}

pub(crate) fn write_time(out: &mut String, us: i64) {
    let (seconds, fraction) = (us / 1_000_000, us % 1_000_000);
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        out.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
}

pub(crate) fn write_timestamp(out: &mut String, us: i64, zoned: bool) {
    match us {
        calendar::TS_INFINITY => return out.push_str("infinity"),
        calendar::TS_MINUS_INFINITY => return out.push_str("-infinity"),
        _ => {}
    }
    let (us, offset) = if zoned { crate::local::here().shown(us) } else { (us, 0) };
    let bc = write_civil(out, calendar::civil_from_days(us.div_euclid(DAY_US)));
    out.push(' ');
    write_time(out, us.rem_euclid(DAY_US));
    match (zoned, offset) {
        (true, 0) => out.push_str("+00"),
        (true, offset) => out.push_str(&crate::functions::zone::offset_text(offset)),
        (false, _) => {}
    }
    if bc {
        out.push_str(" BC");
    }
}
