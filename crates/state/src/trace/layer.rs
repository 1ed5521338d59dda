//! The changes of one epoch, or of neighbouring epochs, as immutable pieces of rows; and what layers sum up to.
//!
//! ```text
//!   only additions:   layers put end to end, no row is looked at or copied (small pieces are joined)
//!   otherwise:        base (the largest layer)   o o o x o o | o o o o | o x o o      x: cancelled by a row of the rest
//!                     rest, consolidated         +a -x +b -x                          only pieces with an x are copied
//! ```
//! Invariant: within a layer no row stands with both signs. A row that was added twice may stand twice with +1 or once with +2.
//! Cost of a sum: the rows that are not in the base, and the hashes of the base, which are computed once; when the rest is not
//! much smaller than the base, everything is hashed. A look-up by key costs one probe a layer; the index is made by the first one.

use super::{RowError, TraceError, held::Held, key_index::KeyIndex};
use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use arrow::datatypes::SchemaRef;
use hashbrown::HashMap;
use regauge_types::{Delta, Diffs, Epoch, hash::hash_columns, key};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

/// Pieces with fewer rows are joined with their neighbours.
const PIECE_ROWS_MIN: usize = 8192;
/// Pieces of what was consolidated: small enough that a cancelled row makes little to be copied.
const PIECE_ROWS_MAX: usize = 65_536;
/// A rest this many times smaller than the base is looked up in it, a larger one is consolidated with it.
const BASE_RATIO: usize = 4;

/// A merged layer of more rows than this does not keep their hashes until they are asked for: eight bytes a row are much of what a small row is.
const HASHES_KEPT_MAX: usize = 1 << 18;

type Frozen = foldhash::fast::FixedState;

/// See the module.
pub(super) struct Layer {
    pub epoch: Epoch,
    pub pieces: Vec<Delta>,
    pub errors: Vec<(RowError, i64)>,
    n_rows: usize,
    /// Of memory that the rows hold.
    n_bytes: OnceLock<usize>,
    /// Of each row, over all columns.
    hashes: OnceLock<Vec<u64>>,
    by_key: OnceLock<KeyIndex>,
}

impl Layer {
    /// A layer of deltas of one epoch, in whatever state they come.
    pub fn new(schema: &SchemaRef, epoch: Epoch, deltas: Vec<Delta>, errors: Vec<(RowError, i64)>) -> Result<Layer, TraceError> {
        let pieces = if only_adds(&deltas) { joined(schema, deltas)? } else { consolidated(schema, &deltas)? };
        Ok(Layer::of(epoch, pieces, errors))
    }

    fn of(epoch: Epoch, pieces: Vec<Delta>, errors: Vec<(RowError, i64)>) -> Layer {
        let n_rows = pieces.iter().map(Delta::n_rows).sum();
        Layer { epoch, pieces, errors, n_rows, n_bytes: OnceLock::new(), hashes: OnceLock::new(), by_key: OnceLock::new() }
    }

    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// What it weighs when it is decided what to merge.
    pub fn size(&self) -> usize {
        self.n_rows + self.errors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.size() == 0
    }

    /// Bytes of memory held: rows, hashes and index. What pieces share is counted once.
    pub fn n_bytes(&self) -> usize {
        let count = || {
            let mut held = Held::default();
            for piece in &self.pieces {
                piece.rows.columns().iter().for_each(|column| held.add(column));
                if let Diffs::Each(diffs) = &piece.diffs {
                    held.add(&(Arc::new(diffs.clone()) as ArrayRef));
                }
            }
            held.bytes()
        };
        let rows = *self.n_bytes.get_or_init(count);
        rows + self.hashes.get().map_or(0, |h| h.capacity() * 8) + self.by_key.get().map_or(0, KeyIndex::n_bytes)
    }

    fn hashes(&self) -> Result<&Vec<u64>, TraceError> {
        if let Some(known) = self.hashes.get() {
            return Ok(known);
        }
        let all = self.hashed()?;
        Ok(self.hashes.get_or_init(|| all))
    }

    fn hashed(&self) -> Result<Vec<u64>, TraceError> {
        let mut all = Vec::with_capacity(self.n_rows);
        for piece in &self.pieces {
            all.extend(hash_columns(piece.rows.columns(), piece.n_rows())?);
        }
        Ok(all)
    }

    /// Rows whose key columns may hash like this; the caller compares keys.
    pub fn with_key_hash(&self, columns: &[usize], hash: u64) -> Result<Vec<u32>, TraceError> {
        Ok(self.by_key(columns)?.rows(hash).collect())
    }

    /// Makes the index by key ahead of the first look-up, if these layers have been looked up in.
    pub fn index_as(&self, columns: Option<&[usize]>, layers: &[Arc<Layer>]) -> Result<(), TraceError> {
        let Some(columns) = columns.filter(|_| layers.iter().any(|l| l.by_key.get().is_some())) else { return Ok(()) };
        self.by_key(columns).map(drop)
    }

