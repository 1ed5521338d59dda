//! Functions of the program that the engine is part of: closures in Rust, called by what their name, version and types are.
//!
//! ```text
//!   f(a, b) ──user_function──▶ CAST(regauge_rust('f/1(bigint,text)text', 'strict', NULL::text, a, b) AS text)
//!                                        │ by its key
//!                              [`HostFunction`] ◀── kept by who has registered it
//! ```
//! As of WebAssembly's functions ([`crate::wasm`]) a call says all that its result depends on, as far as that can be said: the program states
//! a version, and stands for it that one key always means the same function. Invariants: a closure that panics, or breaks its word about
//! its result, is an error of its rows; a plan whose function is not registered is not run at all ([`missing`]). Not promised: that a closure
//! ends, or how much it takes; that it is deterministic, which who registers it says. It does not know the catalog.

mod call;
mod fold;
mod value;

pub use call::NAME;
pub(crate) use call::{CALL, VOLATILE, VOLATILE_CALL};
pub use fold::FOLD;
pub(crate) use fold::FOLD_CALL;
pub use value::HostValue;

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Weak};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use parking_lot::RwLock;

use crate::flowplan::types::sql_name;
use crate::functions::EvalError;
use crate::pgtypes::type_name;
use crate::wasm::carried;

/// A column of results from columns of arguments; the second argument is how many rows there are.
pub type Columns = dyn Fn(&[ArrayRef], usize) -> Result<ArrayRef, String> + Send + Sync;

/// A result from a row's arguments.
pub type Rows = dyn Fn(&[HostValue<'_>]) -> Result<HostValue<'static>, String> + Send + Sync;

/// What is made of a group's rows: one for each group.
pub trait Folding {
    /// Takes a row in.
    ///
    /// Errors: in the words of who wrote it.
    fn step(&mut self, row: &[HostValue<'_>]) -> Result<(), String>;
    /// What the rows come to.
    ///
    /// Errors: in the words of who wrote it.
    fn finish(self: Box<Self>) -> Result<HostValue<'static>, String>;
}

/// What a function does.
pub enum Work {
    /// Values for rows, as columns.
    Columns(Box<Columns>),
    /// A value for each row.
    Rows(Box<Rows>),
    /// A value for each group.
    Fold(Box<dyn Fn() -> Box<dyn Folding> + Send + Sync>),
}

/// A function that a program has registered.
pub struct HostFunction {
    name: String,
    version: String,
    params: Vec<DataType>,
    result: DataType,
    strict: bool,
    volatile: bool,
    work: Work,
    key: String,
}

impl std::fmt::Debug for HostFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HostFunction").field(&self.key).finish()
    }
}

impl HostFunction {
    /// One of this name; its version says what it computes: another answer needs another version. Values whose types do not travel by
    /// themselves ([`carried`]) come and go as text.
    #[must_use]
    pub fn new(name: &str, version: &str, params: Vec<DataType>, result: DataType, work: Work) -> HostFunction {
        let types: Vec<String> = params.iter().map(type_name).collect();
        let key = format!("{name}/{version}({}){}", types.join(","), type_name(&result));
        let (name, version) = (name.to_owned(), version.to_owned());
        HostFunction { name, version, params, result, strict: false, volatile: false, work, key }
    }

    /// It is not called with NULLs: a call with one is NULL, an aggregate leaves such rows out.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> HostFunction {
        self.strict = strict;
        self
    }

    /// It may answer twice differently: no materialized view may call it.
    #[must_use]
    pub fn volatile(mut self, volatile: bool) -> HostFunction {
        self.volatile = volatile;
        self
    }

    /// Its name in SQL.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Types of its parameters.
    #[must_use]
    pub fn params(&self) -> &[DataType] {
        &self.params
    }

    /// Type of its result.
    #[must_use]
    pub fn result(&self) -> &DataType {
        &self.result
    }

    /// Whether it is called without NULLs only.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// Whether it is an aggregate.
    #[must_use]
    pub fn is_aggregate(&self) -> bool {
        matches!(self.work, Work::Fold(_))
    }

    /// Name, version and types: what calls know it by.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The body in SQL of the function that it is there: a call over its parameters, an aggregate's over lists of them.
    #[must_use]
    pub fn body(&self) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let name = match (self.is_aggregate(), self.volatile) {
            (true, _) => FOLD,
            (false, true) => VOLATILE,
            (false, false) => NAME,
        };
        let mut all = vec![quoted(&self.key), quoted(if self.strict { "strict" } else { "null" })];
        all.push(format!("CAST(NULL AS {})", sql_name(&carried(&self.result))));
        all.extend((1..).zip(&self.params).map(|(n, ty)| {
            let carried = carried(ty);
            let argument = if carried == *ty { format!("${n}") } else { format!("CAST(${n} AS {})", sql_name(&carried)) };
            if self.is_aggregate() { format!("array_agg({argument})") } else { argument }
        }));
        format!("SELECT {name}({})", all.join(", "))
    }
}

