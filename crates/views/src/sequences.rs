//! Numbers of sequences: reserved in the catalog a stretch at a time, given out of memory.
//!
//! ```text
//!   nextval ─▶ a number below what is reserved? ─▶ given
//!                       └─ none left: reserve the next stretch by a commit of its own, durable before a number of it is given
//! ```
//! Invariant: no number is given twice, not by a transaction that was rolled back, nor after a crash. Numbers that were reserved
//! and not given are left out after a restart: at most [`STRETCH_MAX`] for each sequence. A sequence that is not committed yet, and one
//! that its transaction has begun anew (TRUNCATE .. RESTART IDENTITY), is counted within its session, which reserves what it gave when it
//! commits. Cost: a commit for each stretch, stretches doubling.

use crate::{
    catalog::{Catalog, Event, Sequence, Wish, decide},
    error::{Error, Result, sqlstate as code},
    judge::{Judged, Proposal},
};
use parking_lot::Mutex;
use regauge_log::{Append, Log, Transaction};
use regauge_types::{CATALOG_TOPIC, ErrorKind};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

/// Numbers of the first stretch; PostgreSQL logs as many ahead.
const STRETCH_MIN: usize = 32;
/// Numbers of the longest stretch.
pub const STRETCH_MAX: usize = 4096;
/// Attempts to reserve while others change the catalog.
const ATTEMPTS: usize = 100;

/// All sequences of an instance.
pub struct Sequences {
    log: Log,
    judged: Arc<Judged>,
    counters: Mutex<HashMap<u32, Counter>>,
}

#[derive(Clone, Copy)]
struct Counter {
    given: Option<i64>,
    /// [`Sequence::n_reserved`] that it counts behind: another one, and somebody has set it meanwhile.
    n_reserved: u64,
    /// Numbers up to what is reserved.
    left: usize,
    stretch: usize,
}

impl Sequences {
    /// Of an open instance.
    #[must_use]
    pub fn new(log: Log, judged: Arc<Judged>) -> Sequences {
        Sequences { log, judged, counters: Mutex::default() }
    }

    /// The next `n` numbers.
    fn take(&self, id: u32, n: usize) -> Result<Vec<i64>> {
        let mut counters = self.counters.lock();
        let mut numbers = Vec::with_capacity(n);
        while numbers.len() < n {
            let catalog = self.judged.catalog();
            let sequence = catalog.sequence(id).ok_or_else(gone)?;
            let n_reserved = sequence.n_reserved;
            let fresh = Counter { given: sequence.reserved, n_reserved, left: 0, stretch: STRETCH_MIN };
            let counter = counters.entry(id).or_insert(fresh);
            if counter.n_reserved != n_reserved {
                *counter = fresh;
            }
            while numbers.len() < n && counter.left > 0 {
                counter.given = sequence.spec.after(counter.given);
                counter.left -= 1;
                numbers.extend(counter.given);
            }
            if numbers.len() < n {
                let wanted = (n - numbers.len()).max(counter.stretch);
                let (last, reserved) = stretch(sequence, counter.given, wanted)?;
                match self.set(id, Some(n_reserved), Some(last)) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => {
                        // What it was made of may come to nothing, and its number be given again.
                        counters.remove(&id);
                        return Err(error);
                    }
                }
                counter.n_reserved = n_reserved + 1;
                counter.left = reserved;
                counter.stretch = (counter.stretch * 2).min(STRETCH_MAX);
            }
        }
        Ok(numbers)
    }

    /// Reserves numbers up to `last`, durable when this returns true. False, and nothing was done, if the sequence was set since
    /// `counted` ([`Sequence::n_reserved`]).
    fn set(&self, id: u32, counted: Option<u64>, last: Option<i64>) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            let generation = self.judged.generation();
            let catalog = self.judged.catalog();
            let events = decide(&catalog, Wish::Reserve { sequence: id, last })?;
            let now = catalog.sequence(id).ok_or_else(gone)?.n_reserved;
            if counted.is_some_and(|then| then != now) {
                return Ok(false);
            }
            let rows = crate::catalog::encode(&events).map_err(Error::internal)?;
            let proposal = Proposal {
                snapshot: self.judged.last(),
                catalog: catalog.changed(),
                events,
                generation,
                counted: counted.map(|then| (id, then)),
                ..Proposal::default()
            };
            let appends = vec![Append { topic: CATALOG_TOPIC, partition: None, rows }];
            let transaction = Transaction { appends, context: Some(Box::new(proposal)), ..Transaction::default() };
            match self.log.commit(transaction) {
                Ok(_) => return Ok(true),
                Err(regauge_log::LogError::Refused(_)) => {}
                Err(error) => return Err(Error::from_log(error)),
            }
        }
        Err(Error::conflict("the catalog changes faster than a sequence can be reserved"))
    }
}

/// The last of the next `n` numbers, and how many they are: fewer if the sequence ends there.
fn stretch(sequence: &Sequence, after: Option<i64>, n: usize) -> Result<(i64, usize)> {
    let mut at = after;
    let mut count = 0;
    while count < n {
        let Some(next) = sequence.spec.after(at) else { break };
        at = Some(next);
        count += 1;
    }
    at.filter(|_| count > 0).map(|last| (last, count)).ok_or_else(|| ended(sequence))
}

fn ended(sequence: &Sequence) -> Error {
    let up = sequence.spec.increment > 0;
    let (what, bound) = if up { ("maximum", sequence.spec.max) } else { ("minimum", sequence.spec.min) };
    let message = format!("nextval: reached {what} value of sequence \"{}\" ({bound})", sequence.name.name);
    Error::new(ErrorKind::Exhausted, "2200H", message).hint("setval begins it again; CYCLE does so by itself")
}

