//! The life of a version, as a pure function: where it stands and what happened give where it stands next and what to do.
//!
//! ```text
//!   planned ──installed──▶ backfilling ──reached──▶ catching up ──joined──▶ shadow ◀──routed/unrouted──▶ live
//!                                │                        │                    │                           │
//!                                │                        ▲◀──── fell behind ─┴───────────────────────────┤
//!                                └────────────────────────┴──── failed ◀───────┴───────────────────────────┘
//!   any of them ──dropped──▶ retiring ──stopped──▶ retired
//! ```
//! Invariant: from `Failed` and `Retired` nothing leads back; a version is read only as `Shadow` (by its number) or `Live`.
//! A failed version touches no other: the only action is on itself. It does not know threads, traces or the log: epochs come in
//! as facts. The acting layer is [`super::registry`].

use regauge_types::Epoch;

/// Where a version stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// In the catalog, not yet running.
    Planned,
    /// Its dataflow reads history up to an epoch.
    Backfilling {
        /// Up to here.
        as_of: Epoch,
    },
    /// History is in; it is fed alone until it stands where the others stand.
    CatchingUp {
        /// Fed up to here.
        fed: Epoch,
    },
    /// Fed with the others, answers reads by its number.
    Shadow {
        /// The first epoch it has in common with the others.
        since: Epoch,
    },
    /// Fed with the others, answers reads of the view.
    Live {
        /// The first epoch it has in common with the others.
        since: Epoch,
    },
    /// Dropped; its dataflow is being stopped.
    Retiring,
    /// Gone.
    Retired,
    /// Stopped by an error of its own; reads say why.
    Failed {
        /// Why.
        why: String,
        /// Nothing is wrong with it but where it is opened: it runs when what it lacks is there.
        lacking: bool,
    },
}

/// What happened to a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The engine took its plan; history up to `as_of` is being read.
    Installed {
        /// Up to here.
        as_of: Epoch,
    },
    /// Its output is complete up to this epoch.
    Reached {
        /// Everything up to here is in the trace.
        upper: Epoch,
    },
    /// The driver fed it alone up to this epoch.
    FedAlone {
        /// Up to here.
        epoch: Epoch,
    },
    /// It has been fed all that the others have been fed.
    Joined {
        /// Where the others stand.
        epoch: Epoch,
    },
    /// It could not keep up with the others and was left out of an epoch; it has been fed up to here.
    FellBehind {
        /// Up to here.
        fed: Epoch,
    },
    /// The catalog routes the view's reads to it, or no longer does.
    Routed(
        /// It answers.
        bool,
    ),
    /// The catalog has it no more.
    Dropped,
    /// Its dataflow is gone.
    Stopped,
    /// What it calls is not here, in this opening of the folder.
    Lacks {
        /// What.
        why: String,
    },
    /// The engine gave it up.
    Broke {
        /// Why.
        why: String,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Feed it alone what follows this epoch.
    FeedAlone {
        /// After here.
        after: Epoch,
    },
    /// Feed it with the others from the epoch after this one.
    FeedWithOthers {
        /// After here.
        after: Epoch,
    },
    /// Tell those who wait for CREATE.
    Announce,
    /// Stop its dataflow.
    Stop,
}

/// Where it stands next, and what to do. A fact that does not concern the state changes nothing.
#[must_use]
pub fn decide(state: &State, routed: bool, fact: &Fact) -> (State, Vec<Action>) {
    use State::{Backfilling, CatchingUp, Failed, Live, Planned, Retired, Retiring, Shadow};
    match (state, fact) {
        (Retired, _) | (Failed { .. }, Fact::Broke { .. } | Fact::Lacks { .. }) => (state.clone(), vec![]),
        (Planned, Fact::Dropped) => (Retired, vec![Action::Announce]),
        (Retiring, Fact::Stopped) => (Retired, vec![]),
        (Retiring, _) => (Retiring, vec![]),
        (_, Fact::Dropped) => (Retiring, vec![Action::Stop, Action::Announce]),
        (Failed { .. }, _) => (state.clone(), vec![]),
        (_, Fact::Broke { why }) => (Failed { why: why.clone(), lacking: false }, vec![Action::Stop, Action::Announce]),
        (_, Fact::Lacks { why }) => (Failed { why: why.clone(), lacking: true }, vec![Action::Announce]),
        (Planned, Fact::Installed { as_of }) => (Backfilling { as_of: *as_of }, vec![]),
        (Backfilling { as_of }, Fact::Reached { upper }) if upper >= as_of => {
            (CatchingUp { fed: *as_of }, vec![Action::FeedAlone { after: *as_of }])
        }
        (CatchingUp { fed }, Fact::FedAlone { epoch }) if epoch > fed => (CatchingUp { fed: *epoch }, vec![]),
        (CatchingUp { fed }, Fact::Joined { epoch }) if epoch >= fed => {
            let next = if routed { Live { since: *epoch } } else { Shadow { since: *epoch } };
            (next, vec![Action::FeedWithOthers { after: *epoch }, Action::Announce])
        }
        (Shadow { .. } | Live { .. }, Fact::FellBehind { fed }) => {
            (CatchingUp { fed: *fed }, vec![Action::FeedAlone { after: *fed }])
        }
        (Shadow { since }, Fact::Routed(true)) => (Live { since: *since }, vec![]),
        (Live { since }, Fact::Routed(false)) => (Shadow { since: *since }, vec![]),
        _ => (state.clone(), vec![]),
    }
}

impl State {
    /// One word for SHOW.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            State::Planned => "planned",
            State::Backfilling { .. } | State::CatchingUp { .. } => "backfilling",
            State::Shadow { .. } => "shadow",
            State::Live { .. } => "live",
            State::Retiring => "retiring",
            State::Retired => "retired",
            State::Failed { lacking: true, .. } => "errored",
            State::Failed { .. } => "failed",
        }
    }

    /// The first epoch at which it can be read together with others.
    #[must_use]
    pub fn readable_since(&self) -> Option<Epoch> {
        match self {
            State::Shadow { since } | State::Live { since } => Some(*since),
            _ => None,
        }
    }

    /// Whether nothing will come of waiting for it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, State::Retiring | State::Retired | State::Failed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(facts: &[Fact]) -> State {
        facts.iter().fold(State::Planned, |state, fact| decide(&state, true, fact).0)
    }

    #[test]
    fn a_version_is_live_once_history_and_the_rest_are_in() {
        let facts = [
            Fact::Installed { as_of: Epoch(5) },
            Fact::Reached { upper: Epoch(5) },
            Fact::FedAlone { epoch: Epoch(8) },
            Fact::Joined { epoch: Epoch(9) },
        ];
        assert_eq!(walk(&facts), State::Live { since: Epoch(9) });
        assert_eq!(walk(&facts[..3]).readable_since(), None);
    }

    #[test]
    fn a_failed_version_stays_failed_until_it_is_dropped() {
        let broke = Fact::Broke { why: "panic".to_owned() };
        let failed = walk(&[Fact::Installed { as_of: Epoch(5) }, broke]);
        let (next, actions) = decide(&failed, true, &Fact::Reached { upper: Epoch(7) });
        assert_eq!((next, actions), (failed.clone(), vec![]));
        assert_eq!(decide(&failed, true, &Fact::Dropped).0, State::Retiring);
    }

    #[test]
    fn a_retired_version_is_deaf() {
        let retired = walk(&[Fact::Dropped]);
        assert_eq!(retired, State::Retired);
        assert_eq!(decide(&retired, true, &Fact::Joined { epoch: Epoch(1) }), (State::Retired, vec![]));
    }
}
