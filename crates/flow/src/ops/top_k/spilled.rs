//! Partitions that are taken out and put back, with all their rows.

use super::TopK;
use crate::image::{Image, Step};
use crate::operator::FlowError;
use crate::spill::{Kind, Need, Settles, Spills};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use regauge_state::{canonical_floats, canonical_keys};
use regauge_types::Delta;
use regauge_types::hash::hash_columns;

impl Spills for TopK {
    fn n_parts(&self) -> usize {
        1
    }

    fn kind(&self, _part: usize) -> Kind {
        Kind::Whole
    }

    fn is_flat(&self, _part: usize) -> bool {
        false
    }

    fn need(&self, _input: usize, _part: usize) -> Need {
        Need::Write
    }

    fn settles(&self, _part: usize) -> Settles {
        Settles::Looks
    }

    fn hashes(&self, _input: usize, delta: &Delta) -> Result<Vec<u64>, FlowError> {
        let columns: Vec<ArrayRef> = self.partition.iter().map(|c| canonical_floats(delta.rows.column(*c))).collect();
        Ok(hash_columns(&canonical_keys(&columns), delta.n_rows())?)
    }

    /// Rows are nearly all of it, and their number is known: what is free of partitions' ids is little beside them.
    fn in_use(&self) -> usize {
        let rows = self.members.in_use();
        let others = self.index.n_bytes() + self.counts.n_bytes();
        rows + super::super::parts::in_use(others, self.index.n_groups(), self.index.n_ids())
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
        pieces.iter().map(|groups| self.tables(groups)).collect()
    }

    fn take_out(&mut self, _part: usize, entries: &[(u64, u32)]) -> Result<(), FlowError> {
        for (_, group) in entries {
            self.counts[*group as usize] = 0;
            self.members.clear(*group);
        }
        let (hashes, ids): (Vec<u64>, Vec<u32>) = entries.iter().copied().unzip();
        self.index.remove(&ids, &hashes);
        Ok(())
    }

    fn admit(&mut self, _part: usize, tables: &[RecordBatch], _stored: bool) -> Result<(), FlowError> {
        self.put(&Image::change(0, Step::Whole, tables.to_vec()), &|_| true)
    }

    fn lend(&mut self, on: bool) -> Result<(), FlowError> {
        if on {
            self.members.settle();
        }
        Ok(())
    }

    fn untouch(&mut self) {
        self.touched.forget();
        self.shown.clear();
    }

    fn touch(&mut self, bucket: usize) -> Result<(), FlowError> {
        for group in self.index.bucket(bucket) {
            if self.touched.mark(group) {
                self.shown.push(Vec::new());
            }
        }
        Ok(())
    }

    fn changed_keys(&self, image: &Image) -> Result<(usize, Vec<u64>), FlowError> {
        let types: Vec<DataType> = self.partition.iter().map(|c| self.input[*c].clone()).collect();
        let (keys, n) = image.read().table(&types)?;
        Ok((0, hash_columns(&keys, n)?))
    }
}
