//! What a subquery answers, as an expression over columns joined to the rows that ask.
//!
//! | expression | joined, at most one row each | answer |
//! |---|---|---|
//! | scalar | the value; where there may be more rows, their number n and the least value | the value, an error (21000) for n > 1 |
//! | EXISTS | a mark where there is a row; without outer columns the number n | mark IS NOT NULL; n > 0 |
//! | x IN | a mark where a row equals x; n, and k of them that are not NULL | true by the mark; else false for n = 0; else NULL if x is or k < n |
//! | x op ANY | n, k, the least and the greatest value | as IN, x compared with the least or the greatest |
//! | x op ALL | | NOT (x negated-op ANY) |
//!
//! The error is raised where the value is used, not where it is computed: a CASE guards it. Cost: linear in the rows of both sides,
//! never a product, unless the subquery itself is one.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, JoinType};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, Subquery, cast, lit, not};

use super::build::{aggregate, all_same, binary, call, choose, column, columns, distinct, function, join, project, unknown};
use super::{Site, Unnester, outer_of, refused};
use crate::bind::check::at_most_one_row;

/// A subquery for all values of its outer columns.
struct Related {
    plan: LogicalPlan,
    /// Its own column, the first.
    value: Option<Column>,
    /// The values' columns and those they are of.
    d: Vec<Column>,
    outer: Vec<Expr>,
}

impl Unnester {
    pub(super) fn answer(&mut self, e: Expr, site: &mut Site) -> Result<Expr> {
        match e {
            Expr::ScalarSubquery(q) => self.scalar(q, site),
            Expr::Exists(x) => {
                let answer = self.exists(x.subquery, site)?;
                Ok(if x.negated { not(answer) } else { answer })
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let answer = self.is_in(*expr, subquery, site)?;
                Ok(if negated { not(answer) } else { answer })
            }
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier: SetQuantifier::Any }) => {
                self.any_row(*expr, op, subquery, site)
            }
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier: SetQuantifier::All }) => {
                let op = op.negate().ok_or_else(|| DataFusionError::from(refused("ALL with this operator")))?;
                Ok(not(self.any_row(*expr, op, subquery, site)?))
            }
            other => Ok(other),
        }
    }

    fn related(&mut self, query: Subquery, site: &Site) -> Result<Related> {
        let plan = Arc::unwrap_or_clone(query.subquery);
        let value = plan.schema().columns().into_iter().next();
        let outer = outer_of(&plan, &site.origin)?;
        if outer.is_empty() && !site.only_if_asked {
            return Ok(Related { plan, value, d: vec![], outer: vec![] });
        }
        let dom = if outer.is_empty() { self.anybody(&site.origin)? } else { self.domain(&site.origin, outer)? };
        let (plan, d) = self.apply(plan, &dom)?;
        Ok(Related { plan, value, d, outer: dom.outer() })
    }

    /// Joins at most one row to each of the site's.
    fn attach(&self, site: &mut Site, right: LogicalPlan, mut conditions: Vec<Expr>, r: &Related) -> Result<()> {
        conditions.extend(all_same(&r.outer, &r.d));
        site.base = join(site.base.clone(), right, JoinType::Left, vec![], conditions)?;
        Ok(())
    }

    fn scalar(&mut self, query: Subquery, site: &mut Site) -> Result<Expr> {
        let single = at_most_one_row(&query.subquery);
        let r = self.related(query, site)?;
        let value = Expr::Column(own_value(&r)?);
        let v = self.name();
        if single {
            let mut out = vec![value.alias(&v)];
            out.extend(columns(&r.d));
            let right = project(r.plan.clone(), out)?;
            self.attach(site, right, vec![], &r)?;
            return Ok(Expr::Column(column(&v)));
        }
        let n = self.name();
        let [least, _] = bounds(&value, &r.plan)?;
        let calls = vec![call("count", vec![lit(1i64)])?.alias(&n), call(least, vec![value])?.alias(&v)];
        let right = aggregate(r.plan.clone(), columns(&r.d), calls)?;
        self.attach(site, right, vec![], &r)?;
        function(crate::functions::only_row::NAME, vec![Expr::Column(column(&n)), Expr::Column(column(&v))])
    }

    /// All columns of a query of at most one row, beside the site's.
    pub(super) fn columns_of(&mut self, query: Subquery, site: &mut Site) -> Result<()> {
        let own = query.subquery.schema().columns();
        let r = self.related(query, site)?;
        let mut out = columns(&own);
        out.extend(columns(&r.d));
        let right = project(r.plan.clone(), out)?;
        self.attach(site, right, vec![], &r)
    }

    fn exists(&mut self, query: Subquery, site: &mut Site) -> Result<Expr> {
        let r = self.related(query, site)?;
        let mark = self.name();
        if r.d.is_empty() {
            let right = aggregate(r.plan.clone(), vec![], vec![call("count", vec![lit(1i64)])?.alias(&mark)])?;
            self.attach(site, right, vec![], &r)?;
            return Ok(Expr::Column(column(&mark)).gt(lit(0i64)));
        }
        let right = marked(r.plan.clone(), columns(&r.d), &mark)?;
        self.attach(site, right, vec![], &r)?;
        Ok(Expr::Column(column(&mark)).is_not_null())
    }

    fn is_in(&mut self, x: Expr, query: Subquery, site: &mut Site) -> Result<Expr> {
        let r = self.related(query, site)?;
        let own = Expr::Column(own_value(&r)?);
        let y = injective(own.clone(), &x, &r.plan, &site.base)?;
        let (mark, v, n, k) = (self.name(), self.name(), self.name(), self.name());
        // Equal values must be one row, or a row that asks would be joined twice.
        let d: Vec<Column> = r.d.iter().map(|_| column(&self.name())).collect();
        let mut keys: Vec<Expr> = columns(&r.d).into_iter().zip(&d).map(|(e, c)| e.alias(&c.name)).collect();
        keys.push(y.alias(&v));
        let mut out = columns(&d);
        out.push(Expr::Column(column(&v)));
        let found = marked(project(r.plan.clone(), keys)?, out, &mark)?;
        let mut conditions = all_same(&r.outer, &d);
        conditions.push(x.clone().eq(Expr::Column(column(&v))));
        site.base = join(site.base.clone(), found, JoinType::Left, vec![], conditions)?;
        let calls = vec![call("count", vec![lit(1i64)])?.alias(&n), call("count", vec![own])?.alias(&k)];
        let counts = aggregate(r.plan.clone(), columns(&r.d), calls)?;
        self.attach(site, counts, vec![], &r)?;
        Ok(three_valued(x, Expr::Column(column(&mark)).is_not_null(), &n, &k))
    }

    fn any_row(&mut self, x: Expr, op: Operator, query: Subquery, site: &mut Site) -> Result<Expr> {
        if op == Operator::Eq {
            return self.is_in(x, query, site);
        }
        let r = self.related(query, site)?;
        let y = Expr::Column(own_value(&r)?);
        let (n, k, low, high) = (self.name(), self.name(), self.name(), self.name());
        let [least, greatest] = bounds(&y, &r.plan)?;
        let calls = vec![
            call("count", vec![lit(1i64)])?.alias(&n),
            call("count", vec![y.clone()])?.alias(&k),
            call(least, vec![y.clone()])?.alias(&low),
            call(greatest, vec![y])?.alias(&high),
        ];
        let right = aggregate(r.plan.clone(), columns(&r.d), calls)?;
        self.attach(site, right, vec![], &r)?;
        let with = |bound: &str| binary(x.clone(), op, Expr::Column(column(bound)));
        let found = match op {
            Operator::Lt | Operator::LtEq => with(&high),
            Operator::Gt | Operator::GtEq => with(&low),
            Operator::NotEq => with(&low).or(with(&high)),
            op => return Err(refused(&format!("{op} ANY (SELECT ..)")).into()),
        };
        Ok(three_valued(x, found, &n, &k))
    }
}

