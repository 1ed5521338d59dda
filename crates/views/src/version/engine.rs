//! The engine behind [`super::trace::Dataflows`]: [`regauge_flow::engine`], with this crate's pasts and errors.
//!
//! All versions run on the same `Config::workers` threads, each worker with its share of the rows; nothing of that is visible
//! through the seam.
//!
//! A dataflow that reads another's trace shows at an epoch within a longer one of that trace what the trace was before. Whoever feeds them sees
//! to it that nobody reads it there: the driver leaves behind with a version all that read it.
//!
//! Each trace keeps one pin, which the driver moves up ([`Trace::forget_before`]) as readers let go; without it a trace would
//! forget an epoch as soon as the next is complete, and no two versions could be read at the same one.

use super::{
    errors::healthy,
    trace::{Begin, Contents, Dataflows, Figures, FlowId, Past, Start, Trace, TraceFailure},
};
use crate::{
    config::Config,
    error::{Error, Result},
    read::reading::VersionRows,
};
use arrow::array::{ArrayRef, RecordBatch};
use parking_lot::Mutex;
use regauge_flow::engine::{Engine, EngineConfig, Feed, History, Install, Preparing, Saving};
use regauge_flow::spill::Memory;
use regauge_state::trace::{Pin, RowError, Snapshot, TraceError, TraceReader};
use regauge_types::{Delta, Epoch, TopicId};
use std::{collections::HashSet, sync::Arc, time::Duration};

/// Rows per batch of what is read of a version.
const BATCH_ROWS: usize = 8192;

struct Workers {
    engine: Engine,
    /// Dataflows whose failing rows are set aside.
    diverting: Mutex<HashSet<FlowId>>,
}

struct Reads(Arc<dyn Past>);

struct Output {
    reader: TraceReader,
    kept: Mutex<Pin>,
    diverts: bool,
}

struct Rows {
    snapshot: Snapshot,
    diverts: bool,
}

impl History for Reads {
    fn open(&self, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        self.0.open(worker, workers)
    }

    fn cuts(&self) -> Vec<Epoch> {
        self.0.cuts()
    }

    fn run(&self, part: usize) -> usize {
        self.0.run(part)
    }

    fn open_part(&self, part: usize, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        self.0.open_part(part, worker, workers)
    }
}

impl Dataflows for Workers {
    fn install(&self, begin: Begin<'_>) -> Result<Arc<dyn Trace>> {
        let Begin { id, plan, sources, as_of, diverts, restore } = begin;
        let mut diverting = self.diverting.lock();
        let gone = |up| Error::internal(format!("a version that it reads is not running flow={up}"));
        let cuts =
            sources.values().filter_map(|start| if let Start::Past(past) = start { past.cuts().first().copied() } else { None });
        let readable_from = cuts.min().unwrap_or(as_of).min(as_of);
        let feed = |start| -> Result<Feed> {
            Ok(match start {
                Start::Past(past) => Feed::History(Arc::new(Reads(past))),
                Start::Flow(up) => {
                    let reader = self.engine.reader(up).ok_or_else(|| gone(up))?;
                    Feed::Trace(if diverting.contains(&up) { reader.diverting() } else { reader })
                }
            })
        };
        let sources = sources.into_iter().map(|(id, start)| Ok((id, feed(start)?))).collect::<Result<_>>()?;
        let (reader, pin) = self
            .engine
            .install_pinned(Install { id, plan: plan.clone(), sources, as_of, restore }, readable_from)
            .map_err(|e| Error::internal(e.to_string()))?;
        let kept = Mutex::new(pin);
        if diverts {
            diverting.insert(id);
        }
        let reader = if diverts { reader.diverting() } else { reader };
        Ok(Arc::new(Output { reader, kept, diverts }))
    }

    fn feed(&self, id: FlowId, epoch: Epoch, deltas: &[(TopicId, Delta)]) {
        self.engine.feed(id, epoch, deltas.to_vec());
    }

    fn save(&self, id: FlowId, epoch: Epoch, no: u64, base: Option<u64>) -> Option<Arc<Saving>> {
        self.engine.save(id, epoch, no, base)
    }

    fn prepare(&self, id: FlowId) -> Option<Arc<Preparing>> {
        self.engine.prepare(id)
    }

    fn stop(&self, id: FlowId) {
        self.engine.drop_flow(id);
        self.diverting.lock().remove(&id);
    }

    fn memory(&self) -> Option<(usize, usize)> {
        self.engine.memory().map(|((spilling, fixed), budget)| (spilling.saturating_add(fixed), budget))
    }

