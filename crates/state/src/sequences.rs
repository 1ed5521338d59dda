//! Rows of groups in order, with what they were before the epoch: the state of functions with OVER.
//!
//! ```text
//! group -> chunks of slots in order       slot -> key bytes, columns, copies now, copies before the epoch
//!   [ 7 1 4 | 9 2 | .. ]                           (heap)     (Columns)
//! key = [ what the order says | the rest of the row ]           rows that agree in the first part are peers
//! ```
//! Rows of an epoch wait until its end and are sorted once; a group then takes few of them in one by one, and many by merging. A row that is
//! gone keeps its place until [`Sequences::settle`], so that a group can be read as it is and as it was.
//!
//! Invariant: equal keys in a group mean equal rows (the key ends with the whole row), so a row is stored once with its number of
//! copies; between epochs every row has at least one. Cost: sorting an epoch's rows; a look-up of a row by key O(log rows), of a
//! place by number O(chunks). Does not know what the key means.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use regauge_types::key::Keys;

use crate::columns::Columns;
use crate::error::StateError;
use crate::heap::Heap;

/// Most slots of a chunk: what an insertion in the middle moves.
const CHUNK_MAX: usize = 1024;
/// A group merges what comes when that is more than its length divided by this; else it takes it in one by one.
const MERGE_FROM: usize = 16;

/// How a group is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// As it was before the epoch.
    Before,
    /// As it is.
    Now,
}

/// A row that waits for the end of its epoch.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    group: u32,
    slot: u32,
    /// The key's first bytes: most comparisons end there.
    head: u128,
    diff: i64,
}

/// Sequences of rows, one for each group. See the module's header.
#[derive(Debug)]
pub struct Sequences {
    groups: Vec<Vec<Vec<u32>>>,
    keys: Heap,
    /// How much of a key the order says.
    order_len: Vec<u32>,
    columns: Columns,
    now: Vec<i64>,
    before: Vec<i64>,
    waiting: Vec<Waiting>,
    /// Sorted `waiting`: where the next group's rows start.
    at: usize,
    /// Slots whose copies changed in this epoch, by group.
    changed: Vec<(u32, u32)>,
    n_rows: usize,
    /// Bytes of all groups' chunks, kept as they change: they are asked for at each epoch's end.
    chunk_bytes: usize,
}

/// Bytes that a group's chunks hold.
fn held(chunks: &[Vec<u32>]) -> usize {
    chunks.iter().map(|c| c.capacity() * 4 + size_of::<Vec<u32>>()).sum()
}

impl Sequences {
    /// Empty; rows have columns of `types`.
    pub fn new(types: &[DataType]) -> Result<Self, StateError> {
        Ok(Sequences {
            groups: Vec::new(),
            keys: Heap::default(),
            order_len: Vec::new(),
            columns: Columns::new(types)?,
            now: Vec::new(),
            before: Vec::new(),
            waiting: Vec::new(),
            at: 0,
            changed: Vec::new(),
            n_rows: 0,
            chunk_bytes: 0,
        })
    }

    /// Takes rows of an epoch with the two parts of their keys; `diff` gives the number of copies that each adds.
    pub fn push(
        &mut self,
        groups: &[u32],
        [order, rest]: [&Keys; 2],
        rows: &[ArrayRef],
        diff: impl Fn(usize) -> i64,
    ) -> Result<(), StateError> {
        let all: Vec<u32> = (0..u32::try_from(groups.len()).map_err(|_| StateError::Full { n_rows: groups.len() })?).collect();
        let mut slots = Vec::with_capacity(all.len());
        self.columns.insert(rows, &all, &mut slots)?;
        self.now.resize(self.columns.n_slots(), 0);
        self.before.resize(self.columns.n_slots(), 0);
        self.order_len.resize(self.columns.n_slots(), 0);
        self.waiting.reserve(slots.len());
        let mut key = Vec::new();
        for (row, (group, slot)) in groups.iter().zip(slots).enumerate() {
            key.clear();
            key.extend_from_slice(order.get(row));
            self.order_len[slot as usize] = u32::try_from(key.len()).map_err(|_| StateError::Full { n_rows: row })?;
            key.extend_from_slice(rest.get(row));
            self.keys.set(slot, &key);
            self.waiting.push(Waiting { group: *group, slot, head: head(&key), diff: diff(row) });
        }
        Ok(())
    }

