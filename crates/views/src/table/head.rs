//! Where each key of a table stands, now and at the commits that someone still reads.
//!
//! ```text
//!   key ──▶ [(lsn 3, row), (lsn 9, no row), (lsn 12, row)]        a reader at lsn 10 sees: no row
//! ```
//! Invariant: a key's entries ascend in lsn ([`super::stands`]); a read at `at` sees the last entry with lsn <= at. Keys are ordered, so a scan's
//! order is a function of the contents. Cost: logarithmic per key touched; a scan visits all keys once. Entries that no reader
//! can see any more go with [`Head::compact`]. It does not know who may write: that is the judge's.

use super::{
    runs::Runs,
    stands::Stands,
    writes::{COPY_BYTES, Key, RowRef, gather},
};
use crate::error::Result;
use arrow::{
    array::{RecordBatch, RecordBatchOptions, new_null_array},
    datatypes::{FieldRef, SchemaRef},
    error::ArrowError,
};
use regauge_types::{COLUMN_ID_KEY, Lsn};
use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
};

/// Rows per batch of a scan: the engine's unit of work (measured: 8,192 rows stay in cache).
const SCAN_ROWS: usize = 8192;

/// The head of one table.
#[derive(Debug)]
pub struct Head {
    schema: SchemaRef,
    keys: BTreeMap<Key, Stands>,
    since: Lsn,
    touched: Lsn,
    /// As it was before its columns changed, until that cannot be called back.
    before: Vec<Before>,
    changed: Option<Changed>,
}

/// What was written since a checkpoint.
#[derive(Debug)]
struct Changed {
    /// All behind this commit is here.
    since: Lsn,
    /// Whether rows have no keys of their own, and so are told apart by what they are.
    copies: bool,
    keys: Vec<(Lsn, Key, Option<RowRef>)>,
}

/// What a change of columns replaced.
#[derive(Debug)]
struct Before {
    changed: Lsn,
    schema: SchemaRef,
    keys: BTreeMap<Key, Stands>,
}

impl Head {
    /// An empty table.
    #[must_use]
    pub fn new(schema: SchemaRef) -> Head {
        Head { schema, keys: BTreeMap::new(), since: Lsn::ZERO, touched: Lsn::ZERO, before: vec![], changed: None }
    }

    /// Columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many keys it has; some may be of rows that went.
    #[must_use]
    pub fn n_keys(&self) -> usize {
        self.keys.len()
    }

    /// Takes in the row (or its absence) that a commit gave a key. Commits come in order.
    pub fn apply(&mut self, lsn: Lsn, key: Key, row: Option<RowRef>) {
        self.touched = lsn;
        self.note(lsn, &key);
        match self.keys.entry(key) {
            Entry::Occupied(mut stands) => stands.get_mut().push(lsn, row),
            Entry::Vacant(place) => drop(place.insert(Stands::new(lsn, row))),
        }
    }

    fn note(&mut self, lsn: Lsn, key: &Key) {
        if let Some(changed) = &mut self.changed {
            let before = || self.keys.get(key).and_then(|stands| stands.latest().1.cloned());
            let before = if changed.copies { before() } else { None };
            changed.keys.push((lsn, key.clone(), before));
        }
    }

    /// From now on it remembers which keys are written; all is remembered that comes behind `since`. `copies`: of a table without a key of
    /// its own.
    pub fn track(&mut self, since: Lsn, copies: bool) {
        self.changed = Some(Changed { since: since.max(self.touched), copies, keys: vec![] });
    }

    /// The commit behind which all that is written is remembered, if any.
    #[must_use]
    pub fn tracked(&self) -> Option<Lsn> {
        self.changed.as_ref().map(|changed| changed.since)
    }

    /// The keys that commits up to `at` wrote, ascending, each with the row that it had before them if the table's rows have no keys.
    #[must_use]
    pub fn changed(&self, at: Lsn) -> Vec<(Key, Option<RowRef>)> {
        let mut keys = BTreeMap::new();
        for (_, key, before) in self.changed.iter().flat_map(|c| &c.keys).filter(|(lsn, ..)| *lsn <= at) {
            keys.entry(key).or_insert(before);
        }
        keys.into_iter().map(|(key, before)| (key.clone(), before.clone())).collect()
    }

    /// What commits up to `at` wrote is kept elsewhere.
    pub fn forget_changed(&mut self, at: Lsn) {
        if let Some(changed) = &mut self.changed {
            changed.since = changed.since.max(at);
            changed.keys.retain(|(lsn, ..)| *lsn > at);
        }
    }

    /// The last commit that wrote to it since it was opened.
    #[must_use]
    pub fn touched(&self) -> Lsn {
        self.touched
    }

