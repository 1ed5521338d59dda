//! A delta: rows with a signed multiplicity each (a Z-set over Arrow columns). Summed up, deltas are the collection.
//!
//! Append-only collections carry no multiplicities at all ([`Diffs::Ones`]): the cheap path is visible in the type.
//! Idea: Z-sets of DBSP (Budiu et al., 2023) and the difference collections of differential dataflow (McSherry et al., 2013).

use crate::{
    alike,
    hash::{UnsupportedType, hash_columns},
    key,
};
use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat, concat_batches, filter, filter_record_batch, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use std::collections::HashMap;

/// Pairs of rows that are compared at a time: their keys fit in a cache.
const PAIRS_AT_ONCE: usize = 8192;

/// The multiplicities of a delta's rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Diffs {
    /// Every row counts +1.
    Ones,
    /// One entry per row, no nulls.
    Each(Int64Array),
}

/// Rows and how often each is added (positive) or taken away (negative).
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// The rows; a batch without columns carries its number of rows.
    pub rows: RecordBatch,
    /// Their multiplicities.
    pub diffs: Diffs,
}

impl Delta {
    /// Rows that are only added.
    #[must_use]
    pub fn ones(rows: RecordBatch) -> Delta {
        Delta { rows, diffs: Diffs::Ones }
    }

    /// Rows with a multiplicity each. `diffs` must have one entry per row and no nulls.
    #[must_use]
    pub fn new(rows: RecordBatch, diffs: Int64Array) -> Delta {
        debug_assert_eq!(rows.num_rows(), diffs.len());
        debug_assert_eq!(diffs.null_count(), 0);
        Delta { rows, diffs: Diffs::Each(diffs) }
    }

    /// No rows.
    #[must_use]
    pub fn empty(schema: SchemaRef) -> Delta {
        Delta::ones(RecordBatch::new_empty(schema))
    }

