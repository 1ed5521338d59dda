//! What a request fails with: JSON of code, message, detail and hint, under a fitting status.

use crate::records::BadRecords;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use regauge_types::ErrorKind;
use regauge_views::{Error, error::sqlstate as code};
use serde_json::{Map, Value, json};

/// A failed request.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) error: Box<Error>,
    pub(super) line: Option<u64>,
    pub(super) column: Option<String>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, error: Error) -> Failure {
        Failure { status, error: Box::new(error), line: None, column: None }
    }

    pub(super) fn bad(sqlstate: &'static str, message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, Error::invalid(sqlstate, message))
    }

    /// An error about something that the path names.
    pub(super) fn of_path(error: Error) -> Failure {
        let status = if error.kind == ErrorKind::NotFound { StatusCode::NOT_FOUND } else { status(&error) };
        Failure::new(status, error)
    }

    pub(super) fn hint(mut self, hint: &str) -> Failure {
        *self.error = self.error.clone().hint(hint);
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(status(&error), error)
    }
}

impl From<BadRecords> for Failure {
    fn from(bad: BadRecords) -> Failure {
        let BadRecords { error, line, column } = bad;
        if line.is_none() {
            return Failure::of_path(*error);
        }
        Failure { line, column, ..Failure::from(*error) }
    }
}

/// The status that goes with an error.
pub(super) fn status(error: &Error) -> StatusCode {
    match error.sqlstate {
        code::CAUSAL_TIMEOUT | code::QUERY_CANCELED => return StatusCode::GATEWAY_TIMEOUT,
        code::DISK_FULL => return StatusCode::INSUFFICIENT_STORAGE,
        code::LIMIT_EXCEEDED => return StatusCode::PAYLOAD_TOO_LARGE,
        // as it is, it will never be taken: nothing to try again
        "54001" | "54011" => return StatusCode::BAD_REQUEST,
        _ => {}
    }
    match error.kind {
        // A name within a statement; what the path names is `of_path`'s.
        ErrorKind::Invalid | ErrorKind::NotFound => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict | ErrorKind::Fenced => StatusCode::CONFLICT,
        ErrorKind::Unavailable | ErrorKind::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An error as JSON.
pub(super) fn to_json(error: &Error) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("code".to_owned(), json!(error.sqlstate));
    out.insert("message".to_owned(), json!(error.message));
    out.insert("detail".to_owned(), json!(error.detail));
    out.insert("hint".to_owned(), json!(error.advice()));
    out
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::debug!(status = self.status.as_u16(), error = %self.error, "http: request failed");
        }
        let mut body = to_json(&self.error);
        if let Some(line) = self.line {
            body.insert("line".to_owned(), json!(line));
        }
        if let Some(column) = self.column {
            body.insert("column".to_owned(), json!(column));
        }
        let mut response = (self.status, format!("{}\n", Value::Object(body))).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::UNAUTHORIZED {
            let realm = HeaderValue::from_static("Basic realm=\"regauge\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
        }
        response
    }
}

pub(super) async fn no_such_path() -> Failure {
    let error = Error::new(ErrorKind::NotFound, code::UNDEFINED_OBJECT, "there is nothing at this path");
    Failure::new(StatusCode::NOT_FOUND, error.hint("/openapi.yaml lists what there is"))
}

pub(super) async fn no_such_method() -> Failure {
    let error = Error::invalid(code::FEATURE_NOT_SUPPORTED, "this path does not take the request's method");
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, error.hint("/openapi.yaml lists what there is"))
}
