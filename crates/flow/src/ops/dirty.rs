//! What changed of an operator's state since a checkpoint took it: ids whose entries changed, and the keys of entries that are gone.
//!
//! ```text
//!   mark 7, mark 9, 7 goes (key "a"), mark 7 (it is "b" now)      take ─▶ ids 9, 7      gone "a"
//! ```
//! Invariant: an id is handed out if and only if it was marked and did not go afterwards; whoever puts the gone keys out and then the
//! handed-out entries in their keys' places has the state of now. A key may be among both. Off until it is started, and then it costs a bit
//! and four bytes for each id that changes, once until it is taken. It does not know what an id stands for.

use arrow::array::ArrayRef;
use regauge_state::{Bits, Segments};

/// See the module's header.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    is_on: bool,
    list: Segments<u32>,
    marked: Bits,
    gone: Vec<(Vec<ArrayRef>, usize)>,
}

/// Keys of entries that are gone, and how many.
pub(crate) type Gone = Vec<(Vec<ArrayRef>, usize)>;

impl Dirty {
    /// From now on, and from nothing.
    pub(crate) fn start(&mut self) {
        *self = Dirty { is_on: true, ..Dirty::default() };
    }

    /// Entries that changed.
    #[inline]
    pub(crate) fn mark(&mut self, ids: impl IntoIterator<Item = u32>) {
        if self.is_on {
            for id in ids {
                if self.marked.insert(id) {
                    self.list.push(id);
                }
            }
        }
    }

    /// Entries that are gone, with their keys, a row each; asked for only if somebody wants to know.
    pub(crate) fn gone<E>(&mut self, ids: &[u32], keys: impl FnOnce() -> Result<Vec<ArrayRef>, E>) -> Result<(), E> {
        if self.is_on && !ids.is_empty() {
            ids.iter().for_each(|id| self.marked.remove(*id));
            self.gone.push((keys()?, ids.len()));
        }
        Ok(())
    }

    /// What changed, ascending, and what is gone, since the last time; then from nothing again.
    pub(crate) fn take(&mut self) -> (Vec<u32>, Gone) {
        let mut ids = self.list.range(0, self.list.len());
        // an id that went and came again stands in the list twice
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| self.marked.has(*id));
        let gone = std::mem::take(&mut self.gone);
        self.start();
        (ids, gone)
    }

    /// Bytes of memory held, but for the keys that are gone.
    pub(crate) fn n_bytes(&self) -> usize {
        self.list.n_bytes() + self.marked.n_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use std::sync::Arc;

    #[test]
    fn what_changed_is_handed_out_once_and_what_went_by_its_key() {
        let key = |n: i64| -> Result<Vec<ArrayRef>, ()> { Ok(vec![Arc::new(Int64Array::from(vec![n]))]) };
        let mut dirty = Dirty::default();
        dirty.mark([1]);
        dirty.gone(&[1], || key(1)).unwrap();
        assert_eq!(dirty.take(), (vec![], vec![]), "nobody asked");
        dirty.start();
        dirty.mark([9, 7, 9, 3]);
        dirty.gone(&[7], || key(70)).unwrap();
        dirty.gone(&[3], || key(30)).unwrap();
        dirty.mark([7]);
        let (ids, gone) = dirty.take();
        assert_eq!(ids, [7, 9]);
        assert_eq!(gone, [(key(70).unwrap(), 1), (key(30).unwrap(), 1)]);
        assert_eq!(dirty.take(), (vec![], vec![]));
        dirty.mark([7]);
        assert_eq!(dirty.take().0, [7]);
    }
}
