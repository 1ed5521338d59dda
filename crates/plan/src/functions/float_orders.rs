//! Orders of floats and jsonb in DataFusion's executor, which puts -0 before 0, where to PostgreSQL, and to views, they are one
//! value, and knows jsonb as a text.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::bind::{is_float, is_jsonb};
use super::{arith, function, json};

/// Sorts floats and jsonb by their key. Types are settled before.
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
                let def = match key.expr.get_type(schema)? {
                    ty if is_float(&ty) => &arith::FLOAT_KEY,
                    ty if is_jsonb(&ty) => &json::access::KEY,
                    _ => continue,
                };
                key.expr = function(def).call(vec![std::mem::take(&mut key.expr)]);
            }
            Ok(Transformed::yes(LogicalPlan::Sort(sort)))
        })?;
        Ok(ordered.data)
    }
}
