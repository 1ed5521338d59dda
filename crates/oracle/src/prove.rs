//! Many cases, on some threads, with one line at the end. Each case runs three times: once beside PostgreSQL, compared after
//! every step; once with another worker count and nobody waiting in between, so that epochs are cut elsewhere; once with all
//! views built from history. The digests at the end must be the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::case::Case;
use crate::generate::{Sizes, case};
use crate::run::{Maker, Outcome, Pace, replay, run_fresh};
use crate::shrink::shrink;
use crate::system::Dialect;

/// A case that takes longer is worth a look.
const SLOW: Duration = Duration::from_secs(20);

/// What to prove.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// At least so many views.
    pub views: usize,
    /// The seed of the first case; the next cases have the next seeds.
    pub seed: u64,
    /// Workers at the start of each case; `None` draws 1 to 3.
    pub workers: Option<usize>,
    /// Sizes of each case.
    pub sizes: Sizes,
    /// Cases at once.
    pub threads: usize,
    /// Stops after so many differences: each costs a shrinking.
    pub differences_max: usize,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Proof {
    /// Views created and compared.
    pub views: usize,
    /// Commits after which every live view was compared.
    pub epochs: usize,
    /// Answers compared.
    pub answers: usize,
    /// Answers that were an error in both.
    pub failing_answers: usize,
    /// Views that failed and answer again.
    pub healed: usize,
    /// Commits that failed in both.
    pub failing_commits: usize,
    /// Restarts.
    pub restarts: usize,
    /// Answers AS OF an earlier epoch, compared with what PostgreSQL said then.
    pub past: usize,
    /// Such questions that were refused, rightly.
    pub gone: usize,
    /// Of the answers, those to views' queries as plain SELECTs.
    pub selects: usize,
    /// Such SELECTs refused (0A000), by message.
    pub refused_selects: BTreeMap<String, usize>,
    /// Views that PostgreSQL could not answer within its time.
    pub unanswered: usize,
    /// Digests that a replay gave again.
    pub digests: usize,
    /// Seconds of all threads: waiting for PostgreSQL, for the system under test, for its replays.
    pub waited: [Duration; 3],
    /// Refusals (0A000) by message.
    pub refused: BTreeMap<String, usize>,
    /// Reports of the differences, ready to print.
    pub differences: Vec<String>,
}

impl Proof {
    /// Views refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused.values().sum()
    }

    fn add(&mut self, outcome: &Outcome) {
        self.views += outcome.views;
        self.epochs += outcome.epochs;
        self.answers += outcome.answers;
        self.failing_answers += outcome.failing_answers;
        self.healed += outcome.healed;
        self.restarts += outcome.restarts;
        self.past += outcome.past;
        self.gone += outcome.gone;
        self.unanswered += outcome.unanswered;
        self.selects += outcome.selects;
        for (total, waited) in self.waited.iter_mut().zip(outcome.waited) {
            *total += waited;
        }
        self.failing_commits += outcome.failing_commits;
        for message in &outcome.refused {
            *self.refused.entry(message.clone()).or_default() += 1;
        }
        for message in &outcome.refused_selects {
            *self.refused_selects.entry(message.clone()).or_default() += 1;
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "views={} epochs={} differences={}", self.views, self.epochs, self.differences.len())
    }
}

impl Proof {
    /// What the last line leaves out.
    #[must_use]
    pub fn details(&self) -> String {
        let [postgres, tested, replays] = self.waited.map(|waited| waited.as_secs());
        format!(
            "refused={} answers={} selects={} refused_selects={} failing_answers={} healed={} failing_commits={} past={} gone={} unanswered={} digests={} postgres_s={postgres} \
             tested_s={tested} replays_s={replays}",
            self.refused(),
            self.answers,
            self.selects,
            self.refused_selects.values().sum::<usize>(),
            self.failing_answers,
            self.healed,
            self.failing_commits,
            self.past,
            self.gone,
            self.unanswered,
            self.digests
        )
    }
}

