//! Tables, streams and the values in their rows.

use super::{Col, Rel, Ty};
use crate::case::{Table, Text};
use crate::rng::Rng;

/// Words with an empty one, one that looks like a pattern, a quote, and letters beyond ASCII.
const WORDS: &[&str] = &["", "a", "b", "ab", "Abc", "x y", "a%", "o''k", "zürich", "_", "10", "abab"];

/// Neighbours are equal and written differently.
const SPANS: &[&str] = &[
    "1 day",
    "24 hours",
    "1 month",
    "30 days",
    "29 days 24 hours",
    "0",
    "-1 day",
    "-24 hours",
    "1 month -30 days",
    "90 minutes",
    "1 hour 30 minutes",
    "2 months -1 day 24 hours",
];

/// Likewise.
const JSONS: &[&str] = &[
    "1",
    "1.0",
    "1.00",
    "[1, {\"a\": 2.50}]",
    "[1.0, {\"a\": 2.5}]",
    "\"1.0\"",
    "null",
    "{\"a\": 1, \"b\": [0]}",
    "{\"b\": [0.0], \"a\": 1e0}",
    "100",
    "1e2",
    "-0.5",
    "-0.50",
    "[]",
    "true",
];

/// An interval.
pub fn span(at: usize) -> String {
    format!("INTERVAL '{}'", SPANS[at % SPANS.len()])
}

/// A jsonb.
pub fn json(at: usize) -> String {
    format!("CAST('{}' AS jsonb)", JSONS[at % JSONS.len()])
}

/// A date: ends of months, leap days, both sides of the epoch.
pub fn date(at: usize) -> String {
    const DATES: &[&str] = &[
        "2026-01-01",
        "2026-01-31",
        "2026-02-28",
        "2024-02-29",
        "2025-12-31",
        "1970-01-01",
        "1969-12-31",
        "2000-02-29",
        "2026-03-29",
        "1900-03-01",
        "2026-10-25",
        "2026-12-28",
    ];
    format!("DATE '{}'", DATES[at % DATES.len()])
}

/// A moment with its zone: around changes of clocks, equal ones written in two zones.
pub fn zoned(at: usize) -> String {
    const MOMENTS: &[&str] = &[
        "2026-01-01 00:00:00+00",
        "2026-01-01 01:00:00+01",
        "2026-03-29 00:59:59.999999+00",
        "2026-03-29 01:00:00+00",
        "2026-10-25 00:30:00+00",
        "2026-10-25 01:30:00+00",
        "1969-12-31 23:59:59+00",
        "2024-02-29 12:00:00-08",
        "2026-03-08 07:30:00+00",
        "2026-11-01 05:30:00+00",
        "2026-06-15 12:00:00+00",
        "2026-06-15 14:00:00+02",
    ];
    format!("TIMESTAMPTZ '{}'", MOMENTS[at % MOMENTS.len()])
}

/// Bytes: none, zeros, what is no UTF-8.
pub fn bytes(at: usize) -> String {
    const BYTES: &[&str] = &["", "00", "61", "6162", "ff", "c328", "0061", "616200"];
    format!("CAST('\\x{}' AS bytea)", BYTES[at % BYTES.len()])
}

/// An uuid.
pub fn uuid(at: usize) -> String {
    format!("CAST('{:08x}-0000-4000-8000-00000000000{}' AS uuid)", (at % 5) * 0x3fff_ffff, at % 3)
}

/// A table together with what the generator knows of its values.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its definition.
    pub table: Table,
    /// Its columns; of a table the first is the key `id`.
    pub cols: Vec<Column>,
    /// About so many rows at its largest.
    pub rows: f64,
}

/// A column and its domain.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Ty,
    /// NULL in so many of 100 rows.
    pub nulls: usize,
    /// Values are drawn from so many.
    pub domain: usize,
}

/// Two to four tables or streams; in a case with large batches the domains are large too.
pub fn tables(rng: &mut Rng, large: bool) -> Vec<Source> {
    let n = 2 + rng.below(3);
    (0..n).map(|at| table(rng, at, large)).collect()
}

fn table(rng: &mut Rng, at: usize, large: bool) -> Source {
    let stream = rng.percent(30);
    let mut cols = vec![Column { name: "id".into(), ty: Ty::Int, nulls: 0, domain: 0 }];
    let types: &[(usize, Ty)] = &[
        (30, Ty::Int),
        (15, Ty::BigInt),
        (20, Ty::Text),
        (14, Ty::Numeric(2)),
        (4, Ty::Numeric(0)),
        (10, Ty::Double),
        (8, Ty::Bool),
        (8, Ty::Timestamp),
        (9, Ty::Span),
        (9, Ty::Json),
        (6, Ty::Date),
        (5, Ty::Zoned),
        (3, Ty::Bytes),
        (3, Ty::Uuid),
    ];
    // Two integers always: something to join on, something to add.
    let mut drawn = vec![Ty::Int, Ty::Int];
    drawn.extend((0..1 + rng.below(4)).map(|_| rng.weighted(types)));
    for (number, ty) in drawn.into_iter().enumerate() {
        let nulls = [0, 0, 10, 30][rng.below(4)];
        let domain = if large && rng.percent(60) { 2_000 } else { [2, 3, 5, 8, 12][rng.below(5)] };
        cols.push(Column { name: format!("{}{number}", letter(ty)), ty, nulls, domain });
    }
    if stream || rng.percent(40) {
        cols.push(Column { name: "at".into(), ty: Ty::Timestamp, nulls: 0, domain: 40 });
    }
    let definitions = cols.iter().map(|col| {
        let key = if col.name == "id" && !stream { " PRIMARY KEY" } else { "" };
        let null = if col.name == "at" || (stream && col.name == "id") { " NOT NULL" } else { "" };
        format!("{} {}{key}{null}", col.name, sql_type(col.ty))
    });
    let table = Table { name: format!("t{at}"), columns: definitions.collect(), stream };
    Source { table, cols, rows: if large { 10_000.0 } else { 60.0 } }
}

