//! Bytes of the journal: pure functions from values to bytes and back. Nothing here opens a file. Byte tables stand in `docs/formats.md`.
//!
//! Invariant: decoding never panics and never reserves more memory than the input holds (times a small constant), whatever the bytes are.

pub mod body;
pub mod frame;
pub mod list;
pub mod mark;
pub mod payload;
pub mod schema;
pub mod small;
pub mod wire;