    /// Ends the taking in of an epoch's rows: they are sorted.
    pub fn seal(&mut self) {
        let keys = &self.keys;
        self.waiting.sort_unstable_by(|a, b| {
            a.group
                .cmp(&b.group)
                .then_with(|| a.head.cmp(&b.head))
                .then_with(|| keys.get(a.slot).cmp(keys.get(b.slot)))
                // what came first stays, so the form of equal rows does not vary
                .then_with(|| a.slot.cmp(&b.slot))
        });
        self.at = 0;
        let n_groups = self.waiting.last().map_or(0, |w| w.group as usize + 1);
        if self.groups.len() < n_groups {
            self.groups.resize_with(n_groups, Vec::new);
        }
    }

    /// Takes the next group's rows in: the group, and its slots whose copies changed, in order. `None` when all groups are done.
    pub fn next_group(&mut self) -> Option<(u32, Vec<u32>)> {
        let group = self.waiting.get(self.at)?.group;
        let end = self.at + self.waiting[self.at..].iter().take_while(|w| w.group == group).count();
        let waiting: Vec<Waiting> = self.waiting[self.at..end].to_vec();
        self.at = end;
        if end == self.waiting.len() {
            self.waiting = Vec::new();
            self.at = 0;
        }
        let mut come: Vec<Waiting> = Vec::with_capacity(waiting.len());
        for w in waiting {
            match come.last_mut() {
                Some(last) if last.head == w.head && self.keys.get(last.slot) == self.keys.get(w.slot) => {
                    last.diff += w.diff;
                    self.drop_row(w.slot);
                }
                _ => come.push(w),
            }
        }
        // Come and gone within the epoch: never seen.
        for w in come.extract_if(.., |w| w.diff == 0) {
            self.keys.clear(w.slot);
            self.columns.remove(w.slot);
        }
        let chunks = std::mem::take(&mut self.groups[group as usize]);
        self.chunk_bytes -= held(&chunks);
        let n: usize = chunks.iter().map(Vec::len).sum();
        let (chunks, touched) = if come.len() > n / MERGE_FROM { self.merge(&chunks, &come) } else { self.place(chunks, &come) };
        self.chunk_bytes += held(&chunks);
        self.groups[group as usize] = chunks;
        let changed: Vec<u32> = touched.into_iter().filter(|s| self.now[*s as usize] != self.before[*s as usize]).collect();
        self.changed.extend(changed.iter().map(|s| (group, *s)));
        Some((group, changed))
    }

    /// Puts rows where they belong, one by one.
    fn place(&mut self, mut chunks: Vec<Vec<u32>>, come: &[Waiting]) -> (Vec<Vec<u32>>, Vec<u32>) {
        let mut touched = Vec::with_capacity(come.len());
        for w in come {
            let key = self.keys.get(w.slot);
            let c = chunks.partition_point(|c| c.last().is_some_and(|s| self.keys.get(*s) < key));
            let c = c.min(chunks.len().saturating_sub(1));
            if chunks.is_empty() {
                chunks.push(Vec::new());
            }
            match chunks[c].binary_search_by(|s| self.keys.get(*s).cmp(key)) {
                Ok(at) => {
                    let slot = chunks[c][at];
                    self.now[slot as usize] += w.diff;
                    self.drop_row(w.slot);
                    touched.push(slot);
                }
                Err(at) => {
                    chunks[c].insert(at, w.slot);
                    self.now[w.slot as usize] = w.diff;
                    self.n_rows += 1;
                    touched.push(w.slot);
                    if chunks[c].len() > CHUNK_MAX {
                        let rear = chunks[c].split_off(CHUNK_MAX / 2);
                        chunks.insert(c + 1, rear);
                    }
                }
            }
        }
        (chunks, touched)
    }

