//! Dates, times, timestamps and intervals under `+ - * /`, and the key by which intervals compare. Months, days and time
//! are added in this order, as PostgreSQL does; infinities stay infinite.

use arrow::array::ArrayRef;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};

use super::bind::Arith;
use super::error::{EvalError, EvalResult};
use super::udf::{Args, Bound, Builtin};
use crate::pgtypes::calendar::{
    self, DATE_INFINITY, DATE_MINUS_INFINITY, DAY_US, TS_INFINITY, TS_MINUS_INFINITY, civil_from_days, days_from_civil,
};

type Ts = TimestampMicrosecondType;
type Span = IntervalMonthDayNanoType;
type Time = Time64MicrosecondType;

fn timestamp_range() -> EvalError {
    EvalError::new("22008", "timestamp out of range")
}
fn interval_range() -> EvalError {
    EvalError::new("22008", "interval out of range")
}
fn date_range() -> EvalError {
    EvalError::new("22008", "date out of range for timestamp")
}

/// Binary operators where a side is a moment or an interval.
pub(super) fn binary(op: Arith, args: &Args<'_>) -> EvalResult<ArrayRef> {
    use DataType::*;
    let minus = op == Arith::Sub;
    let (l, r) = (args.col(0)?.array.data_type(), args.col(1)?.array.data_type());
    match (l, r) {
        (Date32, Int32) => both::<Date32Type, Int32Type, Date32Type>(args, |d, n| add_days(d, n, minus)),
        (Int32, Date32) => both::<Int32Type, Date32Type, Date32Type>(args, |n, d| add_days(d, n, false)),
        (Date32, Date32) => both::<Date32Type, Date32Type, Int32Type>(args, |a, b| {
            if is_infinite_date(a) || is_infinite_date(b) {
                return Err(EvalError::new("22008", "cannot subtract infinite dates"));
            }
            a.checked_sub(b).ok_or_else(|| EvalError::out_of_range("integer"))
        }),
        (Timestamp(_, zone), Interval(_)) => {
            let add = adder(zone.is_some());
            both::<Ts, Span, Ts>(args, |t, s| add(t, if minus { negated(s)? } else { s }))
        }
        (Interval(_), Timestamp(_, zone)) => {
            let add = adder(zone.is_some());
            both::<Span, Ts, Ts>(args, |s, t| add(t, s))
        }
        (Timestamp(..), Timestamp(..)) => both::<Ts, Ts, Span>(args, between),
        (Timestamp(..), Time64(_)) => both::<Ts, Time, Ts>(args, add_clock),
        (Time64(_), Timestamp(..)) => both::<Time, Ts, Ts>(args, |c, t| add_clock(t, c)),
        (Interval(_), Interval(_)) => both::<Span, Span, Span>(args, |a, b| add_spans(a, if minus { negated(b)? } else { b })),
        (Interval(_), Float64) if op == Arith::Div => both::<Span, Float64Type, Span>(args, |s, f| {
            if f == 0.0 { Err(EvalError::division_by_zero()) } else { scaled(s, |x| x / f) }
        }),
        (Interval(_), Float64) => both::<Span, Float64Type, Span>(args, |s, f| scaled(s, |x| x * f)),
        (Float64, Interval(_)) => both::<Float64Type, Span, Span>(args, |f, s| scaled(s, |x| x * f)),
        (Time64(_), Interval(_)) => {
            both::<Time, Span, Time>(args, |t, s| Ok((t + if minus { -us(s) } else { us(s) }).rem_euclid(DAY_US)))
        }
        (Interval(_), Time64(_)) => both::<Span, Time, Time>(args, |s, t| Ok((t + us(s)).rem_euclid(DAY_US))),
        (Time64(_), Time64(_)) => both::<Time, Time, Span>(args, |a, b| Ok(IntervalMonthDayNano::new(0, 0, (a - b) * 1000))),
        _ => Err(EvalError::internal(format!("no operator {} for {l} and {r}", op.sign()))),
    }
}

