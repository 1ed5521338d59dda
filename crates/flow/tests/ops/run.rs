//! An engine over test histories: the past of a source, epochs fed, and what the published trace says then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use regauge_flow::engine::{Cluster, Engine, EngineConfig, Feed, History, Install};
use regauge_plan::flowplan::{FlowPlan, Op, SourceId};
use regauge_state::trace::{RowError, Snapshot, TraceReader};
use regauge_types::env::{Env, Joining, Threads};
use regauge_types::{COLUMN_ID_KEY, Delta, Epoch, TopicId};

use crate::drive::{base, source};
use crate::value::*;

/// Long enough for a loaded machine; reached only when something is broken.
pub const LONG: Duration = Duration::from_secs(300);

pub type Change = (u32, Row, i64);

/// Rows under a schema whose fields carry column ids, as views give them.
pub fn fed(rows: &[(Row, i64)], ones: bool) -> Delta {
    let plain = delta(&base(), rows, ones);
    let fields: Vec<Field> = plain
        .rows
        .schema()
        .fields()
        .iter()
        .enumerate()
        .map(|(i, f)| f.as_ref().clone().with_metadata([(COLUMN_ID_KEY.to_owned(), i.to_string())].into()))
        .collect();
    plain.with_rows(RecordBatch::try_new(Arc::new(Schema::new(fields)), plain.rows.columns().to_vec()).unwrap())
}

/// The rows of an epoch by topic.
pub fn by_topic(epoch: &[Change], ones: bool) -> Vec<(TopicId, Delta)> {
    let mut of: BTreeMap<u32, Vec<(Row, i64)>> = BTreeMap::new();
    epoch.iter().for_each(|(s, row, d)| of.entry(*s).or_default().push((row.clone(), *d)));
    of.into_iter().map(|(s, rows)| (TopicId(s), fed(&rows, ones))).collect()
}

/// A past that is given out in batches, round the workers.
pub struct Past {
    pub batches: Vec<Delta>,
}

impl History for Past {
    fn open(&self, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        let mine = self.batches.iter().enumerate().filter(|(i, _)| i % workers == worker);
        Box::new(mine.map(|(_, d)| Ok(d.clone())).collect::<Vec<_>>().into_iter())
    }
}

pub fn engine(workers: usize) -> Engine {
    start(workers, None, Env::real())
}

pub fn start(workers: usize, cluster: Option<Cluster>, env: Env) -> Engine {
    Engine::start(EngineConfig { workers, queue_epochs: 8, cluster, memory: None }, env).unwrap()
}

/// Feeds for each source of a plan; `past` is what came before.
pub fn sources(plan: &FlowPlan, past: &[Change], batch_rows: usize, ones: bool) -> Vec<(SourceId, Feed)> {
    let mut feeds = vec![];
    for node in &plan.nodes {
        let Op::Source { id: id @ SourceId::Topic(topic), .. } = &node.op else { continue };
        let rows: Vec<(Row, i64)> = past.iter().filter(|(s, ..)| *s == topic.0).map(|(_, r, d)| (r.clone(), *d)).collect();
        let batches = rows.chunks(batch_rows.max(1)).map(|c| fed(c, ones)).collect();
        feeds.push((*id, Feed::History(Arc::new(Past { batches }))));
    }
    feeds
}

pub fn install(engine: &Engine, id: u64, plan: &FlowPlan, past: &[Change], as_of: u64) -> TraceReader {
    let ones = plan.nodes[0].append_only;
    let sources = sources(plan, past, 7, ones).into_iter().collect();
    engine.install(Install { id, plan: plan.clone(), sources, as_of: Epoch(as_of), restore: None }).unwrap()
}

/// The published rows at an epoch, with their errors.
pub fn at(reader: &TraceReader, epoch: u64) -> (Bag, Vec<(RowError, i64)>) {
    let snapshot = snapshot(reader, epoch);
    let mut rows = Bag::new();
    snapshot.net().unwrap().chunks(8192).for_each(|piece| add_delta(&mut rows, &piece));
    (rows, snapshot.errors().to_vec())
}

pub fn snapshot(reader: &TraceReader, epoch: u64) -> Snapshot {
    assert!(reader.wait(Epoch(epoch), LONG).unwrap() >= Epoch(epoch), "epoch {epoch} is complete in time");
    reader.snapshot(Epoch(epoch)).unwrap()
}

/// A plan that reads another one's output: `SourceId::Version`, columns by position.
pub fn version() -> SourceId {
    SourceId::Version(regauge_types::ViewId(1), regauge_types::VersionNo(1))
}

pub fn topic(i: u32) -> SourceId {
    source(i)
}

/// Threads that are counted while they run.
pub struct Counted {
    pub inner: Arc<dyn Threads>,
    pub running: Arc<AtomicUsize>,
    pub started: AtomicUsize,
}

impl Threads for Counted {
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> std::io::Result<Box<dyn Joining>> {
        let running = Arc::clone(&self.running);
        running.fetch_add(1, Ordering::SeqCst);
        self.started.fetch_add(1, Ordering::SeqCst);
        self.inner.spawn(
            name,
            Box::new(move || {
                body();
                running.fetch_sub(1, Ordering::SeqCst);
            }),
        )
    }
}
