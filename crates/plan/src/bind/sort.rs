//! `SELECT abs(t.b) AS b .. ORDER BY t.b`: the input's column and the output's have one name. PostgreSQL takes a qualified name in
//! ORDER BY for the input's; DataFusion adds it to the output to sort by it, and finds the name twice there. So the output's gets
//! a mark that nobody sees.
//!
//! Within another query the output's names are referred to from outside: there a query around gives them back.
//!
//! ```text
//!   (SELECT -a AS a FROM t ORDER BY t.a LIMIT 1)     (SELECT "a'" AS a FROM (SELECT -a AS "a'" FROM t ORDER BY t.a LIMIT 1))
//! ```

use crate::walk::VisitMut;
use datafusion::sql::sqlparser::ast::{self, Expr, Ident, Query, SelectItem, SetExpr, VisitorMut};
use std::ops::ControlFlow;

use super::ast::MARK;
use crate::error::PlanError;
use crate::parse::{ParseLimits, fold, parse_query};

/// Tells the outermost query's outputs from the inputs that it is ordered by.
pub(super) fn part_names(query: &mut Query) {
    part(query);
}

/// The same for a query within another one.
///
/// # Errors
/// Never: those of parsing a text of ours.
pub(super) fn part_inner_names(query: &mut Query) -> Result<(), PlanError> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    let Some(names) = select.projection.iter().map(name).collect::<Option<Vec<String>>>() else { return Ok(()) };
    if !part(query) {
        return Ok(());
    }
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    let marked: Vec<Option<String>> = select.projection.iter().map(name).collect();
    let items = names.iter().zip(marked).map(|(name, marked)| SelectItem::ExprWithAlias {
        expr: Expr::Identifier(Ident::with_quote('"', marked.as_ref().unwrap_or(name))),
        alias: Ident::with_quote('"', name),
    });
    let items = items.collect();
    let mut around = parse_query("SELECT 1 FROM (SELECT 1) AS pg_ordered", &ParseLimits::default())?;
    if let SetExpr::Select(outer) = around.body.as_mut() {
        outer.projection = items;
        if let Some(ast::TableFactor::Derived { subquery, .. }) = outer.from.first_mut().map(|from| &mut from.relation) {
            std::mem::swap(subquery.as_mut(), query);
        }
    }
    *query = *around;
    Ok(())
}

/// An item's name, of those that have one by themselves.
fn name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(i)) => Some(fold(i)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(fold),
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}

/// Marks outputs; whether any was.
fn part(query: &mut Query) -> bool {
    let Some(order) = &mut query.order_by else { return false };
    let SetExpr::Select(select) = query.body.as_mut() else { return false };
    let ast::OrderByKind::Expressions(keys) = &mut order.kind else { return false };
    let mut is_marked = false;
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
        is_marked = true;
    }
    is_marked
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
