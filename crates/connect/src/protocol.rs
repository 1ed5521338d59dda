//! What a sink does next: pure, so that every order of facts can be tried.
//!
//! ```text
//!            ┌────────────────────── any fault ─────────────────────┐
//!            ▼                                                      │
//!   Asking ──answered──▶ Following(at) ──changes──▶ Writing(from, to) ──committed──▶ Following(to)
//!     │                     │    ▲                       ▲
//!     │ has nothing,        gap  │ nothing to write      │
//!     │ or another version  ▼    │                       │
//!     └──────────────────▶ Whole(from) ──rows at an epoch┘            Stopped: a person is needed
//! ```
//! The target holds a [`Record`]: the incarnation that may write, and the [`Mark`] (version, epoch) up to which it has everything. A
//! write moves the mark from one that the writer names to another, in one transaction of the target with the rows. So:
//!
//! - a write that was made on another mark than the target's does nothing (no doubles, whatever was retried or delayed);
//! - after any fault, an unknown outcome among them, the target is asked, and its answer is where we go on (no gaps);
//! - opening a sink takes the next incarnation, and a write under an earlier one does nothing (zombies).
//!
//! An answer that cannot come from these rules stops the sink: guessing would lose or double rows in silence.

use crate::error::Fault;
use std::time::Duration;

/// Up to where a target has everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The version of the view, or of the columns of a table or stream.
    pub version: u32,
    /// The epoch, as the commit that names it.
    pub epoch: u64,
}

/// What a target knows of a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who may write: the last one that opened the sink.
    pub incarnation: u64,
    /// What it has; none: nothing.
    pub mark: Option<Mark>,
}

/// Where a sink stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The target is asked what it has.
    Asking {
        /// Our incarnation; none: the next one is asked for with the same question.
        mine: Option<u64>,
        /// A write whose outcome is not known: from, to.
        sent: Option<(Option<Mark>, Mark)>,
        /// Attempts that failed since the last one that did not.
        failures: u32,
    },
    /// All rows are needed: the target has nothing, or something that the changes at hand do not lead on from.
    Whole {
        /// Our incarnation.
        mine: u64,
        /// What the target has.
        from: Option<Mark>,
        /// As of [`State::Asking`].
        failures: u32,
    },
    /// Changes are waited for.
    Following {
        /// Our incarnation.
        mine: u64,
        /// What the target has.
        from: Mark,
        /// Up to here there is nothing that it lacks.
        seen: Mark,
        /// As of [`State::Asking`].
        failures: u32,
    },
    /// Rows are on their way.
    Writing {
        /// Our incarnation.
        mine: u64,
        /// What the target has.
        from: Option<Mark>,
        /// What it will have.
        to: Mark,
        /// As of [`State::Asking`].
        failures: u32,
    },
    /// Nothing more is done.
    Stopped {
        /// Another writer has taken over.
        fenced: bool,
        /// For people.
        why: String,
    },
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The target has answered; the version that is followed now, and the last durable commit here.
    Answered {
        /// Its answer.
        record: Record,
        /// That is followed.
        version: u32,
        /// Here.
        durable: u64,
    },
    /// There are changes with rows, up to a mark.
    Changes(Mark),
    /// Nothing has changed up to a mark.
    Quiet(Mark),
    /// The quiet mark is worth writing down.
    Settle,
    /// The changes after what the target has are not at hand.
    Gap,
    /// All rows at a mark are at hand.
    Rows(Mark),
    /// The target has committed what was sent.
    Committed,
    /// Something failed, here or there.
    Failed(Fault),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wait, then ask the target what it has; without an incarnation, take the next one.
    Ask {
        /// Ours.
        mine: Option<u64>,
        /// First.
        wait: Duration,
    },
    /// Take all rows of the relation.
    Take,
    /// Look for changes after a mark.
    Look {
        /// Everything up to here has been seen.
        after: Mark,
    },
    /// Write what is at hand.
    Write {
        /// Ours.
        mine: u64,
        /// Only if the target has this.
        from: Option<Mark>,
        /// And then it has this.
        to: Mark,
    },
    /// End.
    Stop,
}

/// The first wait after a failure.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
pub const WAIT_MAX: Duration = Duration::from_secs(10);

/// How long to wait after so many failures in a row: twice as long each time, up to a bound.
#[must_use]
pub fn backoff(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => WAIT_FIRST.saturating_mul(1 << (n - 1).min(16)).min(WAIT_MAX),
    }
}

impl State {
    /// Of a sink that is opened.
    #[must_use]
    pub fn opened() -> State {
        State::Asking { mine: None, sent: None, failures: 0 }
    }

