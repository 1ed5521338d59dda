//! Intervals in text: PostgreSQL's verbose and ISO 8601 input, and `IntervalStyle = postgres` output. An interval is months,
//! days and time that are never exchanged for one another; time is kept in nanoseconds and always a whole number of
//! microseconds.

use std::fmt::Write;

use crate::functions::error::EvalError;

const SECOND: f64 = 1_000_000.0;

/// PostgreSQL's text of an interval.
pub fn format_interval(months: i32, days: i32, nanos: i64) -> String {
    let mut out = String::new();
    let mut before = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value != 0 {
            let gap = if out.is_empty() { "" } else { " " };
            let plus = if before && value > 0 { "+" } else { "" };
            let plural = if value == 1 { "" } else { "s" };
            let _ = write!(out, "{gap}{plus}{value} {unit}{plural}");
            before = value < 0;
        }
    }
    let us = nanos / 1000;
    if us != 0 || out.is_empty() {
        let sign = if us < 0 {
            "-"
        } else if before {
            "+"
        } else {
            ""
        };
        let gap = if out.is_empty() { "" } else { " " };
        let _ = write!(out, "{gap}{sign}");
        let us = us.unsigned_abs();
        let seconds = us / 1_000_000;
        let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        if !us.is_multiple_of(1_000_000) {
            out.push_str(format!(".{:06}", us % 1_000_000).trim_end_matches('0'));
        }
    }
    out
}

/// Sums of the fields seen; fractions run down into smaller units as PostgreSQL lets them.
#[derive(Default)]
struct Fields {
    months: f64,
    days: f64,
    us: f64,
}

impl Fields {
    fn add(&mut self, amount: f64, unit: &str) -> Option<()> {
        let whole = amount.trunc();
        let fraction = amount - whole;
        match unit {
            "microsecond" | "microseconds" | "us" | "usec" | "usecs" => self.us += amount,
            "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => self.us += amount * 1000.0,
            "second" | "seconds" | "sec" | "secs" | "s" => self.us += (amount * SECOND).round(),
            "minute" | "minutes" | "min" | "mins" | "m" => self.us += amount * 60.0 * SECOND,
            "hour" | "hours" | "hr" | "hrs" | "h" => self.us += amount * 3600.0 * SECOND,
            "day" | "days" | "d" => self.add_days(whole, fraction),
            "week" | "weeks" | "w" => self.add_days((amount * 7.0).trunc(), (amount * 7.0).fract()),
            "month" | "months" | "mon" | "mons" => {
                self.months += whole;
                self.add_days((fraction * 30.0).trunc(), (fraction * 30.0).fract());
            }
            "year" | "years" | "yr" | "yrs" | "y" => self.months += (amount * 12.0).round(),
            "decade" | "decades" => self.months += (amount * 120.0).round(),
            "century" | "centuries" => self.months += (amount * 1200.0).round(),
            "millennium" | "millennia" => self.months += (amount * 12_000.0).round(),
            _ => return None,
        }
        Some(())
    }

    fn add_days(&mut self, whole: f64, fraction: f64) {
        self.days += whole;
        self.us += (fraction * 86_400.0 * SECOND).round();
    }

    #[expect(clippy::cast_possible_truncation, reason = "judged against the range before")]
    fn finish(self, text: &str) -> Result<(i32, i32, i64), EvalError> {
        let us = self.us.round();
        let fits = |v: f64, max: f64| v.abs() <= max;
        if !fits(self.months, f64::from(i32::MAX)) || !fits(self.days, f64::from(i32::MAX)) || !fits(us, 9.2e15) {
            return Err(EvalError::new("22015", format!("interval field value out of range: \"{text}\"")));
        }
        Ok((self.months as i32, self.days as i32, us as i64 * 1000))
    }
}

/// Months, days and nanoseconds of an interval's text.
///
/// # Errors
/// 22007 for text that is none, 22015 for fields beyond the range (292 years of hours, because time is in nanoseconds).
pub fn parse_interval(text: &str) -> Result<(i32, i32, i64), EvalError> {
    let bad = || EvalError::new("22007", format!("invalid input syntax for type interval: \"{text}\""));
    let lower = text.trim().to_ascii_lowercase();
    let mut fields = Fields::default();
    if let Some(iso) = lower.strip_prefix('p') {
        parse_iso(iso, &mut fields).ok_or_else(bad)?;
        return fields.finish(text);
    }
    let mut body = lower.strip_prefix('@').unwrap_or(&lower).trim();
    let ago = body.strip_suffix("ago").map(|b| body = b.trim()).is_some();
    if body.is_empty() {
        return Err(bad());
    }
    // From the end to the front, because a number's unit stands behind it: a time makes days of the bare number before it, and no unit
    // may be given twice.
    let mut unit: Option<String> = None;
    let mut given = 0;
    for word in split(body).into_iter().rev() {
        if word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            unit = Some(word);
            continue;
        }
        let parts = if word.contains(':') {
            fields.us += parse_clock(&word).ok_or_else(bad)?;
            unit = Some("day".into());
            TIME
        } else if let Some((years, months)) = years_and_months(&word) {
            fields.months += years * 12.0 + months;
            unit = Some("month".into());
            part_of("month", false)
        } else {
            let amount: f64 = word.parse().map_err(|_| bad())?;
            if !amount.is_finite() {
                return Err(bad());
            }
            let unit = unit.get_or_insert_with(|| "second".into());
            fields.add(amount, unit).ok_or_else(bad)?;
            part_of(unit, amount.fract() != 0.0)
        };
        if given & parts != 0 {
            return Err(bad());
        }
        given |= parts;
    }
    if given == 0 {
        return Err(bad());
    }
    if ago {
        fields = Fields { months: -fields.months, days: -fields.days, us: -fields.us };
    }
    fields.finish(text)
}

