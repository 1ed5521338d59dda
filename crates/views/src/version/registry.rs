//! All versions with where they stand: what sessions ask and the driver tells.
//!
//! ```text
//!   driver ──facts──▶ entries (state, trace) ◀──questions── sessions, which wait on `changed` and on traces
//! ```
//! Invariant: an epoch that is given to a reader is a boundary that all versions have in common, so what it reads of several
//! versions, of tables and of streams belongs together (I4). Lock order: cuts, entries, gone; none of them is held while waiting.

use super::{
    errors::{self, failed},
    life::{self, Action, Fact, State},
    trace::{Dataflows, Figures, FlowId, Trace, TraceFailure, trace_error},
};
use crate::{
    core::causal_timeout,
    driver::{
        cuts::Cuts,
        pace::{Pace, Progress},
    },
    error::{Error, Result, sqlstate as code},
    read::reading::VersionRows,
};
use arrow::array::{ArrayRef, RecordBatch};
use parking_lot::{Mutex, RwLock};
use regauge_log::Log;
use regauge_state::trace::RowError;
use regauge_types::{Epoch, ErrorKind, Lsn, VersionNo, ViewId};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// How often somebody who waits for an epoch that no view shows looks again.
const LOOK: Duration = Duration::from_millis(1);

/// How long a version is waited for before it is looked whether anything comes of that.
const SLICE: Duration = Duration::from_millis(250);

/// So many dropped versions are remembered for those who wait for them.
const GONE_MAX: usize = 65_536;

/// Names a version.
pub type Key = (ViewId, VersionNo);

/// Rows of versions at one epoch.
pub type Rows = HashMap<Key, Arc<dyn VersionRows>>;

/// Readable traces, and the first epoch that they have in common.
type Traces = (Vec<(Key, Arc<dyn Trace>)>, Lsn);

struct Entry {
    /// For people.
    name: String,
    state: State,
    routed: bool,
    flow: FlowId,
    trace: Option<Arc<dyn Trace>>,
    pace: Option<Arc<Pace>>,
}

impl Entry {
    fn diverts(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.diverts())
    }

    /// Errors of rows, of a version that can be asked for rows.
    fn errors(&self) -> Vec<(RowError, i64)> {
        let readable = self.state.readable_since().and(self.trace.as_ref());
        readable.map(|trace| trace.errors(trace.upper())).unwrap_or_default()
    }
}

/// Why versions cannot be read at an epoch of the past.
pub(crate) enum NotThere {
    /// It is older than what is kept.
    Forgotten {
        /// The first that they have.
        oldest: Lsn,
    },
    /// No epoch ends with this commit.
    Within {
        /// The last one that ends before it.
        before: Lsn,
        /// The first that ends behind it.
        next: Option<Lsn>,
        /// The first that they have.
        oldest: Lsn,
    },
    /// Anything else.
    Failed(Error),
}

impl From<Error> for NotThere {
    fn from(error: Error) -> NotThere {
        NotThere::Failed(error)
    }
}

/// What SHOW tells of a version.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where it stands.
    pub state: String,
    /// The first epoch that it has in common with the others, if it can be read; a later one once it fell behind and is back.
    pub since: Option<Epoch>,
    /// Complete up to here.
    pub upper: Option<Epoch>,
    /// Rows that its published trace holds, older layers' included.
    pub n_rows: Option<usize>,
    /// Why it failed, or what its rows' first error is.
    pub error: Option<String>,
    /// How many rows fail, those set aside among them.
    pub n_errors: i64,
}

/// All versions.
pub struct Versions {
    log: Log,
    flows: Arc<dyn Dataflows>,
    opened: Lsn,
    cuts: Mutex<Cuts>,
    entries: RwLock<HashMap<Key, Entry>>,
    /// Versions that were dropped and are no entries any more: who still waits for one is told.
    gone: Mutex<HashSet<Key>>,
    changed: watch::Sender<u64>,
    /// Why no epoch is closed any more.
    ended: OnceLock<Error>,
}

impl Versions {
    /// None yet; epochs begin at `at`.
    #[must_use]
    pub fn new(log: Log, flows: Arc<dyn Dataflows>, at: Lsn) -> Versions {
        Versions {
            log,
            flows,
            opened: at,
            cuts: Mutex::new(Cuts::new(at)),
            entries: RwLock::default(),
            gone: Mutex::default(),
            changed: watch::channel(0).0,
            ended: OnceLock::new(),
        }
    }

    /// Why no epoch is closed any more; `None` as long as they are. Whoever waits for one is told this instead.
    #[must_use]
    pub fn ended(&self) -> Option<Error> {
        self.ended.get().cloned()
    }