fn both<A, B, O>(args: &Args<'_>, f: impl Fn(A::Native, B::Native) -> EvalResult<O::Native>) -> EvalResult<ArrayRef>
where
    A: arrow::datatypes::ArrowPrimitiveType,
    B: arrow::datatypes::ArrowPrimitiveType,
    O: arrow::datatypes::ArrowPrimitiveType,
{
    let ((a, sa), (b, sb)) = (args.lanes::<A>(0)?, args.lanes::<B>(1)?);
    args.rows::<O>(|i| f(a[i * sa], b[i * sb]))
}

fn us(s: IntervalMonthDayNano) -> i64 {
    s.nanoseconds / 1000
}

fn is_infinite_date(d: i32) -> bool {
    d == DATE_INFINITY || d == DATE_MINUS_INFINITY
}

fn is_infinite(t: i64) -> bool {
    t == TS_INFINITY || t == TS_MINUS_INFINITY
}

fn add_days(d: i32, n: i32, minus: bool) -> EvalResult<i32> {
    if is_infinite_date(d) {
        return Ok(d);
    }
    let sum = i64::from(d) + if minus { -i64::from(n) } else { i64::from(n) };
    match i32::try_from(sum) {
        Ok(v) if calendar::is_date(sum) => Ok(v),
        _ => Err(EvalError::new("22008", "date out of range")),
    }
}

fn finite(t: Option<i64>) -> EvalResult<i64> {
    t.filter(|t| calendar::is_timestamp(*t)).ok_or_else(timestamp_range)
}

/// `t + s`.
pub(super) fn add_span(t: i64, s: IntervalMonthDayNano) -> EvalResult<i64> {
    if is_infinite(t) {
        return Ok(t);
    }
    let (mut days, time) = (t.div_euclid(DAY_US), t.rem_euclid(DAY_US));
    if s.months != 0 {
        days = days_from_civil(calendar::add_months(civil_from_days(days), s.months.into()));
    }
    days += i64::from(s.days);
    finite(days.checked_mul(DAY_US).and_then(|d| d.checked_add(time)).and_then(|t| t.checked_add(us(s))))
}

/// `t + s` of moments with or without a zone: months and days are counted on the clocks of the zone that is in force.
pub(super) fn adder(zoned: bool) -> impl Fn(i64, IntervalMonthDayNano) -> EvalResult<i64> {
    let zone = crate::local::here();
    move |t, s| {
        if !zoned || zone.is_utc() || is_infinite(t) {
            return add_span(t, s);
        }
        let mut t = t;
        for part in [IntervalMonthDayNano::new(s.months, 0, 0), IntervalMonthDayNano::new(0, s.days, 0)] {
            if part.months != 0 || part.days != 0 {
                t = zone.instant(add_span(zone.local(t)?, part)?)?;
            }
        }
        add_span(t, IntervalMonthDayNano::new(0, 0, s.nanoseconds))
    }
}

/// `t + s`, or `t - s`.
pub(crate) fn moved(t: i64, s: IntervalMonthDayNano, minus: bool) -> EvalResult<i64> {
    add_span(t, if minus { negated(s)? } else { s })
}

fn add_clock(t: i64, clock: i64) -> EvalResult<i64> {
    if is_infinite(t) { Ok(t) } else { finite(t.checked_add(clock)) }
}

/// `a - b` as days and time.
fn between(a: i64, b: i64) -> EvalResult<IntervalMonthDayNano> {
    if is_infinite(a) || is_infinite(b) {
        return Err(EvalError::new("22008", "cannot subtract infinite timestamps"));
    }
    let span = a.checked_sub(b).ok_or_else(interval_range)?;
    let days = i32::try_from(span / DAY_US).map_err(|_| interval_range())?;
    Ok(IntervalMonthDayNano::new(0, days, span % DAY_US * 1000))
}

fn negated(s: IntervalMonthDayNano) -> EvalResult<IntervalMonthDayNano> {
    let neg = || Some(IntervalMonthDayNano::new(s.months.checked_neg()?, s.days.checked_neg()?, s.nanoseconds.checked_neg()?));
    neg().ok_or_else(interval_range)
}

fn add_spans(a: IntervalMonthDayNano, b: IntervalMonthDayNano) -> EvalResult<IntervalMonthDayNano> {
    let sum = || {
        Some(IntervalMonthDayNano::new(
            a.months.checked_add(b.months)?,
            a.days.checked_add(b.days)?,
            a.nanoseconds.checked_add(b.nanoseconds)?,
        ))
    };
    sum().ok_or_else(interval_range)
}

/// Scales each field; what a field cannot hold runs down into days (30 of them a month) and time.
pub(super) fn scaled(s: IntervalMonthDayNano, f: impl Fn(f64) -> f64) -> EvalResult<IntervalMonthDayNano> {
    let round_us = |seconds: f64| (seconds * 1e6).round_ties_even() / 1e6;
    let months = f(s.months.into());
    let days = f(s.days.into());
    let spilled_days = round_us((months - months.trunc()) * 30.0);
    let mut seconds = round_us((days - days.trunc() + spilled_days - spilled_days.trunc()) * 86_400.0);
    let mut whole_days = days.trunc() + spilled_days.trunc();
    if seconds.abs() >= 86_400.0 {
        whole_days += (seconds / 86_400.0).trunc();
        seconds %= 86_400.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "as PostgreSQL does")]
    let time = (f(us(s) as f64) + seconds * 1e6).round_ties_even();
    let fits = |v: f64| v.abs() <= f64::from(i32::MAX);
    if !fits(months.trunc()) || !fits(whole_days) || time.is_nan() || time.abs() > 9.2e15 {
        return Err(interval_range());
    }
    #[expect(clippy::cast_possible_truncation, reason = "judged above")]
    Ok(IntervalMonthDayNano::new(months.trunc() as i32, whole_days as i32, time as i64 * 1000))
}

