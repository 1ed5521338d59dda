//! `SELECT .. AS OF EPOCH n`: a statement over what everything was when epoch n closed.
//!
//! ```text
//!              oldest                       n                     shown        durable
//!   ── gone ────┤────────── kept ───────────┼───────────────────────┤── waits ────┤── not closed yet ──
//!               last shown − history_commits, less what somebody still reads
//! ```
//! The epoch is pinned before anything is looked at, so a statement that has begun finds all it needs to its end. Names, rights and plain
//! views are those of now; what they lead to must have been there at n, with the columns of now (I3, I4): else the statement is
//! refused and says so. A commit within an epoch is one of tables and streams, and no epoch of views: the two around it are named.
//! After a restart the past begins where the folder was opened. It does not know how traces and heads keep what is pinned.

use super::{Planner, Reading, names::Scope};
use crate::{
    catalog::{Catalog, Kind, ObjectId, Relation},
    core::Core,
    error::{Error, Result, sqlstate as code},
    version::registry::{Key, NotThere},
};
use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast;
use regauge_plan::{FlowPlan, Op, SourceId};
use regauge_types::{ColumnId, ErrorKind, Lsn};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The epoch that a query names. Asked behind [`Planner::uses`], which bounds how deep views nest and judges rights.
///
/// # Errors
/// 0A000 for one that reads what has no past, itself or through plain views: relations that tell of the instance itself.
pub(crate) fn as_of(query: &ast::Query, scope: &Scope, planner: &Planner) -> Result<Option<Lsn>> {
    let Some(at) = regauge_plan::parse::epoch_of(query).map_err(Error::from)? else { return Ok(None) };
    refuse_of_now(query, scope, planner, &mut BTreeSet::new())?;
    Ok(Some(Lsn(at)))
}

/// `seen`: views that were looked into.
fn refuse_of_now(query: &ast::Query, scope: &Scope, planner: &Planner, seen: &mut BTreeSet<ObjectId>) -> Result<()> {
    // The dialect writes out whose schema a bare `pg_class` is of.
    let mut resolved = query.clone();
    planner.system(&mut resolved, scope)?;
    for name in planner.references(&resolved)? {
        let own = name.schema().is_none() && scope.own.contains_key(name.table());
        let of_now = name.schema().is_some_and(|schema| planner.system_rows(scope, schema, name.table()).is_some());
        if own || of_now {
            let message = format!("\"{name}\" has no past: AS OF EPOCH reads tables, streams and materialized views");
            return Err(Error::unsupported(message));
        }
    }
    for relation in planner.names(query, scope)? {
        if let Some(definition) = scope.definition(&relation)
            && seen.insert(relation.id)
        {
            let inner = scope.of_definition(&relation, definition);
            refuse_of_now(&crate::syntax::query(&definition.sql)?, &inner, planner, seen)?;
        }
    }
    Ok(())
}

impl Core {
    /// Binds a statement that uses these relations to an epoch; waits for one that is not shown yet.
    pub(crate) async fn bind_past(
        &self,
        catalog: &Catalog,
        uses: &BTreeSet<ObjectId>,
        at: Lsn,
        timeout: Duration,
    ) -> Result<Reading> {
        let last = self.judged.last();
        if at > last {
            return Err(self.not_closed(at));
        }
        let keys = Core::versions_of(catalog, uses);
        let built_on = built_on(catalog, &keys)?;
        let pin = self.pins.pin(at).ok_or_else(|| self.forgotten(at, Lsn::ZERO))?;
        self.wait_durable(at, timeout).await?;
        self.existed(catalog, uses, at)?;
        let versions = match self.versions.past(&keys, &built_on, at, timeout).await {
            _ if keys.is_empty() => std::collections::HashMap::new(),
            Ok(rows) => rows,
            Err(NotThere::Forgotten { oldest }) => return Err(self.forgotten(at, oldest)),
            Err(NotThere::Within { before, next, oldest }) => return Err(self.within(at, (before, next), oldest)),
            Err(NotThere::Failed(error)) => return Err(error),
        };
        let reading =
            Reading { at, judged: self.judged.clone(), log: self.log.clone(), own: BTreeMap::new(), versions, pin: Some(pin) };
        self.refuse_errored(&reading, &keys).await?;
        Ok(reading)
    }

