//! What a query answered, in words that both systems share, and whether two answers are equal.
//!
//! Values are text as psql prints them; an answer is a multiset of rows. Floats agree within 1e-9
//! (PostgreSQL adds in the order of rows, regauge exactly), numerics that came out of a division or an
//! average within 1e-12 (PostgreSQL chooses their number of digits by their size), both relative to
//! the larger value where that is above 1; everything else agrees exactly, where `1.50` and `1.5` are
//! one numeric, `1 day` and `24:00:00` one interval, `1.0` and `1` one jsonb: which of several equal
//! values is shown PostgreSQL leaves open.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// A type, by the name that PostgreSQL prints without its modifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Compared as a number: `numeric`.
    Numeric,
    /// Compared as a number within the float tolerance: `real` and `double precision`.
    Float(&'static str),
    /// Compared as text.
    Exact(String),
}

impl Kind {
    /// The kind that PostgreSQL's type name stands for (`pg_type.typname`: int4, numeric, _text).
    #[must_use]
    pub fn of(typname: &str) -> Self {
        match typname {
            "numeric" => Self::Numeric,
            "float4" => Self::Float("float4"),
            "float8" => Self::Float("float8"),
            // psql prints them alike, and a cast to varchar(n) has already cut them.
            "varchar" | "bpchar" => Self::Exact("text".into()),
            other => Self::Exact(other.into()),
        }
    }

    /// The name again.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Numeric => "numeric",
            Self::Float(name) => name,
            Self::Exact(name) => name,
        }
    }
}

/// A row: `None` is NULL.
pub type Row = Vec<Option<String>>;

/// Columns and rows, in no order.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Names and kinds.
    pub columns: Vec<(String, Kind)>,
    /// As psql prints them.
    pub rows: Vec<Row>,
}

/// A statement that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Five letters, PostgreSQL's where one fits.
    pub sqlstate: String,
    /// The message, with the hint behind it where there is one.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ERROR {}: {}", self.sqlstate, self.message)
    }
}

/// How near two numbers must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Near {
    /// Equal.
    Exactly,
    /// |a - b| <= tolerance * max(1, |a|, |b|).
    Within(f64),
}

const FLOAT: Near = Near::Within(1e-9);
const INEXACT_NUMERIC: Near = Near::Within(1e-12);

/// Compares two answers as multisets. `inexact` marks by position the columns whose numerics came out
/// of a division or an average. `None` when equal, else what differs.
#[must_use]
pub fn difference(expected: &Answer, got: &Answer, inexact: &[bool]) -> Option<String> {
    let names = |answer: &Answer| -> Vec<String> {
        answer.columns.iter().map(|(name, kind)| format!("{name} {}", kind.name())).collect()
    };
    if names(expected) != names(got) {
        return Some(format!("columns: expected {:?}, got {:?}", names(expected), names(got)));
    }
    let near: Vec<Near> = expected
        .columns
        .iter()
        .enumerate()
        .map(|(at, (_, kind))| match kind {
            Kind::Float(_) => FLOAT,
            Kind::Numeric if inexact.get(at) == Some(&true) => INEXACT_NUMERIC,
            Kind::Numeric | Kind::Exact(_) => Near::Exactly,
        })
        .collect();
    let (missing, extra) = unmatched(expected, got, &near);
    if missing.is_empty() && extra.is_empty() {
        return None;
    }
    let mut text = format!("rows: expected {}, got {}", expected.rows.len(), got.rows.len());
    for (sign, rows) in [("missing", &missing), ("extra", &extra)] {
        for row in rows.iter().take(10) {
            let _ = write!(text, "\n  {sign}: {}", show(row));
        }
        if rows.len() > 10 {
            let _ = write!(text, "\n  {sign}: and {} more", rows.len() - 10);
        }
    }
    Some(text)
}

/// A row as one line.
#[must_use]
pub fn show(row: &Row) -> String {
    let cells: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect();
    cells.join(" | ")
}

/// Rows of `expected` without a partner in `got`, and the other way round. Rows are first grouped by
/// their exact cells; inside a group the near cells are paired in order, and where that fails one by
/// one, so that a tolerance at a boundary cannot tear equal rows apart.
fn unmatched(expected: &Answer, got: &Answer, near: &[Near]) -> (Vec<Row>, Vec<Row>) {
    let mut groups: BTreeMap<Row, (Vec<Row>, Vec<Row>)> = BTreeMap::new();
    let key = |answer: &Answer, row: &Row| -> Row {
        let cells = row.iter().zip(near).zip(&answer.columns);
        cells
            .map(|((cell, near), (_, kind))| match near {
                Near::Within(_) => None,
                Near::Exactly => cell.as_deref().map(|text| canonical(kind, text)),
            })
            .collect()
    };
    for row in &expected.rows {
        groups.entry(key(expected, row)).or_default().0.push(row.clone());
    }
    for row in &got.rows {
        groups.entry(key(got, row)).or_default().1.push(row.clone());
    }
    let (mut missing, mut extra) = (Vec::new(), Vec::new());
    for (left, mut right) in groups.into_values() {
        for row in left {
            match right.iter().position(|other| rows_near(&row, other, near)) {
                Some(at) => {
                    right.swap_remove(at);
                }
                None => missing.push(row),
            }
        }
        extra.extend(right);
    }
    (missing, extra)
}

