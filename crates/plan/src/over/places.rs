//! Where each row stands: its partition and its peers.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::compute::partition;
use arrow::datatypes::{DataType, Float32Type, Float64Type, IntervalMonthDayNanoType};
use regauge_types::key::{KeyOrder, encode_ordered};

use super::{Before, Sorted, column};
use crate::flowplan::OrderKey;
use crate::functions::temporal::interval_key;
use crate::functions::{EvalError, EvalResult};

/// Which rows differ from the one before them, the first included; NULLs, NaNs and both zeros are equal.
///
/// # Errors
/// For a type without a place in keys.
pub fn boundaries(columns: &[ArrayRef], n: usize) -> EvalResult<Vec<bool>> {
    let mut differs = vec![false; n];
    if let Some(first) = differs.first_mut() {
        *first = true;
    }
    if columns.is_empty() || n < 2 {
        return Ok(differs);
    }
    let by_key = |ty: &DataType| ty.is_nested() || matches!(ty, DataType::Null | DataType::LargeUtf8);
    if columns.iter().any(|c| by_key(c.data_type())) {
        let keys = encode_ordered(columns, &vec![KeyOrder::default(); columns.len()], n)
            .map_err(|e| EvalError::new("0A000", e.to_string()))?;
        (1..n).for_each(|row| differs[row] = keys.get(row) != keys.get(row - 1));
        return Ok(differs);
    }
    let plain: Vec<ArrayRef> = columns.iter().map(comparable).collect();
    for range in partition(&plain)?.ranges() {
        differs[range.start] = true;
    }
    Ok(differs)
}

/// The positions that are true, then the number of them all.
#[must_use]
pub fn starts(differs: &[bool]) -> Vec<usize> {
    let mut starts: Vec<usize> = differs.iter().enumerate().filter(|(_, d)| **d).map(|(row, _)| row).collect();
    starts.push(differs.len());
    starts
}

/// The column with one form for values that are equal as keys.
fn comparable(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => Arc::new(
            column.as_primitive::<Float64Type>().unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v + 0.0 }),
        ),
        DataType::Float32 => Arc::new(
            column.as_primitive::<Float32Type>().unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 }),
        ),
        DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano) => {
            let keys = column.as_primitive::<IntervalMonthDayNanoType>().iter().map(|v| v.map(interval_key));
            Arc::new(keys.collect::<Decimal128Array>())
        }
        _ => Arc::clone(column),
    }
}

/// For each row the bounds of its part and of its peers, ends excluded.
pub(super) struct Places {
    /// First row of each part, then the number of rows.
    pub parts: Vec<usize>,
    /// First row of each group of peers, then the number of rows.
    pub groups: Vec<usize>,
    /// The part of each row.
    pub part: Vec<u32>,
    /// The group of each row.
    pub group: Vec<u32>,
    /// The first group of each part.
    pub first_group: Vec<usize>,
    /// What stands before each part.
    pub before: Vec<Before>,
}

impl Places {
    pub fn new(rows: &Sorted<'_>, order: &[OrderKey], n: usize) -> EvalResult<Places> {
        let keys = order.iter().map(|k| column(rows.columns, k.column).cloned()).collect::<EvalResult<Vec<_>>>()?;
        let mut differs = boundaries(&keys, n)?;
        let sound = rows.parts.first() == Some(&0) && rows.parts.windows(2).all(|w| w[0] <= w[1]);
        if !sound || keys.iter().any(|k| k.len() != n) {
            return Err(EvalError::internal("rows of window functions are not in parts"));
        }
        let parts: Vec<usize> = rows.parts.to_vec();
        parts.iter().filter(|start| **start < n).for_each(|start| differs[*start] = true);
        let groups = starts(&differs);
        let mut part = vec![0u32; n];
        let mut first_group = vec![0usize; parts.len().saturating_sub(1)];
        for (i, w) in parts.windows(2).enumerate() {
            part[w[0]..w[1]].fill(super::index(i));
            first_group[i] = groups.partition_point(|g| *g < w[0]);
        }
        let mut group = vec![0u32; n];
        for (i, w) in groups.windows(2).enumerate() {
            group[w[0]..w[1]].fill(super::index(i));
        }
        let before = rows.before.map_or_else(|| vec![Before::default(); first_group.len()], <[Before]>::to_vec);
        if before.len() != first_group.len() {
            return Err(EvalError::internal("parts of window functions and what stands before them differ in number"));
        }
        Ok(Places { parts, groups, part, group, first_group, before })
    }

    pub fn n_rows(&self) -> usize {
        self.part.len()
    }
    /// The part of a row, its end excluded.
    #[inline]
    pub fn part_of(&self, row: usize) -> (usize, usize) {
        let p = self.part[row] as usize;
        (self.parts[p], self.parts[p + 1])
    }
    /// The peers of a row.
    #[inline]
    pub fn peers_of(&self, row: usize) -> (usize, usize) {
        let g = self.group[row] as usize;
        (self.groups[g], self.groups[g + 1])
    }
    /// The groups of a row's part: first, and one behind the last.
    #[inline]
    pub fn groups_of(&self, row: usize) -> (usize, usize) {
        let p = self.part[row] as usize;
        let end = self.first_group.get(p + 1).copied().unwrap_or(self.groups.len() - 1);
        (self.first_group[p], end)
    }
}
