//! `q.x`, or x, where q has two columns x: 42702. The binder knows the second one by a mark, and would take the first.

use crate::walk::VisitMut;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, VisitorMut};

use super::Result;
use super::shape::Shape;
use crate::bind::ast::{MARK, shown_name};
use crate::error::PlanError;
use crate::parse::fold;

/// Refuses such references in a SELECT over this shape; its stars must not have been written out yet.
pub(super) fn refuse(s: &mut Select, shape: &Shape) -> Result<()> {
    let once: Vec<String> = shape.columns.iter().filter(|c| c.name.contains(MARK)).map(|c| shown_name(&c.name).into()).collect();
    if once.is_empty() {
        return Ok(());
    }
    let mut look = Twice { shape, once, depth: 0 };
    let mut found = VisitMut::visit(&mut s.projection, &mut look);
    if found.is_continue() {
        found = VisitMut::visit(&mut s.selection, &mut look);
    }
    if found.is_continue() {
        found = VisitMut::visit(&mut s.group_by, &mut look);
    }
    if found.is_continue() {
        found = VisitMut::visit(&mut s.having, &mut look);
    }
    match found {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Twice<'a> {
    shape: &'a Shape,
    /// Names that some relation has more than once.
    once: Vec<String>,
    /// Queries within have relations of their own.
    depth: usize,
}

impl VisitorMut for Twice<'_> {
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
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let (column, twice) = match &*e {
            Expr::Identifier(column) => (fold(column), true),
            Expr::CompoundIdentifier(parts) => {
                let [relation, column] = parts.as_slice() else { return ControlFlow::Continue(()) };
                let (relation, column) = (fold(relation), fold(column));
                let of = self.shape.relations.iter().find(|r| r.name == relation);
                let n = of.map_or(0, |r| r.columns.iter().filter(|c| shown_name(c) == column).count());
                (column, n > 1)
            }
            _ => return ControlFlow::Continue(()),
        };
        if twice && self.once.contains(&column) {
            let e = PlanError::invalid("42702", format!("column reference \"{column}\" is ambiguous"));
            return ControlFlow::Break(e.with_hint("give one of the two another name with AS"));
        }
        ControlFlow::Continue(())
    }
}
