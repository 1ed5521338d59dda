//! The archived half of a scan: segments in (partition, offset) order, row group by row group.
//!
//! Pruning, outside in: segments by partition, lsns and split; row groups by lsns and split; columns. Rows are looked at one
//! by one only in row groups that reach beyond the wanted commits; lsns ascend there, so what is wanted is one range.

use super::{
    ScanColumn, Wanted,
    coalesce::Coalescer,
    projection::{Place, Projection},
};
use crate::{
    archive::{
        Manifest, Objects, SegmentInfo,
        columns::{CAUSE, COMMIT_TS, LSN, from_stored},
        objects::lsn_of,
        segment_read::{GroupRows, SegmentReader},
    },
    error::LogError,
};
use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    datatypes::Int64Type,
};
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// See the module.
pub(super) struct ArchivedRows {
    objects: Objects,
    wanted: Wanted,
    projection: Arc<Projection>,
    segments: VecDeque<SegmentInfo>,
    segment: Option<OpenSegment>,
}

struct OpenSegment {
    reader: SegmentReader,
    /// For each column of the scan, its position in the segment.
    positions: Vec<Option<usize>>,
    lsn_position: usize,
    next_group: usize,
    group: Option<OpenGroup>,
}

struct OpenGroup {
    rows: Rows,
    /// Positions in the segment of the columns of the batches.
    read: Vec<usize>,
    next_offset: u64,
    /// All of its commits are wanted, so rows need not be looked at.
    all_wanted: bool,
}

enum Rows {
    Stored(GroupRows),
    /// No stored column is needed: so many rows are left.
    Counted(u64),
}

impl ArchivedRows {
    pub(super) fn new(objects: Objects, manifest: &Manifest, wanted: Wanted, projection: Arc<Projection>) -> ArchivedRows {
        let is_wanted = |s: &&SegmentInfo| {
            wanted.has_partition(s.partition)
                && wanted.overlaps((s.first_lsn, s.last_lsn))
                && wanted.split.touches(s.partition, s.first_offset..s.end_offset())
        };
        let segments = manifest.topic(wanted.topic).iter().filter(is_wanted).cloned().collect();
        ArchivedRows { objects, wanted, projection, segments, segment: None }
    }

    /// Reads one more batch into `out`; false when there is none.
    pub(super) fn advance(&mut self, out: &mut Coalescer) -> Result<bool, LogError> {
        if self.segment.is_none() && !self.open_segment()? {
            return Ok(false);
        }
        let Some(segment) = &mut self.segment else { return Ok(false) };
        if segment.group.is_none() && !segment.open_group(&self.objects, &self.wanted)? {
            let partition = segment.reader.info.partition;
            self.segment = None;
            if self.segments.front().is_none_or(|next| next.partition != partition) {
                // Rows of the journal may follow; waiting for them would hold a batch of every partition.
                out.flush(partition)?;
            }
            return Ok(true);
        }
        segment.batch(&self.wanted, &self.projection, out)?;
        Ok(true)
    }

    fn open_segment(&mut self) -> Result<bool, LogError> {
        let Some(info) = self.segments.pop_front() else { return Ok(false) };
        let reader = SegmentReader::open(&self.objects, &info)?;
        let lsn_position = reader.system_position(LSN).ok_or_else(|| reader.corrupt("segment has no lsn column"))?;
        let positions = self
            .projection
            .columns()
            .iter()
            .map(|column| match column {
                ScanColumn::User(id) => reader.position(*id),
                ScanColumn::Lsn => Some(lsn_position),
                ScanColumn::CommitTs => reader.system_position(COMMIT_TS),
                ScanColumn::Cause => reader.system_position(CAUSE),
                // Offsets are dense and the others constant: nothing to read.
                ScanColumn::Offset | ScanColumn::Partition | ScanColumn::Schema => None,
            })
            .collect();
        self.segment = Some(OpenSegment { reader, positions, lsn_position, next_group: 0, group: None });
        Ok(true)
    }
}

