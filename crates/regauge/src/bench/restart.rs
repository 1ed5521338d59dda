//! Opening a folder again until its view can be read, from a checkpoint and from the log, as the log grows and the state does not; what a
//! checkpoint of 1 % changed keys writes, and what it costs those who are live.
//!
//! ```text
//!   count and sum by key:  one event a key ─▶ reopen ─▶ 3 a key ─▶ reopen ─▶ 10 a key ─▶ reopen       from a checkpoint, then from the log
//!   then, some times:      events for 1 % of the keys ─▶ checkpoint, rows appended one at a time beside it
//! ```
//! The state is the same size at each length, so a recovery that depends on the state and not on the log takes the same time each time; from
//! the log it grows. "Changed data" is what a row of the view and a group of its state hold without any encoding: the key and the two sums
//! twice, and the number of rows.

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
const LONG: Duration = Duration::from_secs(3600);
/// Bytes of a key that changed: key, count and sum in the output; key, number of rows, sum and number of values in the state.
const CHANGED_BYTES: u64 = 7 * 8;

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

/// Spreads numbers below `keys` over all of them.
fn scattered(i: usize, keys: usize) -> i64 {
    // a multiplier without a common divisor but 1 with any number of keys up to itself
    i64::try_from(i as u128 * 2_147_483_647 % keys as u128).unwrap_or(0)
}

/// Rows one at a time until told to stop: from acknowledged to visible.
fn live(instance: &Instance, keys: usize, stop: &AtomicBool) -> anyhow::Result<Vec<Duration>> {
    let (trace, mut all) = (trace(instance)?, vec![]);
    while !stop.load(Ordering::Acquire) || all.len() < 100 {
        let lsn = append(instance, vec![scattered(all.len(), keys)])?;
        let acknowledged = Instant::now();
        wait_visible(trace.as_ref(), lsn)?;
        all.push(acknowledged.elapsed());
    }
    Ok(all)
}

fn checkpoint(instance: &Instance) -> anyhow::Result<()> {
    let done = instance.checkpoint(LONG).map_err(print::explain)?;
    anyhow::ensure!(done, "no checkpoint: {:?}", instance.checkpoints());
    Ok(())
}

/// Seconds until a folder that is opened can be read at what was durable.
async fn reopen(dir: &Path, workers: usize, checkpoints: bool) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let instance = open(dir, workers, checkpoints)?;
    let durable = instance.log().durable();
    instance.versions().until_all_reach(durable, LONG).await.map_err(print::explain)?;
    let seconds = begun.elapsed().as_secs_f64();
    let restored = instance.checkpoints().opened.values().filter(|o| o.is_ok()).count();
    anyhow::ensure!(restored == usize::from(checkpoints), "restored={restored} {:?}", instance.checkpoints());
    Ok(seconds)
}

pub async fn run(keys: usize, lengths: &[usize], workers: usize) -> anyhow::Result<Value> {
    let scratch = Scratch::new(None)?;
    let dir = scratch.path();
    let instance = open(dir, workers, true)?;
    let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
    execute(&mut session, "CREATE STREAM s (k BIGINT, v BIGINT)").await?;
    execute(&mut session, "CREATE MATERIALIZED VIEW totals AS SELECT k, count(*) AS n, sum(v) AS total FROM s GROUP BY k")
        .await?;
    drop(session);
    drop(instance);
    let (mut appended, mut recoveries) = (0, vec![]);
    for events in lengths {
        let instance = open(dir, workers, true)?;
        let mut last = regauge_types::Lsn::ZERO;
        while appended < *events {
            let to = (appended + BATCH_ROWS).min(*events);
            last = append(&instance, (appended..to).map(|i| scattered(i, keys)).collect())?;
            appended = to;
        }
        wait_visible(trace(&instance)?.as_ref(), last)?;
        checkpoint(&instance)?;
        drop(instance);
        let from_checkpoint = reopen(dir, workers, true).await?;
        let from_log = reopen(dir, workers, false).await?;
        recoveries.push(json!({ "events": events, "seconds_from_checkpoint": from_checkpoint, "seconds_from_log": from_log }));
    }

    let instance = open(dir, workers, true)?;
    checkpoint(&instance)?;
    let quiet = live(&instance, keys, &AtomicBool::new(true))?;
    let (mut taken, mut during) = (vec![], vec![]);
    let n_changed = (keys / 100).max(1);
    for round in 0..10 {
        let first = appended + round * n_changed;
        let last = append(&instance, (first..first + n_changed).map(|i| scattered(i, keys)).collect())?;
        wait_visible(trace(&instance)?.as_ref(), last)?;
        let stop = AtomicBool::new(false);
        let begun = Instant::now();
        let (latencies, took) = std::thread::scope(|scope| -> anyhow::Result<_> {
            let writer = scope.spawn(|| live(&instance, keys, &stop));
            let done = checkpoint(&instance);
            let took = begun.elapsed();
            stop.store(true, Ordering::Release);
            let latencies = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
            done.map(|()| (latencies, took))
        })?;
        let status = instance.checkpoints();
        let changed = n_changed as u64 * CHANGED_BYTES;
        taken.push(json!({
            "seconds": took.as_secs_f64(), "bytes_written": status.n_bytes.0, "bytes_named_again": status.n_bytes.1,
            "written_to_changed": status.n_bytes.0 as f64 / changed as f64, "pause_ms": status.pause.as_secs_f64() * 1000.0,
            "visible_ms_max": latencies.iter().max().map(|d| d.as_secs_f64() * 1000.0), "rows": latencies.len(),
            "slowest_row": latencies.iter().enumerate().max_by_key(|(_, d)| **d).map(|(at, _)| at),
        }));
        during.extend(latencies);
    }
    let status = instance.checkpoints();
    let of = |all: &[Duration]| json!({ "p50": percentile_ms(all, 50), "p99": percentile_ms(all, 99), "n": all.len() });
    Ok(json!({
        "bench": "restart", "keys": keys, "workers": workers, "recoveries": recoveries, "changed_keys": n_changed,
        "checkpoints": taken, "pause_p99_ms": status.pause_p99().as_secs_f64() * 1000.0,
        "visible_ms_quiet": of(&quiet), "visible_ms_during": of(&during),
        "visible_ms_max": during.iter().max().map(|d| d.as_secs_f64() * 1000.0),
    }))
}
