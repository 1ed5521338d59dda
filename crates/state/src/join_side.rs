//! One side of a join: its rows, and for each key hash the chain of rows that have it.
//!
//! ```text
//! heads: key hash -> slot 7          slot:      3     7     9
//!                      │             next:    [NIL]  [9]   [3]      chain 7 -> 9 -> 3
//!                      └─────────▶   prev:    [ 9 ] [NIL]  [7]      retractable sides only
//!                                    weight:  [ 1 ]  [2]   [1]      retractable sides only
//!                                    columns: rows by slot (crate::Columns)
//! ```
//!
//! An append-only side keeps no weights and no row index; neither keeps hashes beyond the bits in its indexes. A retractable side stores each distinct row once, with its weight,
//! found again by a second index over the whole row, so a retraction costs O(1) however many rows share its key; chains are
//! doubly linked for the same reason.
//! Invariants: every alive slot is in exactly one chain, that of its key hash; on a retractable side no two alive slots have the
//! same bits. A weight may be zero or negative within an epoch (batches of one epoch come in any order); the owner calls
//! [`JoinSide::remove`] for slots it finds at zero when that is safe.
//! Chains are by the 40 bits of the hash that [`BucketTable`] compares: the caller verifies keys with
//! [`JoinSide::retain_same_key`], which drops the odd pair that only those bits have in common. Does not know match counts.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use regauge_types::hash::hash_columns;

use crate::bits::Bits;
use crate::bucket_table::BucketTable;
use crate::columns::Columns;
use crate::error::StateError;
use crate::segments::Segments;
use crate::weights::Weights;

/// End of a chain.
const NIL: u32 = u32::MAX;

/// Rows on their way in. All slices are indexed by the row's position in `columns`.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// One array per stored column.
    pub columns: &'a [ArrayRef],
    /// The rows to store.
    pub rows: &'a [u32],
    /// Frozen hash of the key columns.
    pub key_hashes: &'a [u64],
    /// Frozen hash of all stored columns; empty on an append-only side.
    pub row_hashes: &'a [u64],
    /// Diffs, or `None` for +1 each.
    pub diffs: Option<&'a [i64]>,
}

impl Incoming<'_> {
    fn diff(&self, row: u32) -> i64 {
        self.diffs.map_or(1, |d| d[row as usize])
    }
}

/// What became of one incoming row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The incoming row.
    pub row: u32,
    /// Where it is stored.
    pub slot: u32,
    /// Whether the slot was made for it (else its weight was added to what stood there).
    pub created: bool,
}

/// How far a probe has come; start with the default.
#[derive(Debug, Default, Clone, Copy)]
pub struct ProbeAt {
    row: usize,
    slot: Option<u32>,
}

#[derive(Debug, Default)]
struct Retractable {
    prev: Segments<u32>,
    weight: Weights,
    by_row: BucketTable,
    /// Reserved in the current batch and not yet written.
    fresh: Bits,
}

/// The stored rows of one side.
#[derive(Debug)]
pub struct JoinSide {
    columns: Columns,
    on: Vec<usize>,
    heads: BucketTable,
    next: Segments<u32>,
    retractable: Option<Retractable>,
}

impl JoinSide {
    /// An empty side storing columns of `types`, chained by the columns `on`.
    pub fn new(types: &[DataType], on: Vec<usize>, append_only: bool) -> Result<Self, StateError> {
        Ok(JoinSide {
            columns: Columns::new(types)?,
            on,
            heads: BucketTable::default(),
            next: Segments::default(),
            retractable: (!append_only).then(Retractable::default),
        })
    }

    /// Whether rows can be taken back.
    pub fn is_retractable(&self) -> bool {
        self.retractable.is_some()
    }

    /// Stores rows, or changes the weight of rows already stored; appends what became of each to `placed`, in order of `rows`.
    pub fn apply(&mut self, incoming: &Incoming<'_>, placed: &mut Vec<Placed>) -> Result<(), StateError> {
        if self.retractable.is_some() { self.apply_weights(incoming, placed) } else { self.append(incoming, placed) }
    }

    fn append(&mut self, incoming: &Incoming<'_>, placed: &mut Vec<Placed>) -> Result<(), StateError> {
        let repeated: Vec<u32>;
        let rows = match incoming.diffs {
            None => incoming.rows,
            Some(diffs) => {
                let mut all = Vec::with_capacity(incoming.rows.len());
                for row in incoming.rows {
                    let diff = diffs[*row as usize];
                    let times = usize::try_from(diff).map_err(|_| StateError::Retraction { diff })?;
                    all.extend(std::iter::repeat_n(*row, times));
                }
                repeated = all;
                &repeated
            }
        };
        let mut slots = Vec::with_capacity(rows.len());
        self.columns.insert(incoming.columns, rows, &mut slots)?;
        self.grow();
        for (slot, row) in slots.iter().zip(rows) {
            self.link(*slot, incoming.key_hashes[*row as usize]);
            placed.push(Placed { row: *row, slot: *slot, created: true });
        }
        Ok(())
    }

