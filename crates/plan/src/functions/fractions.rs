//! Where in an ordered group a fraction points: percentile_disc takes a row, percentile_cont what lies between two.
//!
//! PostgreSQL's arithmetic in doubles, so that the same row is taken where rounding decides.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType};

use super::temporal;
use super::{EvalError, EvalResult};

/// Two rows, counted from 0, and how far from the first to the second the value lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The row before.
    pub low: u64,
    /// The row behind; the same where the fraction hits one.
    pub high: u64,
    /// From 0 to 1.
    pub share: f64,
}

/// Is it a fraction?
///
/// # Errors
/// 22003 when it is below 0, above 1, or NaN.
pub fn check(fraction: f64) -> EvalResult<f64> {
    if (0.0..=1.0).contains(&fraction) {
        return Ok(fraction);
    }
    Err(EvalError::new("22003", format!("percentile value {fraction} is not between 0 and 1")))
}

/// The first row of `n` whose position reaches the fraction.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "as PostgreSQL counts")]
pub fn discrete(fraction: f64, n: u64) -> Place {
    let at = ((fraction * n as f64).ceil() as u64).clamp(1, n.max(1)) - 1;
    Place { low: at, high: at, share: 0.0 }
}

/// The point at the fraction of the way from the first row to the last.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "as PostgreSQL counts")]
pub fn continuous(fraction: f64, n: u64) -> Place {
    let at = fraction * (n.max(1) - 1) as f64;
    let (low, high) = (at.floor() as u64, at.ceil() as u64);
    Place { low, high, share: at - low as f64 }
}

/// The values between those of two columns, row by row; `None` is NULL.
///
/// # Errors
/// 22008 where an interval leaves its range.
pub fn between(low: &ArrayRef, high: &ArrayRef, shares: &[f64]) -> EvalResult<ArrayRef> {
    let odd = || EvalError::internal("percentile_cont is for double precision and intervals");
    if let DataType::Interval(_) = low.data_type() {
        let (low, high) = (low.as_primitive::<IntervalMonthDayNanoType>(), high.as_primitive::<IntervalMonthDayNanoType>());
        let value = |((a, b), share): ((Option<IntervalMonthDayNano>, Option<IntervalMonthDayNano>), &f64)| match a.zip(b) {
            Some((a, b)) if *share != 0.0 => temporal::part_way(a, b, *share).map(Some),
            pair => Ok(pair.map(|(a, _)| a)),
        };
        let values = low.iter().zip(high.iter()).zip(shares).map(value);
        return Ok(Arc::new(values.collect::<EvalResult<IntervalMonthDayNanoArray>>()?));
    }
    let low = low.as_primitive_opt::<Float64Type>().ok_or_else(odd)?;
    let high = high.as_primitive_opt::<Float64Type>().ok_or_else(odd)?;
    let value = |((a, b), share): ((Option<f64>, Option<f64>), &f64)| {
        a.zip(b).map(|(a, b)| if *share == 0.0 { a } else { a + share * (b - a) })
    };
    Ok(Arc::new(low.iter().zip(high.iter()).zip(shares).map(value).collect::<Float64Array>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discrete_fraction_takes_the_first_row_that_reaches_it() {
        for (fraction, n, row) in [(0.0, 4, 0), (0.25, 4, 0), (0.26, 4, 1), (0.5, 4, 1), (0.75, 4, 2), (1.0, 4, 3), (0.5, 1, 0)] {
            assert_eq!(discrete(fraction, n).low, row, "{fraction} of {n}");
        }
    }

    #[test]
    fn a_continuous_fraction_lies_between_two_rows() {
        assert_eq!(continuous(0.5, 4), Place { low: 1, high: 2, share: 0.5 });
        assert_eq!(continuous(0.5, 3), Place { low: 1, high: 1, share: 0.0 });
        assert_eq!(continuous(1.0, 3), Place { low: 2, high: 2, share: 0.0 });
        assert_eq!(check(1.5).unwrap_err().sqlstate, "22003");
        assert_eq!(check(f64::NAN).unwrap_err().sqlstate, "22003");
    }
}
