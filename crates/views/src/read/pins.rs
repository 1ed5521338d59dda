//! Which commits are still being read, so that heads keep what their readers see.
//!
//! Invariant: `since` never passes a pinned commit, and a pin below `since` is refused: who gets a pin finds everything. Cost: one
//! ordered map entry per distinct pinned commit. It does not know what is read.

use parking_lot::Mutex;
use regauge_types::Lsn;
use std::{collections::BTreeMap, sync::Arc};

/// The pinned commits.
#[derive(Clone, Default)]
pub struct Pins(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    since: Lsn,
    pinned: BTreeMap<Lsn, usize>,
}

/// Holds a commit readable for as long as it lives.
pub struct Pin {
    pins: Pins,
    at: Lsn,
}

impl Pins {
    /// None pinned; what commits before `since` saw is not there.
    #[must_use]
    pub fn new(since: Lsn) -> Pins {
        Pins(Arc::new(Mutex::new(State { since, pinned: BTreeMap::new() })))
    }

    /// The first commit that can be pinned.
    #[must_use]
    pub fn since(&self) -> Lsn {
        self.0.lock().since
    }

    /// Pins a commit; `None` when what it saw may be gone.
    #[must_use]
    pub fn pin(&self, at: Lsn) -> Option<Pin> {
        let mut state = self.0.lock();
        if at < state.since {
            return None;
        }
        *state.pinned.entry(at).or_default() += 1;
        drop(state);
        Some(Pin { pins: self.clone(), at })
    }

    /// Moves `since` up to `wished` or to the least pin, whichever is lower, and says where it stands.
    #[must_use]
    pub fn advance(&self, wished: Lsn) -> Lsn {
        let mut state = self.0.lock();
        let least = state.pinned.keys().next().copied().unwrap_or(wished);
        state.since = state.since.max(wished.min(least));
        state.since
    }
}

impl Pin {
    /// The commit.
    #[must_use]
    pub fn at(&self) -> Lsn {
        self.at
    }
}

impl Clone for Pin {
    fn clone(&self) -> Pin {
        *self.pins.0.lock().pinned.entry(self.at).or_default() += 1;
        Pin { pins: self.pins.clone(), at: self.at }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.pins.0.lock();
        if let Some(count) = state.pinned.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                state.pinned.remove(&self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_pinned_is_forgotten_and_nothing_forgotten_is_pinned() {
        let pins = Pins::default();
        let pin = pins.pin(Lsn(3));
        let again = pin.clone();
        assert_eq!(pins.advance(Lsn(9)), Lsn(3));
        drop(pin);
        assert_eq!(pins.advance(Lsn(9)), Lsn(3));
        drop(again);
        assert_eq!(pins.advance(Lsn(9)), Lsn(9));
        assert!(pins.pin(Lsn(8)).is_none());
        assert!(Pins::new(Lsn(4)).pin(Lsn(3)).is_none(), "what was before the opening is not there");
    }
}
