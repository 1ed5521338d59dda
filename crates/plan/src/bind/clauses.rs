//! What the clauses of a query may hold by their grammar, before anything is bound.
//!
//! ```text
//!   LIMIT '2', LIMIT 1.5     a bigint                ORDER BY 'x', GROUP BY NULL    42601
//!   LIMIT a                  42P10                   ORDER BY -1                    42P10
//!   LIMIT (query)            see `counted`           .. of DISTINCT ON              0A000
//!   JOIN r                   42601                   DISTINCT ON (2)                the second item
//!   JOIN r ON sum(a) = 1     42803                   GROUP BY 1 of an aggregate     42803
//! ```
//! Knows no types and no columns.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, JoinConstraint, JoinOperator, LimitClause, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableFactor, TableWithJoins, UnaryOperator, Value, Visitor,
};

use super::{counted, one_row};
use crate::error::PlanError;
use crate::walk::Visit;

type Result<T> = std::result::Result<T, PlanError>;

/// Judges the clauses of a query, not of those inside it.
///
/// # Errors
/// 42601, 42803, 42804, 42P10, 42P20, 0A000, 22P02, 22003.
pub(super) fn check(q: &mut Query) -> Result<()> {
    limits(q)?;
    if let Some(order) = &q.order_by
        && let OrderByKind::Expressions(keys) = &order.kind
    {
        keys.iter().try_for_each(|key| position(&key.expr, "ORDER BY").map(|_| ()))?;
    }
    let mut todo = vec![q.body.as_mut()];
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => todo.extend([left.as_mut(), right.as_mut()]),
            SetExpr::Select(s) => select(s)?,
            _ => {}
        }
    }
    Ok(())
}

fn select(s: &mut Select) -> Result<()> {
    s.from.iter().try_for_each(joins)?;
    if let GroupByExpr::Expressions(keys, _) = &s.group_by {
        for key in keys {
            if let Some(e) = position(key, "GROUP BY")?.and_then(|at| item(s, at)) {
                of_group(e)?;
            }
        }
    }
    let Some(Distinct::On(keys)) = &s.distinct else { return Ok(()) };
    if keys.is_empty() {
        return Err(PlanError::syntax("syntax error: DISTINCT ON without an expression"));
    }
    let mut keys = keys.clone();
    for key in &mut keys {
        let Some(at) = position(key, "DISTINCT ON")? else { continue };
        // behind a star nobody knows yet what stands where
        if s.projection.iter().take(at).any(|i| item_of(i).is_none()) {
            continue;
        }
        let missing = || PlanError::invalid("42P10", format!("DISTINCT ON position {at} is not in select list"));
        *key = item(s, at).cloned().ok_or_else(missing)?;
    }
    let mut seen = std::collections::HashSet::new();
    keys.retain(|key| seen.insert(key.to_string()));
    s.distinct = Some(Distinct::On(keys));
    Ok(())
}

/// A key of GROUP BY that is an item of the select list.
///
/// # Errors
/// 42803, 42P20.
pub(super) fn of_group(e: &Expr) -> Result<()> {
    match one_row::found(e) {
        Some((code @ ("42803" | "42P20"), what)) => {
            Err(PlanError::invalid(code, format!("{what} are not allowed in GROUP BY"))
                .with_hint("group by columns of the input"))
        }
        _ => Ok(()),
    }
}

fn item_of(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => Some(e),
        _ => None,
    }
}

/// The item at a position, from 1, if no star stands before it.
fn item(s: &Select, at: usize) -> Option<&Expr> {
    let all = s.projection.iter().take(at).map(item_of).collect::<Option<Vec<_>>>()?;
    (all.len() == at).then(|| all.last().copied()).flatten()
}

