//! Why an attempt to write to a target came to nothing, by what the protocol does about it.

/// A failed attempt. Whatever it left behind, the target is asked what it has before anything else is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The target does not answer, or refuses: tried again, less and less often.
    #[error("{0}")]
    Refused(String),
    /// Somebody else writes under a later incarnation.
    #[error("another writer has taken over incarnation={found} mine={mine}")]
    Fenced {
        /// The target's.
        found: u64,
        /// Ours.
        mine: u64,
    },
    /// The target is not where it was when the content was made: it is asked anew.
    #[error("the target has moved")]
    Moved,
    /// Another attempt cannot mend it: options or the relation must change first.
    #[error("{0}")]
    Hopeless(String),
    /// A cut point of a test: the process is gone as of now.
    #[error("killed at {0}")]
    Killed(&'static str),
}

impl From<regauge_views::Error> for Fault {
    fn from(error: regauge_views::Error) -> Fault {
        let hint = error.hint.as_ref().map(|h| format!(" (hint: {h})")).unwrap_or_default();
        Fault::Refused(format!("{}{hint}", error.message))
    }
}
