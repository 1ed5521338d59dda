//! An order that a LIMIT reads is made total: after the written keys every column of the sorted rows follows, ascending with
//! NULLs last. Rows that still tie are equal, so it does not matter which is kept: a view, its rebuild and a plain SELECT agree.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::{Distinct, Expr, Limit, LogicalPlan, Projection, Sort, SubqueryAlias};

use super::{asof, distinct_on, ties};
use crate::error::PlanError;

/// Every Limit of the raw plan, subqueries included.
pub(super) fn total(plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
    let rewritten = asof::place(plan)?.transform_up_with_subqueries(|p| match p {
        LogicalPlan::Distinct(Distinct::On(d)) => Ok(Transformed::yes(distinct_on::spell_out(d)?)),
        LogicalPlan::Limit(l) if ties::is_one(&l) => Ok(Transformed::yes(ties::spell_out(l)?)),
        LogicalPlan::Limit(l) => {
            let input = Arc::unwrap_or_clone(l.input);
            let input = if has_sort(&input) { extend(input)? } else { sorted(input) };
            Ok(Transformed::yes(LogicalPlan::Limit(Limit { input: Arc::new(input), ..l })))
        }
        p => Ok(Transformed::no(p)),
    })?;
    Ok(rewritten.data)
}

/// As [`total`], but an outermost LIMIT without ORDER BY takes any rows, as the first that come: a statement's, which nothing else
/// has to agree with, and which then need not read everything.
pub(super) fn total_below(plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
    match plan {
        LogicalPlan::Limit(l) if !is_ordered(&l.input) && !ties::is_one(&l) => {
            let input = Arc::new(total(Arc::unwrap_or_clone(l.input))?);
            Ok(LogicalPlan::Limit(Limit { input, ..l }))
        }
        plan => total(plan),
    }
}

/// As [`has_sort`], before DISTINCT ON is spelt out, which ends in a sort.
fn is_ordered(p: &LogicalPlan) -> bool {
    match p {
        LogicalPlan::Distinct(Distinct::On(d)) => d.sort_expr.is_some(),
        LogicalPlan::SubqueryAlias(a) => is_ordered(&a.input),
        LogicalPlan::Projection(p) => is_ordered(&p.input),
        p => has_sort(p),
    }
}

fn has_sort(p: &LogicalPlan) -> bool {
    match p {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(p) => has_sort(&p.input),
        LogicalPlan::SubqueryAlias(a) => has_sort(&a.input),
        _ => false,
    }
}

fn columns(p: &LogicalPlan) -> impl Iterator<Item = SortExpr> {
    p.schema().columns().into_iter().map(|c| SortExpr::new(Expr::Column(c), true, false))
}

fn sorted(input: LogicalPlan) -> LogicalPlan {
    let expr: Vec<_> = columns(&input).collect();
    if expr.is_empty() {
        return input;
    }
    LogicalPlan::Sort(Sort { expr, input: Arc::new(input), fetch: None })
}

fn extend(p: LogicalPlan) -> DfResult<LogicalPlan> {
    Ok(match p {
        LogicalPlan::Sort(mut s) => {
            for more in columns(&s.input) {
                if !s.expr.iter().any(|e| e.expr == more.expr) {
                    s.expr.push(more);
                }
            }
            LogicalPlan::Sort(s)
        }
        LogicalPlan::Projection(p) => {
            let input = Arc::new(extend(Arc::unwrap_or_clone(p.input))?);
            LogicalPlan::Projection(Projection::try_new_with_schema(p.expr, input, p.schema)?)
        }
        LogicalPlan::SubqueryAlias(a) => {
            let input = Arc::new(extend(Arc::unwrap_or_clone(a.input))?);
            LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, a.alias)?)
        }
        p => p,
    })
}