    /// Merges two sorted runs.
    fn merge(&mut self, chunks: &[Vec<u32>], come: &[Waiting]) -> (Vec<Vec<u32>>, Vec<u32>) {
        let old: Vec<u32> = chunks.iter().flatten().copied().collect();
        let mut all = Vec::with_capacity(old.len() + come.len());
        let mut touched = Vec::with_capacity(come.len());
        let (mut i, mut j) = (0, 0);
        while j < come.len() {
            let w = come[j];
            let side = old.get(i).map_or(Ordering::Greater, |s| self.keys.get(*s).cmp(self.keys.get(w.slot)));
            match side {
                Ordering::Less => {
                    all.push(old[i]);
                    i += 1;
                }
                Ordering::Equal => {
                    self.now[old[i] as usize] += w.diff;
                    self.drop_row(w.slot);
                    touched.push(old[i]);
                    all.push(old[i]);
                    i += 1;
                    j += 1;
                }
                Ordering::Greater => {
                    self.now[w.slot as usize] = w.diff;
                    self.n_rows += 1;
                    touched.push(w.slot);
                    all.push(w.slot);
                    j += 1;
                }
            }
        }
        all.extend_from_slice(&old[i..]);
        (cut(all), touched)
    }

    /// Takes rows of a group out, whatever copies they have: they are gone when the epoch ends.
    pub fn expire(&mut self, group: u32, slots: &[u32]) {
        for slot in slots {
            let at = *slot as usize;
            // one that changed in this epoch is noted already
            if self.now[at] == self.before[at] {
                self.changed.push((group, *slot));
            }
            self.now[at] = 0;
        }
    }

    fn drop_row(&mut self, slot: u32) {
        self.keys.clear(slot);
        self.columns.remove(slot);
    }

    /// Ends the epoch: rows without copies go, and what is now is what was before the next.
    pub fn settle(&mut self) {
        let mut changed = std::mem::take(&mut self.changed);
        // Groups ascend, but for what expired after them.
        changed.sort_by_key(|(group, _)| *group);
        for of_group in changed.chunk_by(|a, b| a.0 == b.0) {
            let group = of_group[0].0;
            let mut gone: Vec<u32> = Vec::new();
            for (_, slot) in of_group {
                self.before[*slot as usize] = self.now[*slot as usize];
                if self.now[*slot as usize] == 0 {
                    gone.push(*slot);
                }
            }
            if gone.is_empty() {
                continue;
            }
            let mut chunks = std::mem::take(&mut self.groups[group as usize]);
            self.chunk_bytes -= held(&chunks);
            let n: usize = chunks.iter().map(Vec::len).sum();
            if gone.len() > n / MERGE_FROM {
                chunks = cut(chunks.into_iter().flatten().filter(|s| self.now[*s as usize] != 0).collect());
            } else {
                for slot in &gone {
                    let (c, at) = self.find(&chunks, *slot);
                    chunks[c].remove(at);
                    if chunks[c].is_empty() {
                        chunks.remove(c);
                    }
                }
            }
            self.chunk_bytes += held(&chunks);
            self.groups[group as usize] = chunks;
            self.n_rows -= gone.len();
            gone.into_iter().for_each(|slot| self.drop_row(slot));
        }
    }

    fn find(&self, chunks: &[Vec<u32>], slot: u32) -> (usize, usize) {
        let key = self.keys.get(slot);
        let c = chunks.partition_point(|c| c.last().is_some_and(|s| self.keys.get(*s) < key));
        let at = chunks.get(c).map_or(0, |c| c.partition_point(|s| self.keys.get(*s) < key));
        (c, at)
    }

    /// The place of a slot in its group, counting slots.
    pub fn place_of(&self, group: u32, slot: u32) -> usize {
        let chunks = &self.groups[group as usize];
        let (c, at) = self.find(chunks, slot);
        chunks[..c].iter().map(Vec::len).sum::<usize>() + at
    }

    /// Slots of a group, those of rows that are gone or new among them.
    pub fn n_slots(&self, group: u32) -> usize {
        self.groups[group as usize].iter().map(Vec::len).sum()
    }

