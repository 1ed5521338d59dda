//! What the protocol asks of a target, and the cut points at which a test ends the world.

use crate::{
    error::Fault,
    protocol::{Mark, Record},
};
use arrow::array::RecordBatch;
use async_trait::async_trait;
use regauge_types::{Delta, Lsn};
use regauge_views::follow::Source;
use std::time::Duration;

/// Rows on their way out.
#[derive(Debug)]
pub enum Rows {
    /// All of them: what the target has besides goes.
    Whole(Vec<RecordBatch>),
    /// What has changed, epoch by epoch, ascending.
    Changes(Vec<(Lsn, Delta)>),
}

impl Rows {
    /// How many there are.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        match self {
            Rows::Whole(batches) => batches.iter().map(RecordBatch::num_rows).sum(),
            Rows::Changes(epochs) => epochs.iter().map(|(_, delta)| delta.n_rows()).sum(),
        }
    }
}

/// One transaction of the target.
#[derive(Debug)]
pub struct Write<'a> {
    /// Only under this incarnation.
    pub mine: u64,
    /// Only if the target has this.
    pub from: Option<Mark>,
    /// And then it has this.
    pub to: Mark,
    /// What is followed.
    pub source: &'a Source,
    /// What is written.
    pub rows: &'a Rows,
}

/// Where a sink writes to. An implementation keeps the clauses of its methods; who calls may drop a future at any moment, which is as if
/// the process had died there.
#[async_trait]
pub trait Target: Send {
    /// What the target has. Without an incarnation of ours it takes the next one, durably, before it answers. A transaction of ours
    /// that may still be under way is waited for: after the answer it never comes to pass any more.
    async fn ask(&mut self, mine: Option<u64>, source: &Source) -> Result<Record, Fault>;

    /// Writes rows and the mark in one transaction, if the incarnation and the mark there are as the write says; else it writes nothing
    /// and fails with [`Fault::Fenced`] or [`Fault::Moved`].
    async fn write(&mut self, write: Write<'_>) -> Result<(), Fault>;

    /// Time from one write to the next, at least: what changes meanwhile goes with it.
    fn interval(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether it would rather be written whole than be told more changes.
    fn wants_whole(&self) -> bool {
        false
    }
}

/// Where a test may end the world: each passes by name.
pub trait Cuts: Send + Sync {
    /// [`Fault::Killed`] if it ends here. Nothing may be done after that: no rollback, no goodbye.
    fn pass(&self, step: &'static str) -> Result<(), Fault>;
}

/// Outside of tests the world goes on.
#[derive(Clone, Copy, Debug)]
pub struct Uncut;

impl Cuts for Uncut {
    fn pass(&self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }
}