/// `a` and a share of the way to `b`.
pub(super) fn part_way(a: IntervalMonthDayNano, b: IntervalMonthDayNano, share: f64) -> EvalResult<IntervalMonthDayNano> {
    add_spans(scaled(add_spans(b, negated(a)?)?, |x| x * share)?, a)
}

/// Unary minus of an interval.
pub(super) fn negate(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (a, sa) = args.lanes::<Span>(0)?;
    args.rows::<Span>(|i| negated(a[i * sa]))
}

/// A date as a timestamp at midnight.
pub(crate) fn date_to_timestamp(d: i32) -> EvalResult<i64> {
    match d {
        DATE_INFINITY => Ok(TS_INFINITY),
        DATE_MINUS_INFINITY => Ok(TS_MINUS_INFINITY),
        _ => i64::from(d).checked_mul(DAY_US).filter(|t| calendar::is_timestamp(*t)).ok_or_else(date_range),
    }
}

/// The date of a timestamp.
pub(super) fn timestamp_to_date(t: i64) -> EvalResult<i32> {
    match t {
        TS_INFINITY => Ok(DATE_INFINITY),
        TS_MINUS_INFINITY => Ok(DATE_MINUS_INFINITY),
        _ => i32::try_from(t.div_euclid(DAY_US)).map_err(|_| date_range()),
    }
}

/// Microseconds by which PostgreSQL compares intervals: 30 days a month, 24 hours a day.
pub fn interval_key(s: IntervalMonthDayNano) -> i128 {
    (i128::from(s.months) * 30 + i128::from(s.days)) * i128::from(DAY_US) + i128::from(us(s))
}

/// [`interval_key`] as a function, so that DataFusion's comparisons order intervals as PostgreSQL.
pub static INTERVAL_KEY: Builtin = Builtin {
    name: "pg_interval_key",
    aliases: &[],
    bind: |types| match types {
        [DataType::Interval(_)] => Ok(Bound { args: vec![crate::pgtypes::interval()], ret: super::bind::decimal(0) }),
        _ => Err(EvalError::undefined("pg_interval_key takes an interval")),
    },
    refine: None,
    kernel: |args| args.map1::<Span, Decimal128Type>(|s| (interval_key(s), false), |_| interval_range()),
    safe: true,
};
