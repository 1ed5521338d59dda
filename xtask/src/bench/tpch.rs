//! `cargo xtask bench tpch`: all 22 queries as views through refreshes of a thousandth, beside DuckDB, which runs all 22 anew.
//!
//! Both work on the same rows: ours writes what it loaded, the texts, and what its views show at the end; the peer loads that, applies the
//! same refreshes and answers. A view that shows something else is an error.

use super::{cache, ours, peers, report, text};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;

const USAGE: &str = "usage: cargo xtask bench tpch [--scale S] [--refreshes N] [--binary PATH] [--json]";
const MARKS: (&str, &str) = ("<!-- tpch: written by `cargo xtask bench tpch` -->", "<!-- end of tpch -->");

/// Runs both, prints the table, writes it to `bench/RESULTS.md`.
pub fn run(root: &Path, args: &[String]) -> Result<()> {
    let (mut scale, mut refreshes, mut binary, mut json) = ("1", "5", None, false);
    let mut rest = args.iter();
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().map(String::as_str).with_context(|| format!("{flag} needs a value\n{USAGE}"));
        match flag.as_str() {
            "--scale" => scale = value()?,
            "--refreshes" => refreshes = value()?,
            "--binary" => binary = Some(value()?),
            "--json" => json = true,
            other => bail!("unknown flag `{other}`\n{USAGE}"),
        }
    }
    let ours = ours(root, binary)?;
    let cache = cache()?;
    let peers = peers::Peers::install(root, &cache)?;
    let head = format!(
        "{}, {}. `cargo xtask bench tpch --scale {scale} --refreshes {refreshes}`",
        report::circumstances(root),
        peers.version()
    );
    let dir = cache.join(format!("tpch-{scale}"));
    let _ = std::fs::remove_dir_all(&dir);
    let mine = ours.run(&["tpch", "--dir", text(&dir)?, "--scale", scale, "--refreshes", refreshes])?;
    let theirs = peers.duckdb(&["tpch", text(&dir)?])?;
    let _ = std::fs::remove_dir_all(&dir);
    if theirs["equal"] != Value::Bool(true) {
        bail!("views that answer otherwise than DuckDB: {}", theirs["wrong"]);
    }
    let table = table(&head, &mine, &theirs);
    if json {
        println!("{}", serde_json::json!({ "head": head, "ours": mine, "duckdb": theirs }));
    } else {
        println!("\n{table}");
    }
    report::put(&root.join("bench/RESULTS.md"), MARKS, &table)
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

fn sum(of: &Value, pointer: &str) -> f64 {
    of.as_array().into_iter().flatten().map(|each| number(each, pointer)).sum()
}

fn median(of: &Value, pointer: &str) -> f64 {
    let mut all: Vec<f64> = of.as_array().into_iter().flatten().map(|each| number(each, pointer)).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn table(head: &str, mine: &Value, theirs: &Value) -> String {
    let gib = |value: &Value, pointer: &str| number(value, pointer) / f64::from(1 << 30);
    let mut out = format!(
        "{head}\n\n| query | view made: wall s | CPU s | DuckDB, CREATE TABLE AS: wall s | CPU s |\n|---|---|---|---|---|\n"
    );
    for peer in theirs["views"].as_array().into_iter().flatten() {
        let same = |view: &&Value| view["name"] == peer["name"];
        let view = mine["views"].as_array().into_iter().flatten().find(same).unwrap_or(&Value::Null);
        out += &format!(
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} |\n",
            peer["name"].as_str().unwrap_or("?"),
            number(view, "/cost/wall_s"),
            number(view, "/cost/cpu_s"),
            number(peer, "/wall_s"),
            number(peer, "/cpu_s")
        );
    }
    let (batch, visible) = (sum(&theirs["views"], "/wall_s"), median(&mine["refreshes"], "/visible_s"));
    out += &format!(
        "\n{} rows loaded in {:.1} s (CPU {:.1} s); all views made in {:.1} s (CPU {:.1} s), DuckDB's 22 in {batch:.2} s (CPU {:.2} s). \
         A refresh of a thousandth shows in all 22 views {:.0} ms after its acknowledgement (CPU {:.0} ms), medians of {}: {:.1} % of DuckDB's \
         batch (bar: 5 %); its statements took {:.0} ms, the commit {:.0} ms. Memory of ours at the end {:.1} GiB, peak {:.1}; DuckDB's peak {:.1}. \
         All answers equal.\n",
        mine["rows"],
        number(mine, "/load/wall_s"),
        number(mine, "/load/cpu_s"),
        sum(&mine["views"], "/cost/wall_s"),
        sum(&mine["views"], "/cost/cpu_s"),
        sum(&theirs["views"], "/cpu_s"),
        visible * 1e3,
        median(&mine["refreshes"], "/visible_cpu_s") * 1e3,
        mine["refreshes"].as_array().map_or(0, Vec::len),
        visible / batch * 100.0,
        median(&mine["refreshes"], "/statements_s") * 1e3,
        median(&mine["refreshes"], "/commit_s") * 1e3,
        gib(mine, "/resident_bytes"),
        gib(mine, "/peak_bytes"),
        gib(theirs, "/peak_bytes"),
    );
    out
}
