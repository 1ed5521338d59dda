//! Following a relation from outside: all its rows at an epoch, then what changes, as much as the follower asks for.
//!
//! ```text
//!   whole ─▶ (epoch, rows)          changes(after) ─▶ nothing yet
//!                                                   ├ epochs after it, each with its delta
//!                                                   └ a gap: they are not kept one by one any more, ask for the whole
//! ```
//! Guarantee: `whole` at e plus the changes after e up to f are the relation at f; while a row of the relation fails neither is given
//! (RG002). The owner's rights are judged at every call. What a follower has not asked for yet is held by a pin that it may let go of
//! ([`Follower::let_go`]), so that one whose target is away holds up nothing; workers are never waited for. Changes of tables and
//! streams are read from the log, which keeps them all; those of a view from its published trace.

use crate::{
    Instance,
    catalog::{Catalog, Kind, ObjectId, Relation, RoleId, Sink, SinkSpec, Who},
    core::Core,
    error::{Error, Result},
    event_time::layout,
    read::{Pin, Reading},
    secrets::SecretValue,
    session::{Session, SessionOptions},
    sinks::Sinks,
    table::layout::Changes,
    version::{
        registry::Key,
        trace::{TraceFailure, trace_error},
    },
};
use arrow::{array::RecordBatch, datatypes::Schema};
use regauge_log::Tail;
use regauge_types::{Delta, Lsn};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// What is followed, as the catalog has it now.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The relation.
    pub relation: Arc<Relation>,
    /// The version of a view; of a table or stream that of its columns. What was written of another one is written anew, whole.
    pub version: u32,
    /// Positions of columns that are unique together.
    pub key: Option<Vec<usize>>,
    /// Rows only come.
    pub append_only: bool,
}

/// What has changed.
#[derive(Debug)]
pub enum Followed {
    /// Nothing yet.
    Nothing,
    /// The epochs up to one, ascending, those without a row left out.
    Changes {
        /// Everything up to here is in it.
        up_to: Lsn,
        /// In order.
        epochs: Vec<(Lsn, Delta)>,
    },
    /// The changes after the epoch that was asked for are not kept one by one any more.
    Gap,
}

/// See the module's header.
pub struct Follower {
    core: Arc<Core>,
    of: ObjectId,
    owner: RoleId,
    tail: Option<Tail>,
    pin: Option<Pin>,
    /// The end of what was given last: an epoch of the trace that is followed.
    given: Option<(u32, Lsn)>,
}

/// What who runs sinks needs of an instance. It keeps the folder open.
#[derive(Clone)]
pub struct Feed {
    core: Arc<Core>,
}

impl Feed {
    /// Of an instance.
    #[must_use]
    pub fn new(instance: &Instance) -> Feed {
        Feed { core: instance.core().clone() }
    }

    /// The catalog as it is for good: who acts on what is not durable yet has acted, beyond recall, on what a crash may take back.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.core.settled_catalog()
    }

    /// Where sinks tell of themselves.
    #[must_use]
    pub fn sinks(&self) -> &Arc<Sinks> {
        &self.core.sinks
    }

    /// Clock, disk, chance, threads.
    #[must_use]
    pub fn env(&self) -> &regauge_types::Env {
        &self.core.config.env
    }

    /// The data folder.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        &self.core.config.dir
    }

    /// The name by which a target knows a sink of this data set.
    #[must_use]
    pub fn name_of(&self, sink: &Sink) -> String {
        format!("{}/{}", self.core.log.dataset(), sink.id)
    }

    /// The last durable commit.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.core.log.durable()
    }

    /// The value of a secret that an option of a sink names; none: it names none. The owner must have USAGE on it, now. The value must not
    /// be shown, logged, or put in an error.
    pub fn secret(&self, sink: &SinkSpec, option: &str) -> Result<Option<SecretValue>> {
        let Some((_, name)) = sink.secrets().find(|(of, _)| *of == option) else { return Ok(None) };
        let catalog = self.catalog();
        self.core.secret(&catalog, &Who::new(catalog.rights.clone(), sink.owner), &name).map(Some)
    }

    /// Follows a sink's relation, with its owner's rights.
    #[must_use]
    pub fn follower(&self, sink: &Sink) -> Follower {
        Follower { core: self.core.clone(), of: sink.spec.of, owner: sink.spec.owner, tail: None, pin: None, given: None }
    }
}

