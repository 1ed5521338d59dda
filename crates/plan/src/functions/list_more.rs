//! More functions of arrays: `array_dims`, `array_fill`, and slices (`a[1:2]`), whose ends may be left out.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Int32Type};

use super::arith::bind_names;
use super::bind::{is_int, is_unknown};
use super::error::{EvalError, EvalResult};
use super::lists::{Lists, Picks, item};
use super::udf::{Args, Bound, Builtin};
use crate::pgtypes::list_of;

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
        let list = Lists::new(args, 0)?.flat()?;
        super::udf::text_array(args.n, |i, out| {
            let n = list.range(i).len();
            if n > 0 {
                out.push_str(&format!("[1:{n}]"));
            }
            Ok(n > 0)
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
    use arrow::array::AsArray;
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
            _ => return Err(EvalError::new("0A000", "arrays of several dimensions are not offered")),
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

/// `a[from:to]`, `a[from:]`, `a[:to]`: which ends are written stands in the last argument (1 the first, 2 the second).
pub static SLICE: Builtin = Builtin {
    name: "pg_slice",
    aliases: &[],
    bind: |types| match types {
        [list, from, to, ends] if [from, to, ends].iter().all(|t| is_int(t) || is_unknown(t)) => {
            let of = item(list).ok_or_else(|| {
                EvalError::new(
                    "42804",
                    format!("cannot subscript type {} because it does not support subscripting", crate::pgtypes::type_name(list)),
                )
            })?;
            let list = list_of(known(of));
            Ok(Bound { args: vec![list.clone(), DataType::Int32, DataType::Int32, DataType::Int32], ret: list })
        }
        _ => Err(undefined("pg_slice", types)),
    },
    refine: None,
    kernel: slice,
    safe: true,
};

fn slice(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let list = Lists::new(args, 0)?;
    let ((from, sf), (to, st), (ends, se)) =
        (args.lanes::<Int32Type>(1)?, args.lanes::<Int32Type>(2)?, args.lanes::<Int32Type>(3)?);
    let nulls = args.nulls();
    let mut picks = Picks::new(args.n);
    for i in 0..args.n {
        let valid = nulls.as_ref().is_none_or(|n| n.is_valid(i));
        if valid {
            let range = list.range(i);
            let place = |n: i32| usize::try_from(n).unwrap_or(0);
            let first = if ends[i * se] & 1 == 0 { 1 } else { place(from[i * sf]).max(1) };
            let last = if ends[i * se] & 2 == 0 { range.len() } else { place(to[i * st]).min(range.len()) };
            (first..=last).try_for_each(|nth| picks.push(range.start + nth - 1))?;
        }
        picks.end(valid)?;
    }
    picks.finish(list.list.values(), args.ret)
}
