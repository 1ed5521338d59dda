//! Subqueries that DataFusion's optimiser makes joins of, and rightly: they are left to it, as its joins are the cheaper ones.
//!
//! - `[NOT] EXISTS (q)`, `x IN (q)` and uncorrelated `x NOT IN (q)` joined by AND into a WHERE, where what q reads from outside
//!   stands in q's own WHERE and nowhere else;
//! - in a WHERE or a select list, a scalar query without outer columns that has at most one row, or an aggregate without GROUP BY
//!   over a WHERE that reads outer columns in equalities only.

use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Distinct, Expr, ExprSchemable, LogicalPlan, Operator, Projection, Subquery};

use super::outer::{has_query, of_expr, of_plan, resolves};
use crate::bind::check::at_most_one_row;
use crate::functions::equality::key_of;

/// May this conjunct of a WHERE over `schema` stay as it is? Without queries it may.
pub(super) fn conjunct(e: &Expr, schema: &DFSchema) -> Result<bool> {
    Ok(match e {
        Expr::Exists(x) => matching(&x.subquery, schema)?,
        Expr::InSubquery(x) if has_query(&x.expr) => false,
        Expr::InSubquery(x) if x.negated => of_plan(&x.subquery.subquery)?.is_empty(),
        Expr::InSubquery(x) => matching(&x.subquery, schema)?,
        e => !has_query(e),
    })
}

fn matching(query: &Subquery, schema: &DFSchema) -> Result<bool> {
    let outer = of_plan(&query.subquery)?;
    Ok(outer.is_empty() || (outer.iter().all(|(c, _)| resolves(schema, c)) && filtered(&query.subquery, false, true)?))
}

/// May this scalar query in a WHERE or a select list over `schema` stay?
pub(super) fn scalar(query: &Subquery, schema: &DFSchema) -> Result<bool> {
    if !at_most_one_row(&query.subquery) {
        return Ok(false);
    }
    let outer = of_plan(&query.subquery)?;
    if outer.is_empty() {
        return Ok(true);
    }
    let mut plan = query.subquery.as_ref();
    loop {
        plan = match plan {
            LogicalPlan::Projection(p) if own(&p.expr, &p.input)? => &p.input,
            _ => break,
        };
    }
    let LogicalPlan::Aggregate(a) = plan else { return Ok(false) };
    let own = a.group_expr.is_empty() && own(&a.aggr_expr, &a.input)?;
    Ok(own && outer.iter().all(|(c, _)| resolves(schema, c)) && filtered(&a.input, true, false)?)
}

fn own(exprs: &[Expr], input: &LogicalPlan) -> Result<bool> {
    for e in exprs {
        if has_query(e) || !of_expr(e, input.schema())?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether outer columns stand only in filters that nothing but projections is above: in equalities only, if so wished. DataFusion loses
/// what it pulls up through the name of a query in FROM.
fn filtered(plan: &LogicalPlan, equal: bool, distinct: bool) -> Result<bool> {
    match plan {
        LogicalPlan::Projection(p) => {
            let outer = !of_plan(&p.input)?.is_empty();
            Ok(own(&p.expr, &p.input)? && !(outer && renames(p)) && filtered(&p.input, equal, distinct)?)
        }
        LogicalPlan::Distinct(Distinct::All(input)) if distinct => filtered(input, equal, distinct),
        LogicalPlan::Filter(f) => {
            for e in split_conjunction(&f.predicate) {
                let outer = of_expr(e, f.input.schema())?;
                if !outer.is_empty() && (has_query(e) || (equal && !equality(e, f.input.schema())?)) {
                    return Ok(false);
                }
            }
            filtered(&f.input, equal, distinct)
        }
        below => Ok(of_plan(below)?.is_empty()),
    }
}

/// Whether something computed has the name of a column below, which DataFusion would pull up beside it.
fn renames(p: &Projection) -> bool {
    let below = p.input.schema();
    let taken = |name: &String| below.fields().iter().any(|f| f.name() == name);
    p.expr.iter().zip(p.schema.fields()).any(|(e, f)| !matches!(e, Expr::Column(_)) && taken(f.name()))
}

/// An own column equals something outer, and equal values are the same: DataFusion groups by the column, so that what is compared must tell
/// its values apart. An own expression it does not take at all, and under a cast to floats several numbers are one.
fn equality(e: &Expr, schema: &DFSchema) -> Result<bool> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = e else { return Ok(false) };
    let inner = |e: &Expr| matches!(e, Expr::Column(_));
    let outer = |e: &Expr| e.contains_outer() && !e.any_column_refs();
    let (own, other) = match (inner(left) && outer(right), outer(left) && inner(right)) {
        (true, _) => (left, right),
        (_, true) => (right, left),
        _ => return Ok(false),
    };
    let (Ok(own), Ok(other)) = (own.get_type(schema), other.get_type(schema)) else { return Ok(false) };
    Ok(key_of(&own).is_none() && (own.is_floating() || !other.is_floating()))
}
