//! Running versions on timely workers: each plan takes its past, then epochs in order, and publishes what its rows are after each of them.
//!
//! ```text
//!   install ─▶ every worker: stage 0 ══exchange══▶ stage 1 ══▶ … ══▶ output ─▶ Publisher (a shard per worker) ─▶ TraceReader
//!   past ─▶ read-ahead thread ─▶ ┘                                                                         │
//!   feed ─▶ a share for each worker ─▶ ┘      another version's trace, shard by shard ◀────────────────────┘
//! ```
//! [`shape`] cuts a plan into stages at the exchanges that it needs (none with one worker), [`stage`] runs the operators of a stage
//! by direct calls, [`vertex`] is a stage as a timely operator, [`worker`] the thread.
//!
//! Guarantees: an epoch shows in a trace wholly or not at all; an error or a panic in a version fails that version, and those that
//! read it, with the reason; a flow's past is read in slices and lets live epochs go first ([`turns`]); [`Engine::drop_flow`] never
//! waits, and dropping the engine waits for all its threads but those that merge what a trace has (in a cluster: until the other processes stop,
//! too); a failure is heard of in all processes ([`alarm`]).
//! Locks: flows, then commands; a flow's `fed` alone. Not promised: a bound on what is on its way to another process; that the death of
//! a process is heard of. It does not know topics' meaning, SQL, or the life of a version.

mod ahead;
mod alarm;
mod flow;
mod intake;
mod layout;
mod parcel;
mod saving;
mod shape;
mod since;
mod spread;
mod stage;
#[cfg(test)]
mod tests;
mod turns;
mod vertex;
mod worker;
mod workers;

use crate::image::{Image, Of, Step, owned};
use crate::operator::{FlowError, OpStats, Operator};
use crate::ops;
use crate::spill::{Budget, Memory, Spilling};
use ahead::{Ahead, Reading};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use flow::{Flow, From, Named, Source};
use layout::Layout;
use parking_lot::Mutex;
use regauge_plan::flowplan::{FlowPlan, Op, SourceId};
use regauge_state::spill::SpillError;
use regauge_state::trace::{Pin, Publisher, TraceError, TraceReader, Turn, published};
use regauge_types::{Delta, Epoch, TopicId, env::Env, hash, side_by_side::side_by_side};
pub use saving::{Given, Later, NodeImages, Preparing, Restore, Saved, Saving};
use shape::{Shape, Spread};
use since::Since;
use spread::{Crew, Spreader};
use stage::Output;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use worker::{Command, Part};
pub use workers::Cluster;
use workers::Workers;

/// The number of the save that a restored flow goes on from; those that are asked for have greater ones.
pub const RESTORED: u64 = 0;

/// Name of a running version; the same in all processes.
pub type FlowId = u64;

/// How long a wait for room lasts before it is looked again.
const LOOK: Duration = Duration::from_millis(50);
/// States of fewer rows than this together are taken in by one thread.
/// Few where assertions are on, so that tests and the simulation come to it.
const RESTORED_ALONE_ROWS: usize = if cfg!(debug_assertions) { 100 } else { 100_000 };
/// Fewer rows than this of a topic's delta are not shared out among workers.
const SHARE_ROWS: usize = 1024;

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
    /// The workers of a cluster do not find each other.
    #[error("cannot start workers: {0}")]
    Workers(String),
    /// The folder of scratch files.
    #[error("{0}")]
    Scratch(#[from] SpillError),
    /// Rows on their way between workers.
    #[error("rows between workers: {0}")]
    Parcel(String),
    /// Another process failed it.
    #[error("failed in another process: {0}")]
    Elsewhere(String),
    /// A name that is in use.
    #[error("flow exists already id={0}")]
    Exists(FlowId),
}