    /// Slots of a group by place.
    pub fn slots(&self, group: u32, places: Range<usize>) -> Vec<u32> {
        let mut out = Vec::with_capacity(places.len());
        let mut first = 0;
        for chunk in &self.groups[group as usize] {
            let (from, to) = (places.start.max(first), places.end.min(first + chunk.len()));
            if from < to {
                out.extend_from_slice(&chunk[from - first..to - first]);
            }
            first += chunk.len();
            if first >= places.end {
                break;
            }
        }
        out
    }

    /// Copies of the row at a slot.
    #[inline]
    pub fn copies(&self, slot: u32, weights: Weights) -> i64 {
        match weights {
            Weights::Now => self.now[slot as usize],
            Weights::Before => self.before[slot as usize],
        }
    }

    /// The slot at a place of a group.
    pub fn slot_at(&self, group: u32, place: usize) -> u32 {
        let mut left = place;
        for chunk in &self.groups[group as usize] {
            match chunk.get(left) {
                Some(slot) => return *slot,
                None => left -= chunk.len(),
            }
        }
        panic!("place {place} is beyond its group")
    }

    /// Copies, as they are now, before a place of a group.
    pub fn copies_before(&self, group: u32, place: usize) -> usize {
        let slots = self.groups[group as usize].iter().flatten().take(place);
        slots.map(|s| usize::try_from(self.now[*s as usize]).unwrap_or(0)).sum()
    }

    /// Whether the rows at two slots of a group agree in the order.
    pub fn are_peers(&self, a: u32, b: u32) -> bool {
        let order = |s: u32| &self.keys.get(s)[..self.order_len[s as usize] as usize];
        order(a) == order(b)
    }

    /// The rows at `slots`.
    pub fn gather(&self, slots: &[u32]) -> Vec<ArrayRef> {
        self.columns.gather(slots)
    }

    /// Some columns of the rows at `slots`.
    pub fn gather_column(&self, column: usize, slots: &[u32]) -> ArrayRef {
        self.columns.gather_column(column, slots)
    }

    /// Distinct rows stored.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        let fixed = self.groups.capacity() * size_of::<Vec<Vec<u32>>>()
            + (self.now.capacity() + self.before.capacity()) * 8
            + self.order_len.capacity() * 4;
        self.columns.n_bytes() + self.keys.n_bytes() + self.chunk_bytes + fixed + self.waiting.capacity() * size_of::<Waiting>()
    }
}

/// The first bytes of a key as a number that orders alike.
fn head(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let n = key.len().min(16);
    bytes[..n].copy_from_slice(&key[..n]);
    u128::from_be_bytes(bytes)
}

/// A run as chunks with room in each.
fn cut(all: Vec<u32>) -> Vec<Vec<u32>> {
    if all.is_empty() {
        return Vec::new();
    }
    if all.len() <= CHUNK_MAX / 2 {
        return vec![all];
    }
    all.chunks(CHUNK_MAX / 2).map(<[u32]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use proptest::prelude::*;
    use regauge_types::key::encode;
    use std::sync::Arc;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        /// Few groups, long enough for several chunks, whose rows come, merge, and go.
        #[test]
        fn the_bytes_of_chunks_are_those_that_a_look_at_all_of_them_finds(
            epochs in proptest::collection::vec((0u32..3, 0i64..3000, 1i64..1500, any::<bool>()), 1..12),
        ) {
            let mut all = Sequences::new(&[DataType::Int64]).unwrap();
            let mut there = std::collections::BTreeSet::new();
            for (group, from, n, comes) in epochs {
                let values: Vec<i64> = (from..from + n).filter(|v| there.contains(&(group, *v)) != comes).collect();
                for v in &values {
                    if comes { there.insert((group, *v)); } else { there.remove(&(group, *v)); }
                }
                let rows: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(values.clone()))];
                let keys = encode(&rows, values.len()).unwrap();
                all.push(&vec![group; values.len()], [&keys, &keys], &rows, |_| if comes { 1 } else { -1 }).unwrap();
                all.seal();
                while all.next_group().is_some() {}
                all.settle();
                prop_assert_eq!(all.n_rows(), there.len());
                prop_assert_eq!(all.chunk_bytes, all.groups.iter().map(|g| held(g)).sum::<usize>());
            }
        }
    }
}
