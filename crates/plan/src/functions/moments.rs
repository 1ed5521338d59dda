//! Dates, times and intervals made, cut and counted: `date_bin`, `make_date` and its kin, `age`, `justify_days` and its kin,
//! `isfinite`, `to_timestamp(seconds)`'s arithmetic.

use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType as Span, Time64MicrosecondType,
    TimestampMicrosecondType,
};

use super::error::{EvalError, EvalResult};
use super::forms::{K, builtin};
use super::udf::Args;
use super::zone::Zones;
use crate::pgtypes::calendar::{
    self, Civil, DATE_INFINITY, DATE_MINUS_INFINITY, DAY_US, TS_INFINITY, TS_MINUS_INFINITY, civil_from_days, days_from_civil,
    days_in_month,
};

const HOUR_US: i64 = 3_600_000_000;

fn is_infinite(t: i64) -> bool {
    t == TS_INFINITY || t == TS_MINUS_INFINITY
}

fn interval_range() -> EvalError {
    EvalError::new("22008", "interval out of range")
}

fn timestamp_range() -> EvalError {
    EvalError::new("22008", "timestamp out of range")
}

builtin!(
    DATE_BIN,
    "date_bin",
    [],
    &[(&[K::Span, K::Zoned, K::Zoned], K::Zoned), (&[K::Span, K::Stamp, K::Stamp], K::Stamp)],
    false,
    |args| {
        let (width, sw) = args.lanes::<Span>(0)?;
        let ((t, st), (origin, so)) = (args.lanes::<TimestampMicrosecondType>(1)?, args.lanes::<TimestampMicrosecondType>(2)?);
        args.rows::<TimestampMicrosecondType>(|i| bin(width[i * sw], t[i * st], origin[i * so]))
    }
);

fn bin(width: IntervalMonthDayNano, t: i64, origin: i64) -> EvalResult<i64> {
    if is_infinite(t) {
        return Ok(t);
    }
    if is_infinite(origin) {
        return Err(EvalError::new("22008", "origin out of range"));
    }
    if width.months != 0 {
        return Err(EvalError::new("0A000", "timestamps cannot be binned into intervals containing months or years"));
    }
    let step = i64::from(width.days).checked_mul(DAY_US).and_then(|d| d.checked_add(width.nanoseconds / 1000));
    let step = step.ok_or_else(interval_range)?;
    if step <= 0 {
        return Err(EvalError::new("22008", "stride must be greater than zero"));
    }
    let past = t.checked_sub(origin).ok_or_else(interval_range)?.rem_euclid(step);
    t.checked_sub(past).filter(|t| calendar::is_timestamp(*t)).ok_or_else(timestamp_range)
}

/// A day of the civil calendar; a negative year counts back from 1 BC.
fn day(year: i32, month: i32, day: i32) -> EvalResult<i64> {
    let bad = || EvalError::new("22008", format!("date field value out of range: {year}-{month:02}-{day:02}"));
    let y = if year < 0 { i64::from(year) + 1 } else { i64::from(year) };
    let (month, day) = (i64::from(month), i64::from(day));
    if year == 0 || !(1..=12).contains(&month) || day < 1 || day > days_in_month(y, month) {
        return Err(bad());
    }
    let days = days_from_civil(Civil { year: y, month, day });
    if calendar::is_date(days) {
        Ok(days)
    } else {
        Err(EvalError::new("22008", format!("date out of range: {year}-{month:02}-{day:02}")))
    }
}

/// A time of day of hours, minutes and seconds with a fraction.
fn clock(hour: i32, minute: i32, second: f64) -> EvalResult<i64> {
    let bad = || EvalError::new("22008", format!("time field value out of range: {hour}:{minute:02}:{second:02}"));
    if !(0..=24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..=60.0).contains(&second) {
        return Err(bad());
    }
    let us = i64::from(hour) * HOUR_US + i64::from(minute) * 60_000_000 + micros(second).ok_or_else(bad)?;
    if us <= DAY_US { Ok(us) } else { Err(bad()) }
}

/// Seconds as microseconds, rounded to the nearest.
#[expect(clippy::cast_possible_truncation, reason = "judged before")]
fn micros(seconds: f64) -> Option<i64> {
    let us = (seconds * 1e6).round_ties_even();
    (us.abs() < 9.2e18).then_some(us as i64)
}

