//! Rows of groups in the order of a moment, with what each counted for when the epoch began: the state of as-of joins.
//!
//! ```text
//! key = [ group: u32 big endian | moment | rest of the row ]   ->   slot into Columns, copies before the epoch, copies now
//! ```
//! Moments are in the frozen key encoding, of which none is the beginning of another: so all rows of one moment stand together, and
//! [`after`] names the place behind them. Rows that change in an epoch are remembered, each once, and handed out from the greatest
//! key down; once they are more than half of all rows the whole tree is walked instead, so that a rebuild holds no second copy of it.
//!
//! Invariant: equal keys mean equal rows. A row whose copies reach zero keeps its entry until [`Timeline::settle`], so that the epoch's
//! beginning can still be read. Add, look-up, step: O(log rows). It does not know what a moment means, nor its direction.

use std::collections::BTreeMap;
use std::ops::Bound;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::columns::Columns;
use crate::error::StateError;

/// Fewer changes than this are always listed.
const LISTED: usize = 4096;

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Where its columns are.
    pub slot: u32,
    /// Copies when the epoch began.
    pub before: i64,
    /// Copies now.
    pub now: i64,
    moment_end: u32,
    touched: bool,
}

impl Standing {
    /// Whether it stood when the epoch began and stands now.
    pub fn lasts(&self) -> bool {
        self.before > 0 && self.now > 0
    }
}

/// Which rows changed in this epoch.
#[derive(Debug)]
enum Changed {
    Listed(Vec<Box<[u8]>>),
    /// Too many to be listed: the entries say it.
    Many,
}

/// See the module's header.
#[derive(Debug)]
pub struct Timeline {
    entries: BTreeMap<Box<[u8]>, Standing>,
    columns: Columns,
    changed: Changed,
    /// Listed changes not yet handed out, or the last one that was.
    left: usize,
    last: Option<Box<[u8]>>,
    scratch: Vec<u8>,
    key_bytes: usize,
}

/// The first place behind everything that begins with `key`.
pub fn after(key: &[u8]) -> Vec<u8> {
    let mut end = key.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // Nothing is behind; keys begin with a group that is below the greatest number.
    vec![u8::MAX; 5]
}

/// The group in a key.
pub fn group_of(key: &[u8]) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&key[..4]);
    u32::from_be_bytes(bytes)
}

impl Timeline {
    /// Empty; rows have columns of `types`.
    pub fn new(types: &[DataType]) -> Result<Self, StateError> {
        Ok(Timeline {
            entries: BTreeMap::new(),
            columns: Columns::new(types)?,
            changed: Changed::Listed(Vec::new()),
            left: 0,
            last: None,
            scratch: Vec::new(),
            key_bytes: 0,
        })
    }

    /// Adds `diff` copies of row `row` of `from`; true when there is a new entry in the group.
    pub fn add(
        &mut self,
        group: u32,
        moment: &[u8],
        rest: &[u8],
        from: &[ArrayRef],
        row: u32,
        diff: i64,
    ) -> Result<bool, StateError> {
        self.scratch.clear();
        self.scratch.extend_from_slice(&group.to_be_bytes());
        self.scratch.extend_from_slice(moment);
        self.scratch.extend_from_slice(rest);
        let moment_end = u32::try_from(4 + moment.len()).map_err(|_| StateError::Full { n_rows: self.entries.len() })?;
        let known = self.entries.get_mut(&self.scratch[..]);
        let is_new = known.is_none();
        let first_touch = match known {
            Some(standing) => {
                standing.now += diff;
                !std::mem::replace(&mut standing.touched, true)
            }
            None => {
                let slot = self.columns.reserve()?;
                self.columns.write(&[slot], from, &[row]);
                let standing = Standing { slot, before: 0, now: diff, moment_end, touched: true };
                self.key_bytes += self.scratch.len();
                self.entries.insert(self.scratch.clone().into_boxed_slice(), standing);
                true
            }
        };
        if first_touch {
            self.remember();
        }
        Ok(is_new)
    }

