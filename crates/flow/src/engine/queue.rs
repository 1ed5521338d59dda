//! Epochs that wait for a version: bounded, so that who feeds cannot run ahead of it without end.

use parking_lot::{Condvar, Mutex};
use regauge_types::{Delta, Epoch, TopicId};
use std::collections::VecDeque;

/// Everything up to an epoch.
pub(super) type Fed = (Epoch, Vec<(TopicId, Delta)>);

pub(super) struct Queue {
    state: Mutex<State>,
    moved: Condvar,
    n_max: usize,
}

#[derive(Default)]
struct State {
    epochs: VecDeque<Fed>,
    closed: bool,
}

impl Queue {
    pub fn new(n_max: usize) -> Queue {
        Queue { state: Mutex::default(), moved: Condvar::new(), n_max }
    }

    /// Waits for room; once closed nothing goes in.
    pub fn push(&self, epoch: Epoch, deltas: Vec<(TopicId, Delta)>) {
        let mut state = self.state.lock();
        self.moved.wait_while(&mut state, |s| s.epochs.len() >= self.n_max && !s.closed);
        if !state.closed {
            state.epochs.push_back((epoch, deltas));
            self.moved.notify_all();
        }
    }

    /// Waits for the next; none once closed, even if some are left.
    pub fn pop(&self) -> Option<Fed> {
        let mut state = self.state.lock();
        self.moved.wait_while(&mut state, |s| s.epochs.is_empty() && !s.closed);
        let next = if state.closed { None } else { state.epochs.pop_front() };
        self.moved.notify_all();
        next
    }

    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.epochs.clear();
        self.moved.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}
