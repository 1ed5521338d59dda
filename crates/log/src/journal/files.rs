//! Which journal files there are, and where in them a commit is about to be found.
//!
//! Shared by the writer, who adds, and readers. A reader looks a position up once and then walks; a file that was recovered, written or read by this process has an
//! entry every 256 KiB, others are walked from their start.

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

    /// Tells where a reader found a commit's frame; kept if no entry is near. The next entry is wanted [`STEP`] bytes later: histories are read in parts,
    /// and each would walk its file from the start.
    pub fn found(&self, file: u64, lsn: u64, offset: u64) -> u64 {
        if let Some(index) = self.files.write().get_mut(&file) {
            let at = index.partition_point(|(noted, _)| *noted < lsn);
            let is_alone = at.checked_sub(1).is_none_or(|i| offset >= index[i].1 + STEP)
                && index.get(at).is_none_or(|(_, next)| *next >= offset + STEP);
            if is_alone {
                index.insert(at, (lsn, offset));
            }
        }
        offset + STEP
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_readers_found_is_where_the_next_one_begins() {
        let files = Files::default();
        [1, 100].iter().for_each(|first| files.add(*first));
        let offset = |lsn: u64| files.find(Lsn(lsn)).map(|place| (place.file, place.offset)).unwrap();
        assert_eq!(offset(50), (1, None));
        assert_eq!(files.found(1, 40, 10 * STEP), 11 * STEP);
        // out of order, too near to one before, too near to one behind, of a file that is not there
        for (file, lsn, at) in [(1, 20, 5 * STEP), (1, 41, 10 * STEP + 9), (1, 19, 5 * STEP - 9), (7, 9, 0)] {
            files.found(file, lsn, at);
        }
        assert_eq!((offset(19), offset(39), offset(99)), ((1, None), (1, Some(5 * STEP)), (1, Some(10 * STEP))));
        assert_eq!(offset(100), (100, None));
        files.note(100, 0);
        files.note(101, STEP - 1);
        assert_eq!((offset(200), offset(41)), ((100, Some(0)), (1, Some(10 * STEP))), "the writer's are as they were");
    }
}
