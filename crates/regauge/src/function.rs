//! Functions in Rust for SQL: their types by SQL's names, their work as a closure.
//!
//! What a program states here is taken at its word: that a function always answers alike (unless it is volatile), and that a name
//! and a version always mean the same one. `docs/rust-functions.md`.

use crate::{Error, HostFunction, HostValue, Result};
use arrow::array::ArrayRef;
use regauge_views::{Folding, Work, catalog::ty, error::sqlstate as code};

/// A function or aggregate that is about to be made, see [`function`] and [`aggregate`].
#[derive(Clone, Debug)]
pub struct Signature {
    name: String,
    version: String,
    takes: Vec<String>,
    returns: String,
    strict: bool,
    volatile: bool,
}

/// A function of this name. Change the version when its answers change: views keep the one that they were created with.
#[must_use]
pub fn function(name: &str, version: &str) -> Signature {
    Signature {
        name: name.to_owned(),
        version: version.to_owned(),
        takes: vec![],
        returns: "text".to_owned(),
        strict: false,
        volatile: false,
    }
}

/// An aggregate of this name; as [`function`].
#[must_use]
pub fn aggregate(name: &str, version: &str) -> Signature {
    function(name, version)
}

impl Signature {
    /// Types of its parameters in SQL: `bigint`, `text`, `numeric(10,2)`, ..
    #[must_use]
    pub fn takes(mut self, types: &[&str]) -> Signature {
        self.takes = types.iter().map(|ty| (*ty).to_owned()).collect();
        self
    }

    /// Type of its result; text if it is not said.
    #[must_use]
    pub fn returns(mut self, ty: &str) -> Signature {
        ty.clone_into(&mut self.returns);
        self
    }

    /// A call with a NULL is NULL, and an aggregate leaves such rows out: the closure sees none.
    #[must_use]
    pub fn strict(mut self) -> Signature {
        self.strict = true;
        self
    }

    /// It may answer twice differently: no materialized view may call it.
    #[must_use]
    pub fn volatile(mut self) -> Signature {
        self.volatile = true;
        self
    }

    /// A value for each row. Types without a form in [`HostValue`] are their text. A panic is an error of the row.
    ///
    /// Errors: 42704 for a type that is none, 0A000 for one that is not offered.
    pub fn rows<F>(self, work: F) -> Result<HostFunction>
    where
        F: Fn(&[HostValue<'_>]) -> std::result::Result<HostValue<'static>, String> + Send + Sync + 'static,
    {
        self.made(Work::Rows(Box::new(work)))
    }

    /// A column of values for columns of arguments, all of the given length.
    ///
    /// Errors: those of [`Signature::rows`].
    pub fn columns<F>(self, work: F) -> Result<HostFunction>
    where
        F: Fn(&[ArrayRef], usize) -> std::result::Result<ArrayRef, String> + Send + Sync + 'static,
    {
        self.made(Work::Columns(Box::new(work)))
    }

    /// A value for each group: a state to begin with, a step for each row, and what the state comes to. A group that has changed is
    /// computed anew from its rows, in the order of their values unless the call says ORDER BY; so nothing is taken back.
    ///
    /// Errors: those of [`Signature::rows`].
    pub fn fold<S, B, T, F>(self, begin: B, step: T, finish: F) -> Result<HostFunction>
    where
        S: 'static,
        B: Fn() -> S + Send + Sync + 'static,
        T: Fn(&mut S, &[HostValue<'_>]) -> std::result::Result<(), String> + Send + Sync + 'static,
        F: Fn(S) -> std::result::Result<HostValue<'static>, String> + Send + Sync + 'static,
    {
        let work = std::sync::Arc::new((step, finish));
        self.made(Work::Fold(Box::new(move || Box::new(State { state: begin(), work: work.clone() }))))
    }

    fn made(self, work: Work) -> Result<HostFunction> {
        let ty = |name: &String| {
            let lower = name.trim().to_lowercase();
            let name = match lower.as_str() {
                "int" | "int4" => "integer",
                "int2" => "smallint",
                "int8" => "bigint",
                "bool" => "boolean",
                "float4" => "real",
                "float8" | "float" => "double precision",
                "varchar" | "character varying" => "text",
                "timestamp with time zone" => "timestamptz",
                other => other,
            };
            ty::parse(name).ok_or_else(|| {
                let error = Error::new(
                    regauge_types::ErrorKind::NotFound,
                    code::UNDEFINED_OBJECT,
                    format!("type \"{name}\" does not exist"),
                );
                error.hint("bigint, text, numeric(10,2), timestamptz, ..")
            })
        };
        let takes = self.takes.iter().map(ty).collect::<Result<Vec<_>>>()?;
        let returns = ty(&self.returns)?;
        let function = HostFunction::new(&self.name, &self.version, takes, returns, work);
        Ok(function.strict(self.strict).volatile(self.volatile))
    }
}

/// A group's state with what is done to it.
struct State<S, T, F> {
    state: S,
    work: std::sync::Arc<(T, F)>,
}

impl<S, T, F> Folding for State<S, T, F>
where
    T: Fn(&mut S, &[HostValue<'_>]) -> std::result::Result<(), String>,
    F: Fn(S) -> std::result::Result<HostValue<'static>, String>,
{
    fn step(&mut self, row: &[HostValue<'_>]) -> std::result::Result<(), String> {
        (self.work.0)(&mut self.state, row)
    }

    fn finish(self: Box<Self>) -> std::result::Result<HostValue<'static>, String> {
        (self.work.1)(self.state)
    }
}