/// The past of a topic. Columns carry their ids in the metadata of their fields.
pub trait History: Send + Sync {
    /// The share of one of `workers` workers, of all processes.
    fn open(&self, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send>;

    /// Epochs at which it is cut into parts, ascending, below where it ends: each part, or some of them together ([`History::run`]), is an epoch of
    /// its own, so the state between two of these can be saved. Pasts of one flow are cut at the same epochs, or not at all.
    fn cuts(&self) -> Vec<Epoch> {
        vec![]
    }

    /// The last of the parts from this one on that are one epoch, the one that the last of them ends at: a cut that nobody has a use for need not
    /// be made, and each that is made costs what the state's changes since the one before cost. Waits until that is known. The same for all workers
    /// (of one process: pasts that are cut are for one), asked for in ascending order.
    fn run(&self, part: usize) -> usize {
        part
    }

    /// As [`History::open`], of one part; of a past that is not cut the first part is all of it.
    fn open_part(&self, part: usize, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        if part == 0 { self.open(worker, workers) } else { Box::new(std::iter::empty()) }
    }
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
    /// What a flow of the same plan had when it had finished `as_of`; then no past is read. If it says that it is of an epoch before, the past is
    /// what lies between. Every version that it reads must have been
    /// restored at the same epoch.
    pub restore: Option<Restore>,
}

/// What an engine is started with.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Threads of this process; the same number in all processes of a cluster.
    pub workers: usize,
    /// Epochs that may wait for a version before [`Engine::feed`] blocks.
    pub queue_epochs: usize,
    /// None for one process.
    pub cluster: Option<Cluster>,
    /// The memory that operators may hold; `None` for as much as they need.
    pub memory: Option<Memory>,
}

/// What one operator has done, on all workers of this process.
#[derive(Clone, Debug)]
pub struct NodeStats {
    /// The plan's node.
    pub node: usize,
    /// Its operator's name.
    pub op: String,
    /// Counters, as of the last complete epoch.
    pub stats: OpStats,
}

#[derive(Default)]
struct Flows {
    running: HashMap<FlowId, Arc<Flow>>,
    /// Threads that read ahead.
    readers: Vec<Reading>,
}

/// Running versions.
pub struct Engine {
    env: Env,
    queue_epochs: usize,
    flows: Mutex<Flows>,
    workers: Workers,
    budget: Option<Arc<Budget>>,
    /// For what merges of each worker's traces, beside it.
    turns: Vec<Turn>,
}

impl Engine {
    /// Starts the workers; in a cluster this waits until all processes are there.
    pub fn start(config: EngineConfig, env: Env) -> Result<Engine, EngineError> {
        let budget = config.memory.as_ref().map(|memory| Budget::open(&env, memory)).transpose()?;
        let workers = Workers::start(config.workers, config.cluster, &env)?;
        let turns = (0..workers.n()).map(|_| Turn::default()).collect();
        Ok(Engine { env, queue_epochs: config.queue_epochs.max(1), flows: Mutex::default(), workers, budget, turns })
    }

    /// Starts a version; its trace is complete up to `as_of` once its past is in. In a cluster, every process installs the same
    /// versions in the same order, and each trace shows the rows that the process's own workers hold.
    pub fn install(&self, install: Install) -> Result<TraceReader, EngineError> {
        let budget = self.budget.clone();
        self.install_with(install, None, &move |plan| operators(plan, budget.as_ref())).map(|(reader, _)| reader)
    }

    /// As [`Engine::install`], and keeps an epoch of its trace readable from before the first worker hears of it: a past that is read in
    /// parts may be through with several of them by the time that a caller could ask for a pin.
    pub fn install_pinned(&self, install: Install, from: Epoch) -> Result<(TraceReader, Pin), EngineError> {
        let budget = self.budget.clone();
        let (reader, pin) = self.install_with(install, Some(from), &move |plan| operators(plan, budget.as_ref()))?;
        let pin = pin.map_or_else(|| reader.pin(from), Ok)?;
        Ok((reader, pin))
    }

