//! A text's statements, run one by one, so that each answer can be sent before the next statement runs.
//!
//! ```text
//!   script ─▶ step ─▶ answer ─▶ step ─▶ answer .. ─▶ step ─▶ None
//!             several statements outside a transaction: one transaction, committed before the last answer is given
//! ```
//! Doors that pipeline (one message per statement, an end that comes later) open and close the same kind of transaction themselves.
//! Invariant: an error, of a statement or of the rows it was still sending, spoils the transaction it happened in.

use super::{Mode, Session};
use crate::{
    error::{Error, Result},
    response::{Response, RowStream, Rows},
    session::copy_out::CopyOut,
};
use futures::{StreamExt, TryStreamExt, stream};
use regauge_plan::parse::Statement;
use regauge_types::ErrorKind;
use std::sync::Arc;

/// A text that is being run.
pub struct Script {
    statements: Arc<Vec<Statement>>,
    next: usize,
    /// The whole text, when it is one statement: what plans are kept by.
    text: Option<String>,
}

impl Script {
    /// How many statements it has.
    #[must_use]
    pub fn n_statements(&self) -> usize {
        self.statements.len()
    }
}

impl Session {
    /// Reads a text; nothing runs yet.
    pub fn script(&mut self, sql: &str) -> Result<Script> {
        let parsed = crate::stack::roomy_now(|| self.parse(sql));
        let statements = parsed.map_err(|e| self.fail(e))?;
        if sql.contains('$') {
            statements.iter().try_for_each(super::prepare::no_params).map_err(|e| self.fail(e))?;
        }
        let text = (statements.len() == 1).then(|| sql.to_owned());
        Ok(Script { statements, next: 0, text })
    }

    /// Runs the next statement; `None` when all have run. After an error the script is over.
    pub async fn step(&mut self, script: &mut Script) -> Result<Option<Response>> {
        crate::stack::roomy(self.here(), self.step_here(script)).await
    }

    async fn step_here(&mut self, script: &mut Script) -> Result<Option<Response>> {
        let Some(statement) = script.statements.get(script.next) else {
            // Only a COPY at the end leaves its transaction open until here.
            self.close_implicit().await?;
            return Ok(None);
        };
        script.next += 1;
        let last = script.next == script.statements.len();
        if script.statements.len() > 1 {
            self.open_implicit();
        }
        let opened = if self.status() == super::TransactionStatus::Failed { None } else { self.opened(statement) };
        let outcome = match opened.filter(|given| self.is_fit(given)) {
            Some(given) => self.statement_given(given).await,
            None => self.statement(statement, script.text.as_deref()).await,
        };
        let outcome = match outcome {
            // Its rows may still fail, and then nothing of the text may stay: they are all there before it is committed.
            Ok(response) if last && self.txn.as_ref().is_some_and(|t| t.mode == Mode::Implicit && !t.is_empty()) => {
                self.whole(response).await
            }
            outcome => outcome,
        };
        let response = match outcome {
            Ok(response) => response,
            Err(error) => {
                script.next = script.statements.len();
                return Err(self.fail(error));
            }
        };
        if last && !matches!(response, Response::CopyIn(_)) {
            self.close_implicit().await?;
        }
        Ok(Some(response))
    }

    /// An answer whose rows have all been computed, within the memory of one query.
    pub(super) async fn whole(&self, response: Response) -> Result<Response> {
        let collect = async |mut stream: RowStream| -> Result<RowStream> {
            let (mut batches, mut bytes) = (vec![], 0);
            while let Some(batch) = stream.try_next().await? {
                bytes += batch.get_array_memory_size();
                if bytes > self.core.config.limits.query_memory_bytes {
                    let message = "the rows of the last statement of several do not fit into the memory of a query";
                    return Err(Error::new(ErrorKind::Exhausted, "53200", message).hint("send it by itself"));
                }
                batches.push(Ok(batch));
            }
            Ok(stream::iter(batches).boxed())
        };
        Ok(match response {
            Response::Rows(rows) => Response::Rows(Rows { stream: collect(rows.stream).await?, ..rows }),
            Response::CopyOut(copy) => {
                let copy = *copy;
                Response::CopyOut(Box::new(CopyOut { stream: collect(copy.stream).await?, ..copy }))
            }
            other => other,
        })
    }

    /// Makes the statements that follow one transaction, unless they are in one.
    pub fn open_implicit(&mut self) {
        if self.txn.is_none() {
            self.begin(Mode::Implicit);
        }
    }

    /// Commits what [`Session::open_implicit`] began, if it is still open.
    pub async fn close_implicit(&mut self) -> Result<()> {
        if self.txn.as_ref().is_some_and(|t| t.mode == Mode::Implicit) {
            let outcome = crate::stack::roomy(self.here(), self.commit()).await;
            return outcome.map_err(|e| self.fail(e));
        }
        Ok(())
    }

    /// Something that belongs to the session's transaction failed outside of it: the rows of an answer, the bytes of a COPY, a
    /// message of the protocol.
    pub fn spoil(&mut self, error: Error) -> Error {
        self.fail(error)
    }
}
