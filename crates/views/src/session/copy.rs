//! COPY .. FROM STDIN: bytes of csv, of PostgreSQL's text format or of its binary one become rows, all of them in one transaction or none.
//!
//! ```text
//!   bytes ─▶ fields (records may span chunks) ─▶ columns of text ─▶ every 8,192 rows or 8 MiB: typed, checked ─▶ finish: one write
//!   binary: tuples, see `copy_binary`         ─▶ columns of bytes ─▶ the same by the protocol's receive functions
//! ```
//! Invariant: an error names line and column, and leaves nothing; where a stream's bad records are stored beside it, a record with an error is one of
//! them, and the next begins behind it. Cost: one pass over the bytes, one typed batch per 8,192 rows or 8 MiB; what is held is bounded by bytes.
//! It does not know the protocol that brings the bytes.

use super::{
    Session,
    copy_binary::{Receive, Tuples},
    insert::named_columns,
    intake::{self, DeadLetter, Door, Intake, OnError, Raw},
    rows::not_writable,
    sift::{on_error, written_by_doors},
    txn::Txn,
};
use crate::{
    catalog::{Kind, Relation},
    error::{Error, Result, sqlstate as code},
    response::Response,
};
use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array},
    compute::concat_batches,
    datatypes::DataType,
};
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use regauge_plan::{
    functions::cast::cast_column,
    local::{self, Zone},
    parse::{Copy, RelationName},
    pgtypes::parse_text,
};
use regauge_types::ErrorKind;
use std::{collections::BTreeMap, sync::Arc};

const BATCH_ROWS: usize = 8192;
/// Or bytes: what is beyond is typed, and counted, before more is taken in.
const BATCH_BYTES: usize = 8 << 20;

/// A COPY that waits for its bytes.
pub struct CopyIn {
    relation: Arc<Relation>,
    named: Vec<usize>,
    reader: Reader,
    columns: Vec<Vec<Option<String>>>,
    binary: Option<Binary>,
    /// Bytes of the records in the columns.
    waiting: usize,
    lines: Vec<u64>,
    /// How the records of `lines` came, if bad ones are stored.
    pending: Vec<Raw>,
    batches: Vec<RecordBatch>,
    /// How the rows of the batches came, if bad ones are stored.
    raws: Vec<Raw>,
    letters: Vec<DeadLetter>,
    /// Cut so far, whatever became of them.
    n_records: u64,
    on_error: OnError,
    source: &'static str,
    /// Memory of the batches, and its limit: nothing is written before all bytes are there.
    bytes: usize,
    bytes_max: usize,
    /// What moments without a zone are of.
    zone: Zone,
}

/// What is read instead of text.
struct Binary {
    tuples: Tuples,
    /// Unknown where the door has no protocol.
    receive: Option<Receive>,
    columns: Vec<Vec<Option<Bytes>>>,
    /// Tuples so far.
    n: u64,
}

