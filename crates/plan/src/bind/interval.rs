//! Interval literals with fields, as the SQL standard has them: `INTERVAL '4:05' HOUR TO MINUTE`. They are read when the statement is, and
//! written again as PostgreSQL shows them, with no fields.

use datafusion::sql::sqlparser::ast::{self, DateTimeField, Expr, IntervalFields, Value};

use crate::error::PlanError;
use crate::pgtypes::interval::{Field, Range, format_interval, parse_within};

/// The literal that a text within fields means, as a cast.
///
/// # Errors
/// 22007, 22015.
pub(super) fn literal(value: &Value, range: Option<Range>) -> Result<Expr, PlanError> {
    let Value::SingleQuotedString(text) = value else { return Err(PlanError::syntax("an interval is a string")) };
    let plain = match range {
        // read where all casts are
        None => text.clone(),
        Some(_) => {
            let (months, days, nanos) = parse_within(text, range).map_err(|e| PlanError::invalid(e.sqlstate, e.message))?;
            format_interval(months, days, nanos)
        }
    };
    let of = ast::DataType::Interval { fields: None, precision: None };
    Ok(super::spelling::cast(Expr::value(Value::SingleQuotedString(plain)), of))
}

/// The range that the words behind a literal name.
///
/// # Errors
/// 42601 for words that are no fields, or stand the wrong way round.
pub(super) fn of_units(first: Option<&DateTimeField>, last: Option<&DateTimeField>) -> Result<Option<Range>, PlanError> {
    let Some(first) = first else { return Ok(None) };
    let one = |unit: &DateTimeField| field(unit).ok_or_else(|| PlanError::syntax(format!("{unit} is no field of an interval")));
    let range = Range { first: one(first)?, last: one(last.unwrap_or(first))? };
    let months = |field: Field| field <= Field::Month;
    let apart = months(range.first) != months(range.last);
    match range.last < range.first || apart {
        true => Err(PlanError::syntax(format!("syntax error: an interval has no fields {first} TO {}", last.unwrap_or(first)))),
        false => Ok(Some(range)),
    }
}

fn field(unit: &DateTimeField) -> Option<Field> {
    Some(match unit {
        DateTimeField::Year => Field::Year,
        DateTimeField::Month => Field::Month,
        DateTimeField::Day => Field::Day,
        DateTimeField::Hour => Field::Hour,
        DateTimeField::Minute => Field::Minute,
        DateTimeField::Second => Field::Second,
        _ => return None,
    })
}

/// The range that a type names.
pub(super) fn of_fields(fields: &IntervalFields) -> Range {
    use IntervalFields as F;
    let (first, last) = match fields {
        F::Year => (Field::Year, Field::Year),
        F::Month => (Field::Month, Field::Month),
        F::Day => (Field::Day, Field::Day),
        F::Hour => (Field::Hour, Field::Hour),
        F::Minute => (Field::Minute, Field::Minute),
        F::Second => (Field::Second, Field::Second),
        F::YearToMonth => (Field::Year, Field::Month),
        F::DayToHour => (Field::Day, Field::Hour),
        F::DayToMinute => (Field::Day, Field::Minute),
        F::DayToSecond => (Field::Day, Field::Second),
        F::HourToMinute => (Field::Hour, Field::Minute),
        F::HourToSecond => (Field::Hour, Field::Second),
        F::MinuteToSecond => (Field::Minute, Field::Second),
    };
    Range { first, last }
}
