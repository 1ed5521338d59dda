//! The thread of one timely worker: it takes commands in the order that all workers get them, and steps; it parks when there is nothing to do.
//!
//! Invariant: dataflows are built and dropped at the same place in every worker's commands, which gives them the same names
//! everywhere; that is what timely asks for. Across processes the callers see to it.

use super::{
    FlowId, RESTORED,
    ahead::Ahead,
    alarm,
    flow::{Fed, Flow, From, Local, Source},
    intake::Intake,
    one_of,
    parcel::{Flight, Parcel, Post},
    saving::{Preparing, Saving},
    shape::Shape,
    spread::Crew,
    stage::{Output, Stage},
    turns::Turns,
    vertex::{Feeder, Making, Vertex},
};
use crate::operator::Operator;
use regauge_state::trace::Waker;
use regauge_types::{Epoch, env::Clock};
use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
    sync::{Arc, mpsc::Receiver},
};
use timely::{
    WorkerConfig,
    communication::Allocator,
    dataflow::{Stream, channels::pact::DistributorPact, operators::generic::builder_rc::OperatorBuilder},
    worker::Worker,
};

/// One worker's part of a flow that begins.
pub(super) struct Part {
    pub flow: Arc<Flow>,
    pub shape: Arc<Shape>,
    pub operators: Vec<Option<Box<dyn Operator>>>,
    pub output: Output,
    pub sources: Vec<Source>,
    pub ahead: Option<Arc<Ahead>>,
    /// What is in already, instead of a past.
    pub restored: Option<Epoch>,
}

/// What a worker is told.
pub(super) enum Command {
    Install(Box<Part>),
    Feed(FlowId, Fed),
    Save(FlowId, u64, Arc<Saving>),
    /// Copies of the flow's state, ahead of a save.
    Prepare(FlowId, Arc<Preparing>),
    Drop(FlowId),
    Stop,
}

/// What a worker is started with.
pub(super) struct Seat {
    pub commands: Receiver<Command>,
    pub clock: Arc<dyn Clock>,
    /// Workers of each process.
    pub threads: usize,
}

/// A flow on this worker.
struct Running {
    dataflow: usize,
    local: Rc<Local>,
}

#[derive(Default)]
struct Flows(HashMap<FlowId, Running>);

impl Drop for Flows {
    /// A panic outside of what stages catch is timely's or ours; either way nothing that ran here goes on.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.values().for_each(|r| r.local.flow.fail("a worker of the engine panicked"));
        }
    }
}

/// Runs until it is told to stop. `started` hears of the thread, which must be unparked after each command.
pub(super) fn run(allocator: Allocator, seat: Seat, started: impl FnOnce(std::thread::Thread)) {
    let Seat { commands, clock, threads } = seat;
    // timely parks only if it has a clock of its own
    #[allow(clippy::disallowed_methods)]
    let now = std::time::Instant::now();
    let mut worker = Worker::new(WorkerConfig::default().idle_spin(std::time::Duration::ZERO), allocator, Some(now));
    started(std::thread::current());
    let turns = Rc::new(Turns::new(clock));
    let mut running = Flows::default();
    loop {
        while let Ok(command) = commands.try_recv() {
            match command {
                Command::Install(part) => {
                    let (id, dataflow) = (part.flow.id, worker.next_dataflow_index());
                    let local = build(&mut worker, *part, Rc::clone(&turns), threads);
                    running.0.insert(id, Running { dataflow, local });
                }
                Command::Feed(id, fed) => {
                    if let Some(flow) = running.0.get(&id) {
                        flow.local.feed(fed);
                    }
                }
                Command::Save(id, epoch, saving) => {
                    if let Some(flow) = running.0.get(&id) {
                        flow.local.save(epoch, saving);
                    }
                }
                Command::Prepare(id, preparing) => {
                    if let Some(flow) = running.0.get(&id) {
                        flow.local.prepare(&preparing);
                    }
                }
                Command::Drop(id) => {
                    if let Some(flow) = running.0.remove(&id) {
                        // A flow that failed here may not have told the other processes yet.
                        if flow.local.flow.failure().is_some() {
                            worker.step();
                        }
                        worker.drop_dataflow(flow.dataflow);
                    }
                }
                Command::Stop => return,
            }
        }
        worker.step_or_park(None);
    }
}

