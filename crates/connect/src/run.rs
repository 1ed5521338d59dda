//! Acting for the protocol: one task per sink, and one that starts and ends them as the catalog says.
//!
//! A task takes what [`crate::protocol`] says, does it, and tells it what came of it. It may be dropped at any moment, as the process may:
//! nothing that matters is in it. Nor is anything begun that is not in the catalog for good: a CREATE that a crash takes back has left nothing
//! in the target ([`Feed::catalog`]). Invariant: of a sink one task runs. Cost: a sink holds the rows of one write in memory; a target
//! that is slow or away holds up its own sink, and nothing is held for it.

use crate::{
    connectors,
    error::Fault,
    protocol::{Action, Fact, Mark, State, backoff, decide},
    target::{Cuts, Rows, Target, Uncut, Write},
};
use parking_lot::Mutex;
use regauge_types::Lsn;
use regauge_views::{
    Instance,
    catalog::Sink,
    follow::{Feed, Followed, Follower, Source},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::{JoinError, JoinHandle},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// How often the catalog is looked at.
const CATALOG_EVERY: Duration = Duration::from_millis(50);
/// How long a quiet relation is waited for before the task looks up.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a view may take to become readable before that is told as an error.
const READABLE: Duration = Duration::from_secs(30);
/// A mark without rows is written down after so long: a restart then finds the target up to date.
const SETTLE: Duration = Duration::from_secs(5);
/// A task that has run for so long before it panicked is begun anew as if it never had.
const LASTED: Duration = Duration::from_secs(60);
/// Rows of one write, about; an epoch is never cut.
const ROWS_MAX: usize = 50_000;

/// Runs the sinks of an instance until it is told to stop; the instance stays open as long.
pub fn start(instance: &Instance, stop: CancellationToken) -> Runner {
    Runner::start(instance, stop, Arc::new(Uncut))
}

/// The running sinks of an instance.
pub struct Runner {
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// Sinks that a cut point has ended.
    killed: Arc<Mutex<BTreeMap<u32, &'static str>>>,
}

impl Runner {
    /// As [`start`], with cut points.
    pub fn start(instance: &Instance, stop: CancellationToken, cuts: Arc<dyn Cuts>) -> Runner {
        connectors::install(instance);
        let killed = Arc::new(Mutex::new(BTreeMap::new()));
        let keeper = Keeper { feed: Feed::new(instance), cuts, killed: killed.clone(), running: HashMap::new() };
        Runner { task: tokio::spawn(keeper.run(stop.clone())), stop, killed }
    }

    /// Where a cut point has ended a sink's task, if one has.
    #[must_use]
    pub fn killed(&self, sink: u32) -> Option<&'static str> {
        self.killed.lock().get(&sink).copied()
    }

    /// Ends them all, wherever they are, and waits until nothing of them holds the instance.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "what runs sinks has ended by itself");
        }
    }
}

struct Keeper {
    feed: Feed,
    cuts: Arc<dyn Cuts>,
    killed: Arc<Mutex<BTreeMap<u32, &'static str>>>,
    running: HashMap<u32, Running>,
}

