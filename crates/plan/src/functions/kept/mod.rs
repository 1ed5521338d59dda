//! What an aggregate keeps of one group where its state is small and of a fixed shape: sums of products, counts of bits, sums of
//! intervals. Views, window frames and plain SELECTs share it, so that all three give the same bits.
//!
//! ```text
//!   Keeper (of a call: function, types)  ──empty──▶  Kept (of a group)  ──add(row, diff)──▶  ..  ──Keeper::value──▶  a value or an error
//! ```
//! Invariant: a state is a function of the multiset of rows that were added, so that a row taken away leaves what was before it came
//! and any order and split gives the same. A value that does not exist (overflow) is judged only when it is read. NULL first
//! arguments are taken out by the caller; of two arguments a row where the second is NULL takes no part. Does not know DISTINCT,
//! FILTER, groups.

mod bits;
mod span;
mod spread;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
};

use super::{EvalError, EvalResult};
use crate::flowplan::AggFunc;
use crate::value::Datum;

/// How a call keeps its groups.
#[derive(Debug, Clone)]
pub struct Keeper {
    func: AggFunc,
    ty: DataType,
    output: DataType,
}

/// The state of a group. See the module's header.
#[derive(Debug, Clone)]
pub enum Kept {
    /// Sums of numerics and of their squares.
    Whole(Box<spread::Whole>),
    /// Sums of doubles and of their products.
    Real(Box<spread::Reals>),
    /// How often each bit is set.
    Bits(Box<bits::Bits>),
    /// Sums of the parts of intervals.
    Span(Box<span::Total>),
}

