//! Where sessions and connectors meet: what a connector says of options, and what a running sink says of itself.
//!
//! This crate knows no foreign system. A connector's crate registers itself here when an instance is opened; without one CREATE
//! SINK is refused. Cost: one lock over a small map.

use crate::{
    catalog::Relation,
    error::{Error, Result},
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What there is to say of options that make sense.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Options among them that only a superuser may give: they name files and variables of the server.
    pub guarded: BTreeSet<String>,
    /// What was not given and is fixed from now on, whatever the relation is called later.
    pub fixed: BTreeMap<String, String>,
}

/// What judges options before a sink enters the catalog.
pub trait Connectors: Send + Sync {
    /// Whether these options make sense for this relation; it does not reach for the target.
    fn judge(&self, relation: &Relation, options: &BTreeMap<String, String>) -> Result<Judgement>;
}

/// How a sink fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `opening`, `copying`, `running`, `retrying`, `failed`, `paused`, `fenced`, `stopped`.
    pub state: &'static str,
    /// The epoch that its target has, with everything before it.
    pub epoch: Option<u64>,
    /// The epoch up to which it has looked; behind it nothing is known to be missing in the target.
    pub seen: Option<u64>,
    /// Rows that were written since the sink was opened.
    pub n_rows: u64,
    /// Transactions of the target since then.
    pub n_commits: u64,
    /// Attempts that failed since then.
    pub n_retries: u64,
    /// What the last attempt failed with; kept until one succeeds.
    pub error: Option<String>,
}

/// See the module's header.
#[derive(Default)]
pub struct Sinks {
    connectors: RwLock<Option<Arc<dyn Connectors>>>,
    board: Mutex<BTreeMap<u32, Status>>,
}

impl Sinks {
    /// From now on these judge.
    pub fn register(&self, connectors: Arc<dyn Connectors>) {
        *self.connectors.write() = Some(connectors);
    }

    /// See [`Connectors::judge`].
    pub(crate) fn judge(&self, relation: &Relation, options: &BTreeMap<String, String>) -> Result<Judgement> {
        let connectors = self.connectors.read().clone();
        let connectors = connectors.ok_or_else(|| {
            Error::unsupported("this instance has no connectors").hint("regauge serve has; a program registers regauge-connect")
        })?;
        connectors.judge(relation, options)
    }

    /// A running sink tells of itself.
    pub fn tell(&self, sink: u32, change: impl FnOnce(&mut Status)) {
        change(self.board.lock().entry(sink).or_default());
    }

    /// A sink is gone.
    pub fn forget(&self, sink: u32) {
        self.board.lock().remove(&sink);
    }

    /// What was told last.
    #[must_use]
    pub fn status(&self, sink: u32) -> Option<Status> {
        self.board.lock().get(&sink).cloned()
    }
}
