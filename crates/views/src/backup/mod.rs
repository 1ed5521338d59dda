//! Backups: a data folder as it was at one commit, in an object store, taken while the folder is written.
//!
//! ```text
//!   hold the newest checkpoint, pin the archive's manifest, then look how far the log is durable: that is the backup's commit  [`take`]
//!     ─▶ files in chunks, each under the name of its own hash; one that stands there is not written again                     [`vault`]
//!     ─▶ the manifest, last: the backup is there when it is
//!   restore: every chunk verified ─▶ files ─▶ FORMAT, last: the folder is there when it is                                     [`restore`]
//!     ─▶ at its first opening it becomes an instance of its own                                                                [`reborn`]
//! ```
//! Invariant: everything acknowledged before the backup began is in it, and nothing of a commit after its own. What is damaged in the folder is
//! named and no backup of it is made; what is damaged in a backup is named and not restored. Nothing in a backup is a secret but the
//! rows themselves: tokens' key and the first user's password stay behind, passwords of roles are verifiers (SCRAM). Cost: the data is read twice
//! (once to verify it); the running instance is not stopped for a moment.

mod reborn;
mod restore;
mod take;
mod vault;

pub use reborn::{MARKER, settle};
pub use restore::{Restored, restore, verify};
pub use take::{Parts, Taken, take};
pub use vault::{FileEntry, Manifest, Vault};

use crate::error::{Error, sqlstate as code};
use regauge_types::ErrorKind;

/// Bytes of a chunk, but for a file's last one.
pub(crate) const CHUNK_BYTES: u64 = 8 << 20;

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, code::CORRUPT, format!("backup is damaged: {what}")).hint(
        "take another backup: what is whole is kept and not copied again; regauge verify --data .. tells all that is damaged",
    )
}
