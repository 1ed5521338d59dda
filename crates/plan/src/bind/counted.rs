//! A query in LIMIT or OFFSET: the rows are numbered in their order, and those whose numbers the query wants are kept.
//!
//! ```text
//!   SELECT a FROM t ORDER BY b LIMIT (SELECT n FROM u)
//!        ─▶  SELECT * EXCLUDE (n) FROM (SELECT a, row_number() OVER (ORDER BY b) AS n FROM t) AS q
//!            WHERE n BETWEEN 1 AND pg_limit((SELECT n FROM u)) ORDER BY n
//! ```
//! So views keep it, as they keep row numbers, and the query is one like any other: of one row, over what is around. A NULL is no limit.
//! What DISTINCT, set operations, VALUES and functions that give rows make is numbered around it, by its own columns. Knows no types.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator as Op, Distinct, Expr, Ident, LimitClause, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableFactor, Value, WindowType,
};

use super::ast::{MARK, column_name};
use super::spelling::{call, nested};
use super::{one_row, series};
use crate::error::PlanError;
use crate::parse::{ParseLimits, fold, parse_expr, parse_query};

type Result<T> = std::result::Result<T, PlanError>;

/// Numbers the rows of a query whose LIMIT or OFFSET is one; `false` where that is not known how.
pub(super) fn number(q: &mut Query) -> Result<bool> {
    let Some(LimitClause::LimitOffset { limit, offset, limit_by }) = &q.limit_clause else { return Ok(false) };
    if !limit_by.is_empty() || !q.locks.is_empty() || q.fetch.is_some() {
        return Ok(false);
    }
    let (limit, offset) = (limit.clone(), offset.as_ref().map(|o| o.value.clone()));
    let keys = match q.order_by.as_ref().map(|o| &o.kind) {
        None => vec![],
        Some(OrderByKind::Expressions(keys)) => keys.clone(),
        Some(OrderByKind::All(_)) => return Ok(false),
    };
    let Some(numbered) = numbered(&q.body, keys)? else { return Ok(false) };
    let inner = Query { with: None, body: Box::new(numbered), order_by: None, limit_clause: None, ..q.clone() };
    let n = || Expr::Identifier(Ident::with_quote('"', name()));
    let text = format!("SELECT * EXCLUDE (\"{0}\") FROM (SELECT 1) AS \"{MARK}counted\" ORDER BY \"{0}\"", name());
    let mut outer = *parse_query(&text, &ParseLimits::default())?;
    if let SetExpr::Select(s) = outer.body.as_mut() {
        if let Some(TableFactor::Derived { subquery, .. }) = s.from.first_mut().map(|f| &mut f.relation) {
            **subquery = inner;
        }
        let place = match offset {
            Some(e) => *nested(binary(n(), Op::Minus, call("pg_offset", vec![e]))),
            None => n(),
        };
        let high = limit.map_or_else(|| number_of(i64::MAX), |e| call("pg_limit", vec![e]));
        s.selection =
            Some(Expr::Between { expr: Box::new(place), negated: false, low: Box::new(number_of(1)), high: Box::new(high) });
    }
    (q.body, q.order_by, q.limit_clause) = (outer.body, outer.order_by, None);
    Ok(true)
}

/// Of the number.
fn name() -> String {
    format!("{MARK}number")
}

fn number_of(n: i64) -> Expr {
    Expr::value(Value::Number(n.to_string(), false))
}

