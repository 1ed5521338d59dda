//! Event time: how late a stream's records may be, and which of them are.
//!
//! ```text
//!   partition of a stream    .. r r r (r late) r [watermark] r (r late) ..
//!   its watermark            the greatest (time - delay) of the records before, or what a watermark record said, if that is more
//!   late                     the record's time lies below the watermark that stands before it
//! ```
//! `_late` is decided once, in the commit section, where the record takes its place ([`lateness`]), and is stored with it: a replay
//! reads it and asks nobody. [`layout`] says how it lies in the topic, [`times`] is how far each partition has come.
//!
//! Invariant: times at lsn n are the fold of the records up to n, in each partition's own order, whoever folds them: the judge, the
//! epoch driver, a restart. Cost: a comparison a record; a restart reads the time column of the streams that have a watermark.

pub mod lateness;
pub mod layout;
pub mod times;

pub use layout::Clock;
pub use times::Times;
