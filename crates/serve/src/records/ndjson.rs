//! NDJSON: one object a line, its fields the columns.
//!
//! Rules: a field that is not there is NULL, or its column's DEFAULT if no line of the body has it; a column with a DEFAULT that
//! only some lines have is refused, because `null` and "not said" would look alike. Numbers are read from their digits, never
//! through a double. A text column takes any value, other than strings as the JSON it is; a json or jsonb column takes every value as the
//! JSON it is, but `null`, which is NULL. An unknown or doubled field is refused. Where a stream's bad records are stored beside it, a line with an
//! error is one of them: its row is filled up with NULLs and taken out at the end.

use super::{BadRecords, cells::Cells};
use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{Field, Schema},
};
use bytes::Bytes;
use regauge_views::{
    Error,
    catalog::{Kind, Relation},
    error::sqlstate as code,
    session::intake::{self, DeadLetter, Door, Intake, OnError, Raw},
};
use serde::de::IgnoredAny;
use std::{borrow::Cow, collections::HashMap, sync::Arc};

pub(super) fn read(relation: &Relation, bytes: &Bytes, on_error: OnError) -> Result<Intake, BadRecords> {
    let mut table = Table::new(relation)?;
    let (mut raws, mut bad, mut letters, mut n_records) = (vec![], vec![], vec![], 0);
    for (at, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        n_records += 1;
        let position = at as u64 + 1;
        let read = table.line(position, line);
        if on_error == OnError::Fail {
            read?;
            continue;
        }
        let raw = Raw { bytes: bytes.slice_ref(line), position };
        bad.push(read.is_err());
        if let Err(why) = read {
            table.take_out();
            letters.push(DeadLetter { raw: raw.clone(), error: *why.error, column: why.column });
            intake::check_room(letters.len())?;
        }
        raws.push(raw);
    }
    let n_bad = letters.len();
    let mut rows = table.finish(n_bad)?;
    if n_bad > 0 {
        (rows, raws) = intake::without(&rows, raws, &bad)?;
    }
    let door = Door { source: "records", format: "ndjson" };
    Ok(Intake { rows, raws, letters, n_records, on_error, door })
}

struct Column<'a> {
    relation: &'a regauge_views::catalog::Column,
    not_null: bool,
    cells: Cells,
    /// Rows that were filled.
    filled: usize,
    /// The line that is being read has it.
    here: bool,
    /// How many lines had the field.
    given: usize,
}

struct Table<'a> {
    relation: &'a Relation,
    columns: Vec<Column<'a>>,
    by_name: HashMap<&'a str, usize>,
    n_rows: usize,
    lines: Vec<u64>,
}

