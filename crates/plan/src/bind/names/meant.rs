//! `SELECT -a AS a .. ORDER BY a + 0`: only a name that stands alone means the output's column; within an expression it is the input's.
//! DataFusion would take the output's.

use crate::walk::VisitMut;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, SelectItem, Value, VisitorMut};

use super::shape::Shape;
use super::{Result, output};
use crate::error::PlanError;
use crate::parse::fold;

/// Qualifies, in a key of ORDER BY that is an expression, the input's columns whose names an output has that is something else. A name that
/// only an output has stays.
///
/// # Errors
/// 42702.
pub(super) fn inputs(s: &Select, shape: &Shape, key: &mut Expr) -> Result<()> {
    let other: Vec<String> = s.projection.iter().filter(|item| !is_own(item)).filter_map(output).collect();
    if other.is_empty() {
        return Ok(());
    }
    match VisitMut::visit(key, &mut Inputs { shape, other, depth: 0 }) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The number of the item that is written as a key of ORDER BY is, if that reads a name that an output has for something else.
pub(super) fn item(s: &Select, key: &Expr) -> Option<Expr> {
    if matches!(key, Expr::Value(_)) || s.projection.iter().all(is_own) {
        return None;
    }
    let key = key.to_string();
    let at = s.projection.iter().position(|item| match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => e.to_string() == key,
        _ => false,
    })?;
    let known = s.projection.iter().take(at).all(|i| matches!(i, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }));
    known.then(|| Expr::value(Value::Number((at + 1).to_string(), false)))
}

/// A column under its own name.
fn is_own(item: &SelectItem) -> bool {
    let column = |e: &Expr| match e {
        Expr::Identifier(i) => Some(fold(i)),
        Expr::CompoundIdentifier(parts) => parts.last().map(fold),
        _ => None,
    };
    match item {
        SelectItem::UnnamedExpr(e) => column(e).is_some(),
        SelectItem::ExprWithAlias { expr, alias } => column(expr) == Some(fold(alias)),
        _ => true,
    }
}

struct Inputs<'a> {
    shape: &'a Shape,
    /// Names of outputs that are no columns of these names.
    other: Vec<String>,
    /// Queries within have columns of their own.
    depth: usize,
}

impl VisitorMut for Inputs<'_> {
    type Break = PlanError;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<PlanError> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<PlanError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
        let Expr::Identifier(i) = &*e else { return ControlFlow::Continue(()) };
        let name = fold(i);
        if self.depth > 0 || !self.other.contains(&name) {
            return ControlFlow::Continue(());
        }
        let mut named = self.shape.columns.iter().filter(|c| c.name == name);
        match (named.next(), named.next()) {
            (Some(column), None) => *e = column.expr.clone(),
            (None, _) => {}
            (Some(_), Some(_)) => {
                let error = PlanError::invalid("42702", format!("column reference \"{name}\" is ambiguous"));
                return ControlFlow::Break(error.with_hint("qualify the column with its table's name or alias"));
            }
        }
        ControlFlow::Continue(())
    }
}
