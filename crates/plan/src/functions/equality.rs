//! Values that are equal and written differently, as functions: what a value is compared by, what it is shown by, and the way back.
//!
//! ```text
//!   GROUP BY j      ─▶   GROUP BY pg_jsonb_key(j), and j is pg_of_exact(min(pg_exact(j)))      see [`crate::bind`]'s `equal`
//! ```
//! `pg_exact` orders as the value does, and equal values by how they are written. Names that begin with `pg_` are not SQL's.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;
use regauge_types::forms::{canonical, from_exact, has_forms};
use regauge_types::key::{Keys, encode, encode_exact};

use super::arith::{self, bind_names, boxed};
use super::bind::is_float;
use super::compare::expand;
use super::error::{EvalError, EvalResult};
use super::lists::{Lists, Picks, item};
use super::udf::{Args, Bound, Builtin};
use super::{function, json, temporal};

/// What is compared in the place of an expression of this type; `None` where values that are equal are the same bytes.
pub(crate) fn key_of(ty: &DataType) -> Option<&'static Builtin> {
    Some(match ty {
        ty if is_float(ty) => &arith::FLOAT_KEY,
        DataType::Interval(_) => &temporal::INTERVAL_KEY,
        DataType::LargeUtf8 => &json::access::KEY,
        DataType::List(_) => &LIST_KEY,
        _ => return None,
    })
}

/// An expression's exact key.
pub(crate) fn exact(e: Expr) -> Expr {
    function(&EXACT).call(vec![e])
}

/// The value of type `ty` that an exact key was made of.
pub(crate) fn of_exact(e: Expr, ty: &DataType) -> datafusion::error::Result<Expr> {
    Ok(function(&OF_EXACT).call(vec![e, lit(ScalarValue::try_from(ty)?)]))
}

fn undefined(name: &str, types: &[DataType]) -> EvalError {
    EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types)))
}

fn one(name: &'static str, types: &[DataType], fits: fn(&DataType) -> bool, ret: fn(&DataType) -> DataType) -> EvalResult<Bound> {
    match types {
        [ty] if fits(ty) => Ok(Bound { args: vec![ty.clone()], ret: ret(ty) }),
        _ => Err(undefined(name, types)),
    }
}

/// The keys of a column's values; NULLs stay.
fn keys(
    args: &Args<'_>,
    of: fn(&[ArrayRef], usize) -> Result<Keys, regauge_types::hash::UnsupportedType>,
) -> EvalResult<ArrayRef> {
    let column = expand(args.col(0)?, args.n)?;
    let keys = of(std::slice::from_ref(&column), args.n).map_err(|e| EvalError::new("0A000", e.to_string()))?;
    Ok(boxed(keys.iter().enumerate().map(|(i, key)| column.is_valid(i).then_some(key)).collect::<BinaryArray>()))
}

/// What arrays are compared by: element by element, NULL as the greatest, a beginning before the whole.
pub static LIST_KEY: Builtin = Builtin {
    name: "pg_list_key",
    aliases: &[],
    bind: |types| one("pg_list_key", types, |ty| item(ty).is_some(), |_| DataType::Binary),
    refine: None,
    kernel: |args| keys(args, encode),
    safe: true,
};

/// The key that tells equal values apart by how they are written, ordered as they are.
pub static EXACT: Builtin = Builtin {
    name: "pg_exact",
    aliases: &[],
    bind: |types| one("pg_exact", types, |ty| has_forms(ty) || is_float(ty), |_| DataType::Binary),
    refine: None,
    kernel: |args| keys(args, encode_exact),
    safe: true,
};

/// Back from [`EXACT`]; the second argument says the type.
pub static OF_EXACT: Builtin = Builtin {
    name: "pg_of_exact",
    aliases: &[],
    bind: |types| match types {
        [DataType::Binary, ty] if has_forms(ty) || is_float(ty) => Ok(Bound { args: types.to_vec(), ret: ty.clone() }),
        _ => Err(undefined("pg_of_exact", types)),
    },
    refine: None,
    kernel: |args| {
        let column = expand(args.col(0)?, args.n)?;
        let keys = column.as_binary_opt::<i32>().ok_or_else(|| EvalError::internal("pg_of_exact takes a key"))?;
        from_exact(keys.iter(), args.ret).ok_or_else(|| EvalError::internal(format!("bytes that are no key of a {}", args.ret)))
    },
    safe: true,
};

/// The one form of values that are equal.
pub static CANONICAL: Builtin = Builtin {
    name: "pg_canonical",
    aliases: &[],
    bind: |types| one("pg_canonical", types, |ty| has_forms(ty) || is_float(ty), Clone::clone),
    refine: None,
    kernel: |args| Ok(canonical(&expand(args.col(0)?, args.n)?)),
    safe: true,
};

/// An ordered array without those elements that equal the one before them.
pub static ONCE: Builtin = Builtin {
    name: "pg_once",
    aliases: &[],
    bind: |types| one("pg_once", types, |ty| item(ty).is_some(), Clone::clone),
    refine: None,
    kernel: once,
    safe: true,
};

fn once(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let lists = Lists::new(args, 0)?;
    let values = lists.list.values();
    let differs = crate::over::boundaries(std::slice::from_ref(values), values.len())?;
    let mut picks = Picks::new(args.n);
    for row in 0..args.n {
        let range = lists.range(row);
        let first = range.start;
        range.filter(|at| *at == first || differs[*at]).try_for_each(|at| picks.push(at))?;
        picks.end(!lists.is_null(row))?;
    }
    picks.finish(values, args.ret)
}
