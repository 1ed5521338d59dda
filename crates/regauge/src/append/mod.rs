//! `regauge append`: a file into a stream or a table, batch by batch, each one commit.
//!
//! With `--producer ID` each batch has a place of its own, so a run that broke off, or whose answer was lost, is simply run again
//! over the same file: what is stored already is passed over. Exit codes: 0 all is stored; 1 it is not (the reason, and how much is
//! stored, on standard error); 2 the command line is wrong.

mod source;
mod target;

use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use regauge_serve::records::BadRecords;
use regauge_views::{ProducerSeq, session::intake::OnError};
use source::{FileFormat, Piece, Source};
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Instant,
};
use target::{NotStored, Stored, Target};

#[derive(Args)]
pub struct AppendArgs {
    /// The stream or table.
    topic: String,
    /// NDJSON, CSV with a header, or Parquet, by the file's name; `-` reads NDJSON from standard input.
    file: PathBuf,
    /// The data folder. If a server holds it the records go to the server.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// What the file holds, if its name does not tell.
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// Rows of a commit.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: u32,
    /// Makes the run repeatable: batches are numbered under this id (`id#2` is its second incarnation), and stored once each.
    #[arg(long)]
    producer: Option<String>,
    /// What becomes of bad records: `fail` refuses their batch, `dead_letter` stores them in `<stream>_dead`. By default as the stream says.
    #[arg(long, value_name = "fail|dead_letter", value_parser = on_error)]
    on_error: Option<OnError>,
    /// One line of JSON at the end, and no progress.
    #[arg(long)]
    json: bool,
}

/// How far a run has come.
#[derive(Default)]
struct Tally {
    /// Bad ones among them.
    rows: usize,
    dead: usize,
    batches: u64,
    rows_before: usize,
    batches_before: u64,
}

pub async fn run(args: AppendArgs) -> anyhow::Result<()> {
    let Some(format) = args.format.or_else(|| format_of(&args.file)) else {
        bail!(
            "the file's name does not tell what it holds file={}\nhint: give --format ndjson, csv or parquet",
            args.file.display()
        );
    };
    let (mut source, len) = Source::open(&args.file, format, args.batch as usize)?;
    let mut target = Target::open(&args.data).await?;
    let bar = bar(len, args.json, format);
    let begun = Instant::now();
    let mut tally = Tally::default();
    let outcome = copy(&args, &mut source, &mut target, &bar, &mut tally).await;
    bar.finish_and_clear();
    if let Err(error) = outcome {
        let stored = tally.rows + tally.rows_before;
        let again = match &args.producer {
            Some(_) => "correct the file from there on and run again: what is stored is passed over",
            None => "with --producer a run can be repeated",
        };
        return Err(if stored == 0 {
            error
        } else {
            error.context(format!("{stored} rows of earlier batches are stored; {again}"))
        });
    }
    report(&args, &tally, begun.elapsed().as_secs_f64(), target.is_server());
    Ok(())
}

fn format_of(path: &Path) -> Option<FileFormat> {
    if path.as_os_str() == "-" { Some(FileFormat::Ndjson) } else { FileFormat::of(path) }
}

async fn copy(
    args: &AppendArgs,
    source: &mut Source,
    target: &mut Target,
    bar: &ProgressBar,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut producer = args.producer.as_deref().map(producer);
    while let Some(piece) = source.next()? {
        match target.append(&args.topic, &piece, producer.as_ref(), args.on_error).await {
            Ok(Stored::Now(dead)) => {
                tally.rows += piece.n_rows;
                tally.dead += dead;
                tally.batches += 1;
            }
            Ok(Stored::Before) => {
                tally.rows_before += piece.n_rows;
                tally.batches_before += 1;
            }
            Err(NotStored::Bad(bad)) => return Err(explain(&args.file, &piece, bad)),
            Err(NotStored::Failed(error)) => return Err(error),
        }
        if let Some(producer) = &mut producer {
            producer.sequence += 1;
        }
        bar.inc(piece.file_bytes);
        bar.set_message(format!("{} rows", tally.rows + tally.rows_before));
    }
    Ok(())
}

fn on_error(text: &str) -> Result<OnError, String> {
    OnError::parse(text).map_err(|e| e.to_string())
}

fn producer(text: &str) -> ProducerSeq {
    let (id, incarnation) = text.rsplit_once('#').and_then(|(id, n)| Some((id, n.parse().ok()?))).unwrap_or((text, 0));
    ProducerSeq { id: id.to_owned(), incarnation, sequence: 0 }
}

/// `flights.csv:17: column dep_time: invalid input ...`
fn explain(file: &Path, piece: &Piece, bad: BadRecords) -> anyhow::Error {
    let mut text = file.display().to_string();
    if let Some(line) = bad.line {
        text += &format!(":{}", piece.file_line(line));
    }
    if let Some(column) = &bad.column {
        text += &format!(": column {column}");
    }
    // A detail that names COPY's line would name the piece's, not the file's.
    let error = regauge_views::Error { detail: bad.error.detail.clone().filter(|d| !d.starts_with("COPY ")), ..*bad.error };
    anyhow::anyhow!("{text}: {:#}", crate::print::explain(error))
}

fn bar(len: Option<u64>, json: bool, format: FileFormat) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(len, ProgressDrawTarget::hidden());
    }
    let amount = if format == FileFormat::Parquet { "{pos}/{len}" } else { "{bytes}/{total_bytes}" };
    let template = match len {
        Some(_) => format!("{{wide_bar}} {amount} {{msg}} {{elapsed}} eta {{eta}}"),
        None => "{spinner} {bytes} {msg} {elapsed}".to_owned(),
    };
    let bar = len.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    ProgressStyle::with_template(&template).map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

fn report(args: &AppendArgs, tally: &Tally, seconds: f64, server: bool) {
    let per_s = tally.rows as f64 / seconds.max(1e-9);
    if args.json {
        let line = serde_json::json!({
            "topic": args.topic,
            "rows": tally.rows,
            "dead_lettered": tally.dead,
            "batches": tally.batches,
            "rows_stored_before": tally.rows_before,
            "batches_stored_before": tally.batches_before,
            "seconds": seconds,
            "rows_per_s": per_s.round(),
            "through_server": server,
        });
        return println!("{line}");
    }
    println!("{} rows in {} commits, {seconds:.1} s, {per_s:.0} rows/s", tally.rows, tally.batches);
    if tally.dead > 0 {
        println!("{} of them are bad and went to {}_dead", tally.dead, args.topic);
    }
    if tally.batches_before > 0 {
        println!("{} rows in {} commits had been stored before and were passed over", tally.rows_before, tally.batches_before);
    }
}
