//! Medians, ratios and bars: the tables of a run, and their place in `bench/RESULTS.md`.

use super::options::Options;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::Command;

const BEGIN: &str = "<!-- figures: written by `cargo xtask bench` -->";
const END: &str = "<!-- end of figures -->";

/// Feldera 0.337 with two workers, CPU seconds per million events, as measured on 2026-11-21 beside a DuckDB q4 of 0.09.
const FELDERA: [(&str, f64); 8] =
    [("q0", 0.82), ("q1", 1.33), ("q2", 0.89), ("q3", 1.07), ("q4", 1.53), ("q5", 1.48), ("q7", 4.7), ("q8", 0.97)];
const DUCKDB_Q4_THEN: f64 = 0.09;
/// Queries of the first bar.
const MAIN_LINE: [&str; 8] = ["q0", "q1", "q2", "q3", "q4", "q5", "q7", "q8"];

/// What a run has measured.
pub struct Report {
    head: String,
    events: usize,
    rebuild: Vec<(String, [f64; 6])>,
    live: Vec<(String, String, [f64; 3])>,
    singles: Map<String, Value>,
}

/// The median of a field over some runs; NaN where a run has none.
pub fn median(runs: &[Value], pointer: &str) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(|run| run.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn said_by(command: &str, args: &[&str], dir: &Path) -> String {
    let out = Command::new(command).args(args).current_dir(dir).output();
    out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

fn machine() -> String {
    let line = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().find(|l| l.starts_with(name)).and_then(|l| l.split_once(':')).map(|(_, v)| v.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = line("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let memory = line("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown memory".to_owned());
    format!("{cores} x {model}, {memory}")
}

/// A binary in a command that is told: no path of this machine, and whether it is a release build.
pub fn shown(binary: &str) -> &'static str {
    if Path::new(binary).ends_with("release/regauge") { "target/release/regauge" } else { "(NOT a release build, see the text)" }
}

/// When, what and where.
pub fn circumstances(root: &Path) -> String {
    let date = said_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"], root);
    let commit = said_by("git", &["describe", "--always", "--dirty", "--abbrev=12"], root);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    format!("{date}, commit {commit}, {}, load when it began {load}", machine())
}

impl Report {
    pub fn new(root: &Path, options: &Options, peer: &str) -> Report {
        let (events, live, runs) = (options.events, options.live_events, options.runs);
        let only = if options.only.is_empty() { String::new() } else { format!(" --only {}", options.only.join(",")) };
        let binary = options.binary.as_deref().map(|path| format!(" --binary {}", shown(path))).unwrap_or_default();
        let peers = if options.flink { " --peers flink" } else { "" };
        let command = format!("cargo xtask bench --events {events} --live-events {live} --runs {runs}{only}{peers}{binary}");
        let head = format!("{}, {peer}. Medians of {runs}. `{command}`", circumstances(root));
        Report { head, events, rebuild: vec![], live: vec![], singles: Map::new() }
    }

    /// When, where, what, by which command.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Whether nothing was measured that belongs between the marks: what stands there is then left.
    pub fn is_empty(&self) -> bool {
        self.rebuild.is_empty() && self.live.is_empty() && self.singles.is_empty()
    }

    pub fn rebuild(&mut self, query: &str, duckdb: &[Value], ours: &[Value]) {
        let per_million = 1e6 / self.events as f64;
        let row = [
            median(ours, "/cost/cpu_s") * per_million,
            median(duckdb, "/cpu_s") * per_million,
            median(ours, "/cost/wall_s"),
            median(duckdb, "/wall_s"),
            median(ours, "/peak_bytes") / (1 << 20) as f64,
            median(duckdb, "/peak_bytes") / (1 << 20) as f64,
        ];
        self.rebuild.push((query.to_owned(), row));
    }

    pub fn live(&mut self, query: &str, epoch: &str, runs: &[Value]) {
        let row = [
            median(runs, "/cpu_s_per_million"),
            median(runs, "/view_cpu_s_per_million"),
            median(runs, "/peak_bytes") / (1 << 20) as f64,
        ];
        self.live.push((query.to_owned(), epoch.to_owned(), row));
    }

    pub fn single(&mut self, name: &str, runs: &[Value]) {
        let Some(Value::Object(first)) = runs.first() else { return };
        let mut medians = Map::new();
        for (field, value) in first {
            if value.is_number() {
                medians.insert(field.clone(), json!(median(runs, &format!("/{field}"))));
            }
        }
        medians.insert("cpu_s".to_owned(), json!(median(runs, "/cost/cpu_s")));
        self.singles.insert(name.to_owned(), Value::Object(medians));
    }

    pub fn peer(&mut self, name: &str, answer: &Value) {
        self.singles.insert(name.to_owned(), answer.clone());
    }

    /// Ours over DuckDB's, geometric mean of all queries.
    fn geometric_mean(&self) -> f64 {
        self.mean_of(|_| true)
    }

    fn mean_of(&self, wanted: impl Fn(&str) -> bool) -> f64 {
        let ratios: Vec<f64> = self.rebuild.iter().filter(|(q, _)| wanted(q)).map(|(_, row)| row[0] / row[1]).collect();
        (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
    }

    /// How much slower this machine is now than when Feldera was measured, by DuckDB's q4.
    fn scale(&self) -> Option<f64> {
        self.rebuild.iter().find(|(q, _)| q == "q4").map(|(_, row)| row[1] / DUCKDB_Q4_THEN)
    }

    pub fn json(&self) -> Value {
        let rebuild = self.rebuild.iter().map(|(q, r)| json!({ "query": q, "ours_cpu_s": r[0], "duckdb_cpu_s": r[1], "ours_wall_s": r[2], "duckdb_wall_s": r[3], "ours_peak_mib": r[4], "duckdb_peak_mib": r[5] }));
        let live = self
            .live
            .iter()
            .map(|(q, e, r)| json!({ "query": q, "epoch": e, "cpu_s": r[0], "view_cpu_s": r[1], "peak_mib": r[2] }));
        json!({
            "head": self.head, "rebuild": rebuild.collect::<Vec<_>>(), "rebuild_geometric_mean": self.geometric_mean(),
            "live": live.collect::<Vec<_>>(), "scale": self.scale(), "singles": self.singles,
        })
    }

    pub fn markdown(&self) -> String {
        let mut out = format!("{}\n", self.head);
        if !self.rebuild.is_empty() {
            out += &format!(
                "\n**Rebuild of {} events**, CPU seconds per million events; ours keeps the state that live needs.\n\n",
                self.events
            );
            out += "| query | ours CPU s/M | DuckDB CPU s/M | ratio | ours wall s | DuckDB wall s | ours peak MiB | DuckDB peak MiB |\n|---|---|---|---|---|---|---|---|\n";
            for (q, r) in &self.rebuild {
                out += &format!(
                    "| {q} | {:.3} | {:.3} | {:.1} | {:.2} | {:.2} | {:.0} | {:.0} |\n",
                    r[0],
                    r[1],
                    r[0] / r[1],
                    r[2],
                    r[3],
                    r[4],
                    r[5]
                );
            }
            let main_line = self.mean_of(|q| MAIN_LINE.contains(&q));
            out += &format!(
                "\nGeometric mean of the ratios: {:.2} over q0 to q8 (bar: 3), {:.2} over all {} queries.\n",
                main_line,
                self.geometric_mean(),
                self.rebuild.len()
            );
        }
        if !self.live.is_empty() {
            out += "\n**Live**, CPU seconds per million events: all of it (append with fsync, epoch, operators, publishing), and without what the same appends cost alone.\n\n";
            out += "| query | epoch | all CPU s/M | view CPU s/M | peak MiB | bar: half of Feldera's, scaled |\n|---|---|---|---|---|---|\n";
            for (q, epoch, r) in &self.live {
                let feldera = FELDERA.iter().find(|(name, _)| name == q).map(|(_, s)| *s);
                let bar =
                    feldera.zip(self.scale()).filter(|_| epoch == "10000").map(|(f, scale)| format!("{:.2}", f * scale / 2.0));
                out += &format!("| {q} | {epoch} | {:.2} | {:.2} | {:.0} | {} |\n", r[0], r[1], r[2], bar.unwrap_or_default());
            }
        }
        for (name, value) in &self.singles {
            let fields = value.as_object().into_iter().flatten();
            let fields: Vec<String> =
                fields.map(|(f, v)| v.as_f64().map_or(format!("{f} {v}"), |n| format!("{f} {n:.3}"))).collect();
            out += &format!("\n**{name}**: {}\n", fields.join(", "));
        }
        out
    }

    /// Puts the tables between the marks of a file, or makes it.
    pub fn write(&self, file: &Path) -> Result<()> {
        put(file, (BEGIN, END), &self.markdown())
    }
}

/// Puts a text between two marks of a file, or makes it.
pub fn put(file: &Path, (begin, end): (&str, &str), text: &str) -> Result<()> {
    let old = std::fs::read_to_string(file).unwrap_or_else(|_| format!("# Figures\n\n{begin}\n{end}\n"));
    let (before, rest) = old.split_once(begin).with_context(|| format!("no mark `{begin}` in {}", file.display()))?;
    let (_, after) = rest.split_once(end).with_context(|| format!("no mark `{end}` in {}", file.display()))?;
    std::fs::write(file, format!("{before}{begin}\n{text}\n{end}{after}"))?;
    Ok(())
}
