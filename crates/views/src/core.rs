//! What all sessions of an instance share.

use crate::{
    catalog::{Catalog, Event, Kind, ObjectId, Who, dead},
    config::Config,
    error::{Error, Result, sqlstate as code},
    gate,
    judge::{Judged, Proposal, Refused},
    pressure::{self, Pressure},
    read::{Pin, Pins, Planner, culprit::Culprits},
    secrets::{SecretValue, Secrets},
    session::txn::Txn,
    token::{Mint, Seen},
    version::Versions,
};
use bytes::Bytes;
use regauge_log::{Append, Committed, Log, LogError, ProducerSeq, Skip, Transaction};
use regauge_types::{CATALOG_TOPIC, ErrorKind, Lsn, TopicId, VersionNo, ViewId};
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

/// What all sessions of an instance share.
pub struct Core {
    /// What it was opened with.
    pub config: Config,
    /// The log.
    pub log: Log,
    /// Catalog and heads.
    pub judged: Arc<Judged>,
    /// Commits that are being read.
    pub pins: Pins,
    /// Plans queries.
    pub planner: Planner,
    /// Plans that sessions share.
    pub(crate) plans: Arc<crate::session::SharedPlans>,
    /// Identities of what transactions make.
    pub ids: Arc<crate::catalog::Ids>,
    /// Numbers of sequences.
    pub sequences: Arc<crate::sequences::Sequences>,
    /// Settings that the program tells of itself: its port, for one.
    pub facts: parking_lot::RwLock<std::collections::BTreeMap<String, String>>,
    /// Advisory locks.
    pub advisory: Arc<crate::advisory::Locks>,
    /// Who listens to what.
    pub channels: crate::notify::Channels,
    /// Tokens.
    pub mint: Mint,
    /// Versions and their epochs.
    pub versions: Arc<Versions>,
    /// Connectors, and how sinks fare.
    pub sinks: Arc<crate::sinks::Sinks>,
    /// Records that errors are about.
    pub culprits: Arc<Culprits>,
    /// Functions of the program, found by calls while they are here.
    pub functions: parking_lot::Mutex<Vec<Arc<regauge_plan::host::HostFunction>>>,
    /// Values of secrets.
    pub secrets: Arc<Secrets>,
    /// How many sessions are open.
    pub sessions: AtomicUsize,
    /// The folder of checkpoints, if they are on.
    pub checkpoints: Option<regauge_state::checkpoint::Store>,
}

/// How long it is looked for whether what was read is durable: so often ..
const SETTLE_SLICES: usize = 300;
/// .. so long.
const SETTLE_SLICE: Duration = Duration::from_millis(200);

/// A commit that did not happen.
#[derive(Debug)]
pub enum NotCommitted {
    /// Another commit was first; running the statement again on what is there at `lsn` may succeed.
    Conflict {
        /// That commit.
        lsn: Lsn,
        /// What to say when it is not run again.
        error: Error,
    },
    /// Anything else.
    Failed(Error),
}

impl From<NotCommitted> for Error {
    fn from(not: NotCommitted) -> Error {
        match not {
            NotCommitted::Conflict { error, .. } | NotCommitted::Failed(error) => error,
        }
    }
}

impl Core {
    /// What a backup is taken of.
    pub fn backup_parts(&self) -> crate::backup::Parts {
        let (env, log, checkpoints) = (self.config.env.clone(), self.log.clone(), self.checkpoints.clone());
        crate::backup::Parts { env, log, checkpoints, stop: Arc::default() }
    }