    fn apply_weights(&mut self, incoming: &Incoming<'_>, placed: &mut Vec<Placed>) -> Result<(), StateError> {
        let (mut slots, mut rows) = (Vec::new(), Vec::new());
        for row in incoming.rows {
            let hash = incoming.row_hashes[*row as usize];
            let found = self.find_row(hash, incoming.columns, *row, &mut slots, &mut rows);
            let (slot, created) = match found {
                Some(slot) => (slot, false),
                None => {
                    let slot = self.columns.reserve()?;
                    slots.push(slot);
                    rows.push(*row);
                    self.grow();
                    self.link(slot, incoming.key_hashes[*row as usize]);
                    let r = self.retractable.as_mut().expect("apply chose this path for a retractable side");
                    r.weight.set(slot, 0);
                    r.fresh.insert(slot);
                    // `find_row` said that no equal row is stored.
                    r.by_row.find_or_insert(hash, |_| false, || slot);
                    (slot, true)
                }
            };
            let r = self.retractable.as_mut().expect("apply chose this path for a retractable side");
            r.weight.set(slot, r.weight.get(slot) + incoming.diff(*row));
            placed.push(Placed { row: *row, slot, created });
        }
        self.flush(incoming.columns, &mut slots, &mut rows);
        Ok(())
    }

    /// The slot with exactly this row. Rows reserved but not yet written are written first if one of them may be it.
    fn find_row(&mut self, hash: u64, from: &[ArrayRef], row: u32, slots: &mut Vec<u32>, rows: &mut Vec<u32>) -> Option<u32> {
        let r = self.retractable.as_ref()?;
        let candidate = r.by_row.find(hash, |_| true)?;
        if r.fresh.has(candidate) {
            self.flush(from, slots, rows);
        }
        if self.columns.same_bits(candidate, from, row) {
            return Some(candidate);
        }
        // Two different rows whose hashes agree (or 0.0 beside -0.0): the slow, exact way.
        self.flush(from, slots, rows);
        let r = self.retractable.as_ref()?;
        r.by_row.find(hash, |s| self.columns.same_bits(s, from, row))
    }

    fn flush(&mut self, from: &[ArrayRef], slots: &mut Vec<u32>, rows: &mut Vec<u32>) {
        self.columns.write(slots, from, rows);
        if let Some(r) = &mut self.retractable {
            for slot in slots.iter() {
                r.fresh.remove(*slot);
            }
        }
        slots.clear();
        rows.clear();
    }

    fn grow(&mut self) {
        let n = self.columns.n_slots();
        self.next.grow(n, NIL);
        if let Some(r) = &mut self.retractable {
            r.prev.grow(n, NIL);
            r.weight.grow(n);
        }
    }

    fn link(&mut self, slot: u32, hash: u64) {
        let (head, new_chain) = self.heads.find_or_insert(hash, |_| true, || slot);
        self.next[slot as usize] = NIL;
        if !new_chain {
            // Behind the head: the index entry stays as it is.
            let after = self.next[head as usize];
            self.next[slot as usize] = after;
            self.next[head as usize] = slot;
            if let Some(r) = &mut self.retractable {
                r.prev[slot as usize] = head;
                if after != NIL {
                    r.prev[after as usize] = slot;
                }
            }
        } else if let Some(r) = &mut self.retractable {
            r.prev[slot as usize] = NIL;
        }
    }

    /// Takes a slot out of its chain and frees it; the hashes are those that its row came with. Only for retractable sides; the
    /// caller has seen its weight at zero.
    pub fn remove(&mut self, slot: u32, key_hash: u64, row_hash: u64) {
        let Some(r) = &mut self.retractable else { return };
        let s = slot as usize;
        let (before, after) = (r.prev[s], self.next[s]);
        match (before, after) {
            (NIL, NIL) => {
                let stood = self.heads.remove(key_hash, slot);
                debug_assert!(stood, "a row goes by the hashes that it came with");
            }
            (NIL, after) => self.heads.replace(key_hash, slot, after),
            (before, after) => self.next[before as usize] = after,
        }
        if after != NIL {
            r.prev[after as usize] = before;
        }
        let stood = r.by_row.remove(row_hash, slot);
        debug_assert!(stood, "a row goes by the hashes that it came with");
        self.columns.remove(slot);
    }