    fn by_key(&self, columns: &[usize]) -> Result<&KeyIndex, TraceError> {
        if let Some(index) = self.by_key.get() {
            return Ok(index);
        }
        let key = |piece: &Delta| columns.iter().map(|c| Arc::clone(piece.rows.column(*c))).collect();
        let index = KeyIndex::new(self.n_rows, self.pieces.iter().map(|piece| (key(piece), piece.n_rows())))?;
        Ok(self.by_key.get_or_init(|| index))
    }

    /// One row as a delta.
    pub fn row(&self, row: u32) -> Option<Delta> {
        let mut at = row as usize;
        for piece in &self.pieces {
            if at < piece.n_rows() {
                return Some(piece.slice(at, 1));
            }
            at -= piece.n_rows();
        }
        None
    }
}

/// Whether nothing is taken away and nothing counted.
fn only_adds(deltas: &[Delta]) -> bool {
    deltas.iter().all(|d| d.diffs == Diffs::Ones)
}

/// Deltas as one, or none when there are no rows.
pub(super) fn concat(schema: &SchemaRef, pieces: &[Delta]) -> Result<Delta, TraceError> {
    Ok(if pieces.is_empty() { Delta::empty(Arc::clone(schema)) } else { Delta::concat(schema, pieces)? })
}

fn consolidated(schema: &SchemaRef, deltas: &[Delta]) -> Result<Vec<Delta>, TraceError> {
    Ok(concat(schema, deltas)?.consolidate()?.chunks(PIECE_ROWS_MAX).collect())
}

/// The same rows in pieces that are not tiny; a large piece stays as it is.
fn joined(schema: &SchemaRef, pieces: Vec<Delta>) -> Result<Vec<Delta>, TraceError> {
    let (mut out, mut waiting, mut n_waiting) = (Vec::with_capacity(pieces.len()), Vec::new(), 0);
    let flush = |waiting: &mut Vec<Delta>, n_waiting: &mut usize, out: &mut Vec<Delta>| -> Result<(), TraceError> {
        if *n_waiting > 0 {
            out.push(Delta::concat(schema, waiting)?);
        }
        waiting.clear();
        *n_waiting = 0;
        Ok(())
    };
    for piece in pieces.into_iter().filter(|p| !p.is_empty()) {
        if piece.n_rows() >= PIECE_ROWS_MIN {
            flush(&mut waiting, &mut n_waiting, &mut out)?;
            out.push(piece);
            continue;
        }
        n_waiting += piece.n_rows();
        waiting.push(piece);
        if n_waiting >= PIECE_ROWS_MIN {
            flush(&mut waiting, &mut n_waiting, &mut out)?;
        }
    }
    flush(&mut waiting, &mut n_waiting, &mut out)?;
    Ok(out)
}

/// Sums of equal errors, zeros left out, in their order.
pub(super) fn sum_errors<'a>(errors: impl Iterator<Item = &'a (RowError, i64)>) -> Vec<(RowError, i64)> {
    let mut sums: BTreeMap<&RowError, i64> = BTreeMap::new();
    errors.for_each(|(error, diff)| *sums.entry(error).or_default() += diff);
    sums.into_iter().filter(|(_, diff)| *diff != 0).map(|(error, diff)| (error.clone(), diff)).collect()
}

/// Layers as one, under the last one's epoch; what cancels out is gone. None for no layers. A row is hashed by the first merge that it is in.
pub(super) fn merge(schema: &SchemaRef, layers: &[Arc<Layer>]) -> Result<Option<Layer>, TraceError> {
    let Some(last) = layers.last() else { return Ok(None) };
    let pieces: Vec<Delta> = layers.iter().flat_map(|l| l.pieces.iter().cloned()).collect();
    let errors = sum_errors(layers.iter().flat_map(|l| &l.errors));
    if only_adds(&pieces) {
        return Layer::new(schema, last.epoch, pieces, errors).map(Some);
    }
    let mut hashes = Vec::with_capacity(layers.iter().map(|l| l.n_rows).sum());
    for layer in layers {
        match layer.hashes.get() {
            Some(known) => hashes.extend_from_slice(known),
            None => hashes.extend(layer.hashed()?),
        }
    }
    let (rows, mut hashes) = concat(schema, &pieces)?.consolidate_hashed(hashes)?;
    let merged = Layer::of(last.epoch, rows.chunks(PIECE_ROWS_MAX).collect(), errors);
    if merged.n_rows <= HASHES_KEPT_MAX {
        hashes.shrink_to_fit();
        let _ = merged.hashes.set(hashes);
    }
    Ok(Some(merged))
}