    /// As [`Engine::install`], with operators by somebody else: for tests of those that misbehave.
    fn install_with(
        &self,
        install: Install,
        pinned: Option<Epoch>,
        make: &Make,
    ) -> Result<(TraceReader, Option<Pin>), EngineError> {
        let Install { id, plan, sources, as_of, restore } = install;
        let mut flows = self.flows.lock();
        if flows.running.contains_key(&id) {
            return Err(EngineError::Exists(id));
        }
        let workers = self.workers.n();
        let schema = plan.schema();
        let mut operators = (0..workers).map(|_| make(&plan)).collect::<Result<Vec<_>, _>>()?;
        let spilling: Vec<bool> = operators[0].iter().map(|o| o.as_ref().is_some_and(|o| o.is_within_budget())).collect();
        let shape = Arc::new(Shape::new(&plan, &operators[0], self.workers.peers()));
        let (publishers, reader) = published(Arc::clone(&schema), plan.key.clone(), workers);
        let each = std::iter::zip(publishers, &self.turns);
        let mut publishers: Vec<Publisher> = each.map(|(p, turn)| p.merging_beside(&self.env.threads, turn)).collect();
        let goes_on = restore.as_ref().is_some_and(|r| r.at.is_some());
        let restored = restore.as_ref().map(|r| r.at.unwrap_or(as_of));
        if let (Some(restore), Some(at)) = (restore, restored) {
            self.restore(restore, (id, at), &shape, &mut operators, &mut publishers, &schema)?;
        }
        let mut inputs =
            (0..workers).map(|worker| inputs(&plan, &sources, as_of, worker, workers)).collect::<Result<Vec<_>, _>>()?;
        let pasts: Vec<_> = inputs[0].iter().enumerate().filter_map(|(i, (id, _))| Some((i, history(&sources, id)?))).collect();
        // Before anything is read: nothing is behind it yet.
        let pin = pinned.map(|from| reader.pin(from)).transpose()?;
        let (mut aheads, mut readers) = (vec![], vec![]);
        let reads = !pasts.is_empty() && (restored.is_none() || goes_on);
        // the longest: others are not cut
        let cuts = pasts.iter().filter(|_| reads).map(|(_, past)| past.cuts()).max_by_key(Vec::len).unwrap_or_default();
        for worker in (0..workers).filter(|_| reads) {
            let name = format!("regauge-past-{id}-{worker}");
            let share = (self.workers.first() + worker, self.workers.peers());
            match Ahead::start(&self.env, &name, pasts.clone(), cuts.len() + 1, share) {
                Ok(reading) => {
                    aheads.push(Arc::clone(&reading.ahead));
                    readers.push(reading);
                }
                Err(error) => {
                    // not joined here: one may wait for leave to read on, which whoever called would give
                    aheads.iter().for_each(|a: &Arc<Ahead>| a.close());
                    flows.readers.extend(readers);
                    return Err(error);
                }
            }
        }
        let account = self.budget.as_ref().map(|budget| budget.account(true));
        let flow = Flow::new(id, plan, (cuts, as_of, shape.stages.len()), reader.clone(), aheads, workers);
        let flow = Arc::new(flow.within(account, &spilling));
        let parts = publishers.into_iter().enumerate().map(|(worker, publisher)| Part {
            flow: Arc::clone(&flow),
            shape: Arc::clone(&shape),
            operators: std::mem::take(&mut operators[worker]),
            output: Output { publisher, schema: Arc::clone(&schema), since: Since::default() },
            sources: std::mem::take(&mut inputs[worker]).into_iter().map(|(_, source)| source).collect(),
            ahead: flow.aheads.get(worker).cloned(),
            restored,
        });
        self.workers.tell_all(parts.map(|part| Command::Install(Box::new(part))));
        flows.readers.extend(readers);
        flows.running.insert(id, flow);
        Ok((reader, pin))
    }

