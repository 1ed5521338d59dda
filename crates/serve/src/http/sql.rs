//! `POST /v1/sql`: a text of statements, or one statement with parameters.
//!
//! ```text
//!   {"sql": "...", "params": [..]?, "timeout_ms": n?}
//!   application/json      {"results": [{"tag", "columns", "rows", "notices"}, ..]}         whole, or an error
//!   application/x-ndjson  {"columns": [..]}  [row]..  {"tag", "notices"}   per statement, as the rows come; an error ends it: {"error": {..}}
//! ```
//! So an answer is whole if its last line has a tag, or, of SUBSCRIBE, which has no end, never: whatever ends that but its client, the
//! stop of the server too (57P01), is told in a last line.
//! Several statements are one transaction, as on the Postgres wire. A transaction ends with its request. Only NDJSON carries
//! SUBSCRIBE; COPY FROM STDIN has its own path.

use super::{
    Shared,
    failure::{Failure, to_json},
    guard::Caller,
    json,
    visit::Visit,
};
use crate::records;
use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{DataType, Schema},
};
use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, stream};
use regauge_types::ErrorKind;
use regauge_views::{Error, Response as Answer, RowStream, error::sqlstate as code, response::Notice};
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio_util::sync::CancellationToken;

/// What the client asks for.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    sql: String,
    #[serde(default)]
    params: Option<Vec<Value>>,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

pub(super) async fn sql(
    State(door): State<Shared>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let failure = Failure::bad(code::PROTOCOL_VIOLATION, format!("content type is not JSON content_type={kind:?}"));
        let failure = failure.hint("send content-type: application/json and {\"sql\": \"...\"}");
        return Err(Failure { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, ..failure });
    }
    let options = &door.options;
    let held = door.budget.read(&headers, body, options.statement_bytes_max, options.body_timeout).await?;
    let ask: Ask = serde_json::from_slice(&held.bytes).map_err(|e| {
        let failure = Failure::bad(code::PROTOCOL_VIOLATION, format!("the body is not what it should be: {e}"));
        failure.hint("send {\"sql\": \"...\"}, and \"params\": [..] where the statement has $1, $2, ..")
    })?;
    drop(held);
    let streams = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("ndjson"));
    let mut visit = Visit::begin(&door, &caller, &headers).await?;
    let answers = match run(&mut visit, ask).await {
        Ok(answers) => answers,
        Err(error) => return Ok(visit.answer(Err(error.into()))),
    };
    if streams {
        return Ok(streamed(&door, visit, answers));
    }
    let outcome = whole(answers, options.answer_bytes_max).await;
    Ok(visit.answer(outcome))
}

async fn run(visit: &mut Visit, ask: Ask) -> Result<Vec<Answer>, Error> {
    let session = &mut visit.session;
    if let Some(ms) = ask.timeout_ms {
        session.execute(&format!("SET statement_timeout = {ms}")).await?;
    }
    let Some(params) = ask.params.filter(|p| !p.is_empty()) else { return session.execute(&ask.sql).await };
    let prepared = session.prepare(&ask.sql, &[]).await?;
    let types = prepared.params.iter().chain(std::iter::repeat(&DataType::Utf8));
    let values = params.iter().zip(types).enumerate().map(|(at, (v, ty))| param(at, v, ty)).collect::<Result<Vec<_>, _>>()?;
    Ok(vec![session.run(&prepared, &values).await?])
}

/// A value of the parameter's type.
fn param(at: usize, value: &Value, ty: &DataType) -> Result<ArrayRef, Error> {
    let text = match value {
        Value::Null => None,
        Value::Bool(v) => Some(v.to_string()),
        Value::Number(v) => Some(v.to_string()),
        Value::String(v) => Some(v.clone()),
        Value::Array(_) | Value::Object(_) => {
            let error = Error::invalid(code::INVALID_PARAMETER, format!("parameter ${} is an array or an object", at + 1));
            return Err(error.hint("parameters are numbers, strings, booleans and null"));
        }
    };
    records::value(ty, text.as_deref())
}

fn needs_stream(what: &str, hint: &str) -> Error {
    Error::new(ErrorKind::Unsupported, code::FEATURE_NOT_SUPPORTED, format!("{what} does not fit this answer")).hint(hint)
}

fn no_copy_out() -> Error {
    Error::unsupported("COPY TO STDOUT is not offered over HTTP").hint("send the query itself, or use the Postgres protocol")
}

fn no_copy() -> Error {
    needs_stream("COPY FROM STDIN", "POST the rows to /v1/topics/{name}/records, as NDJSON, CSV or an Arrow stream")
}

/// One JSON document.
async fn whole(answers: Vec<Answer>, bytes_max: usize) -> Result<Response, Failure> {
    let mut out = String::from("{\"results\":[");
    for (at, answer) in answers.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        match answer {
            Answer::Command { tag, notices } => {
                let notices = messages(notices);
                out.push_str(&json!({ "tag": tag, "columns": [], "rows": [], "notices": notices }).to_string());
            }
            Answer::Rows(rows) => {
                out.push_str(&format!("{{\"columns\":{},\"rows\":[", json::columns(&rows.schema)));
                let n = write_rows(&mut out, rows.stream, bytes_max).await?;
                let end = json!({ "tag": format!("{} {n}", rows.tag), "notices": messages(rows.notices) }).to_string();
                out.push_str("],");
                out.push_str(end.trim_start_matches('{'));
            }
            Answer::CopyIn(_) => return Err(no_copy().into()),
            Answer::CopyOut(_) => return Err(no_copy_out().into()),
            Answer::Subscription(_) => {
                return Err(
                    needs_stream("SUBSCRIBE", "send accept: application/x-ndjson, or GET /v1/views/{name}/changes").into()
                );
            }
        }
    }
    out.push_str("]}\n");
    Ok(([(header::CONTENT_TYPE, "application/json")], out).into_response())
}

