//! Two forms of syntax about arrays, as calls and queries that the binder knows.
//!
//! ```text
//!   x LIKE ANY (ARRAY[p, q])    (x LIKE p OR x LIKE q)
//!   x NOT LIKE ALL (array)      NOT pg_any_like(x, array)
//!   ARRAY(SELECT e .. ORDER BY k LIMIT n)
//!                               pg_filled((SELECT array_agg(e ORDER BY k) FROM (SELECT e, k .. ORDER BY k LIMIT n)))
//! ```

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, OrderBy,
    OrderByExpr, OrderByKind, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, Value, ValueWithSpan,
};

use super::ast::MARK;
use super::spelling::{call, nested, not, take};
use crate::error::PlanError;
use crate::functions::rows::FILLED_NAME;
use crate::parse::fold;

/// `LIKE ANY`, `ILIKE ALL` and so on over an array; `None` for anything else.
pub(super) fn like(e: &mut Expr) -> Option<Expr> {
    let fold = matches!(e, Expr::ILike { .. });
    let (Expr::Like { negated, any, expr, pattern, escape_char } | Expr::ILike { negated, any, expr, pattern, escape_char }) = e
    else {
        return None;
    };
    let all = !*any;
    let patterns = if all { of_all(pattern)? } else { take(pattern) };
    Some(matched(take(expr), patterns, Kind { negated: *negated, fold, all }, escape_char.take()))
}

/// `x ~~ ANY (array)` and its kin.
pub(super) fn like_operator(left: &mut Expr, op: &BinaryOperator, right: &mut Expr, all: bool) -> Option<Expr> {
    let (negated, fold) = match op {
        BinaryOperator::PGLikeMatch => (false, false),
        BinaryOperator::PGILikeMatch => (false, true),
        BinaryOperator::PGNotLikeMatch => (true, false),
        BinaryOperator::PGNotILikeMatch => (true, true),
        _ => return None,
    };
    Some(matched(take(left), take(right), Kind { negated, fold, all }, None))
}

/// `x ~ ANY (array)` and its kin.
pub(super) fn regex_operator(left: &mut Expr, op: &BinaryOperator, right: &mut Expr, all: bool) -> Option<Expr> {
    let (negated, fold) = match op {
        BinaryOperator::PGRegexMatch => (false, false),
        BinaryOperator::PGRegexIMatch => (false, true),
        BinaryOperator::PGRegexNotMatch => (true, false),
        BinaryOperator::PGRegexNotIMatch => (true, true),
        _ => return None,
    };
    if let Expr::Array(list) = right
        && !list.elem.iter().any(|e| matches!(e, Expr::Array(_)))
    {
        let value = take(left);
        let one = |pattern: Expr| Expr::BinaryOp { left: nested(value.clone()), op: op.clone(), right: nested(pattern) };
        return Some(joined(std::mem::take(&mut list.elem).into_iter().map(one), all));
    }
    // some pattern does not match: that is, not all do
    let name = match (all != negated, fold) {
        (false, false) => "pg_any_regex",
        (true, false) => "pg_all_regex",
        (false, true) => "pg_any_iregex",
        (true, true) => "pg_all_iregex",
    };
    let found = call(name, vec![take(left), take(right)]);
    Some(if negated { not(found) } else { found })
}

/// Conditions by AND or by OR.
fn joined(conditions: impl Iterator<Item = Expr>, all: bool) -> Expr {
    let op = if all { BinaryOperator::And } else { BinaryOperator::Or };
    let joined = conditions.reduce(|left, right| Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) });
    joined.map_or_else(|| Expr::value(Value::Boolean(all)), |e| Expr::Nested(Box::new(e)))
}

/// What stands in the brackets of ALL, which sqlparser takes for a function.
fn of_all(pattern: &mut Expr) -> Option<Expr> {
    let Expr::Function(f) = pattern else { return None };
    let [name] = f.name.0.as_slice() else { return None };
    let FunctionArguments::List(list) = &mut f.args else { return None };
    match list.args.as_mut_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(e))] if name.as_ident().is_some_and(|i| fold(i) == "all") => Some(take(e)),
        _ => None,
    }
}

#[derive(Clone, Copy)]
struct Kind {
    negated: bool,
    fold: bool,
    all: bool,
}

