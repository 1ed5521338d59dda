//! `(a, b) IN (SELECT x, y ..)`: rows compared with rows, spelt out before binding, as DataFusion compares one column only. `= ANY (..)` is
//! IN, `<> ALL (..)` NOT IN.
//!
//! Joined by AND into a WHERE it is EXISTS with the equalities. Elsewhere it may be NULL, namely where no row is equal and some row is not
//! certainly different: `CASE WHEN EXISTS (equal) THEN true WHEN EXISTS (equal IS NOT FALSE) THEN NULL ELSE false END`.
//!
//! `(a, b) < (SELECT x, y ..)` is the query's own answer: `(SELECT (a, b) < (r.x, r.y) FROM (SELECT x, y ..) AS r (x, y))`, so NULL without a
//! row, and an error for more rows than one.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, Query, SelectItem, SetExpr, TableFactor, Visitor};

use crate::error::PlanError;
use crate::walk::Visit;

type Result<T> = std::result::Result<T, PlanError>;

/// Queries within queries in which a row is looked for; each comparison makes two of one.
const LEVELS_MAX: usize = 16;

/// Those that a query's own WHERE asks for, by AND.
pub(super) fn conjuncts(query: &mut Query) -> Result<()> {
    let mut bodies = vec![query.body.as_mut()];
    while let Some(body) = bodies.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => bodies.extend([left.as_mut(), right.as_mut()]),
            SetExpr::Select(s) => {
                let mut todo: Vec<&mut Expr> = s.selection.iter_mut().collect();
                while let Some(e) = todo.pop() {
                    if let Some((row, rows, false)) = sought(e) {
                        *e = exists(row, rows, false)?;
                        continue;
                    }
                    match e {
                        Expr::BinaryOp { left, op: BinaryOperator::And, right } => todo.extend([left.as_mut(), right.as_mut()]),
                        Expr::Nested(inner) => todo.push(inner),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Rows compared with rows, element by element: NULL where an element decides nothing, which structures compared as values are not.
pub(super) fn compared(e: &Expr) -> Option<Expr> {
    match e {
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
            let (l, r) = (elements(left)?, elements(right)?);
            let pairs = l.iter().zip(r).map(|(l, r)| {
                let nested = |e: &Expr| Box::new(Expr::Nested(Box::new(e.clone())));
                let pair = Expr::IsDistinctFrom(nested(l), nested(r));
                compared(&pair).unwrap_or(pair)
            });
            let any = pairs.reduce(|all, pair| joined(all, BinaryOperator::Or, pair)).filter(|_| l.len() == r.len())?;
            Some(if matches!(e, Expr::IsNotDistinctFrom(..)) { not(any) } else { any })
        }

        Expr::BinaryOp { left, op, right } => {
            let (left, right) = (elements(left)?, elements(right)?);
            (left.len() == right.len() && left.len() > 1).then(|| by_elements(left, op, right))?
        }
        Expr::Between { expr, negated, low, high } => {
            let (row, low, high) = (elements(expr)?, elements(low)?, elements(high)?);
            if row.len() != low.len() || row.len() != high.len() || row.len() < 2 {
                return None;
            }
            let above = by_elements(row, &BinaryOperator::GtEq, low)?;
            let both = joined(above, BinaryOperator::And, by_elements(row, &BinaryOperator::LtEq, high)?);
            Some(if *negated { not(both) } else { both })
        }
        Expr::InList { expr, list, negated } => {
            let row = elements(expr).filter(|row| row.len() > 1)?;
            let mut any: Option<Expr> = None;
            for other in list {
                let other = elements(other).filter(|other| other.len() == row.len())?;
                let equal = by_elements(row, &BinaryOperator::Eq, other)?;
                any = Some(match any {
                    None => equal,
                    Some(before) => joined(before, BinaryOperator::Or, equal),
                });
            }
            any.map(|any| if *negated { not(any) } else { any })
        }
        _ => None,
    }
}

fn elements(e: &Expr) -> Option<&[Expr]> {
    match e {
        Expr::Tuple(items) => Some(items),
        Expr::Nested(inner) => elements(inner),
        _ => None,
    }
}

fn joined(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
}

fn not(e: Expr) -> Expr {
    Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: Box::new(e) }
}

fn by_elements(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Option<Expr> {
    use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    let strict = match op {
        Eq | NotEq => op,
        Lt | LtEq => &Lt,
        Gt | GtEq => &Gt,
        _ => return None,
    };
    let one = |op: &BinaryOperator, at: usize| {
        // A row within a row is compared the same way.
        let pair = joined(left[at].clone(), op.clone(), right[at].clone());
        match &pair {
            Expr::Nested(inner) => compared(inner).unwrap_or(pair),
            _ => pair,
        }
    };
    let last = left.len().checked_sub(1)?;
    let mut all = one(if matches!(op, LtEq | GtEq) { op } else { strict }, last);
    for at in (0..last).rev() {
        all = match op {
            Eq => joined(one(&Eq, at), And, all),
            NotEq => joined(one(&NotEq, at), Or, all),
            _ => joined(one(strict, at), Or, joined(one(&Eq, at), And, all)),
        };
    }
    Some(all)
}

/// One that stands anywhere.
pub(super) fn anywhere(e: &mut Expr) -> Result<()> {
    if let Some(spelt) = compared(e) {
        *e = spelt;
        return Ok(());
    }
    if let Some(spelt) = beside_query(e)? {
        *e = spelt;
        return Ok(());
    }
    let Some((row, rows, negated)) = sought(e) else { return Ok(()) };
    bounded(rows)?;
    let (equal, open) = (exists(row, rows, false)?, exists(row, rows, true)?);
    let mut case = parsed("CASE WHEN true THEN true WHEN true THEN NULL ELSE false END")?;
    if let Expr::Case { conditions, .. } = &mut case {
        for (when, condition) in conditions.iter_mut().zip([equal, open]) {
            when.condition = condition;
        }
    }
    let case = Expr::Nested(Box::new(case));
    *e = if negated { Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: Box::new(case) } } else { case };
    Ok(())
}

/// A query stands twice in what a comparison with its rows becomes, so that queries within queries double at each level.
///
/// # Errors
/// 54001 beyond [`LEVELS_MAX`].
fn bounded(rows: &Query) -> Result<()> {
    struct Deep(usize);
    impl Visitor for Deep {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 += 1;
            if self.0 > LEVELS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
    }
    match rows.visit(&mut Deep(0)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(PlanError::invalid("54001", "rows are looked for in queries that are nested too deep")
            .with_hint("put the inner queries into WITH")),
    }
}

/// A row compared with the row of a query.
fn beside_query(e: &Expr) -> Result<Option<Expr>> {
    let Expr::BinaryOp { left, op, right } = e else { return Ok(None) };
    let (Some(row), Some(query)) = (elements(left).filter(|row| row.len() > 1), query(right)) else { return Ok(None) };
    fits(query, row.len())?;
    let names: Vec<String> = (1..=row.len()).map(|i| format!("regauge_r{i}")).collect();
    let columns = names.iter().map(|n| parsed(&format!("regauge_row.{n}"))).collect::<Result<Vec<_>>>()?;
    let Some(answer) = by_elements(row, op, &columns) else { return Ok(None) };
    let mut outer = parsed(&format!("(SELECT 1 FROM (SELECT 1) AS regauge_row ({}))", names.join(", ")))?;
    if let Expr::Subquery(outer) = &mut outer
        && let SetExpr::Select(s) = outer.body.as_mut()
        && let Some(TableFactor::Derived { subquery, .. }) = s.from.first_mut().map(|f| &mut f.relation)
    {
        **subquery = query.clone();
        s.projection = vec![SelectItem::UnnamedExpr(answer)];
    }
    Ok(Some(outer))
}

/// Refuses a query that has not as many columns as a row.
fn fits(query: &Query, n: usize) -> Result<()> {
    match query.body.as_ref() {
        SetExpr::Select(s)
            if s.projection.iter().all(|item| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }))
                && s.projection.len() != n =>
        {
            let few = if s.projection.len() < n { "few" } else { "many" };
            Err(PlanError::invalid("42601", format!("subquery has too {few} columns")))
        }
        _ => Ok(()),
    }
}

