//! Scalar expressions over Arrow batches: a [`Scalar`](crate::scalar::Scalar) is compiled once into a [`Program`], which
//! turns a batch into a column and, apart from it, the rows that have no value and why.
//!
//! Invariant: the result of a row depends on that row only, never on its neighbours in the batch: evaluating a batch equals
//! evaluating its rows one by one. AND, OR, CASE, COALESCE and IN evaluate an arm that can fail only for the rows that
//! reach it; arms that cannot fail are evaluated for all rows, which is cheaper than selecting.
//!
//! Cost: one kernel call for each node and batch; columns and constants are free. A batch in which rows fail costs about
//! 2 log2(n) kernel calls more for each failing row.

mod like;
mod program;
mod run;

pub use crate::functions::error::{EvalError, EvalResult};
pub use like::LikePattern;
pub use program::{Evaluated, Predicate, Program, Selected, compile, compile_predicate};
