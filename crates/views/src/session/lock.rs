//! SELECT .. FOR UPDATE and its kin, and LOCK TABLE: nobody waits for a row; who was not first does not commit.
//!
//! ```text
//!   SELECT .. FOR UPDATE ─▶ rows of the query ─▶ each row of a locked table is written again as it is ─▶ judged by key at COMMIT
//!   LOCK TABLE .. IN SHARE MODE ─▶ the table is frozen: a commit of anybody else since the snapshot refuses ours
//!              .. IN EXCLUSIVE MODE, and without a mode ─▶ the same, and whoever else locks it waits until we end
//! ```
//! A row that is locked is part of what the commit is judged by, as if it had been updated: of two transactions that lock it one fails
//! with 40001, so that no update is lost and no decision rests on a row that another one has changed meanwhile. All strengths (UPDATE, NO
//! KEY UPDATE, SHARE, KEY SHARE) do the same; NOWAIT and SKIP LOCKED find nothing to wait for or to skip. Outside a transaction a lock
//! ends with its statement: it does nothing unless the statement writes, as `UPDATE .. WHERE id = (SELECT .. FOR UPDATE)` does. Cost: one record of the table's topic for each locked row, as an UPDATE's.

use super::{
    Session, rows,
    txn::{Mode, Txn},
};
use crate::{
    advisory,
    catalog::{Kind, Relation, rights::Privileges},
    error::{Error, Result},
    read::planner,
    response::{Response, Rows},
    syntax,
    table::writes::TableWrites,
};
use arrow::{
    array::{Array, BooleanArray, RecordBatch},
    compute::filter_record_batch,
};
use datafusion::sql::sqlparser::ast;
use futures::TryStreamExt;
use regauge_plan::parse::{RelationName, TableLock, fold, relation_name};
use regauge_types::ErrorKind;
use std::sync::Arc;

/// A relation in FROM whose rows are locked, and the name that it has there.
struct Locked {
    relation: Arc<Relation>,
    name: String,
}

impl Session {
    /// A query with FOR UPDATE, FOR SHARE ..
    pub(super) async fn select_locked(&mut self, txn: &mut Txn, query: &ast::Query) -> Result<Response> {
        let mut query = query.clone();
        let locks = std::mem::take(&mut query.locks);
        let locked = self.locked(txn, &query, &locks)?;
        if self.reads_only(txn) {
            let message = format!("cannot execute SELECT {} in a read-only transaction", strength(&locks));
            return Err(Error::invalid("25006", message));
        }
        if txn.mode == Mode::Autocommit && !txn.locks {
            return Box::pin(self.select(txn, &query, None)).await;
        }
        // The rows' own columns are read along, behind those that were asked for.
        let ast::SetExpr::Select(select) = query.body.as_mut() else { return Err(not_here()) };
        for (n, of) in locked.iter().enumerate() {
            let column = |c: &crate::catalog::Column| syntax::column_as(&of.name, &c.name, &format!("__locked{n}_{}", c.name));
            select.projection.extend(of.relation.columns.iter().map(column));
        }
        let scope = self.scope(Some(txn));
        let kept = self.planned(txn, query, scope, None, None).await?;
        let reading = self.bind(txn, &kept.uses, true).await?;
        let batches: Vec<RecordBatch> =
            self.core.planner.run(&kept.plan, reading)?.try_collect().await.map_err(Error::from_datafusion)?;
        let all = rows::one(&kept.plan.schema(), &batches)?;
        let mut begin = all.num_columns() - locked.iter().map(|of| of.relation.columns.len()).sum::<usize>();
        let answer = all.project(&(0..begin).collect::<Vec<_>>()).map_err(Error::arrow)?;
        for of in &locked {
            let end = begin + of.relation.columns.len();
            let own = all.project(&(begin..end).collect::<Vec<_>>()).map_err(Error::arrow)?;
            self.lock_rows(txn, &of.relation, &rows::under(&of.relation, &own)?)?;
            begin = end;
        }
        let schema = planner::shown(&answer.schema());
        let answer = RecordBatch::try_new(schema.clone(), answer.columns().to_vec()).map_err(Error::arrow)?;
        Ok(Response::Rows(Rows::ready(schema, vec![answer], "SELECT")))
    }

