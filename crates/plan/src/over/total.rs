//! Counts, sums and means of frames.
//!
//! Exact ones are differences of running totals, so any frame costs O(1); floats keep an exact sum that moves with the frame, and with
//! EXCLUDE two, one on either side of what is taken out, so the order of rows changes no bit and a partition costs O(n). Results are judged for range as those of GROUP BY are.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, i256};

use super::frame::Frames;
use super::{Computed, TakingPart};
use crate::functions::arith::DECIMAL_END;
use crate::functions::exact_sum::ExactSum;
use crate::functions::{EvalError, EvalResult};

/// Running counts: rows before each row that take part and pass.
fn running(n: usize, counts: impl Fn(usize) -> bool) -> Vec<i64> {
    let mut total = 0;
    let mut all = Vec::with_capacity(n + 1);
    all.push(0);
    for row in 0..n {
        total += i64::from(counts(row));
        all.push(total);
    }
    all
}

fn within(running: &[i64], frame: &Frames<'_>, row: usize) -> i64 {
    frame.ranges(row).iter().map(|(a, b)| running[*b] - running[*a]).sum()
}

pub(super) fn count(part: &TakingPart, frame: &Frames<'_>, n: usize) -> ArrayRef {
    let counts = running(n, |row| part.has(row));
    Arc::new((0..n).map(|row| within(&counts, frame, row)).collect::<Int64Array>())
}

pub(super) fn bools(is_and: bool, arg: &ArrayRef, part: &TakingPart, frame: &Frames<'_>, n: usize) -> EvalResult<ArrayRef> {
    let arg = arg.as_boolean_opt().ok_or_else(|| EvalError::internal("bool_and and bool_or are for booleans"))?;
    let counts = running(n, |row| part.has(row));
    let deciding = running(n, |row| part.has(row) && arg.value(row) != is_and);
    let value = |row: usize| {
        let any = within(&deciding, frame, row) > 0;
        (within(&counts, frame, row) > 0).then_some(any != is_and)
    };
    Ok(Arc::new((0..n).map(value).collect::<BooleanArray>()))
}

/// sum or avg.
pub(super) fn total(
    is_avg: bool,
    arg: &ArrayRef,
    output: &DataType,
    part: &TakingPart,
    frame: &Frames<'_>,
    n: usize,
) -> EvalResult<Computed> {
    let counts = running(n, |row| part.has(row));
    macro_rules! exact {
        ($t:ty) => {{
            let values = arg.as_primitive::<$t>().values();
            let sums = running_sums(n, |row| if part.has(row) { i128::from(values[row]) } else { 0 });
            exact(is_avg, &sums, &counts, arg.data_type(), output, frame, n)
        }};
    }
    match arg.data_type() {
        DataType::Int16 => exact!(Int16Type),
        DataType::Int32 => exact!(Int32Type),
        DataType::Int64 => exact!(Int64Type),
        DataType::Decimal128(..) => exact!(Decimal128Type),
        DataType::Float32 => {
            let values = arg.as_primitive::<Float32Type>().values();
            Ok(floats(is_avg, |row| f64::from(values[row]), output, part, frame, n))
        }
        DataType::Float64 => {
            let values = arg.as_primitive::<Float64Type>().values();
            Ok(floats(is_avg, |row| values[row], output, part, frame, n))
        }
        other => Err(EvalError::internal(format!("sum or avg over type {other}"))),
    }
}

/// Running sums of 256 bits: no 2^32 values of 128 bits pass that.
fn running_sums(n: usize, value: impl Fn(usize) -> i128) -> Vec<i256> {
    let mut total = i256::ZERO;
    let mut all = Vec::with_capacity(n + 1);
    all.push(total);
    for row in 0..n {
        total = total.wrapping_add(i256::from_i128(value(row)));
        all.push(total);
    }
    all
}

