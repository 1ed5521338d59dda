//! What a count by key holds in memory, a key: operator state and published rows together, as the process's resident memory tells.
//!
//! The same rows go first into a stream that nobody reads, so that caches of the log are full before the first look.

use super::{
    inputs::{Scratch, execute},
    meter::resident_bytes,
};
use crate::print;
use anyhow::Context;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use regauge_views::{Config, Instance, Session, SessionOptions, catalog::Kind};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const BATCH_ROWS: usize = 10_000;

pub async fn run(keys: usize) -> anyhow::Result<Value> {
    let scratch = Scratch::new(None)?;
    let instance = Instance::open(Config::new(scratch.path())).map_err(print::explain)?;
    let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
    execute(&mut session, "CREATE STREAM unread (k BIGINT, t TEXT); CREATE STREAM s (k BIGINT, t TEXT)").await?;
    execute(&mut session, "CREATE MATERIALIZED VIEW counts AS SELECT k, t, count(*) AS n FROM s GROUP BY k, t").await?;
    append(&mut session, "unread", keys).await?;
    let before = settled();
    let text_bytes = append(&mut session, "s", keys).await?;
    execute(&mut session, "FLUSH").await?;
    let after = settled();
    let of_key = 8.0 + text_bytes as f64 / keys as f64;
    let per_key = match (before, after) {
        (Some(before), Some(after)) => Some(after.saturating_sub(before) as f64 / keys as f64),
        _ => None,
    };
    let catalog = instance.catalog();
    let view = catalog.relations().find(|r| r.name.name == "counts").context("view is missing")?;
    let Kind::Materialized { routed, .. } = &view.kind else { anyhow::bail!("not a materialized view") };
    let operators = instance.versions().operator_lines(view.view().context("not a view")?, *routed);
    Ok(json!({
        "bench": "memory", "keys": keys, "key_bytes": of_key, "resident_bytes_per_key": per_key,
        "over_key_bytes": per_key.map(|b| b - of_key), "operators": operators,
    }))
}

/// Appends keys `0 .. n`, each once; bytes of their texts.
async fn append(session: &mut Session, stream: &str, n: usize) -> anyhow::Result<usize> {
    let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("t", DataType::Utf8, true)]));
    let mut bytes = 0;
    for from in (0..n).step_by(BATCH_ROWS) {
        let keys: Vec<i64> = (from..(from + BATCH_ROWS).min(n)).map(|k| k as i64).collect();
        let texts: StringArray = keys.iter().map(|k| Some(format!("key number {k:07}"))).collect();
        bytes += texts.value_data().len();
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(keys)), Arc::new(texts)];
        session.append(stream, RecordBatch::try_new(schema.clone(), columns)?, None).await.map_err(print::explain)?;
    }
    Ok(bytes)
}

/// Resident memory after the allocator had time to give back what is free.
fn settled() -> Option<u64> {
    std::thread::sleep(Duration::from_millis(500));
    resident_bytes()
}