static KEPT: LazyLock<RwLock<HashMap<String, Vec<Weak<HostFunction>>>>> = LazyLock::new(Default::default);

/// A function that calls find as long as what comes back is kept. Of two with one key the last one is called.
#[must_use]
pub fn keep(function: HostFunction) -> Arc<HostFunction> {
    let function = Arc::new(function);
    let mut kept = KEPT.write();
    kept.retain(|_, all| {
        all.retain(|f| f.strong_count() > 0);
        !all.is_empty()
    });
    kept.entry(function.key.clone()).or_default().push(Arc::downgrade(&function));
    function
}

/// The function of a key, if somebody keeps it.
#[must_use]
pub fn find(key: &str) -> Option<Arc<HostFunction>> {
    KEPT.read().get(key)?.iter().rev().find_map(Weak::upgrade)
}

/// What is to be said of the first function among these keys that is not here.
#[must_use]
pub fn missing(keys: &BTreeSet<String>) -> Option<String> {
    keys.iter().find(|key| find(key).is_none()).map(|key| absent(key))
}

fn absent(key: &str) -> String {
    let (name, rest) = key.split_once('/').unwrap_or((key, ""));
    let (version, types) = rest.split_once('(').unwrap_or((rest, ""));
    let types = types.split_once(')').map_or(String::new(), |(params, result)| format!("({params}) returning {result}"));
    let others: Vec<String> = {
        let kept = KEPT.read();
        let of_name = |(known, all): (&String, &Vec<Weak<HostFunction>>)| {
            let alive = all.iter().any(|f| f.strong_count() > 0);
            known.strip_prefix(name)?.strip_prefix('/').filter(|_| alive).map(str::to_owned)
        };
        let mut others: Vec<String> = kept.iter().filter_map(of_name).collect();
        others.sort_unstable();
        others
    };
    let there = if others.is_empty() { String::new() } else { format!("; there is {name}/{}", others.join(", ")) };
    format!("{BLAME}{name}\"{types} version {version} is not registered by the program that has the data folder open{there}")
}

/// What to do about an error that a function of the program is the cause of.
#[must_use]
pub fn hint(error: &EvalError) -> Option<&'static str> {
    let blamed = error.message.starts_with(BLAME);
    match error.sqlstate {
        "55000" if blamed => Some(
            "register this version before the folder is opened (Config::functions); a view keeps the version that it was created with: DROP it \
             and create it again to take another",
        ),
        "38000" if blamed => Some("the function is the program's own: docs/rust-functions.md"),
        _ => None,
    }
}

const BLAME: &str = "rust function \"";

fn blame(sqlstate: &'static str, function: &str, what: impl std::fmt::Display) -> EvalError {
    EvalError::new(sqlstate, format!("{BLAME}{function}\" {what}"))
}

/// The function of a key, or 55000.
fn found(key: &str) -> Result<Arc<HostFunction>, EvalError> {
    find(key).ok_or_else(|| EvalError::new("55000", absent(key)))
}

/// Runs a closure of the program; whatever it does is a value or an error of the rows that it was called for.
fn guarded<T>(function: &str, work: impl FnOnce() -> Result<T, String>) -> Result<T, EvalError> {
    /// Characters of a message that are shown.
    const SHOWN: usize = 500;
    let told = |text: &str| -> String { text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect() };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(why)) => Err(blame("38000", function, format!("failed: {}", told(&why)))),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(blame("38000", function, format!("panicked: {}", told(&text))))
        }
    }
}

#[cfg(test)]
mod tests;
