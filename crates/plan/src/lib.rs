//! SQL to incremental plan: statements are parsed, bound and optimised (by DataFusion), and lowered to a
//! [`flowplan::FlowPlan`], the algebra of operators on deltas that `regauge-flow` runs.
//!
//! Invariant: same text, same catalog, same plan, same bytes. What cannot be maintained incrementally is refused with what to
//! write instead. Knows neither files nor timely, and asks the catalog only through a trait.

pub mod batch;
mod bind;
pub mod catalog;
pub mod error;
pub mod eval;
pub mod flowplan;
pub mod functions;
pub mod halt;
pub mod host;
mod interval;
mod literal;
pub mod local;
mod lower;
pub mod over;
pub mod params;
pub mod parse;
pub mod pgtypes;
pub mod scalar;
pub mod user_function;
pub mod value;
mod view;
pub mod walk;
pub mod wasm;

/// The syntax trees that [`parse`] gives, and their parser, for who rewrites them.
pub use datafusion::sql::sqlparser;

pub use catalog::{CatalogView, RelationInfo, RelationKind};
pub use error::PlanError;
pub use flowplan::{AggCall, AggFunc, Fingerprint, FlowPlan, JoinKind, Node, Op, OrderKey, OutputColumn, SetOpKind, SourceId};
pub use literal::{literal, typed_literal};
pub use parse::{ParseLimits, RelationName, Statement, parse, parse_query};
pub use scalar::Scalar;
pub use value::{Datum, Value};
pub use view::{PlanOptions, PlannedView, constant, plan_view, plan_view_with_notices};