/// A bit for each unit: microsecond, millisecond, second, minute, hour, day, week, month, year, decade, century, millennium.
const TIME: u32 = 0b1_1111;

/// The bits of a unit; seconds with a fraction are those below them, too.
fn part_of(unit: &str, fraction: bool) -> u32 {
    match unit {
        "microsecond" | "microseconds" | "us" | "usec" | "usecs" => 1,
        "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => 1 << 1,
        "second" | "seconds" | "sec" | "secs" | "s" if fraction => 0b111,
        "second" | "seconds" | "sec" | "secs" | "s" => 1 << 2,
        "minute" | "minutes" | "min" | "mins" | "m" => 1 << 3,
        "hour" | "hours" | "hr" | "hrs" | "h" => 1 << 4,
        "day" | "days" | "d" => 1 << 5,
        "week" | "weeks" | "w" => 1 << 6,
        "month" | "months" | "mon" | "mons" => 1 << 7,
        "year" | "years" | "yr" | "yrs" | "y" => 1 << 8,
        "decade" | "decades" => 1 << 9,
        "century" | "centuries" => 1 << 10,
        _ => 1 << 11,
    }
}

/// `[+-]years-months` of standard SQL, with the sign of both.
fn years_and_months(word: &str) -> Option<(f64, f64)> {
    let (sign, rest) = match word.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, word.strip_prefix('+').unwrap_or(word)),
    };
    let (years, months) = rest.split_once('-')?;
    let number = |s: &str| s.parse::<u32>().ok().map(f64::from);
    let months = number(months).filter(|m| *m < 12.0)?;
    Some((sign * number(years)?, sign * months))
}

/// Words of numbers and of letters, also where no blank stands between them (`1day`).
fn split(body: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![];
    let mut alphabetic = None;
    for c in body.chars() {
        if c.is_whitespace() {
            alphabetic = None;
            continue;
        }
        let this = c.is_ascii_alphabetic();
        if alphabetic != Some(this) {
            words.push(String::new());
        }
        alphabetic = Some(this);
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words
}

/// `[+-]h:mm[:ss[.f]]` in microseconds.
fn parse_clock(word: &str) -> Option<f64> {
    let (sign, rest) = match word.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, word.strip_prefix('+').unwrap_or(word)),
    };
    let parts: Vec<&str> = rest.split(':').collect();
    let number = |s: &str| s.parse::<u32>().ok().map(f64::from);
    let (h, m, s) = match parts[..] {
        [h, m] => (number(h)?, number(m)?, 0.0),
        [h, m, s] if s.starts_with(|c: char| c.is_ascii_digit()) => (number(h)?, number(m)?, s.parse::<f64>().ok()?),
        _ => return None,
    };
    (m < 60.0 && s < 61.0).then(|| sign * (h * 3600.0 + m * 60.0) * SECOND + sign * (s * SECOND).round())
}

/// ISO 8601 after its `p`: `1y2m3dt4h5m6s`, weeks too.
fn parse_iso(body: &str, fields: &mut Fields) -> Option<()> {
    let (date, time) = body.split_once('t').unwrap_or((body, ""));
    if date.is_empty() && time.is_empty() {
        return None;
    }
    for (part, units) in [
        (date, [("y", "year"), ("m", "month"), ("w", "week"), ("d", "day")]),
        (time, [("h", "hour"), ("m", "minute"), ("s", "second"), ("", "")]),
    ] {
        let mut words = split(part).into_iter();
        while let (Some(amount), unit) = (words.next(), words.next()) {
            let unit = unit?;
            let name = units.iter().find(|(letter, _)| *letter == unit)?.1;
            fields.add(amount.parse().ok()?, name)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{format_interval, parse_interval};

    fn read(text: &str) -> Result<String, &'static str> {
        parse_interval(text).map(|(months, days, nanos)| format_interval(months, days, nanos)).map_err(|e| e.sqlstate)
    }

    #[test]
    fn a_bare_number_before_a_time_is_days() {
        for (text, means) in [
            ("3 4:05:06", "3 days 04:05:06"),
            ("-1 2:03:04", "-1 days +02:03:04"),
            ("1 2:03", "1 day 02:03:00"),
            ("+3 -4:05", "3 days -04:05:00"),
            ("1.5 4:05:06", "1 day 16:05:06"),
            ("5 4:05:06.5 ago", "-5 days -04:05:06.5"),
            ("1 mon 3 4:05:06", "1 mon 3 days 04:05:06"),
            ("3 week 2 4:05", "23 days 04:05:00"),
            ("4:05:06 3 days", "3 days 04:05:06"),
            ("1-2 3 4:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("1-2 3", "1 year 2 mons 00:00:03"),
            ("1 day 10", "1 day 00:00:10"),
        ] {
            assert_eq!(read(text), Ok(means.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_unit_twice_is_no_interval() {
        for text in [
            "5 10",
            "1 day 2 4:05",
            "3 4",
            "4:05:06 3",
            "3 1-2",
            "1 hour 2 4:05",
            "2 4:05 1 hour",
            "1 day 1 day",
            "1 mon 1-2",
            "day",
        ] {
            assert_eq!(read(text), Err("22007"), "{text}");
        }
    }
}
