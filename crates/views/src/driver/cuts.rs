//! Where epochs end: which commits are boundaries that all versions have in common.
//!
//! Invariant: a commit that [`Cuts::reserve`] gave is a boundary, or will be one before anything later is; boundaries ascend.
//! Pure bookkeeping under its owner's lock. Cost: a bounded ring of recent boundaries.

use regauge_types::Lsn;
use std::collections::{BTreeSet, VecDeque};

/// Boundaries remembered: more than readers can be behind.
const RECENT: usize = 4096;

/// Boundaries.
#[derive(Debug, Default)]
pub struct Cuts {
    /// Up to here the driver has decided where epochs end.
    taken: Lsn,
    requested: BTreeSet<Lsn>,
    closed: VecDeque<Lsn>,
    /// How many of them, if more than [`RECENT`].
    kept: usize,
}

impl Cuts {
    /// Begins at a boundary.
    #[must_use]
    pub fn new(at: Lsn) -> Cuts {
        Cuts { taken: at, requested: BTreeSet::new(), closed: VecDeque::from([at]), kept: RECENT }
    }

    /// Remembers so many boundaries, if more than it would anyhow.
    pub fn keep(&mut self, n: usize) {
        self.kept = self.kept.max(n);
    }

    /// Makes a commit a boundary, if it is not decided yet where epochs end about there.
    pub fn ask(&mut self, at: Lsn) {
        if at > self.taken {
            self.requested.insert(at);
        }
    }

    /// The first boundary at or behind a commit, among those that are remembered.
    #[must_use]
    pub fn ceiling(&self, at: Lsn) -> Option<Lsn> {
        self.closed.get(self.closed.partition_point(|b| *b < at)).copied()
    }

    /// The oldest boundary that is remembered.
    #[must_use]
    pub fn first(&self) -> Lsn {
        self.closed.front().copied().unwrap_or_default()
    }

    /// A commit at or beyond `durable` that is or will be a boundary.
    pub fn reserve(&mut self, durable: Lsn) -> Lsn {
        if durable > self.taken {
            self.requested.insert(durable);
        }
        self.taken.max(durable)
    }

    /// The driver has commits up to `up_to` in hand: the reserved boundaries among them. From here on reservations lie beyond.
    pub fn take(&mut self, up_to: Lsn) -> BTreeSet<Lsn> {
        let beyond = self.requested.split_off(&up_to.next());
        self.taken = self.taken.max(up_to);
        std::mem::replace(&mut self.requested, beyond)
    }

    /// An epoch is about to be fed.
    pub fn close(&mut self, at: Lsn) {
        while self.closed.len() >= self.kept.max(1) {
            self.closed.pop_front();
        }
        self.closed.push_back(at);
    }

    /// Boundaries, as far as they are remembered, ascending.
    #[must_use]
    pub fn recent(&self) -> Vec<Lsn> {
        self.closed.iter().copied().collect()
    }

    /// The last boundary: it is fed, or is being fed.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.closed.back().copied().unwrap_or_default()
    }

    /// The last boundary not beyond a commit.
    #[must_use]
    pub fn floor(&self, at: Lsn) -> Option<Lsn> {
        let beyond = self.closed.partition_point(|b| *b <= at);
        beyond.checked_sub(1).map(|i| self.closed[i])
    }

    /// Boundaries beyond a commit.
    #[must_use]
    pub fn n_beyond(&self, at: Lsn) -> usize {
        self.closed.len() - self.closed.partition_point(|b| *b <= at)
    }

    /// The boundary `n` before the last one; the oldest known if there are fewer.
    #[must_use]
    pub fn before_last(&self, n: usize) -> Lsn {
        let at = self.closed.len().saturating_sub(n + 1);
        self.closed.get(at).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reserved_becomes_a_boundary() {
        let mut cuts = Cuts::new(Lsn(3));
        assert_eq!(cuts.reserve(Lsn(2)), Lsn(3), "nothing new is durable");
        assert_eq!(cuts.reserve(Lsn(5)), Lsn(5));
        assert_eq!(cuts.take(Lsn(7)), BTreeSet::from([Lsn(5)]));
        assert_eq!(cuts.reserve(Lsn(6)), Lsn(7), "the driver ends an epoch at what it has in hand");
        for at in [5, 7] {
            cuts.close(Lsn(at));
        }
        assert_eq!(cuts.floor(Lsn(6)), Some(Lsn(5)));
        assert_eq!(cuts.floor(Lsn(2)), None);
        assert_eq!((cuts.ceiling(Lsn(6)), cuts.ceiling(Lsn(8)), cuts.first()), (Some(Lsn(7)), None, Lsn(3)));
        cuts.ask(Lsn(7));
        cuts.ask(Lsn(9));
        assert_eq!(cuts.take(Lsn(12)), BTreeSet::from([Lsn(9)]), "one that is decided is not asked for");
        assert_eq!((cuts.n_beyond(Lsn(3)), cuts.before_last(1)), (2, Lsn(5)));
    }
}
