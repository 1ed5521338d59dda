//! What the rest of the instance sees of checkpoints, and how it asks for one.

use crate::version::registry::Key;
use parking_lot::{Condvar, Mutex};
use regauge_types::{Digest, Lsn};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// How many pauses are remembered.
pub(super) const PAUSES: usize = 128;

/// What there is to be told of checkpoints.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Whether checkpoints are on.
    pub enabled: bool,
    /// The last one: its number, its commit.
    pub last: Option<(u64, Lsn)>,
    /// Bytes that it wrote, and bytes that stood already.
    pub n_bytes: (u64, u64),
    /// Versions and tables in it.
    pub n_sections: usize,
    /// From its beginning to its end.
    pub took: Duration,
    /// For how long at most a worker did nothing else, at the last one.
    pub pause: Duration,
    /// The same of the last ones, this one among them.
    pub pauses: VecDeque<Duration>,
    /// Of each version in the last one: the digest of its rows then.
    pub digests: BTreeMap<Key, (Lsn, Digest)>,
    /// Why the last attempt came to nothing, if it did.
    pub failed: Option<String>,
    /// Since it was opened.
    pub n_taken: u64,
    /// How often one was due by the clock and there was nothing new to keep, since it was opened.
    pub n_idle: u64,
    /// Of each version that was there when it was opened: where it was restored, or why it was rebuilt.
    pub opened: BTreeMap<Key, Result<Lsn, String>>,
    /// Checkpoints that could not be read when it was opened, and why.
    pub damaged: Vec<String>,
}

impl Status {
    /// 99 of 100 of the last pauses were not longer.
    #[must_use]
    pub fn pause_p99(&self) -> Duration {
        let mut all: Vec<Duration> = self.pauses.iter().copied().collect();
        all.sort_unstable();
        all.get((all.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
    }
}

#[derive(Default)]
struct State {
    status: Status,
    wanted: u64,
    answered: u64,
}

/// See the module's header.
#[derive(Default)]
pub struct Board {
    state: Mutex<State>,
    moved: Condvar,
}

impl Board {
    /// What is known now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.state.lock().status.clone()
    }

    /// Changes it.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.state.lock().status);
        self.moved.notify_all();
    }

    /// Asks for a checkpoint of an epoch that is yet to end; the number of the wish.
    pub(crate) fn ask(&self) -> u64 {
        let mut state = self.state.lock();
        state.wanted += 1;
        state.wanted
    }

    /// Wishes that were not met when this is asked.
    pub(super) fn open_wish(&self) -> Option<u64> {
        let state = self.state.lock();
        (state.wanted > state.answered).then_some(state.wanted)
    }

    /// All wishes up to this one are met, or came to nothing.
    pub(super) fn answer(&self, wish: u64) {
        let mut state = self.state.lock();
        state.answered = state.answered.max(wish);
        self.moved.notify_all();
    }

    /// Waits for a wish; whether it was met in time.
    pub(crate) fn wait(&self, wish: u64, time: Duration) -> bool {
        let mut state = self.state.lock();
        self.moved.wait_while_for(&mut state, |s| s.answered < wish, time);
        state.answered >= wish
    }
}
