//! `a @> b`, `a <@ b` and `a && b` over arrays: whether one holds all elements of the other, or they share one. How often an element
//! stands there does not matter; NULL equals nothing.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Float64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use regauge_types::arrays::leaf;

use super::arith::{bind_names, boxed};
use super::bind::{common, is_int, is_unknown};
use super::error::{EvalError, EvalResult};
use super::lists::{Lists, alike, item};
use super::udf::{Args, Bound, Builtin};

/// `a @> b`
pub static CONTAINS: Builtin =
    Builtin { name: "pg_contains", aliases: &[], bind, refine: None, kernel: |a| held(a, true), safe: true };
/// `a && b`
pub static OVERLAP: Builtin =
    Builtin { name: "pg_overlap", aliases: &[], bind, refine: None, kernel: |a| held(a, false), safe: true };

/// What the operator is between arrays; `<@` with its sides turned.
pub(super) fn operator(op: &BinaryOperator) -> Option<&'static Builtin> {
    match op {
        BinaryOperator::AtArrow | BinaryOperator::ArrowAt => Some(&CONTAINS),
        BinaryOperator::PGOverlap => Some(&OVERLAP),
        _ => None,
    }
}

fn bind(types: &[DataType]) -> EvalResult<Bound> {
    let undefined = || EvalError::undefined(format!("operator does not exist: {}", bind_names(types).replace(", ", " @> ")));
    let [a, b] = types else { return Err(undefined()) };
    let of = match (item(a).map(leaf), item(b).map(leaf)) {
        (Some(a), Some(b)) if a == b => a.clone(),
        // a bare integer is a bigint until types are settled
        (Some(a), Some(b)) if [a, b].iter().any(|t| **t == DataType::Null) || (is_int(a) && is_int(b)) => common(a, b)?,
        (Some(of), None) if is_unknown(b) => of.clone(),
        (None, Some(of)) if is_unknown(a) => of.clone(),
        _ => return Err(undefined()),
    };
    Ok(Bound { args: vec![alike(of.clone(), a), alike(of, b)], ret: DataType::Boolean })
}

fn held(a: &Args<'_>, all: bool) -> EvalResult<ArrayRef> {
    let (left, right, nulls) = (Lists::new(a, 0)?.leaves(), Lists::new(a, 1)?.leaves(), a.nulls());
    let plain = |values: &ArrayRef| -> ArrayRef {
        // zeros of either sign are one value
        match values.as_primitive_opt::<Float64Type>() {
            Some(v) => Arc::new(v.unary::<_, Float64Type>(|v| v + 0.0)),
            None => Arc::clone(values),
        }
    };
    let (lv, rv) = (plain(left.list.values()), plain(right.list.values()));
    let rows = RowConverter::new(vec![SortField::new(lv.data_type().clone())])?;
    let (l, r) = (rows.convert_columns(&[Arc::clone(&lv)])?, rows.convert_columns(&[Arc::clone(&rv)])?);
    let answer = |i: usize| {
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            return None;
        }
        let has: HashSet<_> = left.range(i).filter(|at| lv.is_valid(*at)).map(|at| l.row(at)).collect();
        let found = |at: usize| rv.is_valid(at) && has.contains(&r.row(at));
        Some(if all { right.range(i).all(found) } else { right.range(i).any(found) })
    };
    Ok(boxed((0..a.n).map(answer).collect::<BooleanArray>()))
}
