//! `cargo xtask bench`: ours beside the peers, in one run on the same data, each measurement in a process of its own.
//!
//! ```text
//! cargo xtask bench [nexmark] [--events N] [--live-events N] [--runs N] [--only WORD,..] [--peers flink] [--binary PATH] [--json]
//! cargo xtask bench live [--events N] [--rate N] [--seconds N] [--binary PATH] [--json]
//! cargo xtask bench scale [--events N,N,..] [--queries Q,Q,..] [--runs N] [--keep] [--binary PATH] [--json]
//! cargo xtask bench restart [--keys N] [--events N,N,..] [--workers N] [--binary PATH] [--json]
//! cargo xtask bench larger [--events N] [--query q4,join3] [--share N] [--peers flink] [--binary PATH] [--json]
//! cargo xtask bench tpch [--scale S] [--refreshes N] [--binary PATH] [--json]
//! WORDs: a query (q4) · rebuild · live · freshness · epoch · append · lookup · memory · flink (each query live, ours beside Flink)
//! ```
//! Data, the peers' Python, Flink's jars and nothing else are kept in the user's cache folder (`regauge/bench`). What is printed also goes to
//! `bench/RESULTS.md`, between its two marks; what stands around them (the explanations) is written by people. Nothing is
//! asserted about speed; a wrong answer is an error.

mod flink;
mod larger;
mod live;
mod options;
mod ours;
mod peers;
mod report;
mod restart;
mod scale;
mod tpch;

use crate::step;
use anyhow::{Context, Result, bail};
use options::Options;
use report::Report;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Queries of the rebuild and live tables.
const QUERIES: [&str; 19] =
    ["q0", "q1", "q2", "q3", "q4", "q5", "q7", "q8", "q9", "q11", "q12", "q14", "q15", "q16", "q17", "q18", "q19", "q20", "q22"];

/// Runs what was asked for, prints the tables, writes `bench/RESULTS.md`.
pub fn run(root: &Path, args: &[String]) -> Result<()> {
    let whole = args.split_first().map(|(first, rest)| (first.as_str(), rest));
    match whole {
        Some(("tpch", rest)) => return tpch::run(root, rest),
        Some(("restart", rest)) => return restart::run(root, rest),
        Some(("live", rest)) => return live::run(root, rest),
        Some(("larger", rest)) => return larger::run(root, rest),
        Some(("scale", rest)) => return scale::run(root, rest),
        _ => {}
    }
    // the Nexmark tables are what is run without a word, too
    let args = if let Some(("nexmark", rest)) = whole { rest } else { args };
    let options = Options::parse(args)?;
    let ours = ours(root, options.binary.as_deref())?;
    let cache = cache()?;
    let peers = peers::Peers::install(root, &cache)?;
    let flink = if options.flink { Some(flink::Flink::install(root, &cache, &peers)?) } else { None };
    let mut report = Report::new(root, &options, peers.version());
    let texts = ours.run(&["queries"])?;
    for query in QUERIES.iter().filter(|q| options.wants("rebuild", q)) {
        let dir = data(&ours, &cache, options.events)?;
        println!("== rebuild {query}");
        let (duckdb, regauge) = rebuild(&ours, &peers, &dir, query, sql(&texts, query)?, options.runs)?;
        report.rebuild(query, &duckdb, &regauge);
    }
    for query in QUERIES.iter().filter(|q| options.wants("live", q)) {
        for epoch in ["1000", "10000"] {
            println!("== live {query}, epochs of {epoch}");
            let events = options.live_events.to_string();
            let runs = repeat(options.runs, || ours.run(&["live", "--query", query, "--events", &events, "--epoch", epoch]))?;
            report.live(query, epoch, &runs);
        }
    }
    for name in ["freshness", "epoch", "append", "lookup", "memory"].iter().filter(|n| options.wants(n, "")) {
        println!("== {name}");
        let runs = repeat(options.runs, || ours.run(&[name]))?;
        report.single(name, &runs);
        if *name == "lookup" {
            let (postgres, wire) = peers.lookups(ours.binary())?;
            report.peer("lookup over the wire, PostgreSQL, pgbench", &postgres);
            report.peer("lookup over the wire, ours, pgbench", &wire);
        }
    }
    let mut beside = vec![];
    if let Some(flink) = &flink {
        for query in QUERIES.iter().filter(|q| options.wants(flink::NAME, q)) {
            println!("== Flink {query}");
            let sql = sql(&texts, query)?;
            let row = flink.live(&ours, &cache, query, sql, options.live_events, options.runs)?;
            println!("{}", row.json());
            beside.push(row);
        }
    }
    let file = root.join("bench/RESULTS.md");
    if options.json {
        let mut all = report.json();
        all[flink::NAME] = beside.iter().map(flink::table::Live::json).collect();
        println!("{all}");
    } else if !report.is_empty() {
        println!("\n{}", report.markdown());
    }
    if !beside.is_empty() {
        let table = format!("{}\n\n{}", report.head(), flink::table::live(&beside));
        if !options.json {
            println!("\n{table}");
        }
        report::put(&file, flink::LIVE_MARKS, &table)?;
    }
    if report.is_empty() { Ok(()) } else { report.write(&file) }
}

