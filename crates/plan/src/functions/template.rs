//! `to_char`, `to_date` and `to_timestamp`: values by templates.
//!
//! Fields of moments are those of [`FIELDS`], with `FM` before and `TH` behind them; text in double quotes stands for itself. Templates
//! of numbers: [`super::number_template`]. What else PostgreSQL knows (`TZ` when text is read) is refused with 0A000. Names of
//! months and days are English.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Date32Type, Float64Type, IntervalMonthDayNanoType, TimestampMicrosecondType};

use super::error::{EvalError, EvalResult};
use super::forms::{K, builtin};
use super::moments::of_seconds;
use super::number_template::{Shape, digits, scientific};
use super::pattern::Known;
use super::udf::{Args, text_array};
use super::zone::Zone;
use crate::pgtypes::calendar::{self, Civil, DAY_US, civil_from_days, days_from_civil, days_in_month, iso_week};

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Hour12,
    Hour24,
    Minute,
    Second,
    Fraction(u8),
    Seconds,
    Noon,
    NoonDots,
    Year(u8),
    YearComma,
    IsoYear(u8),
    Era,
    EraDots,
    Month,
    MonthShort,
    MonthNumber,
    Day,
    DayShort,
    DayOfYear,
    IsoDayOfYear,
    DayOfMonth,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    Week,
    IsoWeek,
    Century,
    Julian,
    Quarter,
    Roman,
    Zone,
    ZoneHour,
    ZoneMinute,
    Offset,
}

/// Longer ones before those that they begin with. Each stands in capitals, and in small letters as well.
const FIELDS: &[(&str, Field)] = &[
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("MI", Field::Minute),
    ("SSSSS", Field::Seconds),
    ("SSSS", Field::Seconds),
    ("SS", Field::Second),
    ("MS", Field::Fraction(3)),
    ("US", Field::Fraction(6)),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("A.M.", Field::NoonDots),
    ("P.M.", Field::NoonDots),
    ("AM", Field::Noon),
    ("PM", Field::Noon),
    ("Y,YYY", Field::YearComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("IDDD", Field::IsoDayOfYear),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("I", Field::IsoYear(1)),
    ("B.C.", Field::EraDots),
    ("A.D.", Field::EraDots),
    ("BC", Field::Era),
    ("AD", Field::Era),
    ("MONTH", Field::Month),
    ("MON", Field::MonthShort),
    ("MM", Field::MonthNumber),
    ("DAY", Field::Day),
    ("DY", Field::DayShort),
    ("DDD", Field::DayOfYear),
    ("DD", Field::DayOfMonth),
    ("D", Field::DayOfWeek),
    ("WW", Field::Week),
    ("W", Field::WeekOfMonth),
    ("CC", Field::Century),
    ("J", Field::Julian),
    ("Q", Field::Quarter),
    ("RM", Field::Roman),
    ("TZH", Field::ZoneHour),
    ("TZM", Field::ZoneMinute),
    ("TZ", Field::Zone),
    ("OF", Field::Offset),
];

/// Letters of a name as the template has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Upper,
    Title,
    Lower,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A field, whether it is filled up, and the ending of its ordinal.
    Field(Field, Case, bool, Option<Case>),
}

/// Cuts a template into its parts.
fn parts(template: &str) -> Vec<Part> {
    let mut out: Vec<Part> = vec![];
    let mut rest = template;
    let (mut fill, mut translated) = (true, false);
    while let Some(c) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            (rest, fill) = (behind, false);
            continue;
        }
        if let Some(behind) = ["FX", "fx"].iter().find_map(|m| rest.strip_prefix(m)) {
            rest = behind;
            continue;
        }
        if let Some(behind) = ["TM", "tm"].iter().find_map(|m| rest.strip_prefix(m)) {
            (rest, translated) = (behind, true);
            continue;
        }
        if let Some((field, case, len)) = field(rest) {
            rest = &rest[len..];
            let ending = [("TH", Case::Upper), ("th", Case::Lower)].into_iter().find(|(th, _)| rest.starts_with(th));
            rest = ending.map_or(rest, |_| &rest[2..]);
            // names that another language would make longer or shorter are not filled up, in English either
            let named = translated && matches!(field, Field::Month | Field::Day);
            out.push(Part::Field(field, case, fill && !named, ending.map(|(_, case)| case)));
            (fill, translated) = (true, false);
            continue;
        }
        let mut text = String::new();
        if c == '"' {
            let mut chars = rest[1..].char_indices();
            let mut end = rest.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        end = at + 2;
                        break;
                    }
                    '\\' => text.extend(chars.next().map(|(_, c)| c)),
                    c => text.push(c),
                }
            }
            rest = &rest[end..];
        } else {
            text.push(c);
            rest = &rest[c.len_utf8()..];
        }
        match out.last_mut() {
            Some(Part::Text(before)) => before.push_str(&text),
            _ => out.push(Part::Text(text)),
        }
    }
    out
}

