//! The judge of the commit section: first committer wins, per key.
//!
//! A session brings, with its transaction, a [`Proposal`]: the snapshot it read and what it wants to write. The judge compares it
//! with where each key stands *now* and either refuses, leaving everything as it was, or takes the writes into the heads and the
//! events into the catalog under the commit's lsn. Calls come one at a time in lsn order (the log promises it).
//!
//! Invariant: heads and catalog at lsn n are the fold of the commits up to n. They may be ahead of what is durable; readers ask
//! at durable epochs, and a writer that builds on such a commit becomes durable only after it. Cost: one map look-up per written
//! key. Lock order: catalog, then heads' map, then one head at a time; times alone. It does not know SQL.

use crate::{
    catalog::{Catalog, Event, Kind, ObjectId, still_holds},
    error::Error,
    event_time::{Times, lateness::Lateness},
    table::{
        head::Head,
        layout::Op,
        writes::{Key, TableWrites, duplicate},
    },
};
use parking_lot::{Mutex, RwLock};
use regauge_log::{Judge, Refusal, Transaction};
use regauge_types::{Hlc, Lsn, TopicId};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What a session wants, and on what facts it rests.
#[derive(Debug, Default)]
pub struct Proposal {
    /// The commit up to which it has read.
    pub snapshot: Lsn,
    /// [`Catalog::changed`] of the catalog that it planned with.
    pub catalog: Lsn,
    /// That catalog, if it changes it.
    pub base: Option<Arc<Catalog>>,
    /// Changes of the catalog, encoded in the transaction's append to topic 0.
    pub events: Vec<Event>,
    /// Changes of tables, encoded in the transaction's appends.
    pub tables: Vec<Arc<TableWrites>>,
    /// Streams that the transaction appends to.
    pub streams: Vec<TopicId>,
    /// Tables of which it has read every row: nobody may have written to them since.
    pub frozen: Vec<TopicId>,
}

/// Why the judge refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A later commit has written a key.
    #[error("key was written by a later commit relation={relation} lsn={lsn}")]
    Conflict {
        /// The table.
        topic: TopicId,
        /// Its name.
        relation: String,
        /// The key.
        key: Key,
        /// That commit.
        lsn: Lsn,
        /// The key was to be inserted and now has a row: what is to be said of that.
        duplicate: Option<Box<Error>>,
    },
    /// The catalog changed under a transaction that changes it too.
    #[error("the catalog was changed by a later commit lsn={lsn}")]
    CatalogMoved {
        /// That commit.
        lsn: Lsn,
    },
    /// A relation was dropped (or changed) after the snapshot.
    #[error("relation was changed or dropped topic={topic}")]
    RelationMoved {
        /// Its topic.
        topic: TopicId,
    },
    /// Not a transaction of ours, or events that do not fit.
    #[error("malformed proposal: {why}")]
    Malformed {
        /// Why.
        why: String,
    },
}

/// A head under its lock.
pub type SharedHead = Arc<RwLock<Head>>;

/// Catalog and heads as the judge has left them.
#[derive(Default)]
pub struct Judged {
    /// By commit, ascending; the last one holds. Earlier ones are kept until they can no longer be called or asked for.
    catalogs: RwLock<Vec<(Lsn, Arc<Catalog>)>>,
    heads: RwLock<HashMap<TopicId, SharedHead>>,
    lateness: Mutex<Lateness>,
    last: AtomicU64,
}

impl Judged {
    /// What a restart has folded.
    #[must_use]
    pub fn new(catalog: Catalog, heads: HashMap<TopicId, SharedHead>, times: Times, last: Lsn) -> Judged {
        let catalogs = RwLock::new(vec![(catalog.changed(), Arc::new(catalog))]);
        let lateness = Mutex::new(Lateness::new(times));
        Judged { catalogs, heads: RwLock::new(heads), lateness, last: AtomicU64::new(last.0) }
    }

    /// How far event time has come, as of the last commit that was judged.
    #[must_use]
    pub fn times(&self) -> Times {
        self.lateness.lock().times().clone()
    }

