//! Gathers small batches of a partition into full ones, and cuts large ones.
//!
//! Invariant: rows of a partition leave in the order in which they came. A batch of at least half the wanted size passes
//! without a copy (what waits before it leaves first), so reading large row groups copies nothing.

use super::ScanBatch;
use crate::{archive::objects::broken, error::LogError};
use arrow::{array::RecordBatch, compute::concat_batches, datatypes::SchemaRef};
use std::collections::{BTreeMap, VecDeque};

/// See the module.
pub(super) struct Coalescer {
    batch_rows: usize,
    schema: SchemaRef,
    waiting: BTreeMap<u32, Waiting>,
    ready: VecDeque<ScanBatch>,
}

#[derive(Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    rows: usize,
}

impl Coalescer {
    pub(super) fn new(batch_rows: usize, schema: SchemaRef) -> Coalescer {
        Coalescer { batch_rows, schema, waiting: BTreeMap::new(), ready: VecDeque::new() }
    }

    /// The next batch that is complete.
    pub(super) fn pop(&mut self) -> Option<ScanBatch> {
        self.ready.pop_front()
    }

    pub(super) fn push(&mut self, partition: u32, rows: RecordBatch) -> Result<(), LogError> {
        let n = rows.num_rows();
        if n == 0 {
            return Ok(());
        }
        if n >= self.batch_rows.div_ceil(2) {
            self.flush(partition)?;
            self.emit(partition, &rows);
            return Ok(());
        }
        let waiting = self.waiting.entry(partition).or_default();
        waiting.batches.push(rows);
        waiting.rows += n;
        if waiting.rows < self.batch_rows {
            return Ok(());
        }
        // A full batch leaves; what is over goes on waiting, or every second batch would be a small one.
        let whole = self.joined(partition)?;
        self.emit(partition, &whole.slice(0, self.batch_rows));
        let over = whole.num_rows() - self.batch_rows;
        if over > 0 {
            let rest = Waiting { batches: vec![whole.slice(self.batch_rows, over)], rows: over };
            self.waiting.insert(partition, rest);
        }
        Ok(())
    }

    /// Takes all that waits of a partition; less than two full batches.
    fn joined(&mut self, partition: u32) -> Result<RecordBatch, LogError> {
        let waiting = self.waiting.remove(&partition).unwrap_or_default();
        concat_batches(&self.schema, &waiting.batches).map_err(|e| broken(format!("batches cannot be joined: {e}")))
    }

    /// Completes what waits of a partition.
    pub(super) fn flush(&mut self, partition: u32) -> Result<(), LogError> {
        if self.waiting.contains_key(&partition) {
            let whole = self.joined(partition)?;
            self.emit(partition, &whole);
        }
        Ok(())
    }

    /// Completes all that waits.
    pub(super) fn flush_all(&mut self) -> Result<(), LogError> {
        let partitions: Vec<u32> = self.waiting.keys().copied().collect();
        partitions.into_iter().try_for_each(|partition| self.flush(partition))
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.ready.clear();
    }

    fn emit(&mut self, partition: u32, rows: &RecordBatch) {
        let mut at = 0;
        while at < rows.num_rows() {
            let n = self.batch_rows.min(rows.num_rows() - at);
            self.ready.push_back(ScanBatch { partition, rows: rows.slice(at, n) });
            at += n;
        }
    }
}
