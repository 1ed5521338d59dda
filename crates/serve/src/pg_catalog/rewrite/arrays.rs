//! Arrays: `ANY` and `ALL` over them, `ARRAY(SELECT ..)`, elements, equality with an array's text, and functions that give many
//! rows within a select list.

use super::tree;
use crate::pg_catalog::functions::ARRAY_OF_ROWS;
use regauge_plan::sqlparser::ast::{AccessExpr, BinaryOperator, Expr, FunctionArguments, Subscript, UnaryOperator, Value};

pub fn rewrite(e: &mut Expr) {
    match e {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
            if let Some(found) = among(left, right, false) {
                *e = found;
            }
        }
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
            if let Some(found) = among(left, right, true) {
                *e = found;
            }
        }
        Expr::BinaryOp { left, op: op @ (BinaryOperator::Eq | BinaryOperator::NotEq), right } => {
            let braces = |e: &Expr| tree::literal(e).is_some_and(|s| s.starts_with('{') && s.ends_with('}'));
            if braces(left) || braces(right) {
                let same = tree::call("pg_same", vec![tree::take(left), tree::take(right)]);
                let negated = *op == BinaryOperator::NotEq;
                *e = if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(same) } } else { same };
            }
        }
        Expr::Function(f) => {
            if let FunctionArguments::Subquery(query) = &f.args
                && tree::parts(&f.name) == ["array"]
            {
                *e = tree::call(ARRAY_OF_ROWS, vec![Expr::Subquery(query.clone())]);
                return;
            }
            set_returning(e);
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            if let [AccessExpr::Subscript(Subscript::Index { index })] = access_chain.as_mut_slice() {
                *e = tree::call("pg_element", vec![tree::take(root), tree::take(index)]);
            } else if let [AccessExpr::Dot(Expr::Identifier(field))] = access_chain.as_slice() {
                let name = Expr::value(Value::SingleQuotedString(tree::fold(field)));
                *e = tree::call("get_field", vec![tree::take(root), name]);
            }
        }
        _ => {}
    }
}

/// `x = ANY (array)`, or `x <> ALL (array)` where `negated`. A subquery is left to the planner.
fn among(left: &mut Expr, right: &mut Expr, negated: bool) -> Option<Expr> {
    while let Expr::Nested(inner) = right {
        *right = tree::take(inner);
    }
    match right {
        Expr::Subquery(_) => None,
        Expr::Array(list) if !list.elem.is_empty() => {
            Some(Expr::InList { expr: Box::new(tree::take(left)), list: std::mem::take(&mut list.elem), negated })
        }
        _ => {
            let any = tree::call("pg_any", vec![tree::take(left), tree::take(right)]);
            Some(if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(any) } } else { any })
        }
    }
}

/// `generate_series` and `generate_subscripts` in a select list are the unnesting of an array.
fn set_returning(e: &mut Expr) {
    let Some((name, args)) = tree::plain_call(e) else { return };
    if let ([.., last], [array]) = (name.as_slice(), args.as_slice())
        && last == "_pg_expandarray"
    {
        // rows of an element x and its place n
        let text = |s: &str| Expr::value(Value::SingleQuotedString(s.to_owned()));
        let elements = tree::call("unnest", vec![array.clone()]);
        let places = tree::call("unnest", vec![tree::call("pg_subscripts", vec![array.clone()])]);
        *e = tree::call("named_struct", vec![text("x"), elements, text("n"), places]);
        return;
    }
    if let Some(array) = array_of(&name, args) {
        *e = tree::call("unnest", vec![array]);
    }
}

/// The array whose elements a set-returning function gives.
pub fn array_of(name: &[String], mut args: Vec<Expr>) -> Option<Expr> {
    match (name.last()?.as_str(), args.len()) {
        ("generate_series", 2 | 3) => Some(tree::call("pg_series", args)),
        ("generate_subscripts", 2) => {
            args.truncate(1);
            Some(tree::call("pg_subscripts", args))
        }
        _ => None,
    }
}
