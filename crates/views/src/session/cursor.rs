//! Cursors: DECLARE opens the rows of a query, FETCH and MOVE go over them, CLOSE or the end of the transaction ends them.
//!
//! ```text
//!   DECLARE ─▶ open ─ COMMIT ─▶ gone            DECLARE .. WITH HOLD ─▶ open, all rows read ─ COMMIT ─▶ held ─ CLOSE ─▶ gone
//!                   └ ROLLBACK ▶ gone                                                       └ ROLLBACK ▶ gone
//! ```
//! Cursors and the protocol's portals share one namespace, as in PostgreSQL: the protocol describes, runs and closes a cursor by
//! its name, and says here which portals it has opened.
//!
//! Invariant: a cursor's rows are those of its transaction's snapshot, which they hold themselves; its own transaction's later writes
//! are not among them. Cost: see [`super::scroll`].

use super::{Session, scroll::Scroll, txn::Mode};
use crate::{
    error::{Error, Result, sqlstate as code},
    read::names::CursorAbout,
    response::{Response, Rows},
};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::sql::sqlparser::ast;
use regauge_plan::parse::{Direction, Statement};
use regauge_types::ErrorKind;
use std::collections::BTreeSet;

/// Cursors that one session may keep.
const CURSORS_MAX: usize = 1_000;

/// What a session keeps under cursors' names.
#[derive(Default)]
pub(super) struct Cursors {
    open: std::collections::HashMap<String, OpenCursor>,
    /// Portals that the protocol has opened.
    portals: BTreeSet<String>,
    /// Those of them that CLOSE ended since somebody last asked.
    closed: Vec<String>,
}

/// Rows that wait to be taken.
struct OpenCursor {
    schema: SchemaRef,
    rows: Scroll,
    /// WITH HOLD, and whether its transaction is committed.
    hold: bool,
    held: bool,
    /// How many savepoints there were when it was declared: those whose ROLLBACK TO ends it.
    depth: usize,
    about: CursorAbout,
}

impl Cursors {
    /// A transaction has committed: cursors that are to outlive it do.
    pub(super) fn committed(&mut self) {
        for cursor in self.open.values_mut() {
            cursor.held |= cursor.hold;
            cursor.depth = 0;
        }
    }

    /// No transaction is open: what was not held is gone.
    pub(super) fn outside(&mut self) {
        self.open.retain(|_, cursor| cursor.held);
    }

    /// ROLLBACK TO the last of so many savepoints: cursors declared since are gone.
    pub(super) fn rolled_back(&mut self, savepoints: usize) {
        self.open.retain(|_, cursor| cursor.depth < savepoints);
    }

    /// RELEASE has left so many savepoints: what was declared within it belongs to what is around it.
    pub(super) fn released(&mut self, savepoints: usize) {
        for cursor in self.open.values_mut() {
            cursor.depth = cursor.depth.min(savepoints);
        }
    }

    /// What is open, by name.
    pub(super) fn about(&self, in_transaction: bool) -> Vec<CursorAbout> {
        let open = self.open.values().filter(|cursor| cursor.held || in_transaction);
        let mut all: Vec<CursorAbout> = open.map(|cursor| cursor.about.clone()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn get(&mut self, name: &str) -> Result<&mut OpenCursor> {
        if self.portals.contains(name) {
            let error = Error::unsupported(format!("portal \"{name}\" was opened by the protocol"));
            return Err(error.hint("the protocol's Execute gives its rows"));
        }
        self.open.get_mut(name).ok_or_else(|| unknown(name))
    }

    fn check_free(&self, name: &str) -> Result<()> {
        if self.open.contains_key(name) || self.portals.contains(name) {
            return Err(Error::new(ErrorKind::Conflict, "42P03", format!("cursor \"{name}\" already exists")));
        }
        Ok(())
    }
}

fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, "34000", format!("cursor \"{name}\" does not exist"))
}

