//! Subqueries and LATERAL as joins: EXISTS, IN, ANY, ALL and scalar subqueries anywhere in any clause, correlated or not, by
//! equality or anything else.
//!
//! ```text
//!   node over P with f(subquery)     ─▶     node over (P left join R) with f(columns of R)
//! ```
//! R has at most one row for each row of P: what the subquery answers for all values that P's columns have ([`domain`]), folded to
//! what the expression asks ([`answer`]). What DataFusion's optimiser turns into a join itself is left to it ([`easy`]). The rule runs
//! before types are settled, so its comparisons follow PostgreSQL's rules as written ones do. Bottom up: once a query is rewritten,
//! the queries left within it read nothing from further out than the node around them.
//!
//! Invariant: the plan's columns and names stay. It does not know what can be maintained; the same plan serves plain SELECT.

mod along;
mod answer;
mod build;
mod domain;
mod easy;
mod guard;
mod outer;
mod recursion;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    EmptyRelation, Expr, Filter, Join, LogicalPlan, Operator, Projection, SortExpr, SubqueryAlias, Union, Values, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use self::build::{all_same, columns, filter, join, project};
use self::outer::{Outer, as_outer, has_query, of_expr, of_plan, resolves};
use super::grouping;
use crate::error::PlanError;

pub(super) use self::domain::numbered;

/// The rule. See the module's header.
#[derive(Debug)]
pub(crate) struct Unnest;

impl AnalyzerRule for Unnest {
    fn name(&self) -> &str {
        "unnest_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        if !concerns(&plan)? {
            return Ok(plan);
        }
        grouping::no_aggregate_of_others(&plan)?;
        // DataFusion runs the rules again before it optimises: what this one made the first time keeps its names.
        let mut made = 0;
        plan.apply_with_subqueries(|node| {
            let numbers =
                node.schema().fields().iter().filter_map(|f| f.name().strip_prefix(super::ast::MARK)?.strip_prefix('u'));
            made = numbers.filter_map(|n| n.parse().ok()).fold(made, usize::max);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Unnester { made }.plan(plan)
    }
}

/// Whether there is anything to do at all: most plans have no subquery.
fn concerns(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| {
        let grouped = matches!(node, LogicalPlan::Aggregate(a) if grouping::has_sets(a));
        Ok(grouped || matches!(node, LogicalPlan::Subquery(_)) || node.expressions().iter().any(has_query))
    })
}

fn refused(what: &str) -> PlanError {
    PlanError::unsupported(format!("{what} is not offered"), "rewrite it as a join")
}

/// Makes names that no query has.
#[derive(Default)]
struct Unnester {
    made: usize,
}

/// A node's input, growing by the answers of the subqueries that were met, each once.
struct Site {
    /// The input as it was: outer columns are its columns, and their values need nothing of what was joined since.
    origin: LogicalPlan,
    base: LogicalPlan,
    answers: HashMap<Expr, Expr>,
    /// What must hold for a row to reach the expression at hand, over `base`.
    guards: Vec<Expr>,
    /// How many of them are other conditions of the same WHERE, which no arm stands behind.
    n_beside: usize,
    /// A query that reads nothing of this node is still asked only if there is a row that asks.
    only_if_asked: bool,
    /// DataFusion finds scalar subqueries in this node.
    scalars: bool,
}

impl Site {
    fn new(base: LogicalPlan, scalars: bool) -> Site {
        Site { origin: base.clone(), base, answers: HashMap::new(), guards: vec![], n_beside: 0, only_if_asked: false, scalars }
    }
}

impl Unnester {
    fn name(&mut self) -> String {
        self.made += 1;
        format!("{}u{}", super::ast::MARK, self.made)
    }

    fn plan(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        stacker::maybe_grow(256 << 10, 4 << 20, || {
            let plan = guard::below_lateral(plan)?;
            let plan = plan.map_children(|c| Ok(Transformed::yes(self.plan(c)?)))?.data;
            let plan = plan.map_subqueries(|q| Ok(Transformed::yes(self.plan(q)?)))?.data;
            self.node(plan)
        })
    }

    fn node(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        match plan {
            LogicalPlan::Join(j) => self.join(j),
            LogicalPlan::Filter(f) if has_query(&f.predicate) => self.filter(f),
            LogicalPlan::Aggregate(_) => match self.any(plan)? {
                LogicalPlan::Aggregate(a) if grouping::has_sets(&a) => grouping::spell_out(a, &self.name()),
                plan => Ok(plan),
            },
            LogicalPlan::Values(v) => self.values(v),
            plan => self.any(plan),
        }
    }

    /// Rows that ask are projections of one row.
    fn values(&mut self, v: Values) -> Result<LogicalPlan> {
        if !v.values.iter().flatten().any(has_query) {
            return Ok(LogicalPlan::Values(v));
        }
        let names = v.schema.columns();
        let mut inputs = vec![];
        for row in v.values {
            let one = EmptyRelation { produce_one_row: true, schema: Arc::new(DFSchema::empty()) };
            let exprs = row.into_iter().zip(&names).map(|(e, c)| e.alias(&c.name)).collect();
            inputs.push(Arc::new(self.any(project(LogicalPlan::EmptyRelation(one), exprs)?)?));
        }
        Ok(LogicalPlan::Union(Union { inputs, schema: v.schema }))
    }

