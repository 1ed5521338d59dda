//! Aggregates and window functions in VALUES: there are no rows that they could be over, so they are refused as PostgreSQL does.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, SetExpr, Visitor};

use crate::error::PlanError;
use crate::functions;
use crate::parse::fold;
use crate::walk::Visit;

/// Refuses them in the rows of a query's own VALUES; a query within them has rows of its own.
///
/// # Errors
/// 42803, 42P20.
pub(super) fn refuse(body: &SetExpr) -> Result<(), PlanError> {
    let mut todo = vec![body];
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => todo.extend([left.as_ref(), right.as_ref()]),
            SetExpr::Values(values) => {
                for e in values.rows.iter().flat_map(|row| row.iter()) {
                    if let ControlFlow::Break(e) = e.visit(&mut Look(0)) {
                        return Err(e);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// How many queries are around what is visited.
struct Look(usize);

impl Visitor for Look {
    type Break = PlanError;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<PlanError> {
        self.0 += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<PlanError> {
        self.0 -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, e: &Expr) -> ControlFlow<PlanError> {
        let Expr::Function(f) = e else { return ControlFlow::Continue(()) };
        let name = f.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
        let (sqlstate, what) = match () {
            () if self.0 > 0 => return ControlFlow::Continue(()),
            () if f.over.is_some() => ("42P20", "window"),
            () if functions::is_aggregate(&name) => ("42803", "aggregate"),
            () => return ControlFlow::Continue(()),
        };
        let error = PlanError::invalid(sqlstate, format!("{what} functions are not allowed in VALUES"));
        ControlFlow::Break(error.with_hint("write a query in the place of VALUES: SELECT .."))
    }
}
