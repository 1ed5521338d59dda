//! `generate_series` as an array, which whoever wants rows unnests: whole numbers, numerics, and moments a fixed or a civil step
//! apart. The array stands in memory, so its length is bounded; where a plain SELECT wants rows, [`super::series_exec`] makes them without one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array, ListArray, TimestampMicrosecondArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, IntervalMonthDayNanoType, TimestampMicrosecondType};

use super::arith::boxed;
use super::bind::{self, decimal, is_decimal};
use super::error::{EvalError, EvalResult};
use super::forms::{Form, K, bind_forms};
use super::temporal::{adder, interval_key};
use super::udf::{Args, Bound, Builtin};
use crate::pgtypes::{calendar, list_of};

/// Elements of one series.
pub const SERIES_MAX: usize = 10_000_000;

const FORMS: &[Form] = &[
    (&[K::Int, K::Int], K::Int),
    (&[K::Int, K::Int, K::Int], K::Int),
    (&[K::Big, K::Big], K::Big),
    (&[K::Big, K::Big, K::Big], K::Big),
    (&[K::Num, K::Num], K::Num),
    (&[K::Num, K::Num, K::Num], K::Num),
    (&[K::Zoned, K::Zoned, K::Span], K::Zoned),
    (&[K::Stamp, K::Stamp, K::Span], K::Stamp),
];

/// The array of a series.
pub static SERIES: Builtin = Builtin {
    name: "pg_series",
    aliases: &[],
    bind: |types| {
        let mut bound = bind_forms("generate_series", types, FORMS)?;
        if is_decimal(&bound.ret) {
            let scale = bound.args.iter().map(bind::scale_of).max().unwrap_or(0);
            bound = Bound { args: vec![decimal(scale); types.len()], ret: decimal(scale) };
        }
        bound.ret = list_of(bound.ret);
        Ok(bound)
    },
    refine: None,
    kernel: series,
    safe: false,
};

fn series(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let DataType::List(field) = args.ret else { return Err(EvalError::internal("an array was expected")) };
    let three = args.cols.len() > 2;
    match field.data_type() {
        DataType::Int32 => {
            let ((a, sa), (b, sb)) = (args.lanes::<Int32Type>(0)?, args.lanes::<Int32Type>(1)?);
            let step = if three { Some(args.lanes::<Int32Type>(2)?) } else { None };
            let numbers = |i: usize, out: &mut Vec<i32>| {
                let step = step.map_or(1, |(s, ss)| s[i * ss]);
                let (from, to) = (a[i * sa], b[i * sb]);
                counted(from, to, steps(from.into(), to.into(), step.into()), step == 0, step > 0, |v| v.checked_add(step), out)
            };
            arrays(args, numbers, |values| boxed(Int32Array::from(values)))
        }
        DataType::Int64 => {
            let ((a, sa), (b, sb)) = (args.lanes::<Int64Type>(0)?, args.lanes::<Int64Type>(1)?);
            let step = if three { Some(args.lanes::<Int64Type>(2)?) } else { None };
            let numbers = |i: usize, out: &mut Vec<i64>| {
                let step = step.map_or(1, |(s, ss)| s[i * ss]);
                let (from, to) = (a[i * sa], b[i * sb]);
                counted(from, to, steps(from.into(), to.into(), step.into()), step == 0, step > 0, |v| v.checked_add(step), out)
            };
            arrays(args, numbers, |values| boxed(Int64Array::from(values)))
        }
        ty @ DataType::Decimal128(_, scale) => {
            let ((a, sa), (b, sb)) = (args.lanes::<Decimal128Type>(0)?, args.lanes::<Decimal128Type>(1)?);
            let step = if three { Some(args.lanes::<Decimal128Type>(2)?) } else { None };
            let one = super::arith::pow10(*scale);
            let numbers = |i: usize, out: &mut Vec<i128>| {
                let step = step.map_or(one, |(s, ss)| s[i * ss]);
                let (from, to) = (a[i * sa], b[i * sb]);
                counted(from, to, steps(from, to, step), step == 0, step > 0, |v| v.checked_add(step), out)
            };
            arrays(args, numbers, |values| boxed(Decimal128Array::from(values).with_data_type(ty.clone())))
        }
        ty => {
            let ((a, sa), (b, sb)) = (args.lanes::<TimestampMicrosecondType>(0)?, args.lanes::<TimestampMicrosecondType>(1)?);
            let (step, ss) = args.lanes::<IntervalMonthDayNanoType>(2)?;
            let add = adder(matches!(ty, DataType::Timestamp(_, Some(_))));
            let moments = |i: usize, out: &mut Vec<i64>| {
                let (from, to, step) = (a[i * sa], b[i * sb], step[i * ss]);
                let way = interval_key(step).signum();
                let infinite = |t: i64| t == calendar::TS_INFINITY || t == calendar::TS_MINUS_INFINITY;
                if infinite(from) {
                    return Err(too_long());
                }
                let n = steps(from.into(), to.into(), interval_key(step));
                counted(from, to, n, way == 0, way > 0, |t| add(t, step).ok().filter(|next| *next != t), out)
            };
            arrays(args, moments, |values| boxed(TimestampMicrosecondArray::from(values).with_data_type(ty.clone())))
        }
    }
}

