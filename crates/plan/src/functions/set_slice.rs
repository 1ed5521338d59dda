//! `UPDATE t SET a[2:3] = x`, which is `SET a = pg_set_slice(a, 2, 3, x)`: the array with the first elements of another in the places from
//! one to another, NULLs between where it was shorter. An array that is NULL takes none. Places are counted from 1, and stay so.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Int32Type};

use regauge_types::arrays::depth;

use super::arith::bind_names;
use super::bind::{self, is_int, is_unknown};
use super::error::{EvalError, EvalResult};
use super::lists::{Lists, Picks, item};
use super::set_element::LENGTH_MAX;
use super::udf::{Args, Bound, Builtin};

/// Its frozen name.
pub const NAME: &str = "pg_set_slice";

/// pg_set_slice(array, from, to, array)
pub static SET_SLICE: Builtin = Builtin {
    name: NAME,
    aliases: &[],
    bind: |types| match types {
        // refused where types are settled
        [list, ..] if depth(list) > 1 => Ok(Bound { args: types.to_vec(), ret: list.clone() }),
        [list, from, to, value] if [from, to].iter().all(|t| is_int(t) || is_unknown(t)) => {
            let of = item(list).filter(|of| **of != DataType::Null).ok_or_else(|| {
                let ty = crate::pgtypes::type_name(list);
                EvalError::new("42804", format!("cannot subscript type {ty} because it does not support subscripting"))
            })?;
            let fits = |given: &DataType| bind::implicit(given, of) || super::assign::assignable(given, of);
            if !(is_unknown(value) || item(value).is_some_and(|given| *given == DataType::Null || fits(given))) {
                let (wants, is) = (crate::pgtypes::type_name(list), crate::pgtypes::type_name(value));
                return Err(EvalError::new(
                    "42804",
                    format!("subscripted assignment requires type {wants} but expression is of type {is}"),
                ));
            }
            Ok(Bound { args: vec![list.clone(), DataType::Int32, DataType::Int32, list.clone()], ret: list.clone() })
        }
        _ => Err(EvalError::undefined(format!("function {NAME}({}) does not exist", bind_names(types)))),
    },
    refine: None,
    kernel: set,
    safe: false,
};

fn set(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let (list, value) = (Lists::new(a, 0)?, Lists::new(a, 3)?);
    let ((from, sf), (to, st)) = (a.lanes::<Int32Type>(1)?, a.lanes::<Int32Type>(2)?);
    let values = list.list.values();
    let nothing = new_null_array(values.data_type(), 1);
    let all = concat(&[values.as_ref(), value.list.values().as_ref(), nothing.as_ref()])?;
    let (given, null) = (values.len(), values.len() + value.list.values().len());
    let mut picks = Picks::new(a.n);
    for i in 0..a.n {
        if a.col(1)?.is_null(i) || a.col(2)?.is_null(i) {
            return Err(EvalError::new("22004", "array subscript in assignment must not be null"));
        }
        let range = list.range(i);
        if value.is_null(i) {
            range.clone().try_for_each(|at| picks.push(at))?;
            picks.end(!list.is_null(i))?;
            continue;
        }
        let (first, last) = (from[i * sf], to[i * st]);
        if last < first {
            return Err(EvalError::new("2202E", "upper bound cannot be less than lower bound"));
        }
        let place = |n: i32| usize::try_from(n).ok().and_then(|n| n.checked_sub(1));
        let bounds = place(first).zip(place(last)).filter(|(first, _)| *first == 0 || !range.is_empty());
        let (first, last) =
            bounds.ok_or_else(|| EvalError::new("0A000", "an array whose elements are not counted from 1 is not offered"))?;
        if last >= LENGTH_MAX {
            return Err(EvalError::new("54000", format!("array size exceeds the maximum allowed ({LENGTH_MAX})")));
        }
        let new = value.range(i);
        if new.len() <= last - first {
            return Err(EvalError::new("2202E", "source array too small"));
        }
        for n in 0..range.len().max(last + 1) {
            match n {
                n if (first..=last).contains(&n) => picks.push(given + new.start + n - first)?,
                n if n < range.len() => picks.push(range.start + n)?,
                _ => picks.push(null)?,
            }
        }
        picks.end(true)?;
    }
    picks.finish(&(Arc::clone(&all)), a.ret)
}
