//! Time zones: `timezone(zone, moment)`, which is what AT TIME ZONE means. A zone is an interval, an abbreviation of fixed offset
//! (looked up first, as PostgreSQL does), a name of the IANA data that the program was built with, or an offset in the notation of
//! POSIX, where `+2` lies west of Greenwich.
//!
//! A local time that a change of clocks skips is read by the offset before the change, one that occurs twice by the offset after it.

use arrow::array::Array;
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::error::{EvalError, EvalResult};
use super::forms::{K, builtin};
use super::udf::Args;
use crate::pgtypes::calendar::{self, TS_INFINITY, TS_MINUS_INFINITY};
use crate::pgtypes::format_interval;

builtin!(
    TIMEZONE,
    "timezone",
    [],
    &[
        (&[K::Text, K::Zoned], K::Stamp),
        (&[K::Text, K::Stamp], K::Zoned),
        (&[K::Span, K::Zoned], K::Stamp),
        (&[K::Span, K::Stamp], K::Zoned),
    ],
    false,
    |args| {
        let to_local = matches!(args.ret, arrow::datatypes::DataType::Timestamp(_, None));
        let (t, st) = args.lanes::<TimestampMicrosecondType>(1)?;
        let shift = |zone: &Zone, t: i64| if to_local { zone.local(t) } else { zone.instant(t) };
        if let Ok((spans, ss)) = args.lanes::<IntervalMonthDayNanoType>(0) {
            return args.rows::<TimestampMicrosecondType>(|i| shift(&Zone::of_interval(spans[i * ss])?, t[i * st]));
        }
        let zones = Zones::new(args, 0)?;
        args.rows::<TimestampMicrosecondType>(|i| shift(&zones.of(i)?, t[i * st]))
    }
);

/// A zone of time.
#[derive(Debug, Clone, Copy)]
pub enum Zone {
    /// Seconds east of Greenwich.
    Fixed(i64),
    /// One with a history.
    Named(Tz),
}

/// Zones by name, row by row; a constant name is looked up once.
pub(super) struct Zones<'a> {
    names: &'a arrow::array::StringArray,
    step: usize,
    constant: Option<EvalResult<Zone>>,
}

impl<'a> Zones<'a> {
    /// The zones that an argument of text names.
    pub(super) fn new(args: &'a Args<'_>, at: usize) -> EvalResult<Zones<'a>> {
        let (names, step) = args.texts(at)?;
        let constant = (step == 0 && names.is_valid(0)).then(|| Zone::parse(names.value(0)));
        Ok(Zones { names, step, constant })
    }

    /// The zone of a row.
    pub(super) fn of(&self, row: usize) -> EvalResult<Zone> {
        match &self.constant {
            Some(zone) => zone.clone(),
            None => Zone::parse(self.names.value(row * self.step)),
        }
    }
}

impl Zone {
    /// Universal time.
    pub const UTC: Zone = Zone::Fixed(0);

    /// Whether local time is universal time.
    #[must_use]
    pub fn is_utc(self) -> bool {
        matches!(self, Zone::Fixed(0))
    }

    /// The zone of a name.
    ///
    /// # Errors
    /// 22023 when there is none.
    pub(crate) fn parse(name: &str) -> EvalResult<Zone> {
        let unknown = || EvalError::new("22023", format!("time zone \"{name}\" not recognized"));
        if let Some(zone) = super::abbreviations::find(name) {
            return Ok(zone);
        }
        if let Some(seconds) = posix(name) {
            return Ok(Zone::Fixed(seconds));
        }
        crate::local::named(name).map(Zone::Named).ok_or_else(unknown)
    }

    /// # Errors
    /// 22023 for an interval that is no offset.
    fn of_interval(s: IntervalMonthDayNano) -> EvalResult<Zone> {
        if s.months != 0 || s.days != 0 {
            let shown = format_interval(s.months, s.days, s.nanoseconds);
            let message = format!("interval time zone \"{shown}\" must not include months or days");
            return Err(EvalError::new("22023", message));
        }
        Ok(Zone::Fixed(s.nanoseconds / 1_000_000_000))
    }

