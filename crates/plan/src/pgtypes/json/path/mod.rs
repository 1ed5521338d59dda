//! SQL/JSON paths: `$.a[*] ? (@.b > 1)`, read ([`parse`]) and run over a value ([`run`]).
//!
//! Offered: lax and strict; `.key .* .** [n, n to m, last, *]`; filters of comparisons, `&& || !`, `exists`, `is unknown`, `starts with`,
//! `like_regex`; variables; `.size() .type()`. Refused (0A000): arithmetic, the methods of numbers and moments, `.keyvalue()`.

mod parse;
mod run;

pub use parse::compile;
pub use run::{Answer, Run};

/// A path that was read.
#[derive(Debug)]
pub struct Path {
    pub(super) strict: bool,
    pub(super) root: Expr,
}

#[derive(Debug)]
pub(super) enum Expr {
    /// `$`
    Root,
    /// `@`
    Current,
    /// `$name`
    Variable(String),
    /// A constant.
    Value(super::Json<'static>),
    /// Steps from what an expression gives.
    Steps(Box<Expr>, Vec<Step>),
    /// Whether something holds.
    Holds(Box<Test>),
}

#[derive(Debug)]
pub(super) enum Step {
    Key(String),
    AnyKey,
    /// `.**`, `.**{from to until}`
    Deep(usize, usize),
    /// From, to: below zero from the end (`last` is -1).
    Items(Vec<(i64, i64)>),
    AnyItem,
    Filter(Test),
    Size,
    Type,
}

#[derive(Debug)]
pub(super) enum Test {
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
    Not(Box<Test>),
    IsUnknown(Box<Test>),
    Exists(Expr),
    Compare(Compare, Expr, Expr),
    StartsWith(Expr, Expr),
    Like(Expr, Box<regex::Regex>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}
