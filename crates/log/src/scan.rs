//! Reads a topic's rows of a range of commits: from the archive, and from the journal what is not archived yet.
//!
//! ```text
//!        after          archived (of the pinned manifest)        up_to
//!   ───────┼═══════════════════┼═════════════════════════════════════┼──────▶ lsn
//!            segments, by column        the journal, in commit order
//! ```
//!
//! Guarantees: every row of a commit with `after < lsn <= up_to` once, in offset order within its partition. The scan pins
//! the manifest it began with and reads the journal after that manifest's lsn, so an archive run beside it changes nothing.
//! With `split`, the scans `(0, n) .. (n-1, n)` are disjoint and together the whole, whenever each of them was begun:
//! a row's part depends on its partition and offset only.
//! Not guaranteed: an order between partitions, and that rows of one commit come together.
//! Cost: only the columns asked for are read, only of row groups that can hold such commits. Memory: one row group's
//! column chunks, and batches of `batch_rows`; many small commits are gathered into full batches.

mod archived;
mod coalesce;
mod journal;
mod projection;
mod split;

use crate::{
    archive::{Archive, Manifest},
    error::LogError,
    model::CommitSource,
};
use archived::ArchivedRows;
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use coalesce::Coalescer;
use journal::JournalRows;
use projection::Projection;
use regauge_types::{ColumnId, Lsn, TopicId};
use split::Split;
use std::{collections::BTreeSet, sync::Arc};

/// Rows of a batch when the caller does not say: what the caches of a core like (measured: six times cheaper than 64 Ki).
pub const BATCH_ROWS: usize = 8192;

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanSpec {
    /// The topic.
    pub topic: TopicId,
    /// Only these partitions; `None` for all. One that does not exist has no rows.
    pub partitions: Option<Vec<u32>>,
    /// The columns of the batches, in this order; may be empty, then batches only count rows.
    pub columns: Vec<ScanColumn>,
    /// Commits after this one.
    pub after: Lsn,
    /// Commits up to this one, or up to the last durable one when the scan begins.
    pub up_to: Lsn,
    /// Most rows of a batch; 0 for [`BATCH_ROWS`].
    pub batch_rows: usize,
    /// Part `.0` of `.1` equal parts, for workers that share a scan; `None` for all of it.
    pub split: Option<(usize, usize)>,
}

impl ScanSpec {
    /// All rows of a topic up to a commit, these columns of them.
    #[must_use]
    pub fn all(topic: TopicId, columns: Vec<ScanColumn>, up_to: Lsn) -> ScanSpec {
        ScanSpec { topic, partitions: None, columns, after: Lsn::ZERO, up_to, batch_rows: 0, split: None }
    }
}

/// A column of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanColumn {
    /// A user's column, by its id, as the newest schema that has it declares it; null in rows written before it was added.
    User(ColumnId),
    /// `_offset`, Int64.
    Offset,
    /// `_partition`, Int32.
    Partition,
    /// `_lsn`, Int64.
    Lsn,
    /// `_commit_ts`, Int64: the bits of the hybrid logical clock.
    CommitTs,
    /// `_schema`, Int32: the schema that the row was written in.
    Schema,
    /// `_cause`, Binary: what the writer had seen, if it said so.
    Cause,
}

/// Rows of one partition, in offset order.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanBatch {
    /// The partition.
    pub partition: u32,
    /// In the columns asked for.
    pub rows: RecordBatch,
}

/// See the module. After an `Err` it ends.
pub struct Scan {
    /// Keeps the segments that it names from being deleted.
    _pin: Arc<Manifest>,
    schema: SchemaRef,
    archived: ArchivedRows,
    journal: JournalRows,
    out: Coalescer,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Archive,
    Journal,
    Done,
}

impl Scan {
    /// Begins a scan: pins the manifest in force; reads nothing yet.
    ///
    /// Errors: `UnknownTopic`, `UnknownColumn` (no schema of the topic has it), `BadScan`.
    pub fn begin(archive: &Archive, journal: Arc<dyn CommitSource>, spec: &ScanSpec) -> Result<Scan, LogError> {
        // The manifest first: what is durable in the journal afterwards is at least what it names.
        let manifest = archive.manifest();
        let up_to = spec.up_to.min(journal.durable().max(manifest.archived));
        let projection = Arc::new(Projection::resolve(spec, &manifest, &*journal)?);
        let wanted = Wanted {
            topic: spec.topic,
            partitions: spec.partitions.as_ref().map(|list| list.iter().copied().collect()),
            after: spec.after,
            up_to,
            batch_rows: if spec.batch_rows == 0 { BATCH_ROWS } else { spec.batch_rows },
            split: Split::new(spec.split, archive.options().row_group_rows)?,
        };
        Ok(Scan {
            schema: projection.schema(),
            out: Coalescer::new(wanted.batch_rows, projection.schema()),
            archived: ArchivedRows::new(archive.objects().clone(), &manifest, wanted.clone(), Arc::clone(&projection)),
            journal: JournalRows::new(journal, manifest.archived, wanted, projection),
            stage: Stage::Archive,
            _pin: manifest,
        })
    }

    /// The schema of all batches.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Reads on until there is a batch or nothing more.
    fn advance(&mut self) -> Result<Option<ScanBatch>, LogError> {
        loop {
            if let Some(batch) = self.out.pop() {
                return Ok(Some(batch));
            }
            let more = match self.stage {
                Stage::Archive => self.archived.advance(&mut self.out)?,
                Stage::Journal => self.journal.advance(&mut self.out)?,
                Stage::Done => return Ok(None),
            };
            if !more {
                self.stage = match self.stage {
                    Stage::Archive => Stage::Journal,
                    Stage::Journal | Stage::Done => {
                        self.out.flush_all()?;
                        Stage::Done
                    }
                };
            }
        }
    }
}

impl Iterator for Scan {
    type Item = Result<ScanBatch, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.stage = Stage::Done;
            self.out.clear();
        }
        next.transpose()
    }
}

/// A specification, decided: what both halves of a scan need to know.
#[derive(Clone)]
struct Wanted {
    topic: TopicId,
    partitions: Option<BTreeSet<u32>>,
    after: Lsn,
    up_to: Lsn,
    batch_rows: usize,
    split: Split,
}

impl Wanted {
    fn has_partition(&self, partition: u32) -> bool {
        self.partitions.as_ref().is_none_or(|wanted| wanted.contains(&partition))
    }

    /// Whether a range of commits may hold a wanted one.
    fn overlaps(&self, (first, last): (Lsn, Lsn)) -> bool {
        last > self.after && first <= self.up_to
    }

    /// Whether all of them are wanted.
    fn covers(&self, (first, last): (Lsn, Lsn)) -> bool {
        first > self.after && last <= self.up_to
    }
}
