//! Texts of dates, times and moments as PostgreSQL reads them, with `DateStyle = ISO, MDY`: fields in nearly any order.
//!
//! ```text
//!   text ─▶ fields: number, date (1/8/1999, 8-Jan-99), time (04:05:06), word, zone (+02) ─▶ each fills what is still open ─▶ judged
//! ```
//! A number is what is missing: month, day and year in this order unless a month stands as a word; three digits or more are a year.
//! Not here: words that ask for a clock (`now`, `today`): a text is worth the same always; see `crate::batch::of_statements`.

use super::calendar::{self, Civil, DAY_US};
use crate::functions::error::{EvalError, EvalResult};
use crate::functions::zone::Zone;

/// What a text says.
pub(super) struct Moment {
    pub(super) civil: Option<Civil>,
    /// Microseconds of the day, 24:00 among them.
    pub(super) time_us: Option<i64>,
    pub(super) zone: Option<Zone>,
}

pub(super) fn bad(ty: &str, text: &str) -> EvalError {
    EvalError::new("22007", format!("invalid input syntax for type {ty}: \"{text}\""))
}

fn range(text: &str) -> EvalError {
    EvalError::new("22008", format!("date/time field value out of range: \"{text}\""))
}

/// More fields than this are no moment.
const FIELDS_MAX: usize = 25;

/// Why a field does not fit.
enum Fault {
    Syntax,
    Range,
    /// A zone that nobody knows.
    Zone(EvalError),
}

type Fits = Result<(), Fault>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Date,
    Time,
    Word,
    Zone,
}

/// Reads a text of a type whose name is `ty`.
///
/// # Errors
/// 22007 for what is none, 22008 for fields beyond their range, 22023 for an unknown zone.
pub(super) fn read(ty: &str, text: &str) -> EvalResult<Moment> {
    let lower = text.to_ascii_lowercase();
    let fields = fields(&lower).filter(|f| !f.is_empty() && f.len() <= FIELDS_MAX).ok_or_else(|| bad(ty, text))?;
    let mut read = Read { time_only: ty == "time", ..Read::default() };
    let outcome = read.all(&fields).and_then(|()| read.finish());
    let outcome = outcome.and_then(|()| Ok(Moment { civil: read.civil()?, time_us: read.time_us, zone: read.zone }));
    outcome.map_err(|fault| match fault {
        Fault::Syntax => bad(ty, text),
        Fault::Range => range(text),
        Fault::Zone(e) => e,
    })
}

/// Cuts a text in lower case into fields.
fn fields(text: &str) -> Option<Vec<(Kind, &str)>> {
    let b = text.as_bytes();
    let mut out = vec![];
    let mut i = 0;
    let digit = |i: usize| b.get(i).is_some_and(u8::is_ascii_digit);
    let while_ = |mut i: usize, is: &dyn Fn(u8) -> bool| {
        while b.get(i).is_some_and(|c| is(*c)) {
            i += 1;
        }
        i
    };
    while let Some(&c) = b.get(i) {
        let start = i;
        let kind = match c {
            c if c.is_ascii_whitespace() || c == 0x0b => {
                i += 1;
                continue;
            }
            c if c.is_ascii_digit() => {
                i = while_(i, &|c| c.is_ascii_digit());
                match b.get(i) {
                    Some(b':') => {
                        i = while_(i, &|c| c.is_ascii_digit() || c == b':' || c == b'.');
                        Kind::Time
                    }
                    Some(&by @ (b'-' | b'/' | b'.')) => {
                        i += 1;
                        if digit(i) {
                            i = while_(i, &|c| c.is_ascii_digit());
                            if b.get(i) == Some(&by) {
                                i = while_(i + 1, &|c| c.is_ascii_digit() || c == by);
                                Kind::Date
                            } else if by == b'.' {
                                Kind::Number
                            } else {
                                Kind::Date
                            }
                        } else {
                            i = while_(i, &|c| c.is_ascii_alphanumeric() || c == by);
                            Kind::Date
                        }
                    }
                    _ => Kind::Number,
                }
            }
            b'.' if digit(i + 1) => {
                i = while_(i + 1, &|c| c.is_ascii_digit());
                Kind::Number
            }
            c if c.is_ascii_alphabetic() => {
                i = while_(i, &|c| c.is_ascii_alphabetic());
                let joined = match b.get(i) {
                    Some(b'-' | b'/' | b'.') => true,
                    Some(b'+' | b'0'..=b'9') => !is_word(&text[start..i]),
                    _ => false,
                };
                if joined {
                    i = while_(i, &|c| c.is_ascii_alphanumeric() || b"+-/_.:".contains(&c));
                    Kind::Date
                } else {
                    Kind::Word
                }
            }
            b'+' | b'-' => {
                i = while_(i + 1, &|c| c.is_ascii_whitespace());
                if digit(i) {
                    i = while_(i, &|c| c.is_ascii_digit() || c == b':' || c == b'.' || c == b'-');
                    Kind::Zone
                } else {
                    return None;
                }
            }
            c if c.is_ascii_punctuation() => {
                i += 1;
                continue;
            }
            _ => return None,
        };
        out.push((kind, text.get(start..i)?));
    }
    Some(out)
}

