//! Operator state that does not fit into memory, in scratch files: immutable runs of blocks of keys, ascending by the frozen hash.
//!
//! ```text
//!   Run = [block: hashes, rows of each, tables][block] ..   in a scratch file that goes with it
//!       + where each block is, its hashes' range, its checksum      40 bytes for about 1,024 keys, in memory
//!       + a filter of the hashes ([`Filter`])                       12 bits a key, in memory
//! ```
//! Guarantees: what is read is what was written, or an error that names file and offset (each block has a checksum); a file is removed
//! with the last handle of its run. Not promised: durability. State is recovered from a checkpoint and the log, never from these files, so
//! nothing is synced, and [`Scratch::open`] empties the folder. It does not know operators: what rows of a newer run mean for those
//! of an older one is its user's affair.

mod error;
mod filter;
mod pack;
mod run;
mod scratch;

pub use error::SpillError;
pub use filter::Filter;
pub use pack::Pack;
pub use run::{Run, RunWriter};
pub use scratch::{Kept, KeptWriter, Scratch};
