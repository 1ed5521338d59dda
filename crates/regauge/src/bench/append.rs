//! Appends that wait for the disk: bids in batches, several sessions at once.

use super::{
    events::Events,
    inputs::{Inputs, Scratch},
    meter::{Meter, between, percentile_ms, threads},
};
use crate::print;
use regauge_views::SessionOptions;
use serde_json::{Value, json};
use std::time::Instant;

pub async fn run(rows: usize, batch: usize, sessions: usize) -> anyhow::Result<Value> {
    // A hundred different batches, appended again and again.
    let mut events = Events::from(0);
    let mut batches = vec![];
    while batches.len() < 100 {
        let [_, _, bids] = events.next(batch * 50 / 46 + 50)?;
        batches.push(bids.slice(0, batch.min(bids.num_rows())));
    }
    let bytes: usize =
        batches.iter().map(|b| b.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or(0)).sum::<usize>()).sum();
    let bytes_per_row = bytes as f64 / (batches.len() * batch) as f64;
    let scratch = Scratch::new(None)?;
    let inputs = Inputs::open(scratch.path()).await?;
    let per_session = rows / batch / sessions;
    let (before, meter) = (threads(), Meter::start());
    let mut tasks = vec![];
    for at in 0..sessions {
        let mut session = inputs.instance.session(SessionOptions::default()).map_err(print::explain)?;
        let batches = batches.clone();
        tasks.push(tokio::spawn(async move {
            let mut times = vec![];
            for i in 0..per_session {
                let begun = Instant::now();
                session.append("bid", batches[(at + i) % batches.len()].clone(), None).await.map_err(print::explain)?;
                times.push(begun.elapsed());
            }
            anyhow::Ok(times)
        }));
    }
    let mut times = vec![];
    for task in tasks {
        times.extend(task.await??);
    }
    let cost = meter.stop();
    let rows = per_session * sessions * batch;
    Ok(json!({
        "bench": "append", "rows": rows, "batch": batch, "sessions": sessions, "cost": cost.json(), "bytes_per_row": bytes_per_row,
        "rows_per_s": rows as f64 / cost.wall.as_secs_f64(), "rows_per_cpu_s": rows as f64 / cost.cpu.as_secs_f64(),
        "bytes_per_s": rows as f64 * bytes_per_row / cost.wall.as_secs_f64(),
        "ack_ms_p50": percentile_ms(&times, 50), "ack_ms_p99": percentile_ms(&times, 99),
        "threads": between(&before, &threads()),
    }))
}
