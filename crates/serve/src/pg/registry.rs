//! Who is connected: how many may be, and how one connection cancels the statement of another.
//!
//! Invariant: an entry lives as long as its [`Seat`]. A cancel request must name number and secret; a wrong one is not answered, so
//! nobody learns anything from it. Cost: one map access per connection and per cancel request, none per statement.

use parking_lot::Mutex;
use regauge_types::Env;
use regauge_views::CancelHandle;
use std::{collections::HashMap, sync::Arc};

/// The connections of one server.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    env: Env,
    seats_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: i32,
    seats: HashMap<i32, (i32, CancelHandle)>,
}

/// A place among the connections.
pub struct Seat {
    registry: Registry,
    /// Its number.
    pub pid: i32,
    /// What a cancel request must know.
    pub secret: i32,
}

impl Registry {
    /// Nobody is connected.
    #[must_use]
    pub fn new(env: Env, seats_max: usize) -> Registry {
        Registry(Arc::new(Inner { env, seats_max, state: Mutex::default() }))
    }

    /// Takes a place; `None` when all are taken.
    #[must_use]
    pub fn sit(&self, cancel: CancelHandle) -> Option<Seat> {
        let bytes = self.0.env.random.next_u64().to_be_bytes();
        let secret = i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let mut state = self.0.state.lock();
        if state.seats.len() >= self.0.seats_max {
            return None;
        }
        // There is a free number: at most `seats_max` are taken.
        loop {
            state.last = state.last.checked_add(1).unwrap_or(1);
            if !state.seats.contains_key(&state.last) {
                break;
            }
        }
        let pid = state.last;
        state.seats.insert(pid, (secret, cancel));
        drop(state);
        Some(Seat { registry: self.clone(), pid, secret })
    }

    /// Whether all places are taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.state.lock().seats.len() >= self.0.seats_max
    }

    /// Cancels what a connection runs, if the secret is right.
    pub fn cancel(&self, pid: i32, secret: i32) {
        let found = self.0.state.lock().seats.get(&pid).filter(|(known, _)| *known == secret).map(|(_, cancel)| cancel.clone());
        if let Some(cancel) = found {
            cancel.cancel();
        }
    }

    /// Cancels what everybody runs.
    pub fn cancel_all(&self) {
        let all: Vec<CancelHandle> = self.0.state.lock().seats.values().map(|(_, cancel)| cancel.clone()).collect();
        all.iter().for_each(CancelHandle::cancel);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.registry.0.state.lock().seats.remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_client_has_gone() {
        let registry = Registry::new(Env::real(), 1);
        let seat = registry.sit(CancelHandle::default()).expect("the first");
        assert!(registry.sit(CancelHandle::default()).is_none() && registry.is_full());
        drop(seat);
        assert!(registry.sit(CancelHandle::default()).is_some_and(|s| s.pid == 2));
    }
}
