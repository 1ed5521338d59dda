//! What an aggregate's groups showed when an epoch first touched them: what the epoch's end compares with.
//!
//! Invariant: a place has a slot, or an error, or neither. Cost: four bytes a place up to the last group that showed a row, none in an
//! epoch that only makes groups.

use std::collections::HashMap;

use regauge_plan::eval::EvalError;
use regauge_state::Segments;

/// What a group showed when the epoch first touched it.
#[derive(Debug, Clone)]
pub(super) enum Shown {
    Nothing,
    Row(u32),
    Error(EvalError),
}

/// What the groups of an epoch's `Touched` showed, by their places there. Groups that are new showed nothing and take no room: a rebuild, for
/// which all groups are, keeps nothing here.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Slots of the old rows, [`Before::NONE`] where there is none; ends after the last that is one.
    slots: Segments<u32>,
    errors: HashMap<usize, EvalError>,
}

impl Before {
    const NONE: u32 = u32::MAX;

    /// Notes what the group at a place showed.
    pub(super) fn put(&mut self, place: usize, shown: Shown) {
        match shown {
            Shown::Nothing => {}
            Shown::Row(slot) => {
                self.slots.grow(place + 1, Self::NONE);
                self.slots[place] = slot;
            }
            Shown::Error(error) => drop(self.errors.insert(place, error)),
        }
    }

    /// What the group at a place showed; asked once.
    pub(super) fn take(&mut self, place: usize) -> Shown {
        if place < self.slots.len() && self.slots[place] != Self::NONE {
            return Shown::Row(self.slots[place]);
        }
        self.errors.remove(&place).map_or(Shown::Nothing, Shown::Error)
    }

    /// The epoch is over.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.errors.clear();
    }

    /// Bytes of memory held.
    pub(super) fn n_bytes(&self) -> usize {
        self.slots.n_bytes()
    }
}
