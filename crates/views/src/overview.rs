//! What an instance knows of itself at this moment, beyond its catalog: how far versions are behind, where partitions end, what happened
//! to the catalog. For system relations.
//!
//! Not promised: that several answers are of one moment. Cost: look-ups in memory, except for the catalog's history, which is read
//! from the log, and for a version that is so far behind that its next commit is on disk only.

use crate::{
    Instance,
    catalog::topic_schema,
    checkpoint::{Board, Status},
    error::{Error, Result},
    event_time::Times,
    judge::Judged,
    sinks::{Sinks, Status as SinkStatus},
    version::Versions,
};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use regauge_log::{Ledger, Log, ScanColumn, ScanSpec};
use regauge_types::{CATALOG_TOPIC, ColumnId, Epoch, Hlc, Lsn, TopicId, VersionNo, ViewId, env::Clock};
use std::sync::Arc;

/// See the module's header. It keeps the log's folder, not the instance.
#[derive(Clone)]
pub struct Overview {
    log: Log,
    versions: Arc<Versions>,
    judged: Arc<Judged>,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    sinks: Arc<Sinks>,
}

/// How far a version is behind what is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// What it shows.
    pub epoch: Epoch,
    /// The last durable commit.
    pub durable: Lsn,
    /// Commits that it does not show.
    pub commits: u64,
    /// Age of the oldest of them, if it can be told.
    pub ms: Option<u64>,
}

/// One change of the catalog, as it stands in the log.
#[derive(Clone, Debug)]
pub struct CatalogRecord {
    /// Its commit.
    pub lsn: Lsn,
    /// When that was made.
    pub committed_ms: u64,
    /// What happened.
    pub kind: String,
    /// To whom, where the event has a name.
    pub name: Option<String>,
    /// The event, as JSON.
    pub body: String,
}

impl Overview {
    /// Of an instance.
    #[must_use]
    pub fn new(instance: &Instance) -> Overview {
        let clock = instance.config().env.clock.clone();
        let (log, versions, judged) = (instance.log().clone(), instance.versions().clone(), instance.judged().clone());
        Overview { log, versions, judged, clock, board: instance.board().clone(), sinks: instance.sinks().clone() }
    }

    /// What there is to be told of checkpoints; `None` while they are off.
    #[must_use]
    pub fn checkpoints(&self) -> Option<Status> {
        Some(self.board.status()).filter(|s| s.enabled)
    }

    /// How a sink fares; none while nobody runs it.
    #[must_use]
    pub fn sink(&self, id: u32) -> Option<SinkStatus> {
        self.sinks.status(id)
    }

    /// How far something is behind that has everything up to an epoch.
    #[must_use]
    pub fn behind(&self, epoch: Epoch) -> Lag {
        let durable = self.log.durable();
        let commits = durable.0.saturating_sub(epoch.0);
        let age = |hlc: Hlc| self.clock.wall_ms().saturating_sub(hlc.ms());
        let ms = if commits == 0 {
            Some(0)
        } else {
            self.log.tail(epoch.into()).next(1).ok().and_then(|next| next.first().map(|c| age(c.hlc)))
        };
        Lag { epoch, durable, commits, ms }
    }

    /// Versions.
    #[must_use]
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// How far a version is behind; none while it shows nothing.
    #[must_use]
    pub fn lag(&self, view: ViewId, no: VersionNo) -> Option<Lag> {
        Some(self.behind(self.versions.report(view, no).upper?))
    }

    /// How far event time has come in the partitions of streams, as of the last commit that was judged.
    #[must_use]
    pub fn times(&self) -> Times {
        self.judged.times()
    }

    /// What came of the records that were consumed, as of the last commit in order.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.log.ledger()
    }

    /// The next offset of each partition of a topic.
    #[must_use]
    pub fn next_offsets(&self, topic: TopicId) -> Vec<u64> {
        self.log.next_offsets(topic)
    }

    /// All that happened to the catalog, in order.
    pub fn catalog_events(&self) -> Result<Vec<CatalogRecord>> {
        let schema = topic_schema();
        let mut columns = vec![ScanColumn::Lsn, ScanColumn::CommitTs];
        for name in ["kind", "name", "body"] {
            let (at, _) =
                schema.column_with_name(name).ok_or_else(|| Error::internal("the catalog's topic has other columns"))?;
            let id = u32::try_from(at + 1).map_err(|e| Error::internal(e.to_string()))?;
            columns.push(ScanColumn::User(ColumnId(id)));
        }
        let scan = self.log.scan(&ScanSpec::all(CATALOG_TOPIC, columns, self.log.durable())).map_err(Error::from_log)?;
        let mut all = vec![];
        for batch in scan {
            let rows = batch.map_err(Error::from_log)?.rows;
            all.extend((0..rows.num_rows()).map(|row| record(&rows, row)));
        }
        Ok(all)
    }
}

fn record(rows: &RecordBatch, row: usize) -> CatalogRecord {
    let number = |at: usize| rows.column(at).as_primitive::<Int64Type>().value(row);
    let text = |at: usize| {
        let column = rows.column(at).as_string::<i32>();
        rows.column(at).is_valid(row).then(|| column.value(row).to_owned())
    };
    CatalogRecord {
        lsn: Lsn(number(0).cast_unsigned()),
        committed_ms: Hlc(number(1).cast_unsigned()).ms(),
        kind: text(2).unwrap_or_default(),
        name: text(3),
        body: text(4).unwrap_or_default(),
    }
}
