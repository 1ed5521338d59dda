//! `SET (a, b) = (x, y)` and `SET (a, b) = (SELECT x, y ..)`: one assignment for each column.
//!
//! A subquery is asked once for each column: for its n-th item where that says which row is meant, else for the n-th column of the
//! whole (`SELECT c2 FROM (subquery) AS s (c1, c2)`), so that the columns come from one row.

use datafusion::sql::sqlparser::ast::{self, Expr, SelectItem, SetExpr};

use super::{ParseLimits, Result, parse_query};
use crate::error::PlanError;

/// Columns with their values, in the order of the text.
pub(super) fn flat(list: Vec<ast::Assignment>) -> Result<Vec<(ast::ObjectName, Expr)>> {
    let mut out = vec![];
    for ast::Assignment { target, value } in list {
        match target {
            ast::AssignmentTarget::ColumnName(name) => out.push((name, value)),
            ast::AssignmentTarget::Tuple(names) => {
                let values = values(value, names.len())?;
                out.extend(names.into_iter().zip(values));
            }
        }
    }
    Ok(out)
}

fn values(value: Expr, n: usize) -> Result<Vec<Expr>> {
    let values = match value {
        Expr::Tuple(values) => values,
        Expr::Subquery(query) => return columns(&query, n),
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("row") => match call.args {
            ast::FunctionArguments::List(list) => list.args.into_iter().map(plain).collect::<Result<_>>()?,
            _ => return Err(no_row()),
        },
        _ => return Err(no_row()),
    };
    if values.len() != n {
        return Err(number());
    }
    Ok(values)
}

fn plain(arg: ast::FunctionArg) -> Result<Expr> {
    match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => Ok(e),
        _ => Err(no_row()),
    }
}

fn no_row() -> PlanError {
    PlanError::unsupported(
        "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression",
        "write SET (a, b) = (x, y)",
    )
}

fn number() -> PlanError {
    PlanError::invalid("42601", "number of columns does not match number of values")
}

fn columns(query: &ast::Query, n: usize) -> Result<Vec<Expr>> {
    let items = items(query);
    if items.is_some_and(|items| items.len() != n) {
        return Err(number());
    }
    let whole = query.limit_clause.is_some() || query.fetch.is_some() || query.order_by.is_some() || is_distinct(query);
    (0..n)
        .map(|at| {
            let mut query = query.clone();
            if let (false, SetExpr::Select(select)) = (whole || items.is_none(), query.body.as_mut()) {
                let item = select.projection.swap_remove(at);
                select.projection = vec![item];
                return Ok(Expr::Subquery(Box::new(query)));
            }
            let names: Vec<String> = (0..n).map(|i| format!("__c{i}")).collect();
            let text = format!("SELECT __set.__c{at} FROM (SELECT 1) AS __set ({})", names.join(", "));
            let mut outer = *parse_query(&text, &ParseLimits::default())?;
            if let SetExpr::Select(select) = outer.body.as_mut()
                && let Some(ast::TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|f| &mut f.relation)
            {
                **subquery = query;
            }
            Ok(Expr::Subquery(Box::new(outer)))
        })
        .collect()
}

/// The items of a SELECT without stars.
fn items(query: &ast::Query) -> Option<&[SelectItem]> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let star = |i: &SelectItem| matches!(i, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    (!select.projection.iter().any(star)).then_some(&select.projection)
}

fn is_distinct(query: &ast::Query) -> bool {
    matches!(query.body.as_ref(), SetExpr::Select(select) if select.distinct.is_some())
}
