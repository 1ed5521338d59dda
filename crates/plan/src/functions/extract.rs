//! Fields of moments: `extract`, `date_part`, `date_trunc`. A field is computed in millionths, so that seconds keep their
//! microseconds; `extract` answers with numeric (scale 0 for fields that are whole), `date_part` with double precision. A Julian day
//! with its fraction is kept apart: parts of a day are no millionths.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{
    DataType, Date32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::scalar::ScalarValue;

use super::arith::{bind_names, boxed, pow10};
use super::bind::{self, is_unknown};
use super::error::{EvalError, EvalResult};
use super::udf::{Args, Bound, Builtin};
use super::zone::Zones;
use crate::pgtypes::calendar::{self, Civil, DAY_US, civil_from_days, days_from_civil};
use crate::pgtypes::{self, NUMERIC_SCALE, type_name};

const MILLION: i128 = 1_000_000;

/// extract(field from moment), numeric.
pub static EXTRACT: Builtin = Builtin {
    name: "extract",
    aliases: &[],
    bind: |types| bind_part("extract", types, bind::decimal(6)),
    refine: Some(|ret, constants| match constants.first() {
        Some(Some(ScalarValue::Utf8(Some(field)))) if !has_fraction(field) => bind::decimal(0),
        Some(Some(ScalarValue::Utf8(Some(field)))) if unit(field) == Some(Unit::Julian) => bind::decimal(NUMERIC_SCALE),
        _ => ret.clone(),
    }),
    kernel: |args| {
        let scale = bind::scale_of(args.ret);
        let drop = pow10(6 - scale);
        let part = parts(args)?;
        // a numeric of ours cannot be infinite: what PostgreSQL calls infinite is NULL here
        let values = optional(args, |i| {
            Ok(match part(i)? {
                Part::Value(v) => Some(v / drop),
                Part::Julian { days, us } => Some(julian(days, us, scale)),
                Part::Infinite(_) | Part::Missing => None,
            })
        })?;
        let values: arrow::array::Decimal128Array = values.into_iter().collect();
        Ok(boxed(values.with_data_type(args.ret.clone())))
    },
    safe: false,
};

/// date_part(field, moment), double precision.
pub static DATE_PART: Builtin = Builtin {
    name: "date_part",
    aliases: &[],
    bind: |types| bind_part("date_part", types, DataType::Float64),
    refine: None,
    kernel: |args| {
        let part = parts(args)?;
        let values = optional(args, |i| {
            Ok(match part(i)? {
                #[expect(clippy::cast_precision_loss, reason = "below 2^53 but for far epochs")]
                Part::Value(v) => Some(v as f64 / 1e6),
                // seconds first and days then, so that it is rounded where PostgreSQL rounds
                #[expect(clippy::cast_precision_loss, reason = "days and microseconds of a day are below 2^53")]
                Part::Julian { days, us } => {
                    Some(days as f64 + ((us / 1_000_000) as f64 + (us % 1_000_000) as f64 / 1e6) / 86_400.0)
                }
                Part::Infinite(v) => Some(v),
                Part::Missing => None,
            })
        })?;
        Ok(boxed(values.into_iter().collect::<arrow::array::Float64Array>()))
    },
    safe: false,
};

/// date_trunc(field, moment).
pub static DATE_TRUNC: Builtin = Builtin {
    name: "date_trunc",
    aliases: &[],
    bind: |types| match types {
        [f, t] if is_unknown(f) => {
            let ty = match t {
                DataType::Timestamp(_, None) => pgtypes::timestamp(),
                DataType::Timestamp(_, Some(_)) | DataType::Date32 => pgtypes::timestamptz(),
                DataType::Interval(_) | DataType::Time64(_) => pgtypes::interval(),
                t if is_unknown(t) => pgtypes::timestamptz(),
                _ => return Err(no_function("date_trunc", types)),
            };
            Ok(Bound { args: vec![DataType::Utf8, ty.clone()], ret: ty })
        }
        [f, t, zone] if is_unknown(f) && is_unknown(zone) && (is_unknown(t) || bind::implicit(t, &pgtypes::timestamptz())) => {
            let ty = pgtypes::timestamptz();
            Ok(Bound { args: vec![DataType::Utf8, ty.clone(), DataType::Utf8], ret: ty })
        }
        _ => Err(no_function("date_trunc", types)),
    },
    refine: None,
    kernel: truncate,
    safe: false,
};

fn no_function(name: &str, types: &[DataType]) -> EvalError {
    EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types)))
}

