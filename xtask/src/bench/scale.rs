//! `cargo xtask bench scale`: time and memory of rebuilds as the log grows, and with one worker and two.
//!
//! Ratios within one run: CPU per event at each length to that at the first, and of two workers to one. Nothing is asserted.

use super::{cache, ours, report, text};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;

const USAGE: &str =
    "usage: cargo xtask bench scale [--events N,N,..] [--queries Q,Q,..] [--runs N] [--keep] [--binary PATH] [--json]";
const MARKS: (&str, &str) = ("<!-- scale: written by `cargo xtask bench scale` -->", "<!-- end of scale -->");
/// Data of this length is kept for other benches; longer ones fill the disk.
const KEPT: usize = 10_000_000;

/// One query at one length with some workers: CPU seconds per million, wall seconds, peak MiB.
struct Cell {
    query: String,
    events: usize,
    workers: usize,
    figures: [f64; 3],
}

/// Runs it, prints the table, writes it to `bench/RESULTS.md`.
pub fn run(root: &Path, args: &[String]) -> Result<()> {
    let (mut events, mut queries) = (vec![1_000_000, 10_000_000, 50_000_000], words("q1,q4,q12,q14,q15,q17"));
    let (mut runs, mut keep, mut binary, mut as_json) = (1, false, None, false);
    let mut rest = args.iter();
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().map(String::as_str).with_context(|| format!("{flag} needs a value\n{USAGE}"));
        match flag.as_str() {
            "--events" => events = words(value()?).iter().map(|n| number(n)).collect::<Result<_>>()?,
            "--queries" => queries = words(value()?),
            "--runs" => runs = number(value()?)?.max(1),
            "--keep" => keep = true,
            "--binary" => binary = Some(value()?.to_owned()),
            "--json" => as_json = true,
            other => bail!("unknown flag `{other}`\n{USAGE}"),
        }
    }
    let ours = ours(root, binary.as_deref())?;
    let head = format!("{}. `cargo xtask bench scale {}`", report::circumstances(root), args.join(" "));
    let mut cells = vec![];
    for n in &events {
        let dir = cache()?.join(format!("nexmark-{n}"));
        if !dir.join("sizes.json").is_file() {
            let _ = std::fs::remove_dir_all(&dir);
            println!("== data: {n} events");
            ours.run(&["data", "--dir", text(&dir)?, "--events", &n.to_string()])?;
        }
        for query in &queries {
            for workers in [1, 2] {
                println!("== {query}, {n} events, workers {workers}");
                let words = ["rebuild", "--dir", text(&dir)?, "--query", query, "--workers", &workers.to_string()];
                let reports = (0..runs).map(|_| ours.run(&words)).collect::<Result<Vec<_>>>()?;
                cells.push(Cell { query: query.clone(), events: *n, workers, figures: figures(&reports) });
            }
        }
        if *n > KEPT && !keep {
            std::fs::remove_dir_all(&dir)?;
        }
    }
    let table = table(&head, &cells);
    if as_json {
        let all = cells.iter().map(|c| json!({ "query": c.query, "events": c.events, "workers": c.workers, "cpu_s_per_million": c.figures[0], "wall_s": c.figures[1], "peak_mib": c.figures[2] }));
        println!("{}", json!({ "head": head, "cells": all.collect::<Vec<_>>() }));
    } else {
        println!("\n{table}");
    }
    report::put(&root.join("bench/RESULTS.md"), MARKS, &table)
}

fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn number(text: &str) -> Result<usize> {
    text.replace('_', "").parse().with_context(|| format!("not a number: {text}\n{USAGE}"))
}

fn figures(reports: &[Value]) -> [f64; 3] {
    ["/cpu_s_per_million", "/cost/wall_s", "/peak_bytes"].map(|pointer| report::median(reports, pointer))
}

fn table(head: &str, cells: &[Cell]) -> String {
    let mut out = format!(
        "{head}\n\nRebuild. CPU seconds per million events with two workers, over that of the shortest log, and over one worker's.\n\n\
         | query | events | CPU s/M | to the shortest | to one worker | wall s | peak MiB |\n|---|---|---|---|---|---|---|\n"
    );
    for cell in cells.iter().filter(|c| c.workers == 2) {
        let find = |events: Option<usize>, workers: usize| {
            let same = |c: &&Cell| c.query == cell.query && c.workers == workers && events.is_none_or(|n| c.events == n);
            cells.iter().find(same).map_or(f64::NAN, |c| c.figures[0])
        };
        let [cpu, wall, peak] = cell.figures;
        out += &format!(
            "| {} | {} | {cpu:.3} | {:.2} | {:.2} | {wall:.2} | {:.0} |\n",
            cell.query,
            cell.events,
            cpu / find(None, 2),
            cpu / find(Some(cell.events), 1),
            peak / f64::from(1 << 20),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_shortest_log_and_to_one_worker() {
        let cell = |events, workers, cpu| Cell { query: "q1".to_owned(), events, workers, figures: [cpu, 2.0, 1_048_576.0] };
        let cells = [cell(10, 1, 1.0), cell(10, 2, 1.1), cell(50, 1, 2.0), cell(50, 2, 2.2)];
        let text = table("head", &cells);
        assert!(text.contains("| q1 | 10 | 1.100 | 1.00 | 1.10 | 2.00 | 1 |"), "{text}");
        assert!(text.contains("| q1 | 50 | 2.200 | 2.00 | 1.10 | 2.00 | 1 |"), "{text}");
    }
}
