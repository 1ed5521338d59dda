//! What a count by key holds in memory, a key: operator state and published rows together, as the process's resident memory tells.
//!
//! ```text
//!   unread += 3n ─▶ look ─ unread += n ─ look ─ unread += n ─ look ─▶ s += n, FLUSH ─▶ look ─ unread += n ─ look ─ unread += n ─ look
//!                   └──────────── mean of three ────────────┘                        └──────────── mean of three ────────────┘
//! ```
//!
//! The stream that nobody reads is filled first, until the log's caches are full, so that the view is not charged for them. What the log
//! and the archiver hold still goes up and down by some ten bytes a key, so each level is the mean of three looks, the same number of rows
//! that nobody reads between them. Everything is archived before a look, so that the archiver is idle; a look waits until the number no
//! longer falls: the allocator gives free memory back a second late, when a server's idle tick or an allocation comes.

use super::{
    inputs::{Scratch, execute},
    meter::resident_bytes,
};
use crate::{allocator, print};
use anyhow::Context;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use regauge_views::{Config, Instance, Session, SessionOptions, catalog::Kind};
use serde_json::{Value, json};
use std::sync::Arc;

const BATCH_ROWS: usize = 10_000;

/// How often the unread stream is filled before the first look: the log keeps 80 MiB of recent commits, some 40 bytes a row.
const WARM_TIMES: usize = 3;

/// How often a level is looked at.
const LOOKS: usize = 3;

pub async fn run(keys: usize) -> anyhow::Result<Value> {
    let scratch = Scratch::new(None)?;
    let instance = Instance::open(Config::new(scratch.path())).map_err(print::explain)?;
    let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
    execute(&mut session, "CREATE STREAM unread (k BIGINT, t TEXT); CREATE STREAM s (k BIGINT, t TEXT)").await?;
    execute(&mut session, "CREATE MATERIALIZED VIEW counts AS SELECT k, t, count(*) AS n FROM s GROUP BY k, t").await?;
    for _ in 0..WARM_TIMES {
        append(&mut session, "unread", keys).await?;
    }
    let before = level(&instance, &mut session, keys).await?;
    let text_bytes = append(&mut session, "s", keys).await?;
    execute(&mut session, "FLUSH").await?;
    let after = level(&instance, &mut session, keys).await?;
    let of_key = 8.0 + text_bytes as f64 / keys as f64;
    let mean = |looks: &[u64]| looks.iter().sum::<u64>() as f64 / looks.len() as f64;
    let is_known = !before.is_empty() && !after.is_empty();
    let resident = is_known.then(|| (mean(&after) - mean(&before)) / keys as f64);
    let catalog = instance.catalog();
    let view = catalog.relations().find(|r| r.name.name == "counts").context("view is missing")?;
    let Kind::Materialized { routed, .. } = &view.kind else { anyhow::bail!("not a materialized view") };
    let id = view.view().context("not a view")?;
    let published = instance.versions().reader((id, *routed)).map_err(print::explain)?.n_bytes();
    Ok(json!({
        "bench": "memory", "keys": keys, "key_bytes": of_key, "resident_bytes_per_key": resident,
        "over_key_bytes": resident.map(|b| b - of_key), "resident_bytes": { "before": before, "after": after },
        "published_bytes_per_key": published.map(|b| b as f64 / keys as f64),
        "operators": instance.versions().operator_lines(id, *routed),
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

/// Three looks at the resident memory, with appends between them; none where it cannot be known.
async fn level(instance: &Instance, session: &mut Session, keys: usize) -> anyhow::Result<Vec<u64>> {
    let mut looks = vec![];
    for look in 0..LOOKS {
        if look > 0 {
            append(session, "unread", keys).await?;
        }
        looks.extend(settled(instance)?);
    }
    Ok(looks)
}

/// Resident memory once the archiver has nothing to do and the allocator has given back what is free, as it does in a server.
fn settled(instance: &Instance) -> anyhow::Result<Option<u64>> {
    instance.log().archive_now()?;
    let mut least = None;
    for _ in 0..10 {
        std::thread::sleep(allocator::EVERY);
        allocator::give_back();
        let now = resident_bytes();
        if least.is_some_and(|least| now.is_none_or(|now| now >= least)) {
            break;
        }
        least = now;
    }
    Ok(least)
}
