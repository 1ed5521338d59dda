//! Which conditions of a join are keys. DataFusion's own rule makes a key of IS NOT DISTINCT FROM by letting all keys of the join match
//! NULLs; a later pass then adds plain equalities to them, or flattens such a join into its neighbours, and NULL = NULL is true.
//!
//! So, while a plan is optimised, only equalities become keys, and no join's keys match NULLs. What follows knows no more passes and
//! makes keys of the others: lowering for views, [`null_safe`] before a batch query is planned physically.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{can_hash, conjunction, find_valid_equijoin_key_pair, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Join, LogicalPlan, Operator};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule of DataFusion's in whose place ours stands.
pub(super) const NAME: &str = "extract_equijoin_predicate";

#[derive(Debug)]
pub(super) struct EqualityKeys;

impl OptimizerRule for EqualityKeys {
    fn name(&self) -> &str {
        NAME
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
        if join.null_equality == NullEquality::NullEqualsNull {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let found = take_keys(&mut join, Operator::Eq)?;
        let changed = !found.is_empty();
        join.on.extend(found);
        let plan = LogicalPlan::Join(join);
        Ok(if changed { Transformed::yes(plan) } else { Transformed::no(plan) })
    }
}

/// Takes the conjuncts `left op right` out of a join's condition.
fn take_keys(join: &mut Join, op: Operator) -> Result<Vec<(Expr, Expr)>> {
    let Some(filter) = join.filter.take() else { return Ok(vec![]) };
    let (left, right) = (join.left.schema(), join.right.schema());
    let (mut keys, mut rest) = (vec![], vec![]);
    for e in split_conjunction_owned(filter) {
        match pair(&e, op, left, right)? {
            Some(pair) => keys.push(pair),
            None => rest.push(literal_right(e)),
        }
    }
    join.filter = conjunction(rest);
    Ok(keys)
}

/// `2 = a` as `a = 2`. DataFusion spells the conditions of filters so, but not those of joins, and infers filters from them: of two
/// spellings side by side it takes `2 = a AND a = 2` for false, and of `a >= 2 AND 2 < a` the weaker.
fn literal_right(e: Expr) -> Expr {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = e else { return e };
    match op.swap() {
        Some(op) if matches!(*left, Expr::Literal(..)) && !matches!(*right, Expr::Literal(..)) => {
            Expr::BinaryExpr(BinaryExpr::new(right, op, left))
        }
        _ => Expr::BinaryExpr(BinaryExpr { left, op, right }),
    }
}

fn pair(e: &Expr, wanted: Operator, left: &DFSchema, right: &DFSchema) -> Result<Option<(Expr, Expr)>> {
    let Expr::BinaryExpr(BinaryExpr { left: l, op, right: r }) = e else { return Ok(None) };
    if *op != wanted {
        return Ok(None);
    }
    let Some((l, r)) = find_valid_equijoin_key_pair(l, r, left, right)? else { return Ok(None) };
    let fits = can_hash(&l.get_type(left)?) && can_hash(&r.get_type(right)?);
    Ok(fits.then_some((l, r)))
}

/// Makes keys of IS NOT DISTINCT FROM; beside equalities, which ask for a value then. Nothing may optimise the plan afterwards.
pub(crate) fn null_safe(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
        if join.null_aware || join.null_equality == NullEquality::NullEqualsNull {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let found = take_keys(&mut join, Operator::IsNotDistinctFrom)?;
        if found.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let present = join.on.iter().map(|(l, _)| l.clone().is_not_null());
        join.filter = conjunction(join.filter.take().into_iter().chain(present).collect::<Vec<_>>());
        join.on.extend(found);
        join.null_equality = NullEquality::NullEqualsNull;
        Ok(Transformed::yes(LogicalPlan::Join(join)))
    })?;
    Ok(rewritten.data)
}
