//! What an error asks of the caller. Each crate has its own error enum; all of them say one of these kinds.

/// What the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The input is wrong: change it.
    Invalid,
    /// The named thing does not exist.
    NotFound,
    /// Somebody else was first: try again on fresh facts.
    Conflict,
    /// Not now: try again later, unchanged.
    Unavailable,
    /// A newer writer took over: stop.
    Fenced,
    /// Stored bytes are not what was written: an operator must look.
    Corrupt,
    /// A limit or the disk is full: make room or raise the limit.
    Exhausted,
    /// Understood, and not offered: the hint says what to write instead.
    Unsupported,
    /// The caller may not.
    Denied,
    /// A broken invariant of ours.
    Internal,
}
