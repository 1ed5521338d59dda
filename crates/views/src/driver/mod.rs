//! The epoch driver: one thread that tails the log, ends epochs and feeds them to the versions.
//!
//! ```text
//!   tail ─▶ commits ─▶ epochs (end at: a reserved boundary · a catalog event · epoch_rows · nothing more is durable)
//!                        ├─▶ versions that keep up: each epoch as it closes
//!                        └─▶ versions that are behind: fed alone from the journal until they stand where the others stand
//! ```
//! Guarantees: a version is fed every commit after its `as_of` once and in order; boundaries are common to all that keep up;
//! latency is one wake-up when the log is idle. A version that does not keep up delays the others by at most [`PATIENCE`] per
//! epoch before it is left behind. DDL takes effect where its commit stands: versions are installed and dropped between epochs.
//! Not promised: that epochs are cut at the same commits after a restart.

pub mod clock;
pub mod cuts;
pub mod deltas;
pub mod marks;
pub mod past;

use crate::{
    catalog::{self, Catalog, Event, Kind, ObjectId, Relation},
    checkpoint::{
        Board,
        found::Found,
        keeper::Keeper,
        take::{Job, OfVersion},
    },
    config::Limits,
    event_time::Times,
    judge::Judged,
    read::Pins,
    version::{
        FlowId, Versions,
        life::{Action, Fact, State},
        registry::Key,
        trace::{Begin, Start},
    },
};
use deltas::Gathered;
use marks::Marks;
use regauge_flow::engine::Restore;
use regauge_log::{Commit, Log, Tail, Transaction};
use regauge_plan::{FlowPlan, Op, SourceId};
use regauge_types::{CATALOG_TOPIC, CLOCK_TOPIC, ColumnId, Delta, Env, Epoch, Hlc, Lsn, TopicId, VersionNo, ViewId};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long one epoch waits for a version that does not keep up.
const PATIENCE: Duration = Duration::from_millis(250);
/// Sleep while nothing is durable and no version is on its way.
const IDLE: Duration = Duration::from_millis(100);
/// Sleep while a version is on its way.
const BUSY: Duration = Duration::from_millis(1);
/// Traces are allowed to forget each time so many commits have passed.
const FORGET_EVERY: u64 = 512;
/// Heads are compacted each time so many commits have passed.
const COMPACT_EVERY: u64 = 4096;

/// What the driver shares with the rest of the instance.
pub struct Parts {
    /// Tailed.
    pub log: Log,
    /// Its clock.
    pub env: Env,
    /// Heads, for the past of tables and for compaction.
    pub judged: Arc<Judged>,
    /// Commits that are being read.
    pub pins: Pins,
    /// Told what happens.
    pub versions: Arc<Versions>,
    /// Sizes of epochs.
    pub limits: Limits,
    /// Set when the thread is to end.
    pub stop: Arc<AtomicBool>,
    /// Told of checkpoints.
    pub board: Arc<Board>,
}

/// The driver, on its thread.
pub struct Driver {
    log: Log,
    env: Env,
    judged: Arc<Judged>,
    pins: Pins,
    versions: Arc<Versions>,
    limits: Limits,
    catalog: Catalog,
    tail: Tail,
    /// How far event time has come with the last epoch that was closed.
    times: Times,
    running: BTreeMap<Key, Running>,
    next_flow: FlowId,
    compacted: Lsn,
    /// When traces were told last to forget, and what nobody could ask for then.
    forgotten: (Lsn, Lsn),
    stop: Arc<AtomicBool>,
    ticking: clock::Ticking,
    /// The last commit when the driver began, and its clock.
    began: (Lsn, Hlc),
    /// Takes checkpoints, if they are on.
    keeper: Option<Keeper>,
    board: Arc<Board>,
}

/// An epoch for one version alone: its end, its rows, how far it brings event time.
type Apart = (Lsn, Vec<(TopicId, Delta)>, Times);

