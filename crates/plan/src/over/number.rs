//! Functions that number rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array};
use arrow::datatypes::Int32Type;

use super::Computed;
use super::places::Places;
use crate::flowplan::WindowFunc;
use crate::functions::{EvalError, EvalResult};

fn whole(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "fewer rows than 2^53")]
fn real(n: usize) -> f64 {
    n as f64
}

pub(super) fn number(func: WindowFunc, places: &Places) -> ArrayRef {
    let rows = 0..places.n_rows();
    let before = |row: usize| places.before[places.part[row] as usize];
    let rank = |row: usize| places.peers_of(row).0 - places.part_of(row).0;
    let size = |row: usize| {
        let (start, end) = places.part_of(row);
        end - start
    };
    match func {
        WindowFunc::RowNumber => {
            Arc::new(rows.map(|r| whole(before(r).rows + r - places.part_of(r).0 + 1)).collect::<Int64Array>())
        }
        WindowFunc::Rank => Arc::new(rows.map(|r| whole(before(r).rows + rank(r) + 1)).collect::<Int64Array>()),
        WindowFunc::DenseRank => {
            let group = |r: usize| places.group[r] as usize - places.groups_of(r).0;
            Arc::new(rows.map(|r| whole(before(r).groups + group(r) + 1)).collect::<Int64Array>())
        }
        WindowFunc::PercentRank => {
            let share = |r: usize| if size(r) <= 1 { 0.0 } else { real(rank(r)) / real(size(r) - 1) };
            Arc::new(rows.map(share).collect::<Float64Array>())
        }
        _ => {
            let share = |r: usize| real(places.peers_of(r).1 - places.part_of(r).0) / real(size(r));
            Arc::new(rows.map(share).collect::<Float64Array>())
        }
    }
}

/// As PostgreSQL counts: the argument is read once a partition, at the first row where it is not NULL, and counting starts there.
pub(super) fn ntile(arg: &ArrayRef, places: &Places) -> EvalResult<Computed> {
    let arg = arg.as_primitive_opt::<Int32Type>().ok_or_else(|| EvalError::internal("ntile takes an integer"))?;
    let mut out: Vec<Option<i32>> = vec![None; places.n_rows()];
    let mut errors = vec![];
    for w in places.parts.windows(2) {
        let (start, end) = (w[0], w[1]);
        let Some(first) = (start..end).find(|row| arg.is_valid(*row)) else { continue };
        let parts = arg.value(first);
        let Some(n_parts) = usize::try_from(parts).ok().filter(|n| *n > 0) else {
            errors.extend((first..end).map(|row| (row, ntile_range())));
            continue;
        };
        let (share, rest) = ((end - start) / n_parts, (end - start) % n_parts);
        // The first `rest` parts have one row more.
        let long = rest * (share + 1);
        for (at, out) in out[first..end].iter_mut().enumerate() {
            let tile = if at < long { at / (share + 1) } else { rest + (at - long) / share.max(1) };
            *out = i32::try_from(tile + 1).ok();
        }
    }
    Ok((Arc::new(Int32Array::from(out)), errors))
}

fn ntile_range() -> EvalError {
    EvalError::new("22014", "argument of ntile must be greater than zero")
}
