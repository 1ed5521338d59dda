//! What a running statement reads from: one epoch, the writes of its own transaction, the pinned traces of the views it uses.
//!
//! It travels to the leaves of a physical plan as an extension of the task's configuration, see [`super::exec`].

use super::Pin;
use crate::{judge::Judged, table::writes::TableWrites};
use arrow::array::RecordBatch;
use regauge_log::Log;
use regauge_state::trace::RowError;
use regauge_types::{Lsn, TopicId, VersionNo, ViewId};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

/// Rows of a version at an epoch.
pub trait VersionRows: Send + Sync {
    /// Rows that failed; if there are any, the others are not given.
    fn errors(&self) -> &[(RowError, i64)] {
        &[]
    }
    /// Rows that failed and were set aside.
    fn diverted(&self) -> &[(RowError, i64)] {
        &[]
    }
    /// All of them, net.
    fn batches(&self) -> Result<Vec<RecordBatch>, crate::error::Error>;
}

/// One epoch of everything.
#[derive(Clone)]
pub struct Reading {
    /// The epoch, as the commit that names it.
    pub at: Lsn,
    /// Heads.
    pub judged: Arc<Judged>,
    /// Streams.
    pub log: Log,
    /// Written by the same transaction.
    pub own: BTreeMap<TopicId, Arc<TableWrites>>,
    /// Versions that the statement uses.
    pub versions: HashMap<(ViewId, VersionNo), Arc<dyn VersionRows>>,
    /// Keeps heads from forgetting the epoch.
    pub pin: Option<Pin>,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("at", &self.at).field("versions", &self.versions.len()).finish_non_exhaustive()
    }
}