    /// Whether relations were there at an epoch as they are now.
    fn existed(&self, catalog: &Catalog, uses: &BTreeSet<ObjectId>, at: Lsn) -> Result<()> {
        let then = self.judged.catalog_at(at);
        for relation in uses.iter().filter_map(|id| catalog.get(*id)).filter(|r| !matches!(r.kind, Kind::View { .. })) {
            let Some(was) = then.get(relation.id) else {
                let message = format!("relation \"{}\" did not exist at epoch {at}", relation.name);
                let made = self.judged.first_with(|catalog| catalog.get(relation.id).is_some());
                let hint = made.map_or("it is made by the transaction at hand".to_owned(), |made| {
                    format!("it was made by commit {made}: the first epoch that has it is the one that ends there")
                });
                return Err(Error::new(ErrorKind::NotFound, code::UNDEFINED_TABLE, message).hint(hint));
            };
            if !same_rows(was, relation) {
                let has = |catalog: &Catalog| catalog.get(relation.id).is_some_and(|r| same_rows(r, relation));
                let changed = self.judged.since_with(catalog.changed(), has);
                let message = format!("columns of \"{}\" were changed after epoch {at}", relation.name);
                let error = Error::new(ErrorKind::Unsupported, code::FEATURE_NOT_SUPPORTED, message);
                return Err(match changed {
                    Some(changed) => error.hint(format!("it has the columns of now since commit {changed}")),
                    None => error,
                });
            }
        }
        Ok(())
    }

    fn not_closed(&self, at: Lsn) -> Error {
        let message = format!("epoch {at} is not closed yet: the last one is {}", self.versions.visible());
        Error::invalid(code::INVALID_PARAMETER, message).hint("SHOW regauge.epoch tells the last epoch that is shown")
    }

    fn forgotten(&self, at: Lsn, oldest: Lsn) -> Error {
        let oldest = self.versions.oldest(oldest.max(self.pins.since()));
        let message = format!("epoch {at} is no longer kept: the oldest that can be read is {oldest}");
        let kept = self.config.limits.history_commits;
        Error::new(ErrorKind::NotFound, code::SNAPSHOT_TOO_OLD, message).hint(format!(
            "{kept} commits are kept since the server was started, and since a view was live; regauge serve --history-commits keeps more"
        ))
    }

    fn within(&self, at: Lsn, (before, next): (Lsn, Option<Lsn>), oldest: Lsn) -> Error {
        let oldest = self.versions.oldest(oldest.max(self.pins.since()));
        let next = next.map_or_else(String::new, |next| format!(", the next one with {next}"));
        let message = format!("no epoch of views ends with commit {at}: the one before it ends with {before}{next}");
        Error::invalid(code::INVALID_PARAMETER, message).hint(format!("the oldest that can be read is {oldest}"))
    }
}

/// Whether rows of one are rows of the other. What is asked of values that come in (DEFAULT, NOT NULL) says nothing of those that are there.
fn same_rows(was: &Relation, now: &Relation) -> bool {
    fn rows(relation: &Relation) -> impl Iterator<Item = (ColumnId, &str, &DataType)> {
        relation.columns.iter().map(|c| (c.id, c.name.as_str(), &c.ty))
    }
    rows(was).eq(rows(now))
}

/// Versions that these are built on, directly or not.
fn built_on(catalog: &Catalog, keys: &[Key]) -> Result<Vec<Key>> {
    let mut all: BTreeSet<Key> = BTreeSet::new();
    let mut todo = keys.to_vec();
    while let Some((view, no)) = todo.pop() {
        let relation = catalog.get(ObjectId::View(view.0));
        let Some(Kind::Materialized { versions, .. }) = relation.map(|r| &r.kind) else { continue };
        let Some(version) = versions.get(&no) else { continue };
        let plan = FlowPlan::from_bytes(&version.plan).map_err(|e| Error::internal(e.to_string()))?;
        for node in &plan.nodes {
            if let Op::Source { id: SourceId::Version(view, no), .. } = node.op
                && all.insert((view, no))
            {
                todo.push((view, no));
            }
        }
    }
    Ok(all.into_iter().filter(|key| !keys.contains(key)).collect())
}
