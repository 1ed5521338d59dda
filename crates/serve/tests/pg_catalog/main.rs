//! What clients ask of `pg_catalog` and `information_schema`, in the texts that they send.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod captured;
mod common;
mod rights;
mod rows;
