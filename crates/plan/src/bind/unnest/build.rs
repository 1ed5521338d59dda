//! Nodes of the logical plan as the rule makes them: unqualified fresh names, joins whose condition is one conjunction.

use std::sync::Arc;

use datafusion::common::{Column, NullEquality, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, Filter, Join, JoinConstraint, JoinType, LogicalPlan, Operator, Projection, lit,
};

use crate::error::PlanError;
use crate::functions;

pub(super) fn column(name: &str) -> Column {
    Column::new_unqualified(name)
}

pub(super) fn columns(of: &[Column]) -> Vec<Expr> {
    of.iter().cloned().map(Expr::Column).collect()
}

pub(super) fn project(input: LogicalPlan, exprs: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
}

pub(super) fn filter(input: LogicalPlan, predicate: Expr) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?))
}

/// Distinct rows, as groups: DataFusion takes a DISTINCT out where its columns were keys of a GROUP BY below, also where others of those keys are
/// gone, and then rows stand once for each group.
pub(super) fn distinct(input: LogicalPlan) -> Result<LogicalPlan> {
    let keys = columns(&input.schema().columns());
    aggregate(input, keys, vec![])
}

pub(super) fn aggregate(input: LogicalPlan, group: Vec<Expr>, calls: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group, calls)?))
}

pub(super) fn join(
    left: LogicalPlan,
    right: LogicalPlan,
    kind: JoinType,
    on: Vec<(Expr, Expr)>,
    conditions: Vec<Expr>,
) -> Result<LogicalPlan> {
    let (constraint, nulls) = (JoinConstraint::On, NullEquality::NullEqualsNothing);
    let joined = Join::try_new(Arc::new(left), Arc::new(right), on, conjunction(conditions), kind, constraint, nulls, false)?;
    Ok(LogicalPlan::Join(joined))
}

pub(super) fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// Pairwise the same, NULLs included.
pub(super) fn all_same(left: &[Expr], right: &[Column]) -> Vec<Expr> {
    let pairs = left.iter().cloned().zip(right.iter().cloned());
    pairs.map(|(l, r)| binary(l, Operator::IsNotDistinctFrom, Expr::Column(r))).collect()
}

pub(super) fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let f = functions::aggregate(name).ok_or_else(|| PlanError::internal(format!("no aggregate {name}")))?;
    Ok(f.call(args))
}

pub(super) fn function(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let f = functions::scalar(name).ok_or_else(|| PlanError::internal(format!("no function {name}")))?;
    Ok(f.call(args))
}

pub(super) fn choose(branches: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let branches = branches.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    Expr::Case(Case::new(None, branches, Some(Box::new(otherwise))))
}

pub(super) fn unknown() -> Expr {
    lit(ScalarValue::Boolean(None))
}

/// `e` under the name that the schema knows it by.
pub(super) fn named(e: Expr, as_column: &Column) -> Expr {
    match &e {
        Expr::Column(c) if c.relation == as_column.relation && c.name == as_column.name => e,
        _ => e.unalias().alias_qualified(as_column.relation.clone(), as_column.name.clone()),
    }
}