builtin!(MAKE_DATE, "make_date", [], &[(&[K::Int, K::Int, K::Int], K::Date)], false, |args| {
    let day = days(args)?;
    args.rows::<Date32Type>(|i| i32::try_from(day(i)?).map_err(|_| timestamp_range()))
});
builtin!(MAKE_TIME, "make_time", [], &[(&[K::Int, K::Int, K::Float], K::Time)], false, |args| {
    let clock = clocks(args, 0)?;
    args.rows::<Time64MicrosecondType>(clock)
});
builtin!(
    MAKE_TIMESTAMP,
    "make_timestamp",
    [],
    &[(&[K::Int, K::Int, K::Int, K::Int, K::Int, K::Float], K::Stamp)],
    false,
    |args| {
        let (day, clock) = (days(args)?, clocks(args, 3)?);
        args.rows::<TimestampMicrosecondType>(|i| moment(day(i)?, clock(i)?))
    }
);
builtin!(
    MAKE_TIMESTAMPTZ,
    "make_timestamptz",
    [],
    &[
        (&[K::Int, K::Int, K::Int, K::Int, K::Int, K::Float], K::Zoned),
        (&[K::Int, K::Int, K::Int, K::Int, K::Int, K::Float, K::Text], K::Zoned),
    ],
    false,
    |args| {
        let (day, clock) = (days(args)?, clocks(args, 3)?);
        if args.cols.len() < 7 {
            let here = crate::local::here();
            return args.rows::<TimestampMicrosecondType>(|i| here.instant(moment(day(i)?, clock(i)?)?));
        }
        let zones = Zones::new(args, 6)?;
        args.rows::<TimestampMicrosecondType>(|i| zones.of(i)?.instant(moment(day(i)?, clock(i)?)?))
    }
);

fn days<'a>(args: &'a Args<'_>) -> EvalResult<impl Fn(usize) -> EvalResult<i64> + 'a> {
    let ((y, sy), (m, sm), (d, sd)) = (args.lanes::<Int32Type>(0)?, args.lanes::<Int32Type>(1)?, args.lanes::<Int32Type>(2)?);
    Ok(move |i: usize| day(y[i * sy], m[i * sm], d[i * sd]))
}

fn clocks<'a>(args: &'a Args<'_>, at: usize) -> EvalResult<impl Fn(usize) -> EvalResult<i64> + 'a> {
    let ((h, sh), (m, sm), (s, ss)) =
        (args.lanes::<Int32Type>(at)?, args.lanes::<Int32Type>(at + 1)?, args.lanes::<Float64Type>(at + 2)?);
    Ok(move |i: usize| clock(h[i * sh], m[i * sm], s[i * ss]))
}

fn moment(day: i64, clock: i64) -> EvalResult<i64> {
    let t = day.checked_mul(DAY_US).and_then(|d| d.checked_add(clock));
    t.filter(|t| calendar::is_timestamp(*t)).ok_or_else(timestamp_range)
}

builtin!(
    MAKE_INTERVAL,
    "make_interval",
    [],
    &[
        (&[K::Int], K::Span),
        (&[K::Int, K::Int], K::Span),
        (&[K::Int, K::Int, K::Int], K::Span),
        (&[K::Int, K::Int, K::Int, K::Int], K::Span),
        (&[K::Int, K::Int, K::Int, K::Int, K::Int], K::Span),
        (&[K::Int, K::Int, K::Int, K::Int, K::Int, K::Int], K::Span),
        (&[K::Int, K::Int, K::Int, K::Int, K::Int, K::Int, K::Float], K::Span),
    ],
    false,
    |args| {
        let whole = args.cols.len().min(6);
        let fields = (0..whole).map(|i| args.lanes::<Int32Type>(i)).collect::<EvalResult<Vec<_>>>()?;
        let seconds = if args.cols.len() > 6 { Some(args.lanes::<Float64Type>(6)?) } else { None };
        args.rows::<Span>(|i| {
            let field = |at: usize| fields.get(at).map_or(0, |(v, s)| i64::from(v[i * s]));
            let seconds = seconds.map_or(0.0, |(v, s)| v[i * s]);
            let narrow = |v: i64| i32::try_from(v).map_err(|_| interval_range());
            let (months, days) = (field(0) * 12 + field(1), field(2) * 7 + field(3));
            let time = micros(seconds).map(|s| i128::from(s) + i128::from(field(4) * 60 + field(5)) * 60_000_000);
            let nanos = time.and_then(|t| i64::try_from(t * 1000).ok()).ok_or_else(interval_range)?;
            Ok(IntervalMonthDayNano::new(narrow(months)?, narrow(days)?, nanos))
        })
    }
);

builtin!(
    ISFINITE,
    "isfinite",
    [],
    &[(&[K::Date], K::Bool), (&[K::Stamp], K::Bool), (&[K::Zoned], K::Bool), (&[K::Span], K::Bool)],
    true,
    |args| match args.col(0)?.array.data_type() {
        DataType::Date32 => {
            let (d, s) = args.lanes::<Date32Type>(0)?;
            args.rows_bool(|i| Ok(d[i * s] != DATE_INFINITY && d[i * s] != DATE_MINUS_INFINITY))
        }
        DataType::Interval(_) => args.rows_bool(|_| Ok(true)),
        _ => {
            let (t, s) = args.lanes::<TimestampMicrosecondType>(0)?;
            args.rows_bool(|i| Ok(!is_infinite(t[i * s])))
        }
    }
);