    /// Takes all copies of a row out.
    pub fn clear(&mut self, key: &[u8]) {
        let Some(standing) = self.entries.get_mut(key) else { return };
        standing.now = 0;
        if !std::mem::replace(&mut standing.touched, true) {
            self.scratch.clear();
            self.scratch.extend_from_slice(key);
            self.remember();
        }
    }

    /// The row whose key is in `scratch` changed.
    fn remember(&mut self) {
        if let Changed::Listed(list) = &mut self.changed {
            if list.len() >= LISTED && list.len() * 2 > self.entries.len() {
                self.changed = Changed::Many;
            } else {
                list.push(self.scratch.clone().into_boxed_slice());
            }
        }
    }

    /// The epoch has no more changes: rows that came and went within it are forgotten, a group for each of them; the rest will be
    /// handed out by [`Timeline::next_changed`]. An entry with a negative number of copies is an error's multiplicity.
    pub fn seal(&mut self) -> Result<Vec<u32>, i64> {
        self.last = None;
        let mut gone = Vec::new();
        match &mut self.changed {
            Changed::Listed(list) => {
                list.sort_unstable();
                #[expect(clippy::borrowed_box, reason = "what partition hands out")]
                let stood = |key: &Box<[u8]>| self.entries.get(key).is_some_and(|s| s.now != 0 || s.before != 0);
                let (listed, passing): (Vec<_>, Vec<_>) = std::mem::take(list).into_iter().partition(stood);
                gone = passing;
                if let Some(s) = listed.iter().filter_map(|k| self.entries.get(k)).find(|s| s.now < 0) {
                    return Err(s.now);
                }
                self.left = listed.len();
                self.changed = Changed::Listed(listed);
            }
            Changed::Many => {
                if let Some(s) = self.entries.values().find(|s| s.now < 0) {
                    return Err(s.now);
                }
                gone.extend(self.entries.iter().filter(|(_, s)| s.now == 0 && s.before == 0).map(|(k, _)| k.clone()));
            }
        }
        Ok(gone.into_iter().filter_map(|key| self.remove(&key)).collect())
    }

    fn remove(&mut self, key: &[u8]) -> Option<u32> {
        let standing = self.entries.remove(key)?;
        self.key_bytes -= key.len();
        self.columns.remove(standing.slot);
        Some(group_of(key))
    }

    /// The next row that changed, from the greatest key down.
    pub fn next_changed(&mut self) -> Option<Box<[u8]>> {
        match &self.changed {
            Changed::Listed(list) => {
                self.left = self.left.checked_sub(1)?;
                list.get(self.left).cloned()
            }
            Changed::Many => {
                let upto = match &self.last {
                    Some(last) => Bound::Excluded(last.clone()),
                    None => Bound::Unbounded,
                };
                let range = self.entries.range::<Box<[u8]>, _>((Bound::Unbounded, upto));
                let next = range.rev().find(|(_, s)| s.touched).map(|(k, _)| k.clone());
                self.last.clone_from(&next);
                next
            }
        }
    }

    /// Ends the epoch: what has no copies is dropped, a group for each of them. Slots handed out before are invalid then.
    pub fn settle(&mut self) -> Vec<u32> {
        let changed: Vec<Box<[u8]>> = match std::mem::replace(&mut self.changed, Changed::Listed(Vec::new())) {
            Changed::Listed(list) => list,
            Changed::Many => {
                for standing in self.entries.values_mut() {
                    standing.before = standing.now;
                    standing.touched = false;
                }
                self.entries.iter().filter(|(_, s)| s.now == 0).map(|(k, _)| k.clone()).collect()
            }
        };
        (self.left, self.last) = (0, None);
        let mut gone = Vec::new();
        for key in changed {
            let Some(standing) = self.entries.get_mut(&key) else { continue };
            standing.before = standing.now;
            standing.touched = false;
            if standing.now == 0 {
                gone.extend(self.remove(&key));
            }
        }
        gone
    }

    /// The row under a key.
    pub fn get(&self, key: &[u8]) -> Option<Standing> {
        self.entries.get(key).copied()
    }