impl<'a> Table<'a> {
    fn new(relation: &'a Relation) -> Result<Table<'a>, Error> {
        let key: &[usize] = if let Kind::Table { key } = &relation.kind { key } else { &[] };
        let column = |(at, c): (usize, &'a regauge_views::catalog::Column)| {
            let not_null = c.not_null || key.contains(&at);
            Ok(Column { relation: c, not_null, cells: Cells::new(&c.ty)?, filled: 0, here: false, given: 0 })
        };
        let columns = relation.columns.iter().enumerate().map(column).collect::<Result<Vec<_>, Error>>()?;
        let by_name = relation.columns.iter().enumerate().map(|(at, c)| (c.name.as_str(), at)).collect();
        Ok(Table { relation, columns, by_name, n_rows: 0, lines: vec![] })
    }

    /// After an error the row is not whole, see [`Table::take_out`].
    fn line(&mut self, no: u64, bytes: &[u8]) -> Result<(), BadRecords> {
        self.columns.iter_mut().for_each(|column| column.here = false);
        let text = std::str::from_utf8(bytes).map_err(|_| {
            BadRecords::at(no, None, Error::invalid(code::NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\""))
        })?;
        let mut object = Object::open(text).map_err(|e| BadRecords::at(no, None, e))?;
        while let Some((name, value)) = object.next().map_err(|e| BadRecords::at(no, None, e))? {
            self.field(no, &name, value)?;
        }
        for column in &mut self.columns {
            if column.filled == self.n_rows {
                column.cells.push_null();
                column.filled += 1;
                if column.not_null && column.relation.default.is_none() {
                    return Err(BadRecords::at(no, Some(&column.relation.name), null_in(column, self.relation)));
                }
            }
        }
        self.n_rows += 1;
        self.lines.push(no);
        Ok(())
    }

    /// Makes a row of NULLs of what is there of a line with an error; whoever reads on takes it out of what [`Table::finish`] gives.
    fn take_out(&mut self) {
        for column in &mut self.columns {
            if column.cells.len() == self.n_rows {
                column.cells.push_null();
            }
            column.filled = self.n_rows + 1;
            column.given -= usize::from(std::mem::take(&mut column.here));
        }
        self.n_rows += 1;
    }

    fn field(&mut self, no: u64, name: &str, value: Json<'_>) -> Result<(), BadRecords> {
        let Some(at) = self.by_name.get(name) else {
            let error = Error::no_column(name, &self.relation.name).hint("every field of a record is a column of that name");
            return Err(BadRecords::at(no, Some(name), error));
        };
        let column = &mut self.columns[*at];
        if column.filled > self.n_rows {
            let error = Error::invalid(code::BAD_COPY, format!("field \"{name}\" appears twice"));
            return Err(BadRecords::at(no, Some(name), error));
        }
        column.filled += 1;
        column.given += 1;
        column.here = true;
        let pushed = match value {
            Json::Null if column.not_null => Err(null_in(column, self.relation)),
            Json::Null => {
                column.cells.push_null();
                Ok(())
            }
            Json::Text(_, raw) if column.cells.is_json() => column.cells.push(raw),
            Json::Text(text, _) => match column.relation.chars_max.filter(|_| column.cells.is_text()) {
                Some(max) if text.chars().count() as u64 > max => {
                    Err(Error::invalid(code::STRING_TOO_LONG, format!("value too long for type character varying({max})")))
                }
                _ => column.cells.push(&text),
            },
            Json::Nested(raw) if !(column.cells.is_text() || column.cells.is_json()) => {
                let error =
                    Error::invalid(code::INVALID_TEXT, format!("column \"{name}\" cannot hold a JSON value like {}", short(raw)));
                Err(error.hint("nested values fit columns of type jsonb, json or text"))
            }
            Json::Nested(raw) | Json::Plain(raw) => column.cells.push(raw),
        };
        pushed.map_err(|e| BadRecords::at(no, Some(name), e))
    }

    /// All rows, `n_bad` of which were taken out.
    fn finish(self, n_bad: usize) -> Result<RecordBatch, BadRecords> {
        let (n_rows, n_good) = (self.n_rows, self.n_rows - n_bad);
        let mut fields = Vec::new();
        let mut arrays = Vec::new();
        for column in self.columns {
            if column.given == 0 && n_good > 0 {
                continue;
            }
            if column.relation.default.is_some() && column.given != n_good {
                let message =
                    format!("field \"{}\" is missing in some records, and its column has a default", column.relation.name);
                let error = Error::invalid(code::BAD_COPY, message).hint("write it in every record of the body, or in none");
                return Err(BadRecords {
                    error: Box::new(error),
                    line: self.lines.first().copied(),
                    column: Some(column.relation.name.clone()),
                });
            }
            fields.push(Field::new(&column.relation.name, column.relation.ty.clone(), true));
            arrays.push(column.cells.finish());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(|e| Error::arrow(e).into())
    }
}

fn null_in(column: &Column<'_>, relation: &Relation) -> Error {
    let message = format!(
        "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
        column.relation.name, relation.name.name
    );
    Error::invalid(code::NOT_NULL, message).of_column(&relation.name, &column.relation.name)
}

fn short(raw: &str) -> String {
    let cut: String = raw.chars().take(40).collect();
    if cut.len() < raw.len() { format!("{cut}...") } else { cut }
}

/// A JSON value, not more taken apart than is needed.
enum Json<'a> {
    Null,
    /// A string, unescaped, and as it is written.
    Text(Cow<'a, str>, &'a str),
    /// A number or a boolean as it is written.
    Plain(&'a str),
    /// An array or an object as it is written.
    Nested(&'a str),
}

/// Walks over the fields of one object. Values are checked by serde_json and taken as they are written.
struct Object<'a> {
    text: &'a str,
    at: usize,
    first: bool,
}

impl<'a> Object<'a> {
    fn open(text: &'a str) -> Result<Object<'a>, Error> {
        let mut object = Object { text, at: 0, first: true };
        object.symbol(b'{')?;
        Ok(object)
    }

    fn next(&mut self) -> Result<Option<(Cow<'a, str>, Json<'a>)>, Error> {
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.blanks();
            return if self.at == self.text.len() { Ok(None) } else { Err(self.bad("a record is one JSON object a line")) };
        }
        if !std::mem::take(&mut self.first) {
            self.symbol(b',')?;
        }
        self.blanks();
        if self.peek() != Some(b'"') {
            return Err(self.bad("expected a field's name"));
        }
        let name = self.raw()?;
        let name = string(name).ok_or_else(|| self.bad("bad string"))?;
        self.symbol(b':')?;
        self.blanks();
        let raw = self.raw()?;
        let value = match raw.as_bytes().first() {
            Some(b'n') => Json::Null,
            Some(b'"') => Json::Text(string(raw).ok_or_else(|| self.bad("bad string"))?, raw),
            Some(b'{' | b'[') => Json::Nested(raw),
            _ => Json::Plain(raw),
        };
        Ok(Some((name, value)))
    }

    /// The next value as it is written.
    fn raw(&mut self) -> Result<&'a str, Error> {
        let rest = &self.text[self.at..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => {
                let raw = &rest[..values.byte_offset()];
                self.at += raw.len();
                Ok(raw.trim_start())
            }
            Some(Err(error)) => Err(self.bad(&error.to_string())),
            None => Err(self.bad("the record ends early")),
        }
    }

    fn symbol(&mut self, wanted: u8) -> Result<(), Error> {
        self.blanks();
        if self.peek() != Some(wanted) {
            return Err(self.bad(&format!("expected '{}'", char::from(wanted))));
        }
        self.at += 1;
        Ok(())
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn bad(&self, what: &str) -> Error {
        Error::invalid(code::INVALID_TEXT, format!("invalid JSON: {what} byte={}", self.at))
    }
}

/// A JSON string without its quotes and escapes.
fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}
