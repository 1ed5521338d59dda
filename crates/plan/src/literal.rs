//! A literal of SQL as a value of a column's type, without planning: an INSERT of many rows holds little else, and a plan of
//! each element costs a hundred times the element.
//!
//! The value is what the planner would give: the same casts judge it. It does not know how to refuse; what it does not take goes
//! the planner's way, which says why.

use arrow::datatypes::DataType;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast;

use crate::functions::assign::assignable;
use crate::functions::cast::cast_value;
use crate::functions::planner::PgTypePlanner;
use crate::functions::precision;
use crate::pgtypes::{NUMERIC_PRECISION, interval, parse_text};
use crate::value::{Datum, Value};

/// The value of a number, a string, a typed string (`DATE '2026-01-01'`, `INTERVAL '1 day'`), a boolean or NULL, also under a cast (what a
/// parameter of a prepared statement becomes); `None` for any other expression, and where the value does not fit.
#[must_use]
pub fn literal(e: &ast::Expr, ty: &DataType) -> Option<Value> {
    match e {
        ast::Expr::Nested(e) => literal(e, ty),
        ast::Expr::Value(v) => match &v.value {
            ast::Value::Null => Some(Value::null(ty.clone())),
            ast::Value::Boolean(b) => into(&Value::bool(*b), ty),
            ast::Value::SingleQuotedString(text) => cast_value(&Value::text(text.as_str()), ty).ok(),
            ast::Value::Number(digits, _) => into(&number(&digits.to_string())?, ty),
            _ => None,
        },
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => match expr.as_ref() {
            ast::Expr::Value(v) => match &v.value {
                ast::Value::Number(digits, _) => into(&number(&format!("-{digits}"))?, ty),
                _ => None,
            },
            _ => None,
        },
        // A precision rounds: that is not known here.
        ast::Expr::TypedString(typed) if precision::written(&typed.data_type) => None,
        ast::Expr::Cast { data_type, .. } if precision::written(data_type) => None,
        ast::Expr::TypedString(typed) => {
            let own = PgTypePlanner.plan_type_field(&typed.data_type).ok()??;
            let ast::Value::SingleQuotedString(text) = &typed.value.value else { return None };
            into(&parse_text(own.data_type(), text).ok()?, ty)
        }
        ast::Expr::Cast { kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr, data_type, .. } => {
            let own = PgTypePlanner.plan_type_field(data_type).ok()??;
            // A cast to varchar(n) cuts: that is not known here.
            let plain = own.data_type() != &DataType::Utf8 || matches!(data_type, ast::DataType::Text);
            if plain { into(&literal(expr, own.data_type())?, ty) } else { None }
        }
        ast::Expr::Interval(_) => into(&period(e)?, ty),
        _ => None,
    }
}

/// The value of a number, or of a literal under a cast or a type's name, of the type that it has by itself; `None` for anything else. A
/// string alone has no type of its own.
#[must_use]
pub fn typed_literal(e: &ast::Expr) -> Option<Value> {
    let own = match e {
        ast::Expr::Nested(e) => return typed_literal(e),
        ast::Expr::Value(v) => match &v.value {
            ast::Value::Number(digits, _) => return number(&digits.to_string()),
            _ => return None,
        },
        ast::Expr::TypedString(ast::TypedString { data_type, .. }) | ast::Expr::Cast { data_type, .. } => {
            PgTypePlanner.plan_type_field(data_type).ok()??
        }
        ast::Expr::Interval(_) => return period(e),
        _ => return None,
    };
    literal(e, own.data_type())
}

/// `INTERVAL '5 minutes'`; with fields (`INTERVAL '5' MINUTE`) it is read otherwise.
fn period(e: &ast::Expr) -> Option<Value> {
    let ast::Expr::Interval(ast::Interval {
        value,
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    }) = e
    else {
        return None;
    };
    match value.as_ref() {
        ast::Expr::Value(v) if matches!(v.value, ast::Value::SingleQuotedString(_)) => literal(value, &interval()),
        _ => None,
    }
}

/// A value whose type is known, if a column of this type takes it.
fn into(value: &Value, ty: &DataType) -> Option<Value> {
    if assignable(&value.ty, ty) { cast_value(value, ty).ok() } else { None }
}

