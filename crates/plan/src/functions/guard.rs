//! Guards for batch queries: `x <> 0 AND 10 / x > 1` must not fail whatever else the batch holds. DataFusion evaluates both
//! sides of AND and OR unless a whole batch decides, so, as the last step before physical planning, a side that can fail is
//! put behind a CASE, which DataFusion evaluates for the selected rows only. (Views do not need this: `crate::eval`
//! selects by itself.) Conjuncts of a filter that cannot fail come first, because optimisers move them about.
//!
//! ```text
//!   a AND b   ->   CASE WHEN a IS NOT FALSE THEN (a AND b) ELSE FALSE END        if b can fail
//!   a OR b    ->   CASE WHEN a IS NOT TRUE  THEN (a OR b)  ELSE TRUE  END
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::expr::{BinaryExpr, Case};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

use super::cast::cast_target;
use super::over_exec;
use super::udf::PgFunction;
use crate::params::{self, Slots};

/// Plans physically after putting the guards, our operator of window functions, and parameters ([`Slots`] among the extensions), in place.
#[derive(Debug, Default)]
pub struct GuardedQueryPlanner;

#[async_trait]
impl QueryPlanner for GuardedQueryPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> DfResult<Arc<dyn ExecutionPlan>> {
        let plan = over_exec::replace(guard(crate::bind::equijoin::null_safe(plan.clone())?)?)?;
        let plan = match session.config().get_extension::<Slots>() {
            Some(slots) => params::open(plan, &slots)?,
            None => plan,
        };
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(over_exec::OverPlanner)]);
        super::series_exec::lazily(planner.create_physical_plan(&plan, session).await?)
    }
}

/// The plan with every AND and OR safe to evaluate.
///
/// # Errors
/// Those of DataFusion's tree traversal.
pub fn guard(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let guarded = plan.transform_up_with_subqueries(|node| {
        let node = match node {
            LogicalPlan::Filter(mut f) => {
                f.predicate = safe_first(f.predicate);
                LogicalPlan::Filter(f)
            }
            node => node,
        };
        let names = NamePreserver::new(&node);
        node.map_expressions(|e| {
            let name = names.save(&e);
            Ok(e.transform_up(|e| Ok(guard_expr(e)))?.update_data(|e| name.restore(e)))
        })
    })?;
    Ok(guarded.data)
}

/// Conjuncts that cannot fail before those that can, each group in its own order.
fn safe_first(predicate: Expr) -> Expr {
    let (risky, safe): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(predicate).into_iter().partition(can_fail);
    safe.into_iter().chain(risky).reduce(Expr::and).unwrap_or_else(|| lit(true))
}

fn guard_expr(expr: Expr) -> Transformed<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) = expr else {
        return Transformed::no(expr);
    };
    if !can_fail(&right) {
        return Transformed::no(Expr::BinaryExpr(BinaryExpr::new(left, op, right)));
    }
    let (open, decided) = match op {
        Operator::And => (Expr::IsNotFalse(left.clone()), false),
        _ => (Expr::IsNotTrue(left.clone()), true),
    };
    let both = Expr::BinaryExpr(BinaryExpr::new(left, op, right));
    Transformed::yes(Expr::Case(Case {
        expr: None,
        when_then_expr: vec![(Box::new(open), Box::new(both))],
        else_expr: Some(Box::new(lit(decided))),
    }))
}

/// Can evaluating it fail for some row? Functions that are not ours count as failing, but for those known not to.
pub fn can_fail(expr: &Expr) -> bool {
    let mut found = false;
    // the closure never fails, so neither does the traversal
    let _ = expr.apply(|e| {
        if let Expr::ScalarFunction(f) = e {
            found |= match f.func.inner().downcast_ref::<PgFunction>() {
                Some(pg) => !pg.def.safe,
                None => !matches!(f.func.name(), "coalesce" | "nvl") || cast_target(&f.func).is_some(),
            };
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}