    /// The catalog now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalogs.read().last().map(|(_, c)| c.clone()).unwrap_or_default()
    }

    /// The catalog as it was at a commit that can still be read.
    #[must_use]
    pub fn catalog_at(&self, at: Lsn) -> Arc<Catalog> {
        let catalogs = self.catalogs.read();
        let then = catalogs.iter().rfind(|(lsn, _)| *lsn <= at).or_else(|| catalogs.first());
        then.map(|(_, c)| c.clone()).unwrap_or_default()
    }

    /// The first commit behind which the catalog is known to have something, of those that can still be read.
    #[must_use]
    pub fn first_with(&self, has: impl Fn(&Catalog) -> bool) -> Option<Lsn> {
        self.catalogs.read().iter().find(|(_, catalog)| has(catalog)).map(|(lsn, _)| *lsn)
    }

    /// The commit from which on the catalog has had something up to `until`, of those that can still be read; none if it does not have it there.
    #[must_use]
    pub fn since_with(&self, until: Lsn, has: impl Fn(&Catalog) -> bool) -> Option<Lsn> {
        let catalogs = self.catalogs.read();
        let newest_first = catalogs.iter().rev().skip_while(|(lsn, _)| *lsn > until);
        newest_first.take_while(|(_, catalog)| has(catalog)).last().map(|(lsn, _)| *lsn)
    }

    /// A table's head.
    #[must_use]
    pub fn head(&self, topic: TopicId) -> Option<SharedHead> {
        self.heads.read().get(&topic).cloned()
    }

    /// All heads.
    #[must_use]
    pub fn heads(&self) -> Vec<SharedHead> {
        self.heads.read().values().cloned().collect()
    }

    /// The last commit that was judged; it may not be durable yet.
    #[must_use]
    pub fn last(&self) -> Lsn {
        Lsn(self.last.load(Ordering::Acquire))
    }

    fn check(&self, proposal: &Proposal) -> Result<(), Refused> {
        let catalog = self.catalog();
        if catalog.changed() > proposal.catalog {
            let holds = |base: &Arc<Catalog>| {
                let fits = || Catalog::clone(&catalog).apply_all(catalog.changed(), &proposal.events).is_ok();
                still_holds(base, &catalog, &proposal.events) && fits()
            };
            if !proposal.events.is_empty() && !proposal.base.as_ref().is_some_and(holds) {
                return Err(Refused::CatalogMoved { lsn: catalog.changed() });
            }
            let tables = proposal.tables.iter().map(|t| (t.topic(), Some(t.relation())));
            for (topic, relation) in tables.chain(proposal.streams.iter().map(|t| (*t, None))) {
                let now = catalog.get(ObjectId::Topic(topic.0)).ok_or(Refused::RelationMoved { topic })?;
                if relation.is_some_and(|then| now.columns != then.columns || now.checks != then.checks) {
                    return Err(Refused::RelationMoved { topic });
                }
            }
        }
        for topic in &proposal.frozen {
            if self.head(*topic).is_some_and(|head| head.read().touched() > proposal.snapshot) {
                return Err(Refused::RelationMoved { topic: *topic });
            }
        }
        proposal.tables.iter().try_for_each(|writes| self.check_table(writes, proposal.snapshot))
    }

    fn check_table(&self, writes: &TableWrites, snapshot: Lsn) -> Result<(), Refused> {
        // A table that this very transaction creates has no head yet, and nobody to conflict with.
        let Some(head) = self.head(writes.topic()) else { return Ok(()) };
        let head = head.read();
        for change in writes.changes() {
            let Some(op) = change.op() else { continue };
            if let Some((lsn, row)) = head.latest(&change.key).filter(|(lsn, _)| *lsn > snapshot) {
                let taken = row.as_ref().filter(|_| op == Op::Insert);
                let duplicate = taken.map(|row| Box::new(duplicate(writes.relation(), Some(row))));
                let relation = writes.relation().name.to_string();
                return Err(Refused::Conflict { topic: writes.topic(), relation, key: change.key.clone(), lsn, duplicate });
            }
        }
        Ok(())
    }

    fn take_in(&self, lsn: Lsn, proposal: &Proposal) -> Result<(), Refused> {
        if !proposal.events.is_empty() {
            let mut next = Catalog::clone(&self.catalog());
            next.apply_all(lsn, &proposal.events).map_err(|e| Refused::Malformed { why: e.to_string() })?;
            let next = Arc::new(next);
            self.renew_heads(lsn, &next);
            self.catalogs.write().push((lsn, next));
        }
        for writes in &proposal.tables {
            let Some(head) = self.head(writes.topic()) else { continue };
            let mut head = head.write();
            for change in writes.changes().iter().filter(|c| c.op().is_some()) {
                head.apply(lsn, change.key.clone(), change.after.clone());
            }
        }
        Ok(())
    }

    /// New tables get a head. Heads of dropped tables stay for those who still read them, until [`Judged::forget_before`].
    fn renew_heads(&self, lsn: Lsn, catalog: &Catalog) {
        let mut heads = self.heads.write();
        for relation in catalog.relations().filter(|r| matches!(r.kind, Kind::Table { .. })) {
            if let Some(topic) = relation.topic() {
                let schema = relation.schema();
                let head = heads.entry(topic).or_insert_with(|| Arc::new(RwLock::new(Head::new(schema.clone()))));
                if head.read().schema() != &schema {
                    head.write().reshape(lsn, schema);
                }
            }
        }
    }

    /// Nobody reads before `since` any more, and everything up to `durable` cannot be called back.
    pub fn forget_before(&self, since: Lsn, durable: Lsn) {
        let mut catalogs = self.catalogs.write();
        let keep = catalogs.iter().rposition(|(lsn, _)| *lsn <= durable.min(since)).unwrap_or(0);
        catalogs.drain(..keep);
        let all: Vec<Arc<Catalog>> = catalogs.iter().map(|(_, c)| c.clone()).collect();
        let current = all.last().cloned().unwrap_or_default();
        drop(catalogs);
        self.lateness.lock().settle(durable, &current);
        self.heads.write().retain(|topic, _| {
            let id = ObjectId::Topic(topic.0);
            all.first().is_none_or(|first| first.changed() > since) || all.iter().rev().any(|catalog| catalog.get(id).is_some())
        });
        for head in self.heads() {
            head.write().compact(since);
        }
    }

    fn forget_from(&self, from: Lsn) {
        let mut catalogs = self.catalogs.write();
        while catalogs.len() > 1 && catalogs.last().is_some_and(|(lsn, _)| *lsn >= from) {
            catalogs.pop();
        }
        drop(catalogs);
        self.lateness.lock().forget_from(from);
        for head in self.heads() {
            head.write().revoke(from);
        }
        self.last.store(from.0.saturating_sub(1), Ordering::Release);
    }
}

impl Judge for Judged {
    fn judge(&self, lsn: Lsn, _hlc: Hlc, txn: &mut Transaction) -> Result<(), Refusal> {
        if lsn <= self.last() {
            // The commit that had this lsn came to nothing after it was judged.
            self.forget_from(lsn);
        }
        let refuse = |refused: Refused| Refusal(Box::new(refused));
        if let Some(context) = &txn.context {
            let proposal = context
                .downcast_ref::<Proposal>()
                .ok_or_else(|| refuse(Refused::Malformed { why: "unknown context".to_owned() }))?;
            self.check(proposal).map_err(refuse)?;
            self.take_in(lsn, proposal).map_err(refuse)?;
        }
        let catalog = self.catalog();
        let late = self.lateness.lock().judge(lsn, &catalog, &mut txn.appends);
        late.map_err(|why| refuse(Refused::Malformed { why }))?;
        self.last.store(lsn.0, Ordering::Release);
        Ok(())
    }

    fn revoke(&self, from: Lsn) -> bool {
        self.forget_from(from);
        true
    }
}