/// A literal as a key is a position; `None` for what is no literal.
fn position(e: &Expr, clause: &str) -> Result<Option<usize>> {
    let (value, negated) = match e {
        Expr::Value(v) => (&v.value, false),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(v) if matches!(v.value, Value::Number(..)) => (&v.value, true),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let n = match value {
        Value::Placeholder(_) => return Ok(None),
        Value::Number(n, _) => n.to_string().parse::<i32>().ok(),
        _ => None,
    };
    match n.map(usize::try_from) {
        Some(Ok(n)) if !negated && n > 0 => Ok(Some(n)),
        Some(_) => {
            let sign = if negated { "-" } else { "" };
            Err(PlanError::invalid("42P10", format!("{clause} position {sign}{value} is not in select list")))
        }
        None => Err(PlanError::syntax(format!("non-integer constant in {clause}")).with_hint("write a column, or its number")),
    }
}

/// A join says by what, and that by one row of each side.
fn joins(from: &TableWithJoins) -> Result<()> {
    use JoinOperator::{FullOuter, Inner, Join, Left, LeftOuter, Right, RightOuter};
    for join in &from.joins {
        if let Join(by) | Inner(by) | Left(by) | LeftOuter(by) | Right(by) | RightOuter(by) | FullOuter(by) = &join.join_operator
        {
            match by {
                JoinConstraint::None => {
                    let message = "syntax error: a join without ON or USING";
                    return Err(PlanError::syntax(message).with_hint("CROSS JOIN pairs each row with each"));
                }
                JoinConstraint::On(e) => one_row::check(e, "JOIN conditions")?,
                _ => {}
            }
        }
    }
    let factors = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
    for factor in factors {
        match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => joins(table_with_joins)?,
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                let hint = "take rows by what they hold, such as WHERE id % 100 = 0";
                return Err(PlanError::unsupported("TABLESAMPLE is not offered", hint));
            }
            _ => {}
        }
    }
    Ok(())
}

fn limits(q: &mut Query) -> Result<()> {
    let reads = |e: &Expr| matches!(e.visit(&mut Reads), ControlFlow::Break(true));
    if let Some(LimitClause::LimitOffset { limit: of, offset, .. }) = &mut q.limit_clause
        && of.iter().chain(offset.iter().map(|o| &o.value)).any(reads)
    {
        let others = of.iter_mut().map(|e| (e, "LIMIT")).chain(offset.iter_mut().map(|o| (&mut o.value, "OFFSET")));
        others.filter(|(e, _)| !reads(e)).try_for_each(|(e, clause)| limit(e, clause))?;
        if counted::number(q)? {
            return Ok(());
        }
    }
    match &mut q.limit_clause {
        Some(LimitClause::LimitOffset { limit: of, offset, .. }) => {
            of.iter_mut().try_for_each(|e| limit(e, "LIMIT"))?;
            offset.iter_mut().try_for_each(|o| limit(&mut o.value, "OFFSET"))?;
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit: of }) => {
            limit(of, "LIMIT")?;
            limit(offset, "OFFSET")?;
        }
        None => {}
    }
    q.fetch.iter_mut().filter_map(|f| f.quantity.as_mut()).try_for_each(|e| limit(e, "LIMIT"))
}

/// A literal of another type becomes the bigint that it stands for.
fn limit(e: &mut Expr, clause: &str) -> Result<()> {
    if let Expr::Value(v) = &mut *e {
        match &v.value {
            Value::SingleQuotedString(text) => {
                let n = text.trim().parse::<i64>().map_err(|_| {
                    PlanError::invalid("22P02", format!("invalid input syntax for type bigint: \"{text}\""))
                        .with_hint("write a whole number")
                })?;
                let digits = Expr::value(Value::Number(n.unsigned_abs().to_string(), false));
                *e = if n < 0 { Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(digits) } } else { digits };
            }
            Value::Number(n, long) => v.value = Value::Number(whole(&n.to_string())?, *long),
            Value::Boolean(_) => {
                let message = format!("argument of {clause} must be type bigint, not type boolean");
                return Err(PlanError::invalid("42804", message).with_hint("write a whole number"));
            }
            _ => {}
        }
        return Ok(());
    }
    one_row::check(e, clause)?;
    match e.visit(&mut Reads) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(true) => Err(PlanError::unsupported(
            format!("a query in {clause} is not offered"),
            "write a number, or number the rows: row_number() OVER (ORDER BY ..) AS n in a subquery, WHERE n <= ..",
        )),
        ControlFlow::Break(false) => {
            let message = format!("argument of {clause} must not contain variables");
            Err(PlanError::invalid("42P10", message).with_hint("it is one number for all rows"))
        }
    }
}

/// The whole number that a number of SQL is rounded to.
fn whole(n: &str) -> Result<String> {
    let range = || PlanError::invalid("22003", "bigint out of range");
    if n.bytes().all(|b| b.is_ascii_digit()) {
        return n.parse::<i64>().map(|_| n.to_owned()).map_err(|_| range());
    }
    let number = n.parse::<f64>().map_err(|_| range())?.round();
    if number.abs() < 9.2e18 { Ok(format!("{number:.0}")) } else { Err(range()) }
}

/// Finds what an expression reads: a query (`true`) or a column.
struct Reads;

impl Visitor for Reads {
    type Break = bool;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<bool> {
        ControlFlow::Break(true)
    }

    fn pre_visit_expr(&mut self, e: &Expr) -> ControlFlow<bool> {
        match e {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(true),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(false),
            _ => ControlFlow::Continue(()),
        }
    }
}
