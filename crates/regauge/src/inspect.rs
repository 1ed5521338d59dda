//! `regauge inspect`: what is in a data folder, read only, beside a running server too.
//!
//! Exit codes: 0 everything that was looked at is sound; 1 something is damaged (named with file and offset) or cannot be read.

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use regauge_log::{
    LogError,
    inspect::{Inspection, JournalFile},
};
use regauge_types::{Env, Hlc};
use regauge_views::catalog::{self, Event};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct InspectArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The journal: its files, how many commits and bytes are in them, the durable mark.
    Log(Common),
    /// The archive: its manifest and segments.
    Archive {
        #[command(flatten)]
        common: Common,
        /// Does not read the segments.
        #[arg(long)]
        quick: bool,
    },
    /// The catalog's history: each event with its commit.
    Catalog(Common),
}

#[derive(Args)]
struct Common {
    /// The data folder.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// One JSON document.
    #[arg(long)]
    json: bool,
}

pub fn run(args: InspectArgs) -> anyhow::Result<()> {
    match args.what {
        What::Log(common) => log(&common),
        What::Archive { common, quick } => archive(&common, quick),
        What::Catalog(common) => history(&common),
    }
}

fn open(data: &Path) -> anyhow::Result<Inspection> {
    if !data.join("FORMAT").exists() {
        bail!("there is no data folder data={}\nhint: give --data", data.display());
    }
    Inspection::open(Env::real(), data).map_err(|e| told(&e))
}

/// An error of the log with its source and what to do.
fn told(error: &LogError) -> anyhow::Error {
    let source = std::error::Error::source(error).map(|s| format!(": {s}")).unwrap_or_default();
    let hint = error.hint().map(|h| format!("\nhint: {h}")).unwrap_or_default();
    anyhow!("{error}{source}{hint}")
}

fn log(common: &Common) -> anyhow::Result<()> {
    let inspection = open(&common.data)?;
    let files = inspection.journal().map_err(|e| told(&e))?;
    let mark = inspection.mark;
    if common.json {
        let files: Vec<Value> = files.iter().map(file_json).collect();
        let mark =
            json!({ "generation": mark.generation, "file": mark.file, "bytes": mark.length, "lsn": mark.lsn, "run": mark.run });
        println!("{}", json!({ "data_set": inspection.dataset.to_string(), "mark": mark, "files": files }));
    } else {
        println!("data set {}", inspection.dataset);
        println!("durable mark: lsn {} at byte {} of file {}, run {}", mark.lsn, mark.length, mark.file, mark.run);
        println!("{:<26} {:>14} {:>10} {:>12} {:>12}  last commit (UTC)", "file", "bytes", "commits", "rows", "last lsn");
        for f in &files {
            let name = f.path.file_name().unwrap_or_default().to_string_lossy();
            println!("{name:<26} {:>14} {:>10} {:>12} {:>12}  {}", f.bytes, f.commits, f.rows, f.last_lsn, when(f.last_hlc));
            if let Some(why) = &f.torn {
                println!("  {} bytes at the end are a write that never finished: {why}", f.bytes.saturating_sub(f.whole_bytes));
            }
        }
    }
    let damaged: Vec<&LogError> = files.iter().filter_map(|f| f.damage.as_ref()).collect();
    match damaged.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(told(first).context(format!("{} of {} journal files are damaged", damaged.len(), files.len()))),
    }
}

fn file_json(f: &JournalFile) -> Value {
    json!({
        "file": f.path.display().to_string(),
        "first_lsn": f.first_lsn.0,
        "last_lsn": f.last_lsn.0,
        "commits": f.commits,
        "rows": f.rows,
        "bytes": f.bytes,
        "whole_bytes": f.whole_bytes,
        "last_commit_ms": f.last_hlc.ms(),
        "torn": f.torn,
        "damage": f.damage.as_ref().map(ToString::to_string),
    })
}

fn archive(common: &Common, quick: bool) -> anyhow::Result<()> {
    let inspection = open(&common.data)?;
    let manifest = inspection.archive().map_err(|e| told(&e))?;
    if common.json {
        let segments: Vec<Value> = manifest
            .segments
            .iter()
            .map(|s| {
                json!({
                    "object": s.path().to_string(), "topic": s.topic.0, "partition": s.partition, "schema": s.schema_id.0,
                    "first_offset": s.first_offset, "rows": s.rows, "first_lsn": s.first_lsn.0, "last_lsn": s.last_lsn.0, "bytes": s.bytes,
                })
            })
            .collect();
        println!("{}", json!({ "manifest": manifest.number, "archived_lsn": manifest.archived.0, "segments": segments }));
    } else {
        let bytes: u64 = manifest.segments.iter().map(|s| s.bytes).sum();
        println!("manifest {}: commits up to lsn {} in {} segments", manifest.number, manifest.archived, manifest.segments.len());
        println!("{} rows, {bytes} bytes", manifest.rows());
        if !manifest.segments.is_empty() {
            println!(
                "{:>6} {:>9} {:>12} {:>10} {:>10} {:>10} {:>12}",
                "topic", "partition", "offset", "rows", "from lsn", "to lsn", "bytes"
            );
        }
        for s in &manifest.segments {
            println!(
                "{:>6} {:>9} {:>12} {:>10} {:>10} {:>10} {:>12}",
                s.topic, s.partition, s.first_offset, s.rows, s.first_lsn, s.last_lsn, s.bytes
            );
        }
    }
    if quick { Ok(()) } else { inspection.verify_archive().map_err(|e| told(&e)) }
}

