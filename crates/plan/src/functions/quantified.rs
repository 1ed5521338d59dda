//! `x = ANY (array)` and its kin over an array that is known when the statement is read become IN, or comparisons joined by OR or AND:
//! then filters and look-ups see them, and views can keep them, whose plans have no constant arrays.

use arrow::array::Array;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, lit};
use datafusion::scalar::ScalarValue;
use regauge_types::arrays::{flatten, leaf};

use super::array_cast::parse;
use super::cast::cast_target;
use super::error::EvalError;
use super::list_more::ARRAYS;
use super::lists::item;
use super::semantics::{Rewriter, is_unknown_literal};
use crate::pgtypes::parse_text;

/// The call of `name` without its array; `None` when the name is not one of these, or the array is not known.
pub(super) fn spelt_out(name: &str, args: &[Expr], rewriter: &Rewriter<'_>) -> Result<Option<Expr>> {
    let (all, op) = match name.strip_prefix("pg_any_").map(|op| (false, op)).or(name.strip_prefix("pg_all_").map(|op| (true, op)))
    {
        Some((all, "eq")) => (all, Operator::Eq),
        Some((all, "ne")) => (all, Operator::NotEq),
        Some((all, "lt")) => (all, Operator::Lt),
        Some((all, "le")) => (all, Operator::LtEq),
        Some((all, "gt")) => (all, Operator::Gt),
        Some((all, "ge")) => (all, Operator::GtEq),
        _ => return Ok(None),
    };
    let [value, array] = args else { return Ok(None) };
    let Some(elements) = elements(array, value, rewriter)? else { return Ok(None) };
    if elements.is_empty() {
        return Ok(Some(lit(all)));
    }
    let listed = (op == Operator::Eq && !all) || (op == Operator::NotEq && all);
    if listed {
        return Ok(Some(Expr::InList(InList { expr: Box::new(value.clone()), list: elements, negated: all })));
    }
    let compared = elements
        .into_iter()
        .map(|e| rewriter.expression(Expr::BinaryExpr(BinaryExpr::new(Box::new(value.clone()), op, Box::new(e)))))
        .collect::<Result<Vec<_>>>()?;
    let join = if all { Expr::and } else { Expr::or };
    Ok(compared.into_iter().reduce(join))
}

/// The elements of an array that is written out.
fn elements(array: &Expr, value: &Expr, rewriter: &Rewriter<'_>) -> Result<Option<Vec<Expr>>> {
    match array {
        Expr::Alias(alias) => elements(&alias.expr, value, rewriter),
        // a literal without a type is read as an array of what stands before it
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
            let ty = rewriter.type_of(value)?;
            let ty = if is_unknown_literal(value) { arrow::datatypes::DataType::Utf8 } else { ty };
            let read = |text: Option<String>| match text {
                None => Ok(Expr::Literal(ScalarValue::try_from(&ty)?, None)),
                Some(text) => {
                    let read = parse_text(&ty, &text)?.to_scalar();
                    let read = read.ok_or_else(|| EvalError::internal("constant does not fit its type"))?;
                    Ok(Expr::Literal(read, None))
                }
            };
            parse(text)?.elements.into_iter().map(read).collect::<Result<_>>().map(Some)
        }
        Expr::Literal(ScalarValue::List(list), _) if list.len() == 1 && list.is_valid(0) => {
            let values = flatten(list).value(0);
            (0..values.len())
                .map(|i| Ok(Expr::Literal(ScalarValue::try_from_array(&values, i)?, None)))
                .collect::<Result<_>>()
                .map(Some)
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "make_array" => Ok(Some(args.clone())),
        // of several dimensions, if all of it is written out
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == ARRAYS.name => {
            let parts = args.iter().map(|part| elements(part, value, rewriter)).collect::<Result<Option<Vec<_>>>>()?;
            // who makes it says what is wrong with one whose parts are not alike
            let alike = |parts: &Vec<Vec<Expr>>| parts.windows(2).all(|pair| pair[0].len() == pair[1].len());
            Ok(parts.filter(alike).map(|parts| parts.concat()))
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            let (Some(to), [arg]) = (cast_target(func), args.as_slice()) else { return Ok(None) };
            let Some(of) = item(to).map(leaf) else { return Ok(None) };
            let inner = match arg {
                Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
                    Some(parse(text)?.elements.into_iter().map(|t| lit(ScalarValue::Utf8(t))).collect())
                }
                Expr::Cast(cast) => match cast.expr.as_ref() {
                    Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
                        Some(parse(text)?.elements.into_iter().map(|t| lit(ScalarValue::Utf8(t))).collect())
                    }
                    _ => None,
                },
                arg => elements(arg, value, rewriter)?,
            };
            let Some(inner): Option<Vec<Expr>> = inner else { return Ok(None) };
            inner.into_iter().map(|e| rewriter.coerced(e, of)).collect::<Result<_>>().map(Some)
        }
        _ => Ok(None),
    }
}
