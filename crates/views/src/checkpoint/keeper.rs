//! The driver's side: when a checkpoint is due, what goes into it, and what became of it.
//!
//! Invariant: one checkpoint is taken at a time; a version is asked for its state before the epoch that ends at the checkpoint's commit is
//! fed to it. Cost to the driver: a message to each version's workers.

use super::{
    CheckpointOptions,
    board::{Board, PAUSES},
    take::{Job, Taken},
};
use crate::{
    error::{Error, Result},
    version::{FlowId, registry::Key},
};
use parking_lot::Mutex;
use regauge_flow::engine::{Preparing, RESTORED};
use regauge_state::checkpoint::{Manifest, Store};
use regauge_types::{
    Lsn,
    env::{Env, Joining},
};
use std::{
    collections::{BTreeSet, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long versions that were never saved are waited for before they are copied at an epoch's end.
const PREPARE_MAX: Duration = Duration::from_secs(10);
/// Versions that were in the last checkpoint are given four times this to catch up before one is taken without them.
const CATCH_UP: Duration = Duration::from_secs(15);
/// An epoch is made for a checkpoint at most so often.
const NUDGE: Duration = Duration::from_millis(100);

type Outcome = Arc<Mutex<Option<Result<Taken>>>>;

/// A checkpoint that is being taken.
struct Running {
    thread: Box<dyn Joining>,
    outcome: Outcome,
    begun: Duration,
    at: Lsn,
    no: u64,
    wish: Option<u64>,
}

/// See the module's header.
pub struct Keeper {
    options: CheckpointOptions,
    env: Env,
    store: Store,
    board: Arc<Board>,
    last: Option<Arc<Manifest>>,
    /// The last save of each version that is in `last`.
    saved: HashMap<Key, u64>,
    /// Those of them that are half-built there.
    half: BTreeSet<Key>,
    /// Versions that kept up when the last one was begun, or that it has.
    asked: BTreeSet<Key>,
    running: Option<Running>,
    stop: Arc<AtomicBool>,
    /// Versions that were never saved, or whose last save was lost: copied between epochs before they are asked for.
    preparing: HashMap<Key, Arc<Preparing>>,
    /// Since when they are waited for.
    waits: Option<Duration>,
    /// An epoch was made for want of one, then.
    nudged: Duration,
    /// Versions that will be asked.
    wished: BTreeSet<Key>,
    /// Names saves.
    next: u64,
    /// When the last one was begun, and how far the log had come.
    since: (Duration, u64),
    at: Lsn,
}

impl Keeper {
    /// Goes on from what opening found; `log_bytes` is how much was written to the log so far.
    pub fn new(
        options: CheckpointOptions,
        env: Env,
        store: Store,
        last: Option<Arc<Manifest>>,
        board: Arc<Board>,
        log_bytes: u64,
    ) -> Keeper {
        let since = (env.clock.steady(), log_bytes);
        let at = last.as_ref().map(|m| m.lsn).unwrap_or_default();
        Keeper {
            options,
            env,
            store,
            board,
            last,
            saved: HashMap::new(),
            half: BTreeSet::new(),
            asked: BTreeSet::new(),
            running: None,
            stop: Arc::default(),
            preparing: HashMap::new(),
            waits: None,
            nudged: Duration::ZERO,
            wished: BTreeSet::new(),
            next: RESTORED + 1,
            since,
            at,
        }
    }

    /// These versions go on from the last checkpoint: what changes since will do.
    pub fn restored(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.saved = keys.into_iter().map(|key| (key, RESTORED)).collect();
        self.asked = self.saved.keys().copied().collect();
    }

    /// Whether a version that keeps up began to do so after the last checkpoint was begun.
    pub fn is_new(&self, key: Key) -> bool {
        !self.asked.contains(&key)
    }

    /// Whether nothing but an epoch is wanting for a checkpoint, of what was fed up to `at`; asked while there is none. Says so now and
    /// then only, so that a log that refuses is not asked without end. `building`: there is more to keep though nothing is written.
    pub fn wants_epoch(&mut self, at: Lsn, log_bytes: u64, building: bool) -> bool {
        let now = self.env.clock.steady();
        // a history that is being read, or a version that is new
        self.at = if building && at == self.at { Lsn(at.0.saturating_sub(1)) } else { self.at };
        if now.saturating_sub(self.nudged) < NUDGE || !self.is_due(at, log_bytes) || !self.is_prepared() {
            return false;
        }
        self.nudged = now;
        true
    }

    /// Whether those that were never saved are copied, or were waited for long enough.
    fn is_prepared(&self) -> bool {
        let waited = self.waits.is_some_and(|since| self.env.clock.steady().saturating_sub(since) >= PREPARE_MAX);
        waited || self.preparing.values().all(|p| p.is_done())
    }

    /// Sees to it that these versions, all that will be asked, have been copied; whether they have.
    pub fn prepare(&mut self, flows: &[(Key, FlowId)], begin: impl Fn(FlowId) -> Option<Arc<Preparing>>) -> bool {
        self.preparing.retain(|key, _| flows.iter().any(|(k, _)| k == key));
        self.wished = flows.iter().map(|(key, _)| *key).collect();
        for (key, flow) in flows.iter().filter(|(key, _)| !self.saved.contains_key(key)) {
            if !self.preparing.contains_key(key)
                && let Some(preparing) = begin(*flow)
            {
                self.preparing.insert(*key, preparing);
            }
        }
        if !self.preparing.is_empty() && self.waits.is_none() {
            self.waits = Some(self.env.clock.steady());
        }
        self.is_prepared()
    }

    /// Whether the epoch that ends at this commit is to be kept.
    pub fn is_due(&mut self, at: Lsn, log_bytes: u64) -> bool {
        self.settle();
        if self.running.is_some() {
            return false;
        }
        let old = self.env.clock.steady().saturating_sub(self.since.0) >= self.options.every;
        if at <= self.at {
            self.board.tell(|s| s.n_idle += u64::from(old));
            return false;
        }
        let much = log_bytes.saturating_sub(self.since.1) >= self.options.log_bytes;
        old || much || self.board.open_wish().is_some()
    }

    /// Whether one is being taken.
    pub fn is_taking(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the last checkpoint has a version's state, up to its commit.
    pub fn has(&self, key: Key) -> bool {
        self.saved.contains_key(&key) && !self.half.contains(&key)
    }

    /// Whether one is due for so long that it is not to wait for versions that catch up.
    pub fn is_overdue(&self, log_bytes: u64) -> bool {
        let age = self.env.clock.steady().saturating_sub(self.since.0);
        age >= self.options.every.max(CATCH_UP) * 4
            || log_bytes.saturating_sub(self.since.1) >= self.options.log_bytes.saturating_mul(4)
    }

    /// The number of the next save, and the last one of a version that may be built on.
    pub fn numbers(&self, key: Key) -> (u64, Option<u64>) {
        (self.next, self.saved.get(&key).copied())
    }

    /// Begins: the rest happens on another thread.
    pub fn begin(&mut self, at: Lsn, log_bytes: u64, job: impl FnOnce(Store, Option<Arc<Manifest>>, Arc<AtomicBool>) -> Job) {
        let no = self.next;
        self.next += 1;
        let begun = self.env.clock.steady();
        self.preparing.clear();
        self.waits = None;
        self.asked = std::mem::take(&mut self.wished);
        (self.since, self.at) = ((begun, log_bytes), at);
        let wish = self.board.open_wish();
        let job = job(self.store.clone(), self.last.clone(), self.stop.clone());
        let outcome: Outcome = Arc::default();
        let result = outcome.clone();
        let thread = self.env.threads.spawn(
            "regauge-checkpoint",
            Box::new(move || {
                let run = catch_unwind(AssertUnwindSafe(|| job.run()));
                *result.lock() = Some(run.unwrap_or_else(|_| Err(Error::internal("checkpoint panicked"))));
            }),
        );
        match thread {
            Ok(thread) => self.running = Some(Running { thread, outcome, begun, at, no, wish }),
            Err(error) => {
                self.board.tell(|s| s.failed = Some(error.to_string()));
                wish.into_iter().for_each(|wish| self.board.answer(wish));
            }
        }
    }

    /// Looks whether the one that is being taken is done.
    pub fn settle(&mut self) {
        let Some(running) = self.running.take_if(|r| r.outcome.lock().is_some()) else { return };
        let Running { thread, outcome, begun, at, no, wish } = running;
        if let Err(panic) = thread.join() {
            tracing::error!(%panic, "a checkpoint's thread panicked");
        }
        let took = self.env.clock.steady().saturating_sub(begun);
        match outcome.lock().take() {
            Some(Ok(Taken { manifest, n_bytes, versions, building, pause })) => {
                tracing::info!(checkpoint = manifest.no, lsn = %at, bytes = n_bytes.0, reused = n_bytes.1, took_ms = took.as_millis(), pause_us = pause.as_micros(), "checkpoint");
                self.saved = versions.keys().map(|key| (*key, no)).collect();
                self.half.clone_from(&building);
                let n_sections = manifest.sections.len();
                let last = (manifest.no, at);
                self.last = Some(Arc::new(manifest));
                self.board.tell(|s| {
                    (s.last, s.n_bytes, s.n_sections, s.took, s.failed) = (Some(last), n_bytes, n_sections, took, None);
                    s.n_taken += 1;
                    s.pause = pause;
                    s.pauses.push_back(pause);
                    let n_old = s.pauses.len().saturating_sub(PAUSES);
                    s.pauses.drain(..n_old);
                    s.digests = versions
                        .into_iter()
                        .filter(|(key, _)| !building.contains(key))
                        .map(|(key, digest)| (key, (at, digest)))
                        .collect();
                });
            }
            Some(Err(error)) => {
                // what the versions gave went with it
                self.saved.clear();
                self.asked.clear();
                // and if what it was to stand on is gone from the disk, the next one stands by itself
                if let Some(last) = self.last.take() {
                    self.last = Some(last).filter(|last| self.store.has(last).unwrap_or(true));
                }
                tracing::warn!(%error, lsn = %at, "checkpoint came to nothing; the next one is tried when it is due");
                self.board.tell(|s| s.failed = Some(error.to_string()));
            }
            None => {}
        }
        wish.into_iter().for_each(|wish| self.board.answer(wish));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(running) = self.running.take()
            && let Err(panic) = running.thread.join()
        {
            tracing::error!(%panic, "a checkpoint's thread panicked");
        }
    }
}
