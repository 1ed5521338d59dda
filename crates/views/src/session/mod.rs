//! A session: one client's settings, its transaction, and what it has seen.
//!
//! ```text
//!   text ─▶ statements ─▶ one at a time: settings and transaction control here, everything else with a Txn
//!                          autocommit: run, commit, and on a conflict run again on newer facts
//! ```
//! Invariant: whatever a session has been answered is part of what its later reads see (its token). A statement that failed has
//! left no trace; within a transaction it leaves the transaction failed. Rows that are still being streamed hold what they need
//! themselves and do not borrow the session.

mod again;
mod alter;
pub mod append;
mod backup;
pub(crate) mod calls;
pub mod copy;
pub mod copy_binary;
pub mod copy_out;
mod cursor;
mod ddl;
mod delete;
mod describe;
mod explain;
mod function;
mod given;
mod guard;
mod index;
mod insert;
pub mod intake;
mod joined;
mod like;
mod lock;
mod merge;
pub(crate) mod notify;
mod point;
mod prepare;
mod rights;
mod roles;
mod rows;
mod rules;
mod script;
mod scroll;
mod secret;
mod select;
pub(crate) mod sequence;
mod settings;
mod show;
mod show_create;
mod sift;
pub(crate) mod sink;
pub mod subscribe;
pub(crate) mod txn;
mod update;
mod values;
mod variables;
mod watermark;
mod with;
mod zoned;

pub use guard::CancelHandle;
pub use prepare::Prepared;
pub use script::Script;

use crate::{
    catalog::{Catalog, Name, ObjectId, Relation, RoleId},
    core::{Core, NotCommitted},
    error::{Error, Result, sqlstate as code},
    read::{
        Reading,
        names::{About, Scope},
    },
    response::{Notice, Response},
    token::Seen,
};
use arrow::array::RecordBatch;
use guard::Guard;
pub(crate) use guard::panicked;
use regauge_log::{Committed, ProducerSeq};
use regauge_plan::{
    local,
    parse::{Ddl, ParseLimits, RelationName, SinkDdl, Statement, parse},
};
use regauge_types::Lsn;
pub(crate) use select::SharedPlans;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
};
use txn::{Mode, Txn};
use variables::Variables;

/// Who opens a session.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// A role that may do what the session does; who opens the session has made sure that it is meant.
    pub user: String,
    /// Must be the only one there is.
    pub database: String,
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions { user: "regauge".to_owned(), database: crate::read::names::DATABASE.to_owned() }
    }
}

/// Whether a session is in a transaction, for the wire protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Not in one.
    Idle,
    /// In one.
    Active,
    /// In one that can only be rolled back.
    Failed,
}

/// Texts whose statements are kept, per session.
const TEXTS_KEPT: usize = 256;

/// One client's session.
pub struct Session {
    core: Arc<Core>,
    options: SessionOptions,
    /// Who opened it, whatever it is called now.
    login: RoleId,
    variables: Variables,
    seen: Seen,
    /// When its transaction began.
    moment: local::Moment,
    txn: Option<Txn>,
    cancel: CancelHandle,
    texts: HashMap<String, Arc<Vec<Statement>>>,
    plans: select::Plans,
    /// The values of the statement at hand, if it is planned for any.
    given: Option<given::Given>,
    /// What PREPARE keeps: statements and the types of their parameters.
    named: HashMap<String, (Statement, Vec<arrow::datatypes::DataType>)>,
    /// What DECLARE has opened.
    cursors: cursor::Cursors,
    /// Rows that earlier parts of the statement at hand have given, by their names.
    own: HashMap<String, Arc<dyn datafusion::catalog::TableProvider>>,
    /// What it was given of sequences.
    counted: Arc<crate::sequences::Mine>,
    /// What functions that change it, or wait, have done in the statement at hand.
    calls: Arc<calls::Calls>,
    /// `set_config` has changed a setting since somebody last asked.
    told: bool,
    /// Statements that the protocol has prepared, by their names.
    prepared: BTreeSet<String>,
    /// Prepared statements that DEALLOCATE named since somebody last asked; `None` for all of them.
    deallocated: Vec<Option<String>>,
    /// Notes for its client, if that can be told.
    inbox: Option<Arc<crate::notify::Inbox>>,
    /// How its protocol numbers it; 0 where there is none.
    pid: i32,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.unlisten();
        self.calls.close();
        self.core.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    pub(crate) fn new(core: Arc<Core>, options: SessionOptions, login: RoleId) -> Session {
        core.sessions.fetch_add(1, Ordering::Relaxed);
        let superuser = core.judged.catalog().rights.is_superuser(login);
        let mut facts = BTreeMap::clone(&core.facts.read());
        if superuser {
            facts.insert("data_directory".to_owned(), core.config.dir.display().to_string());
        }
        let variables = Variables::new(&core.config.limits, Arc::new(facts), &options.user, superuser);
        let counted = Arc::new(crate::sequences::Mine::new(core.sequences.clone()));
        let calls = Arc::new(calls::Calls::new(core.advisory.clone(), core.config.env.clock.clone()));
        let plans = select::Plans::new(&core.plans);
        Session {
            counted,
            calls,
            core,
            options,
            login,
            variables,
            seen: Seen::default(),
            moment: local::Moment::default(),
            txn: None,
            cancel: CancelHandle::default(),
            texts: HashMap::new(),
            plans,
            given: None,
            named: HashMap::new(),
            cursors: cursor::Cursors::default(),
            own: HashMap::new(),
            told: false,
            prepared: BTreeSet::new(),
            deallocated: vec![],
            inbox: None,
            pid: 0,
        }
    }

