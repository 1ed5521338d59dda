//! What one transaction has written to one table and not yet committed.
//!
//! Invariant: one net change per key: an insert followed by an update is an insert of the later row, an insert followed by a
//! delete is nothing. So a commit holds at most one change per key (see [`super::layout`]), and the judge has one question per
//! key. Rows stay in the batches they came in, gathered once at commit. Cost: one hash entry per written key.
//! It does not know what others have written since the snapshot: that is the judge's.

use super::{
    head::by_ids,
    layout::{self, Op},
};
use crate::{
    catalog::{Column, Kind, Relation, key_constraint},
    error::{Error, Result, sqlstate as code},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, new_null_array},
    compute::interleave_record_batch,
    datatypes::{DataType, SchemaRef},
};
use regauge_plan::functions::precision;
use regauge_types::{ErrorKind, TopicId, key};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A row within a batch.
#[derive(Clone, Debug)]
pub struct RowRef {
    /// The batch, in the table's schema.
    pub batch: Arc<RecordBatch>,
    /// Its place.
    pub at: usize,
}

/// Bytes of a key, ordered as SQL orders it.
pub type Key = Box<[u8]>;

/// The net change of one key.
#[derive(Clone, Debug)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// The row that the snapshot had.
    pub before: Option<RowRef>,
    /// The row that is to be.
    pub after: Option<RowRef>,
    /// The row is the one that the snapshot has, but for columns that the transaction has changed: the change of the columns says so for
    /// all rows, and nothing is written.
    pub carried: bool,
}

impl Change {
    /// What it does, unless it does nothing.
    #[must_use]
    pub fn op(&self) -> Option<Op> {
        match (&self.before, &self.after) {
            _ if self.carried => None,
            (None, Some(_)) => Some(Op::Insert),
            (Some(_), Some(_)) => Some(Op::Update),
            (Some(_), None) => Some(Op::Delete),
            (None, None) => None,
        }
    }
}

/// What a transaction has written to a table.
#[derive(Clone, Debug)]
pub struct TableWrites {
    relation: Arc<Relation>,
    key: Vec<usize>,
    schema: SchemaRef,
    changes: Vec<Change>,
    places: HashMap<Key, usize>,
}

impl TableWrites {
    /// Whether there is a row that was not there, or not so.
    #[must_use]
    pub fn brings_rows(&self) -> bool {
        self.changes.iter().any(|c| c.op().is_some() && c.after.is_some())
    }

    /// Nothing written yet. `relation` must be a table.
    #[must_use]
    pub fn new(relation: Arc<Relation>) -> TableWrites {
        let key = match &relation.kind {
            Kind::Table { key } => key.clone(),
            _ => Vec::new(),
        };
        let schema = relation.schema();
        TableWrites { relation, key, schema, changes: Vec::new(), places: HashMap::new() }
    }

    /// The table.
    #[must_use]
    pub fn relation(&self) -> &Arc<Relation> {
        &self.relation
    }

    /// The table's topic.
    #[must_use]
    pub fn topic(&self) -> TopicId {
        self.relation.topic().unwrap_or_default()
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Net changes, among them some that do nothing.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether nothing is to be committed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(|c| c.op().is_none())
    }

    /// Keys of rows that are to be in the table. Without a key of its own each row is another copy of it, with a key that no
    /// other row has.
    pub fn keys(&self, rows: &RecordBatch) -> Result<Vec<Key>> {
        if self.key.is_empty() { copies(rows) } else { keys_of(&self.key, rows) }
    }

    /// Whether rows may repeat.
    #[must_use]
    pub fn repeats(&self) -> bool {
        self.key.is_empty()
    }

    /// What the transaction itself says of a key: `None` nothing, `Some(None)` no row.
    #[must_use]
    pub fn own(&self, key: &[u8]) -> Option<Option<&RowRef>> {
        self.places.get(key).map(|at| self.changes[*at].after.as_ref())
    }

    /// Writes the row (or its absence) of a key. `before` is what the snapshot has, asked only at the first write of the key.
    pub fn put(&mut self, key: Key, before: impl FnOnce() -> Option<RowRef>, after: Option<RowRef>) {
        match self.places.get(&key) {
            Some(at) => {
                let change = &mut self.changes[*at];
                (change.after, change.carried) = (after, false);
            }
            None => self.push(Change { key, before: before(), after, carried: false }),
        }
    }

