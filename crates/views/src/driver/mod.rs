//! The epoch driver: one thread that tails the log, ends epochs and feeds them to the versions.
//!
//! ```text
//!   tail ─▶ commits ─▶ epochs (end at: a reserved boundary · a catalog event · epoch_rows · nothing more is durable)
//!                        ├─▶ versions that keep up: each epoch as it closes
//!                        └─▶ versions that are behind: fed alone from the journal until they stand where the others stand
//! ```
//! Guarantees: a version is fed every commit after its `as_of` once and in order; boundaries are common to all that keep up;
//! latency is one wake-up when the log is idle. A version that does not keep up delays the others by at most [`slow::PATIENCE`] per
//! epoch (all together by at most [`slow::PATIENCE_WITH_ALL`] more where most do not keep up) before it is left behind, and all that
//! read it with it: a version is with the others only while all that it reads are, so that what it
//! shows at an epoch is of that epoch throughout (I3, I4). DDL takes effect where its commit stands: versions are installed and dropped between epochs.
//! Not promised: that epochs are cut at the same commits after a restart.

pub mod clock;
pub mod cuts;
pub mod deltas;
pub mod end;
pub mod marks;
pub mod pace;
pub mod past;
mod slow;

use crate::{
    catalog::{self, Catalog, Event, Kind, ObjectId, Relation},
    checkpoint::{
        Board,
        found::Found,
        keeper::Keeper,
        own,
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
use pace::{Pace, Paced};
use regauge_flow::engine::Restore;
use regauge_log::{Commit, Log, Tail, Transaction};
use regauge_plan::{Fingerprint, FlowPlan, Op, SourceId};
use regauge_types::{CATALOG_TOPIC, CLOCK_TOPIC, ColumnId, Delta, Env, Epoch, Hlc, Lsn, TopicId, VersionNo, ViewId};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Traces forget in so many turns: what all merged at once would hold up all of them.
const FORGET_PHASES: u64 = 8;
/// What was shown so many times `forget_every` commits ago is kept at least.
const FORGET_BEHIND: u64 = 16;
/// Sleep while nothing is durable and no version is on its way.
const IDLE: Duration = Duration::from_millis(100);
/// Sleep while a version is on its way.
const BUSY: Duration = Duration::from_millis(1);

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
    /// The commit at which traces were told last to forget, and how many turns there have been.
    forgotten: (u64, u64),
    stop: Arc<AtomicBool>,
    ticking: clock::Ticking,
    /// The last commit when the driver began, and its clock.
    began: (Lsn, Hlc),
    /// The clock of the commit that the epoch at hand ends with.
    closing: Hlc,
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
    /// Versions that it reads.
    reads: BTreeSet<Key>,
    /// Fed up to here; feeding is with the others or alone.
    fed: Lsn,
    alone: bool,
    marks: Marks,
    /// How far it is with its history.
    pace: Arc<Pace>,
    /// Where its history is cut.
    cuts: Vec<Lsn>,
    /// The last of them that a checkpoint was asked for.
    asked: Lsn,
}

/// What a dataflow that was started reads, and how.
struct Started {
    topics: BTreeSet<TopicId>,
    reads: BTreeSet<Key>,
    marks: Marks,
    pace: Arc<Pace>,
    cuts: Vec<Lsn>,
}

/// A version that reads its history, at a cut, with the rows that it has read.
type Building = (Key, FlowId, Lsn, Option<u64>);

/// What a version begins with.
enum Begins<'a> {
    /// Nothing: it reads all of its history.
    Anew,
    /// What it was at the commit that it begins at.
    At(Restore, &'a Times),
    /// What it was at a commit within its history, when so many rows had been read.
    Within(Restore, Lsn, u64),
}

/// What is told of a version that goes on reading its history.
pub(crate) const RESUMED: &str = "it was being built; its history goes on behind a checkpoint";
/// Most parts of a history.
const PARTS_MAX: u64 = 1024;

impl Drop for Driver {
    /// Threads that read history slowly, or not at all for now, are let go before the engine waits for them.
    fn drop(&mut self) {
        self.running.values().for_each(|r| r.pace.stop());
    }
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
        versions.cuts().keep(usize::try_from(limits.history_commits).unwrap_or(usize::MAX).saturating_add(1));
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
            forgotten: (at.0, 0),
            stop,
            ticking: clock::Ticking::default(),
            began,
            closing: began.1,
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
        let n = all.len();
        for (no, key) in (1..).zip(all) {
            let begun = driver.env.clock.wall_ms();
            let whence = found.as_ref().map(|found| driver.restore(key, found, &restored));
            let whence = whence.map(|whence| whence.or_else(|why| Err(driver.resume(key, found.as_ref(), at)?.unwrap_or(why))));
            match &whence {
                Some(Ok(())) => drop(restored.insert(key)),
                Some(Err(why)) if why.starts_with(RESUMED) => {}
                _ => driver.install(key, at),
            }
            if let Some(whence) = whence {
                if let Err(why) = &whence {
                    tracing::warn!(view = %key.0, version = %key.1, %why, "version is rebuilt from the log, not restored");
                }
                let ms = driver.env.clock.wall_ms().saturating_sub(begun);
                tracing::info!(view = driver.called(key).1, version = %key.1, no, of = n, ms, "version is begun");
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
        if let Some(why) = self.lacks(key) {
            return Err(why);
        }
        let restore = found.version(key, &Fingerprint(version.fingerprint).of_state())?;
        self.begin(key, found.at(), Begins::At(restore, &found.times))
    }

    /// Installs a version that was being built when a checkpoint was taken: its history goes on behind what was read by then. None if there is
    /// nothing of the kind.
    fn resume(&mut self, key: Key, found: Option<&Found>, at: Lsn) -> Result<Option<String>, String> {
        if self.lacks(key).is_some() {
            return Ok(None);
        }
        let Some((fingerprint, _)) = self.plan(key) else { return Ok(None) };
        let Some(within) = found.and_then(|found| found.within(key, &fingerprint)) else { return Ok(None) };
        let (restore, from, rows) = within?;
        if from >= at {
            return Ok(None);
        }
        self.begin(key, at, Begins::Within(restore, from, rows))?;
        Ok(Some(format!("{RESUMED} lsn={from}")))
    }

    /// Takes part in a checkpoint if one is due: versions that keep up are asked for what they have at the end of the epoch that is fed next.
    fn checkpoint(&mut self, at: Lsn) {
        let Some(mut keeper) = self.keeper.take() else { return };
        let log_bytes = self.log.written_bytes();
        let due = keeper.is_due(at, log_bytes);
        let due = due && !self.waits_for_behind(&keeper, log_bytes);
        let live = self.running.iter().filter(|(_, r)| due && !r.alone);
        let flows: Vec<(Key, FlowId)> = live.map(|(key, r)| (*key, r.flow)).collect();
        if due
            && keeper.prepare(&flows, |flow| self.versions.flows().prepare(flow))
            && let Some(pin) = self.pins.pin(at)
        {
            let mut asked = vec![];
            let (building, carried) = self.building();
            let live = flows.into_iter().map(|(key, flow)| (key, flow, at, None));
            for (key, flow, at, building) in live.chain(building) {
                let Some((fingerprint, plan)) = self.plan(key) else { continue };
                let Ok(trace) = self.versions.reader(key) else { continue };
                let (no, base) = keeper.numbers(key);
                if let Some(saving) = self.versions.flows().save(flow, at.into(), no, base) {
                    asked.push(OfVersion { key, fingerprint, plan, saving, trace, at, building });
                }
            }
            let table = |r: &Arc<Relation>| {
                let Kind::Table { key } = &r.kind else { return None };
                Some((r.topic()?, self.judged.head(r.topic()?)?, key.is_empty()))
            };
            let heads = self.catalog.relations().filter_map(table).collect();
            let (dataset, own) = (self.log.dataset(), own::to_bytes(self.closing, &self.times));
            keeper.begin(at, log_bytes, |store, last, stop| Job {
                store,
                dataset,
                last,
                at,
                own,
                versions: asked,
                carried,
                heads,
                pin,
                stop,
            });
        }
        self.keeper = Some(keeper);
    }

    /// Versions that read their history: those that are asked for what they have at a cut that they have yet to begin, with the rows that they have
    /// read; and those of which a checkpoint has to go on having what the last one has.
    fn building(&mut self) -> (Vec<Building>, Vec<(Key, [u8; 32])>) {
        let (mut asked, mut carried) = (vec![], vec![]);
        self.running.values_mut().for_each(|r| r.asked = Lsn::ZERO);
        let keys: Vec<Key> = self.running.iter().filter(|(_, r)| r.alone).map(|(key, _)| *key).collect();
        for key in keys {
            let (state, plan) = (self.versions.state(key), self.plan(key));
            let Some(running) = self.running.get_mut(&key) else { continue };
            let progress = running.pace.progress();
            let reads = matches!(state, Some(State::Backfilling { .. })) && progress.rate != Some(0);
            let next = if reads { running.pace.plan() } else { None };
            match next.and_then(|(end, rows)| Some((running.cuts.get(end).copied()?, rows))) {
                Some((cut, rows)) => {
                    running.asked = cut;
                    asked.push((key, running.flow, cut, Some(rows)));
                }
                None => carried.extend(plan.map(|(fingerprint, _)| (key, fingerprint))),
            }
        }
        (asked, carried)
    }

    /// Whether versions that are in the last checkpoint still catch up: one without them would send them back to the log at the next opening.
    fn waits_for_behind(&self, keeper: &Keeper, log_bytes: u64) -> bool {
        !keeper.is_overdue(log_bytes) && self.running.iter().any(|(key, r)| r.alone && keeper.has(*key))
    }

    /// The name of a version's state, and its plan.
    fn plan(&self, key: Key) -> Option<([u8; 32], Arc<[u8]>)> {
        let Kind::Materialized { versions, .. } = &self.catalog.get(ObjectId::View(key.0.0))?.kind else { return None };
        let version = versions.get(&key.1)?;
        Some((Fingerprint(version.fingerprint).of_state(), version.plan.clone()))
    }

    /// An epoch for a checkpoint that is due while nothing is written.
    fn nudge(&mut self) {
        let (at, log_bytes) = (self.tail.after(), self.log.written_bytes());
        if self.keeper.as_ref().is_some_and(|keeper| self.waits_for_behind(keeper, log_bytes)) {
            return;
        }
        let building = self.running.values().any(|r| r.alone && !r.cuts.is_empty() && r.pace.progress().rate != Some(0));
        // one that went live since the last checkpoint is in none, and would be built again
        let building = building
            || self.keeper.as_ref().is_some_and(|keeper| self.running.iter().any(|(key, r)| !r.alone && keeper.is_new(*key)));
        if self.keeper.as_mut().is_some_and(|keeper| keeper.wants_epoch(at, log_bytes, building))
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
                    let time = if busy { BUSY } else { IDLE };
                    let _ = self.log.wait_beyond_unless(self.tail.after(), time, &self.stop);
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
                self.closing = commit.hlc;
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
        // Before any version can show it: a reader that finds every trace beyond `at` reads at `at`, not at the boundary before it.
        versions.cuts().close(at);
        for running in self.running.values_mut().filter(|r| !r.alone) {
            let mut fed = of_topics(&deltas, &running.topics);
            fed.extend(running.marks.advance(&self.catalog, &times));
            versions.flows().feed(running.flow, at.into(), &fed);
            running.fed = at;
        }
    }

    /// Whether a version that this one reads is still on its way: it may be fed in pieces beyond the epoch that this one would join at.
    fn reads_behind(&self, key: Key) -> bool {
        let on_its_way = |key: &Key| {
            let state = self.versions.state(*key);
            matches!(state, Some(State::Planned | State::Backfilling { .. } | State::CatchingUp { .. }))
        };
        self.running.get(&key).is_some_and(|r| r.reads.iter().any(on_its_way))
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
                    if let Some(running) = self.running.get(&key) {
                        let passed = running.cuts.partition_point(|cut| Epoch::from(*cut) <= upper);
                        running.pace.passed(passed);
                    }
                    if upper >= as_of {
                        self.tell(key, &Fact::Reached { upper });
                    } else if upper > Epoch(0) {
                        // nobody reads what it was before, but a checkpoint what it was asked for
                        let taken = self.keeper.as_ref().is_some_and(Keeper::is_taking);
                        let asked = self.running.get(&key).filter(|_| taken).map(|r| Epoch::from(r.asked));
                        trace.forget_before(asked.filter(|at| *at > Epoch(0)).map_or(upper, |at| at.min(upper)));
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
            if !self.reads_behind(key) {
                self.tell(key, &Fact::Joined { epoch: last.into() });
            }
            return;
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
            Event::BackfillPaced { view, rate } => {
                let of = self.running.iter().filter(|((v, _), _)| v.0 == *view);
                of.for_each(|(_, running)| running.pace.set(*rate));
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
        if let Some(why) = self.lacks(key) {
            tracing::warn!(view = %key.0, version = %key.1, %why, "version does not run");
            let (routed, name) = self.called(key);
            let flow = self.next_flow;
            self.next_flow += 1;
            self.versions.add(key, name, flow, routed);
            self.tell(key, &Fact::Lacks { why });
        } else if let Err(why) = self.begin(key, at, Begins::Anew) {
            tracing::error!(view = %key.0, version = %key.1, %why, "version cannot be installed");
            self.tell(key, &Fact::Broke { why });
        }
    }

    /// What a version calls, or what it reads calls, that the program has not registered: without it even what goes could not be told. A plan
    /// that cannot be read is told of by who installs it.
    fn lacks(&self, key: Key) -> Option<String> {
        let (_, plan) = self.plan(key)?;
        let (plan, host) = FlowPlan::with_host_functions(&plan).ok()?;
        let of_sources = || {
            source_columns(&plan).into_keys().find_map(|source| match source {
                SourceId::Version(view, no) => self.versions.lacks((view, no)),
                _ => None,
            })
        };
        regauge_plan::host::missing(&host).or_else(of_sources)
    }

    /// Whether reads of its view go to a version, and what the view is called.
    fn called(&self, key: Key) -> (bool, String) {
        let relation = self.catalog.get(ObjectId::View(key.0.0));
        let routed = relation.and_then(|r| r.routed()).is_some_and(|v| v.no == key.1);
        (routed, relation.map(|r| r.name.to_string()).unwrap_or_default())
    }

    fn begin(&mut self, key: Key, at: Lsn, begins: Begins<'_>) -> Result<(), String> {
        let flow = self.next_flow;
        self.next_flow += 1;
        let (routed, name) = self.called(key);
        self.versions.add(key, name, flow, routed);
        let Started { topics, reads, marks, pace, cuts } = self.try_install(key, flow, at, begins)?;
        self.versions.set_pace(key, pace.clone());
        self.running.insert(key, Running { flow, topics, reads, fed: at, alone: true, marks, pace, cuts, asked: Lsn::ZERO });
        self.tell(key, &Fact::Installed { as_of: at.into() });
        Ok(())
    }

    fn try_install(&mut self, key: Key, flow: FlowId, at: Lsn, begins: Begins<'_>) -> Result<Started, String> {
        let is_restored = matches!(begins, Begins::At(..));
        let (from, done) = if let Begins::Within(_, from, done) = &begins { (*from, *done) } else { (Lsn::ZERO, 0) };
        let relation = self.catalog.get(ObjectId::View(key.0.0)).ok_or("view is not in the catalog")?;
        let Kind::Materialized { versions, .. } = &relation.kind else { return Err("view has no versions".to_owned()) };
        let version = versions.get(&key.1).ok_or("version is not in the catalog")?;
        let plan = FlowPlan::from_bytes(&version.plan).map_err(|e| e.to_string())?;
        let mut sources = HashMap::new();
        let (mut topics, mut reads) = (BTreeSet::new(), BTreeSet::new());
        let mut marks = Marks::default();
        let rate = self.catalog.backfill_rate(key.0).filter(|_| self.limits.obeys_backfill_rates);
        let all = self.n_past(&plan, is_restored);
        let pace = Arc::new(Pace::new(self.env.clock.clone(), (done, all), rate));
        let bounds = self.bounds(&plan, (from, at), all.saturating_sub(done), rate);
        // within a budget of memory an epoch must not touch much
        let run_max = if self.versions.flows().memory().is_some() { 1 } else { usize::MAX };
        pace.cut(bounds.len().saturating_sub(1), run_max);
        if from > Lsn::ZERO && !self.is_cut(&plan) {
            return Err("its history has no parts".to_owned());
        }
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
                    let past = past::past(relation, &columns, &bounds, &self.log, self.judged.head(topic), pin)?;
                    Start::Past(Arc::new(Paced { past, pace: pace.clone() }))
                }
                SourceId::Watermark(topic) => {
                    let times = if let Begins::At(_, times) = &begins { *times } else { &self.times };
                    Start::Past(marks.begin(&self.catalog, topic, times))
                }
                SourceId::Version(view, no) => {
                    reads.insert((view, no));
                    let gone = || format!("version is gone view={view} version={no}");
                    Start::Flow(self.versions.flow((view, no)).ok_or_else(gone)?)
                }
            };
            sources.insert(id, start);
        }
        let diverts = version.diverts();
        let restore = match begins {
            Begins::Anew => None,
            Begins::At(restore, _) => Some(restore),
            Begins::Within(restore, from, _) => Some(Restore { at: Some(from.into()), ..restore }),
        };
        let begin = Begin { id: flow, plan: &plan, sources, as_of: at.into(), diverts, restore };
        let trace = self.versions.flows().install(begin).map_err(|e| {
            // Who reads its history ahead may be waiting for leave to go on.
            pace.stop();
            e.to_string()
        })?;
        self.versions.set_trace(key, trace);
        let cuts = bounds.get(1..bounds.len().saturating_sub(1)).unwrap_or_default().to_vec();
        Ok(Started { topics, reads, marks, pace, cuts })
    }

    /// Whether a plan's history can be read in parts: that of streams can; what a table was at a commit of long ago nobody knows any more.
    fn is_cut(&self, plan: &FlowPlan) -> bool {
        let of = |id: SourceId| matches!(id, SourceId::Topic(topic) if topic != CLOCK_TOPIC && self.judged.head(topic).is_none());
        source_columns(plan).into_keys().all(of)
    }

    /// Commits at which a history between two of them, of about so many rows, is cut; these two among them.
    fn bounds(&self, plan: &FlowPlan, (from, at): (Lsn, Lsn), rows: u64, rate: Option<u64>) -> Vec<Lsn> {
        // at a low rate, what is read within two seconds
        let step =
            rate.filter(|r| *r > 0).map_or(u64::MAX, |rate| rate.saturating_mul(2)).min(self.limits.backfill_step_rows).max(1);
        let n = if self.is_cut(plan) { (rows / step).min(PARTS_MAX) } else { 0 };
        let within =
            (1..n).map(|i| Lsn(from.0 + u64::try_from(u128::from(at.0 - from.0) * u128::from(i) / u128::from(n)).unwrap_or(0)));
        let mut bounds: Vec<Lsn> =
            std::iter::once(from).chain(within.filter(|cut| *cut > from && *cut < at)).chain([at]).collect();
        bounds.dedup();
        bounds
    }

    /// About how many rows of topics a version reads before it is fed.
    fn n_past(&self, plan: &FlowPlan, is_restored: bool) -> u64 {
        let of = |id: SourceId| match id {
            SourceId::Topic(topic) if !is_restored && topic != CLOCK_TOPIC => match self.judged.head(topic) {
                Some(head) => head.read().n_keys() as u64,
                None => self.log.next_offsets(topic).iter().sum(),
            },
            _ => 0,
        };
        source_columns(plan).into_keys().map(of).sum()
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
                        running.pace.stop();
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

    /// Traces forget what no reader can ask for, nor could some commits ago: who chose an epoch just now has so long to pin it.
    fn forget(&mut self, last: Lsn) {
        let every = self.limits.forget_every.max(1);
        let phases = FORGET_PHASES.min(every);
        if last.0 < self.forgotten.0 + every / phases {
            return;
        }
        let turn = self.forgotten.1 % phases;
        self.forgotten = (last.0, self.forgotten.1 + 1);
        let nobody = self.pins.advance(self.since());
        let is_taking = self.keeper.as_ref().is_some_and(Keeper::is_taking);
        for (place, (key, running)) in (0u64..).zip(&self.running) {
            let backfills = running.alone && matches!(self.versions.state(*key), Some(State::Backfilling { .. }));
            if place % phases != turn || backfills {
                continue;
            }
            // a checkpoint that is being taken may have been promised what it was within its history
            let asked = Some(running.asked).filter(|at| *at > Lsn::ZERO && is_taking);
            if let Ok(trace) = self.versions.reader(*key) {
                trace.forget_before(asked.map_or(nobody, |at| at.min(nobody)).into());
            }
        }
    }

    /// What nobody asks for who asks from now on: the history that is kept ends with what is shown. A short one leaves those who are on their way
    /// to pin what they chose more time than itself.
    fn since(&self) -> Lsn {
        let kept = self.limits.history_commits.max(self.limits.forget_every.saturating_mul(FORGET_BEHIND));
        Lsn(Lsn::from(self.versions.visible()).0.saturating_sub(kept))
    }

    /// Heads forget what no reader can ask for any more.
    fn compact(&mut self, last: Lsn) {
        if last.0 < self.compacted.0 + self.limits.compact_every {
            return;
        }
        self.compacted = last;
        self.times.retain(&self.catalog);
        let since = self.pins.advance(self.since());
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
