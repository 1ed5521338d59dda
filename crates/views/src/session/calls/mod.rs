//! What functions do to their session: `set_config`, `pg_notify`, `pg_sleep` and the advisory locks, and LOCK TABLE, which is one among tables.
//!
//! ```text
//!   planning finds one of the names ─▶ functions of this statement ─▶ rows ─▶ all of them, before the statement is over
//!     set_config  notes a wish; the settings change when the statement has succeeded (`current_setting` beside it sees it at once)
//!     pg_sleep, pg_advisory_lock ..  wait as a future: what cancels the statement ends the wait
//! ```
//! A statement that calls one of them has run to its end when it is answered, so what it holds for its transaction is held no longer
//! than that. Who gets a lock sees what was committed before it was given back. Cost: the rows of the answer are held, within the memory
//! of one query.

mod function;

pub(crate) use function::functions;
pub(super) use function::open_parameters;

use super::{
    Session,
    notify::noted,
    txn::{Mode, Txn},
};
use crate::{
    advisory::{HELD_MAX, Held, Key, Locks, Mode as LockMode, Own, Owner, Refused, Scope, Until},
    error::{Error, Result, sqlstate as code},
    notify::{NOTES_MAX, Note},
    response::{Notice, Response, Rows},
};
use parking_lot::Mutex;
use regauge_types::{ErrorKind, TopicId, env::Clock};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What the functions of one session reach: shared by the session and the statement that runs.
pub(crate) struct Calls {
    locks: Arc<Locks>,
    owner: Owner,
    clock: Arc<dyn Clock>,
    turn: Mutex<Turn>,
    /// The session has ended.
    over: AtomicBool,
    /// What it holds for itself, until then.
    own: Mutex<Option<Arc<Own>>>,
}

/// What a statement has done so far.
#[derive(Default)]
struct Turn {
    used: bool,
    /// It had read nothing before.
    first: bool,
    /// It has read a relation.
    reads: bool,
    /// It has got a lock: what the one before has committed is to be seen.
    locked: bool,
    /// The transaction that takes locks.
    until: Option<(Scope, Arc<AtomicBool>)>,
    /// What it has taken for the session: a statement that is run again gives it back first.
    kept: BTreeMap<(Key, LockMode), u32>,
    wishes: Vec<Wish>,
    notices: Vec<Notice>,
    /// What it sends: channels and payloads.
    notes: Vec<(String, String)>,
}

