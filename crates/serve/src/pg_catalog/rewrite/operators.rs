//! Operators with a schema, COLLATE, and LIKE with an escape character of its own.
//!
//! Every collation here is C, so COLLATE changes nothing. `x LIKE p ESCAPE e` is `x LIKE like_escape(p, e)`, as PostgreSQL has it.

use super::tree;
use regauge_plan::sqlparser::ast::{BinaryOperator, Expr};

pub fn rewrite(e: &mut Expr) {
    match e {
        Expr::BinaryOp { op, .. } => {
            if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                && let Some(plain) = parts.last().and_then(|sign| operator(sign))
            {
                *op = plain;
            }
        }
        Expr::Collate { expr, .. } => *e = tree::take(expr),
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            if let Some(escape) = escape_char.take() {
                let args = vec![tree::take(pattern), Expr::Value(escape)];
                **pattern = tree::call("like_escape", args);
            }
        }
        _ => {}
    }
}

fn operator(sign: &str) -> Option<BinaryOperator> {
    Some(match sign {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}
