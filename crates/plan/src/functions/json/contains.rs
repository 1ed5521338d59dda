//! `@>` and `<@` of jsonb and of arrays, `&&` of arrays. `a <@ b` is `b @> a`.

use arrow::array::{Array, ArrayRef};
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::super::bind::{self, is_jsonb, is_unknown};
use super::super::compare;
use super::super::error::{EvalError, EvalResult};
use super::super::lists::{Lists, item};
use super::super::udf::{Args, Bound, Builtin, Col};
use super::{texts, tree};
use crate::pgtypes::json::Json;
use crate::pgtypes::{jsonb, list_of, type_name};
use crate::scalar::CompareOp;

fn undefined(sign: &str, types: &[DataType]) -> EvalError {
    EvalError::undefined(format!(
        "operator does not exist: {}",
        types.iter().map(type_name).collect::<Vec<_>>().join(&format!(" {sign} "))
    ))
}

/// Two arrays of what both have in common.
fn bind_lists(sign: &str, l: &DataType, r: &DataType) -> EvalResult<Bound> {
    let none = || undefined(sign, &[l.clone(), r.clone()]);
    let of = match (item(l), item(r)) {
        (Some(a), Some(b)) => bind::common(a, b).map_err(|_| none())?,
        (Some(a), None) if is_unknown(r) => a.clone(),
        (None, Some(b)) if is_unknown(l) => b.clone(),
        _ => return Err(none()),
    };
    let list = list_of(if of == DataType::Null { DataType::Utf8 } else { of });
    Ok(Bound { args: vec![list.clone(), list], ret: DataType::Boolean })
}

/// `a @> b`
pub static CONTAINS: Builtin = Builtin {
    name: "pg_contains",
    aliases: &[],
    bind: |types| match types {
        [l, r] if (is_jsonb(l) || is_jsonb(r)) && [l, r].iter().all(|t| is_jsonb(t) || is_unknown(t)) => {
            Ok(Bound { args: vec![jsonb(), jsonb()], ret: DataType::Boolean })
        }
        [l, r] => bind_lists("@>", l, r),
        _ => Err(undefined("@>", types)),
    },
    refine: None,
    kernel: contains,
    safe: false,
};

/// `a && b`
pub static OVERLAPS: Builtin = Builtin {
    name: "pg_overlaps",
    aliases: &[],
    bind: |types| match types {
        [l, r] => bind_lists("&&", l, r),
        _ => Err(undefined("&&", types)),
    },
    refine: None,
    kernel: |args| compared(args, |hits| hits.iter().any(|h| *h)),
    safe: false,
};

fn contains(args: &Args<'_>) -> EvalResult<ArrayRef> {
    if !is_jsonb(args.col(0)?.array.data_type()) {
        return compared(args, |hits| hits.iter().all(|h| *h));
    }
    let ((l, sl), (r, sr)) = (texts(args, 0)?, texts(args, 1)?);
    args.rows_bool(|i| {
        let (l, r) = (tree(l.value(i * sl))?, tree(r.value(i * sr))?);
        Ok(match (&l, &r) {
            // a scalar that an array holds: only where the array stands by itself
            (Json::Array(items), r) if !matches!(r, Json::Array(_) | Json::Object(_)) => items.iter().any(|item| equal(item, r)),
            (l, r) => holds(l, r),
        })
    })
}

/// Whether the right value lies within the left one.
fn holds(l: &Json<'_>, r: &Json<'_>) -> bool {
    match (l, r) {
        (Json::Object(l), Json::Object(r)) => r.iter().all(|(key, value)| l.iter().any(|(k, own)| k == key && holds(own, value))),
        (Json::Array(l), Json::Array(r)) => r.iter().all(|value| l.iter().any(|own| holds(own, value))),
        (l, r) => equal(l, r),
    }
}

/// Of scalars: numbers are equal whatever zeros follow.
fn equal(l: &Json<'_>, r: &Json<'_>) -> bool {
    match (l, r) {
        (Json::Number(l), Json::Number(r)) => regauge_types::jsonb::normal(l) == regauge_types::jsonb::normal(r),
        (Json::Array(_) | Json::Object(_), _) | (_, Json::Array(_) | Json::Object(_)) => false,
        (l, r) => l == r,
    }
}

/// For each element of the right array whether the left one has it (NULL equals nothing); what that means for the row.
fn compared(args: &Args<'_>, means: impl Fn(&[bool]) -> bool) -> EvalResult<ArrayRef> {
    let (l, r) = (Lists::new(args, 0)?, Lists::new(args, 1)?);
    // one comparison over all pairs of elements of all rows
    let index = |n: usize| u32::try_from(n).map_err(|_| EvalError::new("54000", "arrays of one batch are too large"));
    let (mut left, mut right) = (vec![], vec![]);
    let nulls = args.nulls();
    let some = |i: usize| nulls.as_ref().is_none_or(|n| n.is_valid(i));
    for i in (0..args.n).filter(|i| some(*i)) {
        let pairs = l.range(i).len().saturating_mul(r.range(i).len());
        if pairs.saturating_add(left.len()) > PAIRS_MAX {
            return Err(EvalError::new("54000", "arrays of one batch are too large"));
        }
        for b in r.range(i) {
            for a in l.range(i) {
                left.push(index(a)?);
                right.push(index(b)?);
            }
        }
    }
    let n = left.len();
    let side = |list: &Lists<'_>, places: Vec<u32>| -> EvalResult<Col> {
        Ok(Col { array: take(list.list.values(), &arrow::array::UInt32Array::from(places), None)?, step: 1 })
    };
    let same = compare::compare(CompareOp::Eq, &side(&l, left)?, &side(&r, right)?, n)?;
    let mut at = 0;
    let mut starts = Vec::with_capacity(args.n);
    for i in 0..args.n {
        starts.push(at);
        if some(i) {
            at += l.range(i).len() * r.range(i).len();
        }
    }
    args.rows_bool(|i| {
        let width = l.range(i).len();
        let hit = |nth: usize| {
            let from = starts[i] + nth * width;
            (from..from + width).any(|at| same.is_valid(at) && same.value(at))
        };
        let hits: Vec<bool> = (0..r.range(i).len()).map(hit).collect();
        Ok(means(&hits))
    })
}

/// Pairs of elements of one batch.
const PAIRS_MAX: usize = 1 << 26;