fn post(_peers: usize) -> Post {
    Post
}

/// Builds the dataflow of a flow: an operator per stage.
fn build(worker: &mut Worker, part: Part, turns: Rc<Turns>, threads: usize) -> Rc<Local> {
    let Part { flow, shape, mut operators, output, sources, ahead, restored } = part;
    let (me, peers) = (worker.index(), worker.peers());
    let crew = Crew { peers, me, one: one_of(flow.id, peers) };
    let n_stages = shape.stages.len();
    let local = Rc::new(Local::new(Arc::clone(&flow), n_stages, turns));
    let mut output = Some(output);
    let mut intake = Some((sources, ahead));
    let mut flight: Option<Arc<Flight>> = None;
    worker.dataflow::<u64, _, _>(|scope| {
        alarm::build(scope, &flow, crew, threads);
        let mut streams: BTreeMap<(usize, usize), Stream<'_, u64, Parcel>> = BTreeMap::new();
        for level in 0..n_stages {
            let mut builder = OperatorBuilder::new(format!("stage {level}"), scope);
            let mut inputs = Vec::new();
            for from in 0..level {
                if let Some(stream) = streams.remove(&(from, level)) {
                    inputs.push(builder.new_input(stream, DistributorPact(post as fn(usize) -> Post)));
                }
            }
            let mut outs = Vec::new();
            for to in &shape.ports[level] {
                let (out, stream) = builder.new_output::<Parcel>();
                outs.push(out);
                streams.insert((level, *to), stream);
            }
            if level == 0 && outs.is_empty() {
                // nobody listens; its capability keeps the dataflow alive
                outs.push(builder.new_output::<Parcel>().0);
            }
            let address = builder.operator_info().address;
            let source = scope.worker().sync_activator_for(address.to_vec());
            let activator = scope.activator_for(address);
            local.activators.borrow_mut()[level] = Some(activator.clone());
            let flight = Arc::clone(flight.get_or_insert_with(|| Flight::new(source.clone())));
            let mut wakers: Vec<Arc<Waker>> = vec![];
            let feeder = match intake.take() {
                None => Feeder::Later(BTreeMap::new()),
                Some((sources, ahead)) => {
                    flow.add_source(source.clone());
                    if let Some(ahead) = &ahead {
                        ahead.wakes(source.clone());
                    }
                    for from in &sources {
                        let From::Trace { reader, .. } = &from.from else { continue };
                        let source = source.clone();
                        // a worker that is gone needs no waking
                        let waker: Arc<Waker> = Arc::new(move || {
                            let _ = source.activate();
                        });
                        reader.wake(&waker);
                        wakers.push(waker);
                    }
                    activator.activate();
                    Feeder::First(Intake::new(sources, ahead, restored), Arc::clone(&flight))
                }
            };
            let published = if level + 1 == n_stages { output.take() } else { None };
            let mut stage = Stage::new(&shape, level, &mut operators, published, crew, local.turns().clock());
            if restored.is_some() {
                stage.goes_on_from(RESTORED);
            }
            let making = Making { level, local: Rc::clone(&local), stage, feeder, flight, crew, threads, activator };
            builder.build(move |caps| {
                let mut vertex = Vertex::new(making, outs, caps);
                move |frontiers| {
                    let _kept = &wakers;
                    for input in &mut inputs {
                        input.for_each(|cap, parcel| {
                            if let Some(epoch) = cap.least() {
                                vertex.receive(*epoch, std::mem::take(parcel));
                            }
                        });
                    }
                    vertex.run(frontiers);
                }
            });
        }
    });
    local
}
