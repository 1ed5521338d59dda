//! SUBSCRIBE: the rows of a relation as they change, epoch by epoch.
//!
//! ```text
//!   epoch: bigint    [progress: boolean]    diff: bigint    the relation's columns
//! ```
//! Guarantee: rows come in the order of epochs, all of an epoch before the next; summed up to an epoch they are the relation at
//! it; an error among the view's rows ends it, as it fails a SELECT, and so does whatever else ends it but its reader: the last item is an error. With `progress`, a row of progress = true says that an epoch is
//! complete. Not promised: that an epoch's rows come in one batch; that an error is told which was gone again before it was looked. A reader that is slow holds up its own thread and the trace's compaction, nobody else.

use super::Session;
use crate::{
    catalog::{Kind, ObjectId, Relation, Who},
    core::Core,
    error::{Error, Result},
    event_time::layout,
    read::Reading,
    response::RowStream,
    table::layout::Changes,
    version::{
        registry::Key,
        trace::{Trace, TraceFailure, trace_error},
    },
};
use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array},
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use futures::StreamExt;
use regauge_plan::parse::Subscribe;
use regauge_state::trace::RowError;
use regauge_types::{Delta, Lsn, TopicId};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc::{Sender, channel};

/// The records among a topic's rows, in the relation's own columns: the first `n`.
fn records(rows: &RecordBatch, n: usize) -> std::result::Result<RecordBatch, arrow::error::ArrowError> {
    layout::without_watermarks(rows)?.project(&(0..n).collect::<Vec<_>>())
}

/// How long a quiet subscription sleeps before it looks whether its client is still there.
const PATIENCE: Duration = Duration::from_millis(200);

/// Changes without end.
pub struct Subscription {
    /// Their columns.
    pub schema: SchemaRef,
    /// In batches.
    pub stream: RowStream,
}

impl Session {
    pub(super) async fn subscribe(&mut self, subscribe: &Subscribe) -> Result<super::Response> {
        let scope = self.scope(None);
        let relation = scope.relation(subscribe.name.schema.as_deref(), &subscribe.name.name)?.clone();
        let after = subscribe.after.as_deref().map(|text| self.core.mint.verify(text)).transpose()?;
        let timeout = self.variables.causal_timeout();
        if let Some(seen) = after {
            self.core.wait_durable(seen.lsn, timeout).await?;
        }
        let shape = Shape::new(&relation, subscribe.progress);
        let (tx, rx) = channel(4);
        let who = self.who(None)?;
        let watch = Watch { who: RefCell::new(who.clone()), of: relation.id };
        let feed = Feed { core: self.core.clone(), shape: shape.clone(), tx, watch };
        let from = after.map(|seen| seen.lsn);
        let snapshot = subscribe.snapshot && from.is_none();
        match &relation.kind {
            Kind::View { .. } => {
                let error = Error::unsupported(format!("\"{}\" is a plain view: it has no changes of its own", relation.name));
                return Err(error.hint("CREATE MATERIALIZED VIEW ... AS the same query, and subscribe to that"));
            }
            Kind::Table { .. } | Kind::Stream { .. } => {
                let start = from.unwrap_or_else(|| self.core.log.durable().max(self.seen.lsn));
                let topic = relation.topic().ok_or_else(|| Error::internal("relation without a topic"))?;
                let rows = if snapshot { self.snapshot_of(&relation, start).await? } else { vec![] };
                feed.begin(move |feed| feed.topic(&relation, topic, start, rows));
            }
            Kind::Materialized { routed, .. } => {
                let view = relation.view().ok_or_else(|| Error::internal("view without an identity"))?;
                let key = (view, *routed);
                let fresh = self.core.versions.freshest(&[key], from.unwrap_or(self.seen.lsn), timeout).await;
                let (at, _) = fresh.map_err(|e| self.core.veiled(&scope.catalog, &who, [relation.id], e))?;
                let reader = self.core.versions.reader(key)?;
                let start = from.unwrap_or(at);
                let known = from.is_none_or(|from| from >= self.core.versions.opened());
                feed.begin(move |feed| {
                    if known {
                        feed.version(key, &reader, start, snapshot);
                    } else {
                        let why = "its epoch is one of an earlier start of the server";
                        feed.send(Err(lost(&TraceFailure::OutOfRange(why.to_owned()))));
                    }
                });
            }
        }
        // Changes have no good end: one without a word would be taken for it.
        let stream = futures::stream::unfold(Some(rx), |rx| async move {
            let mut rx = rx?;
            match rx.recv().await {
                Some(Ok(batch)) => Some((Ok(batch), Some(rx))),
                Some(Err(error)) => Some((Err(error), None)),
                None => Some((Err(Error::internal("the changes have ended by themselves").hint("subscribe again")), None)),
            }
        });
        Ok(super::Response::Subscription(Subscription { schema: shape.schema, stream: stream.boxed() }))
    }

