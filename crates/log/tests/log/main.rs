//! The promises of the log, one module each.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::print_stdout, missing_docs)]

mod archive;
mod archive_disk;
mod archive_drawn;
mod archive_encodings;
mod archive_faults;
mod archive_log;
mod archive_store;
mod archive_support;
mod basics;
mod common;
mod crash;
mod damage;
mod full_disk;
mod group_commit;
mod hostile;
mod kill;
mod ledger;
mod model;
mod producers;
