//! What makes rows fewer is joined first. A view holds the rows of both sides of each of its joins, and each change goes through all of
//! them that are left; so a relation that only lets some rows pass should meet the relation that it is joined with before that one meets others.
//!
//! ```text
//!   ((S x L) x O) x N'      N' lets some of S pass         ((S x N') x L) x O
//!   (C x O) semi H          H names some of O              C x (O semi H)
//! ```
//! A reducer is the right side of a join that adds no rows to the left one, and takes some away: a semi join without a further condition, or
//! an inner join by the whole key of the right side; either only if there is a condition (WHERE, HAVING) below it. It moves down through inner
//! joins to the one relation that all its left columns are of. An inner join stops above one that looks up another row by its key for that
//! relation, and a semi join, which mostly lets few rows pass, only if that one is a reducer: which of two is the stronger is not known, and
//! then what is written stays.
//!
//! Rests on: inner joins commute and associate over multisets, and a semi join is a filter. Joins that have a further condition are not
//! passed, so no condition that may fail sees more or fewer rows than before. There are no statistics, and the same text gives the same plan.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::source::RelationSource;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Reducers;

impl OptimizerRule for Reducers {
    fn name(&self) -> &'static str {
        "reducers_first"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
        let wanted = Arc::clone(&join.schema);
        let Some(moved) = settle(&join)? else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
        if moved.schema().columns() == wanted.columns() {
            return Ok(Transformed::yes(moved));
        }
        let columns = wanted.columns().into_iter().map(Expr::Column);
        LogicalPlanBuilder::from(moved).project(columns)?.build().map(Transformed::yes)
    }
}

/// The join with its right side moved down as far as it goes; none if it stays.
fn settle(join: &Join) -> Result<Option<LogicalPlan>> {
    let Some(columns) = reducer(join) else { return Ok(None) };
    let Some(below) = inner(&join.left) else { return Ok(None) };
    let target = target(&join.left, &columns);
    let is_left = has(&below.left, &columns);
    if !is_left && !has(&below.right, &columns) || meets_another(below, is_left, target, join.join_type) {
        return Ok(None);
    }
    let onto = if is_left { &below.left } else { &below.right };
    // A projection that is taken off may have hidden a column whose name the other side has: such a join stays where it is.
    let reduced = Join::try_new(
        Arc::new(bare(onto).clone()),
        Arc::clone(&join.right),
        join.on.clone(),
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        false,
    );
    let Ok(reduced) = reduced else { return Ok(None) };
    let reduced = Arc::new(settle(&reduced)?.unwrap_or(LogicalPlan::Join(reduced)));
    let (left, right) = if is_left { (reduced, Arc::clone(&below.right)) } else { (Arc::clone(&below.left), reduced) };
    let (kind, constraint, nulls) = (below.join_type, below.join_constraint, below.null_equality);
    let Ok(outer) = Join::try_new(left, right, below.on.clone(), None, kind, constraint, nulls, false) else { return Ok(None) };
    // its right side may have become a reducer of its left one
    Ok(Some(settle(&outer)?.unwrap_or(LogicalPlan::Join(outer))))
}

/// The left columns of a join whose right side is a reducer.
fn reducer(join: &Join) -> Option<Vec<Column>> {
    let plain = join.filter.is_none() && join.null_equality == NullEquality::NullEqualsNothing && !join.null_aware;
    if !plain || join.on.is_empty() || !has_condition(&join.right) {
        return None;
    }
    let column = |e: &Expr| if let Expr::Column(c) = e { Some(c.clone()) } else { None };
    let pairs: Vec<(Column, Column)> = join.on.iter().map(|(l, r)| Some((column(l)?, column(r)?))).collect::<Option<_>>()?;
    let (left, right): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let passes_once = match join.join_type {
        JoinType::LeftSemi => true,
        JoinType::Inner => is_key(&join.right, &right),
        _ => false,
    };
    passes_once.then_some(left)
}

