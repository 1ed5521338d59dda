//! Orders of floats in DataFusion's executor, which puts -0 before 0; to PostgreSQL, and to views, they are one value.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::bind::is_float;
use super::{arith, function};

/// Sorts floats by their key. Types are settled before.
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
                if is_float(&key.expr.get_type(schema)?) {
                    key.expr = function(&arith::FLOAT_KEY).call(vec![std::mem::take(&mut key.expr)]);
                }
            }
            Ok(Transformed::yes(LogicalPlan::Sort(sort)))
        })?;
        Ok(ordered.data)
    }
}
