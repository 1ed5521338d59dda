//! Why state cannot be put on the disk, or read back.

use arrow::error::ArrowError;
use std::{io, path::PathBuf};
use thiserror::Error;

/// An error of scratch files.
#[derive(Debug, Error)]
pub enum SpillError {
    /// The disk refused.
    #[error("cannot {what} scratch file={} error={source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Bytes that are not those that were written.
    #[error("scratch file is damaged: {reason} file={} offset={offset}", path.display())]
    Corrupt {
        /// In which file.
        path: PathBuf,
        /// From which byte on.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Rows that Arrow's format cannot hold, or does not read.
    #[error("rows of a scratch file: {0}")]
    Arrow(#[from] ArrowError),
}

impl SpillError {
    pub(super) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> SpillError {
        let path = path.to_owned();
        move |source| SpillError::Io { what, path, source }
    }
}
