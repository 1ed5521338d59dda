//! WebAssembly functions: a module's export is called for each row, with no way out of its own memory.
//!
//! ```text
//!   f(a, b) ──user_function──▶ CAST(regauge_wasm('<hash>', 'f', 'strict', NULL::text, a, b) AS text)
//!                                        │ by its hash
//!                              [`Module`] ◀── kept by the catalog that has its bytes
//! ```
//! A call names its module by the content's hash, so a plan says all that its result depends on, and replacing a function changes
//! no view. Invariants: a module imports nothing; what a call gives depends on its arguments alone (nothing that a call leaves in memory
//! or in globals is there in the next one, NaNs are canonical, fuel is counted and not time); whatever a module does, the caller gets
//! a value or an error of that row. Cost: interpretation, and a fresh instance for each row of a module that could remember
//! something. It does not know the catalog, nor who may call. The rules for guests stand in `docs/wasm.md`.

mod abi;
mod call;
mod fold;
mod instance;
mod module;
mod text;

pub use abi::{Signature, carried};
pub(crate) use call::CALL;
pub use call::NAME;
pub use fold::FOLD;
pub(crate) use fold::FOLD_CALL;
pub use module::{Module, find, keep};
pub use text::read;

use arrow::datatypes::DataType;

use crate::flowplan::types::sql_name;
use crate::functions::EvalError;

/// Bytes of a module.
pub const MODULE_MAX: usize = 1 << 20;
/// Bytes of memory of an instance.
pub const MEMORY_MAX: usize = 16 << 20;
/// Elements of all tables of an instance.
pub const TABLE_MAX: usize = 10_000;
/// Fuel for a row: about as many instructions.
pub const FUEL: u64 = 10_000_000;
/// Fuel besides, for each byte of text or bytea that is handed over.
pub const FUEL_PER_BYTE: u64 = 100;
/// Calls within calls.
pub const DEPTH_MAX: usize = 1_000;

/// The body in SQL of a function that is an export of a module: a call over its parameters.
#[must_use]
pub fn body(module: &str, export: &str, params: &[DataType], result: &DataType, strict: bool) -> String {
    called(NAME, module, export, params, result, strict, |argument| argument)
}

/// The same of an aggregate: a call over lists of what its parameters are in the rows of a group.
#[must_use]
pub fn fold_body(module: &str, export: &str, params: &[DataType], result: &DataType, strict: bool) -> String {
    called(FOLD, module, export, params, result, strict, |argument| format!("array_agg({argument})"))
}

fn called(
    name: &str,
    module: &str,
    export: &str,
    params: &[DataType],
    result: &DataType,
    strict: bool,
    given: impl Fn(String) -> String,
) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut all = vec![quoted(module), quoted(export), quoted(if strict { "strict" } else { "null" })];
    all.push(format!("CAST(NULL AS {})", sql_name(&carried(result))));
    all.extend((1..).zip(params).map(|(n, ty)| {
        let carried = carried(ty);
        given(if carried == *ty { format!("${n}") } else { format!("CAST(${n} AS {})", sql_name(&carried)) })
    }));
    format!("SELECT {name}({})", all.join(", "))
}

/// What to do about an error that a module is the cause of.
#[must_use]
pub fn hint(error: &EvalError) -> Option<&'static str> {
    if !error.message.starts_with(BLAME) {
        return None;
    }
    Some(match error.sqlstate {
        "38000" => "the module's code stopped, or broke the rules of docs/wasm.md, on the arguments of this row",
        "54000" => "fuel and memory of a call are bounded (docs/wasm.md); let the function do less for one row",
        "54001" => "calls within calls are bounded (docs/wasm.md); write a loop in the place of the recursion",
        "22021" => "text is UTF-8 without zero bytes; give bytea for other bytes",
        "22003" | "22008" => "the function's result is no value of its type",
        "55000" => "CREATE OR REPLACE FUNCTION with the module again",
        _ => return None,
    })
}

const BLAME: &str = "wasm function \"";

/// An error of a call, which names the function.
fn blame(sqlstate: &'static str, function: &str, what: impl std::fmt::Display) -> EvalError {
    EvalError::new(sqlstate, format!("{BLAME}{function}\" {what}"))
}

#[cfg(test)]
mod tests;