fn bind_part(name: &str, types: &[DataType], ret: DataType) -> EvalResult<Bound> {
    match types {
        [f, t] if is_unknown(f) => {
            let ty = match t {
                DataType::Timestamp(_, None) => pgtypes::timestamp(),
                DataType::Timestamp(_, Some(_)) => pgtypes::timestamptz(),
                // as PostgreSQL declares it: a date's midnight, so its hour is 0
                DataType::Date32 if name == "date_part" => pgtypes::timestamp(),
                DataType::Date32 => t.clone(),
                DataType::Interval(_) => pgtypes::interval(),
                DataType::Time64(_) => pgtypes::time(),
                t if is_unknown(t) => pgtypes::timestamptz(),
                _ => return Err(no_function(name, types)),
            };
            Ok(Bound { args: vec![DataType::Utf8, ty], ret })
        }
        _ => Err(no_function(name, types)),
    }
}

fn has_fraction(field: &str) -> bool {
    matches!(unit(field), Some(Unit::Second | Unit::Millisecond | Unit::Epoch | Unit::Julian) | None)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Dow,
    IsoDow,
    Doy,
    IsoYear,
    Epoch,
    Julian,
    Zone,
    ZoneHour,
    ZoneMinute,
}

fn unit(field: &str) -> Option<Unit> {
    use Unit::*;
    Some(match field.to_ascii_lowercase().as_str() {
        "microseconds" | "microsecond" | "us" | "usec" => Microsecond,
        "milliseconds" | "millisecond" | "ms" | "msec" => Millisecond,
        "second" | "seconds" | "sec" | "s" => Second,
        "minute" | "minutes" | "min" | "m" => Minute,
        "hour" | "hours" | "hr" | "h" => Hour,
        "day" | "days" | "d" => Day,
        "week" | "weeks" | "w" => Week,
        "month" | "months" | "mon" => Month,
        "quarter" | "qtr" => Quarter,
        "year" | "years" | "y" => Year,
        "decade" | "decades" => Decade,
        "century" | "centuries" => Century,
        "millennium" | "millennia" => Millennium,
        "dow" => Dow,
        "isodow" => IsoDow,
        "doy" => Doy,
        "isoyear" => IsoYear,
        "epoch" => Epoch,
        "julian" => Julian,
        "timezone" => Zone,
        "timezone_h" | "timezone_hour" => ZoneHour,
        "timezone_m" | "timezone_minute" => ZoneMinute,
        _ => return None,
    })
}

fn unknown_unit(field: &str, ty: &DataType) -> EvalError {
    EvalError::new("22023", format!("unit \"{}\" not recognized for type {}", field.to_lowercase(), type_name(ty)))
}

fn unsupported_unit(field: &str, ty: &DataType) -> EvalError {
    EvalError::new("0A000", format!("unit \"{}\" not supported for type {}", field.to_lowercase(), type_name(ty)))
}

/// A field of a moment.
enum Part {
    /// In millionths.
    Value(i128),
    /// A Julian day and the microseconds since its midnight.
    Julian { days: i64, us: i64 },
    /// Of an infinite moment, for fields that grow for ever.
    Infinite(f64),
    /// Of an infinite moment, for the others.
    Missing,
}

/// Days from the first Julian day to 1970-01-01.
const JULIAN_1970: i64 = 2_440_588;

/// The day and the part of it that has passed, as a numeric of this scale, half away from zero.
fn julian(days: i64, us: i64, scale: i8) -> i128 {
    let unit = pow10(scale);
    let day = i128::from(DAY_US);
    i128::from(days) * unit + (i128::from(us) * unit + day / 2) / day
}

fn of_infinity(u: Unit, positive: bool) -> Part {
    match u {
        Unit::Year | Unit::IsoYear | Unit::Decade | Unit::Century | Unit::Millennium | Unit::Epoch | Unit::Julian => {
            Part::Infinite(if positive { f64::INFINITY } else { f64::NEG_INFINITY })
        }
        _ => Part::Missing,
    }
}

/// Rows without NULL arguments through `f`, which may give NULL itself.
fn optional<T>(args: &Args<'_>, f: impl Fn(usize) -> EvalResult<Option<T>>) -> EvalResult<Vec<Option<T>>> {
    let nulls = args.nulls();
    let valid = |i: usize| nulls.as_ref().is_none_or(|n| n.is_valid(i));
    (0..args.n).map(|i| if valid(i) { f(i) } else { Ok(None) }).collect()
}

