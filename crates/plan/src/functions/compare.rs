//! Comparisons as PostgreSQL orders values (NaN equals itself and is greatest, -0 equals 0, a month is 30 days, text is
//! bytes), and what is chosen by comparison: greatest, least, nullif.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Datum as ArrowDatum, Scalar as ArrowScalar, make_comparator};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::SortOptions;
use arrow::compute::kernels::cmp;
use arrow::datatypes::{DataType, Float32Type, Float64Type, IntervalMonthDayNanoType};

use super::arith::bind_names;
use super::bind::{self, common_all};
use super::cast::cast_column;
use super::error::{EvalError, EvalResult};
use super::temporal::interval_key;
use super::udf::{Args, Bound, Builtin, Col};
use crate::scalar::CompareOp;

/// `l op r` over `n` rows of one type.
///
/// # Errors
/// XX000 when the types differ.
pub fn compare(op: CompareOp, l: &Col, r: &Col, n: usize) -> EvalResult<BooleanArray> {
    match (l.array.data_type(), r.array.data_type()) {
        (DataType::Null, _) | (_, DataType::Null) => {
            let kind = [&l.array, &r.array].map(|a| if *a.data_type() == DataType::Null { Some(a.len()) } else { None });
            null_compare(op, l, r, n, kind[0].is_some(), kind[1].is_some())
        }
        (DataType::Float64, DataType::Float64) => {
            let (a, b) = (l.array.as_primitive::<Float64Type>().values(), r.array.as_primitive::<Float64Type>().values());
            Ok(ordered(op, l, r, n, |i| float_order(a[i * l.step], b[i * r.step])))
        }
        (DataType::Float32, DataType::Float32) => {
            let (a, b) = (l.array.as_primitive::<Float32Type>().values(), r.array.as_primitive::<Float32Type>().values());
            Ok(ordered(op, l, r, n, |i| float_order(a[i * l.step].into(), b[i * r.step].into())))
        }
        (DataType::Interval(_), DataType::Interval(_)) => {
            let lanes = |c: &Col| c.array.as_primitive_opt::<IntervalMonthDayNanoType>().map(|a| a.values().clone());
            let (Some(a), Some(b)) = (lanes(l), lanes(r)) else { return Err(EvalError::internal("interval expected")) };
            Ok(ordered(op, l, r, n, |i| interval_key(a[i * l.step]).cmp(&interval_key(b[i * r.step]))))
        }
        (DataType::List(_), DataType::List(_)) => {
            let order = order_of(l, r)?;
            Ok(ordered(op, l, r, n, |i| order(i * l.step, i * r.step)))
        }
        (DataType::LargeUtf8, DataType::LargeUtf8) => {
            let key = |c: &Col| {
                let keys = super::json::access::keys(&c.array);
                keys.map(|array| Col { array, step: c.step }).ok_or_else(|| EvalError::internal("jsonb expected"))
            };
            by_arrow(op, &key(l)?, &key(r)?, n)
        }
        _ => by_arrow(op, l, r, n),
    }
}

/// PostgreSQL's order of doubles.
#[inline(always)]
pub fn float_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn null_compare(op: CompareOp, l: &Col, r: &Col, n: usize, l_null: bool, r_null: bool) -> EvalResult<BooleanArray> {
    let is_null = |c: &Col, whole: bool, i: usize| whole || c.is_null(i);
    let same = |i: usize| is_null(l, l_null, i) && is_null(r, r_null, i);
    Ok(match op {
        CompareOp::Distinct => BooleanArray::new(BooleanBuffer::collect_bool(n, |i| !same(i)), None),
        CompareOp::NotDistinct => BooleanArray::new(BooleanBuffer::collect_bool(n, same), None),
        _ => BooleanArray::new_null(n),
    })
}

fn holds(op: CompareOp, o: Ordering) -> bool {
    match op {
        CompareOp::Eq | CompareOp::NotDistinct => o == Ordering::Equal,
        CompareOp::Ne | CompareOp::Distinct => o != Ordering::Equal,
        CompareOp::Lt => o == Ordering::Less,
        CompareOp::Le => o != Ordering::Greater,
        CompareOp::Gt => o == Ordering::Greater,
        CompareOp::Ge => o != Ordering::Less,
    }
}

