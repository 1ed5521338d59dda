//! Published traces: what a version has computed, readable at an epoch from any thread while it goes on.
//!
//! ```text
//!   Publisher (one per worker, the only writer of its shard)          TraceReader (any number, any thread)
//!   publish(7, +a) publish(7, -b) advance(7) ─▶ [..=4][5][7] ─▶ snapshot(5) = sum of the layers with epoch <= 5
//! ```
//! Invariant: layers are immutable and ascend in epoch within a shard; nothing above `upper` (the least upper of all shards) is
//! ever shown; an epoch at or above `since` reads the same for as long as it is pinned. Layers at or below the least pin are
//! merged when the newer are at least half as large as the older, so their number stays logarithmic and a row is copied a
//! logarithmic number of times; large ones by a thread of their own, so that no epoch waits for it. Locks: the gate, then one shard; both are held
//! to exchange pointers only, consolidation of what is read happens outside. Idea: the trace handles of differential dataflow (McSherry) and Materialize's read holds.
//!
//! It does not know: workers, plans, files. Cost of reading: see [`layer`]; rows that are only added are never copied.

mod error;
mod follow;
mod held;
mod key_index;
mod layer;
mod reader;
mod row_error;
mod shard;
mod writer;

pub use error::TraceError;
pub use follow::Waker;
pub use reader::{Change, Pin, Snapshot, TraceReader};
pub use row_error::RowError;
pub use writer::{Publisher, Turn};

use arrow::datatypes::SchemaRef;
use parking_lot::{Condvar, Mutex};
use regauge_types::Epoch;
use shard::Shard;
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

/// What readers and writers of one trace share.
struct Shared {
    schema: SchemaRef,
    key: Option<Vec<usize>>,
    gate: Mutex<Gate>,
    moved: Condvar,
    shards: Vec<Mutex<Shard>>,
    /// Of those that follow; a lock of its own, never held with another.
    wakers: Mutex<Vec<Weak<Waker>>>,
}

/// Where the trace stands.
struct Gate {
    uppers: Vec<Epoch>,
    since: Epoch,
    pins: BTreeMap<Epoch, usize>,
    failed: Option<String>,
}

impl Gate {
    fn upper(&self) -> Epoch {
        self.uppers.iter().copied().min().unwrap_or_default()
    }

    /// Moves `since` up as far as the pins allow.
    fn settle(&mut self) -> Epoch {
        let least = self.pins.keys().next().copied().unwrap_or(self.upper());
        self.since = self.since.max(least.min(self.upper()));
        self.since
    }
}

impl Shared {
    fn fail(&self, message: &str) {
        self.gate.lock().failed.get_or_insert_with(|| message.to_owned());
        self.moved();
    }

    /// Tells everybody who waits.
    fn moved(&self) {
        self.moved.notify_all();
        let wakers: Vec<Arc<Waker>> = self.wakers.lock().iter().filter_map(Weak::upgrade).collect();
        wakers.iter().for_each(|wake| wake());
    }
}

/// A new trace of rows of `schema` with `shards` writers; `key` names the columns that [`Snapshot::lookup`] compares.
#[must_use]
pub fn published(schema: SchemaRef, key: Option<Vec<usize>>, shards: usize) -> (Vec<Publisher>, TraceReader) {
    let gate = Gate { uppers: vec![Epoch(0); shards], since: Epoch(0), pins: BTreeMap::new(), failed: None };
    let shared = Arc::new(Shared {
        schema,
        key,
        gate: Mutex::new(gate),
        moved: Condvar::new(),
        shards: (0..shards).map(|_| Mutex::new(Shard::default())).collect(),
        wakers: Mutex::default(),
    });
    let writers = (0..shards).map(|shard| Publisher::new(Arc::clone(&shared), shard)).collect();
    (writers, TraceReader::new(shared))
}
