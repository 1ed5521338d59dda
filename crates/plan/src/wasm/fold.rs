//! `regauge_wasm_fold(module, export, mode, NULL::result, lists..)`: an aggregate whose steps are a guest's.
//!
//! ```text
//!   total(a, b)  ──▶  regauge_wasm_fold('<hash>', 'total', 'strict', NULL::bigint, array_agg(a ..), array_agg(b ..))
//!                     for each group:  fresh instance ─▶ total_step(a, b) for each of its rows ─▶ total_result()
//! ```
//! The group's values are kept by `array_agg`, which takes them back when rows go; a group that changed is folded anew. So a guest need not
//! know how to undo a step, and what it gives is a function of the group's rows. Cost: the rows of each group that changed. Frozen, as
//! [`super::call`].

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::abi::{Signature, way};
use super::call::{collected, value};
use super::instance::{Arg, Guest, fuel, outputs};
use super::{blame, module};
use crate::functions::error::EvalResult;
use crate::functions::udf::{Args, Bound, Builtin, unfit};

/// Its frozen name.
pub const FOLD: &str = "regauge_wasm_fold";
const LEADING: usize = 4;

pub(crate) static FOLD_CALL: Builtin = Builtin { name: FOLD, aliases: &[], bind, refine: None, kernel, safe: false };

/// The exports of an aggregate: one that takes a row in, one that gives the result.
#[must_use]
pub fn exports(export: &str) -> (String, String) {
    (format!("{export}_step"), format!("{export}_result"))
}

fn item(ty: &DataType) -> Option<&DataType> {
    if let DataType::List(item) = ty { Some(item.data_type()).filter(|ty| way(ty).is_some()) } else { None }
}

fn bind(types: &[DataType]) -> EvalResult<Bound> {
    let [module, export, mode, ret, lists @ ..] = types else { return Err(unfit(FOLD, types)) };
    let words = [module, export, mode].iter().all(|ty| matches!(ty, DataType::Utf8 | DataType::Null));
    if !words || way(ret).is_none() || lists.is_empty() || !lists.iter().all(|ty| item(ty).is_some()) {
        return Err(unfit(FOLD, types));
    }
    let mut args = types.to_vec();
    args[..LEADING - 1].fill(DataType::Utf8);
    Ok(Bound { args, ret: ret.clone() })
}

fn kernel(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (hash, export, mode) = (args.word(0, FOLD)?, args.word(1, FOLD)?, args.word(2, FOLD)?);
    let cols = args.cols.get(LEADING..).unwrap_or_default();
    let types: Vec<DataType> = cols.iter().filter_map(|col| item(col.array.data_type()).cloned()).collect();
    let strict = mode == "strict";
    let (steps, gives) = (Signature::of(&types, &DataType::Int32, strict), Signature::of(&[], args.ret, true));
    let module = module::find(hash);
    let module = module.ok_or_else(|| blame("55000", export, format!("needs the module {hash}, which is not here any more")))?;
    let cannot = |what: &dyn std::fmt::Display| blame("38000", export, format!("cannot be run: {what}"));
    let (step_name, result_name) = exports(export);
    let shape = module.shape(&result_name, &gives).map_err(|e| cannot(&e))?;
    let compiled = module.compiled().map_err(|e| cannot(&e))?;
    let mut results = outputs(shape, gives.result());
    let mut groups: Vec<ArrayRef> = Vec::with_capacity(cols.len());
    collected(args, export, &mut |i| {
        groups.clear();
        for col in cols {
            let at = i * col.step;
            let lists = col.array.as_list::<i32>();
            groups.push(if lists.is_null(at) { lists.values().slice(0, 0) } else { lists.value(at) });
        }
        let n = groups.first().map_or(0, |group| group.len());
        if groups.iter().any(|group| group.len() != n) {
            return Err(cannot(&"its arguments have not as many values each"));
        }
        let mut guest = Guest::open(compiled, export, fuel(&[]))?;
        let (step, result) = (guest.func(&step_name)?, guest.func(&result_name)?);
        for at in 0..n {
            let mut row: Vec<Arg<'_>> = Vec::with_capacity(groups.len());
            for group in &groups {
                row.push(value(group, at)?);
            }
            if strict && row.iter().any(|arg| matches!(arg, Arg::Null)) {
                continue;
            }
            guest.refuel(fuel(&row))?;
            guest.call(step, &steps, &row, &mut [])?;
        }
        guest.refuel(fuel(&[]))?;
        guest.call(result, &gives, &[], &mut results)?;
        guest.read(shape, &results)
    })
}