/// A version with a dataflow.
struct Running {
    flow: FlowId,
    topics: BTreeSet<TopicId>,
    /// Fed up to here; feeding is with the others or alone.
    fed: Lsn,
    alone: bool,
    marks: Marks,
}

impl Driver {
    /// Begins behind the commit that `catalog` was folded up to; installs the versions that it has.
    #[must_use]
    pub fn new(
        parts: Parts,
        catalog: Catalog,
        times: Times,
        at: Lsn,
        (found, keeper): (Option<Found>, Option<Keeper>),
    ) -> Driver {
        let Parts { log, env, judged, pins, versions, limits, stop, board } = parts;
        let tail = log.tail(at);
        let running = BTreeMap::new();
        let began = (log.durable(), log.last_hlc());
        let mut driver = Driver {
            log,
            env,
            judged,
            pins,
            versions,
            limits,
            catalog,
            tail,
            times,
            running,
            next_flow: 1,
            compacted: at,
            forgotten: (at, Lsn::ZERO),
            stop,
            ticking: clock::Ticking::default(),
            began,
            keeper,
            board,
        };
        let all: Vec<Key> = driver
            .catalog
            .relations()
            .filter_map(|r| Some((r.view()?, r)))
            .flat_map(|(view, r)| match &r.kind {
                Kind::Materialized { versions, .. } => versions.keys().map(|no| (view, *no)).collect(),
                _ => vec![],
            })
            .collect();
        let mut restored = BTreeSet::new();
        for key in all {
            let whence = found.as_ref().map(|found| driver.restore(key, found, &restored));
            if let Some(Ok(())) = &whence {
                restored.insert(key);
            } else {
                driver.install(key, at);
            }
            if let Some(whence) = whence {
                if let Err(why) = &whence {
                    tracing::warn!(view = %key.0, version = %key.1, %why, "version is rebuilt from the log, not restored");
                }
                let at = found.as_ref().map(Found::at).unwrap_or_default();
                driver.board.tell(|s| drop(s.opened.insert(key, whence.map(|()| at))));
            }
        }
        if let Some(keeper) = &mut driver.keeper {
            keeper.restored(restored);
        }
        driver
    }

    /// Installs a version with what a checkpoint has of it; an error says why it cannot be.
    fn restore(&mut self, key: Key, found: &Found, restored: &BTreeSet<Key>) -> Result<(), String> {
        let relation = self.catalog.get(ObjectId::View(key.0.0)).ok_or("view is not in the catalog")?;
        let Kind::Materialized { versions, .. } = &relation.kind else { return Err("view has no versions".to_owned()) };
        let version = versions.get(&key.1).ok_or("version is not in the catalog")?;
        let plan = FlowPlan::from_bytes(&version.plan).map_err(|e| e.to_string())?;
        for source in source_columns(&plan).into_keys() {
            if let SourceId::Version(view, no) = source
                && !restored.contains(&(view, no))
            {
                return Err(format!("a version that it reads is rebuilt view={view} version={no}"));
            }
        }
        let restore = found.version(key, &version.fingerprint)?;
        self.begin(key, found.at(), Some((restore, &found.times)))
    }

    /// Takes part in a checkpoint if one is due: versions that keep up are asked for what they have at the end of the epoch that is fed next.
    fn checkpoint(&mut self, at: Lsn) {
        let Some(mut keeper) = self.keeper.take() else { return };
        let log_bytes = self.log.written_bytes();
        let due = keeper.is_due(at, log_bytes);
        let live = self.running.iter().filter(|(_, r)| due && !r.alone);
        let flows: Vec<(Key, FlowId)> = live.map(|(key, r)| (*key, r.flow)).collect();
        if due
            && keeper.prepare(&flows, |flow| self.versions.flows().prepare(flow))
            && let Some(pin) = self.pins.pin(at)
        {
            let mut asked = vec![];
            for (key, flow) in flows {
                let Some((fingerprint, plan)) = self.plan(key) else { continue };
                let Ok(trace) = self.versions.reader(key) else { continue };
                let (no, base) = keeper.numbers(key);
                if let Some(saving) = self.versions.flows().save(flow, at.into(), no, base) {
                    asked.push(OfVersion { key, fingerprint, plan, saving, trace });
                }
            }
            let table = |r: &Arc<Relation>| {
                let Kind::Table { key } = &r.kind else { return None };
                Some((r.topic()?, self.judged.head(r.topic()?)?, key.is_empty()))
            };
            let heads = self.catalog.relations().filter_map(table).collect();
            let (dataset, own) = (self.log.dataset(), self.times.to_bytes());
            keeper.begin(at, log_bytes, |store, last, stop| Job {
                store,
                dataset,
                last,
                at,
                own,
                versions: asked,
                heads,
                pin,
                stop,
            });
        }
        self.keeper = Some(keeper);
    }

