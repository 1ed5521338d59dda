//! What rows out of arrays are made with: arrays of values, numbers for WITH ORDINALITY, and two marks that binding leaves.
//!
//! Names that begin with `pg_` or `regauge_` are not SQL's: syntax becomes them.

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;

use super::arith::{bind_names, boxed};
use super::bind;
use super::compare::expand;
use super::error::{EvalError, EvalResult};
use super::lists::{Lists, Picks, item};
use super::udf::{Args, Bound, Builtin};
use crate::pgtypes::list_of;

/// Name of the mark on what a recursion's step and the rows of VALUES give: it keeps the type that an expression had by itself
/// apart from what it was cast to.
pub const MARKED: &str = "regauge_marked";

fn undefined(name: &str, types: &[DataType]) -> EvalError {
    EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types)))
}

/// Itself.
pub static MARK: Builtin = Builtin {
    name: MARKED,
    aliases: &[],
    bind: |types| match types {
        [ty] => Ok(Bound { args: vec![ty.clone()], ret: ty.clone() }),
        _ => Err(undefined(MARKED, types)),
    },
    refine: None,
    kernel: |args| expand(args.col(0)?, args.n),
    safe: true,
};

/// `ARRAY[a, b, ..]` of values of one type.
pub static ARRAY: Builtin = Builtin {
    name: "pg_array",
    aliases: &[],
    bind: |types| {
        let of = bind::common_all(types, "ARRAY")?;
        Ok(Bound { args: vec![of.clone(); types.len()], ret: list_of(of) })
    },
    refine: None,
    kernel: array,
    safe: true,
};

/// The name of [`PLACES`].
pub(super) const PLACES_NAME: &str = "pg_places";

/// 1, 2, .. up to the length of the longest of some arrays.
pub static PLACES: Builtin = Builtin {
    name: PLACES_NAME,
    aliases: &[],
    bind: |types| {
        if types.is_empty() || types.iter().any(|t| item(t).is_none()) {
            return Err(undefined("pg_places", types));
        }
        let known = |ty: &DataType| if *ty == DataType::Null { list_of(DataType::Utf8) } else { ty.clone() };
        Ok(Bound { args: types.iter().map(known).collect(), ret: list_of(DataType::Int64) })
    },
    refine: None,
    kernel: places,
    safe: true,
};

/// Name of [`FULL`].
pub const FULL_NAME: &str = "pg_full";

/// An array that has elements; NULL for one that has none.
pub static FULL: Builtin = Builtin {
    name: FULL_NAME,
    aliases: &[],
    bind: |types| match types {
        [ty] if item(ty).is_some() => Ok(Bound { args: vec![ty.clone()], ret: ty.clone() }),
        _ => Err(undefined(FULL_NAME, types)),
    },
    refine: None,
    kernel: full,
    safe: true,
};

/// Name of [`FILLED`].
pub const FILLED_NAME: &str = "pg_filled";

/// An array; an empty one for NULL.
pub static FILLED: Builtin = Builtin {
    name: FILLED_NAME,
    aliases: &[],
    bind: |types| match types {
        [ty] if item(ty).is_some() => Ok(Bound { args: vec![ty.clone()], ret: ty.clone() }),
        _ => Err(undefined(FILLED_NAME, types)),
    },
    refine: None,
    kernel: filled,
    safe: true,
};

fn array(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let columns: Vec<&dyn arrow::array::Array> = args.cols.iter().map(|c| c.array.as_ref()).collect();
    let values = concat(&columns)?;
    let mut firsts = Vec::with_capacity(columns.len());
    let mut n = 0;
    for column in &columns {
        firsts.push(n);
        n += column.len();
    }
    let mut picks = Picks::new(args.n);
    for row in 0..args.n {
        for (first, column) in firsts.iter().zip(&args.cols) {
            picks.push(first + row * column.step)?;
        }
        picks.end(true)?;
    }
    picks.finish(&values, args.ret)
}

fn places(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let lists = (0..args.cols.len()).map(|at| Lists::new(args, at)).collect::<EvalResult<Vec<_>>>()?;
    let mut picks = Picks::new(args.n);
    let mut most = 0;
    for row in 0..args.n {
        let n = lists.iter().map(|l| l.range(row).len()).max().unwrap_or(0);
        (0..n).try_for_each(|at| picks.push(at))?;
        picks.end(true)?;
        most = most.max(n);
    }
    let most = i64::try_from(most).map_err(|_| EvalError::out_of_range("bigint"))?;
    let numbers: ArrayRef = boxed(Int64Array::from_iter_values(1..=most));
    picks.finish(&numbers, args.ret)
}

fn full(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let list = Lists::new(args, 0)?;
    let mut picks = Picks::new(args.n);
    for row in 0..args.n {
        let range = list.range(row);
        let any = !range.is_empty();
        range.into_iter().try_for_each(|at| picks.push(at))?;
        picks.end(any)?;
    }
    picks.finish(list.list.values(), args.ret)
}

fn filled(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let list = Lists::new(args, 0)?;
    let mut picks = Picks::new(args.n);
    for row in 0..args.n {
        list.range(row).into_iter().try_for_each(|at| picks.push(at))?;
        picks.end(true)?;
    }
    picks.finish(list.list.values(), args.ret)
}

/// What was marked, without the mark and the cast around it; anything else as it is.
pub(crate) fn unmarked(e: Expr) -> Expr {
    match marked(&e) {
        Some(inner) => inner.clone(),
        None => e,
    }
}

/// What stands within a mark, be there a cast around it or not.
pub(crate) fn marked(e: &Expr) -> Option<&Expr> {
    match e {
        Expr::Alias(a) => marked(&a.expr),
        Expr::Cast(c) => match c.expr.as_ref() {
            Expr::ScalarFunction(_) => marked(&c.expr),
            _ => None,
        },
        Expr::ScalarFunction(f) if f.name() == MARKED => f.args.first(),
        Expr::ScalarFunction(f) if super::cast_target(&f.func).is_some() && f.args.len() == 1 => f.args.first().and_then(marked),
        _ => None,
    }
}
