//! The value of a scalar subquery that may have more rows than one: `regauge_only_row(n, value)` gives the value, and fails for n > 1.
//!
//! Made by `crate::bind`'s rule for subqueries; n is how many rows there were (NULL for none), the value is theirs if there was one.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};

use super::arith::bind_names;
use super::compare::expand;
use super::error::EvalError;
use super::udf::{Bound, Builtin};

/// Its frozen name.
pub const NAME: &str = "regauge_only_row";

/// regauge_only_row(n, value)
pub static ONLY_ROW: Builtin = Builtin {
    name: NAME,
    aliases: &[],
    bind: |types| match types {
        [_, value] => Ok(Bound { args: vec![DataType::Int64, value.clone()], ret: value.clone() }),
        _ => Err(EvalError::undefined(format!("function {NAME}({}) does not exist", bind_names(types)))),
    },
    refine: None,
    kernel: |args| {
        let (n, value) = (args.col(0)?, args.col(1)?);
        let counts = n.array.as_primitive::<Int64Type>();
        let several = (0..args.n).map(|i| i * n.step).any(|i| counts.is_valid(i) && counts.value(i) > 1);
        if several {
            return Err(EvalError::new("21000", "more than one row returned by a subquery used as an expression"));
        }
        expand(value, args.n)
    },
    safe: false,
};
