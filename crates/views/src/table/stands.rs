//! Where one key stands: its row, or that it has none, at the commits that someone still reads.
//!
//! ```text
//!   last (lsn 12, row)      older ─▶ [(lsn 3, row), (lsn 9, no row)]       mostly there is no older one
//! ```
//! Invariant: commits ascend, the last one behind all older ones. The last stands in the tree's own node: a scan of a table that rests reads no
//! other memory, and the key costs no allocation of its own. It does not know keys.

use super::writes::RowRef;
use regauge_types::Lsn;

/// The commit, and the row that it left.
type Entry = (Lsn, Option<RowRef>);

/// See the module's header.
#[derive(Clone, Debug)]
pub(super) struct Stands {
    last: Entry,
    older: Option<Box<Older>>,
}

/// Ascending, not empty.
#[derive(Clone, Debug)]
struct Older(Vec<Entry>);

impl Stands {
    pub(super) fn new(lsn: Lsn, row: Option<RowRef>) -> Stands {
        Stands { last: (lsn, row), older: None }
    }

    /// A later commit gives it a row, or takes it.
    pub(super) fn push(&mut self, lsn: Lsn, row: Option<RowRef>) {
        let before = std::mem::replace(&mut self.last, (lsn, row));
        self.older.get_or_insert_with(|| Box::new(Older(Vec::with_capacity(1)))).0.push(before);
    }

    /// The last commit that touched it, and the row it left.
    pub(super) fn latest(&self) -> (Lsn, Option<&RowRef>) {
        (self.last.0, self.last.1.as_ref())
    }

    /// The row that a reader at a commit sees.
    #[inline]
    pub(super) fn seen(&self, at: Lsn) -> Option<&RowRef> {
        if self.last.0 <= at {
            return self.last.1.as_ref();
        }
        self.older.as_ref()?.0.iter().rev().find(|(lsn, _)| *lsn <= at)?.1.as_ref()
    }

    /// All rows that it has or had.
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut RowRef> {
        let older = self.older.iter_mut().flat_map(|older| &mut older.0);
        older.chain([&mut self.last]).filter_map(|(_, row)| row.as_mut())
    }

    /// Commits from `from` on never happened; whether anything is left.
    pub(super) fn revoke(&mut self, from: Lsn) -> bool {
        while self.last.0 >= from {
            let before = self.older.as_mut().and_then(|older| older.0.pop());
            match before {
                Some(before) => self.last = before,
                None => return false,
            }
        }
        self.older.take_if(|older| older.0.is_empty());
        true
    }

    /// Forgets what nobody sees who reads at `since` or later; whether anything is left.
    pub(super) fn compact(&mut self, since: Lsn) -> bool {
        if self.last.0 <= since {
            self.older = None;
            return self.last.1.is_some();
        }
        if let Some(older) = &mut self.older {
            let n_unseen = older.0.iter().rposition(|(lsn, _)| *lsn <= since).unwrap_or(0);
            older.0.drain(..n_unseen);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, RecordBatch};
    use proptest::prelude::*;
    use std::sync::Arc;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// Against a list of all commits.
        #[test]
        fn a_reader_sees_what_the_last_commit_before_it_left(
            rows in proptest::collection::vec(proptest::option::of(0usize..9), 1..12), since in 0u64..14, from in 1u64..14,
        ) {
            let numbers = Int64Array::from((0..9).collect::<Vec<i64>>());
            let batch = Arc::new(RecordBatch::try_from_iter([("n", Arc::new(numbers) as _)]).unwrap());
            let row = |at: Option<usize>| at.map(|at| RowRef { batch: batch.clone(), at });
            let mut all: Vec<(u64, Option<usize>)> = (1u64..).zip(rows).collect();
            let mut stands = Stands::new(Lsn(1), row(all[0].1));
            all[1..].iter().for_each(|(lsn, at)| stands.push(Lsn(*lsn), row(*at)));
            let seen = |all: &[(u64, Option<usize>)], at: u64| all.iter().rev().find(|(lsn, _)| *lsn <= at).and_then(|(_, row)| *row);
            let kept = stands.compact(Lsn(since));
            for at in since..14 {
                prop_assert_eq!(if kept { stands.seen(Lsn(at)).map(|r| r.at) } else { None }, seen(&all, at), "at={}", at);
            }
            prop_assert_eq!(kept, all.last().is_some_and(|(lsn, row)| *lsn > since || row.is_some()));
            if kept {
                // only what is not settled can be called back
                let from = from.max(since + 1);
                all.retain(|(lsn, _)| *lsn < from);
                if stands.revoke(Lsn(from)) {
                    for at in since..14 {
                        prop_assert_eq!(stands.seen(Lsn(at)).map(|r| r.at), seen(&all, at), "at={}", at);
                    }
                } else {
                    prop_assert!((since..14).all(|at| seen(&all, at).is_none()));
                }
            }
        }
    }
}
