//! The thread that archives when enough has come in.
//!
//! Guarantees: an error or a panic of a run is logged and tried again with growing pauses; it reaches no writer and no
//! reader. [`Background::stop`] returns when the thread has ended; a run in progress gives up at its next commit.
//! It knows neither the log nor the archive, only a closure that does the work.

use super::ArchiveReport;
use crate::error::LogError;
use parking_lot::{Condvar, Mutex};
use regauge_types::env::{Env, Joining};
use std::{io, panic::AssertUnwindSafe, sync::Arc, time::Duration};

/// When to archive.
#[derive(Clone, Copy, Debug)]
pub struct BackgroundOptions {
    /// Journal bytes that are not archived yet.
    pub trigger_bytes: u64,
    /// Or rows.
    pub trigger_rows: u64,
    /// Pause after the first failure; doubles with each further one.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for BackgroundOptions {
    fn default() -> BackgroundOptions {
        BackgroundOptions {
            // A segment of this size reads at full speed; a restart replays at most about this much journal.
            trigger_bytes: 64 << 20,
            trigger_rows: 1 << 20,
            pause_min: Duration::from_secs(1),
            pause_max: Duration::from_secs(60),
        }
    }
}

/// One attempt to archive everything that is durable.
pub type ArchiveWork = Box<dyn FnMut() -> Result<ArchiveReport, LogError> + Send>;

/// The running thread. Stops when dropped.
pub struct Background {
    shared: Arc<Shared>,
    thread: Mutex<Option<Box<dyn Joining>>>,
}

/// Tells the thread what came in.
#[derive(Clone)]
pub struct Notes(Arc<Shared>);

impl Notes {
    /// So much became durable. Cheap: called for each batch of commits.
    pub fn note(&self, bytes: u64, rows: u64) {
        let mut signal = self.0.signal.lock();
        signal.bytes = signal.bytes.saturating_add(bytes);
        signal.rows = signal.rows.saturating_add(rows);
        if self.0.is_due(&signal) {
            self.0.wake.notify_one();
        }
    }
}

struct Shared {
    options: BackgroundOptions,
    signal: Mutex<Signal>,
    wake: Condvar,
}

#[derive(Default)]
struct Signal {
    bytes: u64,
    rows: u64,
    stop: bool,
}

impl Background {
    /// Starts the thread.
    pub fn start(env: &Env, options: BackgroundOptions, mut work: ArchiveWork) -> io::Result<Background> {
        let shared = Arc::new(Shared { options, signal: Mutex::default(), wake: Condvar::new() });
        let inside = Arc::clone(&shared);
        let thread = env.threads.spawn("archiver", Box::new(move || inside.run(&mut work)))?;
        Ok(Background { shared, thread: Mutex::new(Some(thread)) })
    }

    /// A handle for those who make commits durable. It does not keep the thread.
    #[must_use]
    pub fn notes(&self) -> Notes {
        Notes(Arc::clone(&self.shared))
    }

    /// Ends the thread and waits for it.
    pub fn stop(&self) {
        self.shared.signal.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && let Err(panic) = thread.join()
        {
            tracing::error!(%panic, "the archiver thread panicked");
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn is_due(&self, signal: &Signal) -> bool {
        signal.stop || signal.bytes >= self.options.trigger_bytes || signal.rows >= self.options.trigger_rows
    }

    fn run(&self, work: &mut ArchiveWork) {
        let mut pause = self.options.pause_min;
        while let Some((bytes, rows)) = self.wait_until_due() {
            match std::panic::catch_unwind(AssertUnwindSafe(&mut *work)) {
                Ok(Ok(report)) => {
                    pause = self.options.pause_min;
                    tracing::debug!(archived = %report.archived, segments = report.segments, rows = report.rows, bytes = report.bytes, "archived");
                    continue;
                }
                Ok(Err(LogError::Closed)) => return,
                Ok(Err(error)) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    pause_ms = pause.as_millis(),
                    "archiving failed, will try again"
                ),
                Err(_) => tracing::error!(pause_ms = pause.as_millis(), "archiving panicked, will try again"),
            }
            if self.pause(pause, bytes, rows) {
                return;
            }
            pause = self.options.pause_max.min(pause.saturating_mul(2));
        }
    }

    /// What came in, once it is enough; `None` to stop. Counts what comes in from now on anew.
    fn wait_until_due(&self) -> Option<(u64, u64)> {
        let mut signal = self.signal.lock();
        while !self.is_due(&signal) {
            self.wake.wait(&mut signal);
        }
        let taken = (signal.bytes, signal.rows);
        (signal.bytes, signal.rows) = (0, 0);
        (!signal.stop).then_some(taken)
    }

    /// Waits after a failure, and puts back what was not archived. True to stop.
    fn pause(&self, pause: Duration, bytes: u64, rows: u64) -> bool {
        let mut signal = self.signal.lock();
        signal.bytes = signal.bytes.saturating_add(bytes);
        signal.rows = signal.rows.saturating_add(rows);
        // Every commit notifies now that enough is waiting; only the time or a stop ends the pause.
        let deadline_reached = self.wake.wait_while_for(&mut signal, |s| !s.stop, pause).timed_out();
        debug_assert!(deadline_reached || signal.stop, "the pause ended early");
        signal.stop
    }
}