    /// All rows of a table or stream at a commit.
    pub(crate) async fn snapshot_of(&mut self, relation: &Arc<Relation>, at: Lsn) -> Result<Vec<RecordBatch>> {
        use futures::TryStreamExt;
        let quoted = format!("{}.{}", crate::syntax::quote(&relation.name.schema), crate::syntax::quote(&relation.name.name));
        let query = crate::syntax::query(&format!("SELECT * FROM {quoted}"))?;
        let mut txn = self.fresh(super::Mode::Autocommit, at);
        txn.snapshot = Some(self.core.pins.pin(at).ok_or_else(|| Error::conflict("the commit is no longer readable"))?);
        let scope = self.scope(Some(&txn));
        let kept = self.planned(&txn, query, scope, None, None).await?;
        let reading = self.bind(&mut txn, &kept.uses, true).await?;
        self.core.planner.run(&kept.plan, reading)?.try_collect().await.map_err(Error::from_datafusion)
    }
}

/// Columns of a subscription to a relation.
pub(super) fn columns(relation: &Relation, progress: bool) -> SchemaRef {
    Shape::new(relation, progress).schema
}

/// Columns of a subscription.
#[derive(Clone)]
struct Shape {
    schema: SchemaRef,
    relation: SchemaRef,
    progress: bool,
}

impl Shape {
    fn new(relation: &Relation, progress: bool) -> Shape {
        let rows = relation.schema();
        let mut fields = vec![Field::new("epoch", DataType::Int64, true)];
        if progress {
            fields.push(Field::new("progress", DataType::Boolean, true));
        }
        fields.push(Field::new("diff", DataType::Int64, true));
        fields.extend(rows.fields().iter().map(|f| Field::new(f.name(), f.data_type().clone(), true)));
        Shape { schema: Arc::new(Schema::new(fields)), relation: rows, progress }
    }

    fn batch(&self, epoch: Lsn, delta: &Delta) -> Result<RecordBatch> {
        let n = delta.n_rows();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_value(signed(epoch), n))];
        if self.progress {
            columns.push(Arc::new(BooleanArray::from(vec![false; n])));
        }
        columns.push(Arc::new(delta.diffs_array()));
        for (column, field) in delta.rows.columns().iter().zip(self.relation.fields()) {
            let same = column.data_type() == field.data_type();
            columns.push(if same { column.clone() } else { cast(column, field.data_type()).map_err(Error::arrow)? });
        }
        RecordBatch::try_new(self.schema.clone(), columns).map_err(Error::arrow)
    }

    fn complete(&self, epoch: Lsn) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![signed(epoch)])), Arc::new(BooleanArray::from(vec![true]))];
        columns.extend(self.schema.fields().iter().skip(2).map(|f| new_null_array(f.data_type(), 1)));
        RecordBatch::try_new(self.schema.clone(), columns).map_err(Error::arrow)
    }
}

/// Why changes cannot be given: those behind an old token may be merged with others since, or were before the view was built.
fn lost(failure: &TraceFailure) -> Error {
    let error = trace_error(failure);
    match failure {
        TraceFailure::OutOfRange(_) => error.detail("The changes since that epoch are not kept one by one any more.").hint(
            "subscribe without AFTER (HTTP: without Last-Event-ID and after): all present rows come first, then the changes",
        ),
        TraceFailure::Failed(_) => error,
    }
}

fn signed(lsn: Lsn) -> i64 {
    i64::try_from(lsn.0).unwrap_or(i64::MAX)
}

/// Runs on a thread of its own until the client goes.
struct Feed {
    core: Arc<Core>,
    shape: Shape,
    tx: Sender<Result<RecordBatch>>,
    watch: Watch,
}

/// Whether who subscribed may still read: looked at before anything is sent, anew whenever rights have changed.
struct Watch {
    who: RefCell<Who>,
    of: ObjectId,
}

impl Watch {
    fn judge(&self, core: &Core) -> Result<()> {
        let catalog = core.judged.catalog();
        let mut who = self.who.borrow_mut();
        if Arc::ptr_eq(&catalog.rights, &who.rights) {
            return Ok(());
        }
        who.rights = catalog.rights.clone();
        match catalog.get(self.of) {
            Some(relation) => who.read(&catalog, relation),
            None => Ok(()),
        }
    }

    /// An error as the subscriber may hear it.
    fn veiled(&self, core: &Core, error: Error) -> Error {
        core.veiled(&core.judged.catalog(), &self.who.borrow(), [self.of], error)
    }
}

