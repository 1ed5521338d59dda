//! COPY .. FROM STDIN: bytes of csv or PostgreSQL's text format become rows, all of them in one transaction or none.
//!
//! ```text
//!   bytes ─▶ fields (records may span chunks) ─▶ columns of text ─▶ every 8,192 rows: typed, checked ─▶ finish: one write
//! ```
//! Invariant: an error names line and column, and leaves nothing. Cost: one pass over the bytes, one typed batch per 8,192 rows.
//! It does not know the protocol that brings the bytes.

use super::{Session, insert::named_columns, rows::not_writable, txn::Txn};
use crate::{
    catalog::{Kind, Relation},
    core::NotCommitted,
    error::{Error, Result, sqlstate as code},
    response::Response,
};
use arrow::{
    array::{ArrayRef, RecordBatch, StringArray, new_null_array},
    compute::concat_batches,
    datatypes::DataType,
};
use datafusion::scalar::ScalarValue;
use regauge_plan::{
    functions::cast::cast_column,
    parse::{Copy, RelationName},
    pgtypes::parse_text,
};
use regauge_types::ErrorKind;
use std::sync::Arc;

const BATCH_ROWS: usize = 8192;

/// A COPY that waits for its bytes.
pub struct CopyIn {
    relation: Arc<Relation>,
    named: Vec<usize>,
    reader: Reader,
    columns: Vec<Vec<Option<String>>>,
    lines: Vec<u64>,
    batches: Vec<RecordBatch>,
    n_rows: usize,
    /// Memory of the batches, and its limit: nothing is written before all bytes are there.
    bytes: usize,
    bytes_max: usize,
}

impl CopyIn {
    /// How many columns a row has.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.named.len()
    }

    /// Takes in more bytes. After an error the copy is over.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.reader.take(bytes)?;
        self.read(false)
    }

    /// No more bytes come: all rows, of the columns that the copy names, for a door that commits them itself.
    pub fn into_rows(mut self) -> Result<RecordBatch> {
        self.read(true)?;
        self.flush()?;
        let rows = concat_batches(&self.relation.schema(), &self.batches).map_err(Error::arrow)?;
        rows.project(&self.named).map_err(Error::arrow)
    }

    fn read(&mut self, end: bool) -> Result<()> {
        while let Some(record) = self.reader.next(end).map_err(|e| self.at(self.reader.record_line, None, e))? {
            if std::mem::take(&mut self.reader.header) {
                continue;
            }
            self.row(record)?;
        }
        Ok(())
    }

    fn row(&mut self, record: Vec<Option<String>>) -> Result<()> {
        let line = self.reader.record_line;
        if record.len() > self.named.len() {
            return Err(self.at(line, None, Error::invalid(code::BAD_COPY, "extra data after last expected column")));
        }
        if let Some(missing) = self.named.get(record.len()) {
            let name = &self.relation.columns[*missing].name;
            return Err(self.at(line, None, Error::invalid(code::BAD_COPY, format!("missing data for column \"{name}\""))));
        }
        for (column, value) in self.columns.iter_mut().zip(record) {
            column.push(value);
        }
        self.lines.push(line);
        if self.lines.len() >= BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn at(&self, line: u64, column: Option<&str>, error: Error) -> Error {
        let column = column.map(|c| format!(", column {c}")).unwrap_or_default();
        error.detail(format!("COPY {}, line {line}{column}", self.relation.name))
    }

    fn flush(&mut self) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        let mut columns: Vec<ArrayRef> = self.relation.columns.iter().map(|c| new_null_array(&c.ty, lines.len())).collect();
        for (i, at) in self.named.iter().enumerate() {
            let texts = StringArray::from(std::mem::take(&mut self.columns[i]));
            let column = &self.relation.columns[*at];
            columns[*at] = typed(&texts, &column.ty).map_err(|(row, error)| self.at(lines[row], Some(&column.name), error))?;
        }
        let batch = RecordBatch::try_new(self.relation.schema(), columns).map_err(Error::arrow)?;
        self.n_rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
        if self.bytes > self.bytes_max {
            let message = format!("the rows of one COPY are too many to be held at once bytes_max={}", self.bytes_max);
            return Err(Error::new(ErrorKind::Exhausted, code::OUT_OF_MEMORY, message)
                .hint("split the file: each COPY is one transaction"));
        }
        Ok(())
    }
}

