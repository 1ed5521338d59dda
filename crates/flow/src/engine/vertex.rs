//! One stage as a timely operator: it takes parcels in, runs the stage's epochs in order, and closes each when nothing of it can come any more.
//!
//! Invariants: rows of an epoch are applied only when the stage has closed all epochs before it (what comes early waits); an
//! epoch is closed when every input's frontier has passed it, for the first stage when its intake says so; each output keeps one
//! capability, for the epoch after the last closed one. An activation does at most about 8,192 rows of work, so flows take
//! turns. An error or a panic in a stage ends its flow and nothing else: timely's own code runs outside of what is caught.

use super::{
    EngineError,
    flow::Local,
    intake::{Intake, Turn},
    parcel::{Content, Flight, Parcel, Ticket},
    saving::Preparing,
    spread::Crew,
    stage::{Effects, Stage},
    turns::{Held, LOOK, LOOK_COPY},
};
use regauge_state::trace::RowError;
use regauge_types::Epoch;
use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use timely::{
    dataflow::{
        channels::pushers::{Output, OutputSession},
        operators::Capability,
    },
    progress::frontier::MutableAntichain,
    scheduling::Activator,
};

/// Work of one activation, in rows.
const ROWS_MAX: usize = 8192;

/// Parcels by epoch.
type Stash = BTreeMap<u64, VecDeque<Parcel>>;

/// Where a stage's rows come from.
pub(super) enum Feeder {
    /// From outside.
    First(Intake, Arc<Flight>),
    /// From other stages.
    Later(Stash),
}

/// What a vertex is made of.
pub(super) struct Making {
    pub level: usize,
    pub local: Rc<Local>,
    pub stage: Stage,
    pub feeder: Feeder,
    pub flight: Arc<Flight>,
    pub crew: Crew,
    /// Workers of each process.
    pub threads: usize,
    pub activator: Activator,
}

/// See the module's header.
pub(super) struct Vertex {
    level: usize,
    local: Rc<Local>,
    /// None once the flow is over.
    stage: Option<Stage>,
    feeder: Feeder,
    flight: Arc<Flight>,
    crew: Crew,
    threads: usize,
    activator: Activator,
    outs: Vec<Output<u64, Parcel>>,
    caps: Vec<Capability<u64>>,
    /// Ends of the parts of the past that were not begun (first stage).
    past: VecDeque<Epoch>,
    /// The current epoch has no more input.
    closing: bool,
    held: Held,
    /// Somebody wants copies ahead of a save.
    preparing: Option<Arc<Preparing>>,
}

enum Next {
    /// Until woken.
    Idle,
    /// There is more to do.
    Again,
    /// Others go first.
    Later(Duration),
}

/// What a stage gets from its feeder.
enum Given {
    Source(Vec<(usize, regauge_types::Delta)>),
    Rows(usize, usize, regauge_types::Delta),
    Wait,
    End,
}

impl Vertex {
    pub fn new(making: Making, outs: Vec<Output<u64, Parcel>>, caps: Vec<Capability<u64>>) -> Vertex {
        let Making { level, local, stage, feeder, flight, crew, threads, activator } = making;
        let past = local.flow.past.iter().copied().collect();
        Vertex {
            level,
            local,
            stage: Some(stage),
            feeder,
            flight,
            crew,
            threads,
            activator,
            outs,
            caps,
            past,
            closing: false,
            held: Held::default(),
            preparing: None,
        }
    }

    /// A parcel came in.
    pub fn receive(&mut self, epoch: u64, parcel: Parcel) {
        if let (Feeder::Later(stash), true) = (&mut self.feeder, self.stage.is_some()) {
            stash.entry(epoch).or_default().push_back(parcel);
        }
    }

    /// One activation.
    pub fn run(&mut self, frontiers: &[MutableAntichain<u64>]) {
        if self.local.flow.is_over() {
            return self.discard();
        }
        match catch_unwind(AssertUnwindSafe(|| self.work(frontiers))) {
            Ok(Ok(Next::Idle)) => {}
            Ok(Ok(Next::Again)) => self.activator.activate(),
            Ok(Ok(Next::Later(look))) => self.activator.activate_after(look),
            Ok(Err(error)) => self.fail(&error.to_string()),
            Err(panic) => self.fail(&format!("version panicked: {}", said(&*panic))),
        }
        if let Feeder::Later(stash) = &self.feeder {
            self.local.early[self.level].set(!stash.is_empty());
        }
    }