    /// Fills fresh operators and publishers with what was saved: each worker's with what it owns now.
    fn restore(
        &self,
        restore: Restore,
        (id, as_of): (FlowId, Epoch),
        shape: &Arc<Shape>,
        operators: &mut [Made],
        publishers: &mut [Publisher],
        schema: &SchemaRef,
    ) -> Result<(), EngineError> {
        let (peers, first) = (self.workers.peers(), self.workers.first());
        let one = one_of(id, peers);
        let states = States { images: restore.images, later: restore.later, shape: Arc::clone(shape), one, peers };
        // a thread each where it is much: a worker's share is its own
        let rows_of = |i: &Image| i.tables.iter().map(RecordBatch::num_rows).sum::<usize>();
        let n_rows: usize = states.images.values().flatten().map(rows_of).sum();
        let n = if n_rows < RESTORED_ALONE_ROWS { 1 } else { operators.len() };
        let shares = std::iter::zip(first.., operators.iter_mut().map(std::mem::take)).collect();
        let made = side_by_side(&self.env.threads, n, shares, move |(me, mut made): (usize, Made)| {
            states.fill(&mut made, me).map(|()| made)
        });
        let made = made.map_err(|why| FlowError::Image(format!("operators cannot take their state in: {why}")))?;
        for (operators, made) in operators.iter_mut().zip(made) {
            *operators = made?;
        }
        let n_nodes = shape.on_one.len();
        let spread = match &shape.homes[n_nodes] {
            Some(columns) => Spread::Hash(columns.clone()),
            None => Spread::One,
        };
        let mut spreader = Spreader::default();
        let places: Vec<usize> = (0..schema.fields().len()).collect();
        for rows in restore.rows {
            let rows = layout::under(schema, &rows, &places)?;
            for (worker, rows) in spreader.split(rows, &spread, Crew { peers, me: first, one })? {
                if let Some(publisher) = worker.checked_sub(first).and_then(|w| publishers.get_mut(w)) {
                    publisher.publish(as_of, rows, vec![])?;
                }
            }
        }
        if let Some(publisher) = publishers.first_mut() {
            publisher.publish(as_of, Delta::empty(Arc::clone(schema)), restore.errors)?;
        }
        Ok(())
    }

    /// Asks for the state of a version at the end of an epoch that will be fed next; see [`Saving`]. `no` ascends; `base` is the last save
    /// of the version that the caller has whole. `None` for a version that does not run. In one process only.
    #[must_use]
    pub fn save(&self, id: FlowId, epoch: Epoch, no: u64, base: Option<u64>) -> Option<Arc<Saving>> {
        let flow = self.flow(id).filter(|flow| !flow.is_over() && self.workers.peers() == self.workers.n())?;
        let saving = Arc::new(Saving::new(no, base, self.workers.n() * flow.n_stages));
        self.workers.tell_all((0..self.workers.n()).map(|_| Command::Save(id, epoch.0, Arc::clone(&saving))));
        Some(saving)
    }

    /// Begins to copy the state of a version between its epochs, so that its first save need not; `None` for a version that does not run.
    #[must_use]
    pub fn prepare(&self, id: FlowId) -> Option<Arc<Preparing>> {
        let flow = self.flow(id).filter(|flow| !flow.is_over() && self.workers.peers() == self.workers.n())?;
        let preparing = Arc::new(Preparing::new(self.workers.n() * flow.n_stages));
        self.workers.tell_all((0..self.workers.n()).map(|_| Command::Prepare(id, Arc::clone(&preparing))));
        Some(preparing)
    }

    /// The output of a running version.
    #[must_use]
    pub fn reader(&self, id: FlowId) -> Option<TraceReader> {
        self.flow(id).map(|f| f.reader.clone())
    }

    /// Everything up to `epoch` is in, of topics with all their columns; epochs ascend, one feeder per version. Blocks while too many
    /// epochs wait for the version. A version that has ended hears nothing. In a cluster, every process feeds the same epochs,
    /// each with rows of its own.
    pub fn feed(&self, id: FlowId, epoch: Epoch, deltas: Vec<(TopicId, Delta)>) {
        let Some(flow) = self.flow(id) else { return };
        let mut fed = flow.fed.lock();
        while !flow.is_over() {
            let upper = flow.reader.upper();
            while fed.front().is_some_and(|e| *e <= upper) {
                fed.pop_front();
            }
            let Some(first) = fed.front().filter(|_| fed.len() >= self.queue_epochs) else { break };
            // an error is a version that is over
            let _ = flow.reader.wait(*first, LOOK);
        }
        if flow.is_over() {
            return;
        }
        fed.push_back(epoch);
        let shares = shares(deltas, self.workers.n(), epoch);
        self.workers.tell_all(shares.into_iter().map(|share| Command::Feed(id, (epoch, share))));
    }

