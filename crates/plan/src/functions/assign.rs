//! What INSERT and UPDATE may put into a column: PostgreSQL's assignment casts, which are more than the implicit ones and fewer than
//! those that somebody writes.
//!
//! `pg_assign(value, NULL::type, 'column')` stands around a value that a statement gives a column; the analyzer puts the cast in its
//! place, or refuses. A literal whose type is open is read as the column's type.

use arrow::datatypes::DataType;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;
use regauge_types::arrays::depth;

use super::bind::{implicit, is_json, is_number, is_text};
use super::error::EvalError;
use super::semantics::{Rewriter, is_unknown_literal};
use super::udf::{Bound, Builtin};
use crate::pgtypes::type_name;

/// See the module's header.
pub static ASSIGN: Builtin = Builtin {
    name: "pg_assign",
    aliases: &[],
    bind: |types| match types {
        [_, to, _] => Ok(Bound { args: types.to_vec(), ret: to.clone() }),
        _ => Err(EvalError::undefined("function pg_assign does not exist")),
    },
    refine: None,
    kernel: |_| Err(EvalError::internal("an assignment was not settled")),
    safe: false,
};

/// Whether a value of one type may be put into a column of another one.
#[must_use]
pub fn assignable(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    implicit(from, to)
        || is_text(to)
        || is_number(from) && is_number(to)
        || is_json(from) && is_json(to)
        || match (from, to) {
            (Timestamp(..), Date32 | Time64(_)) | (Interval(_), Time64(_)) => true,
            (List(f), List(t)) => depth(from) == depth(to) && assignable(f.data_type(), t.data_type()),
            _ => false,
        }
}

/// The refusal of a value.
#[must_use]
pub fn mismatch(column: &str, to: &DataType, from: &DataType) -> EvalError {
    let (own, given) = (depth(to), depth(from));
    if own > 0 && given > 0 && own != given {
        let dims = |n: usize| format!("{n} dimension{}", if n == 1 { "" } else { "s" });
        let message = format!("column \"{column}\" holds arrays of {} here, and the value has {}", dims(own), dims(given));
        return EvalError::new("0A000", message);
    }
    let message = format!("column \"{column}\" is of type {} but expression is of type {}", type_name(to), type_name(from));
    EvalError::new("42804", message)
}

/// The value as the column's type.
pub(super) fn settled(args: Vec<Expr>, rewriter: &Rewriter<'_>) -> DfResult<Expr> {
    let [value, witness, name]: [Expr; 3] = args.try_into().map_err(|_| EvalError::internal("an assignment lost its parts"))?;
    let (from, to) = (rewriter.type_of(&value)?, rewriter.type_of(&witness)?);
    // A NULL that was cast to text is text; a bare one has no type yet.
    let text = matches!(value, Expr::Literal(ScalarValue::Utf8(None), _));
    let open = is_unknown_literal(&value) && !text || matches!(&value, Expr::Placeholder(p) if p.field.is_none());
    if !open && !assignable(&from, &to) {
        let name = match &name {
            Expr::Literal(ScalarValue::Utf8(Some(name)), _) => name.as_str(),
            _ => "?",
        };
        return Err(mismatch(name, &to, &from).into());
    }
    rewriter.coerced(value, &to)
}

#[cfg(test)]
mod tests {
    use super::assignable;
    use arrow::datatypes::DataType::*;

    #[test]
    fn numbers_go_into_each_other_and_anything_into_text_but_text_into_nothing() {
        for (from, to) in [(Int64, Int16), (Float64, Int32), (Int32, Utf8), (Boolean, Utf8), (LargeUtf8, Utf8View)] {
            assert!(assignable(&from, &to), "{from} {to}");
        }
        for (from, to) in [(Utf8, Int32), (Boolean, Int32), (Int32, Boolean), (Utf8, Date32), (LargeUtf8, Int32), (Date32, Int32)]
        {
            assert!(!assignable(&from, &to), "{from} {to}");
        }
    }
}