    /// A node over one input.
    fn any(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if !plan.expressions().iter().any(has_query) {
            return Ok(plan);
        }
        let [input] = plan.inputs()[..] else {
            return Err(refused(&format!("a subquery in {}", plan.display())).into());
        };
        let kept = plan.schema().columns();
        let input = if let LogicalPlan::Sort(s) = &plan { beside(&s.expr, input.clone())? } else { input.clone() };
        let mut site = Site::new(input, matches!(plan, LogicalPlan::Projection(_)));
        let names = NamePreserver::new(&plan);
        let plan = plan
            .map_expressions(|e| {
                let name = names.save(&e);
                Ok(Transformed::yes(name.restore(self.expr(e, &mut site)?)))
            })?
            .data;
        let closed = matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_));
        let plan = plan.with_new_exprs(plan.expressions(), vec![site.base])?;
        if closed { Ok(plan) } else { project(plan, columns(&kept)) }
    }

    fn filter(&mut self, f: Filter) -> Result<LogicalPlan> {
        let kept = f.input.schema().columns();
        let mut input = Arc::unwrap_or_clone(f.input);
        let mut all = split_conjunction_owned(f.predicate);
        let mut hard = false;
        for e in all.iter().filter(|e| has_query(e)) {
            hard |= !easy::conjunct(e, input.schema())?;
        }
        if hard {
            // What needs no query comes first: values for which nobody asks stay out of the domain, and a product that an equality
            // makes a join is one there, too.
            let low: Vec<Expr>;
            (low, all) = all.into_iter().partition(|e| !has_query(e) && !e.contains_outer() && !e.is_volatile());
            if let Some(low) = conjunction(low) {
                input = filter(input, low)?;
            }
        }
        let mut site = Site::new(input, true);
        // a row that another condition drops asks nothing
        let others: Vec<Expr> = all.iter().filter(|e| !has_query(e)).cloned().collect();
        let mut conjuncts = vec![];
        for e in all {
            let easy = easy::conjunct(&e, site.base.schema())?;
            site.n_beside = others.len();
            conjuncts.push(if easy { e } else { self.behind(others.clone(), e, &mut site)? });
        }
        let same = site.base.schema().fields().len() == kept.len();
        let filtered = match conjunction(conjuncts) {
            Some(e) => filter(site.base, e)?,
            None => site.base,
        };
        if same { Ok(filtered) } else { project(filtered, columns(&kept)) }
    }

    /// The expression over the site's input, which gains what it needs.
    fn expr(&mut self, e: Expr, site: &mut Site) -> Result<Expr> {
        if !has_query(&e) {
            return Ok(e);
        }
        let has_arms = match &e {
            Expr::BinaryExpr(b) => matches!(b.op, Operator::And | Operator::Or),
            Expr::Case(_) => true,
            Expr::ScalarFunction(f) => f.func.name() == "coalesce",
            _ => false,
        };
        if has_arms {
            return self.guarded(e, site);
        }
        // What is compared with a query becomes part of a join, where DataFusion finds no scalar subqueries.
        let scalars = site.scalars;
        site.scalars &= outer::query_of(&e).is_none();
        let e = e.map_children(|c| Ok(Transformed::yes(self.expr(c, site)?)));
        site.scalars = scalars;
        let e = e?.data;
        if outer::query_of(&e).is_some() { self.asked(e, site) } else { Ok(e) }
    }

    /// What stands for a query.
    fn asked(&mut self, e: Expr, site: &mut Site) -> Result<Expr> {
        let Some(query) = outer::query_of(&e) else { return Ok(e) };
        if let Some(known) = site.answers.get(&e) {
            return Ok(known.clone());
        }
        if let Expr::ScalarSubquery(query) = &e
            && let Some(answer) = self.late(query, site)?
        {
            return Ok(answer);
        }
        let outer = outer_of(&query.subquery, &site.origin)?;
        let fails = guard::may_fail(&query.subquery)?;
        let may_fail = fails && (!outer.is_empty() || site.is_arm());
        let stays = match &e {
            Expr::ScalarSubquery(q) => site.scalars && !may_fail && easy::scalar(q, site.origin.schema())?,
            _ => false,
        };
        // Its input would be computed twice, with different results.
        if stays || (!outer.is_empty() && is_volatile(&site.origin)?) {
            return Ok(e);
        }
        if may_fail && !site.guards.is_empty() {
            // for the rows that reach it here, whoever else asks the same
            return self.asking(site, |this, site| this.answer(e, site));
        }
        let answer = self.answer(e.clone(), site)?;
        site.answers.insert(e, answer.clone());
        Ok(answer)
    }

    fn join(&mut self, mut j: Join) -> Result<LogicalPlan> {
        let lateral = says_lateral(&j.right);
        if lateral {
            j.right = Arc::new(opened(Arc::unwrap_or_clone(j.right))?);
        }
        let hard = j.on.iter().any(|(l, r)| has_query(l) || has_query(r)) || j.filter.as_ref().is_some_and(has_query);
        if hard {
            return self.conditions(j);
        }
        let outer = outer_of(&j.right, &j.left)?;
        if !lateral && outer.is_empty() { Ok(LogicalPlan::Join(j)) } else { self.lateral(j, outer) }
    }

    /// The right side for all values of the left one's columns.
    fn lateral(&mut self, j: Join, outer: Vec<Outer>) -> Result<LogicalPlan> {
        if !matches!(j.join_type, JoinType::Inner | JoinType::Left) && !outer.is_empty() {
            let message = "the combining JOIN type must be INNER or LEFT for a LATERAL reference";
            return Err(PlanError::invalid("42P10", message).into());
        }
        let (kept, left) = (j.schema.columns(), Arc::unwrap_or_clone(j.left));
        let mut conditions: Vec<Expr> = j.filter.into_iter().collect();
        if outer.is_empty() {
            return join(left, Arc::unwrap_or_clone(j.right), j.join_type, j.on, conditions);
        }
        let on: Vec<Expr> = j.on.iter().map(|(l, r)| l.clone().eq(r.clone())).chain(conditions.iter().cloned()).collect();
        if let Some(joined) = self.along_join(&left, &j.right, j.join_type, &on, &kept, &outer)? {
            return Ok(joined);
        }
        let dom = self.domain(&left, outer)?;
        let (right, d) = self.apply(Arc::unwrap_or_clone(j.right), &dom)?;
        conditions.extend(all_same(&dom.outer(), &d));
        project(join(left, right, j.join_type, j.on, conditions)?, columns(&kept))
    }

    /// Queries in ON: above an inner join, and in the right side of a left one.
    fn conditions(&mut self, j: Join) -> Result<LogicalPlan> {
        let kept = j.schema.columns();
        let (mut with, mut without) = (vec![], vec![]);
        let on = j.on.into_iter().map(|(l, r)| l.eq(r));
        for e in on.chain(j.filter.into_iter().flat_map(split_conjunction_owned)) {
            if has_query(&e) { with.push(e) } else { without.push(e) }
        }
        let (left, right) = (Arc::unwrap_or_clone(j.left), Arc::unwrap_or_clone(j.right));
        let with = conjunction(with).ok_or_else(|| PlanError::internal("a join condition was lost"))?;
        let (left, right) = match j.join_type {
            JoinType::Inner => {
                let joined = join(left, right, JoinType::Inner, vec![], without)?;
                let LogicalPlan::Join(joined) = joined else { return Ok(joined) };
                let joined = self.join(joined)?;
                return self.filter(Filter::try_new(with, Arc::new(joined))?);
            }
            JoinType::Left => (left, right),
            JoinType::Right => (right, left),
            _ => return Err(refused("a subquery in the condition of this kind of join").into()),
        };
        let with = as_outer(with, left.schema())?;
        let right = self.filter(Filter::try_new(with, Arc::new(right))?)?;
        let LogicalPlan::Join(joined) = join(left, right, JoinType::Left, vec![], without)? else {
            return Err(PlanError::internal("a join was lost").into());
        };
        project(self.join(joined)?, columns(&kept))
    }
}

