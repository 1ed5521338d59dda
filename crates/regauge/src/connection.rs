//! A session in this process, with answers as tables of Arrow batches.

use crate::{Error, Param, ProducerSeq, Result, Table};
use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::SchemaRef,
};
use futures::{Stream, StreamExt, TryStreamExt};
use regauge_views::{Prepared, Response, RowStream, Session, session::append::Receipt};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// A session. Dropped within a transaction, it rolls back.
pub struct Connection {
    session: Session,
}

/// What a statement without rows did, or the rows of one that has some.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The command tag, as PostgreSQL writes it: `INSERT 0 3`, `CREATE TABLE`, `SELECT 2`.
    pub tag: String,
    /// Its rows; `None` for a statement that has no columns.
    pub rows: Option<Table>,
    /// Words for people.
    pub notices: Vec<String>,
}

impl Connection {
    pub(crate) fn new(session: Session) -> Connection {
        Connection { session }
    }

    /// Runs the statements of a text; outside a transaction they are one. Errors: the first statement's that fails, with nothing
    /// of the text done, unless the text itself commits.
    pub async fn batch(&mut self, sql: &str) -> Result<Vec<Outcome>> {
        let responses = self.session.execute(sql).await?;
        let mut outcomes = Vec::with_capacity(responses.len());
        for response in responses {
            outcomes.push(outcome(response).await?);
        }
        Ok(outcomes)
    }

    /// Runs one statement; `$1` stands for the first of `params`.
    pub async fn execute(&mut self, sql: &str, params: &[Param]) -> Result<Outcome> {
        let (prepared, values) = self.prepared(sql, params).await?;
        outcome(self.session.run(&prepared, &values).await?).await
    }

    /// The rows of one statement, of one epoch, that has seen all that this connection was acknowledged. Errors: 07003 for a
    /// statement without rows (which was run).
    pub async fn query(&mut self, sql: &str, params: &[Param]) -> Result<Table> {
        let outcome = self.execute(sql, params).await?;
        outcome.rows.ok_or_else(|| {
            Error::invalid(NO_ROWS, format!("{} has no rows", outcome.tag)).hint("run it by execute(), or add RETURNING")
        })
    }

    /// Appends rows to a stream, or inserts them into a table, as one commit of its own: durable when it returns. Columns are
    /// found by name; those that are absent take their default. With `producer` a repetition is stored once (see
    /// [`Receipt::duplicate`]).
    pub async fn append(&mut self, relation: &str, rows: RecordBatch, producer: Option<ProducerSeq>) -> Result<Receipt> {
        self.session.append_records(relation, rows, producer).await
    }

    /// The changes of a materialized view, table or stream, from now on or from where the statement says: `SUBSCRIBE pages`,
    /// `SUBSCRIBE pages WITH (progress)`. Ends when it is dropped, and with the error that ended it.
    pub async fn subscribe(&mut self, sql: &str) -> Result<Changes> {
        let (prepared, values) = self.prepared(sql, &[]).await?;
        match self.session.run(&prepared, &values).await? {
            Response::Subscription(changes) => Ok(Changes { schema: changes.schema, stream: changes.stream }),
            _ => Err(Error::invalid(NO_ROWS, "not a subscription").hint("begin with SUBSCRIBE")),
        }
    }

    /// What this connection has seen, to be given to another one, of whatever door.
    #[must_use]
    pub fn token(&self) -> String {
        self.session.token()
    }

    /// Reads of this connection see from here on what the token's has seen; waits until it is here.
    pub async fn observe(&mut self, token: &str) -> Result<()> {
        self.session.set_token(token).await
    }

    /// The session below: prepared statements, COPY, cancelling, settings.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    async fn prepared(&mut self, sql: &str, params: &[Param]) -> Result<(Prepared, Vec<ArrayRef>)> {
        let types = params.iter().map(Param::own_type).collect::<Vec<_>>();
        let prepared = self.session.prepare(sql, &types).await?;
        let wanted = prepared.params.iter();
        let values = params.iter().zip(wanted).enumerate().map(|(at, (param, ty))| param.to_array(ty, at + 1));
        let values = values.collect::<Result<_>>()?;
        Ok((prepared, values))
    }
}

/// PostgreSQL's code for an answer that was to have columns.
const NO_ROWS: &str = "07003";

async fn outcome(response: Response) -> Result<Outcome> {
    match response {
        Response::Command { tag, notices } => {
            Ok(Outcome { tag, rows: None, notices: notices.into_iter().map(|n| n.message).collect() })
        }
        Response::Rows(rows) => {
            let (schema, tag, notices) =
                (rows.schema.clone(), rows.tag.clone(), rows.notices.iter().map(|n| n.message.clone()).collect());
            let batches = rows.collect().await?;
            let table = Table { schema, batches };
            Ok(Outcome { tag: format!("{tag} {}", table.n_rows()), rows: Some(table), notices })
        }
        Response::CopyIn(_) | Response::CopyOut(_) => Err(elsewhere("COPY FROM STDIN and TO STDOUT", "append() and query()")),
        Response::Subscription(_) => Err(elsewhere("SUBSCRIBE", "subscribe()")),
    }
}

fn elsewhere(what: &str, instead: &str) -> Error {
    Error::unsupported(format!("{what} is not answered with rows")).hint(format!("use {instead}"))
}

/// Changes of a relation, batch by batch, without end.
pub struct Changes {
    /// Their columns: epoch and diff first, then the relation's own.
    pub schema: SchemaRef,
    stream: RowStream,
}

impl Changes {
    /// The next batch; waits for it. `None` when the relation is gone.
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.stream.try_next().await
    }
}

impl Stream for Changes {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        self.stream.poll_next_unpin(context)
    }
}
