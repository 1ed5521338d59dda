//! `@>` and `<@` of jsonb. `a <@ b` is `b @> a`.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::super::bind::{is_jsonb, is_unknown};
use super::super::error::{EvalError, EvalResult};
use super::super::udf::{Args, Bound, Builtin};
use super::{texts, tree};
use crate::pgtypes::json::Json;
use crate::pgtypes::{jsonb, type_name};

fn undefined(sign: &str, types: &[DataType]) -> EvalError {
    EvalError::undefined(format!(
        "operator does not exist: {}",
        types.iter().map(type_name).collect::<Vec<_>>().join(&format!(" {sign} "))
    ))
}

/// `a @> b`
pub static CONTAINS: Builtin = Builtin {
    name: "pg_jsonb_contains",
    aliases: &[],
    bind: |types| match types {
        [l, r] if (is_jsonb(l) || is_jsonb(r)) && [l, r].iter().all(|t| is_jsonb(t) || is_unknown(t)) => {
            Ok(Bound { args: vec![jsonb(), jsonb()], ret: DataType::Boolean })
        }
        _ => Err(undefined("@>", types)),
    },
    refine: None,
    kernel: contains,
    safe: false,
};

fn contains(args: &Args<'_>) -> EvalResult<ArrayRef> {
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