    fn plan(&self, key: Key) -> Option<([u8; 32], Arc<[u8]>)> {
        let Kind::Materialized { versions, .. } = &self.catalog.get(ObjectId::View(key.0.0))?.kind else { return None };
        let version = versions.get(&key.1)?;
        Some((version.fingerprint, version.plan.clone()))
    }

    /// An epoch for a checkpoint that is due while nothing is written.
    fn nudge(&mut self) {
        let (at, log_bytes) = (self.tail.after(), self.log.written_bytes());
        if self.keeper.as_mut().is_some_and(|keeper| keeper.wants_epoch(at, log_bytes))
            && let Err(error) = self.log.commit(Transaction::default())
        {
            tracing::debug!(%error, "no epoch for a checkpoint");
        }
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            let busy = self.tend();
            if let Some(keeper) = &mut self.keeper {
                keeper.settle();
            }
            if self.running.values().any(|r| r.topics.contains(&CLOCK_TOPIC)) {
                self.ticking.tick(&self.log, &self.env);
            }
            match self.tail.next(self.limits.epoch_rows) {
                Ok(commits) if commits.is_empty() => {
                    self.nudge();
                    let _ = self.log.wait_beyond(self.tail.after(), if busy { BUSY } else { IDLE });
                }
                Ok(commits) => self.take(&commits),
                Err(error) => {
                    tracing::error!(%error, "the epoch driver cannot read the log");
                    self.env.clock.sleep(IDLE);
                }
            }
        }
    }

    /// Cuts commits into epochs and feeds them.
    fn take(&mut self, commits: &[Commit]) {
        let Some(last) = commits.last().map(|c| c.lsn) else { return };
        let reserved = self.versions.cuts().take(last);
        let mut gathered = Gathered::default();
        for commit in commits {
            if let Err(error) = gathered.take_in(&self.catalog, commit) {
                // Rows of ours that do not read: nothing that is computed from them can be right.
                self.fail_all(&format!("commit cannot be read: {error} lsn={}", commit.lsn));
            }
            let events = commit.parts.iter().any(|p| p.topic == CATALOG_TOPIC);
            let full = gathered.n_rows() >= self.limits.epoch_rows;
            if events || full || commit.lsn == last || reserved.contains(&commit.lsn) {
                self.close(commit.lsn, std::mem::take(&mut gathered));
                if events {
                    self.follow_catalog(commit);
                }
            }
        }
        self.forget(last);
        self.compact(last);
    }

    /// Ends an epoch for all that keep up.
    fn close(&mut self, at: Lsn, mut gathered: Gathered) {
        let times = gathered.take_times();
        self.times.merge(&times);
        let deltas = match gathered.finish() {
            Ok(deltas) => deltas,
            Err(error) => return self.fail_all(&format!("epoch cannot be gathered: {error} lsn={at}")),
        };
        self.hold_for_slow();
        self.checkpoint(at);
        let versions = self.versions.clone();
        for running in self.running.values_mut().filter(|r| !r.alone) {
            let mut fed = of_topics(&deltas, &running.topics);
            fed.extend(running.marks.advance(&self.catalog, &times));
            versions.flows().feed(running.flow, at.into(), &fed);
            running.fed = at;
        }
        versions.cuts().close(at);
    }

    /// Waits for versions that have too many epochs before them; leaves behind who does not come.
    fn hold_for_slow(&mut self) {
        let wanted = self.versions.cuts().before_last(self.limits.epochs_in_flight);
        let keys: Vec<Key> = self.running.iter().filter(|(_, r)| !r.alone).map(|(k, _)| *k).collect();
        for key in keys {
            let Ok(trace) = self.versions.reader(key) else { continue };
            if Lsn::from(trace.upper()) >= wanted {
                continue;
            }
            match trace.wait(wanted.into(), PATIENCE) {
                Ok(upper) if Lsn::from(upper) < wanted => {
                    let fed = self.running.get(&key).map(|r| r.fed).unwrap_or_default();
                    tracing::warn!(view = %key.0, version = %key.1, %upper, "version cannot keep up and is left behind");
                    self.tell(key, &Fact::FellBehind { fed: fed.into() });
                }
                Ok(_) => {}
                Err(failure) => self.tell(key, &Fact::Broke { why: failure.to_string() }),
            }
        }
    }

    /// Looks after versions that are on their way; whether there are any.
    fn tend(&mut self) -> bool {
        let keys: Vec<Key> = self.running.keys().copied().collect();
        let mut busy = false;
        for key in keys {
            let Some(state) = self.versions.state(key) else { continue };
            let Ok(trace) = self.versions.reader(key) else { continue };
            if let Some(why) = trace.failure().filter(|_| !state.is_final()) {
                self.tell(key, &Fact::Broke { why });
                continue;
            }
            match state {
                State::Backfilling { as_of } => {
                    busy = true;
                    let upper = trace.upper();
                    if upper >= as_of {
                        self.tell(key, &Fact::Reached { upper });
                    }
                }
                State::CatchingUp { .. } => {
                    busy = true;
                    self.catch_up(key, trace.upper());
                }
                _ => {}
            }
        }
        busy
    }

    /// Feeds one more epoch to a version that is behind, or lets it join.
    fn catch_up(&mut self, key: Key, upper: Epoch) {
        let last = self.versions.cuts().last();
        let Some(running) = self.running.get(&key) else { return };
        let fed = running.fed;
        if fed >= last {
            return self.tell(key, &Fact::Joined { epoch: last.into() });
        }
        if Lsn::from(upper) < fed {
            return;
        }
        match self.gather(fed, last) {
            Ok((end, deltas, times)) => {
                let Some(running) = self.running.get_mut(&key) else { return };
                let mut fed = of_topics(&deltas, &running.topics);
                fed.extend(running.marks.advance(&self.catalog, &times));
                self.versions.flows().feed(running.flow, end.into(), &fed);
                running.fed = end;
                self.tell(key, &Fact::FedAlone { epoch: end.into() });
            }
            Err(why) => self.tell(key, &Fact::Broke { why }),
        }
    }

    /// Commits after `after` as one epoch of bounded size, up to `up_to` at most.
    fn gather(&self, after: Lsn, up_to: Lsn) -> Result<Apart, String> {
        let mut gathered = Gathered::default();
        let mut end = up_to;
        for commit in self.log.source().read(after, up_to, None).map_err(|e| e.to_string())? {
            let commit = commit.map_err(|e| e.to_string())?;
            gathered.take_in(&self.catalog, &commit).map_err(|e| e.to_string())?;
            if gathered.n_rows() >= self.limits.epoch_rows {
                end = commit.lsn;
                break;
            }
        }
        let times = gathered.take_times();
        Ok((end, gathered.finish().map_err(|e| e.to_string())?, times))
    }

    /// The catalog's events take effect between epochs.
    fn follow_catalog(&mut self, commit: &Commit) {
        for part in commit.parts.iter().filter(|p| p.topic == CATALOG_TOPIC) {
            let applied = catalog::decode(&part.rows).and_then(|events| {
                self.catalog.apply_all(commit.lsn, &events).map_err(|e| e.to_string())?;
                Ok(events)
            });
            match applied {
                Ok(events) => {
                    for event in &events {
                        self.time_of_new(event, commit);
                        self.follow(event, commit.lsn);
                    }
                }
                Err(error) => tracing::error!(%error, lsn = %commit.lsn, "catalog events do not fit"),
            }
        }
    }

    /// Records that came with their stream, in one commit, were gathered before the stream was known.
    fn time_of_new(&mut self, event: &Event, commit: &Commit) {
        let Event::StreamCreated { topic, .. } = event else { return };
        let Some(relation) = self.catalog.get(ObjectId::Topic(*topic)) else { return };
        for part in commit.parts.iter().filter(|p| p.topic.0 == *topic) {
            self.times.take_in(relation, part.partition, &part.rows);
        }
    }

    fn follow(&mut self, event: &Event, at: Lsn) {
        match event {
            // A version that the same commit drops again is never installed.
            Event::VersionAdded { view, version, .. } if self.catalog.get(ObjectId::View(*view)).is_some() => {
                self.install((ViewId(*view), VersionNo(*version)), at);
            }
            Event::Routed { view, version } => {
                let keys: Vec<Key> = self.running.keys().filter(|(v, _)| v.0 == *view).copied().collect();
                for key in keys {
                    self.tell(key, &Fact::Routed(key.1.0 == *version));
                }
            }
            Event::VersionRetired { view, version } => self.retire((ViewId(*view), VersionNo(*version))),
            Event::Dropped { object: ObjectId::View(view), .. } => {
                let keys: Vec<Key> = self.running.keys().filter(|(v, _)| v.0 == *view).copied().collect();
                keys.into_iter().for_each(|key| self.retire(key));
            }
            _ => {}
        }
    }

    fn install(&mut self, key: Key, at: Lsn) {
        if let Err(why) = self.begin(key, at, None) {
            tracing::error!(view = %key.0, version = %key.1, %why, "version cannot be installed");
            self.tell(key, &Fact::Broke { why });
        }
    }

    fn begin(&mut self, key: Key, at: Lsn, restore: Option<(Restore, &Times)>) -> Result<(), String> {
        let flow = self.next_flow;
        self.next_flow += 1;
        let relation = self.catalog.get(ObjectId::View(key.0.0));
        let routed = relation.and_then(|r| r.routed()).is_some_and(|v| v.no == key.1);
        let name = relation.map(|r| r.name.to_string()).unwrap_or_default();
        self.versions.add(key, name, flow, routed);
        let (topics, marks) = self.try_install(key, flow, at, restore)?;
        self.running.insert(key, Running { flow, topics, fed: at, alone: true, marks });
        self.tell(key, &Fact::Installed { as_of: at.into() });
        Ok(())
    }

    fn try_install(
        &mut self,
        key: Key,
        flow: FlowId,
        at: Lsn,
        restore: Option<(Restore, &Times)>,
    ) -> Result<(BTreeSet<TopicId>, Marks), String> {
        let is_restored = restore.is_some();
        let relation = self.catalog.get(ObjectId::View(key.0.0)).ok_or("view is not in the catalog")?;
        let Kind::Materialized { versions, .. } = &relation.kind else { return Err("view has no versions".to_owned()) };
        let version = versions.get(&key.1).ok_or("version is not in the catalog")?;
        let plan = FlowPlan::from_bytes(&version.plan).map_err(|e| e.to_string())?;
        let mut sources = HashMap::new();
        let mut topics = BTreeSet::new();
        let mut marks = Marks::default();
        for (id, columns) in source_columns(&plan) {
            let start = match id {
                SourceId::Topic(topic) if is_restored => {
                    topics.insert(topic);
                    Start::Past(Arc::new(past::Nothing))
                }
                SourceId::Topic(CLOCK_TOPIC) => {
                    topics.insert(CLOCK_TOPIC);
                    // The journal may have let go of what the log was opened with.
                    let (began, hlc) = self.began;
                    let hlc = if at == began { hlc } else { clock::of(&self.log, at)? };
                    Start::Past(Arc::new(clock::ClockPast(hlc)))
                }
                SourceId::Topic(topic) => {
                    let relation =
                        self.catalog.get(ObjectId::Topic(topic.0)).ok_or_else(|| format!("topic is gone topic={topic}"))?;
                    topics.insert(topic);
                    let pin = self.pins.pin(at);
                    Start::Past(past::past(relation, &columns, at, &self.log, self.judged.head(topic), pin)?)
                }
                SourceId::Watermark(topic) => {
                    let times = restore.as_ref().map_or(&self.times, |(_, times)| *times);
                    Start::Past(marks.begin(&self.catalog, topic, times))
                }
                SourceId::Version(view, no) => Start::Flow(
                    self.versions.flow((view, no)).ok_or_else(|| format!("version is gone view={view} version={no}"))?,
                ),
            };
            sources.insert(id, start);
        }
        let diverts = version.diverts();
        let restore = restore.map(|(restore, _)| restore);
        let begin = Begin { id: flow, plan: &plan, sources, as_of: at.into(), diverts, restore };
        let trace = self.versions.flows().install(begin).map_err(|e| e.to_string())?;
        self.versions.set_trace(key, trace);
        Ok((topics, marks))
    }

    fn retire(&mut self, key: Key) {
        self.tell(key, &Fact::Dropped);
        self.tell(key, &Fact::Stopped);
        self.running.remove(&key);
    }

    fn fail_all(&mut self, why: &str) {
        tracing::error!(%why, "versions fail");
        let keys: Vec<Key> = self.running.keys().copied().collect();
        keys.into_iter().for_each(|key| self.tell(key, &Fact::Broke { why: why.to_owned() }));
    }

    /// Tells the registry a fact and does what it asks for.
    fn tell(&mut self, key: Key, fact: &Fact) {
        for action in self.versions.tell(key, fact) {
            match action {
                Action::FeedAlone { .. } => self.set_alone(key, true),
                Action::FeedWithOthers { .. } => self.set_alone(key, false),
                Action::Stop => {
                    if let Some(running) = self.running.remove(&key) {
                        self.versions.flows().stop(running.flow);
                    }
                }
                Action::Announce => {}
            }
        }
    }

    fn set_alone(&mut self, key: Key, alone: bool) {
        if let Some(running) = self.running.get_mut(&key) {
            running.alone = alone;
        }
    }

    /// Traces forget what no reader could ask for the last time that this was looked at: who chose an epoch just now has until
    /// the next time to pin it.
    fn forget(&mut self, last: Lsn) {
        if last.0 < self.forgotten.0.0 + FORGET_EVERY {
            return;
        }
        for key in self.running.keys() {
            if let Ok(trace) = self.versions.reader(*key) {
                trace.forget_before(self.forgotten.1.into());
            }
        }
        self.forgotten = (last, self.pins.advance(self.versions.visible().into()));
    }

    /// Heads forget what no reader can ask for any more.
    fn compact(&mut self, last: Lsn) {
        if last.0 < self.compacted.0 + COMPACT_EVERY {
            return;
        }
        self.compacted = last;
        self.times.retain(&self.catalog);
        let since = self.pins.advance(self.versions.visible().into());
        self.judged.forget_before(since, self.log.durable());
    }
}

fn of_topics(deltas: &[(TopicId, Delta)], topics: &BTreeSet<TopicId>) -> Vec<(TopicId, Delta)> {
    deltas.iter().filter(|(topic, delta)| topics.contains(topic) && !delta.is_empty()).cloned().collect()
}

/// What each source of a plan reads, columns of several nodes over one source together in the order they first appear.
fn source_columns(plan: &FlowPlan) -> BTreeMap<SourceId, Vec<ColumnId>> {
    let mut sources: BTreeMap<SourceId, Vec<ColumnId>> = BTreeMap::new();
    for node in &plan.nodes {
        if let Op::Source { id, columns } = &node.op {
            let all = sources.entry(*id).or_default();
            for column in columns {
                if !all.contains(column) {
                    all.push(*column);
                }
            }
        }
    }
    sources
}
