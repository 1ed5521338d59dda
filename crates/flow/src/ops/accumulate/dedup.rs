//! DISTINCT inside an aggregate: counts each (group, arguments) and tells the inner accumulator only of those that appear or
//! vanish. The index is the group state's own, over the group id and the arguments in canonical form.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::datatypes::{DataType, UInt32Type};
use regauge_state::{GroupIndex, Segments, canonical_floats};
use regauge_types::hash::hash_columns;

use super::{Accumulator, Rows, Values};
use crate::operator::FlowError;
use crate::ops::parts::{row_number, take_all};

/// See the module's header.
pub(super) struct Dedup {
    inner: Box<dyn Accumulator>,
    n_args: usize,
    index: GroupIndex,
    counts: Segments<i64>,
    /// Entries of each group, where groups are cleared that still have rows.
    of_group: Option<HashMap<u32, Vec<u32>>>,
}

impl Dedup {
    /// `types` are those of the arguments (the first `n_args`) and of the ORDER BY columns, which are functions of them.
    pub(super) fn new(inner: Box<dyn Accumulator>, n_args: usize, types: &[DataType]) -> Result<Self, FlowError> {
        let mut keys = vec![DataType::UInt32];
        keys.extend_from_slice(&types[..n_args]);
        Ok(Dedup { inner, n_args, index: GroupIndex::new(&keys)?, counts: Segments::default(), of_group: None })
    }
}

impl Accumulator for Dedup {
    fn resize(&mut self, n_ids: usize) {
        self.inner.resize(n_ids);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        let canonical: Vec<ArrayRef> = rows.args.iter().map(canonical_floats).collect();
        let mut keys: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(rows.groups.to_vec()))];
        keys.extend_from_slice(&canonical[..self.n_args]);
        let hashes = hash_columns(&keys, rows.groups.len())?;
        let (mut ids, mut created) = (Vec::new(), Vec::new());
        self.index.intern(&keys, &hashes, &mut ids, &mut created)?;
        if let Some(of_group) = &mut self.of_group {
            let groups = self.index.keys(&created)?;
            let groups = groups.first().map(|g| g.as_primitive::<UInt32Type>().values().to_vec()).unwrap_or_default();
            groups.into_iter().zip(created).for_each(|(group, id)| of_group.entry(group).or_default().push(id));
        }
        self.counts.grow(self.index.n_ids(), 0);
        let (mut changed, mut groups, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        for (row, id) in ids.iter().enumerate() {
            let count = &mut self.counts[*id as usize];
            let before = *count > 0;
            *count += rows.diff(row);
            let step = i64::from(*count > 0) - i64::from(before);
            if step != 0 {
                changed.push(row_number(row));
                groups.push(rows.groups[row]);
                steps.push(step);
            }
        }
        ids.retain(|id| self.counts[*id as usize] == 0);
        ids.sort_unstable();
        ids.dedup();
        self.index.forget(&ids)?;
        let args = take_all(&canonical, &UInt32Array::from(changed))?;
        self.inner.update(&Rows { groups: &groups, args: &args, diffs: Some(&steps) })
    }

    fn values(&self, groups: &[u32]) -> Result<Values, FlowError> {
        self.inner.values(groups)
    }

    fn closes(&mut self) {
        self.inner.closes();
        self.of_group = Some(HashMap::new());
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        self.inner.clear(group)?;
        if let Some(ids) = self.of_group.as_mut().and_then(|of_group| of_group.remove(&group)) {
            ids.iter().for_each(|id| self.counts[*id as usize] = 0);
            self.index.forget(&ids)?;
        }
        Ok(())
    }

    fn settle(&mut self) {
        self.inner.settle();
    }

    fn n_bytes(&self) -> usize {
        let of_group = self.of_group.as_ref().map_or(0, |of| of.values().map(|ids| 32 + ids.capacity() * 4).sum());
        self.inner.n_bytes() + self.index.n_bytes() + self.counts.n_bytes() + of_group
    }
}
