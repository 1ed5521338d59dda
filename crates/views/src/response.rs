//! What a statement answers with.

use crate::{
    error::Result,
    session::{copy::CopyIn, copy_out::CopyOut, subscribe::Subscription},
};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};

/// A stream of batches that does not borrow the session.
pub type RowStream = BoxStream<'static, Result<RecordBatch>>;

/// Rows.
pub struct Rows {
    /// Their columns.
    pub schema: SchemaRef,
    /// In batches.
    pub stream: RowStream,
    /// What stands before the number of rows in the command tag: `SELECT`, `INSERT 0`, `UPDATE`, `SHOW`.
    pub tag: String,
    /// For people.
    pub notices: Vec<String>,
}

impl Rows {
    /// Rows that are there already.
    #[must_use]
    pub fn ready(schema: SchemaRef, batches: Vec<RecordBatch>, tag: &str) -> Rows {
        let stream = stream::iter(batches.into_iter().map(Ok)).boxed();
        Rows { schema, stream, tag: tag.to_owned(), notices: vec![] }
    }

    /// All of them.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.stream.try_collect().await
    }
}

/// What a statement answers with.
pub enum Response {
    /// Rows.
    Rows(Rows),
    /// Nothing but a tag, as PostgreSQL writes it.
    Command {
        /// For example `CREATE TABLE` or `INSERT 0 3`.
        tag: String,
        /// For people.
        notices: Vec<String>,
    },
    /// The client is to send rows.
    CopyIn(Box<CopyIn>),
    /// The client gets rows as text or csv.
    CopyOut(Box<CopyOut>),
    /// Changes without end.
    Subscription(Subscription),
}

impl Response {
    /// A tag.
    pub fn command(tag: impl Into<String>) -> Response {
        Response::Command { tag: tag.into(), notices: vec![] }
    }

    /// A tag with a word for people.
    pub fn noticed(tag: impl Into<String>, notice: impl Into<String>) -> Response {
        Response::Command { tag: tag.into(), notices: vec![notice.into()] }
    }
}
