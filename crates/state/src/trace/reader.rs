//! Readers: they pin an epoch, take pointers, and do their work outside every lock.

use super::{
    RowError, Shared, TraceError,
    layer::{Layer, concat, merge, sum, sum_errors},
    shard::Shard,
};
use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::array_value_to_string;
use parking_lot::Mutex;
use regauge_types::{Delta, Diffs, Digest, Epoch, hash::hash_columns, key};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// The reading side of a trace; cloned freely.
#[derive(Clone)]
pub struct TraceReader {
    pub(super) shared: Arc<Shared>,
    /// Rows that fail are left out, instead of making the others unreadable.
    pub(super) diverts: bool,
}

/// What one epoch changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The epoch.
    pub epoch: Epoch,
    /// Rows, consolidated.
    pub rows: Delta,
    /// Errors of rows.
    pub errors: Vec<(RowError, i64)>,
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
        TraceReader { shared, diverts: false }
    }

    /// The same trace, for those who take the rows that have a value and leave the others aside: reads do not fail by them, and who
    /// follows does not hear of them. [`TraceReader::errors`] and [`Snapshot::errors`] still tell them.
    #[must_use]
    pub fn diverting(&self) -> TraceReader {
        TraceReader { shared: Arc::clone(&self.shared), diverts: true }
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
        let (schema, pieces) = (&self.shared.schema, sum(&self.shared.schema, &layers)?);
        for piece in &pieces {
            self.refuse_negative(piece, at)?;
        }
        let errors = sum_errors(layers.iter().flat_map(|l| &l.errors));
        let (schema, key) = (Arc::clone(schema), self.shared.key.clone());
        Ok(Snapshot { pin, schema, pieces, whole: OnceLock::new(), errors, diverts: self.diverts, key })
    }

    /// Errors of the rows at an epoch with since <= at <= upper; no row is looked at.
    pub fn errors(&self, at: Epoch) -> Result<Vec<(RowError, i64)>, TraceError> {
        let _pin = self.pin(at)?;
        let layers = self.layers(at, |layer| layer.epoch <= at && !layer.errors.is_empty())?;
        Ok(sum_errors(layers.iter().flat_map(|l| &l.errors)))
    }

    /// Rows at an epoch whose key columns equal the one row of `key` (in the order of the trace's key); none but the layers' few
    /// candidates are looked at. Fails as [`TraceReader::snapshot`] and [`Snapshot::batches`] do, for these rows.
    pub fn lookup(&self, at: Epoch, key: &[ArrayRef]) -> Result<RecordBatch, TraceError> {
        let _pin = self.pin(at)?;
        let columns = self.shared.key.as_ref().filter(|k| k.len() == key.len() && key.iter().all(|c| c.len() == 1));
        let columns = columns.ok_or(TraceError::NoKey { n_columns: key.len() })?;
        let layers = self.layers(at, |layer| layer.epoch <= at)?;
        if !self.diverts {
            refuse_errors(&sum_errors(layers.iter().flat_map(|l| &l.errors)))?;
        }
        let hash = hash_columns(key, 1)?.first().copied().unwrap_or_default();
        let mut found = vec![];
        for layer in &layers {
            let rows = layer.with_key_hash(columns, hash)?;
            found.extend(rows.into_iter().filter_map(|row| layer.row(row)));
        }
        let found = concat(&self.shared.schema, &found)?.consolidate()?;
        let found = with_key(&found, columns, key)?;
        self.refuse_negative(&found, at)?;
        repeat(&found)
    }

    fn refuse_negative(&self, rows: &Delta, at: Epoch) -> Result<(), TraceError> {
        if rows.diffs == Diffs::Ones {
            return Ok(());
        }
        let Some(row) = (0..rows.n_rows()).find(|row| rows.diff(*row) < 0) else { return Ok(()) };
        let error = TraceError::Negative { row: show(&rows.rows, row)?, multiplicity: rows.diff(row), epoch: at };
        self.fail(&error.to_string());
        Err(error)
    }

    /// What the epochs after `after` up to `up_to` changed, ascending; epochs without a change are left out.
    pub fn changes(&self, after: Epoch, up_to: Epoch) -> Result<Vec<Change>, TraceError> {
        let _pin = self.pin(after)?;
        let mut epochs: BTreeMap<Epoch, Vec<Arc<Layer>>> = BTreeMap::new();
        for layer in self.layers(up_to, |layer| layer.epoch > after && layer.epoch <= up_to)? {
            epochs.entry(layer.epoch).or_default().push(layer);
        }
        let merged = epochs.into_values().filter_map(|layers| merge(&self.shared.schema, &layers).transpose());
        let wanted = merged.filter(|layer| layer.as_ref().map_or(true, |l| !l.is_empty()));
        let change = |l: Layer| Ok(Change { epoch: l.epoch, rows: concat(&self.shared.schema, &l.pieces)?, errors: l.errors });
        wanted.map(|layer| change(layer?)).collect()
    }

    /// Number of layers and of stored rows, of all shards.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.shared.shards.iter().map(|shard| shard.lock()).fold((0, 0), |(layers, rows), shard| {
            (layers + shard.layers.len(), rows + shard.layers.iter().map(|l| l.n_rows()).sum::<usize>())
        })
    }

    /// Bytes of memory held by all shards: rows, hashes and look-up indexes.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.shared.shards.iter().map(|shard| shard.lock().layers.iter().map(|l| l.n_bytes()).sum::<usize>()).sum()
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
    schema: SchemaRef,
    pieces: Vec<Delta>,
    whole: OnceLock<Delta>,
    errors: Vec<(RowError, i64)>,
    diverts: bool,
    key: Option<Vec<usize>>,
}

