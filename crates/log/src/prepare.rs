//! From rows that a writer hands in to parts that the commit section only has to number: checked, split over partitions, encoded.
//!
//! This is where the work is, and it happens outside the commit section. What was prepared holds for the very topic (the same pointer) and the very columns that it
//! was prepared from; the commit section checks that and prepares again what the judge, or a definition that came between, has changed.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::buffer::Buffer;
use arrow::compute::take_record_batch;
use regauge_types::hash::{hash_columns, partition};
use regauge_types::{SchemaId, TopicId};

use crate::LogError;
use crate::format::payload;
use crate::model::Append;
use crate::options::LogOptions;
use crate::topics::{Topic, Topics};

/// Rows for one partition, ready to be stored.
#[derive(Debug)]
pub struct PreparedPart {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: u32,
    /// The schema.
    pub schema_id: SchemaId,
    /// The rows, in the topic's schema.
    pub rows: RecordBatch,
    /// Encoding of the payload.
    pub encoding: u8,
    /// The rows' bytes, in pieces; large ones are shared with the rows.
    pub payload: Vec<Buffer>,
}

/// An append, ready to be stored.
#[derive(Debug)]
pub struct Prepared {
    topic: Arc<Topic>,
    partition: Option<u32>,
    source: RecordBatch,
    /// At most one part a partition, in the order of the partitions; none for no rows.
    pub parts: Vec<PreparedPart>,
}

impl Prepared {
    /// Whether this is what [`prepare`] would make of the append now.
    #[must_use]
    pub fn holds(&self, append: &Append, topics: &Topics) -> bool {
        let same_topic = topics.get(append.topic).is_some_and(|now| Arc::ptr_eq(now, &self.topic));
        let (old, new) = (self.source.columns(), append.rows.columns());
        same_topic
            && self.partition == append.partition
            && self.source.num_rows() == append.rows.num_rows()
            && old.len() == new.len()
            && old.iter().zip(new).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Bytes of the payloads.
    #[must_use]
    pub fn payload_len(&self) -> u64 {
        self.parts.iter().flat_map(|p| &p.payload).map(|piece| piece.len() as u64).sum()
    }
}

/// Checks, splits and encodes an append.
pub fn prepare(append: &Append, topics: &Topics, options: &LogOptions) -> Result<Prepared, LogError> {
    let topic = Arc::clone(topics.live(append.topic)?);
    let rows = fit(&topic, &append.rows)?;
    let parts = split(&topic, append.partition, rows)?
        .into_iter()
        .filter(|(_, rows)| rows.num_rows() > 0)
        .map(|(partition, rows)| {
            let (encoding, payload) = payload::encode(&rows, options.small_rows, options.compress)?;
            Ok(PreparedPart { topic: append.topic, partition, schema_id: topic.spec.schema_id, rows, encoding, payload })
        })
        .collect::<Result<_, LogError>>()?;
    Ok(Prepared { topic, partition: append.partition, source: append.rows.clone(), parts })
}

/// The rows under the topic's own schema, if names and types agree.
fn fit(topic: &Topic, rows: &RecordBatch) -> Result<RecordBatch, LogError> {
    let wrong = |reason: String| LogError::WrongSchema { topic: topic.spec.id, schema: topic.spec.schema_id, reason };
    let (wanted, got) = (topic.spec.schema.fields(), rows.schema_ref().fields());
    if wanted.len() != got.len() {
        return Err(wrong(format!("number of columns expected={} got={}", wanted.len(), got.len())));
    }
    for (at, (wanted, got)) in wanted.iter().zip(got).enumerate() {
        if wanted.name() != got.name() || wanted.data_type() != got.data_type() {
            return Err(wrong(format!(
                "column {at} expected={:?} {} got={:?} {}",
                wanted.name(),
                wanted.data_type(),
                got.name(),
                got.data_type()
            )));
        }
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(&topic.spec.schema), rows.columns().to_vec(), &options)
        .map_err(|e| wrong(e.to_string()))
}

/// Rows by partition, ascending.
fn split(topic: &Topic, named: Option<u32>, rows: RecordBatch) -> Result<Vec<(u32, RecordBatch)>, LogError> {
    let spec = &topic.spec;
    match named {
        Some(partition) if partition >= spec.partitions => {
            return Err(LogError::PartitionOutOfRange { topic: spec.id, partition, partitions: spec.partitions });
        }
        Some(partition) => return Ok(vec![(partition, rows)]),
        None if spec.partition_by.is_empty() || spec.partitions == 1 => return Ok(vec![(0, rows)]),
        None => {}
    }
    let internal = |e: &dyn std::fmt::Display| LogError::Internal { reason: format!("rows could not be split: {e}") };
    let keys: Vec<_> = spec.partition_by.iter().map(|column| Arc::clone(rows.column(*column))).collect();
    let hashes = hash_columns(&keys, rows.num_rows()).map_err(|e| internal(&e))?;
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); spec.partitions as usize];
    for (row, hash) in hashes.iter().enumerate() {
        let row = u32::try_from(row).map_err(|_| LogError::TooLarge {
            what: "append",
            size: hashes.len() as u64,
            max: u64::from(u32::MAX),
        })?;
        members[partition(*hash, spec.partitions) as usize].push(row);
    }
    (0..spec.partitions)
        .zip(members)
        .filter(|(_, members)| !members.is_empty())
        .map(|(partition, members)| {
            if members.len() == rows.num_rows() {
                return Ok((partition, rows.clone()));
            }
            let taken = take_record_batch(&rows, &UInt32Array::from(members)).map_err(|e| internal(&e))?;
            Ok((partition, taken))
        })
        .collect()
}
