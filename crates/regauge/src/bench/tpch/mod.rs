//! TPC-H: tables loaded through the log, all 22 queries as views, then refreshes of a thousandth of the orders and their items.
//!
//! ```text
//! tables ─ load ─▶ 22 views, one after another ─▶ refreshes: new orders beside old ones that go, one commit each ─▶ answers as Parquet
//! ```
//! A refresh's time is from the acknowledgement of its commit to the moment that all views show it; what its statements took (they
//! look for their rows in the table) stands beside it. Written for the peer: the tables as they were loaded, the texts of the views and
//! of the refreshes, and what our views show at the end.

mod data;
mod queries;

use super::{
    inputs::{Scratch, execute},
    meter::{Meter, between, peak_bytes, resident_bytes, threads},
};
use crate::print;
use anyhow::Context;
use queries::View;
use regauge_types::{Lsn, VersionNo, ViewId};
use regauge_views::{
    Config, Instance, Response, Session, SessionOptions,
    version::trace::{Figures, Trace},
};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

pub async fn run(dir: &Path, scale: f64, n_refreshes: u32, checkpoints: bool) -> anyhow::Result<Value> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make folder={}", dir.display()))?;
    let scratch = Scratch::new(Some(dir))?;
    let mut config = Config::new(scratch.path());
    config.checkpoints.enabled &= checkpoints;
    let instance = Instance::open(config).map_err(print::explain)?;
    let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
    execute(&mut session, data::TABLES).await?;
    let meter = Meter::start();
    let rows = data::load(&mut session, dir, scale).await?;
    let load = meter.stop();
    let views = queries::views()?;
    let built = build(&mut session, &views).await?;
    let (before, idle) = (threads(), operators(&instance, &views)?);
    let mut refreshes = vec![];
    let mut texts = vec![];
    for at in 0..n_refreshes {
        let statements = refresh(at);
        refreshes.push(refreshed(&instance, &mut session, &views, &statements).await?);
        texts.push(statements);
    }
    let spent = between(&before, &threads());
    let work = worked(&idle, &operators(&instance, &views)?, n_refreshes);
    for view in &views {
        answer(&mut session, view, &dir.join(format!("{}.answer.parquet", view.name))).await?;
    }
    let texts = json!({
        "views": views.iter().map(|v| json!({ "name": v.name, "head": v.head, "sql": v.sql })).collect::<Vec<_>>(), "refreshes": texts,
    });
    std::fs::write(dir.join("work.json"), texts.to_string())?;
    Ok(json!({
        "bench": "tpch", "scale": scale, "rows": rows, "load": load.json(), "views": built, "refreshes": refreshes, "threads": spent, "work": work,
        "peak_bytes": peak_bytes(), "resident_bytes": resident_bytes(),
    }))
}

/// Makes the views, each when the one before can be read.
async fn build(session: &mut Session, views: &[View]) -> anyhow::Result<Vec<Value>> {
    let mut built = vec![];
    for View { name, head, sql } in views {
        let meter = Meter::start();
        execute(session, &format!("CREATE MATERIALIZED VIEW {head} AS {sql}")).await.with_context(|| format!("view {name}"))?;
        let cost = meter.stop();
        eprintln!("{name}: {:.2} s", cost.wall.as_secs_f64());
        built.push(json!({ "name": name, "cost": cost.json() }));
    }
    Ok(built)
}

/// A thousandth of the orders with their items: half as many new ones come as old ones go. Keys stand eight in a row, then 24 are left out.
fn refresh(at: u32) -> Vec<String> {
    let (copied, gone) = (32 * at, 32 * at + 1);
    vec![
        format!(
            "INSERT INTO orders SELECT o_orderkey + 8, o_custkey, o_orderstatus, o_totalprice, o_orderdate, o_orderpriority, o_clerk, \
             o_shippriority, o_comment FROM orders WHERE o_orderkey % 8000 = {copied}"
        ),
        format!(
            "INSERT INTO lineitem SELECT l_orderkey + 8, l_partkey, l_suppkey, l_linenumber, l_quantity, l_extendedprice, l_discount, \
             l_tax, l_returnflag, l_linestatus, l_shipdate, l_commitdate, l_receiptdate, l_shipinstruct, l_shipmode, l_comment \
             FROM lineitem WHERE l_orderkey % 8000 = {copied}"
        ),
        format!("DELETE FROM orders WHERE o_orderkey % 8000 = {gone}"),
        format!("DELETE FROM lineitem WHERE l_orderkey % 8000 = {gone}"),
    ]
}

