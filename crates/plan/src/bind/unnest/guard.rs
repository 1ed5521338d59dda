//! For which rows a subquery is asked: PostgreSQL computes one row by row, so an arm of CASE, OR, AND or COALESCE that is not taken asks
//! nothing, and raises nothing. Here a correlated query is answered for all values of its outer columns at once; one that may fail is
//! answered for those of rows that reach it.
//!
//! A condition counts if no query stands in it. Cost: a filter below the domain, and a domain of its own for each place.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, Join, JoinType, LogicalPlan, Operator};

use super::build::filter;
use super::outer::{has_query, of_expr};
use super::{Site, Unnester, says_lateral};
use crate::functions::guard::can_fail;

/// Divides, casts, or calls what may fail. Sums and products that leave their type's range are not looked for: what they cost would be
/// paid by nearly every query.
pub(super) fn may_fail(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            e.apply(|e| {
                found |= match e {
                    Expr::BinaryExpr(b) => matches!(b.op, Operator::Divide | Operator::Modulo),
                    Expr::Cast(c) => !matches!(c.expr.as_ref(), Expr::Literal(..)),
                    Expr::ScalarFunction(_) => can_fail(e),
                    _ => false,
                };
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    Ok(found)
}

impl Unnester {
    /// The expression over the site's input, each part asked where it is reached.
    pub(super) fn guarded(&mut self, e: Expr, site: &mut Site) -> Result<Expr> {
        if !has_query(&e) {
            return Ok(e);
        }
        match e {
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                let open = if op == Operator::And { Expr::IsNotFalse(left.clone()) } else { Expr::IsNotTrue(left.clone()) };
                let left = self.expr(*left, site)?;
                let right = self.behind(vec![open], *right, site)?;
                Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
            }
            Expr::Case(case) => self.case(case, site),
            Expr::ScalarFunction(mut f) if f.func.name() == "coalesce" => {
                let mut before: Vec<Expr> = vec![];
                for arg in &mut f.args {
                    let open = before.iter().cloned().map(Expr::is_null).collect();
                    before.push(arg.clone());
                    *arg = self.behind(open, std::mem::take(arg), site)?;
                }
                Ok(Expr::ScalarFunction(f))
            }
            e => Ok(e),
        }
    }

    fn case(&mut self, mut case: Case, site: &mut Site) -> Result<Expr> {
        let base = case.expr.clone();
        if let Some(e) = case.expr.take() {
            case.expr = Some(Box::new(self.expr(*e, site)?));
        }
        let mut passed: Vec<Expr> = vec![];
        for (when, then) in &mut case.when_then_expr {
            let condition = match &base {
                Some(base) => base.as_ref().clone().eq(when.as_ref().clone()),
                None => when.as_ref().clone(),
            };
            **when = self.behind(passed.clone(), std::mem::take(when.as_mut()), site)?;
            let taken = passed.iter().cloned().chain([condition.clone()]).collect();
            **then = self.behind(taken, std::mem::take(then.as_mut()), site)?;
            passed.push(Expr::IsNotTrue(Box::new(condition)));
        }
        if let Some(e) = case.else_expr.take() {
            case.else_expr = Some(Box::new(self.behind(passed, *e, site)?));
        }
        Ok(Expr::Case(case))
    }

    /// An expression that only rows with these conditions reach.
    pub(super) fn behind(&mut self, conditions: Vec<Expr>, e: Expr, site: &mut Site) -> Result<Expr> {
        let n = site.guards.len();
        site.guards.extend(conditions.into_iter().filter(|c| !has_query(c) && !c.is_volatile()));
        let rewritten = self.expr(e, site);
        site.guards.truncate(n);
        rewritten
    }
}

impl Site {
    /// The rows that ask a query which may fail.
    pub(super) fn asking(&self) -> Result<LogicalPlan> {
        let mut here = vec![];
        for e in &self.guards {
            // what reads from further out is not known here
            if of_expr(e, self.origin.schema())?.is_empty() {
                here.push(e.clone());
            }
        }
        match conjunction(here) {
            Some(e) => filter(self.origin.clone(), e),
            None => Ok(self.origin.clone()),
        }
    }
}

/// Conditions of a WHERE that are about the left side of a LATERAL join alone, below it: a row that they drop asks nothing.
pub(super) fn below_lateral(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Filter(f) = &plan else { return Ok(plan) };
    let LogicalPlan::Join(j) = f.input.as_ref() else { return Ok(plan) };
    if !says_lateral(&j.right) || !matches!(j.join_type, JoinType::Inner | JoinType::Left) {
        return Ok(plan);
    }
    let of_left = |e: &Expr| {
        let columns = e.column_refs();
        !has_query(e) && !e.contains_outer() && !columns.is_empty() && columns.iter().all(|c| j.left.schema().has_column(c))
    };
    let (low, high): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(f.predicate.clone()).into_iter().partition(of_left);
    let Some(low) = conjunction(low) else { return Ok(plan) };
    let left = filter(j.left.as_ref().clone(), low)?;
    let joined = LogicalPlan::Join(Join { left: std::sync::Arc::new(left), ..j.clone() });
    Ok(match conjunction(high) {
        Some(high) => LogicalPlan::Filter(Filter::try_new(high, std::sync::Arc::new(joined))?),
        None => joined,
    })
}