/// Integers take the narrowest type from integer on, digits around a point are exact.
fn number(text: &str) -> Option<Value> {
    let unsigned = text.trim_start_matches('-');
    if unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let v: i64 = text.parse().ok()?;
        return Some(i32::try_from(v).map_or(Value::int8(v), Value::int4));
    }
    let (whole, fraction) = unsigned.split_once('.')?;
    let digits = whole.len() + fraction.len();
    if digits > usize::from(NUMERIC_PRECISION) || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let v: i128 = format!("{whole}{fraction}").parse().ok()?;
    let v = if text.starts_with('-') { -v } else { v };
    let ty = DataType::Decimal128(NUMERIC_PRECISION, i8::try_from(fraction.len()).ok()?);
    Some(Value { ty, datum: Datum::Decimal(v) })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;
    use datafusion::sql::sqlparser::ast;

    use super::{literal, typed_literal};
    use crate::pgtypes::{interval, timestamp};
    use crate::{ParseLimits, constant, parse_query};

    fn expression(sql: &str) -> ast::Expr {
        let query = parse_query(&format!("SELECT {sql}"), &ParseLimits::default()).expect("sound");
        let ast::SetExpr::Select(select) = *query.body else { panic!("{sql}") };
        match select.projection.into_iter().next() {
            Some(ast::SelectItem::UnnamedExpr(e)) => e,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_literal_is_what_the_planner_makes_of_it() {
        let two_digits = DataType::Decimal128(12, 2);
        let types = [
            DataType::Int32,
            DataType::Int64,
            DataType::Utf8,
            DataType::Float64,
            DataType::Boolean,
            two_digits,
            timestamp(),
            interval(),
        ];
        let mut taken = 0;
        for sql in [
            "1",
            "-3",
            "(7)",
            "2147483648",
            "-2147483648",
            "9223372036854775807",
            "1.125",
            "-0.005",
            "12.50",
            "0",
            "''",
            "'7'",
            "' 8 '",
            "'x'",
            "'1.5'",
            "NULL",
            "true",
            "false",
            "'t'",
            "'2026-01-02 03:04:05.5'",
            "TIMESTAMP '2026-01-01 08:13:00.000001'",
            "DATE '2026-02-03'",
            "'Infinity'",
            "99999999999.99",
            "'o''k'",
            "'5'::int",
            "CAST('7' AS bigint)",
            "'1.125'::numeric(5,2)",
            "1.5::int",
            "NULL::int",
            "'2026-02-03'::date",
            "'7'::text",
            "'long'::varchar(2)",
            "INTERVAL '1 day 02:00'",
            "INTERVAL '5' MINUTE",
        ] {
            for ty in &types {
                let (quick, planned) = (literal(&expression(sql), ty), constant(&expression(sql), ty).ok());
                if let Some(quick) = quick {
                    assert_eq!(Some(quick), planned, "{sql} as {ty}");
                    taken += 1;
                }
            }
        }
        assert!(taken > 60, "{taken}");
        for other in ["1 + 1", "length('x')", "'x'::text", "-(-1)", "1e5"] {
            assert_eq!(literal(&expression(other), &DataType::Int32), None, "{other}");
        }
    }

    #[test]
    fn a_literal_by_itself_has_the_type_that_it_says() {
        let own = |sql: &str| typed_literal(&expression(sql)).map(|v| v.ty);
        let numeric = |scale| Some(DataType::Decimal128(38, scale));
        assert_eq!(
            [
                own("1"),
                own("(2147483648)"),
                own("1.50"),
                own("'5'::int"),
                own("'x'::text"),
                own("DATE '2026-01-02'"),
                own("NULL::bigint"),
                own("INTERVAL '1 day'")
            ],
            [
                Some(DataType::Int32),
                Some(DataType::Int64),
                numeric(2),
                Some(DataType::Int32),
                Some(DataType::Utf8),
                Some(DataType::Date32),
                Some(DataType::Int64),
                Some(interval())
            ]
        );
        let rounded = typed_literal(&expression("'1.125'::numeric(5,2)")).and_then(|value| value.to_scalar());
        assert_eq!(rounded, Some(datafusion::scalar::ScalarValue::Decimal128(Some(113), 5, 2)));
        for other in ["'x'", "NULL", "true", "'long'::varchar(2)", "1 + 1", "'x'::int", "1e5"] {
            assert_eq!(own(other), None, "{other}");
        }
    }
}
