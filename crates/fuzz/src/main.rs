//! Floor 5, for tests only: decoders and parsers of all floors under changed input.
//!
//! ```text
//!   seeds ─▶ corpus ─▶ mutate ─▶ target ─▶ panic? too much memory? too long?  a violation, with the input
//!               ▲                   │
//!               └── input that took a new edge ◀── cover: counters that LLVM put into our crates
//! ```
//! Coverage-guided where it was built by `cargo xtask fuzz` (the stable compiler's own passes count edges of our crates); built as everything else
//! is, nothing counts, and it changes its seeds blindly: CI's small share. Checksums are made right after a change (structure-aware), so
//! that what lies behind them is reached. Each target runs in a process of its own: one that dies, or does not move on, is a violation, told with
//! the input that it had in hand, and takes nobody along.
//! It never knows whether an answer is right, only that there is one: error or value, no panic, no allocation beyond 512 MiB, no hang.
// A tool for people: it prints, it reads the clock.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::cast_possible_truncation)]

mod cover;
mod engine;
mod heap;
mod mutate;
mod note;
mod targets;

use anyhow::{Context, Result, bail};
use std::{
    io::Read as _,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Seconds that a target may stay at one input before it is given up, unless the command line says otherwise.
const STUCK: u64 = 120;

const USAGE: &str = "usage: regauge-fuzz [--only TARGET] [--minutes N | --seconds N | --executions N] [--seed S]\n       \
                     regauge-fuzz again TARGET HEX";

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// What stands on the command line.
#[derive(Default)]
struct Arguments {
    only: Option<String>,
    seconds: Option<u64>,
    executions: Option<u64>,
    seed: u64,
    /// Seconds at one input.
    stuck: u64,
    /// One target, in this process, which leaves its input here.
    alone: Option<PathBuf>,
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
    if let Some(note) = &arguments.alone {
        let name = arguments.only.as_deref().context(USAGE)?;
        let limit = match (arguments.seconds, arguments.executions) {
            (Some(seconds), _) => engine::Limit::Seconds(seconds),
            (None, n) => engine::Limit::Executions(n.unwrap_or(20_000)),
        };
        return engine::run(name, arguments.seed, limit, &mut note::Note::make(note)?);
    }
    all(&arguments)
}

/// Each target in a process of its own; false if anything was found.
fn all(arguments: &Arguments) -> Result<bool> {
    let (mut executions, mut edges, mut violations) = (0, 0, 0);
    // what is planted is run where it is asked for by name
    let chosen = match arguments.only.as_deref() {
        None => targets::NAMES.to_vec(),
        Some(only) if only.starts_with("planted_") || targets::NAMES.contains(&only) => vec![only],
        Some(_) => vec![],
    };
    for name in &chosen {
        let (text, end) = one(name, arguments, chosen.len() as u64)?;
        print!("{text}");
        let number = |word: &str| -> u64 {
            let last = text.lines().last().unwrap_or_default();
            last.split(' ').find_map(|w| w.strip_prefix(word)?.strip_prefix('=')?.parse().ok()).unwrap_or(0)
        };
        executions += number("executions");
        edges += number("edges");
        violations += number("violations");
        match end {
            End::Well => {}
            End::Badly(_) if number("violations") > 0 => {}
            End::Badly(why) => {
                println!("{name}: executions=0 seed={}: {why}", arguments.seed);
                violations += 1;
            }
        }
    }
    if chosen.is_empty() {
        bail!("nothing was run: no target is called {:?}; there are {}", arguments.only, targets::NAMES.join(", "));
    }
    println!("fuzz: cases={executions} edges={edges} faults={executions} violations={violations}");
    Ok(violations == 0)
}

/// How a target's process ended.
enum End {
    Well,
    /// With the input that it had in hand, if that is why.
    Badly(String),
}

/// Runs a target in a process of its own; what it said, and how it ended. The time is shared by so many.
fn one(name: &str, arguments: &Arguments, n_targets: u64) -> Result<(String, End)> {
    let program = std::env::current_exe().context("who am I")?;
    let folder = tempfile::tempdir().context("no place for inputs")?;
    let note = folder.path().join(name);
    let mut command = Command::new(&program);
    command.arg("--alone").arg(&note).args(["--only", name, "--seed", &arguments.seed.to_string()]);
    let seconds = arguments.seconds.map(|seconds| (seconds / n_targets).max(1));
    for (flag, value) in [("--seconds", seconds), ("--executions", arguments.executions)] {
        if let Some(value) = value {
            command.args([flag, &value.to_string()]);
        }
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run a target")?;
    let mut output = child.stdout.take().context("no output")?;
    let reader = thread::spawn(move || {
        let mut text = vec![];
        // what was said before an error is enough
        let _ = output.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut last = (None, Instant::now());
    let (status, is_stuck) = loop {
        if let Some(status) = child.try_wait()? {
            break (status, false);
        }
        thread::sleep(Duration::from_millis(50));
        let at = note::read(&note).map(|(n, _)| n);
        if at != last.0 {
            last = (at, Instant::now());
        } else if last.1.elapsed() > Duration::from_secs(arguments.stuck) {
            child.kill()?;
            break (child.wait()?, true);
        }
    };
    let text = reader.join().unwrap_or_default();
    if status.success() {
        return Ok((text, End::Well));
    }
    let what =
        if is_stuck { format!("it was at one input for {} s", arguments.stuck) } else { format!("it came to no end: {status}") };
    let again = note::read(&note).map_or_else(String::new, |(n, input)| {
        format!(", execution={n}\n  again: regauge-fuzz again {name} {}", engine::hex(&input))
    });
    Ok((text, End::Badly(format!("{what}{again}"))))
}

fn arguments(words: &[String]) -> Result<Arguments> {
    let mut arguments = Arguments { seed: 1, stuck: STUCK, ..Arguments::default() };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        let value = words.next().context(USAGE)?;
        match flag.as_str() {
            "--only" => arguments.only = Some(value.clone()),
            "--alone" => arguments.alone = Some(value.into()),
            "--minutes" => arguments.seconds = Some(value.parse::<u64>().context(USAGE)?.saturating_mul(60)),
            "--seconds" => arguments.seconds = Some(value.parse().context(USAGE)?),
            "--executions" => arguments.executions = Some(value.parse().context(USAGE)?),
            "--stuck" => arguments.stuck = value.parse().context(USAGE)?,
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