    /// Ends a version: its trace says so, its workers let go of it when they have done what they are at.
    pub fn drop_flow(&self, id: FlowId) {
        let mut flows = self.flows.lock();
        if let Some(flow) = flows.running.remove(&id) {
            flow.end("version was stopped");
            self.workers.tell_all((0..self.workers.n()).map(|_| Command::Drop(id)));
        }
        let (over, readers): (Vec<_>, Vec<_>) = std::mem::take(&mut flows.readers).into_iter().partition(|r| r.is_done());
        flows.readers = readers;
        drop(flows);
        over.into_iter().for_each(Reading::join);
    }

    /// What a version's operators have done.
    #[must_use]
    pub fn stats(&self, id: FlowId) -> Vec<NodeStats> {
        let Some(flow) = self.flow(id) else { return vec![] };
        let counters = flow.counters.lock();
        let is_source = |node: usize| matches!(flow.plan.nodes[node].op, Op::Source { .. });
        let sum = |node: usize| {
            counters.iter().map(|c| &c[node]).fold(OpStats::default(), |a, b| OpStats {
                rows_in: a.rows_in + b.rows_in,
                rows_out: a.rows_out + b.rows_out,
                touched: a.touched + b.touched,
                state_rows: a.state_rows + b.state_rows,
                state_bytes: a.state_bytes + b.state_bytes,
                spilled_bytes: a.spilled_bytes + b.spilled_bytes,
                spilled_rows: a.spilled_rows + b.spilled_rows,
                busy: a.busy + b.busy,
            })
        };
        let of = |node| NodeStats { node, op: name(&flow.plan, node), stats: sum(node) };
        (0..flow.plan.nodes.len()).filter(|node| !is_source(*node)).map(of).collect()
    }

    /// Bytes of memory that operators and outputs hold, those of operators that can spill and the others, and how many they may hold together;
    /// `None` without a budget.
    #[must_use]
    pub fn memory(&self) -> Option<((usize, usize), usize)> {
        self.budget.as_ref().map(|budget| (budget.held(), budget.bytes()))
    }

    fn flow(&self, id: FlowId) -> Option<Arc<Flow>> {
        self.flows.lock().running.get(&id).map(Arc::clone)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let flows = std::mem::take(&mut *self.flows.lock());
        flows.running.values().for_each(|flow| flow.end("version was stopped"));
        flows.readers.into_iter().for_each(Reading::end);
        self.workers.stop();
    }
}

/// What operators had, for all workers.
struct States {
    images: BTreeMap<usize, Vec<Image>>,
    later: BTreeMap<usize, Vec<Later>>,
    shape: Arc<Shape>,
    /// Who holds what is global to the flow.
    one: usize,
    peers: usize,
}

impl States {
    /// A worker's operators take in what is theirs.
    fn fill(&self, made: &mut Made, me: usize) -> Result<(), EngineError> {
        for (node, operator) in made.iter_mut().enumerate() {
            let Some(operator) = operator else { continue };
            let global = self.shape.on_one[node].then_some(self.one);
            if let Some(later) = self.later.get(&node) {
                restore_later(operator.as_mut(), later, global, (me, self.peers))?;
                continue;
            }
            let images = self.images.get(&node).map(Vec::as_slice).unwrap_or_default();
            let (whole, changes): (Vec<&Image>, Vec<&Image>) = images.iter().partition(|i| i.step == Step::Whole);
            operator.restore(&owned(whole, global, me, self.peers).collect::<Vec<_>>())?;
            match global {
                Some(one) if one != me => {}
                Some(_) => operator.restore_changes(&changes, &|_| true)?,
                None => {
                    let changes: Vec<&Image> = owned(changes, None, me, self.peers).collect();
                    operator.restore_changes(&changes, &|h| hash::worker(h, self.peers) == me)?;
                }
            }
        }
        Ok(())
    }
}