struct Running {
    sink: Arc<Sink>,
    stop: CancellationToken,
    /// None once it has ended by itself.
    task: Option<JoinHandle<()>>,
    begun: Instant,
    /// How often its task has panicked, one after the other.
    panics: u32,
    /// When it is begun anew, if it has panicked.
    again: Option<Instant>,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) {
        let mut last = None;
        while !stop.is_cancelled() {
            let catalog = self.feed.catalog();
            if last.as_ref().is_none_or(|l| !Arc::ptr_eq(l, &catalog)) {
                self.reconcile(&catalog).await;
                last = Some(catalog);
            }
            self.tend().await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(CATALOG_EVERY) => {}
            }
        }
        for (_, running) in self.running.drain() {
            running.end().await;
        }
    }

    /// What runs is what the catalog has.
    async fn reconcile(&mut self, catalog: &regauge_views::catalog::Catalog) {
        let wanted: HashMap<u32, Arc<Sink>> = catalog.sinks().map(|s| (s.id, s.clone())).collect();
        let gone: Vec<u32> = self.running.keys().copied().filter(|id| wanted.get(id) != Some(&self.running[id].sink)).collect();
        for id in gone {
            if let Some(running) = self.running.remove(&id) {
                running.end().await;
            }
            if !wanted.contains_key(&id) {
                self.feed.sinks().forget(id);
            }
        }
        for (id, sink) in wanted {
            if !self.running.contains_key(&id) {
                let running = self.begin(sink, 0);
                self.running.insert(id, running);
            }
        }
    }

    /// Begins a sink's task, which has panicked so often in a row.
    fn begin(&self, sink: Arc<Sink>, panics: u32) -> Running {
        let (id, stop) = (sink.id, CancellationToken::new());
        let task = Task::new(self.feed.clone(), sink.clone(), self.cuts.clone());
        let (killed, stopped) = (self.killed.clone(), stop.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                at = task.run() => {
                    if let Some(at) = at {
                        killed.lock().insert(id, at);
                    }
                }
            }
        });
        Running { sink, stop, task: Some(task), begun: Instant::now(), panics, again: None }
    }

    /// A task that has panicked has failed like others: it is told, and begun anew after a while, under the next incarnation and with nothing
    /// of what it had in hand: the target is asked.
    async fn tend(&mut self) {
        let ids: Vec<u32> = self.running.keys().copied().collect();
        for id in ids {
            let Some(running) = self.running.get_mut(&id) else { continue };
            if running.task.as_ref().is_some_and(JoinHandle::is_finished)
                && let Some(task) = running.task.take()
                && let Err(error) = task.await
            {
                let why = panic_text(error);
                tracing::error!(sink = %running.sink.name, panic = why, "a sink's task has panicked");
                running.panics = if running.begun.elapsed() >= LASTED { 1 } else { running.panics.saturating_add(1) };
                running.again = Some(Instant::now() + backoff(running.panics));
                self.feed.sinks().tell(id, |s| {
                    s.state = "failed";
                    s.n_retries += 1;
                    s.error = Some(format!("a fault of regauge: its task has panicked: {why}"));
                });
            }
            if running.again.is_some_and(|at| Instant::now() >= at) {
                let (sink, panics) = (running.sink.clone(), running.panics);
                let begun = self.begin(sink, panics);
                self.running.insert(id, begun);
            }
        }
    }
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        let Some(task) = self.task else { return };
        if let Err(error) = task.await {
            tracing::error!(sink = %self.sink.name, panic = panic_text(error), "a sink's task has panicked");
        }
    }
}

fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was cut off".to_owned() };
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

/// One sink.
struct Task {
    feed: Feed,
    sink: Arc<Sink>,
    cuts: Arc<dyn Cuts>,
    follower: Follower,
    target: Option<Box<dyn Target>>,
    source: Option<Source>,
    rows: Option<Rows>,
    /// When the target was written to last.
    written: Instant,
}

impl Task {
    fn new(feed: Feed, sink: Arc<Sink>, cuts: Arc<dyn Cuts>) -> Task {
        let follower = feed.follower(&sink);
        Task { feed, sink, cuts, follower, target: None, source: None, rows: None, written: Instant::now() }
    }

