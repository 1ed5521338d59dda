//! `cargo xtask`: the project's own commands. A command here is what CI runs, so that a colleague and
//! CI can never disagree on what "green" means. It knows cargo, git and Debian's packages; it knows
//! no crate of the workspace (it must build in seconds, before they do).
//!
//! ```text
//! cargo xtask ci                       fmt, clippy, tidy, test: everything a submission must pass
//! cargo xtask test                     all tests in the dev profile; installs what they lack
//! cargo xtask tidy                     crate walls, file sizes, ARCHITECTURE.md
//! cargo xtask slt [--bless] [FILE..]   the SQL text files; --bless asks PostgreSQL anew
//! cargo xtask oracle [--optimised] --views N --seed S [--workers W]   random views against PostgreSQL
//! cargo xtask equalities [--cases N] [--seed S]          queries that must say the same, against each other
//! cargo xtask kill [--cycles N]        kill -9 of the real server in the middle of appends
//! cargo xtask sim --seeds N --seed S [--ops N] [--jobs N]     the whole system under one seed, N of them
//! cargo xtask soak [--only NAME] [--minutes N] [--seed S] [--dev]   attacks for as long as that; one line each at the end
//! cargo xtask fuzz [--only TARGET] [--minutes N] [--seed S]   decoders and parsers under changed input
//! cargo xtask bench [--events N] [--only ..] [--json]   ours beside DuckDB and PostgreSQL, one table
//! cargo xtask bench --only flink --peers flink [--live-events N]   each query live, ours beside Flink
//! cargo xtask bench larger [--events N] [--peers flink] state of four times the budget, beside Flink with RocksDB
//! cargo xtask bench restart [--keys N]                 recovery as the log grows, what checkpoints write and hold up
//! cargo xtask bench tpch [--scale S]                    the 22 queries as views through refreshes, beside DuckDB
//! ```
// A tool for people: it prints, and it reads the real clock and the real disk.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

mod bench;
mod needs;
mod proof;
mod python;
mod soak;
mod step;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask ci | test | tidy | slt [--bless] [FILE..] | \
                     oracle [--optimised] [--views N] [--seed S] [--workers W] | equalities [--cases N] [--seed S] | kill [--cycles N] | \
                     sim [--seeds N] [--seed S] [--ops N] [--jobs N] [--plant BUG] | soak [--only NAME] [--minutes N] [--seed S] [--dev] | fuzz [--only TARGET] [--minutes N] [--seed S] | \
                     bench [--events N] [--live-events N] [--runs N] [--only WORD,..] [--peers flink] [--binary PATH] [--json] | \
                     bench tpch [--scale S] [--refreshes N] [--binary PATH] [--json]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => bail!("{USAGE}"),
    };
    if matches!(command, "ci" | "test" | "tidy") && !rest.is_empty() {
        bail!("`{command}` takes no arguments, got {rest:?}\n{USAGE}");
    }
    match command {
        "ci" => ci(),
        "test" => test(),
        "tidy" => tidy::run(&root()),
        "slt" => proof::slt(&root(), rest),
        "oracle" => proof::oracle(&root(), rest),
        "equalities" => proof::equalities(&root(), rest),
        "kill" => proof::kill(&root(), rest),
        "sim" => soak::sim(&root(), rest),
        "soak" => soak::run(&root(), rest),
        "fuzz" => soak::fuzz(&root(), rest),
        // cargo calls the compiler through this program where it was asked to
        rustc if rustc.ends_with("rustc") => soak::wrap(rustc, rest),
        "bench" => bench::run(&root(), rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown command `{other}`\n{USAGE}"),
    }
}

/// Everything a submission must pass, cheapest first, each step with its time.
fn ci() -> Result<()> {
    let root = root();
    let mut steps = step::Steps::default();
    steps.run("fmt", || step::cargo(&root, &["fmt", "--all", "--check"], &[]))?;
    steps.run("tidy", || tidy::run(&root))?;
    steps.run("clippy", || step::cargo(&root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]))?;
    // Exactly the README's command, through its own door: what a newcomer types is what CI proves.
    steps.run("test", || step::cargo(&root, &["xtask", "test"], &[]))?;
    steps.print();
    Ok(())
}

/// All tests of the workspace in one profile (dev). The SQL text files and the oracle are test
/// targets of `regauge-oracle`, so they run here in their CI sizes.
fn test() -> Result<()> {
    let root = root();
    let found = needs::install_for_tests()?;
    // A test that a machine does not allow (mounting a disk) passes in silence, as libtest has it: it writes here what was not run.
    let not_run = std::env::temp_dir().join(format!("regauge-not-run-{}", std::process::id()));
    let mut env = found.env();
    env.push(("REGAUGE_NOT_RUN", not_run.display().to_string()));
    // a red run names every red test, not only those of the first binary that has one
    let ended = step::cargo(&root, &["test", "--workspace", "--no-fail-fast"], &env);
    let said = std::fs::read_to_string(&not_run).unwrap_or_default();
    let _ = std::fs::remove_file(&not_run);
    let (n, of) = (said.lines().count(), if said.lines().count() == 1 { "test was" } else { "tests were" });
    if n > 0 {
        println!("{n} {of} NOT RUN, because this machine does not allow it:\n{said}");
    }
    ended
}

/// The workspace's root: the folder above this crate.
fn root() -> PathBuf {
    // Of the checkout that `cargo run` runs in: a target folder may be shared, and the binary have been built in another one.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or(here.clone(), PathBuf::from)
}