/// The field of row `i`.
fn parts<'a>(args: &'a Args<'_>) -> EvalResult<Box<dyn Fn(usize) -> EvalResult<Part> + 'a>> {
    let (fields, sf) = args.texts(0)?;
    let source = &args.col(1)?.array;
    let ty = source.data_type();
    let fixed = if sf == 0 && !fields.is_null(0) { unit(fields.value(0)) } else { None };
    let pick = move |i: usize| -> EvalResult<(Unit, &str)> {
        let field = fields.value(i * sf);
        match fixed.or_else(|| unit(field)) {
            Some(u) => Ok((u, field)),
            None => Err(unknown_unit(field, ty)),
        }
    };
    Ok(match ty {
        DataType::Timestamp(..) => {
            let (v, s) = args.lanes::<TimestampMicrosecondType>(1)?;
            let (zone, zoned) = (crate::local::here(), matches!(ty, DataType::Timestamp(_, Some(_))));
            Box::new(move |i| {
                let (u, field) = pick(i)?;
                let t = v[i * s];
                if t == calendar::TS_INFINITY || t == calendar::TS_MINUS_INFINITY {
                    return Ok(of_infinity(u, t > 0));
                }
                let (local, offset) = if zoned { zone.shown(t) } else { (t, 0) };
                if u == Unit::Julian {
                    return Ok(Part::Julian { days: local.div_euclid(DAY_US) + JULIAN_1970, us: local.rem_euclid(DAY_US) });
                }
                let of = match u {
                    Unit::Epoch => of_timestamp(u, t),
                    Unit::Zone | Unit::ZoneHour | Unit::ZoneMinute => zoned.then(|| of_offset(u, offset)),
                    _ => of_timestamp(u, local),
                };
                of.map(Part::Value).ok_or_else(|| unsupported_unit(field, ty))
            })
        }
        DataType::Date32 => {
            let (v, s) = args.lanes::<Date32Type>(1)?;
            Box::new(move |i| {
                let (u, field) = pick(i)?;
                let d = v[i * s];
                match u {
                    Unit::Microsecond | Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour => None,
                    _ if d == calendar::DATE_INFINITY || d == calendar::DATE_MINUS_INFINITY => Some(of_infinity(u, d > 0)),
                    Unit::Julian => Some(Part::Julian { days: i64::from(d) + JULIAN_1970, us: 0 }),
                    _ => of_timestamp(u, i64::from(d).saturating_mul(DAY_US)).map(Part::Value),
                }
                .ok_or_else(|| unsupported_unit(field, ty))
            })
        }
        DataType::Time64(_) => {
            let (v, s) = args.lanes::<Time64MicrosecondType>(1)?;
            Box::new(move |i| {
                let (u, field) = pick(i)?;
                of_clock(u, v[i * s]).map(Part::Value).ok_or_else(|| unsupported_unit(field, ty))
            })
        }
        _ => {
            let (v, s) = args.lanes::<IntervalMonthDayNanoType>(1)?;
            Box::new(move |i| {
                let (u, field) = pick(i)?;
                of_interval(u, v[i * s]).map(Part::Value).ok_or_else(|| unsupported_unit(field, ty))
            })
        }
    })
}

/// A field of an offset in seconds.
fn of_offset(u: Unit, seconds: i64) -> i128 {
    let whole = match u {
        Unit::ZoneHour => seconds / 3600,
        Unit::ZoneMinute => seconds / 60 % 60,
        _ => seconds,
    };
    i128::from(whole) * MILLION
}

fn of_clock(u: Unit, us: i64) -> Option<i128> {
    let us = i128::from(us);
    Some(match u {
        Unit::Microsecond => us % (60 * MILLION) * MILLION,
        Unit::Millisecond => us % (60 * MILLION) * 1000,
        Unit::Second => us % (60 * MILLION),
        Unit::Minute => us / (60 * MILLION) % 60 * MILLION,
        Unit::Hour => us / (3600 * MILLION) * MILLION,
        Unit::Epoch => us,
        _ => return None,
    })
}

fn of_timestamp(u: Unit, t: i64) -> Option<i128> {
    let (days, time) = (t.div_euclid(DAY_US), t.rem_euclid(DAY_US));
    let c = civil_from_days(days);
    let y = c.year;
    let whole = match u {
        Unit::Day => c.day,
        Unit::Month => c.month,
        Unit::Quarter => (c.month - 1) / 3 + 1,
        Unit::Year => y - i64::from(y <= 0),
        Unit::Decade if y >= 0 => y / 10,
        Unit::Decade => -((8 - (y - 1)) / 10),
        Unit::Century if y > 0 => (y + 99) / 100,
        Unit::Century => -((99 - (y - 1)) / 100),
        Unit::Millennium if y > 0 => (y + 999) / 1000,
        Unit::Millennium => -((999 - (y - 1)) / 1000),
        Unit::Week => calendar::iso_week(days).1,
        Unit::IsoYear => {
            let y = calendar::iso_week(days).0;
            y - i64::from(y <= 0)
        }
        Unit::Dow => (days + 4).rem_euclid(7),
        Unit::IsoDow => (days + 3).rem_euclid(7) + 1,
        Unit::Doy => days - days_from_civil(Civil { year: y, month: 1, day: 1 }) + 1,
        Unit::Epoch => return Some(t.into()),
        Unit::Julian => return None,
        _ => return of_clock(u, time),
    };
    Some(i128::from(whole) * MILLION)
}