fn ordered(op: CompareOp, l: &Col, r: &Col, n: usize, order: impl Fn(usize) -> Ordering) -> BooleanArray {
    if matches!(op, CompareOp::Distinct | CompareOp::NotDistinct) {
        let distinct = op == CompareOp::Distinct;
        let values = BooleanBuffer::collect_bool(n, |i| match (l.is_null(i), r.is_null(i)) {
            (false, false) => holds(op, order(i)),
            (a, b) => (a != b) == distinct,
        });
        return BooleanArray::new(values, None);
    }
    let side = |c: &Col| match c.step {
        0 if c.array.is_null(0) => Some(NullBuffer::new_null(n)),
        0 => None,
        _ => c.array.nulls().cloned(),
    };
    let nulls = NullBuffer::union(side(l).as_ref(), side(r).as_ref());
    // one loop for each operator
    let values = match op {
        CompareOp::Eq => BooleanBuffer::collect_bool(n, |i| order(i) == Ordering::Equal),
        CompareOp::Lt => BooleanBuffer::collect_bool(n, |i| order(i) == Ordering::Less),
        CompareOp::Gt => BooleanBuffer::collect_bool(n, |i| order(i) == Ordering::Greater),
        _ => BooleanBuffer::collect_bool(n, |i| holds(op, order(i))),
    };
    BooleanArray::new(values, nulls)
}

fn by_arrow(op: CompareOp, l: &Col, r: &Col, n: usize) -> EvalResult<BooleanArray> {
    let datum = |c: &Col| -> Box<dyn ArrowDatum> {
        if c.step == 0 { Box::new(ArrowScalar::new(Arc::clone(&c.array))) } else { Box::new(Arc::clone(&c.array)) }
    };
    let (a, b) = (datum(l), datum(r));
    let (a, b) = (a.as_ref(), b.as_ref());
    let out = match op {
        CompareOp::Eq => cmp::eq(a, b),
        CompareOp::Ne => cmp::neq(a, b),
        CompareOp::Lt => cmp::lt(a, b),
        CompareOp::Le => cmp::lt_eq(a, b),
        CompareOp::Gt => cmp::gt(a, b),
        CompareOp::Ge => cmp::gt_eq(a, b),
        CompareOp::Distinct => cmp::distinct(a, b),
        CompareOp::NotDistinct => cmp::not_distinct(a, b),
    }?;
    if out.len() == n {
        return Ok(out);
    }
    // two constants give one row
    let one = (!out.is_null(0)).then(|| out.value(0));
    Ok(std::iter::repeat_n(one, n).collect())
}

/// Whether PostgreSQL has an equality of just these two types.
fn is_kept(a: &DataType, b: &DataType) -> bool {
    let is_moment = |ty: &DataType| bind::is_timestamp(ty) || *ty == DataType::Date32;
    a != b
        && (is_moment(a) && is_moment(b) || bind::is_int(a) && bind::is_int(b) || *a == DataType::Float32 && bind::is_number(b))
}

fn bind_common(name: &str, types: &[DataType]) -> EvalResult<Bound> {
    if types.is_empty() {
        return Err(EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types))));
    }
    let ty = common_all(types, &name.to_uppercase())?;
    Ok(Bound { args: vec![ty.clone(); types.len()], ret: ty })
}

/// greatest(a, ...): NULLs are passed over.
pub static GREATEST: Builtin = Builtin {
    name: "greatest",
    aliases: &[],
    bind: |types| bind_common("greatest", types),
    refine: None,
    kernel: |args| choose(args, Ordering::Greater),
    safe: true,
};

/// least(a, ...): NULLs are passed over.
pub static LEAST: Builtin = Builtin {
    name: "least",
    aliases: &[],
    bind: |types| bind_common("least", types),
    refine: None,
    kernel: |args| choose(args, Ordering::Less),
    safe: true,
};

