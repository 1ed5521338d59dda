//! Checkpoints of an instance: what versions and tables were at one commit, so that opening reads the log from there only.
//!
//! ```text
//!   driver, at an epoch's end ─▶ asks each version's workers for their state, feeds the epoch, goes on        [`keeper`]
//!   a thread of its own       ─▶ waits for the states, reads traces and heads at that commit, writes, publishes  [`take`]
//!   opening                   ─▶ newest checkpoint that reads back whole; what it does not have comes from the log  [`found`]
//! ```
//! Invariant: nothing rests on a checkpoint but time. Whatever it lacks, or is not proven to be whole and of the same plan, is rebuilt from
//! the log as if there were no checkpoint. Everything in one checkpoint is of one commit. What did not change is named again; of what did
//! change the changes are written, behind what they are changes of, until they are half as much: then both are put together, on the
//! checkpoint's thread ([`version`], [`tables`]). It knows neither operators' state nor files'
//! formats: those are `flow`'s images and `state::checkpoint`'s blocks.

pub mod board;
pub mod found;
pub mod keeper;
pub mod own;
pub mod rows;
mod tables;
pub mod take;
mod version;

pub use board::{Board, Status};

use crate::version::registry::Key;
use regauge_types::{Lsn, TopicId};
use std::{path::PathBuf, time::Duration};

/// When checkpoints are taken, and whether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointOptions {
    /// Whether they are taken and used.
    pub enabled: bool,
    /// After so long, if there was a commit since the last one.
    pub every: Duration,
    /// Or after so many bytes of log: what an opening has to read at most, besides what came in while the last one was written.
    pub log_bytes: u64,
}

impl Default for CheckpointOptions {
    fn default() -> CheckpointOptions {
        CheckpointOptions { enabled: true, every: Duration::from_secs(60), log_bytes: 256 << 20 }
    }
}

/// Where they are.
#[must_use]
pub fn folder(data: &std::path::Path) -> PathBuf {
    data.join("checkpoint")
}

/// Kinds of blocks.
mod kind {
    /// An image of a node's state.
    pub const IMAGE: u8 = 1;
    /// Rows of a version's trace, with their multiplicities.
    pub const ROWS: u8 = 2;
    /// Errors of rows of a version's trace.
    pub const ERRORS: u8 = 3;
    /// Rows of a table.
    pub const HEAD: u8 = 4;
    /// Rows that came and, with multiplicities below zero, rows that went, behind those of a version's trace.
    pub const ROWS_CHANGED: u8 = 5;
    /// Behind the rows of a table: rows that went (one table of their keys, or of the rows themselves if they have none), then rows as they
    /// are now.
    pub const HEAD_CHANGED: u8 = 6;
    /// Keys of a node's state that are gone.
    pub const IMAGE_GONE: u8 = 7;
    /// What a node's state has now for some keys.
    pub const IMAGE_CHANGED: u8 = 8;
    /// The digest of a version's rows: 32 bytes.
    pub const DIGEST: u8 = 9;
}

/// Changes may take half as many bytes as what they are changes of, and this much, before both are put together.
const CHANGES_BYTES_MIN: u64 = 256 << 10;

/// Whether changes are so many that they are to be put together with what they are changes of.
fn is_much(base: u64, changes: u64) -> bool {
    changes > base / 2 + CHANGES_BYTES_MIN
}

/// The name of a version's section.
fn of_version((view, no): Key) -> Vec<u8> {
    format!("version {view} {no}").into_bytes()
}

/// The name of a half-built version's section: it is of another commit than the checkpoint, when so many rows had been read.
fn of_backfill((view, no): Key, at: Lsn, rows: u64) -> Vec<u8> {
    format!("backfill {view} {no} {at} {rows}").into_bytes()
}

/// The commit and the rows of such a section, if it is this version's.
fn within(name: &[u8], (view, no): Key) -> Option<(Lsn, u64)> {
    let rest = std::str::from_utf8(name).ok()?.strip_prefix(&format!("backfill {view} {no} "))?;
    let (at, rows) = rest.split_once(' ')?;
    Some((Lsn(at.parse().ok()?), rows.parse().ok()?))
}

/// The name of a table's section.
fn of_table(topic: TopicId) -> Vec<u8> {
    format!("table {topic}").into_bytes()
}
