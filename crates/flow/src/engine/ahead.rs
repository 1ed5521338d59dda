//! Reading ahead: a thread reads the past of a flow for one worker into a short queue, so that the worker never waits for a disk and
//! never holds more than [`BATCHES_MAX`] batches of it.

use super::{EngineError, History};
use parking_lot::{Condvar, Mutex};
use regauge_types::{
    Delta,
    env::{Env, Joining},
};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use timely::scheduling::SyncActivator;

/// Batches that wait; whoever makes them says how large they are.
const BATCHES_MAX: usize = 4;

/// The queue between the thread and the worker.
#[derive(Default)]
pub(super) struct Ahead {
    state: Mutex<State>,
    room: Condvar,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Result<Item, String>>,
    ended: bool,
    closed: bool,
    worker: Option<SyncActivator>,
}

/// What was read.
enum Item {
    /// Rows of the source of this number.
    Rows(usize, Delta),
    /// So many parts, which are one epoch, begin.
    Run(usize),
    /// They end, and others follow.
    Cut,
}

/// A thread that reads ahead.
pub(super) struct Reading {
    pub ahead: Arc<Ahead>,
    thread: Box<dyn Joining>,
}

impl Reading {
    /// Whether the thread has ended or is about to.
    pub fn is_done(&self) -> bool {
        self.ahead.state.lock().ended
    }

    /// Ends the thread, after the batch that it is at; nobody may want what it has read.
    pub fn end(self) {
        self.ahead.close();
        self.join();
    }

    /// Waits for the thread; what it has read stays.
    pub fn join(self) {
        if let Err(panic) = self.thread.join() {
            tracing::error!(%panic, "a thread that read ahead panicked");
        }
    }
}

/// What the queue has.
pub(super) enum Next {
    /// Rows of the source of this number.
    Rows(usize, Delta),
    /// An epoch of the past ends, and another one follows.
    Cut,
    /// Nothing yet; the worker will be woken.
    Wait,
    /// All was read.
    End,
}

impl Ahead {
    /// Starts reading a share of each source, one part of all of them after the other. The source that is cut tells which parts are one epoch.
    pub fn start(
        env: &Env,
        name: &str,
        sources: Vec<(usize, Arc<dyn History>)>,
        parts: usize,
        share: (usize, usize),
    ) -> Result<Reading, EngineError> {
        let ahead = Arc::new(Ahead::default());
        let of_thread = Arc::clone(&ahead);
        let body = move || {
            let read = catch_unwind(AssertUnwindSafe(|| of_thread.read(&sources, parts, share)));
            if read.is_err() {
                of_thread.push(Err("reading the past panicked".to_owned()));
            }
            of_thread.end();
        };
        let thread = env.threads.spawn(name, Box::new(body)).map_err(EngineError::Thread)?;
        Ok(Reading { ahead, thread })
    }

    fn read(&self, sources: &[(usize, Arc<dyn History>)], parts: usize, (worker, workers): (usize, usize)) {
        let cut = sources.iter().max_by_key(|(_, past)| past.cuts().len());
        let mut first = 0;
        while first < parts {
            let last = cut.map_or(first, |(_, past)| past.run(first)).clamp(first, parts - 1);
            if !self.push(Ok(Item::Run(last + 1 - first))) {
                return;
            }
            for part in first..=last {
                for (source, past) in sources {
                    for delta in past.open_part(part, worker, workers) {
                        if !self.push(delta.map(|delta| Item::Rows(*source, delta))) {
                            return;
                        }
                    }
                }
            }
            first = last + 1;
            if first < parts && !self.push(Ok(Item::Cut)) {
                return;
            }
        }
    }

    /// Waits for room; false when nobody reads any more.
    fn push(&self, batch: Result<Item, String>) -> bool {
        let mut state = self.state.lock();
        self.room.wait_while(&mut state, |s| s.batches.len() >= BATCHES_MAX && !s.closed);
        if state.closed {
            return false;
        }
        state.batches.push_back(batch);
        wake(&state);
        true
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        wake(&state);
    }

    /// The worker's source, which is woken from now on.
    pub fn wakes(&self, worker: SyncActivator) {
        self.state.lock().worker = Some(worker);
    }

    /// How many parts the epoch that begins now has, without waiting; `None` while that is not known.
    pub fn begin(&self) -> Result<Option<usize>, EngineError> {
        let mut state = self.state.lock();
        match state.batches.pop_front() {
            Some(Ok(Item::Run(parts))) => {
                self.room.notify_one();
                Ok(Some(parts))
            }
            Some(Err(why)) => Err(EngineError::Past(why)),
            Some(Ok(_)) => Err(EngineError::Past("rows come before their epoch was begun".to_owned())),
            None if state.ended => Err(EngineError::Past("it ends before its last part".to_owned())),
            None => Ok(None),
        }
    }

    /// The next batch, without waiting.
    pub fn next(&self) -> Result<Next, EngineError> {
        let mut state = self.state.lock();
        match state.batches.pop_front() {
            Some(batch) => {
                self.room.notify_one();
                match batch.map_err(EngineError::Past)? {
                    Item::Rows(source, delta) => Ok(Next::Rows(source, delta)),
                    Item::Cut => Ok(Next::Cut),
                    Item::Run(_) => Err(EngineError::Past("an epoch begins within another".to_owned())),
                }
            }
            None if state.ended => Ok(Next::End),
            None => Ok(Next::Wait),
        }
    }

    /// Nobody reads any more: the thread ends at its next batch.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.batches.clear();
        self.room.notify_all();
    }
}

fn wake(state: &State) {
    if let Some(worker) = &state.worker {
        // a worker that is gone needs no waking
        let _ = worker.activate();
    }
}
