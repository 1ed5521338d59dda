//! What the demo shows: written by the one who plays, the one who asks and the one who compares, drawn by the screen.
//!
//! One lock, held for the length of an assignment; nobody waits for anybody while holding it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Points of the sparkline.
const RATES_KEPT: usize = 240;

/// Where the run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Hours of 2013 go by.
    Live,
    /// Views are made again from the log and compared.
    Rebuilding,
    /// The verdict is in.
    Done,
}

/// A table of the screen: what is asked, and its rows as text.
#[derive(Clone, Default)]
pub struct Panel {
    /// Column names.
    pub columns: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

/// All that is shown.
pub struct Board {
    /// Where the run stands.
    pub phase: Phase,
    /// The hour of 2013 that was played last.
    pub hour: String,
    /// Flights played.
    pub played: usize,
    /// Flights to play.
    pub to_play: usize,
    /// Hours of 2013 per second; infinite means as fast as it goes.
    pub hours_per_s: f64,
    /// Nothing is played.
    pub paused: bool,
    /// The user wants to go on to the end.
    pub skip: bool,
    /// Acknowledged to visible, of each hour.
    pub freshness: Vec<Duration>,
    /// Events per quarter of a second.
    pub rates: VecDeque<u64>,
    /// The views, in the order of `views::PANELS`.
    pub panels: Vec<Panel>,
    /// How to look at it from outside.
    pub psql: String,
    /// Lines of the comparison.
    pub verdict: Vec<String>,
}

/// A board that is shared.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Board>>);

impl Shared {
    /// Before the first hour.
    pub fn new(to_play: usize, hours_per_s: f64, psql: String) -> Shared {
        Shared(Arc::new(Mutex::new(Board {
            phase: Phase::Live,
            hour: String::new(),
            played: 0,
            to_play,
            hours_per_s,
            paused: false,
            skip: false,
            freshness: vec![],
            rates: VecDeque::new(),
            panels: vec![],
            psql,
            verdict: vec![],
        })))
    }

    /// A look, or a change.
    pub fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// One more point of the sparkline.
    pub fn rate(&mut self, events: u64) {
        if self.rates.len() >= RATES_KEPT {
            self.rates.pop_front();
        }
        self.rates.push_back(events);
    }
}