fn too_long() -> EvalError {
    EvalError::new("54000", format!("a series is too long: it stands in memory, with at most {SERIES_MAX} elements"))
}

fn steps(from: i128, to: i128, step: i128) -> Option<i128> {
    to.checked_sub(from)?.checked_div(step)
}

/// The elements from `from` to `to`; `steps` is about how many there will be, where that is known.
fn counted<T: Copy + PartialOrd>(
    from: T,
    to: T,
    steps: Option<i128>,
    stands: bool,
    up: bool,
    next: impl Fn(T) -> Option<T>,
    out: &mut Vec<T>,
) -> EvalResult<()> {
    if stands {
        return Err(EvalError::new("22023", "step size cannot equal zero"));
    }
    if steps.is_some_and(|n| n > 2 * SERIES_MAX as i128) {
        return Err(too_long());
    }
    let start = out.len();
    let mut at = Some(from);
    while let Some(v) = at.filter(|v| if up { *v <= to } else { *v >= to }) {
        if out.len() - start >= SERIES_MAX {
            return Err(too_long());
        }
        out.push(v);
        at = next(v);
    }
    Ok(())
}

/// About how many elements each series of these arguments has: none for NULL, and for one that is too long to be made.
pub fn estimates(args: &[ArrayRef]) -> Vec<u64> {
    let n = args.first().map_or(0, |a| a.len());
    let length = |row: usize| -> Option<u64> {
        let [from, to, rest @ ..] = args else { return None };
        let (from, to) = (whole(from, row)?, whole(to, row)?);
        let step = match rest.first() {
            None => match args[0].data_type() {
                DataType::Decimal128(_, scale) => super::arith::pow10(*scale),
                _ => 1,
            },
            Some(step) => whole(step, row)?,
        };
        let n = steps(from, to, step)?.saturating_add(1);
        u64::try_from(n).ok().filter(|n| *n <= 2 * SERIES_MAX as u64)
    };
    (0..n).map(|row| length(row).unwrap_or(0)).collect()
}

/// One series, element by element: numbers and moments in their smallest units.
pub(super) struct Walk {
    at: Option<i128>,
    to: i128,
    up: bool,
    next: Box<dyn Fn(i128) -> Option<i128> + Send>,
}

