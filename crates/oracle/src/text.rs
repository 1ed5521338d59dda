//! Arrow values as psql prints them, written anew for the oracle: the wire's own printing is on trial
//! elsewhere, and a shared mistake would be found by nobody.

use anyhow::{Context, Result, bail};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

use crate::answer::Kind;

/// PostgreSQL's type for an Arrow type, after the contract's table.
///
/// # Errors
/// For an Arrow type that stands for no SQL type.
pub fn kind(ty: &DataType) -> Result<Kind> {
    if let DataType::List(field) = ty {
        if field.data_type().is_nested() {
            return kind(field.data_type());
        }
        return Ok(Kind::Exact(format!("_{}", kind(field.data_type())?.name())));
    }
    let name = match ty {
        DataType::Boolean => "bool",
        DataType::Int16 => "int2",
        DataType::Int32 => "int4",
        DataType::Int64 => "int8",
        DataType::Float32 => "float4",
        DataType::Float64 => "float8",
        DataType::Decimal128(..) => "numeric",
        DataType::Utf8 => "text",
        DataType::Binary => "bytea",
        DataType::FixedSizeBinary(16) => "uuid",
        DataType::LargeUtf8 => "jsonb",
        DataType::Utf8View => "json",
        DataType::Date32 => "date",
        DataType::Time64(TimeUnit::Microsecond) => "time",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp",
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamptz",
        DataType::Interval(IntervalUnit::MonthDayNano) => "interval",
        other => bail!("no SQL type stands for this Arrow type type={other}"),
    };
    Ok(Kind::of(name))
}

/// One cell; `None` is NULL.
///
/// # Errors
/// For a value that no SQL value stands for.
pub fn cell(array: &dyn Array, row: usize) -> Result<Option<String>> {
    if array.is_null(row) {
        return Ok(None);
    }
    let text = match array.data_type() {
        DataType::Boolean => if array.as_boolean().value(row) { "t" } else { "f" }.to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_string(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).to_string(),
        DataType::Utf8View => array.as_string_view().value(row).to_string(),
        DataType::FixedSizeBinary(16) => {
            let hex: String = array.as_fixed_size_binary().value(row).iter().map(|byte| format!("{byte:02x}")).collect();
            [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
        }
        DataType::Binary => {
            let hex = array.as_binary::<i32>().value(row).iter().map(|byte| format!("{byte:02x}"));
            format!("\\x{}", hex.collect::<String>())
        }
        DataType::Date32 => date(i64::from(array.as_primitive::<Date32Type>().value(row))),
        DataType::Time64(_) => time(array.as_primitive::<Time64MicrosecondType>().value(row)),
        DataType::Timestamp(_, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let text = timestamp(micros);
            match text.strip_suffix(" BC") {
                Some(before) if zone.is_some() => format!("{before}+00 BC"),
                None if zone.is_some() => format!("{text}+00"),
                _ => text,
            }
        }
        DataType::Interval(_) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            interval(value.months, value.days, value.nanoseconds / 1000)
        }
        DataType::List(_) => list(array.as_list::<i32>().value(row).as_ref())?,
        other => bail!("no SQL value stands for this Arrow value type={other}"),
    };
    Ok(Some(text))
}

/// `{1,NULL,"a b"}`.
fn list(values: &dyn Array) -> Result<String> {
    let mut cells = Vec::with_capacity(values.len());
    for row in 0..values.len() {
        cells.push(match cell(values, row).context("in an array")? {
            None => "NULL".to_string(),
            Some(text) if values.data_type().is_nested() => text,
            Some(text) => quoted(&text),
        });
    }
    Ok(format!("{{{}}}", cells.join(",")))
}

fn quoted(text: &str) -> String {
    let special = |c: char| c.is_ascii_whitespace() || "{}\",\\".contains(c);
    if text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(special) {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text.to_string()
    }
}

const DAY_US: i64 = 86_400_000_000;

fn timestamp(micros: i64) -> String {
    let day = date(micros.div_euclid(DAY_US));
    let time = time(micros.rem_euclid(DAY_US));
    match day.strip_suffix(" BC") {
        Some(day) => format!("{day} {time} BC"),
        None => format!("{day} {time}"),
    }
}

/// In the style `postgres`: `1 mon -1 days +02:00:00`.
fn interval(months: i32, days: i32, micros: i64) -> String {
    let (mut text, mut is_below) = (String::new(), false);
    for (n, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if n == 0 {
            continue;
        }
        let sign = if is_below && n > 0 { "+" } else { "" };
        let plural = if n == 1 { "" } else { "s" };
        let gap = if text.is_empty() { "" } else { " " };
        text += &format!("{gap}{sign}{n} {unit}{plural}");
        is_below = n < 0;
    }
    if micros == 0 && !text.is_empty() {
        return text;
    }
    let sign = match (micros < 0, is_below) {
        (true, _) => "-",
        (false, true) => "+",
        (false, false) => "",
    };
    let gap = if text.is_empty() { "" } else { " " };
    format!("{text}{gap}{sign}{}", time(micros.abs()))
}

fn time(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    let text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    match micros % 1_000_000 {
        0 => text,
        part => format!("{text}.{}", format!("{part:06}").trim_end_matches('0')),
    }
}

/// Days since 1970 as a date of the proleptic Gregorian calendar; Hinnant's civil-from-days.
fn date(days: i64) -> String {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    if year > 0 { format!("{year:04}-{month:02}-{day:02}") } else { format!("{:04}-{month:02}-{day:02} BC", 1 - year) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Int32Array, StringArray};

    use super::{cell, date, interval, list, timestamp};

    #[test]
    fn intervals_are_printed_as_postgres_prints_them() {
        assert_eq!(interval(0, 0, 0), "00:00:00");
        assert_eq!(interval(14, -1, 7_200_000_000), "1 year 2 mons -1 days +02:00:00");
        assert_eq!(interval(0, 1, -500_000), "1 day -00:00:00.5");
        assert_eq!(interval(-1, 3, 0), "-1 mons +3 days");
        assert_eq!(interval(0, 0, 360_000_000_000), "100:00:00");
    }

    #[test]
    fn dates_are_printed_as_postgres_prints_them() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(19_782), "2024-02-29");
        assert_eq!(date(-1), "1969-12-31");
        assert_eq!(date(-719_162), "0001-01-01");
        assert_eq!(date(-719_163), "0001-12-31 BC");
        assert_eq!(timestamp(-500_000), "1969-12-31 23:59:59.5");
    }

    #[test]
    fn arrays_and_numerics_are_printed_as_postgres_prints_them() {
        let words: ArrayRef = Arc::new(StringArray::from(vec![Some("a b"), None, Some(""), Some("null"), Some("x")]));
        assert_eq!(list(&words).unwrap_or_default(), r#"{"a b",NULL,"","null",x}"#);
        let numbers = Int32Array::from(vec![Some(1), None]);
        assert_eq!(list(&numbers).unwrap_or_default(), "{1,NULL}");
        let numeric = Decimal128Array::from(vec![-5]).with_precision_and_scale(10, 2);
        assert_eq!(cell(&numeric.expect("valid"), 0).ok().flatten().as_deref(), Some("-0.05"));
    }
}