/// Appends all rows; how many there were.
pub(super) async fn write_rows(out: &mut String, mut rows: RowStream, bytes_max: usize) -> Result<u64, Failure> {
    let mut n = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            if n > 0 {
                out.push(',');
            }
            json::write_row(out, &batch, row);
            n += 1;
            if out.len() > bytes_max {
                let message = format!("answer is too large max_bytes={bytes_max}");
                let error = Error::new(ErrorKind::Exhausted, code::LIMIT_EXCEEDED, message);
                return Err(error.hint("send accept: application/x-ndjson to get rows as they come, or use LIMIT").into());
            }
        }
    }
    Ok(n)
}

fn messages(notices: Vec<Notice>) -> Vec<String> {
    notices.into_iter().map(|notice| notice.message).collect()
}

/// Lines, as the rows come. The visit lives as long as the client reads.
fn streamed(door: &Shared, visit: Visit, answers: Vec<Answer>) -> Response {
    let stopping = door.stopping.clone();
    let mut response = StatusCode::OK.into_response();
    visit.stamp(&mut response);
    let lines = stream::iter(answers).flat_map(|answer| match answer {
        Answer::Command { tag, notices } => once(json!({ "tag": tag, "notices": messages(notices) })).boxed(),
        Answer::Rows(rows) => lines_of(&rows.schema, rows.stream, Some((rows.tag, messages(rows.notices)))).boxed(),
        Answer::Subscription(s) => lines_of(&s.schema, s.stream, None).boxed(),
        Answer::CopyIn(_) => once(json!({ "error": to_json(&no_copy()) })).boxed(),
        Answer::CopyOut(_) => once(json!({ "error": to_json(&no_copy_out()) })).boxed(),
    });
    // After an error nothing follows, not the answers of later statements either.
    let lines = lines.scan(false, |ended, line| {
        let go = !std::mem::replace(ended, line.last);
        async move { go.then_some(Ok::<_, Infallible>(line.bytes)) }
    });
    let last = Bytes::from(format!("{}\n", json!({ "error": to_json(&stopped()) })));
    let lines = until_stopped(lines, stopping, Ok(last));
    let held = lines.map(move |line| {
        let _visit = &visit;
        line
    });
    *response.body_mut() = Body::from_stream(held);
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What a stream says at last that is cut off as the server stops: without it nobody could tell that from its end.
pub(super) fn stopped() -> Error {
    let error = Error::new(ErrorKind::Unavailable, code::SHUTDOWN, "the server is stopping");
    error.hint("connect again, and go on behind the token that came last")
}

/// A stream that ends with an item of its own if the server stops first.
pub(super) fn until_stopped<T: Send + 'static>(
    items: impl Stream<Item = T> + Send + 'static,
    stopping: CancellationToken,
    last: T,
) -> impl Stream<Item = T> + Send {
    stream::unfold(Some((items.boxed(), stopping, last)), |state| async move {
        let (mut items, stopping, last) = state?;
        let item = tokio::select! {
            biased;
            () = stopping.cancelled() => None,
            item = items.next() => Some(item),
        };
        match item {
            Some(item) => item.map(|item| (item, Some((items, stopping, last)))),
            // It may have come to its end at the same moment.
            None if matches!(items.next().now_or_never(), Some(None)) => None,
            None => Some((last, None)),
        }
    })
}

/// Some lines of an answer.
struct Line {
    bytes: Bytes,
    last: bool,
}

fn once(value: Value) -> impl Stream<Item = Line> + Send {
    let last = value.get("error").is_some();
    stream::iter([Line { bytes: format!("{value}\n").into(), last }])
}

fn lines_of(schema: &Schema, rows: RowStream, end: Option<(String, Vec<String>)>) -> impl Stream<Item = Line> + Send + use<> {
    let head = once(json!({ "columns": json::columns(schema) }));
    enum State {
        Rows(RowStream, u64, Option<(String, Vec<String>)>),
        End,
    }
    let body = stream::unfold(State::Rows(rows, 0, end), |state| async move {
        let State::Rows(mut rows, n, end) = state else { return None };
        match rows.next().await {
            Some(Ok(batch)) => {
                let more = n + batch.num_rows() as u64;
                Some((Line { bytes: lines_of_batch(&batch), last: false }, State::Rows(rows, more, end)))
            }
            Some(Err(error)) => {
                let bytes = format!("{}\n", json!({ "error": to_json(&error) })).into();
                Some((Line { bytes, last: true }, State::End))
            }
            None => {
                let (tag, notices) = end?;
                let bytes = format!("{}\n", json!({ "tag": format!("{tag} {n}"), "notices": notices })).into();
                Some((Line { bytes, last: false }, State::End))
            }
        }
    });
    head.chain(body)
}

fn lines_of_batch(batch: &RecordBatch) -> Bytes {
    let mut out = String::new();
    for row in 0..batch.num_rows() {
        json::write_row(&mut out, batch, row);
        out.push('\n');
    }
    out.into()
}