impl Walk {
    /// That of a row of its arguments; `None` if one of them is NULL.
    pub(super) fn begin(args: &[ArrayRef], row: usize) -> EvalResult<Option<Walk>> {
        let [from, to, rest @ ..] = args else { return Err(EvalError::internal("a series has two arguments")) };
        let (Some(at), Some(end)) = (whole(from, row), whole(to, row)) else { return Ok(None) };
        let step = match (rest.first(), from.data_type()) {
            (Some(step), _) if step.is_null(row) => return Ok(None),
            (Some(step), _) => whole(step, row),
            (None, DataType::Decimal128(_, scale)) => Some(super::arith::pow10(*scale)),
            (None, _) => Some(1),
        };
        let step = step.ok_or_else(|| EvalError::internal("a step of a series has no number"))?;
        if step == 0 {
            return Err(EvalError::new("22023", "step size cannot equal zero"));
        }
        let next: Box<dyn Fn(i128) -> Option<i128> + Send> = match from.data_type() {
            DataType::Int32 => Box::new(move |v| v.checked_add(step).filter(|v| i32::try_from(*v).is_ok())),
            DataType::Int64 => Box::new(move |v| v.checked_add(step).filter(|v| i64::try_from(*v).is_ok())),
            DataType::Timestamp(_, zone) => {
                if [calendar::TS_INFINITY, calendar::TS_MINUS_INFINITY].map(i128::from).contains(&at) {
                    return Err(too_long());
                }
                let span = rest.first().and_then(|s| s.as_primitive_opt::<IntervalMonthDayNanoType>()).map(|s| s.value(row));
                let span = span.ok_or_else(|| EvalError::internal("a series of moments has a span"))?;
                let add = adder(zone.is_some());
                Box::new(move |v| {
                    let t = i64::try_from(v).ok()?;
                    add(t, span).ok().filter(|next| *next != t).map(i128::from)
                })
            }
            _ => Box::new(move |v| v.checked_add(step)),
        };
        Ok(Some(Walk { at: Some(at), to: end, up: step > 0, next }))
    }

    /// The next element.
    pub(super) fn step(&mut self) -> Option<i128> {
        let value = self.at.filter(|v| if self.up { *v <= self.to } else { *v >= self.to });
        self.at = value.and_then(&self.next);
        value
    }
}

/// Elements of a series as a column of its type.
pub(super) fn elements(ty: &DataType, values: Vec<i128>) -> EvalResult<ArrayRef> {
    let lost = |_| EvalError::internal("an element of a series does not fit its type");
    let wide = |values: Vec<i128>| values.into_iter().map(i64::try_from).collect::<Result<Vec<_>, _>>().map_err(lost);
    Ok(match ty {
        DataType::Int32 => {
            let values = values.into_iter().map(i32::try_from).collect::<Result<Vec<_>, _>>().map_err(lost)?;
            boxed(Int32Array::from(values))
        }
        DataType::Int64 => boxed(Int64Array::from(wide(values)?)),
        DataType::Decimal128(..) => boxed(Decimal128Array::from(values).with_data_type(ty.clone())),
        _ => boxed(TimestampMicrosecondArray::from(wide(values)?).with_data_type(ty.clone())),
    })
}

/// A number or a moment in its smallest units.
fn whole(column: &ArrayRef, row: usize) -> Option<i128> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value(row),
        DataType::Timestamp(..) => column.as_primitive_opt::<TimestampMicrosecondType>()?.value(row).into(),
        DataType::Interval(_) => interval_key(column.as_primitive_opt::<IntervalMonthDayNanoType>()?.value(row)),
        _ => return None,
    })
}

fn arrays<T>(
    args: &Args<'_>,
    elements: impl Fn(usize, &mut Vec<T>) -> EvalResult<()>,
    make: impl FnOnce(Vec<T>) -> ArrayRef,
) -> EvalResult<ArrayRef> {
    let DataType::List(field) = args.ret else { return Err(EvalError::internal("an array was expected")) };
    let nulls = args.nulls();
    let mut values = vec![];
    let mut offsets = vec![0];
    for i in 0..args.n {
        if nulls.as_ref().is_none_or(|n: &NullBuffer| n.is_valid(i)) {
            elements(i, &mut values)?;
        }
        offsets.push(i32::try_from(values.len()).map_err(|_| too_long())?);
    }
    let offsets = OffsetBuffer::new(offsets.into());
    Ok(boxed(ListArray::try_new(Arc::clone(field), offsets, make(values), nulls)?))
}