fn letter(ty: Ty) -> char {
    match ty {
        Ty::Bool => 'f',
        Ty::Int => 'i',
        Ty::BigInt => 'b',
        Ty::Numeric(_) => 'n',
        Ty::Double => 'd',
        Ty::Text | Ty::Array => 's',
        Ty::Timestamp => 'm',
        Ty::Span => 'p',
        Ty::Json => 'j',
        Ty::Date => 'e',
        Ty::Zoned => 'z',
        Ty::Bytes => 'y',
        Ty::Uuid => 'u',
    }
}

/// The type in CREATE TABLE and CAST.
pub fn sql_type(ty: Ty) -> String {
    match ty {
        Ty::Bool => "boolean".into(),
        Ty::Int => "integer".into(),
        Ty::BigInt => "bigint".into(),
        Ty::Numeric(scale) => format!("numeric(12,{scale})"),
        Ty::Double => "double precision".into(),
        Ty::Text | Ty::Array => "text".into(),
        Ty::Timestamp => "timestamp".into(),
        Ty::Span => "interval".into(),
        Ty::Json => "jsonb".into(),
        Ty::Date => "date".into(),
        Ty::Zoned => "timestamptz".into(),
        Ty::Bytes => "bytea".into(),
        Ty::Uuid => "uuid".into(),
    }
}

impl Source {
    /// As something to read.
    pub fn relation(&self) -> Rel {
        let col = |col: &Column| {
            let digits = match col.ty {
                Ty::Int if col.name == "id" => 6,
                Ty::Int => 4,
                Ty::BigInt | Ty::Numeric(_) => 5,
                _ => 3,
            };
            let distinct = if col.name == "id" { self.rows } else { count(col.domain).min(self.rows) };
            Col { name: col.name.clone(), ty: col.ty, digits, exact: true, distinct }
        };
        Rel {
            sql: Text::same(self.table.name.clone()),
            cols: self.cols.iter().map(col).collect(),
            rows: self.rows,
            uses: Vec::new(),
        }
    }

    /// `(1, 'x', NULL)`.
    pub fn row(&self, rng: &mut Rng, id: i64) -> String {
        let cells = self.cols.iter().map(|col| if col.name == "id" { id.to_string() } else { value(rng, col) });
        format!("({})", cells.collect::<Vec<_>>().join(", "))
    }

    /// `INSERT INTO t (id, a) VALUES`.
    pub fn insert_head(&self) -> String {
        let names: Vec<&str> = self.cols.iter().map(|col| col.name.as_str()).collect();
        format!("INSERT INTO {} ({}) VALUES", self.table.name, names.join(", "))
    }
}

/// A literal out of the column's domain.
pub fn value(rng: &mut Rng, col: &Column) -> String {
    if rng.percent(col.nulls) {
        return "NULL".into();
    }
    let at = rng.below(col.domain.max(1));
    let number = i64::try_from(at).unwrap_or(0) - 2;
    match col.ty {
        Ty::Bool => ["true", "false"][at % 2].into(),
        Ty::Int => number.to_string(),
        Ty::BigInt if rng.percent(10) => (number * 10_007).to_string(),
        Ty::BigInt => number.to_string(),
        // A digit more than the column keeps, now and then: PostgreSQL rounds half away from zero.
        Ty::Numeric(_) if rng.percent(10) => format!("{number}.125"),
        Ty::Numeric(_) => format!("{number}.{}", ["00", "5", "25", "75"][at % 4]),
        Ty::Double => {
            ["0.5", "-1.25", "0.1", "3", "12.5", "-0.3", "100.75", "0", "CAST('-0' AS double precision)"][at % 9].into()
        }
        Ty::Text | Ty::Array => {
            let word = WORDS[at % WORDS.len()];
            if at >= WORDS.len() { format!("'{word}{at}'") } else { format!("'{word}'") }
        }
        Ty::Timestamp => {
            // Steps of 17 minutes over half a day: windows of minutes and hours, some of them empty.
            let minutes = (at * 17) % 720;
            let micros = if at.is_multiple_of(5) { ".000001" } else { "" };
            format!("TIMESTAMP '2026-01-01 {:02}:{:02}:00{micros}'", minutes / 60, minutes % 60)
        }
        Ty::Span => span(at),
        Ty::Json => json(at),
        Ty::Date => date(at),
        Ty::Zoned => zoned(at),
        Ty::Bytes => bytes(at),
        Ty::Uuid => uuid(at),
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn count(n: usize) -> f64 {
    n as f64
}
