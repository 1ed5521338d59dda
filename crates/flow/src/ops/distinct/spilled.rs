//! Rows that are taken out and put back: a row is its own key.

use super::Distinct;
use crate::image::{Image, Step, types_of};
use crate::operator::{FlowError, Operator};
use crate::ops::grouped::Grouped;
use crate::spill::Settles;
use arrow::array::{ArrayRef, RecordBatch};
use regauge_state::{GroupIndex, canonical_keys};
use regauge_types::Delta;

impl Grouped for Distinct {
    fn index(&self) -> &GroupIndex {
        &self.index
    }

    fn index_mut(&mut self) -> &mut GroupIndex {
        &mut self.index
    }

    fn is_flat(&self) -> bool {
        true
    }

    fn settles(&self) -> Settles {
        if self.append_only { Settles::Never } else { Settles::Looks }
    }

    fn keys_of(&self, delta: &Delta) -> Vec<ArrayRef> {
        canonical_keys(delta.rows.columns())
    }

    fn tables_of_groups(&self, pieces: &[&[u32]]) -> Result<Vec<Vec<RecordBatch>>, FlowError> {
        pieces.iter().map(|ids| Ok(vec![self.table(ids)?])).collect()
    }

    fn clear(&mut self, id: u32) -> Result<(), FlowError> {
        if !self.append_only {
            self.counts[id as usize] = 0;
        }
        Ok(())
    }

    fn put_back(&mut self, image: &Image) -> Result<(), FlowError> {
        self.restore(&[image])
    }

    fn forget_touched(&mut self) {
        self.touched.forget();
        self.before.clear();
    }

    fn mark(&mut self, id: u32) {
        if self.touched.mark(id) {
            self.before.push(false);
        }
    }

    fn keys_of_changes(&self, image: &Image) -> Result<(Vec<ArrayRef>, usize), FlowError> {
        let mut tables = image.read();
        let types = types_of(&self.schema);
        match image.step {
            Step::Gone => tables.table(&types),
            _ => tables.numbered(&types).map(|(columns, counts)| (columns, counts.len())),
        }
    }
}