fn rows_near(a: &Row, b: &Row, near: &[Near]) -> bool {
    near.iter().zip(a.iter().zip(b)).all(|(near, (a, b))| match (near, a, b) {
        (Near::Exactly, ..) | (_, None, None) => true,
        (Near::Within(tolerance), Some(a), Some(b)) => numbers_near(a, b, *tolerance),
        _ => false,
    })
}

/// Two numbers as PostgreSQL prints them; the two infinities and NaN equal only themselves.
fn numbers_near(a: &str, b: &str, tolerance: f64) -> bool {
    let (Ok(a), Ok(b)) = (a.parse::<f64>(), b.parse::<f64>()) else {
        return a == b;
    };
    if !a.is_finite() || !b.is_finite() {
        return a == b || (a.is_nan() && b.is_nan());
    }
    (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0)
}

/// One text for one value: a numeric without trailing zeros and without a negative zero, also within an array.
fn canonical(kind: &Kind, text: &str) -> String {
    match kind {
        Kind::Numeric => canonical_numeric(text),
        Kind::Exact(name) if name == "_numeric" => {
            let items = text.trim_start_matches('{').trim_end_matches('}').split(',');
            format!("{{{}}}", items.map(canonical_numeric).collect::<Vec<_>>().join(","))
        }
        Kind::Exact(name) if name == "interval" => canonical_interval(text),
        Kind::Exact(name) if name == "jsonb" => canonical_jsonb(text),
        Kind::Exact(name) if name == "_interval" => {
            format!("{:?}", elements(text).map(|e| e.map(|e| canonical_interval(&e))).collect::<Vec<_>>())
        }
        Kind::Exact(name) if name == "_jsonb" => {
            format!("{:?}", elements(text).map(|e| e.map(|e| canonical_jsonb(&e))).collect::<Vec<_>>())
        }
        // as two columns of floats are: zeros are equal whatever their sign
        Kind::Exact(name) if name == "_float8" || name == "_float4" => {
            let items = text.trim_start_matches('{').trim_end_matches('}').split(',');
            format!("{{{}}}", items.map(|item| if item == "-0" { "0" } else { item }).collect::<Vec<_>>().join(","))
        }
        _ => text.to_string(),
    }
}

fn canonical_numeric(text: &str) -> String {
    let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    if short == "-0" { "0".into() } else { short.into() }
}

/// Its length in microseconds, months of 30 days. What is no interval stays.
fn canonical_interval(text: &str) -> String {
    const SECOND: i128 = 1_000_000;
    let time = |text: &str| -> Option<i128> {
        let (sign, text) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let mut parts = text.split(':');
        let (h, m, s) = (parts.next()?, parts.next()?, parts.next()?);
        let (whole, fraction) = s.split_once('.').unwrap_or((s, ""));
        let micros: i128 = format!("{fraction:0<6}").parse().ok()?;
        let seconds = (h.parse::<i128>().ok()? * 60 + m.parse::<i128>().ok()?) * 60 + whole.parse::<i128>().ok()?;
        Some(sign * (seconds * SECOND + micros))
    };
    let mut total = 0;
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let length = if word.contains(':') {
            time(word)
        } else {
            let unit = match words.next().map(|unit| unit.trim_end_matches('s')) {
                Some("day") => Some(86_400 * SECOND),
                Some("mon") => Some(30 * 86_400 * SECOND),
                Some("year") => Some(360 * 86_400 * SECOND),
                _ => None,
            };
            unit.zip(word.trim_start_matches('+').parse::<i128>().ok()).map(|(unit, n)| unit * n)
        };
        match length {
            Some(length) => total += length,
            None => return text.to_string(),
        }
    }
    total.to_string()
}

/// Numbers without zeros behind the point, outside of strings.
fn canonical_jsonb(text: &str) -> String {
    let (mut out, mut number, mut in_string, mut escaped) = (String::new(), String::new(), false, false);
    for c in text.chars() {
        if !in_string && (c.is_ascii_digit() || matches!(c, '-' | '.')) {
            number.push(c);
            continue;
        }
        if !number.is_empty() {
            out.push_str(&canonical_numeric(&std::mem::take(&mut number)));
        }
        out.push(c);
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
    }
    if !number.is_empty() {
        out.push_str(&canonical_numeric(&number));
    }
    out
}

