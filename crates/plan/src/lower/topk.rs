//! ORDER BY .. LIMIT, and row_number() <= k per partition; without a bound above it the number is a window's ([`super::over`]).

use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::{Expr, Limit, LogicalPlan};

use super::{Builder, Rel, Result, scalar};
use crate::error::PlanError;
use crate::flowplan::{Op, OrderKey};
use crate::scalar::{CompareOp, Scalar};
use crate::value::Datum;

pub(super) fn order_key(column: usize, s: &SortExpr) -> OrderKey {
    OrderKey { column, descending: !s.asc, nulls_first: s.nulls_first }
}

impl Builder {
    /// Limit, over projections, over a sort: the sort's input decides, the projections follow.
    pub(super) fn limit(&mut self, l: &Limit) -> Result<Rel> {
        let (limit, offset) = (count(l.fetch.as_deref(), u64::MAX)?, count(l.skip.as_deref(), 0)?);
        let mut above = vec![];
        let mut below = l.input.as_ref();
        let sort = loop {
            match below {
                LogicalPlan::Projection(p) => {
                    above.push(p);
                    below = &p.input;
                }
                LogicalPlan::SubqueryAlias(a) => below = &a.input,
                LogicalPlan::Sort(s) if s.fetch.is_none() => break Some(s),
                _ => break None,
            }
        };
        let Some(s) = sort else {
            let rel = self.lower(&l.input)?;
            return self.top_k(rel, &[], limit, offset);
        };
        let rel = self.lower(&s.input)?;
        let mut keys = vec![];
        for e in &s.expr {
            keys.push((scalar::lower(&e.expr, s.input.schema())?, e));
        }
        let mut rel = self.top_k(rel, &keys, limit, offset)?;
        for p in above.into_iter().rev() {
            let exprs = p.expr.iter().map(|e| scalar::lower(e, p.input.schema())).collect::<Result<Vec<_>>>()?;
            rel = self.project(rel, exprs)?;
        }
        Ok(rel)
    }

    fn top_k(&mut self, rel: Rel, keys: &[(Scalar, &SortExpr)], limit: u64, offset: u64) -> Result<Rel> {
        let (rel, order, width) = self.with_order(rel, keys)?;
        let node = self.materialize_wide(rel)?;
        let op = Op::TopK { partition: vec![], order, limit, offset, row_number: false };
        let node = self.push(op, vec![node])?;
        let mut rel = self.rel(node);
        rel.exprs.truncate(width);
        Ok(rel)
    }

    /// Appends the order's expressions that are not columns already; `width` is how many there were.
    fn with_order(&mut self, rel: Rel, keys: &[(Scalar, &SortExpr)]) -> Result<(Rel, Vec<OrderKey>, usize)> {
        let width = rel.exprs.len();
        let mut exprs = super::columns(width);
        let mut order: Vec<OrderKey> = vec![];
        for (e, s) in keys {
            if matches!(e, Scalar::Literal(_)) {
                continue;
            }
            let column = exprs.iter().position(|x| x == e).unwrap_or_else(|| {
                exprs.push(e.clone());
                exprs.len() - 1
            });
            // A repeated key decides nothing.
            if order.iter().all(|k| k.column != column) {
                order.push(order_key(column, s));
            }
        }
        let rel = if exprs.len() == width { rel } else { self.project(rel, exprs)? };
        Ok((rel, order, width))
    }

    /// Moves `row_number <= k` out of a pending filter into a top-k of that bound in the place of the one below it, and drops the
    /// number's column where nobody reads it (it would change whenever a row above it does).
    pub(super) fn bound_row_number(&mut self, mut rel: Rel) -> Result<Rel> {
        let Some(node) = self.plan.nodes.get(rel.node) else { return Ok(rel) };
        let number = node.types.len().saturating_sub(1);
        let Op::TopK { limit: u64::MAX, row_number: true, partition, order, offset } = &node.op else { return Ok(rel) };
        // Positions kept are low <= p <= high; the number counts what an offset skips, too.
        let first = offset + 1;
        let (mut low, mut high) = (first, u64::MAX);
        let whole = rel.clone();
        rel.filter.retain(|c| match bound(c, number) {
            Some((l, h)) => {
                low = low.max(l);
                high = high.min(h);
                false
            }
            None => true,
        });
        if high == u64::MAX {
            return Ok(whole);
        }
        let offset = low - 1;
        let limit = high.saturating_sub(offset);
        let mut row_number = false;
        for e in rel.filter.iter().chain(&rel.exprs) {
            e.walk(&mut |s| row_number |= *s == Scalar::Column(number));
        }
        let op = Op::TopK { partition: partition.clone(), order: order.clone(), limit, offset, row_number };
        let inputs = node.inputs.clone();
        rel.node = self.push(op, inputs)?;
        Ok(rel)
    }
}

/// What a conjunct says of the row number: an inclusive range.
fn bound(c: &Scalar, number: usize) -> Option<(u64, u64)> {
    let Scalar::Compare { op, left, right } = c else { return None };
    let constant = |s: &Scalar| match s {
        Scalar::Literal(v) => match v.datum {
            Datum::Int(n) => Some(n),
            _ => None,
        },
        _ => None,
    };
    let (op, n) = match (left.as_ref(), right.as_ref()) {
        (Scalar::Column(i), s) if *i == number => (*op, constant(s)?),
        (s, Scalar::Column(i)) if *i == number => {
            let flipped = match op {
                CompareOp::Lt => CompareOp::Gt,
                CompareOp::Le => CompareOp::Ge,
                CompareOp::Gt => CompareOp::Lt,
                CompareOp::Ge => CompareOp::Le,
                other => *other,
            };
            (flipped, constant(s)?)
        }
        _ => return None,
    };
    let at_least = |n: i64| u64::try_from(n).unwrap_or(0).max(1);
    let at_most = |n: i64| u64::try_from(n).unwrap_or(0);
    match op {
        CompareOp::Eq | CompareOp::NotDistinct if n < 1 => Some((1, 0)),
        CompareOp::Eq | CompareOp::NotDistinct => Some((at_least(n), at_most(n))),
        CompareOp::Le => Some((1, at_most(n))),
        CompareOp::Lt => Some((1, at_most(n.saturating_sub(1)))),
        CompareOp::Ge => Some((at_least(n), u64::MAX)),
        CompareOp::Gt => Some((at_least(n.saturating_add(1)), u64::MAX)),
        _ => None,
    }
}

fn count(e: Option<&Expr>, default: u64) -> Result<u64> {
    let Some(e) = e else { return Ok(default) };
    let odd = || PlanError::unsupported(format!("LIMIT and OFFSET take a constant in a view, not {e}"), "write a number");
    match scalar::lower(e, &datafusion::common::DFSchema::empty()) {
        Ok(Scalar::Literal(v)) => match v.datum {
            Datum::Null => Ok(default),
            Datum::Int(n) => u64::try_from(n).map_err(|_| PlanError::invalid("2201W", "LIMIT and OFFSET must not be negative")),
            _ => Err(odd()),
        },
        _ => Err(odd()),
    }
}