fn gone() -> Error {
    Error::new(ErrorKind::NotFound, code::UNDEFINED_TABLE, "the sequence is gone")
}

/// A session's part in it: what it was given last.
pub struct Mine {
    shared: Arc<Sequences>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    given: HashMap<u32, i64>,
    last: Option<u32>,
    /// Sequences that only this session's transaction knows, or has begun anew.
    own: BTreeMap<u32, Own>,
}

/// How far a transaction's own sequence is.
#[derive(Clone, Copy)]
pub struct Own {
    /// [`Sequence::n_reserved`] of the transaction's catalog: another one, and what began it anew was rolled back to a savepoint.
    n_reserved: u64,
    last: Option<i64>,
}

impl State {
    /// Whether a sequence was begun anew by the transaction whose catalog this is of.
    fn is_begun(&self, sequence: &Sequence) -> bool {
        self.own.get(&sequence.id).is_some_and(|own| own.n_reserved == sequence.n_reserved)
    }
}

impl fmt::Debug for Mine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mine").finish_non_exhaustive()
    }
}

impl Mine {
    /// Of a session that was given nothing yet.
    #[must_use]
    pub fn new(shared: Arc<Sequences>) -> Mine {
        Mine { shared, state: Mutex::default() }
    }

    /// DISCARD SEQUENCES: nothing was given to this session.
    pub fn forget(&self) {
        let mut state = self.state.lock();
        state.given.clear();
        state.last = None;
    }

    /// `nextval` for `n` rows.
    pub fn next(&self, catalog: &Catalog, id: u32, n: usize) -> Result<Vec<i64>> {
        let sequence = catalog.sequence(id).ok_or_else(gone)?;
        let numbers = if !self.is_own(sequence) {
            self.shared.take(id, n)?
        } else {
            let mut state = self.state.lock();
            let n_reserved = sequence.n_reserved;
            let own = state.own.entry(id).or_insert(Own { n_reserved, last: sequence.reserved });
            own.n_reserved = n_reserved;
            let at = &mut own.last;
            let mut numbers = Vec::with_capacity(n);
            for _ in 0..n {
                let next = sequence.spec.after(*at).ok_or_else(|| ended(sequence))?;
                *at = Some(next);
                numbers.push(next);
            }
            numbers
        };
        if let Some(last) = numbers.last() {
            let mut state = self.state.lock();
            state.given.insert(id, *last);
            state.last = Some(id);
        }
        Ok(numbers)
    }

    /// `currval`.
    pub fn current(&self, catalog: &Catalog, id: u32) -> Result<i64> {
        let sequence = catalog.sequence(id).ok_or_else(gone)?;
        self.state.lock().given.get(&id).copied().ok_or_else(|| {
            let message = format!("currval of sequence \"{}\" is not yet defined in this session", sequence.name.name);
            Error::invalid("55000", message).hint("call nextval first")
        })
    }

    /// `lastval`.
    pub fn last(&self, catalog: &Catalog) -> Result<i64> {
        let last = self.state.lock().last;
        let undefined = || Error::invalid("55000", "lastval is not yet defined in this session").hint("call nextval first");
        self.current(catalog, last.ok_or_else(undefined)?)
    }

    /// `setval`: the next number is the one behind `value`, or `value` itself if it was not `called`.
    pub fn set(&self, catalog: &Catalog, id: u32, value: i64, called: bool) -> Result<i64> {
        let sequence = catalog.sequence(id).ok_or_else(gone)?;
        let spec = &sequence.spec;
        if !(spec.min..=spec.max).contains(&value) {
            let message = format!(
                "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                sequence.name.name, spec.min, spec.max
            );
            return Err(Error::invalid(code::NUMERIC_OUT_OF_RANGE, message));
        }
        let last = if called { Some(value) } else { value.checked_sub(spec.increment) };
        if !self.is_own(sequence) {
            self.shared.set(id, None, last)?;
        } else {
            self.state.lock().own.insert(id, Own { n_reserved: sequence.n_reserved, last });
        }
        if called {
            self.state.lock().given.insert(id, value);
        }
        Ok(value)
    }

    /// Whether nobody else is given numbers of it for now.
    fn is_own(&self, sequence: &Sequence) -> bool {
        self.state.lock().is_begun(sequence) || self.shared.judged.catalog().sequence(sequence.id).is_none()
    }

    /// The transaction has begun a sequence anew, in its catalog as well: from here on it counts by itself, until it ends.
    pub fn begin_anew(&self, sequence: &Sequence) {
        self.state.lock().own.insert(sequence.id, Own { n_reserved: sequence.n_reserved, last: sequence.reserved });
    }

    /// What a transaction that ends has given of its own sequences.
    #[must_use]
    pub fn settle(&self) -> BTreeMap<u32, Own> {
        std::mem::take(&mut self.state.lock().own)
    }

    /// Events that reserve it, for those that are still there and were counted.
    pub fn events(own: BTreeMap<u32, Own>, catalog: &Catalog) -> Vec<Event> {
        let counted = |(id, own): (u32, Own)| {
            let sequence = catalog.sequence(id)?;
            let is = own.n_reserved == sequence.n_reserved && own.last != sequence.reserved;
            is.then_some(Event::SequenceReserved { sequence: id, last: own.last })
        };
        own.into_iter().filter_map(counted).collect()
    }
}