/// nullif(a, b): of the type that a has in `a = b`, and PostgreSQL compares numbers and moments of several types as they are.
pub static NULLIF: Builtin = Builtin {
    name: "nullif",
    aliases: &[],
    bind: |types| match types {
        [a, b] if is_kept(a, b) => Ok(Bound { args: types.to_vec(), ret: a.clone() }),
        [_, _] => bind_common("nullif", types),
        _ => Err(EvalError::undefined(format!("function nullif({}) does not exist", bind_names(types)))),
    },
    refine: None,
    kernel: |args| {
        let (l, r) = (args.col(0)?, args.col(1)?);
        let equal = match [l, r].map(|col| col.array.data_type()) {
            [a, b] if a == b => compare(CompareOp::Eq, l, r, args.n)?,
            types => {
                let common = common_all(types, "NULLIF")?;
                let cast = |col: &Col| EvalResult::Ok(Col { array: cast_column(&col.array, &common)?, step: col.step });
                compare(CompareOp::Eq, &cast(l)?, &cast(r)?, args.n)?
            }
        };
        let values = expand(l, args.n)?;
        Ok(arrow::compute::nullif(&values, &equal)?)
    },
    safe: false,
};

/// A constant repeated for all rows.
pub(crate) fn expand(col: &Col, n: usize) -> EvalResult<ArrayRef> {
    if col.step == 1 {
        return Ok(Arc::clone(&col.array));
    }
    Ok(arrow::compute::take(&col.array, &arrow::array::UInt32Array::from(vec![0; n]), None)?)
}

fn choose(args: &Args<'_>, wanted: Ordering) -> EvalResult<ArrayRef> {
    let arrays: Vec<ArrayRef> = args.cols.iter().map(|c| Ok(Arc::clone(&c.array))).collect::<EvalResult<_>>()?;
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    let mut best: Vec<(usize, usize)> = (0..args.n).map(|i| (0, i * args.cols[0].step)).collect();
    for (k, col) in args.cols.iter().enumerate().skip(1) {
        // comparators of this argument with all earlier ones, one of which is the best so far
        let comparators = (0..k).map(|j| order_of(&args.cols[j], col)).collect::<EvalResult<Vec<_>>>()?;
        for (i, best) in best.iter_mut().enumerate() {
            if col.is_null(i) {
                continue;
            }
            let (j, at) = *best;
            if args.cols[j].array.is_null(at) || comparators[j](at, i * col.step) == wanted.reverse() {
                *best = (k, i * col.step);
            }
        }
    }
    Ok(arrow::compute::interleave(&arrays, &best)?)
}

type Comparator = Box<dyn Fn(usize, usize) -> Ordering + Send + Sync>;

fn order_of(l: &Col, r: &Col) -> EvalResult<Comparator> {
    match (l.array.data_type(), r.array.data_type()) {
        (DataType::Float64, DataType::Float64) => {
            let lanes = |c: &Col| c.array.as_primitive::<Float64Type>().values().clone();
            let (a, b) = (lanes(l), lanes(r));
            Ok(Box::new(move |i, j| float_order(a[i], b[j])))
        }
        (DataType::Interval(_), DataType::Interval(_)) => {
            let lanes = |c: &Col| c.array.as_primitive_opt::<IntervalMonthDayNanoType>().map(|a| a.values().clone());
            let (Some(a), Some(b)) = (lanes(l), lanes(r)) else { return Err(EvalError::internal("interval expected")) };
            Ok(Box::new(move |i, j| interval_key(a[i]).cmp(&interval_key(b[j]))))
        }
        (DataType::List(item), DataType::List(_)) if item.data_type().is_nested() => {
            let key = |c: &Col| {
                let keys = regauge_types::key::encode(std::slice::from_ref(&c.array), c.array.len());
                keys.map_err(|e| EvalError::new("0A000", e.to_string()))
            };
            let (a, b) = (key(l)?, key(r)?);
            Ok(Box::new(move |i, j| a.get(i).cmp(b.get(j))))
        }
        (DataType::LargeUtf8, DataType::LargeUtf8) => {
            let key = |c: &Col| super::json::access::keys(&c.array).ok_or_else(|| EvalError::internal("jsonb expected"));
            Ok(make_comparator(&key(l)?, &key(r)?, SortOptions::default())?)
        }
        _ => Ok(make_comparator(&l.array, &r.array, SortOptions::default())?),
    }
}