    /// Commits what a transaction has written; `None` when there was nothing to write.
    pub async fn commit(&self, txn: &Txn, seen: Seen, producer: Option<ProducerSeq>) -> Result<Option<Committed>, NotCommitted> {
        let Some(transaction) = self.transaction(txn, seen, producer).map_err(NotCommitted::Failed)? else {
            self.settle(txn).await?;
            return Ok(None);
        };
        self.hold(txn).await.map_err(NotCommitted::Failed)?;
        let (log, secrets, values) = (self.log.clone(), self.secrets.clone(), txn.values());
        let held = txn.advisory.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            let outcome = written(&log, &secrets, &values, transaction);
            // Not before: who gets one of its locks, or of its session's, sees what it has committed, even if nobody waits for this any more.
            drop(held);
            outcome
        });
        let outcome = outcome.await;
        let outcome = outcome.unwrap_or_else(|_| Err(Error::internal("commit panicked")));
        self.settled(txn, outcome).map(Some)
    }

    /// As [`Core::commit`], of a transaction that has something to write, on the thread that calls.
    pub fn commit_here(&self, txn: &Txn, seen: Seen) -> Result<Committed, NotCommitted> {
        let transaction = self.transaction(txn, seen, None).map_err(NotCommitted::Failed)?.unwrap_or_default();
        self.settled(txn, written(&self.log, &self.secrets, &txn.values(), transaction))
    }

    /// What there is to do about secrets once it is known what came of a commit.
    fn settled(&self, txn: &Txn, outcome: Result<Result<Committed, LogError>>) -> Result<Committed, NotCommitted> {
        match outcome {
            Ok(Ok(committed)) => {
                self.forget_secrets(txn);
                Ok(committed)
            }
            Ok(Err(error)) => {
                let not = refused(error);
                if matches!(not, NotCommitted::Conflict { .. }) {
                    txn.values().iter().for_each(|(file, _)| self.forget_secret(file));
                }
                Err(not)
            }
            Err(error) => Err(NotCommitted::Failed(error)),
        }
    }

    /// The value of a secret for a role that may use it, also for who has no session: a sink runs by its owner's rights.
    pub fn secret(&self, catalog: &Catalog, who: &Who, name: &crate::catalog::Name) -> Result<SecretValue> {
        let file = catalog.secret(name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, code::UNDEFINED_OBJECT, format!("secret \"{name}\" does not exist"))
        })?;
        who.secret(name)?;
        self.secrets.read(file)
    }

    /// Removes the values that a commit has put others in the place of, or dropped.
    fn forget_secrets(&self, txn: &Txn) {
        for event in &txn.events {
            if let Event::SecretSet { name, .. } | Event::SecretDropped { name } = event
                && let Some(old) = txn.base.secret(name)
            {
                self.forget_secret(old);
            }
        }
    }

    /// Removes a value that nothing names. One that cannot be removed now goes when the folder is opened.
    fn forget_secret(&self, file: &str) {
        if let Err(error) = self.secrets.remove(file) {
            tracing::warn!(%error, "a value that no secret has any more is still there");
        }
    }

    /// Where views hold nearly all the memory that they may, what makes more of it waits, or is refused.
    async fn hold(&self, txn: &Txn) -> Result<()> {
        let Some((held, budget)) =
            self.versions.memory().filter(|_| self.config.limits.refuses_beyond_memory && txn.makes_more())
        else {
            return Ok(());
        };
        match pressure::decide(held, budget) {
            Pressure::None => Ok(()),
            Pressure::Wait(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Pressure::Refuse => Err(pressure::refused(held, budget)),
        }
    }

    fn transaction(&self, txn: &Txn, seen: Seen, producer: Option<ProducerSeq>) -> Result<Option<Transaction>> {
        if txn.is_empty() {
            return Ok(None);
        }
        match gate::decide(gate::Arrival { cause: seen.lsn }, self.judged.last()) {
            gate::Admission::Admit => {}
            gate::Admission::RefuseUnknownCause { last } => {
                let message = format!("the token names a commit that does not exist here cause={} last={last}", seen.lsn);
                return Err(Error::invalid(code::INVALID_PARAMETER, message));
            }
        }
        let mut appends = Vec::new();
        if !txn.events.is_empty() {
            let rows = crate::catalog::encode(&txn.events).map_err(Error::internal)?;
            appends.push(Append { topic: CATALOG_TOPIC, partition: None, rows });
        }
        for writes in txn.tables.values() {
            if let Some(rows) = writes.to_topic_rows()? {
                appends.push(Append { topic: writes.topic(), partition: None, rows });
            }
        }
        balanced(txn)?;
        appends.extend(txn.appends.iter().cloned());
        let proposal = Proposal {
            snapshot: txn.snapshot.as_ref().map_or(self.judged.last(), Pin::at),
            catalog: txn.base.changed(),
            events: txn.events.clone(),
            tables: txn.tables.values().cloned().collect(),
            streams: txn.appends.iter().map(|a| a.topic).collect(),
            base: Some(txn.base.clone()),
            frozen: txn.frozen.iter().copied().collect(),
            generation: txn.generation,
            has_read: txn.snapshot.is_some(),
            counted: None,
        };
        Ok(Some(Transaction {
            define: txn.defines.clone(),
            appends,
            skips: if producer.is_some() { skips(txn) } else { vec![] },
            producer,
            cause: Mint::cause(seen).map(|bytes| Bytes::copy_from_slice(&bytes)),
            clock_floor: seen.hlc,
            context: Some(Box::new(proposal)),
        }))
    }

    /// A transaction that wrote nothing, or failed, may have read what is not durable yet: it answers when that is. A conflict if it never will be.
    pub async fn settle(&self, txn: &Txn) -> Result<(), NotCommitted> {
        let read = txn.snapshot.as_ref().map_or(Lsn::ZERO, Pin::at).max(txn.base.changed());
        for _ in 0..SETTLE_SLICES {
            if let Some(lsn) = self.judged.taken_back(txn.generation, read) {
                return Err(taken_back(lsn));
            }
            // In slices: what is taken back wakes nobody who waits for a later commit.
            if self.wait_durable(read, SETTLE_SLICE).await.is_ok() {
                // Its lsn may have been given again since.
                return self.judged.taken_back(txn.generation, read).map_or(Ok(()), |lsn| Err(taken_back(lsn)));
            }
        }
        Err(NotCommitted::Failed(causal_timeout(read)))
    }

    /// The catalog of the last durable commit: no crash, and no full disk, takes anything of it back.
    #[must_use]
    pub fn settled_catalog(&self) -> Arc<Catalog> {
        self.judged.catalog_at(self.log.durable())
    }

    /// Waits until a commit is durable.
    pub async fn wait_durable(&self, lsn: Lsn, timeout: Duration) -> Result<Lsn> {
        if self.log.durable() >= lsn {
            return Ok(self.log.durable());
        }
        let log = self.log.clone();
        let before = Lsn(lsn.0.saturating_sub(1));
        let reached = tokio::task::spawn_blocking(move || log.wait_beyond(before, timeout)).await;
        match reached {
            Ok(reached) if reached >= lsn => Ok(reached),
            _ => Err(causal_timeout(lsn)),
        }
    }

    /// An error as a role may hear it: what it says of rows is for who may read all that the relations are made of.
    pub fn veiled(&self, catalog: &Catalog, who: &Who, uses: impl IntoIterator<Item = ObjectId>, error: Error) -> Error {
        let tells = error.sqlstate != code::VIEW_ERRORED || uses.into_iter().all(|id| who.tells(catalog, id));
        if tells {
            return error;
        }
        Error::new(error.kind, code::VIEW_ERRORED, "a view that is read has an error: a row of it failed")
            .hint("who may read all that the view is made of is told which record it is")
    }

    /// Pins a commit that is at least `at`, moved up if that one was forgotten meanwhile.
    pub fn pin(&self, choose: impl Fn() -> Lsn) -> Pin {
        loop {
            if let Some(pin) = self.pins.pin(choose()) {
                return pin;
            }
        }
    }

    /// Versions among what a statement uses.
    #[must_use]
    pub fn versions_of(catalog: &Catalog, uses: &BTreeSet<ObjectId>) -> Vec<(ViewId, VersionNo)> {
        let routed = |id: &ObjectId| match &catalog.get(*id)?.kind {
            Kind::Materialized { routed, .. } => Some((catalog.get(*id)?.view()?, *routed)),
            _ => None,
        };
        uses.iter().filter_map(routed).collect()
    }
}

