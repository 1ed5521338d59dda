//! A system that takes SQL: PostgreSQL, regauge, or PostgreSQL with a planted fault (the oracle is
//! itself tested by faults that it must find).

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::answer::{Answer, Failure, Kind};

/// Which words a text is rendered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Streams are tables, materialized views are views (recomputed at each read), windows are
    /// `date_bin` and `generate_series`.
    Postgres,
    /// As a user of regauge writes it.
    Regauge,
}

/// What the oracle asks of a system. A statement that fails is an `Ok(Err(..))`; an outer error means
/// that the system itself is gone, which is never right.
#[expect(async_fn_in_trait, reason = "each case runs on a thread of its own: no Send is needed")]
pub trait System {
    /// The words it understands.
    fn dialect(&self) -> Dialect;
    /// Runs the statements as one transaction: all or none.
    async fn commit(&mut self, statements: &[String]) -> Result<Result<(), Failure>>;
    /// Runs one statement by itself, as DDL.
    async fn run(&mut self, statement: &str) -> Result<Result<(), Failure>>;
    /// Runs a COPY FROM STDIN and gives it these bytes.
    async fn copy(&mut self, statement: &str, data: &str) -> Result<Result<(), Failure>>;
    /// Answers a query; it sees everything committed before.
    async fn query(&mut self, sql: &str) -> Result<Result<Answer, Failure>>;
    /// Stops and starts again over the same data, with this many workers.
    async fn restart(&mut self, workers: usize) -> Result<()>;
    /// The digest of a materialized view's contents, where the system has digests.
    async fn digest(&mut self, view: &str) -> Result<Option<String>>;
    /// The epoch that shows everything committed before and that queries answer from until the next commit, where the system can be asked for
    /// it again later.
    async fn epoch(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }
    /// Everything in a relation as of an epoch that this system gave; `of` names it and the views that it reads. `None` if the epoch is rightly
    /// said to be gone.
    async fn as_of(&mut self, of: &[&str], _at: u64) -> Result<Option<Result<Answer, Failure>>> {
        anyhow::bail!("this system gives no epochs, and {of:?} is asked for as of one")
    }
}

/// PostgreSQL, in a schema of its own so that many cases share one server.
pub struct Postgres {
    client: Client,
}

impl Postgres {
    /// Makes the schema and enters it.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn new(client: Client, schema: &str) -> Result<Self> {
        let sql = format!(
            "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; \
             SET search_path = {schema}; SET client_min_messages = error; \
             SET statement_timeout = '60s'"
        );
        client.batch_execute(&sql).await.context("cannot make a schema")?;
        Ok(Self { client })
    }
}

impl System for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn commit(&mut self, statements: &[String]) -> Result<Result<(), Failure>> {
        self.client.batch_execute("BEGIN").await?;
        for statement in statements {
            if let Err(error) = self.client.batch_execute(statement).await {
                let failure = failure(error)?;
                self.client.batch_execute("ROLLBACK").await?;
                return Ok(Err(failure));
            }
        }
        match self.client.batch_execute("COMMIT").await {
            Ok(()) => Ok(Ok(())),
            Err(error) => Ok(Err(failure(error)?)),
        }
    }

    async fn run(&mut self, statement: &str) -> Result<Result<(), Failure>> {
        match self.client.batch_execute(statement).await {
            Ok(()) => Ok(Ok(())),
            Err(error) => Ok(Err(failure(error)?)),
        }
    }

    async fn copy(&mut self, statement: &str, data: &str) -> Result<Result<(), Failure>> {
        let sink = match self.client.copy_in::<_, Bytes>(statement).await {
            Ok(sink) => sink,
            Err(error) => return Ok(Err(failure(error)?)),
        };
        let mut sink = std::pin::pin!(sink);
        // A row that is refused shows at the end.
        if let Err(error) = sink.send(Bytes::copy_from_slice(data.as_bytes())).await {
            return Ok(Err(failure(error)?));
        }
        match sink.as_mut().finish().await {
            Ok(_) => Ok(Ok(())),
            Err(error) => Ok(Err(failure(error)?)),
        }
    }

    async fn query(&mut self, sql: &str) -> Result<Result<Answer, Failure>> {
        // The extended protocol names the types, the simple one prints the values as psql does.
        let statement = match self.client.prepare(sql).await {
            Ok(statement) => statement,
            Err(error) => return Ok(Err(failure(error)?)),
        };
        let columns = statement.columns().iter();
        let columns = columns.map(|column| (column.name().to_string(), Kind::of(column.type_().name())));
        let mut answer = Answer { columns: columns.collect(), rows: Vec::new() };
        match self.client.simple_query(sql).await {
            Ok(messages) => {
                for message in messages {
                    if let SimpleQueryMessage::Row(row) = message {
                        let cells = 0..row.len();
                        answer.rows.push(cells.map(|at| row.get(at).map(str::to_string)).collect());
                    }
                }
                Ok(Ok(answer))
            }
            Err(error) => Ok(Err(failure(error)?)),
        }
    }

    async fn restart(&mut self, _workers: usize) -> Result<()> {
        Ok(())
    }

    async fn digest(&mut self, _view: &str) -> Result<Option<String>> {
        Ok(None)
    }
}

/// A refusal by the server; anything else (a lost connection) is an error of the run.
fn failure(error: tokio_postgres::Error) -> Result<Failure> {
    match error.as_db_error() {
        Some(told) => Ok(Failure { sqlstate: told.code().code().to_string(), message: told.message().to_string() }),
        None => Err(error).context("PostgreSQL is gone"),
    }
}
