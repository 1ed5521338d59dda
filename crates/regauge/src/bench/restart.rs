//! Opening a folder again until its view can be read, from a checkpoint and from the log; and what taking a checkpoint costs those who are live.
//!
//! A count and a sum by key: each key three times in the log, so that the log is longer than the state. While checkpoints are taken, rows
//! are appended one at a time, and the time from acknowledged to visible is measured beside the same without a checkpoint.

use super::inputs::{Scratch, execute, wait_visible};
use crate::{percentile::percentile_ms, print};
use anyhow::Context;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use regauge_log::{Append, Transaction};
use regauge_views::{Config, Instance, SessionOptions, catalog::Kind, version::trace::Trace};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const BATCH_ROWS: usize = 50_000;
const TIMES: usize = 3;
const LONG: Duration = Duration::from_secs(600);

fn open(dir: &Path, workers: usize, checkpoints: bool) -> anyhow::Result<Instance> {
    let mut config = Config::new(dir).workers(workers);
    config.checkpoints.enabled = checkpoints;
    config.checkpoints.every = LONG;
    config.checkpoints.log_bytes = u64::MAX;
    Instance::open(config).map_err(print::explain)
}

fn trace(instance: &Instance) -> anyhow::Result<Arc<dyn Trace>> {
    let catalog = instance.catalog();
    let view = catalog.relations().find(|r| r.name.name == "totals").context("view is missing")?;
    let Kind::Materialized { routed, .. } = &view.kind else { anyhow::bail!("not a materialized view") };
    instance.versions().reader((view.view().context("not a view")?, *routed)).map_err(print::explain)
}

fn append(instance: &Instance, keys: Vec<i64>) -> anyhow::Result<regauge_types::Lsn> {
    let catalog = instance.catalog();
    let stream = catalog.relations().find(|r| r.name.name == "s").context("stream is missing")?;
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(keys.clone())), Arc::new(Int64Array::from(keys))];
    let rows = RecordBatch::try_new(stream.schema(), columns)?;
    let append = Append { topic: stream.topic().context("no topic")?, partition: None, rows };
    Ok(instance.log().commit(Transaction { appends: vec![append], ..Transaction::default() })?.lsn)
}

/// Rows one at a time until told to stop: from acknowledged to visible.
fn live(instance: &Instance, keys: usize, stop: &AtomicBool) -> anyhow::Result<Vec<Duration>> {
    let (trace, mut all, mut key) = (trace(instance)?, vec![], 1i64);
    while !stop.load(Ordering::Acquire) || all.len() < 100 {
        key = (key * 48_271) % 2_147_483_647;
        let lsn = append(instance, vec![key % keys as i64])?;
        let acknowledged = Instant::now();
        wait_visible(trace.as_ref(), lsn)?;
        all.push(acknowledged.elapsed());
    }
    Ok(all)
}

/// Seconds until a folder that is opened can be read at what was durable.
async fn reopen(dir: &Path, workers: usize, checkpoints: bool) -> anyhow::Result<(f64, usize)> {
    let begun = Instant::now();
    let instance = open(dir, workers, checkpoints)?;
    let durable = instance.log().durable();
    instance.versions().until_all_reach(durable, LONG).await.map_err(print::explain)?;
    let seconds = begun.elapsed().as_secs_f64();
    let restored = instance.checkpoints().opened.values().filter(|o| o.is_ok()).count();
    Ok((seconds, restored))
}

pub async fn run(keys: usize, workers: usize) -> anyhow::Result<Value> {
    let scratch = Scratch::new(None)?;
    let instance = open(scratch.path(), workers, true)?;
    let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
    execute(&mut session, "CREATE STREAM s (k BIGINT, v BIGINT)").await?;
    execute(&mut session, "CREATE MATERIALIZED VIEW totals AS SELECT k, count(*) AS n, sum(v) AS total FROM s GROUP BY k")
        .await?;
    let mut last = regauge_types::Lsn::ZERO;
    for from in (0..keys * TIMES).step_by(BATCH_ROWS) {
        let to = (from + BATCH_ROWS).min(keys * TIMES);
        last = append(&instance, (from..to).map(|k| (k % keys) as i64).collect())?;
    }
    wait_visible(trace(&instance)?.as_ref(), last)?;
    let stop = AtomicBool::new(true);
    let quiet = live(&instance, keys, &stop)?;
    let mut taken = vec![];
    let mut during = vec![];
    for _ in 0..3 {
        let stop = AtomicBool::new(false);
        let begun = Instant::now();
        let (latencies, took) = std::thread::scope(|scope| -> anyhow::Result<_> {
            let writer = scope.spawn(|| live(&instance, keys, &stop));
            let done = instance.checkpoint(LONG).map_err(print::explain);
            let took = begun.elapsed();
            stop.store(true, Ordering::Release);
            let latencies = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
            anyhow::ensure!(done?, "no checkpoint: {:?}", instance.checkpoints());
            Ok((latencies, took))
        })?;
        let status = instance.checkpoints();
        taken.push(json!({ "seconds": took.as_secs_f64(), "bytes_written": status.n_bytes.0, "bytes_reused": status.n_bytes.1 }));
        during.extend(latencies);
    }
    drop(session);
    drop(instance);
    let (from_checkpoint, restored) = reopen(scratch.path(), workers, true).await?;
    let (from_log, none) = reopen(scratch.path(), workers, false).await?;
    anyhow::ensure!(restored == 1 && none == 0, "restored={restored} none={none}");
    Ok(json!({
        "bench": "restart", "keys": keys, "log_rows": keys * TIMES, "workers": workers,
        "open_seconds_from_checkpoint": from_checkpoint, "open_seconds_from_log": from_log, "checkpoints": taken,
        "visible_ms_quiet": { "p50": percentile_ms(&quiet, 50), "p99": percentile_ms(&quiet, 99), "n": quiet.len() },
        "visible_ms_during": { "p50": percentile_ms(&during, 50), "p99": percentile_ms(&during, 99), "n": during.len(),
            "max": during.iter().max().map(|d| d.as_secs_f64() * 1000.0) },
    }))
}
