//! Partitions that are taken out and put back, with all their rows.

use super::TopK;
use crate::image::Image;
use crate::operator::FlowError;
use crate::ops::{grouped::Grouped, parts};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use regauge_state::{GroupIndex, canonical_floats, canonical_keys};
use regauge_types::Delta;

impl Grouped for TopK {
    fn index(&self) -> &GroupIndex {
        &self.index
    }

    fn index_mut(&mut self) -> &mut GroupIndex {
        &mut self.index
    }

    fn is_flat(&self) -> bool {
        false
    }

    fn keys_of(&self, delta: &Delta) -> Vec<ArrayRef> {
        let columns: Vec<ArrayRef> = self.partition.iter().map(|c| canonical_floats(delta.rows.column(*c))).collect();
        canonical_keys(&columns)
    }

    /// Rows are nearly all of it, and their number is known: what is free of partitions' ids is little beside them.
    fn bytes_in_use(&self) -> usize {
        let others = self.index.n_bytes() + self.counts.n_bytes();
        self.members.in_use() + parts::in_use(others, self.index.n_groups(), self.index.n_ids())
    }

    fn tables_of_groups(&self, pieces: &[&[u32]]) -> Result<Vec<Vec<RecordBatch>>, FlowError> {
        pieces.iter().map(|groups| self.tables(groups)).collect()
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        self.counts[group as usize] = 0;
        self.members.clear(group);
        Ok(())
    }

    fn put_back(&mut self, image: &Image) -> Result<(), FlowError> {
        self.put(image, &|_| true)
    }

    fn lending(&mut self, on: bool) -> Result<(), FlowError> {
        if on {
            self.members.settle();
        }
        Ok(())
    }

    fn forget_touched(&mut self) {
        self.touched.forget();
        self.shown.clear();
    }

    fn mark(&mut self, group: u32) {
        if self.touched.mark(group) {
            self.shown.push(Vec::new());
        }
    }

    fn keys_of_changes(&self, image: &Image) -> Result<(Vec<ArrayRef>, usize), FlowError> {
        let types: Vec<DataType> = self.partition.iter().map(|c| self.input[*c].clone()).collect();
        image.read().table(&types)
    }
}
