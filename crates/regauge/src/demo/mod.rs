//! `regauge demo flights`: a year of flights as a log. History is loaded, views are made of it, the last weeks are played live
//! hour by hour, and at the end one view is rebuilt from the log and compared with the one that was kept up.
//!
//! The figures are of this run on this machine; nothing is asserted about speed. `equal` is: same rows, same digest.

mod data;
mod views;

use crate::print;
use anyhow::{Context, ensure};
use arrow::array::RecordBatch;
use regauge_types::{Delta, Digest};
use regauge_views::{Config, Instance, Response, Session, SessionOptions};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// What the run measured.
struct Report {
    events: usize,
    live_events: usize,
    live: Duration,
    freshness: Vec<Duration>,
    rebuild: Duration,
    kept: Digest,
    rebuilt: Digest,
}

pub async fn run(dir: Option<PathBuf>, json: bool) -> anyhow::Result<()> {
    let temporary = dir.is_none();
    let dir = dir.unwrap_or_else(|| std::env::temp_dir().join(format!("regauge-demo-{}", std::process::id())));
    ensure!(!dir.join("journal").exists(), "the demo wants a folder without data dir={}", dir.display());
    let report = play(&dir, json).await;
    if temporary {
        let _ = std::fs::remove_dir_all(&dir);
    }
    let report = report?;
    report.show(json);
    ensure!(report.kept == report.rebuilt, "the rebuilt view differs from the one that was kept up");
    Ok(())
}

async fn play(dir: &std::path::Path, quiet: bool) -> anyhow::Result<Report> {
    let say = |text: String| {
        if !quiet {
            println!("{text}");
        }
    };
    let instance = Instance::open(Config::new(dir)).map_err(print::explain)?;
    let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
    execute(&mut session, views::INPUTS).await?;

    let begun = Instant::now();
    let mut events = 0;
    for name in ["airlines", "airports", "planes", "weather"] {
        events += load(&mut session, name, data::table(name)?).await?;
    }
    let (history, live) = data::flights()?;
    events += load(&mut session, "flights", history).await?;
    say(format!("loaded {events} events in {:.1?}", begun.elapsed()));

    for (name, query) in views::VIEWS {
        let begun = Instant::now();
        execute(&mut session, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await?;
        let (n, _) = contents(&mut session, name).await?;
        say(format!("view {name}: {n} rows, caught up with history in {:.1?}", begun.elapsed()));
    }

    let begun = Instant::now();
    let mut freshness = Vec::with_capacity(live.len());
    let mut live_events = 0;
    for hour in live {
        live_events += hour.num_rows();
        session.append("flights", hour, None).await.map_err(print::explain)?;
        let acknowledged = Instant::now();
        execute(&mut session, "FLUSH").await?;
        freshness.push(acknowledged.elapsed());
    }
    let live_time = begun.elapsed();
    say(format!("played {live_events} flights of the last weeks live, an hour of 2013 at a time, in {live_time:.1?}"));
    say("\nworst routes now:".to_owned());
    if !quiet {
        for response in session.execute(views::SHOWN).await.map_err(print::explain)? {
            print::response(response).await?;
        }
    }

    let (name, query) = views::VIEWS[0];
    let (_, kept) = contents(&mut session, name).await?;
    let begun = Instant::now();
    execute(&mut session, &format!("CREATE MATERIALIZED VIEW {name}_again AS {query}")).await?;
    let rebuild = begun.elapsed();
    let (_, rebuilt) = contents(&mut session, &format!("{name}_again")).await?;
    Ok(Report { events: events + live_events, live_events, live: live_time, freshness, rebuild, kept, rebuilt })
}

async fn load(session: &mut Session, name: &str, batches: Vec<RecordBatch>) -> anyhow::Result<usize> {
    let mut n = 0;
    for batch in batches {
        n += batch.num_rows();
        session.append(name, batch, None).await.map_err(print::explain).with_context(|| format!("loading {name}"))?;
    }
    Ok(n)
}

async fn execute(session: &mut Session, text: &str) -> anyhow::Result<()> {
    session.execute(text).await.map(drop).map_err(print::explain)
}

/// Number of rows of a relation, and their digest.
async fn contents(session: &mut Session, name: &str) -> anyhow::Result<(usize, Digest)> {
    let (mut n, mut digest) = (0, Digest::default());
    for response in session.execute(&format!("SELECT * FROM {name}")).await.map_err(print::explain)? {
        let Response::Rows(rows) = response else { continue };
        for batch in rows.collect().await.map_err(print::explain)? {
            n += batch.num_rows();
            digest.add_delta(&Delta::ones(batch))?;
        }
    }
    Ok((n, digest))
}

impl Report {
    fn percentile(&self, p: usize) -> f64 {
        let mut sorted = self.freshness.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * p / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).map_or(0.0, |d| d.as_secs_f64() * 1e3)
    }

    fn show(&self, json: bool) {
        let per_s = |n: usize, time: Duration| n as f64 / time.as_secs_f64().max(1e-9);
        if json {
            let line = serde_json::json!({
                "events": self.events,
                "views": views::VIEWS.len(),
                "equal": self.kept == self.rebuilt,
                "digest": self.kept.to_string(),
                "live_events_per_s": per_s(self.live_events, self.live).round(),
                "rebuild_events_per_s": per_s(data::FLIGHTS, self.rebuild).round(),
                "freshness_ms_p50": self.percentile(50),
                "freshness_ms_p99": self.percentile(99),
            });
            return println!("{line}");
        }
        println!("\n{} kept up live:        digest {}", views::VIEWS[0].0, self.kept);
        println!("{} rebuilt from the log: digest {}", views::VIEWS[0].0, self.rebuilt);
        println!(
            "{}; live {:.0} events/s, rebuild {:.0} events/s, acknowledged to visible p50 {:.1} ms p99 {:.1} ms",
            if self.kept == self.rebuilt { "equal" } else { "DIFFERENT" },
            per_s(self.live_events, self.live),
            per_s(data::FLIGHTS, self.rebuild),
            self.percentile(50),
            self.percentile(99),
        );
    }
}