impl Follower {
    /// What is followed; an error if it is gone, or its owner may not read it.
    pub fn source(&self) -> Result<Source> {
        let catalog = self.core.settled_catalog();
        let relation = catalog.get(self.of).cloned().ok_or_else(|| Error::no_relation("of a sink"))?;
        Who::new(catalog.rights.clone(), self.owner).read(&catalog, &relation)?;
        let (version, key, append_only) = match &relation.kind {
            Kind::Table { key } => (relation.schema_id, Some(key.clone()).filter(|k| !k.is_empty()), false),
            Kind::Stream { .. } => (relation.schema_id, None, true),
            Kind::Materialized { routed, .. } => {
                let key = relation.routed().and_then(|v| v.key.clone()).filter(|k| !k.is_empty());
                (routed.0, key, false)
            }
            Kind::View { .. } => return Err(Error::unsupported("a plain view has no changes of its own")),
        };
        Ok(Source { relation, version, key, append_only })
    }

    fn version(source: &Source) -> Option<Key> {
        Some((source.relation.view()?, regauge_types::VersionNo(source.version)))
    }

    /// All rows at an epoch not before `at_least`.
    pub async fn whole(&mut self, source: &Source, at_least: Lsn, time: Duration) -> Result<(Lsn, Vec<RecordBatch>)> {
        self.tail = None;
        let Some(key) = Follower::version(source) else {
            let at = self.core.log.durable().max(at_least);
            let options = SessionOptions::default();
            let mut session = Session::new(self.core.clone(), options, self.owner);
            let rows = session.snapshot_of(&source.relation, at).await?;
            // They have the columns of now, which may not be for good yet.
            let names = |schema: &Schema| schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
            let wanted = names(&source.relation.schema());
            if rows.iter().any(|batch| names(&batch.schema()) != wanted) {
                return Err(Error::conflict(format!("columns of \"{}\" are being changed", source.relation.name)));
            }
            return Ok((at, rows));
        };
        let (at, rows) = self.core.versions.freshest(&[key], at_least, time).await?;
        self.pin = self.core.pins.pin(at);
        let rows = rows.get(&key).ok_or_else(|| Error::internal("a version was not read"))?;
        self.healthy(key, at, rows.errors())?;
        self.given = Some((source.version, at));
        Ok((at, rows.batches()?))
    }

    /// What has changed after an epoch, about `rows_max` rows of it; blocks until there is something, or for a while.
    pub fn changes(&mut self, source: &Source, after: Lsn, rows_max: usize, patience: Duration) -> Result<Followed> {
        let found = match Follower::version(source) {
            Some(key) => self.of_version(key, after, rows_max, patience),
            None => self.of_topic(source, after, rows_max, patience),
        }?;
        // Rights may have been taken back while it waited.
        self.source()?;
        Ok(found)
    }

    /// Nothing is held for this follower from now on, until it asks again.
    pub fn let_go(&mut self) {
        self.pin = None;
        self.tail = None;
    }

