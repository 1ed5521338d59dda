//! What is durable, and who waits for it: receipts, recent commits, the last durable lsn.
//!
//! The writer publishes after its fsync; everybody else waits or looks. Recent commits stay in memory up to a bound, so that the live path never reads the disk.
//! A waiter holds the ticket of its chunk, not an lsn: after a full disk the same lsn is given out again, to another commit.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use regauge_types::{Hlc, Lsn};

use crate::LogError;
use crate::model::Commit;

/// What became of a chunk. Set once.
#[derive(Debug, Default)]
pub struct Ticket(OnceLock<Result<(), Failure>>);

/// Why a chunk did not become durable, for each of its waiters.
#[derive(Debug, Clone)]
pub enum Failure {
    /// No room; it did not happen.
    Full(PathBuf, io::ErrorKind, String),
    /// It was being written when the disk failed.
    Unknown(String),
    /// The disk had failed before it was written; it did not happen.
    Poisoned(String),
}

impl Failure {
    /// The error for the waiter of one commit.
    #[must_use]
    pub fn error(&self, lsn: Lsn, hlc: Hlc) -> LogError {
        match self.clone() {
            Self::Full(path, kind, message) => LogError::DiskFull { path, source: io::Error::new(kind, message) },
            Self::Unknown(reason) => LogError::OutcomeUnknown { lsn, hlc, reason },
            Self::Poisoned(reason) => LogError::Poisoned { reason },
        }
    }
}

#[derive(Debug)]
struct Published {
    durable: Lsn,
    hlc: Hlc,
    /// Consecutive commits up to `durable`, with their lengths in the journal.
    recent: VecDeque<(Arc<Commit>, u64)>,
    recent_bytes: u64,
    closed: bool,
}

/// What readers see.
#[derive(Debug)]
pub struct Board {
    published: Mutex<Published>,
    changed: Condvar,
    tail_bytes: u64,
}

/// Commits for a tail, or why there are none.
#[derive(Debug)]
pub enum Recent {
    /// None yet.
    Nothing,
    /// In order, from the one asked for.
    Commits(Vec<Arc<Commit>>),
    /// No longer in memory; durable up to this lsn.
    OnDisk(Lsn),
}

impl Board {
    /// After recovery.
    #[must_use]
    pub fn new(durable: Lsn, hlc: Hlc, tail_bytes: u64) -> Self {
        let published = Published { durable, hlc, recent: VecDeque::new(), recent_bytes: 0, closed: false };
        Self { published: Mutex::new(published), changed: Condvar::new(), tail_bytes }
    }

    /// The last durable lsn and its clock.
    #[must_use]
    pub fn durable(&self) -> (Lsn, Hlc) {
        let published = self.published.lock();
        (published.durable, published.hlc)
    }

    /// A chunk is durable.
    pub fn succeed(&self, ticket: &Ticket, commits: Vec<(Arc<Commit>, u64)>) {
        let mut published = self.published.lock();
        if let Some((last, _)) = commits.last() {
            (published.durable, published.hlc) = (last.lsn, last.hlc);
        }
        published.recent_bytes += commits.iter().map(|(_, len)| len).sum::<u64>();
        published.recent.extend(commits);
        while published.recent_bytes > self.tail_bytes {
            let Some((_, len)) = published.recent.pop_front() else { break };
            published.recent_bytes -= len;
        }
        // Set under the lock, so that no waiter looks before and sleeps after.
        let _ = ticket.0.set(Ok(()));
        drop(published);
        self.changed.notify_all();
    }

    /// A chunk is not durable.
    pub fn fail(&self, ticket: &Ticket, failure: Failure) {
        let published = self.published.lock();
        let _ = ticket.0.set(Err(failure));
        drop(published);
        self.changed.notify_all();
    }

    /// Nothing more will be published; wakes those who wait for more.
    pub fn close(&self) {
        self.published.lock().closed = true;
        self.changed.notify_all();
    }

    /// Blocks until the chunk's outcome is known.
    pub fn wait(&self, ticket: &Ticket) -> Result<(), Failure> {
        if let Some(outcome) = ticket.0.get() {
            return outcome.clone();
        }
        let mut published = self.published.lock();
        loop {
            if let Some(outcome) = ticket.0.get() {
                return outcome.clone();
            }
            self.changed.wait(&mut published);
        }
    }

    /// Whether the chunk's outcome is known.
    #[must_use]
    pub fn is_decided(&self, ticket: &Ticket) -> bool {
        ticket.0.get().is_some()
    }

    /// Blocks until a commit beyond `lsn` is durable, the time is up, or the log is closed. Returns the last durable lsn.
    #[must_use]
    pub fn wait_beyond(&self, lsn: Lsn, time: Duration) -> Lsn {
        let mut published = self.published.lock();
        self.changed.wait_while_for(&mut published, |p| p.durable <= lsn && !p.closed, time);
        published.durable
    }

    /// As [`Board::wait_beyond`], and no longer than until `stop` is set and [`Board::wake`] was called behind that.
    #[must_use]
    pub fn wait_beyond_unless(&self, lsn: Lsn, time: Duration, stop: &AtomicBool) -> Lsn {
        let mut published = self.published.lock();
        let waits = |p: &mut Published| p.durable <= lsn && !p.closed && !stop.load(Ordering::Acquire);
        self.changed.wait_while_for(&mut published, waits, time);
        published.durable
    }

    /// Lets all who wait look at what they wait for.
    pub fn wake(&self) {
        // Under the lock, so that no waiter looks before what it is woken for and sleeps after.
        drop(self.published.lock());
        self.changed.notify_all();
    }

    /// Recent commits after `after`, at least one and then up to `max_rows` rows.
    #[must_use]
    pub fn recent(&self, after: Lsn, max_rows: usize) -> Recent {
        let published = self.published.lock();
        if published.durable <= after {
            return Recent::Nothing;
        }
        let first = published.recent.front().map(|(commit, _)| commit.lsn.0);
        let at = first.and_then(|first| (after.0 + 1).checked_sub(first)).and_then(|at| usize::try_from(at).ok());
        let Some(at) = at else {
            return Recent::OnDisk(published.durable);
        };
        let mut n_rows = 0;
        let taken = published.recent.iter().skip(at).map(|(commit, _)| Arc::clone(commit)).take_while(|commit| {
            let before = n_rows;
            n_rows += commit.parts.iter().map(|p| p.rows.num_rows()).sum::<usize>();
            before == 0 || n_rows <= max_rows
        });
        Recent::Commits(taken.collect())
    }
}