/// A wait for what a token has seen took too long.
#[must_use]
pub fn causal_timeout(lsn: Lsn) -> Error {
    let message = format!("the read would not show what the session has seen in time lsn={lsn}");
    Error::new(ErrorKind::Unavailable, code::CAUSAL_TIMEOUT, message).hint("try again, or SET regauge.causal_timeout = '5min'")
}

/// What a transaction's producer sent, if it turns out that it had sent it before.
pub fn skips(txn: &Txn) -> Vec<Skip> {
    txn.consumed.iter().map(|(topic, n)| Skip { topic: *topic, n_rows: *n }).filter(|skip| skip.n_rows > 0).collect()
}

/// The ledger's balance (I12): of each stream, what the doors counted is what is stored of it and beside it.
fn balanced(txn: &Txn) -> Result<()> {
    let mut sums: std::collections::BTreeMap<TopicId, u64> = std::collections::BTreeMap::new();
    for append in &txn.appends {
        *sums.entry(append.topic).or_default() += append.rows.num_rows() as u64;
    }
    let rows = |topic: TopicId| sums.get(&topic).copied().unwrap_or_default();
    for relation in sums.keys().filter_map(|topic| txn.catalog.get(ObjectId::Topic(topic.0))) {
        let of = dead::of(relation).unwrap_or(relation.id);
        let Some(stream) = txn.catalog.get(of) else { continue };
        let Some(topic) = stream.topic() else { continue };
        let beside = dead::beside(&txn.catalog, stream).and_then(|dead| dead.topic());
        let (stored, dead) = (rows(topic), beside.map_or(0, rows));
        let consumed = txn.consumed.get(&topic).copied().unwrap_or(0);
        if consumed != stored + dead {
            let message = format!(
                "the ledger of \"{}\" does not balance consumed={consumed} stored={stored} dead_lettered={dead}",
                stream.name
            );
            return Err(Error::internal(message));
        }
    }
    Ok(())
}

