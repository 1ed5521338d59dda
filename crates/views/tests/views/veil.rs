//! The engine behind a veil: a trace (or all of them) that says that it is slower than it is, or that panics when it is asked for changes.

#![allow(clippy::disallowed_methods, reason = "no part of what is simulated")]

use arrow::{array::ArrayRef, array::RecordBatch};
use regauge_flow::engine::{Preparing, Saving};
use regauge_state::trace::RowError;
use regauge_types::{Delta, Epoch, TopicId};
use regauge_views::{
    Config, Result,
    read::reading::VersionRows,
    version::{
        start_engine,
        trace::{Begin, Contents, Dataflows, Figures, FlowId, Trace, TraceFailure},
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub struct Veil {
    below: Arc<dyn Dataflows>,
    flags: Arc<Flags>,
}

#[derive(Default)]
struct Flags {
    /// The first dataflow, once it is there.
    first: AtomicU64,
    /// Whether that one lags, and where it says that it stands then.
    lags: AtomicBool,
    /// Whether all of them do.
    all_lag: AtomicBool,
    stuck: AtomicU64,
    panics: AtomicBool,
}

struct Veiled {
    below: Arc<dyn Trace>,
    is_first: bool,
    flags: Arc<Flags>,
}

impl Veil {
    pub fn over(config: &Config) -> Arc<Veil> {
        Arc::new(Veil { below: start_engine(config).unwrap(), flags: Arc::default() })
    }

    /// From now on the first dataflow's trace says that it does not get any further than this; or what is true again.
    pub fn lag(&self, at: Option<u64>) {
        self.flags.stuck.store(at.unwrap_or_default(), Ordering::SeqCst);
        self.flags.lags.store(at.is_some(), Ordering::SeqCst);
    }

    /// The same of all dataflows.
    pub fn lag_all(&self, at: Option<u64>) {
        self.flags.stuck.store(at.unwrap_or_default(), Ordering::SeqCst);
        self.flags.all_lag.store(at.is_some(), Ordering::SeqCst);
    }

    /// From now on who asks for changes meets a panic.
    pub fn panic(&self) {
        self.flags.panics.store(true, Ordering::SeqCst);
    }
}

impl Dataflows for Veil {
    fn install(&self, begin: Begin<'_>) -> Result<Arc<dyn Trace>> {
        let id = begin.id;
        let _ = self.flags.first.compare_exchange(0, id, Ordering::SeqCst, Ordering::SeqCst);
        let is_first = self.flags.first.load(Ordering::SeqCst) == id;
        Ok(Arc::new(Veiled { below: self.below.install(begin)?, is_first, flags: self.flags.clone() }))
    }
    fn feed(&self, id: FlowId, epoch: Epoch, deltas: &[(TopicId, Delta)]) {
        self.below.feed(id, epoch, deltas);
    }
    fn save(&self, id: FlowId, epoch: Epoch, no: u64, base: Option<u64>) -> Option<Arc<Saving>> {
        self.below.save(id, epoch, no, base)
    }
    fn prepare(&self, id: FlowId) -> Option<Arc<Preparing>> {
        self.below.prepare(id)
    }
    fn stop(&self, id: FlowId) {
        self.below.stop(id);
    }
    fn memory(&self) -> Option<(usize, usize)> {
        self.below.memory()
    }
    fn operators(&self, id: FlowId) -> Vec<Figures> {
        self.below.operators(id)
    }
}

impl Veiled {
    fn shown(&self, upper: Epoch) -> Epoch {
        let lags = self.flags.all_lag.load(Ordering::SeqCst) || self.is_first && self.flags.lags.load(Ordering::SeqCst);
        if lags { upper.min(Epoch(self.flags.stuck.load(Ordering::SeqCst))) } else { upper }
    }
}

impl Trace for Veiled {
    fn upper(&self) -> Epoch {
        self.shown(self.below.upper())
    }
    fn wait(&self, at: Epoch, time: Duration) -> Result<Epoch, TraceFailure> {
        let (begun, mut upper) = (Instant::now(), self.below.wait(at, time)?);
        while self.shown(upper) < at && begun.elapsed() < time {
            std::thread::sleep(Duration::from_millis(5));
            upper = self.below.upper();
        }
        Ok(self.shown(upper))
    }
    fn snapshot(&self, at: Epoch) -> Result<Arc<dyn VersionRows>, TraceFailure> {
        self.below.snapshot(at)
    }
    fn lookup(&self, at: Epoch, key: &[ArrayRef]) -> Option<Result<RecordBatch, TraceFailure>> {
        self.below.lookup(at, key)
    }
    fn state(&self, at: Epoch) -> Result<Contents, TraceFailure> {
        self.below.state(at)
    }
    fn all_errors(&self, at: Epoch) -> Result<Vec<(RowError, i64)>, TraceFailure> {
        self.below.all_errors(at)
    }
    fn changes(&self, after: Epoch, up_to: Epoch) -> Result<Vec<(Epoch, Delta)>, TraceFailure> {
        assert!(!self.flags.panics.load(Ordering::SeqCst), "planted");
        self.below.changes(after, up_to)
    }
    fn diverts(&self) -> bool {
        self.below.diverts()
    }
    fn errors(&self, at: Epoch) -> Vec<(RowError, i64)> {
        self.below.errors(at)
    }
    fn failure(&self) -> Option<String> {
        self.below.failure()
    }
    fn n_rows(&self) -> Option<usize> {
        self.below.n_rows()
    }
    fn n_bytes(&self) -> Option<usize> {
        self.below.n_bytes()
    }
    fn forget_before(&self, since: Epoch) {
        self.below.forget_before(since);
    }
}