    /// Waits until no epoch is closed any more: for ever, if all goes well.
    pub async fn until_ended(&self) -> Error {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(error) = self.ended() {
                return error;
            }
            // The sender is here, so it is never closed.
            let _ = changed.changed().await;
        }
    }

    /// An error once no epoch is closed any more.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.ended().map_or(Ok(()), Err)
    }

    /// Where epochs of this process begin. One of an earlier process may lie within one of this: a version that goes on from a checkpoint is
    /// fed the log anew, cut elsewhere.
    #[must_use]
    pub fn opened(&self) -> Lsn {
        self.opened
    }

    /// A commit at or beyond everything durable that versions can be read at together with everything else.
    #[must_use]
    pub fn boundary(&self) -> Lsn {
        let mut cuts = self.cuts.lock();
        cuts.reserve(self.log.durable())
    }

    /// The last epoch that every readable version shows; the last one fed when there is none.
    #[must_use]
    pub fn visible(&self) -> Epoch {
        let last = self.cuts.lock().last();
        let entries = self.entries.read();
        let uppers =
            entries.values().filter(|e| e.state.readable_since().is_some()).filter_map(|e| Some(e.trace.as_ref()?.upper()));
        uppers.min().unwrap_or(last.into()).min(last.into())
    }

    /// What SHOW tells.
    #[must_use]
    pub fn report(&self, view: ViewId, no: VersionNo) -> Report {
        let key = (view, no);
        let entries = self.entries.read();
        let Some(entry) = entries.get(&key) else {
            return Report { state: "planned".to_owned(), since: None, upper: None, n_rows: None, error: None, n_errors: 0 };
        };
        let errors = entry.errors();
        let n_errors = errors::n_rows(&errors);
        let of_rows = errors.first().filter(|_| !entry.diverts()).map(|(error, _)| {
            let name = |key: Key| entries.get(&key).map_or_else(|| key.0.to_string(), |e| e.name.clone());
            format!("{} {} n_rows={n_errors}", errors::told(key, error, name), error.row)
        });
        Report {
            state: if errors.is_empty() || entry.diverts() { entry.state.name() } else { "errored" }.to_owned(),
            since: entry.state.readable_since(),
            upper: entry.trace.as_ref().map(|t| t.upper()),
            n_rows: entry.trace.as_ref().and_then(|t| t.n_rows()),
            error: if let State::Failed { why, .. } = &entry.state { Some(why.clone()) } else { of_rows },
            n_errors,
        }
    }

    /// Rows of a version that fail at its upper.
    #[must_use]
    pub fn errors(&self, view: ViewId, no: VersionNo) -> Vec<(RowError, i64)> {
        self.entries.read().get(&(view, no)).map(Entry::errors).unwrap_or_default()
    }

    /// What a version's operators have done.
    #[must_use]
    pub fn operators(&self, view: ViewId, no: VersionNo) -> Vec<Figures> {
        let flow = self.entries.read().get(&(view, no)).map(|e| e.flow);
        flow.map(|flow| self.flows.operators(flow)).unwrap_or_default()
    }

    /// Bytes of memory that all versions hold, and how many they may; `None` if they may hold any.
    #[must_use]
    pub fn memory(&self) -> Option<(usize, usize)> {
        self.flows.memory()
    }

    /// As [`Versions::operators`], a line each.
    #[must_use]
    pub fn operator_lines(&self, view: ViewId, no: VersionNo) -> Vec<String> {
        self.operators(view, no).iter().map(ToString::to_string).collect()
    }

    /// How far a version is with its history; `None` for one that is not at it.
    #[must_use]
    pub fn progress(&self, view: ViewId, no: VersionNo) -> Option<Progress> {
        let entries = self.entries.read();
        let entry = entries.get(&(view, no)).filter(|e| matches!(e.state, State::Planned | State::Backfilling { .. }))?;
        entry.pace.as_ref().map(|pace| pace.progress())
    }

    /// The boundaries of epochs that are remembered, ascending.
    #[must_use]
    pub fn boundaries(&self) -> Vec<Lsn> {
        self.cuts.lock().recent()
    }

    /// A version's trace.
    pub fn reader(&self, key: Key) -> Result<Arc<dyn Trace>> {
        let entries = self.entries.read();
        entries.get(&key).and_then(|e| e.trace.clone()).ok_or_else(|| not_ready(key))
    }

    /// What a version lacks, if it does not run for that.
    #[must_use]
    pub fn lacks(&self, key: Key) -> Option<String> {
        match &self.entries.read().get(&key)?.state {
            State::Failed { why, lacking: true } => Some(why.clone()),
            _ => None,
        }
    }

    /// Waits until a version can be read; an error if it never will.
    pub async fn until_readable(&self, view: ViewId, no: VersionNo) -> Result<()> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            self.go_on()?;
            {
                let entries = self.entries.read();
                match entries.get(&(view, no)).map(|e| &e.state) {
                    Some(State::Failed { why, .. }) => return Err(failed(why)),
                    Some(state) if state.is_final() => return Err(not_ready((view, no))),
                    Some(state) if state.readable_since().is_some() => return Ok(()),
                    None if self.gone.lock().contains(&(view, no)) => return Err(dropped()),
                    _ => {}
                }
            }
            if changed.changed().await.is_err() {
                return Err(Error::new(ErrorKind::Unavailable, code::SHUTDOWN, "instance is closing"));
            }
        }
    }

    /// Rows of these versions at one boundary not before `at_least`: the last that all have reached, if that is enough.
    pub async fn freshest(&self, keys: &[Key], at_least: Lsn, time: Duration) -> Result<(Lsn, Rows)> {
        let deadline = Instant::now() + time;
        loop {
            let (traces, since) = self.readable(keys, deadline).await?;
            let wanted = at_least.max(since);
            let common = traces.iter().map(|(_, t)| t.upper()).min().unwrap_or_default();
            let at = self.cuts.lock().floor(common.into());
            if let Some(at) = at.filter(|at| *at >= wanted) {
                match pin_all(&traces, at) {
                    Ok(rows) if self.have(keys, at)? => return Ok((at, rows)),
                    Ok(_) => continue,
                    Err(TraceFailure::OutOfRange(_)) if Instant::now() < deadline => {
                        tokio::task::yield_now().await;
                        continue;
                    }
                    Err(failure) => return Err(trace_error(&failure)),
                }
            }
            // The boundary that covers what is wanted may not have been fed yet: then a trace's upper passes it when it is.
            self.wait_all(&traces, wanted, deadline).await?;
        }
    }

    /// Rows of one version with this key, and the boundary they stand at, chosen as [`Versions::freshest`] does; `None` if the version
    /// cannot be looked up so.
    pub async fn lookup(
        &self,
        key: Key,
        at_least: Lsn,
        values: &[ArrayRef],
        time: Duration,
    ) -> Result<Option<(Lsn, RecordBatch)>> {
        let deadline = Instant::now() + time;
        loop {
            let (traces, since) = self.readable(&[key], deadline).await?;
            let Some((_, trace)) = traces.first() else { return Ok(None) };
            let wanted = at_least.max(since);
            let at = self.cuts.lock().floor(trace.upper().into());
            if let Some(at) = at.filter(|at| *at >= wanted) {
                match trace.lookup(at.into(), values) {
                    None => return Ok(None),
                    Some(Ok(rows)) if self.have(&[key], at)? => return Ok(Some((at, rows))),
                    Some(Ok(_)) => continue,
                    Some(Err(TraceFailure::OutOfRange(_))) if Instant::now() < deadline => {
                        tokio::task::yield_now().await;
                        continue;
                    }
                    Some(Err(failure)) => return Err(trace_error(&failure)),
                }
            }
            self.wait_all(&traces, wanted, deadline).await?;
        }
    }

    /// Rows of these versions at exactly this boundary.
    pub async fn at(&self, keys: &[Key], at: Lsn, time: Duration) -> Result<Rows> {
        let deadline = Instant::now() + time;
        loop {
            let (traces, since) = self.readable(keys, deadline).await?;
            if since > at {
                let message =
                    format!("view was created, or fell behind, after the transaction's snapshot since={since} snapshot={at}");
                return Err(
                    Error::new(ErrorKind::Unavailable, code::VERSION_NOT_READY, message).hint("ROLLBACK, and BEGIN again")
                );
            }
            self.wait_all(&traces, at, deadline).await?;
            let rows = pin_all(&traces, at).map_err(|f| trace_error(&f))?;
            if self.have(keys, at)? {
                return Ok(rows);
            }
        }
    }

    /// Rows of these versions at exactly this epoch, of what is kept: waits for it if it has yet to be shown. `built_on`: versions that these
    /// read, which must have it too.
    pub(crate) async fn past(&self, keys: &[Key], built_on: &[Key], at: Lsn, time: Duration) -> Result<Rows, NotThere> {
        let deadline = Instant::now() + time;
        self.cuts.lock().ask(at);
        let all: Vec<Key> = keys.iter().chain(built_on).copied().collect();
        loop {
            let (mut traces, since) = self.readable(&all, deadline).await?;
            if since > at {
                return Err(NotThere::Forgotten { oldest: self.oldest(since) });
            }
            self.wait_all(&traces, at, deadline).await?;
            let (before, next) = {
                let cuts = self.cuts.lock();
                (cuts.floor(at), cuts.ceiling(at))
            };
            let Some(before) = before else { return Err(NotThere::Forgotten { oldest: self.oldest(since) }) };
            if before != at {
                return Err(NotThere::Within { before, next, oldest: self.oldest(since) });
            }
            traces.truncate(keys.len());
            let rows = match pin_all(&traces, at) {
                Ok(rows) => rows,
                Err(TraceFailure::OutOfRange(_)) => return Err(NotThere::Forgotten { oldest: self.oldest(at.next()) }),
                Err(failure) => return Err(trace_error(&failure).into()),
            };
            if self.have(&all, at)? {
                return Ok(rows);
            }
        }
    }

    /// The first epoch that is remembered, at or behind a commit.
    pub(crate) fn oldest(&self, since: Lsn) -> Lsn {
        let cuts = self.cuts.lock();
        cuts.ceiling(since).unwrap_or(since.max(cuts.first()))
    }

    /// Whether these versions have this boundary in common with all others; asked after they were looked at. One that fell behind while a
    /// reader waited for it was fed what it missed in one piece, and between the ends of that it is not what the others are.
    fn have(&self, keys: &[Key], at: Lsn) -> Result<bool> {
        Ok(self.try_readable(keys)?.is_ok_and(|(_, since)| since <= at))
    }

    /// Waits until every readable version shows everything up to `at`.
    pub async fn until_all_reach(&self, at: Lsn, time: Duration) -> Result<()> {
        let deadline = Instant::now() + time;
        let all: Vec<Key> = {
            let entries = self.entries.read();
            entries.iter().filter(|(_, e)| !e.state.is_final()).map(|(k, _)| *k).collect()
        };
        for key in all {
            let reached = async {
                let traces = self.readable_unless_dropped(key, deadline).await?;
                self.wait_all(&traces, at, deadline).await
            };
            match reached.await {
                // Somebody has dropped it meanwhile: nobody reads it any more.
                Err(_) if self.is_dropped(key) => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Waits until the epoch that has a durable commit is closed: no matter to views that show it, and all there is where there are none.
    pub async fn until_closed(&self, at: Lsn, time: Duration) -> Result<()> {
        let deadline = Instant::now() + time;
        while self.cuts.lock().last() < at {
            self.go_on()?;
            if Instant::now() >= deadline {
                return Err(causal_timeout(at));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn is_dropped(&self, key: Key) -> bool {
        let entries = self.entries.read();
        entries.get(&key).is_none_or(|e| e.state.is_final() && !matches!(e.state, State::Failed { .. }))
    }

    /// The trace of a version that was there, once it can be read; none if it is dropped by then, as nothing tells of it any more.
    async fn readable_unless_dropped(&self, key: Key, deadline: Instant) -> Result<Vec<(Key, Arc<dyn Trace>)>> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Ok((traces, _)) = self.try_readable(&[key])? {
                return Ok(traces);
            }
            if self.is_dropped(key) {
                return Ok(vec![]);
            }
            if !matches!(tokio::time::timeout_at(deadline, changed.changed()).await, Ok(Ok(()))) {
                return Err(not_ready(key));
            }
        }
    }

    async fn readable(&self, keys: &[Key], deadline: Instant) -> Result<Traces> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let missing = match self.try_readable(keys)? {
                Ok(traces) => return Ok(traces),
                Err(missing) => missing,
            };
            if self.is_gone(missing) {
                return Err(dropped());
            }
            match tokio::time::timeout_at(deadline, changed.changed()).await {
                Ok(Ok(())) => {}
                _ => return Err(not_ready(missing)),
            }
        }
    }

    /// Whether a version was there and was dropped, so that nothing comes of waiting for it.
    fn is_gone(&self, key: Key) -> bool {
        let entries = self.entries.read();
        match entries.get(&key) {
            Some(entry) => matches!(entry.state, State::Retiring | State::Retired),
            None => self.gone.lock().contains(&key),
        }
    }

    /// The traces, or the first version that is not readable yet.
    fn try_readable(&self, keys: &[Key]) -> Result<Result<Traces, Key>> {
        self.go_on()?;
        let entries = self.entries.read();
        let mut traces = Vec::with_capacity(keys.len());
        let mut since = Lsn::ZERO;
        for key in keys {
            let Some(entry) = entries.get(key) else { return Ok(Err(*key)) };
            if let State::Failed { why, .. } = &entry.state {
                return Err(failed(why));
            }
            match (entry.state.readable_since(), &entry.trace) {
                (Some(from), Some(trace)) => {
                    since = since.max(from.into());
                    traces.push((*key, trace.clone()));
                }
                _ => return Ok(Err(*key)),
            }
        }
        Ok(Ok((traces, since)))
    }

    async fn wait_all(&self, traces: &[(Key, Arc<dyn Trace>)], at: Lsn, deadline: Instant) -> Result<()> {
        for (key, trace) in traces {
            while Lsn::from(trace.upper()) < at {
                let left = deadline.saturating_duration_since(Instant::now());
                let (trace, slice) = (trace.clone(), left.min(SLICE));
                let reached = tokio::task::spawn_blocking(move || trace.wait(at.into(), slice)).await;
                match reached {
                    Ok(Ok(upper)) if Lsn::from(upper) >= at => break,
                    // Nothing follows in what was dropped, whatever its trace says of it.
                    Ok(Ok(_) | Err(_)) if self.is_gone(*key) => return Err(dropped()),
                    Ok(Ok(_)) if left > slice => self.go_on()?,
                    Ok(Ok(_)) => return Err(causal_timeout(at)),
                    Ok(Err(failure)) => return Err(trace_error(&failure)),
                    Err(_) => return Err(Error::internal("wait for a version panicked")),
                }
            }
        }
        Ok(())
    }
}

/// What the driver does with it.
impl Versions {
    pub(crate) fn cuts(&self) -> parking_lot::MutexGuard<'_, Cuts> {
        self.cuts.lock()
    }

    pub(crate) fn flows(&self) -> &Arc<dyn Dataflows> {
        &self.flows
    }

    /// No epoch is closed any more, for this reason: those who wait for one are told.
    pub(crate) fn end(&self, why: Error) {
        let _ = self.ended.set(why);
        self.changed.send_modify(|n| *n += 1);
    }

    /// A version of a view of this name appears, with its dataflow's.
    pub(crate) fn add(&self, key: Key, name: String, flow: FlowId, routed: bool) {
        self.gone.lock().remove(&key);
        self.entries.write().insert(key, Entry { name, state: State::Planned, routed, flow, trace: None, pace: None });
    }

    pub(crate) fn set_trace(&self, key: Key, trace: Arc<dyn Trace>) {
        if let Some(entry) = self.entries.write().get_mut(&key) {
            entry.trace = Some(trace);
        }
    }

    pub(crate) fn set_pace(&self, key: Key, pace: Arc<Pace>) {
        if let Some(entry) = self.entries.write().get_mut(&key) {
            entry.pace = Some(pace);
        }
    }

    pub(crate) fn flow(&self, key: Key) -> Option<FlowId> {
        self.entries.read().get(&key).map(|e| e.flow)
    }

    pub(crate) fn state(&self, key: Key) -> Option<State> {
        self.entries.read().get(&key).map(|e| e.state.clone())
    }

    /// Something happened to a version; what is to be done.
    pub(crate) fn tell(&self, key: Key, fact: &Fact) -> Vec<Action> {
        let mut entries = self.entries.write();
        let Some(entry) = entries.get_mut(&key) else { return vec![] };
        let (next, actions) = life::decide(&entry.state, entry.routed, fact);
        if let Fact::Routed(routed) = fact {
            entry.routed = *routed;
        }
        if next != entry.state {
            tracing::debug!(view = %key.0, version = %key.1, from = entry.state.name(), to = next.name(), "version");
        }
        entry.state = next;
        if entry.state == State::Retired {
            entries.remove(&key);
            let mut gone = self.gone.lock();
            if gone.len() >= GONE_MAX {
                gone.clear();
            }
            gone.insert(key);
        }
        drop(entries);
        self.changed.send_modify(|n| *n += 1);
        actions
    }
}

fn pin_all(traces: &[(Key, Arc<dyn Trace>)], at: Lsn) -> Result<Rows, TraceFailure> {
    traces.iter().map(|(key, trace)| Ok((*key, trace.snapshot(at.into())?))).collect()
}

/// Its name is not told: the statement may have come to it by a view of somebody else's (I15).
fn dropped() -> Error {
    let message = "a view that the statement reads was dropped meanwhile";
    Error::new(ErrorKind::NotFound, code::UNDEFINED_TABLE, message).hint("SHOW MATERIALIZED VIEWS lists what there is")
}

fn not_ready(key: Key) -> Error {
    let message = format!("version is not ready view={} version={}", key.0, key.1);
    Error::new(ErrorKind::Unavailable, code::VERSION_NOT_READY, message).hint("SHOW MATERIALIZED VIEWS tells how far it is")
}
