//! Floor 0: the words every crate shares, and nothing that knows more than one of them.

pub mod error;
pub mod ids;

pub use error::ErrorKind;
pub use ids::*;
