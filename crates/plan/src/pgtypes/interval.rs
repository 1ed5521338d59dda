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
    parse_within(text, None)
}

/// The same of `INTERVAL '4:05' HOUR TO MINUTE`: the fields say what a number without a unit counts, and what is cut off.
///
/// # Errors
/// As [`parse_interval`].
pub(crate) fn parse_within(text: &str, range: Option<Range>) -> Result<(i32, i32, i64), EvalError> {
    let bad = || EvalError::new("22007", format!("invalid input syntax for type interval: \"{text}\""));
    let beyond = || EvalError::new("22015", format!("interval field value out of range: \"{text}\""));
    let lower = text.trim().to_ascii_lowercase();
    let mut fields = Fields::default();
    if let Some(iso) = lower.strip_prefix('p') {
        parse_iso(iso, &mut fields).ok_or_else(bad)?;
        return fields.finish(text).map(|v| cut(v, range));
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
            fields.us += parse_clock(&word, range).ok_or_else(bad)?.ok_or_else(beyond)?;
            unit = Some("day".into());
            TIME
        } else if let Some((years, months)) = years_and_months(&word) {
            if months.abs() > 11.0 {
                return Err(beyond());
            }
            fields.months += years * 12.0 + months;
            unit = Some("month".into());
            part_of("month", false)
        } else {
            let amount: f64 = word.parse().map_err(|_| bad())?;
            if !amount.is_finite() {
                return Err(bad());
            }
            let of = unit.get_or_insert_with(|| range.map_or("second", |range| range.last.name()).into());
            fields.add(amount, of).ok_or_else(bad)?;
            let part = part_of(of, amount.fract() != 0.0);
            // what stands before hours without a unit is days
            if part == part_of("hour", false) {
                unit = Some("day".into());
            }
            part
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
    fields.finish(text).map(|v| cut(v, range))
}

/// A field of an interval, the longest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Field::Year => "year",
            Field::Month => "month",
            Field::Day => "day",
            Field::Hour => "hour",
            Field::Minute => "minute",
            Field::Second => "second",
        }
    }
}

/// `HOUR TO MINUTE`; of a single field both are it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: Field,
    pub(crate) last: Field,
}

/// What lies below the last field is cut off; what lies above the first stays.
pub(crate) fn cut((months, days, nanos): (i32, i32, i64), range: Option<Range>) -> (i32, i32, i64) {
    const MINUTE: i64 = 60_000_000_000;
    match range.map(|range| range.last) {
        None | Some(Field::Second) => (months, days, nanos),
        Some(Field::Year) => (months / 12 * 12, 0, 0),
        Some(Field::Month) => (months, 0, 0),
        Some(Field::Day) => (months, days, 0),
        Some(Field::Hour) => (months, days, nanos / (60 * MINUTE) * (60 * MINUTE)),
        Some(Field::Minute) => (months, days, nanos / MINUTE * MINUTE),
    }
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
    Some((sign * number(years)?, sign * number(months)?))
}

/// Words of numbers and of letters, also where no blank stands between them (`1day`).
fn split(body: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![];
    let mut alphabetic = None;
    for c in body.chars() {
        if c.is_whitespace() {
            // `- 1 day`: a sign by itself is that of the number behind it
            let is_sign = words.last().is_some_and(|word| word == "-" || word == "+");
            alphabetic = (is_sign && alphabetic.is_some()).then_some(false);
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

/// `[+-]h:mm[:ss[.f]]` in microseconds, of which MINUTE TO SECOND reads `mm:ss[.f]`; `Some(None)` for minutes that no hour has.
fn parse_clock(word: &str, range: Option<Range>) -> Option<Option<f64>> {
    let minutes_first = range == Some(Range { first: Field::Minute, last: Field::Second });
    let (sign, rest) = match word.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, word.strip_prefix('+').unwrap_or(word)),
    };
    let parts: Vec<&str> = rest.split(':').collect();
    let number = |s: &str| s.parse::<u32>().ok().map(f64::from);
    let digits = |s: &str| s.starts_with(|c: char| c.is_ascii_digit()).then(|| s.parse::<f64>().ok()).flatten();
    let (h, m, s) = match parts[..] {
        [m, s] if minutes_first => (0.0, number(m)?, digits(s)?),
        [h, m] => (number(h)?, number(m)?, 0.0),
        [h, m, s] => (number(h)?, number(m)?, digits(s)?),
        _ => return None,
    };
    Some((m < 60.0 && s < 61.0).then(|| sign * (h * 3600.0 + m * 60.0) * SECOND + sign * (s * SECOND).round()))
}

/// ISO 8601 after its `p`: `1y2m3dt4h5m6s`, weeks too; and its alternative form, `0001-02-03t04:05:06`.
fn parse_iso(body: &str, fields: &mut Fields) -> Option<()> {
    let (date, time) = body.split_once('t').unwrap_or((body, ""));
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let numbers = |part: &str, by: char, units: [&'static str; 3], fields: &mut Fields| {
        let words: Vec<&str> = part.split(by).collect();
        let sound = |w: &&str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if words.len() > 3 || !words.iter().all(sound) {
            return None;
        }
        words.iter().zip(units).try_for_each(|(w, unit)| fields.add(w.parse().ok()?, unit))
    };
    let mut rest = (date, time);
    if date.contains('-') && !date.contains(|c: char| c.is_ascii_alphabetic()) && !date.starts_with('-') {
        numbers(date, '-', ["year", "month", "day"], fields)?;
        rest.0 = "";
    }
    if time.contains(':') {
        numbers(time, ':', ["hour", "minute", "second"], fields)?;
        rest.1 = "";
    }
    let (date, time) = rest;
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
    fn fields_say_what_numbers_count_and_cut_off_the_rest() {
        use super::Field::{Day, Hour, Minute, Month, Second, Year};
        for (text, first, last, means) in [
            ("4:05", Hour, Minute, "04:05:00"),
            ("4:05", Minute, Second, "00:04:05"),
            ("1 2", Day, Hour, "1 day 02:00:00"),
            ("1-2", Year, Month, "1 year 2 mons"),
            ("3 4:05:06", Day, Minute, "3 days 04:05:00"),
            ("1 day 2:03:04", Hour, Hour, "1 day 02:00:00"),
            ("1.5", Hour, Hour, "01:00:00"),
            ("14 months", Year, Year, "1 year"),
            ("1y 2", Month, Month, "1 year 2 mons"),
            ("10", Day, Second, "00:00:10"),
        ] {
            let range = Some(super::Range { first, last });
            let read = super::parse_within(text, range).map(|(m, d, n)| format_interval(m, d, n)).map_err(|e| e.sqlstate);
            assert_eq!(read, Ok(means.to_owned()), "{text}");
        }
        for text in ["3 4:65", "4:65", "4:05:61", "1-12"] {
            assert_eq!(read(text), Err("22015"), "{text}");
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