fn history(common: &Common) -> anyhow::Result<()> {
    let inspection = open(&common.data)?;
    let files = inspection.journal().map_err(|e| told(&e))?;
    if let Some(damage) = files.iter().find_map(|f| f.damage.as_ref()) {
        return Err(told(damage));
    }
    let mut lines = Vec::new();
    for commit in inspection.catalog(&files).map_err(|e| told(&e))? {
        for part in &commit.parts {
            let events = catalog::decode(&part.rows).map_err(|e| anyhow!("catalog cannot be read: {e} lsn={}", commit.lsn))?;
            for event in events {
                if common.json {
                    let mut value = serde_json::to_value(&event)?;
                    if let Some(verifier) = value.pointer_mut("/attributes/verifier") {
                        *verifier = json!("..");
                    }
                    lines.push(json!({ "lsn": commit.lsn.0, "commit_ms": commit.hlc.ms(), "event": value }));
                } else {
                    println!("lsn {:<8} {}  {}", commit.lsn, when(commit.hlc), short(&event));
                }
            }
        }
    }
    if common.json {
        println!("{}", json!({ "events": lines }));
    }
    Ok(())
}

fn short(event: &Event) -> String {
    let columns = |specs: &[catalog::ColumnSpec]| {
        let each: Vec<String> = specs.iter().map(|c| format!("{} {}", c.name, c.ty)).collect();
        each.join(", ")
    };
    match event {
        Event::TableCreated { topic, name, columns: c, .. } => format!("table {name} (topic {topic}): {}", columns(c)),
        Event::StreamCreated { topic, name, columns: c, .. } => format!("stream {name} (topic {topic}): {}", columns(c)),
        Event::ViewCreated { view, name, definition, .. } => format!("view {name} (view {view}): {}", definition.sql),
        Event::MaterializedViewCreated { view, name } => format!("materialized view {name} (view {view})"),
        Event::VersionAdded { view, version, spec } => format!("version {version} of view {view}: {}", spec.definition.sql),
        Event::Routed { view, version } => format!("view {view} is answered by version {version}"),
        Event::VersionRetired { view, version } => format!("version {version} of view {view} retires"),
        Event::Dropped { name, .. } => format!("{name} dropped"),
        Event::SchemaCreated { schema } => format!("schema {schema}"),
        Event::SchemaDropped { schema } => format!("schema {schema} dropped"),
        Event::Renamed { object, name } => format!("{object:?} is called {name}"),
        Event::Redefined { object, sql, .. } => format!("{object:?} reads, with other names: {sql}"),
        Event::ViewReplaced { view, name, definition, .. } => format!("view {name} (view {view}) replaced: {}", definition.sql),
        Event::Altered { name, columns: c, schema_id, .. } => format!("{name} altered (schema {schema_id}): {}", columns(c)),
        Event::Commented { object, column, text } => {
            let of = if *column == 0 { String::new() } else { format!(" column {column}") };
            format!("comment on {object:?}{of}: {}", text.as_deref().unwrap_or("none"))
        }
        Event::SequenceCreated { sequence, name, .. } => format!("sequence {name} (sequence {sequence})"),
        Event::SecretSet { name, .. } => format!("secret {name} has a value"),
        Event::SecretDropped { name } => format!("secret {name} dropped"),
        Event::ModuleAdded { hash, module } => {
            format!("WebAssembly module {hash}: {} bytes", module.as_ref().map_or(0, |m| m.bytes().len()))
        }
        Event::FunctionCreated { name, spec } => format!("function {name} of {} parameters: {}", spec.params.len(), spec.body),
        Event::FunctionDropped { name, params } => format!("function {name} of {params} parameters dropped"),
        Event::IndexCreated { object, index } => format!("index {} of {object:?} created", index.name),
        Event::IndexDropped { object, name } => format!("index {name} of {object:?} dropped"),
        Event::SinkCreated { sink, name, spec } => format!("sink {name} (sink {sink}) of {:?}: {:?}", spec.of, spec.options),
        Event::SinkAltered { sink, spec } => {
            format!("sink {sink}{}: {:?}", if spec.paused { " paused" } else { "" }, spec.options)
        }
        Event::OnErrorSet { topic, on_error } => format!("bad records of topic {topic}: {on_error}"),
        Event::BackfillPaced { view, rate } => match rate {
            Some(rate) => format!("view {view} reads {rate} rows a second of its history"),
            None => format!("view {view} reads its history as fast as it can"),
        },
        Event::SinkDropped { sink } => format!("sink {sink} dropped"),
        Event::SequenceDropped { sequence } => format!("sequence {sequence} dropped"),
        Event::SequenceReserved { sequence, last } => match last {
            Some(last) => format!("sequence {sequence}: numbers up to {last} may have been given"),
            None => format!("sequence {sequence}: no number was given"),
        },
        // Passwords are not printed, nor what they are proven against.
        Event::Rights { change } => format!("rights: {change:?}"),
    }
}

/// A clock's milliseconds as a date, `-` before the first commit.
fn when(hlc: Hlc) -> String {
    if hlc == Hlc::ZERO {
        return "-".to_owned();
    }
    let micros = i64::try_from(hlc.ms().saturating_mul(1000)).unwrap_or(i64::MAX);
    let value = regauge_views::Value {
        ty: arrow::datatypes::DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
        datum: regauge_views::Datum::Timestamp(micros),
    };
    regauge_views::pgtypes::format_text(&value).unwrap_or_default()
}
