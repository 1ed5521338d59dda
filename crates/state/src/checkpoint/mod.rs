//! Checkpoints on disk: immutable runs of blocks, and manifests that say which blocks are the state at one commit.
//!
//! ```text
//!   put blocks ─▶ run-<n> (write, fsync) ─▶ manifest-<n>.tmp (write, fsync) ─▶ rename ─▶ fsync of the folder: only now the checkpoint is there
//! ```
//! Guarantees: a manifest that reads back is whole, and every block that it names is on the disk as it was written, or reading it says
//! which bytes of which file are not; a block whose content stands in a kept run already is not written again; a crash at any moment
//! leaves the checkpoints that were there. Files that no kept manifest names are removed after the next checkpoint is there, never
//! before, and never by opening. After a failed write nothing rests on that file: the next try takes a new number.
//! Not promised: anything about checkpoints before the last two. It does not know what is in a block, nor operators, plans and the log;
//! who uses the folder is its owner's affair (the data folder's lock).

mod block;
mod bounds;
mod error;
mod manifest;
mod store;
mod wire;

pub(crate) use block::encode_with;
pub use block::{decode, encode};
pub use error::CheckpointError;
pub(crate) use manifest::checksum;
pub use manifest::{Block, Label, Manifest, Place, Section};
pub use store::{Held, Store, Writer};

/// The format that this program writes; it reads no other.
pub const FORMAT_VERSION: u32 = 2;