    /// Until it stops; the cut point that ended it, if one did.
    async fn run(mut self) -> Option<&'static str> {
        if self.sink.spec.paused {
            self.feed.sinks().tell(self.sink.id, |s| s.state = "paused");
            return None;
        }
        let mut state = State::opened();
        loop {
            self.tell(&state);
            let action = state.action();
            if action == Action::Stop {
                if let State::Stopped { why, .. } = &state {
                    tracing::warn!(sink = %self.sink.name, why, "sink has stopped");
                }
                return None;
            }
            let fact = self.act(&action, &state).await.unwrap_or_else(Fact::Failed);
            if let Fact::Failed(Fault::Killed(at)) = fact {
                return Some(at);
            }
            self.note(&fact);
            state = decide(state, fact);
        }
    }

    /// What people are told.
    fn tell(&self, state: &State) {
        self.feed.sinks().tell(self.sink.id, |s| {
            let retrying = |failures: u32, otherwise| if failures > 0 { "retrying" } else { otherwise };
            s.state = match state {
                State::Asking { failures, .. } => retrying(*failures, "opening"),
                State::Whole { failures, .. } => retrying(*failures, "copying"),
                State::Following { failures, .. } | State::Writing { failures, .. } => retrying(*failures, "running"),
                State::Stopped { fenced: true, .. } => "fenced",
                State::Stopped { .. } => "stopped",
            };
            match state {
                State::Following { from, seen, failures, .. } => {
                    (s.epoch, s.seen) = (Some(from.epoch), Some(seen.epoch));
                    if *failures == 0 {
                        s.error = None;
                    }
                }
                State::Stopped { why, .. } => s.error = Some(why.clone()),
                _ => {}
            }
        });
    }

    fn note(&mut self, fact: &Fact) {
        match fact {
            Fact::Failed(Fault::Moved) => {}
            Fact::Failed(fault) => {
                tracing::debug!(sink = %self.sink.name, %fault, "an attempt has failed");
                // Until the target is back nothing is held for it.
                self.follower.let_go();
                self.rows = None;
                self.feed.sinks().tell(self.sink.id, |s| {
                    s.n_retries += 1;
                    s.error = Some(fault.to_string());
                });
            }
            Fact::Committed => {
                let n = self.rows.take().map_or(0, |rows| rows.n_rows());
                self.written = Instant::now();
                self.feed.sinks().tell(self.sink.id, |s| {
                    s.n_rows += n as u64;
                    s.n_commits += 1;
                });
            }
            _ => {}
        }
    }

    async fn act(&mut self, action: &Action, state: &State) -> Result<Fact, Fault> {
        match action {
            Action::Ask { mine, wait } => {
                tokio::time::sleep(*wait).await;
                let source = self.follower.source()?;
                let target = match &mut self.target {
                    Some(target) => target,
                    none => none.insert(connectors::target(&self.feed, &self.sink, &source.relation, self.cuts.clone())?),
                };
                let record = target.ask(*mine, &source).await?;
                let version = source.version;
                self.source = Some(source);
                Ok(Fact::Answered { record, version, durable: self.feed.durable().0 })
            }
            Action::Take => {
                let source = self.follower.source()?;
                let from = if let State::Whole { from, .. } = state { from.map_or(0, |m| m.epoch) } else { 0 };
                let (at, rows) = self.follower.whole(&source, Lsn(from), READABLE).await?;
                let mark = Mark { version: source.version, epoch: at.0 };
                (self.rows, self.source) = (Some(Rows::Whole(rows)), Some(source));
                Ok(Fact::Rows(mark))
            }
            Action::Look { after } => self.look(*after, state).await,
            Action::Write { mine, from, to } => {
                let (Some(target), Some(source)) = (&mut self.target, &self.source) else { return Err(Fault::Moved) };
                let none = Rows::Changes(vec![]);
                let rows = self.rows.as_ref().unwrap_or(&none);
                target.write(Write { mine: *mine, from: *from, to: *to, source, rows }).await?;
                Ok(Fact::Committed)
            }
            Action::Stop => Err(Fault::Moved),
        }
    }

    async fn look(&mut self, after: Mark, state: &State) -> Result<Fact, Fault> {
        let source = self.follower.source()?;
        if source.version != after.version {
            return Ok(Fact::Gap);
        }
        if let Some(target) = &self.target {
            if target.wants_whole() {
                return Ok(Fact::Gap);
            }
            let left = target.interval().saturating_sub(self.written.elapsed());
            tokio::time::sleep(left).await;
        }
        let behind = matches!(state, State::Following { from, seen, .. } if seen > from);
        if behind && self.written.elapsed() >= SETTLE {
            self.rows = None;
            return Ok(Fact::Settle);
        }
        let mut follower = std::mem::replace(&mut self.follower, self.feed.follower(&self.sink));
        let asked = source.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let found = follower.changes(&asked, Lsn(after.epoch), ROWS_MAX, PATIENCE);
            (follower, found)
        });
        let (follower, found) = looked.await.map_err(|_| Fault::Refused("looking for changes has panicked".into()))?;
        self.follower = follower;
        self.source = Some(source);
        Ok(match found? {
            Followed::Nothing => Fact::Quiet(after),
            Followed::Gap => Fact::Gap,
            Followed::Changes { up_to, epochs } => {
                let mark = Mark { version: after.version, epoch: up_to.0 };
                if epochs.is_empty() {
                    Fact::Quiet(mark)
                } else {
                    self.rows = Some(Rows::Changes(epochs));
                    Fact::Changes(mark)
                }
            }
        })
    }
}
