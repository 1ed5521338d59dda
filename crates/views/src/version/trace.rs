//! What this crate asks of the engine: dataflows that take epochs, and traces that are read at epochs.
//!
//! The traits are the seam between the life of a version and the engine that runs it: [`super::engine`] stands behind them in an
//! instance, a plain evaluator may in a test. Clauses that callers rely on stand at the methods.

use super::errors::failed;
use crate::{
    error::{Error, Result, sqlstate as code},
    read::reading::VersionRows,
};
use arrow::array::{ArrayRef, RecordBatch};
use regauge_flow::engine::{Preparing, Restore, Saving};
use regauge_plan::{FlowPlan, SourceId};
use regauge_state::trace::RowError;
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

/// Rows with their multiplicities, and errors of rows.
pub type Contents = (Vec<Delta>, Vec<(RowError, i64)>);

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
    /// All rows, with their multiplicities, and all errors at an epoch that can be read: for a checkpoint.
    fn state(&self, _at: Epoch) -> Result<Contents, TraceFailure> {
        Err(TraceFailure::OutOfRange("this trace is not kept in checkpoints".to_owned()))
    }
    /// All errors of its rows at an epoch that can be read, or why they cannot be told: for a checkpoint.
    fn all_errors(&self, _at: Epoch) -> Result<Vec<(RowError, i64)>, TraceFailure> {
        Err(TraceFailure::OutOfRange("this trace is not kept in checkpoints".to_owned()))
    }
    /// Changes of the epochs after `after` up to `up_to`, ascending.
    fn changes(&self, after: Epoch, up_to: Epoch) -> Result<Vec<(Epoch, Delta)>, TraceFailure>;
    /// Whether rows that fail are set aside.
    fn diverts(&self) -> bool {
        false
    }
    /// Errors of its rows at an epoch that can be read, summed; those of rows set aside, too.
    fn errors(&self, _at: Epoch) -> Vec<(RowError, i64)> {
        vec![]
    }
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

    /// Where it is cut into parts, see [`regauge_flow::engine::History::cuts`].
    fn cuts(&self) -> Vec<Epoch> {
        vec![]
    }

    /// Which parts are one epoch, see [`regauge_flow::engine::History::run`].
    fn run(&self, part: usize) -> usize {
        part
    }

    /// As [`Past::open`], of one part.
    fn open_part(&self, part: usize, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        if part == 0 { self.open(worker, workers) } else { Box::new(std::iter::empty()) }
    }
}

/// What an operator of a dataflow has done, on all workers.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Its node in the plan.
    pub node: usize,
    /// Its name.
    pub operator: String,
    /// Rows that came in.
    pub rows_in: u64,
    /// Rows that went out.
    pub rows_out: u64,
    /// Entries of state that were looked at or changed.
    pub touched: u64,
    /// Rows or groups that it holds.
    pub state_rows: u64,
    /// Bytes that it holds in memory.
    pub state_bytes: u64,
    /// Bytes that it has on the disk.
    pub spilled_bytes: u64,
    /// Time spent in it.
    pub busy: Duration,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Figures { node, operator, rows_in, rows_out, touched, state_rows, state_bytes, spilled_bytes, busy } = self;
        write!(f, "node {node} {operator} rows_in={rows_in} rows_out={rows_out} touched={touched} state_rows={state_rows} ")?;
        write!(f, "state_bytes={state_bytes} ")?;
        // only where there is a budget of memory, and it was met
        if *spilled_bytes > 0 {
            write!(f, "spilled_bytes={spilled_bytes} ")?;
        }
        write!(f, "busy_us={}", busy.as_micros())
    }
}

/// Where a source of a dataflow begins.
#[derive(Clone)]
pub enum Start {
    /// A topic: its past, then what is fed.
    Past(Arc<dyn Past>),
    /// Another dataflow's output.
    Flow(FlowId),
}

/// A dataflow to start.
pub struct Begin<'a> {
    /// Its name.
    pub id: FlowId,
    /// What it runs.
    pub plan: &'a FlowPlan,
    /// One for each of the plan's sources.
    pub sources: HashMap<SourceId, Start>,
    /// The past reaches up to here.
    pub as_of: Epoch,
    /// Whether rows that fail are set aside, instead of making the others unreadable.
    pub diverts: bool,
    /// What a dataflow of the same plan had at `as_of`; then no past is read.
    pub restore: Option<Restore>,
}

/// Running dataflows.
pub trait Dataflows: Send + Sync {
    /// Whether plans can be run at all; asked before a version enters the catalog.
    fn ready(&self) -> Result<()> {
        Ok(())
    }
    /// Starts a plan. Its trace is complete up to `as_of` once the past has been read.
    fn install(&self, begin: Begin<'_>) -> Result<Arc<dyn Trace>>;
    /// Gives a dataflow everything up to an epoch; epochs ascend per dataflow.
    fn feed(&self, id: FlowId, epoch: Epoch, deltas: &[(TopicId, Delta)]);
    /// Asks for a dataflow's state at the end of an epoch that will be fed next; `no` ascends, `base` is the last one that the caller has.
    /// `None` if it cannot be had.
    fn save(&self, _id: FlowId, _epoch: Epoch, _no: u64, _base: Option<u64>) -> Option<Arc<Saving>> {
        None
    }
    /// Begins to copy a dataflow's state between its epochs, ahead of its first save. `None` if it cannot be had.
    fn prepare(&self, _id: FlowId) -> Option<Arc<Preparing>> {
        None
    }
    /// Ends a dataflow.
    fn stop(&self, id: FlowId);
    /// Bytes of memory that dataflows hold, and how many they may; `None` if they may hold any.
    fn memory(&self) -> Option<(usize, usize)> {
        None
    }
    /// What its operators have done, in the plan's order.
    fn operators(&self, id: FlowId) -> Vec<Figures>;
}

/// What a client hears of a trace that cannot be read.
#[must_use]
pub fn trace_error(failure: &TraceFailure) -> Error {
    match failure {
        TraceFailure::Failed(why) => failed(why),
        TraceFailure::OutOfRange(why) => {
            Error::new(ErrorKind::Conflict, code::SERIALIZATION, format!("snapshot is no longer there: {why}"))
        }
    }
}
