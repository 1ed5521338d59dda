//! State larger than memory: the same rebuild without a budget, then with a share of the state that it had as the budget.
//!
//! ```text
//!   within q4            (a process)  ─▶ state, CPU, wall, peak, answer
//!   within q4 --memory   (a process)  ─▶ the same with `state / share` bytes         ─▶ throughput beside the first, memory beside the budget
//!   within q2            (a process)  ─▶ peak without any state: what reading and appending take
//! ```
//! Memory over the base is the peak of the process less that of a process that reads the same events for a view that keeps nothing. A run
//! whose answer differs from that without a budget is an error.

use super::{
    data,
    inputs::{Inputs, Scratch},
    meter::{Meter, peak_bytes, resident_bytes},
    queries::{Query, query},
    rebuild::copy_folder,
};
use crate::print;
use anyhow::{Context, bail};
use regauge_views::{Config, Response, SessionOptions};
use serde_json::{Value, json};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    process::{Command, Stdio},
};

/// Three streams joined, the result small: what is large is the joins' state.
const JOIN3: Query = Query {
    name: "join3",
    setup: None,
    ours: "SELECT p.state, a.category, count(*) AS bids, max(b.price) AS highest, count(p.name) AS names
  FROM bid b JOIN auction a ON b.auction = a.id JOIN person p ON a.seller = p.id GROUP BY p.state, a.category",
    duckdb: "",
};

/// A view that keeps nothing.
const BASE: &str = "q2";

fn query_of(name: &str) -> anyhow::Result<&'static Query> {
    if name == JOIN3.name { Ok(&JOIN3) } else { query(name) }
}

/// One rebuild, in this process.
pub async fn within(dir: &Path, name: &str, memory: Option<usize>) -> anyhow::Result<Value> {
    let query = query_of(name)?;
    let (n, _) = data::sizes(dir)?;
    let scratch = Scratch::new(Some(dir))?;
    let copy = scratch.path().join("log");
    copy_folder(&dir.join("log"), &copy)?;
    let mut config = Config::new(&copy);
    config.memory_bytes = memory;
    let mut inputs = Inputs::open_with(config).await?;
    inputs.prepare(query).await?;
    let meter = Meter::start();
    inputs.create(name, query.ours).await?;
    let cost = meter.stop();
    let (peak, resident) = (peak_bytes(), resident_bytes());
    let catalog = inputs.instance.catalog();
    let view = catalog.relations().find(|r| r.name.name == name).and_then(|r| r.view()).context("view is missing")?;
    let routed = inputs.routed(name)?;
    let operators = inputs.instance.versions().operators(view, routed);
    let sum = |of: fn(&regauge_views::version::trace::Figures) -> u64| operators.iter().map(of).sum::<u64>();
    Ok(json!({
        "bench": "within", "query": name, "events": n, "memory": memory, "cost": cost.json(), "peak_bytes": peak,
        "resident_bytes": resident, "state_bytes": sum(|f| f.state_bytes), "spilled_bytes": sum(|f| f.spilled_bytes),
        "answer": answer(&inputs, name).await?,
        "operators": inputs.instance.versions().operator_lines(view, routed),
    }))
}

/// A hash of what a view shows, whatever its order.
async fn answer(inputs: &Inputs, view: &str) -> anyhow::Result<Value> {
    let mut session = inputs.instance.session(SessionOptions::default()).map_err(print::explain)?;
    session.execute("FLUSH").await.map_err(print::explain)?;
    let mut responses = session.execute(&format!("SELECT * FROM {view}")).await.map_err(print::explain)?;
    let Some(Response::Rows(rows)) = responses.pop() else { bail!("SELECT gave no rows") };
    let (mut sum, mut n) = (0u64, 0);
    for batch in rows.collect().await.map_err(print::explain)? {
        n += batch.num_rows();
        for row in 0..batch.num_rows() {
            let mut hasher = DefaultHasher::new();
            format!("{:?}", batch.slice(row, 1).columns()).hash(&mut hasher);
            sum = sum.wrapping_add(hasher.finish());
        }
    }
    Ok(json!({ "rows": n, "hash": format!("{sum:016x}") }))
}

/// All of it; each rebuild in a process of its own.
pub fn run(dir: &Path, queries: &[String], share: u64) -> anyhow::Result<Value> {
    let base = child(dir, BASE, None)?;
    let mut lines = vec![];
    for name in queries {
        query_of(name)?;
        let free = child(dir, name, None)?;
        let state = number(&free, "state_bytes")?;
        let budget = state / share.max(1);
        let bound = child(dir, name, Some(budget))?;
        if free["answer"] != bound["answer"] {
            bail!("{name}: another answer within a budget: {} instead of {}", bound["answer"], free["answer"]);
        }
        let wall = |run: &Value| run["cost"]["wall_s"].as_f64().unwrap_or(f64::NAN);
        let cpu = |run: &Value| run["cost"]["cpu_s"].as_f64().unwrap_or(f64::NAN);
        let over = |run: &Value| Some(run["peak_bytes"].as_u64()?.saturating_sub(base["peak_bytes"].as_u64()?));
        lines.push(json!({
            "query": name, "events": free["events"], "state_bytes": state, "budget_bytes": budget,
            "throughput": wall(&free) / wall(&bound), "cpu_ratio": cpu(&bound) / cpu(&free),
            "wall_s": [wall(&free), wall(&bound)], "cpu_s": [cpu(&free), cpu(&bound)],
            "peak_over_base_bytes": [over(&free), over(&bound)],
            "resident_state_bytes": bound["state_bytes"], "spilled_bytes": bound["spilled_bytes"],
            "answer": bound["answer"], "operators": bound["operators"],
        }));
    }
    Ok(json!({ "bench": "larger", "share": share, "base_peak_bytes": base["peak_bytes"], "queries": lines }))
}

fn number(of: &Value, name: &str) -> anyhow::Result<u64> {
    of[name].as_u64().with_context(|| format!("no {name} in {of}"))
}

fn child(dir: &Path, query: &str, memory: Option<u64>) -> anyhow::Result<Value> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "within", "--query", query, "--dir"]).arg(dir).stdin(Stdio::null()).stderr(Stdio::inherit());
    if let Some(memory) = memory {
        command.args(["--memory", &memory.to_string()]);
    }
    let out = command.output()?;
    anyhow::ensure!(out.status.success(), "bench within --query {query} memory={memory:?} failed: {}", out.status);
    let text = String::from_utf8(out.stdout)?;
    Ok(serde_json::from_str(text.lines().last().context("no line")?)?)
}