    /// How an instant is shown: local time, the seconds that it lies east of Greenwich, and what the zone is called then.
    pub(crate) fn shown(self, t: i64) -> (i64, i64) {
        if is_infinite(t) {
            return (t, 0);
        }
        let seconds = match self {
            Zone::Fixed(seconds) => seconds,
            // PostgreSQL shows what lies beyond its tables in universal time; it lies beyond ours a little later.
            Zone::Named(zone) => civil(t).map_or(0, |utc| offset_at(zone, utc)),
        };
        (t.saturating_add(seconds * 1_000_000), seconds)
    }

    /// What the zone is called at an instant: `CEST`, `+02`.
    pub(crate) fn abbreviation(self, t: i64) -> String {
        match self {
            Zone::Fixed(0) => "UTC".to_owned(),
            Zone::Fixed(seconds) => offset_text(seconds),
            Zone::Named(zone) => match civil(t) {
                Ok(utc) => zone.offset_from_utc_datetime(&within_tables(zone, utc)).to_string(),
                Err(_) => "UTC".to_owned(),
            },
        }
    }

    /// Local time of an instant.
    pub(crate) fn local(&self, t: i64) -> EvalResult<i64> {
        if is_infinite(t) {
            return Ok(t);
        }
        let seconds = match self {
            Zone::Fixed(seconds) => *seconds,
            Zone::Named(zone) => offset_at(*zone, civil(t)?),
        };
        shifted(t, seconds)
    }

    /// The instant of a local time.
    pub(crate) fn instant(&self, t: i64) -> EvalResult<i64> {
        if is_infinite(t) {
            return Ok(t);
        }
        let seconds = match self {
            Zone::Fixed(seconds) => *seconds,
            Zone::Named(zone) => offset_of_local(*zone, civil(t)?),
        };
        shifted(t, -seconds)
    }
}

fn is_infinite(t: i64) -> bool {
    t == TS_INFINITY || t == TS_MINUS_INFINITY
}

fn out_of_range() -> EvalError {
    EvalError::new("22008", "timestamp out of range")
}

fn shifted(t: i64, seconds: i64) -> EvalResult<i64> {
    t.checked_add(seconds * 1_000_000).filter(|t| calendar::is_timestamp(*t)).ok_or_else(out_of_range)
}

fn civil(t: i64) -> EvalResult<NaiveDateTime> {
    DateTime::from_timestamp_micros(t).map(|t| t.naive_utc()).ok_or_else(out_of_range)
}

/// The last year that the tables are whole for.
const LAST_YEAR: i32 = 2098;

/// A moment's year put back into the tables, which end in 2099 where the rules of a zone go on for ever: into the last year of the same
/// length that begins on the same day of the week, of which every 28 years have one. A zone that changes its clocks no more in the last
/// year does so no more.
fn within_tables(zone: Tz, moment: NaiveDateTime) -> NaiveDateTime {
    if moment.year() <= LAST_YEAR {
        return moment;
    }
    let first = |year| NaiveDate::from_ymd_opt(year, 1, 1);
    let summer = |month| NaiveDate::from_ymd_opt(LAST_YEAR, month, 1).and_then(|d| d.and_hms_opt(0, 0, 0));
    if let (Some(winter), Some(summer)) = (summer(1), summer(7))
        && zone.offset_from_utc_datetime(&winter).fix() == zone.offset_from_utc_datetime(&summer).fix()
    {
        return winter;
    }
    let alike = |year: &i32| match (first(*year), first(moment.year())) {
        (Some(a), Some(b)) => a.weekday() == b.weekday() && a.leap_year() == b.leap_year(),
        _ => false,
    };
    let year = (LAST_YEAR - 27..=LAST_YEAR).rev().find(alike);
    year.and_then(|year| moment.with_year(year)).unwrap_or(moment)
}

/// `+02`, `-03:30`, `+00:53:28`.
pub(crate) fn offset_text(seconds: i64) -> String {
    let (sign, s) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs());
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    match (m, s) {
        (0, 0) => format!("{sign}{h:02}"),
        (_, 0) => format!("{sign}{h:02}:{m:02}"),
        _ => format!("{sign}{h:02}:{m:02}:{s:02}"),
    }
}

