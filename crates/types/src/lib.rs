//! Floor 0: the words every crate shares, and nothing that knows more than one of them.
//!
//! What passes through: names of things in the log ([`ids`]), moments ([`hlc`], [`ids::Epoch`]), what a client has seen
//! ([`token`]), changes of a collection ([`delta`]), the bytes and hashes that outlive a process ([`hash`], [`key`],
//! [`digest`]), values that are equal and written differently ([`forms`]), what went wrong ([`error`]), and the world outside ([`env`]: clock, disk, randomness, threads).
//!
//! Invariant: everything whose bytes reach a disk or a client is frozen here, with golden vectors in `tests/types/golden.txt`.
//! It never knows: files of the log, SQL, plans, timely, protocols.

mod alike;
pub mod arrays;
pub mod delta;
pub mod digest;
pub mod env;
pub mod error;
pub mod forms;
pub mod hash;
pub mod hlc;
pub mod ids;
pub mod jsonb;
pub mod key;
mod real;
pub mod side_by_side;
pub mod token;

pub use delta::{Delta, Diffs};
pub use digest::Digest;
pub use env::Env;
pub use error::ErrorKind;
pub use hlc::{Hlc, HlcClock};
pub use ids::*;
pub use token::{CausalToken, TokenKey};
