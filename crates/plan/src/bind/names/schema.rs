//! `s.t.a` and `s.t.*` where FROM has a t that is not the one of schema s: 42P01. The binder compares as many parts of a name as both have,
//! and would take it. But before `.*` it wants all parts of a relation's name: a row `t.*` of `FROM s.t`, as an argument, is `s.t.*`.

use crate::walk::VisitMut;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, VisitorMut,
};

use super::shape::Shape;
use super::{Env, Result};
use crate::error::PlanError;
use crate::parse::fold;

/// Refuses such references in a SELECT over this shape, and completes such rows, but for those in queries within it.
pub(super) fn settle(s: &mut Select, shape: &Shape, env: &Env<'_>) -> Result<()> {
    let mut look = Look { shape, env, depth: 0 };
    for item in &s.projection {
        if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item {
            let parts: Option<Vec<Ident>> = name.0.iter().map(|part| part.as_ident().cloned()).collect();
            if let Some([schema, relation]) = parts.as_deref() {
                look.check(schema, relation)?;
            }
        }
    }
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

struct Look<'s, 'e> {
    shape: &'s Shape,
    env: &'s Env<'e>,
    /// Queries within have relations of their own.
    depth: usize,
}

impl Look<'_, '_> {
    fn check(&self, schema: &Ident, relation: &Ident) -> Result<()> {
        let name = fold(relation);
        let mut named = self.shape.relations.iter().filter(|r| r.name == name);
        let Some(of) = named.next().filter(|_| named.next().is_none()) else { return Ok(()) };
        let written = self.env.relation(&ObjectName::from(vec![schema.clone(), relation.clone()]));
        let is_own = match of.schema() {
            // the binder compares both; another schema's may be of a query around this one
            Some(own) => fold(own) == fold(schema) || written.is_some(),
            // found along the search path: if that schema has none of the name, it is another's
            None => written.is_some_and(|columns| columns == of.columns),
        };
        match is_own {
            true => Ok(()),
            false => {
                let message = format!("invalid reference to FROM-clause entry for table \"{name}\"");
                Err(PlanError::invalid("42P01", message).with_hint(format!("write {name} without a schema")))
            }
        }
    }
}

impl Look<'_, '_> {
    fn complete(&self, row: &mut ObjectName) {
        let [one] = row.0.as_slice() else { return };
        let Some(name) = one.as_ident().map(fold) else { return };
        let mut named = self.shape.relations.iter().filter(|r| r.name == name);
        if let (Some(of), None) = (named.next().filter(|of| of.schema().is_some()), named.next()) {
            *row = ObjectName::from(of.qualifier().to_vec());
        }
    }
}

impl VisitorMut for Look<'_, '_> {
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
        match e {
            Expr::CompoundIdentifier(parts) => {
                if let [schema, relation, _] = parts.as_slice()
                    && let Err(e) = self.check(schema, relation)
                {
                    return ControlFlow::Break(e);
                }
            }
            Expr::QualifiedWildcard(row, _) => self.complete(row),
            Expr::Function(f) => {
                if let FunctionArguments::List(list) = &mut f.args {
                    for arg in &mut list.args {
                        if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(row)) = arg {
                            self.complete(row);
                        }
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