    fn operators(&self, id: FlowId) -> Vec<Figures> {
        let figures = |n: regauge_flow::engine::NodeStats| {
            let (node, operator, s) = (n.node, n.op, n.stats);
            let (rows_in, rows_out, touched) = (s.rows_in, s.rows_out, s.touched);
            Figures {
                node,
                operator,
                rows_in,
                rows_out,
                touched,
                state_rows: s.state_rows,
                state_bytes: s.state_bytes,
                spilled_bytes: s.spilled_bytes,
                busy: s.busy,
            }
        };
        self.engine.stats(id).into_iter().map(figures).collect()
    }
}

fn failure(error: TraceError) -> TraceFailure {
    match error {
        TraceError::Compacted { .. } | TraceError::NotYet { .. } => TraceFailure::OutOfRange(error.to_string()),
        TraceError::Failed(why) => TraceFailure::Failed(why),
        other => TraceFailure::Failed(other.to_string()),
    }
}

impl Trace for Output {
    fn upper(&self) -> Epoch {
        self.reader.upper()
    }

    fn wait(&self, at: Epoch, time: Duration) -> Result<Epoch, TraceFailure> {
        self.reader.wait(at, time).map_err(failure)
    }

    fn snapshot(&self, at: Epoch) -> Result<Arc<dyn VersionRows>, TraceFailure> {
        Ok(Arc::new(Rows { snapshot: self.reader.snapshot(at).map_err(failure)?, diverts: self.diverts }))
    }

    fn lookup(&self, at: Epoch, key: &[ArrayRef]) -> Option<Result<RecordBatch, TraceFailure>> {
        match self.reader.lookup(at, key) {
            Ok(rows) => Some(Ok(rows)),
            Err(TraceError::NoKey { .. } | TraceError::Errored { .. }) => None,
            Err(error) => Some(Err(failure(error))),
        }
    }

    fn changes(&self, after: Epoch, up_to: Epoch) -> Result<Vec<(Epoch, Delta)>, TraceFailure> {
        let changes = self.reader.changes(after, up_to).map_err(failure)?;
        Ok(changes.into_iter().map(|c| (c.epoch, c.rows)).collect())
    }

    fn state(&self, at: Epoch) -> Result<Contents, TraceFailure> {
        let snapshot = self.reader.snapshot(at).map_err(failure)?;
        Ok((snapshot.pieces().to_vec(), snapshot.errors().to_vec()))
    }

    fn all_errors(&self, at: Epoch) -> Result<Vec<(RowError, i64)>, TraceFailure> {
        self.reader.errors(at).map_err(failure)
    }

    fn diverts(&self) -> bool {
        self.diverts
    }

    fn errors(&self, at: Epoch) -> Vec<(RowError, i64)> {
        // one that has failed says so by itself
        self.reader.errors(at).unwrap_or_default()
    }

    fn failure(&self) -> Option<String> {
        self.reader.failure()
    }

    fn n_rows(&self) -> Option<usize> {
        Some(self.reader.size().1)
    }

    fn n_bytes(&self) -> Option<usize> {
        Some(self.reader.n_bytes())
    }

    fn forget_before(&self, since: Epoch) {
        self.kept.lock().advance(since);
    }
}

impl VersionRows for Rows {
    fn errors(&self) -> &[(RowError, i64)] {
        if self.diverts { &[] } else { self.snapshot.errors() }
    }

    fn diverted(&self) -> &[(RowError, i64)] {
        if self.diverts { self.snapshot.errors() } else { &[] }
    }

    fn batches(&self) -> Result<Vec<RecordBatch>> {
        healthy(self.errors())?;
        let whole = self.snapshot.batches().map_err(|e| Error::internal(e.to_string()))?;
        let pieces = |b: &RecordBatch| {
            let n = b.num_rows();
            (0..n).step_by(BATCH_ROWS).map(|at| b.slice(at, BATCH_ROWS.min(n - at))).collect::<Vec<_>>()
        };
        Ok(whole.iter().flat_map(pieces).collect())
    }
}

/// The engine of an instance. The driver keeps no more than `epochs_in_flight` epochs before a version, and one that it is
/// about to feed, so that it never blocks on a queue of this size; were it to, versions that read each other could wait for ever.
pub fn start(config: &Config) -> Result<Arc<dyn Dataflows>> {
    let queue_epochs = config.limits.epochs_in_flight.saturating_mul(2).saturating_add(2);
    let memory = config.memory_bytes.map(|bytes| Memory { bytes, dir: config.dir.join("scratch") });
    let engine = EngineConfig { workers: config.workers, queue_epochs, cluster: None, memory };
    let engine = Engine::start(engine, config.env.clone()).map_err(|e| Error::internal(e.to_string()))?;
    Ok(Arc::new(Workers { engine, diverting: Mutex::default() }))
}
