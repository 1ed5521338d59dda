//! State larger than memory: an operator of which only a part is in memory, the rest in runs on the disk.
//!
//! ```text
//!   rows ─▶ are their keys here? ──yes──▶ inner operator ─▶ out          inner holds the keys that were used last
//!                  │ no (a filter says that a run may have them)              │ too much: cold keys
//!                  ▼                                                         ▼
//!             rows wait ──▶ by hash, many keys at once: read ──▶ inner     runs: keys by hash, newest first
//! ```
//! What makes it cheap: order within an epoch is free, so rows whose keys are not here wait until there are many, or until the epoch
//! ends; then the runs are read once, in order of the hash, whatever the number of rows. It is a hybrid hash join (DeWitt et al., 1984)
//! over a log-structured merge tree (O'Neil et al., 1996), of keys rather than of partitions: a live epoch touches few keys of every bucket.
//!
//! Invariants. Of a part whose keys are replaced ([`Kind::Whole`]) a key is wholly here or wholly not; what is here wins over runs, newer runs
//! win over older ones, and a key that went is written as one without rows. Of a part that only grows ([`Kind::Grows`]) runs and what is
//! here add up, and a row is written once and never read unless somebody asks for its key. The output is that of the operator alone, at each
//! epoch's end. The first epoch (a rebuild) spills as it goes, and looks at each key once at its end; in later epochs only what the end has no
//! interest in is taken out before it, so the groups that a later epoch touches must fit beside the budget.
//! Until the budget is met for the first time the operator runs as if it were alone. It does not know timely, versions or checkpoints.

mod budget;
mod deferred;
mod operator;
mod part;
mod residence;

pub use budget::{Account, Budget, Memory};
pub use operator::Spilling;

use crate::image::Image;
use crate::operator::{FlowError, Operator};
use arrow::array::RecordBatch;
use regauge_state::spill::Kept;
use regauge_types::Delta;

/// A state that was copied to a scratch file: part and bucket of each block, whose bytes are those of a checkpoint's.
pub type Copied = Kept<(u32, u8)>;

/// How the entries of a part change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key's entries change and go: a newer copy replaces an older one.
    Whole,
    /// Entries only come, and never change.
    Grows,
}

/// What rows of an input want of the entries of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    No,
    /// To be put beside them, whatever they are.
    Add,
    /// To see them.
    Read,
    /// To change them.
    Write,
}

/// What the end of an epoch does to entries that were touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settles {
    /// Nothing.
    Never,
    /// It looks at them.
    Looks,
    /// It changes what is kept of them.
    Writes,
}

/// An operator whose entries can be taken out and put back. All of it is by key: the frozen hash of the columns that its rows are routed by.
pub trait Spills: Operator {
    /// How many tables it has.
    fn n_parts(&self) -> usize;
    /// How a part changes.
    fn kind(&self, part: usize) -> Kind;
    /// Whether each table of a part has one row for each entry, in the same order.
    fn is_flat(&self, part: usize) -> bool;
    /// What rows of an input want of a part.
    fn need(&self, input: usize, part: usize) -> Need;
    /// What ending an epoch does to a part.
    fn settles(&self, part: usize) -> Settles;
    /// The hash of each row's key.
    fn hashes(&self, input: usize, delta: &Delta) -> Result<Vec<u64>, FlowError>;
    /// Bytes in use: what it holds less what is free to be used again.
    fn in_use(&self) -> usize;
    /// Entries of a part.
    fn n_entries(&self, part: usize) -> usize;
    /// Hash and id of the entries of a part in one bucket.
    fn entries(&self, part: usize, bucket: usize) -> Result<Vec<(u64, u32)>, FlowError>;
    /// Whether an entry of a part that grows came from a run.
    fn is_stored(&self, _part: usize, _id: u32) -> bool {
        false
    }
    /// The tables of pieces of entries, each piece in order.
    fn tables_of(&self, part: usize, pieces: &[&[u32]]) -> Result<Vec<Vec<RecordBatch>>, FlowError>;
    /// Forgets entries, whatever they hold; all entries of their keys are among them.
    fn take_out(&mut self, part: usize, entries: &[(u64, u32)]) -> Result<(), FlowError>;
    /// Takes in what [`Spills::tables_of`] gave, of keys that are not here (or of a part that grows); `stored` if a run goes on having it.
    fn admit(&mut self, part: usize, tables: &[RecordBatch], stored: bool) -> Result<(), FlowError>;
    /// Begins, then ends, taking out.
    fn lend(&mut self, _on: bool) -> Result<(), FlowError> {
        Ok(())
    }
    /// Forgets what was touched: only in an epoch before which there was nothing.
    fn untouch(&mut self);
    /// All entries of a bucket were touched, in such an epoch.
    fn touch(&mut self, bucket: usize) -> Result<(), FlowError>;
    /// Which part an image of changes is of, and the hashes of its keys.
    fn changed_keys(&self, image: &Image) -> Result<(usize, Vec<u64>), FlowError>;
}