fn field(rest: &str) -> Option<(Field, Case, usize)> {
    FIELDS.iter().find_map(|(name, field)| {
        let word = rest.get(..name.len())?;
        let named = matches!(field, Field::Month | Field::MonthShort | Field::Day | Field::DayShort);
        let title = named && word.eq_ignore_ascii_case(name) && word[1..] == word[1..].to_lowercase() && word[..1] == name[..1];
        let case = match word {
            word if word == *name => Case::Upper,
            word if word == name.to_lowercase() => Case::Lower,
            _ if title => Case::Title,
            _ => return None,
        };
        Some((*field, case, name.len()))
    })
}

fn cased(text: &str, case: Case) -> String {
    match case {
        Case::Upper => text.to_uppercase(),
        Case::Title => text.to_owned(),
        Case::Lower => text.to_lowercase(),
    }
}

/// A moment or a span taken apart.
struct Moment {
    /// Days from 1970; `None` of an interval.
    days: Option<i64>,
    year: i64,
    month: i64,
    day: i64,
    /// Microseconds of the day, or of the interval's time.
    us: i64,
    /// Of a moment with a zone: the zone, its seconds east of Greenwich then, and the moment itself.
    zone: Option<(Zone, i64, i64)>,
}

impl Moment {
    fn of_timestamp(t: i64, zoned: bool) -> Moment {
        let here = crate::local::here();
        let (t, zone) = match zoned {
            true => {
                let (local, seconds) = here.shown(t);
                (local, Some((here, seconds, t)))
            }
            false => (t, None),
        };
        let days = t.div_euclid(DAY_US);
        let Civil { year, month, day } = civil_from_days(days);
        Moment { days: Some(days), year, month, day, us: t.rem_euclid(DAY_US), zone }
    }
}

fn ordinal(n: i64, case: Case) -> String {
    let ending = match (n.abs() % 100, n.abs() % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    cased(ending, case)
}

fn write_moment(m: &Moment, parts: &[Part], out: &mut String) -> EvalResult<()> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Field(field, case, fill, ending) => write_field(m, *field, *case, *fill, *ending, out)?,
        }
    }
    Ok(())
}

