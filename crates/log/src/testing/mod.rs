//! A simulated world for tests of this crate and of those above: a disk that loses, tears and reorders what was not synced, a clock that stands still, chance from a seed.
//!
//! Only the environment is here; who uses it decides what to run and what must hold afterwards. Threads are real: a run is reproducible as far as its user's threads are.

pub mod disk;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use regauge_types::Env;
use regauge_types::env::{Clock, Random};

pub use disk::{Fault, Keep, SimDisk, Snapshot};

/// Wall and steady time that move only when told.
#[derive(Debug)]
pub struct SimClock(AtomicU64);

impl SimClock {
    /// Starts at some millisecond.
    #[must_use]
    pub fn new(wall_ms: u64) -> Self {
        Self(AtomicU64::new(wall_ms))
    }

    /// Sets the wall clock, forwards or backwards.
    pub fn set_ms(&self, wall_ms: u64) {
        self.0.store(wall_ms, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.wall_ms())
    }

    fn sleep(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

/// Random numbers from a seed (splitmix64, Steele et al. 2014).
#[derive(Debug)]
pub struct SimRandom(AtomicU64);

impl SimRandom {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number below `n`, which is at least 1.
    #[must_use]
    pub fn below(&self, n: u64) -> u64 {
        self.next_u64() % n.max(1)
    }

    /// True once in `n` times.
    #[must_use]
    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl Random for SimRandom {
    fn next_u64(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// An environment on a simulated disk; clock and chance are functions of the seed.
#[must_use]
pub fn env(disk: &Arc<SimDisk>, clock: &Arc<SimClock>, seed: u64) -> Env {
    Env {
        clock: Arc::<SimClock>::clone(clock),
        disk: Arc::<SimDisk>::clone(disk),
        random: Arc::new(SimRandom::new(seed)),
        threads: Env::real().threads,
    }
}
