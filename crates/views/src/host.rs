//! Functions of the program that has the folder open: registered, they are functions of schema `public` like any other.
//!
//! ```text
//!   Config::functions, Instance::register ─▶ kept while the instance is open ─▶ CREATE OR REPLACE in the catalog, unless it is there alike
//! ```
//! Invariant: a version of a view whose plan calls what is not registered is not run (`driver`), and says so; it is rebuilt when the folder
//! is opened with the function again. Cost: one commit for a function that the catalog does not know yet.

use crate::{
    catalog::{Event, FunctionSpec, Name, RoleId, Wish, function::HostSpec, ty},
    core::{Core, NotCommitted},
    error::{Error, Result, sqlstate as code},
    session::txn::{Mode, Txn},
    token::Seen,
};
use regauge_plan::{
    host::{self, HostFunction},
    user_function::{self, Param, Returns, UserFunction},
};
use regauge_types::{ErrorKind, Lsn};
use std::sync::Arc;

/// Another commit may change the catalog at the same moment, so often at most.
const RETRIES: usize = 1000;

impl Core {
    /// Makes a function of the program one that SQL can call, as the first superuser's.
    pub fn register(&self, function: &Arc<HostFunction>) -> Result<()> {
        let (name, spec) = (Name::public(function.name()), spec(function)?);
        for _ in 0..RETRIES {
            let generation = self.judged.generation();
            let catalog = self.judged.catalog();
            let there = catalog.functions_named(&name).into_iter().find(|f| f.spec.params.len() == spec.params.len());
            match &there {
                Some(there) if there.spec == spec => return Ok(()),
                Some(there) if there.spec.host.is_none() => {
                    let message = format!("function \"{name}\" already exists with {} parameters", spec.params.len());
                    let error = Error::new(ErrorKind::Conflict, code::DUPLICATE_FUNCTION, message);
                    return Err(error.hint("DROP FUNCTION, or register under another name"));
                }
                _ => {}
            }
            let mut txn = Txn::new(Mode::Autocommit, generation, catalog, self.ids.clone(), Lsn::ZERO);
            txn.role = RoleId::BOOTSTRAP;
            let kind = |spec: &FunctionSpec| spec.is_aggregate();
            if there.is_some_and(|there| kind(&there.spec) != kind(&spec)) {
                txn.wish(Wish::DropFunction { name: name.clone(), params: spec.params.len() })?;
            }
            txn.wish(Wish::Function { name: name.clone(), spec: spec.clone(), module: None })?;
            debug_assert!(txn.events.iter().any(|e| matches!(e, Event::FunctionCreated { .. })), "nothing was created");
            match self.commit_here(&txn, Seen::default()) {
                Ok(_) => return Ok(()),
                Err(NotCommitted::Conflict { .. }) => {}
                Err(NotCommitted::Failed(error)) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Conflict, code::SERIALIZATION, format!("the catalog changes too fast to register \"{name}\"")))
    }
}

fn spec(function: &HostFunction) -> Result<FunctionSpec> {
    let (name, version) = (function.name(), function.version());
    let plain = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
    };
    if !plain(name, "_") || name.starts_with(|c: char| c.is_ascii_digit()) {
        let error = Error::invalid(code::INVALID_PARAMETER, format!("\"{name}\" cannot be a rust function's name"));
        return Err(error.hint("lowercase letters, digits and _, not a digit first"));
    }
    if !plain(version, "_.-") {
        let error =
            Error::invalid(code::INVALID_PARAMETER, format!("\"{version}\" cannot be the version of function \"{name}\""));
        return Err(error.hint("lowercase letters, digits, and any of _ . -"));
    }
    if user_function::is_builtin(name) {
        let message = format!("function \"{name}\" is built in");
        return Err(Error::new(ErrorKind::Conflict, code::DUPLICATE_FUNCTION, message).hint("give it another name"));
    }
    if function.is_aggregate() && function.params().is_empty() {
        let error = Error::invalid(code::INVALID_PARAMETER, format!("aggregate \"{name}\" has no parameter"));
        return Err(error.hint("give it one"));
    }
    if let Some(of) = function.params().iter().chain([function.result()]).find(|of| ty::parse(&ty::name(of)).as_ref() != Some(of))
    {
        return Err(Error::unsupported(format!("the type {} of function \"{name}\" cannot be stored", ty::name(of))));
    }
    let param = |of: &arrow::datatypes::DataType| Param { name: None, ty: of.clone(), default: None };
    let of_sql = UserFunction {
        name: name.to_owned(),
        params: function.params().iter().map(param).collect(),
        returns: Returns::Value(function.result().clone()),
        strict: function.is_strict(),
        fold: function.is_aggregate(),
        body: Box::new(crate::syntax::query(&function.body())?),
    };
    let host = HostSpec { key: function.key().to_owned(), aggregate: function.is_aggregate() };
    Ok(FunctionSpec { host: Some(host), ..FunctionSpec::of(&of_sql) })
}

/// Keeps functions for as long as what comes back is held.
#[must_use]
pub fn keep(functions: Vec<HostFunction>) -> Vec<Arc<HostFunction>> {
    functions.into_iter().map(host::keep).collect()
}