const MONTHS: [&str; 12] =
    ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];

const DAYS: [&str; 18] = [
    "sun",
    "sunday",
    "mon",
    "monday",
    "tue",
    "tues",
    "tuesday",
    "wed",
    "weds",
    "wednesday",
    "thu",
    "thur",
    "thurs",
    "thursday",
    "fri",
    "friday",
    "sat",
    "saturday",
];

fn month(word: &str) -> Option<i64> {
    let found = MONTHS
        .iter()
        .position(|m| *m == word || (word.len() == 3 && m.starts_with(word)) || (word == "sept" && *m == "september"));
    found.and_then(|at| i64::try_from(at + 1).ok())
}

/// Words that a number may follow at once.
fn is_word(word: &str) -> bool {
    month(word).is_some()
        || DAYS.contains(&word)
        || ["am", "pm", "ad", "bc", "t", "j", "jd", "julian", "at", "on"].contains(&word)
}

/// What was read so far.
#[derive(Default)]
struct Read {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    /// The month stood as a word.
    word_month: bool,
    /// The year had one or two digits.
    short_year: bool,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    time_us: Option<i64>,
    hour: i64,
    afternoon: Option<bool>,
    before_christ: bool,
    christ: bool,
    zone: Option<Zone>,
    /// A number is a time, whether or not a date stands before it.
    time_only: bool,
    /// `T` or `J` stood before: what the next number is.
    next: Option<char>,
}

impl Read {
    fn all(&mut self, fields: &[(Kind, &str)]) -> Fits {
        for (kind, field) in fields {
            match kind {
                Kind::Date => self.date(field)?,
                Kind::Time => self.time(field)?,
                Kind::Zone => self.offset(field)?,
                Kind::Number => self.number_or_next(field)?,
                Kind::Word => self.word(field)?,
            }
        }
        if self.next.is_some() { Err(Fault::Syntax) } else { Ok(()) }
    }

    fn has_date(&self) -> bool {
        self.julian.is_some() || self.year.is_some() && (self.day_of_year.is_some() || self.month.is_some() && self.day.is_some())
    }

