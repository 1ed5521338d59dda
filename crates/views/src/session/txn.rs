//! A transaction: the snapshot it reads and what it has written so far.
//!
//! Invariant: all its reads are at one commit, chosen at its first statement that reads; its own writes to tables lie over it,
//! views and streams stay at the snapshot. Nothing of it is anywhere else before it commits.

use crate::{
    advisory::Held,
    catalog::{Catalog, Event, Ids, Relation, Rights, RoleId, Wish, decide, rights::births},
    error::{Error, Result},
    notify::Note,
    read::{Pin, reading::VersionRows},
    secrets::SecretValue,
    session::notify::Listening,
    table::writes::TableWrites,
};
use datafusion::sql::sqlparser::ast::{self};
use regauge_log::{Append, Definition};
use regauge_plan::walk::Visit;
use regauge_types::{ErrorKind, Lsn, TopicId, VersionNo, ViewId};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::ControlFlow,
    sync::Arc,
};

/// How a transaction came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One statement.
    Autocommit,
    /// The statements of one text.
    Implicit,
    /// BEGIN.
    Explicit,
}

/// A transaction.
pub struct Txn {
    /// How it came to be.
    pub mode: Mode,
    /// A statement of it has failed: nothing but ROLLBACK helps.
    pub failed: bool,
    /// It has said that it writes nothing, or that it does, whatever is the default.
    pub read_only: Option<bool>,
    /// What it reads.
    pub snapshot: Option<Pin>,
    /// [`Judged::generation`](crate::judge::Judged::generation) from before it took that and the catalog.
    pub generation: u64,
    /// The catalog that it began with.
    pub base: Arc<Catalog>,
    /// The same with its own changes.
    pub catalog: Arc<Catalog>,
    /// Who owns what it makes.
    pub role: RoleId,
    /// Gives identities.
    ids: Arc<Ids>,
    /// Its own changes.
    pub events: Vec<Event>,
    /// What they mean to the log.
    pub defines: Vec<Definition>,
    /// Written to tables.
    pub tables: BTreeMap<TopicId, Arc<TableWrites>>,
    /// Written to streams.
    pub appends: Vec<Append>,
    /// By topic, records that came in, as their door counted them (I12).
    pub consumed: BTreeMap<TopicId, u64>,
    /// Versions created, and whether somebody wants to wait for them.
    pub created: Vec<(ViewId, VersionNo, bool)>,
    /// Tables and streams whose columns it changed.
    pub altered: BTreeSet<TopicId>,
    /// Tables that nobody else may have written to since the snapshot.
    pub frozen: BTreeSet<TopicId>,
    /// Within a statement of several parts: what had been written before it, which is what its parts read.
    pub before: Option<BTreeMap<TopicId, Arc<TableWrites>>>,
    /// Within a statement of several parts one of which writes: rows that another part locks are judged with it.
    pub locks: bool,
    /// What had been written before a statement whose RETURNING has a query, which reads that.
    pub returns: Option<BTreeMap<TopicId, Arc<TableWrites>>>,
    /// Traces pinned at the snapshot.
    pub versions: HashMap<(ViewId, VersionNo), Arc<dyn VersionRows>>,
    /// The snapshot must not be older than this.
    pub at_least: Lsn,
    /// Values of secrets that it sets, by their files; written only with the commit.
    pub secrets: BTreeMap<String, SecretValue>,
    /// Advisory locks that end with it, and not before a commit that is under way when its client goes.
    pub advisory: Option<Arc<Held>>,
    /// What it says of LISTEN and UNLISTEN, in order.
    pub listening: Vec<Listening>,
    /// What it sends by NOTIFY.
    pub notes: Vec<Note>,
    /// What had been written when each savepoint was set, the oldest first.
    pub savepoints: Vec<Savepoint>,
}