fn write_field(m: &Moment, field: Field, case: Case, fill: bool, ending: Option<Case>, out: &mut String) -> EvalResult<()> {
    let no_date = || EvalError::new("22007", "invalid format specification for an interval value");
    let date = || m.days.ok_or_else(no_date);
    let hour = m.us / 3_600_000_000;
    let shown_year = |y: i64| if m.days.is_some() && y <= 0 { 1 - y } else { y };
    let name = |name: &str, width: usize, out: &mut String| {
        let name = cased(name, case);
        let missing = if fill { width.saturating_sub(name.len()) } else { 0 };
        out.push_str(&name);
        out.extend(std::iter::repeat_n(' ', missing));
    };
    let month = || usize::try_from(m.month - 1).ok().filter(|i| *i < 12);
    let (n, width): (i64, usize) = match field {
        Field::Hour12 => (if hour % 12 == 0 { 12 } else { hour % 12 }, 2),
        Field::Hour24 => (hour, 2),
        Field::Minute => (m.us / 60_000_000 % 60, 2),
        Field::Second => (m.us / 1_000_000 % 60, 2),
        Field::Fraction(digits) => {
            let drop = 10i64.pow(6 - u32::from(digits));
            let fraction = m.us % 1_000_000 / drop;
            out.push_str(&format!("{fraction:0width$}", width = usize::from(digits)));
            return Ok(());
        }
        Field::Seconds => (m.us / 1_000_000, 1),
        Field::Noon | Field::NoonDots => {
            let dots = field == Field::NoonDots;
            let text = match (hour % 24 >= 12, dots) {
                (true, true) => "P.M.",
                (true, false) => "PM",
                (false, true) => "A.M.",
                (false, false) => "AM",
            };
            out.push_str(&cased(text, case));
            return Ok(());
        }
        Field::Era | Field::EraDots => {
            date()?;
            let text = match (m.year <= 0, field == Field::EraDots) {
                (true, true) => "B.C.",
                (true, false) => "BC",
                (false, true) => "A.D.",
                (false, false) => "AD",
            };
            out.push_str(&cased(text, case));
            return Ok(());
        }
        Field::Year(4) => (shown_year(m.year), 4),
        Field::Year(digits) => (shown_year(m.year) % 10i64.pow(digits.into()), digits.into()),
        Field::YearComma => {
            let y = shown_year(m.year);
            out.push_str(&format!("{},{:03}", y / 1000, y % 1000));
            out.push_str(&ending.map(|case| ordinal(y, case)).unwrap_or_default());
            return Ok(());
        }
        Field::IsoYear(4) => (shown_year(iso_week(date()?).0), 4),
        Field::IsoYear(digits) => (shown_year(iso_week(date()?).0) % 10i64.pow(digits.into()), digits.into()),
        Field::Month | Field::MonthShort | Field::Roman => {
            let Some(at) = month() else { return Ok(()) };
            match field {
                Field::Month => name(MONTHS[at], 9, out),
                Field::MonthShort => name(&MONTHS[at][..3], 3, out),
                _ => name(ROMAN[at], 4, out),
            }
            return Ok(());
        }
        Field::MonthNumber => (m.month, 2),
        Field::Day | Field::DayShort => {
            let at = usize::try_from((date()? + 4).rem_euclid(7)).unwrap_or(0);
            if field == Field::Day {
                name(DAYS[at], 9, out)
            } else {
                name(&DAYS[at][..3], 3, out)
            }
            return Ok(());
        }
        Field::DayOfYear => match m.days {
            Some(days) => (days - days_from_civil(Civil { year: m.year, month: 1, day: 1 }) + 1, 3),
            None => (m.day, 3),
        },
        Field::IsoDayOfYear => ((iso_week(date()?).1 - 1) * 7 + (date()? + 3).rem_euclid(7) + 1, 3),
        Field::DayOfMonth => (m.day, 2),
        Field::DayOfWeek => ((date()? + 4).rem_euclid(7) + 1, 1),
        Field::IsoDayOfWeek => ((date()? + 3).rem_euclid(7) + 1, 1),
        Field::WeekOfMonth => ((m.day - 1) / 7 + 1, 1),
        Field::Week => ((date()? - days_from_civil(Civil { year: m.year, month: 1, day: 1 })) / 7 + 1, 2),
        Field::IsoWeek => (iso_week(date()?).1, 2),
        Field::Century if m.days.is_none() => (m.year / 100, 2),
        Field::Century if m.year > 0 => ((m.year - 1) / 100 + 1, 2),
        Field::Century => (m.year / 100 - 1, 2),
        Field::Julian => (date()? + 2_440_588, 1),
        Field::Quarter => match month() {
            Some(_) => ((m.month - 1) / 3 + 1, 1),
            None => return Ok(()),
        },
        Field::Zone | Field::ZoneHour | Field::Offset | Field::ZoneMinute => {
            date()?;
            let seconds = m.zone.map_or(0, |(_, seconds, _)| seconds);
            let name = || m.zone.map(|(zone, _, t)| zone.abbreviation(t)).unwrap_or_default();
            let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
            match field {
                Field::Zone if case == Case::Lower => out.push_str(&name().to_lowercase()),
                Field::Zone => out.push_str(&name()),
                Field::ZoneMinute => out.push_str(&format!("{:02}", minutes % 60)),
                Field::Offset if minutes % 60 != 0 => out.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)),
                _ => out.push_str(&format!("{sign}{:02}", minutes / 60)),
            }
            return Ok(());
        }
    };
    let width = if fill { width + usize::from(n < 0) } else { 0 };
    out.push_str(&format!("{n:0width$}"));
    out.push_str(&ending.map(|case| ordinal(n, case)).unwrap_or_default());
    Ok(())
}