/// Runs cases until so many views were compared.
///
/// # Errors
/// When the proof itself cannot be run; a difference is a result, not an error.
pub fn prove(wish: &Wish, server: u16, maker: &impl Maker) -> Result<Proof> {
    let proof = Mutex::new(Proof::default());
    let next = AtomicUsize::new(0);
    let broken = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..wish.threads.max(1) {
            scope.spawn(|| {
                let worked = work(wish, server, maker, &next, &proof);
                if let Err(error) = worked {
                    *broken.lock().unwrap_or_else(|p| p.into_inner()) = Some(error);
                    // Makes the other threads stop.
                    next.fetch_add(1 << 40, Ordering::Relaxed);
                }
            });
        }
    });
    match broken.into_inner().unwrap_or_else(|p| p.into_inner()) {
        Some(error) => Err(error),
        None => Ok(proof.into_inner().unwrap_or_else(|p| p.into_inner())),
    }
}

fn work(wish: &Wish, server: u16, maker: &impl Maker, next: &AtomicUsize, proof: &Mutex<Proof>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let locked = || proof.lock().map_err(|_| anyhow!("another thread panicked"));
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        // With half of all views refused the proof would not end: then it is no proof.
        let cases_max = 2 * wish.views / wish.sizes.views.max(1) + 4;
        if at >= cases_max || locked()?.views >= wish.views || locked()?.differences.len() >= wish.differences_max {
            return Ok(());
        }
        let mut case = case(wish.seed.wrapping_add(at as u64), &wish.sizes);
        if let Some(workers) = wish.workers {
            case.workers = workers;
        }
        let start = Instant::now();
        let outcome = runtime.block_on(one(&case, server, maker, wish))?;
        let took = start.elapsed();
        let mut proof = locked()?;
        proof.add(&outcome.outcome);
        proof.digests += outcome.digests;
        proof.waited[2] += outcome.replays;
        if took > SLOW {
            println!("slow: seed={} took_s={:.0}", case.seed, took.as_secs_f64());
        }
        if (at + 1).is_multiple_of(100) {
            println!("so far: {proof} {}", proof.details());
        }
        if let Some(report) = outcome.report {
            println!("{report}");
            proof.differences.push(report);
        }
    }
}

struct One {
    outcome: Outcome,
    digests: usize,
    replays: Duration,
    report: Option<String>,
}

async fn one(case: &Case, server: u16, maker: &impl Maker, wish: &Wish) -> Result<One> {
    let outcome = run_fresh(case, server, maker, Pace::EveryStep)
        .await
        .map_err(|error| error.context(format!("case seed={}", case.seed)))?;
    let mut one = One { outcome, digests: 0, replays: Duration::ZERO, report: None };
    if let Some(difference) = &one.outcome.difference {
        let (small, difference) = shrink(case, difference, server, maker).await?;
        one.report = Some(report(&small, &difference.what, wish));
        return Ok(one);
    }
    let other = Case { workers: case.workers % 4 + 1, ..case.clone() };
    let start = Instant::now();
    for (name, again) in [("other workers, other epochs", &other), ("views built from history", &other.rebuilt())] {
        let what = match replay(again, server, maker).await {
            Ok(digests) => {
                one.digests += digests.len();
                let both = one.outcome.digests.iter().map(|(view, digest)| (view, digest, digests.get(view)));
                let mut odd = both.filter(|(_, first, second)| Some(*first) != *second);
                odd.next().map(|(view, first, second)| format!("digest of {view}: {first}, then {second:?}"))
            }
            Err(error) => Some(format!("{error:#}")),
        };
        if let Some(what) = what {
            one.report = Some(report(again, &format!("replay ({name}): {what}{}", rows(again, server, maker).await), wish));
            break;
        }
    }
    one.replays = start.elapsed();
    Ok(one)
}

/// What PostgreSQL says to the contents at the end of a replay whose digests differ.
async fn rows(case: &Case, server: u16, maker: &impl Maker) -> String {
    match run_fresh(case, server, maker, Pace::End).await {
        Ok(Outcome { difference: Some(difference), .. }) => format!("\n{}", difference.what),
        Ok(_) => "\nbeside PostgreSQL, all rows are right".into(),
        Err(error) => format!("\nnot to be run beside PostgreSQL: {error:#}"),
    }
}

fn report(case: &Case, what: &str, wish: &Wish) -> String {
    format!(
        "\n=== difference: seed={} (cargo xtask oracle --views {} --seed {}) workers={}\n{what}\n\
         --- regauge\n{}--- PostgreSQL\n{}",
        case.seed,
        wish.sizes.views,
        case.seed,
        case.workers,
        case.script(Dialect::Regauge),
        case.script(Dialect::Postgres),
    )
}
