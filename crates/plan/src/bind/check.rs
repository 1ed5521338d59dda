//! What is refused on the raw plan, before the optimiser hides it.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};

use super::temporal::TemporalNode;
use crate::error::PlanError;

/// A view's query must be a function of its inputs.
pub(super) fn view(plan: &LogicalPlan) -> Result<(), PlanError> {
    let mut first: Option<PlanError> = None;
    plan.apply_with_subqueries(|node| {
        let temporal = matches!(node, LogicalPlan::Extension(x) if x.node.as_any().is::<TemporalNode>());
        for e in node.expressions().into_iter().filter(|_| !temporal) {
            e.apply(|e| {
                if let Err(e) = expr(e) {
                    first.get_or_insert(e);
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(if first.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    first.map_or(Ok(()), Err)
}

fn expr(e: &Expr) -> Result<(), PlanError> {
    match e {
        Expr::ScalarFunction(f) => volatility(f.name(), f.func.signature().volatility),
        Expr::AggregateFunction(f) => volatility(f.func.name(), f.func.signature().volatility),
        Expr::Placeholder(p) => {
            Err(PlanError::invalid("42P02", format!("there is no parameter {}", p.id)).with_hint("write the value itself"))
        }
        _ => Ok(()),
    }
}

fn volatility(name: &str, v: Volatility) -> Result<(), PlanError> {
    let what = match v {
        Volatility::Immutable => return Ok(()),
        Volatility::Stable => "depends on when or by whom it is run",
        Volatility::Volatile => "gives another result at each call",
    };
    let hint = match name {
        "now" => {
            "a condition of WHERE by itself may compare it, as ts > now() - INTERVAL '1 hour' (days and shorter); else put the moment \
             into the data: a timestamp column with the event's time"
        }
        "current_timestamp" | "current_date" | "current_time" | "today" | "clock_timestamp" | "statement_timestamp" => {
            "put the moment into the data: a timestamp column with the event's time"
        }
        crate::host::VOLATILE => "the program has registered it as volatile; register it without that if it always answers alike",
        _ => "store the value in a column when the row is written",
    };
    let name = if name == crate::host::VOLATILE { "of the program" } else { name };
    Err(PlanError::Unsupported {
        sqlstate: "RG003",
        message: format!("function {name} is not allowed in a view: it {what}"),
        hint: Some(hint.into()),
    })
}

/// Whether a query has at most one row, whatever it reads; for a correlated one, for each value of its outer columns.
pub(super) fn at_most_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => at_most_one_row(&p.input),
        LogicalPlan::SubqueryAlias(a) => at_most_one_row(&a.input),
        LogicalPlan::Sort(s) => at_most_one_row(&s.input),
        LogicalPlan::Filter(f) => at_most_one_row(&f.input),
        LogicalPlan::Aggregate(a) => a.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(v) => v.values.len() <= 1,
        LogicalPlan::Limit(l) => {
            let one = match l.fetch.as_deref() {
                Some(Expr::Literal(v, _)) => matches!(v.to_string().as_str(), "0" | "1"),
                _ => false,
            };
            one || at_most_one_row(&l.input)
        }
        _ => false,
    }
}
