//! What operators share: schemas by position, batches without columns, bounded emission, and the set of what an epoch touched.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use regauge_state::{Bits, Segments};
use regauge_types::{Delta, Diffs};

use crate::operator::{FlowError, Out};

/// Most rows of one emitted delta: what the caches hold, and the unit in which live work gets its turn beside a rebuild.
pub(crate) const ROWS_MAX: usize = 8192;

/// The schema of a node's output: columns are positions, every field is nullable.
pub(crate) fn schema_of(types: &[DataType]) -> SchemaRef {
    let fields: Vec<Field> = types.iter().enumerate().map(|(i, ty)| Field::new(format!("c{i}"), ty.clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

/// A batch of `n_rows` rows, also when there are no columns.
pub(crate) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, n_rows: usize) -> Result<RecordBatch, FlowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The diffs of a delta as a slice; `None` for +1 each.
pub(crate) fn diffs_of(delta: &Delta) -> Option<&[i64]> {
    match &delta.diffs {
        Diffs::Ones => None,
        Diffs::Each(diffs) => Some(diffs.values()),
    }
}

/// Emits rows in pieces of at most [`ROWS_MAX`]; `diffs: None` is +1 each, and diffs that are all 1 go out as that.
pub(crate) fn emit(
    out: &mut Out,
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    n_rows: usize,
    diffs: Option<Vec<i64>>,
) -> Result<(), FlowError> {
    if n_rows == 0 {
        return Ok(());
    }
    let rows = batch(schema, columns, n_rows)?;
    let delta = match diffs {
        Some(diffs) if diffs.iter().any(|d| *d != 1) => Delta::new(rows, Int64Array::from(diffs)),
        _ => Delta::ones(rows),
    };
    if n_rows <= ROWS_MAX {
        out.emit(delta);
    } else {
        delta.chunks(ROWS_MAX).for_each(|piece| out.emit(piece));
    }
    Ok(())
}

/// The rows `rows` of each column; without a copy if that is all of them in order.
pub(crate) fn take_all(columns: &[ArrayRef], rows: &UInt32Array) -> Result<Vec<ArrayRef>, FlowError> {
    let is_all = columns.first().is_some_and(|c| c.len() == rows.len()) && (0u32..).zip(rows.values()).all(|(i, row)| i == *row);
    if is_all && rows.null_count() == 0 {
        return Ok(columns.to_vec());
    }
    columns.iter().map(|c| Ok(take(c.as_ref(), rows, None)?)).collect()
}

/// Of the bytes that are held for so many slots, those of the slots in use.
pub(crate) fn in_use(held: usize, n_alive: usize, n_slots: usize) -> usize {
    let part = (held as u128) * (n_alive as u128) / (n_slots.max(1) as u128);
    usize::try_from(part).unwrap_or(usize::MAX)
}

/// The positions of a batch as u32.
pub(crate) fn all_rows(n_rows: usize) -> Vec<u32> {
    (0..u32::try_from(n_rows).expect("a batch has fewer than 2^32 rows")).collect()
}

/// A position as usize is a position as u32: batches are short.
pub(crate) fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a batch has fewer than 2^32 rows")
}

/// The ids touched in this epoch, in order of first touch, each once.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    list: Segments<u32>,
    marked: Bits,
    done: usize,
}

impl Touched {
    /// Marks an id; true the first time in this epoch.
    #[inline]
    pub(crate) fn mark(&mut self, id: u32) -> bool {
        let is_first = self.marked.insert(id);
        if is_first {
            self.list.push(id);
        }
        is_first
    }

    /// Ids marked in this epoch: the position of the next.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The next at most `n_max` ids and the position of the first of them; unmarked with that. Empty when all are handed out,
    /// and then the set is ready for the next epoch, and what a large one took is given back.
    pub(crate) fn next(&mut self, n_max: usize) -> (usize, Vec<u32>) {
        let from = self.done;
        let to = (from + n_max).min(self.list.len());
        let ids = self.list.range(from, to);
        ids.iter().for_each(|id| self.marked.remove(*id));
        self.done = to;
        if ids.is_empty() {
            self.list.clear();
            self.done = 0;
        }
        (from, ids)
    }

    /// Nothing was marked.
    pub(crate) fn forget(&mut self) {
        while !self.next(ROWS_MAX).1.is_empty() {}
    }

    /// Bytes of memory held.
    pub(crate) fn n_bytes(&self) -> usize {
        self.list.n_bytes() + self.marked.n_bytes()
    }
}

/// Rows where any of the columns is null.
pub(crate) fn has_null(columns: &[ArrayRef], row: usize) -> bool {
    columns.iter().any(|c| c.is_null(row))
}
