//! Floor 0: the words every crate shares, and nothing that knows more than one of them.

pub mod delta;
pub mod digest;
pub mod env;
pub mod error;
pub mod hash;
pub mod hlc;
pub mod ids;
pub mod key;
mod real;
pub mod token;

pub use delta::{Delta, Diffs};
pub use digest::Digest;
pub use env::Env;
pub use error::ErrorKind;
pub use hlc::{Hlc, HlcClock};
pub use ids::*;
pub use token::{CausalToken, TokenKey};
