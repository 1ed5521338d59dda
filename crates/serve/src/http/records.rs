//! `POST /v1/topics/{name}/records`: one body, one commit.
//!
//! With `Regauge-Producer: id` (or `id#incarnation`) and `Regauge-Sequence: n` a retry is stored once: sequences are 0, 1, 2, ..
//! per incarnation. `Regauge-On-Error: dead_letter` or `fail` says what becomes of bad records; without it the stream does. Answer: how many rows, where
//! they are, how many bad records are stored beside the stream, whether all that had been stored before.

use super::{Shared, failure::Failure, guard::Caller, visit, visit::Visit};
use crate::records::{self, Format};
use axum::{
    Extension,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use regauge_views::{
    ProducerSeq,
    error::sqlstate as code,
    session::{append::Receipt, intake::OnError},
};
use serde_json::json;

pub(super) const PRODUCER: HeaderName = HeaderName::from_static("regauge-producer");
pub(super) const ON_ERROR: HeaderName = HeaderName::from_static("regauge-on-error");
pub(super) const SEQUENCE: HeaderName = HeaderName::from_static("regauge-sequence");

pub(super) async fn records(
    State(door): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(topic): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let format = format(&headers)?;
    let producer = producer(&headers)?;
    let mut visit = Visit::begin(&door, &caller, &headers).await?;
    let outcome = store(&door, &mut visit, &topic, format, producer, &headers, body).await;
    Ok(visit.answer(outcome))
}

async fn store(
    door: &Shared,
    visit: &mut Visit,
    topic: &str,
    format: Format,
    producer: Option<ProducerSeq>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let options = &door.options;
    let held = door.budget.read(headers, body, options.records_bytes_max, options.body_timeout).await?;
    let _share = held.share;
    let wished = visit::text(headers, &ON_ERROR)?.map(OnError::parse).transpose()?;
    let intake = match records::read(&mut visit.session, topic, format, held.bytes, wished).await {
        Ok(intake) => intake,
        Err(error) => {
            // What is stored may not read any more: columns and rules come and go. Then its receipt is the answer.
            let Some(producer) = &producer else { return Err(error.into()) };
            let Ok(Some(receipt)) = visit.session.stored_before(topic, producer, None).await else { return Err(error.into()) };
            return Ok(answer(visit, &receipt));
        }
    };
    if intake.n_records == 0 && producer.is_some() {
        let failure = Failure::bad(code::BAD_COPY, "the body holds no records, and so takes no sequence");
        return Err(failure.hint("send at least one record, under the same sequence"));
    }
    let receipt = visit.session.append_intake(topic, intake, producer).await.map_err(Failure::of_path)?;
    if !receipt.duplicate {
        door.counters.appended(receipt.n_rows as u64);
    }
    Ok(answer(visit, &receipt))
}

fn answer(visit: &Visit, receipt: &Receipt) -> Response {
    let placed: Vec<_> = receipt
        .placed
        .iter()
        .map(|p| json!({ "partition": p.partition, "first_offset": p.first_offset, "rows": p.n_rows }))
        .collect();
    let answer = json!({
        "rows": receipt.n_rows,
        "dead_lettered": receipt.n_dead,
        "duplicate": receipt.duplicate,
        "lsn": receipt.lsn.0,
        "placed": placed,
        "token": visit.session.token(),
    });
    ([(header::CONTENT_TYPE, "application/json")], format!("{answer}\n")).into_response()
}

fn format(headers: &HeaderMap) -> Result<Format, Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    Format::of_media_type(kind).ok_or_else(|| {
        let failure = Failure::bad(code::PROTOCOL_VIOLATION, format!("records cannot be read content_type={kind:?}"));
        let failure =
            failure.hint("send application/x-ndjson, text/csv with a header line, or application/vnd.apache.arrow.stream");
        Failure { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, ..failure }
    })
}

fn producer(headers: &HeaderMap) -> Result<Option<ProducerSeq>, Failure> {
    let (id, sequence) = (visit::text(headers, &PRODUCER)?, visit::text(headers, &SEQUENCE)?);
    let (id, sequence) = match (id, sequence) {
        (None, None) => return Ok(None),
        (Some(id), Some(sequence)) if !id.is_empty() => (id, sequence),
        _ => {
            let failure = Failure::bad(code::INVALID_PARAMETER, "a producer's append has an id and a sequence");
            return Err(failure.hint("send Regauge-Producer: <id> and Regauge-Sequence: 0, 1, 2, .. together"));
        }
    };
    let sequence = sequence.parse().map_err(|_| {
        Failure::bad(code::INVALID_PARAMETER, format!("sequence is not a number sequence={sequence:?}"))
            .hint("sequences are 0, 1, 2, ..")
    })?;
    let (id, incarnation) = id.rsplit_once('#').and_then(|(id, n)| Some((id, n.parse().ok()?))).unwrap_or((id, 0));
    Ok(Some(ProducerSeq { id: id.to_owned(), incarnation, sequence }))
}