builtin!(
    TO_CHAR,
    "to_char",
    [],
    &[
        (&[K::Zoned, K::Text], K::Text),
        (&[K::Stamp, K::Text], K::Text),
        (&[K::Span, K::Text], K::Text),
        (&[K::Int, K::Text], K::Text),
        (&[K::Big, K::Text], K::Text),
        (&[K::Num, K::Text], K::Text),
        (&[K::Float, K::Text], K::Text),
    ],
    false,
    to_char
);

fn to_char(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let (templates, st) = a.texts(1)?;
    let source = &a.col(0)?.array;
    match source.data_type() {
        DataType::Timestamp(_, zone) => {
            let ((t, s), nulls, known) = (a.lanes::<TimestampMicrosecondType>(0)?, a.nulls(), Known::new());
            text_array(a.n, |i, out| {
                let moment = t[i * s];
                let null = nulls.as_ref().is_some_and(|n| n.is_null(i));
                if null || moment == calendar::TS_INFINITY || moment == calendar::TS_MINUS_INFINITY {
                    return Ok(false);
                }
                let template = templates.value(i * st);
                let parts = known.get(template, || Ok(parts(template)))?;
                write_moment(&Moment::of_timestamp(moment, zone.is_some()), &parts, out)?;
                Ok(!template.is_empty())
            })
        }
        DataType::Interval(_) => {
            let ((v, s), known) = (a.lanes::<IntervalMonthDayNanoType>(0)?, Known::new());
            a.rows_text(|i, out| {
                let (template, v) = (templates.value(i * st), v[i * s]);
                let parts = known.get(template, || Ok(parts(template)))?;
                let (year, month) = (i64::from(v.months / 12), i64::from(v.months % 12));
                let m = Moment { days: None, year, month, day: v.days.into(), us: v.nanoseconds / 1000, zone: None };
                write_moment(&m, &parts, out)
            })
        }
        ty => {
            let (number, scientific) = (digits(a, ty)?, scientific(a, ty)?);
            let known = Known::new();
            a.rows_text(|i, out| {
                let template = templates.value(i * st);
                let shape = known.get(template, || Shape::parse(template))?;
                shape.show(&number, &scientific, i, out)
            })
        }
    }
}

builtin!(TO_DATE, "to_date", [], &[(&[K::Text, K::Text], K::Date)], false, |a| {
    let ((text, ss), (templates, st)) = (a.texts(0)?, a.texts(1)?);
    let known = Known::new();
    a.rows::<Date32Type>(|i| {
        let template = templates.value(i * st);
        let parts = known.get(template, || Ok(parts(template)))?;
        let (days, ..) = Reader::read(text.value(i * ss), &parts)?;
        i32::try_from(days).ok().filter(|d| calendar::is_date((*d).into())).ok_or_else(|| date_range(text.value(i * ss)))
    })
});
builtin!(TO_TIMESTAMP, "to_timestamp", [], &[(&[K::Float], K::Zoned), (&[K::Text, K::Text], K::Zoned)], false, |a| {
    if a.cols.len() == 1 {
        let (v, s) = a.lanes::<Float64Type>(0)?;
        return a.rows::<TimestampMicrosecondType>(|i| of_seconds(v[i * s]));
    }
    let ((text, ss), (templates, st)) = (a.texts(0)?, a.texts(1)?);
    let (known, here) = (Known::new(), crate::local::here());
    a.rows::<TimestampMicrosecondType>(|i| {
        let template = templates.value(i * st);
        let parts = known.get(template, || Ok(parts(template)))?;
        let (days, us, zoned) = Reader::read(text.value(i * ss), &parts)?;
        let t = days.checked_mul(DAY_US).and_then(|d| d.checked_add(us)).filter(|t| calendar::is_timestamp(*t));
        let t = t.ok_or_else(|| EvalError::new("22008", "timestamp out of range"))?;
        if zoned { Ok(t) } else { here.instant(t) }
    })
});

fn date_range(text: &str) -> EvalError {
    EvalError::new("22008", format!("date/time field value out of range: \"{text}\""))
}