/// The folder with so many events; made if it is not there.
fn data(ours: &ours::Ours, cache: &Path, events: usize) -> Result<PathBuf> {
    let dir = cache.join(format!("nexmark-{events}"));
    if !dir.join("sizes.json").is_file() {
        let _ = std::fs::remove_dir_all(&dir);
        println!("== data: {events} events");
        ours.run(&["data", "--dir", text(&dir)?, "--events", &events.to_string()])?;
    }
    Ok(dir)
}

/// The binary that was named, or a release build.
fn ours(root: &Path, binary: Option<&str>) -> Result<ours::Ours> {
    match binary {
        Some(path) => ours::Ours::at(path),
        None => {
            step::cargo(root, &["build", "--release"], &[])?;
            ours::Ours::find(root)
        }
    }
}

/// One query, DuckDB and ours in turn; the first of ours also answers after further events, and that must be DuckDB's answer.
fn rebuild(
    ours: &ours::Ours,
    peers: &peers::Peers,
    dir: &Path,
    query: &str,
    sql: &str,
    runs: usize,
) -> Result<(Vec<Value>, Vec<Value>)> {
    let answer = dir.join(format!("answer-{query}.parquet"));
    let (mut duckdb, mut regauge) = (vec![], vec![]);
    for run in 0..runs {
        duckdb.push(peers.duckdb(&["duckdb", text(dir)?, sql])?);
        let base = ["rebuild", "--dir", text(dir)?, "--query", query];
        if run > 0 {
            regauge.push(ours.run(&base)?);
            continue;
        }
        regauge.push(ours.run(&[&base[..], &["--answer", text(&answer)?]].concat())?);
        let checked = peers.duckdb(&["check", text(dir)?, sql, text(&answer)?])?;
        let _ = std::fs::remove_file(&answer);
        if checked["equal"] != Value::Bool(true) {
            bail!("{query} answers otherwise than DuckDB after further events: {checked}");
        }
    }
    Ok((duckdb, regauge))
}

fn repeat(n: usize, mut act: impl FnMut() -> Result<Value>) -> Result<Vec<Value>> {
    (0..n).map(|_| act()).collect()
}

fn sql<'a>(texts: &'a Value, query: &str) -> Result<&'a str> {
    let all = texts.as_array().context("no queries")?;
    let found = all.iter().find(|q| q["name"] == query).with_context(|| format!("no text for query={query}"))?;
    found["duckdb"].as_str().context("a query without a text for DuckDB")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("path is not text path={}", path.display()))
}

/// `regauge/bench` in the user's cache folder.
fn cache() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).context("there is no HOME")?;
    let dir = base.join("regauge/bench");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make folder={}", dir.display()))?;
    Ok(dir)
}
