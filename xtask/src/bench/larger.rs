//! `cargo xtask bench larger`: state of four times the memory budget beside the same without a budget, in one run.
//!
//! Ratios within one run: throughput and CPU seconds within the budget to those without, memory over that of a process without state to
//! the budget. Nothing is asserted about them; a wrong answer is an error. With `--peers flink` the same queries in Flink, whose RocksDB has
//! the budget of ours as its memory; that table goes to `bench/RESULTS.md`.

use super::flink::{self, Flink};
use super::{cache, data, options, peers, report, text};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;

const USAGE: &str = "bench larger [--events N] [--query q4,join3] [--share N] [--peers flink] [--binary PATH] [--json]";

/// join3 of `regauge bench larger`, for DuckDB.
const JOIN3: &str = "SELECT p.state, a.category, count(*) AS bids, max(b.price) AS highest, count(p.name) AS names
  FROM bid b JOIN auction a ON b.auction = a.id JOIN person p ON a.seller = p.id GROUP BY p.state, a.category";

/// Runs it and prints the table.
pub fn run(root: &Path, args: &[String]) -> Result<()> {
    let (mut binary, mut as_json, mut events, mut passed, mut peer) = (None, false, 10_000_000, vec![], false);
    let mut rest = args.iter();
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().cloned().with_context(|| format!("{flag} needs a value\nusage: cargo xtask {USAGE}"));
        match flag.as_str() {
            "--events" => events = value()?.replace('_', "").parse().context("--events takes a number")?,
            "--query" | "--share" => passed.extend([flag.clone(), value()?]),
            "--peers" => peer = options::peers(&value()?)?,
            "--binary" => binary = Some(value()?),
            "--json" => as_json = true,
            other => bail!("unknown flag `{other}`\nusage: cargo xtask {USAGE}"),
        }
    }
    let ours = super::ours(root, binary.as_deref())?;
    let word = |word: &String| if binary.as_ref() == Some(word) { report::shown(word).to_owned() } else { word.clone() };
    let command = args.iter().map(word).collect::<Vec<_>>().join(" ");
    let head = format!("{}. `cargo xtask bench larger {command}`", report::circumstances(root));
    let cache = cache()?;
    let installed = if peer { Some(peers::Peers::install(root, &cache)?) } else { None };
    let flink = installed.as_ref().map(|peers| Flink::install(root, &cache, peers)).transpose()?;
    let dir = data(&ours, &cache, events)?;
    let mut words = vec!["larger", "--dir", text(&dir)?];
    words.extend(passed.iter().map(String::as_str));
    let mut line = ours.run(&words)?;
    if !as_json {
        print!("{}", table(&line)?);
    }
    if let Some(flink) = &flink {
        let texts = ours.run(&["queries"])?;
        let queries = line["queries"].as_array().cloned().unwrap_or_default();
        let mut runs = vec![];
        for query in &queries {
            let name = query["query"].as_str().context("a query without a name")?;
            let sql = if name == "join3" { JOIN3 } else { super::sql(&texts, name)? };
            let budget = query["budget_bytes"].as_u64().context("a query without a budget")?;
            println!("== Flink {name} within {budget} bytes");
            runs.push(flink.within(&dir, name, sql, events, budget)?);
        }
        let table = format!("{head}\n\n{}", flink::table::larger(&queries, &runs));
        line[flink::NAME] = runs.into_iter().map(|run| run.unwrap_or_else(|why| json!({ "not_measured": why }))).collect();
        if !as_json {
            println!("\n{table}");
        }
        report::put(&root.join("bench/RESULTS.md"), flink::LARGER_MARKS, &table)?;
    }
    if as_json {
        println!("{line}");
    }
    Ok(())
}

fn table(line: &Value) -> Result<String> {
    let mib = |of: &Value| of.as_f64().map_or_else(|| "?".to_owned(), |b| format!("{:.0} MiB", b / f64::from(1 << 20)));
    let mut text = format!("state {} times the budget; both sides in this run\n\n", line["share"]);
    text += "| query | state | budget | throughput | CPU | memory over that without state | to the budget | on the disk |\n";
    text += "|---|---|---|---|---|---|---|---|\n";
    for query in line["queries"].as_array().with_context(|| format!("no queries in {line}"))? {
        let number = |of: &Value| of.as_f64().with_context(|| format!("a number is missing in {query}"));
        let over = &query["peak_over_base_bytes"][1];
        let to_budget = over.as_f64().map_or(f64::NAN, |o| o / query["budget_bytes"].as_f64().unwrap_or(f64::NAN));
        text += &format!(
            "| {} | {} | {} | {:.0} % | {:.2} times | {} | {to_budget:.2} | {} |\n",
            query["query"].as_str().unwrap_or("?"),
            mib(&query["state_bytes"]),
            mib(&query["budget_bytes"]),
            number(&query["throughput"])? * 100.0,
            number(&query["cpu_ratio"])?,
            mib(over),
            mib(&query["spilled_bytes"]),
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_beside_the_budget() {
        let mib = 1u64 << 20;
        let query = json!({
            "query": "q4", "state_bytes": 400 * mib, "budget_bytes": 100 * mib, "throughput": 0.5, "cpu_ratio": 1.75,
            "peak_over_base_bytes": [500 * mib, 90 * mib], "spilled_bytes": 321 * mib,
        });
        let text = table(&json!({ "share": 4, "queries": [query] })).unwrap();
        assert!(text.contains("| q4 | 400 MiB | 100 MiB | 50 % | 1.75 times | 90 MiB | 0.90 | 321 MiB |"), "{text}");
    }
}
