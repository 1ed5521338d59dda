//! Floor 0: the words every crate shares, and nothing that knows more than one of them.

pub mod env;
pub mod error;
pub mod hash;
pub mod hlc;
pub mod ids;
mod real;

pub use env::Env;
pub use error::ErrorKind;
pub use hlc::{Hlc, HlcClock};
pub use ids::*;
