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
    /// The commit up to which it has read; of one that has read nothing, any.
    pub snapshot: Lsn,
    /// Whether it has read rows.
    pub has_read: bool,
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
    /// [`Judged::generation`] from before it took the catalog and the snapshot.
    pub generation: u64,
    /// A sequence whose next stretch it reserves, and [`Sequence::n_reserved`](crate::catalog::Sequence::n_reserved) that it counted from.
    pub counted: Option<(u32, u64)>,
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
    /// What it read was taken back: the disk had no room for it.
    #[error("a commit that was read came to nothing lsn={lsn}")]
    TakenBack {
        /// The first of those that came to nothing.
        lsn: Lsn,
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
    taken_back: RwLock<TakenBack>,
}

/// Commits that came to nothing after they were judged. Their lsns are given again, so an lsn alone does not tell what was read.
#[derive(Debug, Default)]
struct TakenBack {
    /// How often.
    generation: u64,
    /// Generation and first lsn, both ascending: of two the later one with the smaller lsn says all that the other does.
    from: Vec<(u64, Lsn)>,
}

impl TakenBack {
    fn push(&mut self, from: Lsn) {
        self.generation += 1;
        while self.from.last().is_some_and(|(_, lsn)| *lsn >= from) {
            self.from.pop();
        }
        self.from.push((self.generation, from));
    }

    /// The first commit that was taken back since a generation.
    fn first_since(&self, generation: u64) -> Option<Lsn> {
        let at = self.from.partition_point(|(then, _)| *then <= generation);
        self.from.get(at).map(|(_, lsn)| *lsn)
    }
}

impl Judged {
    /// What a restart has folded.
    #[must_use]
    pub fn new(catalog: Catalog, heads: HashMap<TopicId, SharedHead>, times: Times, last: Lsn) -> Judged {
        let catalogs = RwLock::new(vec![(catalog.changed(), Arc::new(catalog))]);
        let lateness = Mutex::new(Lateness::new(times));
        Judged { catalogs, heads: RwLock::new(heads), lateness, last: AtomicU64::new(last.0), taken_back: RwLock::default() }
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

    /// Moves when commits come to nothing. Who reads what is not durable yet takes it first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.taken_back.read().generation
    }

    /// Whether what somebody read up to `read` since `generation` came to nothing: the first commit of that.
    #[must_use]
    pub fn taken_back(&self, generation: u64, read: Lsn) -> Option<Lsn> {
        self.taken_back.read().first_since(generation).filter(|from| *from <= read)
    }

    fn check(&self, proposal: &Proposal) -> Result<(), Refused> {
        let catalog = self.catalog();
        let read = if proposal.has_read { proposal.snapshot.max(proposal.catalog) } else { proposal.catalog };
        if let Some(lsn) = self.taken_back(proposal.generation, read) {
            return Err(Refused::TakenBack { lsn });
        }
        if let Some((id, n)) = proposal.counted
            && catalog.sequence(id).is_none_or(|sequence| sequence.n_reserved != n)
        {
            return Err(Refused::CatalogMoved { lsn: catalog.changed() });
        }
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
        let gone: Vec<Arc<Catalog>> = catalogs.drain(..keep).map(|(_, catalog)| catalog).collect();
        let kept: Vec<Arc<Catalog>> = catalogs.iter().map(|(_, c)| c.clone()).collect();
        let current = kept.last().cloned().unwrap_or_default();
        drop(catalogs);
        self.lateness.lock().settle(durable, &current);
        self.drop_heads(&gone, &kept);
        for head in self.heads() {
            head.write().compact(since);
        }
    }

    /// Heads of tables that only catalogs have which are gone. One that is judged meanwhile is in none of those, whatever is known of it here.
    fn drop_heads(&self, gone: &[Arc<Catalog>], kept: &[Arc<Catalog>]) {
        if gone.is_empty() {
            return;
        }
        self.heads.write().retain(|topic, _| {
            let has = |catalog: &Arc<Catalog>| catalog.get(ObjectId::Topic(topic.0)).is_some();
            !gone.iter().any(has) || kept.iter().rev().any(has)
        });
    }