    /// What is to be done in a state that was just entered.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            State::Asking { mine, failures, .. } => Action::Ask { mine: *mine, wait: backoff(*failures) },
            State::Whole { .. } => Action::Take,
            State::Following { seen, .. } => Action::Look { after: *seen },
            State::Writing { mine, from, to, .. } => Action::Write { mine: *mine, from: *from, to: *to },
            State::Stopped { .. } => Action::Stop,
        }
    }
}

/// The next state.
#[must_use]
pub fn decide(state: State, fact: Fact) -> State {
    match (state, fact) {
        (state @ State::Stopped { .. }, _) => state,
        (_, Fact::Failed(Fault::Fenced { found, mine })) => {
            let why = format!(
                "another writer has taken over this sink incarnation={found} mine={mine}; ALTER SINK .. RESUME takes it back"
            );
            State::Stopped { fenced: true, why }
        }
        (_, Fact::Failed(Fault::Hopeless(why))) => State::Stopped { fenced: false, why },
        (_, Fact::Failed(fault @ Fault::Killed(_))) => State::Stopped { fenced: false, why: fault.to_string() },
        (state, Fact::Failed(fault)) => failed(state, &fault),
        (State::Asking { mine, sent, failures }, Fact::Answered { record, version, durable }) => {
            answered(mine, sent, failures, record, version, durable)
        }
        (State::Whole { mine, from, failures }, Fact::Rows(to)) => State::Writing { mine, from, to, failures },
        (State::Following { mine, from, failures, .. }, Fact::Changes(to)) => {
            State::Writing { mine, from: Some(from), to, failures }
        }
        (State::Following { mine, from, seen, .. }, Fact::Quiet(to)) => {
            State::Following { mine, from, seen: seen.max(to), failures: 0 }
        }
        (State::Following { mine, from, seen, failures }, Fact::Settle) if seen > from => {
            State::Writing { mine, from: Some(from), to: seen, failures }
        }
        (State::Following { mine, from, failures, .. }, Fact::Gap) => State::Whole { mine, from: Some(from), failures },
        (State::Writing { mine, to, .. }, Fact::Committed) => State::Following { mine, from: to, seen: to, failures: 0 },
        // A fact that does not belong to the state: whoever acts is confused, so the target is asked.
        (state, _) => failed(state, &Fault::Moved),
    }
}

fn failed(state: State, fault: &Fault) -> State {
    let more = |failures: u32| if *fault == Fault::Moved { failures } else { failures.saturating_add(1) };
    match state {
        State::Asking { mine, sent, failures } => State::Asking { mine, sent, failures: more(failures) },
        State::Whole { mine, failures, .. } | State::Following { mine, failures, .. } => {
            State::Asking { mine: Some(mine), sent: None, failures: more(failures) }
        }
        State::Writing { mine, from, to, failures } => {
            State::Asking { mine: Some(mine), sent: Some((from, to)), failures: more(failures) }
        }
        stopped @ State::Stopped { .. } => stopped,
    }
}

fn answered(
    mine: Option<u64>,
    sent: Option<(Option<Mark>, Mark)>,
    failures: u32,
    record: Record,
    version: u32,
    durable: u64,
) -> State {
    let stop = |why: String| State::Stopped { fenced: false, why };
    let now = record.incarnation;
    match mine {
        Some(mine) if now > mine => return decide(State::opened(), Fact::Failed(Fault::Fenced { found: now, mine })),
        Some(mine) if now < mine => {
            return stop(format!(
                "the target has lost the record of this sink incarnation={now} mine={mine}; DROP SINK and CREATE SINK begin anew"
            ));
        }
        _ => {}
    }
    if let Some(mark) = record.mark.filter(|m| m.epoch > durable) {
        return stop(format!(
            "the target is ahead of this data folder epoch={} durable={durable}; was the folder restored? DROP SINK and CREATE SINK \
             begin anew",
            mark.epoch
        ));
    }
    if let Some((from, to)) = sent
        && record.mark != from
        && record.mark != Some(to)
    {
        return stop(format!("the target has what nobody has written has={:?} from={from:?} to={to:?}", record.mark));
    }
    // What was sent is there after all: the attempt did not fail.
    let failures = if sent.is_some_and(|(_, to)| record.mark == Some(to)) { 0 } else { failures };
    match record.mark {
        Some(from) if from.version == version => State::Following { mine: now, from, seen: from, failures },
        from => State::Whole { mine: now, from, failures },
    }
}

#[cfg(test)]
mod tests;