/// The aggregates that give the least and the greatest of some values: PostgreSQL has no min and max of booleans.
fn bounds(value: &Expr, of: &LogicalPlan) -> Result<[&'static str; 2]> {
    Ok(match value.get_type(of.schema())? {
        DataType::Boolean => ["bool_and", "bool_or"],
        _ => ["min", "max"],
    })
}

fn own_value(r: &Related) -> Result<Column> {
    r.value.clone().ok_or_else(|| DataFusionError::Internal("a subquery without a column".into()))
}

/// The distinct rows of these columns, with a column that is not NULL.
fn marked(plan: LogicalPlan, exprs: Vec<Expr>, mark: &str) -> Result<LogicalPlan> {
    let rows = distinct(project(plan, exprs)?)?;
    let mut out = columns(&rows.schema().columns());
    out.push(lit(true).alias(mark));
    project(rows, out)
}

/// Whether some of n rows, k of them not NULL, matched x; without rows the columns of the join are NULL.
fn three_valued(x: Expr, found: Expr, n: &str, k: &str) -> Expr {
    let (n, k) = (Expr::Column(column(n)), Expr::Column(column(k)));
    let nothing = n.clone().is_null().or(n.clone().eq(lit(0i64)));
    let open = x.is_null().or(k.lt(n));
    choose(vec![(nothing, lit(false)), (found, lit(true)), (open, unknown())], lit(false))
}

/// `y` such that different values of it stay different when it is compared with `x`: exact numbers meet floats as floats.
fn injective(y: Expr, x: &Expr, plan: &LogicalPlan, base: &LogicalPlan) -> Result<Expr> {
    let (ours, theirs) = (y.get_type(plan.schema())?, x.get_type(base.schema())?);
    let inexact = ours.is_numeric() && !ours.is_floating() && theirs.is_floating();
    Ok(if inexact { cast(y, datafusion::arrow::datatypes::DataType::Float64) } else { y })
}
