//! Prepared look-ups of one row by key, one after the other in one session, without a protocol between: the server's part alone.

use super::{
    inputs::{Scratch, execute},
    meter::{Cost, Meter},
};
use crate::print;
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use regauge_views::{Config, Instance, Response, Session, SessionOptions};
use serde_json::{Value, json};
use std::sync::Arc;

const LOAD_ROWS: usize = 10_000;

pub async fn run(rows: usize, requests: usize) -> anyhow::Result<Value> {
    let scratch = Scratch::new(None)?;
    let instance = Instance::open(Config::new(scratch.path())).map_err(print::explain)?;
    let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
    execute(&mut session, "CREATE TABLE kv (k BIGINT PRIMARY KEY, v TEXT)").await?;
    let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Utf8, true)]));
    for from in (0..rows).step_by(LOAD_ROWS) {
        let keys: Vec<i64> = (from..(from + LOAD_ROWS).min(rows)).map(|k| k as i64).collect();
        let values: StringArray = keys.iter().map(|k| Some(format!("value of {k:08}"))).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(keys)), Arc::new(values)];
        session.append("kv", RecordBatch::try_new(schema.clone(), columns)?, None).await.map_err(print::explain)?;
    }
    execute(&mut session, "CREATE MATERIALIZED VIEW kv_counts AS SELECT k, max(v) AS v FROM kv GROUP BY k").await?;
    let table = ask(&mut session, "SELECT v FROM kv WHERE k = $1", rows, requests).await?;
    let view = ask(&mut session, "SELECT v FROM kv_counts WHERE k = $1", rows, requests).await?;
    let (of_table, of_view) = (table.0.cpu_s_per_million(table.1), view.0.cpu_s_per_million(view.1));
    Ok(json!({
        "bench": "lookup", "rows": rows, "table_requests": table.1, "view_requests": view.1,
        "table_cpu_us": of_table, "view_cpu_us": of_view,
    }))
}

/// At most `requests`, for at most half a minute; how many there were.
async fn ask(session: &mut Session, sql: &str, rows: usize, requests: usize) -> anyhow::Result<(Cost, usize)> {
    let prepared = session.prepare(sql, &[Some(DataType::Int64)]).await.map_err(print::explain)?;
    let meter = Meter::start();
    let mut done = 0;
    while done < requests && meter.stop().wall.as_secs() < 30 {
        let key = (done * 7919) % rows;
        let response = session.run(&prepared, &[Arc::new(Int64Array::from(vec![key as i64]))]).await.map_err(print::explain)?;
        let Response::Rows(answer) = response else { anyhow::bail!("a look-up gave no rows") };
        let batches = answer.collect().await.map_err(print::explain)?;
        let found = batches.iter().find(|b| b.num_rows() == 1).and_then(|b| b.column(0).as_any().downcast_ref::<StringArray>());
        anyhow::ensure!(
            found.is_some_and(|v| v.len() == 1 && v.value(0) == format!("value of {key:08}")),
            "wrong answer key={key}"
        );
        done += 1;
    }
    Ok((meter.stop(), done))
}