    /// Writes rows again as they are. Those that an outer join has left empty are none.
    fn lock_rows(&mut self, txn: &mut Txn, relation: &Arc<Relation>, rows: &RecordBatch) -> Result<()> {
        let Kind::Table { key } = &relation.kind else { return Err(not_here()) };
        let there: BooleanArray =
            (0..rows.num_rows()).map(|row| Some(key.iter().all(|at| rows.column(*at).is_valid(row)))).collect();
        let rows = filter_record_batch(rows, &there).map_err(Error::arrow)?;
        for key in self.core.keys_standing(txn, relation, &rows)? {
            let standing = self.core.standing(txn, relation, &key)?;
            if let Some(now) = standing.now {
                // What is written as it was is no change: later parts of the statement may still change it.
                let as_it_was = !self.written_here(txn, relation, &key, &now);
                if as_it_was && let (Some(before), Some(topic)) = (&mut txn.before, relation.topic()) {
                    let writes = before.entry(topic).or_insert_with(|| Arc::new(TableWrites::new(relation.clone())));
                    Arc::make_mut(writes).put(key.clone(), || standing.snapshot.clone(), Some(now.clone()));
                }
                txn.writes(relation)?.put(key, || standing.snapshot, Some(now));
            }
        }
        Ok(())
    }

    /// The relations whose rows are to be locked, each with the right to.
    fn locked(&self, txn: &Txn, query: &ast::Query, locks: &[ast::LockClause]) -> Result<Vec<Locked>> {
        let ast::SetExpr::Select(select) = query.body.as_ref() else { return Err(not_here()) };
        let grouped = !matches!(&select.group_by, ast::GroupByExpr::Expressions(by, with) if by.is_empty() && with.is_empty());
        if select.distinct.is_some() || grouped || select.having.is_some() || query.with.is_some() {
            return Err(not_here());
        }
        let mut all = vec![];
        for from in &select.from {
            for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|j| &j.relation)) {
                let ast::TableFactor::Table { name, alias, args: None, .. } = factor else {
                    all.push((None, String::new()));
                    continue;
                };
                let of = relation_name(name)?;
                let shown = alias.as_ref().map_or_else(|| of.name.clone(), |a| fold(&a.name));
                all.push((Some(of), shown));
            }
        }
        let mut locked: Vec<Locked> = vec![];
        for lock in locks {
            let of = lock.of.as_ref().map(relation_name).transpose()?;
            let meant: Vec<_> = all.iter().filter(|(_, shown)| of.as_ref().is_none_or(|of| of.name == *shown)).collect();
            if meant.is_empty() {
                let name = of.map(|of| of.name).unwrap_or_default();
                let message = format!("relation \"{name}\" in {} clause not found in FROM clause", strength(locks));
                return Err(Error::invalid("42P01", message));
            }
            for (name, shown) in meant {
                let relation = match name {
                    Some(name) => self.target(txn, name)?,
                    None => return Err(not_here()),
                };
                if !matches!(&relation.kind, Kind::Table { key } if !key.is_empty()) {
                    let error = Error::unsupported(format!("{} needs a table with a primary key", strength(locks)));
                    return Err(error.hint("name the table: FOR UPDATE OF t"));
                }
                self.who(Some(txn))?.relation(&relation, Privileges::UPDATE)?;
                if !locked.iter().any(|l| l.name == *shown) {
                    locked.push(Locked { relation, name: shown.clone() });
                }
            }
        }
        Ok(locked)
    }

    /// LOCK TABLE.
    pub(super) async fn lock(
        &mut self,
        txn: &mut Txn,
        names: &[RelationName],
        mode: TableLock,
        nowait: bool,
    ) -> Result<Response> {
        if txn.mode == Mode::Autocommit {
            let error = Error::invalid("25P01", "LOCK TABLE can only be used in transaction blocks");
            return Err(error.hint("BEGIN"));
        }
        let among = match mode {
            TableLock::Weak => None,
            TableLock::Share => Some(advisory::Mode::Shared),
            TableLock::Alone | TableLock::Exclusive => Some(advisory::Mode::Exclusive),
        };
        for name in names {
            let relation = self.target(txn, name)?;
            rows::need_table(&relation, "lock")?;
            let (Some(topic), Some(among)) = (relation.topic(), among) else { continue };
            if !self.calls.hold(topic, among, !nowait, self.variables.lock_timeout()).await? {
                let message = format!("could not obtain lock on relation \"{}\"", relation.name.name);
                return Err(Error::new(ErrorKind::Unavailable, "55P03", message));
            }
            self.follow(txn, false);
            if mode != TableLock::Alone {
                self.core.latest(txn);
                txn.frozen.insert(topic);
            }
        }
        Ok(Response::command("LOCK TABLE"))
    }
}

/// The clause as it is written.
fn strength(locks: &[ast::LockClause]) -> String {
    locks.first().map_or_else(String::new, |lock| format!("FOR {}", lock.lock_type))
}

fn not_here() -> Error {
    let error = Error::unsupported(
        "FOR UPDATE and FOR SHARE are for tables in FROM, without WITH, DISTINCT, GROUP BY and set operations",
    );
    error.hint("SELECT the keys FOR UPDATE first")
}
