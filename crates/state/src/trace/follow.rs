//! Following a trace shard by shard: what another version needs that builds on this one at the same epochs.
//!
//! Each of its workers takes the layers of some shards as they are, unmerged: their diffs sum up to the same, nothing is copied, and
//! no worker waits, because a [`Waker`] tells it that the trace moved. Not promised: that rows of an epoch are consolidated.

use super::{TraceError, TraceReader, layer::Layer, reader::Change};
use regauge_types::{Delta, Epoch};
use std::sync::Arc;

/// Called after the trace's upper moved or its version failed, on the thread that did it; must be quick and must not read the trace.
pub type Waker = dyn Fn() + Send + Sync;

impl TraceReader {
    /// Number of shards, one per writer.
    #[must_use]
    pub fn n_shards(&self) -> usize {
        self.shared.shards.len()
    }

    /// Calls `waker` from now on, for as long as the caller keeps it.
    pub fn wake(&self, waker: &Arc<Waker>) {
        let mut wakers = self.shared.wakers.lock();
        wakers.retain(|w| w.strong_count() > 0);
        wakers.push(Arc::downgrade(waker));
    }

    /// What one shard changed after `after` (from the beginning without it) up to `up_to`, epochs ascending.
    pub fn follow(&self, shard: usize, after: Option<Epoch>, up_to: Epoch) -> Result<Vec<Change>, TraceError> {
        let _pin = self.pin(after.unwrap_or(up_to))?;
        let wanted = |layer: &Layer| after.is_none_or(|after| layer.epoch > after) && layer.epoch <= up_to;
        let layers = self.layers_of(up_to, self.shared.shards.get(shard).into_iter(), wanted)?;
        let mut changes = vec![];
        for layer in layers {
            let rows = layer.pieces.iter().map(|rows| Change { epoch: layer.epoch, rows: rows.clone(), errors: vec![] });
            changes.extend(rows);
            if !layer.errors.is_empty() && !self.diverts {
                let rows = Delta::empty(Arc::clone(&self.shared.schema));
                changes.push(Change { epoch: layer.epoch, rows, errors: layer.errors.clone() });
            }
        }
        Ok(changes)
    }
}