fn exact(
    is_avg: bool,
    sums: &[i256],
    counts: &[i64],
    ty: &DataType,
    output: &DataType,
    frame: &Frames<'_>,
    n: usize,
) -> EvalResult<Computed> {
    let scale = |t: &DataType| if let DataType::Decimal128(_, s) = t { *s } else { 0 };
    let lift = if is_avg { scale(output) - scale(ty) } else { 0 };
    let lift = i256::from_i128(10i128.pow(u32::try_from(lift).map_err(|_| EvalError::internal("a mean of smaller scale"))?));
    let mut errors = vec![];
    let value = |row: usize| -> EvalResult<Option<i128>> {
        let count = within(counts, frame, row);
        if count == 0 {
            return Ok(None);
        }
        let sum = frame.ranges(row).iter().fold(i256::ZERO, |t, (a, b)| t.wrapping_add(sums[*b].wrapping_sub(sums[*a])));
        let value = if is_avg { mean(sum, lift, count) } else { sum.to_i128() };
        let value = value.ok_or_else(EvalError::numeric_overflow)?;
        if *output == DataType::Int64 {
            i64::try_from(value).map_err(|_| EvalError::out_of_range("bigint"))?;
        } else if value.unsigned_abs() >= DECIMAL_END.unsigned_abs() {
            return Err(EvalError::numeric_overflow());
        }
        Ok(Some(value))
    };
    let values: Vec<Option<i128>> = (0..n)
        .map(|row| {
            value(row).unwrap_or_else(|e| {
                errors.push((row, e));
                None
            })
        })
        .collect();
    let array: ArrayRef = match output {
        DataType::Int64 => Arc::new(values.into_iter().map(|v| v.and_then(|v| i64::try_from(v).ok())).collect::<Int64Array>()),
        DataType::Decimal128(p, s) => Arc::new(values.into_iter().collect::<Decimal128Array>().with_precision_and_scale(*p, *s)?),
        other => return Err(EvalError::internal(format!("an exact total of type {other}"))),
    };
    Ok((array, errors))
}

/// sum * lift / count, half away from zero.
fn mean(sum: i256, lift: i256, count: i64) -> Option<i128> {
    let (scaled, count) = (sum.checked_mul(lift)?, i256::from_i128(i128::from(count)));
    let (quotient, rest) = (scaled.checked_div(count)?, scaled.checked_rem(count)?);
    let twice = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
    let step = match (twice < count, scaled.is_negative()) {
        (true, _) => i256::ZERO,
        (_, true) => i256::MINUS_ONE,
        _ => i256::ONE,
    };
    quotient.checked_add(step)?.to_i128()
}

/// An exact sum over a stretch of rows, moved along.
struct Moving<'a, F> {
    value: F,
    part: &'a TakingPart,
    sum: ExactSum,
    count: i64,
    start: usize,
    end: usize,
}

impl<F: Fn(usize) -> f64> Moving<'_, F> {
    fn add(&mut self, rows: std::ops::Range<usize>, diff: i64) {
        for row in rows {
            if self.part.has(row) {
                self.sum.add((self.value)(row), diff);
                self.count += diff;
            }
        }
    }

    fn to(&mut self, start: usize, end: usize) {
        if start >= self.end || end <= self.start {
            (self.sum, self.count) = (ExactSum::new(), 0);
            self.add(start..end, 1);
        } else {
            self.add(start..self.start, 1);
            self.add(self.start..start, -1);
            self.add(self.end..end, 1);
            self.add(end..self.end, -1);
        }
        (self.start, self.end) = (start, end);
    }
}

fn floats(
    is_avg: bool,
    value: impl Fn(usize) -> f64,
    output: &DataType,
    part: &TakingPart,
    frame: &Frames<'_>,
    n: usize,
) -> Computed {
    let moving = || Moving { value: &value, part, sum: ExactSum::new(), count: 0, start: 0, end: 0 };
    let (mut front, mut rear) = (moving(), moving());
    let mut errors = vec![];
    let mut values: Vec<Option<f64>> = Vec::with_capacity(n);
    for row in 0..n {
        let [before, own, behind] = frame.ranges(row);
        front.to(before.0, before.1);
        let judged = if frame.is_one() {
            judged(is_avg, &front.sum, front.count, output)
        } else {
            // What is taken out lies between two stretches, each of which only moves on.
            rear.to(behind.0, behind.1);
            let (mut sum, mut count) = (front.sum.clone(), front.count + rear.count);
            sum.merge(&rear.sum);
            for row in (own.0..own.1).filter(|row| part.has(*row)) {
                sum.add(value(row), 1);
                count += 1;
            }
            judged(is_avg, &sum, count, output)
        };
        values.push(judged.unwrap_or_else(|e| {
            errors.push((row, e));
            None
        }));
    }
    #[expect(clippy::cast_possible_truncation, reason = "judged before")]
    let array: ArrayRef = match output {
        DataType::Float32 => Arc::new(values.into_iter().map(|v| v.map(|v| v as f32)).collect::<Float32Array>()),
        _ => Arc::new(Float64Array::from(values)),
    };
    (array, errors)
}

fn judged(is_avg: bool, sum: &ExactSum, count: i64, output: &DataType) -> EvalResult<Option<f64>> {
    if count == 0 {
        return Ok(None);
    }
    let overflow = || EvalError::new("22003", "value out of range: overflow");
    if sum.overflows() {
        return Err(overflow());
    }
    #[expect(clippy::cast_precision_loss, reason = "fewer rows than 2^53")]
    let value = if is_avg { sum.value() / count as f64 } else { sum.value() };
    #[expect(clippy::cast_possible_truncation, reason = "an infinite result is judged")]
    if *output == DataType::Float32 && value.is_finite() && (value as f32).is_infinite() {
        return Err(overflow());
    }
    Ok(Some(value))
}
