//! Aggregates and window functions in VALUES: there are no rows that they could be over, so they are refused as PostgreSQL does.

use datafusion::sql::sqlparser::ast::{Expr, SetExpr};

use super::one_row;
use crate::error::PlanError;

/// Refuses them in the rows of a query's own VALUES; a query within them has rows of its own.
///
/// # Errors
/// 42601, 42803, 42P20.
pub(super) fn refuse(body: &SetExpr) -> Result<(), PlanError> {
    let mut todo = vec![body];
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => todo.extend([left.as_ref(), right.as_ref()]),
            SetExpr::Values(values) => values.rows.iter().flat_map(|row| row.iter()).try_for_each(of_value)?,
            _ => {}
        }
    }
    Ok(())
}

fn of_value(e: &Expr) -> Result<(), PlanError> {
    if matches!(e, Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default")) {
        return Err(PlanError::syntax("DEFAULT is not allowed in this context").with_hint("it stands in VALUES of an INSERT"));
    }
    match one_row::found(e) {
        Some((code @ ("42803" | "42P20"), what)) => {
            let error = PlanError::invalid(code, format!("{what} are not allowed in VALUES"));
            Err(error.with_hint("write a query in the place of VALUES: SELECT .."))
        }
        _ => Ok(()),
    }
}