    fn push(&mut self, change: Change) {
        self.places.insert(change.key.clone(), self.changes.len());
        self.changes.push(change);
    }

    /// What a transaction has written to a table, and all rows of its snapshot beside that, under columns that it has changed: they are found
    /// by their ids. From then on it reads and writes the table's rows here alone. Rows of a table without a key, whose keys are made of all
    /// columns, are taken out and put in again. Cost: all rows.
    pub fn carried<'a>(
        own: Option<&'a TableWrites>,
        relation: &Arc<Relation>,
        snapshot: impl Iterator<Item = (&'a Key, &'a RowRef)>,
    ) -> Result<TableWrites> {
        let mut all = TableWrites::new(relation.clone());
        let schema = all.schema.clone();
        // Rows that lent their batches live as long as what they are asked for.
        let mut known: HashMap<*const RecordBatch, Arc<RecordBatch>> = HashMap::new();
        let mut under = |row: &RowRef| {
            let batch = match known.get(&Arc::as_ptr(&row.batch)) {
                Some(batch) => batch.clone(),
                None => {
                    let batch = Arc::new(by_ids(&row.batch, &schema).map_err(Error::arrow)?);
                    known.insert(Arc::as_ptr(&row.batch), batch.clone());
                    batch
                }
            };
            Ok::<RowRef, Error>(RowRef { batch, at: row.at })
        };
        let own = own.into_iter().flat_map(TableWrites::changes);
        let mine: HashSet<&Key> = own.clone().map(|c| &c.key).collect();
        let beside = snapshot.filter(|(key, _)| !mine.contains(key));
        let changes = own
            .map(|c| (&c.key, c.before.as_ref(), c.after.as_ref(), c.carried))
            .chain(beside.map(|(key, row)| (key, Some(row), Some(row), true)));
        for (key, before, after, carried) in changes {
            let (before, after) = (before.map(&mut under).transpose()?, after.map(&mut under).transpose()?);
            if !all.repeats() {
                all.push(Change { key: key.clone(), before, after, carried });
                continue;
            }
            if before.is_some() {
                all.push(Change { key: key.clone(), before, after: None, carried: false });
            }
            if let Some(after) = after {
                let one = after.batch.slice(after.at, 1);
                let key = copies(&one)?.pop().ok_or_else(|| Error::internal("a row without a key"))?;
                all.push(Change { key, before: None, after: Some(after), carried: false });
            }
        }
        Ok(all)
    }

    /// These are the rows of a table without a key, and no others.
    pub fn all_anew(&mut self, rows: &RecordBatch) -> Result<()> {
        self.changes.iter_mut().for_each(|c| (c.after, c.carried) = (None, false));
        let batch = Arc::new(rows.clone());
        for (at, key) in copies(rows)?.into_iter().enumerate() {
            self.push(Change { key, before: None, after: Some(RowRef { batch: batch.clone(), at }), carried: false });
        }
        Ok(())
    }

    /// Refuses rows where a value is missing. Texts were cut before: see [`fit_chars`].
    pub fn check_rows(&self, rows: &RecordBatch) -> Result<()> {
        check_not_null(&self.relation, &self.key, rows)
    }

    /// The rows of the table's topic that say all this, or nothing when there is nothing to say.
    pub fn to_topic_rows(&self) -> Result<Option<RecordBatch>> {
        let live: Vec<&Change> = self.changes.iter().filter(|c| c.op().is_some()).collect();
        if live.is_empty() {
            return Ok(None);
        }
        let ops = live.iter().filter_map(|c| c.op()).collect();
        let after = gather(&self.schema, live.iter().map(|c| c.after.as_ref()))?;
        let before = gather(&self.schema, live.iter().map(|c| c.before.as_ref()))?;
        layout::changes(&self.relation.columns, ops, &after, &before).map(Some).map_err(Error::arrow)
    }
}

/// Bytes at the end of a key that tell copies of a row apart.
pub const COPY_BYTES: usize = 8;

/// Counts copies. They are told apart within a process only: the log holds rows, and a restart counts anew.
static COPIES: AtomicU64 = AtomicU64::new(0);

