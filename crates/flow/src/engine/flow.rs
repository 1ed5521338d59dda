//! What the parts of one flow share: between threads ([`Flow`]), and between the stages of one worker ([`Local`]).
//!
//! Invariant: a flow that failed or was stopped stays so; its stages then throw away what they get, and keep their capabilities, so
//! that no epoch looks complete to anybody that is not.

use super::{
    FlowId,
    ahead::Ahead,
    saving::{Preparing, Saving},
    turns::Turns,
};
use crate::operator::OpStats;
use crate::spill::Account;
use parking_lot::Mutex;
use regauge_plan::flowplan::{FlowPlan, SourceId};
use regauge_state::trace::{Pin, RowError, TraceReader};
use regauge_types::{Delta, Epoch, TopicId, VersionNo, ViewId};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use timely::scheduling::{Activator, SyncActivator};

use super::layout::Layout;

/// Shared by all threads of the process.
pub(super) struct Flow {
    pub id: FlowId,
    pub reader: TraceReader,
    pub plan: FlowPlan,
    pub as_of: Epoch,
    /// Epochs at which the parts of its past end, the last of which is `as_of`; not each is one that is run.
    pub past: Vec<Epoch>,
    pub n_stages: usize,
    over: AtomicBool,
    /// Why it failed in this process.
    failure: Mutex<Option<String>>,
    /// Counters by worker and node.
    pub counters: Mutex<Vec<Vec<OpStats>>>,
    /// First stages and bells of the workers, to tell them that it is over.
    sources: Mutex<Vec<SyncActivator>>,
    /// Epochs fed that were not complete when it was looked last.
    pub fed: Mutex<VecDeque<Epoch>>,
    /// What is read ahead for each worker.
    pub aheads: Vec<Arc<Ahead>>,
    /// What it holds that cannot be spilled, and which nodes are not in that.
    fixed: Option<(Mutex<Account>, Vec<bool>)>,
}

impl Flow {
    pub fn new(
        id: FlowId,
        plan: FlowPlan,
        (mut past, as_of, n_stages): (Vec<Epoch>, Epoch, usize),
        reader: TraceReader,
        aheads: Vec<Arc<Ahead>>,
        workers: usize,
    ) -> Flow {
        past.push(as_of);
        let counters = vec![vec![OpStats::default(); plan.nodes.len()]; workers];
        Flow {
            id,
            reader,
            plan,
            as_of,
            past,
            n_stages,
            over: AtomicBool::new(false),
            failure: Mutex::default(),
            counters: Mutex::new(counters),
            sources: Mutex::default(),
            fed: Mutex::default(),
            aheads,
            fixed: None,
        }
    }

    /// Its output and the nodes that do not spill are counted.
    pub fn within(mut self, account: Option<Account>, spilling: &[bool]) -> Flow {
        self.fixed = account.map(|account| (Mutex::new(account), spilling.to_vec()));
        self
    }

    /// An epoch was closed somewhere.
    pub fn count(&self) {
        let Some((account, spilling)) = &self.fixed else { return };
        let counters = self.counters.lock();
        let fixed = |of: &Vec<OpStats>| of.iter().zip(spilling).filter(|(_, s)| !**s).map(|(o, _)| o.state_bytes).sum::<u64>();
        let bytes: u64 = counters.iter().map(fixed).sum();
        drop(counters);
        account.lock().set(usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(self.reader.n_bytes()));
    }

    /// Whether it failed or was stopped.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// As [`Flow::end`], and other processes hear of it; the first reason stays.
    pub fn fail(&self, why: &str) {
        if !self.is_over() {
            self.failure.lock().get_or_insert_with(|| why.to_owned());
        }
        self.end(why);
    }

    /// Why it failed in this process, if it did.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Ends it, with what readers hear; the first reason stays.
    pub fn end(&self, why: &str) {
        if self.over.swap(true, Ordering::AcqRel) {
            return;
        }
        // Readers last: whoever hears of it may drop the flow, and its bell must have been told to ring by then.
        self.aheads.iter().for_each(|a| a.close());
        for source in self.sources.lock().iter() {
            // a worker that is gone needs no telling
            let _ = source.activate();
        }
        self.reader.fail(why);
    }

    pub fn add_source(&self, source: SyncActivator) {
        self.sources.lock().push(source);
    }
}