    fn work(&mut self, frontiers: &[MutableAntichain<u64>]) -> Result<Next, EngineError> {
        let mut fx = Effects::default();
        let mut now = self.current()?;
        if now.is_some_and(|now| now <= self.local.flow.as_of.0) && self.local.turns().hold(&mut self.held) {
            return Ok(Next::Later(LOOK));
        }
        let next = loop {
            let Some(epoch) = now else { break self.prepare()? };
            if self.closing {
                if self.stage()?.finish(epoch, &mut fx)? {
                    self.send(epoch, &mut fx)?;
                    self.close(epoch)?;
                    now = self.current()?;
                } else {
                    break Next::Again;
                }
            } else {
                match self.given(epoch, frontiers)? {
                    Given::Source(rows) => {
                        for (node, delta) in rows {
                            self.stage()?.push_source(epoch, node, delta, &mut fx)?;
                        }
                    }
                    Given::Rows(node, input, delta) => self.stage()?.push(epoch, node, input, delta, &mut fx)?,
                    Given::Wait => break Next::Idle,
                    Given::End => self.closing = true,
                }
            }
            if fx.n_rows >= ROWS_MAX {
                break Next::Again;
            }
        };
        if let Some(epoch) = now {
            self.send(epoch, &mut fx)?;
        }
        Ok(next)
    }

    /// Between epochs: a bucket of copies, if somebody wants them.
    fn prepare(&mut self) -> Result<Next, EngineError> {
        if let Some(preparing) = self.local.preparing[self.level].take() {
            if let Some(stage) = &mut self.stage {
                stage.forget_saved();
            }
            if let Some(before) = self.preparing.replace(preparing) {
                before.done();
            }
        }
        let Some(preparing) = &self.preparing else { return Ok(Next::Idle) };
        let Some(stage) = &mut self.stage else { return Ok(Next::Idle) };
        match self.local.turns().copy(|| stage.walk()).transpose()? {
            None => return Ok(Next::Later(LOOK_COPY)),
            Some(true) => return Ok(Next::Again),
            Some(false) => {}
        }
        preparing.done();
        self.preparing = None;
        Ok(Next::Idle)
    }

    fn stage(&mut self) -> Result<&mut Stage, EngineError> {
        self.stage.as_mut().ok_or_else(|| EngineError::Parcel("a stage ran after its end".into()))
    }

    /// The epoch to work at, if any; the first stage begins it for all.
    fn current(&mut self) -> Result<Option<u64>, EngineError> {
        if let Some(epoch) = self.local.epochs[self.level].borrow().front() {
            return Ok(Some(*epoch));
        }
        let Feeder::First(intake, _) = &mut self.feeder else { return Ok(None) };
        let fed = if self.past.is_empty() {
            self.local.fed.borrow_mut().pop_front()
        } else {
            let Some(parts) = intake.n_parts()? else { return Ok(None) };
            let last = self.past.drain(..parts.clamp(1, self.past.len())).next_back();
            last.map(|epoch| (epoch, vec![]))
        };
        let Some(fed) = fed else { return Ok(None) };
        let epoch = fed.0.0;
        intake.begin(fed);
        self.local.begin(epoch);
        Ok(Some(epoch))
    }

    fn given(&mut self, epoch: u64, frontiers: &[MutableAntichain<u64>]) -> Result<Given, EngineError> {
        match &mut self.feeder {
            Feeder::First(_, flight) if flight.is_full() => Ok(Given::Wait),
            Feeder::First(intake, _) => Ok(match intake.turn(Epoch(epoch))? {
                Turn::Rows(rows) => Given::Source(rows),
                Turn::Wait => Given::Wait,
                Turn::End => {
                    let errors = std::mem::take(&mut intake.errors);
                    self.note(epoch, errors);
                    Given::End
                }
            }),
            Feeder::Later(stash) => {
                let parcel = stash.get_mut(&epoch).and_then(VecDeque::pop_front);
                let Some(parcel) = parcel else {
                    let open = frontiers.iter().any(|f| f.frontier().less_equal(&epoch));
                    return Ok(if open { Given::Wait } else { Given::End });
                };
                let decoded;
                let content = match parcel.content() {
                    Some(Content::Bytes(bytes)) => {
                        decoded = Content::decode(bytes)?;
                        &decoded
                    }
                    Some(content) => content,
                    None => return Ok(Given::Rows(usize::MAX, 0, no_rows())),
                };
                match content {
                    Content::Rows { node, input, delta } => Ok(Given::Rows(*node, *input, delta.clone())),
                    Content::Failed(why) => Err(EngineError::Elsewhere(why.clone())),
                    Content::Bytes(_) => Err(EngineError::Parcel("bytes within bytes".into())),
                }
            }
        }
    }

