//! SESSION for DataFusion's executor, by functions with OVER: where a session begins and ends is seen from each row's neighbours, and
//! the row takes the last beginning before it and the first end after it.
//!
//! ```sql
//! max(CASE WHEN lag(ts)  IS NULL OR lag(ts) + gap <= ts   THEN ts       END) OVER (PARTITION BY k ORDER BY ts)       window_start
//! min(CASE WHEN lead(ts) IS NULL OR ts + gap <= lead(ts)  THEN ts + gap END) OVER (PARTITION BY k ORDER BY ts DESC)  window_end
//! ```
//! The sessions are those that `crate::flowplan::Op::Session` defines.

use datafusion::common::Column;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, ExprSchemable, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition, cast, when,
};

use super::window::WindowNode;
use super::window_batch::later;
use crate::flowplan::{AggFunc, WindowFunc};
use crate::functions::over;

/// Rows with a NULL time are dropped, the others appear once, with their session.
pub(super) fn spell_out(node: WindowNode, gap_us: i64) -> DfResult<LogicalPlan> {
    let WindowNode { input, ts, partition, .. } = node;
    let ty = ts.get_type(input.schema())?;
    let qualifier = input.schema().iter().next().and_then(|(q, _)| q.cloned());
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let call = |func, arg: Expr, ascending, name: &str| -> DfResult<Expr> {
        let def = WindowFunctionDefinition::WindowUDF(over::function(func));
        let call = Expr::from(WindowFunction::new(def, vec![arg])).partition_by(partition.clone());
        Ok(call.order_by(vec![ts.clone().sort(ascending, false)]).build()?.alias(name))
    };
    let made = |name: &str| Expr::Column(Column::from_name(name));
    let [before, behind, begins, ends, start, end] =
        ["\u{1}before", "\u{1}behind", "\u{1}begins", "\u{1}ends", "\u{1}start", "\u{1}end"];
    let neighbours = [call(WindowFunc::Lag, ts.clone(), true, before)?, call(WindowFunc::Lead, ts.clone(), true, behind)?];
    let plan = LogicalPlanBuilder::from(input).filter(ts.clone().is_not_null())?.window(neighbours)?;
    let after = cast(later(ts.clone(), gap_us), ty.clone());
    let gap_before = made(before).is_null().or(cast(later(made(before), gap_us), ty.clone()).lt_eq(ts.clone()));
    let gap_behind = made(behind).is_null().or(after.clone().lt_eq(made(behind)));
    let mut exprs = columns.clone();
    exprs.push(when(gap_before, ts.clone()).end()?.alias(begins));
    exprs.push(when(gap_behind, after).end()?.alias(ends));
    let first = call(WindowFunc::Agg(AggFunc::Max), made(begins), true, start)?;
    let last = call(WindowFunc::Agg(AggFunc::Min), made(ends), false, end)?;
    let mut out = columns;
    out.push(cast(made(start), ty.clone()).alias_qualified(qualifier.clone(), "window_start"));
    out.push(cast(made(end), ty).alias_qualified(qualifier, "window_end"));
    plan.project(exprs)?.window([first])?.window([last])?.project(out)?.build()
}
