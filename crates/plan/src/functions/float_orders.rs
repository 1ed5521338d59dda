//! Orders of floats, intervals, jsonb and arrays in DataFusion's executor, which puts -0 before 0, where to PostgreSQL, and to views,
//! they are one value, and knows jsonb as a text. Rows that tie are told apart by how equal values are written, as in views.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, SortExpr};
use datafusion::optimizer::AnalyzerRule;
use regauge_types::forms::has_forms;

use super::equality::{exact, key_of};
use super::function;

/// Sorts them by their keys. Types are settled before.
#[derive(Debug)]
pub(super) struct FloatOrders;

impl AnalyzerRule for FloatOrders {
    fn name(&self) -> &str {
        "float_orders"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let ordered = plan.transform_up_with_subqueries(|plan| {
            let LogicalPlan::Sort(mut sort) = plan else { return Ok(Transformed::no(plan)) };
            let schema = sort.input.schema();
            for key in &mut sort.expr {
                let Some(def) = key_of(&key.expr.get_type(schema)?) else { continue };
                key.expr = function(def).call(vec![std::mem::take(&mut key.expr)]);
            }
            for (column, field) in schema.columns().into_iter().zip(schema.fields()) {
                let form = SortExpr::new(exact(Expr::Column(column)), true, false);
                if has_forms(field.data_type()) && !sort.expr.contains(&form) {
                    sort.expr.push(form);
                }
            }
            Ok(Transformed::yes(LogicalPlan::Sort(sort)))
        })?;
        Ok(ordered.data)
    }
}
