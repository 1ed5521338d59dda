//! What an operator is to the runtime: a plain struct that takes deltas and gives deltas.
//!
//! The runtime guarantees: pushes of an epoch come only after the epoch before is finished; `finish` is called once for each
//! epoch in order, also for epochs without input, and again while it says [`Finish::More`], with no push in between; inputs
//! were exchanged by [`Operator::routing`] before. Operators never see an epoch's number, a thread or a file.

use crate::image::{Home, Image};
use arrow::error::ArrowError;
use regauge_plan::eval::EvalError;
use regauge_state::StateError;
use regauge_types::Delta;
use regauge_types::hash::UnsupportedType;
use std::time::Duration;
use thiserror::Error;

/// Why an operator cannot go on. It fails its version, and only that.
#[derive(Debug, Error)]
pub enum FlowError {
    /// The plan does not hold together.
    #[error("plan cannot run: {0}")]
    Plan(String),
    /// More was retracted than was ever inserted.
    #[error("negative multiplicity in {operator} multiplicity={multiplicity}")]
    Negative {
        /// Which operator found it.
        operator: &'static str,
        /// The multiplicity at the end of an epoch.
        multiplicity: i64,
    },
    /// A recursion that goes on and on.
    #[error("recursion holds more than {rows_max} rows; bound it by a condition, or raise the view's option recursion_rows")]
    Recursion {
        /// How many it may.
        rows_max: u64,
    },
    /// State that is read back is not that of this operator.
    #[error("state cannot be restored: {0}")]
    Image(String),
    /// State that is on the disk, or goes there.
    #[error("{0}")]
    Spill(Box<regauge_state::spill::SpillError>),
    /// The operator's state cannot be saved: its version is rebuilt from the log instead.
    #[error("state of {0} cannot be saved")]
    Unsaved(&'static str),
    /// An expression that does not compile.
    #[error("expression: {0}")]
    Expression(#[from] EvalError),
    /// Operator state refused.
    #[error("state: {0}")]
    State(#[from] StateError),
    /// A type without a place in keys.
    #[error("{0}")]
    Type(#[from] UnsupportedType),
    /// Arrow refused: a broken invariant between operators.
    #[error("arrow: {0}")]
    Arrow(#[from] ArrowError),
}

/// Whether an operator has sent all of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// All sent.
    Done,
    /// Call `finish` again.
    More,
}

/// Which worker a row of an input must be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routing {
    /// Any: the operator is linear.
    Any,
    /// The one that owns the frozen hash of these columns.
    Hash(Vec<usize>),
    /// Every worker gets all rows.
    All,
    /// All rows on one worker, and only that worker's instance is finished.
    One,
}

/// A row that has no value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failed {
    /// Why.
    pub error: EvalError,
    /// Which one, as [`crate::show::row`] writes it: a function of its values, so a retraction has the text of its insertion.
    pub row: String,
}

/// What an operator sends.
#[derive(Debug, Default)]
pub struct Out {
    /// Rows, at most 8,192 in each.
    pub deltas: Vec<Delta>,
    /// Rows that failed, with their diffs.
    pub errors: Vec<(Failed, i64)>,
}

impl Out {
    /// Sends rows.
    pub fn emit(&mut self, delta: Delta) {
        self.deltas.push(delta);
    }

    /// Sends an error entry; `row` names what failed.
    pub fn error(&mut self, error: EvalError, row: String, diff: i64) {
        self.errors.push((Failed { error, row }, diff));
    }
}

/// Counters of an operator, for EXPLAIN ANALYZE and for tests that work is proportional to the change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpStats {
    /// Rows pushed in.
    pub rows_in: u64,
    /// Rows sent.
    pub rows_out: u64,
    /// Entries of state looked at or changed.
    pub touched: u64,
    /// Entries of state held (rows, groups).
    pub state_rows: u64,
    /// Bytes of state held in memory.
    pub state_bytes: u64,
    /// Bytes of state on the disk, what newer ones replace included.
    pub spilled_bytes: u64,
    /// Entries of state on the disk, likewise.
    pub spilled_rows: u64,
    /// Time spent in it; whoever runs it counts this.
    pub busy: Duration,
}

/// See the module's header.
pub trait Operator: Send {
    /// Takes rows of one input; may send at once.
    fn push(&mut self, input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError>;
    /// The epoch has no more input: sends what waited for its end.
    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError>;
    /// How rows of an input must be exchanged.
    fn routing(&self, input: usize) -> Routing;
    /// Counters.
    fn stats(&self) -> OpStats;
    /// What it keeps between epochs, in images whose rows are all of one bucket; `home` says where its rows are if it works on any
    /// worker. Called when an epoch is finished, before the next one begins. Fails with [`FlowError::Unsaved`] if it cannot.
    fn save(&self, home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError>;
    /// Takes images in that an operator of the same node had saved: those of the buckets that it owns from now on, each once. Called
    /// once, before anything else, also with no image; then it goes on as one that has finished an epoch.
    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError>;
    /// What it keeps between epochs in a scratch file, if that is more than is in memory: what [`Operator::save`] would give.
    fn copy(&self) -> Result<Option<crate::spill::Copied>, FlowError> {
        Ok(None)
    }
    /// Whether it sees to it by itself that it holds no more memory than it may. Then [`Operator::restore`] may be called more than once, each
    /// time with all images of some buckets, and [`Operator::restore_changes`] once for each image.
    fn is_within_budget(&self) -> bool {
        false
    }
    /// From now on it remembers what changes; `false` if it cannot, and then it is saved whole each time that it did something. Called
    /// between epochs; a second call begins anew.
    fn track(&mut self) -> bool {
        false
    }
    /// What it keeps of one bucket (0..256) now, of what [`Operator::save`] would give; only while it remembers changes. Buckets may be
    /// taken between different epochs: what changes behind [`Operator::track`] is among the changes all the same.
    fn save_bucket(&self, _bucket: usize, _to: &mut Vec<Image>) -> Result<(), FlowError> {
        Err(FlowError::Unsaved("an operator that does not remember changes"))
    }
    /// What changed since [`Operator::track`], or since the last time: first what is gone, then what is there in its place.
    fn save_changes(&mut self, _to: &mut Vec<Image>) -> Result<(), FlowError> {
        Err(FlowError::Unsaved("an operator that does not remember changes"))
    }
    /// Takes changes in, in the order in which they were saved, behind [`Operator::restore`]; of them what is `mine`, by the frozen hash
    /// of its key. Called at most once.
    fn restore_changes(&mut self, images: &[&Image], _mine: &Mine<'_>) -> Result<(), FlowError> {
        if images.is_empty() { Ok(()) } else { Err(FlowError::Image("an operator that has no changes".into())) }
    }
}

/// Whether a worker owns the rows of this hash.
pub type Mine<'a> = dyn Fn(u64) -> bool + 'a;
