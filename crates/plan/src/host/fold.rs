//! `regauge_rust_fold(key, mode, NULL::result, lists..)`: an aggregate whose steps are the program's.
//!
//! As WebAssembly's aggregates (`crate::wasm`): `array_agg` keeps a group's values, and a group that has changed is folded anew with a fresh
//! state. So nothing needs to be taken back, and what a group comes to is a function of its rows. Cost: the rows of each group that
//! changed. Frozen, as [`super::call`].

use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::datatypes::DataType;

use super::call::{LEADING, travels};
use super::value::{HostValue, column, value};
use super::{Work, blame, found, guarded};
use crate::functions::error::EvalResult;
use crate::functions::udf::{Args, Bound, Builtin, unfit};

/// Its frozen name.
pub const FOLD: &str = "regauge_rust_fold";

pub(crate) static FOLD_CALL: Builtin = Builtin { name: FOLD, aliases: &[], bind, refine: None, kernel, safe: false };

fn bind(types: &[DataType]) -> EvalResult<Bound> {
    let [key, mode, ret, lists @ ..] = types else { return Err(unfit(FOLD, types)) };
    let words = [key, mode].iter().all(|ty| matches!(ty, DataType::Utf8 | DataType::Null));
    let fits = |ty: &DataType| matches!(ty, DataType::List(item) if travels(item.data_type()));
    if !words || !travels(ret) || lists.is_empty() || !lists.iter().all(fits) {
        return Err(unfit(FOLD, types));
    }
    let mut args = types.to_vec();
    args[..LEADING - 1].fill(DataType::Utf8);
    Ok(Bound { args, ret: ret.clone() })
}

fn kernel(args: &Args<'_>) -> EvalResult<ArrayRef> {
    if args.n == 0 {
        return Ok(new_empty_array(args.ret));
    }
    let (key, strict) = (args.word(0, FOLD)?, args.word(1, FOLD)? == "strict");
    let function = found(key)?;
    let Work::Fold(begin) = &function.work else {
        return Err(blame("42809", &function.name, "is no aggregate"));
    };
    let cols = args.cols.get(LEADING..).unwrap_or_default();
    let mut results = Vec::with_capacity(args.n);
    for i in 0..args.n {
        let group = |col: &crate::functions::udf::Col| {
            let (at, lists) = (i * col.step, col.array.as_list::<i32>());
            if lists.is_null(at) { lists.values().slice(0, 0) } else { lists.value(at) }
        };
        let groups: Vec<ArrayRef> = cols.iter().map(group).collect();
        let n = groups.first().map_or(0, |group| group.len());
        if groups.iter().any(|group| group.len() != n) {
            return Err(blame("38000", &function.name, "is given lists of several lengths"));
        }
        let mut rows: Vec<Vec<HostValue<'_>>> = Vec::with_capacity(n);
        for at in 0..n {
            let row = groups.iter().map(|group| value(group, at)).collect::<EvalResult<Vec<_>>>()?;
            if !strict || row.iter().all(|v| *v != HostValue::Null) {
                rows.push(row);
            }
        }
        results.push(guarded(&function.name, || {
            let mut state = begin();
            for row in &rows {
                state.step(row)?;
            }
            state.finish()
        })?);
    }
    column(&function.name, args.ret, results)
}
