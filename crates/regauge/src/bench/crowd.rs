//! Twenty views live at a steady rate; then one more is made over the whole history beside them.
//!
//! The twenty hold the events since the bench began (plain views cut the streams at the event time of the first), so their state does not
//! depend on the history's length; the newcomer holds all of it. Three stretches: the twenty alone, the twenty beside the newcomer's
//! backfill, and what their CPU comes to. As in `freshness`, commits are submitted on a timetable.

use super::{
    data,
    events::{Events, STREAMS},
    inputs::{Inputs, Scratch, execute, wait_visible},
    meter::{Cost, Meter, peak_bytes, resident_bytes},
    queries::QUERIES,
    rebuild::copy_folder,
};
use crate::{percentile::percentile_ms, print};
use regauge_log::Pending;
use regauge_views::{Config, SessionOptions, version::trace::Trace};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

/// One more than the benchmark's own, so that they are twenty.
const TWENTIETH: (&str, &str) =
    ("by_channel", "SELECT channel, count(*) AS n, max(price) AS most FROM live_bid GROUP BY channel");
/// Made over the whole history.
const NEWCOMER: &str = "SELECT auction, count(*) AS n, max(price) AS most, min(price) AS least, sum(price) AS total
  FROM bid GROUP BY auction";

/// A backfill that is not through by then is not waited for: views that cannot keep up leave it nothing.
const LONGEST: Duration = Duration::from_secs(120);

/// Commits that are fed on a timetable, and how long after each was due it showed in all views: its fsync is in it, and what stood before it in a queue
/// (measured from when somebody came to look, a stall of seconds would be one slow commit and hundreds that were seen at once).
struct Feed {
    per_commit: usize,
    every: Duration,
    /// By the views' names.
    traces: Vec<(String, Arc<dyn Trace>)>,
}

/// When a commit showed, after it was due.
struct Seen {
    /// When it was due, after the stretch began.
    due: Duration,
    /// When it was durable.
    acked: Duration,
    /// When all views showed it.
    shown: Duration,
    /// The view that was waited for longest, in the order of their making.
    last: String,
}

/// What a stretch of feeding came to.
struct Stretch {
    cost: Cost,
    seen: Vec<Seen>,
    /// How much longer than asked for a thread slept that slept a millisecond at a time.
    overslept: Vec<Duration>,
    events: usize,
}

/// So many of the slowest commits are told one by one.
const SLOWEST: usize = 8;

impl Stretch {
    fn json(&self) -> Value {
        let shown: Vec<Duration> = self.seen.iter().map(|s| s.shown).collect();
        let acked: Vec<Duration> = self.seen.iter().map(|s| s.acked).collect();
        let mut slowest: Vec<&Seen> = self.seen.iter().collect();
        slowest.sort_by_key(|s| std::cmp::Reverse(s.shown));
        let ms = |d: Duration| d.as_secs_f64() * 1000.0;
        let slowest = slowest
            .iter()
            .take(SLOWEST)
            .map(|s| json!({ "due_ms": ms(s.due), "durable_ms": ms(s.acked), "visible_ms": ms(s.shown), "waited_for": s.last }));
        json!({
            "cost": self.cost.json(), "events": self.events, "commits": self.seen.len(),
            "events_per_s": self.events as f64 / self.cost.wall.as_secs_f64(),
            "visible_ms_p50": percentile_ms(&shown, 50), "visible_ms_p99": percentile_ms(&shown, 99),
            "visible_ms_max": percentile_ms(&shown, 100), "durable_ms_p50": percentile_ms(&acked, 50),
            "durable_ms_p99": percentile_ms(&acked, 99), "overslept_ms_p99": percentile_ms(&self.overslept, 99),
            "overslept_ms_max": percentile_ms(&self.overslept, 100), "slowest": slowest.collect::<Vec<_>>(),
        })
    }
}

pub async fn run(dir: &Path, rate: usize, seconds: usize, every_ms: usize, in_flight: Option<usize>) -> anyhow::Result<Value> {
    let (n, _) = data::sizes(dir)?;
    let scratch = Scratch::new(Some(dir))?;
    let copy = scratch.path().join("log");
    copy_folder(&dir.join("log"), &copy)?;
    let mut config = Config::new(&copy);
    config.limits.epochs_in_flight = in_flight.unwrap_or(config.limits.epochs_in_flight);
    let mut inputs = Inputs::open_with(config).await?;
    let mut events = Events::from(n);
    let names = views(&mut inputs, n).await?;
    let traces = names.iter().map(|name| Ok((name.clone(), inputs.trace(name)?))).collect::<anyhow::Result<Vec<_>>>()?;
    let feed = Feed { per_commit: (rate * every_ms / 1000).max(1), every: Duration::from_millis(every_ms as u64), traces };

    let warm = feed.run(&inputs, &mut events, &mut |at| at < Duration::from_secs(2))?;
    let alone = feed.run(&inputs, &mut events, &mut |at| at < Duration::from_secs(seconds as u64))?;
    let resident = resident_bytes();

    let (begin, begun) = mpsc::channel::<()>();
    let session = inputs.instance.session(SessionOptions::default()).map_err(print::explain)?;
    let backfill = std::thread::spawn(move || -> anyhow::Result<Duration> {
        let mut session = session;
        begun.recv()?;
        let at = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(execute(&mut session, &format!("CREATE MATERIALIZED VIEW newcomer AS {NEWCOMER}")))?;
        Ok(at.elapsed())
    });
    begin.send(())?;
    let beside = feed.run(&inputs, &mut events, &mut |at| !backfill.is_finished() && at < LONGEST)?;
    if !backfill.is_finished() {
        anyhow::bail!(
            "the backfill was not through in {LONGEST:?}: at {rate} events/s the views leave it nothing; give a lower --rate"
        );
    }
    let took = backfill.join().map_err(|_| anyhow::anyhow!("the backfill's thread panicked"))??;

    // what live would have cost alone in that time, and what the machine had beyond it
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let live_cores = alone.cost.cpu.as_secs_f64() / alone.cost.wall.as_secs_f64();
    let wall = beside.cost.wall.as_secs_f64();
    let left_over = (cores - live_cores) * wall;
    let spent = beside.cost.cpu.as_secs_f64() - live_cores * wall;
    Ok(json!({
        "bench": "crowd", "history": n, "views": names.len(), "rate": rate, "warm": warm.json(), "alone": alone.json(),
        "beside_backfill": beside.json(), "backfill_s": took.as_secs_f64(),
        "backfill_events_per_s": n as f64 / took.as_secs_f64(), "live_cores": live_cores,
        "backfill_share_of_cpu_left_over": spent / left_over, "resident_bytes": resident, "peak_bytes": peak_bytes(),
    }))
}

