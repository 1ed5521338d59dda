//! `GET /v1/views/{name}/changes`: what SUBSCRIBE gives, as server-sent events.
//!
//! ```text
//!   event: columns    data: [{"name", "type"}, ..]               once
//!   event: change     data: {"epoch": n, "diff": d, "row": [..]}
//!   event: progress   data: {"epoch": n}    id: <token>          everything up to n has been sent
//!   event: error      data: {"code", ..}    id:                  the last one; an empty id where its changes are gone (40001)
//! ```
//! There is no good end: whatever ends it but its client, the stop of the server too (57P01), is told in an event.
//! `?snapshot=false` leaves out the present rows; `?after=<token>` begins behind what the token has seen, and so does the header
//! `Last-Event-ID`, which browsers send when they connect again: nothing is missed and nothing comes twice. Where the changes since
//! then are not kept any more the error says so, and its empty id makes a browser begin anew, with the present rows.

use super::{
    Shared,
    failure::{Failure, to_json},
    guard::Caller,
    json,
    sql::{stopped, until_stopped},
    views,
    visit::{Visit, text},
};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Int64Type, Schema},
};
use axum::{
    Extension,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use regauge_types::Lsn;
use regauge_views::{Error, Response as Answer, Subscription, error::sqlstate as code};
use std::{convert::Infallible, fmt::Write};

const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
/// Columns of a subscription before the relation's own: epoch, progress, diff.
const OWN_COLUMNS: usize = 3;

pub(super) async fn changes(
    State(door): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(params): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let mut visit = Visit::begin(&door, &caller, &headers).await?;
    let subscription = match subscribe(&mut visit, &name, &params, &headers).await {
        Ok(subscription) => subscription,
        Err(failure) => return Ok(visit.answer(Err(failure))),
    };
    let own = subscription.schema.fields().iter().skip(OWN_COLUMNS).cloned().collect::<Vec<_>>();
    let head = format!("event: columns\ndata: {}\n\n", json::columns(&Schema::new(own)));
    let mut response = StatusCode::OK.into_response();
    visit.stamp(&mut response);
    let events = subscription.stream.map(move |batch| match batch {
        Ok(batch) => Bytes::from(events(&batch, &visit)),
        Err(error) => failed(&error),
    });
    let stopping = door.stopping.clone();
    let body = until_stopped(stream::iter([Bytes::from(head)]).chain(events), stopping, failed(&stopped()));
    *response.body_mut() = Body::from_stream(body.map(Ok::<_, Infallible>));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The last event. With its token a client would come again and again for changes that are gone: an empty id takes it back.
fn failed(error: &Error) -> Bytes {
    let id = if error.sqlstate == code::SERIALIZATION { "id:\n" } else { "" };
    format!("event: error\n{id}data: {}\n\n", serde_json::Value::Object(to_json(error))).into()
}

async fn subscribe(
    visit: &mut Visit,
    name: &str,
    params: &[(String, String)],
    headers: &HeaderMap,
) -> Result<Subscription, Failure> {
    let relation = views::find(visit, name)?;
    let quoted = |token: &str| format!(" AFTER '{}'", token.replace('\'', "''"));
    let mut snapshot = "true";
    let mut after = text(headers, &LAST_EVENT)?.map(quoted).unwrap_or_default();
    for (name, value) in params {
        match (name.as_str(), value.as_str()) {
            ("snapshot", "true" | "false") => snapshot = value,
            ("after", token) if after.is_empty() => after = quoted(token),
            ("after", _) => {}
            _ => {
                let failure = Failure::bad(code::INVALID_PARAMETER, format!("unknown parameter {name}={value:?}"));
                return Err(failure.hint("parameters are snapshot=true|false and after=<token>"));
            }
        }
    }
    let (schema, own) = (views::quote(&relation.name.schema), views::quote(&relation.name.name));
    let sql = format!("SUBSCRIBE TO {schema}.{own} WITH (snapshot = {snapshot}, progress = true){after}");
    match visit.session.execute(&sql).await?.pop() {
        Some(Answer::Subscription(subscription)) => Ok(subscription),
        _ => Err(Error::internal("SUBSCRIBE gave no subscription").into()),
    }
}

fn events(batch: &RecordBatch, visit: &Visit) -> String {
    let mut out = String::new();
    let columns = batch.columns();
    let (Some(epochs), Some(progress), Some(diffs)) = (
        columns.first().and_then(|c| c.as_primitive_opt::<Int64Type>()),
        columns.get(1).and_then(|c| c.as_boolean_opt()),
        columns.get(2).and_then(|c| c.as_primitive_opt::<Int64Type>()),
    ) else {
        return out;
    };
    let Ok(rows) = batch.project(&(OWN_COLUMNS..columns.len()).collect::<Vec<_>>()) else { return out };
    for row in 0..batch.num_rows() {
        let epoch = epochs.value(row);
        // Writing to a String cannot fail.
        if progress.is_valid(row) && progress.value(row) {
            let token = visit.session.token_at(Lsn(epoch.cast_unsigned()));
            let _ = write!(out, "event: progress\nid: {token}\ndata: {{\"epoch\":{epoch}}}\n\n");
        } else {
            let _ = write!(out, "event: change\ndata: {{\"epoch\":{epoch},\"diff\":{},\"row\":", diffs.value(row));
            json::write_row(&mut out, &rows, row);
            out.push_str("}\n\n");
        }
    }
    out
}