/// Whether a reducer of this kind stops above a join: by the other side of it.
fn meets_another(join: &Join, is_left: bool, target: &LogicalPlan, kind: JoinType) -> bool {
    let column = |e: &Expr| if let Expr::Column(c) = e { Some(c.clone()) } else { None };
    let (partner, ours, theirs): (_, Vec<&Expr>, Vec<&Expr>) = if is_left {
        (&join.right, join.on.iter().map(|p| &p.0).collect(), join.on.iter().map(|p| &p.1).collect())
    } else {
        (&join.left, join.on.iter().map(|p| &p.1).collect(), join.on.iter().map(|p| &p.0).collect())
    };
    let columns = |of: Vec<&Expr>| of.into_iter().map(column).collect::<Option<Vec<_>>>();
    let (Some(ours), Some(theirs)) = (columns(ours), columns(theirs)) else { return true };
    has(target, &ours) && is_key(partner, &theirs) && (kind == JoinType::Inner || has_condition(partner))
}

/// Without projections that only leave columns out.
fn bare(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Projection(p) if p.expr.iter().all(|e| matches!(e, Expr::Column(_))) => bare(&p.input),
        plan => plan,
    }
}

/// An inner join that others may pass.
fn inner(plan: &LogicalPlan) -> Option<&Join> {
    let LogicalPlan::Join(join) = bare(plan) else { return None };
    let passes = join.join_type == JoinType::Inner && join.filter.is_none() && !join.on.is_empty();
    (passes && join.null_equality == NullEquality::NullEqualsNothing).then_some(join)
}

fn has(plan: &LogicalPlan, columns: &[Column]) -> bool {
    columns.iter().all(|c| plan.schema().has_column(c))
}

/// The smallest part of a tree of inner joins that has these columns.
fn target<'a>(plan: &'a LogicalPlan, columns: &[Column]) -> &'a LogicalPlan {
    let Some(join) = inner(plan) else { return plan };
    if has(&join.left, columns) {
        target(&join.left, columns)
    } else if has(&join.right, columns) {
        target(&join.right, columns)
    } else {
        plan
    }
}

/// Whether something below leaves rows out.
fn has_condition(plan: &LogicalPlan) -> bool {
    plan.exists(|node| {
        Ok(match node {
            LogicalPlan::Filter(_) => true,
            LogicalPlan::Join(join) => join.join_type == JoinType::LeftSemi,
            _ => false,
        })
    })
    .unwrap_or(false)
}

/// Whether no two rows of a plan agree in these columns.
fn is_key(plan: &LogicalPlan, columns: &[Column]) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let any: &dyn std::any::Any = scan.source.as_ref();
            let Some(source) = any.downcast_ref::<RelationSource>() else { return false };
            let Some(key) = &source.info.key else { return false };
            let name = |at: &usize| source.info.schema.fields().get(*at).map(|f| f.name());
            key.iter().all(|at| name(at).is_some_and(|name| columns.iter().any(|c| c.name == *name)))
        }
        LogicalPlan::Filter(filter) => is_key(&filter.input, columns),
        LogicalPlan::Projection(_) => match bare(plan) {
            LogicalPlan::Projection(_) => false,
            below => is_key(below, columns),
        },
        LogicalPlan::SubqueryAlias(alias) => {
            let below = alias.input.schema();
            let under = |c: &Column| {
                let at = alias.schema.maybe_index_of_column(c)?;
                below.columns().get(at).cloned()
            };
            columns.iter().map(under).collect::<Option<Vec<_>>>().is_some_and(|columns| is_key(&alias.input, &columns))
        }
        LogicalPlan::Join(join) => {
            let side = |right: bool| -> Option<Vec<Column>> {
                let of =
                    |(l, r): &(Expr, Expr)| if let Expr::Column(c) = if right { r } else { l } { Some(c.clone()) } else { None };
                join.on.iter().map(of).collect()
            };
            match join.join_type {
                JoinType::LeftSemi | JoinType::LeftAnti => is_key(&join.left, columns),
                // each row of one side meets one of the other at most
                JoinType::Inner => {
                    let meets_one = |right: bool, plan: &LogicalPlan| side(right).is_some_and(|on| is_key(plan, &on));
                    meets_one(true, &join.right) && is_key(&join.left, columns)
                        || meets_one(false, &join.left) && is_key(&join.right, columns)
                }
                _ => false,
            }
        }
        _ => false,
    }
}