/// Makes the twenty views over what comes after event `n`; their names.
async fn views(inputs: &mut Inputs, n: usize) -> anyhow::Result<Vec<String>> {
    let first = Events::from(n).first_time_text()?;
    for stream in STREAMS {
        let sql = format!("CREATE VIEW live_{stream} AS SELECT * FROM {stream} WHERE date_time >= TIMESTAMP '{first}'");
        execute(&mut inputs.session, &sql).await?;
    }
    let mut names = vec![];
    for query in &QUERIES {
        if let Some(setup) = query.setup {
            execute(&mut inputs.session, &over_live(setup)).await?;
        }
        inputs.create(query.name, &over_live(query.ours)).await?;
        names.push(query.name.to_owned());
    }
    let (name, query) = TWENTIETH;
    inputs.create(name, query).await?;
    names.push(name.to_owned());
    Ok(names)
}

/// A query over the streams as one over what is live of them.
fn over_live(query: &str) -> String {
    let mut text = query.to_owned();
    for stream in STREAMS {
        for before in ["FROM ", "JOIN ", "TUMBLE(", "HOP(", "SESSION("] {
            text = text.replace(&format!("{before}{stream}"), &format!("{before}live_{stream}"));
        }
    }
    text
}

impl Feed {
    /// Feeds until it is told to stop, and waits until all of it shows.
    fn run(&self, inputs: &Inputs, events: &mut Events, go_on: &mut dyn FnMut(Duration) -> bool) -> anyhow::Result<Stretch> {
        let (submitted, pending) = mpsc::channel::<(Pending, Instant, Duration)>();
        let traces = self.traces.clone();
        // one thread for each, or what a view is waited for would count as the next commit's way to the disk
        let (durable, waiting) = mpsc::channel();
        let acknowledging = std::thread::spawn(move || -> anyhow::Result<()> {
            for (commit, at, due) in pending {
                let lsn = commit.wait()?.lsn;
                durable.send((lsn, at, due, at.elapsed()))?;
            }
            Ok(())
        });
        let watching = std::thread::spawn(move || -> anyhow::Result<Vec<Seen>> {
            let mut seen = vec![];
            for (lsn, at, due, acked) in waiting {
                let (mut longest, mut last, mut before) = (Duration::ZERO, String::new(), at.elapsed());
                for (name, trace) in &traces {
                    wait_visible(trace.as_ref(), lsn)?;
                    let shown = at.elapsed();
                    if shown - before > longest {
                        (longest, last) = (shown - before, name.clone());
                    }
                    before = shown;
                }
                seen.push(Seen { due, acked, shown: before, last });
            }
            Ok(seen)
        });
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let sleeping = std::thread::spawn(move || {
            let (wish, mut overslept) = (Duration::from_millis(1), vec![]);
            while !is_over.load(Ordering::Relaxed) {
                let at = Instant::now();
                std::thread::sleep(wish);
                overslept.push(at.elapsed().saturating_sub(wish));
            }
            overslept
        });
        // made before they are due, or their making would be measured; little enough that it does not matter where it is not
        let mut ready = events.next(self.per_commit)?;
        let meter = Meter::start();
        let begun = Instant::now();
        let mut n: u32 = 0;
        while go_on(begun.elapsed()) {
            let due = begun + self.every * n;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            submitted.send((inputs.log().submit(inputs.transaction(&ready)?)?, due, self.every * n))?;
            ready = events.next(self.per_commit)?;
            n += 1;
        }
        drop(submitted);
        acknowledging.join().map_err(|_| anyhow::anyhow!("the acknowledging thread panicked"))??;
        let seen = watching.join().map_err(|_| anyhow::anyhow!("the watching thread panicked"))??;
        let cost = meter.stop();
        over.store(true, Ordering::Relaxed);
        let overslept = sleeping.join().map_err(|_| anyhow::anyhow!("the sleeping thread panicked"))?;
        Ok(Stretch { cost, seen, overslept, events: n as usize * self.per_commit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_query_reads_what_is_live_and_nothing_else() {
        for query in &QUERIES {
            let text = over_live(query.ours) + &query.setup.map(over_live).unwrap_or_default();
            let read = STREAMS.iter().any(|stream| text.contains(&format!("live_{stream}")));
            assert!(read, "{}: {text}", query.name);
            for stream in STREAMS {
                for word in [format!("FROM {stream}"), format!("JOIN {stream}"), format!("({stream},")] {
                    assert!(!text.contains(&word), "{}: {text}", query.name);
                }
            }
        }
    }
}
