//! The fixed cost of an epoch: one row through a view of ten operators, from the acknowledgement to the moment that it shows.

use super::{
    inputs::{Scratch, execute, wait_visible},
    meter::Meter,
};
use crate::{percentile::percentile_ms, print};
use anyhow::Context;
use arrow::array::{Int64Array, RecordBatch};
use regauge_log::{Append, Transaction};
use regauge_views::{Config, Instance, SessionOptions, catalog::Kind};
use serde_json::{Value, json};
use std::{sync::Arc, time::Instant};

/// Two sources, filters and projections, a join, two aggregates one over the other, a distinct and a union.
const VIEW: &str = "
CREATE STREAM a (k BIGINT, v BIGINT); CREATE STREAM b (k BIGINT, w BIGINT);
CREATE MATERIALIZED VIEW ten AS
  SELECT kind, count(*) AS n, sum(total) AS total FROM (
    SELECT k % 10 AS kind, total FROM (
      SELECT a.k, sum(a.v + b.w) AS total FROM a JOIN b ON a.k = b.k WHERE a.v >= 0 GROUP BY a.k) s WHERE total >= 0
    UNION ALL
    SELECT DISTINCT k % 5, v FROM a WHERE v % 2 = 0) u
  GROUP BY kind";

pub async fn run(n_epochs: usize, workers: usize) -> anyhow::Result<Value> {
    let scratch = Scratch::new(None)?;
    let instance = Instance::open(Config::new(scratch.path()).workers(workers)).map_err(print::explain)?;
    let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
    for statement in VIEW.split(';') {
        execute(&mut session, statement).await?;
    }
    let catalog = instance.catalog();
    let of_b: Vec<String> = (0..100).map(|k| format!("({k}, {})", k * 7)).collect();
    execute(&mut session, &format!("INSERT INTO b VALUES {}", of_b.join(", "))).await?;
    let find = |name: &str| catalog.relations().find(|r| r.name.name == name).cloned().context("relation is missing");
    let (stream, view) = (find("a")?, find("ten")?);
    let Kind::Materialized { routed, .. } = &view.kind else { anyhow::bail!("not a materialized view") };
    let key = (view.view().context("not a view")?, *routed);
    let trace = instance.versions().reader(key).map_err(print::explain)?;
    let (mut visible, mut acks) = (vec![], vec![]);
    let meter = Meter::start();
    for i in 0..n_epochs as i64 {
        let columns = [i % 100, i].map(|v| Arc::new(Int64Array::from(vec![v])) as _);
        let rows = RecordBatch::try_new(stream.schema(), columns.to_vec())?;
        let append = Append { topic: stream.topic().context("no topic")?, partition: None, rows };
        let begun = Instant::now();
        let committed = instance.log().commit(Transaction { appends: vec![append], ..Transaction::default() })?;
        acks.push(begun.elapsed());
        let acknowledged = Instant::now();
        wait_visible(trace.as_ref(), committed.lsn)?;
        visible.push(acknowledged.elapsed());
    }
    let cost = meter.stop();
    let operators = instance.versions().operator_lines(key.0, key.1);
    Ok(json!({
        "bench": "epoch", "epochs": n_epochs, "workers": workers, "operators": operators.len(), "cost": cost.json(),
        "cpu_us_per_epoch": cost.cpu_s_per_million(n_epochs),
        "visible_ms_p50": percentile_ms(&visible, 50), "visible_ms_p99": percentile_ms(&visible, 99),
        "ack_ms_p50": percentile_ms(&acks, 50), "ack_ms_p99": percentile_ms(&acks, 99),
    }))
}
