//! A literal where a truth value is wanted is one: `WHERE 't'`, `NOT 'off'`, `ON 'yes'`. DataFusion takes it for a text and refuses it, so it is
//! cast before anything is bound; a text that is no truth value is 22P02.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, JoinConstraint, JoinOperator, SetExpr, TableWithJoins, Value};

use super::spelling::{cast, take};

/// The conditions of the SELECTs of a query, not of those inside it.
pub(super) fn of_body(body: &mut SetExpr) {
    let mut todo = vec![body];
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => todo.extend([left.as_mut(), right.as_mut()]),
            SetExpr::Select(s) => {
                s.selection.iter_mut().chain(s.having.as_mut()).chain(s.qualify.as_mut()).for_each(literal);
                s.from.iter_mut().for_each(of_joins);
            }
            _ => {}
        }
    }
}

fn of_joins(from: &mut TableWithJoins) {
    use JoinOperator::{FullOuter, Inner, Join, Left, LeftOuter, Right, RightOuter};
    for join in &mut from.joins {
        if let Join(on) | Inner(on) | Left(on) | LeftOuter(on) | Right(on) | RightOuter(on) | FullOuter(on) =
            &mut join.join_operator
            && let JoinConstraint::On(e) = on
        {
            literal(e);
        }
    }
    let factors = std::iter::once(&mut from.relation).chain(from.joins.iter_mut().map(|join| &mut join.relation));
    for factor in factors {
        if let ast::TableFactor::NestedJoin { table_with_joins, .. } = factor {
            of_joins(table_with_joins);
        }
    }
}

/// The operands of an expression that wants truth values.
pub(super) fn of_expr(e: &mut Expr) {
    match e {
        Expr::UnaryOp { op: ast::UnaryOperator::Not, expr } => literal(expr),
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            literal(left);
            literal(right);
        }
        Expr::IsTrue(e)
        | Expr::IsNotTrue(e)
        | Expr::IsFalse(e)
        | Expr::IsNotFalse(e)
        | Expr::IsUnknown(e)
        | Expr::IsNotUnknown(e) => literal(e),
        Expr::Function(f) => f.filter.iter_mut().for_each(|e| literal(e)),
        _ => {}
    }
}

fn literal(e: &mut Expr) {
    let mut within = &*e;
    while let Expr::Nested(inner) = within {
        within = inner;
    }
    if matches!(within, Expr::Value(v) if matches!(v.value, Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_))) {
        *e = cast(take(e), ast::DataType::Boolean);
    }
}
