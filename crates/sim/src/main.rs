//! Floor 5, for tests only: the whole system (views, log, state, flow, plan) under one seed.
//!
//! ```text
//!   seed ─▶ scenario: lives, faults, sizes ─▶ world ─▶ machine (a life): opens the folder on the simulated disk
//!                                               │        ├─ clients: transactions, batches, views, tokens, reads ─▶ model judges
//!                                               │        └─ threads of log, archive, driver, workers, checkpoints
//!                                               └─ power cut · kill · close, and the next life
//! ```
//! The system's code is what is released, unchanged: disk, clock and chance come in through `types::env::Env`, and below it all threads of the
//! process go through [`baton`]. It never knows operators or files' formats. How it is made, and what is not under the seed:
//! `docs/rfcs/2026-11-26-simulation.md`.
// A tool for people: it prints, and it owns the process.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::cast_possible_truncation)]

mod alone;
mod baton;
mod bugs;
mod client;
mod disk;
mod flows;
mod machine;
mod many;
mod model;
mod past;
mod queries;
mod reader;
mod scenario;
mod shared;
mod world;

use anyhow::{Context, Result, bail};
use bugs::Bug;
use std::process::ExitCode;

const USAGE: &str = "usage: regauge-sim run --seed S [--ops N] [--plant BUG] [--told] [--cpu N]\n       \
                     regauge-sim many [--seeds N | --minutes N | --seconds N] [--seed S] [--ops N] [--plant BUG] [--jobs N] [--cpu N]\n       regauge-sim bugs";

/// What stands on the command line.
#[derive(Default)]
pub struct Arguments {
    seed: u64,
    seeds: Option<u64>,
    seconds: Option<u64>,
    ops: Option<u64>,
    jobs: Option<u64>,
    cpu: Option<u64>,
    bug: Option<Bug>,
    told: bool,
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
    let mut words = std::env::args().skip(1);
    let command = words.next().context(USAGE)?;
    let arguments = arguments(words)?;
    let ops = arguments.ops.unwrap_or(500);
    match command.as_str() {
        "run" => {
            alone::make(arguments.cpu.unwrap_or(0) as usize)?;
            if arguments.told {
                tracing_subscriber::fmt().with_writer(std::io::stderr).without_time().init();
            }
            world::run(&world::Order { seed: arguments.seed, ops, bug: arguments.bug, told: arguments.told })
        }
        "many" => many::run(&arguments, ops),
        "bugs" => {
            Bug::ALL.iter().for_each(|bug| println!("{bug:?}"));
            Ok(true)
        }
        other => bail!("unknown command `{other}`\n{USAGE}"),
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments> {
    let mut arguments = Arguments { seed: 1, ..Arguments::default() };
    while let Some(flag) = words.next() {
        if flag == "--told" {
            arguments.told = true;
            continue;
        }
        let value = words.next().with_context(|| format!("{flag} needs a value\n{USAGE}"))?;
        if flag == "--plant" {
            arguments.bug =
                Some(Bug::named(&value).with_context(|| format!("no bug is called {value}; `regauge-sim bugs` lists them"))?);
            continue;
        }
        let number: u64 = value.parse().with_context(|| format!("{flag} is not a number: {value}"))?;
        match flag.as_str() {
            "--seed" => arguments.seed = number,
            "--seeds" => arguments.seeds = Some(number),
            "--minutes" => arguments.seconds = Some(number.saturating_mul(60)),
            "--seconds" => arguments.seconds = Some(number),
            "--ops" => arguments.ops = Some(number),
            "--jobs" => arguments.jobs = Some(number),
            "--cpu" => arguments.cpu = Some(number),
            other => bail!("unknown flag `{other}`\n{USAGE}"),
        }
    }
    Ok(arguments)
}
