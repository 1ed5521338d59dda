//! Rows of groups in order: the state of top-k and of aggregates with ORDER BY.
//!
//! ```text
//! group ─▶ none | one member | up to [`FEW_MAX`] in order | a B-tree          member = sort key bytes ─▶ (slot into Columns, count)
//! ```
//! Most groups are small: a look into one is a few comparisons of keys that lie together, not a way down a tree of all groups
//! (`bench/RESULTS.md`, Ordered groups).
//!
//! Invariant: equal keys mean equal rows (the sort key ends with an encoding of the whole row), so a row is stored once with a
//! count. A count that reaches zero keeps its entry until [`OrderedGroups::settle`], so what leaves and comes back within an
//! epoch keeps its slot and no change is seen. Counts may be negative within an epoch. Add, remove: O(log rows of the group). Does not
//! know what the sort key means. Groups are numbered without large gaps.

use std::collections::{BTreeMap, btree_map};
use std::ops::Bound;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::columns::Columns;
use crate::error::StateError;

/// Members of a group that stand in a vector.
const FEW_MAX: usize = 32;

/// One row of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Where its columns are.
    pub slot: u32,
    /// How many times it is in the group.
    pub count: i64,
}

type Key = Box<[u8]>;
type Entry = (Key, Member);

/// The members of one group.
#[derive(Debug, Default)]
enum Group {
    #[default]
    None,
    One(Entry),
    /// In order.
    Few(Vec<Entry>),
    Many(BTreeMap<Key, Member>),
}

impl Group {
    fn few(&self) -> &[Entry] {
        match self {
            Group::One(entry) => std::slice::from_ref(entry),
            Group::Few(entries) => entries,
            Group::None | Group::Many(_) => &[],
        }
    }

    fn get_mut(&mut self, key: &[u8]) -> Option<&mut Member> {
        match self {
            Group::None => None,
            Group::One((own, member)) => (**own == *key).then_some(member),
            Group::Few(entries) => {
                let at = place(entries, key).ok()?;
                Some(&mut entries[at].1)
            }
            Group::Many(tree) => tree.get_mut(key),
        }
    }

    /// Of a key that is not there.
    fn insert(&mut self, key: Key, member: Member) {
        match self {
            Group::None => *self = Group::One((key, member)),
            Group::One(_) => {
                let Group::One(one) = std::mem::take(self) else { return };
                let mut entries = vec![one];
                entries.insert(usize::from(entries[0].0 < key), (key, member));
                *self = Group::Few(entries);
            }
            Group::Few(entries) if entries.len() < FEW_MAX => {
                let at = place(entries, &key).unwrap_or_else(|at| at);
                entries.insert(at, (key, member));
            }
            Group::Few(entries) => {
                let all = std::mem::take(entries).into_iter().chain([(key, member)]);
                *self = Group::Many(all.collect());
            }
            Group::Many(tree) => drop(tree.insert(key, member)),
        }
    }

    fn remove(&mut self, key: &[u8]) -> Option<Member> {
        let found = match self {
            Group::None => None,
            Group::One((own, member)) => (**own == *key).then_some(*member),
            Group::Few(entries) => place(entries, key).ok().map(|at| entries.remove(at).1),
            Group::Many(tree) => tree.remove(key),
        };
        if found.is_some() && self.is_emptied() {
            *self = Group::None;
        }
        found
    }

    /// The last one, taken out.
    fn pop(&mut self) -> Option<Entry> {
        let last = match self {
            Group::None => None,
            Group::One(_) => match std::mem::take(self) {
                Group::One(entry) => return Some(entry),
                _ => None,
            },
            Group::Few(entries) => entries.pop(),
            Group::Many(tree) => tree.pop_last(),
        };
        if self.is_emptied() {
            *self = Group::None;
        }
        last
    }

    /// Whether one that is taken out, or the last one, was all of it.
    fn is_emptied(&self) -> bool {
        match self {
            Group::None | Group::One(_) => true,
            Group::Few(entries) => entries.is_empty(),
            Group::Many(tree) => tree.is_empty(),
        }
    }

    fn entries(&self) -> Entries<'_> {
        match self {
            Group::Many(tree) => Entries::Tree(tree.range::<[u8], _>(..)),
            few => Entries::Few(few.few().iter()),
        }
    }

    /// From this key on.
    fn from(&self, key: &[u8]) -> Entries<'_> {
        match self {
            Group::Many(tree) => Entries::Tree(tree.range::<[u8], _>((Bound::Included(key), Bound::Unbounded))),
            few => Entries::Few(few.few()[place(few.few(), key).unwrap_or_else(|at| at)..].iter()),
        }
    }

    /// Up to this key, without it.
    fn before(&self, key: &[u8]) -> Entries<'_> {
        match self {
            Group::Many(tree) => Entries::Tree(tree.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(key)))),
            few => Entries::Few(few.few()[..place(few.few(), key).unwrap_or_else(|at| at)].iter()),
        }
    }
}

/// Where a key stands, or would.
fn place(entries: &[Entry], key: &[u8]) -> Result<usize, usize> {
    entries.binary_search_by(|(own, _)| (**own).cmp(key))
}

/// Members of a group in order.
enum Entries<'a> {
    Few(std::slice::Iter<'a, Entry>),
    Tree(btree_map::Range<'a, Key, Member>),
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Member);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Entries::Few(entries) => entries.next().map(|(key, member)| (&**key, *member)),
            Entries::Tree(range) => range.next().map(|(key, member)| (&**key, *member)),
        }
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Entries::Few(entries) => entries.next_back().map(|(key, member)| (&**key, *member)),
            Entries::Tree(range) => range.next_back().map(|(key, member)| (&**key, *member)),
        }
    }
}