    fn date(&mut self, field: &str) -> Fits {
        if self.has_date() || self.next.is_some() {
            return self.zone_name(field);
        }
        let by = field.find(['-', '/', '.']).and_then(|at| field[at..].chars().next()).ok_or(Fault::Syntax)?;
        let parts: Vec<&str> = field.split(by).collect();
        if parts.iter().any(|p| p.is_empty()) || parts.len() > 3 {
            return Err(Fault::Syntax);
        }
        // The month first, if it is a word: it tells what the numbers are.
        for part in parts.iter().filter(|p| p.bytes().all(|b| b.is_ascii_alphabetic())) {
            if self.month.is_some() {
                return Err(Fault::Syntax);
            }
            self.month = Some(month(part).ok_or(Fault::Syntax)?);
            self.word_month = true;
        }
        for part in parts.iter().filter(|p| !p.bytes().all(|b| b.is_ascii_alphabetic())) {
            if !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Fault::Syntax);
            }
            self.number(part)?;
        }
        if self.has_date() { Ok(()) } else { Err(Fault::Syntax) }
    }

    fn number_or_next(&mut self, field: &str) -> Fits {
        match self.next.take() {
            Some('t') => self.packed_time(field),
            Some(_) => {
                let days = field.parse().map_err(|_| Fault::Syntax)?;
                if self.has_date() {
                    return Err(Fault::Syntax);
                }
                self.julian = Some(days);
                Ok(())
            }
            None if self.time_only && !self.word_month && self.year.is_none() => self.packed_time(field),
            None if field.contains('.') => match field.split_once('.') {
                // `1999.008`: a year and its day; `040506.789` behind a date: a time
                Some((year, day)) if !self.has_date() && self.month.is_none() && day.len() == 3 && year.len() == 4 => {
                    self.number(year)?;
                    self.number(day)
                }
                _ if self.has_date() => self.packed_time(field),
                _ => Err(Fault::Syntax),
            },
            None if field.len() >= 6 || self.has_date() => self.packed(field),
            None => self.number(field),
        }
    }

    /// Digits that stand for several fields: `20240105`, `240105`, behind a date `040506`.
    fn packed(&mut self, field: &str) -> Fits {
        if self.has_date() {
            return self.packed_time(field);
        }
        if self.year.is_some() || self.month.is_some() || self.day.is_some() {
            return self.number(field);
        }
        let at = field.len().checked_sub(4).filter(|at| *at <= 6).ok_or(Fault::Syntax)?;
        let n = |s: &str| s.parse::<i64>().map_err(|_| Fault::Syntax);
        let (year, rest) = field.split_at(at);
        self.short_year = at == 2;
        (self.year, self.month, self.day) = (Some(n(year)?), Some(n(&rest[..2])?), Some(n(&rest[2..])?));
        Ok(())
    }

    fn packed_time(&mut self, field: &str) -> Fits {
        if self.time_us.is_some() {
            return Err(Fault::Syntax);
        }
        let (digits, fraction) = field.split_once('.').map_or((field, ""), |(d, f)| (d, f));
        let n = |s: &str| s.parse::<i64>().map_err(|_| Fault::Syntax);
        match digits.len() {
            4 if fraction.is_empty() => self.clock(n(&digits[..2])?, n(&digits[2..])?, 0, ""),
            6 => self.clock(n(&digits[..2])?, n(&digits[2..4])?, n(&digits[4..])?, fraction),
            _ => Err(Fault::Syntax),
        }
    }

    /// PostgreSQL's DecodeNumber.
    fn number(&mut self, field: &str) -> Fits {
        let value: i64 = field.parse().ok().filter(|_| field.len() <= 7).ok_or(Fault::Range)?;
        let long = field.len() >= 3;
        if field.len() == 3 && self.year.is_some() && self.month.is_none() && self.day.is_none() && (1..=366).contains(&value) {
            self.day_of_year = Some(value);
            return Ok(());
        }
        let year = match (self.year.is_some(), self.month.is_some(), self.day.is_some()) {
            (false, false, false) => long,
            (true, false, false) | (false, false, true) | (true, false, true) => {
                self.month = Some(value);
                return Ok(());
            }
            (false, true, false) => self.word_month && long,
            (true, true, false) => {
                if self.word_month && long && self.short_year {
                    // What was taken for the year was the day.
                    self.day = self.year.replace(value);
                    self.short_year = false;
                    return Ok(());
                }
                false
            }
            (false, true, true) => true,
            (true, true, true) => return self.packed_time(field),
        };
        match () {
            () if year => {
                self.year = Some(value);
                self.short_year = field.len() <= 2;
            }
            () if self.month.is_none() => self.month = Some(value),
            () => self.day = Some(value),
        }
        Ok(())
    }

    fn time(&mut self, field: &str) -> Fits {
        let parts: Vec<&str> = field.split(':').collect();
        let n =
            |s: &str| if s.is_empty() || s.len() > 2 { Err(Fault::Syntax) } else { s.parse::<i64>().map_err(|_| Fault::Syntax) };
        self.next = self.next.filter(|c| *c != 't');
        match parts.as_slice() {
            [h, m] => self.clock(n(h)?, n(m)?, 0, ""),
            [h, m, s] => {
                let (s, fraction) = s.split_once('.').unwrap_or((s, ""));
                self.clock(n(h)?, n(m)?, n(s)?, fraction)
            }
            _ => Err(Fault::Syntax),
        }
    }

    fn clock(&mut self, hour: i64, minute: i64, second: i64, fraction: &str) -> Fits {
        if self.time_us.is_some() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Fault::Syntax);
        }
        let us = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse::<f64>().map_err(|_| Fault::Syntax)? * 1e6 };
        #[expect(clippy::cast_possible_truncation, reason = "at most a million")]
        let us = us.round_ties_even() as i64;
        let total = ((hour * 60 + minute) * 60 + second) * 1_000_000 + us;
        if hour > 24 || minute > 59 || second > 60 || total > DAY_US {
            return Err(Fault::Range);
        }
        self.hour = hour;
        self.time_us = Some(total);
        Ok(())
    }

    /// `+hh`, `+hhmm`, `+hh:mm[:ss]`: seconds east of Greenwich.
    fn offset(&mut self, field: &str) -> Fits {
        let (sign, digits) = field.split_at(1);
        let digits = digits.trim_start();
        let colons: Vec<&str> = digits.split(':').collect();
        let parts = match colons.as_slice() {
            [all] if all.len() == 3 => vec![&all[..1], &all[1..]],
            [all] if all.len() == 4 => vec![&all[..2], &all[2..]],
            [all] if all.len() == 6 => vec![&all[..2], &all[2..4], &all[4..]],
            _ => colons,
        };
        if parts.len() > 3 || self.zone.is_some() {
            return Err(Fault::Syntax);
        }
        let mut seconds = 0;
        for (part, (unit, most)) in parts.iter().zip([(3600, 15), (60, 59), (1, 59)]) {
            let n: i64 = part.parse().ok().filter(|_| part.len() <= 2).ok_or(Fault::Syntax)?;
            if n > most {
                return Err(Fault::Range);
            }
            seconds += n * unit;
        }
        self.zone = Some(Zone::Fixed(if sign == "-" { -seconds } else { seconds }));
        Ok(())
    }

    fn zone_name(&mut self, name: &str) -> Fits {
        if self.zone.is_some() {
            return Err(Fault::Syntax);
        }
        self.zone = Some(Zone::parse(name).map_err(|_| Fault::Zone(unknown_zone(name)))?);
        Ok(())
    }

    fn word(&mut self, word: &str) -> Fits {
        match word {
            "am" | "pm" => {
                if self.afternoon.replace(word == "pm").is_some() {
                    return Err(Fault::Syntax);
                }
            }
            "ad" => self.christ = true,
            "bc" => self.before_christ = true,
            "t" if (self.has_date() || self.time_only) && self.time_us.is_none() => self.next = Some('t'),
            "j" | "jd" | "julian" => self.next = Some('j'),
            "at" | "on" => {}
            "allballs" => {
                self.clock(0, 0, 0, "")?;
                self.zone = Some(Zone::Fixed(0));
            }
            _ if DAYS.contains(&word) => {}
            _ => match month(word) {
                Some(n) => {
                    // `5 Jan 2024`: what was taken for the month was the day.
                    if let (Some(day), false, None) = (self.month, self.word_month, self.day) {
                        self.day = Some(day);
                    } else if self.month.is_some() {
                        return Err(Fault::Syntax);
                    }
                    self.month = Some(n);
                    self.word_month = true;
                }
                None if self.has_date() || self.time_us.is_some() => {
                    return match Zone::parse(word) {
                        Ok(zone) if self.zone.is_none() => {
                            self.zone = Some(zone);
                            Ok(())
                        }
                        _ => Err(Fault::Syntax),
                    };
                }
                None => return Err(Fault::Syntax),
            },
        }
        Ok(())
    }

    fn finish(&mut self) -> Fits {
        if let Some(afternoon) = self.afternoon {
            let Some(time) = self.time_us else { return Err(Fault::Syntax) };
            if self.hour > 12 {
                return Err(Fault::Range);
            }
            let hour = self.hour % 12 + if afternoon { 12 } else { 0 };
            self.time_us = Some(time + (hour - self.hour) * 3_600_000_000);
        }
        Ok(())
    }

    fn civil(&self) -> Result<Option<Civil>, Fault> {
        if let Some(days) = self.julian {
            return Ok(Some(calendar::civil_from_days(days - 2_440_588)));
        }
        if self.year.is_none() && self.month.is_none() && self.day.is_none() {
            return if self.before_christ || self.christ { Err(Fault::Syntax) } else { Ok(None) };
        }
        if !self.has_date() {
            return Err(Fault::Syntax);
        }
        let year = self.year.unwrap_or(0);
        let year = match (self.before_christ, self.short_year) {
            (true, _) if year <= 0 => return Err(Fault::Range),
            (true, _) => 1 - year,
            (false, true) if year < 70 => year + 2000,
            (false, true) => year + 1900,
            (false, false) if year == 0 => return Err(Fault::Range),
            (false, false) => year,
        };
        if let Some(nth) = self.day_of_year {
            let first = calendar::days_from_civil(Civil { year, month: 1, day: 1 });
            let civil = calendar::civil_from_days(first + nth - 1);
            return if civil.year == year { Ok(Some(civil)) } else { Err(Fault::Range) };
        }
        let (month, day) = (self.month.unwrap_or(0), self.day.unwrap_or(0));
        if !(1..=12).contains(&month) || day < 1 || day > calendar::days_in_month(year, month) {
            return Err(Fault::Range);
        }
        Ok(Some(Civil { year, month, day }))
    }
}

fn unknown_zone(name: &str) -> EvalError {
    EvalError::new("22023", format!("time zone \"{name}\" not recognized"))
}
