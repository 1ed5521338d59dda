//! More functions of arrays: `array_dims`, `array_fill`, and what gives arrays another number of dimensions.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Int32Type};

use super::arith::bind_names;
use super::bind::{is_int, is_unknown};
use super::error::{EvalError, EvalResult};
use super::lists::{Lists, Picks, item};
use super::udf::{Args, Bound, Builtin};
use crate::pgtypes::list_of;
use arrow::array::AsArray;
use regauge_types::arrays::{Misfit, depth, leaf, misfit};

fn undefined(name: &str, types: &[DataType]) -> EvalError {
    EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types)))
}

fn known(of: &DataType) -> DataType {
    if *of == DataType::Null { DataType::Utf8 } else { of.clone() }
}

/// `array_dims`
pub static ARRAY_DIMS: Builtin = Builtin {
    name: "array_dims",
    aliases: &[],
    bind: |types| match types {
        [list] => {
            let of = item(list).ok_or_else(|| undefined("array_dims", types))?;
            Ok(Bound { args: vec![list_of(known(of))], ret: DataType::Utf8 })
        }
        _ => Err(undefined("array_dims", types)),
    },
    refine: None,
    kernel: |args| {
        let dims = Lists::new(args, 0)?.dims(args.n);
        super::udf::text_array(args.n, |i, out| {
            dims[i].iter().for_each(|n| out.push_str(&format!("[1:{n}]")));
            Ok(!dims[i].is_empty())
        })
    },
    safe: false,
};

/// Elements of one array that `array_fill` makes.
const FILL_MAX: usize = 10_000_000;

/// `array_fill(value, array[n])`
pub static ARRAY_FILL: Builtin = Builtin {
    name: "array_fill",
    aliases: &[],
    bind: |types| match types {
        [value, lengths] if !value.is_nested() => {
            let sound = item(lengths).is_some_and(|of| is_int(of) || *of == DataType::Null) || is_unknown(lengths);
            if !sound {
                return Err(undefined("array_fill", types));
            }
            let value = known(value);
            Ok(Bound { args: vec![value.clone(), list_of(DataType::Int32)], ret: list_of(value) })
        }
        _ => Err(undefined("array_fill", types)),
    },
    refine: None,
    kernel: fill,
    safe: false,
};

fn fill(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (value, lengths) = (args.col(0)?, Lists::new(args, 1)?);
    let lens = lengths.list.values().as_primitive_opt::<Int32Type>();
    let lens = lens.ok_or_else(|| EvalError::internal("lengths are integers"))?;
    let mut picks = Picks::new(args.n);
    let mut total = 0_usize;
    for i in 0..args.n {
        if lengths.is_null(i) {
            return Err(EvalError::new("22004", "dimension array or low bound array cannot be null"));
        }
        let range = lengths.range(i);
        let n = match range.len() {
            0 => 0,
            1 if lens.is_null(range.start) => return Err(EvalError::new("22004", "dimension values cannot be null")),
            1 => usize::try_from(lens.value(range.start))
                .map_err(|_| EvalError::new("54000", "array size exceeds the maximum allowed"))?,
            _ => {
                let message = "array_fill of several dimensions is not offered: how many it gives is no constant";
                return Err(EvalError::new("0A000", message));
            }
        };
        total = total.saturating_add(n);
        if total > FILL_MAX {
            return Err(EvalError::new("54000", "array size exceeds the maximum allowed"));
        }
        (0..n).try_for_each(|_| picks.push(i * value.step))?;
        picks.end(true)?;
    }
    picks.finish(&value.array, args.ret)
}

/// Name of [`FLAT`].
pub(crate) const FLAT_NAME: &str = "pg_flat";

/// An array as one of one dimension, which `unnest` takes apart; what is no array as it is.
pub static FLAT: Builtin = Builtin {
    name: FLAT_NAME,
    aliases: &[],
    bind: |types| match types {
        [ty] if depth(ty) > 1 => Ok(Bound { args: types.to_vec(), ret: list_of(leaf(ty).clone()) }),
        [ty] => Ok(Bound { args: types.to_vec(), ret: ty.clone() }),
        _ => Err(undefined("unnest", types)),
    },
    refine: None,
    kernel: |args| {
        let whole = super::compare::expand(args.col(0)?, args.n)?;
        Ok(match whole.as_list_opt::<i32>() {
            Some(list) => std::sync::Arc::new(regauge_types::arrays::flatten(list)),
            None => whole,
        })
    },
    safe: true,
};

