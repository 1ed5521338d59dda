//! For which rows a subquery is asked: PostgreSQL computes one row by row, so an arm of CASE, OR, AND or COALESCE that is not taken asks
//! nothing, and raises nothing. Here a correlated query is answered for all values of its outer columns at once; one that may fail is
//! answered for those of rows that reach it.
//!
//! - A query that reads nothing from outside is answered over the one value `true` if a row reaches it, and over none if not.
//! - What only the last step of a scalar query computes is computed in its place, where the arm guards it ([`Unnester::late`]): that costs
//!   nothing.
//! - A condition with a query in it counts as what answers it.
//!
//! Cost otherwise: a filter below the domain, and a domain of its own for each place.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, Join, JoinType, LogicalPlan, Operator, Subquery, lit};

use super::build::{choose, column, filter, project};
use super::outer::{has_query, of_expr, query_of, replace, resolves};
use super::{Site, Unnester, says_lateral};
use crate::bind::check::at_most_one_row;
use crate::functions::guard::can_fail;

/// Divides, casts, or calls what may fail. Sums and products that leave their type's range are not looked for: what they cost would be
/// paid by nearly every query.
pub(super) fn may_fail(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            found |= expr_may_fail(e)?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

pub(super) fn expr_may_fail(e: &Expr) -> Result<bool> {
    e.exists(|e| {
        Ok(match e {
            Expr::BinaryExpr(b) => matches!(b.op, Operator::Divide | Operator::Modulo),
            Expr::Cast(c) => !matches!(c.expr.as_ref(), Expr::Literal(..)),
            Expr::ScalarFunction(_) => can_fail(e),
            _ => false,
        })
    })
}

impl Unnester {
    /// The expression over the site's input, each part asked where it is reached.
    pub(super) fn guarded(&mut self, e: Expr, site: &mut Site) -> Result<Expr> {
        if !has_query(&e) {
            return Ok(e);
        }
        match e {
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                let left = Box::new(self.condition(*left, &[right.as_ref()], site)?);
                let open = if op == Operator::And { Expr::IsNotFalse(left.clone()) } else { Expr::IsNotTrue(left.clone()) };
                let right = self.behind(vec![open], *right, site)?;
                Ok(Expr::BinaryExpr(BinaryExpr::new(left, op, Box::new(right))))
            }
            Expr::Case(case) => self.case(case, site),
            Expr::ScalarFunction(mut f) if f.func.name() == "coalesce" => {
                let mut open: Vec<Expr> = vec![];
                for i in 0..f.args.len() {
                    let (before, rest) = f.args.split_at_mut(i);
                    open.extend(before.last().cloned().map(Expr::is_null));
                    let Some((arg, behind)) = rest.split_first_mut() else { break };
                    let behind: Vec<&Expr> = behind.iter().collect();
                    let own = std::mem::take(arg);
                    *arg = self.beyond(open.clone(), site, |this, site| this.condition(own, &behind, site))?;
                }
                Ok(Expr::ScalarFunction(f))
            }
            e => Ok(e),
        }
    }

    fn case(&mut self, mut case: Case, site: &mut Site) -> Result<Expr> {
        let arms: Vec<Expr> =
            case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr).map(|e| (**e).clone()).collect();
        let arms: Vec<&Expr> = arms.iter().collect();
        if let Some(e) = case.expr.take() {
            case.expr = Some(Box::new(self.condition(*e, &arms, site)?));
        }
        let mut passed: Vec<Expr> = vec![];
        for (when, then) in &mut case.when_then_expr {
            let own = std::mem::take(when.as_mut());
            **when = self.beyond(passed.clone(), site, |this, site| this.condition(own, &arms, site))?;
            let condition = match &case.expr {
                Some(base) => base.as_ref().clone().eq(when.as_ref().clone()),
                None => when.as_ref().clone(),
            };
            let taken = passed.iter().cloned().chain([condition.clone()]).collect();
            **then = self.behind(taken, std::mem::take(then.as_mut()), site)?;
            passed.push(Expr::IsNotTrue(Box::new(condition)));
        }
        if let Some(e) = case.else_expr.take() {
            case.else_expr = Some(Box::new(self.behind(passed, *e, site)?));
        }
        Ok(Expr::Case(case))
    }

    /// A condition. Queries in it become columns if arms behind it ask what may fail: those then know whether they are reached.
    fn condition(&mut self, e: Expr, arms: &[&Expr], site: &mut Site) -> Result<Expr> {
        let mut fails = false;
        for arm in arms.iter().filter(|arm| has_query(arm)) {
            fails |= arm_may_fail(arm)?;
        }
        let scalars = site.scalars;
        site.scalars &= !fails;
        let rewritten = self.expr(e, site);
        site.scalars = scalars;
        rewritten
    }

    /// An expression that only rows with these conditions reach.
    pub(super) fn behind(&mut self, conditions: Vec<Expr>, e: Expr, site: &mut Site) -> Result<Expr> {
        self.beyond(conditions, site, |this, site| this.expr(e, site))
    }

    fn beyond<T>(
        &mut self,
        conditions: Vec<Expr>,
        site: &mut Site,
        rewrite: impl FnOnce(&mut Self, &mut Site) -> Result<T>,
    ) -> Result<T> {
        let n = site.guards.len();
        site.guards.extend(conditions.into_iter().filter(|c| !has_query(c) && !c.is_volatile()));
        let rewritten = rewrite(self, site);
        site.guards.truncate(n);
        rewritten
    }

    /// For the rows that reach this place, whoever else asks the same.
    pub(super) fn asking(&mut self, site: &mut Site, answer: impl FnOnce(&mut Self, &mut Site) -> Result<Expr>) -> Result<Expr> {
        let asking = site.asking()?;
        let origin = std::mem::replace(&mut site.origin, asking);
        let is_arm = site.is_arm();
        let only = std::mem::replace(&mut site.only_if_asked, is_arm);
        let answer = answer(self, site);
        (site.origin, site.only_if_asked) = (origin, only);
        answer
    }

    /// The value of a query of at most one row whose last step may fail: that step in the place of the query, over the columns that it
    /// reads. `None` where nothing guards the place, or the last step is harmless.
    pub(super) fn late(&mut self, query: &Subquery, site: &mut Site) -> Result<Option<Expr>> {
        let LogicalPlan::Projection(p) = query.subquery.as_ref() else { return Ok(None) };
        let [e] = p.expr.as_slice() else { return Ok(None) };
        let further_out = of_expr(e, p.input.schema())?.iter().any(|(c, _)| !resolves(site.origin.schema(), c));
        if site.guards.is_empty()
            || !at_most_one_row(&p.input)
            || !expr_may_fail(e)?
            || further_out
            || has_query(e)
            || e.is_volatile()
        {
            return Ok(None);
        }
        let read: Vec<Column> = e.column_refs().into_iter().cloned().collect();
        let names: Vec<Column> = read.iter().map(|_| column(&self.name())).collect();
        let mark = self.name();
        let mut out: Vec<Expr> = read.iter().zip(&names).map(|(c, n)| Expr::Column(c.clone()).alias(&n.name)).collect();
        out.push(lit(true).alias(&mark));
        let inner = Subquery { subquery: Arc::new(project(p.input.as_ref().clone(), out)?), ..query.clone() };
        let last = replace(e.clone().unalias(), &|c| Some(Expr::Column(c.clone())))?;
        let last = last.transform_up(|e| {
            let known = match &e {
                Expr::Column(c) => read.iter().position(|r| r == c).and_then(|i| names.get(i)),
                _ => None,
            };
            Ok(known.map_or(Transformed::no(e.clone()), |c| Transformed::yes(Expr::Column(c.clone()))))
        })?;
        let value = choose(vec![(Expr::Column(column(&mark)), last.data)], lit(ScalarValue::Null));
        if may_fail(&inner.subquery)? {
            return self.asking(site, |this, site| this.columns_of(inner, site).map(|()| value)).map(Some);
        }
        self.columns_of(inner, site)?;
        Ok(Some(value))
    }
}

fn arm_may_fail(e: &Expr) -> Result<bool> {
    let mut found = false;
    e.apply(|e| {
        if let Some(query) = query_of(e) {
            found |= may_fail(&query.subquery)?;
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

impl Site {
    /// Whether the place at hand is in an arm.
    pub(super) fn is_arm(&self) -> bool {
        self.guards.len() > self.n_beside
    }

    /// The rows that ask a query which may fail.
    fn asking(&self) -> Result<LogicalPlan> {
        let mut here = vec![];
        for e in &self.guards {
            // what reads from further out is not known here
            if of_expr(e, self.base.schema())?.is_empty() {
                here.push(e.clone());
            }
        }
        let own = here.iter().all(|e| e.column_refs().into_iter().all(|c| resolves(self.origin.schema(), c)));
        // what queries in conditions answer stands beside the input
        let rows = if own { &self.origin } else { &self.base };
        match conjunction(here) {
            Some(e) => filter(rows.clone(), e),
            None => Ok(rows.clone()),
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
