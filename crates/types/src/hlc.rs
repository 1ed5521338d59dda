//! Hybrid logical clock: if a happened before b, then hlc(a) < hlc(b), close to wall time.
//!
//! Layout: 48 bits of milliseconds since 1970, 16 bits of counter; comparing the `u64` compares the moments.
//! Idea: Kulkarni et al., "Logical Physical Clocks", 2014. A value is never issued twice, also over restarts, because the
//! owner feeds the greatest recorded value back through [`HlcClock::observe_own`] before the first tick.

use std::fmt;

/// A moment: 48 bits of milliseconds, 16 bits of counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

const COUNTER_BITS: u32 = 16;

impl Hlc {
    /// Before every moment.
    pub const ZERO: Hlc = Hlc(0);

    /// The first moment of a millisecond.
    #[must_use]
    pub fn from_ms(ms: u64) -> Hlc {
        Hlc(ms << COUNTER_BITS)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// Which of the moments within that millisecond.
    #[must_use]
    pub fn counter(self) -> u64 {
        self.0 & ((1 << COUNTER_BITS) - 1)
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms(), self.counter())
    }
}

/// A moment from outside lies further ahead of our wall clock than the bound allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("clock from outside is too far ahead ahead_ms={ahead_ms} bound_ms={bound_ms}")]
pub struct TooFarAhead {
    /// How far.
    pub ahead_ms: u64,
    /// How far it may be.
    pub bound_ms: u64,
}

/// The state of one instance's clock. Plain data: its owner holds the lock and brings the wall time.
#[derive(Clone, Copy, Debug)]
pub struct HlcClock {
    last: Hlc,
    drift_ms_max: u64,
}

/// Default bound on how far a moment from outside may lie ahead of our wall clock.
pub const DRIFT_MS_MAX: u64 = 60_000;

impl HlcClock {
    /// A clock that has issued nothing.
    #[must_use]
    pub fn new(drift_ms_max: u64) -> HlcClock {
        HlcClock { last: Hlc::ZERO, drift_ms_max }
    }

    /// The greatest moment issued or observed.
    #[must_use]
    pub fn last(&self) -> Hlc {
        self.last
    }

    /// Issues a moment greater than all issued and observed before, not below the wall clock.
    pub fn tick(&mut self, wall_ms: u64) -> Hlc {
        self.last = Hlc::from_ms(wall_ms).max(Hlc(self.last.0 + 1));
        self.last
    }

    /// Takes in a moment that a client carried. Refuses, and moves nothing, when it lies too far ahead.
    pub fn observe(&mut self, seen: Hlc, wall_ms: u64) -> Result<(), TooFarAhead> {
        let ahead_ms = seen.ms().saturating_sub(wall_ms);
        if ahead_ms > self.drift_ms_max && seen > self.last {
            return Err(TooFarAhead { ahead_ms, bound_ms: self.drift_ms_max });
        }
        self.last = self.last.max(seen);
        Ok(())
    }

    /// Takes in a moment of our own, read back from the log at recovery: always accepted.
    pub fn observe_own(&mut self, seen: Hlc) {
        self.last = self.last.max(seen);
    }
}
