//! What this crate asks of the engine: dataflows that take epochs, and traces that are read at epochs.
//!
//! The traits are the seam between the life of a version and the engine that runs it: [`super::engine`] stands behind them in an
//! instance, a plain evaluator may in a test. Clauses that callers rely on stand at the methods.

use crate::{
    error::{Error, Result, sqlstate as code},
    read::reading::VersionRows,
};
use arrow::array::{ArrayRef, RecordBatch};
use regauge_plan::{FlowPlan, SourceId};
use regauge_types::{Delta, Epoch, ErrorKind, TopicId};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Name of a dataflow in the engine.
pub type FlowId = u64;

/// Why a trace cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TraceFailure {
    /// Its version has failed and will not recover by itself.
    #[error("{0}")]
    Failed(String),
    /// The epoch was compacted away, or lies ahead.
    #[error("{0}")]
    OutOfRange(String),
}

/// The published output of a version.
pub trait Trace: Send + Sync {
    /// Everything up to here is in it.
    fn upper(&self) -> Epoch;
    /// Blocks until `upper` is at least `at`, or the time is up; where it stands then.
    fn wait(&self, at: Epoch, time: Duration) -> Result<Epoch, TraceFailure>;
    /// Pins the contents at an epoch.
    fn snapshot(&self, at: Epoch) -> Result<Arc<dyn VersionRows>, TraceFailure>;
    /// Rows at an epoch whose key (the plan's) equals these values of one row each; `None` if there is no key, or an error among the
    /// rows: [`Trace::snapshot`] tells.
    fn lookup(&self, _at: Epoch, _key: &[ArrayRef]) -> Option<Result<RecordBatch, TraceFailure>> {
        None
    }
    /// Changes of the epochs after `after` up to `up_to`, ascending.
    fn changes(&self, after: Epoch, up_to: Epoch) -> Result<Vec<(Epoch, Delta)>, TraceFailure>;
    /// Why its version failed, if it did.
    fn failure(&self) -> Option<String>;
    /// Rows that it holds, older layers' included, where that is known without counting.
    fn n_rows(&self) -> Option<usize> {
        None
    }
    /// Bytes of memory that it holds, where that is known.
    fn n_bytes(&self) -> Option<usize> {
        None
    }
    /// Nobody asks for an epoch before this one any more.
    fn forget_before(&self, _since: Epoch) {}
}

/// The past of a topic, for a version that begins.
pub trait Past: Send + Sync {
    /// This worker's share of the rows; the shares of all workers together are the whole.
    fn open(&self, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send>;
}

/// Where a source of a dataflow begins.
#[derive(Clone)]
pub enum Start {
    /// A topic: its past, then what is fed.
    Past(Arc<dyn Past>),
    /// Another dataflow's output.
    Flow(FlowId),
}

/// Running dataflows.
pub trait Dataflows: Send + Sync {
    /// Whether plans can be run at all; asked before a version enters the catalog.
    fn ready(&self) -> Result<()> {
        Ok(())
    }
    /// Starts a plan. Its trace is complete up to `as_of` once the past has been read.
    fn install(&self, id: FlowId, plan: &FlowPlan, sources: HashMap<SourceId, Start>, as_of: Epoch) -> Result<Arc<dyn Trace>>;
    /// Gives a dataflow everything up to an epoch; epochs ascend per dataflow.
    fn feed(&self, id: FlowId, epoch: Epoch, deltas: &[(TopicId, Delta)]);
    /// Ends a dataflow.
    fn stop(&self, id: FlowId);
    /// What its operators have done, a line each.
    fn operators(&self, id: FlowId) -> Vec<String>;
}

/// What a client hears of a trace that cannot be read.
#[must_use]
pub fn trace_error(failure: &TraceFailure) -> Error {
    match failure {
        TraceFailure::Failed(why) => errored(why),
        TraceFailure::OutOfRange(why) => {
            Error::new(ErrorKind::Conflict, code::SERIALIZATION, format!("snapshot is no longer there: {why}"))
        }
    }
}

/// A version that cannot answer because of an error in it.
#[must_use]
pub fn errored(why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, code::VIEW_ERRORED, format!("view has an error: {why}"))
        .hint("change or delete the rows that cause it, and the view heals; or DROP it and CREATE it with a guard such as NULLIF or CASE")
}

/// Errors are part of a result: rows are given only when there is none.
pub fn healthy(errors: &[(String, i64)]) -> Result<()> {
    match errors.iter().find(|(_, n)| *n != 0) {
        None => Ok(()),
        Some((what, n)) => Err(errored(what).detail(format!("n_rows={n}"))),
    }
}
