//! The single writer of a shard.

use super::{
    RowError, Shared, TraceError,
    layer::{Layer, merge, sum_errors},
};
use regauge_types::{Delta, Epoch};
use std::{collections::BTreeMap, sync::Arc};

type Waiting = (Vec<Delta>, Vec<(RowError, i64)>);

/// Writes one shard of a trace; nothing it publishes is seen before [`Publisher::advance`].
pub struct Publisher {
    shared: Arc<Shared>,
    shard: usize,
    upper: Epoch,
    waiting: BTreeMap<Epoch, Waiting>,
}

impl Publisher {
    pub(super) fn new(shared: Arc<Shared>, shard: usize) -> Publisher {
        Publisher { shared, shard, upper: Epoch(0), waiting: BTreeMap::new() }
    }

    /// Takes in changes of an epoch that is not closed. Epoch 0 is open until the first `advance`.
    pub fn publish(&mut self, epoch: Epoch, rows: Delta, errors: Vec<(RowError, i64)>) -> Result<(), TraceError> {
        if epoch <= self.upper && self.upper > Epoch(0) {
            return Err(TraceError::Closed { epoch, upper: self.upper });
        }
        let (deltas, waiting) = self.waiting.entry(epoch).or_default();
        if !rows.is_empty() {
            deltas.push(rows);
        }
        waiting.extend(errors);
        Ok(())
    }

    /// Everything up to `upper` is complete in this shard. Also merges old layers, outside the locks that readers take.
    pub fn advance(&mut self, upper: Epoch) -> Result<(), TraceError> {
        let later = self.waiting.split_off(&Epoch(upper.0.saturating_add(1)));
        for (epoch, (deltas, errors)) in std::mem::replace(&mut self.waiting, later) {
            let layer = Layer::new(&self.shared.schema, epoch, deltas, sum_errors(errors.iter()))?;
            if !layer.is_empty() {
                self.shared.shards[self.shard].lock().layers.push(Arc::new(layer));
            }
        }
        self.upper = self.upper.max(upper);
        let (since, moved) = {
            let mut gate = self.shared.gate.lock();
            let before = gate.upper();
            gate.uppers[self.shard] = self.upper;
            (gate.settle(), gate.upper() > before)
        };
        if moved {
            self.shared.moved();
        }
        self.compact(since)
    }

    fn compact(&self, since: Epoch) -> Result<(), TraceError> {
        loop {
            // only this writer changes the list, so the place stays right between the two locks
            let (at, pair) = {
                let shard = self.shared.shards[self.shard].lock();
                let Some(at) = shard.next_merge(since) else { return Ok(()) };
                (at, [Arc::clone(&shard.layers[at]), Arc::clone(&shard.layers[at + 1])])
            };
            let merged = merge(&self.shared.schema, &pair)?.map(Arc::new);
            self.shared.shards[self.shard].lock().layers.splice(at..at + 2, merged);
        }
    }

    /// Makes every read of the trace say why its version failed; the first reason stays.
    pub fn fail(&self, message: &str) {
        self.shared.fail(message);
    }
}
