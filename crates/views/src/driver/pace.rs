//! How far a version is with its history, and how fast it may go on: rows that its reading threads let through, and a brake on them.
//!
//! ```text
//!   history ─▶ a thread that reads ahead for each worker ─▶ [let_through: counts, waits] ─▶ worker
//! ```
//! Invariant: what is braked are the threads that read ahead, never a worker, so nothing but this version waits; every row goes through once,
//! whatever the rate was meanwhile. A rate of 0 holds it where it is, until the rate is another one or the version is dropped: then its history ends
//! with an error, never early. Not promised: a rate to the row; pieces are a tenth of a second's.
//!
//! A history is cut into parts, and as many of them as take [`RUN`] are one epoch, a run: its end is where a checkpoint may save what was read by
//! then. Each end costs what the output changed since the one before it, however often that changes again: a hundred parts that each touch a tenth
//! of the groups cost ten times the whole as a hundred epochs, and nothing to speak of as a few. A run is decided before a row of it is read.

use crate::version::trace::Past;
use parking_lot::{Condvar, Mutex};
use regauge_types::{Delta, Epoch, env::Clock};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// How long a run takes, about, where no rate is set; with a rate each part is one. A speed that falls within a run makes it longer. A checkpoint waits for the end of up to three, and for no more than
/// 20 s.
const RUN: Duration = Duration::from_secs(3);
/// A run has at most so many times the parts of the one before: the first rows may not be like the others.
const GROWTH: usize = 8;

/// Rates are kept by pieces of at most so many rows.
const PIECE_ROWS: u64 = 8192;

/// What a history ends with that nobody wants any more.
const UNWANTED: &str = "its history is not wanted any more";

/// See the module's header.
pub struct Pace {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    /// Rows a second; `None` for as fast as it goes.
    rate: Option<u64>,
    stopped: bool,
    /// Read by an earlier process.
    before: u64,
    done: u64,
    all: u64,
    begun: Duration,
    /// Rows went through up to here since the rate was set, and when that was.
    since: (u64, Duration),
    /// The same when the last run was let go, for how long the next one is to be: how fast it was at first, or while it was held, says nothing.
    mark: (u64, Duration),
    /// The greatest part that somebody was told the run of.
    entered: usize,
    /// The next rows may go then.
    due: Duration,
    /// How many parts the history has, and how many of them are a run at most.
    parts: usize,
    run_max: usize,
    /// The last part of each run that may be read, ascending, from 0.
    ends: Vec<usize>,
    /// That of the run after these, where somebody has asked for the state there.
    planned: Option<usize>,
}

impl State {
    fn last(&self) -> usize {
        self.ends.last().copied().unwrap_or_default()
    }

    /// The last part of the run after those that may be read; `None` if nothing is left.
    fn next_end(&self, now: Duration) -> Option<usize> {
        let last = self.last();
        if last + 1 >= self.parts {
            return None;
        }
        if let Some(planned) = self.planned {
            return Some(planned);
        }
        let before = self.ends.len().checked_sub(2).map_or(last + 1, |i| last - self.ends[i]);
        let rows = (self.all.saturating_sub(self.before) / self.parts as u64).max(1);
        let (read, time) = (self.done.saturating_sub(self.mark.0), now.saturating_sub(self.mark.1).as_micros().max(1));
        let in_a_run = u64::try_from(u128::from(read) * RUN.as_micros() / time).unwrap_or(u64::MAX);
        let parts = if self.rate.is_some() { 1 } else { in_a_run / rows };
        let parts = usize::try_from(parts).unwrap_or(usize::MAX).clamp(1, before.saturating_mul(GROWTH)).min(self.run_max);
        Some(last.saturating_add(parts).min(self.parts - 1))
    }
}

/// How far a version is with its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Rows that were read.
    pub done: u64,
    /// Those of them that an earlier process read: this one goes on from a checkpoint of a half-built state.
    pub before: u64,
    /// Rows that there are to read; those of views that it reads are not counted.
    pub all: u64,
    /// Since its history was begun, or its rate was set.
    pub rows_per_s: u64,
    /// At this rate; `None` while nothing moves.
    pub left: Option<Duration>,
    /// How fast it may go.
    pub rate: Option<u64>,
}

