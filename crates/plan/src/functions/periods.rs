//! `(from, to) OVERLAPS (from, to)`: two periods of dates, times or moments, each half open and written either way round; an interval
//! in the place of an end is counted from the beginning. NULL as PostgreSQL has it: an answer that the other ends decide is given.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType};

use super::arith::bind_names;
use super::bind;
use super::error::{EvalError, EvalResult};
use super::temporal::adder;
use super::udf::{Args, Bound, Builtin, Col};
use crate::pgtypes::{calendar::DAY_US, interval, time, timestamp, timestamptz};

/// `pg_periods_overlap(a, b, c, d)`
pub static OVERLAP: Builtin =
    Builtin { name: "pg_periods_overlap", aliases: &[], bind: bound, refine: None, kernel: overlap, safe: false };

fn bound(types: &[DataType]) -> EvalResult<Bound> {
    let undefined = || EvalError::undefined(format!("function pg_catalog.overlaps({}) does not exist", bind_names(types)));
    let [a, b, c, d] = types else { return Err(undefined()) };
    let span = |ty: &DataType| matches!(ty, DataType::Interval(_));
    let points: Vec<&DataType> = [(a, false), (b, true), (c, false), (d, true)]
        .into_iter()
        .filter(|(ty, end)| !(bind::is_unknown(ty) || *end && span(ty)))
        .map(|(ty, _)| ty)
        .collect();
    let is_time = |ty: &&DataType| matches!(ty, DataType::Time64(_));
    let common = if points.iter().all(is_time) && !points.is_empty() {
        time()
    } else if points.iter().any(is_time) || !points.iter().all(|t| bind::is_timestamp(t) || **t == DataType::Date32) {
        return Err(undefined());
    } else if points.iter().any(|t| **t == timestamptz()) {
        timestamptz()
    } else {
        timestamp()
    };
    let end = |ty: &DataType| if span(ty) { interval() } else { common.clone() };
    Ok(Bound { args: vec![common.clone(), end(b), common.clone(), end(d)], ret: DataType::Boolean })
}

/// Microseconds of a column's slots.
fn point(col: &Col, row: usize) -> EvalResult<Option<i64>> {
    if col.is_null(row) {
        return Ok(None);
    }
    let at = row * col.step;
    if let Some(moments) = col.array.as_primitive_opt::<TimestampMicrosecondType>() {
        return Ok(Some(moments.value(at)));
    }
    match col.array.as_primitive_opt::<Time64MicrosecondType>() {
        Some(times) => Ok(Some(times.value(at))),
        None => Err(EvalError::internal(format!("no period of {}", col.array.data_type()))),
    }
}

/// An end: where it is, or how far from the beginning.
fn end(col: &Col, from: Option<i64>, of: &DataType, row: usize) -> EvalResult<Option<i64>> {
    let Some(spans) = col.array.as_primitive_opt::<IntervalMonthDayNanoType>() else { return point(col, row) };
    let Some(from) = from.filter(|_| !col.is_null(row)) else { return Ok(None) };
    let span = spans.value(row * col.step);
    if let DataType::Time64(_) = of {
        // a time of day goes around
        let us = i128::from(from) + i128::from(span.nanoseconds / 1000);
        return i64::try_from(us.rem_euclid(DAY_US.into())).map(Some).map_err(|_| EvalError::out_of_range("time"));
    }
    let zoned = matches!(of, DataType::Timestamp(_, Some(_)));
    adder(zoned)(from, span).map(Some)
}

fn overlap(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let of = args.col(0)?.array.data_type();
    let answer = |row: usize| -> EvalResult<Option<bool>> {
        let (from, other) = (point(args.col(0)?, row)?, point(args.col(2)?, row)?);
        let (to, other_to) = (end(args.col(1)?, from, of, row)?, end(args.col(3)?, other, of, row)?);
        let (Some((from, to)), Some((other, other_to))) = (ordered(from, to), ordered(other, other_to)) else { return Ok(None) };
        let (first_to, second, second_to) = match from.cmp(&other) {
            std::cmp::Ordering::Equal => return Ok(to.and(other_to).map(|_| true)),
            std::cmp::Ordering::Less => (to, other, other_to),
            std::cmp::Ordering::Greater => (other_to, from, to),
        };
        // the first is open where its end is not known; so is the answer where the second's is not
        Ok(match first_to {
            None => None,
            Some(end) if second < end => Some(true),
            Some(_) => second_to.map(|_| false),
        })
    };
    Ok(Arc::new((0..args.n).map(answer).collect::<EvalResult<BooleanArray>>()?))
}

/// The earlier end first; one that is NULL last. `None` where both are.
fn ordered(a: Option<i64>, b: Option<i64>) -> Option<(i64, Option<i64>)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.min(b), Some(a.max(b)))),
        (Some(one), None) | (None, Some(one)) => Some((one, None)),
        (None, None) => None,
    }
}
