//! Text to values: PostgreSQL's input functions, with its SQLSTATEs. Input never panics; cost is one pass.

use arrow::datatypes::{DataType, TimeUnit};

use super::calendar::{self, Civil, DAY_US};
use super::interval::parse_interval;
use crate::functions::error::{EvalError, EvalResult};
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
        DataType::Decimal128(p, s) => Datum::Decimal(parse_decimal(text, *p, *s)?),
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

/// The unscaled integer of a numeric(precision, scale), rounded half away from zero.
///
/// # Errors
/// 22P02; 22003 when it has more digits than the type.
pub fn parse_decimal(text: &str, precision: u8, scale: i8) -> EvalResult<i128> {
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
    Ok(if negative { -value } else { value })
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

/// What stands in a text of date and time, in ISO order.
struct Moment {
    civil: Option<Civil>,
    time_us: Option<i64>,
    offset_s: Option<i64>,
}

fn bad_moment(ty: &str, text: &str) -> EvalError {
    EvalError::new("22007", format!("invalid input syntax for type {ty}: \"{text}\""))
}

fn field_range(text: &str) -> EvalError {
    EvalError::new("22008", format!("date/time field value out of range: \"{text}\""))
}

fn parse_moment(ty: &str, text: &str) -> EvalResult<Moment> {
    let bad = || bad_moment(ty, text);
    let lower = trim(text).to_ascii_lowercase();
    let (body, bc) = match lower.strip_suffix("bc") {
        Some(rest) => (rest.trim_end(), true),
        None => (lower.strip_suffix("ad").map_or(lower.as_str(), str::trim_end), false),
    };
    let (date, rest) = if body.find(':').is_some_and(|colon| colon <= 2) {
        ("", body)
    } else {
        match body.find(|c: char| c == 't' || c.is_whitespace()) {
            Some(at) => (&body[..at], body[at + 1..].trim_start()),
            None => (body, ""),
        }
    };
    let civil = if date.is_empty() { None } else { Some(parse_civil(date, bc, text).ok_or_else(bad)??) };
    let (time_us, offset_s) = if rest.is_empty() { (None, None) } else { parse_clock(rest, text).ok_or_else(bad)?? };
    Ok(Moment { civil, time_us, offset_s })
}

/// `yyyy-mm-dd`, `yyyy/mm/dd`, `yyyymmdd`; `None` when it is no date at all.
fn parse_civil(date: &str, bc: bool, text: &str) -> Option<EvalResult<Civil>> {
    let parts: Vec<&str> = date.split(['-', '/', '.']).collect();
    let parts = match parts[..] {
        [y, m, d] => [y, m, d],
        [all] if all.len() == 8 && all.is_ascii() => [&all[..4], &all[4..6], &all[6..]],
        _ => return None,
    };
    if parts.iter().any(|p| p.is_empty() || p.len() > 7 || !p.bytes().all(|b| b.is_ascii_digit())) || parts[0].len() < 3 {
        return None;
    }
    let n = |s: &str| s.parse::<i64>().ok();
    let (year, month, day) = (n(parts[0])?, n(parts[1])?, n(parts[2])?);
    let year = if bc { 1 - year } else { year };
    if (year == 0 && !bc) || !(1..=12).contains(&month) || day < 1 || day > calendar::days_in_month(year, month) {
        return Some(Err(field_range(text)));
    }
    Some(Ok(Civil { year, month, day }))
}

/// Microseconds of the day and seconds east of UTC.
type Clock = (Option<i64>, Option<i64>);

fn parse_clock(rest: &str, text: &str) -> Option<EvalResult<Clock>> {
    let at = rest.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(rest.len());
    let (clock, mut tail) = (&rest[..at], rest[at..].trim());
    let parts: Vec<&str> = clock.split(':').collect();
    let (h, m, s) = match parts[..] {
        [h, m] => (h, m, "0"),
        [h, m, s] => (h, m, s),
        _ => return None,
    };
    let small = |s: &str| (!s.is_empty() && s.len() <= 2).then(|| s.parse::<i64>().ok()).flatten();
    let (mut hour, minute) = (small(h)?, small(m)?);
    let (whole, fraction) = s.split_once('.').unwrap_or((s, ""));
    let second = small(whole)?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    for (word, afternoon) in [("am", false), ("pm", true)] {
        if let Some(cut) = tail.strip_prefix(word) {
            if hour > 12 {
                return Some(Err(field_range(text)));
            }
            hour = hour % 12 + if afternoon { 12 } else { 0 };
            tail = cut.trim();
        }
    }
    let us = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse::<f64>().ok()? * 1e6 };
    #[expect(clippy::cast_possible_truncation, reason = "at most a million")]
    let us = us.round_ties_even() as i64;
    let total = ((hour * 60 + minute) * 60 + second) * 1_000_000 + us;
    if hour > 24 || minute > 59 || second > 60 || total > DAY_US {
        return Some(Err(field_range(text)));
    }
    let offset = match tail {
        "" => None,
        "z" | "utc" | "gmt" | "zulu" => Some(0),
        _ => Some(parse_offset(tail)?),
    };
    Some(Ok((Some(total), offset)))
}

/// `+hh`, `+hhmm`, `+hh:mm[:ss]`.
fn parse_offset(tail: &str) -> Option<i64> {
    let sign = match tail.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = &tail[1..];
    let mut total = 0;
    let colons: Vec<&str> = digits.split(':').collect();
    let parts = match colons[..] {
        [all] if all.len() == 4 && all.is_ascii() => vec![&all[..2], &all[2..]],
        _ => colons,
    };
    for (part, unit) in parts.iter().zip([3600, 60, 1]) {
        if part.is_empty() || part.len() > 2 {
            return None;
        }
        total += part.parse::<i64>().ok()? * unit;
    }
    (parts.len() <= 3 && total < 16 * 3600).then_some(sign * total)
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
    let civil = parse_moment("date", text)?.civil.ok_or_else(|| bad_moment("date", text))?;
    let days = calendar::days_from_civil(civil);
    match i32::try_from(days) {
        Ok(d) if calendar::is_date(days) => Ok(d),
        _ => Err(EvalError::new("22008", format!("date out of range: \"{text}\""))),
    }
}

fn parse_time(text: &str) -> EvalResult<i64> {
    parse_moment("time", text)?.time_us.ok_or_else(|| bad_moment("time", text))
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
    let moment = parse_moment(ty, text)?;
    let civil = moment.civil.ok_or_else(|| bad_moment(ty, text))?;
    // without a zone in the type, a zone in the text is ignored, as in PostgreSQL
    let offset = if zoned { moment.offset_s.unwrap_or(0) } else { 0 };
    let us = i128::from(calendar::days_from_civil(civil)) * i128::from(DAY_US) + i128::from(moment.time_us.unwrap_or(0))
        - i128::from(offset) * 1_000_000;
    match i64::try_from(us) {
        Ok(us) if calendar::is_timestamp(us) => Ok(us),
        _ => Err(EvalError::new("22008", format!("timestamp out of range: \"{text}\""))),
    }
}
