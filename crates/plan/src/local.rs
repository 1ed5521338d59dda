//! The time zone in which moments are read, shown and taken apart where nothing else names one: the session's `TimeZone`.
//!
//! ```text
//!   session: SET timezone ─▶ each step of its statements runs within enter(zone) ─▶ kernels and text forms ask here()
//!   plan of a query: the zone's name stands in execution.time_zone, for calls that another task makes
//!   view, sink, watermark: nobody enters anything, or enter(UTC) ─▶ here() is UTC
//! ```
//! PostgreSQL calls these functions stable: they answer by a setting. Ours stay functions of their arguments for everything that is kept
//! (views count in UTC), and answer by the session's zone in statements that end. Invariant: the zone is the thread's for as long as
//! the guard lives, and a guard never lives across a wait: who polls enters anew. Cost: reading a thread's cell per call.
//! It does not know sessions, nor who may set what.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono_tz::Tz;

use crate::functions::zone::offset_text;

pub use crate::functions::zone::Zone;

thread_local! {
    static HERE: Cell<Zone> = const { Cell::new(Zone::UTC) };
    static MOMENT: RefCell<Option<Moment>> = const { RefCell::new(None) };
}

/// The zone of this thread now.
#[must_use]
pub fn here() -> Zone {
    HERE.get()
}

/// Puts the zone that was before back when it is dropped.
#[must_use = "the zone holds as long as this lives"]
pub struct Entered(Zone, PhantomData<*const ()>);

impl Drop for Entered {
    fn drop(&mut self) {
        HERE.set(self.0);
    }
}

/// From here on moments are of this zone, until what is returned is dropped.
pub fn enter(zone: Zone) -> Entered {
    Entered(HERE.replace(zone), PhantomData)
}

/// When a transaction began: what `now()` is for all of its statements. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Moment(Arc<AtomicI64>);

impl Moment {
    /// Another transaction begins: microseconds since 1970.
    pub fn set(&self, us: i64) {
        self.0.store(us, Ordering::Relaxed);
    }

    /// The moment of whose statements this thread plans now; none if nobody has entered one.
    pub(crate) fn here() -> Option<i64> {
        let entered = MOMENT.with_borrow(Option::clone)?;
        Some(entered.0.load(Ordering::Relaxed)).filter(|us| *us != 0)
    }

    /// From here on `now()` is this moment, until what is returned is dropped.
    pub fn enter(&self) -> EnteredMoment {
        EnteredMoment(MOMENT.replace(Some(self.clone())), PhantomData)
    }
}

/// Puts the moment that was before back when it is dropped.
#[must_use = "the moment holds as long as this lives"]
pub struct EnteredMoment(Option<Moment>, PhantomData<*const ()>);

impl Drop for EnteredMoment {
    fn drop(&mut self) {
        MOMENT.set(self.0.take());
    }
}

/// The zone that a value of the setting `TimeZone` means, and how PostgreSQL shows the setting: a name of the IANA data, a number of
/// hours east of Greenwich, an interval (`INTERVAL '-08:00'` as text), or an offset as POSIX writes it (`UTC+3`, which lies west).
#[must_use]
pub fn setting(text: &str) -> Option<(Zone, String)> {
    let text = text.trim();
    if let Some(rest) = text.get(..8).filter(|word| word.eq_ignore_ascii_case("interval")).map(|_| &text[8..]) {
        let (months, days, nanos) = crate::pgtypes::parse_interval(rest.trim().trim_matches('\'')).ok()?;
        return (months == 0 && days == 0).then(|| east(nanos / 1_000_000_000))?;
    }
    if let Ok(hours) = text.parse::<f64>() {
        // as strtod reads it; NaN and what no clock shows are none
        #[expect(clippy::cast_possible_truncation, reason = "the range is judged first")]
        return if hours.abs() <= 167.0 { east((hours * 3600.0) as i64) } else { None };
    }
    if let Some(zone) = named(text) {
        // PostgreSQL shows its names as they stand in the data, UTC's among them.
        return Some((if zone.name() == "UTC" { Zone::UTC } else { Zone::Named(zone) }, zone.name().to_owned()));
    }
    let seconds = crate::functions::zone::posix(text)?;
    Some((Zone::Fixed(seconds), text.to_ascii_uppercase()))
}

/// A zone that lies so many seconds east, and what PostgreSQL calls it: `<+02>-02`.
fn east(seconds: i64) -> Option<(Zone, String)> {
    if seconds.abs() > 167 * 3600 {
        return None;
    }
    // zero lies east, and its other side west
    let west = if seconds == 0 { "-00".to_owned() } else { offset_text(-seconds) };
    Some((Zone::Fixed(seconds), format!("<{}>{west}", offset_text(seconds))))
}

/// A name of the IANA data, in whatever case.
pub(crate) fn named(name: &str) -> Option<Tz> {
    let exact = name.parse::<Tz>().ok();
    exact.or_else(|| chrono_tz::TZ_VARIANTS.iter().copied().find(|zone| zone.name().eq_ignore_ascii_case(name)))
}

/// What stands in a plan's options for this zone.
#[must_use]
pub fn option_of(zone: Zone) -> String {
    match zone {
        Zone::Fixed(seconds) => seconds.to_string(),
        Zone::Named(zone) => zone.name().to_owned(),
    }
}

/// Enters the zone that a plan's options name, if they name one that [`option_of`] has written.
pub(crate) fn enter_option(option: Option<&str>) -> Option<Entered> {
    // What DataFusion and the planner write by themselves: the thread's zone holds.
    let option = option.filter(|o| !matches!(*o, "UTC" | "+00:00"))?;
    let zone = match option.parse::<i64>() {
        Ok(seconds) => Zone::Fixed(seconds),
        Err(_) => Zone::Named(option.parse().ok()?),
    };
    Some(enter(zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_holds_until_its_guard_is_dropped() {
        assert!(here().is_utc());
        let (berlin, shown) = setting("europe/berlin").expect("known");
        assert_eq!(shown, "Europe/Berlin");
        {
            let _berlin = enter(berlin);
            assert!(!here().is_utc());
            let _utc = enter(Zone::UTC);
            assert!(here().is_utc());
        }
        assert!(here().is_utc());
    }

    #[test]
    fn settings_are_shown_as_postgres_shows_them() {
        let shown = |text: &str| setting(text).map(|(_, shown)| shown);
        // `SET timezone = ..; SHOW timezone` of PostgreSQL 15
        for (text, expected) in
            [("utc", "UTC"), ("-8", "<-08>+08"), ("5.5", "<+05:30>-05:30"), ("UTC+3", "UTC+3"), ("Etc/GMT-2", "Etc/GMT-2")]
        {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(shown("Mars/Olympus"), None);
        assert_eq!(shown("PST"), None);
    }
}
