//! Following the log: each durable commit once, in order, from memory where it still is and from the files where not.
//!
//! A tail is a place, nothing more: it holds back no commit and no writer. One that falls behind reads the files at their speed, and never sees a gap.

use std::sync::Arc;

use regauge_types::Lsn;

use crate::LogError;
use crate::journal::reader::Reader;
use crate::log::Shared;
use crate::model::Commit;
use crate::publish::Recent;

/// Bytes of rows that are read from files at a time, about: a commit is never cut.
const READ_BYTES: usize = 8 << 20;

/// A place in the log, from which commits are taken one after the other.
pub struct Tail {
    shared: Arc<Shared>,
    after: Lsn,
    /// Open while the tail is behind what memory holds.
    reader: Option<Reader>,
}

impl Tail {
    pub(crate) fn new(shared: Arc<Shared>, after: Lsn) -> Self {
        Self { shared, after, reader: None }
    }

    /// The last commit that was taken.
    #[must_use]
    pub fn after(&self) -> Lsn {
        self.after
    }

    /// The next commits, at least one if one is durable, then up to `max_rows` rows in all, or some megabytes where they come from files; none when
    /// there is none yet (see [`crate::Log::wait_beyond`]).
    /// Errors: `Archived` when the journal no longer holds them, `Corrupt`, `Io`. After an error the place is the same.
    pub fn next(&mut self, max_rows: usize) -> Result<Vec<Commit>, LogError> {
        let commits = match self.shared.board.recent(self.after, max_rows) {
            Recent::Nothing => Vec::new(),
            Recent::Commits(commits) => {
                self.reader = None;
                commits.iter().map(|commit| Commit::clone(commit)).collect()
            }
            Recent::OnDisk(durable) => self.read(durable, max_rows).inspect_err(|_| self.reader = None)?,
        };
        if let Some(last) = commits.last() {
            self.after = last.lsn;
        }
        Ok(commits)
    }

    fn read(&mut self, durable: Lsn, max_rows: usize) -> Result<Vec<Commit>, LogError> {
        let mut reader = match self.reader.take() {
            Some(mut reader) if reader.passed() == self.after => {
                reader.extend(durable, self.shared.topics());
                reader
            }
            _ => self.shared.reader(self.after, durable, None)?,
        };
        let mut commits = Vec::new();
        let (mut n_rows, mut n_bytes) = (0, 0);
        while n_rows < max_rows && n_bytes < READ_BYTES {
            let Some(commit) = reader.read()? else { break };
            n_rows += commit.parts.iter().map(|p| p.rows.num_rows()).sum::<usize>();
            // one without rows takes room too
            n_bytes += size_of::<Commit>() + commit.parts.iter().map(|p| p.rows.get_array_memory_size()).sum::<usize>();
            commits.push(commit);
        }
        self.reader = Some(reader);
        Ok(commits)
    }
}
