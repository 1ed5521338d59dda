//! Groups that are taken out and put back: a group is an entry.

use super::Aggregate;
use crate::image::{Image, types_of};
use crate::operator::FlowError;
use crate::ops::grouped::Grouped;
use arrow::array::{ArrayRef, RecordBatch};
use regauge_state::{GroupIndex, canonical_keys};
use regauge_types::Delta;

impl Grouped for Aggregate {
    fn index(&self) -> &GroupIndex {
        &self.index
    }

    fn index_mut(&mut self) -> &mut GroupIndex {
        &mut self.index
    }

    fn is_flat(&self) -> bool {
        self.calls.iter().filter_map(|c| c.accumulator.as_ref()).all(|a| a.is_flat())
    }

    fn keys_of(&self, delta: &Delta) -> Vec<ArrayRef> {
        canonical_keys(self.keys.iter().map(|k| delta.rows.column(*k)))
    }

    fn tables_of_groups(&self, pieces: &[&[u32]]) -> Result<Vec<Vec<RecordBatch>>, FlowError> {
        self.tables(pieces)
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        self.n_rows[group as usize] = 0;
        self.accumulators().try_for_each(|a| a.clear(group))
    }

    fn put_back(&mut self, image: &Image) -> Result<(), FlowError> {
        self.take_groups(image, &mut Vec::new())
    }

    /// Groups are cleared that still have rows.
    fn lending(&mut self, on: bool) -> Result<(), FlowError> {
        if on {
            self.settle();
        }
        self.accumulators().try_for_each(|a| a.recalls(on))
    }

    fn forget_touched(&mut self) {
        self.touched.forget();
        self.shown.clear();
        self.is_fresh = true;
    }

    fn mark(&mut self, group: u32) {
        self.touched.mark(group);
    }

    fn keys_of_changes(&self, image: &Image) -> Result<(Vec<ArrayRef>, usize), FlowError> {
        image.read().table(&types_of(&self.schema)[..self.keys.len()])
    }
}
