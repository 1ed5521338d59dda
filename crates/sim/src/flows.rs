//! Dataflows with a planted bug: the engine's own, behind the seam that `views` has for them, with one thing done wrong now and then.

use crate::bugs::Bug;
use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use regauge_flow::engine::{Preparing, Saving};
use regauge_state::trace::RowError;
use regauge_types::{Delta, Epoch, TopicId};
use regauge_views::{
    Result,
    read::reading::VersionRows,
    version::{
        FlowId,
        trace::{Begin, Contents, Dataflows, Figures, Past, Start, Trace, TraceFailure},
    },
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// See the module's header.
pub struct Spoiled {
    flows: Arc<dyn Dataflows>,
    bug: Bug,
    chances: AtomicU64,
    /// Rows that are still to reach a dataflow.
    late: Mutex<HashMap<FlowId, Vec<(TopicId, Delta)>>>,
    /// Dataflows whose next rows come twice.
    again: Mutex<HashMap<FlowId, bool>>,
}

impl Spoiled {
    /// These dataflows, with that bug.
    pub fn shared(flows: Arc<dyn Dataflows>, bug: Bug) -> Arc<dyn Dataflows> {
        Arc::new(Spoiled { flows, bug, chances: AtomicU64::new(0), late: Mutex::default(), again: Mutex::default() })
    }

    fn one_in(&self, n: u64) -> bool {
        self.chances.fetch_add(1, Ordering::Relaxed) % n == n - 1
    }

    fn spoil(&self, id: FlowId, mut deltas: Vec<(TopicId, Delta)>) -> Vec<(TopicId, Delta)> {
        if self.bug == Bug::DeltaLate
            && let Some(late) = self.late.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
        {
            deltas.splice(0..0, late);
        }
        let Some(last) = deltas.last().cloned() else { return deltas };
        if self.bug == Bug::RestoredStale && self.again.lock().unwrap_or_else(PoisonError::into_inner).remove(&id).is_some() {
            deltas.push(last);
            return deltas;
        }
        let takes = matches!(self.bug, Bug::RetractionLost | Bug::RetractionAdded);
        if takes && !(0..last.1.n_rows()).any(|row| last.1.diff(row) < 0) {
            return deltas;
        }
        if !takes && !matches!(self.bug, Bug::DeltaLost | Bug::DeltaDoubled | Bug::DeltaLate) || !self.one_in(12) {
            return deltas;
        }
        match self.bug {
            Bug::DeltaLost => drop(deltas.pop()),
            Bug::DeltaDoubled => deltas.push(last),
            Bug::DeltaLate => {
                deltas.pop();
                self.late.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default().push(last);
            }
            Bug::RetractionLost => {
                let keep: BooleanArray = (0..last.1.n_rows()).map(|row| Some(last.1.diff(row) > 0)).collect();
                if let (Some(spoilt), Ok(kept)) = (deltas.last_mut(), last.1.filter(&keep)) {
                    spoilt.1 = kept;
                }
            }
            _ => {
                let diffs = (0..last.1.n_rows()).map(|row| last.1.diff(row).abs());
                if let Some(spoilt) = deltas.last_mut() {
                    spoilt.1 = Delta::new(last.1.rows.clone(), Int64Array::from_iter_values(diffs));
                }
            }
        }
        deltas
    }
}

impl Dataflows for Spoiled {
    fn ready(&self) -> Result<()> {
        self.flows.ready()
    }

    fn install(&self, mut begin: Begin<'_>) -> Result<Arc<dyn Trace>> {
        if matches!(self.bug, Bug::PastDoubled | Bug::PastShort) && begin.restore.is_none() {
            for start in begin.sources.values_mut() {
                if let Start::Past(past) = start {
                    *past = Arc::new(SpoiledPast { past: past.clone(), bug: self.bug });
                }
            }
        }
        if let Some(restore) = &mut begin.restore {
            match self.bug {
                Bug::RestoredShort => {
                    if let Some(rows) = restore.rows.iter_mut().find(|rows| rows.n_rows() > 0) {
                        *rows = rows.slice(1, rows.n_rows() - 1);
                    }
                }
                Bug::RestoredStale => {
                    self.again.lock().unwrap_or_else(PoisonError::into_inner).insert(begin.id, true);
                }
                _ => {}
            }
        }
        let trace = self.flows.install(begin)?;
        if !matches!(self.bug, Bug::SnapshotStale | Bug::PastForgotten) {
            return Ok(trace);
        }
        Ok(Arc::new(SpoiledTrace { trace, bug: self.bug, chances: AtomicU64::new(0) }))
    }

    fn feed(&self, id: FlowId, epoch: Epoch, deltas: &[(TopicId, Delta)]) {
        self.flows.feed(id, epoch, &self.spoil(id, deltas.to_vec()));
    }

    fn save(&self, id: FlowId, epoch: Epoch, no: u64, base: Option<u64>) -> Option<Arc<Saving>> {
        self.flows.save(id, epoch, no, base)
    }

    fn prepare(&self, id: FlowId) -> Option<Arc<Preparing>> {
        self.flows.prepare(id)
    }

    fn stop(&self, id: FlowId) {
        self.flows.stop(id);
    }

    fn memory(&self) -> Option<(usize, usize)> {
        self.flows.memory()
    }

    fn operators(&self, id: FlowId) -> Vec<Figures> {
        self.flows.operators(id)
    }
}

struct SpoiledPast {
    past: Arc<dyn Past>,
    bug: Bug,
}

impl Past for SpoiledPast {
    fn open(&self, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        match self.bug {
            Bug::PastShort if worker + 1 == workers => Box::new(std::iter::empty()),
            Bug::PastDoubled => Box::new(self.past.open(worker, workers).chain(self.past.open(worker, workers))),
            _ => self.past.open(worker, workers),
        }
    }
}

struct SpoiledTrace {
    trace: Arc<dyn Trace>,
    bug: Bug,
    chances: AtomicU64,
}

impl Trace for SpoiledTrace {
    fn upper(&self) -> Epoch {
        self.trace.upper()
    }

    fn wait(&self, at: Epoch, time: Duration) -> Result<Epoch, TraceFailure> {
        self.trace.wait(at, time)
    }

    fn snapshot(&self, at: Epoch) -> Result<Arc<dyn VersionRows>, TraceFailure> {
        if self.bug == Bug::SnapshotStale
            && self.chances.fetch_add(1, Ordering::Relaxed) % 3 == 2
            && let Ok(stale) = self.trace.snapshot(Epoch(at.0.saturating_sub(1)))
        {
            return Ok(stale);
        }
        self.trace.snapshot(at)
    }

    fn lookup(&self, at: Epoch, key: &[ArrayRef]) -> Option<Result<RecordBatch, TraceFailure>> {
        self.trace.lookup(at, key)
    }

    fn state(&self, at: Epoch) -> Result<Contents, TraceFailure> {
        self.trace.state(at)
    }

    fn all_errors(&self, at: Epoch) -> Result<Vec<(RowError, i64)>, TraceFailure> {
        self.trace.all_errors(at)
    }

    fn changes(&self, after: Epoch, up_to: Epoch) -> Result<Vec<(Epoch, Delta)>, TraceFailure> {
        self.trace.changes(after, up_to)
    }

    fn diverts(&self) -> bool {
        self.trace.diverts()
    }

    fn errors(&self, at: Epoch) -> Vec<(RowError, i64)> {
        self.trace.errors(at)
    }

    fn failure(&self) -> Option<String> {
        self.trace.failure()
    }

    fn n_rows(&self) -> Option<usize> {
        self.trace.n_rows()
    }

    fn n_bytes(&self) -> Option<usize> {
        self.trace.n_bytes()
    }

    fn forget_before(&self, since: Epoch) {
        // up to what it shows, whatever was said
        let shown = Epoch(self.trace.upper().0.saturating_sub(1));
        self.trace.forget_before(if self.bug == Bug::PastForgotten { since.max(shown) } else { since });
    }
}
