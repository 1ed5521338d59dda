//! One worker's part of a trace: layers in ascending epochs, merged below the least pin.

use super::TraceError;
use arrow::datatypes::SchemaRef;
use regauge_types::{Delta, Epoch};
use std::{collections::BTreeMap, sync::Arc};

/// The changes of one epoch, or of all epochs up to it since the layer before.
pub(super) struct Layer {
    pub epoch: Epoch,
    pub rows: Delta,
    pub errors: Vec<(String, i64)>,
}

impl Layer {
    fn size(&self) -> usize {
        self.rows.n_rows() + self.errors.len()
    }
}

/// The layers; cloned (pointers only) by readers.
#[derive(Default)]
pub(super) struct Shard {
    pub layers: Vec<Arc<Layer>>,
}

/// Sums of equal messages, zeros left out, in order of the message.
pub(super) fn sum_errors<'a>(errors: impl Iterator<Item = &'a (String, i64)>) -> Vec<(String, i64)> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    errors.for_each(|(message, diff)| *sums.entry(message).or_default() += diff);
    sums.into_iter().filter(|(_, diff)| *diff != 0).map(|(message, diff)| (message.to_owned(), diff)).collect()
}

/// The sum of layers, under the last one's epoch; what cancels out is gone.
pub(super) fn merge(schema: &SchemaRef, layers: &[Arc<Layer>]) -> Result<Option<Layer>, TraceError> {
    let Some(last) = layers.last() else { return Ok(None) };
    let deltas: Vec<Delta> = layers.iter().filter(|l| !l.rows.is_empty()).map(|l| l.rows.clone()).collect();
    let rows =
        if deltas.is_empty() { Delta::empty(Arc::clone(schema)) } else { Delta::concat(schema, &deltas)?.consolidate()? };
    let errors = sum_errors(layers.iter().flat_map(|l| &l.errors));
    Ok(Some(Layer { epoch: last.epoch, rows, errors }))
}

impl Shard {
    /// Which two neighbours to merge next, if any: both at or below `since`, the newer at least half as large as the older.
    pub fn next_merge(&self, since: Epoch) -> Option<usize> {
        let settled = self.layers.partition_point(|layer| layer.epoch <= since);
        (1..settled).rev().find(|i| self.layers[*i].size() * 2 >= self.layers[i - 1].size()).map(|i| i - 1)
    }
}