/// The rows that layers sum up to, in pieces.
pub(super) fn sum(schema: &SchemaRef, layers: &[Arc<Layer>]) -> Result<Vec<Delta>, TraceError> {
    if layers.iter().all(|l| only_adds(&l.pieces)) {
        return Ok(layers.iter().flat_map(|l| l.pieces.iter().cloned()).collect());
    }
    let Some(at) = (0..layers.len()).max_by_key(|i| layers[*i].n_rows) else { return Ok(vec![]) };
    let others = || layers.iter().enumerate().filter(|(i, _)| *i != at).flat_map(|(_, l)| l.pieces.iter().cloned());
    let base = &layers[at];
    let n_others: usize = others().map(|d| d.n_rows()).sum();
    if n_others.saturating_mul(BASE_RATIO) > base.n_rows {
        let all: Vec<Delta> = base.pieces.iter().cloned().chain(others()).collect();
        return consolidated(schema, &all);
    }
    let rest = concat(schema, &others().collect::<Vec<_>>())?.consolidate()?;
    cancel(base, &rest)
}

/// Rows by their hash, those of one hash in order.
struct ByHash {
    first: HashMap<u64, u32, Frozen>,
    /// The next row of the same hash; [`NO_ROW`] for none.
    next: Vec<u32>,
}

/// No row has this number.
const NO_ROW: u32 = u32::MAX;

impl ByHash {
    fn new(hashes: &[u64]) -> ByHash {
        let mut first = HashMap::with_capacity_and_hasher(hashes.len(), Frozen::with_seed(0));
        let mut next = vec![NO_ROW; hashes.len()];
        for (at, hash) in hashes.iter().enumerate().rev() {
            let row = u32::try_from(at).expect("a batch has fewer than 2^32 rows");
            next[at] = first.insert(*hash, row).unwrap_or(NO_ROW);
        }
        ByHash { first, next }
    }

    fn rows(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let first = self.first.get(&hash).copied();
        std::iter::successors(first, |row| Some(self.next[*row as usize]).filter(|next| *next != NO_ROW))
    }
}

/// A base and a much smaller consolidated rest.
fn cancel(base: &Layer, rest: &Delta) -> Result<Vec<Delta>, TraceError> {
    let of_rest = hash_columns(rest.rows.columns(), rest.n_rows())?;
    let by_hash = ByHash::new(&of_rest);
    let mut left: Vec<i64> = (0..rest.n_rows()).map(|row| rest.diff(row)).collect();
    let hashes = base.hashes()?;
    let (mut out, mut first) = (Vec::with_capacity(base.pieces.len() + 1), 0);
    for piece in &base.pieces {
        let of_piece = &hashes[first..first + piece.n_rows()];
        first += piece.n_rows();
        out.extend(cancel_piece(piece, of_piece, rest, &by_hash, &mut left)?);
    }
    let kept: UInt32Array = (0u32..).zip(&left).filter(|(_, d)| **d != 0).map(|(row, _)| row).collect::<Vec<_>>().into();
    if !kept.is_empty() {
        let rows = Delta::ones(rest.rows.clone()).take(&kept)?.rows;
        left.retain(|d| *d != 0);
        out.push(if left.iter().all(|d| *d == 1) { Delta::ones(rows) } else { Delta::new(rows, Int64Array::from(left)) });
    }
    Ok(out)
}

/// A piece of the base without what rows of the rest of opposite sign cancel; those are used up in `left`.
fn cancel_piece(
    piece: &Delta,
    hashes: &[u64],
    rest: &Delta,
    by_hash: &ByHash,
    left: &mut [i64],
) -> Result<Option<Delta>, TraceError> {
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for (row, hash) in (0u32..).zip(hashes) {
        for other in by_hash.rows(*hash) {
            let (a, b) = (piece.diff(row as usize), left[other as usize]);
            if a.signum() * b.signum() < 0 {
                mine.push(row);
                theirs.push(other);
            }
        }
    }
    if mine.is_empty() {
        return Ok(Some(piece.clone()));
    }
    let columns = |of: &Delta, rows: &[u32]| -> Result<Vec<ArrayRef>, TraceError> {
        Ok(Delta::ones(of.rows.clone()).take(&UInt32Array::from(rows.to_vec()))?.rows.columns().to_vec())
    };
    let (a, b) = (columns(piece, &mine)?, columns(rest, &theirs)?);
    let (a, b) = (key::encode_exact(&a, mine.len())?, key::encode_exact(&b, mine.len())?);
    let mut diffs: Vec<i64> = (0..piece.n_rows()).map(|row| piece.diff(row)).collect();
    for (pair, (row, other)) in mine.iter().zip(&theirs).enumerate() {
        let (own, theirs) = (&mut diffs[*row as usize], &mut left[*other as usize]);
        if own.signum() * theirs.signum() < 0 && a.get(pair) == b.get(pair) {
            let n = own.abs().min(theirs.abs()) * own.signum();
            *own -= n;
            *theirs += n;
        }
    }
    let kept: UInt32Array = (0u32..).zip(&diffs).filter(|(_, d)| **d != 0).map(|(row, _)| row).collect::<Vec<_>>().into();
    diffs.retain(|d| *d != 0);
    if diffs.is_empty() {
        return Ok(None);
    }
    let rows = Delta::ones(piece.rows.clone()).take(&kept)?.rows;
    Ok(Some(if diffs.iter().all(|d| *d == 1) { Delta::ones(rows) } else { Delta::new(rows, Int64Array::from(diffs)) }))
}
