//! The SQL text files: what a user types and what PostgreSQL answers, each file run several ways that
//! must not matter. The format is described in `tests/slt/README.md`.

mod file;
mod ways;

pub use file::{Block, Expected, File, parse, print};
pub use ways::{Way, bless, check};