/// A select list below an ORDER BY with the columns that queries in it read and that are not selected.
fn beside(order: &[SortExpr], input: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Projection(p) = &input else { return Ok(input) };
    let mut exprs = p.expr.clone();
    for s in order {
        for (c, _) in of_expr(&s.expr, &p.schema)? {
            let e = Expr::Column(c.clone());
            if resolves(p.input.schema(), &c) && !exprs.contains(&e) {
                exprs.push(e);
            }
        }
    }
    if exprs.len() == p.expr.len() { Ok(input) } else { project(p.input.as_ref().clone(), exprs) }
}

/// The columns of `base` that a query reads as outer ones.
fn outer_of(query: &LogicalPlan, base: &LogicalPlan) -> Result<Vec<Outer>> {
    Ok(of_plan(query)?.into_iter().filter(|(c, _)| resolves(base.schema(), c)).collect())
}

/// Whether a join's right side may read the left one's columns: names may stand around it.
fn says_lateral(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(a) => says_lateral(&a.input),
        LogicalPlan::Projection(p) => says_lateral(&p.input),
        _ => false,
    }
}

/// The same without the node that says so.
fn opened(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(match plan {
        LogicalPlan::Subquery(s) => Arc::unwrap_or_clone(s.subquery),
        LogicalPlan::SubqueryAlias(a) => {
            let input = Arc::new(opened(Arc::unwrap_or_clone(a.input))?);
            LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, a.alias)?)
        }
        LogicalPlan::Projection(p) => {
            let input = Arc::new(opened(Arc::unwrap_or_clone(p.input))?);
            LogicalPlan::Projection(Projection::try_new_with_schema(p.expr, input, p.schema)?)
        }
        other => other,
    })
}

fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| {
        let mut found = false;
        node.apply_expressions(|e| {
            e.apply(|e| {
                found |= matches!(e, Expr::ScalarFunction(f) if f.func.signature().volatility == Volatility::Volatile);
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(found)
    })
}
