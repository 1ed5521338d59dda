//! Cursors: DECLARE opens the rows of a query, FETCH takes the next ones, CLOSE or the end of the transaction ends them.
//!
//! Invariant: a cursor's rows are those of its transaction's snapshot, which they hold themselves; its own transaction's later writes
//! are not among them. Cost: one batch in memory beside what the query itself needs. It goes forward only.

use super::{Session, txn::Mode};
use crate::{
    error::{Error, Result, sqlstate as code},
    response::{Response, RowStream, Rows},
};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use parking_lot::Mutex;
use regauge_types::ErrorKind;

/// Cursors that one transaction may keep.
const CURSORS_MAX: usize = 1_000;

/// Rows that wait to be taken.
pub(super) struct OpenCursor {
    schema: SchemaRef,
    /// Behind a lock only because a session is shared between threads by reference.
    stream: Mutex<RowStream>,
    /// What is left of the last batch.
    rest: Option<RecordBatch>,
}

fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, "34000", format!("cursor \"{name}\" does not exist"))
}

impl Session {
    pub(super) async fn declare(&mut self, name: &str, query: &ast::Query) -> Result<Response> {
        if !self.txn.as_ref().is_some_and(|t| t.mode == Mode::Explicit) {
            return Err(Error::invalid("25P01", "DECLARE CURSOR can only be used in transaction blocks").hint("BEGIN"));
        }
        if self.cursors.contains_key(name) {
            return Err(Error::new(ErrorKind::Conflict, "42P03", format!("cursor \"{name}\" already exists")));
        }
        if self.cursors.len() >= CURSORS_MAX {
            let message = format!("too many cursors max={CURSORS_MAX}");
            return Err(Error::invalid(code::LIMIT_EXCEEDED, message).hint("CLOSE those that are read"));
        }
        let statement = regauge_plan::parse::Statement::Query(Box::new(query.clone()));
        let Response::Rows(rows) = self.in_transaction(&statement, None).await? else {
            return Err(Error::internal("a query gave no rows"));
        };
        let cursor = OpenCursor { schema: rows.schema, stream: Mutex::new(rows.stream), rest: None };
        self.cursors.insert(name.to_owned(), cursor);
        Ok(Response::command("DECLARE CURSOR"))
    }

    pub(super) async fn fetch(&mut self, name: &str, count: Option<u64>, moves: bool) -> Result<Response> {
        let guard = self.guard();
        let cursor = self.cursors.get_mut(name).ok_or_else(|| unknown(name))?;
        let wanted = count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let batches = guard.run(cursor.take(wanted)).await?;
        if moves {
            let n: usize = batches.iter().map(RecordBatch::num_rows).sum();
            return Ok(Response::command(format!("MOVE {n}")));
        }
        Ok(Response::Rows(Rows::ready(cursor.schema.clone(), batches, "FETCH")))
    }

    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> Result<Response> {
        match name {
            Some(name) => {
                self.cursors.remove(name).ok_or_else(|| unknown(name))?;
                Ok(Response::command("CLOSE CURSOR"))
            }
            None => {
                self.cursors.clear();
                Ok(Response::command("CLOSE CURSOR ALL"))
            }
        }
    }

    /// Columns of a cursor that is open.
    pub(super) fn cursor_columns(&self, name: &str) -> Option<SchemaRef> {
        self.cursors.get(name).map(|c| c.schema.clone())
    }
}

impl OpenCursor {
    /// The next rows, as many as there are.
    async fn take(&mut self, mut wanted: usize) -> Result<Vec<RecordBatch>> {
        let mut out = vec![];
        while wanted > 0 {
            let batch = match self.rest.take() {
                Some(batch) => batch,
                None => match self.stream.get_mut().next().await {
                    Some(batch) => batch?,
                    None => break,
                },
            };
            let n = batch.num_rows();
            if n > wanted {
                self.rest = Some(batch.slice(wanted, n - wanted));
                out.push(batch.slice(0, wanted));
                break;
            }
            wanted -= n;
            out.push(batch);
        }
        Ok(out)
    }
}