/// A setting that is to change when the statement has succeeded.
struct Wish {
    name: String,
    value: Option<String>,
    local: bool,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl Calls {
    pub(super) fn new(locks: Arc<Locks>, clock: Arc<dyn Clock>) -> Calls {
        let owner = locks.owner();
        let own = Mutex::new(Some(Own::new(locks.clone(), owner)));
        Calls { owner, locks, clock, turn: Mutex::default(), over: AtomicBool::default(), own }
    }

    /// What a transaction holds of advisory locks.
    pub(super) fn transaction(&self) -> Held {
        self.locks.scope(self.own.lock().clone())
    }

    /// The session is as if it had begun anew: locks of its own are given back.
    pub(super) fn unlock_all(&self) {
        self.locks.unlock_all(self.owner);
    }

    /// The session has ended: what it holds is given back, behind a commit of its that is under way. What of a statement that was cut off is
    /// still under way takes nothing any more that stays.
    pub(super) fn close(&self) {
        self.over.store(true, Ordering::SeqCst);
        let own = self.own.lock().take();
        drop(own);
    }

    /// The statement is run again: what it took for the session is given back.
    pub(super) fn again(&self) {
        let kept = std::mem::take(&mut self.turn.lock().kept);
        for ((key, mode), n) in kept {
            (0..n).for_each(|_| {
                self.locks.unlock(self.owner, key, mode);
            });
        }
    }

    fn try_lock(&self, key: Key, mode: LockMode, of_transaction: bool) -> Result<bool> {
        let until = self.until(of_transaction)?;
        let taken = self.locks.try_lock(self.owner, key, mode, until).map_err(|why| refused(why, mode))?;
        if taken {
            self.took(key, mode, until);
        }
        Ok(taken)
    }

    fn until(&self, of_transaction: bool) -> Result<Until> {
        if !of_transaction {
            return Ok(Until::Unlocked);
        }
        let scope = self.turn.lock().until.as_ref().map(|(scope, _)| *scope);
        scope.map(Until::End).ok_or_else(|| Error::internal("a lock was taken outside of a transaction"))
    }

    /// After a lock was taken: for a transaction or a session that has ended meanwhile it is given back.
    fn took(&self, key: Key, mode: LockMode, until: Until) {
        let mut turn = self.turn.lock();
        turn.locked = true;
        match until {
            Until::Unlocked => *turn.kept.entry((key, mode)).or_default() += 1,
            Until::End(scope) => {
                let stands = turn.until.as_ref().is_some_and(|(of, ended)| *of == scope && !ended.load(Ordering::SeqCst));
                if !stands {
                    self.locks.end(scope);
                }
            }
        }
        drop(turn);
        if until == Until::Unlocked && self.over.load(Ordering::SeqCst) {
            // This one only: others may stand behind a commit. If it came before the session's end it is given back already.
            self.locks.unlock(self.owner, key, mode);
        }
    }

    fn begin(&self, txn: &Txn) {
        let until = txn.advisory.as_ref().map(|held| (held.scope, held.ended.clone()));
        *self.turn.lock() = Turn { until, first: txn.snapshot.is_none(), ..Turn::default() };
    }

    /// The statement reads a relation.
    pub(super) fn read(&self) {
        self.turn.lock().reads = true;
    }

    /// Holds a table until the transaction ends, among those who hold it: for LOCK TABLE.
    pub(super) async fn hold(&self, topic: TopicId, mode: LockMode, waits: bool, limit: Option<Duration>) -> Result<bool> {
        if self.turn.lock().until.is_none() {
            return Ok(false);
        }
        let key = Key::Table(topic);
        if waits {
            self.wait(key, mode, true, limit).await?;
            return Ok(true);
        }
        self.try_lock(key, mode, true)
    }

    /// Holds a row until the transaction ends, among those who say FOR UPDATE; whether nobody else does.
    pub(super) fn hold_row(&self, topic: TopicId, row: u64, mode: LockMode, has_to: bool) -> Result<bool> {
        if self.turn.lock().until.is_none() {
            return Ok(true);
        }
        let (key, until) = (Key::Row(topic, row), self.until(true)?);
        let free = self.locks.try_row(self.owner, key, mode, until, has_to).map_err(|why| refused(why, mode))?;
        if free {
            self.took(key, mode, until);
        }
        Ok(free)
    }

    /// Sends a note when the statement has succeeded and its transaction is committed.
    fn notify(&self, channel: String, payload: String) -> Result<()> {
        Note::new(&channel, &payload, 0)?;
        let mut turn = self.turn.lock();
        if turn.notes.len() >= NOTES_MAX {
            return Err(Error::invalid("54000", format!("a statement sends more than {NOTES_MAX} notifications")));
        }
        turn.notes.push((channel, payload));
        Ok(())
    }

    /// How many rows of a table are held by anybody.
    pub(super) fn n_rows_held(&self, topic: TopicId) -> usize {
        self.locks.n_rows(topic)
    }

    async fn wait(&self, key: Key, mode: LockMode, of_transaction: bool, limit: Option<Duration>) -> Result<()> {
        let until = self.until(of_transaction)?;
        let granted = self.locks.lock(self.owner, key, mode, until);
        let granted = match limit {
            None => granted.await,
            Some(limit) => tokio::time::timeout(limit, granted)
                .await
                .map_err(|_| Error::new(ErrorKind::Unavailable, "55P03", "canceling statement due to lock timeout"))?,
        };
        granted.map_err(|why| refused(why, mode))?;
        self.took(key, mode, until);
        Ok(())
    }
}

fn refused(why: Refused, mode: LockMode) -> Error {
    match why {
        Refused::Deadlock => {
            let detail = format!("it waits for {} on what another session holds, which waits for this one", shown(mode));
            Error::new(ErrorKind::Conflict, "40P01", "deadlock detected").detail(detail).hint("run the transaction again")
        }
        Refused::Full => {
            let message = format!("out of shared memory: advisory locks are held at most {HELD_MAX} at once");
            Error::new(ErrorKind::Exhausted, "53200", message).hint("give some back: pg_advisory_unlock_all()")
        }
    }
}

impl Session {
    /// A statement begins: nothing of these functions has been called.
    pub(super) fn calls_begin(&self, txn: &Txn) {
        self.calls.begin(txn);
    }

