//! Text to values: PostgreSQL's input functions, with its SQLSTATEs. Input never panics; cost is one pass.

use arrow::datatypes::{DataType, TimeUnit};

use super::calendar::{self, DAY_US};
use super::interval::parse_interval;
use super::moment;
use crate::functions::error::{EvalError, EvalResult};
use crate::functions::zone::Zone;
use crate::value::{Datum, Value};

/// The value of type `ty` that the text stands for.
///
/// # Errors
/// 22P02, 22007 for text that is none of the type; 22003, 22008 for a value beyond its range; 0A000 for types without text.
pub fn parse_text(ty: &DataType, text: &str) -> EvalResult<Value> {
    let datum = match ty {
        DataType::Boolean => Datum::Bool(parse_bool(text)?),
        DataType::Int16 => Datum::Int(parse_int(text, i16::MIN.into(), i16::MAX.into(), "smallint")?),
        DataType::Int32 => Datum::Int(parse_int(text, i32::MIN.into(), i32::MAX.into(), "integer")?),
        DataType::Int64 => Datum::Int(parse_int(text, i64::MIN, i64::MAX, "bigint")?),
        DataType::Float32 => Datum::Float(parse_float4(text)?.into()),
        DataType::Float64 => Datum::Float(parse_float8(text)?),
        DataType::Decimal128(p, s) => Datum::Decimal(parse_numeric(text, *p, *s)?),
        DataType::Utf8 => Datum::Text(text.to_string()),
        DataType::Binary => Datum::Bytes(parse_bytes(text)?),
        DataType::FixedSizeBinary(16) => Datum::Bytes(super::uuid::parse(text)?.to_vec()),
        DataType::LargeUtf8 => Datum::Text(super::json::canonical(text)?),
        DataType::Utf8View => {
            super::json::check(text)?;
            Datum::Text(text.to_owned())
        }
        DataType::Date32 => Datum::Date(parse_date(text)?),
        DataType::Time64(TimeUnit::Microsecond) => Datum::Time(parse_time(text)?),
        DataType::Timestamp(TimeUnit::Microsecond, tz) => Datum::Timestamp(parse_timestamp(text, tz.is_some())?),
        DataType::Interval(_) => {
            let (months, days, nanos) = parse_interval(text)?;
            Datum::Interval { months, days, nanos }
        }
        other => return Err(EvalError::new("0A000", format!("type {other} has no text form"))),
    };
    Ok(Value { ty: ty.clone(), datum })
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c'))
}

/// Any unique prefix of true, false, yes, no, on, off; 1 and 0.
///
/// # Errors
/// 22P02.
pub fn parse_bool(text: &str) -> EvalResult<bool> {
    let word = trim(text).to_ascii_lowercase();
    let prefix = |of: &str, least: usize| word.len() >= least && of.starts_with(&word);
    if word == "1" || word == "on" || prefix("true", 1) || prefix("yes", 1) {
        Ok(true)
    } else if word == "0" || prefix("off", 2) || prefix("false", 1) || prefix("no", 1) {
        Ok(false)
    } else {
        Err(EvalError::invalid_text("boolean", text))
    }
}

/// A decimal integer between `min` and `max`.
///
/// # Errors
/// 22P02, 22003.
pub fn parse_int(text: &str, min: i64, max: i64, ty: &str) -> EvalResult<i64> {
    let body = trim(text);
    let (negative, digits) = match body.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, body.strip_prefix('+').unwrap_or(body)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(EvalError::invalid_text(ty, text));
    }
    let value = digits.bytes().try_fold(0i64, |acc, b| {
        let digit = i64::from(b - b'0');
        acc.checked_mul(10)?.checked_add(if negative { -digit } else { digit })
    });
    match value {
        Some(v) if (min..=max).contains(&v) => Ok(v),
        _ => Err(EvalError::new("22003", format!("value \"{text}\" is out of range for type {ty}"))),
    }
}

/// What a float's text says before its width is known: the words for infinity and NaN are PostgreSQL's.
fn float_word(text: &str, ty: &str) -> EvalResult<Option<f64>> {
    let body = trim(text).to_ascii_lowercase();
    let unsigned = body.trim_start_matches(['-', '+']);
    if body.len() - unsigned.len() > 1 {
        return Err(EvalError::invalid_text(ty, text));
    }
    match unsigned {
        "inf" | "infinity" => Ok(Some(if body.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY })),
        "nan" if body == "nan" => Ok(Some(f64::NAN)),
        _ if unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') => Ok(None),
        _ => Err(EvalError::invalid_text(ty, text)),
    }
}