impl Snapshot {
    /// The epoch.
    #[must_use]
    pub fn at(&self) -> Epoch {
        self.pin.at()
    }

    /// Errors of rows, summed.
    #[must_use]
    pub fn errors(&self) -> &[(RowError, i64)] {
        &self.errors
    }

    /// The rows with their multiplicities, whether or not there are errors: what another version builds on, with [`Self::errors`].
    #[must_use]
    pub fn pieces(&self) -> &[Delta] {
        &self.pieces
    }

    /// As [`Self::pieces`], in one; copied if they are several.
    pub fn net(&self) -> Result<&Delta, TraceError> {
        if let Some(whole) = self.whole.get() {
            return Ok(whole);
        }
        let whole = concat(&self.schema, &self.pieces)?;
        Ok(self.whole.get_or_init(|| whole))
    }

    /// Rows, each as often as it is there. Any error in the result fails this.
    pub fn batches(&self) -> Result<Vec<RecordBatch>, TraceError> {
        self.healthy()?;
        self.pieces.iter().filter(|p| !p.is_empty()).map(repeat).collect()
    }

    /// Rows whose key columns equal the one row of `key` (in the order of the trace's key). Cost: all rows are looked at; see
    /// [`TraceReader::lookup`].
    pub fn lookup(&self, key: &[ArrayRef]) -> Result<RecordBatch, TraceError> {
        self.healthy()?;
        let columns = self.key.as_ref().filter(|k| k.len() == key.len() && key.iter().all(|c| c.len() == 1));
        let columns = columns.ok_or(TraceError::NoKey { n_columns: key.len() })?;
        repeat(&with_key(self.net()?, columns, key)?)
    }

    /// Digest of the rows: a function of the contents only (I9).
    pub fn digest(&self) -> Result<Digest, TraceError> {
        self.healthy()?;
        let mut digest = Digest::default();
        for piece in &self.pieces {
            digest.add_delta(piece)?;
        }
        Ok(digest)
    }

    fn healthy(&self) -> Result<(), TraceError> {
        if self.diverts { Ok(()) } else { refuse_errors(&self.errors) }
    }
}

fn refuse_errors(errors: &[(RowError, i64)]) -> Result<(), TraceError> {
    match errors.first() {
        None => Ok(()),
        Some((error, _)) => Err(TraceError::Errored { message: error.to_string(), n: errors.iter().map(|(_, n)| n).sum() }),
    }
}

/// The rows with this key.
fn with_key(rows: &Delta, columns: &[usize], key: &[ArrayRef]) -> Result<Delta, TraceError> {
    let mine: Vec<ArrayRef> = columns.iter().map(|c| Arc::clone(rows.rows.column(*c))).collect();
    let (wanted, mine) = (key::encode(key, 1)?, key::encode(&mine, rows.n_rows())?);
    let same: UInt32Array = (0u32..).zip(mine.iter()).filter(|(_, k)| *k == wanted.get(0)).map(|(row, _)| row).collect();
    Ok(rows.take(&same)?)
}

/// Each row as often as it is there.
fn repeat(rows: &Delta) -> Result<RecordBatch, TraceError> {
    if rows.diffs == Diffs::Ones {
        return Ok(rows.rows.clone());
    }
    let indices = (0..rows.n_rows()).flat_map(|row| {
        let n = usize::try_from(rows.diff(row)).unwrap_or(0);
        std::iter::repeat_n(u32::try_from(row).expect("a batch has fewer than 2^32 rows"), n)
    });
    Ok(take_record_batch(&rows.rows, &indices.collect::<UInt32Array>())?)
}

fn show(rows: &RecordBatch, row: usize) -> Result<String, TraceError> {
    let values = rows.columns().iter().map(|c| array_value_to_string(c, row)).collect::<Result<Vec<_>, _>>()?;
    Ok(values.join(", "))
}
