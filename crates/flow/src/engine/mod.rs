//! Running versions: each plan takes its past, then epochs in order, and publishes what its rows are after each of them.
//!
//! ```text
//!   install ─▶ thread: past up to `as_of` as one epoch ─▶ epoch ─▶ epoch ─▶ …      each: operators ─▶ Publisher ─▶ TraceReader
//!   feed ─▶ bounded queue ──────────────────────────────────┘
//! ```
//! Honest limits: **one thread runs one version**, by [`crate::ops::Serial`]. The exchange of rows over several workers, by timely,
//! comes next, and replaces what is behind [`Engine`]; nothing here is visible through it but the speed. The whole past of a
//! version is held in memory while it is taken in.
//!
//! Guarantees: an epoch shows in a trace wholly or not at all; an error or a panic in a version fails that version, and those that
//! read it, with the reason; [`Engine::drop_flow`] never waits, and dropping the engine waits for all its threads.
//! It does not know topics' meaning, SQL, or the life of a version.

mod layout;
mod queue;
mod worker;

use crate::operator::{FlowError, OpStats};
use crate::ops::Serial;
use layout::Layout;
use parking_lot::Mutex;
use queue::Queue;
use regauge_plan::flowplan::{FlowPlan, Op, SourceId};
use regauge_state::trace::{TraceError, TraceReader, published};
use regauge_types::{
    Delta, Epoch, TopicId,
    env::{Env, Joining},
};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use thiserror::Error;
use worker::{Input, Origin, Worker};

/// Name of a running version.
pub type FlowId = u64;