    /// What is to be done about a statement that may have called them.
    pub(super) async fn calls_done(&mut self, txn: &mut Txn, response: Response) -> Result<Response> {
        if !self.calls.turn.lock().used {
            return Ok(response);
        }
        let response = self.whole(response).await.map_err(misplaced)?;
        let (wishes, notices, notes, first, reads, locked) = {
            let mut turn = self.calls.turn.lock();
            let (wishes, notices, notes) =
                (std::mem::take(&mut turn.wishes), std::mem::take(&mut turn.notices), std::mem::take(&mut turn.notes));
            (wishes, notices, notes, turn.first, turn.reads, turn.locked)
        };
        let notes = notes.iter().map(|(channel, payload)| Note::new(channel, payload, self.pid)).collect::<Result<_>>()?;
        noted(txn, notes)?;
        if locked {
            // What it has written it has judged by its snapshot.
            self.follow(txn, first && !reads && !txn.has_written());
        }
        for Wish { name, value, local } in &wishes {
            let autocommit = txn.mode == Mode::Autocommit;
            if !autocommit {
                self.variables.within_transaction();
            }
            // These are of the transaction at hand, however they are set.
            let local = &(*local || name.starts_with("transaction_"));
            // By itself a statement is a transaction: what is local to that has been.
            if autocommit && *local {
                self.variables.name(name);
            } else {
                self.set_variable(name, value.as_deref(), *local)?;
            }
            if name == "transaction_read_only" {
                let on = self.variables.get("default_transaction_read_only");
                txn.read_only = value.clone().or(on).map(|on| on == "on");
            }
        }
        if !wishes.is_empty() {
            self.plans.clear();
            self.told = true;
        }
        Ok(match response {
            Response::Rows(rows) => Response::Rows(Rows { notices: rows.notices.into_iter().chain(notices).collect(), ..rows }),
            other => other,
        })
    }
}

impl Session {
    /// Who gets a lock sees what was committed before it was given back. A transaction that has only waited so far has not chosen what it
    /// reads: PostgreSQL's default isolation looks anew with each statement, and its clients lock first and read then.
    pub(super) fn follow(&mut self, txn: &mut Txn, anew: bool) {
        let now = self.core.log.durable();
        self.seen.lsn = self.seen.lsn.max(now);
        if anew {
            txn.snapshot = None;
            txn.versions.clear();
        }
        if txn.snapshot.is_none() {
            txn.at_least = txn.at_least.max(now);
        }
    }
}

/// Where DataFusion does not wait for a function it says so in words of its own.
pub(in crate::session) fn misplaced(error: Error) -> Error {
    if error.sqlstate == code::INTERNAL && error.message.contains("async functions should not be called directly") {
        return not_there();
    }
    error
}

pub(super) fn not_there() -> Error {
    let error = Error::unsupported(
        "what waits (pg_sleep, pg_advisory_lock and their kin) is offered among the items of SELECT and in WHERE",
    );
    error.hint("give it a SELECT of its own; pg_try_advisory_lock does not wait, and may stand anywhere")
}

/// PostgreSQL's words for it.
pub(super) fn shown(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Exclusive => "ExclusiveLock",
        LockMode::Shared => "ShareLock",
    }
}
