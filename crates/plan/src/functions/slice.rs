//! `array[from:to]` as `pg_slice(array, from, to)`: the elements between two places, counted from 1, as many as there are; two more places
//! for each dimension behind the first. Dimensions that are left out are whole, and of more than there are nothing is left. NULL where an
//! argument is; syntax gives a bound that is left out as the widest.

use std::ops::Range;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int32Type};
use regauge_types::arrays::build;

use super::arith::bind_names;
use super::bind::is_int;
use super::error::{EvalError, EvalResult};
use super::lists::{Lists, item};
use super::udf::{Args, Bound, Builtin};

/// Its frozen name.
pub const NAME: &str = "pg_slice";

/// pg_slice(array, from, to, ..)
pub static SLICE: Builtin = Builtin {
    name: NAME,
    aliases: &[],
    bind: |types| match types {
        [list, bounds @ ..]
            if item(list).is_some()
                && !bounds.is_empty()
                && bounds.len().is_multiple_of(2)
                && bounds.iter().all(|t| is_int(t) || *t == DataType::Null) =>
        {
            let args = std::iter::once(list.clone()).chain(bounds.iter().map(|_| DataType::Int32)).collect();
            Ok(Bound { args, ret: list.clone() })
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
    let all = list.dims(a.n);
    let list = list.leaves();
    let bounds = (1..a.cols.len()).map(|at| a.lanes::<Int32Type>(at)).collect::<EvalResult<Vec<_>>>()?;
    let (mut places, mut shapes) = (vec![], Vec::with_capacity(a.n));
    for (i, dims) in all.into_iter().enumerate() {
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            shapes.push(None);
            continue;
        }
        let place = |n: i32| usize::try_from(n).unwrap_or(0);
        // of each dimension the places from 0 on that stay
        let kept: Vec<Range<usize>> = dims
            .iter()
            .enumerate()
            .map(|(k, len)| match (bounds.get(2 * k), bounds.get(2 * k + 1)) {
                (Some((from, sf)), Some((to, st))) => place(from[i * sf]).max(1) - 1..place(to[i * st]).min(*len),
                _ => 0..*len,
            })
            .collect();
        if bounds.len() / 2 > dims.len() || kept.iter().any(Range::is_empty) {
            shapes.push(Some(vec![]));
            continue;
        }
        let mut at = vec![list.range(i).start];
        for (k, kept) in kept.iter().enumerate() {
            let step: usize = dims[k + 1..].iter().product();
            at = at.iter().flat_map(|first| kept.clone().map(move |n| first + n * step)).collect();
        }
        places.extend(at.into_iter().map(|at| u32::try_from(at).unwrap_or(u32::MAX)));
        shapes.push(Some(kept.iter().map(Range::len).collect()));
    }
    Ok(build(a.ret, take(list.list.values(), &UInt32Array::from(places), None)?, &shapes)?)
}