/// One source of a plan, read by one node or several.
pub(super) struct Source {
    pub from: From,
    pub nodes: Vec<(usize, Layout)>,
}

/// What a source reads.
pub(super) enum From {
    /// A topic: rows that are fed, and a past that is read ahead.
    Topic(TopicId),
    /// Some shards of another version's trace, pinned where this worker stands.
    Trace { version: (ViewId, VersionNo), reader: TraceReader, shards: Vec<usize>, pin: Pin },
}

/// Names a source: two nodes may read one.
pub(super) type Named = (SourceId, Source);

/// One worker's share of an epoch.
pub(super) type Fed = (Epoch, Vec<(TopicId, Delta)>);

/// Shared by the stages of one worker.
pub(super) struct Local {
    pub flow: Arc<Flow>,
    /// Epochs that each stage has yet to close, ascending.
    pub epochs: Vec<RefCell<VecDeque<u64>>>,
    /// Whether a stage holds parcels of epochs that this worker had not begun.
    pub early: Vec<Cell<bool>>,
    pub activators: RefCell<Vec<Option<Activator>>>,
    /// Rows that failed by epoch, of all stages, equal ones together.
    pub errors: RefCell<BTreeMap<u64, BTreeMap<RowError, i64>>>,
    /// What the first stage has not begun.
    pub fed: RefCell<VecDeque<Fed>>,
    /// Epochs at whose end the state is to be saved.
    saves: RefCell<BTreeMap<u64, Arc<Saving>>>,
    /// By stage, who wants copies ahead of a save.
    pub preparing: Vec<Cell<Option<Arc<Preparing>>>>,
    turns: Rc<Turns>,
    in_flight: Cell<usize>,
}

impl Local {
    pub fn new(flow: Arc<Flow>, n_stages: usize, turns: Rc<Turns>) -> Local {
        Local {
            flow,
            epochs: (0..n_stages).map(|_| RefCell::default()).collect(),
            early: (0..n_stages).map(|_| Cell::new(false)).collect(),
            activators: RefCell::new((0..n_stages).map(|_| None).collect()),
            errors: RefCell::default(),
            fed: RefCell::default(),
            saves: RefCell::default(),
            preparing: (0..n_stages).map(|_| Cell::default()).collect(),
            turns,
            in_flight: Cell::new(0),
        }
    }

    /// Takes a worker's share of an epoch in.
    pub fn feed(&self, fed: Fed) {
        if self.flow.is_over() {
            return;
        }
        self.fed.borrow_mut().push_back(fed);
        self.wake(0);
    }

    /// At the end of this epoch the state is to be saved.
    pub fn save(&self, epoch: u64, saving: Arc<Saving>) {
        self.saves.borrow_mut().insert(epoch, saving);
    }

    /// Copies are wanted ahead of a save.
    pub fn prepare(&self, preparing: &Arc<Preparing>) {
        for (stage, wanted) in self.preparing.iter().enumerate() {
            if let Some(before) = wanted.replace(Some(Arc::clone(preparing))) {
                before.done();
            }
            self.wake(stage);
        }
    }

    /// Who wants the state at the end of this epoch.
    pub fn saving(&self, epoch: u64) -> Option<Arc<Saving>> {
        self.saves.borrow().get(&epoch).cloned()
    }

    /// The first stage begins an epoch: the others have it before them.
    pub fn begin(&self, epoch: u64) {
        if epoch > self.flow.as_of.0 {
            self.in_flight.set(self.in_flight.get() + 1);
            self.turns.begin(1);
        }
        for (stage, epochs) in self.epochs.iter().enumerate() {
            epochs.borrow_mut().push_back(epoch);
            if stage > 0 && self.early[stage].get() {
                self.wake(stage);
            }
        }
    }

    /// An epoch is published.
    pub fn published(&self, epoch: u64) {
        self.saves.borrow_mut().remove(&epoch);
        if epoch > self.flow.as_of.0 && self.in_flight.get() > 0 {
            self.in_flight.set(self.in_flight.get() - 1);
            self.turns.end(1);
        }
    }

    /// Nothing of it is waited for any more.
    pub fn give_up(&self) {
        self.turns.end(self.in_flight.replace(0));
        self.fed.borrow_mut().clear();
        self.errors.borrow_mut().clear();
    }

    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    fn wake(&self, stage: usize) {
        if let Some(Some(activator)) = self.activators.borrow().get(stage) {
            activator.activate();
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.give_up();
    }
}