fn offset_at(zone: Tz, utc: NaiveDateTime) -> i64 {
    let utc = within_tables(zone, utc);
    zone.offset_from_utc_datetime(&utc).fix().local_minus_utc().into()
}

fn offset_of_local(zone: Tz, local: NaiveDateTime) -> i64 {
    let local = within_tables(zone, local);
    let offset = |o: <Tz as TimeZone>::Offset| i64::from(o.fix().local_minus_utc());
    match zone.offset_from_local_datetime(&local) {
        LocalResult::Single(o) => offset(o),
        LocalResult::Ambiguous(_, after) => offset(after),
        // Clocks were put forward, by a few hours at most, or by a day where the date line moved.
        LocalResult::None => {
            let before = |hours| {
                let earlier = local.checked_sub_signed(chrono::TimeDelta::hours(hours))?;
                zone.offset_from_local_datetime(&earlier).latest()
            };
            before(4).or_else(|| before(26)).map_or(0, offset)
        }
    }
}

/// `+2`, `-05:30`, `UTC+3`, `<x>-1`: seconds east of Greenwich, the sign turned round.
pub(crate) fn posix(name: &str) -> Option<i64> {
    // what stands in angle brackets may hold signs of its own
    let begin = if name.starts_with('<') { name.find('>')? } else { 0 };
    let at = begin + name[begin..].find(['+', '-'])?;
    let (word, offset) = name.split_at(at);
    let plain = word.chars().all(|c| c.is_ascii_alphabetic()) && (word.is_empty() || word.len() >= 3);
    let quoted = word.len() > 2 && word.starts_with('<') && word.ends_with('>');
    if !(plain || quoted) {
        return None;
    }
    let west = if offset.starts_with('+') { 1 } else { -1 };
    let mut seconds = 0;
    let mut unit = 3600;
    for part in offset[1..].split(':') {
        let digits = !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
        if !digits || unit == 0 {
            return None;
        }
        seconds += part.parse::<i64>().ok()? * unit;
        unit /= 60;
    }
    (seconds <= 167 * 3600).then_some(-west * seconds)
}

#[cfg(test)]
mod tests {
    use super::Zone;

    fn utc(text: &str) -> i64 {
        match crate::pgtypes::parse_text(&crate::pgtypes::timestamp(), text).expect("a timestamp").datum {
            crate::Datum::Timestamp(t) => t,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_local_time_that_clocks_skip_or_repeat_has_one_instant() {
        let berlin = Zone::parse("europe/berlin").expect("known");
        for (local, instant) in [
            ("2024-01-15 12:00", "2024-01-15 11:00"),
            ("2024-03-31 02:30", "2024-03-31 01:30"),
            ("2024-10-27 02:30", "2024-10-27 01:30"),
            ("2024-07-01 00:00", "2024-06-30 22:00"),
        ] {
            assert_eq!(berlin.instant(utc(local)), Ok(utc(instant)), "{local}");
        }
        // PostgreSQL's answers beyond the tables' end.
        for (zone, local, instant) in [
            ("America/New_York", "2100-07-01 08:00", "2100-07-01 12:00"),
            ("America/New_York", "2100-03-14 02:30", "2100-03-14 07:30"),
            ("America/New_York", "2101-11-06 01:30", "2101-11-06 06:30"),
            ("Australia/Sydney", "2500-01-01 12:00", "2500-01-01 01:00"),
            ("Europe/London", "2150-06-06 12:00", "2150-06-06 11:00"),
            ("Africa/Casablanca", "2300-06-06 12:00", "2300-06-06 11:00"),
        ] {
            let zone = Zone::parse(zone).expect("known");
            assert_eq!(zone.instant(utc(local)), Ok(utc(instant)), "{local}");
        }
        let new_york = Zone::parse("America/New_York").expect("known");
        assert_eq!(new_york.local(utc("2100-07-01 12:00")), Ok(utc("2100-07-01 08:00")));
        let west = Zone::parse("+02:30").expect("an offset");
        assert_eq!(west.local(utc("2024-01-01 12:00")), Ok(utc("2024-01-01 09:30")));
        assert!(Zone::parse("Mars/Olympus").is_err());
    }
}