/// Fills a fresh operator with images that are read as they are needed: those of one bucket at a time, if it can keep within a budget.
fn restore_later(
    operator: &mut dyn Operator,
    later: &[Later],
    global: Option<usize>,
    (me, peers): (usize, usize),
) -> Result<(), EngineError> {
    let read = |later: &Later| (later.read)().map_err(|why| EngineError::Flow(FlowError::Image(why)));
    let (whole, changes): (Vec<&Later>, Vec<&Later>) = later.iter().partition(|l| l.step == Step::Whole);
    let is_mine = |later: &&&Later| match (global, later.of) {
        (Some(one), _) => one == me,
        (None, Of::All) => true,
        (None, Of::Bucket(bucket)) => hash::worker(u64::from(bucket) << 56, peers) == me,
    };
    let mut mine: Vec<&Later> = whole.iter().filter(is_mine).copied().collect();
    let is_bit_by_bit = operator.is_within_budget();
    if is_bit_by_bit {
        mine.sort_by_key(|l| l.of);
    }
    let pieces: Vec<&[&Later]> = match is_bit_by_bit {
        true if !mine.is_empty() => mine.chunk_by(|a, b| a.of == b.of).collect(),
        _ => vec![&mine],
    };
    for piece in pieces {
        let images = piece.iter().map(|l| read(l)).collect::<Result<Vec<_>, _>>()?;
        operator.restore(&images.iter().collect::<Vec<_>>())?;
    }
    if global.is_some_and(|one| one != me) {
        return Ok(());
    }
    let changes: Vec<&Later> = changes.iter().filter(is_mine).copied().collect();
    for piece in changes.chunks(if is_bit_by_bit { 1 } else { changes.len().max(1) }) {
        let images = piece.iter().map(|l| read(l)).collect::<Result<Vec<_>, _>>()?;
        let images: Vec<&Image> = images.iter().collect();
        match global {
            Some(_) => operator.restore_changes(&images, &|_| true)?,
            None => operator.restore_changes(&images, &|h| hash::worker(h, peers) == me)?,
        }
    }
    Ok(())
}

/// Makes an operator for each node but the sources.
type Make = dyn Fn(&FlowPlan) -> Result<Made, FlowError>;
type Made = Vec<Option<Box<dyn Operator>>>;

fn operators(plan: &FlowPlan, budget: Option<&Arc<Budget>>) -> Result<Made, FlowError> {
    let is_source = |i: usize| matches!(plan.nodes[i].op, Op::Source { .. });
    let shared = budget.map(|budget| (Arc::new(plan.clone()), budget));
    let of = |i: usize| match &shared {
        Some((plan, budget)) => match within(plan, i, budget)? {
            Some(operator) => Ok(operator),
            None => ops::build(plan, i),
        },
        None => ops::build(plan, i),
    };
    (0..plan.nodes.len()).map(|i| if is_source(i) { Ok(None) } else { of(i).map(Some) }).collect()
}

/// The operator of a node, if it is one that can keep within a budget.
pub fn within(plan: &Arc<FlowPlan>, node: usize, budget: &Arc<Budget>) -> Result<Option<Box<dyn Operator>>, FlowError> {
    if ops::build_spilling(plan, node)?.is_none() {
        return Ok(None);
    }
    let plan = Arc::clone(plan);
    let none = move || FlowError::Plan(format!("an operator that does not spill node={node}"));
    let make = Arc::new(move || ops::build_spilling(&plan, node)?.ok_or_else(&none));
    Ok(Some(Box::new(Spilling::new(make, budget)?)))
}

