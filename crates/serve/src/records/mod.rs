//! Records from outside, as rows of a relation: NDJSON, CSV with a header, an Arrow IPC stream.
//!
//! ```text
//!   bytes ─▶ format ─▶ a batch of the columns that the bytes name ─▶ Session::append_records (defaults, checks, one commit)
//! ```
//! Invariant: a body is taken whole or not at all, or, where a stream's bad records are stored beside it, without those that are bad; what is wrong with it names the line (from 1) and the column. Values follow
//! PostgreSQL's input rules of their type. Cost: one pass over the bytes; memory is a small multiple of the body, which its door
//! bounds. It does not know HTTP nor files.

mod arrow_ipc;
mod cells;
mod ndjson;

use arrow::{
    array::{ArrayRef, StringArray},
    datatypes::DataType,
};
use regauge_views::{
    Error, Session,
    catalog::Relation,
    error::sqlstate as code,
    session::intake::{Intake, OnError},
};
use std::{fmt, sync::Arc};

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// RFC 4180 with a first line of column names.
    Csv,
    /// Arrow's IPC stream, not compressed.
    Arrow,
}

impl Format {
    /// The media type over HTTP.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv",
            Format::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The format of a media type, parameters such as the charset left out.
    #[must_use]
    pub fn of_media_type(text: &str) -> Option<Format> {
        let name = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let jsons = ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"];
        match name.as_str() {
            name if jsons.contains(&name) => Some(Format::Ndjson),
            "text/csv" => Some(Format::Csv),
            "application/vnd.apache.arrow.stream" => Some(Format::Arrow),
            _ => None,
        }
    }
}

/// Why bytes are not rows of a relation.
#[derive(Clone, Debug)]
pub struct BadRecords {
    /// What is wrong.
    pub error: Box<Error>,
    /// On which line, from 1, where there are lines.
    pub line: Option<u64>,
    /// In which column, where one is to blame.
    pub column: Option<String>,
}

impl BadRecords {
    fn at(line: u64, column: Option<&str>, error: Error) -> BadRecords {
        BadRecords { error: Box::new(error), line: Some(line), column: column.map(str::to_owned) }
    }
}

impl From<Error> for BadRecords {
    fn from(error: Error) -> BadRecords {
        BadRecords { error: Box::new(error), line: None, column: None }
    }
}

impl fmt::Display for BadRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}")?;
            if let Some(column) = &self.column {
                write!(f, ", column {column}")?;
            }
            write!(f, ": ")?;
        }
        self.error.fmt(f)
    }
}

/// Reads a body into records of a relation; bad ones fare as it is wished, or as the stream says.
pub async fn read(
    session: &mut Session,
    name: &str,
    format: Format,
    bytes: bytes::Bytes,
    wished: Option<OnError>,
) -> Result<Intake, BadRecords> {
    let relation = session.takes_records(name)?;
    let on_error = session.on_error(&relation, wished)?;
    if format == Format::Csv {
        return read_csv(session, &relation, bytes, on_error).await;
    }
    let work = tokio::task::spawn_blocking(move || match format {
        Format::Ndjson => ndjson::read(&relation, &bytes, on_error),
        _ => Ok(Intake::of_rows(arrow_ipc::read(&bytes)?, on_error, "records")),
    });
    match work.await {
        Ok(rows) => rows,
        // Arrow's reader checks much and promises nothing about hostile bytes.
        Err(_) => Err(Error::invalid(code::BAD_COPY, "records could not be read: their encoding is broken").into()),
    }
}

/// CSV is COPY's: one reader for both doors.
async fn read_csv(
    session: &mut Session,
    relation: &Relation,
    bytes: bytes::Bytes,
    on_error: OnError,
) -> Result<Intake, BadRecords> {
    let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| {
        BadRecords::at(1, None, Error::invalid(code::NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\""))
    })?;
    let names = header_names(header).map_err(|e| BadRecords::at(1, None, e))?;
    if let Some(unknown) = names.iter().find(|n| relation.position(n).is_none()) {
        let error = Error::no_column(unknown, &relation.name).hint("the first line of a CSV body names the columns");
        return Err(BadRecords::at(1, Some(unknown), error));
    }
    let mut copy = session.read_csv(&relation.name.to_string(), &names, on_error)?;
    let work = tokio::task::spawn_blocking(move || {
        copy.push(&bytes)?;
        copy.into_intake()
    });
    match work.await {
        Ok(intake) => intake.map_err(|error| BadRecords { line: line_of(&error), column: None, error: Box::new(error) }),
        Err(_) => Err(Error::internal("reading CSV panicked").into()),
    }
}

/// One value of a type, by its text; NULL without one. Types that records cannot carry stay text.
pub(crate) fn value(ty: &DataType, text: Option<&str>) -> Result<ArrayRef, Error> {
    let Ok(mut cells) = cells::Cells::new(ty) else { return Ok(Arc::new(StringArray::from(vec![text]))) };
    match text {
        Some(text) => cells.push(text)?,
        None => cells.push_null(),
    }
    Ok(cells.finish())
}

/// COPY's errors say their place in the detail: `COPY t, line 3, column k`.
fn line_of(error: &Error) -> Option<u64> {
    let rest = error.detail.as_deref()?.split(", line ").nth(1)?;
    rest.split(',').next()?.trim().parse().ok()
}

fn header_names(line: &str) -> Result<Vec<String>, Error> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    let names: Vec<String> = line
        .split(',')
        .map(|n| match n.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
            Some(inner) => inner.replace("\"\"", "\""),
            None => n.trim().to_owned(),
        })
        .collect();
    if names.iter().any(String::is_empty) {
        return Err(Error::invalid(code::BAD_COPY, "the header has an empty column name")
            .hint("the first line of a CSV body names the columns"));
    }
    Ok(names)
}
