//! A lateral query that reads nothing but the row beside it: a function of the row, so it is computed along with it, without the
//! join back to the rows that [`super::domain`] needs for anything else.
//!
//! ```text
//!   t, LATERAL (SELECT unnest(t.tags) AS tag)     ─▶     project(unnest(project(t, t.tags)))
//! ```
//! Under LEFT JOIN a row without elements stands once, and what is made of elements that are not there must be NULL: so there only
//! columns and casts may stand above the unfolding.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue, UnnestOptions};
use datafusion::error::Result;
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, Unnest};

use super::Unnester;
use super::build::{column, columns, filter, function, named, project};
use super::outer::{Outer, has_query, replace, same};
use crate::functions::rows::FULL_NAME;

/// Rows of the left side, and the query's columns over them.
type Along = (LogicalPlan, Vec<Expr>);

impl Unnester {
    /// The join with `right`, if it can be computed along with the left side's rows.
    pub(super) fn along_join(
        &mut self,
        left: &LogicalPlan,
        right: &LogicalPlan,
        kind: JoinType,
        conditions: &[Expr],
        kept: &[Column],
        outer: &[Outer],
    ) -> Result<Option<LogicalPlan>> {
        let is_true = |e: &Expr| matches!(e, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
        let conditions: Vec<Expr> = conditions.iter().filter(|e| !is_true(e)).cloned().collect();
        let is_left = kind == JoinType::Left;
        if (is_left && !conditions.is_empty())
            || conditions.iter().any(has_query)
            || !matches!(kind, JoinType::Inner | JoinType::Left)
        {
            return Ok(None);
        }
        let Some((plan, exprs)) = self.along(left, right, is_left, outer)? else { return Ok(None) };
        if is_left && !(exprs.iter().all(of_elements) && n_unfolded(right) == 1) {
            return Ok(None);
        }
        let n_left = left.schema().fields().len();
        let mut out = columns(&left.schema().columns());
        out.extend(exprs.into_iter().zip(kept.iter().skip(n_left)).map(|(e, c)| named(e, c)));
        let joined = project(plan, out)?;
        Ok(Some(match datafusion::logical_expr::utils::conjunction(conditions) {
            Some(e) => filter(joined, e)?,
            None => joined,
        }))
    }

    fn along(&mut self, left: &LogicalPlan, q: &LogicalPlan, is_left: bool, outer: &[Outer]) -> Result<Option<Along>> {
        Ok(match q {
            LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, .. }) => Some((left.clone(), vec![])),
            LogicalPlan::SubqueryAlias(a) => self.along(left, &a.input, is_left, outer)?,
            LogicalPlan::Subquery(s) => self.along(left, &s.subquery, is_left, outer)?,
            LogicalPlan::Projection(p) => {
                let Some((plan, inner)) = self.along(left, &p.input, is_left, outer)? else { return Ok(None) };
                if p.expr.iter().any(has_query) {
                    return Ok(None);
                }
                let exprs = p.expr.iter().map(|e| over(e.clone().unalias(), p.input.schema(), &inner, outer));
                Some((plan, exprs.collect::<Result<_>>()?))
            }
            LogicalPlan::Filter(f) if !is_left && !has_query(&f.predicate) => {
                let Some((plan, inner)) = self.along(left, &f.input, is_left, outer)? else { return Ok(None) };
                let predicate = over(f.predicate.clone(), f.input.schema(), &inner, outer)?;
                Some((filter(plan, predicate)?, inner))
            }
            LogicalPlan::Unnest(u) => self.along_unnest(left, u, is_left, outer)?,
            _ => None,
        })
    }

    fn along_unnest(&mut self, left: &LogicalPlan, u: &Unnest, is_left: bool, outer: &[Outer]) -> Result<Option<Along>> {
        let plain = u.struct_type_columns.is_empty() && u.list_type_columns.iter().all(|(_, l)| l.depth == 1);
        let in_place = u.dependency_indices.iter().enumerate().all(|(i, d)| i == *d);
        if !plain || !in_place {
            return Ok(None);
        }
        let Some((plan, inner)) = self.along(left, &u.input, is_left, outer)? else { return Ok(None) };
        let names: Vec<String> = inner.iter().map(|_| self.name()).collect();
        let mut out = columns(&left.schema().columns());
        let mut lists = vec![];
        for (i, (e, name)) in inner.into_iter().zip(&names).enumerate() {
            let is_list = u.list_type_columns.iter().any(|(c, _)| *c == i);
            let e = if is_list && is_left { function(FULL_NAME, vec![e])? } else { e };
            out.push(e.alias(name));
            lists.extend(is_list.then(|| column(name)));
        }
        let options = UnnestOptions::new().with_preserve_nulls(is_left);
        let plan = LogicalPlanBuilder::from(project(plan, out)?).unnest_columns_with_options(lists, options)?.build()?;
        let exprs = names.iter().map(|n| Expr::Column(column(n))).collect();
        Ok(Some((plan, exprs)))
    }

    /// Unfolding for all values of the outer columns.
    pub(super) fn unfold(u: Unnest, input: LogicalPlan) -> Result<LogicalPlan> {
        LogicalPlanBuilder::from(input).unnest_columns_with_options(u.exec_columns, u.options)?.build()
    }
}

/// An expression over a query's input as one over the rows beside it.
fn over(e: Expr, input: &Arc<DFSchema>, inner: &[Expr], outer: &[Outer]) -> Result<Expr> {
    let e = e.transform_up(|e| {
        let known = match &e {
            Expr::Column(c) => input.maybe_index_of_column(c).and_then(|i| inner.get(i)).cloned(),
            _ => None,
        };
        Ok(known.map_or_else(|| Transformed::no(e), Transformed::yes))
    })?;
    replace(e.data, &|c| outer.iter().find(|(o, _)| same(o, c)).map(|(o, _)| Expr::Column(o.clone())))
}

/// NULL where the element is not there.
fn of_elements(e: &Expr) -> bool {
    match e {
        Expr::Alias(a) => of_elements(&a.expr),
        Expr::Cast(c) => of_elements(&c.expr),
        e => matches!(e, Expr::Column(c) if c.relation.is_none() && c.name.starts_with(crate::bind::ast::MARK)),
    }
}

fn n_unfolded(q: &LogicalPlan) -> usize {
    usize::from(matches!(q, LogicalPlan::Unnest(_))) + q.inputs().into_iter().map(n_unfolded).sum::<usize>()
}
