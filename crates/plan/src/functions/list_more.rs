//! More functions of arrays: `array_dims`, `array_fill`.

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
