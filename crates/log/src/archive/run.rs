//! One run of the archiver: commits after the archived lsn become segments, and a manifest that names them.
//!
//! Invariant: the manifest is the only commit point. A run that dies leaves objects that nothing names; they are never
//! looked at and never deleted here, and the next run uses other names.
//! A segment may take in small ones before it ([`merge`](super::merge)); the manifest then names it in their place.
//! Cost: commits are read once, in order; memory is bounded by [`ArchiveOptions::memory_bytes`](super::ArchiveOptions)
//! because the fattest segment ends its row group when the bound is reached; a long backlog is published in steps.

use super::{
    Archive,
    columns::schema_to_bytes,
    manifest::{JournalState, Manifest, SchemaEntry, SegmentInfo},
    merge::absorbed,
    objects::{broken, segment_path},
    segment_read::SegmentReader,
    segment_write::{RowGroupLimits, SegmentWriter},
};
use crate::{
    error::LogError,
    model::{Commit, CommitSource, Part},
};
use arrow::datatypes::SchemaRef;
use regauge_types::{Hlc, Lsn, SchemaId, TopicId};
use std::collections::BTreeMap;

/// Rows of an older segment in memory at a time.
const BATCH_ROWS: usize = 8192;

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveReport {
    /// Every commit up to here is archived now.
    pub archived: Lsn,
    /// Segments written by this run.
    pub segments: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Number of the manifest in force.
    pub manifest: u64,
}

/// What a step has made; nothing of it counts before the manifest is published.
pub(super) struct Step {
    pub(super) next: Manifest,
    pub(super) segments: u64,
    /// New rows, without those of segments taken in.
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// Segments of `base` that `next` does not name any more.
    pub(super) retired: Vec<SegmentInfo>,
}

/// One step: from the commits after `base.archived` up to at most `target`, the manifest that follows `base`.
pub(super) fn step(
    archive: &Archive,
    base: &Manifest,
    source: &dyn CommitSource,
    target: Lsn,
    state: Option<&JournalState>,
    merge: bool,
) -> Result<Step, LogError> {
    let mut next = base.clone();
    next.number = base.number.checked_add(1).ok_or_else(|| broken("manifest numbers are used up"))?;
    let mut work = Work::new(archive, base, merge);
    if base.archived < target {
        for commit in source.read(base.archived, target, None)? {
            if archive.is_closed() {
                return Err(LogError::Closed);
            }
            let commit = commit?;
            if commit.lsn != next.archived.next() {
                return Err(broken(format!("journal left out commits after={} got={}", next.archived, commit.lsn)));
            }
            next.archived = commit.lsn;
            work.take(commit)?;
            if work.is_enough() {
                break;
            }
        }
        if next.archived < target && !work.is_enough() {
            return Err(broken(format!("journal ends too early wanted={target} got={}", next.archived)));
        }
    }
    let rows = work.rows;
    let Done { segments, schemas, retired } = work.finish()?;
    let bytes = segments.iter().map(|s| s.bytes).sum();
    let n_segments = segments.len() as u64;
    next.segments.retain(|s| !retired.contains(s));
    next.segments.extend(segments);
    next.segments.sort_unstable_by_key(|s| (s.topic, s.partition, s.first_offset));
    add_schemas(&mut next.schemas, source, schemas);
    if let Some(state) = state.filter(|state| state.lsn <= next.archived && state.lsn >= next.state.lsn) {
        next.state = state.clone();
    }
    // Checked before it is written: a broken invariant must not reach the disk.
    next.check().map_err(broken)?;
    if next.rows() != base.rows() + rows {
        return Err(broken(format!("rows were lost or doubled before={} new={rows} after={}", base.rows(), next.rows())));
    }
    Ok(Step { next, segments: n_segments, rows, bytes, retired })
}

/// Completes the schemas: those of the archived rows, and the current one of every topic.
fn add_schemas(schemas: &mut Vec<SchemaEntry>, source: &dyn CommitSource, seen: Schemas) {
    let current = source.topics().into_iter().map(|topic| ((topic.id, topic.schema_id), topic.schema));
    for ((topic, id), schema) in seen.into_iter().chain(current) {
        if !schemas.iter().any(|entry| entry.topic == topic && entry.id == id) {
            schemas.push(SchemaEntry { topic, id, bytes: schema_to_bytes(&schema) });
        }
    }
    schemas.sort_unstable_by_key(|entry| (entry.topic, entry.id));
}

type Schemas = BTreeMap<(TopicId, SchemaId), SchemaRef>;

/// The segments that are being written.
struct Work<'a> {
    archive: &'a Archive,
    base: &'a Manifest,
    /// Whether small segments are taken in.
    merge: bool,
    open: BTreeMap<(TopicId, u32), SegmentWriter>,
    done: Done,
    rows: u64,
    memory: usize,
}

