//! What can be set when the log is opened. Defaults fit one machine with a few GiB.

use std::time::Duration;

use regauge_types::hlc::DRIFT_MS_MAX;

use crate::archiving::ArchiveSettings;
use crate::producers::Bounds;

/// Options of [`crate::Log::open`]. Nothing here changes the format: a folder may be opened with others each time.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// A journal file beyond this many bytes is followed by a new one. 256 MiB: recovery reads one file, at about 1 GB/s.
    pub journal_file_bytes: u64,
    /// Longest frame, that is transaction, in bytes. 256 MiB; at most 1 GiB.
    pub transaction_bytes_max: u64,
    /// Bytes of commits that wait for the disk; beyond it `commit` and `submit` block. 64 MiB.
    pub pending_bytes_max: u64,
    /// Bytes of recent commits kept in memory for tails, measured in the journal's encoding. 80 MiB: a quarter more than what starts a run of the archiver. With
    /// as much, a run's first commits were gone from memory when it began, and one that was no faster than the writers read them all from the files.
    pub tail_bytes: u64,
    /// Parts with fewer rows than this are stored row by row, others as an Arrow batch. 64: below it a batch's own headers and paddings cost more than they save.
    pub small_rows: usize,
    /// Compress Arrow batches with lz4. Off: the spike measured 11 instead of 24 to 46 million rows/s/core, for 16 instead of 45 bytes a row.
    pub compress: bool,
    /// Receipts remembered per producer.
    pub dedup_window: usize,
    /// Producers remembered.
    pub producers_max: usize,
    /// A producer silent for this long may be forgotten when there are too many.
    pub producer_idle: Duration,
    /// How far the clock that a writer carries may be ahead of ours.
    pub drift_ms_max: u64,
    /// When nothing was written for this long the durable mark catches up (one more fdatasync). `None`: at rotation, open and close only.
    pub mark_idle: Option<Duration>,
    /// Where and when the archive is written.
    pub archive: ArchiveSettings,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            journal_file_bytes: 256 << 20,
            transaction_bytes_max: 256 << 20,
            pending_bytes_max: 64 << 20,
            tail_bytes: 80 << 20,
            small_rows: 64,
            compress: false,
            dedup_window: 1024,
            producers_max: 10_000,
            producer_idle: Duration::from_secs(7 * 24 * 3600),
            drift_ms_max: DRIFT_MS_MAX,
            mark_idle: Some(Duration::from_millis(50)),
            archive: ArchiveSettings::default(),
        }
    }
}

impl LogOptions {
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            window: self.dedup_window,
            producers_max: self.producers_max,
            idle_ms: u64::try_from(self.producer_idle.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
