//! The one gate: through it every record from outside enters the journal, once its causes are in.
//!
//! [`decide`] is pure. For now everything is admitted whose cause lies in this instance's own journal, which holds for all that
//! a session writes here: a cause is an lsn that was read here. What names a commit that does not exist is refused; holding
//! records until foreign causes arrive will be a third answer, and callers already handle it by waiting.

use regauge_types::Lsn;

/// A record at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The last commit that its writer had seen.
    pub cause: Lsn,
}

/// What the gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may enter.
    Admit,
    /// Its cause does not exist here, and none will come from elsewhere.
    RefuseUnknownCause {
        /// The last commit that there is.
        last: Lsn,
    },
}

/// Whether a record may enter a journal whose last ordered commit is `last`.
#[must_use]
pub fn decide(arrival: Arrival, last: Lsn) -> Admission {
    if arrival.cause <= last { Admission::Admit } else { Admission::RefuseUnknownCause { last } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_enters_after_its_cause_and_never_before() {
        let arrival = Arrival { cause: Lsn(5) };
        assert_eq!(decide(arrival, Lsn(5)), Admission::Admit);
        assert_eq!(decide(arrival, Lsn(4)), Admission::RefuseUnknownCause { last: Lsn(4) });
    }
}
