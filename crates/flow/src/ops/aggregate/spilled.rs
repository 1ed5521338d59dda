//! Groups that are taken out and put back: a group is an entry, its key's hash that of the columns that rows are routed by.

use super::Aggregate;
use crate::image::{Image, Step, types_of};
use crate::operator::{FlowError, Operator};
use crate::spill::{Kind, Need, Settles, Spills};
use arrow::array::RecordBatch;
use regauge_state::canonical_keys;
use regauge_types::Delta;
use regauge_types::hash::hash_columns;

impl Spills for Aggregate {
    fn n_parts(&self) -> usize {
        1
    }

    fn kind(&self, _part: usize) -> Kind {
        Kind::Whole
    }

    fn is_flat(&self, _part: usize) -> bool {
        self.calls.iter().filter_map(|c| c.accumulator.as_ref()).all(|a| a.is_flat())
    }

    fn need(&self, _input: usize, _part: usize) -> Need {
        Need::Write
    }

    fn settles(&self, _part: usize) -> Settles {
        Settles::Looks
    }

    fn hashes(&self, _input: usize, delta: &Delta) -> Result<Vec<u64>, FlowError> {
        let keys = canonical_keys(self.keys.iter().map(|k| delta.rows.column(*k)));
        Ok(hash_columns(&keys, delta.n_rows())?)
    }

    fn in_use(&self) -> usize {
        let held = usize::try_from(self.stats().state_bytes).unwrap_or(usize::MAX);
        super::super::parts::in_use(held, self.index.n_groups(), self.index.n_ids())
    }

    fn n_entries(&self, _part: usize) -> usize {
        self.index.n_groups()
    }

    fn entries(&self, _part: usize, bucket: usize) -> Result<Vec<(u64, u32)>, FlowError> {
        let ids = self.index.bucket(bucket);
        let hashes = hash_columns(&self.index.keys(&ids)?, ids.len())?;
        Ok(hashes.into_iter().zip(ids).collect())
    }

    fn tables_of(&self, _part: usize, pieces: &[&[u32]]) -> Result<Vec<Vec<RecordBatch>>, FlowError> {
        self.tables(pieces)
    }

    fn take_out(&mut self, _part: usize, entries: &[(u64, u32)]) -> Result<(), FlowError> {
        for (_, group) in entries {
            self.n_rows[*group as usize] = 0;
            self.accumulators().try_for_each(|a| a.clear(*group))?;
        }
        let (hashes, ids): (Vec<u64>, Vec<u32>) = entries.iter().copied().unzip();
        self.index.remove(&ids, &hashes);
        Ok(())
    }

    fn admit(&mut self, _part: usize, tables: &[RecordBatch], _stored: bool) -> Result<(), FlowError> {
        let image = Image::change(0, Step::Whole, tables.to_vec());
        self.take_groups(&image, &mut Vec::new())
    }

    /// Groups are cleared that still have rows.
    fn lend(&mut self, on: bool) -> Result<(), FlowError> {
        if on {
            self.settle();
        }
        self.accumulators().try_for_each(|a| a.recalls(on))
    }

    fn untouch(&mut self) {
        self.touched.forget();
        self.shown.clear();
        self.is_fresh = true;
    }

    fn touch(&mut self, bucket: usize) -> Result<(), FlowError> {
        for group in self.index.bucket(bucket) {
            self.touched.mark(group);
        }
        Ok(())
    }

    fn changed_keys(&self, image: &Image) -> Result<(usize, Vec<u64>), FlowError> {
        let (keys, n) = image.read().table(&types_of(&self.schema)[..self.keys.len()])?;
        Ok((0, hash_columns(&keys, n)?))
    }
}