/// Images of a node and the changes behind them as images without changes, of these buckets. An operator of its own takes them in and is
/// saved, so that what is put together is what a restored operator would have.
pub fn merge(plan: &FlowPlan, node: usize, images: &[Image], buckets: std::ops::Range<usize>) -> Result<Vec<Image>, FlowError> {
    let is_here = |image: &&Image| matches!(image.of, Of::Bucket(bucket) if buckets.contains(&usize::from(bucket)));
    let (whole, mut changes): (Vec<&Image>, Vec<&Image>) = images.iter().partition(|i| i.step == Step::Whole);
    changes.retain(|image| image.is_within(&buckets));
    let mut operator = ops::build(plan, node)?;
    operator.restore(&whole.into_iter().filter(is_here).collect::<Vec<_>>())?;
    operator.restore_changes(&changes, &|h| buckets.contains(&hash::bucket(h)))?;
    let mut merged = vec![];
    if !operator.track() {
        return Err(FlowError::Image("changes of an operator that has none".into()));
    }
    buckets.clone().try_for_each(|bucket| operator.save_bucket(bucket, &mut merged))?;
    Ok(merged)
}

/// The worker that holds what is global to a flow: spread, so that not one worker has it all; the same on every worker.
fn one_of(id: FlowId, peers: usize) -> usize {
    usize::try_from(id % peers as u64).unwrap_or(0)
}

fn history(sources: &HashMap<SourceId, Feed>, id: &SourceId) -> Option<Arc<dyn History>> {
    match sources.get(id) {
        Some(Feed::History(past)) => Some(Arc::clone(past)),
        _ => None,
    }
}

/// What each source reads on one worker.
fn inputs(
    plan: &FlowPlan,
    sources: &HashMap<SourceId, Feed>,
    as_of: Epoch,
    worker: usize,
    workers: usize,
) -> Result<Vec<Named>, EngineError> {
    let mut inputs: Vec<Named> = vec![];
    for (i, node) in plan.nodes.iter().enumerate() {
        let Op::Source { id, columns } = &node.op else { continue };
        let layout = (i, Layout::new(columns.clone(), &node.types));
        if let Some((_, input)) = inputs.iter_mut().find(|(known, _)| known == id) {
            input.nodes.push(layout);
            continue;
        }
        let from = match (id, sources.get(id)) {
            (SourceId::Topic(_) | SourceId::Watermark(_), Some(Feed::History(_))) => {
                let nothing = || FlowError::Plan(format!("nothing is given for source {id}"));
                From::Topic(id.fed_as().ok_or_else(nothing)?)
            }
            (SourceId::Version(view, no), Some(Feed::Trace(reader))) => From::Trace {
                version: (*view, *no),
                pin: reader.pin(as_of).map_err(EngineError::Upstream)?,
                shards: (0..reader.n_shards()).filter(|s| s % workers == worker).collect(),
                reader: reader.clone(),
            },
            _ => return Err(FlowError::Plan(format!("nothing is given for source {id}")).into()),
        };
        inputs.push((*id, Source { from, nodes: vec![layout] }));
    }
    Ok(inputs)
}

/// A share of each delta for each worker: slices of large ones; a small one goes whole to a worker that changes with the epoch.
fn shares(deltas: Vec<(TopicId, Delta)>, workers: usize, epoch: Epoch) -> Vec<Vec<(TopicId, Delta)>> {
    let mut shares: Vec<Vec<(TopicId, Delta)>> = vec![vec![]; workers];
    let turn = usize::try_from(epoch.0 % workers as u64).unwrap_or(0);
    for (topic, delta) in deltas {
        let n = delta.n_rows();
        if workers == 1 || n < SHARE_ROWS {
            shares[turn].push((topic, delta));
            continue;
        }
        for (worker, share) in shares.iter_mut().enumerate() {
            let (from, to) = (n * worker / workers, n * (worker + 1) / workers);
            share.push((topic, delta.slice(from, to - from)));
        }
    }
    shares
}

/// The operator's name: the first word of its text.
fn name(plan: &FlowPlan, node: usize) -> String {
    let text = plan.nodes.get(node).map(|n| format!("{:?}", n.op)).unwrap_or_default();
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}