fn float_range(text: &str, ty: &str) -> EvalError {
    EvalError::new("22003", format!("\"{}\" is out of range for type {ty}", trim(text)))
}

fn says_zero(text: &str) -> bool {
    let mantissa = trim(text).split(['e', 'E']).next().unwrap_or("");
    !mantissa.bytes().any(|b| b.is_ascii_digit() && b != b'0')
}

/// A double.
///
/// # Errors
/// 22P02; 22003 when it over- or underflows.
pub fn parse_float8(text: &str) -> EvalResult<f64> {
    const TY: &str = "double precision";
    if let Some(word) = float_word(text, TY)? {
        return Ok(word);
    }
    let v: f64 = trim(text).parse().map_err(|_| EvalError::invalid_text(TY, text))?;
    if v.is_infinite() || (v == 0.0 && !says_zero(text)) { Err(float_range(text, TY)) } else { Ok(v) }
}

pub(crate) fn parse_float4(text: &str) -> EvalResult<f32> {
    const TY: &str = "real";
    #[expect(clippy::cast_possible_truncation, reason = "only NaN and infinities come as words")]
    if let Some(word) = float_word(text, TY)? {
        return Ok(word as f32);
    }
    let v: f32 = trim(text).parse().map_err(|_| EvalError::invalid_text(TY, text))?;
    if v.is_infinite() || (v == 0.0 && !says_zero(text)) { Err(float_range(text, TY)) } else { Ok(v) }
}

/// The same of what somebody writes: a numeric without a scale would keep all digits in PostgreSQL, so here it loses none in silence.
///
/// # Errors
/// As [`parse_decimal`]; 22003 for digits that a numeric without a scale has no room for.
pub(crate) fn parse_numeric(text: &str, precision: u8, scale: i8) -> EvalResult<i128> {
    let (value, lost) = decimal(text, precision, scale)?;
    if lost && (precision, scale) == (super::NUMERIC_PRECISION, super::NUMERIC_SCALE) {
        return Err(too_fine(trim(text)));
    }
    Ok(value)
}

/// A number with more digits behind its point than a numeric without a scale keeps.
pub(crate) fn too_fine(number: &str) -> EvalError {
    let message = format!(
        "\"{number}\" has more digits behind the point than numeric keeps, which is {}: round it, or declare numeric(38, s)",
        super::NUMERIC_SCALE
    );
    EvalError::new("22003", message)
}

/// The unscaled integer of a numeric(precision, scale), rounded half away from zero.
///
/// # Errors
/// 22P02; 22003 when it has more digits than the type.
pub fn parse_decimal(text: &str, precision: u8, scale: i8) -> EvalResult<i128> {
    decimal(text, precision, scale).map(|(value, _)| value)
}

