//! `SELECT abs(t.b) AS b .. ORDER BY t.b`: the input's column and the output's have one name. PostgreSQL takes a qualified name in
//! ORDER BY for the input's; DataFusion adds it to the output to sort by it, and finds the name twice there. So the output's gets
//! a mark that nobody sees.
//!
//! Only the outermost query: within another one the output's names are referred to from outside.

use crate::walk::VisitMut;
use datafusion::sql::sqlparser::ast::{self, Expr, Ident, Query, SelectItem, SetExpr, VisitorMut};
use std::ops::ControlFlow;

use super::ast::MARK;
use crate::parse::fold;

/// Tells the outermost query's outputs from the inputs that it is ordered by.
pub(super) fn part_names(query: &mut Query) {
    let Some(order) = &mut query.order_by else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let ast::OrderByKind::Expressions(keys) = &mut order.kind else { return };
    let mut inputs = Inputs::default();
    for key in keys.iter_mut() {
        let _ = VisitMut::visit(&mut key.expr, &mut inputs);
    }
    for (at, item) in select.projection.iter_mut().enumerate() {
        let SelectItem::ExprWithAlias { expr, alias } = item else { continue };
        let name = fold(alias);
        if !inputs.0.contains(&name)
            || matches!(expr, Expr::CompoundIdentifier(parts) if parts.last().map(fold) == Some(name.clone()))
        {
            continue;
        }
        let marked = Ident::with_quote('"', format!("{name}{MARK}{at}"));
        for key in keys.iter_mut() {
            // a bare name is the output's
            if matches!(&key.expr, Expr::Identifier(i) if fold(i) == name) {
                key.expr = Expr::Identifier(marked.clone());
            }
        }
        *alias = marked;
    }
}

/// Last parts of the qualified names in an expression.
#[derive(Default)]
struct Inputs(Vec<String>);

impl VisitorMut for Inputs {
    type Break = ();

    fn pre_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = e {
            self.0.extend(parts.last().map(fold));
        }
        ControlFlow::Continue(())
    }
}