/// What a transaction had written at some moment: ROLLBACK TO makes it so again. Its snapshot and the session's settings are not
/// part of it. Cost: shared with the transaction until that writes to the same table again, which copies its rows once.
#[derive(Clone)]
pub struct Savepoint {
    /// Names may repeat; the latest is meant.
    name: String,
    catalog: Arc<Catalog>,
    events: Vec<Event>,
    defines: Vec<Definition>,
    tables: BTreeMap<TopicId, Arc<TableWrites>>,
    appends: Vec<Append>,
    consumed: BTreeMap<TopicId, u64>,
    created: Vec<(ViewId, VersionNo, bool)>,
    altered: BTreeSet<TopicId>,
    frozen: BTreeSet<TopicId>,
    /// Advisory locks that it held.
    advisory: usize,
    /// What it had said of LISTEN and UNLISTEN, and sent by NOTIFY.
    listening: usize,
    notes: usize,
}

impl Txn {
    /// Nothing read, nothing written.
    #[must_use]
    pub fn new(mode: Mode, generation: u64, catalog: Arc<Catalog>, ids: Arc<Ids>, at_least: Lsn) -> Txn {
        Txn {
            ids,
            role: RoleId::BOOTSTRAP,
            mode,
            failed: false,
            read_only: None,
            snapshot: None,
            generation,
            base: catalog.clone(),
            catalog,
            events: vec![],
            defines: vec![],
            tables: BTreeMap::new(),
            appends: vec![],
            consumed: BTreeMap::new(),
            created: vec![],
            altered: BTreeSet::new(),
            frozen: BTreeSet::new(),
            before: None,
            locks: false,
            returns: None,
            versions: HashMap::new(),
            at_least,
            secrets: BTreeMap::new(),
            advisory: None,
            listening: vec![],
            notes: vec![],
            savepoints: vec![],
        }
    }

