//! Precision of times: `timestamp(0)`, `time(3)`, `interval(0)`. The types have microseconds and no precision, so a cast to a type that
//! has one is written as `pg_precise(cast, digits)`, which rounds as PostgreSQL does: half away from zero, counted from 2000-01-01 in
//! timestamps; `interval day` is written as digits below zero, which cut the interval. A column of such a type keeps the digits beside its type (see `parse::types`), and what is written to it is rounded.

use arrow::array::ArrayRef;
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::logical_expr::ColumnarValue;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;
use std::sync::Arc;

use super::error::{EvalError, EvalResult};
use super::forms::{K, builtin};
use super::udf::call;
use crate::error::PlanError;
use crate::pgtypes::calendar::{TS_INFINITY, TS_MINUS_INFINITY};
use crate::pgtypes::interval::{Field, Range, cut};

/// The function's name.
pub(crate) const NAME: &str = "pg_precise";

/// 2000-01-01 in microseconds since 1970.
const EPOCH: i64 = 946_684_800_000_000;

/// More digits than microseconds have mean those; PostgreSQL says so in a warning.
const DIGITS_MAX: u64 = 6;

builtin!(
    PRECISE,
    "pg_precise",
    [],
    &[
        (&[K::Stamp, K::Int], K::Stamp),
        (&[K::Zoned, K::Int], K::Zoned),
        (&[K::Time, K::Int], K::Time),
        (&[K::Span, K::Int], K::Span),
    ],
    false,
    |args| {
        let (digits, ds) = args.lanes::<arrow::datatypes::Int32Type>(1)?;
        let step = |i: usize| 10_i64.pow(u32::try_from(6 - digits[i * ds].clamp(0, 6)).unwrap_or(0));
        match args.ret {
            DataType::Time64(_) => {
                let (t, ts) = args.lanes::<Time64MicrosecondType>(0)?;
                args.rows::<Time64MicrosecondType>(|i| Ok(rounded(t[i * ts], step(i))))
            }
            DataType::Interval(_) => {
                let (t, ts) = args.lanes::<IntervalMonthDayNanoType>(0)?;
                args.rows::<IntervalMonthDayNanoType>(|i| {
                    let span = t[i * ts];
                    if digits[i * ds] < 0 {
                        let kept = field_of(digits[i * ds]).map(|field| Range { first: field, last: field });
                        let (months, days, nanos) = cut((span.months, span.days, span.nanoseconds), kept);
                        return Ok(IntervalMonthDayNano::new(months, days, nanos));
                    }
                    let nanos = rounded(span.nanoseconds / 1000, step(i)).checked_mul(1000);
                    let nanos = nanos.ok_or_else(|| EvalError::new("22008", "interval out of range"))?;
                    Ok(IntervalMonthDayNano::new(span.months, span.days, nanos))
                })
            }
            _ => {
                let (t, ts) = args.lanes::<TimestampMicrosecondType>(0)?;
                args.rows::<TimestampMicrosecondType>(|i| match t[i * ts] {
                    infinite @ (TS_INFINITY | TS_MINUS_INFINITY) => Ok(infinite),
                    t => Ok(rounded(t.saturating_sub(EPOCH), step(i)).saturating_add(EPOCH)),
                })
            }
        }
    }
);

/// Fields that an interval is cut to, as digits below zero.
const FIELDS: [Field; 5] = [Field::Minute, Field::Hour, Field::Day, Field::Month, Field::Year];

/// The last field that digits below zero keep.
fn field_of(digits: i32) -> Option<Field> {
    let at = usize::try_from(digits.checked_add(1)?.checked_neg()?).ok()?;
    FIELDS.get(at).copied()
}

/// The nearest multiple of `step`, of two the one farther from zero.
fn rounded(us: i64, step: i64) -> i64 {
    let half = step / 2;
    let (up, down) = (us.saturating_add(half), us.saturating_sub(half));
    if us >= 0 { up - up % step } else { down - down % step }
}

/// Whether a type says more than which one it is.
pub(crate) fn written(ty: &ast::DataType) -> bool {
    match ty {
        ast::DataType::Time(p, _) | ast::DataType::Timestamp(p, _) => p.is_some(),
        ast::DataType::Interval { fields, precision } => fields.is_some() || precision.is_some(),
        ast::DataType::Array(
            ast::ArrayElemTypeDef::SquareBracket(of, _)
            | ast::ArrayElemTypeDef::AngleBracket(of)
            | ast::ArrayElemTypeDef::Parenthesis(of),
        ) => written(of),
        _ => false,
    }
}

/// Takes the precision out of a type; `None` where it is the type's own. Digits below zero are those of an interval that is cut.
///
/// # Errors
/// 0A000 within arrays.
pub(crate) fn taken(ty: &mut ast::DataType) -> Result<Option<i64>, PlanError> {
    let digits = match ty {
        ast::DataType::Time(p, _) | ast::DataType::Timestamp(p, _) => p.take(),
        ast::DataType::Interval { fields, precision } => {
            use ast::IntervalFields as F;
            let last = match fields.take() {
                None | Some(F::Second | F::DayToSecond | F::HourToSecond | F::MinuteToSecond) => None,
                Some(F::Minute | F::DayToMinute | F::HourToMinute) => Some(-1),
                Some(F::Hour | F::DayToHour) => Some(-2),
                Some(F::Day) => Some(-3),
                Some(F::Month | F::YearToMonth) => Some(-4),
                Some(F::Year) => Some(-5),
            };
            if last.is_some() {
                return Ok(last);
            }
            precision.take()
        }
        ast::DataType::Array(_) => {
            return Err(PlanError::unsupported("an array of a type with a precision is not offered", "round each element"));
        }
        _ => None,
    };
    Ok(digits.filter(|p| *p < DIGITS_MAX).and_then(|p| i64::try_from(p).ok()))
}

/// A column of times with this many digits of seconds; any other column is itself.
///
/// # Errors
/// 22008 for an interval beyond its range.
pub fn round_column(column: &ArrayRef, digits: u64) -> EvalResult<ArrayRef> {
    let digits = arrow::array::Int32Array::from(vec![i32::try_from(digits).unwrap_or(6)]);
    let digits = ScalarValue::try_from_array(&digits, 0).map_err(|e| EvalError::internal(e.strip_backtrace()))?;
    let args = [ColumnarValue::Array(Arc::clone(column)), ColumnarValue::Scalar(digits)];
    let rounded = call(&PRECISE, &args, column.len(), column.data_type())?;
    rounded.into_array(column.len()).map_err(|e| EvalError::internal(e.strip_backtrace()))
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn halves_go_away_from_zero() {
        for (us, step, to) in [
            (500_000, 1_000_000, 1_000_000),
            (1_500_000, 1_000_000, 2_000_000),
            (-500_000, 1_000_000, -1_000_000),
            (499_999, 1_000_000, 0),
            (2_000_500, 1_000, 2_001_000),
            (7, 1, 7),
        ] {
            assert_eq!(rounded(us, step), to, "{us} {step}");
        }
    }
}