/// Why a version cannot start or go on.
#[derive(Debug, Error)]
pub enum EngineError {
    /// An operator, or the plan.
    #[error("{0}")]
    Flow(#[from] FlowError),
    /// A trace that is read or written.
    #[error("{0}")]
    Trace(#[from] TraceError),
    /// The past could not be read.
    #[error("past cannot be read: {0}")]
    Past(String),
    /// A version that this one reads.
    #[error("a version that it reads cannot be read: {0}")]
    Upstream(TraceError),
    /// No thread for it.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A name that is in use.
    #[error("flow exists already id={0}")]
    Exists(FlowId),
}

/// The past of a topic. Columns carry their ids in the metadata of their fields.
pub trait History: Send + Sync {
    /// The share of one of `workers` workers.
    fn open(&self, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send>;
}

/// Where a source of a version begins, and what it reads from then on.
#[derive(Clone)]
pub enum Feed {
    /// A topic: its past, then what is fed.
    History(Arc<dyn History>),
    /// Another version's output, at the same epochs; columns by position.
    Trace(TraceReader),
}

/// A version to start.
pub struct Install {
    /// Its name.
    pub id: FlowId,
    /// What it runs.
    pub plan: FlowPlan,
    /// One for each of the plan's sources.
    pub sources: HashMap<SourceId, Feed>,
    /// The past reaches up to here.
    pub as_of: Epoch,
}

/// What one operator has done.
#[derive(Clone, Debug)]
pub struct NodeStats {
    /// The plan's node.
    pub node: usize,
    /// Its operator's name.
    pub op: String,
    /// Counters, as of the last complete epoch.
    pub stats: OpStats,
}

type Counters = Arc<Mutex<Vec<NodeStats>>>;

struct Flow {
    queue: Arc<Queue>,
    reader: TraceReader,
    counters: Counters,
    ended: Arc<AtomicBool>,
    thread: Box<dyn Joining>,
}

#[derive(Default)]
struct Flows {
    running: HashMap<FlowId, Flow>,
    /// Told to stop, perhaps in the middle of an epoch.
    ending: Vec<Flow>,
}

/// Running versions.
pub struct Engine {
    env: Env,
    queue_epochs: usize,
    flows: Mutex<Flows>,
}

impl Engine {
    /// None yet; at most `queue_epochs` epochs wait for each version.
    #[must_use]
    pub fn new(env: Env, queue_epochs: usize) -> Engine {
        Engine { env, queue_epochs: queue_epochs.max(1), flows: Mutex::default() }
    }

    /// Starts a version; its trace is complete up to `as_of` once its past is in.
    pub fn install(&self, install: Install) -> Result<TraceReader, EngineError> {
        let Install { id, mut plan, sources, as_of } = install;
        let inputs = inputs(&mut plan, &sources, as_of)?;
        let serial = Serial::new(&plan)?;
        let schema = plan.schema();
        let (mut publishers, reader) = published(Arc::clone(&schema), plan.key.clone(), 1);
        let publisher = publishers.pop().expect("a trace of one shard has one publisher");
        let queue = Arc::new(Queue::new(self.queue_epochs));
        let (counters, ended) = (Counters::default(), Arc::new(AtomicBool::new(false)));
        let worker = Worker {
            serial,
            plan,
            schema,
            inputs,
            publisher,
            queue: Arc::clone(&queue),
            counters: Arc::clone(&counters),
            at: as_of,
        };
        let mut flows = self.flows.lock();
        if flows.running.contains_key(&id) {
            return Err(EngineError::Exists(id));
        }
        let (of_thread, done) = (reader.clone(), Arc::clone(&ended));
        let body = move || {
            worker.run_to_the_end(&of_thread);
            done.store(true, Ordering::Release);
        };
        let thread = self.env.threads.spawn(&format!("regauge-flow-{id}"), Box::new(body)).map_err(EngineError::Thread)?;
        flows.running.insert(id, Flow { queue, reader: reader.clone(), counters, ended, thread });
        Ok(reader)
    }

    /// The output of a running version.
    #[must_use]
    pub fn reader(&self, id: FlowId) -> Option<TraceReader> {
        self.flows.lock().running.get(&id).map(|f| f.reader.clone())
    }

    /// Everything up to `epoch` is in, of topics with all their columns; epochs ascend. Blocks while the version's queue is full.
    /// A version that has ended hears nothing.
    pub fn feed(&self, id: FlowId, epoch: Epoch, deltas: Vec<(TopicId, Delta)>) {
        let queue = self.flows.lock().running.get(&id).map(|f| Arc::clone(&f.queue));
        if let Some(queue) = queue {
            queue.push(epoch, deltas);
        }
    }

    /// Ends a version: its trace says so, its thread goes when it has done what it is at.
    pub fn drop_flow(&self, id: FlowId) {
        let mut flows = self.flows.lock();
        if let Some(flow) = flows.running.remove(&id) {
            flow.stop();
            flows.ending.push(flow);
        }
        let (ended, ending): (Vec<Flow>, Vec<Flow>) =
            std::mem::take(&mut flows.ending).into_iter().partition(|f| f.ended.load(Ordering::Acquire));
        flows.ending = ending;
        drop(flows);
        ended.into_iter().for_each(Flow::join);
    }

    /// What a version's operators have done.
    #[must_use]
    pub fn stats(&self, id: FlowId) -> Vec<NodeStats> {
        self.flows.lock().running.get(&id).map(|f| f.counters.lock().clone()).unwrap_or_default()
    }
}

impl Flow {
    fn stop(&self) {
        self.queue.close();
        self.reader.fail("version was stopped");
    }

    fn join(self) {
        if let Err(panic) = self.thread.join() {
            tracing::error!(%panic, "a version's thread panicked");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let flows = std::mem::take(&mut *self.flows.lock());
        let all: Vec<Flow> = flows.running.into_values().chain(flows.ending).collect();
        all.iter().for_each(Flow::stop);
        all.into_iter().for_each(Flow::join);
    }
}

/// What each source reads. Two nodes over one source may name different columns, so each source node gets a name of its own.
fn inputs(plan: &mut FlowPlan, sources: &HashMap<SourceId, Feed>, as_of: Epoch) -> Result<Vec<Input>, EngineError> {
    let mut inputs: Vec<(SourceId, Input)> = vec![];
    for (i, node) in plan.nodes.iter_mut().enumerate() {
        let Op::Source { id, columns } = &mut node.op else { continue };
        let own = SourceId::Topic(TopicId(u32::try_from(i).map_err(|_| FlowError::Plan("too many nodes".into()))?));
        let source = std::mem::replace(id, own);
        let layout = Layout::new(own, columns.clone(), &node.types);
        if let Some((_, input)) = inputs.iter_mut().find(|(id, _)| *id == source) {
            input.nodes.push(layout);
            continue;
        }
        let from = match (source, sources.get(&source)) {
            (SourceId::Topic(topic), Some(Feed::History(past))) => Origin::Topic { topic, past: Some(Arc::clone(past)) },
            (SourceId::Version(..), Some(Feed::Trace(reader))) => {
                Origin::Trace { pin: reader.pin(as_of).map_err(EngineError::Upstream)?, reader: reader.clone() }
            }
            _ => return Err(FlowError::Plan(format!("nothing is given for source {source}")).into()),
        };
        inputs.push((source, Input { from, nodes: vec![layout] }));
    }
    Ok(inputs.into_iter().map(|(_, input)| input).collect())
}
