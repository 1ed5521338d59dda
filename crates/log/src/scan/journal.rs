//! The other half of a scan: commits that the pinned manifest does not name yet.
//!
//! Runs of rows wait per partition until there is a batch of them, then become columns at once: a topic fed one row at a
//! time costs a batch per eight thousand commits, not one for each.

use super::{
    ScanColumn, Wanted,
    coalesce::Coalescer,
    projection::{Place, Projection},
};
use crate::{
    archive::{
        columns::column_id,
        objects::broken,
        rows::{self, CommitRows},
    },
    error::LogError,
    model::{Commit, CommitIter, CommitSource, Part},
};
use arrow::array::{Array, ArrayRef};
use regauge_types::{Hlc, Lsn, SchemaId};
use std::{collections::BTreeMap, sync::Arc};

/// Rows that may wait in all partitions together, in batches.
const WAITING_BATCHES_MAX: usize = 32;

/// Commits taken in one go.
const COMMITS_PER_STEP: usize = 1024;

/// See the module.
pub(super) struct JournalRows {
    journal: Arc<dyn CommitSource>,
    /// The last commit seen, or the one before the first.
    last: Lsn,
    done: bool,
    wanted: Wanted,
    projection: Arc<Projection>,
    commits: Option<CommitIter>,
    waiting: BTreeMap<u32, Waiting>,
    n_waiting: usize,
}

/// Runs of one partition, all of one schema, in order.
struct Waiting {
    schema_id: SchemaId,
    runs: Vec<CommitRows>,
    rows: usize,
}

impl JournalRows {
    pub(super) fn new(journal: Arc<dyn CommitSource>, archived: Lsn, wanted: Wanted, projection: Arc<Projection>) -> JournalRows {
        let last = wanted.after.max(archived);
        let done = last >= wanted.up_to;
        JournalRows { journal, last, done, wanted, projection, commits: None, waiting: BTreeMap::new(), n_waiting: 0 }
    }

    /// Takes some more commits; false when there are none.
    pub(super) fn advance(&mut self, out: &mut Coalescer) -> Result<bool, LogError> {
        if self.done {
            return Ok(false);
        }
        if self.commits.is_none() {
            self.commits = Some(self.journal.read(self.last, self.wanted.up_to, Some(self.wanted.topic))?);
        }
        for _ in 0..COMMITS_PER_STEP {
            let Some(commits) = &mut self.commits else { break };
            let Some(commit) = commits.next() else {
                self.done = true;
                self.flush_all(out)?;
                break;
            };
            self.take(commit?, out)?;
        }
        Ok(true)
    }

    fn take(&mut self, commit: Commit, out: &mut Coalescer) -> Result<(), LogError> {
        if commit.lsn <= self.last || commit.lsn > self.wanted.up_to {
            return Err(broken(format!("journal gave a commit out of order after={} got={}", self.last, commit.lsn)));
        }
        self.last = commit.lsn;
        for part in commit.parts {
            if part.topic == self.wanted.topic && self.wanted.has_partition(part.partition) {
                self.take_part(&part, commit.lsn, commit.hlc, out)?;
            }
        }
        Ok(())
    }

    fn take_part(&mut self, part: &Part, lsn: Lsn, hlc: Hlc, out: &mut Coalescer) -> Result<(), LogError> {
        let end = part.first_offset + part.rows.num_rows() as u64;
        for ours in self.wanted.split.of(part.partition, part.first_offset..end) {
            if self.waiting.get(&part.partition).is_some_and(|w| w.schema_id != part.schema_id) {
                self.flush(part.partition, out)?;
            }
            let skip = usize::try_from(ours.start - part.first_offset).map_err(|_| broken("part is impossibly large"))?;
            let n = usize::try_from(ours.end - ours.start).map_err(|_| broken("part is impossibly large"))?;
            let run =
                CommitRows { rows: part.rows.slice(skip, n), first_offset: ours.start, lsn, hlc, cause: part.cause.clone() };
            let empty = || Waiting { schema_id: part.schema_id, runs: Vec::new(), rows: 0 };
            let waiting = self.waiting.entry(part.partition).or_insert_with(empty);
            waiting.runs.push(run);
            waiting.rows += n;
            self.n_waiting += n;
            if waiting.rows >= self.wanted.batch_rows {
                self.flush(part.partition, out)?;
            } else if self.n_waiting >= self.wanted.batch_rows.saturating_mul(WAITING_BATCHES_MAX) {
                self.flush_all(out)?;
            }
        }
        Ok(())
    }

    fn flush_all(&mut self, out: &mut Coalescer) -> Result<(), LogError> {
        let partitions: Vec<u32> = self.waiting.keys().copied().collect();
        partitions.into_iter().try_for_each(|partition| self.flush(partition, out))
    }

    fn flush(&mut self, partition: u32, out: &mut Coalescer) -> Result<(), LogError> {
        let Some(waiting) = self.waiting.remove(&partition) else { return Ok(()) };
        self.n_waiting -= waiting.rows;
        let Some(first) = waiting.runs.first() else { return Ok(()) };
        let schema = first.rows.schema();
        let joined =
            |i: usize| rows::user_column(&waiting.runs, i).map_err(|e| broken(format!("rows of one schema differ: {e}")));
        let mut stored: Vec<Option<ArrayRef>> = Vec::with_capacity(self.projection.columns().len());
        for column in self.projection.columns() {
            stored.push(match column {
                ScanColumn::User(id) => schema.fields().iter().position(|f| column_id(f) == Some(*id)).map(joined).transpose()?,
                // Not computed from the first one: a split leaves gaps between runs.
                ScanColumn::Offset => Some(rows::offsets(&waiting.runs)?),
                ScanColumn::Lsn => Some(rows::lsns(&waiting.runs)?),
                ScanColumn::CommitTs => Some(rows::clocks(&waiting.runs)?),
                ScanColumn::Cause => Some(rows::causes(&waiting.runs)),
                ScanColumn::Partition | ScanColumn::Schema => None,
            });
        }
        debug_assert!(stored.iter().flatten().all(|array| array.len() == waiting.rows), "a column has a value for each row");
        let place = Place { partition, schema_id: waiting.schema_id, first_offset: first.first_offset, rows: waiting.rows };
        out.push(partition, self.projection.rows(place, stored)?)
    }
}
