//! The proof that regauge answers what PostgreSQL answers.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, clippy::cast_possible_truncation)]

mod equalities;
mod generator;
mod nexmark;
mod planted;
mod random;
mod rights;
mod sessions;
mod slt;
mod tpch;
mod wire;
