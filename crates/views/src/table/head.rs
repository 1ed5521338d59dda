//! Where each key of a table stands, now and at the commits that someone still reads.
//!
//! ```text
//!   key ──▶ [(lsn 3, row), (lsn 9, no row), (lsn 12, row)]        a reader at lsn 10 sees: no row
//! ```
//! Invariant: a key's entries ascend in lsn; a read at `at` sees the last entry with lsn <= at. Keys are ordered, so a scan's
//! order is a function of the contents. Cost: logarithmic per key touched; a scan visits all keys once. Entries that no reader
//! can see any more go with [`Head::compact`]. It does not know who may write: that is the judge's.

use super::writes::{Key, RowRef, gather};
use crate::error::Result;
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use regauge_types::Lsn;
use std::collections::BTreeMap;

/// Rows per batch of a scan: the engine's unit of work (measured: 8,192 rows stay in cache).
const SCAN_ROWS: usize = 8192;

/// The head of one table.
#[derive(Debug)]
pub struct Head {
    schema: SchemaRef,
    keys: BTreeMap<Key, Vec<(Lsn, Option<RowRef>)>>,
    since: Lsn,
}

impl Head {
    /// An empty table.
    #[must_use]
    pub fn new(schema: SchemaRef) -> Head {
        Head { schema, keys: BTreeMap::new(), since: Lsn::ZERO }
    }

    /// Columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Takes in the row (or its absence) that a commit gave a key. Commits come in order.
    pub fn apply(&mut self, lsn: Lsn, key: Key, row: Option<RowRef>) {
        self.keys.entry(key).or_default().push((lsn, row));
    }

    /// As [`Head::apply`] while nobody reads yet: only where the key stands last is kept.
    pub fn load(&mut self, lsn: Lsn, key: Key, row: Option<RowRef>) {
        match row {
            Some(_) => drop(self.keys.insert(key, vec![(lsn, row)])),
            None => drop(self.keys.remove(&key)),
        }
    }

    /// The last commit that touched a key, and the row it left.
    #[must_use]
    pub fn latest(&self, key: &[u8]) -> Option<(Lsn, Option<&RowRef>)> {
        let (lsn, row) = self.keys.get(key)?.last()?;
        Some((*lsn, row.as_ref()))
    }

    /// The row of a key at a commit.
    #[must_use]
    pub fn get(&self, key: &[u8], at: Lsn) -> Option<&RowRef> {
        seen(self.keys.get(key)?, at)
    }

    /// All rows at a commit with their keys, in the order of the keys.
    pub fn rows(&self, at: Lsn) -> impl Iterator<Item = (&Key, &RowRef)> {
        self.keys.iter().filter_map(move |(key, entries)| Some((key, seen(entries, at)?)))
    }

    /// Up to `n` rows at a commit behind a key, in the order of the keys: a long scan holds the lock for one page at a time.
    #[must_use]
    pub fn page(&self, at: Lsn, after: Option<&Key>, n: usize) -> Vec<(Key, RowRef)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |key| Excluded(key.as_ref()));
        let range = self.keys.range::<[u8], _>((from, Unbounded));
        range.filter_map(|(key, entries)| Some((key.clone(), seen(entries, at)?.clone()))).take(n).collect()
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
        self.keys.retain(|_, entries| {
            entries.retain(|(lsn, _)| *lsn < from);
            !entries.is_empty()
        });
    }

    /// Forgets what nobody sees who reads at `since` or later.
    pub fn compact(&mut self, since: Lsn) {
        if since <= self.since {
            return;
        }
        self.since = since;
        self.keys.retain(|_, entries| {
            let keep = entries.iter().rposition(|(lsn, _)| *lsn <= since).unwrap_or(0);
            entries.drain(..keep);
            !matches!(entries.as_slice(), [(lsn, None)] if *lsn <= since)
        });
    }
}

fn seen(entries: &[(Lsn, Option<RowRef>)], at: Lsn) -> Option<&RowRef> {
    entries.iter().rev().find(|(lsn, _)| *lsn <= at)?.1.as_ref()
}