/// The elements of an array of one dimension as it is printed; NULL is none.
fn elements(text: &str) -> impl Iterator<Item = Option<String>> + use<> {
    let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    let (mut all, mut item, mut quoted, mut in_quotes, mut escaped) = (Vec::new(), String::new(), false, false, false);
    for c in inner.chars() {
        match c {
            _ if escaped => {
                item.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => (in_quotes, quoted) = (!in_quotes, true),
            ',' if !in_quotes => {
                all.push((std::mem::take(&mut item), std::mem::take(&mut quoted)));
            }
            c => item.push(c),
        }
    }
    if !inner.is_empty() {
        all.push((item, quoted));
    }
    all.into_iter().map(|(item, quoted)| (quoted || item != "NULL").then_some(item))
}

#[cfg(test)]
mod tests {
    use super::{Answer, Kind, difference};

    #[test]
    fn equal_values_agree_however_they_are_written_and_others_do_not() {
        let same = [
            ("interval", "1 day", "24:00:00"),
            ("interval", "1 mon -1 days +24:00:00", "30 days"),
            ("interval", "-1 days", "-24:00:00"),
            ("interval", "1 year 00:00:00.5", "12 mons 00:00:00.500000"),
            ("jsonb", "[1, {\"a\": 2.50}]", "[1.0, {\"a\": 2.5}]"),
            ("_interval", "{\"1 day\",NULL,24:00:00}", "{24:00:00,NULL,\"1 day\"}"),
            ("_jsonb", "{1.0,\"{\\\"a\\\": 1}\"}", "{1,\"{\\\"a\\\": 1.00}\"}"),
        ];
        for (kind, a, b) in same {
            assert_eq!(difference(&answer(kind, &[Some(a)]), &answer(kind, &[Some(b)]), &[]), None, "{a} {b}");
        }
        let apart = [
            ("interval", "1 day", "24:00:01"),
            ("interval", "1 mon", "31 days"),
            ("jsonb", "\"1.0\"", "\"1\""),
            ("jsonb", "10", "1"),
            ("_interval", "{\"1 day\",00:00:00}", "{00:00:00,\"1 day\"}"),
            ("_jsonb", "{NULL}", "{\"NULL\"}"),
        ];
        for (kind, a, b) in apart {
            assert!(difference(&answer(kind, &[Some(a)]), &answer(kind, &[Some(b)]), &[]).is_some(), "{a} {b}");
        }
    }

    fn answer(kind: &str, rows: &[Option<&str>]) -> Answer {
        let rows = rows.iter().map(|cell| vec![cell.map(str::to_string)]).collect();
        Answer { columns: vec![("a".into(), Kind::of(kind))], rows }
    }

    #[test]
    fn answers_are_multisets() {
        let expected = answer("int4", &[Some("1"), None, Some("1")]);
        assert_eq!(difference(&expected, &answer("int4", &[Some("1"), Some("1"), None]), &[]), None);
        for wrong in [
            answer("int4", &[Some("1"), None]),
            answer("int4", &[Some("1"), None, None]),
            answer("int4", &[Some("1"), None, Some("2")]),
            answer("int8", &[Some("1"), None, Some("1")]),
            answer("int4", &[Some("1"), None, Some("1"), Some("1")]),
        ] {
            assert!(difference(&expected, &wrong, &[]).is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn numerics_are_compared_as_numbers_and_near_only_where_said() {
        let expected = answer("numeric", &[Some("1.50"), Some("-0.00"), Some("10")]);
        let same = answer("numeric", &[Some("10.0"), Some("0"), Some("1.5")]);
        assert_eq!(difference(&expected, &same, &[]), None);
        let arrays = [answer("_numeric", &[Some("{1.50,NULL,10}")]), answer("_numeric", &[Some("{1.5,NULL,10.00}")])];
        assert_eq!(difference(&arrays[0], &arrays[1], &[]), None);
        assert!(difference(&arrays[0], &answer("_numeric", &[Some("{1.5,10.00,NULL}")]), &[]).is_some());
        let zeros = [answer("_float8", &[Some("{-0,1}")]), answer("_float8", &[Some("{0,1}")])];
        assert_eq!(difference(&zeros[0], &zeros[1], &[]), None);
        assert!(difference(&zeros[0], &answer("_float8", &[Some("{0,-1}")]), &[]).is_some());
        let third = answer("numeric", &[Some("0.3333333333333333")]);
        let longer = answer("numeric", &[Some("0.33333333333333333333")]);
        assert!(difference(&third, &longer, &[]).is_some());
        assert_eq!(difference(&third, &longer, &[true]), None);
        assert!(difference(&third, &answer("numeric", &[Some("0.3333333333")]), &[true]).is_some());
    }

    #[test]
    fn floats_are_near_and_special_values_equal_themselves() {
        let expected = answer("float8", &[Some("0.3"), Some("NaN"), Some("-Infinity"), None]);
        let near = answer("float8", &[None, Some("-inf"), Some("NaN"), Some("0.30000000000000004")]);
        assert_eq!(difference(&expected, &near, &[]), None);
        for wrong in [Some("0.3001"), Some("NaN"), None] {
            let wrong = answer("float8", &[wrong, Some("NaN"), Some("-Infinity"), None]);
            assert!(difference(&expected, &wrong, &[]).is_some(), "{wrong:?}");
        }
    }
}
