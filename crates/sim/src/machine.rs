//! One life of the machine: opens the data folder, lets clients work, and ends as it was drawn.
//!
//! Everything here runs on threads of the machine: when it stops, none of this goes on, and nothing is cleaned up, as with a real one.

use crate::{
    baton,
    client::{Client, rows_of},
    flows::Spoiled,
    past,
    queries::{FIXED, TABLES, accounts},
    reader,
    scenario::{End, Life, Scenario},
    shared::{Shared, lock},
};
use regauge_log::testing::SimRandom;
use regauge_types::{
    Env,
    env::{Clock, Threads},
};
use regauge_views::{Config, Error, Instance, SessionOptions, version::start_engine};
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Where the data folder is on the simulated disk.
const FOLDER: &str = "/data";
/// When the wall clock begins, in milliseconds since 1970.
const BEGINNING_MS: i64 = 1_767_225_600_000;

struct WorldClock(i64);

impl Clock for WorldClock {
    fn wall_ms(&self) -> u64 {
        (BEGINNING_MS + self.0).unsigned_abs() + baton::now_ns() / 1_000_000
    }

    fn steady(&self) -> Duration {
        Duration::from_nanos(baton::now_ns())
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Threads of this process are the machine's.
fn threads() -> Arc<dyn Threads> {
    Env::real().threads
}

/// Runs a life; true when it got to its own end.
pub fn run(shared: &Arc<Shared>, scenario: &Arc<Scenario>, no: usize) -> bool {
    let ended = Arc::new(AtomicBool::new(false));
    let (of_machine, plans, tells) = (shared.clone(), scenario.clone(), ended.clone());
    let body = move || {
        let life = &plans.lives[no];
        // a panic is told by the hook
        let open = catch_unwind(AssertUnwindSafe(|| live(&of_machine, &plans, life, no)));
        let closes = life.end == End::Close;
        if closes {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
        } else {
            // still open when the end comes
            std::mem::forget(open);
        }
        tells.store(true, Ordering::SeqCst);
        baton::signal();
        if !closes {
            loop {
                std::thread::park();
            }
        }
    };
    let started = std::thread::Builder::new().name(format!("machine-{no}")).spawn(body);
    let Ok(started) = started else { return false };
    let machine = u32::try_from(no + 1).unwrap_or(u32::MAX);
    baton::wait_until(|| ended.load(Ordering::SeqCst) || baton::is_stopped());
    let came_to_its_end = ended.load(Ordering::SeqCst) && !baton::is_stopped();
    if came_to_its_end && scenario.lives[no].end == End::Close {
        let _ = started.join();
    }
    baton::stop_machine(machine);
    came_to_its_end
}

fn live(shared: &Arc<Shared>, scenario: &Scenario, life: &Life, no: usize) -> Option<Instance> {
    shared.tell(&format!("life {no}: {life:?}"));
    let instance = match open(shared, scenario, life, no) {
        Ok(instance) => instance,
        Err(error) => {
            if life.is_troubled() && error.sqlstate != "RG006" {
                shared.count(&format!("open-failed-{}", error.sqlstate));
            } else {
                shared.violation(format!("life {no}: cannot open: {} {error}", error.sqlstate));
            }
            return None;
        }
    };
    shared.count("openings");
    let status = instance.checkpoints();
    shared.count_n("versions-restored", status.opened.values().filter(|o| o.is_ok()).count() as u64);
    shared.count_n("versions-rebuilt", status.opened.values().filter(|o| o.is_err()).count() as u64);
    // I9: rows that were restored have the digest that was kept of them, or the state was another one
    for (version, why) in status.opened.iter().filter_map(|(key, opened)| Some((key, opened.as_ref().err()?))) {
        if why.to_string().contains("digest") {
            shared.violation(format!("I9: life {no}: {version:?} {why}"));
        }
    }
    if !shared.is_set_up.load(Ordering::SeqCst) {
        match here(set_up(&instance)) {
            Ok(()) => shared.is_set_up.store(true, Ordering::SeqCst),
            Err(_) if life.is_troubled() => {
                shared.count("set-up-failed");
                return Some(instance);
            }
            Err(error) => {
                shared.violation(format!("set-up failed: {} {error}", error.sqlstate));
                return Some(instance);
            }
        }
    }
    std::thread::scope(|scope| {
        for me in 0..scenario.clients {
            let instance = &instance;
            let body = move || here(Client::run(shared, instance, life, me));
            let started = std::thread::Builder::new().name(format!("client-{me}")).stack_size(16 << 20).spawn_scoped(scope, body);
            if started.is_err() {
                shared.violation("no thread for a client");
            }
        }
    });
    if life.last {
        here(read_all(shared, &instance));
    }
    let status = instance.checkpoints();
    shared.count_n("checkpoints", status.n_taken);
    shared.count_n("checkpoints-found-damaged", status.damaged.len() as u64);
    shared.count_n("archive-files", shared.disk.n_files("/data/archive/"));
    Some(instance)
}

fn open(shared: &Shared, scenario: &Scenario, life: &Life, no: usize) -> Result<Instance, Error> {
    let env = Env {
        clock: Arc::new(WorldClock(life.clock_ms)),
        disk: shared.disk.clone(),
        random: Arc::new(SimRandom::new(scenario.pace.seed.wrapping_add(no as u64))),
        threads: threads(),
    };
    let mut config = Config::new(FOLDER).workers(life.workers);
    (config.env, config.limits, config.checkpoints, config.log) =
        (env, scenario.limits.clone(), life.checkpoints, scenario.log.clone());
    let mut flows = start_engine(&config)?;
    if let Some(bug) = shared.bug {
        flows = Spoiled::shared(flows, bug);
    }
    Instance::open_with(config, flows)
}

/// Runs a future on this thread; what it sets aside runs on further threads.
fn here<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime without input and output");
    runtime.block_on(work)
}

async fn set_up(instance: &Instance) -> Result<(), Error> {
    let mut session = instance.session(SessionOptions::default())?;
    for sql in TABLES {
        rows_of(&mut session, sql).await?;
    }
    rows_of(&mut session, &accounts()).await?;
    for view in FIXED {
        match rows_of(&mut session, &format!("CREATE MATERIALIZED VIEW {} AS {}", view.name, view.sql)).await {
            // made by a machine that stopped before the set-up was done
            Err(error) if error.sqlstate == "42P07" => {}
            answer => drop(answer?),
        }
    }
    Ok(())
}

/// Everything at the end: each view of each client, and all batches that were acknowledged.
async fn read_all(shared: &Shared, instance: &Instance) {
    let wanted = {
        let memory = lock(&shared.memory);
        let name = |me: usize, view: usize| format!("v{me}_{}", crate::queries::VIEWS[view].name);
        let views =
            memory.iter().enumerate().flat_map(|(me, m)| m.views.iter().filter(|(_, sure)| **sure).map(move |(v, _)| (me, *v)));
        let model = lock(&shared.model);
        reader::Wanted {
            floor: (0..model.clients.len()).map(|me| model.certain(me)).collect(),
            views: views.map(|(me, view)| (name(me, view), view)).collect(),
            sent: model.clients.iter().map(|history| history.sent_acked).enumerate().collect(),
            whole: true,
            with_views: true,
        }
    };
    let outcome = match instance.session(SessionOptions::default()) {
        Ok(mut session) => match reader::read(shared, &mut session, &wanted).await {
            Ok(_) => past::ask_last(shared, instance, &mut session, &wanted.views).await,
            Err(failure) => Err(failure),
        },
        Err(error) => Err(reader::Failure::Error("session".to_owned(), Box::new(error))),
    };
    match outcome {
        Ok(()) => shared.count("final-reads"),
        Err(reader::Failure::Error(sql, error)) => {
            shared.violation(format!("at the end: {sql} failed: {} {error}", error.sqlstate))
        }
        Err(reader::Failure::Wrong(why)) => shared.violation(format!("at the end: {why}")),
    }
}
