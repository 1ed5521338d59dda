//! One target: inputs from its corpus are changed and run, those that take new edges are kept, those that break a promise are told.

use crate::{
    cover::Cover,
    heap,
    mutate::{Dice, mutate},
    note::Note,
    targets::{self, Target},
};
use anyhow::{Context, Result};
use std::{
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Most that an execution may hold.
const HELD_MAX: usize = 512 << 20;
/// Longest that it may take, on a machine that does other things as well.
const TAKES_MAX: Duration = Duration::from_secs(60);
/// Inputs that break a promise and are told before a target is given up.
const FOUND_MAX: usize = 5;

/// Executions between two looks at all counters.
const LOOK_EVERY: usize = 64;

/// When a target is through.
#[derive(Clone, Copy)]
pub enum Limit {
    Executions(u64),
    Seconds(u64),
}

/// Panics of any thread.
static PANICS: AtomicU64 = AtomicU64::new(0);
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Why an execution broke a promise.
fn judge(target: &mut dyn Target, input: &[u8]) -> (Option<String>, Duration) {
    let (panics, held, begun) = (PANICS.load(Ordering::Relaxed), heap::begin(), Instant::now());
    // a panic is counted by the hook, wherever it was caught
    let came_out = catch_unwind(AssertUnwindSafe(|| target.run(input))).is_err();
    let (held, took) = (heap::most_since(held), begun.elapsed());
    let why = match () {
        () if came_out || PANICS.load(Ordering::Relaxed) > panics && !target.catches() => {
            Some(format!("panic: {}", PANIC.lock().unwrap_or_else(PoisonError::into_inner)))
        }
        () if held > HELD_MAX => Some(format!("it held {} MiB", held >> 20)),
        () if took > TAKES_MAX => Some(format!("it took {took:.1?}")),
        () => None,
    };
    (why, took)
}

fn watch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string().replace('\n', " ");
    }));
}

/// As `again` takes it.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Runs one input of a target; true when no promise is broken.
pub fn again(name: &str, input: &[u8]) -> Result<bool> {
    let mut target = targets::make(name)?.with_context(|| format!("no target is called {name}"))?;
    watch_panics();
    let (why, took) = judge(&mut *target, input);
    println!("{}: {} after {took:.1?}", name, why.as_deref().unwrap_or("no promise is broken"));
    Ok(why.is_none())
}

/// Runs a target up to a limit; true when no promise was broken.
pub fn run(name: &str, seed: u64, limit: Limit, note: &mut Note) -> Result<bool> {
    let mut target = targets::make(name)?.with_context(|| format!("no target is called {name}"))?;
    watch_panics();
    let (begun, mut dice, mut cover) = (Instant::now(), Dice(seed ^ blake3_of(name)), Cover::new());
    let mut corpus: Vec<Vec<u8>> = vec![];
    // since all counters were looked at
    let mut lately: Vec<(Vec<u8>, bool)> = vec![];
    let (mut n, mut found, mut slowest) = (0u64, vec![], Duration::ZERO);
    let mut seeds = target.seeds().into_iter().chain([vec![]]);
    let over = |n: u64| match limit {
        Limit::Executions(most) => n >= most,
        // the clock is not asked each time
        Limit::Seconds(s) => n.is_multiple_of(64) && begun.elapsed() >= Duration::from_secs(s),
    };
    while (n == 0 || !over(n)) && found.len() < FOUND_MAX {
        let seeded = seeds.next();
        let is_seed = seeded.is_some();
        let input = seeded.unwrap_or_else(|| {
            // new ones more often: they are where something was seen last
            let pick = |dice: &mut Dice| match dice.below(3) {
                0 => corpus.len() - 1 - dice.below(corpus.len().min(20)),
                _ => dice.below(corpus.len()),
            };
            let (one, other) = (pick(&mut dice), pick(&mut dice));
            mutate(&mut dice, &corpus[one], &corpus[other], target.words(), target.bytes_max())
        });
        let input = target.mend(input);
        note.leave(n, &input)?;
        cover.clear();
        let (why, took) = judge(&mut *target, &input);
        n += 1;
        slowest = slowest.max(took);
        if let Some(why) = why {
            println!("{name} seed={seed} execution={n}: {why}\n  again: regauge-fuzz again {name} {}", hex(&input));
            found.push(why);
        }
        let is_kept = cover.take() || is_seed;
        if is_kept {
            corpus.push(input.clone());
        }
        lately.push((input, is_kept));
        if is_seed || lately.len() >= LOOK_EVERY {
            if cover.widen() {
                // which of them went there
                for (input, is_kept) in lately.drain(..) {
                    note.leave(n, &input)?;
                    cover.clear();
                    // what it broke was told when it ran first
                    judge(&mut *target, &input);
                    if cover.take() && !is_kept {
                        corpus.push(input);
                    }
                }
            }
            lately.clear();
        }
    }
    println!(
        "{name}: executions={n} edges={} inputs={} slowest_ms={} seconds={:.0} violations={}",
        cover.n_edges(),
        corpus.len(),
        slowest.as_millis(),
        begun.elapsed().as_secs_f64(),
        found.len()
    );
    Ok(found.is_empty())
}

/// Other numbers for each target.
fn blake3_of(name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    hash.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
