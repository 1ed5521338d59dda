//! Readers: they pin an epoch, take pointers, and do their work outside every lock.

use super::{
    Shared, TraceError,
    shard::{Layer, Shard, merge, sum_errors},
};
use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::util::display::array_value_to_string;
use parking_lot::Mutex;
use regauge_types::{Delta, Digest, Epoch, key};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The reading side of a trace; cloned freely.
#[derive(Clone)]
pub struct TraceReader {
    pub(super) shared: Arc<Shared>,
}

/// What one epoch changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The epoch.
    pub epoch: Epoch,
    /// Rows, consolidated.
    pub rows: Delta,
    /// Errors by message.
    pub errors: Vec<(String, i64)>,
}

/// Keeps an epoch, and all after it, readable.
pub struct Pin {
    shared: Arc<Shared>,
    at: Epoch,
}

impl Pin {
    /// The pinned epoch.
    #[must_use]
    pub fn at(&self) -> Epoch {
        self.at
    }

    /// Lets go of the epochs before `at`; never goes back.
    pub fn advance(&mut self, at: Epoch) {
        if at > self.at {
            let mut gate = self.shared.gate.lock();
            *gate.pins.entry(at).or_default() += 1;
            unpin(&mut gate.pins, self.at);
            self.at = at;
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        unpin(&mut self.shared.gate.lock().pins, self.at);
    }
}

fn unpin(pins: &mut BTreeMap<Epoch, usize>, at: Epoch) {
    if let Some(n) = pins.get_mut(&at) {
        *n -= 1;
        if *n == 0 {
            pins.remove(&at);
        }
    }
}

impl TraceReader {
    pub(super) fn new(shared: Arc<Shared>) -> TraceReader {
        TraceReader { shared }
    }

    /// The last epoch that is complete in all shards.
    #[must_use]
    pub fn upper(&self) -> Epoch {
        self.shared.gate.lock().upper()
    }

    /// The first epoch that can be read.
    #[must_use]
    pub fn since(&self) -> Epoch {
        self.shared.gate.lock().since
    }

    /// Why its version failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.gate.lock().failed.clone()
    }

    /// Makes every read say why the version failed; the first reason stays.
    pub fn fail(&self, message: &str) {
        self.shared.fail(message);
    }

    /// Blocks until `upper` is at least `at` or the time is up; where it stands then.
    pub fn wait(&self, at: Epoch, time: Duration) -> Result<Epoch, TraceError> {
        let mut gate = self.shared.gate.lock();
        self.shared.moved.wait_while_for(&mut gate, |gate| gate.upper() < at && gate.failed.is_none(), time);
        match &gate.failed {
            Some(why) => Err(TraceError::Failed(why.clone())),
            None => Ok(gate.upper()),
        }
    }

    /// Keeps `at` readable; `at` may lie ahead of `upper`, not before `since`.
    pub fn pin(&self, at: Epoch) -> Result<Pin, TraceError> {
        let mut gate = self.shared.gate.lock();
        if at < gate.since {
            return Err(TraceError::Compacted { at, since: gate.since });
        }
        *gate.pins.entry(at).or_default() += 1;
        Ok(Pin { shared: Arc::clone(&self.shared), at })
    }

    /// The contents at an epoch with since <= at <= upper. Fails when the version failed or a multiplicity is negative (then the
    /// version fails with it); errors of the rows are in [`Snapshot::errors`], and make its rows unreadable.
    pub fn snapshot(&self, at: Epoch) -> Result<Snapshot, TraceError> {
        let pin = self.pin(at)?;
        let layers = self.layers(at, |layer| layer.epoch <= at)?;
        let (rows, errors) = match merge(&self.shared.schema, &layers)? {
            Some(layer) => (layer.rows, layer.errors),
            None => (Delta::empty(Arc::clone(&self.shared.schema)), vec![]),
        };
        if let Some(row) = (0..rows.n_rows()).find(|row| rows.diff(*row) < 0) {
            let error = TraceError::Negative { row: show(&rows.rows, row)?, multiplicity: rows.diff(row), epoch: at };
            self.fail(&error.to_string());
            return Err(error);
        }
        Ok(Snapshot { pin, rows, errors, key: self.shared.key.clone() })
    }

    /// What the epochs after `after` up to `up_to` changed, ascending; epochs without a change are left out.
    pub fn changes(&self, after: Epoch, up_to: Epoch) -> Result<Vec<Change>, TraceError> {
        let _pin = self.pin(after)?;
        let mut epochs: BTreeMap<Epoch, Vec<Arc<Layer>>> = BTreeMap::new();
        for layer in self.layers(up_to, |layer| layer.epoch > after && layer.epoch <= up_to)? {
            epochs.entry(layer.epoch).or_default().push(layer);
        }
        let merged = epochs.into_values().filter_map(|layers| merge(&self.shared.schema, &layers).transpose());
        let changes = merged.map(|l| l.map(|l| Change { epoch: l.epoch, rows: l.rows, errors: l.errors }));
        changes.filter(|c| c.as_ref().map_or(true, |c| !c.rows.is_empty() || !c.errors.is_empty())).collect()
    }

