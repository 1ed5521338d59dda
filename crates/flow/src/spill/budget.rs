//! The memory that operators may hold together, and who holds how much.
//!
//! Half of the budget is for entries in use. The other half is for what comes with them: room that was given back and is not used again
//! yet, rows that wait, blocks that are read and written, filters. What cannot be spilled is taken off that half first, but a quarter of it
//! stays, so that an operator that spills never stands still.
//! Invariant: the sums are those of the accounts that exist. Nobody waits for anybody: who holds more than its share when the sum is too
//! large takes out until there is a quarter free.

use regauge_state::spill::{Scratch, SpillError};
use regauge_types::env::Env;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Bytes of rows that may wait in an operator however little memory there is: working them off reads blocks, and reads few of them twice
/// only if many rows come at once. An operator above may send a bucket at a time.
const WAITING_MIN: usize = 64 << 10;

/// What may be held, and where the rest goes.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Bytes of memory.
    pub bytes: usize,
    /// A folder of its own for scratch files; emptied at the start.
    pub dir: PathBuf,
}

/// See the module's header.
pub struct Budget {
    bytes: usize,
    spilling: AtomicUsize,
    fixed: AtomicUsize,
    n_spilling: AtomicUsize,
    /// Where runs go.
    pub scratch: Scratch,
}

/// What one holder has; given back when it goes.
pub struct Account {
    budget: Arc<Budget>,
    is_fixed: bool,
    bytes: usize,
}

impl Budget {
    /// With an empty folder for scratch files.
    pub fn open(env: &Env, memory: &Memory) -> Result<Arc<Budget>, SpillError> {
        let scratch = Scratch::open(env, &memory.dir)?;
        let none = AtomicUsize::default;
        Ok(Arc::new(Budget { bytes: memory.bytes, spilling: none(), fixed: none(), n_spilling: none(), scratch }))
    }

    /// An account of nothing yet; `is_fixed` if its holder cannot spill.
    #[must_use]
    pub fn account(self: &Arc<Self>, is_fixed: bool) -> Account {
        if !is_fixed {
            self.n_spilling.fetch_add(1, Ordering::Relaxed);
        }
        Account { budget: Arc::clone(self), is_fixed, bytes: 0 }
    }

    /// Bytes that may be held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes held by those who can spill, and by the others.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        (self.spilling.load(Ordering::Relaxed), self.fixed.load(Ordering::Relaxed))
    }

    /// Entries in use of all that spill.
    fn limit(&self) -> usize {
        let half = self.bytes / 2;
        half.saturating_sub(self.fixed.load(Ordering::Relaxed)).max(half / 4)
    }
}

impl Account {
    /// What its holder has now.
    pub fn set(&mut self, bytes: usize) {
        let sum = if self.is_fixed { &self.budget.fixed } else { &self.budget.spilling };
        if bytes >= self.bytes {
            sum.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            sum.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// How many bytes its holder is to keep, if it has too many.
    #[must_use]
    pub fn excess(&self) -> Option<usize> {
        let (limit, all) = (self.budget.limit(), self.budget.spilling.load(Ordering::Relaxed));
        let fair = limit / self.budget.n_spilling.load(Ordering::Relaxed).max(1);
        if all <= limit || self.bytes <= fair {
            return None;
        }
        Some((self.bytes.saturating_sub(all - limit / 4 * 3)).max(fair / 4 * 3))
    }

    /// Bytes of rows that may wait before they are looked at.
    #[must_use]
    pub fn waiting_max(&self) -> usize {
        let n = self.budget.n_spilling.load(Ordering::Relaxed).clamp(1, 8);
        (self.budget.bytes / 8 / n).max(WAITING_MIN)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.set(0);
        if !self.is_fixed {
            self.budget.n_spilling.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_more_than_its_share_takes_out_and_who_does_not_stays() {
        let dir = std::env::temp_dir().join(format!("regauge-budget-{}", std::process::id()));
        let budget = Budget::open(&Env::real(), &Memory { bytes: 8000, dir }).unwrap();
        let (mut small, mut large) = (budget.account(false), budget.account(false));
        small.set(1000);
        large.set(3000);
        assert_eq!((small.excess(), large.excess()), (None, None), "half of the budget");
        large.set(3600);
        assert_eq!((small.excess(), large.excess()), (None, Some(2000)), "3000 of 4000 are left");
        let mut fixed = budget.account(true);
        fixed.set(100_000);
        assert_eq!(large.excess(), Some(375), "a quarter stays, half of it for each");
        assert_eq!(budget.held(), (4600, 100_000));
        drop((small, fixed));
        assert_eq!(budget.held(), (3600, 0));
    }
}
