//! What operator state can refuse.

use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use thiserror::Error;

/// An error of the operator state layouts.
#[derive(Debug, Error)]
pub enum StateError {
    /// The type cannot be stored in operator state.
    #[error("type cannot be kept in operator state type={ty}")]
    UnsupportedType {
        /// The Arrow type.
        ty: DataType,
    },
    /// An operator with an append-only input was given a retraction: the plan's promise was broken.
    #[error("retraction on an append-only input diff={diff}")]
    Retraction {
        /// The diff that came.
        diff: i64,
    },
    /// More rows than 32-bit slots can name.
    #[error("operator state is full n_rows={n_rows}")]
    Full {
        /// Rows held.
        n_rows: usize,
    },
    /// A type without a place in keys.
    #[error("{0}")]
    Key(#[from] regauge_types::hash::UnsupportedType),
    /// Arrow refused (wrong type or length: a broken invariant between plan and state).
    #[error("arrow: {0}")]
    Arrow(#[from] ArrowError),
}