/// `ARRAY[a, b, ..]` of arrays: one dimension more. An array that is NULL counts as empty, and empty ones alone make an empty one.
pub static ARRAYS: Builtin = Builtin {
    name: "pg_arrays",
    aliases: &[],
    bind: |types| {
        let of = super::bind::common_all(types, "ARRAY")?;
        let ret = list_of(of.clone());
        if depth(&ret) < 2 {
            return Err(undefined("pg_arrays", types));
        }
        Ok(Bound { args: vec![of; types.len()], ret })
    },
    refine: None,
    kernel: arrays,
    safe: false,
};

fn arrays(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let lists = (0..args.cols.len()).map(|at| Lists::new(args, at)).collect::<EvalResult<Vec<_>>>()?;
    let dims: Vec<Vec<Vec<usize>>> = lists.iter().map(|list| list.dims(args.n)).collect();
    let columns: Vec<&dyn Array> = args.cols.iter().map(|c| c.array.as_ref()).collect();
    let values = arrow::compute::concat(&columns)?;
    let mut picks = Picks::new(args.n);
    for row in 0..args.n {
        let first = dims.first().map(|dims| &dims[row]);
        if dims.iter().any(|dims| Some(&dims[row]) != first) {
            let message = "multidimensional arrays must have array expressions with matching dimensions";
            return Err(EvalError::new("2202E", message));
        }
        let mut before = 0;
        for column in &args.cols {
            if first.is_some_and(|dims| !dims.is_empty()) {
                picks.push(before + row * column.step)?;
            }
            before += column.array.len();
        }
        picks.end(true)?;
    }
    picks.finish(&values, args.ret)
}

/// Name of [`UNJOINED`].
pub(crate) const UNJOINED_NAME: &str = "pg_unjoined";

/// Itself, within an `array_agg` that syntax stands for and that gathers values, be they alike or not. Of what is no array nothing is left
/// of it once types are settled.
pub static UNJOINED: Builtin = Builtin {
    name: UNJOINED_NAME,
    aliases: &[],
    bind: |types| match types {
        [ty] => Ok(Bound { args: types.to_vec(), ret: ty.clone() }),
        _ => Err(undefined(UNJOINED_NAME, types)),
    },
    refine: None,
    kernel: |args| super::compare::expand(args.col(0)?, args.n),
    safe: true,
};

/// `pg_item(list, n)`: what stands in a list, be it a list itself; `array[n]` gives elements alone.
pub static ITEM: Builtin = Builtin {
    name: "pg_item",
    aliases: &[],
    bind: |types| match types {
        [list, n] if item(list).is_some() && (is_int(n) || is_unknown(n)) => {
            let of = known(item(list).unwrap_or(&DataType::Null));
            Ok(Bound { args: vec![list_of(of.clone()), DataType::Int32], ret: of })
        }
        _ => Err(undefined("pg_item", types)),
    },
    refine: None,
    kernel: |args| {
        let (list, (no, sn), nulls) = (Lists::new(args, 0)?, args.lanes::<Int32Type>(1)?, args.nulls());
        let place = |i: usize| {
            let nth = usize::try_from(no[i * sn]).ok()?.checked_sub(1)?;
            let known = nulls.as_ref().is_none_or(|n| n.is_valid(i));
            list.range(i).nth(nth).filter(|_| known).and_then(|at| u32::try_from(at).ok())
        };
        let places = (0..args.n).map(place).collect::<arrow::array::UInt32Array>();
        Ok(arrow::compute::take(list.list.values(), &places, None)?)
    },
    safe: true,
};

/// Why `array_agg` of arrays gives none: PostgreSQL's words.
#[must_use]
pub fn not_accumulated(why: Misfit) -> EvalError {
    match why {
        Misfit::Null => EvalError::new("22004", "cannot accumulate null arrays"),
        Misfit::Empty => EvalError::new("2202E", "cannot accumulate empty arrays"),
        Misfit::Differ => EvalError::new("2202E", "cannot accumulate arrays of different dimensionality"),
    }
}

/// The error of the first row whose lists are no array of one dimension more.
pub(crate) fn accumulated(lists: &ArrayRef) -> EvalResult<()> {
    let Some(lists) = lists.as_list_opt::<i32>().filter(|lists| depth(lists.data_type()) > 1) else { return Ok(()) };
    match (0..lists.len()).find_map(|row| misfit(lists, row)) {
        Some(why) => Err(not_accumulated(why)),
        None => Ok(()),
    }
}