    /// Runs the statements of a text. Several statements outside a transaction are one transaction, as in PostgreSQL. The first
    /// error ends it.
    pub async fn execute(&mut self, sql: &str) -> Result<Vec<Response>> {
        let mut script = self.script(sql)?;
        let mut responses = Vec::with_capacity(script.n_statements());
        while let Some(response) = self.step(&mut script).await? {
            responses.push(response);
        }
        Ok(responses)
    }

    /// As [`Session::append_records`]; answers whether it had been stored before.
    pub async fn append(&mut self, relation: &str, rows: RecordBatch, producer: Option<ProducerSeq>) -> Result<bool> {
        self.append_records(relation, rows, producer).await.map(|receipt| receipt.duplicate)
    }

    /// The catalog as a new statement sees it: what its role has no right on is not there.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.whole_catalog().shown_to(&self.who_at_all(None))
    }

    fn whole_catalog(&self) -> Arc<Catalog> {
        self.txn.as_ref().map_or_else(|| self.core.judged.catalog(), |t| t.catalog.clone())
    }

    /// What the session has seen, for the next one.
    #[must_use]
    pub fn token(&self) -> String {
        self.core.mint.mint(self.seen)
    }

    /// A token of everything up to an epoch that a subscription has told to be complete: `SUBSCRIBE .. AFTER` it goes on there.
    #[must_use]
    pub fn token_at(&self, epoch: Lsn) -> String {
        // The clock of that commit is not at hand; the last one is not before it.
        self.core.mint.mint(crate::token::Seen { lsn: epoch, hlc: self.core.log.last_hlc() })
    }

    /// Takes in what another session has seen; waits until it is here.
    pub async fn set_token(&mut self, text: &str) -> Result<()> {
        let seen = self.core.mint.verify(text)?;
        self.core.wait_durable(seen.lsn, self.variables.causal_timeout()).await?;
        self.seen.observe(seen.lsn, seen.hlc);
        Ok(())
    }

    /// Cancels what the session is running, from any thread.
    #[must_use]
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// Whether it is in a transaction.
    #[must_use]
    pub fn status(&self) -> TransactionStatus {
        match &self.txn {
            None => TransactionStatus::Idle,
            Some(txn) if txn.failed => TransactionStatus::Failed,
            Some(_) => TransactionStatus::Active,
        }
    }

    /// Prepared statements that DEALLOCATE (or DISCARD ALL) took back since this was last asked, for who keeps them; `None` for
    /// all of them.
    pub fn deallocated(&mut self) -> Vec<Option<String>> {
        std::mem::take(&mut self.deallocated)
    }

    /// Whether `set_config` has changed a setting since this was last asked.
    pub fn settings_changed(&mut self) -> bool {
        std::mem::take(&mut self.told)
    }

    /// Who opened it.
    #[must_use]
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// A setting.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        if name.eq_ignore_ascii_case("is_superuser") {
            return Some(if self.who_at_all(None).is_superuser() { "on" } else { "off" }.to_owned());
        }
        if name.eq_ignore_ascii_case("transaction_read_only") {
            let own = self.txn.as_ref().and_then(|txn| txn.read_only);
            let own = own.map(|on| if on { "on" } else { "off" }.to_owned());
            return own.or_else(|| self.variables.get("default_transaction_read_only"));
        }
        self.variables.get(name)
    }

    /// The zone of its `TimeZone`: what moments are read, shown and taken apart in.
    #[must_use]
    pub fn zone(&self) -> local::Zone {
        self.variables.zone()
    }

    /// How long a transaction may wait for its client; `None` for ever.
    #[must_use]
    pub fn idle_in_transaction_timeout(&self) -> Option<std::time::Duration> {
        self.variables.idle_in_transaction_timeout()
    }

    /// Sets a setting from outside of a statement: what a client brings when it connects.
    pub fn configure(&mut self, name: &str, value: &str) -> Result<()> {
        self.variables.configure(name, value)?;
        if ["role", "session_authorization"].contains(&name.to_lowercase().as_str()) {
            self.who(None)?;
        }
        self.plans.clear();
        Ok(())
    }

    fn parse(&mut self, sql: &str) -> Result<Arc<Vec<Statement>>> {
        if let Some(known) = self.texts.get(sql) {
            return Ok(known.clone());
        }
        let limits = &self.core.config.limits;
        let limits = ParseLimits { bytes_max: limits.statement_bytes, nesting_max: limits.nesting, ..ParseLimits::default() };
        let statements = Arc::new(parse(sql, &limits)?);
        // A text that may hold a password is not kept.
        if sql.len() <= 4096 && !statements.iter().any(|s| matches!(s, Statement::Rights(_))) {
            if self.texts.len() >= TEXTS_KEPT {
                self.texts.clear();
            }
            self.texts.insert(sql.to_owned(), statements.clone());
        }
        Ok(statements)
    }

    /// A failed statement ends an implicit transaction and spoils an explicit one.
    fn fail(&mut self, error: Error) -> Error {
        let error = self.quiet(error);
        match &mut self.txn {
            Some(txn) if txn.mode == Mode::Explicit => txn.spoil(),
            _ => {
                if self.txn.take().is_some() {
                    let _ = self.counted.settle();
                    self.variables.roll_back();
                }
            }
        }
        error
    }

    /// The protocol has prepared a statement of this name, or closed it.
    pub fn statement_kept(&mut self, name: &str, kept: bool) {
        if kept {
            self.prepared.insert(name.to_owned());
        } else {
            self.prepared.remove(name);
        }
    }

    fn deallocate(&mut self, name: Option<&str>) -> Result<Response> {
        match name {
            Some(name) => {
                let (named, prepared) = (self.named.remove(name).is_some(), self.prepared.remove(name));
                if !named && !prepared {
                    let message = format!("prepared statement \"{name}\" does not exist");
                    return Err(Error::new(regauge_types::ErrorKind::NotFound, "26000", message));
                }
            }
            None => {
                self.named.clear();
                self.prepared.clear();
            }
        }
        self.deallocated.push(name.map(str::to_owned));
        Ok(Response::command(if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" }))
    }

    /// As [`Session::statement`], of a statement with parameters that are given these values.
    async fn statement_given(&mut self, given: given::Given) -> Result<Response> {
        let (statement, key) = (given.statement.clone(), given.key.clone());
        self.given = Some(given);
        let outcome = self.any_statement(&statement, Some(&key)).await;
        self.given = None;
        outcome
    }

    async fn statement(&mut self, statement: &Statement, text: Option<&str>) -> Result<Response> {
        // one that was cut off has left it
        self.given = None;
        self.any_statement(statement, text).await
    }

    async fn any_statement(&mut self, statement: &Statement, text: Option<&str>) -> Result<Response> {
        if self.txn.is_none() {
            self.cursors.outside();
            self.look_around();
        }
        if let Statement::Execute { .. } = statement
            && !self.txn.as_ref().is_some_and(|t| t.failed)
            && let Some(filled) = Box::pin(self.executed(statement)).await?
        {
            return self.plain_statement(&filled, None).await;
        }
        self.plain_statement(statement, text).await
    }

    async fn plain_statement(&mut self, statement: &Statement, text: Option<&str>) -> Result<Response> {
        match statement {
            Statement::Commit => return self.end().await,
            Statement::Rollback => return Ok(self.rollback()),
            Statement::Chain { rollback } => return self.chain(*rollback).await,
            Statement::RollbackTo { name } => {
                let txn = self.block("ROLLBACK TO SAVEPOINT")?;
                txn.roll_back_to(name)?;
                let savepoints = txn.savepoints.len();
                self.cursors.rolled_back(savepoints);
                return Ok(Response::command("ROLLBACK"));
            }
            _ => {}
        }
        if self.txn.as_ref().is_some_and(|t| t.failed) {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Error::invalid(code::FAILED_TRANSACTION, message).hint("ROLLBACK"));
        }
        // A role that was taken from the session can still be laid down.
        if !matches!(statement, Statement::Set { .. } | Statement::Reset { .. } | Statement::Discard) {
            self.judge(None, statement)?;
        }
        match statement {
            Statement::Begin { read_only } => {
                let begun = self.start();
                if let Some(txn) = &mut self.txn {
                    txn.read_only = read_only.or(txn.read_only);
                }
                Ok(begun)
            }
            Statement::Nothing { tag } => Ok(Response::command(*tag)),
            Statement::Savepoint { name } => {
                self.block("SAVEPOINT")?.mark(name);
                Ok(Response::command("SAVEPOINT"))
            }
            Statement::Release { name } => {
                let txn = self.block("RELEASE SAVEPOINT")?;
                txn.release(name)?;
                let savepoints = txn.savepoints.len();
                self.cursors.released(savepoints);
                Ok(Response::command("RELEASE"))
            }
            Statement::Set { name, value, local } => self.set(name, value.as_deref(), *local).await,
            Statement::Reset { name } => self.reset(name.as_deref()),
            Statement::Discard => self.discard(),
            Statement::DiscardSequences => {
                self.counted.forget();
                Ok(Response::command("DISCARD SEQUENCES"))
            }
            Statement::Deallocate { name } => self.deallocate(name.as_deref()),
            Statement::Listen { channel } => self.listen(Some(channel), true),
            Statement::Unlisten { channel } => self.listen(channel.as_deref(), false),
            Statement::Notify { channel, payload } => self.notify(channel, payload).await,
            Statement::Prepare { name, types, statement } => Box::pin(self.prepare_named(name, types, statement)).await,
            Statement::Declare { name, query, scroll, hold } => Box::pin(self.declare(name, query, *scroll, *hold)).await,
            Statement::Fetch { name, direction, moves } => Box::pin(self.fetch(name, *direction, *moves)).await,
            Statement::Close { name } => self.close_cursor(name.as_deref()),
            Statement::Show { name } => self.show(name),
            Statement::ShowObjects { kind } => self.show_objects(*kind),
            Statement::ShowSecrets => self.show_secrets(),
            Statement::Describe { name } => self.describe(name),
            Statement::Flush => self.flush().await,
            Statement::Backup { to } => self.backup(to).await,
            Statement::Subscribe(subscribe) => {
                // It has no end of its own, so statement_timeout does not mean it.
                let guard = Guard::new(&self.cancel, None);
                let response = guard.run(Box::pin(self.subscribe(subscribe))).await?;
                Ok(guard.watch(response))
            }
            // Boxed, as the kinds of statements below: a future has room for the largest of those within it, and planning needs the stack.
            _ => Box::pin(self.in_transaction(statement, text)).await,
        }
    }

    /// Runs a statement in the session's transaction, or in one of its own.
    async fn in_transaction(&mut self, statement: &Statement, text: Option<&str>) -> Result<Response> {
        let guard = self.guard();
        if self.txn.as_ref().is_some_and(|t| t.mode == Mode::Implicit && !t.created.is_empty())
            && matches!(statement, Statement::Query(_))
        {
            // A view that this text has created answers once it runs, and it runs once it is committed.
            self.commit().await?;
            self.begin(Mode::Implicit);
        }
        if let Some(mut txn) = self.txn.take() {
            let outcome = guard.run(Box::pin(self.work(&mut txn, statement, text))).await;
            let outcome = match outcome {
                Err(error) if txn.mode == Mode::Implicit => Err(self.durably(&guard, &txn, error).await.into()),
                outcome => outcome,
            };
            self.txn = Some(txn);
            return outcome.map(|response| guard.watch(response));
        }
        if let Some(response) = guard.run(Box::pin(self.inserted_before(statement))).await? {
            return Ok(response);
        }
        let mut at_least = self.seen.lsn;
        for _ in 0..=self.core.config.limits.autocommit_retries {
            let mut txn = self.fresh(Mode::Autocommit, at_least);
            let response = guard.run(Box::pin(self.work(&mut txn, statement, text))).await;
            self.reserve(&mut txn, response.is_ok())?;
            let response = match response {
                Ok(response) => response,
                Err(error) => match self.durably(&guard, &txn, error).await {
                    NotCommitted::Failed(error) => return Err(error),
                    NotCommitted::Conflict { .. } => {
                        self.calls.again();
                        continue;
                    }
                },
            };
            let producer = self.producer(statement)?;
            match self.commit_of(&guard, &txn, producer.clone()).await {
                Ok(committed) => {
                    if let (Some(producer), Some(first)) = (&producer, committed.as_ref().filter(|c| c.duplicate))
                        && let Statement::Insert(insert) = statement
                    {
                        let relation = self.target(&txn, &insert.table)?;
                        again::is_of(&self.core.judged.catalog(), &relation, producer, first)?;
                    }
                    self.committed(committed);
                    self.await_created(&txn, &guard).await?;
                    return Ok(guard.watch(response));
                }
                Err(NotCommitted::Conflict { lsn, error }) => {
                    tracing::trace!(%error, "statement is run again");
                    self.calls.again();
                    at_least = at_least.max(lsn);
                }
                Err(NotCommitted::Failed(error)) => return Err(error),
            }
        }
        Err(Error::conflict("could not serialize access: too many concurrent updates"))
    }

    /// An error as it may be told: what tells of rows, when those are durable; a conflict if they never will be.
    async fn durably(&self, guard: &Guard, txn: &Txn, error: Error) -> NotCommitted {
        if !["21", "22", "23"].iter().any(|class| error.sqlstate.starts_with(class)) {
            return NotCommitted::Failed(error);
        }
        self.settle_within(guard, txn).await.err().unwrap_or(NotCommitted::Failed(error))
    }

    /// As [`Core::settle`], for as long as the statement may run.
    async fn settle_within(&self, guard: &Guard, txn: &Txn) -> Result<(), NotCommitted> {
        let settled = guard.run(async { Ok(self.core.settle(txn).await) }).await;
        settled.unwrap_or_else(|ended| Err(NotCommitted::Failed(ended)))
    }

    /// As [`Core::commit`]. A transaction that wrote nothing only waits, for as long as the statement may run. A commit that is under way is
    /// not cut off by the statement's time, or by its client's wish: nobody could be told whether it was made.
    async fn commit_within(
        &self,
        guard: &Guard,
        txn: &Txn,
        producer: Option<ProducerSeq>,
    ) -> Result<Option<Committed>, NotCommitted> {
        if txn.is_empty() {
            return self.settle_within(guard, txn).await.map(|()| None);
        }
        self.core.commit(txn, self.seen, producer).await
    }

    /// Whether a transaction only reads: it said so, or the session's default does.
    fn reads_only(&self, txn: &Txn) -> bool {
        let default = || self.variables.get("default_transaction_read_only").is_some_and(|on| on == "on");
        txn.read_only.unwrap_or_else(default)
    }

    async fn work(&mut self, txn: &mut Txn, statement: &Statement, text: Option<&str>) -> Result<Response> {
        if let Some(what) = writes(statement)
            && self.reads_only(txn)
        {
            let message = format!("cannot execute {what} in a read-only transaction");
            return Err(Error::invalid("25006", message).hint("BEGIN READ WRITE, or SET default_transaction_read_only = off"));
        }
        // What a statement that was cut off has left.
        txn.before = None;
        txn.locks = false;
        self.own.clear();
        self.carry_altered(txn)?;
        self.calls_begin(txn);
        let expanded = self.expanded(&txn.catalog, statement)?;
        // Bodies of functions are read with the rights of who calls them.
        let statement = expanded.as_ref().unwrap_or(statement);
        txn.role = self.judge(Some(txn), statement)?.role;
        let response = self.done(txn, statement, text).await;
        self.calls_done(txn, response.map_err(calls::misplaced)?).await
    }

    async fn done(&mut self, txn: &mut Txn, statement: &Statement, text: Option<&str>) -> Result<Response> {
        match statement {
            Statement::Query(query) => Box::pin(self.select(txn, query, text)).await,
            Statement::Insert(insert) => Box::pin(self.insert(txn, insert)).await,
            Statement::Update(update) => Box::pin(self.update(txn, update, text)).await,
            Statement::Delete(delete) => Box::pin(self.delete(txn, delete, text)).await,
            Statement::Merge(merge) => Box::pin(self.merge(txn, merge)).await,
            Statement::With(with) => Box::pin(self.with(txn, with)).await,
            Statement::Copy(copy) => self.copy(txn, copy),
            Statement::CopyTo(copy) => Box::pin(self.copy_to(txn, copy)).await,
            Statement::CreateTable(create) => Box::pin(self.create_table(txn, create)).await,
            Statement::Ddl(ddl) => Box::pin(self.ddl(txn, ddl)).await,
            Statement::Rights(rights) => self.rights(txn, rights),
            Statement::CreateView(create) => Box::pin(self.create_view(txn, create)).await,
            Statement::Drop { kind, names, if_exists, cascade } => self.drop_objects(txn, *kind, names, *if_exists, *cascade),
            Statement::ExplainView { name, analyze } => self.explain_view(txn, name, *analyze),
            Statement::AdvanceWatermark { stream, partition, to } => self.advance_watermark(txn, stream, *partition, to),
            Statement::ExplainChange(change) => Box::pin(self.explain_change(txn, change)).await,
            Statement::Lock { names, mode, nowait } => Box::pin(self.lock(txn, names, *mode, *nowait)).await,
            Statement::ExplainQuery { query, analyze, as_view } => {
                Box::pin(self.explain_query(txn, query, *analyze, as_view.as_deref())).await
            }
            other => Err(Error::internal(format!("statement has no handler statement={other:?}"))),
        }
    }

    fn guard(&self) -> Guard {
        Guard::new(&self.cancel, self.variables.statement_timeout())
    }

    fn fresh(&self, mode: Mode, at_least: Lsn) -> Txn {
        let generation = self.core.judged.generation();
        let mut txn = Txn::new(mode, generation, self.core.judged.catalog(), self.core.ids.clone(), at_least);
        txn.advisory = Some(Arc::new(self.calls.transaction()));
        txn
    }

    /// What its statements plan by: the zone, and when the transaction began.
    fn here(&self) -> (local::Zone, local::Moment) {
        (self.zone(), self.moment.clone())
    }

    /// A statement, or the transaction that it begins, begins now; who reads linearizably has seen all that anybody was told to be written.
    fn look_around(&mut self) {
        if self.txn.is_some() {
            return;
        }
        self.moment.set(i64::try_from(self.core.config.env.clock.wall_us()).unwrap_or(i64::MAX));
        if self.variables.linearizable() {
            self.seen.observe(self.core.log.durable(), self.core.log.last_hlc());
        }
    }

    fn begin(&mut self, mode: Mode) {
        self.look_around();
        // Of a transaction that was cut off.
        let _ = self.counted.settle();
        self.txn = Some(self.fresh(mode, self.seen.lsn));
    }

    fn start(&mut self) -> Response {
        match &mut self.txn {
            None => {
                self.begin(Mode::Explicit);
                Response::command("BEGIN")
            }
            Some(txn) if txn.mode == Mode::Implicit => {
                txn.mode = Mode::Explicit;
                Response::command("BEGIN")
            }
            Some(_) => Response::noticed("BEGIN", Notice::warning("25001", "there is already a transaction in progress")),
        }
    }

    async fn end(&mut self) -> Result<Response> {
        match &self.txn {
            None => Ok(Response::noticed("COMMIT", outside())),
            Some(txn) if txn.failed => Ok(self.rollback()),
            Some(_) => {
                self.commit().await?;
                Ok(Response::command("COMMIT"))
            }
        }
    }

    /// COMMIT AND CHAIN and its kin: the next transaction reads and writes as the one that ends.
    async fn chain(&mut self, rollback: bool) -> Result<Response> {
        let read_only = self.block(if rollback { "ROLLBACK AND CHAIN" } else { "COMMIT AND CHAIN" })?.read_only;
        let ended = if rollback { self.rollback() } else { self.end().await? };
        self.begin(Mode::Explicit);
        if let Some(txn) = &mut self.txn {
            txn.read_only = read_only;
        }
        Ok(ended)
    }

    /// The transaction that BEGIN opened.
    fn block(&mut self, what: &str) -> Result<&mut Txn> {
        let txn = self.txn.as_mut().filter(|t| t.mode == Mode::Explicit);
        let message = || format!("{what} can only be used in transaction blocks");
        txn.ok_or_else(|| Error::invalid("25P01", message()).hint("BEGIN"))
    }

    fn rollback(&mut self) -> Response {
        self.variables.roll_back();
        let _ = self.counted.settle();
        match self.txn.take() {
            None => Response::noticed("ROLLBACK", outside()),
            Some(_) => Response::command("ROLLBACK"),
        }
    }

    /// Commits the session's transaction; it is over whatever comes of it.
    async fn commit(&mut self) -> Result<()> {
        self.variables.end_transaction();
        let Some(mut txn) = self.txn.take() else { return Ok(()) };
        self.reserve(&mut txn, true)?;
        let guard = self.guard();
        let committed = self.commit_of(&guard, &txn, None).await.map_err(Error::from)?;
        self.committed(committed);
        self.cursors.committed();
        self.await_created(&txn, &guard).await
    }

    /// What a transaction was given of sequences that it created itself is reserved with it.
    fn reserve(&self, txn: &mut Txn, kept: bool) -> Result<()> {
        let events = crate::sequences::Mine::events(self.counted.settle(), &txn.catalog);
        if kept && !events.is_empty() { txn.extend(events) } else { Ok(()) }
    }

    /// Takes in the receipt; says whether it was a duplicate.
    fn committed(&mut self, committed: Option<Committed>) -> bool {
        let Some(committed) = committed else { return false };
        self.seen.observe(committed.lsn, committed.hlc);
        committed.duplicate
    }

    /// CREATE MATERIALIZED VIEW returns when the view has caught up, unless it was asked not to wait.
    async fn await_created(&mut self, txn: &Txn, guard: &Guard) -> Result<()> {
        for (view, version, wait) in &txn.created {
            if *wait {
                let readable = guard.run(self.core.versions.until_readable(*view, *version)).await;
                readable.map_err(|e| self.veiled(txn, [ObjectId::View(view.0)], e))?;
            }
        }
        Ok(())
    }

    fn scope(&self, txn: Option<&Txn>) -> Scope {
        let catalog = txn.or(self.txn.as_ref()).map_or_else(|| self.core.judged.catalog(), |t| t.catalog.clone());
        let made = txn.or(self.txn.as_ref()).map(Txn::made).unwrap_or_default();
        let who = self.who_at_all(txn);
        Scope {
            made: Arc::new(made),
            search_path: self.path(&catalog, &who),
            catalog,
            time_zone: self.variables.time_zone(),
            system_columns: false,
            own: self.own.clone(),
            about: Arc::new(About {
                user: who.rights.name(who.role),
                session_user: who.rights.name(who.session),
                settings: self.variables.shared(),
                planning: self.variables.planning(),
                cursors: self.cursors.about(self.txn.is_some() || txn.is_some()),
                sequences: Some(self.counted.clone()),
                calls: Some(self.calls.clone()),
            }),
            who: Arc::new(who),
            params: Arc::default(),
        }
    }

    /// The producer's place that INSERT .. WITH SEQUENCE names.
    fn producer(&self, statement: &Statement) -> Result<Option<ProducerSeq>> {
        let Statement::Insert(insert) = statement else { return Ok(None) };
        Ok(self.producer_of(insert)?.map(|p| ProducerSeq { id: self.producer_name(p.id), ..p }))
    }

    /// The same under the name that the session gave it.
    fn producer_of(&self, insert: &regauge_plan::parse::Insert) -> Result<Option<ProducerSeq>> {
        let Some(sequence) = insert.sequence else { return Ok(None) };
        let id = self.variables.get("regauge.producer").filter(|p| !p.is_empty());
        let Some(id) = id else {
            let error = Error::invalid(code::INVALID_PARAMETER, "WITH SEQUENCE needs to know its producer");
            return Err(error.hint("SET regauge.producer = '...'"));
        };
        // `id#3` is the third incarnation of a producer, `id` its first.
        let (id, incarnation) = id.rsplit_once('#').and_then(|(id, n)| Some((id.to_owned(), n.parse().ok()?))).unwrap_or((id, 0));
        Ok(Some(ProducerSeq { id, incarnation, sequence }))
    }

    /// Binds a statement to its epoch; `settled` reads what is durable, otherwise tables are read where the judge has them.
    async fn bind(&mut self, txn: &mut Txn, uses: &BTreeSet<ObjectId>, settled: bool) -> Result<Reading> {
        let timeout = self.variables.causal_timeout();
        if !uses.is_empty() {
            self.calls.read();
        }
        let reading = self.core.bind(txn, uses, settled, timeout).await;
        let reading = reading.map_err(|e| self.veiled(txn, uses.iter().copied(), e))?;
        if txn.mode == Mode::Autocommit && settled {
            self.seen.lsn = self.seen.lsn.max(reading.at);
        }
        Ok(reading)
    }

    /// Binds a planned query: at the newest epoch, or at the one that it names. A change that is made of what an old epoch had is judged, like
    /// any other, by what is there now.
    async fn bind_kept(&mut self, txn: &mut Txn, kept: &select::Kept, settled: bool) -> Result<Reading> {
        let Some(at) = kept.as_of else { return self.bind(txn, &kept.uses, settled).await };
        if !settled {
            self.bind(txn, &BTreeSet::new(), settled).await?;
        }
        self.calls.read();
        let timeout = self.variables.causal_timeout();
        let reading = self.core.bind_past(&txn.catalog, &kept.uses, at, timeout).await;
        let reading = reading.map_err(|e| self.veiled(txn, kept.uses.iter().copied(), e))?;
        if txn.mode == Mode::Autocommit && settled {
            self.seen.lsn = self.seen.lsn.max(at);
        }
        Ok(reading)
    }

    fn veiled(&self, txn: &Txn, uses: impl IntoIterator<Item = ObjectId>, error: Error) -> Error {
        if error.sqlstate != code::VIEW_ERRORED {
            return error;
        }
        self.core.veiled(&txn.catalog, &self.who_at_all(Some(txn)), uses, error)
    }

    fn target(&self, txn: &Txn, name: &RelationName) -> Result<Arc<Relation>> {
        self.scope(Some(txn)).relation(name.schema.as_deref(), &name.name).cloned()
    }

    /// The name that something new gets: in the first schema of the search path that is there, unless it names one.
    fn new_name(&self, txn: &Txn, name: &RelationName) -> Result<Name> {
        let path = self.path(&txn.catalog, &self.who_at_all(Some(txn)));
        let schema = match &name.schema {
            Some(schema) => schema.clone(),
            None => path.iter().find(|s| txn.catalog.has_schema(s)).cloned().ok_or_else(|| {
                Error::invalid(code::INVALID_SCHEMA, "no schema has been selected to create in").hint("SET search_path = public")
            })?,
        };
        Ok(Name { schema, name: name.name.clone() })
    }
}

/// PostgreSQL's word for the end of a transaction that has not begun.
fn outside() -> Notice {
    Notice::warning("25P01", "there is no transaction in progress")
}

/// The name of a statement that changes something, as errors have it.
fn writes(statement: &Statement) -> Option<&'static str> {
    Some(match statement {
        Statement::Insert(_) => "INSERT",
        Statement::Update(_) => "UPDATE",
        Statement::Delete(_) => "DELETE",
        Statement::Merge(_) => "MERGE",
        Statement::With(with) => return with.parts.iter().map(|p| &p.work).chain([&with.body]).find_map(writes),
        Statement::Copy(_) => "COPY FROM",
        Statement::CreateTable(_) | Statement::CreateView(_) => "CREATE",
        Statement::Ddl(ddl) if matches!(ddl.as_ref(), Ddl::Sink(SinkDdl::Show | SinkDdl::ShowCreate { .. })) => return None,
        Statement::Ddl(_) => "DDL",
        Statement::Rights(rights) => rights::tag(rights),
        Statement::Drop { .. } => "DROP",
        _ => return None,
    })
}