async fn refreshed(instance: &Instance, session: &mut Session, views: &[View], statements: &[String]) -> anyhow::Result<Value> {
    let traces = views.iter().map(|view| trace(instance, &view.name)).collect::<anyhow::Result<Vec<_>>>()?;
    let begun = Instant::now();
    execute(session, "BEGIN").await?;
    for statement in statements {
        execute(session, statement).await?;
    }
    let stated = begun.elapsed();
    execute(session, "COMMIT").await?;
    let lsn = instance.log().durable();
    let (meter, mut last) = (Meter::start(), (Duration::ZERO, ""));
    for (view, trace) in views.iter().zip(&traces) {
        let reached = trace.wait(Lsn::into(lsn), Duration::from_secs(600))?;
        anyhow::ensure!(reached >= lsn.into(), "view did not reach the commit in ten minutes view={} lsn={lsn}", view.name);
        last = (meter.stop().wall, &view.name);
    }
    let cost = meter.stop();
    Ok(json!({
        "statements_s": stated.as_secs_f64(), "commit_s": begun.elapsed().saturating_sub(stated + cost.wall).as_secs_f64(),
        "visible_s": cost.wall.as_secs_f64(), "visible_cpu_s": cost.cpu.as_secs_f64(), "last": last.1,
    }))
}

/// A view and the version that its readers see.
fn routed(instance: &Instance, view: &str) -> anyhow::Result<(ViewId, VersionNo)> {
    let catalog = instance.catalog();
    let relation = catalog.relations().find(|r| r.name.name == view).context("view is missing")?;
    let id = relation.view().context("not a view")?;
    let regauge_views::catalog::Kind::Materialized { routed, .. } = &relation.kind else {
        anyhow::bail!("not a materialized view")
    };
    Ok((id, *routed))
}

/// A view's output.
fn trace(instance: &Instance, view: &str) -> anyhow::Result<Arc<dyn Trace>> {
    instance.versions().reader(routed(instance, view)?).map_err(print::explain)
}

/// What the views' operators have done so far, view by view.
fn operators(instance: &Instance, views: &[View]) -> anyhow::Result<Vec<(String, Vec<Figures>)>> {
    let of = |view: &View| {
        let (id, no) = routed(instance, &view.name)?;
        Ok((view.name.clone(), instance.versions().operators(id, no)))
    };
    views.iter().map(of).collect()
}

/// What they did in a refresh, on average: of each view, and of the operators that took longest. All workers together.
fn worked(before: &[(String, Vec<Figures>)], after: &[(String, Vec<Figures>)], n: u32) -> Value {
    let ms = |d: Duration| d.as_secs_f64() * 1e3 / f64::from(n.max(1));
    let each =
        |(was, is): (&Figures, &Figures)| (is.clone(), is.rows_in - was.rows_in, is.rows_out - was.rows_out, is.busy - was.busy);
    let mut of_views = vec![];
    let mut of_operators = vec![];
    for ((view, was), (_, is)) in before.iter().zip(after) {
        let all: Vec<_> = was.iter().zip(is).map(each).collect();
        of_views.push(json!({ "view": view, "busy_ms": ms(all.iter().map(|(.., busy)| *busy).sum()) }));
        of_operators.extend(all.into_iter().map(|all| (view, all)));
    }
    of_operators.sort_by_key(|(_, (.., busy))| std::cmp::Reverse(*busy));
    let of_operators: Vec<Value> = of_operators
        .into_iter()
        .take(40)
        .map(|(view, (is, rows_in, rows_out, busy))| {
            let n = u64::from(n.max(1));
            json!({
                "view": view, "node": is.node, "operator": is.operator, "busy_ms": ms(busy), "rows_in": rows_in / n, "rows_out": rows_out / n,
                "state_rows": is.state_rows, "state_bytes": is.state_bytes,
            })
        })
        .collect();
    json!({ "views": of_views, "operators": of_operators })
}

/// What a view shows, as Parquet.
async fn answer(session: &mut Session, view: &View, file: &Path) -> anyhow::Result<()> {
    let responses = session.execute(&format!("SELECT * FROM {}", view.name)).await;
    let Some(Response::Rows(rows)) = responses.map_err(print::explain)?.pop() else { anyhow::bail!("SELECT gave no rows") };
    let empty = arrow::array::RecordBatch::new_empty(rows.schema.clone());
    let mut writer = data::create(file, &empty)?;
    for batch in rows.collect().await.map_err(print::explain)? {
        writer.write(&batch)?;
    }
    writer.close()?;
    Ok(())
}
