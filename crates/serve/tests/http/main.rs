//! The HTTP door from outside: a real listener, requests written byte by byte.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod causal;
mod client;
mod faults;
mod guard;
mod ledger;
mod limits;
mod records;
mod roles;
mod sql;
mod views;