fn of_interval(u: Unit, s: IntervalMonthDayNano) -> Option<i128> {
    let (years, months) = (i128::from(s.months / 12), i128::from(s.months % 12));
    let us = i128::from(s.nanoseconds / 1000);
    let whole = match u {
        Unit::Day => s.days.into(),
        Unit::Month => months,
        Unit::Quarter => months / 3 + 1,
        Unit::Year => years,
        Unit::Decade => years / 10,
        Unit::Century => years / 100,
        Unit::Millennium => years / 1000,
        Unit::Epoch => {
            // a year has 365.25 days here, the months beyond whole years 30 days each
            let days = i128::from(s.days) + months * 30;
            return Some((days * 86_400 + years * 31_557_600) * MILLION + us);
        }
        _ => return of_clock(u, s.nanoseconds / 1000),
    };
    Some(whole * MILLION)
}

fn truncate(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (fields, sf) = args.texts(0)?;
    let ty = args.col(1)?.array.data_type();
    let pick = |i: usize| {
        let field = fields.value(i * sf);
        unit(field).ok_or_else(|| unknown_unit(field, ty)).map(|u| (u, field))
    };
    if let DataType::Interval(_) = ty {
        let (v, s) = args.lanes::<IntervalMonthDayNanoType>(1)?;
        return args.rows::<IntervalMonthDayNanoType>(|i| {
            let (u, field) = pick(i)?;
            trunc_interval(u, v[i * s]).ok_or_else(|| unsupported_unit(field, ty))
        });
    }
    let (v, s) = args.lanes::<TimestampMicrosecondType>(1)?;
    let zones = if args.cols.len() > 2 { Some(Zones::new(args, 2)?) } else { None };
    let (here, zoned) = (crate::local::here(), matches!(ty, DataType::Timestamp(_, Some(_))));
    args.rows::<TimestampMicrosecondType>(|i| {
        let t = v[i * s];
        if t == calendar::TS_INFINITY || t == calendar::TS_MINUS_INFINITY {
            return Ok(t);
        }
        let (u, field) = pick(i)?;
        let zone = match &zones {
            Some(zones) => Some(zones.of(i)?),
            None => (zoned && !here.is_utc()).then_some(here),
        };
        if let Some(zone) = zone {
            let local = zone.local(t)?;
            let cut = trunc_timestamp(u, local).ok_or_else(|| unsupported_unit(field, ty))?;
            // Within an hour the offset stays what it was: an hour that a change of clocks repeats is not left.
            return if u <= Unit::Hour { Ok(t - (local - cut)) } else { zone.instant(cut) };
        }
        trunc_timestamp(u, t).ok_or_else(|| unsupported_unit(field, ty))
    })
}

fn trunc_timestamp(u: Unit, t: i64) -> Option<i64> {
    let step = match u {
        Unit::Microsecond => 1,
        Unit::Millisecond => 1000,
        Unit::Second => 1_000_000,
        Unit::Minute => 60_000_000,
        Unit::Hour => 3_600_000_000,
        Unit::Day => DAY_US,
        _ => 0,
    };
    if step > 0 {
        return Some(t - t.rem_euclid(step));
    }
    let days = t.div_euclid(DAY_US);
    let c = civil_from_days(days);
    let at = |year, month| Some(days_from_civil(Civil { year, month, day: 1 }) * DAY_US);
    match u {
        Unit::Week => Some((days - (days + 3).rem_euclid(7)) * DAY_US),
        Unit::Month => at(c.year, c.month),
        Unit::Quarter => at(c.year, (c.month - 1) / 3 * 3 + 1),
        Unit::Year => at(c.year, 1),
        Unit::Decade => at(c.year.div_euclid(10) * 10, 1),
        Unit::Century => at((c.year - 1).div_euclid(100) * 100 + 1, 1),
        Unit::Millennium => at((c.year - 1).div_euclid(1000) * 1000 + 1, 1),
        _ => None,
    }
}

fn trunc_interval(u: Unit, s: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let whole = |months: i32| Some(IntervalMonthDayNano::new(s.months / months * months, 0, 0));
    let time = |ns: i64| Some(IntervalMonthDayNano::new(s.months, s.days, s.nanoseconds / ns * ns));
    match u {
        Unit::Millennium => whole(12_000),
        Unit::Century => whole(1_200),
        Unit::Decade => whole(120),
        Unit::Year => whole(12),
        Unit::Quarter => whole(3),
        Unit::Month => whole(1),
        Unit::Day => Some(IntervalMonthDayNano::new(s.months, s.days, 0)),
        Unit::Hour => time(3_600_000_000_000),
        Unit::Minute => time(60_000_000_000),
        Unit::Second => time(1_000_000_000),
        Unit::Millisecond => time(1_000_000),
        Unit::Microsecond => time(1000),
        _ => None,
    }
}
