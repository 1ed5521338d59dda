//! One worker's part of a trace: layers in ascending epochs, merged below the least pin.

use super::layer::Layer;
use regauge_types::Epoch;
use std::sync::Arc;

/// Two neighbours.
pub(super) type Pair = [Arc<Layer>; 2];

/// The layers; cloned (pointers only) by readers.
#[derive(Default)]
pub(super) struct Shard {
    pub layers: Vec<Arc<Layer>>,
    /// Neighbours that a thread of its own merges.
    pub merging: Option<Pair>,
}

impl Shard {
    /// Which neighbours to merge next, if any: both at or below `since`, the newer at least half as large as the older, and both behind those that are
    /// being merged.
    pub fn next_merge(&self, since: Epoch) -> Option<Pair> {
        let settled = self.layers.partition_point(|layer| layer.epoch <= since);
        let merging = self.merging.as_ref().and_then(|[_, newer]| self.place(newer));
        let first = merging.map_or(0, |at| at + 1);
        let at = (first + 1..settled).rev().find(|i| self.layers[*i].size() * 2 >= self.layers[i - 1].size())?;
        Some([Arc::clone(&self.layers[at - 1]), Arc::clone(&self.layers[at])])
    }

    /// What neighbours have become, in their place.
    pub fn replace(&mut self, pair: &Pair, merged: Option<Layer>) {
        if let Some(at) = self.place(&pair[0]) {
            self.layers.splice(at..at + 2, merged.map(Arc::new));
        }
    }

    fn place(&self, layer: &Arc<Layer>) -> Option<usize> {
        self.layers.iter().position(|l| Arc::ptr_eq(l, layer))
    }
}
