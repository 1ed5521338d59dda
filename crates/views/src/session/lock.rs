//! SELECT .. FOR UPDATE and its kin, and LOCK TABLE: nobody waits for a row; who was not first does not commit.
//!
//! ```text
//!   SELECT .. FOR UPDATE ─▶ rows of the query ─▶ each row of a locked table is written again as it is ─▶ judged by key at COMMIT
//!   LOCK TABLE .. IN SHARE MODE ─▶ the table is frozen: a commit of anybody else since the snapshot refuses ours
//!              .. IN EXCLUSIVE MODE, and without a mode ─▶ the same, and whoever else locks it waits until we end
//! ```
//! A row that is locked is part of what the commit is judged by, as if it had been updated: of two transactions that lock it one fails
//! with 40001, so that no update is lost and no decision rests on a row that another one has changed meanwhile. All strengths (UPDATE, NO
//! KEY UPDATE, SHARE, KEY SHARE) are judged alike. Who says so is also remembered until the transaction is over ([`crate::advisory`]):
//! NOWAIT refuses rows that others hold, and SKIP LOCKED leaves them out, with those that have changed since they were read, so that two
//! workers of a queue are never given one job. Rows that another transaction has changed without locking them are not known. Outside a
//! transaction a lock ends with its statement. Cost: one record of the table's topic for each locked row, as an UPDATE's; SKIP LOCKED reads
//! as many rows beyond its LIMIT as are held.

use super::{
    Session, rows,
    txn::{Mode, Txn},
};
use crate::{
    advisory::{
        self,
        Mode::{Exclusive, Shared},
    },
    catalog::{Kind, Relation, rights::Privileges},
    error::{Error, Result},
    read::planner,
    response::{Response, Rows},
    syntax,
    table::writes::{Key, TableWrites, keys_of},
};
use arrow::{
    array::{Array, BooleanArray, RecordBatch, UInt64Array},
    compute::{filter_record_batch, take_record_batch},
    datatypes::DataType,
};
use datafusion::sql::sqlparser::ast;
use futures::TryStreamExt;
use regauge_plan::parse::{RelationName, TableLock, fold, relation_name};
use regauge_types::{ErrorKind, Lsn, hash::hash_bytes};
use std::sync::Arc;

/// A relation in FROM whose rows are locked, and the name that it has there.
struct Locked {
    relation: Arc<Relation>,
    name: String,
    mode: advisory::Mode,
}

/// How often a statement that skips rows looks again when it has found fewer than it wants.
const TRIES_MAX: usize = 16;

/// What becomes of rows that another transaction holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// They are judged at COMMIT.
    Anyhow,
    /// SKIP LOCKED.
    Skipped,
    /// NOWAIT.
    Refused,
}

impl Taken {
    fn of(locks: &[ast::LockClause]) -> Taken {
        let says = |word| locks.iter().any(|lock| lock.nonblock.as_ref() == Some(&word));
        match () {
            () if says(ast::NonBlock::Nowait) => Taken::Refused,
            () if says(ast::NonBlock::SkipLocked) => Taken::Skipped,
            () => Taken::Anyhow,
        }
    }
}

/// How rows are held.
#[derive(Clone, Copy)]
struct Holding {
    taken: Taken,
    /// What is held is for a change, and not for the statement alone.
    writes: bool,
    n_max: Option<usize>,
}

/// Rows that are held.
struct Held {
    rows: Vec<usize>,
    /// So many were left out because they are not any more what was read.
    n_changed: usize,
}

/// LIMIT and OFFSET of a query that skips rows: they count those that are left, so more are asked for.
struct Wanted {
    limit: Option<usize>,
    offset: usize,
}

impl Wanted {
    /// Takes them out of the query; they stay, and count before rows are skipped, where they are no numbers.
    fn out_of(query: &mut ast::Query) -> Option<Wanted> {
        let number = |e: &ast::Expr| match regauge_plan::literal(e, &DataType::Int64)?.datum {
            regauge_plan::Datum::Int(n) => usize::try_from(n).ok(),
            _ => None,
        };
        let wanted = match &query.limit_clause {
            None => Wanted { limit: None, offset: 0 },
            Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => Wanted {
                limit: limit.as_ref().map(number).map_or(Some(None), |n| n.map(Some))?,
                offset: offset.as_ref().map_or(Some(0), |offset| number(&offset.value))?,
            },
            Some(_) => return None,
        };
        query.limit_clause = None;
        Some(wanted)
    }

