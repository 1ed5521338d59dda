//! `ORDER BY k FETCH FIRST n ROWS WITH TIES`: the rows whose rank is at most n, and with `OFFSET m` those of them behind the first m.
//!
//! ```text
//!   limit n with ties over projections over sort k over x   ─▶   projections over sort k over filter rank <= m + n and row > m over x
//! ```
//! Before a query is bound this is written as a marked LIMIT ([`mark`]). Which rows an OFFSET leaves out among those that tie is decided by the whole
//! row, as everywhere. Cost: in a view that of a rank over all rows.

use std::sync::Arc;

use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprFunctionExt, Filter, Limit, LogicalPlan, Operator, Projection, Sort, SubqueryAlias, Window,
    WindowFunctionDefinition,
};
use datafusion::sql::sqlparser::ast;

use super::ast::MARK;
use super::spelling::call;
use super::unnest::numbered;
use crate::error::PlanError;
use crate::flowplan::WindowFunc;
use crate::functions::rows::{MARKED, marked};

/// Marks the bound of a query to which rows that tie with the last one belong, too. PERCENT stays, and is refused.
pub(super) fn mark(q: &mut ast::Query) {
    if q.fetch.as_ref().is_none_or(|f| !f.with_ties || f.percent) {
        return;
    }
    let none = ast::LimitClause::LimitOffset { limit: None, offset: None, limit_by: vec![] };
    let ast::LimitClause::LimitOffset { limit: slot @ None, .. } = q.limit_clause.get_or_insert(none) else { return };
    let n = q.fetch.take().and_then(|f| f.quantity);
    let n = n.unwrap_or_else(|| ast::Expr::value(ast::Value::Number("1".to_owned(), false)));
    *slot = Some(call(MARKED, vec![n]));
}

/// Whether a LIMIT is marked.
pub(super) fn is_one(l: &Limit) -> bool {
    l.fetch.as_deref().and_then(marked).is_some()
}

/// The same without a LIMIT.
pub(super) fn spell_out(l: Limit) -> Result<LogicalPlan> {
    let Some(n) = l.fetch.as_deref().and_then(marked).cloned() else { return Ok(LogicalPlan::Limit(l)) };
    let kept = l.input.schema().columns();
    let skip = l.skip.map(|skip| *skip);
    let plan = below(Arc::unwrap_or_clone(l.input), &n, skip.as_ref())?;
    if plan.schema().fields().len() == kept.len() {
        return Ok(plan);
    }
    let kept = kept.into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(kept, Arc::new(plan))?))
}

fn below(plan: LogicalPlan, n: &Expr, skip: Option<&Expr>) -> Result<LogicalPlan> {
    Ok(match plan {
        LogicalPlan::Projection(p) => {
            let input = Arc::new(below(Arc::unwrap_or_clone(p.input), n, skip)?);
            LogicalPlan::Projection(Projection::try_new_with_schema(p.expr, input, p.schema)?)
        }
        LogicalPlan::SubqueryAlias(a) => {
            let input = Arc::new(below(Arc::unwrap_or_clone(a.input), n, skip)?);
            LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, a.alias)?)
        }
        LogicalPlan::Sort(s) => bounded(s, n, skip)?,
        _ => return Err(PlanError::syntax("WITH TIES cannot be specified without ORDER BY clause").into()),
    })
}

fn bounded(s: Sort, n: &Expr, skip: Option<&Expr>) -> Result<LogicalPlan> {
    let (rank, row) = (format!("{MARK}rank"), format!("{MARK}row"));
    let column = |name: &str| Expr::Column(Column::new_unqualified(name));
    let binary = |l: Expr, op, r: Expr| Expr::BinaryExpr(BinaryExpr::new(Box::new(l), op, Box::new(r)));
    let none = |e: &&Expr| !matches!(e, Expr::Literal(ScalarValue::Null, _));
    let mut input = ranked(Arc::unwrap_or_clone(s.input), s.expr.clone(), &rank)?;
    let last = match skip {
        Some(skip) => binary(skip.clone(), Operator::Plus, n.clone()),
        None => n.clone(),
    };
    let mut holds = binary(column(&rank), Operator::LtEq, last);
    if let Some(skip) = skip.filter(none) {
        let mut order = s.expr.clone();
        let all = input.schema().columns().into_iter().map(|c| SortExpr::new(Expr::Column(c), true, false));
        order.extend(all.filter(|more| s.expr.iter().all(|e| e.expr != more.expr)).collect::<Vec<_>>());
        input = numbered(input, vec![], order, &row)?;
        holds = holds.and(binary(column(&row), Operator::Gt, skip.clone()));
    }
    let plan = LogicalPlan::Filter(Filter::try_new(holds, Arc::new(input))?);
    Ok(LogicalPlan::Sort(Sort { expr: s.expr, input: Arc::new(plan), fetch: None }))
}

fn ranked(input: LogicalPlan, order: Vec<SortExpr>, name: &str) -> Result<LogicalPlan> {
    let f = WindowFunctionDefinition::WindowUDF(crate::functions::over::function(WindowFunc::Rank));
    let call = Expr::from(WindowFunction::new(f, vec![])).order_by(order).build()?.alias(name);
    Ok(LogicalPlan::Window(Window::try_new(vec![call], Arc::new(input))?))
}
