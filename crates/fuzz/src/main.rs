//! Floor 5, for tests only: decoders and parsers of all floors under changed input.
//!
//! ```text
//!   seeds ─▶ corpus ─▶ mutate ─▶ target ─▶ panic? too much memory? too long?  a violation, with the input
//!               ▲                   │
//!               └── input that took a new edge ◀── cover: counters that LLVM put into our crates
//! ```
//! Coverage-guided where it was built by `cargo xtask fuzz` (the stable compiler's own passes count edges of our crates); built as everything else
//! is, nothing counts, and it changes its seeds blindly: CI's small share. Checksums are made right after a change (structure-aware), so
//! that what lies behind them is reached. Each target runs in a process of its own: one that dies is a violation and takes nobody along.
//! It never knows whether an answer is right, only that there is one: error or value, no panic, no allocation beyond 512 MiB, no hang.
// A tool for people: it prints, it reads the clock.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::cast_possible_truncation)]

mod cover;
mod engine;
mod heap;
mod mutate;
mod targets;

use anyhow::{Context, Result, bail};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: regauge-fuzz [--only TARGET] [--minutes N | --executions N] [--seed S]\n       \
                     regauge-fuzz again TARGET HEX";

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// What stands on the command line.
#[derive(Default)]
struct Arguments {
    only: Option<String>,
    minutes: Option<u64>,
    executions: Option<u64>,
    seed: u64,
    /// One target, in this process.
    alone: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [again, target, hex] = words.as_slice()
        && again == "again"
    {
        let input = bytes_of(hex).with_context(|| format!("{hex} is not hexadecimal"))?;
        return engine::again(target, &input);
    }
    let arguments = arguments(&words)?;
    if arguments.alone {
        let name = arguments.only.as_deref().context(USAGE)?;
        let limit = match (arguments.minutes, arguments.executions) {
            // a minute of the whole is shared by all
            (Some(minutes), _) => engine::Limit::Seconds(minutes * 60 / targets::NAMES.len() as u64),
            (None, n) => engine::Limit::Executions(n.unwrap_or(20_000)),
        };
        return engine::run(name, arguments.seed, limit);
    }
    all(&arguments)
}

/// Each target in a process of its own; false if anything was found.
fn all(arguments: &Arguments) -> Result<bool> {
    let program = std::env::current_exe().context("who am I")?;
    let (mut executions, mut edges, mut violations) = (0, 0, 0);
    for name in targets::NAMES.iter().filter(|name| arguments.only.as_deref().is_none_or(|only| only == **name)) {
        let mut command = Command::new(&program);
        command.args(["--alone", "--only", name, "--seed", &arguments.seed.to_string()]);
        for (flag, value) in [("--minutes", arguments.minutes), ("--executions", arguments.executions)] {
            if let Some(value) = value {
                command.args([flag, &value.to_string()]);
            }
        }
        let output = command.stderr(std::process::Stdio::inherit()).output().context("cannot run a target")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        print!("{text}");
        let number = |word: &str| -> u64 {
            let last = text.lines().last().unwrap_or_default();
            last.split(' ').find_map(|w| w.strip_prefix(word)?.strip_prefix('=')?.parse().ok()).unwrap_or(0)
        };
        executions += number("executions");
        edges += number("edges");
        violations += number("violations");
        if !output.status.success() && number("violations") == 0 {
            println!("{name} with seed {} came to no end: {}", arguments.seed, output.status);
            violations += 1;
        }
    }
    if executions == 0 {
        bail!("nothing was run: no target is called {:?}; there are {}", arguments.only, targets::NAMES.join(", "));
    }
    println!("fuzz: cases={executions} edges={edges} faults={executions} violations={violations}");
    Ok(violations == 0)
}

fn arguments(words: &[String]) -> Result<Arguments> {
    let mut arguments = Arguments { seed: 1, ..Arguments::default() };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        if flag == "--alone" {
            arguments.alone = true;
            continue;
        }
        let value = words.next().context(USAGE)?;
        match flag.as_str() {
            "--only" => arguments.only = Some(value.clone()),
            "--minutes" => arguments.minutes = Some(value.parse().context(USAGE)?),
            "--executions" => arguments.executions = Some(value.parse().context(USAGE)?),
            "--seed" => arguments.seed = value.parse().context(USAGE)?,
            other => bail!("unknown flag `{other}`\n{USAGE}"),
        }
    }
    Ok(arguments)
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