impl OpenSegment {
    /// Opens the next row group that may hold wanted rows.
    fn open_group(&mut self, objects: &Objects, wanted: &Wanted) -> Result<bool, LogError> {
        let partition = self.reader.info.partition;
        while let Some(group) = self.reader.groups.get(self.next_group).cloned() {
            let n = self.next_group;
            self.next_group += 1;
            let offsets = group.first_offset..group.first_offset + group.rows;
            if !wanted.overlaps(group.lsns) || !wanted.split.touches(partition, offsets) {
                continue;
            }
            let all_wanted = wanted.covers(group.lsns);
            let mut read: Vec<usize> = self.positions.iter().flatten().copied().collect();
            if !all_wanted {
                read.push(self.lsn_position);
            }
            read.sort_unstable();
            read.dedup();
            let rows = match read.is_empty() {
                true => Rows::Counted(group.rows),
                false => Rows::Stored(self.reader.read(objects, n, &read, wanted.batch_rows)?),
            };
            self.group = Some(OpenGroup { rows, read, next_offset: group.first_offset, all_wanted });
            return Ok(true);
        }
        Ok(false)
    }

    /// Moves one batch of the open row group to `out`, or closes the group.
    fn batch(&mut self, wanted: &Wanted, projection: &Projection, out: &mut Coalescer) -> Result<(), LogError> {
        let Some(group) = &mut self.group else { return Ok(()) };
        let (n, batch) = match &mut group.rows {
            Rows::Stored(rows) => match rows.next()? {
                Some(batch) => (batch.num_rows(), Some(batch)),
                None => (0, None),
            },
            Rows::Counted(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(wanted.batch_rows);
                *left -= n as u64;
                (n, None)
            }
        };
        if n == 0 {
            self.group = None;
            return Ok(());
        }
        let first_offset = group.next_offset;
        group.next_offset += n as u64;
        let mut range = first_offset..group.next_offset;
        let read = std::mem::take(&mut group.read);
        let all_wanted = group.all_wanted;
        if !all_wanted {
            range = self.wanted_range(wanted, &read, batch.as_ref(), first_offset)?;
        }
        for ours in wanted.split.of(self.reader.info.partition, range) {
            self.emit(&read, batch.as_ref(), first_offset, ours, projection, out)?;
        }
        if let Some(group) = &mut self.group {
            group.read = read;
        }
        Ok(())
    }

    /// The offsets of a batch whose commits are wanted.
    fn wanted_range(
        &self,
        wanted: &Wanted,
        read: &[usize],
        batch: Option<&RecordBatch>,
        first_offset: u64,
    ) -> Result<Range<u64>, LogError> {
        let lsns = read.iter().position(|p| *p == self.lsn_position).zip(batch).and_then(|(i, batch)| batch.columns().get(i));
        let lsns = lsns
            .and_then(|column| column.as_primitive_opt::<Int64Type>())
            .ok_or_else(|| self.reader.corrupt("segment has no lsn column"))?;
        let lsns = lsns.values();
        if !lsns.is_sorted() || lsns.first().is_some_and(|lsn| *lsn < 0) {
            return Err(self.reader.corrupt("lsns of a segment do not ascend"));
        }
        let above = |bound| move |lsn: &i64| lsn_of(*lsn).is_some_and(|lsn| lsn <= bound);
        let from = lsns.partition_point(above(wanted.after));
        let to = lsns.partition_point(above(wanted.up_to));
        Ok(first_offset + from as u64..first_offset + to.max(from) as u64)
    }

    fn emit(
        &self,
        read: &[usize],
        batch: Option<&RecordBatch>,
        batch_offset: u64,
        ours: Range<u64>,
        projection: &Projection,
        out: &mut Coalescer,
    ) -> Result<(), LogError> {
        let as_len = |n: u64| usize::try_from(n).map_err(|_| self.reader.corrupt("row group is impossibly large"));
        let (skip, rows) = (as_len(ours.start - batch_offset)?, as_len(ours.end - ours.start)?);
        let fields = self.reader.schema().fields();
        let stored = |position: &Option<usize>| -> Result<Option<ArrayRef>, LogError> {
            let Some(position) = position else { return Ok(None) };
            let array = read.iter().position(|p| p == position).zip(batch).and_then(|(i, batch)| batch.columns().get(i));
            let array = array.map(|array| array.slice(skip, rows));
            let value = array.zip(fields.get(*position)).and_then(|(array, field)| from_stored(field, &array));
            value.map(Some).ok_or_else(|| self.reader.corrupt("segment does not have the columns of its footer"))
        };
        let stored: Result<Vec<_>, _> = self.positions.iter().map(stored).collect();
        let info = &self.reader.info;
        let place = Place { partition: info.partition, schema_id: info.schema_id, first_offset: ours.start, rows };
        out.push(info.partition, projection.rows(place, stored?)?)
    }
}
