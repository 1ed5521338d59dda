//! Floor 5: the one binary. Configuration opens the parts in floor order; it knows people, terminals and exit codes.
//!
//! Exit codes: 0 all well, 1 a statement or the data folder failed (the reason is on standard error), 2 the command line is wrong.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod bench;
mod demo;
mod print;
mod shell;

use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

/// Operators allocate many small columns from several threads; the system's allocator shows in profiles there. Without transparent
/// huge pages (a feature of the dependency): clearing and gathering them was up to half of a rebuild's CPU time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "regauge", version, about = "Derived data that stays right", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "examples:
  regauge demo flights                          real data through views, in a temporary folder
  regauge sql --data ./data                     a shell over a data folder
  regauge sql --data ./data -c 'SHOW TABLES'    one text
  regauge sql --data ./data schema.sql          a file";

#[derive(Subcommand)]
enum Command {
    /// Opens a data folder and runs SQL: a text, a file, or line by line from standard input.
    Sql(shell::SqlArgs),
    /// Measures one thing and prints a line of JSON; `cargo xtask bench` runs them all beside their peers.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Loads real data as a log, keeps views of it, plays its end live, and rebuilds a view to compare.
    Demo {
        /// Which one: `flights`.
        name: String,
        /// Where the log is kept; a temporary folder, removed at the end, when not given.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Only one line of JSON at the end.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .init();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK_BYTES).enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Bench(bench) => bench::run(bench).await,
            Command::Sql(args) => shell::run(args).await,
            Command::Demo { name, data, json } if name == "flights" => demo::run(data, json).await,
            Command::Demo { name, .. } => anyhow::bail!("there is no demo of that name name={name}; try `regauge demo flights`"),
        }
    })
}

/// Planning recurses over expressions that a statement may nest 50 deep.
const STACK_BYTES: usize = 16 << 20;
