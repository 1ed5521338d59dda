//! One worker's part of a trace: layers in ascending epochs, merged below the least pin.

use super::layer::Layer;
use regauge_types::Epoch;
use std::sync::Arc;

/// The layers; cloned (pointers only) by readers.
#[derive(Default)]
pub(super) struct Shard {
    pub layers: Vec<Arc<Layer>>,
}

impl Shard {
    /// Which two neighbours to merge next, if any: both at or below `since`, the newer at least half as large as the older.
    pub fn next_merge(&self, since: Epoch) -> Option<usize> {
        let settled = self.layers.partition_point(|layer| layer.epoch <= since);
        (1..settled).rev().find(|i| self.layers[*i].size() * 2 >= self.layers[i - 1].size()).map(|i| i - 1)
    }
}