    /// Number of rows, whatever their multiplicity.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.num_rows() == 0
    }

    /// Multiplicity of one row.
    #[must_use]
    pub fn diff(&self, row: usize) -> i64 {
        match &self.diffs {
            Diffs::Ones => 1,
            Diffs::Each(diffs) => diffs.value(row),
        }
    }

    /// The multiplicities as an array, made if need be.
    #[must_use]
    pub fn diffs_array(&self) -> Int64Array {
        match &self.diffs {
            Diffs::Ones => Int64Array::from_value(1, self.n_rows()),
            Diffs::Each(diffs) => diffs.clone(),
        }
    }

    /// The same multiplicities over other rows (a projection).
    #[must_use]
    pub fn with_rows(&self, rows: RecordBatch) -> Delta {
        debug_assert_eq!(rows.num_rows(), self.n_rows());
        Delta { rows, diffs: self.diffs.clone() }
    }

    /// Each multiplicity with the other sign.
    #[must_use]
    pub fn negate(&self) -> Delta {
        let diffs = match &self.diffs {
            Diffs::Ones => Int64Array::from_value(-1, self.n_rows()),
            Diffs::Each(diffs) => diffs.unary(i64::wrapping_neg),
        };
        Delta::new(self.rows.clone(), diffs)
    }

    /// `len` rows from `offset` on, without copying.
    #[must_use]
    pub fn slice(&self, offset: usize, len: usize) -> Delta {
        let diffs = match &self.diffs {
            Diffs::Ones => Diffs::Ones,
            Diffs::Each(diffs) => Diffs::Each(diffs.slice(offset, len)),
        };
        Delta { rows: self.rows.slice(offset, len), diffs }
    }

    /// Pieces of at most `rows_max` rows, in order.
    pub fn chunks(&self, rows_max: usize) -> impl Iterator<Item = Delta> + '_ {
        let n = self.n_rows();
        (0..n).step_by(rows_max.max(1)).map(move |at| self.slice(at, rows_max.min(n - at)))
    }

    /// The rows of these numbers, in that order.
    pub fn take(&self, rows: &UInt32Array) -> Result<Delta, ArrowError> {
        let diffs = match &self.diffs {
            Diffs::Ones => Diffs::Ones,
            Diffs::Each(diffs) => Diffs::Each(as_int64(&take(diffs, rows, None)?)),
        };
        Ok(Delta { rows: take_rows(&self.rows, rows)?, diffs })
    }

    /// The rows where `keep` is true.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Delta, ArrowError> {
        let diffs = match &self.diffs {
            Diffs::Ones => Diffs::Ones,
            Diffs::Each(diffs) => Diffs::Each(as_int64(&filter(diffs, keep)?)),
        };
        Ok(Delta { rows: filter_record_batch(&self.rows, keep)?, diffs })
    }

    /// All deltas one after the other; `schema` is theirs.
    pub fn concat(schema: &SchemaRef, deltas: &[Delta]) -> Result<Delta, ArrowError> {
        if let [one] = deltas {
            return Ok(one.clone());
        }
        let rows = concat_batches(schema, deltas.iter().map(|d| &d.rows))?;
        if deltas.iter().all(|d| d.diffs == Diffs::Ones) {
            return Ok(Delta::ones(rows));
        }
        let diffs: Vec<Int64Array> = deltas.iter().map(Delta::diffs_array).collect();
        let diffs: Vec<&dyn Array> = diffs.iter().map(|d| d as &dyn Array).collect();
        Ok(Delta::new(rows, as_int64(&concat(&diffs)?)))
    }

    /// Rows that are the same as they are shown summed into one, zeros left out; the first occurrence keeps its place, so the order is a function of the input.
    /// Cost: one hash and one map entry per row; rows are compared, and copied, only where hashes agree or a row goes.
    pub fn consolidate(&self) -> Result<Delta, UnsupportedType> {
        self.consolidate_hashed(hash_columns(self.rows.columns(), self.n_rows())?).map(|(delta, _)| delta)
    }

    /// The same of rows whose hashes ([`hash_columns`] over all columns) are known, with the hashes of what is left.
    ///
    /// # Panics
    /// When there are not as many hashes as rows.
    pub fn consolidate_hashed(&self, mut hashes: Vec<u64>) -> Result<(Delta, Vec<u64>), UnsupportedType> {
        let n = self.n_rows();
        assert_eq!(hashes.len(), n, "a hash for each row");
        let pairs = alike::pairs(&hashes);
        let mut sums: Vec<i64> = (0..n).map(|row| self.diff(row)).collect();
        let mut others = self.sum_pairs(&pairs, &mut sums)?;
        others.sort_unstable();
        self.sum_alike(&others, &mut sums)?;
        let mut row = 0;
        hashes.retain(|_| {
            row += 1;
            sums[row - 1] != 0
        });
        Ok((self.with_sums(sums)?, hashes))
    }

    /// Moves the multiplicity of each pair's second row to its first if they are equal; the second rows of the others.
    fn sum_pairs(&self, pairs: &[(u32, u32)], sums: &mut [i64]) -> Result<Vec<u32>, UnsupportedType> {
        let mut others = vec![];
        for pairs in pairs.chunks(PAIRS_AT_ONCE) {
            let (first, second): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
            let keys = |rows: Vec<u32>| {
                let rows = take_rows(&self.rows, &UInt32Array::from(rows)).expect("row numbers lie within the batch");
                key::encode_exact(rows.columns(), pairs.len())
            };
            let (a, b) = (keys(first)?, keys(second)?);
            for (at, (first, second)) in pairs.iter().enumerate() {
                if a.get(at) == b.get(at) {
                    sums[*first as usize] += std::mem::take(&mut sums[*second as usize]);
                } else {
                    others.push(*second);
                }
            }
        }
        Ok(others)
    }

    /// Moves the sums of equal rows among these to the first of them.
    fn sum_alike(&self, alike: &[u32], sums: &mut [i64]) -> Result<(), UnsupportedType> {
        if alike.is_empty() {
            return Ok(());
        }
        let some = take_rows(&self.rows, &UInt32Array::from(alike.to_vec())).expect("row numbers lie within the batch");
        let keys = key::encode_exact(some.columns(), alike.len())?;
        let mut first = HashMap::with_capacity_and_hasher(alike.len(), foldhash::fast::FixedState::with_seed(0));
        for (row, key) in alike.iter().zip(keys.iter()) {
            let to = *first.entry(key).or_insert(*row) as usize;
            if to != *row as usize {
                sums[to] += std::mem::take(&mut sums[*row as usize]);
            }
        }
        Ok(())
    }

    /// The rows with these multiplicities, without those at zero.
    fn with_sums(&self, mut sums: Vec<i64>) -> Result<Delta, UnsupportedType> {
        let kept: Vec<u32> = (0u32..).zip(&sums).filter(|(_, diff)| **diff != 0).map(|(row, _)| row).collect();
        let rows = if kept.len() == sums.len() {
            self.rows.clone()
        } else {
            sums.retain(|diff| *diff != 0);
            take_rows(&self.rows, &UInt32Array::from(kept)).expect("row numbers lie within the batch")
        };
        Ok(if sums.iter().all(|diff| *diff == 1) { Delta::ones(rows) } else { Delta::new(rows, sums.into()) })
    }
}

/// The rows of these numbers. A batch without columns has as many rows as it says, and what is taken of it must say so, too.
fn take_rows(rows: &RecordBatch, numbers: &UInt32Array) -> Result<RecordBatch, ArrowError> {
    if rows.num_columns() > 0 {
        return take_record_batch(rows, numbers);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
    RecordBatch::try_new_with_options(rows.schema(), vec![], &options)
}

fn as_int64(array: &arrow::array::ArrayRef) -> Int64Array {
    arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(array).clone()
}
