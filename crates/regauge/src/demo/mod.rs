//! `regauge demo flights`: a year of flights as a log. History is loaded, views are made of it, the last weeks are played live
//! hour by hour while the server is open to psql, and at the end every view is rebuilt from the log and compared with the one
//! that was kept up.
//!
//! On a terminal it is a screen with keys; elsewhere, and with `--json`, it runs as fast as it can. The figures are of this run on
//! this machine; nothing is asserted about speed. `equal` is: same rows, same digest, for every view, or exit code 1.

mod board;
mod compare;
mod data;
mod play;
mod screen;
mod views;

use crate::{
    doors::{Bound, Doors, Listen},
    folder,
    percentile::percentile_ms,
    print,
};
use anyhow::{Context, ensure};
use arrow::array::RecordBatch;
use board::{Phase, Shared};
use clap::Args;
use compare::Compared;
use regauge_views::{Instance, Session, SessionOptions};
use std::{
    io::IsTerminal,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hours of 2013 per second on a terminal: two weeks in about half a minute.
const HOURS_PER_S: f64 = 12.0;

#[derive(Args)]
pub struct DemoArgs {
    /// Which one: `flights`.
    name: String,
    /// Where the log is kept; a temporary folder, removed at the end, when not given.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Hours of 2013 played per second; 12 on a terminal, elsewhere as fast as it goes.
    #[arg(long, value_name = "HOURS")]
    speed: Option<f64>,
    /// The port of the Postgres wire while it runs; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pg_port: u16,
    /// The port of HTTP while it runs; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    http_port: u16,
    /// Threads of the engine.
    #[arg(long, default_value_t = folder::cores())]
    workers: usize,
    /// No terminal view; one line of JSON at the end.
    #[arg(long)]
    json: bool,
}

/// What the run measured.
struct Report {
    events: usize,
    live_events: usize,
    live: Duration,
    freshness: Vec<Duration>,
    compared: Vec<Compared>,
}

pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    ensure!(args.name == "flights", "there is no demo of that name name={}; try `regauge demo flights`", args.name);
    ensure!(args.speed.is_none_or(|s| s > 0.0), "--speed is a number of hours per second above 0");
    let temporary = args.data.is_none();
    let dir = args.data.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("regauge-demo-{}", std::process::id())));
    ensure!(
        !temporary || std::env::temp_dir().is_dir(),
        "there is no folder for temporary files dir={}; set TMPDIR to one, or say --data DIR",
        std::env::temp_dir().display()
    );
    ensure!(!dir.join("journal").exists(), "the demo wants a folder without data dir={}", dir.display());
    let remove = || {
        // what still runs may write once more
        for _ in 0..1200 {
            if !temporary || std::fs::remove_dir_all(&dir).is_ok() || !dir.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // before there is a folder: whoever sees that one may tell us to stop, and nothing is to be left of it
    let mut ends = Ends::heard()?;
    let report = tokio::select! {
        report = whole(&dir, &args) => report,
        () = ends.next() => {
            // the screen's thread would wait for a key
            ratatui::restore();
            remove();
            std::process::exit(1);
        }
    };
    remove();
    let report = report?;
    report.show(args.json);
    ensure!(report.equal(), "a rebuilt view differs from the one that was kept up");
    Ok(())
}

/// A terminal that goes away, or somebody who wants this process to end.
struct Ends {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    /// From now on they do not end the process by themselves.
    fn heard() -> anyhow::Result<Ends> {
        Ok(Ends {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.hangup.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn whole(dir: &Path, args: &DemoArgs) -> anyhow::Result<Report> {
    let on_terminal = !args.json && std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let say = |text: String| {
        if !args.json {
            println!("{text}");
        }
    };
    let bound = Bound::take(Listen {
        host: Ipv4Addr::LOCALHOST.into(),
        pg_port: args.pg_port,
        http_port: args.http_port,
        http_hosts: vec![],
        pg: regauge_serve::pg::Options::default(),
    })
    .await?;
    let instance = folder::open(dir, args.workers).await?;
    let doors = bound.open(&instance, dir)?;
    say(format!("look at it meanwhile: {}", doors.psql()));
    let outcome = with_doors(&instance, &doors, args, on_terminal, &say).await;
    doors.close().await?;
    outcome
}

async fn with_doors(
    instance: &Instance,
    doors: &Doors,
    args: &DemoArgs,
    on_terminal: bool,
    say: &impl Fn(String),
) -> anyhow::Result<Report> {
    let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
    let (mut events, hours) = history(&mut session, say).await?;

    let live_events: usize = hours.iter().map(|h| h.flights.num_rows()).sum();
    events += live_events;
    let speed = args.speed.unwrap_or(if on_terminal { HOURS_PER_S } else { f64::INFINITY });
    let board = Shared::new(live_events, speed, doors.psql());
    if let Some(first) = hours.first() {
        board.lock().hour.clone_from(&first.name);
    }
    let screen = on_terminal.then(|| {
        let board = board.clone();
        tokio::task::spawn_blocking(move || screen::show(&board))
    });
    let asking = {
        let (instance, board) = (instance.clone(), board.clone());
        tokio::spawn(async move { play::ask(&instance, &board).await })
    };
    let played = live_and_compare(&mut session, &board, hours).await;
    // the end is shown whatever it is, and the terminal is given back before anything is printed
    board.lock().phase = Phase::Done;
    if let Err(error) = &played {
        board.lock().verdict.push(format!("failed: {error:#}"));
    }
    let asked = asking.await.context("the questions of the screen")?;
    if let Some(screen) = screen {
        screen.await.context("the screen")??;
    }
    let (live, compared) = played?;
    asked?;
    let freshness = std::mem::take(&mut board.lock().freshness);
    Ok(Report { events, live_events, live, freshness, compared })
}

/// Loads what was before the last weeks and makes the views; the number of events, and the hours to play.
async fn history(session: &mut Session, say: &impl Fn(String)) -> anyhow::Result<(usize, Vec<data::Hour>)> {
    execute(session, views::INPUTS).await?;
    let begun = Instant::now();
    let mut events = 0;
    for name in ["airlines", "airports", "planes", "weather"] {
        events += load(session, name, data::table(name)?).await?;
    }
    let (history, hours) = data::flights()?;
    events += load(session, "flights", history).await?;
    say(format!("{events} events in the log after {:.1?}", begun.elapsed()));
    for (name, query) in views::VIEWS {
        let begun = Instant::now();
        execute(session, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await?;
        say(format!("view {name} has caught up with history in {:.1?}", begun.elapsed()));
    }
    Ok((events, hours))
}

async fn live_and_compare(
    session: &mut Session,
    board: &Shared,
    hours: Vec<data::Hour>,
) -> anyhow::Result<(Duration, Vec<Compared>)> {
    let live = play::play(session, board, hours).await?;
    board.lock().phase = Phase::Rebuilding;
    let compared = compare::compare_all(session).await?;
    board.lock().verdict = compared.iter().map(Compared::line).collect();
    Ok((live, compared))
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

impl Report {
    fn equal(&self) -> bool {
        !self.compared.is_empty() && self.compared.iter().all(|c| c.equal)
    }

    fn live_events_per_s(&self) -> f64 {
        self.live_events as f64 / self.live.as_secs_f64().max(1e-9)
    }

    fn show(&self, json: bool) {
        let (p50, p99) = (percentile_ms(&self.freshness, 50), percentile_ms(&self.freshness, 99));
        let n_read = self.compared.len() * data::FLIGHTS;
        let took: f64 = self.compared.iter().map(|c| c.took.as_secs_f64()).sum();
        if json {
            let line = serde_json::json!({
                "events": self.events,
                "views": self.compared.len(),
                "equal": self.equal(),
                "digest": self.compared.first().map(|c| c.kept.to_string()),
                "live_events_per_s": self.live_events_per_s().round(),
                "rebuild_events_per_s": (n_read as f64 / took.max(1e-9)).round(),
                "freshness_ms_p50": p50,
                "freshness_ms_p99": p99,
            });
            return println!("{line}");
        }
        println!(
            "\nplayed {} flights of the last weeks live in {:.1?}: {:.0} events/s, acknowledged to visible p50 {p50:.1} ms p99 {p99:.1} ms\n",
            self.live_events,
            self.live,
            self.live_events_per_s()
        );
        self.compared.iter().for_each(|c| println!("{}", c.line()));
    }
}
