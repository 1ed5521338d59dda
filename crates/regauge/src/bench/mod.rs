//! `regauge bench`: each figure of `cargo xtask bench` in a process of its own, so that CPU time and peak memory are of that figure.
//!
//! Every command prints one line of JSON on standard output. Nexmark events come from the crate `nexmark`, a function of their number
//! alone: whoever runs it has the same events. Nothing is asserted about speed; what is compared with what, `xtask` knows.

mod append;
mod crowd;
mod data;
mod epoch;
mod events;
mod freshness;
mod inputs;
mod larger;
mod live;
mod lookup;
mod memory;
mod meter;
mod queries;
mod rebuild;
mod restart;
mod tpch;

use clap::Subcommand;
use std::path::PathBuf;

/// What to measure.
#[derive(Subcommand)]
pub enum Bench {
    /// Writes Nexmark events as Parquet for the peers and as a data folder for us.
    Data {
        /// The folder.
        #[arg(long)]
        dir: PathBuf,
        /// How many events.
        #[arg(long, default_value_t = 10_000_000)]
        events: usize,
        /// How many events more, as Parquet only, for the check after a rebuild.
        #[arg(long, default_value_t = 10_000)]
        more: usize,
    },
    /// CREATE MATERIALIZED VIEW over the folder that `data` wrote; then more events, and the answer as Parquet.
    Rebuild {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        query: String,
        /// After the rebuild append the further events and write what the view shows here.
        #[arg(long)]
        answer: Option<PathBuf>,
        /// Threads of the engine; one for each processor by default.
        #[arg(long)]
        workers: Option<usize>,
    },
    /// Twenty views live at a steady rate, alone and beside a new view that is made over the whole history.
    Crowd {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long, default_value_t = 50_000)]
        rate: usize,
        #[arg(long, default_value_t = 20)]
        seconds: usize,
        #[arg(long, default_value_t = 10)]
        every_ms: usize,
        /// `epochs_in_flight`, to try another.
        #[arg(long)]
        in_flight: Option<usize>,
    },
    /// A view first, then events in epochs of a given size.
    Live {
        #[arg(long)]
        query: String,
        #[arg(long, default_value_t = 1_000_000)]
        events: usize,
        #[arg(long, default_value_t = 10_000)]
        epoch: usize,
    },
    /// Acknowledged to visible at a steady rate, q4 and q7 live.
    Freshness {
        #[arg(long, default_value_t = 50_000)]
        rate: usize,
        #[arg(long, default_value_t = 20)]
        seconds: usize,
        #[arg(long, default_value_t = 10)]
        every_ms: usize,
    },
    /// Epochs of one row through a view of ten operators.
    Epoch {
        #[arg(long, default_value_t = 2_000)]
        epochs: usize,
        #[arg(long, default_value_t = 2)]
        workers: usize,
    },
    /// Appends with fsync.
    Append {
        #[arg(long, default_value_t = 4_000_000)]
        rows: usize,
        #[arg(long, default_value_t = 1_000)]
        batch: usize,
        /// Sessions that append at once.
        #[arg(long, default_value_t = 8)]
        sessions: usize,
    },
    /// Prepared point look-ups by key, in this process.
    Lookup {
        #[arg(long, default_value_t = 1_000_000)]
        rows: usize,
        #[arg(long, default_value_t = 20_000)]
        requests: usize,
    },
    /// Bytes of a count by key (bigint and text).
    Memory {
        #[arg(long, default_value_t = 1_000_000)]
        keys: usize,
    },
    /// Opening a folder again, from a checkpoint and from the log, as the log grows; what a checkpoint writes and costs those who are live.
    Restart {
        /// Of the state, at all lengths.
        #[arg(long, default_value_t = 1_000_000)]
        keys: usize,
        /// How long the log is, one after the other; the first is at least the keys.
        #[arg(long, value_delimiter = ',', default_value = "1000000,3000000,10000000")]
        events: Vec<usize>,
        #[arg(long, default_value_t = 2)]
        workers: usize,
    },
    /// TPC-H: the tables, all 22 queries as views, refreshes of a thousandth; and what the peer needs to do the same.
    Tpch {
        /// Where the tables, the texts and the answers are put for the peer.
        #[arg(long)]
        dir: PathBuf,
        /// The specification's scale factor: 1 is 8.7 million rows.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
        #[arg(long, default_value_t = 5)]
        refreshes: u32,
        /// No checkpoints meanwhile: what the views alone cost.
        #[arg(long)]
        without_checkpoints: bool,
    },
    /// State larger than memory: rebuilds over the folder that `data` wrote, each without a budget and with a share of its state as the budget.
    Larger {
        #[arg(long)]
        dir: PathBuf,
        /// Which.
        #[arg(long, value_delimiter = ',', default_value = "q4,join3")]
        query: Vec<String>,
        /// The state is so many times the budget.
        #[arg(long, default_value_t = 4)]
        share: u64,
    },
    /// One of those rebuilds.
    Within {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        query: String,
        /// The budget in bytes.
        #[arg(long)]
        memory: Option<usize>,
    },
    /// The texts of the queries, one JSON object.
    Queries,
}

/// Runs one and prints its line.
pub async fn run(bench: Bench) -> anyhow::Result<()> {
    let line = match bench {
        Bench::Data { dir, events, more } => data::run(&dir, events, more).await?,
        Bench::Rebuild { dir, query, answer, workers } => rebuild::run(&dir, &query, answer.as_deref(), workers).await?,
        Bench::Crowd { dir, rate, seconds, every_ms, in_flight } => crowd::run(&dir, rate, seconds, every_ms, in_flight).await?,
        Bench::Live { query, events, epoch } => live::run(&query, events, epoch).await?,
        Bench::Freshness { rate, seconds, every_ms } => freshness::run(rate, seconds, every_ms).await?,
        Bench::Epoch { epochs, workers } => epoch::run(epochs, workers).await?,
        Bench::Append { rows, batch, sessions } => append::run(rows, batch, sessions).await?,
        Bench::Lookup { rows, requests } => lookup::run(rows, requests).await?,
        Bench::Memory { keys } => memory::run(keys).await?,
        Bench::Restart { keys, events, workers } => restart::run(keys, &events, workers).await?,
        Bench::Tpch { dir, scale, refreshes, without_checkpoints } => {
            tpch::run(&dir, scale, refreshes, !without_checkpoints).await?
        }
        Bench::Larger { dir, query, share } => larger::run(&dir, &query, share)?,
        Bench::Within { dir, query, memory } => larger::within(&dir, &query, memory).await?,
        Bench::Queries => queries::all(),
    };
    println!("{line}");
    Ok(())
}
