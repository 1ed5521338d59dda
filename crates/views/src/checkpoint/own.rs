//! What a checkpoint says of the log it is of: the clock of its commit, and how far event time had come.
//!
//! A number names a commit within one history only: a folder that was put back to an older copy goes on under the same numbers with other
//! commits. The clock of a commit is that of one history, since clocks never go back and another history was written at another time.

use crate::event_time::Times;
use regauge_types::Hlc;

/// The clock (8 bytes, big endian), then the times.
#[must_use]
pub fn to_bytes(clock: Hlc, times: &Times) -> Vec<u8> {
    let mut bytes = clock.0.to_be_bytes().to_vec();
    bytes.extend(times.to_bytes());
    bytes
}

/// The same back; `None` for other bytes.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Option<(Hlc, Times)> {
    let (clock, times) = bytes.split_first_chunk::<8>()?;
    Some((Hlc(u64::from_be_bytes(*clock)), Times::from_bytes(times)?))
}
