//! Rows as values that a statement shows: `SELECT ROW(a, b)`, `SELECT (a, b)`. Each goes out as PostgreSQL's text of it, since there is no
//! type of rows here. For the select list of a statement alone: elsewhere a row is compared, or refused.

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr};

use super::spelling::{call, fields};
use crate::functions::row_text;

/// Rewrites the items of a statement's own SELECT.
pub(crate) fn spell(query: &mut Query) {
    let mut todo = vec![query.body.as_mut()];
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => todo.extend([left.as_mut(), right.as_mut()]),
            SetExpr::Query(inner) => todo.push(inner.body.as_mut()),
            SetExpr::Select(select) => select.projection.iter_mut().for_each(item),
            _ => {}
        }
    }
}

fn item(item: &mut SelectItem) {
    let (row, alias) = match &*item {
        SelectItem::UnnamedExpr(e) => (e, Ident::with_quote('"', "row")),
        SelectItem::ExprWithAlias { expr, alias } => (expr, alias.clone()),
        _ => return,
    };
    if let Some(expr) = text(row) {
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
}

/// The text of a row, and of rows within it.
fn text(row: &Expr) -> Option<Expr> {
    let fields = fields(row)?;
    Some(call(row_text::NAME, fields.into_iter().map(|field| text(&field).unwrap_or(field)).collect()))
}
