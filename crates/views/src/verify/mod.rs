//! Whether a data folder is what was written there: every checksum of every file, and, if it is asked for, every view recomputed from the log.
//!
//! ```text
//!   files      journal, mark, catalog, archive, checkpoints, token's key; also beside a running server          [`files`]
//!   recompute  two instances over the same bytes, neither of which writes to the disk                            [`recompute`]
//!                one from the log alone ─▶ rows ═ digests ═ rows ◀─ one from the newest checkpoint and the log behind it
//! ```
//! Invariant: nothing of the folder is changed, so what is found is what is there. A fault names the file and the place in it and says what to
//! do next. What cannot be known is not claimed: bytes that nothing names (a run's dead blocks, an unfinished write at the journal's end) are
//! counted and no fault; a text that people edit (the password file) has no checksum.

mod files;
mod overlay;
mod recompute;

pub use files::files;
pub use overlay::Overlay;
pub use recompute::recompute;

use regauge_types::Lsn;
use std::fmt;

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What, with its file and the offset in it.
    pub what: String,
    /// What to do next.
    pub hint: &'static str,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files of the journal.
    pub journal_files: u64,
    /// Commits in them.
    pub commits: u64,
    /// Rows in them.
    pub rows: u64,
    /// Events of the catalog.
    pub events: u64,
    /// Manifests of the archive.
    pub archive_manifests: u64,
    /// Segments of the archive.
    pub segments: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Blocks of them.
    pub blocks: u64,
    /// Bytes that a checksum covers.
    pub bytes: u64,
    /// Versions of views that were recomputed.
    pub views: u64,
    /// Rows of them.
    pub view_rows: u64,
    /// Tables that were folded anew.
    pub tables: u64,
    /// Rows of them.
    pub table_rows: u64,
    /// Streams of which every record was read.
    pub streams: u64,
    /// Their records.
    pub records: u64,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How much was looked at.
    pub counts: Counts,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What is not wrong and worth a word.
    pub notes: Vec<String>,
    /// The last commit that was found.
    pub last: Lsn,
}

impl Report {
    /// Something is wrong.
    pub fn fault(&mut self, what: impl fmt::Display, hint: &'static str) {
        self.faults.push(Fault { what: what.to_string(), hint });
    }

    /// Whether everything that was looked at is what was written.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.counts;
        let word = if self.is_sound() { "sound" } else { "DAMAGED" };
        write!(f, "{word}: journal_files={} commits={} rows={} events={}", c.journal_files, c.commits, c.rows, c.events)?;
        write!(f, " archive_manifests={} segments={}", c.archive_manifests, c.segments)?;
        write!(f, " checkpoints={} blocks={} bytes={}", c.checkpoints, c.blocks, c.bytes)?;
        if c.views + c.tables + c.streams > 0 {
            write!(f, " views={} view_rows={}", c.views, c.view_rows)?;
            write!(f, " tables={} table_rows={} streams={} records={}", c.tables, c.table_rows, c.streams, c.records)?;
        }
        write!(f, " faults={}", self.faults.len())
    }
}