impl Pace {
    /// So many rows were read, before this process, of so many.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, (done, all): (u64, u64), rate: Option<u64>) -> Pace {
        let now = clock.steady();
        let state = State {
            rate,
            stopped: false,
            before: done,
            done,
            all,
            begun: now,
            since: (done, now),
            mark: (done, now),
            entered: 0,
            due: now,
            parts: 1,
            run_max: 1,
            ends: vec![0],
            planned: None,
        };
        Pace { clock, state: Mutex::new(state), moved: Condvar::new() }
    }

    /// From now on so fast. Runs that were not begun are of another length now.
    pub fn set(&self, rate: Option<u64>) {
        let now = self.clock.steady();
        let mut state = self.state.lock();
        (state.rate, state.due) = (rate, now);
        (state.since, state.mark) = ((state.done, now), (state.done, now));
        let begun = state.ends.partition_point(|end| *end < state.entered) + 1;
        state.ends.truncate(begun);
        self.moved.notify_all();
    }

    /// The history has so many parts, of which so many at most are one epoch. Said before anything of it is read.
    pub fn cut(&self, parts: usize, run_max: usize) {
        let mut state = self.state.lock();
        (state.parts, state.run_max) = (parts.max(1), run_max.max(1));
    }

    /// So many parts are through: the run behind the one that is being read may be read as well, so that nobody waits for this call. What is
    /// behind that has not begun, and whoever asks for the state at its end is in time.
    pub fn passed(&self, parts: usize) {
        let now = self.clock.steady();
        let mut state = self.state.lock();
        let at = state.ends.partition_point(|end| *end < parts);
        while state.ends.len() < at + 2
            && let Some(end) = state.next_end(now)
        {
            state.ends.push(end);
            (state.planned, state.mark) = (None, (state.done, now));
            self.moved.notify_all();
        }
    }

    /// The last part of the first run that may not be read yet: it stays so, for whoever asks for the state there; and about how many rows were read
    /// by then. `None` if there is none before the history's end.
    #[must_use]
    pub fn plan(&self) -> Option<(usize, u64)> {
        let now = self.clock.steady();
        let mut state = self.state.lock();
        let end = state.next_end(now)?.min(state.parts.saturating_sub(2));
        let end = Some(end).filter(|end| *end > state.last())?;
        state.planned = Some(end);
        let ours = u128::from(state.all.saturating_sub(state.before));
        let by_then = state.before + u64::try_from(ours * (end as u128 + 1) / state.parts as u128).unwrap_or(0);
        // with a rate it is not far, and what was read is known
        Some((end, if state.rate.is_some() { state.done } else { by_then }))
    }

    /// The last part of the run that a part is of, once that may be read; the part itself when nobody wants it any more.
    fn run_of(&self, part: usize) -> usize {
        let mut state = self.state.lock();
        self.moved.wait_while(&mut state, |s| part > s.last() && !s.stopped);
        state.entered = state.entered.max(part);
        state.ends.get(state.ends.partition_point(|end| *end < part)).copied().unwrap_or(part)
    }

    /// Waits until a part may be read; false when nobody wants it any more.
    fn enter(&self, part: usize) -> bool {
        let mut state = self.state.lock();
        self.moved.wait_while(&mut state, |s| part > s.last() && !s.stopped);
        !state.stopped
    }

    /// Nobody wants its history any more: who waits is let go.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.moved.notify_all();
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let state = self.state.lock();
        let now = self.clock.steady();
        let (from, since) = if state.rate.is_some() { state.since } else { (state.before, state.begun) };
        let micros = now.saturating_sub(since).as_micros().max(1);
        let rows = u128::from(state.done.saturating_sub(from));
        let rows_per_s = u64::try_from(rows * 1_000_000 / micros).unwrap_or(u64::MAX);
        let all = state.all.max(state.done);
        let speed = if state.rate == Some(0) { 0 } else { rows_per_s };
        let left = (speed > 0).then(|| Duration::from_millis((all - state.done).saturating_mul(1000) / speed));
        Progress { done: state.done, before: state.before, all, rows_per_s, left, rate: state.rate }
    }

    /// Rows of a piece at the rate of now.
    fn piece(&self) -> u64 {
        let rate = self.state.lock().rate;
        rate.map_or(PIECE_ROWS, |rate| (rate / 10).clamp(1, PIECE_ROWS))
    }

    /// Waits until so many rows may go; false when nobody wants them any more.
    fn let_through(&self, rows: u64) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return false;
            }
            let now = self.clock.steady();
            match state.rate {
                None => break,
                Some(0) => self.moved.wait(&mut state),
                Some(rate) if state.due <= now => {
                    let time = Duration::from_micros(rows.saturating_mul(1_000_000) / rate);
                    state.due = now.max(state.due).saturating_add(time);
                    break;
                }
                Some(_) => {
                    let time = state.due.saturating_sub(now);
                    self.moved.wait_for(&mut state, time);
                }
            }
        }
        state.done += rows;
        true
    }
}

