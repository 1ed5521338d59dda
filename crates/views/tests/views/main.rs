//! The promises of sessions, catalog and views, through the public API over real data folders.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_possible_truncation, missing_docs)]

mod alter;
mod checkpoint_crashes;
mod checkpoint_files;
mod checkpoints;
mod common;
mod concurrency;
mod copy;
mod ddl;
mod dml;
mod engine;
mod errors;
mod event_time;
mod functions;
mod memory;
mod mirror;
mod moments;
mod pg;
mod prepared;
mod recursion;
mod reopen;
mod rights;
mod rules;
mod temporal;
mod transactions;
mod versions;
mod wasm;
