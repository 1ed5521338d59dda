//! Which journal files there are, and where in them a commit is about to be found.
//!
//! Shared by the writer, who adds, and readers. A reader looks a position up once and then walks; a file that was recovered or written by this process has an entry
//! every 256 KiB, others are walked from their start.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use regauge_types::Lsn;

/// Bytes between two entries of the index: one read-ahead.
const STEP: u64 = 256 << 10;

/// The journal's files by first lsn.
#[derive(Debug, Default)]
pub struct Files {
    files: RwLock<BTreeMap<u64, Vec<(u64, u64)>>>,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The file that holds the commit.
    pub file: u64,
    /// First lsn of the file after it.
    pub next_file: Option<u64>,
    /// Offset of a frame at or before the commit; `None`: the file's first.
    pub offset: Option<u64>,
}

impl Files {
    /// Adds a file.
    pub fn add(&self, first_lsn: u64) {
        self.files.write().insert(first_lsn, Vec::new());
    }

    /// Tells where a commit's frame begins; kept if the last entry is far enough away. Only the last file grows.
    pub fn note(&self, lsn: u64, offset: u64) {
        if let Some(mut entry) = self.files.write().last_entry() {
            let index = entry.get_mut();
            if index.last().is_none_or(|(_, last)| offset >= last + STEP) {
                index.push((lsn, offset));
            }
        }
    }

    /// The least lsn that is there.
    #[must_use]
    pub fn first(&self) -> Lsn {
        Lsn(self.files.read().first_key_value().map_or(1, |(first, _)| *first))
    }

    /// The file that holds `lsn`, or will.
    #[must_use]
    pub fn find(&self, lsn: Lsn) -> Option<Place> {
        let files = self.files.read();
        let (file, index) = files.range(..=lsn.0).next_back()?;
        let next_file = files.range(file + 1..).next().map(|(first, _)| *first);
        let at = index.partition_point(|(noted, _)| *noted <= lsn.0);
        Some(Place { file: *file, next_file, offset: at.checked_sub(1).map(|i| index[i].1) })
    }

    /// First lsns of all files, ascending.
    #[must_use]
    pub fn all(&self) -> Vec<u64> {
        self.files.read().keys().copied().collect()
    }
}
