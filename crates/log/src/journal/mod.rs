//! The journal's files: written by one, read by many, and what is made of them after a crash.
//!
//! ```text
//!  00000000000000000001.rgj  header │ state(0) │ commit 1 │ commit 2 │ ... │ commit 812
//!  00000000000000000813.rgj  header │ state(812) │ commit 813 │ ... │ commit 990 │ (commit 991, torn)
//!                                                          mark ─▲      ▲─ end: the next commit overwrites what is torn
//! ```
//!
//! Order of the making of a file: header and state are written, the file is synced, the folder is synced, both slots of the mark name it; only then come commits. So
//! a file above the one that the mark names holds no commit, and the file that the mark names has a whole head.
//!
//! What is guaranteed: an acknowledged commit is read back, or its loss is reported as corruption. Reported are: any damage below the mark; any damage that a later
//! valid frame proves to have been synced; any damage in a file that is not the last; a missing file. Cut, that is overwritten by the next commit, is only what
//! follows the last whole frame and was never proven synced.
//!
//! What is not: damage to the very last batch, when the process died within `mark_idle` after it and neither mark nor frame tells that it was synced,
//! looks like a batch that was never finished. One fdatasync a commit buys no more: to record that the last sync was done takes another one.
//!
//! After a failed fsync the kernel may hold pages that say what the disk does not. Recovery therefore writes the frames that it found but that nothing proves synced
//! once more, and syncs them, before anyone reads them.

pub mod file;
pub mod files;
pub mod reader;
pub mod recover;
pub mod writer;
