//! `array[from:to]` as `pg_slice(array, from, to)`: the elements between two places, counted from 1, as many as there are. NULL where an
//! argument is; syntax gives a bound that is left out as the widest.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Int32Type};

use super::arith::bind_names;
use super::bind::is_int;
use super::error::{EvalError, EvalResult};
use super::lists::{Lists, Picks, item};
use super::udf::{Args, Bound, Builtin};

/// Its frozen name.
pub const NAME: &str = "pg_slice";

/// pg_slice(array, from, to)
pub static SLICE: Builtin = Builtin {
    name: NAME,
    aliases: &[],
    bind: |types| match types {
        [list, from, to] if item(list).is_some() && [from, to].iter().all(|t| is_int(t) || **t == DataType::Null) => {
            Ok(Bound { args: vec![list.clone(), DataType::Int32, DataType::Int32], ret: list.clone() })
        }
        [list, ..] if item(list).is_none() => {
            let ty = crate::pgtypes::type_name(list);
            Err(EvalError::new("42804", format!("cannot subscript type {ty} because it does not support subscripting")))
        }
        _ => Err(EvalError::undefined(format!("function {NAME}({}) does not exist", bind_names(types)))),
    },
    refine: None,
    kernel: slice,
    safe: true,
};

fn slice(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let (list, nulls) = (Lists::new(a, 0)?, a.nulls());
    let ((from, sf), (to, st)) = (a.lanes::<Int32Type>(1)?, a.lanes::<Int32Type>(2)?);
    let mut picks = Picks::new(a.n);
    for i in 0..a.n {
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            picks.end(false)?;
            continue;
        }
        let range = list.range(i);
        let place = |n: i32| usize::try_from(n).unwrap_or(0);
        let (first, last) = (place(from[i * sf]).max(1), place(to[i * st]).min(range.len()));
        (first..=last).try_for_each(|n| picks.push(range.start + n - 1))?;
        picks.end(true)?;
    }
    picks.finish(list.list.values(), a.ret)
}