/// Ordered multisets of rows, one for each group.
#[derive(Debug)]
pub struct OrderedGroups {
    groups: Vec<Group>,
    n_members: usize,
    /// Bytes of all keys.
    n_key_bytes: usize,
    columns: Columns,
    zeroed: Vec<(u32, Key)>,
    /// Slots out of use whose rows may still be gathered until the epoch ends.
    leaving: Vec<u32>,
}

impl OrderedGroups {
    /// Empty; rows have columns of `types`.
    pub fn new(types: &[DataType]) -> Result<Self, StateError> {
        Ok(OrderedGroups {
            groups: Vec::new(),
            n_members: 0,
            n_key_bytes: 0,
            columns: Columns::new(types)?,
            zeroed: Vec::new(),
            leaving: Vec::new(),
        })
    }

    /// Adds `diff` to the count of row `row` of `from` in `group`; gives the count that it has now.
    pub fn add(&mut self, group: u32, sort_key: &[u8], from: &[ArrayRef], row: u32, diff: i64) -> Result<i64, StateError> {
        let at = group as usize;
        if at >= self.groups.len() {
            self.groups.resize_with(at + 1, Group::default);
        }
        if let Some(member) = self.groups[at].get_mut(sort_key) {
            member.count += diff;
            if member.count == 0 {
                self.zeroed.push((group, sort_key.into()));
            }
            return Ok(member.count);
        }
        let slot = self.columns.reserve()?;
        self.columns.write(&[slot], from, &[row]);
        self.groups[at].insert(sort_key.into(), Member { slot, count: diff });
        self.n_members += 1;
        self.n_key_bytes += sort_key.len();
        Ok(diff)
    }

    /// Drops what stands at zero. Slots handed out before are invalid afterwards.
    pub fn settle(&mut self) {
        for slot in std::mem::take(&mut self.leaving) {
            self.columns.remove(slot);
        }
        for (group, key) in std::mem::take(&mut self.zeroed) {
            let Some(members) = self.groups.get_mut(group as usize) else { continue };
            if members.get_mut(&key).is_some_and(|m| m.count == 0)
                && let Some(member) = members.remove(&key)
            {
                self.columns.remove(member.slot);
                self.gone(1, key.len());
            }
        }
    }

    fn gone(&mut self, n: usize, key_bytes: usize) {
        self.n_members -= n;
        self.n_key_bytes -= key_bytes;
    }

    fn group(&self, group: u32) -> &Group {
        self.groups.get(group as usize).unwrap_or(&Group::None)
    }

    /// The members of `group` in order, those at or below zero left out.
    pub fn members(&self, group: u32) -> impl Iterator<Item = Member> + '_ {
        self.entries(group).map(|(_, m)| m).filter(|m| m.count > 0)
    }

    /// The members of `group` in order with their sort keys, from this sort key on, those at or below zero left out.
    pub fn members_from<'a>(&'a self, group: u32, sort_key: &[u8]) -> impl Iterator<Item = (&'a [u8], Member)> + use<'a> {
        self.group(group).from(sort_key).filter(|(_, m)| m.count > 0)
    }

    /// The members of `group` before this sort key, the nearest first, those at or below zero left out.
    pub fn members_before<'a>(&'a self, group: u32, sort_key: &[u8]) -> impl Iterator<Item = (&'a [u8], Member)> + use<'a> {
        self.group(group).before(sort_key).rev().filter(|(_, m)| m.count > 0)
    }

    /// All members of `group` in order with their sort keys, whatever their counts.
    pub fn entries(&self, group: u32) -> impl Iterator<Item = (&[u8], Member)> + '_ {
        self.group(group).entries()
    }

    /// The sort key and the member that come first in `group`.
    pub fn first(&self, group: u32) -> Option<(&[u8], Member)> {
        self.group(group).entries().next()
    }

    /// The sort key and the member that come last in `group`.
    pub fn last(&self, group: u32) -> Option<(&[u8], Member)> {
        self.group(group).entries().next_back()
    }

    /// Takes the last member of `group` out wholly; its row can be gathered until [`OrderedGroups::settle`].
    pub fn remove_last(&mut self, group: u32) {
        if let Some((key, member)) = self.groups.get_mut(group as usize).and_then(Group::pop) {
            self.leaving.push(member.slot);
            self.gone(1, key.len());
        }
    }

    /// Takes all of `group` out.
    pub fn clear(&mut self, group: u32) {
        let Some(members) = self.groups.get_mut(group as usize).map(std::mem::take) else { return };
        for (key, member) in members.entries() {
            self.columns.remove(member.slot);
            self.gone(1, key.len());
        }
    }

    /// The rows at `slots`.
    pub fn gather(&self, slots: &[u32]) -> Vec<ArrayRef> {
        self.columns.gather(slots)
    }

    /// Distinct rows stored.
    pub fn n_rows(&self) -> usize {
        self.n_members
    }

    /// Bytes of memory in use; the room that is free to be used again is not in it.
    pub fn in_use(&self) -> usize {
        let rows = self.columns.n_bytes() as u128 * self.columns.n_alive() as u128 / self.columns.n_slots().max(1) as u128;
        self.n_bytes() - self.columns.n_bytes() + usize::try_from(rows).unwrap_or(usize::MAX)
    }

    /// Bytes of memory held, but for what vectors and trees have to spare.
    pub fn n_bytes(&self) -> usize {
        self.columns.n_bytes() + self.groups.len() * size_of::<Group>() + self.n_members * size_of::<Entry>() + self.n_key_bytes
    }

    /// Bytes of a key, the mean of all.
    pub fn key_bytes(&self) -> usize {
        self.n_key_bytes.checked_div(self.n_members).unwrap_or(0)
    }
}
