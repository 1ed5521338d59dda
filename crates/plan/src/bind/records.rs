//! Rows as values that a statement shows: `SELECT ROW(a, b)`, `SELECT (a, b)`. Each goes out as PostgreSQL's text of it, since there is no
//! type of rows here. [`text`] does the same for the row in another query's select list, under a cast to text, and as an argument of
//! functions that take any type.

use datafusion::sql::sqlparser::ast::{Expr, GroupByExpr, Ident, Query, SelectItem, SetExpr};

use super::spelling::{call, fields};
use crate::functions::row_text;

/// Rewrites the items of a statement's own SELECT, where nothing compares them: texts are neither in the order of rows nor equal when they are.
pub(crate) fn spell(query: &mut Query) {
    if query.order_by.is_some() {
        return;
    }
    match query.body.as_mut() {
        SetExpr::Select(select) if select.distinct.is_none() && is_ungrouped(&select.group_by) => {
            select.projection.iter_mut().for_each(item);
        }
        _ => {}
    }
}

fn is_ungrouped(by: &GroupByExpr) -> bool {
    matches!(by, GroupByExpr::Expressions(by, sets) if by.is_empty() && sets.is_empty())
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
pub(super) fn text(row: &Expr) -> Option<Expr> {
    let fields = fields(row)?;
    Some(call(row_text::NAME, fields.into_iter().map(|field| text(&field).unwrap_or(field)).collect()))
}
