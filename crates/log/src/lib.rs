//! Floor 1: the log, events in order.
//!
//! What passes through: transactions in, commits out, the same for every reader and for ever. One journal gives all commits one order ([`Lsn`](regauge_types::Lsn))
//! and one fsync shared by neighbours; the archive keeps their history by column.
//!
//! Invariant: an acknowledged commit survives any crash, and an unacknowledged one is wholly there or wholly absent (I1, I13, I14); readers see durable
//! commits only, without gap or double. It never knows: SQL, keys, plans, timely.
//!
//! The way through: [`log`] takes a transaction, [`prepare`] encodes it, [`section`] judges and numbers it, [`journal::writer`] makes it durable,
//! [`publish`] tells those who wait, [`tail`] and [`journal::reader`] give it to readers. [`format`] is the bytes, [`state`] what a commit must know.

pub mod archive;
mod archiving;
pub mod error;
pub mod folder;
pub mod format;
pub mod inspect;
pub mod journal;
pub mod ledger;
pub mod log;
pub mod model;
pub mod options;
pub mod prefix;
pub mod prepare;
pub mod producers;
pub mod publish;
pub mod scan;
pub mod section;
pub mod state;
pub mod tail;
pub mod testing;
pub mod topics;

pub use archive::ArchiveReport;
pub use archiving::ArchiveSettings;
pub use error::LogError;
pub use ledger::{Ledger, ProducerTally, Tally};
pub use log::{Log, Pending};
pub use model::{
    Append, Commit, CommitIter, CommitSource, Committed, Definition, Judge, Part, Placed, ProducerSeq, Refusal, Skip, TopicSpec,
    Transaction,
};
pub use options::LogOptions;
pub use scan::{Scan, ScanBatch, ScanColumn, ScanSpec};
pub use tail::Tail;