    fn of_version(&mut self, key: Key, after: Lsn, rows_max: usize, patience: Duration) -> Result<Followed> {
        // An epoch of an earlier process may lie within one of this one (a version that goes on from a checkpoint is fed the log anew, cut
        // elsewhere): then the changes after it are no sum of epochs.
        let is_end = self.given == Some((key.1.0, after)) || self.core.versions.boundaries().binary_search(&after).is_ok();
        if !is_end {
            return Ok(Followed::Gap);
        }
        let reader = self.core.versions.reader(key)?;
        let upper = reader.wait(after.next().into(), patience).map_err(|e| trace_error(&e))?;
        if Lsn::from(upper) <= after {
            self.core.versions.go_on()?;
            return Ok(Followed::Nothing);
        }
        let mut changes = match reader.changes(after.into(), upper) {
            Ok(changes) => changes,
            Err(TraceFailure::OutOfRange(_)) => return Ok(Followed::Gap),
            Err(failure) => return Err(trace_error(&failure)),
        };
        if !reader.diverts() {
            self.healthy(key, upper.into(), &reader.errors(upper))?;
        }
        let kept = fitting(changes.iter().map(|(_, delta)| delta.n_rows()), rows_max);
        let up_to = if kept < changes.len() { changes[kept - 1].0.into() } else { Lsn::from(upper) };
        changes.truncate(kept);
        self.pin = self.core.pins.pin(up_to).or(self.pin.take());
        self.given = Some((key.1.0, up_to));
        let epochs = changes.into_iter().filter(|(_, d)| !d.is_empty()).map(|(e, d)| (e.into(), d)).collect();
        Ok(Followed::Changes { up_to, epochs })
    }

    fn of_topic(&mut self, source: &Source, after: Lsn, rows_max: usize, patience: Duration) -> Result<Followed> {
        let topic = source.relation.topic().ok_or_else(|| Error::internal("relation without a topic"))?;
        let schema = source.relation.schema();
        let mut tail = match self.tail.take() {
            Some(tail) if tail.after() == after => tail,
            _ => self.core.log.tail(after),
        };
        if self.core.log.durable() <= after {
            let _ = self.core.log.wait_beyond(after, patience);
        }
        let commits = tail.next(rows_max).map_err(Error::from_log)?;
        let Some(up_to) = commits.last().map(|c| c.lsn) else {
            self.tail = Some(tail);
            return Ok(Followed::Nothing);
        };
        let mut epochs = vec![];
        for commit in &commits {
            for part in commit.parts.iter().filter(|p| p.topic == topic) {
                let delta = if source.append_only {
                    layout::without_watermarks(&part.rows)
                        .and_then(|rows| rows.project(&(0..schema.fields().len()).collect::<Vec<_>>()))
                        .map(Delta::ones)
                } else {
                    Changes::read(&part.rows, &schema).and_then(|changes| changes.delta())
                };
                let delta = delta.map_err(Error::arrow)?;
                if !delta.is_empty() {
                    epochs.push((commit.lsn, delta));
                }
            }
        }
        self.tail = Some(tail);
        Ok(Followed::Changes { up_to, epochs })
    }

    /// Rows are given only while none of the view's fails: a sum that lacks some would be a wrong answer.
    fn healthy(&self, key: Key, at: Lsn, errors: &[(regauge_state::trace::RowError, i64)]) -> Result<()> {
        if errors.is_empty() {
            return Ok(());
        }
        let (judged, log) = (self.core.judged.clone(), self.core.log.clone());
        let (own, versions, pin) = (BTreeMap::new(), HashMap::new(), self.core.pins.pin(at));
        let reading = Reading { at, judged, log, own, versions, pin };
        let error = self.core.culprits.refusal(&reading, key, errors);
        let catalog = self.core.judged.catalog();
        let who = Who::new(catalog.rights.clone(), self.owner);
        Err(self.core.veiled(&catalog, &who, [self.of], error))
    }
}

/// How many of the first epochs have about `rows_max` rows: at least one, if there is one.
fn fitting(n_rows: impl Iterator<Item = usize>, rows_max: usize) -> usize {
    let mut sum = 0;
    n_rows
        .enumerate()
        .take_while(|(at, n)| {
            sum += n;
            *at == 0 || sum <= rows_max
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn an_epoch_is_never_cut_and_at_least_one_is_taken() {
        assert_eq!(fitting([10, 1].into_iter(), 5), 1);
        assert_eq!(fitting([2, 2, 2].into_iter(), 5), 2);
        assert_eq!(fitting([2, 2].into_iter(), 5), 2);
        assert_eq!(fitting(std::iter::empty(), 5), 0);
    }
}
