//! `UPDATE t SET a[2] = x`, which is `SET a = pg_set_element(a, 2, x)`: the array with one element in the place of another, or behind its
//! end, with NULLs between. Places are counted from 1, and stay so: what PostgreSQL would give bounds of its own (`[2:2]={99}`) is refused.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Int32Type};

use regauge_types::arrays::depth;

use super::arith::bind_names;
use super::bind::{self, is_int, is_unknown};
use super::error::{EvalError, EvalResult};
use super::lists::{Lists, Picks, item};
use super::udf::{Args, Bound, Builtin};

/// Its frozen name.
pub const NAME: &str = "pg_set_element";

/// An array that an assignment may make.
pub(super) const LENGTH_MAX: usize = 10_000_000;

/// pg_set_element(array, place, value)
pub static SET_ELEMENT: Builtin = Builtin {
    name: NAME,
    aliases: &[],
    bind: |types| match types {
        // refused where types are settled
        [list, ..] if depth(list) > 1 => Ok(Bound { args: types.to_vec(), ret: list.clone() }),
        [list, place, value] if is_int(place) || is_unknown(place) => {
            let of = item(list).filter(|of| **of != DataType::Null).ok_or_else(|| {
                let ty = crate::pgtypes::type_name(list);
                EvalError::new("42804", format!("cannot subscript type {ty} because it does not support subscripting"))
            })?;
            if !(is_unknown(value) || bind::implicit(value, of) || super::assign::assignable(value, of)) {
                let (wants, is) = (crate::pgtypes::type_name(of), crate::pgtypes::type_name(value));
                return Err(EvalError::new(
                    "42804",
                    format!("subscripted assignment requires type {wants} but expression is of type {is}"),
                ));
            }
            Ok(Bound { args: vec![list.clone(), DataType::Int32, of.clone()], ret: list.clone() })
        }
        _ => Err(EvalError::undefined(format!("function {NAME}({}) does not exist", bind_names(types)))),
    },
    refine: None,
    kernel: set,
    safe: false,
};

fn set(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let list = Lists::new(a, 0)?;
    let (places, sp) = a.lanes::<Int32Type>(1)?;
    let (at, value) = (a.col(1)?, a.col(2)?);
    let values = list.list.values();
    let nothing = new_null_array(values.data_type(), 1);
    let all = concat(&[values.as_ref(), value.array.as_ref(), nothing.as_ref()])?;
    let (given, null) = (values.len(), values.len() + value.array.len());
    let mut picks = Picks::new(a.n);
    for i in 0..a.n {
        if at.is_null(i) {
            return Err(EvalError::new("22004", "array subscript in assignment must not be null"));
        }
        let range = list.range(i);
        let place = usize::try_from(places[i * sp]).ok().and_then(|n| n.checked_sub(1));
        let place = place.filter(|n| *n == 0 || !range.is_empty());
        let place =
            place.ok_or_else(|| EvalError::new("0A000", "an array whose elements are not counted from 1 is not offered"))?;
        if place >= LENGTH_MAX {
            return Err(EvalError::new("54000", format!("array size exceeds the maximum allowed ({LENGTH_MAX})")));
        }
        for n in 0..range.len().max(place + 1) {
            match n {
                n if n == place => picks.push(given + i * value.step)?,
                n if n < range.len() => picks.push(range.start + n)?,
                _ => picks.push(null)?,
            }
        }
        picks.end(true)?;
    }
    picks.finish(&(Arc::clone(&all)), a.ret)
}