    fn forget_from(&self, from: Lsn) {
        let mut catalogs = self.catalogs.write();
        let mut gone = vec![];
        while catalogs.len() > 1 && catalogs.last().is_some_and(|(lsn, _)| *lsn >= from) {
            gone.extend(catalogs.pop().map(|(_, catalog)| catalog));
        }
        let kept: Vec<Arc<Catalog>> = catalogs.iter().map(|(_, c)| c.clone()).collect();
        drop(catalogs);
        self.lateness.lock().forget_from(from);
        self.drop_heads(&gone, &kept);
        for head in self.heads() {
            head.write().revoke(from);
        }
        self.last.store(from.0.saturating_sub(1), Ordering::Release);
        // Last: who takes the generation from here on can read nothing of it any more.
        self.taken_back.write().push(from);
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
        if let Err(why) = late {
            // What was taken in above must not stay: the log does not call back what was refused.
            self.forget_from(lsn);
            return Err(refuse(Refused::Malformed { why }));
        }
        self.last.store(lsn.0, Ordering::Release);
        Ok(())
    }

    fn revoke(&self, from: Lsn) -> bool {
        self.forget_from(from);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_back_is_told_by_generation_and_lsn() {
        let mut back = TakenBack::default();
        assert_eq!(back.first_since(0), None);
        back.push(Lsn(10));
        let then = back.generation;
        assert_eq!((back.first_since(0), back.first_since(then)), (Some(Lsn(10)), None));
        back.push(Lsn(12));
        assert_eq!((back.first_since(0), back.first_since(then)), (Some(Lsn(10)), Some(Lsn(12))));
        for _ in 0..1000 {
            back.push(Lsn(11));
        }
        assert_eq!((back.first_since(0), back.first_since(then), back.from.len()), (Some(Lsn(10)), Some(Lsn(11)), 2));
        assert_eq!(back.first_since(back.generation), None);
    }
    fn with_table(topic: u32) -> Arc<Catalog> {
        let body = format!(
            r#"{{"event":"table_created","topic":{topic},"name":{{"schema":"public","name":"t{topic}"}},"columns":[{{"id":1,"name":"id","type":"integer","not_null":true}}],"key":[0],"options":{{}}}}"#
        );
        let event: Event = serde_json::from_str(&body).expect("an event");
        let mut catalog = Catalog::default();
        catalog.apply_all(Lsn(u64::from(topic)), &[event]).expect("fits");
        Arc::new(catalog)
    }

    #[test]
    fn only_heads_of_tables_that_are_gone_are_dropped() {
        let judged = Judged::new(Catalog::default(), HashMap::new(), Times::default(), Lsn(0));
        let (old, new) = (with_table(1), with_table(2));
        judged.renew_heads(Lsn(1), &old);
        judged.renew_heads(Lsn(2), &new);
        // Table 2 is being judged: its head is there, its catalog is not seen yet.
        judged.drop_heads(&[Arc::default()], std::slice::from_ref(&old));
        assert_eq!((judged.head(TopicId(1)).is_some(), judged.head(TopicId(2)).is_some()), (true, true));
        judged.drop_heads(&[old], &[Arc::default()]);
        assert_eq!((judged.head(TopicId(1)).is_some(), judged.head(TopicId(2)).is_some()), (false, true));
    }

    #[test]
    fn who_has_read_what_came_to_nothing_is_refused() {
        let judged = Judged::new(Catalog::default(), HashMap::new(), Times::default(), Lsn(9));
        let before = judged.generation();
        let read = |generation, at| Proposal { snapshot: Lsn(at), has_read: true, generation, ..Proposal::default() };
        assert!(judged.check(&read(before, 10)).is_ok());
        judged.forget_from(Lsn(10));
        assert!(matches!(judged.check(&read(before, 10)), Err(Refused::TakenBack { lsn: Lsn(10) })));
        assert!(judged.check(&read(before, 9)).is_ok(), "it has read what is there still");
        assert!(judged.check(&read(judged.generation(), 10)).is_ok(), "the lsn was given again");
        assert!(judged.check(&Proposal { snapshot: Lsn(10), generation: before, ..Proposal::default() }).is_ok(), "nothing read");
    }
}