    /// The first row of the group at or behind a place, and its key.
    pub fn first_from(&self, group: u32, place: &[u8]) -> Option<(&[u8], Standing)> {
        let mut range = self.entries.range::<[u8], _>((Bound::Included(place), Bound::Unbounded));
        range.next().map(|(k, s)| (&**k, *s)).filter(|(k, _)| group_of(k) == group)
    }

    /// The last row of the group before a place, and its key.
    pub fn last_before(&self, group: u32, place: &[u8]) -> Option<(&[u8], Standing)> {
        let mut range = self.entries.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(place)));
        range.next_back().map(|(k, s)| (&**k, *s)).filter(|(k, _)| group_of(k) == group)
    }

    /// Rows from a place up to another, which is outside.
    pub fn range(&self, from: &[u8], to: &[u8]) -> impl Iterator<Item = (&[u8], Standing)> + '_ {
        let sound = from <= to;
        let bounds = (Bound::Included(if sound { from } else { to }), Bound::Excluded(to));
        self.entries.range::<[u8], _>(bounds).map(|(k, s)| (&**k, *s))
    }

    /// All rows in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Standing)> + '_ {
        self.entries.iter().map(|(k, s)| (&**k, *s))
    }

    /// The part of a row's key that names group and moment.
    pub fn moment<'a>(&self, key: &'a [u8], standing: Standing) -> &'a [u8] {
        &key[..standing.moment_end as usize]
    }

    /// The rows at `slots`.
    pub fn gather(&self, slots: &[u32]) -> Vec<ArrayRef> {
        self.columns.gather(slots)
    }

    /// Distinct rows stored.
    pub fn n_rows(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory held; a node of the tree is counted as three quarters full.
    pub fn n_bytes(&self) -> usize {
        let entry = size_of::<Box<[u8]>>() + size_of::<Standing>();
        self.columns.n_bytes() + self.key_bytes + self.entries.len() * entry * 4 / 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use std::sync::Arc;

    fn timeline(rows: &[(i64, i64)]) -> Timeline {
        let mut t = Timeline::new(&[DataType::Int64]).unwrap();
        for (v, diff) in rows {
            add(&mut t, *v, *diff);
        }
        t
    }

    fn add(t: &mut Timeline, v: i64, diff: i64) -> bool {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![v]));
        t.add(7, &v.to_be_bytes(), &[1], &[column], 0, diff).unwrap()
    }

    #[test]
    fn changes_are_handed_out_from_the_last_down_each_once_also_when_they_are_many() {
        for n in [10i64, 20_000] {
            let mut t = timeline(&(0..n).map(|v| (v, 1)).collect::<Vec<_>>());
            assert!(!add(&mut t, 3, 1), "known");
            add(&mut t, 5, -1);
            assert_eq!(t.seal(), Ok(vec![7]), "5 came and went");
            let handed: Vec<_> = std::iter::from_fn(|| t.next_changed()).collect();
            assert_eq!(handed.len() as i64, n - 1);
            assert!(handed.is_sorted_by(|a, b| a > b));
            assert_eq!(t.settle(), Vec::<u32>::new());
            assert_eq!(t.next_changed(), None);
            add(&mut t, 3, -2);
            assert_eq!(t.seal(), Ok(vec![]));
            assert_eq!(std::iter::from_fn(|| t.next_changed()).count(), 1);
            assert_eq!(t.settle(), [7]);
            assert_eq!(t.n_rows() as i64, n - 2);
        }
    }

    #[test]
    fn neighbours_are_of_the_same_group_only() {
        let t = timeline(&[(1, 1), (4, 1)]);
        let place = |group: u32, v: i64| [&group.to_be_bytes()[..], &v.to_be_bytes()].concat();
        let value = |found: Option<(&[u8], Standing)>| found.map(|(k, _)| k[11]);
        assert_eq!(value(t.first_from(7, &place(7, 2))), Some(4));
        assert_eq!(value(t.first_from(7, &after(&place(7, 4)))), None);
        assert_eq!(value(t.last_before(7, &place(7, 4))), Some(1));
        assert_eq!(value(t.last_before(8, &place(8, 4))), None);
        assert_eq!(t.range(&place(7, 1), &after(&place(7, 1))).count(), 1);
    }
}