impl Session {
    pub(super) fn copy(&mut self, txn: &mut Txn, copy: &Copy) -> Result<Response> {
        let relation = self.target(txn, &copy.table)?;
        if matches!(relation.kind, Kind::View { .. } | Kind::Materialized { .. }) {
            return Err(not_writable(&relation));
        }
        let named = match copy.columns.is_empty() {
            // Columns that are computed take no values.
            true => {
                let computed = |c: &crate::catalog::Column| matches!(c.made, crate::catalog::Made::Computed(_));
                (0..relation.columns.len()).filter(|at| !computed(&relation.columns[*at])).collect()
            }
            false => named_columns(&relation, &copy.columns)?,
        };
        if let Some(at) = named.iter().find(|at| matches!(relation.columns[**at].made, crate::catalog::Made::Computed(_))) {
            let message = format!("column \"{}\" is a generated column", relation.columns[*at].name);
            return Err(Error::invalid("42P10", message).detail("Generated columns cannot be used in COPY."));
        }
        Ok(Response::CopyIn(Box::new(self.copy_in(relation, named, copy))))
    }

    fn copy_in(&self, relation: Arc<Relation>, named: Vec<usize>, copy: &Copy) -> CopyIn {
        let limits = &self.core.config.limits;
        let reader = Reader::new(copy, limits.row_bytes);
        let columns = vec![vec![]; named.len()];
        let bytes_max = limits.query_memory_bytes;
        CopyIn { relation, named, reader, columns, lines: vec![], batches: vec![], n_rows: 0, bytes: 0, bytes_max }
    }

    /// Reads CSV whose first line names these columns, for a door that appends the rows itself ([`CopyIn::into_rows`]). Unlike
    /// COPY's, the columns that are not named may have a DEFAULT.
    pub fn read_csv(&self, relation: &str, columns: &[String]) -> Result<CopyIn> {
        let catalog = self.catalog();
        let relation = catalog.named(relation).cloned().ok_or_else(|| Error::no_relation(relation))?;
        if matches!(relation.kind, Kind::View { .. } | Kind::Materialized { .. }) {
            return Err(not_writable(&relation));
        }
        let named = named_columns(&relation, columns)?;
        let table = RelationName { schema: None, name: relation.name.name.clone(), version: None };
        let copy =
            Copy { table, columns: columns.to_vec(), csv: true, header: true, delimiter: ',', null: String::new(), quote: '"' };
        Ok(self.copy_in(relation, named, &copy))
    }

    /// All bytes were sent: writes the rows, as one transaction unless the session is in one.
    pub async fn finish_copy(&mut self, mut copy: CopyIn) -> Result<Response> {
        let outcome = crate::stack::roomy(self.write_copy(&mut copy)).await;
        outcome.map_err(|e| self.fail(e))
    }

    async fn write_copy(&mut self, copy: &mut CopyIn) -> Result<Response> {
        copy.read(true)?;
        copy.flush()?;
        let mut rows = concat_batches(&copy.relation.schema(), &copy.batches).map_err(Error::arrow)?;
        copy.batches.clear();
        let defaulted = |(at, c): (usize, &crate::catalog::Column)| c.absent().is_some() && !copy.named.contains(&at);
        if copy.relation.columns.iter().enumerate().any(defaulted) {
            let given = rows.project(&copy.named).map_err(Error::arrow)?;
            let given = self.with_defaults(&copy.relation, given).await?;
            rows = super::rows::by_name(&copy.relation, &given)?;
        }
        let mut judging = self.fresh(super::Mode::Autocommit, self.seen.lsn);
        let rows = self.ruled(&mut judging, &copy.relation, rows).await?;
        let tag = format!("COPY {}", copy.n_rows);
        if let Some(mut txn) = self.txn.take() {
            let outcome = self.core.append_rows(&mut txn, &copy.relation, rows);
            self.txn = Some(txn);
            return outcome.map(|()| Response::command(tag));
        }
        for _ in 0..=self.core.config.limits.autocommit_retries {
            let mut txn = self.fresh(super::Mode::Autocommit, self.seen.lsn);
            self.core.append_rows(&mut txn, &copy.relation, rows.clone())?;
            match self.core.commit(&txn, self.seen, None).await {
                Ok(committed) => {
                    self.committed(committed);
                    return Ok(Response::command(tag));
                }
                Err(NotCommitted::Conflict { .. }) => {}
                Err(NotCommitted::Failed(error)) => return Err(error),
            }
        }
        Err(Error::conflict("could not serialize access: too many concurrent updates"))
    }
}