    fn n_max(&self) -> Option<usize> {
        self.limit.map(|limit| limit.saturating_add(self.offset))
    }

    /// Asks for as many rows beyond it as may be held; how many rows that are.
    fn ask(&self, query: &mut ast::Query, n_held: usize) -> Option<usize> {
        let n = self.n_max()?.saturating_add(n_held);
        let limit = Some(ast::Expr::value(ast::Value::Number(n.to_string(), false)));
        query.limit_clause = Some(ast::LimitClause::LimitOffset { limit, offset: None, limit_by: vec![] });
        Some(n)
    }
}

/// The columns of each locked table, which stand behind those that were asked for.
fn parts(locked: &[Locked], all: &RecordBatch) -> Result<Vec<RecordBatch>> {
    let mut begin = all.num_columns() - locked.iter().map(|of| of.relation.columns.len()).sum::<usize>();
    let part = |of: &Locked| {
        let end = begin + of.relation.columns.len();
        let own = all.project(&(begin..end).collect::<Vec<_>>()).map_err(Error::arrow);
        begin = end;
        own
    };
    locked.iter().map(part).collect()
}

/// The key of each row, none where an outer join has left it empty.
fn keys_in(relation: &Relation, rows: &RecordBatch) -> Result<Vec<Option<Key>>> {
    let Kind::Table { key } = &relation.kind else { return Err(not_here()) };
    let there: BooleanArray = (0..rows.num_rows()).map(|row| Some(key.iter().all(|at| rows.column(*at).is_valid(row)))).collect();
    let mut keys = keys_of(key, &filter_record_batch(rows, &there).map_err(Error::arrow)?)?.into_iter();
    Ok(there.iter().map(|there| if there == Some(true) { keys.next() } else { None }).collect())
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
        let writes = txn.mode != Mode::Autocommit || txn.locks;
        let taken = Taken::of(&locks);
        if !writes && taken == Taken::Anyhow {
            return Box::pin(self.select(txn, &query, None)).await;
        }
        let wanted = if taken == Taken::Skipped { Wanted::out_of(&mut query) } else { None };
        // The rows' own columns are read along, behind those that were asked for.
        let ast::SetExpr::Select(select) = query.body.as_mut() else { return Err(not_here()) };
        for (n, of) in locked.iter().enumerate() {
            let column = |c: &crate::catalog::Column| syntax::column_as(&of.name, &c.name, &format!("__locked{n}_{}", c.name));
            select.projection.extend(of.relation.columns.iter().map(column));
        }
        let holding = Holding { taken, writes, n_max: wanted.as_ref().and_then(Wanted::n_max) };
        // What it reads has been chosen before: it is not chosen anew.
        let fresh = txn.snapshot.is_none() && !txn.has_written();
        let (mut tries, mut n_changed) = (0, 0);
        let (all, own) = loop {
            let mut query = query.clone();
            let n_asked = wanted.as_ref().and_then(|wanted| wanted.ask(&mut query, self.n_held(&locked) + n_changed));
            let scope = self.scope(Some(txn));
            let kept = self.planned(txn, query, scope, None, None).await?;
            let reading = self.bind(txn, &kept.uses, true).await?;
            let batches: Vec<RecordBatch> =
                self.core.planner.run(&kept.plan, reading)?.try_collect().await.map_err(Error::from_datafusion)?;
            let all = rows::one(&kept.plan.schema(), &batches)?;
            let before = txn.advisory.as_ref().map_or(0, |held| held.n_taken());
            let held = self.hold(txn, &locked, &parts(&locked, &all)?, holding)?;
            let short = holding.n_max.is_none_or(|n| held.rows.len() < n);
            // Rows that were locked since, or changed by who held them, stand for others that were not asked for.
            let more = n_asked == Some(all.num_rows()) || (held.n_changed > 0 && fresh);
            n_changed = held.n_changed;
            tries += 1;
            if short && more && tries < TRIES_MAX && taken == Taken::Skipped {
                if let Some(of) = &txn.advisory {
                    of.truncate(before);
                }
                if fresh {
                    self.follow(txn, true);
                }
                tokio::task::yield_now().await;
                continue;
            }
            let skipped = wanted.as_ref().map_or(0, |wanted| wanted.offset);
            let places = UInt64Array::from_iter_values(held.rows.into_iter().skip(skipped).map(|row| row as u64));
            let all = take_record_batch(&all, &places).map_err(Error::arrow)?;
            let own = parts(&locked, &all)?;
            break (all, own);
        };
        let n_own: usize = locked.iter().map(|of| of.relation.columns.len()).sum();
        let answer = all.project(&(0..all.num_columns() - n_own).collect::<Vec<_>>()).map_err(Error::arrow)?;
        for (of, own) in locked.iter().zip(&own).filter(|_| writes) {
            self.lock_rows(txn, &of.relation, &rows::under(&of.relation, own)?)?;
        }
        let schema = planner::shown(&answer.schema());
        let answer = RecordBatch::try_new(schema.clone(), answer.columns().to_vec()).map_err(Error::arrow)?;
        Ok(Response::Rows(Rows::ready(schema, vec![answer], "SELECT")))
    }

    /// How many rows of these tables are held, by whomever.
    fn n_held(&self, locked: &[Locked]) -> usize {
        locked.iter().filter_map(|of| of.relation.topic()).map(|topic| self.calls.n_rows_held(topic)).sum()
    }

    /// Holds rows, in their order; `own` are those of each table.
    fn hold(&mut self, txn: &mut Txn, locked: &[Locked], own: &[RecordBatch], how: Holding) -> Result<Held> {
        let keys = locked.iter().zip(own).map(|(of, rows)| keys_in(&of.relation, rows)).collect::<Result<Vec<_>>>()?;
        let n = own.first().map_or(0, RecordBatch::num_rows);
        let mut held = Held { rows: vec![], n_changed: 0 };
        for row in 0..n {
            if how.n_max == Some(held.rows.len()) {
                break;
            }
            let before = txn.advisory.as_ref().map_or(0, |held| held.n_taken());
            let mut is_free = true;
            for (of, keys) in locked.iter().zip(&keys) {
                let (Some(key), Some(topic)) = (&keys[row], of.relation.topic()) else { continue };
                let free = self.calls.hold_row(topic, hash_bytes(key), of.mode, how.taken != Taken::Anyhow)?;
                match how.taken {
                    Taken::Anyhow => continue,
                    Taken::Refused if !free => {
                        let message = format!("could not obtain lock on row in relation \"{}\"", of.relation.name.name);
                        return Err(Error::new(ErrorKind::Unavailable, "55P03", message));
                    }
                    Taken::Refused => continue,
                    Taken::Skipped => {}
                }
                // Who held it has given it back after the commit: then it is not the row that was read here.
                let changed = free && how.writes && self.has_changed(txn, of, key);
                held.n_changed += usize::from(changed);
                if !free || changed {
                    is_free = false;
                    break;
                }
            }
            match (is_free, &txn.advisory) {
                (true, _) => held.rows.push(row),
                (false, Some(of)) => of.truncate(before),
                (false, None) => {}
            }
        }
        Ok(held)
    }

    /// Whether somebody has written a key since the transaction's snapshot.
    fn has_changed(&self, txn: &mut Txn, of: &Locked, key: &[u8]) -> bool {
        let at = self.core.latest(txn);
        let Some(head) = of.relation.topic().and_then(|topic| self.core.judged.head(topic)) else { return false };
        let head = head.read();
        match (head.get(key, at), head.get(key, Lsn(u64::MAX))) {
            (Some(then), Some(now)) => !(Arc::ptr_eq(&then.batch, &now.batch) && then.at == now.at),
            (None, None) => false,
            _ => true,
        }
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
            let mode = if lock.lock_type == ast::LockType::Update { Exclusive } else { Shared };
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
                match locked.iter_mut().find(|l| l.name == *shown) {
                    // Of two clauses about one table the stronger holds.
                    Some(known) if mode == Exclusive => known.mode = mode,
                    Some(_) => {}
                    None => locked.push(Locked { relation, name: shown.clone(), mode }),
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
