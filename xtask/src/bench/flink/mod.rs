//! Apache Flink as a peer: SQL in streaming mode over the same events, two slots, in a process of its own for each figure.
//!
//! ```text
//!   DIR/parquet ──peer.py rows──▶ DIR/rows/part-{0,1}.rows ──peer.Events──▶ Flink SQL ──peer.Changes──▶ counts | rows in a file
//!                                                                                                          peer.py same: DuckDB's?
//! ```
//! Its source is a file of plain rows, not Parquet: decoding is then cheap, in Flink's favour. A query whose rows are not DuckDB's has no
//! figure, and neither has one that Flink does not take; the table says why. No network is asked but Maven's, when the peer is installed.

mod install;
mod queries;
pub mod table;

use super::ours::Ours;
use super::peers::Peers;
use super::{data, text};
use anyhow::{Context, Result};
use queries::Queries;
use serde_json::Value;
use std::path::Path;
use table::Live;

/// The name of this peer behind `--peers`.
pub const NAME: &str = "flink";
/// Where the tables stand in `bench/RESULTS.md`.
pub const LIVE_MARKS: (&str, &str) = ("<!-- flink: written by `cargo xtask bench --peers flink` -->", "<!-- end of flink -->");
pub const LARGER_MARKS: (&str, &str) =
    ("<!-- flink larger: written by `cargo xtask bench larger --peers flink` -->", "<!-- end of flink larger -->");

/// The same query runs over so many events first, at most half of them: Java has compiled it then, and its rows are compared.
const WARM_EVENTS: usize = 500_000;
/// Of our epochs.
const EPOCH: &str = "10000";
/// Java's heap. RocksDB's memory is outside of it.
const HEAP: &str = "-Xmx8g";
/// What Flink's own start script opens for it.
const OPENS: [&str; 11] = [
    "java.base/java.lang",
    "java.base/java.net",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/sun.nio.ch",
    "java.base/java.lang.reflect",
    "java.base/java.text",
    "java.base/java.time",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
];

/// An installed Flink.
pub struct Flink<'a> {
    peers: &'a Peers,
    classpath: String,
    queries: Queries,
}

/// One run of Flink's process.
struct Run<'a> {
    dir: &'a Path,
    events: usize,
    query: &'a str,
    more: Vec<String>,
}

impl<'a> Flink<'a> {
    /// Brings it; says what to install where Java or Maven is missing.
    pub fn install(root: &Path, cache: &Path, peers: &'a Peers) -> Result<Flink<'a>> {
        let file = root.join("bench/flink/queries.sql");
        let queries = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Flink { peers, classpath: install::classpath(root, cache)?, queries: Queries::parse(&queries)? })
    }

    /// One query live, ours and Flink's in turn (`duckdb` is its text for DuckDB). Each of Flink's processes first runs the query over a part
    /// of the events with the rows kept: those must be DuckDB's, and so must the number of rows of the measured run.
    pub fn live(&self, ours: &Ours, cache: &Path, query: &str, duckdb: &str, events: usize, runs: usize) -> Result<Live> {
        let refused = |why| Live { query: query.to_owned(), events, ours: vec![], flink: Err(why) };
        let n_first = WARM_EVENTS.min(events / 2);
        let (first, dir) = (data(ours, cache, n_first)?, data(ours, cache, events)?);
        let n_rows = number(&self.peers.duckdb(&["count", text(&dir)?, duckdb])?, "rows")?;
        let (mut mine, mut theirs) = (vec![], vec![]);
        for _ in 0..runs {
            let run = Run { dir: &dir, events, query, more: vec![format!("warm={n_first}")] };
            let run = match self.compared(run, &first, duckdb)? {
                Ok(run) => run,
                Err(why) => return Ok(refused(why)),
            };
            let shown = number(&run, "inserts")? - number(&run, "deletes")?;
            if shown != n_rows {
                return Ok(refused(format!("{shown} rows at the end of the measured run, DuckDB has {n_rows}")));
            }
            theirs.push(run);
            mine.push(ours.run(&["live", "--query", query, "--events", &events.to_string(), "--epoch", EPOCH])?);
        }
        Ok(Live { query: query.to_owned(), events, ours: mine, flink: Ok(theirs) })
    }

    /// One query with its state in RocksDB, which has `budget` bytes; its rows are compared in the same run.
    pub fn within(&self, dir: &Path, query: &str, duckdb: &str, events: usize, budget: u64) -> Result<Result<Value, String>> {
        let state = dir.join(format!("flink-state-{}", std::process::id()));
        std::fs::create_dir_all(&state).with_context(|| format!("cannot make folder={}", state.display()))?;
        let more = vec![format!("rocksdb={}", text(&state)?), format!("memory={budget}")];
        let ran = self.compared(Run { dir, events, query, more }, dir, duckdb);
        let _ = std::fs::remove_dir_all(&state);
        ran
    }

    /// Runs with the rows kept, and compares them with DuckDB's over `same_as`: the run, or why there is no figure.
    fn compared(&self, mut run: Run, same_as: &Path, duckdb: &str) -> Result<Result<Value, String>> {
        let rows = run.dir.join(format!("flink-{}.csv", run.query));
        run.more.push(format!("rows={}", text(&rows)?));
        let ran = self.run(&run)?;
        if let Some(why) = ran["refused"].as_str() {
            return Ok(Err(format!("Flink does not take it: {why}")));
        }
        let same = self.peers.duckdb(&["same", text(same_as)?, duckdb, text(&rows)?])?;
        if same["equal"] != Value::Bool(true) {
            return Ok(Err(format!(
                "other rows than DuckDB's {}: {} missing, {} too many",
                same["rows"], same["missing"], same["extra"]
            )));
        }
        let _ = std::fs::remove_file(&rows);
        Ok(Ok(ran))
    }

    fn run(&self, run: &Run) -> Result<Value> {
        let rows = run.dir.join("rows");
        if !rows.join("part-1.rows").is_file() {
            println!("== data: the same events as rows for Flink");
            self.peers.duckdb(&["rows", text(run.dir)?])?;
        }
        let options = [
            format!("dir={}", text(&rows)?),
            format!("events={}", run.events),
            format!("query={}", self.queries.text(run.query)?),
        ];
        let opens = OPENS.map(|package| format!("--add-opens={package}=ALL-UNNAMED"));
        let mut words = vec!["measured", "java", HEAP, "-Duser.timezone=UTC", "-cp", &self.classpath];
        words.extend(opens.iter().map(String::as_str));
        words.push("peer.Peer");
        words.extend(options.iter().chain(&run.more).map(String::as_str));
        self.peers.duckdb(&words)
    }
}

fn number(of: &Value, name: &str) -> Result<i64> {
    of[name].as_i64().with_context(|| format!("no {name} in {of}"))
}
