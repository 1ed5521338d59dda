//! `regauge_rust(key, mode, NULL::result, arguments..)`: the call that bodies of the program's functions are.
//!
//! Frozen: stored plans hold it. Key and mode (`strict` or `null`: whether the closure is called with NULLs) are constants; the third
//! argument says the result's type and is never looked at. Arguments have types that travel. `regauge_rust_volatile` is the same of a function
//! that may answer twice differently, which no plan of a view holds.

use arrow::array::{Array, ArrayRef, UInt32Array, new_empty_array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::value::{column, judged, value};
use super::{Work, blame, found, guarded};
use crate::functions::error::{EvalError, EvalResult};
use crate::functions::udf::{Args, Bound, Builtin, unfit};
use crate::wasm::carried;

/// Its frozen name.
pub const NAME: &str = "regauge_rust";
/// The name of the other one.
pub const VOLATILE: &str = "regauge_rust_volatile";
/// Arguments before the function's own.
pub(super) const LEADING: usize = 3;

pub(crate) static CALL: Builtin = Builtin { name: NAME, aliases: &[], bind, refine: None, kernel, safe: false };
pub(crate) static VOLATILE_CALL: Builtin = Builtin { name: VOLATILE, ..CALL };

/// Whether values of a type travel by themselves.
pub(super) fn travels(ty: &DataType) -> bool {
    carried(ty) == *ty
}

fn bind(types: &[DataType]) -> EvalResult<Bound> {
    let [key, mode, ret, args @ ..] = types else { return Err(unfit(NAME, types)) };
    let words = [key, mode].iter().all(|ty| matches!(ty, DataType::Utf8 | DataType::Null));
    if !words || !travels(ret) || !args.iter().all(|ty| travels(ty) || *ty == DataType::Null) {
        return Err(unfit(NAME, types));
    }
    let mut args = types.to_vec();
    args[..LEADING - 1].fill(DataType::Utf8);
    Ok(Bound { args, ret: ret.clone() })
}

fn kernel(args: &Args<'_>) -> EvalResult<ArrayRef> {
    if args.n == 0 {
        return Ok(new_empty_array(args.ret));
    }
    let (key, strict) = (args.word(0, NAME)?, args.word(1, NAME)? == "strict");
    let function = found(key)?;
    let name = &function.name;
    let work = |columns: &[ArrayRef], n: usize| -> EvalResult<ArrayRef> {
        match &function.work {
            Work::Columns(work) => judged(name, args.ret, n, guarded(name, || work(columns, n))?),
            Work::Rows(work) => {
                let mut results = Vec::with_capacity(n);
                for at in 0..n {
                    let row = columns.iter().map(|c| value(c, at)).collect::<EvalResult<Vec<_>>>()?;
                    results.push(guarded(name, || work(&row))?);
                }
                column(name, args.ret, results)
            }
            Work::Fold(_) => Err(blame("42809", name, "is an aggregate")),
        }
    };
    let mut columns = Vec::with_capacity(function.params.len());
    for (col, param) in args.cols.get(LEADING..).unwrap_or_default().iter().zip(&function.params) {
        columns.push(match (col.array.data_type(), col.step) {
            (DataType::Null, _) => new_null_array(&carried(param), args.n),
            (_, 0) => {
                take(&col.array, &UInt32Array::from(vec![0; args.n]), None).map_err(|e| EvalError::internal(e.to_string()))?
            }
            _ => col.array.clone(),
        });
    }
    let nulls = columns.iter().fold(None, |all, column| NullBuffer::union(all.as_ref(), column.logical_nulls().as_ref()));
    let Some(nulls) = nulls.filter(|nulls| strict && nulls.null_count() > 0) else { return work(&columns, args.n) };
    // Rows without NULLs, and their results back at their places.
    let internal = |e: arrow::error::ArrowError| EvalError::internal(e.to_string());
    let there: Vec<u32> = (0_u32..).zip(nulls.iter()).filter_map(|(at, valid)| valid.then_some(at)).collect();
    if there.is_empty() {
        return Ok(new_null_array(args.ret, args.n));
    }
    let mut next = 0_u32..;
    let back: UInt32Array = nulls.iter().map(|valid| if valid { next.next() } else { None }).collect();
    let (n, there) = (there.len(), UInt32Array::from(there));
    let dense = columns.iter().map(|c| take(c, &there, None)).collect::<Result<Vec<_>, _>>().map_err(internal)?;
    take(&work(&dense, n)?, &back, None).map_err(internal)
}
