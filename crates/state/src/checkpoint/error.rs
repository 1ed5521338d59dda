//! Why a checkpoint cannot be written or read.

use std::{io, path::PathBuf};
use thiserror::Error;

/// An error of checkpoint files.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The disk refused.
    #[error("cannot {what} file={} error={source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Bytes that are not those that were written.
    #[error("checkpoint is damaged: {reason} file={} offset={offset}", path.display())]
    Corrupt {
        /// In which file.
        path: PathBuf,
        /// From which byte on.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// Another release's format.
    #[error("checkpoint has a format of another release version={version} supported={} file={}", super::FORMAT_VERSION, path.display())]
    OtherFormat {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Rows that Arrow's format cannot hold, or does not read.
    #[error("rows of a checkpoint: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl CheckpointError {
    pub(super) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> CheckpointError {
        let path = path.to_owned();
        move |source| CheckpointError::Io { what, path, source }
    }
}
