//! Values of other rows: lag and lead by position, first, last and nth by frame.

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::Int32Type;

use super::frame::Frames;
use super::places::Places;
use super::{Computed, index};
use crate::functions::{EvalError, EvalResult};

/// lag or lead.
pub(super) fn neighbour(
    is_lag: bool,
    value: &ArrayRef,
    offset: Option<&ArrayRef>,
    default: Option<&ArrayRef>,
    places: &Places,
) -> EvalResult<Computed> {
    let offsets = match offset {
        Some(o) => Some(o.as_primitive_opt::<Int32Type>().ok_or_else(|| EvalError::internal("an offset is an integer"))?),
        None => None,
    };
    let n = places.n_rows();
    /// Whose value a row gets.
    enum From {
        Row(u32),
        Default,
        Null,
    }
    let of = |row: usize| {
        let by = match offsets {
            None => 1,
            Some(o) if o.is_null(row) => return From::Null,
            Some(o) => i64::from(o.value(row)),
        };
        let by = if is_lag { -by } else { by };
        let (start, end) = places.part_of(row);
        let at = i64::try_from(row).unwrap_or(i64::MAX) + by;
        match usize::try_from(at) {
            Ok(at) if (start..end).contains(&at) => From::Row(index(at)),
            _ => From::Default,
        }
    };
    let Some(default) = default else {
        let rows: UInt32Array = (0..n).map(|row| if let From::Row(at) = of(row) { Some(at) } else { None }).collect();
        return Ok((take(value, &rows, None)?, vec![]));
    };
    let null = arrow::array::new_null_array(value.data_type(), 1);
    let rows: Vec<(usize, usize)> = (0..n)
        .map(|row| match of(row) {
            From::Row(at) => (0, at as usize),
            From::Default => (1, row),
            From::Null => (2, 0),
        })
        .collect();
    Ok((interleave(&[value.as_ref(), default.as_ref(), null.as_ref()], &rows)?, vec![]))
}

pub(super) fn first(value: &ArrayRef, frame: &Frames<'_>, n: usize) -> EvalResult<Computed> {
    by_row(value, n, |row| frame.ranges(row).into_iter().find(|(a, b)| a < b).map(|(a, _)| a))
}

pub(super) fn last(value: &ArrayRef, frame: &Frames<'_>, n: usize) -> EvalResult<Computed> {
    by_row(value, n, |row| frame.ranges(row).into_iter().rev().find(|(a, b)| a < b).map(|(_, b)| b - 1))
}

pub(super) fn nth(value: &ArrayRef, which: &ArrayRef, frame: &Frames<'_>, n: usize) -> EvalResult<Computed> {
    let which = which.as_primitive_opt::<Int32Type>().ok_or_else(|| EvalError::internal("nth_value takes an integer"))?;
    let mut errors = vec![];
    let (values, _) = by_row(value, n, |row| {
        if which.is_null(row) {
            return None;
        }
        let mut left = match usize::try_from(which.value(row)) {
            Ok(k) if k > 0 => k - 1,
            _ => {
                errors.push((row, EvalError::new("22016", "argument of nth_value must be greater than zero")));
                return None;
            }
        };
        for (a, b) in frame.ranges(row).into_iter().filter(|(a, b)| a < b) {
            if left < b - a {
                return Some(a + left);
            }
            left -= b - a;
        }
        None
    })?;
    Ok((values, errors))
}

fn by_row(value: &ArrayRef, n: usize, mut of: impl FnMut(usize) -> Option<usize>) -> EvalResult<Computed> {
    let rows: UInt32Array = (0..n).map(|row| of(row).map(index)).collect();
    Ok((take(value, &rows, None)?, vec![]))
}