/// Texts as a type's values by PostgreSQL's input rules, or the first row that is none.
fn typed(texts: &StringArray, ty: &DataType) -> Result<ArrayRef, (usize, Error)> {
    if ty == &DataType::Utf8 {
        return Ok(Arc::new(texts.clone()));
    }
    if ty.is_nested() {
        let all: ArrayRef = Arc::new(texts.clone());
        let why = |at: usize| cast_column(&all.slice(at, 1), ty).err().map(|e| (at, Error::from_eval(&e)));
        let cast = cast_column(&all, ty);
        return cast.map_err(|e| (0..all.len()).find_map(why).unwrap_or_else(|| (0, Error::from_eval(&e))));
    }
    let lost = |row| (row, Error::internal(format!("a value does not fit its own type type={ty}")));
    let null = ScalarValue::try_from(ty).map_err(|e| (0, Error::from_datafusion(e)))?;
    let value = |(row, text): (usize, Option<&str>)| match text {
        None => Ok(null.clone()),
        Some(text) => {
            let value = parse_text(ty, text).map_err(|e| (row, Error::from_eval(&e)))?;
            value.to_scalar().ok_or_else(|| lost(row))
        }
    };
    let values = texts.iter().enumerate().map(value).collect::<Result<Vec<_>, _>>()?;
    ScalarValue::iter_to_array(values).map_err(|e| (0, Error::from_datafusion(e)))
}

/// Cuts bytes into records of fields.
struct Reader {
    csv: bool,
    /// The next record holds names.
    header: bool,
    delimiter: u8,
    quote: u8,
    null: String,
    pending: Vec<u8>,
    /// Where the next record begins in it.
    start: usize,
    /// Up to where the next record was looked through, and whether within quotes there.
    seen: (usize, bool),
    /// Bytes that one record may have.
    record_bytes_max: usize,
    /// The line that the next record begins on, from 1.
    line: u64,
    /// The line that the last record began on.
    record_line: u64,
    /// `\.` was read: what follows is no row.
    ended: bool,
}

impl Reader {
    fn new(copy: &Copy, record_bytes_max: usize) -> Reader {
        let ascii = |c: char, otherwise: u8| u8::try_from(c).unwrap_or(otherwise);
        Reader {
            csv: copy.csv,
            header: copy.header,
            delimiter: ascii(copy.delimiter, if copy.csv { b',' } else { b'\t' }),
            quote: ascii(copy.quote, b'"'),
            null: copy.null.clone(),
            pending: vec![],
            start: 0,
            seen: (0, false),
            record_bytes_max,
            line: 1,
            record_line: 1,
            ended: false,
        }
    }

