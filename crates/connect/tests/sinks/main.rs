//! Sinks against real targets: what is in the target is what the relation holds, whatever was killed on the way (I6).
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, missing_docs)]

mod common;
mod cuts;
mod faults;
mod files;
#[path = "../../../views/tests/views/gate.rs"]
mod gate;
mod handbook;
mod hooks;
mod pg;
mod random;
mod server;
