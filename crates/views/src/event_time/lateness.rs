//! Where a record is found to be late: in the commit section, once it is known what stands before it in its partition.
//!
//! A writer sends records that are not late; most are not, and then nothing is written anew. Commits that came to nothing are taken
//! back in reverse. Cost: a comparison a record, and for streams of several partitions the hash that places it; where one is late, the
//! transaction's rows are encoded again within the section.

use super::{
    layout,
    times::{PartitionTime, Times},
};
use crate::catalog::{Catalog, Kind, ObjectId, Relation};
use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use regauge_log::Append;
use regauge_types::{
    Lsn, TopicId,
    hash::{hash_columns, partition},
};
use std::sync::Arc;

/// The judge's times, and how to take them back.
#[derive(Debug, Default)]
pub struct Lateness {
    times: Times,
    /// What a commit changed and what was before, ascending.
    changes: Vec<(Lsn, TopicId, u32, PartitionTime)>,
}

impl Lateness {
    /// What a restart has read.
    #[must_use]
    pub fn new(times: Times) -> Lateness {
        Lateness { times, changes: Vec::new() }
    }

    /// Times of the last commit that was judged; it may not be durable yet.
    #[must_use]
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// Decides which of a commit's records are late. On error what it changed is taken back by [`Lateness::forget_from`].
    pub fn judge(&mut self, lsn: Lsn, catalog: &Catalog, appends: &mut [Append]) -> Result<(), String> {
        for append in appends {
            let Some(relation) = catalog.get(ObjectId::Topic(append.topic.0)) else { continue };
            if layout::clock(relation).is_some()
                && let Some(rows) = self.records(lsn, relation, append)?
            {
                append.rows = rows;
            }
        }
        Ok(())
    }

    /// The rows with what is late among them, if anything is.
    fn records(&mut self, lsn: Lsn, relation: &Relation, append: &Append) -> Result<Option<RecordBatch>, String> {
        let (rows, topic) = (&append.rows, append.topic);
        let broken = || format!("rows are not records of a stream with a watermark topic={topic} schema={}", rows.schema());
        let (clock, n) = (layout::clock(relation).ok_or_else(broken)?, relation.columns.len());
        if rows.num_columns() != n + 2 {
            return Err(broken());
        }
        let times = rows.column(clock.column).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(broken)?;
        let carried = rows.column(n + 1).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(broken)?;
        let places = places(relation, append)?;
        let mut late: Vec<usize> = vec![];
        let mut now: Vec<Option<PartitionTime>> = vec![];
        for row in 0..rows.num_rows() {
            let partition = places.of(row);
            let at = usize::try_from(partition).map_err(|e| e.to_string())?;
            if now.len() <= at {
                now.resize(at + 1, None);
            }
            let of = now[at].get_or_insert_with(|| self.times.get(topic, partition));
            if carried.is_valid(row) {
                of.mark = of.mark.max(Some(carried.value(row)));
            } else if times.is_valid(row) && of.record(clock, times.value(row)) {
                late.push(row);
            }
        }
        for (partition, time) in (0u32..).zip(now) {
            let of = self.times.at(topic, partition);
            if let Some(time) = time.filter(|time| time != of) {
                self.changes.push((lsn, topic, partition, std::mem::replace(of, time)));
            }
        }
        if late.is_empty() {
            return Ok(None);
        }
        let mut flags: Vec<Option<bool>> = carried.iter().map(|carried| carried.is_none().then_some(false)).collect();
        late.into_iter().for_each(|row| flags[row] = Some(true));
        let mut columns = rows.columns().to_vec();
        columns[n] = Arc::new(BooleanArray::from(flags));
        RecordBatch::try_new(rows.schema(), columns).map(Some).map_err(|e| e.to_string())
    }

    /// Commits from `from` on never happened.
    pub fn forget_from(&mut self, from: Lsn) {
        while let Some((_, topic, partition, before)) = self.changes.pop_if(|(lsn, ..)| *lsn >= from) {
            *self.times.at(topic, partition) = before;
        }
    }

    /// Everything up to `durable` stays.
    pub fn settle(&mut self, durable: Lsn, catalog: &Catalog) {
        let gone = self.changes.partition_point(|(lsn, ..)| *lsn <= durable);
        self.changes.drain(..gone);
        if self.changes.is_empty() {
            self.times.retain(catalog);
        }
    }
}

/// The partitions of an append's rows, as the log will place them.
enum Places {
    One(u32),
    Each(Vec<u32>),
}

impl Places {
    fn of(&self, row: usize) -> u32 {
        match self {
            Places::One(partition) => *partition,
            Places::Each(partitions) => partitions.get(row).copied().unwrap_or_default(),
        }
    }
}

fn places(relation: &Relation, append: &Append) -> Result<Places, String> {
    let Kind::Stream { partition_by, partitions, .. } = &relation.kind else { return Ok(Places::One(0)) };
    if let Some(named) = append.partition {
        return Ok(Places::One(named));
    }
    if partition_by.is_empty() || *partitions == 1 {
        return Ok(Places::One(0));
    }
    let keys: Vec<_> = partition_by.iter().map(|column| Arc::clone(append.rows.column(*column))).collect();
    let hashes = hash_columns(&keys, append.rows.num_rows()).map_err(|e| e.to_string())?;
    Ok(Places::Each(hashes.into_iter().map(|hash| partition(hash, *partitions)).collect()))
}
