//! The Postgres wire, from outside: tokio-postgres, and sockets that do not keep the protocol. Each test serves an instance of its
//! own in this process, on a free port.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod advisory;
mod bad_input;
mod cancel;
mod common;
mod copy;
mod coverage;
mod cursors;
mod daily;
mod drivers;
mod fields;
mod handbook;
mod hostile;
mod jobs;
mod json;
mod notify;
mod queries;
mod raw;
mod roles;
mod sessions;
mod tls;
mod transactions;
mod zones;
