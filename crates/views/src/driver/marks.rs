//! Watermarks as a version reads them: of each stream that it waits for one row, replaced when the least of the partitions' watermarks has
//! risen.
//!
//! Invariant: what a version was given up to an epoch is the watermark at that epoch, a function of the log up to it; a version that is
//! behind the others has times of its own. Cost: the partitions that an epoch's records are in.

use crate::{
    catalog::{self, Catalog, ObjectId},
    event_time::Times,
    version::trace::Past,
};
use arrow::{
    array::{Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Schema, TimeUnit},
};
use regauge_plan::SourceId;
use regauge_types::{ColumnId, Delta, TopicId};
use std::{collections::BTreeMap, sync::Arc};

/// What one version was given.
#[derive(Default)]
pub struct Marks {
    times: Times,
    given: BTreeMap<TopicId, Option<i64>>,
}

impl Marks {
    /// The version reads a stream's watermark: what it is where the version begins.
    pub fn begin(&mut self, catalog: &Catalog, topic: TopicId, times: &Times) -> Arc<dyn Past> {
        self.times.merge_topic(times, topic);
        let mark = catalog.get(ObjectId::Topic(topic.0)).and_then(|r| self.times.least(r));
        self.given.insert(topic, mark);
        Arc::new(One(mark.and_then(|mark| row(None, mark))))
    }

    /// What an epoch's records have changed of the watermarks that the version reads.
    pub fn advance(&mut self, catalog: &Catalog, later: &Times) -> Vec<(TopicId, Delta)> {
        let mut fed = vec![];
        for (topic, given) in &mut self.given {
            self.times.merge_topic(later, *topic);
            let mark = catalog.get(ObjectId::Topic(topic.0)).and_then(|r| self.times.least(r));
            let Some(mark) = mark.filter(|mark| Some(*mark) != *given) else { continue };
            fed.extend(SourceId::Watermark(*topic).fed_as().zip(row(*given, mark)));
            *given = Some(mark);
        }
        fed
    }
}

/// The row with a watermark in the place of the one before.
fn row(before: Option<i64>, mark: i64) -> Option<Delta> {
    let ty = DataType::Timestamp(TimeUnit::Microsecond, None);
    let schema = Arc::new(Schema::new(vec![catalog::field("watermark", &ty, ColumnId(0))]));
    let values: Vec<i64> = before.into_iter().chain([mark]).collect();
    let diffs: Vec<i64> = before.map(|_| -1).into_iter().chain([1]).collect();
    let rows = RecordBatch::try_new(schema, vec![Arc::new(TimestampMicrosecondArray::from(values))]).ok()?;
    Some(Delta::new(rows, Int64Array::from(diffs)))
}

/// One row, or none, which the first worker reads.
struct One(Option<Delta>);

impl Past for One {
    fn open(&self, worker: usize, _workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        Box::new(self.0.clone().filter(|_| worker == 0).map(Ok).into_iter())
    }
}
