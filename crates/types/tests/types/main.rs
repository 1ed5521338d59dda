//! The promises of `regauge-types`: laws of keys, deltas, digests, clocks and tokens, and the bytes that never change.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod golden;
mod laws;
