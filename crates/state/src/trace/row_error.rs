//! Why a row of the result does not exist, and which row it was: an entry of a trace's error collection, counted with diffs.
//!
//! Invariant: equal causes are equal values, on every worker and in every replay, so a retraction takes away exactly what its row
//! had added. Therefore nothing is in it that depends on where or when it was met (no offset, no epoch, no worker). Its texts are
//! bounded ([`RowError::new`]); a collection costs up to about 600 bytes for each distinct row that fails, which is what a wide row of
//! the result would cost. Not promised: that two long rows with the same beginning are told apart; they are counted together.

use parking_lot::Mutex;
use regauge_types::{VersionNo, ViewId};
use std::{collections::BTreeSet, fmt};

/// Bytes of a message that are kept.
const MESSAGE_BYTES_MAX: usize = 300;
/// Bytes of a row that are kept; whoever shows it should not make more.
const ROW_BYTES_MAX: usize = 240;

/// See the module's header. Ordered by message first: the first one of a collection is the one that is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowError {
    /// What PostgreSQL says of such a value.
    pub message: String,
    /// The version whose plan met it; None for the trace's own.
    pub origin: Option<(ViewId, VersionNo)>,
    /// The node of that version's plan.
    pub node: usize,
    /// What failed, with its values: `row=(1, 0)`, `group=(a)`.
    pub row: String,
    /// Five characters.
    pub sqlstate: &'static str,
}

impl RowError {
    /// An error of the trace's own version; texts that are too long lose their end.
    #[must_use]
    pub fn new(sqlstate: &'static str, message: String, node: usize, row: String) -> RowError {
        let (message, row) = (bounded(message, MESSAGE_BYTES_MAX), bounded(row, ROW_BYTES_MAX));
        RowError { message, origin: None, node, row, sqlstate }
    }

    /// A code as errors hold it. Each distinct one is kept for the life of the process; there are few.
    #[must_use]
    pub fn known_sqlstate(code: &str) -> Option<&'static str> {
        static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        if code.len() != 5 || !code.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let mut known = KNOWN.lock();
        if let Some(code) = known.get(code) {
            return Some(code);
        }
        let kept: &'static str = Box::leak(code.to_owned().into_boxed_str());
        known.insert(kept);
        Some(kept)
    }

    /// As a version that reads the one of this name has it: the version where it was met stays named.
    #[must_use]
    pub fn seen_from_above(mut self, version: (ViewId, VersionNo)) -> RowError {
        self.origin.get_or_insert(version);
        self
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.message, self.row)
    }
}

fn bounded(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push_str("...");
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_lose_their_end_between_characters() {
        let error = RowError::new("22P02", "ü".repeat(400), 1, "row=(x)".to_owned());
        assert_eq!(error.message, format!("{}...", "ü".repeat(150)));
        assert_eq!(error.row, "row=(x)");
    }

    #[test]
    fn the_version_that_met_an_error_stays_named_through_those_above() {
        let (low, high) = ((ViewId(1), VersionNo(1)), (ViewId(2), VersionNo(1)));
        let error = RowError::new("22012", "division by zero".to_owned(), 1, "row=(0)".to_owned());
        assert_eq!(error.seen_from_above(low).seen_from_above(high).origin, Some(low));
    }
}
