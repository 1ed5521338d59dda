//! sum, avg: exact totals, judged for range only when read, so that order and batching change nothing and an overflow heals.
//!
//! ```text
//! integers, numerics   64 bits a group until the first sum that does not fit; from then on two's complement of 192 bits: low
//!                      u128, high i64 (2^64 numerics of any size cannot overflow it)
//! floats               ExactSum: correctly rounded sum of any order; NaN and infinities counted apart
//! ```
//! Result types are PostgreSQL's as the plan fixed them: sum(int2/4) bigint, sum(bigint) numeric(38,0), sum(numeric) its scale,
//! avg(exact) numeric with the scale of its output type, rounded half away from zero; NULL when no value took part.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Decimal256Array, Float32Array, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, i256,
};
use regauge_plan::eval::EvalError;
use regauge_plan::functions::exact_sum::ExactSum;
use regauge_state::Segments;

use super::sums::Sums;
use super::{Accumulator, Rows, Values, each};
use crate::image::{Tables, bytes_table, int64, table};
use crate::operator::FlowError;

/// 10^38, the first unscaled value that numeric(38, s) cannot hold.
const NUMERIC_END: u128 = 10u128.pow(38);

/// Sums in an image: 256 bits each.
const WIDE: DataType = DataType::Decimal256(76, 0);

/// The accumulator of sum or avg over `ty`.
pub(super) fn total(is_avg: bool, ty: &DataType, output: &DataType) -> Result<Box<dyn Accumulator>, FlowError> {
    match ty {
        DataType::Float32 | DataType::Float64 => {
            let (sums, counts) = (Segments::default(), Segments::default());
            Ok(Box::new(FloatTotal { is_avg, output: output.clone(), sums, counts, elsewhere: 0 }))
        }
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) => {
            let scale = if let DataType::Decimal128(_, s) = ty { *s } else { 0 };
            Ok(Box::new(ExactTotal {
                is_avg,
                scale,
                output: output.clone(),
                sums: Sums::Narrow(Segments::default()),
                counts: Segments::default(),
            }))
        }
        other => Err(FlowError::Plan(format!("sum or avg over type {other}"))),
    }
}

struct ExactTotal {
    is_avg: bool,
    scale: i8,
    output: DataType,
    sums: Sums,
    counts: Segments<i64>,
}

impl ExactTotal {
    #[inline]
    fn add(&mut self, group: u32, value: i128, diff: i64) {
        self.sums.add(group as usize, value, diff);
        self.counts[group as usize] += diff;
    }

    fn value(&self, group: u32) -> Result<Option<i128>, EvalError> {
        let g = group as usize;
        if self.counts[g] == 0 {
            return Ok(None);
        }
        let sum = self.sums.get(g);
        let value = if self.is_avg { self.mean(sum, self.counts[g]) } else { sum.to_i128() };
        let value = value.ok_or_else(EvalError::numeric_overflow)?;
        match &self.output {
            DataType::Int64 => i64::try_from(value).map_err(|_| EvalError::out_of_range("bigint"))?,
            _ if value.unsigned_abs() >= NUMERIC_END => return Err(EvalError::numeric_overflow()),
            _ => 0,
        };
        Ok(Some(value))
    }

    /// sum / count at the output's scale, half away from zero.
    fn mean(&self, sum: i256, count: i64) -> Option<i128> {
        let out_scale = if let DataType::Decimal128(_, s) = &self.output { *s } else { 0 };
        let up = u32::try_from(out_scale - self.scale).ok()?;
        let scaled = sum.checked_mul(i256::from_i128(10i128.checked_pow(up)?))?;
        let count = i256::from_i128(i128::from(count));
        let (quotient, rest) = (scaled.checked_div(count)?, scaled.checked_rem(count)?);
        let twice = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
        let step = if twice < count {
            i256::ZERO
        } else if scaled.is_negative() {
            i256::MINUS_ONE
        } else {
            i256::ONE
        };
        quotient.checked_add(step)?.to_i128()
    }
}

impl Accumulator for ExactTotal {
    fn resize(&mut self, n_ids: usize) {
        self.sums.grow(n_ids);
        self.counts.grow(n_ids, 0);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        macro_rules! each {
            ($t:ty) => {
                for (row, (value, group)) in rows.args[0].as_primitive::<$t>().values().iter().zip(rows.groups).enumerate() {
                    self.add(*group, i128::from(*value), rows.diff(row));
                }
            };
        }
        match rows.args[0].data_type() {
            DataType::Int16 => each!(Int16Type),
            DataType::Int32 => each!(Int32Type),
            DataType::Int64 => each!(Int64Type),
            _ => each!(Decimal128Type),
        }
        Ok(())
    }

    fn values(&self, groups: &[u32]) -> Result<Values, FlowError> {
        let mut errors = Vec::new();
        let values: Vec<Option<i128>> = groups
            .iter()
            .enumerate()
            .map(|(i, g)| {
                self.value(*g).unwrap_or_else(|e| {
                    errors.push((i, e));
                    None
                })
            })
            .collect();
        let array: ArrayRef = match &self.output {
            DataType::Int64 => Arc::new(
                values.into_iter().map(|v| v.map(|v| i64::try_from(v).expect("judged by value()"))).collect::<Int64Array>(),
            ),
            DataType::Decimal128(p, s) => {
                Arc::new(values.into_iter().collect::<Decimal128Array>().with_precision_and_scale(*p, *s)?)
            }
            other => return Err(FlowError::Plan(format!("an exact total of type {other}"))),
        };
        Ok((array, errors))
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        self.sums.clear(group as usize);
        self.counts[group as usize] = 0;
        Ok(())
    }

