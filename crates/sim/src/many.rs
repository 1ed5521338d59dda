//! Many seeds, each in a process of its own; what they came to, summed, and whether every class of faults was among it.

use crate::{Arguments, bugs::Bug};
use anyhow::{Context, Result};
use std::{
    collections::BTreeMap,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What a run of many seeds must have met at least once, from so many seeds on: a run that injects nothing proves nothing.
const CLASSES: &[&str] = &[
    "fault-crash-",
    "fault-eio-",
    "fault-enospc-",
    "power-cut-keeping-none",
    "power-cut-keeping-all",
    "power-cut-keeping-sectors",
    "power-cut-keeping-some",
    "killed",
    "closed",
    "disk-full",
    "disk-has-room-again",
    "unanswered-there",
    "unanswered-not-there",
    "batches-stored-before",
    "versions-restored",
    "checkpoints",
    "archive-files",
    "refused-40001",
    "tokens-passed",
    "tokens-handed-over",
    "views-made",
    "views-dropped",
    "views-compared",
    "past-as-it-was",
    "past-between",
    "past-gone",
    "past-of-an-earlier-life",
    "rollbacks",
    "workers-1",
    "workers-4",
];
/// Seeds from which on each class must be there.
const ENOUGH: u64 = 60;
/// What counts as a fault in the last line.
const FAULTS: &[&str] = &["fault-", "power-cut-", "killed", "disk-full"];

/// Sums over seeds.
#[derive(Default)]
struct Sum {
    seeds: u64,
    counts: BTreeMap<String, u64>,
    failed: Vec<(u64, String)>,
}

/// Runs them; true when no promise was broken and no class of faults is missing.
pub fn run(arguments: &Arguments, ops: u64) -> Result<bool> {
    let program = std::env::current_exe().context("who am I")?;
    let jobs = arguments.jobs.unwrap_or(2).max(1);
    // each job on a processor of its own, from the one that was named on
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let first = arguments.cpu.unwrap_or(0);
    let seeds = arguments.seeds.unwrap_or(if arguments.seconds.is_some() { u64::MAX } else { 20 });
    let deadline = arguments.seconds.map(|s| Instant::now() + Duration::from_secs(s));
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for job in 0..jobs {
            let (program, next, sum) = (&program, &next, &sum);
            scope.spawn(move || {
                while deadline.is_none_or(|at| Instant::now() < at) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= seeds {
                        return;
                    }
                    let seed = arguments.seed.wrapping_add(n);
                    let words = words(seed, ops, arguments.bug);
                    let output = Command::new(program).args(&words).args(["--cpu", &((first + job) % cpus).to_string()]).output();
                    let output = match output {
                        Ok(output) => output,
                        Err(error) => return eprintln!("error: {error}"),
                    };
                    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.take(seed, &stdout, &stderr, output.status.success());
                    // one is enough where a bug was planted
                    if arguments.bug.is_some() && !sum.failed.is_empty() {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(sum.tell(ops, arguments.bug))
}

fn words(seed: u64, ops: u64, bug: Option<Bug>) -> Vec<String> {
    let mut words: Vec<String> = ["run", "--seed"].map(str::to_owned).to_vec();
    words.extend([seed.to_string(), "--ops".to_owned(), ops.to_string()]);
    words.extend(bug.into_iter().flat_map(|bug| ["--plant".to_owned(), format!("{bug:?}")]));
    words
}

impl Sum {
    fn take(&mut self, seed: u64, stdout: &str, stderr: &str, succeeded: bool) {
        self.seeds += 1;
        let mut violations = vec![];
        for line in stdout.lines() {
            if let Some((what, n)) = line.strip_prefix("count: ").and_then(|rest| rest.rsplit_once(' ')) {
                *self.counts.entry(what.to_owned()).or_default() += n.parse::<u64>().unwrap_or(0);
            }
            violations.extend(line.strip_prefix("violation: ").map(str::to_owned));
        }
        if !succeeded && violations.is_empty() {
            violations.push(format!("the process ended: {}", stderr.lines().last().unwrap_or("without a word")));
        }
        if !succeeded {
            self.failed.push((seed, violations.join(" · ")));
        }
    }

    fn of(&self, classes: &[&str]) -> u64 {
        self.counts.iter().filter(|(what, _)| classes.iter().any(|class| what.starts_with(class))).map(|(_, n)| n).sum()
    }

    fn tell(&self, ops: u64, bug: Option<Bug>) -> bool {
        for (what, n) in &self.counts {
            println!("  {what} {n}");
        }
        let plant = bug.map(|bug| format!(" --plant {bug:?}")).unwrap_or_default();
        for (seed, why) in &self.failed {
            println!("seed {seed} failed: {why}\n  again: regauge-sim run --seed {seed} --ops {ops}{plant}");
        }
        let missing: Vec<&&str> = CLASSES.iter().filter(|class| self.of(&[class]) == 0).collect();
        let short = self.seeds >= ENOUGH && !missing.is_empty() && bug.is_none();
        if short {
            println!("the run never met {missing:?}: it proves nothing of these");
        }
        println!(
            "sim: cases={} operations={} past={} faults={} faults:power={} faults:kill={} faults:io={} violations={}",
            self.seeds,
            self.of(&["operations"]),
            self.of(&["past-"]),
            self.of(FAULTS),
            self.of(&["power-cut-", "fault-crash-"]),
            self.of(&["killed"]),
            self.of(&["fault-eio-", "fault-enospc-", "disk-full"]),
            self.failed.len()
        );
        self.failed.is_empty() && !short
    }
}