    /// Takes in more bytes; what was read goes first.
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.pending.drain(..self.start);
        self.seen.0 -= self.start;
        self.start = 0;
        if self.ended {
            self.pending.clear();
            self.seen.0 = 0;
            return Ok(());
        }
        // Texts of a row may be a little longer than the row.
        if self.pending.len() > self.record_bytes_max.saturating_mul(2) {
            let message = format!("a row is too long bytes_max={}", self.record_bytes_max);
            return Err(Error::invalid(code::LIMIT_EXCEEDED, message).hint("is there a quote that does not end?"));
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole record; `None` when more bytes are needed, or with `end` when there is none.
    fn next(&mut self, end: bool) -> Result<Option<Vec<Option<String>>>> {
        if self.ended || self.pending.len() == self.start {
            return Ok(None);
        }
        self.record_line = self.line;
        let Some(stop) = self.record_end(end)? else { return Ok(None) };
        let whole = std::mem::take(&mut self.pending);
        let record = &whole[self.start..stop];
        self.start = stop;
        self.seen = (stop, false);
        self.line += record.iter().filter(|b| **b == b'\n').count() as u64;
        let fields = self.fields(record);
        self.pending = whole;
        fields
    }

    fn fields(&mut self, record: &[u8]) -> Result<Option<Vec<Option<String>>>> {
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        if record == b"\\." {
            self.ended = true;
            return Ok(None);
        }
        if record.contains(&0) {
            return Err(Error::invalid(code::NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\": 0x00"));
        }
        if self.csv { self.csv_fields(record).map(Some) } else { self.text_fields(record).map(Some) }
    }

    /// Where the next record ends, its line end included.
    fn record_end(&mut self, end: bool) -> Result<Option<usize>> {
        let (from, mut quoted) = self.seen;
        for (at, byte) in self.pending.iter().enumerate().skip(from) {
            if self.csv && *byte == self.quote {
                quoted = !quoted;
            } else if *byte == b'\n' && !quoted {
                return Ok(Some(at + 1));
            }
        }
        self.seen = (self.pending.len(), quoted);
        if end && quoted {
            return Err(Error::invalid(code::BAD_COPY, "unterminated CSV quoted field"));
        }
        Ok(end.then_some(self.pending.len()))
    }

    fn csv_fields(&self, record: &[u8]) -> Result<Vec<Option<String>>> {
        let mut fields = Vec::new();
        let (mut field, mut quoted, mut was_quoted) = (Vec::new(), false, false);
        let mut bytes = record.iter().peekable();
        while let Some(byte) = bytes.next() {
            if *byte == self.quote {
                if quoted && bytes.peek() == Some(&&self.quote) {
                    field.push(self.quote);
                    bytes.next();
                } else {
                    quoted = !quoted;
                    was_quoted = true;
                }
            } else if *byte == self.delimiter && !quoted {
                fields.push(self.csv_field(&mut field, &mut was_quoted)?);
            } else {
                field.push(*byte);
            }
        }
        fields.push(self.csv_field(&mut field, &mut was_quoted)?);
        Ok(fields)
    }

    /// An unquoted field that reads like NULL is NULL; a quoted one never is.
    fn csv_field(&self, field: &mut Vec<u8>, was_quoted: &mut bool) -> Result<Option<String>> {
        let text = utf8(std::mem::take(field))?;
        let null = !std::mem::take(was_quoted) && text == self.null;
        Ok((!null).then_some(text))
    }

    fn text_fields(&self, record: &[u8]) -> Result<Vec<Option<String>>> {
        let mut fields = Vec::new();
        let mut start = 0;
        let mut at = 0;
        while at <= record.len() {
            if at == record.len() || record[at] == self.delimiter {
                let raw = &record[start..at];
                let null = raw == self.null.as_bytes();
                fields.push(if null { None } else { Some(utf8(unescape(raw))?) });
                start = at + 1;
            } else if record[at] == b'\\' {
                at += 1;
            }
            at += 1;
        }
        if start <= record.len() && fields.is_empty() {
            fields.push(Some(utf8(unescape(record))?));
        }
        Ok(fields)
    }
}

fn utf8(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::invalid(code::NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\""))
}

/// Backslash sequences of PostgreSQL's text format.
fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let byte = raw[at];
        at += 1;
        if byte != b'\\' || at >= raw.len() {
            out.push(byte);
            continue;
        }
        let next = raw[at];
        at += 1;
        match next {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'0'..=b'7' => {
                let mut value = u32::from(next - b'0');
                while at < raw.len() && (b'0'..=b'7').contains(&raw[at]) && value < 32 {
                    value = value * 8 + u32::from(raw[at] - b'0');
                    at += 1;
                }
                out.push(u8::try_from(value & 0xff).unwrap_or(0));
            }
            b'x' if raw.get(at).is_some_and(u8::is_ascii_hexdigit) => {
                let mut value = 0;
                let mut n = 0;
                while let Some(digit) = raw.get(at).and_then(|b| char::from(*b).to_digit(16)).filter(|_| n < 2) {
                    value = value * 16 + digit;
                    at += 1;
                    n += 1;
                }
                out.push(u8::try_from(value).unwrap_or(0));
            }
            other => out.push(other),
        }
    }
    out
}