impl Session {
    pub(super) async fn declare(&mut self, name: &str, query: &ast::Query, scroll: bool, hold: bool) -> Result<Response> {
        let block = self.txn.as_ref().is_some_and(|t| t.mode == Mode::Explicit);
        if !block && !hold {
            let error = Error::invalid("25P01", "DECLARE CURSOR can only be used in transaction blocks");
            return Err(error.hint("BEGIN, or DECLARE .. WITH HOLD"));
        }
        self.cursors.check_free(name)?;
        if self.cursors.open.len() >= CURSORS_MAX {
            let message = format!("too many cursors max={CURSORS_MAX}");
            return Err(Error::invalid(code::LIMIT_EXCEEDED, message).hint("CLOSE those that are read"));
        }
        let autocommit = self.txn.is_none();
        let depth = self.txn.as_ref().map_or(0, |txn| txn.savepoints.len());
        self.own.clear();
        let called = Statement::Query(Box::new(query.clone()));
        let expanded = self.expanded(&self.whole_catalog(), &called)?;
        let Statement::Query(query) = expanded.as_ref().unwrap_or(&called) else { return Err(unknown(name)) };
        let response = match self.txn.take() {
            // Each FETCH is watched, so the rows are not: statement_timeout means one statement.
            Some(mut txn) => {
                let guard = self.guard();
                self.calls_begin(&txn);
                let selected = async {
                    let response = Box::pin(self.select(&mut txn, query, None)).await?;
                    self.calls_done(&mut txn, response).await
                };
                let response = guard.run(selected).await;
                self.txn = Some(txn);
                response?
            }
            None => Box::pin(self.in_transaction(&Statement::Query(query.clone()), None)).await?,
        };
        let Response::Rows(rows) = response else { return Err(Error::internal("a query gave no rows")) };
        let kept = (scroll || hold).then(|| self.core.planner.holding("cursor"));
        let words = (if scroll { "SCROLL " } else { "" }, if hold { "WITH HOLD " } else { "" });
        let ms = self.core.config.env.clock.wall_ms();
        let about = CursorAbout {
            name: name.to_owned(),
            statement: format!("DECLARE {} {}CURSOR {}FOR {query}", crate::syntax::quote(name), words.0, words.1),
            holdable: hold,
            scrollable: scroll,
            created_us: i64::try_from(ms.saturating_mul(1000)).unwrap_or(i64::MAX),
        };
        let rows = (Scroll::new(rows.stream, scroll, kept), rows.schema);
        let mut cursor = OpenCursor { rows: rows.0, schema: rows.1, hold, held: false, depth, about };
        if hold {
            let guard = self.guard();
            guard.run(cursor.rows.read_all()).await?;
        }
        cursor.held = hold && autocommit;
        self.cursors.open.insert(name.to_owned(), cursor);
        Ok(Response::command("DECLARE CURSOR"))
    }

    pub(super) async fn fetch(&mut self, name: &str, direction: Direction, moves: bool) -> Result<Response> {
        let guard = self.guard();
        let cursor = self.cursors.get(name)?;
        if moves {
            let n = guard.run(cursor.rows.go(direction, true)).await?.n_rows;
            return Ok(Response::command(format!("MOVE {n}")));
        }
        let taken = guard.run(cursor.rows.go(direction, false)).await?;
        Ok(Response::Rows(Rows::ready(cursor.schema.clone(), taken.batches, "FETCH")))
    }

    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> Result<Response> {
        match name {
            Some(name) if self.cursors.portals.remove(name) => self.cursors.closed.push(name.to_owned()),
            Some(name) => drop(self.cursors.open.remove(name).ok_or_else(|| unknown(name))?),
            None => {
                self.cursors.open.clear();
                let portals = std::mem::take(&mut self.cursors.portals);
                self.cursors.closed.extend(portals);
                return Ok(Response::command("CLOSE CURSOR ALL"));
            }
        }
        Ok(Response::command("CLOSE CURSOR"))
    }

    /// Columns of a cursor that is open, for who describes a portal of this name.
    #[must_use]
    pub fn cursor_columns(&self, name: &str) -> Option<SchemaRef> {
        let cursor = self.cursors.open.get(name)?;
        (self.txn.is_some() || cursor.held).then(|| cursor.schema.clone())
    }

    /// The next rows of a cursor, at most `n` unless that is `None`, and whether there are no more behind them: what running a
    /// portal of this name means.
    pub async fn advance_cursor(&mut self, name: &str, n: Option<u64>) -> Result<(Vec<RecordBatch>, bool)> {
        let guard = self.guard();
        let outcome = match self.cursors.get(name) {
            Ok(cursor) => {
                guard.run(cursor.rows.go(Direction::Forward(n), false)).await.map(|t| (t.batches, cursor.rows.is_behind()))
            }
            Err(error) => Err(error),
        };
        outcome.map_err(|e| self.fail(e))
    }

    /// The protocol opens a portal: its name must be free.
    ///
    /// # Errors
    /// 42P03.
    pub fn portal_opened(&mut self, name: &str) -> Result<()> {
        self.cursors.check_free(name)?;
        self.cursors.portals.insert(name.to_owned());
        Ok(())
    }

    /// The protocol closes a portal, or the cursor of this name; what is not there needs no closing.
    pub fn portal_closed(&mut self, name: &str) {
        if !self.cursors.portals.remove(name) {
            self.cursors.open.remove(name);
        }
    }

    /// All portals of the protocol have ended with their transaction.
    pub fn portals_ended(&mut self) {
        self.cursors.portals.clear();
        self.cursors.closed.clear();
    }

    /// Portals that CLOSE ended since this was last asked.
    pub fn portals_to_close(&mut self) -> Vec<String> {
        std::mem::take(&mut self.cursors.closed)
    }
}