    /// Keeps what a query in RETURNING is to read. Costs a copy of what the transaction writes to the table, if there is one.
    pub fn keep_for(&mut self, returning: &[ast::SelectItem]) {
        struct Queries;
        impl ast::Visitor for Queries {
            type Break = ();
            fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
                ControlFlow::Break(())
            }
        }
        let queries = returning.iter().any(|item| item.visit(&mut Queries).is_break());
        self.returns = queries.then(|| self.tables.clone());
    }

    /// SAVEPOINT.
    pub fn mark(&mut self, name: &str) {
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            catalog: self.catalog.clone(),
            events: self.events.clone(),
            defines: self.defines.clone(),
            tables: self.tables.clone(),
            appends: self.appends.clone(),
            consumed: self.consumed.clone(),
            created: self.created.clone(),
            altered: self.altered.clone(),
            frozen: self.frozen.clone(),
            advisory: self.advisory.as_ref().map_or(0, |held| held.n_taken()),
            listening: self.listening.len(),
            notes: self.notes.len(),
        });
    }

    /// RELEASE: the savepoint and those after it are gone, what was written stays.
    pub fn release(&mut self, name: &str) -> Result<()> {
        let at = self.savepoint(name)?;
        self.savepoints.truncate(at);
        Ok(())
    }

    /// ROLLBACK TO: what was written since is gone, and a failure with it; the savepoint stays.
    pub fn roll_back_to(&mut self, name: &str) -> Result<()> {
        let at = self.savepoint(name)?;
        self.savepoints.truncate(at + 1);
        let Some(saved) = self.savepoints.last().cloned() else {
            return Err(Error::internal("savepoint was lost"));
        };
        self.listening.truncate(saved.listening);
        self.notes.truncate(saved.notes);
        let Savepoint {
            name: _, catalog, events, defines, tables, appends, consumed, created, altered, frozen, advisory, ..
        } = saved;
        if let Some(held) = &self.advisory {
            held.truncate(advisory);
        }
        self.catalog = catalog;
        self.events = events;
        self.defines = defines;
        self.tables = tables;
        self.appends = appends;
        self.consumed = consumed;
        self.created = created;
        self.altered = altered;
        self.frozen = frozen;
        self.failed = false;
        Ok(())
    }

    /// A statement failed: from now on it is rolled back, or rolled back to a savepoint. Advisory locks that no savepoint can bring back
    /// are given back at once, as in PostgreSQL: others may wait for them, and ROLLBACK comes when its client comes to it.
    pub fn spoil(&mut self) {
        self.failed = true;
        match (&self.advisory, self.savepoints.last()) {
            (Some(held), Some(last)) => held.truncate(last.advisory),
            _ => self.advisory = None,
        }
    }

    fn savepoint(&self, name: &str) -> Result<usize> {
        let at = self.savepoints.iter().rposition(|s| s.name == name);
        at.ok_or_else(|| Error::new(ErrorKind::NotFound, "3B001", format!("savepoint \"{name}\" does not exist")))
    }

    /// Counts records that came in.
    pub fn consume(&mut self, topic: TopicId, n: usize) {
        let of = self.consumed.entry(topic).or_default();
        *of = of.saturating_add(n as u64);
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.defines.is_empty() && self.appends.is_empty() && self.tables.values().all(|t| t.is_empty())
    }

    /// Whether it has written, or frozen, anything: what it commits has been judged by its snapshot.
    #[must_use]
    pub fn has_written(&self) -> bool {
        !self.is_empty() || !self.tables.is_empty() || !self.frozen.is_empty() || !self.consumed.is_empty()
    }

    /// Values of secrets that a commit would keep, by their files: of what was set, and not set anew or dropped since.
    #[must_use]
    pub fn values(&self) -> Vec<(String, SecretValue)> {
        let named = self.catalog.secrets().filter_map(|(_, file)| self.secrets.get_key_value(file));
        named.map(|(file, value)| (file.clone(), value.clone())).collect()
    }

    /// Whether views may hold more for it: it brings rows, or a view.
    #[must_use]
    pub fn makes_more(&self) -> bool {
        !self.appends.is_empty() || self.tables.values().any(|t| t.brings_rows()) || !self.made().is_empty()
    }

    /// Materialized views that it has created.
    #[must_use]
    pub fn made(&self) -> BTreeSet<ViewId> {
        let of = |e: &Event| if let Event::MaterializedViewCreated { view, .. } = e { Some(*view) } else { None };
        self.events.iter().filter_map(of).map(ViewId).collect()
    }

    /// Whether what it writes to a table is under the columns that the table has now.
    pub fn has_carried(&self, table: &Relation) -> bool {
        table.topic().and_then(|topic| self.tables.get(&topic)).is_some_and(|t| t.relation().columns == table.columns)
    }

    /// What it writes to a table.
    pub fn writes(&mut self, table: &Arc<Relation>) -> Result<&mut TableWrites> {
        let topic = table.topic().ok_or_else(|| Error::internal("table without a topic"))?;
        if self.altered.contains(&topic) && !self.has_carried(table) {
            let message = format!("columns of \"{}\" were changed in this transaction", table.name);
            return Err(Error::invalid(crate::error::sqlstate::IN_USE, message).hint("COMMIT first, then write to it"));
        }
        let writes = self.tables.entry(topic).or_insert_with(|| Arc::new(TableWrites::new(table.clone())));
        Ok(Arc::make_mut(writes))
    }

    /// Changes the catalog.
    pub fn wish(&mut self, wish: Wish) -> Result<Vec<Event>> {
        let mut events = decide(&self.ids.claim(&self.catalog, &wish), wish)?;
        events.extend(births(&self.catalog, self.role, &events));
        self.extend(events.clone())?;
        Ok(events)
    }

    /// Whether rights are those of its catalog: what was planned with it was judged by them.
    #[must_use]
    pub fn rights_are(&self, rights: &Arc<Rights>) -> bool {
        Arc::ptr_eq(&self.catalog.rights, rights)
    }

    /// Takes in events that were decided.
    pub fn extend(&mut self, events: Vec<Event>) -> Result<()> {
        let mut next = Catalog::clone(&self.catalog);
        next.apply_all(self.base.changed(), &events).map_err(|e| Error::internal(e.to_string()))?;
        self.catalog = Arc::new(next);
        self.events.extend(events);
        Ok(())
    }
}
