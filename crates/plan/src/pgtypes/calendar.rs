//! Days, microseconds and civil dates: the proleptic Gregorian calendar on plain integers (days from civil, after
//! Howard Hinnant), with PostgreSQL's ranges. Knows no text and no arrays.

/// Microseconds of a day.
pub const DAY_US: i64 = 86_400_000_000;
/// `infinity` of a timestamp.
pub const TS_INFINITY: i64 = i64::MAX;
/// `-infinity` of a timestamp.
pub const TS_MINUS_INFINITY: i64 = i64::MIN;
/// `infinity` of a date.
pub const DATE_INFINITY: i32 = i32::MAX;
/// `-infinity` of a date.
pub const DATE_MINUS_INFINITY: i32 = i32::MIN;
/// First representable day of a date and of a timestamp: 4714-11-24 BC.
pub const FIRST_DAY: i64 = -2_440_588;
/// First instant that is no timestamp any more. PostgreSQL counts from 2000 and reaches 294276-12-31; microseconds from 1970
/// end 30 years earlier, in 294247-01-10.
pub const TS_END: i64 = TS_INFINITY;

/// A civil date; year 0 is 1 BC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Astronomical year.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
}

/// Days from 1970-01-01 of a civil date.
pub fn days_from_civil(c: Civil) -> i64 {
    let y = if c.month <= 2 { c.year - 1 } else { c.year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((c.month + 9) % 12) + 2) / 5 + c.day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// The civil date of a day.
pub fn civil_from_days(days: i64) -> Civil {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    Civil { year: yoe + era * 400 + i64::from(month <= 2), month, day: doy - (153 * mp + 2) / 5 + 1 }
}

/// Length of a month.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day `months` later, its day of the month cut to the month's length, as PostgreSQL adds months.
pub fn add_months(c: Civil, months: i64) -> Civil {
    let total = c.year * 12 + (c.month - 1) + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    Civil { year, month, day: c.day.min(days_in_month(year, month)) }
}

/// Is it a finite timestamp?
pub fn is_timestamp(us: i64) -> bool {
    (FIRST_DAY * DAY_US..TS_END).contains(&us)
}

/// Is it a finite date? (4714-11-24 BC to 5874897-12-31)
pub fn is_date(days: i64) -> bool {
    (FIRST_DAY..=2_145_042_905).contains(&days)
}

/// ISO week: (year, week 1 to 53).
pub fn iso_week(days: i64) -> (i64, i64) {
    // the Thursday of the same week decides year and week
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let year = civil_from_days(thursday).year;
    let first = days_from_civil(Civil { year, month: 1, day: 1 });
    (year, (thursday - first) / 7 + 1)
}