/// What was read of a text so far.
#[derive(Default)]
struct Reader<'a> {
    rest: &'a str,
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    century: Option<i64>,
    /// Of the year, by ISO 8601 or from January 1st.
    week: Option<i64>,
    week_of_month: Option<i64>,
    /// Monday is 1.
    iso_weekday: Option<i64>,
    /// The year has two digits at most.
    is_short_year: bool,
    /// By weeks of ISO 8601, or by months; fields of both do not go together.
    by_weeks: Option<bool>,
    hour: i64,
    hour_of_12: bool,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    fraction_us: i64,
    seconds: Option<i64>,
    before_christ: bool,
    /// Seconds east of Greenwich.
    offset: i64,
    west: bool,
    /// The text says how far east.
    zoned: bool,
}

impl<'a> Reader<'a> {
    /// Days from 1970, microseconds of the day, and whether they are universal time because the text names an offset.
    fn read(text: &'a str, parts: &[Part]) -> EvalResult<(i64, i64, bool)> {
        let mut r = Reader { rest: text, ..Reader::default() };
        for (at, part) in parts.iter().enumerate() {
            match part {
                Part::Text(between) => r.skip(between),
                Part::Field(field, ..) => {
                    // Digits that follow one another are cut by their fields' widths.
                    let cut = matches!(parts.get(at + 1), Some(Part::Field(next, ..)) if is_number(*next));
                    r.rest = r.rest.trim_start();
                    if r.rest.is_empty() {
                        break;
                    }
                    r.field(*field, cut)?;
                }
            }
        }
        r.finish(text)
    }

    /// A separator of the template takes one of the text's, whichever it is; other letters must be there.
    fn skip(&mut self, between: &str) {
        for c in between.chars() {
            let mut chars = self.rest.chars();
            let Some(have) = chars.next() else { return };
            let separator = |c: char| !c.is_alphanumeric();
            if separator(c) {
                let sign =
                    matches!(have, '+' | '-') && chars.clone().next().is_some_and(|c| c.is_ascii_digit()) && c.is_whitespace();
                if separator(have) && !sign {
                    self.rest = chars.as_str();
                }
            } else {
                self.rest = chars.as_str();
            }
        }
        // blanks beyond the template's are nothing, other separators too
        self.rest = self.rest.trim_start();
    }

