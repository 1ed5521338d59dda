//! Relations that read those before them in FROM: what bare names of merged columns mean there, and columns that there are not.

use crate::walk::VisitMut;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, TableFactor, VisitorMut};

use super::shape::Shape;
use super::{Env, Result, bare};
use crate::error::PlanError;
use crate::parse::fold;

/// Rewrites a relation behind relations of this shape.
///
/// # Errors
/// 42703 where a function's argument names a column that its relation does not have: DataFusion would say that there is no such relation.
pub(super) fn behind(before: &Shape, env: &mut Env<'_>, relation: &mut TableFactor) -> Result<()> {
    let is_function = match relation {
        TableFactor::Derived { lateral, .. } if *lateral => false,
        TableFactor::Table { args: Some(_), .. } | TableFactor::Function { .. } | TableFactor::UNNEST { .. } => true,
        _ => return Ok(()),
    };
    bare::replace(before, env, relation);
    if !is_function {
        return Ok(());
    }
    match VisitMut::visit(relation, &mut Missing { before, depth: 0 }) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Missing<'a> {
    before: &'a Shape,
    /// Queries within have relations of their own.
    depth: usize,
}

impl VisitorMut for Missing<'_> {
    type Break = PlanError;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<PlanError> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<PlanError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
        let Expr::CompoundIdentifier(parts) = &*e else { return ControlFlow::Continue(()) };
        let ([relation, column], 0) = (parts.as_slice(), self.depth) else { return ControlFlow::Continue(()) };
        let (relation, column) = (fold(relation), fold(column));
        match self.before.relations.iter().find(|r| r.name == relation) {
            Some(r) if !r.columns.contains(&column) => {
                let message = format!("column {relation}.{column} does not exist");
                let hint = format!("columns here: {}", r.columns.join(", "));
                ControlFlow::Break(PlanError::invalid("42703", message).with_hint(hint))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