/// A new key for each row of a table without a key of its own: the row's bytes and a number.
pub fn copies(rows: &RecordBatch) -> Result<Vec<Key>> {
    let copy = |row: Key| {
        let no = COPIES.fetch_add(1, Ordering::Relaxed);
        let mut key = row.into_vec();
        key.extend(no.to_be_bytes());
        key.into_boxed_slice()
    };
    Ok(whole_rows(rows)?.into_iter().map(copy).collect())
}

/// Bytes of whole rows, as they are shown.
pub fn whole_rows(rows: &RecordBatch) -> Result<Vec<Key>> {
    let keys = key::encode_exact(rows.columns(), rows.num_rows()).map_err(|e| Error::internal(e.to_string()))?;
    Ok(keys.iter().map(Box::from).collect())
}

/// Keys of rows over the key's positions.
pub fn keys_of(key: &[usize], rows: &RecordBatch) -> Result<Vec<Key>> {
    let columns: Vec<_> = key.iter().map(|at| rows.column(*at).clone()).collect();
    let keys = key::encode(&columns, rows.num_rows()).map_err(|e| Error::internal(e.to_string()))?;
    Ok(keys.iter().map(Box::from).collect())
}

/// Rows whose texts fit their `varchar(n)`, blanks beyond n cut off and anything else refused, and whose times have the digits of their
/// `timestamp(n)`, rounded.
pub fn fit_chars(relation: &Relation, rows: RecordBatch) -> Result<RecordBatch> {
    let mut columns: Option<Vec<ArrayRef>> = None;
    for (at, column) in relation.columns.iter().enumerate() {
        let Some(max) = column.chars_max else { continue };
        let given = rows.column(at);
        if let Some(fitted) = fitted_all(column, max, given)? {
            columns.get_or_insert_with(|| rows.columns().to_vec())[at] = fitted;
        }
    }
    match columns {
        None => Ok(rows),
        Some(columns) => RecordBatch::try_new(rows.schema(), columns).map_err(Error::arrow),
    }
}

/// The same within arrays, however many dimensions they have.
fn fitted_all(column: &Column, max: u64, values: &ArrayRef) -> Result<Option<ArrayRef>> {
    let Some(list) = values.as_list_opt::<i32>() else { return fitted(column, max, values) };
    let (field, offsets, items, nulls) = list.clone().into_parts();
    let Some(items) = fitted_all(column, max, &items)? else { return Ok(None) };
    Ok(Some(Arc::new(ListArray::try_new(field, offsets, items, nulls).map_err(Error::arrow)?)))
}

/// Values that fit their type's modifier; none if they are as they were.
fn fitted(column: &Column, max: u64, values: &ArrayRef) -> Result<Option<ArrayRef>> {
    let Some(texts) = values.as_string_opt::<i32>() else {
        return precision::round_column(values, max).map(Some).map_err(|e| Error::from_eval(&e));
    };
    let max_ = usize::try_from(max).unwrap_or(usize::MAX);
    // A text has at most as many characters as bytes.
    let is_long = |t: &str| t.len() > max_ && t.chars().count() > max_;
    if !texts.iter().flatten().any(is_long) {
        return Ok(None);
    }
    let fit = |t: &str| match t.char_indices().nth(max_) {
        Some((end, _)) if t[end..].bytes().all(|b| b == b' ') => Ok(t[..end].to_owned()),
        Some(_) => {
            let message = format!("value too long for type character varying({max})");
            Err(Error::invalid(code::STRING_TOO_LONG, message).detail(format!("column={}", column.name)))
        }
        None => Ok(t.to_owned()),
    };
    let cut = texts.iter().map(|t| t.map(fit).transpose()).collect::<Result<arrow::array::StringArray>>()?;
    Ok(Some(Arc::new(cut)))
}

