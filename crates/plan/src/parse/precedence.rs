//! `a IS DISTINCT FROM b OR c` means `(a IS DISTINCT FROM b) OR c`. sqlparser 0.62 lets the right side of IS [NOT] DISTINCT FROM take in
//! a following AND or OR; here such trees are turned back, from the leaves up, to PostgreSQL's precedence: IS, then NOT, AND, OR.
//!
//! What was written in parentheses is `Expr::Nested` and is left alone; so an AND whose right side is a bare OR (or a NOT or IS
//! DISTINCT over a bare AND or OR) can only come from that mistake, and turning it is safe. Cost: one visit of each expression;
//! each turn walks the left edge of the right side.

use crate::walk::VisitMut;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value, VisitorMut};

/// Repairs all expressions of a statement, query or expression.
pub(super) fn repair<T: VisitMut>(tree: &mut T) {
    struct Repair;
    impl VisitorMut for Repair {
        type Break = ();
        fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<()> {
            turn(e);
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(tree, &mut Repair);
}

/// How tightly a bare AND or OR binds; nothing else concerns us.
fn strength(e: &Expr) -> Option<u8> {
    match e {
        Expr::BinaryOp { op: BinaryOperator::Or, .. } => Some(1),
        Expr::BinaryOp { op: BinaryOperator::And, .. } => Some(2),
        _ => None,
    }
}

/// The last operand of an operator that took in too much, and how tightly the operator binds.
fn last(e: &mut Expr) -> Option<(u8, &mut Box<Expr>)> {
    match e {
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => Some((4, right)),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Some((3, expr)),
        Expr::BinaryOp { op: BinaryOperator::And, right, .. } => Some((2, right)),
        _ => None,
    }
}

/// `outer(x, y op z)` becomes `outer(x, y) op z` where `op` binds less tightly than `outer`, and so on down the left.
fn turn(e: &mut Expr) {
    let Some((binds, operand)) = last(e) else { return };
    if strength(operand).is_none_or(|s| s >= binds) {
        return;
    }
    let nothing = || Box::new(Expr::value(Value::Null));
    let mut inner = std::mem::replace(operand, nothing());
    let Expr::BinaryOp { left, .. } = inner.as_mut() else { return };
    std::mem::swap(operand, left); // the outer operator keeps `y`, `inner` waits for it on its left
    turn(e);
    let outer = std::mem::replace(e, Expr::value(Value::Null));
    if let Expr::BinaryOp { left, .. } = inner.as_mut() {
        **left = outer;
    }
    *e = *inner;
}

#[cfg(test)]
mod tests {
    use super::repair;
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    fn repaired(sql: &str) -> String {
        let mut e = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).and_then(|mut p| p.parse_expr()).expect("parses");
        repair(&mut e);
        format!("{e:?}")
    }

    /// The tree of the same text with the parentheses that PostgreSQL would put, which are then taken off.
    fn meant(sql: &str) -> String {
        use datafusion::sql::sqlparser::ast::{Expr, VisitorMut};
        struct Bare;
        impl VisitorMut for Bare {
            type Break = ();
            fn post_visit_expr(&mut self, e: &mut Expr) -> std::ops::ControlFlow<()> {
                while let Expr::Nested(inner) = e {
                    *e = (**inner).clone();
                }
                std::ops::ControlFlow::Continue(())
            }
        }
        let mut e = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).and_then(|mut p| p.parse_expr()).expect("parses");
        let _ = crate::walk::VisitMut::visit(&mut e, &mut Bare);
        format!("{e:?}")
    }

    /// Places in the text are part of the tree; they move with the parentheses.
    fn same(a: &str, b: &str) {
        let bare = |s: String| {
            s.split("Location(").map(|part| part.split_once(')').map_or(part, |(_, rest)| rest).to_owned()).collect::<String>()
        };
        assert_eq!(bare(repaired(a)), bare(meant(b)), "{a}");
    }

    #[test]
    fn is_distinct_from_ends_before_and_and_or() {
        same("a IS DISTINCT FROM b OR c", "(a IS DISTINCT FROM b) OR c");
        same("a IS NOT DISTINCT FROM b AND c OR d", "((a IS NOT DISTINCT FROM b) AND c) OR d");
        same("a IS DISTINCT FROM b OR c AND d", "(a IS DISTINCT FROM b) OR (c AND d)");
        same("x AND a IS DISTINCT FROM b OR c", "(x AND (a IS DISTINCT FROM b)) OR c");
        same("NOT a IS DISTINCT FROM b AND c", "(NOT (a IS DISTINCT FROM b)) AND c");
        same("a IS DISTINCT FROM b + 1", "a IS DISTINCT FROM (b + 1)");
        same("a OR b AND c", "a OR (b AND c)");
    }

    #[test]
    fn parentheses_stay() {
        assert!(repaired("a IS DISTINCT FROM (b OR c)").contains("Nested"));
        assert!(repaired("x AND (a OR b)").starts_with("BinaryOp { left: Identifier"));
    }
}