/// A past that goes through a pace.
pub struct Paced {
    /// What is read.
    pub past: Arc<dyn Past>,
    /// How fast.
    pub pace: Arc<Pace>,
}

struct Pieces {
    rows: Box<dyn Iterator<Item = Result<Delta, String>> + Send>,
    pace: Arc<Pace>,
    /// The part that they are, until it may be read.
    part: Option<usize>,
    left: VecDeque<Delta>,
    is_over: bool,
}

impl Paced {
    fn paced(
        &self,
        part: usize,
        rows: Box<dyn Iterator<Item = Result<Delta, String>> + Send>,
    ) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        Box::new(Pieces { rows, pace: Arc::clone(&self.pace), part: Some(part), left: VecDeque::new(), is_over: false })
    }
}

impl Past for Paced {
    fn open(&self, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        self.paced(0, self.past.open(worker, workers))
    }

    fn cuts(&self) -> Vec<Epoch> {
        self.past.cuts()
    }

    fn run(&self, part: usize) -> usize {
        self.pace.run_of(part)
    }

    fn open_part(&self, part: usize, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        self.paced(part, self.past.open_part(part, worker, workers))
    }
}

impl Iterator for Pieces {
    type Item = Result<Delta, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        if let Some(part) = self.part.take()
            && !self.pace.enter(part)
        {
            self.is_over = true;
            return Some(Err(UNWANTED.to_owned()));
        }
        while self.left.is_empty() {
            match self.rows.next()? {
                Ok(delta) => self.left.push_back(delta),
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
        let delta = self.left.pop_front()?;
        let (rows, piece) = (delta.n_rows(), usize::try_from(self.pace.piece()).unwrap_or(usize::MAX));
        let first = if rows > piece {
            self.left.push_front(delta.slice(piece, rows - piece));
            delta.slice(0, piece)
        } else {
            delta
        };
        if self.pace.let_through(first.n_rows() as u64) {
            return Some(Ok(first));
        }
        self.is_over = true;
        // An end would be a history that is short of rows.
        Some(Err(UNWANTED.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Moves by what is slept only.
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn wall_ms(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }

        fn steady(&self) -> Duration {
            Duration::from_millis(self.wall_ms())
        }

        fn sleep(&self, _: Duration) {}
    }

    struct Fixed;

    impl Past for Fixed {
        fn open(&self, _: usize, _: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
            let batch = |from: i64| {
                let column: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 1000));
                Ok(Delta::ones(RecordBatch::try_from_iter([("n", column)]).unwrap()))
            };
            Box::new((0..5).map(move |i| batch(i * 1000)))
        }
    }

    fn numbers(rows: impl Iterator<Item = Result<Delta, String>>) -> Vec<i64> {
        use arrow::{array::AsArray, datatypes::Int64Type};
        rows.flat_map(|d| d.unwrap().rows.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn every_row_goes_through_once_whatever_the_rate_was() {
        let clock = Arc::new(Hand(AtomicU64::new(0)));
        let pace = Arc::new(Pace::new(clock.clone(), (0, 5000), Some(70_000)));
        let mut rows = Paced { past: Arc::new(Fixed), pace: pace.clone() }.open(0, 1);
        let mut seen = numbers(rows.by_ref().take(1));
        assert_eq!(seen.len(), 1000);
        pace.set(Some(300));
        seen.extend(numbers(rows.by_ref().take(1)));
        assert_eq!(seen.len(), 1030, "a tenth of a second's rows");
        clock.0.store(1000, Ordering::SeqCst);
        let progress = pace.progress();
        assert_eq!((progress.done, progress.all, progress.rows_per_s, progress.rate), (1030, 5000, 30, Some(300)));
        assert_eq!(progress.left, Some(Duration::from_millis(3970 * 1000 / 30)));
        pace.set(None);
        seen.extend(numbers(rows));
        assert_eq!(seen, (0..5000).collect::<Vec<_>>());
        assert_eq!((pace.progress().done, pace.progress().rate), (5000, None));
    }

    #[test]
    fn a_run_has_as_many_parts_as_take_some_seconds_and_ends_where_somebody_asked() {
        let clock = Arc::new(Hand(AtomicU64::new(0)));
        let pace = Pace::new(clock.clone(), (0, 100_000), None);
        pace.cut(100, usize::MAX);
        let runs = |parts: &[usize]| parts.iter().map(|part| pace.run_of(*part)).collect::<Vec<_>>();
        pace.passed(0);
        assert_eq!(runs(&[0, 1]), [0, 1], "the first two tell how fast it goes");
        clock.0.store(1000, Ordering::SeqCst);
        assert!(pace.let_through(1000));
        pace.passed(1);
        assert_eq!(runs(&[2, 3, 4]), [4, 4, 4], "a thousand rows a second, a thousand a part");
        clock.0.store(1100, Ordering::SeqCst);
        assert!(pace.let_through(99_000));
        assert_eq!(pace.plan(), Some((28, 29_000)), "three times eight: not the hundreds that this speed would be");
        pace.set(Some(500));
        assert_eq!(pace.plan(), Some((28, 100_000)), "who asked has to find it there");
        pace.passed(2);
        assert_eq!(runs(&[5, 28]), [28, 28]);
        pace.passed(5);
        assert_eq!(runs(&[29]), [29], "with a rate, a part each");
        pace.set(None);
        let read = |ms| {
            clock.0.store(ms, Ordering::SeqCst);
            assert!(pace.let_through(50_000));
        };
        read(1200);
        pace.passed(29);
        assert_eq!(runs(&[30]), [37], "eight times one");
        read(1300);
        assert_eq!((pace.plan(), pace.plan()), (Some((98, 99_000)), Some((98, 99_000))), "the last part's end is no cut");
        pace.passed(37);
        assert_eq!((runs(&[38, 98]), pace.plan()), (vec![98, 98], None));
        pace.passed(98);
        assert_eq!((runs(&[99]), pace.plan()), (vec![99], None));
        let pace = Pace::new(clock.clone(), (0, 100_000), None);
        pace.cut(100, 2);
        for parts in 0..60 {
            assert!(pace.let_through(50_000));
            pace.passed(parts);
        }
        assert_eq!([0, 1, 2, 4, 58].map(|part| pace.run_of(part)), [0, 2, 2, 4, 58], "no more than there is memory for");
        let pace = Pace::new(clock.clone(), (0, 100_000), None);
        pace.cut(100, usize::MAX);
        pace.passed(0);
        clock.0.store(2300, Ordering::SeqCst);
        assert!(pace.let_through(10_000));
        pace.passed(1);
        assert_eq!((pace.run_of(0), pace.enter(9)), (0, true));
        // a rate that is set is that of all that nobody has begun
        pace.set(Some(5));
        (0..2).for_each(|parts| pace.passed(parts));
        assert_eq!([1, 2].map(|part| pace.run_of(part)), [1, 2]);
        pace.stop();
        assert_eq!(pace.run_of(200), 200, "nobody waits for what is not wanted");
    }

    #[test]
    fn a_history_that_is_held_is_let_go_and_does_not_end_early() {
        let clock = Arc::new(Hand(AtomicU64::new(0)));
        let pace = Arc::new(Pace::new(clock, (0, 5000), Some(0)));
        let mut rows = Paced { past: Arc::new(Fixed), pace: pace.clone() }.open(0, 1);
        assert_eq!(pace.progress().left, None);
        let thread = regauge_types::Env::real().threads;
        let held = Arc::new(Mutex::new(None));
        let told = held.clone();
        let waiting = thread.spawn("held", Box::new(move || *told.lock() = Some((rows.next(), rows.next().is_none())))).unwrap();
        pace.stop();
        waiting.join().unwrap();
        assert!(matches!(held.lock().take(), Some((Some(Err(_)), true))));
    }
}
