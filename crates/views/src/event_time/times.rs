//! How far event time has come in each partition of each stream, as of some commit.

use super::layout::{self, Clock};
use crate::catalog::{Catalog, Kind, ObjectId, Relation};
use crate::error::{Error, Result};
use arrow::{
    array::{AsArray, BooleanArray, PrimitiveArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use regauge_log::{Log, ScanColumn, ScanSpec};
use regauge_plan::catalog::LATE_COLUMN;
use regauge_types::{Lsn, TopicId};
use std::collections::BTreeMap;

/// One partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionTime {
    /// Its watermark, in microseconds; none before the first record that has a time.
    pub mark: Option<i64>,
    /// Records that came late.
    pub n_late: u64,
}

impl PartitionTime {
    /// Takes a record in: whether it is late.
    pub fn record(&mut self, clock: Clock, at: i64) -> bool {
        let late = self.mark.is_some_and(|mark| at < mark);
        self.mark = self.mark.max(Some(at.saturating_sub(clock.delay_us)));
        self.n_late += u64::from(late);
        late
    }
}

/// All partitions of all streams that have a watermark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times(BTreeMap<TopicId, BTreeMap<u32, PartitionTime>>);

impl Times {
    /// A partition.
    #[must_use]
    pub fn get(&self, topic: TopicId, partition: u32) -> PartitionTime {
        self.0.get(&topic).and_then(|of| of.get(&partition)).copied().unwrap_or_default()
    }

    /// Late records of a stream.
    #[must_use]
    pub fn n_late(&self, topic: TopicId) -> u64 {
        self.0.get(&topic).map_or(0, |of| of.values().map(|time| time.n_late).sum())
    }

    /// The same, to be changed.
    pub fn at(&mut self, topic: TopicId, partition: u32) -> &mut PartitionTime {
        self.0.entry(topic).or_default().entry(partition).or_default()
    }

    /// Below this no record of the stream can come that is not late: the least watermark of the partitions that records go to. None
    /// while one of them has none. A stream without PARTITION BY uses its first partition alone.
    #[must_use]
    pub fn least(&self, relation: &Relation) -> Option<i64> {
        let (topic, Kind::Stream { partition_by, partitions, .. }) = (relation.topic()?, &relation.kind) else { return None };
        let used = if partition_by.is_empty() { 1 } else { *partitions };
        (0..used).map(|partition| self.get(topic, partition).mark).min().flatten()
    }

    /// Takes in rows of a topic as they lie in the log.
    pub fn take_in(&mut self, relation: &Relation, partition: u32, rows: &RecordBatch) {
        let (Some(topic), Some(clock)) = (relation.topic(), layout::clock(relation)) else { return };
        let Some(times) = rows.columns().get(clock.column).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>()) else {
            return;
        };
        self.fold(topic, partition, clock, times, layout::late(rows), layout::carried(rows));
    }

    fn fold(
        &mut self,
        topic: TopicId,
        partition: u32,
        clock: Clock,
        times: &PrimitiveArray<TimestampMicrosecondType>,
        late: Option<&BooleanArray>,
        carried: Option<&PrimitiveArray<TimestampMicrosecondType>>,
    ) {
        let greatest = arrow::compute::max(times).map(|at| at.saturating_sub(clock.delay_us));
        let said = carried.and_then(arrow::compute::max);
        let of = self.at(topic, partition);
        of.mark = of.mark.max(greatest).max(said);
        of.n_late += late.map_or(0, |late| late.iter().filter(|late| *late == Some(true)).count() as u64);
    }

    /// Takes in what later commits have brought.
    pub fn merge(&mut self, later: &Times) {
        for (topic, partitions) in &later.0 {
            for (partition, time) in partitions {
                let of = self.at(*topic, *partition);
                of.mark = of.mark.max(time.mark);
                of.n_late += time.n_late;
            }
        }
    }

    /// Of one stream only.
    pub fn merge_topic(&mut self, later: &Times, topic: TopicId) {
        if let Some(partitions) = later.0.get(&topic) {
            self.merge(&Times(BTreeMap::from([(topic, partitions.clone())])));
        }
    }

    /// Streams that are gone are forgotten.
    pub fn retain(&mut self, catalog: &Catalog) {
        self.0.retain(|topic, _| catalog.get(ObjectId::Topic(topic.0)).is_some());
    }

    /// For a checkpoint.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let partitions = |(topic, of): (&TopicId, &BTreeMap<u32, PartitionTime>)| {
            let topic = topic.0;
            of.iter().map(move |(partition, time)| (topic, *partition, time.mark, time.n_late)).collect::<Vec<_>>()
        };
        let all: Vec<(u32, u32, Option<i64>, u64)> = self.0.iter().flat_map(partitions).collect();
        serde_json::to_vec(&all).unwrap_or_default()
    }

    /// The same back; `None` for other bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Times> {
        let all: Vec<(u32, u32, Option<i64>, u64)> = serde_json::from_slice(bytes).ok()?;
        let mut times = Times::default();
        for (topic, partition, mark, n_late) in all {
            *times.at(TopicId(topic), partition) = PartitionTime { mark, n_late };
        }
        Some(times)
    }

    /// What a restart reads: the log up to a commit, after one at which it was known.
    pub fn of_log(log: &Log, catalog: &Catalog, (mut all, after): (Times, Lsn), up_to: Lsn) -> Result<Times> {
        if up_to <= after {
            return Ok(all);
        }
        for relation in catalog.relations() {
            let (Some(topic), Some(clock)) = (relation.topic(), layout::clock(relation)) else { continue };
            let columns = [relation.columns[clock.column].id, LATE_COLUMN, layout::CARRIED_COLUMN].map(ScanColumn::User);
            let spec = ScanSpec { after, ..ScanSpec::all(topic, columns.to_vec(), up_to) };
            for batch in log.scan(&spec).map_err(Error::from_log)? {
                let batch = batch.map_err(Error::from_log)?;
                let broken = || Error::internal(format!("time is no timestamp topic={topic}"));
                let column = |at: usize| batch.rows.columns().get(at).ok_or_else(broken);
                let times = column(0)?.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(broken)?;
                let (late, carried) = (column(1)?.as_boolean_opt(), column(2)?.as_primitive_opt());
                all.fold(topic, batch.partition, clock, times, late, carried);
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_below_the_watermark_of_the_records_before() {
        let clock = Clock { column: 0, delay_us: 5 };
        let mut of = PartitionTime::default();
        let told: Vec<bool> = [10, 5, 4, 20, 15, 14, 4].into_iter().map(|at| of.record(clock, at)).collect();
        assert_eq!(told, [false, false, true, false, false, true, true]);
        assert_eq!(of, PartitionTime { mark: Some(15), n_late: 3 });
    }

    #[test]
    fn merging_what_came_later_is_as_folding_all() {
        let clock = Clock { column: 0, delay_us: 0 };
        let (mut a, mut b) = (Times::default(), Times::default());
        a.at(TopicId(3), 1).record(clock, 7);
        b.at(TopicId(3), 1).record(clock, 6);
        b.at(TopicId(4), 0).record(clock, 1);
        a.merge_topic(&b, TopicId(3));
        assert_eq!((a.get(TopicId(3), 1).mark, a.get(TopicId(4), 0).mark), (Some(7), None));
        a.merge(&b);
        assert_eq!(a.get(TopicId(4), 0).mark, Some(1));
        assert_eq!(Times::from_bytes(&a.to_bytes()), Some(a));
    }
}