fn matched(value: Expr, mut patterns: Expr, kind: Kind, escape_char: Option<ValueWithSpan>) -> Expr {
    while let Expr::Nested(inner) = &mut patterns {
        patterns = take(inner);
    }
    let Kind { negated, fold, all } = kind;
    if let Expr::Array(list) = &mut patterns
        && !list.elem.iter().any(|e| matches!(e, Expr::Array(_)))
    {
        let one = |pattern: Expr| {
            let (expr, pattern, escape_char) = (nested(value.clone()), nested(pattern), escape_char.clone());
            if fold {
                Expr::ILike { negated, any: false, expr, pattern, escape_char }
            } else {
                Expr::Like { negated, any: false, expr, pattern, escape_char }
            }
        };
        return joined(std::mem::take(&mut list.elem).into_iter().map(one), all);
    }
    // NOT LIKE ANY: some pattern does not match; that is, not all do
    let name = match (all != negated, fold) {
        (false, false) => "pg_any_like",
        (true, false) => "pg_all_like",
        (false, true) => "pg_any_ilike",
        (true, true) => "pg_all_ilike",
    };
    let found = call(name, vec![value, patterns]);
    if negated { not(found) } else { found }
}

/// `ARRAY(query)`: the rows of a query of one column, in its order; `None` for any other function.
pub(super) fn of_query(f: &mut Function) -> Result<Option<Expr>, PlanError> {
    let FunctionArguments::Subquery(query) = &f.args else { return Ok(None) };
    if !matches!(f.name.0.as_slice(), [one] if one.as_ident().is_some_and(|i| fold(i) == "array")) {
        return Ok(None);
    }
    let mut query = query.clone();
    let value = || format!("{MARK}element");
    let key = |i: usize| format!("{MARK}key{i}");
    let keys = keys(query.order_by.as_ref());
    let mut columns = vec![];
    match query.body.as_mut() {
        SetExpr::Select(s) if s.projection.len() == 1 && !matches!(s.projection[0], SelectItem::Wildcard(_)) => {
            let (SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. }) = &s.projection[0] else {
                return Ok(None);
            };
            let (e, output) = (e.clone(), output(&s.projection[0]));
            let item = |expr: Expr, name: String| SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
            // its own order reads the input, whatever its output is called now
            for k in ordering(&mut query.order_by) {
                if is_output(&k.expr, output.as_deref()) {
                    k.expr = e.clone();
                }
            }
            let by = keys.iter().enumerate().map(|(i, k)| {
                let expr = if is_output(&k.expr, output.as_deref()) { e.clone() } else { k.expr.clone() };
                item(expr, key(i))
            });
            s.projection = std::iter::once(item(e.clone(), value())).chain(by).collect();
        }
        _ => columns.push(TableAliasColumnDef { name: Ident::with_quote('"', value()), data_type: None }),
    }
    let named = columns.is_empty();
    let aggregated = keys.into_iter().enumerate().map(|(i, k)| {
        let name = if named { key(i) } else { value() };
        OrderByExpr { expr: Expr::Identifier(Ident::with_quote('"', name)), ..k }
    });
    let mut agg = call("array_agg", vec![Expr::Identifier(Ident::with_quote('"', value()))]);
    let order: Vec<OrderByExpr> = aggregated.collect();
    if let (Expr::Function(f), false) = (&mut agg, order.is_empty())
        && let FunctionArguments::List(list) = &mut f.args
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    let mut outer = crate::parse::parse_query("SELECT 1 FROM t", &crate::parse::ParseLimits::default())?;
    if let SetExpr::Select(s) = outer.body.as_mut() {
        s.projection = vec![SelectItem::UnnamedExpr(agg)];
        let alias = TableAlias { explicit: true, name: Ident::with_quote('"', format!("{MARK}array")), columns, at: None };
        if let Some(from) = s.from.first_mut() {
            from.relation = TableFactor::Derived { lateral: false, subquery: query, alias: Some(alias), sample: None };
        }
    }
    Ok(Some(call(FILLED_NAME, vec![Expr::Subquery(outer)])))
}

fn keys(order: Option<&OrderBy>) -> Vec<OrderByExpr> {
    match order.map(|o| &o.kind) {
        Some(OrderByKind::Expressions(keys)) => keys.clone(),
        _ => vec![],
    }
}

fn ordering(order: &mut Option<OrderBy>) -> &mut [OrderByExpr] {
    match order.as_mut().map(|o| &mut o.kind) {
        Some(OrderByKind::Expressions(keys)) => keys,
        _ => &mut [],
    }
}

fn output(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(e) => Some(super::ast::column_name(e)),
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}

/// The one output, by its name or its position.
fn is_output(key: &Expr, output: Option<&str>) -> bool {
    match key {
        Expr::Identifier(i) => Some(fold(i).as_str()) == output,
        Expr::Value(v) => matches!(&v.value, Value::Number(n, _) if *n == "1"),
        _ => false,
    }
}
