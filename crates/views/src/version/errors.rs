//! What is said of a version that cannot answer: that it has failed, or which error its rows have, in which view, of which row.
//!
//! Pure text. It does not know which record of a topic is meant: [`crate::read::culprit`] looks for that when a read fails.

use super::registry::Key;
use crate::error::{Error, Result, sqlstate as code};
use regauge_state::trace::RowError;
use regauge_types::ErrorKind;

const HINT: &str =
    "change or delete the rows that cause it, and the view heals; or DROP it and CREATE it with a guard such as NULLIF or CASE";

/// What the disk did is nobody's row: a version that could not spill is brought back when there is an opening.
const HINT_SCRATCH: &str =
    "see to the disk (room, permissions) and start the server again: the view is restored from its checkpoint or the log";

/// A version that has failed and does not recover by itself.
#[must_use]
pub fn failed(why: &str) -> Error {
    // As `regauge_state::spill::SpillError` says it.
    let hint = if why.contains("scratch file") { HINT_SCRATCH } else { HINT };
    Error::new(ErrorKind::Unavailable, code::VIEW_ERRORED, format!("view has an error: {why}")).hint(hint)
}

/// Rows that fail, of all errors.
#[must_use]
pub fn n_rows(errors: &[(RowError, i64)]) -> i64 {
    errors.iter().map(|(_, n)| n).sum()
}

/// The error and the view that it was met in, if that is not the one that is asked: `division by zero in view "below"`.
pub fn told(own: Key, error: &RowError, name: impl Fn(Key) -> String) -> String {
    match error.origin.filter(|origin| *origin != own) {
        Some(origin) => format!("{} in view \"{}\"", error.message, name(origin)),
        None => error.message.clone(),
    }
}

/// A view whose rows have errors; `record` names what is at fault.
#[must_use]
pub fn errored(view: &str, told: &str, record: &str, row: &str, n_rows: i64) -> Error {
    Error::new(ErrorKind::Unavailable, code::VIEW_ERRORED, format!("view \"{view}\" has an error: {told} {record}"))
        .detail(if record == row { format!("n_rows={n_rows}") } else { format!("{row} n_rows={n_rows}") })
        .hint(HINT)
}

/// Rows are given only when none of them failed.
pub fn healthy(errors: &[(RowError, i64)]) -> Result<()> {
    match errors.first() {
        None => Ok(()),
        Some((error, _)) => Err(failed(&error.to_string()).detail(format!("n_rows={}", n_rows(errors)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regauge_state::spill::SpillError;

    #[test]
    fn a_full_disk_is_not_a_rows_fault() {
        let full = SpillError::Io { what: "write", path: "x".into(), source: std::io::ErrorKind::StorageFull.into() };
        for error in [full, SpillError::Corrupt { path: "x".into(), offset: 1, reason: "checksum" }] {
            assert_eq!(failed(&error.to_string()).hint.as_deref(), Some(HINT_SCRATCH), "{error}");
        }
        assert_eq!(failed("division by zero").hint.as_deref(), Some(HINT));
    }
}