fn binary(left: Expr, op: Op, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// The body with the number as its last column.
fn numbered(body: &SetExpr, keys: Vec<OrderByExpr>) -> Result<Option<SetExpr>> {
    if let SetExpr::Select(s) = body
        && s.distinct.is_none()
        // which drops rows behind those that the number would count
        && s.qualify.is_none()
        && !s.projection.iter().filter_map(expr).any(gives_rows)
    {
        let mut s = s.clone();
        let Some(keys) = keys.iter().cloned().map(|key| of_input(&s, key)).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        // a window's function within a window's order is none
        if !keys.iter().any(|key| matches!(one_row::found(&key.expr), Some(("42P20", _)))) {
            s.projection.push(item(keys)?);
            return Ok(Some(SetExpr::Select(s)));
        }
    }
    if matches!(body, SetExpr::Select(s) if matches!(s.distinct, Some(Distinct::On(_)))) {
        return Ok(None);
    }
    let Some(keys) = keys.into_iter().map(|key| of_output(body, key)).collect() else { return Ok(None) };
    let text = format!("SELECT * FROM (SELECT 1) AS \"{MARK}all\"");
    let mut around = *parse_query(&text, &ParseLimits::default())?;
    let SetExpr::Select(s) = around.body.as_mut() else { return Ok(None) };
    s.projection.push(item(keys)?);
    if let Some(TableFactor::Derived { subquery, .. }) = s.from.first_mut().map(|f| &mut f.relation) {
        *subquery.body = body.clone();
    }
    Ok(Some(*around.body))
}

fn item(keys: Vec<OrderByExpr>) -> Result<SelectItem> {
    let mut expr = parse_expr("row_number() OVER ()")?;
    if let Expr::Function(f) = &mut expr
        && let Some(WindowType::WindowSpec(window)) = &mut f.over
    {
        window.order_by = keys;
    }
    Ok(SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name()) })
}

fn expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => Some(e),
        _ => None,
    }
}

fn gives_rows(e: &Expr) -> bool {
    matches!(one_row::found(e), Some(("0A000", _))) || matches!(e, Expr::Function(f) if series::is_set_returning(&f.name))
}

fn output(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(e) => Some(column_name(e)),
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}

/// Which output a key stands for by its number.
fn position(key: &Expr) -> Option<usize> {
    let Expr::Value(v) = key else { return None };
    let Value::Number(n, _) = &v.value else { return None };
    n.to_string().parse::<usize>().ok()?.checked_sub(1)
}

/// A key as an expression over what FROM gives.
fn of_input(s: &Select, mut key: OrderByExpr) -> Option<OrderByExpr> {
    let named = |name: String| s.projection.iter().find(|item| output(item).as_ref() == Some(&name)).and_then(expr);
    let meant = match &key.expr {
        Expr::Value(_) => {
            let at = position(&key.expr)?;
            let items = s.projection.get(..=at)?.iter().map(expr).collect::<Option<Vec<_>>>()?;
            items.last().copied()
        }
        Expr::Identifier(i) => named(fold(i)),
        _ => None,
    };
    if let Some(meant) = meant.cloned() {
        key.expr = meant;
    }
    Some(key)
}

/// A key as a column of what the body gives.
fn of_output(body: &SetExpr, mut key: OrderByExpr) -> Option<OrderByExpr> {
    let at = match &key.expr {
        Expr::Identifier(_) => return Some(key),
        Expr::Value(_) => position(&key.expr)?,
        e => {
            let SetExpr::Select(s) = body else { return None };
            s.projection.iter().position(|item| expr(item) == Some(e))?
        }
    };
    key.expr = Expr::Identifier(Ident::with_quote('"', outputs(body)?.get(at)?));
    Some(key)
}

/// The names of a body's columns, if none stands twice.
fn outputs(body: &SetExpr) -> Option<Vec<String>> {
    let names: Vec<String> = match body {
        SetExpr::Select(s) => s.projection.iter().map(output).collect::<Option<_>>()?,
        SetExpr::SetOperation { left, .. } => outputs(left)?,
        SetExpr::Query(q) => outputs(&q.body)?,
        SetExpr::Values(v) => (1..=v.rows.first()?.content.len()).map(|i| format!("column{i}")).collect(),
        _ => return None,
    };
    let mut seen = std::collections::HashSet::new();
    names.iter().all(|name| seen.insert(name.clone())).then_some(names)
}
