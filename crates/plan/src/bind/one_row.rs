//! What is of one row: an aggregate, a window function or one that gives rows has no place in it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Visitor};

use super::series;
use crate::error::PlanError;
use crate::functions;
use crate::parse::fold;
use crate::walk::Visit;

/// Refuses them in an expression, but for those in queries within it; `place` ends the sentence "are not allowed in".
///
/// # Errors
/// 42803, 42P20, 0A000.
pub(crate) fn check(e: &Expr, place: &str) -> Result<(), PlanError> {
    let Some((sqlstate, what)) = found(e) else { return Ok(()) };
    let hint = "compute it in a query: a subquery, or a SELECT around";
    Err(match sqlstate {
        "0A000" => PlanError::unsupported(format!("{what} are not allowed in {place}"), hint),
        code => PlanError::invalid(code, format!("{what} are not allowed in {place}")).with_hint(hint),
    })
}

/// The first of them: its SQLSTATE and what PostgreSQL calls it.
pub(super) fn found(e: &Expr) -> Option<(&'static str, &'static str)> {
    match e.visit(&mut Look(0)) {
        ControlFlow::Break(found) => Some(found),
        ControlFlow::Continue(()) => None,
    }
}

/// How many queries are around what is visited.
struct Look(usize);

impl Visitor for Look {
    type Break = (&'static str, &'static str);

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        self.0 += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        self.0 -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, e: &Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(f) = e else { return ControlFlow::Continue(()) };
        let name = f.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
        match () {
            () if self.0 > 0 => ControlFlow::Continue(()),
            () if f.over.is_some() => ControlFlow::Break(("42P20", "window functions")),
            () if functions::is_aggregate(&name) => ControlFlow::Break(("42803", "aggregate functions")),
            () if matches!(name.as_str(), "json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg") => {
                ControlFlow::Break(("42803", "aggregate functions"))
            }
            () if series::is_set_returning(&f.name) => ControlFlow::Break(("0A000", "set-returning functions")),
            () => ControlFlow::Continue(()),
        }
    }
}
