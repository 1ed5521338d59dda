//! sum and avg of intervals: months, days and time are added apart, in integers that no number of rows outgrows.

use arrow::datatypes::IntervalMonthDayNano;

use crate::functions::temporal;
use crate::functions::{EvalError, EvalResult};

/// The sum of one group.
#[derive(Debug, Clone, Default)]
pub struct Total {
    n: i64,
    months: i128,
    days: i128,
    nanos: i128,
}

impl Total {
    pub(super) fn add(&mut self, v: IntervalMonthDayNano, diff: i64) {
        let times = i128::from(diff);
        self.n += diff;
        self.months += i128::from(v.months) * times;
        self.days += i128::from(v.days) * times;
        self.nanos += i128::from(v.nanoseconds) * times;
    }

    /// The number of values, then months, days and nanoseconds.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let sums = [i128::from(self.n), self.months, self.days, self.nanos];
        sums.into_iter().flat_map(i128::to_le_bytes).collect()
    }

    pub(super) fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let (words, rest) = bytes.as_chunks::<16>();
        let [n, months, days, nanos] = words else { return None };
        if !rest.is_empty() {
            return None;
        }
        self.n += i64::try_from(i128::from_le_bytes(*n)).ok()?;
        self.months += i128::from_le_bytes(*months);
        self.days += i128::from_le_bytes(*days);
        self.nanos += i128::from_le_bytes(*nanos);
        Some(())
    }

    /// NULL for no values.
    pub(super) fn value(&self, is_avg: bool) -> EvalResult<Option<IntervalMonthDayNano>> {
        if self.n == 0 {
            return Ok(None);
        }
        let range = || EvalError::new("22008", "interval out of range");
        let small = |v: i128| i32::try_from(v).map_err(|_| range());
        let nanos = i64::try_from(self.nanos).map_err(|_| range())?;
        let sum = IntervalMonthDayNano::new(small(self.months)?, small(self.days)?, nanos);
        #[expect(clippy::cast_precision_loss, reason = "as PostgreSQL divides")]
        let n = self.n as f64;
        Ok(Some(if is_avg { temporal::scaled(sum, |x| x / n)? } else { sum }))
    }
}