/// A row that is looked for among a query's rows, and whether it must not be there.
fn sought(e: &Expr) -> Option<(&Expr, &Query, bool)> {
    let (row, rows, negated) = match e {
        Expr::InSubquery { expr, subquery, negated } => (expr, subquery.as_ref(), *negated),
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (left, query(right)?, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (left, query(right)?, true),
        _ => return None,
    };
    is_row(row).then_some((row.as_ref(), rows, negated))
}

fn query(e: &Expr) -> Option<&Query> {
    match e {
        Expr::Nested(inner) => query(inner),
        Expr::Subquery(query) => Some(query),
        _ => None,
    }
}

fn is_row(e: &Expr) -> bool {
    match e {
        Expr::Tuple(items) => items.len() > 1,
        Expr::Nested(e) => is_row(e),
        _ => false,
    }
}

/// Whether a row of the query is equal, or at least not certainly different.
fn exists(row: &Expr, query: &Query, or_open: bool) -> Result<Expr> {
    let odd = || PlanError::internal("a comparison of rows could not be written");
    let items = match row {
        Expr::Tuple(items) => items,
        Expr::Nested(e) => return exists(e, query, or_open),
        _ => return Err(odd()),
    };
    fits(query, items.len())?;
    let names: Vec<String> = (1..=items.len()).map(|i| format!("regauge_r{i}")).collect();
    let test = if or_open { " IS NOT FALSE" } else { "" };
    let conditions: Vec<String> = names.iter().map(|n| format!("(regauge_row.{n} = 1){test}")).collect();
    let text =
        format!("EXISTS (SELECT 1 FROM (SELECT 1) AS regauge_row ({}) WHERE {})", names.join(", "), conditions.join(" AND "));
    let mut e = parsed(&text)?;
    let Expr::Exists { subquery, .. } = &mut e else { return Err(odd()) };
    let SetExpr::Select(s) = subquery.body.as_mut() else { return Err(odd()) };
    let Some(TableFactor::Derived { subquery: derived, .. }) = s.from.first_mut().map(|f| &mut f.relation) else {
        return Err(odd());
    };
    **derived = query.clone();
    let mut given = items.iter().rev();
    let mut todo: Vec<&mut Expr> = s.selection.iter_mut().collect();
    // The last comparison is met first: a chain of AND leans to the left.
    while let Some(e) = todo.pop() {
        match e {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => todo.extend([left.as_mut(), right.as_mut()]),
            Expr::Nested(inner) | Expr::IsNotFalse(inner) => todo.push(inner),
            Expr::BinaryOp { right, .. } => **right = given.next().ok_or_else(odd)?.clone(),
            _ => return Err(odd()),
        }
    }
    Ok(e)
}

fn parsed(text: &str) -> Result<Expr> {
    let query = crate::parse::parse_query(&format!("SELECT {text}"), &crate::parse::ParseLimits::default())?;
    if let SetExpr::Select(s) = *query.body
        && let Some(SelectItem::UnnamedExpr(e)) = s.projection.into_iter().next()
    {
        return Ok(e);
    }
    Err(PlanError::internal("a comparison of rows could not be written"))
}