    fn n_bytes(&self) -> usize {
        self.sums.n_bytes() + self.counts.n_bytes()
    }

    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError> {
        each(pieces, to, |groups| {
            let sums: Decimal256Array = groups.iter().map(|g| Some(self.sums.get(*g as usize))).collect();
            let counts = int64(groups.iter().map(|g| self.counts[*g as usize]));
            table(vec![Arc::new(sums.with_data_type(WIDE)), counts], groups.len())
        })
    }

    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError> {
        let (sums, counts) = from.numbered(&[WIDE])?;
        let sums = sums[0].as_primitive::<Decimal256Type>().values();
        for (g, (sum, count)) in groups.iter().zip(sums.iter().zip(counts)) {
            let broken = || FlowError::Image("a sum beyond 192 bits".into());
            self.sums.put(*g as usize, *sum).ok_or_else(broken)?;
            self.counts[*g as usize] = count;
        }
        Ok(())
    }
}

struct FloatTotal {
    is_avg: bool,
    output: DataType,
    sums: Segments<ExactSum>,
    counts: Segments<i64>,
    /// Bytes that the sums hold elsewhere, kept as they change: what an operator holds is asked for at each epoch's end.
    elsewhere: usize,
}

impl FloatTotal {
    fn change(&mut self, group: u32, change: impl FnOnce(&mut ExactSum)) {
        let sum = &mut self.sums[group as usize];
        let before = sum.heap_bytes();
        change(sum);
        self.elsewhere = self.elsewhere + sum.heap_bytes() - before;
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn value(&self, group: u32) -> Result<Option<f64>, EvalError> {
        let g = group as usize;
        if self.counts[g] == 0 {
            return Ok(None);
        }
        let overflow = || EvalError::new("22003", "value out of range: overflow");
        if self.sums[g].overflows() {
            return Err(overflow());
        }
        let sum = self.sums[g].value();
        let value = if self.is_avg { sum / self.counts[g] as f64 } else { sum };
        if self.output == DataType::Float32 && value.is_finite() && (value as f32).is_infinite() {
            return Err(overflow());
        }
        Ok(Some(value))
    }
}

impl Accumulator for FloatTotal {
    fn resize(&mut self, n_ids: usize) {
        self.sums.grow_with(n_ids, ExactSum::new);
        self.counts.grow(n_ids, 0);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        let mut add = |row: usize, group: u32, value: f64| {
            self.change(group, |sum| sum.add(value, rows.diff(row)));
            self.counts[group as usize] += rows.diff(row);
        };
        if rows.args[0].data_type() == &DataType::Float32 {
            let values = rows.args[0].as_primitive::<Float32Type>().values();
            values.iter().zip(rows.groups).enumerate().for_each(|(row, (v, g))| add(row, *g, f64::from(*v)));
        } else {
            let values = rows.args[0].as_primitive::<Float64Type>().values();
            values.iter().zip(rows.groups).enumerate().for_each(|(row, (v, g))| add(row, *g, *v));
        }
        Ok(())
    }

    fn values(&self, groups: &[u32]) -> Result<Values, FlowError> {
        let mut errors = Vec::new();
        let values: Vec<Option<f64>> = groups
            .iter()
            .enumerate()
            .map(|(i, g)| {
                self.value(*g).unwrap_or_else(|e| {
                    errors.push((i, e));
                    None
                })
            })
            .collect();
        #[allow(clippy::cast_possible_truncation)]
        let array: ArrayRef = match self.output {
            DataType::Float32 => Arc::new(values.into_iter().map(|v| v.map(|v| v as f32)).collect::<Float32Array>()),
            _ => Arc::new(Float64Array::from(values)),
        };
        Ok((array, errors))
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        self.change(group, |sum| *sum = ExactSum::new());
        self.counts[group as usize] = 0;
        Ok(())
    }

    fn n_bytes(&self) -> usize {
        self.elsewhere + self.sums.n_bytes() + self.counts.n_bytes()
    }

    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError> {
        each(pieces, to, |groups| bytes_table(groups.iter().map(|g| self.sums[*g as usize].to_bytes())))?;
        each(pieces, to, |groups| table(vec![int64(groups.iter().map(|g| self.counts[*g as usize]))], groups.len()))
    }

    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError> {
        let (sums, [counts]) = (from.bytes()?, from.numbers()?);
        for (g, (bytes, count)) in groups.iter().zip(sums.iter().flatten().zip(counts)) {
            let broken = || FlowError::Image("bytes that are no sum".into());
            let saved = ExactSum::from_bytes(bytes).ok_or_else(broken)?;
            self.change(*g, |sum| *sum = saved);
            self.counts[*g as usize] = count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_sums_are_those_that_a_look_at_all_of_them_finds() {
        let mut total = FloatTotal {
            is_avg: false,
            output: DataType::Float64,
            sums: Segments::default(),
            counts: Segments::default(),
            elsewhere: 0,
        };
        total.resize(3);
        let look = |t: &FloatTotal| t.sums.iter().map(ExactSum::heap_bytes).sum::<usize>();
        let values: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 1e300, -1e-300, f64::INFINITY, 2.0]));
        total.update(&Rows { groups: &[0, 0, 1, 1, 2], args: std::slice::from_ref(&values), diffs: None }).unwrap();
        assert!(total.elsewhere > 0 && total.elsewhere == look(&total));
        let all_gone = [-1; 5];
        total.update(&Rows { groups: &[0, 0, 1, 1, 2], args: std::slice::from_ref(&values), diffs: Some(&all_gone) }).unwrap();
        assert_eq!(total.elsewhere, look(&total));
        (0..3).for_each(|group| total.clear(group).unwrap());
        assert_eq!((total.elsewhere, look(&total)), (0, 0));
    }
}