impl Feed {
    /// Gives changes on a thread of its own; the last item of one that panics says so.
    fn begin(self, work: impl FnOnce(&Feed) + Send + 'static) {
        tokio::task::spawn_blocking(move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(&self))) {
                let _ = self.tx.blocking_send(Err(super::panicked(panic.as_ref())));
            }
        });
    }

    /// False when nobody listens any more.
    fn send(&self, item: Result<RecordBatch>) -> bool {
        let item = self.watch.judge(&self.core).and(item).map_err(|e| self.watch.veiled(&self.core, e));
        let fine = item.is_ok();
        self.tx.blocking_send(item).is_ok() && fine
    }

    fn delta(&self, epoch: Lsn, delta: &Delta) -> bool {
        delta.is_empty() || self.send(self.shape.batch(epoch, delta))
    }

    fn complete(&self, epoch: Lsn) -> bool {
        !self.shape.progress || self.send(self.shape.complete(epoch))
    }

    fn topic(&self, relation: &Relation, topic: TopicId, start: Lsn, snapshot: Vec<RecordBatch>) {
        let all_sent = snapshot.into_iter().all(|rows| self.delta(start, &Delta::ones(rows)));
        if !all_sent || !self.complete(start) {
            return;
        }
        let mut tail = self.core.log.tail(start);
        let schema = relation.schema();
        let table = matches!(relation.kind, Kind::Table { .. });
        loop {
            let commits = match tail.next(self.core.config.limits.epoch_rows) {
                Ok(commits) => commits,
                Err(error) => {
                    self.send(Err(Error::from_log(error)));
                    return;
                }
            };
            if commits.is_empty() {
                let _ = self.core.log.wait_beyond(tail.after(), PATIENCE);
                if self.tx.is_closed() {
                    return;
                }
                continue;
            }
            let last = commits.last().map_or(start, |c| c.lsn);
            for commit in &commits {
                for part in commit.parts.iter().filter(|p| p.topic == topic) {
                    let delta = if table {
                        Changes::read(&part.rows, &schema).and_then(|c| c.delta()).map_err(Error::arrow)
                    } else {
                        records(&part.rows, schema.fields().len()).map(Delta::ones).map_err(Error::arrow)
                    };
                    let alive = match delta {
                        Ok(delta) => self.delta(commit.lsn, &delta),
                        Err(error) => self.send(Err(error)),
                    };
                    if !alive {
                        return;
                    }
                }
            }
            if !self.complete(last) {
                return;
            }
        }
    }

    /// Rows are sent only while none of the view's fails: a sum that lacks some would be a wrong answer.
    fn healthy(&self, key: Key, at: Lsn, errors: &[(RowError, i64)]) -> Result<()> {
        if errors.is_empty() {
            return Ok(());
        }
        let (judged, log) = (self.core.judged.clone(), self.core.log.clone());
        let (own, versions, pin) = (BTreeMap::new(), HashMap::new(), self.core.pins.pin(at));
        let reading = Reading { at, judged, log, own, versions, pin };
        Err(self.core.culprits.refusal(&reading, key, errors))
    }

    fn version(&self, key: Key, reader: &Arc<dyn Trace>, start: Lsn, snapshot: bool) {
        let mut at = start;
        // what a slow client has not been sent yet stays readable
        let mut held = self.core.pins.pin(at);
        if snapshot {
            let rows = reader.snapshot(start.into()).map_err(|e| trace_error(&e)).and_then(|rows| {
                self.healthy(key, start, rows.errors())?;
                rows.batches()
            });
            match rows {
                Ok(rows) => {
                    if !rows.into_iter().all(|rows| self.delta(start, &Delta::ones(rows))) {
                        return;
                    }
                }
                Err(error) => {
                    self.send(Err(error));
                    return;
                }
            }
        }
        if !self.complete(start) {
            return;
        }
        while !self.tx.is_closed() {
            match reader.wait(at.next().into(), PATIENCE) {
                Ok(upper) if Lsn::from(upper) > at => {
                    let changes = match reader.changes(at.into(), upper) {
                        Ok(changes) => changes,
                        Err(error) => {
                            self.send(Err(lost(&error)));
                            return;
                        }
                    };
                    let errors = if reader.diverts() { vec![] } else { reader.errors(upper) };
                    if let Err(error) = self.healthy(key, upper.into(), &errors) {
                        self.send(Err(error));
                        return;
                    }
                    for (epoch, delta) in &changes {
                        if !self.delta((*epoch).into(), delta) {
                            return;
                        }
                    }
                    at = upper.into();
                    held = self.core.pins.pin(at).or(held);
                    if !self.complete(at) {
                        return;
                    }
                }
                Ok(_) => {
                    if let Err(ended) = self.core.versions.go_on() {
                        self.send(Err(ended));
                        return;
                    }
                }
                Err(failure) => {
                    self.send(Err(trace_error(&failure)));
                    return;
                }
            }
        }
    }
}