    /// Errors of an epoch wait for its end.
    fn note(&self, epoch: u64, errors: Vec<(RowError, i64)>) {
        if errors.is_empty() {
            return;
        }
        let mut all = self.local.errors.borrow_mut();
        let of_epoch = all.entry(epoch).or_default();
        errors.into_iter().for_each(|(error, diff)| *of_epoch.entry(error).or_default() += diff);
    }

    fn send(&mut self, epoch: u64, fx: &mut Effects) -> Result<(), EngineError> {
        let errors = std::mem::take(&mut fx.errors);
        self.note(epoch, errors);
        let mut by_port: BTreeMap<usize, Vec<Parcel>> = BTreeMap::new();
        for sent in fx.sent.drain(..) {
            let content = Content::Rows { node: sent.node, input: sent.input, delta: sent.delta };
            let parcel = if self.is_far(sent.to) {
                Parcel::new(sent.to, Content::Bytes(content.encode().map_err(|e| EngineError::Parcel(e.to_string()))?), None)
            } else {
                Parcel::new(sent.to, content, Some(Ticket::new(&self.flight)))
            };
            by_port.entry(sent.port).or_default().push(parcel);
        }
        for (port, parcels) in by_port {
            let cap = self.caps[port].delayed(&epoch);
            let mut session: OutputSession<'_, u64, Parcel> = self.outs[port].activate();
            parcels.into_iter().for_each(|mut parcel| session.give(&cap, &mut parcel));
        }
        Ok(())
    }

    /// Whether a worker is in another process.
    fn is_far(&self, worker: usize) -> bool {
        worker / self.threads != self.crew.me / self.threads
    }

    fn close(&mut self, epoch: u64) -> Result<(), EngineError> {
        let local = Rc::clone(&self.local);
        let errors = if self.level + 1 == local.epochs.len() { local.errors.borrow_mut().remove(&epoch) } else { None };
        let mine = self.crew.me % self.threads;
        let stage = self.stage()?;
        if let Some(counters) = local.flow.counters.lock().get_mut(mine) {
            stage.stats().for_each(|(node, stats)| counters[node] = stats);
        }
        local.flow.count();
        let saving = local.saving(epoch);
        if stage.publish(epoch, errors.unwrap_or_default().into_iter().collect())? {
            local.published(epoch);
        }
        // behind the publishing: whoever has the state can read the output of the same epoch
        if let Some(saving) = saving {
            // a save that fails must not fail the flow
            let given = catch_unwind(AssertUnwindSafe(|| stage.save(saving.no, saving.base)));
            saving.give(match given {
                Ok(given) => given.map_err(|e| e.to_string()),
                Err(panic) => Err(format!("panicked: {}", said(&*panic))),
            });
        }
        self.caps.iter_mut().for_each(|cap| cap.downgrade(&(epoch + 1)));
        local.epochs[self.level].borrow_mut().pop_front();
        if let Feeder::Later(stash) = &mut self.feeder {
            stash.remove(&epoch);
        }
        self.closing = false;
        // epochs may follow one another without a gap
        self.prepare().map(drop)
    }

    fn fail(&mut self, why: &str) {
        tracing::error!(flow = self.local.flow.id, %why, "version fails");
        self.local.flow.fail(why);
        self.discard();
    }

    /// The flow is over: lets go of all but the capabilities.
    fn discard(&mut self) {
        if self.stage.take().is_some() {
            self.local.give_up();
            match &mut self.feeder {
                Feeder::First(intake, _) => *intake = Intake::new(vec![], None, None),
                Feeder::Later(stash) => stash.clear(),
            }
        }
    }
}

fn no_rows() -> regauge_types::Delta {
    regauge_types::Delta::empty(Arc::new(arrow::datatypes::Schema::empty()))
}

/// What a panic said.
pub(super) fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message")
}
