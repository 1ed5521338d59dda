//! One worker's part of a trace: layers in ascending epochs, merged below the least pin.

use super::layer::Layer;
use regauge_types::Epoch;
use std::{ops::Range, sync::Arc};

/// Neighbours.
pub(super) type Run = Vec<Arc<Layer>>;

/// The layers; cloned (pointers only) by readers.
#[derive(Default)]
pub(super) struct Shard {
    pub layers: Vec<Arc<Layer>>,
    /// Neighbours that a thread of its own merges.
    pub merging: Option<Run>,
}

impl Shard {
    /// Which neighbours to merge next, if any: the newest that are together at least half as large as the one before them, with all that this is then
    /// true of. All of them at or below `since`, and behind those that are being merged. At once: were a large layer merged with each of
    /// hundreds of small ones before it in turn, it would be copied as often.
    pub fn next_merge(&self, since: Epoch) -> Option<Run> {
        let Range { start: first, end: settled } = self.mergeable(since);
        let size = |at: usize| self.layers[at].size();
        let last = (first + 1..settled).rev().find(|at| size(*at) * 2 >= size(at - 1))?;
        let (mut from, mut sum) = (last, size(last));
        while from > first && sum * 2 >= size(from - 1) {
            from -= 1;
            sum += size(from);
        }
        Some(self.layers[from..=last].to_vec())
    }

    /// Places of layers that nobody reads one by one any more, behind those that a thread merges.
    fn mergeable(&self, since: Epoch) -> Range<usize> {
        let settled = self.layers.partition_point(|layer| layer.epoch <= since);
        let merging = self.merging.as_ref().and_then(|run| self.place(run.last()?));
        merging.map_or(0, |at| at + 1)..settled
    }

    /// How many of those there are.
    pub fn n_mergeable(&self, since: Epoch) -> usize {
        self.mergeable(since).len()
    }

    /// What neighbours have become, in their place.
    pub fn replace(&mut self, run: &[Arc<Layer>], merged: Option<Layer>) {
        if let Some(at) = run.first().and_then(|first| self.place(first)) {
            self.layers.splice(at..at + run.len(), merged.map(Arc::new));
        }
    }

    fn place(&self, layer: &Arc<Layer>) -> Option<usize> {
        self.layers.iter().position(|l| Arc::ptr_eq(l, layer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use regauge_types::Delta;

    fn layer(epoch: u64, rows: i64) -> Arc<Layer> {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        Arc::new(Layer::new(&batch.schema(), Epoch(epoch), vec![Delta::ones(batch)], vec![]).unwrap())
    }

    /// Sizes after each merge of all that there is to merge, and the rows that were copied.
    fn merged(mut shard: Shard, since: u64) -> (Vec<Vec<usize>>, usize) {
        let (mut seen, mut copied) = (vec![], 0);
        while let Some(run) = shard.next_merge(Epoch(since)) {
            let n = run.iter().map(|l| l.size()).sum::<usize>();
            copied += n;
            shard.replace(&run, Some(Arc::into_inner(layer(run.last().unwrap().epoch.0, n as i64)).unwrap()));
            seen.push(shard.layers.iter().map(|l| l.size()).collect());
        }
        (seen, copied)
    }

    #[test]
    fn small_layers_before_a_large_one_are_merged_with_it_at_once() {
        let sizes = [10_000, 1, 1, 1, 500, 1, 1, 1, 1, 600, 2, 1];
        let layers: Vec<_> = (1u64..).zip(sizes).map(|(epoch, rows)| layer(epoch, rows)).collect();
        let shard = |layers: &[Arc<Layer>]| Shard { layers: layers.to_vec(), merging: None };
        let (seen, copied) = merged(shard(&layers), 12);
        assert_eq!(seen, [vec![10_000, 1, 1, 1, 500, 1, 1, 1, 1, 600, 3], vec![10_000, 1107, 3]]);
        assert_eq!(copied, 3 + 1107);
        // what is pinned stays
        assert_eq!(merged(shard(&layers), 5).0, [vec![10_000, 503, 1, 1, 1, 1, 600, 2, 1]]);
        // and so does what somebody merges, and all before it
        let merging = Some(layers[3..5].to_vec());
        let (seen, _) = merged(Shard { layers, merging }, 12);
        assert_eq!(seen.last(), Some(&vec![10_000, 1, 1, 1, 500, 604, 3]));
    }
}
