//! DISTINCT inside an aggregate: counts each (group, arguments) and tells the inner accumulator only of those that appear or
//! vanish. The index is the group state's own, over the group id and the arguments in canonical form.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, UInt32Type};
use regauge_state::{GroupIndex, Segments, canonical_keys};
use regauge_types::hash::hash_columns;

use super::{Accumulator, Rows, Values};
use crate::image::{Tables, by_bucket, int64, places, table};
use crate::operator::FlowError;
use crate::ops::parts::{row_number, take_all};

/// See the module's header.
pub(super) struct Dedup {
    inner: Box<dyn Accumulator>,
    n_args: usize,
    args: Vec<DataType>,
    index: GroupIndex,
    counts: Segments<i64>,
    /// Entries of each group, where groups are cleared that still have rows.
    of_group: Option<HashMap<u32, Vec<u32>>>,
    /// Whether these are kept for a while only.
    is_lent: bool,
}

impl Dedup {
    /// `types` are those of the arguments (the first `n_args`) and of the ORDER BY columns, which are functions of them.
    pub(super) fn new(inner: Box<dyn Accumulator>, n_args: usize, types: &[DataType]) -> Result<Self, FlowError> {
        let mut keys = vec![DataType::UInt32];
        keys.extend_from_slice(&types[..n_args]);
        let (args, index) = (types[..n_args].to_vec(), GroupIndex::new(&keys)?);
        Ok(Dedup { inner, n_args, args, index, counts: Segments::default(), of_group: None, is_lent: false })
    }
}

impl Accumulator for Dedup {
    fn resize(&mut self, n_ids: usize) {
        self.inner.resize(n_ids);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        let canonical = canonical_keys(rows.args);
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

    fn recalls(&mut self, on: bool) -> Result<(), FlowError> {
        self.inner.recalls(on)?;
        if on && self.of_group.is_none() {
            let mut of_group: HashMap<u32, Vec<u32>> = HashMap::new();
            for (_, ids) in by_bucket(&self.index) {
                let groups = self.index.keys(&ids)?;
                let groups = groups.first().map(|g| g.as_primitive::<UInt32Type>().values().to_vec()).unwrap_or_default();
                groups.into_iter().zip(ids).for_each(|(group, id)| of_group.entry(group).or_default().push(id));
            }
            (self.of_group, self.is_lent) = (Some(of_group), true);
        } else if !on && self.is_lent {
            (self.of_group, self.is_lent) = (None, false);
        }
        Ok(())
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

    fn is_flat(&self) -> bool {
        false
    }

    fn n_bytes(&self) -> usize {
        let of_group = self.of_group.as_ref().map_or(0, |of| of.len() * 32 + self.index.n_groups() * 4);
        self.inner.n_bytes() + self.index.n_bytes() + self.counts.n_bytes() + of_group
    }

    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError> {
        let wanted =
            pieces.iter().enumerate().flat_map(|(i, groups)| groups.iter().enumerate().map(move |(at, g)| (*g, (i, at))));
        let wanted: HashMap<u32, (usize, usize)> = wanted.collect();
        let mut entries: Vec<Vec<(usize, u32)>> = vec![vec![]; pieces.len()];
        for (_, ids) in by_bucket(&self.index) {
            let keys = self.index.keys(&ids)?;
            let groups = keys.first().map(|g| g.as_primitive::<UInt32Type>().values().to_vec()).unwrap_or_default();
            for (group, id) in groups.iter().zip(&ids) {
                if let Some((piece, place)) = wanted.get(group) {
                    entries[*piece].push((*place, *id));
                }
            }
        }
        for (entries, to) in entries.iter_mut().zip(to.iter_mut()) {
            let ids: Vec<u32> = entries.iter().map(|(_, id)| *id).collect();
            let mut columns = self.index.keys(&ids)?;
            columns[0] = places(entries.iter().map(|(place, _)| row_number(*place)).collect());
            columns.push(int64(ids.iter().map(|id| self.counts[*id as usize])));
            to.push(table(columns, ids.len())?);
        }
        self.inner.save(pieces, to)
    }

    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError> {
        let (of, args, counts) = from.placed(groups.len(), &self.args)?;
        let groups_now: Vec<u32> = of.iter().map(|place| groups[*place as usize]).collect();
        let mut keys: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(groups_now.clone()))];
        keys.extend(args);
        let mut ids = Vec::new();
        self.index.intern(&keys, &hash_columns(&keys, counts.len())?, &mut ids, &mut Vec::new())?;
        self.counts.grow(self.index.n_ids(), 0);
        ids.iter().zip(counts).for_each(|(id, n)| self.counts[*id as usize] += n);
        if let Some(of_group) = &mut self.of_group {
            groups_now.into_iter().zip(ids).for_each(|(group, id)| of_group.entry(group).or_default().push(id));
        }
        self.inner.restore(groups, from)
    }
}
