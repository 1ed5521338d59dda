//! The input in hand, where the process that waits finds it: one that dies or hangs cannot tell it any more.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | number of the execution |
//! | 8 | length of the input |
//! | n | the input; behind it there may be the rest of a longer one |
//!
//! Written in one call before each execution; some microseconds, as nothing is synced: the system keeps it when the process dies.

use anyhow::{Context, Result};
use std::{fs::File, os::unix::fs::FileExt, path::Path};

/// Where inputs are left.
pub struct Note {
    file: File,
    bytes: Vec<u8>,
}

impl Note {
    /// Makes the file.
    pub fn make(path: &Path) -> Result<Note> {
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Note { file, bytes: vec![] })
    }

    /// This is the next input.
    pub fn leave(&mut self, n: u64, input: &[u8]) -> Result<()> {
        self.bytes.clear();
        self.bytes.extend_from_slice(&n.to_le_bytes());
        self.bytes.extend_from_slice(&(input.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(input);
        self.file.write_all_at(&self.bytes, 0).context("cannot leave an input")
    }
}

/// The input that was left last, and its number; `None` if there is none yet.
pub fn read(path: &Path) -> Option<(u64, Vec<u8>)> {
    let bytes = std::fs::read(path).ok()?;
    let (n, rest) = bytes.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let input = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    Some((u64::from_le_bytes(*n), input.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_last_is_what_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        assert_eq!(read(&path), None);
        let mut note = Note::make(&path).unwrap();
        assert_eq!(read(&path), None);
        note.leave(1, b"a long one").unwrap();
        note.leave(2, b"short").unwrap();
        assert_eq!(read(&path), Some((2, b"short".to_vec())));
        note.leave(3, b"").unwrap();
        assert_eq!(read(&path), Some((3, vec![])));
    }
}
