//! How long after its acknowledgement a commit shows in all views, at a steady rate.
//!
//! Commits are submitted on a timetable, whether or not earlier ones have been acknowledged: who falls behind shows in the figures
//! instead of slowing the load down. The clock starts when the commit's acknowledgement came back, and stops when q4 and q7 both show it.

use super::{
    events::Events,
    inputs::{Inputs, Scratch, wait_visible},
    meter::{Meter, between, threads},
    queries::query,
};
use crate::percentile::percentile_ms;
use serde_json::{Value, json};
use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

const VIEWS: [&str; 2] = ["q4", "q7"];

pub async fn run(rate: usize, seconds: usize, every_ms: usize) -> anyhow::Result<Value> {
    let per_commit = (rate * every_ms / 1000).max(1);
    let mut events = Events::from(0);
    let n_commits = seconds * 1000 / every_ms;
    let batches = (0..n_commits).map(|_| events.next(per_commit)).collect::<anyhow::Result<Vec<_>>>()?;
    let scratch = Scratch::new(None)?;
    let mut inputs = Inputs::open(scratch.path()).await?;
    for view in VIEWS {
        inputs.prepare(query(view)?).await?;
        inputs.create(view, query(view)?.ours).await?;
    }
    let traces = VIEWS.iter().map(|view| inputs.trace(view)).collect::<anyhow::Result<Vec<_>>>()?;

    let (submitted, pending) = mpsc::channel::<(regauge_log::Pending, Instant)>();
    let (acknowledged, waiting) = mpsc::channel();
    let acknowledging = std::thread::spawn(move || -> anyhow::Result<Vec<Duration>> {
        let mut times = vec![];
        for (commit, at) in pending {
            let committed = commit.wait()?;
            times.push(at.elapsed());
            acknowledged.send((committed.lsn, Instant::now()))?;
        }
        Ok(times)
    });
    let watching = std::thread::spawn(move || -> anyhow::Result<Vec<Duration>> {
        let mut times = vec![];
        for (lsn, at) in waiting {
            traces.iter().try_for_each(|trace| wait_visible(trace.as_ref(), lsn))?;
            times.push(at.elapsed());
        }
        Ok(times)
    });

    let (before, meter) = (threads(), Meter::start());
    let begun = Instant::now();
    for (at, events) in batches.iter().enumerate() {
        let due = Duration::from_millis((at * every_ms) as u64);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        // from when it was due: what the log holds up in front of it is part of its acknowledgement
        submitted.send((inputs.log().submit(inputs.transaction(events)?)?, begun + due))?;
    }
    drop(submitted);
    let panicked = |_| anyhow::anyhow!("a watching thread panicked");
    let acks = acknowledging.join().map_err(panicked)??;
    let seen = watching.join().map_err(panicked)??;
    let cost = meter.stop();
    Ok(json!({
        "bench": "freshness", "rate": rate, "events": n_commits * per_commit, "commits": n_commits, "cost": cost.json(),
        "events_per_s": (n_commits * per_commit) as f64 / cost.wall.as_secs_f64(),
        "visible_ms_p50": percentile_ms(&seen, 50), "visible_ms_p99": percentile_ms(&seen, 99),
        "visible_ms_max": percentile_ms(&seen, 100),
        "ack_ms_p50": percentile_ms(&acks, 50), "ack_ms_p99": percentile_ms(&acks, 99),
        "threads": between(&before, &threads()),
    }))
}
