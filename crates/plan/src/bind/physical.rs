//! DataFusion's physical rules without what changes answers.
//!
//! Conditions are not pushed down: those rules find columns by name (`ProjectionExec` takes the first of its output that is called so), and
//! over `o RIGHT JOIN c` a condition on `o.id` became one on `c.id`. The logical rules have pushed what can be, and none of our
//! sources takes conditions that joins make while they run.
//!
//! A projection that computes stays where it was planned: pushed below a filter it computes what the filter was to keep from it
//! (`SELECT a, b / a + c FROM .. WHERE a <> 0`). Those of columns alone go down as ever.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::exec_err;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};

/// A rule of DataFusion's.
pub(super) type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// The rules that our plans are made physical by.
pub(super) fn rules(theirs: Vec<Rule>) -> Vec<Rule> {
    let stays = |rule: &Rule| !rule.name().starts_with("FilterPushdown");
    theirs
        .into_iter()
        .filter(stays)
        .map(|rule| if rule.name() == "ProjectionPushdown" { Arc::new(Behind(rule)) } else { rule })
        .collect()
}

/// A rule that does not see projections that compute.
#[derive(Debug)]
struct Behind(Rule);

impl PhysicalOptimizerRule for Behind {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let hidden = plan.transform_up(|node| {
            Ok(if computes(&node) {
                Transformed::yes(Arc::new(Hidden(node)) as Arc<dyn ExecutionPlan>)
            } else {
                Transformed::no(node)
            })
        })?;
        let shown = self.0.optimize(hidden.data, config)?.transform_up(|node| {
            let inner = node.downcast_ref::<Hidden>().map(|hidden| Arc::clone(&hidden.0));
            Ok(inner.map_or_else(|| Transformed::no(node), Transformed::yes))
        })?;
        Ok(shown.data)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

fn computes(node: &Arc<dyn ExecutionPlan>) -> bool {
    let is_plain = |e: &Arc<dyn PhysicalExpr>| e.is::<Column>() || e.is::<Literal>();
    node.downcast_ref::<ProjectionExec>().is_some_and(|p| !p.expr().iter().all(|e| is_plain(&e.expr)))
}

/// An operator that rules do not know.
#[derive(Debug)]
struct Hidden(Arc<dyn ExecutionPlan>);

impl DisplayAs for Hidden {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt_as(t, f)
    }
}

impl ExecutionPlan for Hidden {
    fn name(&self) -> &str {
        "Hidden"
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.0.children()
    }
    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.0.apply_expressions(f)
    }
    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Hidden(Arc::clone(&self.0).replace_children(children, options)?)))
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }
    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        exec_err!("a plan was not finished")
    }
}
