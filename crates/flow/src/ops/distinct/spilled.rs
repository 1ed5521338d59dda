//! Rows that are taken out and put back: a row is its own key.

use super::Distinct;
use crate::image::{Image, Step, types_of};
use crate::operator::{FlowError, Operator};
use crate::spill::{Kind, Need, Settles, Spills};
use arrow::array::RecordBatch;
use regauge_state::canonical_keys;
use regauge_types::Delta;
use regauge_types::hash::hash_columns;

impl Spills for Distinct {
    fn n_parts(&self) -> usize {
        1
    }

    fn kind(&self, _part: usize) -> Kind {
        Kind::Whole
    }

    fn is_flat(&self, _part: usize) -> bool {
        true
    }

    fn need(&self, _input: usize, _part: usize) -> Need {
        Need::Write
    }

    fn settles(&self, _part: usize) -> Settles {
        if self.append_only { Settles::Never } else { Settles::Looks }
    }

    fn hashes(&self, _input: usize, delta: &Delta) -> Result<Vec<u64>, FlowError> {
        Ok(hash_columns(&canonical_keys(delta.rows.columns()), delta.n_rows())?)
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
        pieces.iter().map(|ids| Ok(vec![self.table(ids)?])).collect()
    }

    fn take_out(&mut self, _part: usize, entries: &[(u64, u32)]) -> Result<(), FlowError> {
        if !self.append_only {
            entries.iter().for_each(|(_, id)| self.counts[*id as usize] = 0);
        }
        let (hashes, ids): (Vec<u64>, Vec<u32>) = entries.iter().copied().unzip();
        self.index.remove(&ids, &hashes);
        Ok(())
    }

    fn admit(&mut self, _part: usize, tables: &[RecordBatch], _stored: bool) -> Result<(), FlowError> {
        self.restore(&[&Image::change(0, Step::Whole, tables.to_vec())])
    }

    fn untouch(&mut self) {
        self.touched.forget();
        self.before.clear();
    }

    fn touch(&mut self, bucket: usize) -> Result<(), FlowError> {
        if !self.append_only {
            for id in self.index.bucket(bucket) {
                if self.touched.mark(id) {
                    self.before.push(false);
                }
            }
        }
        Ok(())
    }

    fn changed_keys(&self, image: &Image) -> Result<(usize, Vec<u64>), FlowError> {
        let mut tables = image.read();
        let types = types_of(&self.schema);
        let (columns, n) = match image.step {
            Step::Gone => tables.table(&types)?,
            _ => tables.numbered(&types).map(|(columns, counts)| (columns, counts.len()))?,
        };
        Ok((0, hash_columns(&columns, n)?))
    }
}
