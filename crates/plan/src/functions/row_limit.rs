//! How many rows a query in LIMIT or OFFSET asks for: the number that it gives, as a bigint that is not negative; NULL is all of them, or
//! none to skip. Syntax makes these calls (`crate::bind::counted`).

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int64Type};

use super::arith::boxed;
use super::bind::{as_decimal, is_decimal, is_float, is_int};
use super::error::{EvalError, EvalResult};
use super::udf::{Args, Bound, Builtin};
use crate::pgtypes::type_name;

macro_rules! count {
    ($static:ident, $name:literal, $clause:literal, $sqlstate:literal, $null:expr) => {
        #[doc = concat!("`", $name, "(n)`")]
        pub static $static: Builtin = Builtin {
            name: $name,
            aliases: &[],
            bind: |types| bind($clause, types),
            refine: None,
            kernel: |a| counted(a, $clause, $sqlstate, $null),
            safe: false,
        };
    };
}
count!(LIMIT, "pg_limit", "LIMIT", "2201W", i64::MAX);
count!(OFFSET, "pg_offset", "OFFSET", "2201X", 0);

fn bind(clause: &str, types: &[DataType]) -> EvalResult<Bound> {
    let arg = match types {
        [ty] if is_int(ty) || *ty == DataType::Null => DataType::Int64,
        [ty] if is_float(ty) => ty.clone(),
        [ty] if is_decimal(ty) => as_decimal(ty),
        [ty] => {
            let message = format!("argument of {clause} must be type bigint, not type {}", type_name(ty));
            return Err(EvalError::new("42804", message));
        }
        _ => return Err(EvalError::internal(format!("{clause} is one number"))),
    };
    Ok(Bound { args: vec![arg], ret: DataType::Int64 })
}

/// Rounded as an assignment rounds: a numeric's half away from zero, a double's to the even one.
fn counted(a: &Args<'_>, clause: &str, sqlstate: &'static str, null: i64) -> EvalResult<ArrayRef> {
    let counts = given(a, clause, sqlstate)?;
    let counts = counts.as_primitive::<Int64Type>();
    Ok(boxed(Int64Array::from_iter_values(counts.iter().map(|n| n.unwrap_or(null)))))
}

fn given(a: &Args<'_>, clause: &str, sqlstate: &'static str) -> EvalResult<ArrayRef> {
    let natural = |n: i64| match n {
        0.. => Ok(n),
        _ => Err(EvalError::new(sqlstate, format!("{clause} must not be negative"))),
    };
    let of_float = |v: f64| {
        let whole = v.round_ties_even();
        if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&whole) {
            return Err(EvalError::out_of_range("bigint"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "the bounds are those of a bigint")]
        let whole = whole as i64;
        natural(whole)
    };
    match a.col(0)?.array.data_type() {
        DataType::Int64 => {
            let (n, s) = a.lanes::<Int64Type>(0)?;
            a.rows::<Int64Type>(|i| natural(n[i * s]))
        }
        DataType::Decimal128(_, scale) => {
            let unit = super::arith::pow10(*scale);
            let (n, s) = a.lanes::<Decimal128Type>(0)?;
            a.rows::<Int64Type>(|i| {
                let v = n[i * s];
                let away = i128::from((v % unit).abs().saturating_mul(2) >= unit) * v.signum();
                natural(i64::try_from(v / unit + away).map_err(|_| EvalError::out_of_range("bigint"))?)
            })
        }
        DataType::Float32 => {
            let (n, s) = a.lanes::<Float32Type>(0)?;
            a.rows::<Int64Type>(|i| of_float(n[i * s].into()))
        }
        _ => {
            let (n, s) = a.lanes::<Float64Type>(0)?;
            a.rows::<Int64Type>(|i| of_float(n[i * s]))
        }
    }
}