    /// Other columns from now on: a row has those that it had by their ids, NULL for others. Readers of the old columns are
    /// told apart by [`Head::schema`]. Cost: all rows.
    pub fn reshape(&mut self, lsn: Lsn, schema: SchemaRef) {
        self.before.push(Before { changed: lsn, schema: self.schema.clone(), keys: self.keys.clone() });
        let mut known: HashMap<*const RecordBatch, Arc<RecordBatch>> = HashMap::new();
        // The old batches are kept until all are done: an address names one batch meanwhile.
        let mut old = vec![];
        for row in self.keys.values_mut().flat_map(Stands::rows_mut) {
            let at = Arc::as_ptr(&row.batch);
            if let Some(new) = known.get(&at) {
                row.batch = new.clone();
            } else if let Ok(new) = by_ids(&row.batch, &schema) {
                let new = Arc::new(new);
                known.insert(at, new.clone());
                old.push(std::mem::replace(&mut row.batch, new));
            }
        }
        self.schema = schema;
    }

    /// Keys of rows that are alike, of a table without a key of its own: those that begin with the row's bytes.
    #[must_use]
    pub fn alike(&self, row: &[u8], at: Lsn) -> Vec<Key> {
        use std::ops::Bound::{Included, Unbounded};
        self.keys
            .range::<[u8], _>((Included(row), Unbounded))
            .take_while(|(key, _)| key.starts_with(row))
            .filter(|(key, stands)| key.len() == row.len() + COPY_BYTES && stands.seen(at).is_some())
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// As [`Head::apply`] while nobody reads yet: only where the key stands last is kept.
    pub fn load(&mut self, lsn: Lsn, key: Key, row: Option<RowRef>) {
        self.note(lsn, &key);
        match row {
            Some(_) => drop(self.keys.insert(key, Stands::new(lsn, row))),
            None => drop(self.keys.remove(&key)),
        }
    }

    /// The last commit that touched a key, and the row it left.
    #[must_use]
    pub fn latest(&self, key: &[u8]) -> Option<(Lsn, Option<&RowRef>)> {
        self.keys.get(key).map(Stands::latest)
    }

    /// The row of a key at a commit.
    #[must_use]
    pub fn get(&self, key: &[u8], at: Lsn) -> Option<&RowRef> {
        self.keys.get(key)?.seen(at)
    }

    /// All rows at a commit with their keys, in the order of the keys.
    pub fn rows(&self, at: Lsn) -> impl Iterator<Item = (&Key, &RowRef)> {
        self.keys.iter().filter_map(move |(key, stands)| Some((key, stands.seen(at)?)))
    }

    /// Up to `n` rows at a commit behind a key, in the order of the keys, without those whose keys are `left_out`, and the last key among
    /// them; no key behind the last row. A long scan holds the lock for one page at a time.
    #[must_use]
    pub fn page(&self, at: Lsn, after: Option<&Key>, n: usize, left_out: impl Fn(&Key) -> bool) -> (Runs, Option<Key>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |key| Excluded(key.as_ref()));
        let (mut rows, mut last) = (Runs::default(), None);
        let range = self.keys.range::<[u8], _>((from, Unbounded));
        for (key, row) in range.filter_map(|(key, stands)| Some((key, stands.seen(at)?))).take(n) {
            last = Some(key);
            if !left_out(key) {
                rows.push(row);
            }
        }
        (rows, last.cloned())
    }

    /// All rows at a commit, of these columns, in batches.
    pub fn scan(&self, at: Lsn, projection: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
        let rows: Vec<&RowRef> = self.rows(at).map(|(_, row)| row).collect();
        rows.chunks(SCAN_ROWS)
            .map(|chunk| {
                let batch = gather(&self.schema, chunk.iter().map(|row| Some(*row)))?;
                match projection {
                    None => Ok(batch),
                    Some(p) => batch.project(p).map_err(crate::error::Error::arrow),
                }
            })
            .collect()
    }

    /// Forgets commits from `from` on: they never happened.
    pub fn revoke(&mut self, from: Lsn) {
        while self.before.last().is_some_and(|b| b.changed >= from) {
            if let Some(before) = self.before.pop() {
                self.schema = before.schema;
                self.keys = before.keys;
            }
        }
        self.keys.retain(|_, stands| stands.revoke(from));
        if let Some(changed) = &mut self.changed {
            changed.keys.retain(|(lsn, ..)| *lsn < from);
        }
    }

    /// Forgets what nobody sees who reads at `since` or later.
    pub fn compact(&mut self, since: Lsn) {
        if since <= self.since {
            return;
        }
        self.since = since;
        self.before.retain(|b| b.changed > since);
        self.keys.retain(|_, stands| stands.compact(since));
    }
}

/// Rows under other columns, found by their ids; NULL where there is none.
pub fn by_ids(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let id = |f: &FieldRef| f.metadata().get(COLUMN_ID_KEY).cloned();
    let have = rows.schema();
    let column = |f: &FieldRef| {
        let at = have.fields().iter().position(|h| id(h).is_some() && id(h) == id(f) && h.data_type() == f.data_type());
        at.map_or_else(|| new_null_array(f.data_type(), rows.num_rows()), |at| rows.column(at).clone())
    };
    let columns = schema.fields().iter().map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}
