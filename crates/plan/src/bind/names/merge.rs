//! JOIN .. USING and NATURAL JOIN as joins by ON: the columns that the two sides have in common are one, which is the left side's, in a
//! RIGHT JOIN the right side's, and in a FULL JOIN the one that is there. DataFusion always takes the left side's.
//!
//! `(a JOIN b USING (k)) AS j` is a query that selects what `*` gives: inside the brackets the relations' names are hidden.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, SetExpr, TableFactor, TableWithJoins, Value,
};

use super::shape::{self, Column, Shape};
use super::{Env, Result, Whole, bare, lateral};
use crate::bind::spelling::call;
use crate::error::PlanError;
use crate::parse::fold;

/// Rewrites what stands between two commas of FROM. `None` where the shape of a relation is not known.
pub(super) fn joins(from: &mut TableWithJoins, env: &mut Env<'_>, whole: Whole) -> Result<Option<Shape>> {
    let mut left = factor(&mut from.relation, env, whole)?;
    for join in &mut from.joins {
        if let Some(left) = &left {
            lateral::behind(left, env, &mut join.relation)?;
        }
        let right = factor(&mut join.relation, env, whole)?;
        left = match (left, right) {
            (Some(left), Some(right)) => Some(joined(left, right, &mut join.join_operator, env)?),
            _ if by_name(&mut join.join_operator) && fills(&join.join_operator).is_some() => {
                return Err(PlanError::unsupported(
                    "a RIGHT or FULL JOIN by USING or NATURAL of this relation is not offered",
                    "write the condition with ON, and COALESCE(a.k, b.k) for the column that the two have",
                ));
            }
            _ => None,
        };
    }
    Ok(left)
}

fn factor(factor: &mut TableFactor, env: &mut Env<'_>, whole: Whole) -> Result<Option<Shape>> {
    match factor {
        TableFactor::NestedJoin { table_with_joins, alias: None } => return joins(table_with_joins, env, whole),
        TableFactor::NestedJoin { table_with_joins, alias: Some(alias) } => {
            let mut query = crate::parse::parse_query("SELECT * FROM t", &crate::parse::ParseLimits::default())?;
            if let SetExpr::Select(s) = query.body.as_mut() {
                s.from = vec![(**table_with_joins).clone()];
            }
            env.open();
            let done = whole(&mut query, env);
            env.close();
            done?;
            let alias = Some(alias.clone());
            *factor = TableFactor::Derived { lateral: false, subquery: query, alias, sample: None };
        }
        _ => {}
    }
    let found = shape::of_factor(factor, env);
    if let Some(found) = &found {
        complete(factor, found);
    }
    Ok(found)
}

/// An alias may name the first columns only; DataFusion wants all.
fn complete(factor: &mut TableFactor, found: &Shape) {
    let (TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. }) = factor else {
        return;
    };
    let Some(given) = alias.columns.last().cloned() else { return };
    let rest = found.columns.iter().skip(alias.columns.len());
    let rest: Vec<_> = rest
        .map(|c| {
            let mut more = given.clone();
            more.name = Ident::with_quote('"', &c.name);
            more.data_type = None;
            more
        })
        .collect();
    alias.columns.extend(rest);
}

fn constraint_of(o: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    use JoinOperator::{FullOuter, Inner, Join, Left, LeftOuter, Right, RightOuter};
    match o {
        Join(c) | Inner(c) | Left(c) | LeftOuter(c) | Right(c) | RightOuter(c) | FullOuter(c) => Some(c),
        _ => None,
    }
}

fn by_name(o: &mut JoinOperator) -> bool {
    matches!(constraint_of(o), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
}

/// Which sides' rows are kept besides the left one's: `Some(true)` both.
fn fills(o: &JoinOperator) -> Option<bool> {
    match o {
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) => Some(false),
        JoinOperator::FullOuter(_) => Some(true),
        _ => None,
    }
}

fn joined(left: Shape, right: Shape, operator: &mut JoinOperator, env: &mut Env<'_>) -> Result<Shape> {
    let fills = fills(operator);
    if matches!(
        operator,
        JoinOperator::Semi(_)
            | JoinOperator::Anti(_)
            | JoinOperator::LeftSemi(_)
            | JoinOperator::LeftAnti(_)
            | JoinOperator::RightSemi(_)
            | JoinOperator::RightAnti(_)
    ) {
        return Err(PlanError::unsupported(
            "SEMI JOIN and ANTI JOIN are not offered",
            "write WHERE EXISTS (..) or NOT EXISTS (..)",
        ));
    }
    let Some(constraint) = constraint_of(operator) else { return Ok(left.beside(right)) };
    let names: Vec<String> = match constraint {
        JoinConstraint::Using(names) => names.iter().filter_map(|n| n.0.last().and_then(|p| p.as_ident()).map(fold)).collect(),
        JoinConstraint::Natural => left.columns.iter().filter(|c| right.has(&c.name)).map(|c| c.name.clone()).collect(),
        JoinConstraint::On(e) => {
            let both = left.beside(right);
            bare::replace(&both, env, e);
            return Ok(both);
        }
        JoinConstraint::None => return Ok(left.beside(right)),
    };
    let mut merged = vec![];
    let mut equal: Option<Expr> = None;
    for name in &names {
        if merged.iter().any(|c: &Column| c.name == *name) {
            return Err(PlanError::invalid("42701", format!("column name \"{name}\" appears more than once in USING clause")));
        }
        let (l, r) = (common(&left, name, "left")?, common(&right, name, "right")?);
        let equality = Expr::BinaryOp { left: Box::new(l.clone()), op: BinaryOperator::Eq, right: Box::new(r.clone()) };
        equal = Some(match equal.take() {
            Some(before) => Expr::BinaryOp { left: Box::new(before), op: BinaryOperator::And, right: Box::new(equality) },
            None => equality,
        });
        let expr = match fills {
            Some(true) => call("coalesce", vec![l, r]),
            Some(false) => r,
            None => l,
        };
        merged.push(Column { name: name.clone(), expr, is_merged: true });
    }
    *constraint = JoinConstraint::On(equal.unwrap_or_else(|| Expr::value(Value::Boolean(true))));
    let rest = |shape: Shape| shape.columns.into_iter().filter(|c| !names.contains(&c.name)).collect::<Vec<_>>();
    let relations = left.relations.iter().chain(&right.relations).cloned().collect();
    Ok(Shape { columns: merged.into_iter().chain(rest(left)).chain(rest(right)).collect(), relations })
}

fn common(shape: &Shape, name: &str, side: &str) -> Result<Expr> {
    let mut named = shape.columns.iter().filter(|c| c.name == name);
    let Some(first) = named.next() else {
        let message = format!("column \"{name}\" specified in USING clause does not exist in {side} table");
        return Err(PlanError::invalid("42703", message));
    };
    if named.next().is_some() {
        let message = format!("common column name \"{name}\" appears more than once in {side} table");
        return Err(PlanError::invalid("42702", message));
    }
    Ok(first.expr.clone())
}
