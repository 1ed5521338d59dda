//! The single writer of a shard, but for the thread that it has merge large layers.

use super::{
    RowError, Shared, TraceError,
    layer::{Layer, merge, sum_errors},
    shard::Run,
};
use parking_lot::Mutex;
use regauge_types::{
    Delta, Epoch,
    env::{Joining, Threads},
};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// Layers of more rows than this together are merged by a thread of their own: they take longer than an epoch may.
/// Few where assertions are on, so that tests and the simulation come to it.
const BESIDE_ROWS: usize = if cfg!(debug_assertions) { 1 << 7 } else { 1 << 12 };

/// So many rows are merged within an epoch by those who share a worker. Views that are fed by the same commits come so far at the same
/// time; what one has no room for in this epoch it merges in one of the next.
const HERE_ROWS: usize = if cfg!(debug_assertions) { 1 << 6 } else { 1 << 12 };

/// With more layers than this that could be merged small ones do not wait: who reads the trace goes through all of them.
const LAYERS_MAX: usize = 256;

fn size(run: &Run) -> usize {
    run.iter().map(|layer| layer.size()).sum()
}

fn is_large(run: &Run) -> bool {
    size(run) > BESIDE_ROWS
}

/// What the traces of one worker share.
#[derive(Debug, Default)]
pub struct Turns {
    /// Who merges large layers holds it: one after the other, so that no more memory is held by it than one of them needs.
    beside: Mutex<()>,
    /// What was merged by the worker itself, in rows, within the epoch that it is at.
    here: Mutex<(Epoch, usize)>,
}

/// See [`Turns`].
pub type Turn = Arc<Turns>;

impl Turns {
    /// Whether so many rows may be merged in this epoch; one run may, whatever its size.
    fn has_room(&self, at: Epoch, rows: usize) -> bool {
        let mut here = self.here.lock();
        // a trace that catches up is at an earlier one
        if at > here.0 {
            *here = (at, 0);
        }
        let has_room = here.1 == 0 || here.1 + rows <= HERE_ROWS;
        here.1 += if has_room { rows } else { 0 };
        has_room
    }
}

type Waiting = (Vec<Delta>, Vec<(RowError, i64)>);

/// Writes one shard of a trace; nothing it publishes is seen before [`Publisher::advance`].
pub struct Publisher {
    shared: Arc<Shared>,
    shard: usize,
    upper: Epoch,
    waiting: BTreeMap<Epoch, Waiting>,
    beside: Option<(Arc<dyn Threads>, Turn)>,
    /// The last thread that merges, or has merged. Nobody waits for one under way when a version ends: it may take seconds, holds what it
    /// merges for so long, and ends by itself.
    merging: Option<Box<dyn Joining>>,
}

impl Publisher {
    pub(super) fn new(shared: Arc<Shared>, shard: usize) -> Publisher {
        Publisher { shared, shard, upper: Epoch(0), waiting: BTreeMap::new(), beside: None, merging: None }
    }

    /// Large layers are merged by threads of these from now on, beside the writer; one at a time of all that share the turn.
    #[must_use]
    pub fn merging_beside(mut self, threads: &Arc<dyn Threads>, turn: &Turn) -> Publisher {
        self.beside = Some((Arc::clone(threads), Arc::clone(turn)));
        self
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

    /// A layer is replaced by this writer, or by the one thread that it has merge; what it leaves alone stays where it is.
    fn compact(&mut self, since: Epoch) -> Result<(), TraceError> {
        loop {
            let (run, is_merging, has_many) = {
                let shard = self.shared.shards[self.shard].lock();
                let Some(run) = shard.next_merge(since) else { return Ok(()) };
                (run, shard.merging.is_some(), shard.n_mergeable(since) > LAYERS_MAX)
            };
            if let Some((threads, turn)) = self.beside.clone() {
                if is_large(&run) && !is_merging {
                    return self.merge_beside(&threads, turn, run);
                }
                // while that thread merges, or waits for its turn, what is as large behind it waits, too
                if is_large(&run) || !has_many && !turn.has_room(self.upper, size(&run)) {
                    return Ok(());
                }
            }
            let merged = merge(&self.shared.schema, &run)?;
            self.shared.shards[self.shard].lock().replace(&run, merged);
        }
    }

    fn merge_beside(&mut self, threads: &Arc<dyn Threads>, turn: Turn, run: Run) -> Result<(), TraceError> {
        // it has said that it is through, or there was none
        self.join();
        self.shared.shards[self.shard].lock().merging = Some(run.clone());
        let (shared, shard) = (Arc::clone(&self.shared), self.shard);
        // until nothing is left that would be worth it: there may be no next epoch for long
        let work = move || {
            let mut next = Some(run);
            while let Some(run) = next.take().filter(|_| shared.gate.lock().failed.is_none()) {
                let _turn = turn.beside.lock();
                // nobody writes or reads it any more
                if Arc::strong_count(&shared) == 1 {
                    return;
                }
                let merged = catch_unwind(AssertUnwindSafe(|| {
                    let merged = merge(&shared.schema, &run)?;
                    if let Some(merged) = &merged {
                        merged.index_as(shared.key.as_deref(), &run)?;
                    }
                    Ok::<_, TraceError>(merged)
                }));
                match merged {
                    Ok(Ok(merged)) => {
                        let since = shared.gate.lock().since;
                        let mut shard = shared.shards[shard].lock();
                        shard.replace(&run, merged);
                        shard.merging = None;
                        next = shard.next_merge(since).filter(is_large);
                        shard.merging.clone_from(&next);
                    }
                    Ok(Err(error)) => shared.fail(&error.to_string()),
                    Err(_) => shared.fail("merging what was published panicked"),
                }
            }
            shared.shards[shard].lock().merging = None;
        };
        match threads.spawn("regauge-merge", Box::new(work)) {
            Ok(thread) => self.merging = Some(thread),
            // no thread: it stays as it is until the next time
            Err(error) => {
                tracing::warn!(%error, "no thread to merge what was published");
                self.shared.shards[self.shard].lock().merging = None;
            }
        }
        Ok(())
    }

    fn join(&mut self) {
        if let Some(thread) = self.merging.take()
            && let Err(panic) = thread.join()
        {
            tracing::error!(%panic, "a thread that merged panicked");
        }
    }

    /// Makes every read of the trace say why its version failed; the first reason stays.
    pub fn fail(&self, message: &str) {
        self.shared.fail(message);
    }
}