impl CopyIn {
    /// How many columns a row has.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.named.len()
    }

    /// Whether rows come in the binary format: who takes them in says how values are received, before the first byte.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.binary.is_some()
    }

    /// How values of the binary format are received.
    pub fn receive_by(&mut self, receive: Receive) {
        if let Some(binary) = &mut self.binary {
            binary.receive = Some(receive);
        }
    }

    /// Takes in more bytes. After an error the copy is over.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let _zone = local::enter(self.zone);
        match &mut self.binary {
            Some(binary) => binary.tuples.take(bytes).map_err(|e| self.at(self.n_records + 1, None, e))?,
            None => self.reader.take(bytes)?,
        }
        self.read(false)
    }

    /// No more bytes come: all records, of the columns that the copy names, for a door that commits them itself.
    pub fn into_intake(mut self) -> Result<Intake> {
        self.all()
    }

    fn all(&mut self) -> Result<Intake> {
        let _zone = local::enter(self.zone);
        self.read(true)?;
        self.flush()?;
        let rows = concat_batches(&self.relation.schema(), &self.batches).map_err(Error::arrow)?;
        self.batches.clear();
        Ok(Intake {
            rows: rows.project(&self.named).map_err(Error::arrow)?,
            raws: std::mem::take(&mut self.raws),
            letters: std::mem::take(&mut self.letters),
            n_records: self.n_records,
            on_error: self.on_error,
            door: Door { source: self.source, format: self.format() },
        })
    }

    fn format(&self) -> &'static str {
        match &self.binary {
            Some(_) => "binary",
            None if self.reader.csv => "csv",
            None => "text",
        }
    }

    /// Tuples, as far as they are whole. Where one breaks off nobody knows where the next begins, so that is no bad record but the end.
    fn read_tuples(&mut self, end: bool) -> Result<()> {
        loop {
            let Some(binary) = &mut self.binary else { return Ok(()) };
            let tuple = binary.tuples.next(end);
            let line = binary.n + 1;
            let Some(tuple) = tuple.map_err(|e| self.at(line, None, e))? else { return Ok(()) };
            if tuple.fields.len() != self.named.len() {
                let message = format!("row field count is {}, expected {}", tuple.fields.len(), self.named.len());
                return Err(self.at(line, None, Error::invalid(code::BAD_COPY, message)));
            }
            if let Some(binary) = &mut self.binary {
                binary.n = line;
                self.waiting += tuple.bytes.len();
                binary.columns.iter_mut().zip(tuple.fields).for_each(|(column, field)| column.push(field));
            }
            self.lines.push(line);
            self.n_records += 1;
            if self.on_error == OnError::DeadLetter {
                let raw = Raw { bytes: Bytes::copy_from_slice(&tuple.bytes), position: line };
                self.hold(raw.bytes.len() + size_of::<Raw>())?;
                self.pending.push(raw);
            }
            self.flush_full()?;
        }
    }

    fn read(&mut self, end: bool) -> Result<()> {
        if self.binary.is_some() {
            return self.read_tuples(end);
        }
        loop {
            let record = self.reader.next(end);
            if std::mem::take(&mut self.reader.header) {
                match record.map_err(|e| self.at(self.reader.record_line, None, e))? {
                    Some(_) => continue,
                    None => {
                        self.reader.header = true;
                        return Ok(());
                    }
                }
            }
            let record = match record {
                Ok(None) => return Ok(()),
                Ok(Some(record)) => self.row(record),
                Err(error) => Err(self.at(self.reader.record_line, None, error)),
            };
            self.n_records += 1;
            match (record, self.on_error) {
                (Ok(()), OnError::Fail) => {}
                (Ok(()), OnError::DeadLetter) => {
                    let raw = self.raw()?;
                    self.pending.push(raw);
                }
                (Err(error), OnError::Fail) => return Err(error),
                (Err(error), OnError::DeadLetter) => {
                    let raw = self.raw()?;
                    self.letters.push(DeadLetter { raw, error, column: None });
                    intake::check_room(self.letters.len())?;
                }
            }
            self.flush_full()?;
        }
    }

    fn flush_full(&mut self) -> Result<()> {
        if self.lines.len() >= BATCH_ROWS || self.waiting >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// The record that was read last, as it came.
    fn raw(&mut self) -> Result<Raw> {
        let raw = Raw { bytes: Bytes::copy_from_slice(self.reader.record()), position: self.reader.record_line };
        self.hold(raw.bytes.len() + size_of::<Raw>())?;
        Ok(raw)
    }

    /// Memory that is held until the end.
    fn hold(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes;
        if self.bytes <= self.bytes_max {
            return Ok(());
        }
        let message = format!("the rows of one COPY are too many to be held at once bytes_max={}", self.bytes_max);
        Err(Error::new(ErrorKind::Exhausted, code::OUT_OF_MEMORY, message).hint("split the file: each COPY is one transaction"))
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
        self.waiting += self.reader.record().len();
        Ok(())
    }

    fn at(&self, line: u64, column: Option<&str>, error: Error) -> Error {
        let column = column.map(|c| format!(", column {c}")).unwrap_or_default();
        error.detail(format!("COPY {}, line {line}{column}", self.relation.name))
    }

    fn flush(&mut self) -> Result<()> {
        self.waiting = 0;
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        let mut columns: Vec<ArrayRef> = self.relation.columns.iter().map(|c| new_null_array(&c.ty, lines.len())).collect();
        let mut bad: BTreeMap<usize, (Error, String)> = BTreeMap::new();
        for (i, at) in self.named.iter().enumerate() {
            let cells = match &mut self.binary {
                Some(binary) => Cells::Binary(std::mem::take(&mut binary.columns[i]), binary.receive.ok_or_else(no_protocol)?),
                None => Cells::Text(StringArray::from(std::mem::take(&mut self.columns[i]))),
            };
            let column = &self.relation.columns[*at];
            columns[*at] = match cells.typed(&column.ty) {
                Ok(values) => values,
                Err((row, error)) if self.on_error == OnError::Fail => {
                    return Err(self.at(lines[row], Some(&column.name), error));
                }
                Err(_) => {
                    let (values, failed) = cells.typed_each(&column.ty)?;
                    for (row, error) in failed {
                        bad.entry(row).or_insert((error, column.name.clone()));
                    }
                    values
                }
            };
        }
        let mut batch = RecordBatch::try_new(self.relation.schema(), columns).map_err(Error::arrow)?;
        let mut raws = std::mem::take(&mut self.pending);
        if !bad.is_empty() {
            let is_bad: Vec<bool> = (0..lines.len()).map(|row| bad.contains_key(&row)).collect();
            for (row, (error, column)) in bad {
                let raw = raws.get(row).cloned().ok_or_else(|| Error::internal("a bad record that was not kept"))?;
                self.letters.push(DeadLetter { raw, error, column: Some(column) });
            }
            intake::check_room(self.letters.len())?;
            (batch, raws) = intake::without(&batch, raws, &is_bad)?;
        }
        self.raws.extend(raws);
        let bytes = batch.get_array_memory_size();
        self.batches.push(batch);
        self.hold(bytes)
    }
}