#[derive(Default)]
struct Done {
    segments: Vec<SegmentInfo>,
    schemas: Schemas,
    retired: Vec<SegmentInfo>,
}

impl<'a> Work<'a> {
    fn new(archive: &'a Archive, base: &'a Manifest, merge: bool) -> Work<'a> {
        Work { archive, base, merge, open: BTreeMap::new(), done: Done::default(), rows: 0, memory: 0 }
    }

    fn is_enough(&self) -> bool {
        self.rows >= self.archive.options.step_rows
    }

    fn take(&mut self, commit: Commit) -> Result<(), LogError> {
        for part in commit.parts {
            if part.rows.num_rows() > 0 {
                self.rows += part.rows.num_rows() as u64;
                self.push(part, commit.lsn, commit.hlc)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, part: Part, lsn: Lsn, hlc: Hlc) -> Result<(), LogError> {
        let key = (part.topic, part.partition);
        if self.open.get(&key).is_some_and(|writer| writer.schema_id() != part.schema_id) {
            self.end(key)?;
        }
        if !self.open.contains_key(&key) {
            self.begin(&part)?;
        }
        let writer = self.open.get_mut(&key).ok_or_else(|| broken("segment was not begun"))?;
        let before = writer.memory();
        writer.push(part, lsn, hlc)?;
        self.memory = self.memory - before + writer.memory();
        while self.memory > self.archive.options.memory_bytes {
            self.relieve()?;
        }
        Ok(())
    }

    fn begin(&mut self, part: &Part) -> Result<(), LogError> {
        let key = (part.topic, part.partition);
        let older = self.base.partition(key.0, key.1);
        let last = self.done.segments.iter().rfind(|s| (s.topic, s.partition) == key);
        let expected = last.or(older.last()).map_or(0, SegmentInfo::end_offset);
        if part.first_offset != expected {
            let (topic, partition, got) = (part.topic, part.partition, part.first_offset);
            return Err(broken(format!(
                "journal left out rows topic={topic} partition={partition} expected={expected} got={got}"
            )));
        }
        // Segments of this step are not taken in again: they are not small for long.
        let n = if self.merge && last.is_none() { absorbed(older, part.schema_id) } else { 0 };
        let (_, taken_in) = older.split_at(older.len() - n);
        self.done.schemas.entry((part.topic, part.schema_id)).or_insert_with(|| part.rows.schema());
        let options = &self.archive.options;
        let limits = RowGroupLimits { block_rows: options.row_group_rows, bytes: options.row_group_bytes };
        let first_offset = taken_in.first().map_or(part.first_offset, |s| s.first_offset);
        let nonce = self.free_nonce(part, first_offset)?;
        let mut writer = SegmentWriter::begin(&self.archive.objects, part, first_offset, nonce, limits)?;
        for old in taken_in {
            self.take_in(&mut writer, old)?;
        }
        self.done.retired.extend_from_slice(taken_in);
        self.memory += writer.memory();
        self.open.insert(key, writer);
        Ok(())
    }

    /// Copies the rows of an older segment.
    fn take_in(&self, writer: &mut SegmentWriter, old: &SegmentInfo) -> Result<(), LogError> {
        let reader = SegmentReader::open(&self.archive.objects, old)?;
        let all: Vec<usize> = (0..reader.schema().fields().len()).collect();
        for group in 0..reader.groups.len() {
            if self.archive.is_closed() {
                return Err(LogError::Closed);
            }
            let mut rows = reader.read(&self.archive.objects, group, &all, BATCH_ROWS)?;
            while let Some(batch) = rows.next()? {
                writer.push_stored(batch.columns().to_vec())?;
            }
        }
        Ok(())
    }

    /// A name that no object has. Chance alone would do, but a simulation that starts again draws the same numbers.
    fn free_nonce(&self, part: &Part, first_offset: u64) -> Result<u64, LogError> {
        loop {
            let nonce = self.archive.env.random.next_u64();
            if !self.archive.objects.exists(&segment_path(part.topic, part.partition, first_offset, nonce))? {
                return Ok(nonce);
            }
        }
    }

    /// Sends the rows of the fattest segment to the store.
    fn relieve(&mut self) -> Result<(), LogError> {
        let Some(writer) = self.open.values_mut().max_by_key(|writer| writer.memory()) else { return Ok(()) };
        let before = writer.memory();
        writer.encode()?;
        writer.end_row_group()?;
        self.memory = self.memory - before + writer.memory();
        Ok(())
    }

    fn end(&mut self, key: (TopicId, u32)) -> Result<(), LogError> {
        if let Some(writer) = self.open.remove(&key) {
            self.memory -= writer.memory();
            self.done.segments.push(writer.finish()?);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Done, LogError> {
        let open: Vec<_> = self.open.keys().copied().collect();
        for key in open {
            self.end(key)?;
        }
        Ok(self.done)
    }
}