builtin!(JUSTIFY_DAYS, "justify_days", [], &[(&[K::Span], K::Span)], false, |args| justified(args, true, false));
builtin!(JUSTIFY_HOURS, "justify_hours", [], &[(&[K::Span], K::Span)], false, |args| justified(args, false, true));
builtin!(JUSTIFY_INTERVAL, "justify_interval", [], &[(&[K::Span], K::Span)], false, |args| justified(args, true, true));

fn justified(args: &Args<'_>, days: bool, hours: bool) -> EvalResult<arrow::array::ArrayRef> {
    let (v, s) = args.lanes::<Span>(0)?;
    args.rows::<Span>(|i| justify(v[i * s], days, hours))
}

/// Moves full days out of the time (`hours`) and full months of 30 days out of the days (`days`), then lets all signs agree.
fn justify(s: IntervalMonthDayNano, by_days: bool, by_hours: bool) -> EvalResult<IntervalMonthDayNano> {
    let (mut months, mut days, mut us) = (i64::from(s.months), i64::from(s.days), s.nanoseconds / 1000);
    let carry = |from: &mut i64, to: &mut i64, unit: i64| {
        *to += *from / unit;
        *from %= unit;
    };
    // what is below moves up by one where signs differ
    let agree = |above: &mut i64, below: &mut i64, unit: i64| {
        if *above > 0 && *below < 0 {
            *below += unit;
            *above -= 1;
        } else if *above < 0 && *below > 0 {
            *below -= unit;
            *above += 1;
        }
    };
    if by_hours {
        carry(&mut us, &mut days, DAY_US);
    }
    if by_days {
        carry(&mut days, &mut months, 30);
    }
    if by_days && by_hours {
        if months > 0 && (days < 0 || (days == 0 && us < 0)) {
            days += 30;
            months -= 1;
        } else if months < 0 && (days > 0 || (days == 0 && us > 0)) {
            days -= 30;
            months += 1;
        }
    } else if by_days {
        agree(&mut months, &mut days, 30);
    }
    if by_hours {
        agree(&mut days, &mut us, DAY_US);
    }
    let narrow = |v: i64| i32::try_from(v).map_err(|_| interval_range());
    Ok(IntervalMonthDayNano::new(narrow(months)?, narrow(days)?, us.checked_mul(1000).ok_or_else(interval_range)?))
}

builtin!(AGE, "age", [], &[(&[K::Zoned, K::Zoned], K::Span), (&[K::Stamp, K::Stamp], K::Span)], false, |args| {
    let ((a, sa), (b, sb)) = (args.lanes::<TimestampMicrosecondType>(0)?, args.lanes::<TimestampMicrosecondType>(1)?);
    let (here, zoned) = (crate::local::here(), matches!(args.col(0)?.array.data_type(), DataType::Timestamp(_, Some(_))));
    let local = |t: i64| if zoned { here.shown(t).0 } else { t };
    args.rows::<Span>(|i| age(local(a[i * sa]), local(b[i * sb])))
});

/// `a - b` in years, months, days and time of the civil calendar.
fn age(a: i64, b: i64) -> EvalResult<IntervalMonthDayNano> {
    if is_infinite(a) || is_infinite(b) {
        return Err(timestamp_range());
    }
    let split = |t: i64| (civil_from_days(t.div_euclid(DAY_US)), t.rem_euclid(DAY_US));
    // Counted from the earlier to the later one; the sign is put on at the end.
    let (late, early, sign) = if a >= b { (a, b, 1) } else { (b, a, -1) };
    let ((l, l_us), (e, e_us)) = (split(late), split(early));
    let (mut years, mut months, mut days, mut us) = (l.year - e.year, l.month - e.month, l.day - e.day, l_us - e_us);
    if us < 0 {
        us += DAY_US;
        days -= 1;
    }
    while days < 0 {
        // the month that the earlier one lies in is what a borrowed month is long
        days += days_in_month(e.year, e.month);
        months -= 1;
    }
    if months < 0 {
        months += 12;
        years -= 1;
    }
    let narrow = |v: i64| i32::try_from(v).map_err(|_| interval_range());
    Ok(IntervalMonthDayNano::new(narrow(sign * (years * 12 + months))?, narrow(sign * days)?, sign * us * 1000))
}

/// Seconds from 1970 on as a moment.
pub(super) fn of_seconds(seconds: f64) -> EvalResult<i64> {
    if seconds.is_nan() {
        return Err(EvalError::new("22008", "timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return Ok(if seconds > 0.0 { TS_INFINITY } else { TS_MINUS_INFINITY });
    }
    let out = || EvalError::new("22008", format!("timestamp out of range: \"{seconds}\""));
    micros(seconds).filter(|t| calendar::is_timestamp(*t)).ok_or_else(out)
}