    fn number(&mut self, width: usize, cut: bool, name: &str) -> EvalResult<i64> {
        let unsigned = self.rest.strip_prefix('+').unwrap_or(self.rest);
        let (negative, unsigned) = match unsigned.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, unsigned),
        };
        // nine digits are enough for every field, and leave room to count in
        let most = if cut { width.min(9) } else { 9 };
        let len = unsigned.bytes().take(most).take_while(u8::is_ascii_digit).count();
        let (number, rest) = unsigned.split_at(len);
        let n: i64 = number.parse().map_err(|_| {
            let shown: String = self.rest.chars().take(width).collect();
            EvalError::new("22007", format!("invalid value \"{shown}\" for \"{name}\""))
        })?;
        self.rest = rest;
        Ok(if negative { -n } else { n })
    }

    fn word(&mut self, words: &[&str], what: &str) -> EvalResult<usize> {
        let fits = |word: &&str| self.rest.get(..word.len()).is_some_and(|have| have.eq_ignore_ascii_case(word));
        let found = words.iter().position(fits);
        let found = found.ok_or_else(|| {
            let shown: String = self.rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            EvalError::new("22007", format!("invalid value \"{shown}\" for \"{what}\""))
        })?;
        self.rest = &self.rest[words[found].len()..];
        Ok(found)
    }

    fn field(&mut self, field: Field, cut: bool) -> EvalResult<()> {
        let index = |n: usize| i64::try_from(n).unwrap_or(0);
        let short = |names: &[&'static str]| names.iter().map(|n| &n[..3]).collect::<Vec<_>>();
        if let Some(by_weeks) = convention(field)
            && *self.by_weeks.get_or_insert(by_weeks) != by_weeks
        {
            return Err(EvalError::new("22007", "invalid combination of date conventions"));
        }
        match field {
            Field::Year(digits) | Field::IsoYear(digits) => {
                self.is_short_year = digits <= 2;
                let before = self.rest.len();
                let y = self.number(digits.into(), cut, "YYYY")?;
                // Two digits lie around 2000.
                self.year = Some(match before - self.rest.len() {
                    1 | 2 if digits < 4 && y < 70 => y + 2000,
                    1 | 2 if digits < 4 => y + 1900,
                    3 if digits < 4 => {
                        if y < 520 {
                            y + 2000
                        } else {
                            y + 1000
                        }
                    }
                    _ => y,
                });
            }
            Field::YearComma => {
                let thousands = self.number(4, false, "Y,YYY")?;
                self.rest = self.rest.strip_prefix(',').unwrap_or(self.rest);
                self.year = Some(thousands * 1000 + self.number(3, true, "Y,YYY")?);
            }
            Field::MonthNumber => self.month = Some(self.number(2, cut, "MM")?),
            Field::Month => {
                self.month = Some(match self.word(&MONTHS, "Month") {
                    Ok(at) => index(at) + 1,
                    Err(_) => index(self.word(&short(&MONTHS), "Month")?) + 1,
                })
            }
            Field::MonthShort => self.month = Some(index(self.word(&short(&MONTHS), "Mon")?) + 1),
            Field::Roman => {
                let mut roman: Vec<&str> = ROMAN.to_vec();
                roman.sort_by_key(|r| std::cmp::Reverse(r.len()));
                let found = roman[self.word(&roman, "RM")?];
                self.month = ROMAN.iter().position(|r| *r == found).map(|at| index(at) + 1);
            }
            Field::DayOfMonth => self.day = Some(self.number(2, cut, "DD")?),
            Field::DayOfYear => self.day_of_year = Some(self.number(3, cut, "DDD")?),
            Field::Day => drop(self.word(&DAYS, "Day")?),
            Field::DayShort => drop(self.word(&short(&DAYS), "Dy")?),
            Field::Julian => self.julian = Some(self.number(18, cut, "J")?),
            Field::Hour24 => self.hour = self.number(2, cut, "HH24")?,
            Field::Hour12 => (self.hour, self.hour_of_12) = (self.number(2, cut, "HH12")?, true),
            Field::Minute => self.minute = self.number(2, cut, "MI")?,
            Field::Second => self.second = self.number(2, cut, "SS")?,
            Field::Seconds => self.seconds = Some(self.number(5, cut, "SSSS")?),
            Field::Fraction(digits) => {
                let before = self.rest.len();
                let n = self.number(digits.into(), true, "FF")?;
                let read = u32::try_from(before - self.rest.len()).unwrap_or(6).min(6);
                self.fraction_us += n * 10i64.pow(6 - read);
            }
            Field::Noon | Field::NoonDots => {
                let words = ["a.m.", "p.m.", "am", "pm"];
                self.afternoon = Some(self.word(&words, "AM")? % 2 == 1);
            }
            Field::Era | Field::EraDots => self.before_christ = self.word(&["a.d.", "b.c.", "ad", "bc"], "AD")? % 2 == 1,
            Field::DayOfWeek | Field::Quarter => drop(self.number(1, cut, "D")?),
            Field::IsoDayOfWeek => self.iso_weekday = Some(self.number(1, cut, "ID")?),
            Field::IsoDayOfYear => self.day_of_year = Some(self.number(3, cut, "IDDD")?),
            Field::IsoWeek => self.week = Some(self.number(2, cut, "IW")?),
            Field::Week => self.week = Some(self.number(2, cut, "WW")?),
            Field::WeekOfMonth => self.week_of_month = Some(self.number(1, cut, "W")?),
            Field::Century => self.century = Some(self.number(2, cut, "CC")?),
            Field::ZoneHour => {
                self.zoned = true;
                self.west = self.rest.starts_with('-');
                self.offset += self.number(2, cut, "TZH")? * 3600;
            }
            Field::ZoneMinute => self.offset += self.number(2, cut, "TZM")? * if self.west { -60 } else { 60 },
            _ => return Err(EvalError::new("0A000", "this field of a template is not offered when text is read")),
        }
        Ok(())
    }

    fn finish(self, text: &str) -> EvalResult<(i64, i64, bool)> {
        let out = || date_range(text);
        let days = match (self.julian, self.day_of_year) {
            (Some(julian), _) => julian - 2_440_588,
            (None, day_of_year) => {
                let given = self.year.unwrap_or(0);
                let before = self.before_christ || given < 0;
                // without a year it is 1 BC
                let year = match self.century.filter(|_| given == 0 || self.is_short_year) {
                    Some(century) => of_century(if before { -century } else { century }, given),
                    None if before => 1 - given.abs(),
                    None => given,
                };
                if year.abs() > 300_000 {
                    return Err(out());
                }
                let by_weeks = self.by_weeks == Some(true);
                let day_of_year = day_of_year.or(self.week.filter(|_| !by_weeks).map(|week| (week - 1) * 7 + 1));
                if by_weeks && (self.week.is_some() || day_of_year.is_some()) {
                    let days = match (day_of_year, self.week) {
                        (Some(of_year), _) => iso_year(year) + of_year - 1,
                        (None, week) => {
                            iso_year(year) + (week.unwrap_or(1) - 1) * 7 + self.iso_weekday.filter(|d| *d > 0).unwrap_or(1) - 1
                        }
                    };
                    return self.at_time(days, text);
                }
                let day = self.week_of_month.map(|week| (week - 1) * 7 + 1).or(self.day).unwrap_or(1);
                if let Some(of_year) = day_of_year {
                    let leap = days_in_month(year, 2) == 29;
                    if of_year < 1 || of_year > 365 + i64::from(leap) {
                        return Err(out());
                    }
                    days_from_civil(Civil { year, month: 1, day: 1 }) + of_year - 1
                } else {
                    let month = self.month.unwrap_or(1);
                    let (month, day) = (if month == 0 { 1 } else { month }, if day == 0 { 1 } else { day });
                    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || year.abs() > 300_000 {
                        return Err(out());
                    }
                    days_from_civil(Civil { year, month, day })
                }
            }
        };
        self.at_time(days, text)
    }

    /// This day, and its time.
    fn at_time(self, days: i64, text: &str) -> EvalResult<(i64, i64, bool)> {
        let out = || date_range(text);
        let mut hour = self.hour;
        if self.hour_of_12 {
            if !(1..=12).contains(&hour) {
                return Err(EvalError::new("22007", format!("hour \"{hour}\" is invalid for the 12-hour clock")));
            }
            hour = match self.afternoon {
                Some(true) => hour % 12 + 12,
                Some(false) => hour % 12,
                None => hour,
            };
        }
        if !(0..24).contains(&hour) || !(0..60).contains(&self.minute) || !(0..60).contains(&self.second) {
            return Err(out());
        }
        let seconds = match self.seconds {
            Some(s) if (0..86_400).contains(&s) => s,
            Some(_) => return Err(out()),
            None => hour * 3600 + self.minute * 60 + self.second,
        };
        Ok((days, (seconds - self.offset) * 1_000_000 + self.fraction_us, self.zoned))
    }
}

