//! Rows of groups in order: the state of top-k and of aggregates with ORDER BY.
//!
//! One B-tree over (group, sort key) for all groups: dense nodes whatever the size of the groups, and a group's rows are one range.
//!
//! ```text
//! key = [ group: u32 big endian | sort key bytes ]   ->   (slot into Columns, count)
//! ```
//!
//! Invariant: equal keys mean equal rows (the sort key ends with an encoding of the whole row), so a row is stored once with a
//! count. A count that reaches zero keeps its entry until [`OrderedGroups::settle`], so what leaves and comes back within an
//! epoch keeps its slot and no change is seen. Counts may be negative within an epoch. Add, remove: O(log rows). Does not know
//! what the sort key means.

use std::collections::BTreeMap;
use std::ops::Bound;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::columns::Columns;
use crate::error::StateError;

/// One row of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Where its columns are.
    pub slot: u32,
    /// How many times it is in the group.
    pub count: i64,
}

/// Ordered multisets of rows, one for each group.
#[derive(Debug)]
pub struct OrderedGroups {
    members: BTreeMap<Box<[u8]>, Member>,
    columns: Columns,
    zeroed: Vec<Box<[u8]>>,
    /// Slots out of use whose rows may still be gathered until the epoch ends.
    leaving: Vec<u32>,
    scratch: Vec<u8>,
}

impl OrderedGroups {
    /// Empty; rows have columns of `types`.
    pub fn new(types: &[DataType]) -> Result<Self, StateError> {
        Ok(OrderedGroups {
            members: BTreeMap::new(),
            columns: Columns::new(types)?,
            zeroed: Vec::new(),
            leaving: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// Adds `diff` to the count of row `row` of `from` in `group`; gives the count that it has now.
    pub fn add(&mut self, group: u32, sort_key: &[u8], from: &[ArrayRef], row: u32, diff: i64) -> Result<i64, StateError> {
        self.scratch.clear();
        self.scratch.extend_from_slice(&group.to_be_bytes());
        self.scratch.extend_from_slice(sort_key);
        if let Some(member) = self.members.get_mut(&self.scratch[..]) {
            member.count += diff;
            if member.count == 0 {
                self.zeroed.push(self.scratch.clone().into_boxed_slice());
            }
            return Ok(member.count);
        }
        let slot = self.columns.reserve()?;
        self.columns.write(&[slot], from, &[row]);
        self.members.insert(self.scratch.clone().into_boxed_slice(), Member { slot, count: diff });
        Ok(diff)
    }

    /// Drops what stands at zero. Slots handed out before are invalid afterwards.
    pub fn settle(&mut self) {
        for slot in std::mem::take(&mut self.leaving) {
            self.columns.remove(slot);
        }
        for key in std::mem::take(&mut self.zeroed) {
            if self.members.get(&key).is_some_and(|m| m.count == 0)
                && let Some(member) = self.members.remove(&key)
            {
                self.columns.remove(member.slot);
            }
        }
    }

    /// The members of `group` in order, those at or below zero left out.
    pub fn members(&self, group: u32) -> impl Iterator<Item = Member> + '_ {
        self.range(group).map(|(_, m)| *m).filter(|m| m.count > 0)
    }

    /// The members of `group` in order with their sort keys, from this sort key on, those at or below zero left out.
    pub fn members_from<'a>(&'a self, group: u32, sort_key: &[u8]) -> impl Iterator<Item = (&'a [u8], Member)> + use<'a> {
        let start = [&group.to_be_bytes()[..], sort_key].concat();
        let to = group.checked_add(1).map(u32::to_be_bytes);
        let upper = to.as_ref().map_or(Bound::Unbounded, |t| Bound::Excluded(&t[..]));
        let there = self.members.range::<[u8], _>((Bound::Included(&start[..]), upper));
        there.map(|(k, m)| (&k[4..], *m)).filter(|(_, m)| m.count > 0)
    }

    /// The members of `group` before this sort key, the nearest first, those at or below zero left out.
    pub fn members_before<'a>(&'a self, group: u32, sort_key: &[u8]) -> impl Iterator<Item = (&'a [u8], Member)> + use<'a> {
        let (start, end) = (group.to_be_bytes(), [&group.to_be_bytes()[..], sort_key].concat());
        let there = self.members.range::<[u8], _>((Bound::Included(&start[..]), Bound::Excluded(&end[..])));
        there.rev().map(|(k, m)| (&k[4..], *m)).filter(|(_, m)| m.count > 0)
    }

    /// All members of `group` in order with their sort keys, whatever their counts.
    pub fn entries(&self, group: u32) -> impl Iterator<Item = (&[u8], Member)> + '_ {
        self.range(group).map(|(k, m)| (&k[4..], *m))
    }

    /// The sort key and the member that come first in `group`.
    pub fn first(&self, group: u32) -> Option<(&[u8], Member)> {
        self.range(group).next().map(|(k, m)| (&k[4..], *m))
    }

    /// The sort key and the member that come last in `group`.
    pub fn last(&self, group: u32) -> Option<(&[u8], Member)> {
        self.range(group).next_back().map(|(k, m)| (&k[4..], *m))
    }

    /// Takes the last member of `group` out wholly; its row can be gathered until [`OrderedGroups::settle`].
    pub fn remove_last(&mut self, group: u32) {
        let Some(key) = self.range(group).next_back().map(|(k, _)| k.clone()) else { return };
        if let Some(member) = self.members.remove(&key) {
            self.leaving.push(member.slot);
        }
    }

    /// Takes all of `group` out.
    pub fn clear(&mut self, group: u32) {
        let keys: Vec<Box<[u8]>> = self.range(group).map(|(k, _)| k.clone()).collect();
        for key in keys {
            if let Some(member) = self.members.remove(&key) {
                self.columns.remove(member.slot);
            }
        }
    }

    /// The rows at `slots`.
    pub fn gather(&self, slots: &[u32]) -> Vec<ArrayRef> {
        self.columns.gather(slots)
    }

    /// Distinct rows stored.
    pub fn n_rows(&self) -> usize {
        self.members.len()
    }

    /// Bytes of memory in use, keys estimated at their length; the room that is free to be used again is not in it.
    pub fn in_use(&self) -> usize {
        let rows = self.columns.n_bytes() as u128 * self.columns.n_alive() as u128 / self.columns.n_slots().max(1) as u128;
        self.n_bytes() - self.columns.n_bytes() + usize::try_from(rows).unwrap_or(usize::MAX)
    }

    /// Bytes of memory held, keys estimated at their length.
    pub fn n_bytes(&self) -> usize {
        self.columns.n_bytes()
            + self.members.len() * (size_of::<Box<[u8]>>() + size_of::<Member>())
            + self.key_bytes() * self.members.len()
    }

    /// Bytes of the first of all keys, the group's number among them.
    pub fn key_bytes(&self) -> usize {
        self.members.keys().next().map_or(0, |k| k.len())
    }

    fn range(&self, group: u32) -> impl DoubleEndedIterator<Item = (&Box<[u8]>, &Member)> {
        let from = group.to_be_bytes();
        let to = group.checked_add(1).map(u32::to_be_bytes);
        let upper = to.as_ref().map_or(Bound::Unbounded, |t| Bound::Excluded(&t[..]));
        self.members.range::<[u8], _>((Bound::Included(&from[..]), upper))
    }
}
