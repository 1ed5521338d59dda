//! PostgreSQL's precedence where sqlparser has another.
//!
//! `a IS DISTINCT FROM b OR c` means `(a IS DISTINCT FROM b) OR c`. sqlparser 0.62 lets the right side of IS [NOT] DISTINCT FROM take in
//! a following AND or OR; here such trees are turned back, from the leaves up, to PostgreSQL's precedence: IS, then NOT, AND, OR.
//!
//! What was written in parentheses is `Expr::Nested` and is left alone; so an AND whose right side is a bare OR (or a NOT or IS
//! DISTINCT over a bare AND or OR) can only come from that mistake, and turning it is safe. Cost: one visit of each expression;
//! each turn walks the left edge of the right side.
//!
//! A sign binds tighter than `^` (`-2 ^ 2` is 4), and the other prefix operators less tightly than `+` (`~ 1 + 1` is `~ (1 + 1)`); sqlparser
//! has it the other way round.

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
            sign(e);
            prefix(e);
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

fn take(e: &mut Expr) -> Expr {
    std::mem::replace(e, Expr::value(Value::Null))
}

/// `-(a ^ b ^ c)` without brackets becomes `(-a) ^ b ^ c`.
fn sign(e: &mut Expr) {
    let Expr::UnaryOp { op: op @ (UnaryOperator::Minus | UnaryOperator::Plus), expr } = e else { return };
    if !matches!(expr.as_ref(), Expr::BinaryOp { op: BinaryOperator::PGExp, .. }) {
        return;
    }
    let (op, mut power) = (*op, take(expr));
    let mut base = &mut power;
    while let Expr::BinaryOp { op: BinaryOperator::PGExp, left, .. } = base {
        base = left;
    }
    *base = Expr::UnaryOp { op, expr: Box::new(take(base)) };
    *e = power;
}

fn is_prefix(op: UnaryOperator) -> bool {
    use UnaryOperator::{BitwiseNot, PGAbs, PGCubeRoot, PGPrefixFactorial, PGSquareRoot};
    matches!(op, BitwiseNot | PGAbs | PGSquareRoot | PGCubeRoot | PGPrefixFactorial)
}

/// Whether an expression ends in the operand of a prefix operator.
fn ends_in_prefix(e: &Expr) -> bool {
    match e {
        Expr::UnaryOp { op, expr } => is_prefix(*op) || ends_in_prefix(expr),
        Expr::BinaryOp { right, .. } => ends_in_prefix(right),
        _ => false,
    }
}

/// `(x * ~a) + b` without brackets becomes `x * ~(a + b)`.
fn prefix(e: &mut Expr) {
    let Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, .. } = &*e else { return };
    if !ends_in_prefix(left) {
        return;
    }
    let mut sum = take(e);
    let Expr::BinaryOp { left, .. } = &mut sum else { return };
    let mut whole = take(left);
    let mut last = &mut whole;
    while ends_in_prefix(last) {
        match last {
            Expr::UnaryOp { expr: inner, .. } | Expr::BinaryOp { right: inner, .. } => last = inner,
            _ => return,
        }
    }
    if let Expr::BinaryOp { left, .. } = &mut sum {
        **left = take(last);
    }
    *last = sum;
    *e = whole;
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
    fn a_sign_binds_tighter_than_a_power() {
        same("-a ^ 2", "(-a) ^ 2");
        same("- - a ^ b ^ c", "((-(-a)) ^ b) ^ c");
        same("2 * -a ^ b", "2 * ((-a) ^ b)");
        assert!(repaired("-(a ^ b)").starts_with("UnaryOp"));
    }

    #[test]
    fn other_prefix_operators_take_in_sums() {
        same("~ a + b", "~ (a + b)");
        same("~ a + b - c", "~ ((a + b) - c)");
        same("x * ~ ~ a + b", "x * (~ (~ (a + b)))");
        same("x - @ a * b - c", "x - (@ ((a * b) - c))");
        same("~ a & b + c", "(~ a) & (b + c)");
        same("a & ~ b + c > d", "(a & (~ (b + c))) > d");
        assert!(repaired("(~ a) + b").starts_with("BinaryOp"));
    }

    #[test]
    fn parentheses_stay() {
        assert!(repaired("a IS DISTINCT FROM (b OR c)").contains("Nested"));
        assert!(repaired("x AND (a OR b)").starts_with("BinaryOp { left: Identifier"));
    }
}
