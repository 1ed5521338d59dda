//! Ours beside Flink, as Markdown: a ratio stands only where Flink's answer was compared and found equal.

use super::super::report::median;
use serde_json::{Value, json};

/// How many times fewer CPU seconds ours is to take, geometric mean (live) and each (larger than memory).
const LIVE_BAR: f64 = 15.0;
const LARGER_BAR: f64 = 5.0;
const MIB: f64 = (1 << 20) as f64;

/// One query live, or why Flink has no figure.
pub struct Live {
    pub query: String,
    pub events: usize,
    pub ours: Vec<Value>,
    pub flink: Result<Vec<Value>, String>,
}

impl Live {
    /// CPU seconds per million: ours, Flink's job, Flink's whole process.
    fn cpu(&self) -> Option<[f64; 3]> {
        let (flink, per_million) = (self.flink.as_ref().ok()?, 1e6 / self.events as f64);
        let process = median(flink, "/process/cpu_s") * per_million;
        Some([median(&self.ours, "/cpu_s_per_million"), median(flink, "/cpu_s") * per_million, process])
    }

    fn ratio(&self) -> Option<f64> {
        self.cpu().map(|[ours, job, _]| job / ours)
    }

    pub fn json(&self) -> Value {
        let [ours, job, process] = self.cpu().map_or([None; 3], |all| all.map(Some));
        let why = self.flink.as_ref().err();
        json!({ "query": self.query, "ours_cpu_s": ours, "flink_cpu_s": job, "flink_process_cpu_s": process, "not_measured": why })
    }
}

/// The table of the live queries.
pub fn live(all: &[Live]) -> String {
    let mut out = "CPU seconds per million events, epochs of 10,000 on our side. Ours is everything (append with fsync, epoch, operators, \
                   publishing); Flink's is its job, from the first reader's start to the last writer's end, after the same query has run \
                   over a part of the events in that process; the whole process with Java's start, planning, compiling and that first run \
                   stands beside it. Over ours is the job to ours.\n\n\
                   | query | ours CPU s/M | Flink CPU s/M | over ours | Flink process CPU s | ours wall s | Flink wall s | ours peak MiB | Flink peak MiB |\n\
                   |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in all {
        match (&row.flink, row.cpu()) {
            (Ok(flink), Some([ours, job, _])) => {
                out += &format!(
                    "| {} | {ours:.2} | {job:.2} | {:.1} | {:.1} | {:.2} | {:.2} | {:.0} | {:.0} |\n",
                    row.query,
                    job / ours,
                    median(flink, "/process/cpu_s"),
                    median(&row.ours, "/cost/wall_s"),
                    median(flink, "/wall_s"),
                    median(&row.ours, "/peak_bytes") / MIB,
                    median(flink, "/process/peak_bytes") / MIB,
                );
            }
            (flink, _) => {
                let why = flink.as_ref().err().map_or("?", String::as_str).replace('|', "/");
                out += &format!("| {} | | not measured: {why} | | | | | | |\n", row.query);
            }
        }
    }
    let ratios: Vec<f64> = all.iter().filter_map(Live::ratio).collect();
    if !ratios.is_empty() {
        let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        let behind = ratios.iter().filter(|ratio| **ratio < 1.0).count();
        out += &format!(
            "\nGeometric mean over {} queries: Flink takes {mean:.1} times ours (bar: {LIVE_BAR}); behind Flink on {behind}. Each run's \
             first part gave DuckDB's rows, and the measured part as many rows as DuckDB has.\n",
            ratios.len()
        );
    }
    out
}

/// The table of the larger than memory queries: `ours` are the queries of our line, Flink's runs in the same order.
pub fn larger(ours: &[Value], flink: &[Result<Value, String>]) -> String {
    let mut out = "Flink keeps its state in RocksDB with as much managed memory as our budget; CPU seconds of the whole job, ours within the \
                   budget.\n\n\
                   | query | budget MiB | ours CPU s | Flink CPU s | over ours | ours wall s | Flink wall s | ours peak over base MiB | Flink process peak MiB | RocksDB on the disk MiB |\n\
                   |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (query, flink) in ours.iter().zip(flink) {
        let number = |of: &Value, pointer: &str| of.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let name = query["query"].as_str().unwrap_or("?");
        match flink {
            Ok(run) => {
                let (mine, theirs) = (number(query, "/cpu_s/1"), number(run, "/cpu_s"));
                out += &format!(
                    "| {name} | {:.0} | {mine:.2} | {theirs:.2} | {:.1} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} |\n",
                    number(query, "/budget_bytes") / MIB,
                    theirs / mine,
                    number(query, "/wall_s/1"),
                    number(run, "/wall_s"),
                    number(query, "/peak_over_base_bytes/1") / MIB,
                    number(run, "/process/peak_bytes") / MIB,
                    number(run, "/disk_bytes") / MIB,
                );
            }
            Err(why) => out += &format!("| {name} | | | not measured: {} | | | | | | |\n", why.replace('|', "/")),
        }
    }
    out + &format!("\nBar: {LARGER_BAR} times. A figure stands only where Flink's rows are DuckDB's.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(query: &str, ours: f64, flink: f64) -> Live {
        let mine = json!({"cpu_s_per_million": ours, "cost": {"wall_s": 1.0}, "peak_bytes": 1 << 20});
        let theirs = json!({"cpu_s": flink, "wall_s": 2.0, "process": {"cpu_s": 9.0, "peak_bytes": 3 << 20}});
        Live { query: query.to_owned(), events: 2_000_000, ours: vec![mine], flink: Ok(vec![theirs]) }
    }

    #[test]
    fn flink_is_told_per_million_events_and_over_ours() {
        let text = live(&[measured("q0", 0.5, 8.0), measured("q1", 1.0, 2.0)]);
        assert!(text.contains("| q0 | 0.50 | 4.00 | 8.0 | 9.0 | 1.00 | 2.00 | 1 | 3 |"), "{text}");
        assert!(text.contains("over 2 queries: Flink takes 2.8 times ours (bar: 15); behind Flink on 0"), "{text}");
    }

    #[test]
    fn what_was_not_compared_has_no_figure() {
        let wrong = Live { flink: Err("a | b".to_owned()), ..measured("q9", 1.0, 30.0) };
        assert_eq!(wrong.json()["flink_cpu_s"], Value::Null);
        let text = live(&[wrong, measured("q0", 1.0, 4.0)]);
        assert!(text.contains("| q9 | | not measured: a / b |"), "{text}");
        assert!(text.contains("over 1 queries: Flink takes 2.0 times"), "{text}");
    }

    #[test]
    fn larger_than_memory_is_compared_within_the_budget() {
        let mib = 1u64 << 20;
        let ours = json!({"query": "q4", "budget_bytes": 64 * mib, "cpu_s": [3.0, 4.0], "wall_s": [2.0, 2.5], "peak_over_base_bytes": [9, 60 * mib]});
        let flink = json!({"cpu_s": 40.0, "wall_s": 30.0, "disk_bytes": 300 * mib, "process": {"peak_bytes": 900 * mib}});
        let text = larger(&[ours.clone(), ours], &[Ok(flink), Err("no".to_owned())]);
        assert!(text.contains("| q4 | 64 | 4.00 | 40.00 | 10.0 | 2.50 | 30.00 | 60 | 900 | 300 |"), "{text}");
        assert!(text.contains("| q4 | | | not measured: no |"), "{text}");
    }
}
