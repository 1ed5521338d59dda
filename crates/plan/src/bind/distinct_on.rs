//! DISTINCT ON: the first row of each group by the order, as row number 1 of a partition.
//!
//! ORDER BY decides which is first; what it leaves open is decided by the selected values, so that a view, its rebuild and a plain
//! SELECT agree, where PostgreSQL may take any.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::normalize_cols;
use datafusion::logical_expr::{DistinctOn, Expr, Filter, LogicalPlan, Projection, Sort, SortExpr, lit};

use super::unnest::numbered;

/// The same as a window, a filter, a sort and a projection.
pub(super) fn spell_out(d: DistinctOn) -> Result<LogicalPlan> {
    let DistinctOn { on_expr, select_expr, sort_expr, input, schema } = d;
    let on = normalize_cols(on_expr, input.as_ref())?;
    let selected = normalize_cols(select_expr, input.as_ref())?;
    let mut order: Vec<SortExpr> = sort_expr.unwrap_or_default();
    let shown: Vec<SortExpr> = order.iter().take(on.len()).cloned().collect();
    for e in &selected {
        let e = e.clone().unalias_nested().data;
        let decides = e.any_column_refs() && order.iter().all(|s| s.expr != e);
        if decides {
            order.push(SortExpr::new(e, true, false));
        }
    }
    let number = format!("{}first", super::ast::MARK);
    let first = Expr::Column(Column::new_unqualified(&number)).eq(lit(1i64));
    let numbered = numbered(Arc::unwrap_or_clone(input), on, order, &number)?;
    let mut plan = LogicalPlan::Filter(Filter::try_new(first, Arc::new(numbered))?);
    if !shown.is_empty() {
        plan = LogicalPlan::Sort(Sort { expr: shown, input: Arc::new(plan), fetch: None });
    }
    let names = schema.columns();
    let exprs = selected.into_iter().zip(names).map(|(e, c)| match &e {
        Expr::Column(own) if own.relation == c.relation && own.name == c.name => e,
        _ => e.unalias_nested().data.alias_qualified(c.relation, c.name),
    });
    Ok(LogicalPlan::Projection(Projection::try_new(exprs.collect(), Arc::new(plan))?))
}
