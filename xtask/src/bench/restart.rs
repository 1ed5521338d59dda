//! `cargo xtask bench restart`: recovery as the log grows and the state does not, and what checkpoints write and hold up.
//!
//! Ratios within one run: seconds at each length of the log to those at the first, bytes written to bytes changed. Nothing is asserted.

use super::ours;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;

const USAGE: &str = "bench restart [--keys N] [--events N,N,..] [--workers N] [--binary PATH] [--json]";

/// Runs it and prints the tables.
pub fn run(root: &Path, args: &[String]) -> Result<()> {
    let (mut binary, mut json, mut passed) = (None, false, vec!["restart".to_owned()]);
    let mut rest = args.iter();
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().cloned().with_context(|| format!("{flag} needs a value\nusage: cargo xtask {USAGE}"));
        match flag.as_str() {
            "--keys" | "--events" | "--workers" => passed.extend([flag.clone(), value()?.replace('_', "")]),
            "--binary" => binary = Some(value()?),
            "--json" => json = true,
            other => bail!("unknown flag `{other}`\nusage: cargo xtask {USAGE}"),
        }
    }
    let words: Vec<&str> = passed.iter().map(String::as_str).collect();
    let line = super::ours(root, binary.as_deref()).and_then(|ours: ours::Ours| ours.run(&words))?;
    if json {
        println!("{line}");
    } else {
        print!("{}", tables(&line)?);
    }
    Ok(())
}

fn tables(line: &Value) -> Result<String> {
    let list = |name: &str| line[name].as_array().with_context(|| format!("no {name} in {line}"));
    let number = |of: &Value, name: &str| of[name].as_f64().with_context(|| format!("no {name} in {of}"));
    let mut text = format!("{} keys, {} workers\n\n", line["keys"], line["workers"]);
    text += "| events in the log | from a checkpoint | to the first | from the log | to the first |\n|---|---|---|---|---|\n";
    let mut first: Option<(f64, f64)> = None;
    for recovery in list("recoveries")? {
        let (kept, log) = (number(recovery, "seconds_from_checkpoint")?, number(recovery, "seconds_from_log")?);
        let (kept_1, log_1) = *first.get_or_insert((kept, log));
        let events = &recovery["events"];
        text += &format!("| {events} | {kept:.2} s | {:.2} | {log:.2} s | {:.2} |\n", kept / kept_1, log / log_1);
    }
    text += "\n| checkpoint | took | written | named again | written to changed | pause |\n|---|---|---|---|---|---|\n";
    for (i, taken) in list("checkpoints")?.iter().enumerate() {
        let (seconds, ratio, pause) =
            (number(taken, "seconds")?, number(taken, "written_to_changed")?, number(taken, "pause_ms")?);
        let (written, again) = (&taken["bytes_written"], &taken["bytes_named_again"]);
        text += &format!("| {} | {seconds:.2} s | {written} | {again} | {ratio:.2} | {pause:.2} ms |\n", i + 1);
    }
    let quiet = number(&line["visible_ms_quiet"], "p99")?;
    let during = number(&line["visible_ms_during"], "p99")?;
    let (longest, pause) = (number(line, "visible_ms_max")?, number(line, "pause_p99_ms")?);
    text += &format!(
        "\nacknowledged to visible, p99: {quiet:.2} ms quiet, {during:.2} ms beside checkpoints ({:.2} times; longest {longest:.2} ms)\npause p99: {pause:.2} ms\n",
        during / quiet
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ratios_are_to_the_first_length() {
        let recovery = |events: u64, kept: f64, log: f64| json!({"events": events, "seconds_from_checkpoint": kept, "seconds_from_log": log});
        let taken =
            json!({"seconds": 1.0, "bytes_written": 5, "bytes_named_again": 6, "written_to_changed": 2.5, "pause_ms": 3.0});
        let line = json!({
            "keys": 7, "workers": 2, "recoveries": [recovery(10, 2.0, 4.0), recovery(30, 3.0, 12.0)], "checkpoints": [taken],
            "visible_ms_quiet": {"p99": 2.0}, "visible_ms_during": {"p99": 3.0}, "visible_ms_max": 9.0, "pause_p99_ms": 4.0,
        });
        let text = tables(&line).unwrap();
        assert!(text.contains("| 30 | 3.00 s | 1.50 | 12.00 s | 3.00 |"), "{text}");
        assert!(text.contains("| 1 | 1.00 s | 5 | 6 | 2.50 | 3.00 ms |") && text.contains("(1.50 times"), "{text}");
        assert!(tables(&json!({})).is_err());
    }
}