impl Session {
    pub(super) fn copy(&mut self, txn: &mut Txn, copy: &Copy) -> Result<Response> {
        let relation = self.target(txn, &copy.table)?;
        if matches!(relation.kind, Kind::View { .. } | Kind::Materialized { .. }) {
            return Err(not_writable(&relation));
        }
        written_by_doors(&relation)?;
        let wished = copy.on_error.as_deref().map(OnError::parse).transpose()?;
        let on_error = on_error(&txn.catalog, &relation, wished)?;
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
        Ok(Response::CopyIn(Box::new(self.copy_in(relation, named, copy, on_error, "copy"))))
    }

    fn copy_in(
        &self,
        relation: Arc<Relation>,
        named: Vec<usize>,
        copy: &Copy,
        on_error: OnError,
        source: &'static str,
    ) -> CopyIn {
        let limits = &self.core.config.limits;
        let reader = Reader::new(copy, limits.row_bytes);
        let columns = vec![vec![]; named.len()];
        let bytes_max = limits.query_memory_bytes;
        let binary = copy.binary.then(|| Binary {
            tuples: Tuples::new(limits.row_bytes.saturating_mul(2), named.len()),
            receive: None,
            columns: vec![vec![]; named.len()],
            n: 0,
        });
        CopyIn {
            relation,
            named,
            reader,
            columns,
            binary,
            waiting: 0,
            lines: vec![],
            pending: vec![],
            batches: vec![],
            raws: vec![],
            letters: vec![],
            n_records: 0,
            on_error,
            source,
            bytes: 0,
            bytes_max,
            zone: self.zone(),
        }
    }

    /// Reads CSV whose first line names these columns, for a door that appends the rows itself ([`CopyIn::into_intake`]). Unlike
    /// COPY's, the columns that are not named may have a DEFAULT.
    pub fn read_csv(&self, relation: &str, columns: &[String], on_error: OnError) -> Result<CopyIn> {
        let catalog = self.catalog();
        let relation = catalog.named(relation).cloned().ok_or_else(|| Error::no_relation(relation))?;
        if matches!(relation.kind, Kind::View { .. } | Kind::Materialized { .. }) {
            return Err(not_writable(&relation));
        }
        let named = named_columns(&relation, columns)?;
        let table = RelationName { schema: None, name: relation.name.name.clone(), version: None };
        let copy = Copy {
            table,
            columns: columns.to_vec(),
            csv: true,
            binary: false,
            header: true,
            delimiter: ',',
            null: String::new(),
            quote: '"',
            on_error: None,
        };
        Ok(self.copy_in(relation, named, &copy, on_error, "records"))
    }

    /// All bytes were sent: writes the rows, as one transaction unless the session is in one.
    pub async fn finish_copy(&mut self, mut copy: CopyIn) -> Result<Response> {
        let outcome = crate::stack::roomy((copy.zone, self.moment.clone()), self.write_copy(&mut copy)).await;
        outcome.map_err(|e| self.fail(e))
    }