    /// As [`JoinSide::remove`], for rows that came with the frozen hashes.
    pub fn forget(&mut self, slots: &[u32]) -> Result<(), StateError> {
        if slots.is_empty() {
            return Ok(());
        }
        let rows = self.columns.gather(slots);
        let keys: Vec<ArrayRef> = self.on.iter().map(|c| Arc::clone(&rows[*c])).collect();
        let (key_hashes, row_hashes) = (hash_columns(&keys, slots.len())?, hash_columns(&rows, slots.len())?);
        for (i, slot) in slots.iter().enumerate() {
            self.remove(*slot, key_hashes[i], row_hashes[i]);
        }
        Ok(())
    }

    /// Appends pairs (probing row, stored slot) that may have equal keys, since their hashes agree, until at least `limit` pairs stand in `slots` or all is
    /// done; true when done. Rows come in order of `probing`; call again with the same `at` for the rest.
    pub fn probe(
        &self,
        key_hashes: &[u64],
        probing: &[u32],
        at: &mut ProbeAt,
        limit: usize,
        rows: &mut Vec<u32>,
        slots: &mut Vec<u32>,
    ) -> bool {
        while at.row < probing.len() {
            let row = probing[at.row];
            let hash = key_hashes[row as usize];
            let mut slot = match at.slot.take() {
                Some(slot) => slot,
                None => self.heads.find(hash, |_| true).unwrap_or(NIL),
            };
            while slot != NIL {
                if slots.len() >= limit {
                    at.slot = Some(slot);
                    return false;
                }
                rows.push(row);
                slots.push(slot);
                slot = self.next[slot as usize];
            }
            at.row += 1;
        }
        true
    }

    /// Drops the pairs whose keys differ; `keys` are the probing side's key columns, in the order of `on`.
    pub fn retain_same_key(&self, keys: &[ArrayRef], nulls_equal: bool, rows: &mut Vec<u32>, slots: &mut Vec<u32>) {
        let mut keep = vec![true; slots.len()];
        self.columns.retain_same_key(&self.on, slots, keys, rows, nulls_equal, &mut keep);
        if keep.iter().all(|k| *k) {
            return;
        }
        let mut kept = keep.iter();
        rows.retain(|_| *kept.next().expect("one flag a pair"));
        let mut kept = keep.iter();
        slots.retain(|_| *kept.next().expect("one flag a pair"));
    }

    /// The slot of exactly this row on a retractable side; `row_hash` is the frozen hash of all its columns.
    pub fn slot_of(&self, columns: &[ArrayRef], row: u32, row_hash: u64) -> Option<u32> {
        self.retractable.as_ref()?.by_row.find(row_hash, |slot| self.columns.same_bits(slot, columns, row))
    }

    /// The slots in the chain of a key's hash: all rows of that key, and the odd one whose key only hashes alike.
    pub fn chain(&self, key_hash: u64) -> Vec<u32> {
        let mut slot = self.heads.find(key_hash, |_| true).unwrap_or(NIL);
        let mut slots = vec![];
        while slot != NIL {
            slots.push(slot);
            slot = self.next[slot as usize];
        }
        slots
    }

    /// The weight of the row at `slot`.
    #[inline]
    pub fn weight(&self, slot: u32) -> i64 {
        self.retractable.as_ref().map_or(1, |r| r.weight.get(slot))
    }

    /// The slots of the rows whose keys are in one bucket (0..256), ascending: what a checkpoint of that bucket takes.
    pub fn bucket(&self, bucket: usize) -> Vec<u32> {
        let mut slots = Vec::new();
        for head in self.heads.ids(bucket) {
            let mut slot = head;
            while slot != NIL {
                slots.push(slot);
                slot = self.next[slot as usize];
            }
        }
        slots.sort_unstable();
        slots
    }

    /// The stored rows at `slots`.
    pub fn gather(&self, slots: &[u32]) -> Vec<ArrayRef> {
        self.columns.gather(slots)
    }

    /// Slots ever given out.
    pub fn n_slots(&self) -> usize {
        self.columns.n_slots()
    }

    /// Rows stored (distinct rows on a retractable side).
    pub fn n_rows(&self) -> usize {
        self.columns.n_alive()
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        let own = self.columns.n_bytes() + self.heads.n_bytes() + self.next.n_bytes();
        let of = |r: &Retractable| r.prev.n_bytes() + r.weight.n_bytes() + r.fresh.n_bytes() + r.by_row.n_bytes();
        own + self.retractable.as_ref().map_or(0, of)
    }
}