/// Values of secrets first, then the commit that names them.
fn written(
    log: &Log,
    secrets: &Secrets,
    values: &[(String, SecretValue)],
    transaction: Transaction,
) -> Result<Result<Committed, LogError>> {
    for (file, value) in values {
        secrets.keep(file, value)?;
    }
    Ok(log.commit(transaction))
}

/// What was read came to nothing, as the disk had no room for it: run again on what there is, which ends before it.
fn taken_back(lsn: Lsn) -> NotCommitted {
    let error = Error::conflict("could not serialize access due to a commit that came to nothing").detail(format!("lsn={lsn}"));
    NotCommitted::Conflict { lsn: Lsn(lsn.0.saturating_sub(1)), error }
}

fn refused(error: LogError) -> NotCommitted {
    if let LogError::DroppedTopic { topic } | LogError::UnknownTopic { topic } | LogError::WrongSchema { topic, .. } = &error {
        let error = Error::conflict(format!("a relation was changed or dropped meanwhile topic={topic}"));
        return NotCommitted::Conflict { lsn: Lsn::ZERO, error };
    }
    if let LogError::BadDefinition { .. } = &error {
        // Ids and names come from the catalog the transaction began with: they are taken when that has moved.
        let error =
            Error::conflict("could not serialize access due to a concurrent change of the catalog").detail(error.to_string());
        return NotCommitted::Conflict { lsn: Lsn::ZERO, error };
    }
    let LogError::Refused(refusal) = &error else {
        return NotCommitted::Failed(Error::from_log(error));
    };
    match refusal.0.downcast_ref::<Refused>() {
        Some(Refused::Conflict { relation, lsn, duplicate, .. }) => {
            let conflict = duplicate.as_deref().cloned().unwrap_or_else(|| {
                Error::conflict("could not serialize access due to concurrent update")
                    .detail(format!("relation={relation} lsn={lsn}"))
            });
            NotCommitted::Conflict { lsn: *lsn, error: conflict }
        }
        Some(Refused::CatalogMoved { lsn }) => {
            let error = Error::conflict("could not serialize access due to a concurrent change of the catalog");
            NotCommitted::Conflict { lsn: *lsn, error }
        }
        Some(Refused::TakenBack { lsn }) => taken_back(*lsn),
        Some(Refused::RelationMoved { topic }) => {
            let error = Error::conflict(format!("a relation was changed or dropped meanwhile topic={topic}"));
            NotCommitted::Conflict { lsn: Lsn::ZERO, error }
        }
        Some(other @ Refused::Malformed { .. }) => NotCommitted::Failed(Error::internal(other.to_string())),
        None => NotCommitted::Failed(Error::internal(error.to_string())),
    }
}

impl Error {
    /// What the log says.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "goes to map_err")]
    pub fn from_log(error: LogError) -> Error {
        Error::from_log_ref(&error)
    }

    /// What the log says.
    #[must_use]
    pub fn from_log_ref(error: &LogError) -> Error {
        let sqlstate = match error {
            LogError::DiskFull { .. } => code::DISK_FULL,
            LogError::InUse { .. } => code::IN_USE,
            LogError::Corrupt { .. } => "RG006",
            LogError::Fenced { .. } => code::FENCED,
            LogError::TooLarge { .. } | LogError::ProducersFull { .. } => code::LIMIT_EXCEEDED,
            LogError::SequenceGap { .. } | LogError::BelowWindow { .. } => code::CANT_CHANGE_NOW,
            LogError::UnknownTopic { .. } | LogError::DroppedTopic { .. } => code::UNDEFINED_TABLE,
            LogError::ClockAhead(_) | LogError::BadTransaction { .. } => code::INVALID_PARAMETER,
            LogError::NewerFormat { .. } | LogError::UnsupportedType { .. } => code::FEATURE_NOT_SUPPORTED,
            LogError::Closed => code::SHUTDOWN,
            LogError::Internal { .. } => code::INTERNAL,
            _ => code::IO,
        };
        let translated = Error::new(error.kind(), sqlstate, error.to_string());
        match error.hint() {
            Some(hint) => translated.hint(hint),
            None => translated,
        }
    }
}

impl From<regauge_plan::PlanError> for Error {
    fn from(error: regauge_plan::PlanError) -> Error {
        let mut translated = Error::new(error.kind(), error.sqlstate(), error.to_string());
        translated.position = error.position().and_then(|at| u32::try_from(at).ok());
        match error.hint() {
            Some(hint) => translated.hint(hint),
            None => translated,
        }
    }
}
