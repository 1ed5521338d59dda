//! What a statement answers with.

use crate::{
    error::{Result, sqlstate as code},
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
    pub notices: Vec<Notice>,
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

/// A word for people that comes with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `00000` of a mere notice; another of a warning, as PostgreSQL has it.
    pub sqlstate: &'static str,
    /// What is said.
    pub message: String,
}

impl Notice {
    /// A warning.
    pub fn warning(sqlstate: &'static str, message: impl Into<String>) -> Notice {
        Notice { sqlstate, message: message.into() }
    }

    /// Whether it is more than a notice.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        self.sqlstate != code::SUCCESSFUL
    }
}

impl From<String> for Notice {
    fn from(message: String) -> Notice {
        Notice { sqlstate: code::SUCCESSFUL, message }
    }
}

impl From<&str> for Notice {
    fn from(message: &str) -> Notice {
        message.to_owned().into()
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
        notices: Vec<Notice>,
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
    pub fn noticed(tag: impl Into<String>, notice: impl Into<Notice>) -> Response {
        Response::Command { tag: tag.into(), notices: vec![notice.into()] }
    }

    /// With one more word for people, if there is one.
    #[must_use]
    pub fn with_notice(mut self, notice: Option<String>) -> Response {
        match (&mut self, notice) {
            (Response::Command { notices, .. }, Some(notice)) => notices.push(notice.into()),
            (Response::Rows(rows), Some(notice)) => rows.notices.push(notice.into()),
            _ => {}
        }
        self
    }

    /// A tag with several.
    pub fn told(tag: impl Into<String>, notices: Vec<String>) -> Response {
        Response::Command { tag: tag.into(), notices: notices.into_iter().map(Notice::from).collect() }
    }
}