/// With whether digits other than zeros were rounded away.
fn decimal(text: &str, precision: u8, scale: i8) -> EvalResult<(i128, bool)> {
    let bad = || EvalError::invalid_text("numeric", text);
    let body = trim(text);
    let (negative, unsigned) = match body.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, body.strip_prefix('+').unwrap_or(body)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((m, e)) => (m, e.parse::<i32>().map_err(|_| bad())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if whole.len() + fraction.len() == 0 || !digits().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let overflow = || EvalError::new("22003", "numeric field overflow");
    // digits[..keep] are the integer we want, digits[keep] rounds it
    let keep = i64::try_from(whole.len()).map_err(|_| overflow())? + i64::from(exponent) + i64::from(scale);
    let mut value = 0i128;
    let mut n = 0i64;
    let mut up = false;
    for b in digits() {
        if n < keep {
            value = value.checked_mul(10).and_then(|v| v.checked_add(i128::from(b - b'0'))).ok_or_else(overflow)?;
        } else {
            up = n == keep && b >= b'5';
            break;
        }
        n += 1;
    }
    let lost = digits().skip(usize::try_from(keep).unwrap_or(0)).any(|b| b != b'0');
    if value != 0 {
        while n < keep {
            value = value.checked_mul(10).ok_or_else(overflow)?;
            n += 1;
        }
    }
    value += i128::from(up);
    if value >= 10i128.pow(u32::from(precision.min(38))) {
        return Err(overflow());
    }
    Ok((if negative { -value } else { value }, lost))
}

fn parse_bytes(text: &str) -> EvalResult<Vec<u8>> {
    let bad = || EvalError::invalid_text("bytea", text);
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        if digits.len() % 2 == 1 {
            return Err(EvalError::new("22023", "invalid hexadecimal data: odd number of digits"));
        }
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        return digits
            .chunks(2)
            .map(|p| Some(digit(p[0])? << 4 | digit(p[1])?))
            .collect::<Option<_>>()
            .ok_or_else(|| EvalError::new("22023", "invalid hexadecimal digit"));
    }
    let mut out = vec![];
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'\\' {
            out.push(b);
            continue;
        }
        let octal = |b: Option<u8>| b.filter(|b| (b'0'..=b'7').contains(b)).map(|b| u32::from(b - b'0'));
        match bytes.next() {
            Some(b'\\') => out.push(b'\\'),
            first => {
                let (a, b, c) = (octal(first), octal(bytes.next()), octal(bytes.next()));
                let value = a.zip(b).zip(c).map(|((a, b), c)| a * 64 + b * 8 + c);
                out.push(value.and_then(|v| u8::try_from(v).ok()).ok_or_else(bad)?);
            }
        }
    }
    Ok(out)
}

fn infinity(text: &str) -> Option<bool> {
    match trim(text).to_ascii_lowercase().as_str() {
        "infinity" | "+infinity" => Some(true),
        "-infinity" => Some(false),
        _ => None,
    }
}

fn parse_date(text: &str) -> EvalResult<i32> {
    match infinity(text) {
        Some(true) => return Ok(calendar::DATE_INFINITY),
        Some(false) => return Ok(calendar::DATE_MINUS_INFINITY),
        None => {}
    }
    if trim(text).eq_ignore_ascii_case("epoch") {
        return Ok(0);
    }
    let civil = moment::read("date", text)?.civil.ok_or_else(|| moment::bad("date", text))?;
    let days = calendar::days_from_civil(civil);
    match i32::try_from(days) {
        Ok(d) if calendar::is_date(days) => Ok(d),
        _ => Err(EvalError::new("22008", format!("date out of range: \"{text}\""))),
    }
}

fn parse_time(text: &str) -> EvalResult<i64> {
    moment::read("time", text)?.time_us.ok_or_else(|| moment::bad("time", text))
}

fn parse_timestamp(text: &str, zoned: bool) -> EvalResult<i64> {
    match infinity(text) {
        Some(true) => return Ok(calendar::TS_INFINITY),
        Some(false) => return Ok(calendar::TS_MINUS_INFINITY),
        None => {}
    }
    if trim(text).eq_ignore_ascii_case("epoch") {
        return Ok(0);
    }
    let ty = if zoned { "timestamp with time zone" } else { "timestamp" };
    let read = moment::read(ty, text)?;
    let civil = read.civil.ok_or_else(|| moment::bad(ty, text))?;
    let us = i128::from(calendar::days_from_civil(civil)) * i128::from(DAY_US) + i128::from(read.time_us.unwrap_or(0));
    let beyond = || EvalError::new("22008", format!("timestamp out of range: \"{text}\""));
    let local = i64::try_from(us).ok().filter(|us| calendar::is_timestamp(*us));
    match (read.zone, zoned) {
        // An offset may bring back what lies beyond the range by itself.
        (Some(Zone::Fixed(seconds)), true) => {
            let us = us - i128::from(seconds) * 1_000_000;
            i64::try_from(us).ok().filter(|us| calendar::is_timestamp(*us)).ok_or_else(beyond)
        }
        (Some(zone), true) => zone.instant(local.ok_or_else(beyond)?).map_err(|_| beyond()),
        (None, true) => crate::local::here().instant(local.ok_or_else(beyond)?).map_err(|_| beyond()),
        // Without a zone in the type, a zone in the text is ignored, as in PostgreSQL.
        _ => local.ok_or_else(beyond),
    }
}
