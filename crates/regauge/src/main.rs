//! Floor 5: the one binary. Configuration opens the parts in floor order; it knows people, terminals and exit codes.
//!
//! Exit codes: 0 all well, 1 a statement or the data folder failed (the reason is on standard error), 2 the command line is wrong,
//! 3 a statement of a script failed.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod allocator;
mod append;
mod backup;
mod bench;
mod client;
mod demo;
mod doors;
mod folder;
mod inspect;
mod percentile;
mod print;
mod running;
mod serve;
mod shell;
mod verify;

use clap::{Parser, Subcommand};
use std::{io::IsTerminal, process::ExitCode};

#[derive(Parser)]
#[command(name = "regauge", version, about = "Derived data that stays right", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "examples:
  regauge serve --data ./data                   a server for psql and other clients of PostgreSQL
  regauge demo flights                          real data through views, in a temporary folder
  regauge sql --data ./data                     a shell over a data folder
  regauge sql --data ./data -c 'SHOW TABLES'    one text
  regauge sql --data ./data schema.sql          a file, each statement of its own; with -1 as one transaction
  regauge append clicks clicks.ndjson           records into a stream or table, also of a running server
  regauge inspect log --data ./data             what the journal's files hold, and whether they are sound
  regauge backup --data ./data --to ./backups   a copy of everything, while a server runs
  regauge verify --all --data ./data            every checksum, and every view computed again

exit codes: 0 all well; 1 it failed, the reason is on standard error; 2 the command line is wrong; 3 a statement of a script failed";

/// A statement of a script failed, as psql has it with ON_ERROR_STOP.
const IN_SCRIPT: u8 = 3;

#[derive(Subcommand)]
enum Command {
    /// Opens a data folder and serves it: the Postgres wire, on this machine unless told otherwise.
    Serve(serve::ServeArgs),
    /// Opens a data folder and runs SQL: a text, a file, or line by line from standard input.
    Sql(shell::SqlArgs),
    /// Measures one thing and prints a line of JSON; `cargo xtask bench` runs them all beside their peers.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Loads real data as a log, keeps views of it, plays its end live, and rebuilds the views to compare.
    Demo(demo::DemoArgs),
    /// Appends a file to a stream or a table: NDJSON, CSV, Parquet.
    Append(append::AppendArgs),
    /// Shows what the files of a data folder hold, and whether they are sound. Read only, also beside a running server.
    Inspect(inspect::InspectArgs),
    /// Reads every byte of a data folder, or of a folder of backups, and says whether it is what was written. Read only.
    Verify(verify::VerifyArgs),
    /// Copies a data folder as it is at this moment into a folder of backups, also of a running server.
    Backup(backup::BackupArgs),
    /// Makes a data folder of a backup.
    Restore(backup::RestoreArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A server tells what happens to it; a command says what it was asked.
    let level = if matches!(cli.command, Command::Serve(_)) { "info" } else { "warn" };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into()))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    end_with_the_reader();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<shell::InScript>() { ExitCode::from(IN_SCRIPT) } else { ExitCode::FAILURE }
        }
    }
}

/// `regauge sql .. | head`: a reader that has seen enough is no failure. println! knows only to panic.
fn end_with_the_reader() {
    let otherwise = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload().downcast_ref::<String>().map(String::as_str);
        if said.is_some_and(|s| s.starts_with("failed printing to stdout") && s.contains("Broken pipe")) {
            std::process::exit(0);
        }
        otherwise(panic);
    }));
}

fn run(command: Command) -> anyhow::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.thread_stack_size(STACK_BYTES).max_blocking_threads(BLOCKING_THREADS).enable_all();
    let runtime = runtime.build()?;
    runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(args).await,
            Command::Bench(bench) => bench::run(bench).await,
            Command::Sql(args) => shell::run(args).await,
            Command::Inspect(args) => inspect::run(args),
            Command::Verify(args) => verify::run(args).await,
            Command::Backup(args) => backup::backup(args).await,
            Command::Restore(args) => backup::restore(&args),
            Command::Demo(args) => demo::run(args).await,
            Command::Append(args) => append::run(args).await,
        }
    })
}

/// Each subscription and each commit on its way holds one: more than connections, so that commits always find one.
const BLOCKING_THREADS: usize = 1024;

/// Planning recurses over expressions that a statement may nest 50 deep.
const STACK_BYTES: usize = 16 << 20;
