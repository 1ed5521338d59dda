//! Interval literals where the statement layer needs a number: watermarks and windows.

use datafusion::sql::sqlparser::ast;

use crate::pgtypes::parse_interval;

/// Microseconds of `INTERVAL '5 seconds'`, `INTERVAL '5' SECOND` or `'5 seconds'`. A day counts 24 hours; `None` for anything
/// else, also for months (they have no fixed length).
pub(crate) fn micros(e: &ast::Expr) -> Option<i64> {
    let literal = |e: &ast::Expr| match e {
        ast::Expr::Value(v) => match &v.value {
            ast::Value::SingleQuotedString(s) | ast::Value::Number(s, _) => Some(s.clone()),
            _ => None,
        },
        _ => None,
    };
    let text = match e {
        ast::Expr::Interval(i) => {
            let text = literal(&i.value)?;
            i.leading_field.as_ref().map_or(text.clone(), |unit| format!("{text} {unit}"))
        }
        ast::Expr::Cast { expr, data_type: ast::DataType::Interval { .. }, .. } => literal(expr)?,
        ast::Expr::Nested(e) => return micros(e),
        other => literal(other)?,
    };
    let (months, days, nanos) = parse_interval(&text).ok()?;
    if months != 0 {
        return None;
    }
    i64::from(days).checked_mul(86_400_000_000)?.checked_add(nanos / 1_000)
}
