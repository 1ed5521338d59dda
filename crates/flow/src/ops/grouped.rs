//! What operators whose state is one entry a group have in common when groups are taken out and put back.
//!
//! Groups stand in a [`GroupIndex`], whose hash of a key is that of the columns that rows are routed by, and are taken out with all they hold. An
//! operator says where the rest of a group is: how it is written down, forgotten, put back, and touched. The clauses of [`Spills`] are
//! kept here; those of [`Grouped`] by the operators. It does not know runs, budgets, or when anything is taken out.

use crate::image::{Image, Step};
use crate::operator::{FlowError, Operator};
use crate::spill::{Kind, Need, Settles, Spills};
use arrow::array::{ArrayRef, RecordBatch};
use regauge_state::GroupIndex;
use regauge_types::Delta;
use regauge_types::hash::hash_columns;

/// An operator whose state is one entry a group.
pub(crate) trait Grouped: Operator {
    /// Its groups.
    fn index(&self) -> &GroupIndex;
    /// Its groups.
    fn index_mut(&mut self) -> &mut GroupIndex;
    /// Whether a group is one row in each of its tables.
    fn is_flat(&self) -> bool;
    /// What ending an epoch does to groups.
    fn settles(&self) -> Settles {
        Settles::Looks
    }
    /// Columns of the keys of rows, canonical.
    fn keys_of(&self, delta: &Delta) -> Vec<ArrayRef>;
    /// Bytes in use: what it holds less what is free to be used again.
    fn bytes_in_use(&self) -> usize {
        let held = usize::try_from(self.stats().state_bytes).unwrap_or(usize::MAX);
        super::parts::in_use(held, self.index().n_groups(), self.index().n_ids())
    }
    /// The tables of pieces of groups, each piece in order.
    fn tables_of_groups(&self, pieces: &[&[u32]]) -> Result<Vec<Vec<RecordBatch>>, FlowError>;
    /// Forgets what a group holds; its key goes by itself.
    fn clear(&mut self, group: u32) -> Result<(), FlowError>;
    /// Takes in groups that are not here.
    fn put_back(&mut self, image: &Image) -> Result<(), FlowError>;
    /// Begins, then ends, taking out.
    fn lending(&mut self, _on: bool) -> Result<(), FlowError> {
        Ok(())
    }
    /// Forgets what was touched.
    fn forget_touched(&mut self);
    /// A group was touched, in an epoch before which there was nothing.
    fn mark(&mut self, group: u32);
    /// Columns of the keys of an image of changes, and how many keys there are.
    fn keys_of_changes(&self, image: &Image) -> Result<(Vec<ArrayRef>, usize), FlowError>;
}

impl<G: Grouped> Spills for G {
    fn n_parts(&self) -> usize {
        1
    }

    fn kind(&self, _part: usize) -> Kind {
        Kind::Whole
    }

    fn is_flat(&self, _part: usize) -> bool {
        Grouped::is_flat(self)
    }

    fn need(&self, _input: usize, _part: usize) -> Need {
        Need::Write
    }

    fn settles(&self, _part: usize) -> Settles {
        Grouped::settles(self)
    }

    fn hashes(&self, _input: usize, delta: &Delta) -> Result<Vec<u64>, FlowError> {
        Ok(hash_columns(&self.keys_of(delta), delta.n_rows())?)
    }

    fn in_use(&self) -> usize {
        self.bytes_in_use()
    }

    fn n_entries(&self, _part: usize) -> usize {
        self.index().n_groups()
    }

    fn entries(&self, _part: usize, bucket: usize) -> Result<Vec<(u64, u32)>, FlowError> {
        let ids = self.index().bucket(bucket);
        let hashes = hash_columns(&self.index().keys(&ids)?, ids.len())?;
        Ok(hashes.into_iter().zip(ids).collect())
    }

    fn tables_of(&self, _part: usize, pieces: &[&[u32]]) -> Result<Vec<Vec<RecordBatch>>, FlowError> {
        self.tables_of_groups(pieces)
    }

    fn take_out(&mut self, _part: usize, entries: &[(u64, u32)]) -> Result<(), FlowError> {
        entries.iter().try_for_each(|(_, group)| self.clear(*group))?;
        let (hashes, ids): (Vec<u64>, Vec<u32>) = entries.iter().copied().unzip();
        self.index_mut().remove(&ids, &hashes);
        Ok(())
    }

    fn admit(&mut self, _part: usize, tables: &[RecordBatch], _stored: bool) -> Result<(), FlowError> {
        self.put_back(&Image::change(0, Step::Whole, tables.to_vec()))
    }

    fn lend(&mut self, on: bool) -> Result<(), FlowError> {
        self.lending(on)
    }

    fn untouch(&mut self) {
        self.forget_touched();
    }

    fn touch(&mut self, bucket: usize) -> Result<(), FlowError> {
        if Grouped::settles(self) != Settles::Never {
            self.index().bucket(bucket).into_iter().for_each(|group| self.mark(group));
        }
        Ok(())
    }

    fn changed_keys(&self, image: &Image) -> Result<(usize, Vec<u64>), FlowError> {
        let (keys, n) = self.keys_of_changes(image)?;
        Ok((0, hash_columns(&keys, n)?))
    }
}