    async fn write_copy(&mut self, copy: &mut CopyIn) -> Result<Response> {
        let intake = copy.all()?;
        let mut rows = intake.rows.clone();
        let defaulted = |(at, c): (usize, &crate::catalog::Column)| c.absent().is_some() && !copy.named.contains(&at);
        if copy.relation.columns.iter().enumerate().any(defaulted) {
            rows = self.with_defaults(&copy.relation, rows).await?;
        }
        // Within a transaction the stream may be as that has made it.
        let catalog = self.txn.as_ref().map(|txn| txn.catalog.clone());
        let mut judging = self.fresh(super::Mode::Autocommit, self.seen.lsn);
        if let Some(catalog) = catalog {
            judging.catalog = catalog;
        }
        let guard = self.guard();
        let sifted = guard.run(Box::pin(self.sifted(&mut judging, &copy.relation, Intake { rows, ..intake }, None))).await?;
        let tag = format!("COPY {}", sifted.rows.num_rows());
        let answer = Response::command(tag).with_notice(sifted.notice(&copy.relation));
        if let Some(mut txn) = self.txn.take() {
            let outcome = match self.core.append_sifted(&mut txn, &copy.relation, &sifted) {
                // That ends the transaction: as by itself.
                Err(error) if txn.mode == super::Mode::Implicit => Err(self.durably(&guard, &txn, error).await.into()),
                outcome => outcome,
            };
            self.txn = Some(txn);
            return outcome.map(|()| answer);
        }
        let committed = self.append_again(&guard, &copy.relation, &sifted, None).await?;
        self.committed(committed);
        Ok(answer)
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

/// Bytes as a type's values, or the first row that is none.
fn received(cells: &[Option<Bytes>], ty: &DataType, receive: Receive) -> Result<ArrayRef, (usize, Error)> {
    let value = |(row, cell): (usize, &Option<Bytes>)| receive(ty, cell.as_ref()).map_err(|e| (row, e));
    let values = cells.iter().enumerate().map(value).collect::<Result<Vec<_>, _>>()?;
    let all: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    arrow::compute::concat(&all).map_err(|e| (0, Error::arrow(e)))
}

/// A column of a batch before it has its type.
enum Cells {
    Text(StringArray),
    Binary(Vec<Option<Bytes>>, Receive),
}

impl Cells {
    fn typed(&self, ty: &DataType) -> Result<ArrayRef, (usize, Error)> {
        match self {
            Cells::Text(texts) => typed(texts, ty),
            Cells::Binary(cells, receive) => received(cells, ty, *receive),
        }
    }

    fn len(&self) -> usize {
        match self {
            Cells::Text(texts) => texts.len(),
            Cells::Binary(cells, _) => cells.len(),
        }
    }

    fn one(&self, row: usize, ty: &DataType) -> Result<ArrayRef, (usize, Error)> {
        match self {
            Cells::Text(texts) => typed(&texts.slice(row, 1), ty),
            Cells::Binary(cells, receive) => received(&cells[row..=row], ty, *receive),
        }
    }

    /// Value by value: NULL where there is none, and why there is none.
    fn typed_each(&self, ty: &DataType) -> Result<(ArrayRef, Vec<(usize, Error)>)> {
        let mut failed = vec![];
        let mut values: Vec<ArrayRef> = Vec::with_capacity(self.len());
        for row in 0..self.len() {
            match self.one(row, ty) {
                Ok(value) => values.push(value),
                Err((_, error)) if error.kind == ErrorKind::Internal => return Err(error),
                Err((_, error)) => {
                    failed.push((row, error));
                    values.push(new_null_array(ty, 1));
                }
            }
        }
        let all: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
        Ok((arrow::compute::concat(&all).map_err(Error::arrow)?, failed))
    }
}

pub(super) fn no_protocol() -> Error {
    Error::unsupported("COPY in the binary format is for clients of the Postgres protocol").hint("use csv or text here")
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
    /// Where the last record is, up to the next bytes.
    last: (usize, usize),
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
            last: (0, 0),
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
        let stop = match self.record_end(end) {
            Ok(Some(stop)) => stop,
            Ok(None) => return Ok(None),
            // All that is left is this record.
            Err(error) => {
                self.last = (self.start, self.pending.len());
                self.start = self.pending.len();
                self.seen = (self.start, false);
                return Err(error);
            }
        };
        self.last = (self.start, stop);
        let whole = std::mem::take(&mut self.pending);
        let record = &whole[self.start..stop];
        self.start = stop;
        self.seen = (stop, false);
        self.line += record.iter().filter(|b| **b == b'\n').count() as u64;
        let fields = self.fields(record);
        self.pending = whole;
        fields
    }

    /// The last record, without its line end.
    fn record(&self) -> &[u8] {
        let record = self.pending.get(self.last.0..self.last.1).unwrap_or_default();
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        record.strip_suffix(b"\r").unwrap_or(record)
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
