//! Why a trace cannot be written or read.

use arrow::error::ArrowError;
use regauge_types::{Epoch, hash::UnsupportedType};
use thiserror::Error;

/// An error of a published trace.
#[derive(Debug, Error)]
pub enum TraceError {
    /// Its version has failed and will not recover by itself.
    #[error("version has failed: {0}")]
    Failed(String),
    /// The rows' own error collection is not empty at this epoch; it heals when the cause is retracted.
    #[error("{message} n_rows={n}")]
    Errored {
        /// The first error in order.
        message: String,
        /// Rows that fail.
        n: i64,
    },
    /// More was retracted than was ever added.
    #[error("negative multiplicity in a published result row=({row}) multiplicity={multiplicity} epoch={epoch}")]
    Negative {
        /// The row, as text.
        row: String,
        /// What its diffs sum up to.
        multiplicity: i64,
        /// Where that was seen.
        epoch: Epoch,
    },
    /// The epoch was compacted away.
    #[error("epoch is no longer kept epoch={at} since={since}")]
    Compacted {
        /// Asked for.
        at: Epoch,
        /// The first that can be read.
        since: Epoch,
    },
    /// The epoch is not complete yet.
    #[error("epoch is not complete yet epoch={at} upper={upper}")]
    NotYet {
        /// Asked for.
        at: Epoch,
        /// The last that can be read.
        upper: Epoch,
    },
    /// A writer published into an epoch that it had closed.
    #[error("epoch is closed already epoch={epoch} upper={upper}")]
    Closed {
        /// Written to.
        epoch: Epoch,
        /// The shard's upper.
        upper: Epoch,
    },
    /// The trace has no key, or the row asked for has not the key's columns.
    #[error("trace cannot be looked up by this key n_columns={n_columns}")]
    NoKey {
        /// Columns given.
        n_columns: usize,
    },
    /// A type without a place in keys.
    #[error("{0}")]
    Type(#[from] UnsupportedType),
    /// Arrow refused: rows of another schema.
    #[error("arrow: {0}")]
    Arrow(#[from] ArrowError),
}
