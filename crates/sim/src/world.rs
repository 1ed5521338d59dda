//! A run: lives of the machine one after another, with what happens between them, and what is said of it in the end.

use crate::{
    baton,
    bugs::Bug,
    machine,
    scenario::{End, LAST, Scenario, Trouble},
    shared::Shared,
};
use std::sync::{Arc, Mutex, PoisonError};

/// What is run.
#[derive(Clone, Debug)]
pub struct Order {
    /// Decides everything.
    pub seed: u64,
    /// Operations of clients, at least.
    pub ops: u64,
    /// What is planted.
    pub bug: Option<Bug>,
    /// Whether all is told on standard error.
    pub told: bool,
}

/// A run that came to its end: its ledger, its trace and steps, its virtual milliseconds.
type Ended = (Arc<Shared>, (u64, u64), u64);

/// Messages of panics.
static PANICS: Mutex<Vec<String>> = Mutex::new(vec![]);

/// Runs it, prints what came of it, and ends the process: 0 when every promise was kept.
pub fn run(order: &Order) -> ! {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string().replace('\n', " "));
    }));
    let scenario = Arc::new(Scenario::of(order.seed, order.ops, order.told));
    let outcome: Arc<Mutex<Option<Ended>>> = Arc::default();
    let (order_of_world, tells) = (order.clone(), outcome.clone());
    baton::run(scenario.pace, move || {
        let Order { seed, bug, told, .. } = order_of_world;
        let shared = Arc::new(Shared::new(seed, scenario.clients, scenario.limits.history_commits, bug, told));
        let work = scenario.lives.len() - LAST;
        let enough = || shared.counted("operations") >= scenario.ops && shared.disk.n_fired() + shared.counted("killed") > 0;
        for no in 0..scenario.lives.len() {
            // what is not needed for the work any more is left out; the last ones are not
            if no < work && enough() {
                continue;
            }
            life(&shared, &scenario, no);
            if !shared.violations().is_empty() {
                break;
            }
        }
        if shared.violations().is_empty() && !enough() {
            shared.violation("harness: all lives were over before the work was done");
        }
        *tells.lock().unwrap_or_else(PoisonError::into_inner) = Some((shared, baton::trace(), baton::now_ns() / 1_000_000));
    });
    let outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((shared, (trace, steps), ms)) = outcome else {
        println!("violation: harness: the run came to no end");
        baton::end_process(4)
    };
    for (what, n) in shared.counts() {
        println!("count: {what} {n}");
    }
    for (what, n) in shared.disk.fired() {
        println!("count: fault-{what} {n}");
    }
    let mut violations = shared.violations();
    violations.extend(PANICS.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|p| format!("a thread panicked: {p}")));
    for violation in &violations {
        println!("violation: {violation}");
    }
    println!("trace: {trace:016x} steps={steps} calls={} virtual_ms={ms}", shared.disk.calls());
    baton::end_process(i32::from(!violations.is_empty()))
}

fn life(shared: &Arc<Shared>, scenario: &Arc<Scenario>, no: usize) {
    let life = &scenario.lives[no];
    let stop_in = if let Trouble::Kill(steps) = life.trouble { Some(steps) } else { None };
    baton::begin_machine(u32::try_from(no + 1).unwrap_or(u32::MAX), stop_in);
    if let Some((call, fault)) = life.fault() {
        shared.disk.plan(call, fault);
    }
    if let Some((what, after)) = life.journal_fault() {
        shared.disk.plan_journal(what, after);
    }
    shared.count(&format!("workers-{}", life.workers));
    let came_to_its_end = machine::run(shared, scenario, no);
    shared.disk.unplan();
    shared.disk.fill(false);
    let power = match life.trouble {
        Trouble::Power(_) if !came_to_its_end => true,
        Trouble::Kill(_) if !came_to_its_end => false,
        _ => life.end == End::Power,
    };
    let how = match (power, life.end) {
        (true, _) => format!("power-cut-keeping-{}", format!("{:?}", life.keep).split('(').next().unwrap_or("").to_lowercase()),
        (false, End::Close) if came_to_its_end => "closed".to_owned(),
        _ => "killed".to_owned(),
    };
    shared.tell(&how);
    shared.count(&how);
    if power {
        shared.disk.power_cut(life.keep);
    } else {
        shared.disk.kill();
    }
}
