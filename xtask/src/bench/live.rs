//! `cargo xtask bench live`: twenty views live at a steady rate, alone and beside a view that is made over the whole history.
//!
//! Ratios within one run: how long commits take to show beside the backfill to how long alone, and how much of the CPU that live leaves over
//! the backfill gets. Nothing is asserted.

use super::{cache, ours, report, text};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;

const USAGE: &str = "usage: cargo xtask bench live [--events N] [--rate N] [--seconds N] [--binary PATH] [--json]";
const MARKS: (&str, &str) = ("<!-- live: written by `cargo xtask bench live` -->", "<!-- end of live -->");

/// Runs it, prints the table, writes it to `bench/RESULTS.md`.
pub fn run(root: &Path, args: &[String]) -> Result<()> {
    let (mut events, mut rate, mut seconds, mut binary, mut json) =
        ("10000000".to_owned(), "50000".to_owned(), "20".to_owned(), None, false);
    let mut rest = args.iter();
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().map(|v| v.replace('_', "")).with_context(|| format!("{flag} needs a value\n{USAGE}"));
        match flag.as_str() {
            "--events" => events = value()?,
            "--rate" => rate = value()?,
            "--seconds" => seconds = value()?,
            "--binary" => binary = Some(rest.next().with_context(|| format!("{flag} needs a value\n{USAGE}"))?.to_owned()),
            "--json" => json = true,
            other => bail!("unknown flag `{other}`\n{USAGE}"),
        }
    }
    let ours = ours(root, binary.as_deref())?;
    let head = format!("{}. `cargo xtask bench live {}`", report::circumstances(root), args.join(" "));
    let dir = cache()?.join(format!("nexmark-{events}"));
    if !dir.join("sizes.json").is_file() {
        let _ = std::fs::remove_dir_all(&dir);
        println!("== data: {events} events");
        ours.run(&["data", "--dir", text(&dir)?, "--events", &events])?;
    }
    let line = ours.run(&["crowd", "--dir", text(&dir)?, "--rate", &rate, "--seconds", &seconds])?;
    let table = format!("{head}\n\n{}", table(&line));
    if json {
        println!("{line}");
    } else {
        println!("\n{table}");
    }
    report::put(&root.join("bench/RESULTS.md"), MARKS, &table)
}

fn table(line: &Value) -> String {
    let number = |pointer: &str| line.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let mut out = "| | events/s | visible p50 ms | p99 ms | longest ms | CPU, cores | a thread that only sleeps: p99, longest ms late | stolen by the host, s |\n\
                   |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let views = line["views"].as_u64().unwrap_or(0);
    for (name, what) in [("alone", format!("{views} views")), ("beside_backfill", format!("{views} views beside a backfill"))] {
        let of = |field: &str| number(&format!("/{name}/{field}"));
        out += &format!(
            "| {what} | {:.0} | {:.2} | {:.2} | {:.1} | {:.2} | {:.1}, {:.1} | {:.2} |\n",
            of("events_per_s"),
            of("visible_ms_p50"),
            of("visible_ms_p99"),
            of("visible_ms_max"),
            of("cost/cpu_s") / of("cost/wall_s"),
            of("overslept_ms_p99"),
            of("overslept_ms_max"),
            of("cost/stolen_s"),
        );
    }
    out += &format!(
        "\np99 beside the backfill is {:.1} x that of live alone (bar: 2 x; p99 alone: 50 ms). The backfill read {} events in {:.1} s ({:.2} M/s) and had \
         {:.0} % of the CPU that live left over (bar: 60 %). Memory {:.1} GiB before it, peak {:.1}.\n",
        number("/beside_backfill/visible_ms_p99") / number("/alone/visible_ms_p99"),
        line["history"],
        number("/backfill_s"),
        number("/backfill_events_per_s") / 1e6,
        number("/backfill_share_of_cpu_left_over") * 100.0,
        number("/resident_bytes") / f64::from(1 << 30),
        number("/peak_bytes") / f64::from(1 << 30),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::table;
    use serde_json::json;

    #[test]
    fn latency_is_compared_within_the_run() {
        let stretch = |p99: f64| json!({"events_per_s": 5.0, "visible_ms_p50": 1.0, "visible_ms_p99": p99, "visible_ms_max": 9.0, "cost": {"cpu_s": 1.0, "wall_s": 2.0}});
        let line = json!({"views": 20, "history": 7, "alone": stretch(2.0), "beside_backfill": stretch(3.0), "backfill_s": 1.0,
            "backfill_events_per_s": 7e6, "backfill_share_of_cpu_left_over": 0.5, "resident_bytes": 1, "peak_bytes": 2});
        let text = table(&line);
        assert!(text.contains("is 1.5 x") && text.contains("50 % of the CPU") && text.contains("| 20 views | 5 |"), "{text}");
    }
}
