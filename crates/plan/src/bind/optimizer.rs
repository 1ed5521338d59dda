//! DataFusion's optimiser, with rules of ours in the place of those that give wrong answers.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{Optimizer, OptimizerConfig, OptimizerRule};

use super::equijoin::{self, EqualityKeys};

/// Rules that change answers, or errors:
///
/// - `single_distinct_aggregation_to_group_by` splits an aggregate in two, and the sum of sums of bigints is a numeric in PostgreSQL
///   (it hides a distinct aggregate from the incremental operators, too);
/// - `unions_to_filter` and those of leaf expressions move expressions that may fail.
const LEFT_OUT: [&str; 4] =
    ["single_distinct_aggregation_to_group_by", "unions_to_filter", "extract_leaf_expressions", "push_down_leaf_projections"];

/// The rules, in DataFusion's order.
pub(crate) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let ours = |rule: Arc<dyn OptimizerRule + Send + Sync>| -> Arc<dyn OptimizerRule + Send + Sync> {
        match rule.name() {
            equijoin::NAME => Arc::new(EqualityKeys),
            "push_down_filter" => Arc::new(Filters(PushDownFilter::new())),
            _ => rule,
        }
    };
    Optimizer::new().rules.into_iter().filter(|rule| !LEFT_OUT.contains(&rule.name())).map(ours).collect()
}

/// Filters move down, but not below an aggregate that has a row even without input: DataFusion moves a condition without columns
/// (`1 > 2`, not yet folded) there, and the row stays.
#[derive(Debug)]
struct Filters(PushDownFilter);

impl OptimizerRule for Filters {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Filter(f) if has_a_row(&f.input) => Ok(Transformed::no(plan)),
            _ => self.0.rewrite(plan, config),
        }
    }
}

/// Whether this is an aggregate that groups all rows, if only in one of its sets.
fn has_a_row(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Aggregate(a) = plan else { return false };
    a.group_expr.iter().all(|e| matches!(e, Expr::GroupingSet(_)))
}