/// Refuses rows that are too long, counting the bytes of text and bytea.
pub fn check_bytes(rows: &RecordBatch, bytes_max: usize) -> Result<()> {
    if rows.get_array_memory_size() <= bytes_max {
        return Ok(());
    }
    let mut bytes = vec![0; rows.num_rows()];
    for column in rows.columns() {
        for (row, total) in bytes.iter_mut().enumerate() {
            *total += match column.data_type() {
                DataType::Utf8 => column.as_string::<i32>().value(row).len(),
                DataType::Binary => column.as_binary::<i32>().value(row).len(),
                DataType::LargeUtf8 => column.as_string::<i64>().value(row).len(),
                DataType::Utf8View => column.as_string_view().value(row).len(),
                DataType::List(_) => column.as_list::<i32>().value(row).to_data().get_slice_memory_size().unwrap_or(16),
                _ => 16,
            };
        }
    }
    match bytes.into_iter().max().filter(|longest| *longest > bytes_max) {
        None => Ok(()),
        Some(longest) => {
            let message = format!("row is too long bytes={longest} max={bytes_max}");
            Err(Error::new(ErrorKind::Exhausted, code::LIMIT_EXCEEDED, message).hint("split the row, or raise the limit on rows"))
        }
    }
}

/// Refuses rows with NULL in a column that forbids it; key columns always do.
pub fn check_not_null(relation: &Relation, key: &[usize], rows: &RecordBatch) -> Result<()> {
    first_null(relation, key, rows).map_or(Ok(()), |(_, column)| Err(missing(relation, &column.name)))
}

/// The first row with such a NULL, and its first column that has one.
#[must_use]
pub fn first_null<'a>(relation: &'a Relation, key: &[usize], rows: &RecordBatch) -> Option<(usize, &'a Column)> {
    let needed = relation.columns.iter().enumerate().filter(|(at, column)| column.not_null || key.contains(at));
    let first = |(at, column): (usize, &'a Column)| {
        let nulls = rows.column(at).logical_nulls().filter(|nulls| nulls.null_count() > 0)?;
        Some((nulls.iter().position(|valid| !valid)?, at, column))
    };
    needed.filter_map(first).min_by_key(|(row, at, _)| (*row, *at)).map(|(row, _, column)| (row, column))
}

/// The error of a value that is missing.
#[must_use]
pub fn missing(relation: &Relation, column: &str) -> Error {
    let message =
        format!("null value in column \"{column}\" of relation \"{}\" violates not-null constraint", relation.name.name);
    Error::invalid(code::NOT_NULL, message).hint(format!("give a value for {column}")).of_column(&relation.name, column)
}

/// The error of a second row with a key that is taken; names the key's columns and values.
#[must_use]
pub fn duplicate(relation: &Relation, row: Option<&RowRef>) -> Error {
    let constraint = key_constraint(&relation.name.name);
    let message = format!("duplicate key value violates unique constraint \"{constraint}\"");
    let error = Error::new(ErrorKind::Conflict, code::UNIQUE, message).hint("write ON CONFLICT DO NOTHING or DO UPDATE");
    let error = error.of_constraint(&relation.name, &constraint);
    let (Some(row), Kind::Table { key }) = (row, &relation.kind) else { return error };
    let names: Vec<&str> = key.iter().map(|at| relation.columns[*at].name.as_str()).collect();
    let values: Vec<String> = key.iter().map(|at| display(row.batch.column(*at), row.at)).collect();
    error.detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
}

fn display(array: &dyn Array, at: usize) -> String {
    arrow::util::display::array_value_to_string(array, at).unwrap_or_else(|_| "?".to_owned())
}

/// Rows out of many batches as one; NULLs where there is none. Distinct batches are found by address.
pub fn gather<'a>(schema: &SchemaRef, rows: impl Iterator<Item = Option<&'a RowRef>>) -> Result<RecordBatch> {
    let nulls: Vec<_> = schema.fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
    let nulls = RecordBatch::try_new(schema.clone(), nulls).map_err(Error::arrow)?;
    let mut batches: Vec<&RecordBatch> = vec![&nulls];
    let mut places: HashMap<*const RecordBatch, usize> = HashMap::new();
    let mut picks = Vec::new();
    for row in rows {
        picks.push(row.map_or((0, 0), |row| {
            let batch = *places.entry(Arc::as_ptr(&row.batch)).or_insert_with(|| {
                batches.push(&row.batch);
                batches.len() - 1
            });
            (batch, row.at)
        }));
    }
    interleave_record_batch(&batches, &picks).map_err(Error::arrow)
}
