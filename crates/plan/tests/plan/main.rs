//! The promises of regauge-plan.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

mod batch;
mod fixture;
mod golden;
mod hostile;
mod refusals;
mod roundtrip;
mod statements;
