//! A view that is kept up: events in epochs of a given size, each visible before the next is appended.
//!
//! The cost is of everything (append with fsync, epoch, operators, publishing); `threads` tells which thread it went to, and
//! `append_only` what the same appends cost without a view.

use super::{
    events::Events,
    inputs::{Inputs, Scratch, wait_visible},
    meter::{Cost, Meter, between, peak_bytes, threads},
    queries::{Query, query},
};
use arrow::array::RecordBatch;
use serde_json::{Value, json};

pub async fn run(name: &str, n: usize, epoch: usize) -> anyhow::Result<Value> {
    let query = query(name)?;
    let mut events = Events::from(0);
    let batches: Vec<[RecordBatch; 3]> = (0..n / epoch).map(|_| events.next(epoch)).collect::<anyhow::Result<_>>()?;
    let (append_only, _, _) = feed(None, &batches).await?;
    let (cost, spent, n_epochs) = feed(Some(query), &batches).await?;
    let n = batches.len() * epoch;
    Ok(json!({
        "bench": "live", "query": name, "events": n, "epoch": epoch, "cost": cost.json(), "append_only": append_only.json(),
        "cpu_s_per_million": cost.cpu_s_per_million(n), "peak_bytes": peak_bytes(), "threads": spent, "epochs": n_epochs,
        "view_cpu_s_per_million": (cost.cpu.saturating_sub(append_only.cpu)).as_secs_f64() * 1e6 / n.max(1) as f64,
    }))
}

async fn feed(view: Option<&Query>, batches: &[[RecordBatch; 3]]) -> anyhow::Result<(Cost, Value, usize)> {
    let scratch = Scratch::new(None)?;
    let mut inputs = Inputs::open(scratch.path()).await?;
    let trace = match view {
        Some(query) => {
            inputs.prepare(query).await?;
            inputs.create(query.name, query.ours).await?;
            Some(inputs.trace(query.name)?)
        }
        None => None,
    };
    let (before, meter) = (threads(), Meter::start());
    for events in batches {
        let committed = inputs.commit(events)?;
        if let Some(trace) = &trace {
            wait_visible(trace.as_ref(), committed.lsn)?;
        }
    }
    let cost = meter.stop();
    let spent = between(&before, &threads());
    Ok((cost, spent, batches.len()))
}