/// The arguments of a batch of rows, typed once.
#[derive(Debug)]
pub enum Lanes<'a> {
    /// Unscaled numerics.
    Decimal(&'a [i128]),
    /// One argument.
    Float(&'a [f64]),
    /// Two: the dependent variable, the other, and where the other is there.
    Pair(&'a [f64], &'a [f64], Option<&'a NullBuffer>),
    /// Integers by width.
    Int2(&'a [i16]),
    /// 32 bits.
    Int4(&'a [i32]),
    /// 64 bits.
    Int8(&'a [i64]),
    /// Intervals.
    Span(&'a [IntervalMonthDayNano]),
}

impl<'a> Lanes<'a> {
    /// The arguments of a call.
    ///
    /// # Errors
    /// When their types are none that are kept.
    pub fn new(args: &'a [ArrayRef]) -> EvalResult<Lanes<'a>> {
        let odd = || EvalError::internal("an aggregate does not fit its arguments");
        let first = args.first().ok_or_else(odd)?;
        Ok(match (first.data_type(), args.get(1)) {
            (DataType::Decimal128(..), None) => Lanes::Decimal(first.as_primitive::<Decimal128Type>().values()),
            (DataType::Float64, None) => Lanes::Float(first.as_primitive::<Float64Type>().values()),
            (DataType::Float64, Some(second)) => {
                let second = second.as_primitive_opt::<Float64Type>().ok_or_else(odd)?;
                Lanes::Pair(first.as_primitive::<Float64Type>().values(), second.values(), second.nulls())
            }
            (DataType::Int16, None) => Lanes::Int2(first.as_primitive::<Int16Type>().values()),
            (DataType::Int32, None) => Lanes::Int4(first.as_primitive::<Int32Type>().values()),
            (DataType::Int64, None) => Lanes::Int8(first.as_primitive::<Int64Type>().values()),
            (DataType::Interval(_), None) => {
                Lanes::Span(first.as_primitive_opt::<IntervalMonthDayNanoType>().ok_or_else(odd)?.values())
            }
            _ => return Err(odd()),
        })
    }
}

impl Keeper {
    /// How `func` over these types is kept; `None` for what is not kept like this.
    pub fn new(func: AggFunc, args: &[DataType], output: &DataType) -> Option<Keeper> {
        use DataType::{Decimal128, Float64, Int16, Int32, Int64, Interval};
        let fits = match (func, args) {
            (AggFunc::Spread(s), [Decimal128(..)]) => s.n_args() == 1 && matches!(output, Decimal128(..)),
            (AggFunc::Spread(s), [Float64]) => s.n_args() == 1 && *output == Float64,
            (AggFunc::Spread(s), [Float64, Float64]) => s.n_args() == 2 && matches!(output, Float64 | Int64),
            (AggFunc::BitAnd | AggFunc::BitOr | AggFunc::BitXor, [t @ (Int16 | Int32 | Int64)]) => t == output,
            (AggFunc::Sum | AggFunc::Avg, [t @ Interval(_)]) => t == output,
            _ => false,
        };
        fits.then(|| Keeper { func, ty: args.first().cloned().unwrap_or(DataType::Null), output: output.clone() })
    }

    /// The state of no rows.
    pub fn empty(&self) -> Kept {
        match (&self.func, &self.ty) {
            (AggFunc::Spread(_), DataType::Decimal128(..)) => Kept::Whole(Box::default()),
            (AggFunc::Spread(_), _) => Kept::Real(Box::default()),
            (AggFunc::Sum | AggFunc::Avg, _) => Kept::Span(Box::default()),
            _ => Kept::Bits(Box::default()),
        }
    }

    /// What the call gives.
    ///
    /// # Errors
    /// When the value is out of range (22003, 22008).
    pub fn value(&self, kept: &Kept) -> EvalResult<Option<Datum>> {
        match (self.func, kept) {
            (AggFunc::Spread(s), Kept::Whole(sums)) => {
                let scale = |ty: &DataType| if let DataType::Decimal128(_, s) = ty { *s } else { 0 };
                Ok(sums.value(s, scale(&self.ty), scale(&self.output))?.map(Datum::Decimal))
            }
            (AggFunc::Spread(s), Kept::Real(sums)) => sums.value(s),
            (func, Kept::Bits(bits)) => Ok(bits.value(func).map(Datum::Int)),
            (func, Kept::Span(total)) => {
                let value = total.value(func == AggFunc::Avg)?;
                Ok(value.map(|v| Datum::Interval { months: v.months, days: v.days, nanos: v.nanoseconds }))
            }
            _ => Err(EvalError::internal("an aggregate does not fit its state")),
        }
    }

    /// Values as a column of the output's type.
    ///
    /// # Errors
    /// When they are none of that type.
    pub fn array(&self, values: impl Iterator<Item = Option<Datum>>) -> EvalResult<ArrayRef> {
        let int = |v: Option<Datum>| if let Some(Datum::Int(v)) = v { Some(v) } else { None };
        Ok(match &self.output {
            DataType::Int16 => Arc::new(values.map(|v| int(v).and_then(|v| i16::try_from(v).ok())).collect::<Int16Array>()),
            DataType::Int32 => Arc::new(values.map(|v| int(v).and_then(|v| i32::try_from(v).ok())).collect::<Int32Array>()),
            DataType::Int64 => Arc::new(values.map(int).collect::<Int64Array>()),
            DataType::Float64 => {
                let float = |v| if let Some(Datum::Float(v)) = v { Some(v) } else { None };
                Arc::new(values.map(float).collect::<Float64Array>())
            }
            DataType::Decimal128(p, s) => {
                let decimal = |v| if let Some(Datum::Decimal(v)) = v { Some(v) } else { None };
                Arc::new(values.map(decimal).collect::<Decimal128Array>().with_precision_and_scale(*p, *s)?)
            }
            DataType::Interval(_) => {
                let span = |v| match v {
                    Some(Datum::Interval { months, days, nanos }) => Some(IntervalMonthDayNano::new(months, days, nanos)),
                    _ => None,
                };
                Arc::new(values.map(span).collect::<IntervalMonthDayNanoArray>())
            }
            other => return Err(EvalError::internal(format!("an aggregate of type {other}"))),
        })
    }
}

impl Kept {
    /// Adds a row as often as `diff` says; a negative `diff` takes it away.
    #[inline]
    pub fn add(&mut self, lanes: &Lanes<'_>, row: usize, diff: i64) {
        match (self, lanes) {
            (Kept::Whole(sums), Lanes::Decimal(x)) => sums.add(x[row], diff),
            (Kept::Real(sums), Lanes::Float(x)) => sums.add(x[row], x[row], diff),
            (Kept::Real(sums), Lanes::Pair(y, x, there)) => {
                if there.is_none_or(|t| t.is_valid(row)) {
                    sums.add(x[row], y[row], diff);
                }
            }
            (Kept::Bits(bits), Lanes::Int2(v)) => bits.add(v[row].into(), diff),
            (Kept::Bits(bits), Lanes::Int4(v)) => bits.add(v[row].into(), diff),
            (Kept::Bits(bits), Lanes::Int8(v)) => bits.add(v[row], diff),
            (Kept::Span(total), Lanes::Span(v)) => total.add(v[row], diff),
            // `Keeper::new` has judged the types
            _ => debug_assert!(false, "an aggregate does not fit its state"),
        }
    }

    /// The state as bytes, for another process's memory and for checkpoints.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Kept::Whole(sums) => sums.to_bytes(),
            Kept::Real(sums) => sums.to_bytes(),
            Kept::Bits(bits) => bits.to_bytes(),
            Kept::Span(total) => total.to_bytes(),
        }
    }

    /// Adds all rows of another state of the same call; `None` for bytes that are none.
    pub fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        match self {
            Kept::Whole(sums) => sums.merge(bytes),
            Kept::Real(sums) => sums.merge(bytes),
            Kept::Bits(bits) => bits.merge(bytes),
            Kept::Span(total) => total.merge(bytes),
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Kept::Whole(_) => size_of::<spread::Whole>(),
            Kept::Real(sums) => sums.n_bytes(),
            Kept::Bits(_) => size_of::<bits::Bits>(),
            Kept::Span(_) => size_of::<span::Total>(),
        }
    }
}