    /// Number of layers and of stored rows, of all shards.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.shared.shards.iter().map(|shard| shard.lock()).fold((0, 0), |(layers, rows), shard| {
            (layers + shard.layers.len(), rows + shard.layers.iter().map(|l| l.rows.n_rows()).sum::<usize>())
        })
    }

    fn layers(&self, at: Epoch, wanted: impl Fn(&Layer) -> bool) -> Result<Vec<Arc<Layer>>, TraceError> {
        self.layers_of(at, self.shared.shards.iter(), wanted)
    }

    pub(super) fn layers_of<'a>(
        &self,
        at: Epoch,
        shards: impl Iterator<Item = &'a Mutex<Shard>>,
        wanted: impl Fn(&Layer) -> bool,
    ) -> Result<Vec<Arc<Layer>>, TraceError> {
        let (upper, failed) = {
            let gate = self.shared.gate.lock();
            (gate.upper(), gate.failed.clone())
        };
        if let Some(why) = failed {
            return Err(TraceError::Failed(why));
        }
        if at > upper {
            return Err(TraceError::NotYet { at, upper });
        }
        Ok(shards.flat_map(|shard| shard.lock().layers.iter().filter(|l| wanted(l)).cloned().collect::<Vec<_>>()).collect())
    }
}

/// The contents at one epoch; pinned while it lives.
pub struct Snapshot {
    pin: Pin,
    rows: Delta,
    errors: Vec<(String, i64)>,
    key: Option<Vec<usize>>,
}

impl Snapshot {
    /// The epoch.
    #[must_use]
    pub fn at(&self) -> Epoch {
        self.pin.at()
    }

    /// Errors by message.
    #[must_use]
    pub fn errors(&self) -> &[(String, i64)] {
        &self.errors
    }

    /// The rows with their multiplicities, whether or not there are errors: what another version builds on, with [`Self::errors`].
    #[must_use]
    pub fn net(&self) -> &Delta {
        &self.rows
    }

    /// Rows, each as often as it is there. Any error in the result fails this.
    pub fn batches(&self) -> Result<Vec<RecordBatch>, TraceError> {
        self.healthy()?;
        Ok(if self.rows.is_empty() { vec![] } else { vec![repeat(&self.rows, |_| true)?] })
    }

    /// Rows whose key columns equal the one row of `key` (in the order of the trace's key). Cost: all rows are looked at.
    pub fn lookup(&self, key: &[ArrayRef]) -> Result<RecordBatch, TraceError> {
        self.healthy()?;
        let columns = self.key.as_ref().filter(|k| k.len() == key.len() && key.iter().all(|c| c.len() == 1));
        let columns = columns.ok_or(TraceError::NoKey { n_columns: key.len() })?;
        let mine: Vec<ArrayRef> = columns.iter().map(|c| Arc::clone(self.rows.rows.column(*c))).collect();
        let (wanted, mine) = (key::encode(key, 1)?, key::encode(&mine, self.rows.n_rows())?);
        repeat(&self.rows, |row| mine.get(row) == wanted.get(0))
    }

    /// Digest of the rows: a function of the contents only (I9).
    pub fn digest(&self) -> Result<Digest, TraceError> {
        self.healthy()?;
        let mut digest = Digest::default();
        digest.add_delta(&self.rows)?;
        Ok(digest)
    }

    fn healthy(&self) -> Result<(), TraceError> {
        match sum_errors(self.errors.iter()).first() {
            None => Ok(()),
            Some((message, _)) => {
                Err(TraceError::Errored { message: message.clone(), n: self.errors.iter().map(|(_, n)| n).sum() })
            }
        }
    }
}

fn repeat(rows: &Delta, keep: impl Fn(usize) -> bool) -> Result<RecordBatch, TraceError> {
    let indices = (0..rows.n_rows()).filter(|row| keep(*row)).flat_map(|row| {
        let n = usize::try_from(rows.diff(row)).unwrap_or(0);
        std::iter::repeat_n(u32::try_from(row).expect("a batch has fewer than 2^32 rows"), n)
    });
    Ok(take_record_batch(&rows.rows, &indices.collect::<UInt32Array>())?)
}

fn show(rows: &RecordBatch, row: usize) -> Result<String, TraceError> {
    let values = rows.columns().iter().map(|c| array_value_to_string(c, row)).collect::<Result<Vec<_>, _>>()?;
    Ok(values.join(", "))
}
