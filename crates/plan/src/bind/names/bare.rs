//! Bare names of merged columns as what they stand for, also in queries within the expression, unless a FROM clause between has a column
//! of that name.

use crate::walk::VisitMut;
use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, SetExpr, VisitorMut};

use super::Env;
use super::shape::{self, Shape};
use crate::parse::fold;

/// Replaces them in a part of the query whose FROM has this shape.
pub(super) fn replace(shape: &Shape, env: &mut Env<'_>, part: &mut impl VisitMut) {
    if shape.merges() {
        let _ = VisitMut::visit(part, &mut Bare { shape, env, between: vec![] });
    }
}

struct Bare<'s, 'e, 'a> {
    shape: &'s Shape,
    env: &'e mut Env<'a>,
    /// The columns of each FROM clause between, `None` where they are not known.
    between: Vec<Option<HashSet<String>>>,
}

/// The columns of a FROM clause whose queries are rewritten already.
pub(super) fn offered(s: &Select, env: &Env<'_>) -> Option<Shape> {
    s.from.iter().try_fold(Shape::default(), |all, from| Some(all.beside(shape::of_joins(from, env)?)))
}

impl Bare<'_, '_, '_> {
    fn names(&self, s: &Select) -> Option<HashSet<String>> {
        Some(offered(s, self.env)?.columns.into_iter().map(|c| c.name).collect())
    }
}

impl VisitorMut for Bare<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, q: &mut Query) -> ControlFlow<()> {
        self.env.open();
        self.env.know_all(q.with.as_ref());
        // its ORDER BY stands outside of the SELECT
        let names = if let SetExpr::Select(s) = q.body.as_ref() { self.names(s) } else { Some(HashSet::new()) };
        self.between.push(names);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.env.close();
        self.between.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, s: &mut Select) -> ControlFlow<()> {
        let names = self.names(s);
        self.between.push(names);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.between.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(i) = &*e
            && let Some(column) = self.shape.merged(&fold(i))
            && self.between.iter().all(|names| names.as_ref().is_some_and(|names| !names.contains(&column.name)))
        {
            *e = column.expr.clone();
        }
        ControlFlow::Continue(())
    }
}