/// Whether a field of dates belongs to weeks of ISO 8601 or to months; `None` where it is of neither.
fn convention(field: Field) -> Option<bool> {
    match field {
        Field::IsoYear(_) | Field::IsoWeek | Field::IsoDayOfWeek | Field::IsoDayOfYear => Some(true),
        Field::Year(_)
        | Field::YearComma
        | Field::Month
        | Field::MonthShort
        | Field::MonthNumber
        | Field::Roman
        | Field::Day
        | Field::DayShort
        | Field::DayOfYear
        | Field::DayOfMonth
        | Field::DayOfWeek
        | Field::WeekOfMonth
        | Field::Week => Some(false),
        _ => None,
    }
}

/// The year of a century, 0 its first: the 21st begins with 2001.
fn of_century(century: i64, given: i64) -> i64 {
    match (given.abs() % 100, century >= 0) {
        (0, true) if given == 0 => (century - 1) * 100 + 1,
        (0, false) if given == 0 => century * 100 + 1,
        (0, true) => century * 100,
        (0, false) => century * 100 + 1,
        (year, true) => (century - 1) * 100 + year,
        (year, false) => (century + 1) * 100 - year + 1,
    }
}

/// The day from 1970 that an ISO 8601 year begins with: the Monday of the week that has January 4th.
fn iso_year(year: i64) -> i64 {
    let fourth = days_from_civil(Civil { year, month: 1, day: 4 });
    fourth - (fourth + 3).rem_euclid(7)
}

fn is_number(field: Field) -> bool {
    !matches!(
        field,
        Field::Month
            | Field::MonthShort
            | Field::Day
            | Field::DayShort
            | Field::Noon
            | Field::NoonDots
            | Field::Era
            | Field::EraDots
            | Field::Roman
    )
}
