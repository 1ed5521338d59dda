//! `kill -9` of the real server in the middle of appends and of checkpoints, and of the server that comes up after it while it recovers.

use crate::{
    load::{BATCH, Load},
    server::{Dice, Server},
};
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

/// 8 in CI; `REGAUGE_KILL_CYCLES=200` for more, which `cargo xtask kill --cycles 200` sets.
const CYCLES: &str = "REGAUGE_KILL_CYCLES";

#[test]
fn a_killed_server_loses_nothing_acknowledged_and_doubles_nothing() {
    let cycles: u64 = std::env::var(CYCLES).ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let mut dice = Dice::of_the_environment();
    let dir = tempfile::tempdir().unwrap();
    // checkpoints all the time, so that kills meet them at every step; now and then a start that does without
    let args = |cycle: u64| match cycle % 5 {
        3 => vec!["--checkpoint-every-ms", "0"],
        _ => vec!["--checkpoint-every-ms", "5", "--workers", ["1", "2", "3"][usize::try_from(cycle % 3).unwrap()]],
    };
    let start = |cycle: u64| Server::start_with(dir.path(), &args(cycle));
    let server = start(0);
    let load = Load::new(&server);
    let mut server = Some(server);
    let (mut restart, mut acked_before, mut recoveries, mut checkpoints) = (Duration::ZERO, 0, 0, BTreeSet::new());
    for cycle in 0..cycles {
        let running = server.take().unwrap();
        let working = load.start(&running);
        // Until something was acknowledged in this cycle, and then for a time that differs from cycle to cycle.
        let begun = Instant::now();
        while load.acked() == acked_before {
            assert!(begun.elapsed() < Duration::from_secs(60), "cycle {cycle}: no append was acknowledged");
            std::thread::sleep(Duration::from_millis(1));
        }
        // The first two live until they have taken a checkpoint: so two of them at least are found. With the others it is as it comes.
        let before = newest(dir.path());
        while cycle < 2 && newest(dir.path()) == before {
            assert!(begun.elapsed() < Duration::from_secs(120), "cycle {cycle}: no checkpoint was taken");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(dice.below(90_000)));
        running.kill();
        working.end();
        acked_before = load.acked();
        // now and then whoever recovers is killed while it does, several times
        for _ in 0..dice.pick(&[0, 0, 1, 3]) {
            Server::killed_after(dir.path(), &args(cycle), Duration::from_micros(dice.below(400_000)));
            recoveries += 1;
        }
        let begun = Instant::now();
        let again = start(cycle + 1);
        restart = restart.max(begun.elapsed());
        load.check(&format!("cycle {cycle}"), &again);
        checkpoints.extend(newest(dir.path()));
        server = Some(again);
    }
    println!(
        "{cycles} kills and {recoveries} of a server that was coming up, {} acknowledged commits of {BATCH} rows, {} that were stored \
         before their kill and sent again, none lost, none doubled; slowest start {restart:.1?}; {} of them found another checkpoint \
         than the one before",
        acked_before,
        load.duplicates(),
        checkpoints.len()
    );
    println!("soak: cases={acked_before} faults={} faults:kill={cycles} faults:recovery={recoveries}", cycles + recoveries);
    assert!(checkpoints.len() > 1, "hardly any checkpoint was taken: {checkpoints:?}");
    assert!(acked_before >= cycles, "the clients hardly got to work");
    assert_eq!(server.unwrap().stop(), Some(0));
}

/// The newest checkpoint of a folder, by its name.
fn newest(dir: &Path) -> Option<String> {
    let names = std::fs::read_dir(dir.join("checkpoint")).ok()?;
    // what is removed while it is listed is not the newest
    names.filter_map(|n| n.ok()?.file_name().into_string().ok()).filter(|n| n.ends_with(".rgc")).max()
}
