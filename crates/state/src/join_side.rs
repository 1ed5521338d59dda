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

use crate::bucket_table::BucketTable;
use crate::columns::Columns;
use crate::error::StateError;
use crate::segments::Segments;
use crate::weights::Weights;

/// End of a chain.
const NIL: u32 = u32::MAX;

/// Sides with fewer slots than this are in the processor's caches anyway.
const WARM_SLOTS_MIN: usize = 1 << 14;

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
        self.warm_chains(rows.iter().map(|row| incoming.key_hashes[*row as usize]));
        for (slot, row) in slots.iter().zip(rows) {
            self.link(*slot, incoming.key_hashes[*row as usize]);
            placed.push(Placed { row: *row, slot: *slot, created: true });
        }
        Ok(())
    }

    /// In passes over the batch, each a plain loop over one thing: a row by itself would wait for memory once for each column, and a
    /// loop over one column waits for many rows at once. Rows whose hash is new are stored; the others name the first row whose hash agrees,
    /// and are compared with it column by column.
    fn apply_weights(&mut self, incoming: &Incoming<'_>, placed: &mut Vec<Placed>) -> Result<(), StateError> {
        let first = placed.len();
        let n_rows = incoming.rows.len();
        if self.columns.n_slots() + n_rows >= u32::MAX as usize {
            return Err(StateError::Full { n_rows: self.columns.n_slots() });
        }
        let (mut new, mut new_rows) = (Vec::new(), Vec::new());
        let (mut named, mut named_rows, mut named_at) = (Vec::new(), Vec::new(), Vec::new());
        let JoinSide { columns, retractable: Some(r), .. } = self else { return Ok(()) };
        placed.reserve(n_rows);
        r.by_row.warm(incoming.rows.iter().map(|row| incoming.row_hashes[*row as usize]));
        for row in incoming.rows {
            let mut make = || columns.reserve().expect("checked above that slots are left");
            let (slot, created) = r.by_row.find_or_insert(incoming.row_hashes[*row as usize], |_| true, &mut make);
            if created {
                new.push(slot);
                new_rows.push(*row);
            } else {
                named.push(slot);
                named_rows.push(*row);
                named_at.push(placed.len());
            }
            placed.push(Placed { row: *row, slot, created });
        }
        columns.write(&new, incoming.columns, &new_rows);
        self.settle_in(&new, &new_rows, incoming);
        let mut same = vec![true; named.len()];
        self.columns.retain_same_bits(&named, incoming.columns, &named_rows, &mut same);
        for (at, row) in named_at.iter().zip(&named_rows).zip(&same).filter(|(_, same)| !**same).map(|(of, _)| of) {
            // Two different rows whose hashes agree (or 0.0 beside -0.0): the slow, exact way.
            placed[*at] = self.place_alone(*row, incoming)?;
        }
        let r = self.retractable.as_mut().expect("apply chose this path for a retractable side");
        for p in &placed[first..] {
            r.weight.set(p.slot, r.weight.get(p.slot) + incoming.diff(p.row));
        }
        Ok(())
    }

    /// Room, a chain and weight 0 for rows that were written to new slots.
    fn settle_in(&mut self, slots: &[u32], rows: &[u32], incoming: &Incoming<'_>) {
        self.grow();
        self.warm_chains(rows.iter().map(|row| incoming.key_hashes[*row as usize]));
        for (slot, row) in slots.iter().zip(rows) {
            self.link(*slot, incoming.key_hashes[*row as usize]);
        }
        if let Some(r) = &mut self.retractable {
            slots.iter().for_each(|slot| r.weight.set(*slot, 0));
        }
    }

    /// The slot with exactly this row, made if there is none, whatever other rows have its hash.
    fn place_alone(&mut self, row: u32, incoming: &Incoming<'_>) -> Result<Placed, StateError> {
        let hash = incoming.row_hashes[row as usize];
        if let Some(slot) = self.slot_of(incoming.columns, row, hash) {
            return Ok(Placed { row, slot, created: false });
        }
        let slot = self.columns.reserve()?;
        self.columns.write(&[slot], incoming.columns, &[row]);
        self.settle_in(&[slot], &[row], incoming);
        if let Some(r) = &mut self.retractable {
            r.by_row.find_or_insert(hash, |_| false, || slot);
        }
        Ok(Placed { row, slot, created: true })
    }

    fn grow(&mut self) {
        let n = self.columns.n_slots();
        self.next.grow(n, NIL);
        if let Some(r) = &mut self.retractable {
            r.prev.grow(n, NIL);
            r.weight.grow(n);
        }
    }

    /// Reads what linking rows of these keys will read, see [`BucketTable::warm`].
    fn warm_chains(&self, key_hashes: impl Iterator<Item = u64> + Clone) {
        if self.columns.n_slots() < WARM_SLOTS_MIN {
            return;
        }
        self.heads.warm(key_hashes.clone());
        let heads = key_hashes.filter_map(|hash| self.heads.find(hash, |_| true));
        std::hint::black_box(heads.fold(0, |read, head| read ^ self.next[head as usize]));
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

    /// Takes slots out, each as [`JoinSide::remove`] does.
    pub fn remove_all(&mut self, slots: &[u32], key_hashes: &[u64], row_hashes: &[u64]) {
        if self.columns.n_slots() >= WARM_SLOTS_MIN
            && let Some(r) = &self.retractable
        {
            self.heads.warm(key_hashes.iter().copied());
            r.by_row.warm(row_hashes.iter().copied());
            let read = |slot: &u32| self.next[*slot as usize] ^ r.prev[*slot as usize];
            std::hint::black_box(slots.iter().fold(0, |all, slot| all ^ read(slot)));
        }
        for ((slot, key_hash), row_hash) in slots.iter().zip(key_hashes).zip(row_hashes) {
            self.remove(*slot, *key_hash, *row_hash);
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
        self.remove_all(slots, &key_hashes, &row_hashes);
        Ok(())
    }

    /// The frozen hashes of the keys of the rows at these slots.
    pub fn key_hashes(&self, slots: &[u32]) -> Result<Vec<u64>, StateError> {
        let keys: Vec<ArrayRef> = self.on.iter().map(|c| self.columns.gather_column(*c, slots)).collect();
        Ok(hash_columns(&keys, slots.len())?)
    }

    /// Takes slots out of their chains and frees them, on a side that is not retractable; each comes with the hash of its key. Costs the
    /// length of each chain once.
    pub fn unlink(&mut self, slots: &[(u64, u32)]) {
        let mut slots = slots.to_vec();
        slots.sort_unstable();
        for of_key in slots.chunk_by(|a, b| a.0 == b.0) {
            let hash = of_key[0].0;
            let leaves = |slot: u32| of_key.binary_search_by_key(&slot, |(_, s)| *s).is_ok();
            let Some(head) = self.heads.find(hash, |_| true) else { continue };
            let kept: Vec<u32> = self.chain(hash).into_iter().filter(|slot| !leaves(*slot)).collect();
            match kept.first() {
                // rows of another key whose hash is alike
                Some(first) => self.heads.replace(hash, head, *first),
                None => drop(self.heads.remove(hash, head)),
            }
            for (i, slot) in kept.iter().enumerate() {
                self.next[*slot as usize] = kept.get(i + 1).copied().unwrap_or(NIL);
            }
            of_key.iter().for_each(|(_, slot)| self.columns.remove(*slot));
        }
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
        if at.row == 0 && at.slot.is_none() {
            self.heads.warm(probing.iter().map(|row| key_hashes[*row as usize]));
        }
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
        let of = |r: &Retractable| r.prev.n_bytes() + r.weight.n_bytes() + r.by_row.n_bytes();
        own + self.retractable.as_ref().map_or(0, of)
    }
}
