//! Whose turn it is on a worker: a flow that reads its past lets live epochs go first, and so does who copies state ahead of a save.
//!
//! While a live epoch of any flow is on its way on this worker, a backfill holds still, for at most [`PATIENCE`] per slice of its
//! own work: so live work has the core, and a backfill beside a constant stream of live epochs still goes on. Copies of all flows together
//! rest as long as their last slice took: of many flows that are copied at once each would else put its slice between two steps of an epoch.

use regauge_types::env::Clock;
use std::{cell::Cell, sync::Arc, time::Duration};

/// How long one slice of a backfill is held back. A slice takes about as long, so neither side gets less than half of the core.
const PATIENCE: Duration = Duration::from_millis(5);
/// When a backfill that holds still looks again.
pub(super) const LOOK: Duration = Duration::from_micros(200);

/// When a copy that rests looks again.
pub(super) const LOOK_COPY: Duration = Duration::from_millis(1);

/// Of one worker.
pub(super) struct Turns {
    live: Cell<usize>,
    /// Until then no flow's state is copied while an epoch is on its way.
    rests: Cell<Duration>,
    clock: Arc<dyn Clock>,
}

/// Of one stage: since when it holds still.
#[derive(Default)]
pub(super) struct Held(Option<Duration>);

impl Turns {
    pub fn new(clock: Arc<dyn Clock>) -> Turns {
        Turns { live: Cell::new(0), rests: Cell::default(), clock }
    }

    /// What stages measure their operators by.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// So many live epochs more are on their way.
    pub fn begin(&self, n: usize) {
        self.live.set(self.live.get() + n);
    }

    /// So many fewer.
    pub fn end(&self, n: usize) {
        self.live.set(self.live.get().saturating_sub(n));
    }

    /// A slice of copying, if it has not to wait for live epochs.
    pub fn copy<T>(&self, slice: impl FnOnce() -> T) -> Option<T> {
        let begun = self.clock.steady();
        if self.live.get() > 0 && begun < self.rests.get() {
            return None;
        }
        let copied = slice();
        let ended = self.clock.steady();
        self.rests.set(ended + ended.saturating_sub(begun));
        Some(copied)
    }

    /// Whether a backfill's next slice has to wait.
    pub fn hold(&self, held: &mut Held) -> bool {
        if self.live.get() == 0 {
            held.0 = None;
            return false;
        }
        let now = self.clock.steady();
        let since = *held.0.get_or_insert(now);
        if now.saturating_sub(since) < PATIENCE {
            return true;
        }
        held.0 = None;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct At(AtomicU64);

    impl Clock for At {
        fn wall_ms(&self) -> u64 {
            0
        }
        fn steady(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
        fn sleep(&self, _: Duration) {}
    }

    #[test]
    fn a_backfill_waits_for_live_epochs_but_not_for_ever() {
        let clock = Arc::new(At::default());
        let (turns, mut held) = (Turns::new(clock.clone()), Held::default());
        assert!(!turns.hold(&mut held), "nothing live");
        turns.begin(1);
        assert!(turns.hold(&mut held));
        clock.0.store(6, Ordering::Relaxed);
        assert!(!turns.hold(&mut held), "one slice after its patience");
        assert!(turns.hold(&mut held), "and it waits again");
        turns.end(1);
        assert!(!turns.hold(&mut held));
    }

    #[test]
    fn copies_of_all_flows_rest_as_long_as_the_last_took_while_something_is_live() {
        let clock = Arc::new(At::default());
        let turns = Turns::new(clock.clone());
        let slice = |ms: u64| turns.copy(|| clock.0.fetch_add(ms, Ordering::Relaxed)).is_some();
        assert!(slice(5) && slice(5), "nothing live");
        turns.begin(1);
        assert!(!slice(1), "the last one ended now");
        clock.0.fetch_add(4, Ordering::Relaxed);
        assert!(!slice(1), "and took five");
        clock.0.fetch_add(1, Ordering::Relaxed);
        assert!(slice(1) && !slice(1));
        turns.end(1);
        assert!(slice(1));
    }
}
