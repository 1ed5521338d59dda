//! A whole instance on a simulated disk, with checkpoints all the time: power goes within any call, and what opens afterwards is the log's.
//! `REGAUGE_CRASH_STEP=1` takes every call, and each in four ways to keep what was not synced.

use crate::common::run;
use regauge_log::testing::{Keep, SimDisk};
use regauge_types::Env;
use regauge_views::{Config, Instance, SessionOptions};
use std::{path::Path, sync::Arc, time::Duration};

const LONG: Duration = Duration::from_secs(60);

fn open(disk: &Arc<SimDisk>, workers: usize, checkpoints: bool) -> Instance {
    let mut config = Config::new("/data").workers(workers);
    config.env = Env { disk: disk.clone(), ..Env::real() };
    config.checkpoints.enabled = checkpoints;
    Instance::open(config).unwrap()
}

/// What the views say and what their queries say of the tables.
const CHECKS: &[(&str, &str)] = &[
    ("SELECT g, n, s FROM sums ORDER BY g", "SELECT g, count(*), sum(v) FROM t GROUP BY g ORDER BY g"),
    ("SELECT id, v, note FROM both ORDER BY id", "SELECT t.id, t.v, u.note FROM t LEFT JOIN u ON t.id = u.id ORDER BY t.id"),
];

#[tokio::test(flavor = "multi_thread")]
async fn power_that_goes_within_any_call_leaves_what_was_acknowledged_and_views_that_agree_with_it() {
    let disk = SimDisk::new(11);
    regauge_types::env::Disk::create_dir_all(disk.as_ref(), Path::new("/data")).unwrap();
    regauge_types::env::Disk::sync_dir(disk.as_ref(), Path::new("/")).unwrap();
    let instance = open(&disk, 2, true);
    let mut s = instance.session(SessionOptions::default()).unwrap();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, g INT, v INT)").await;
    run(&mut s, "CREATE TABLE u (id INT PRIMARY KEY, note TEXT)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW sums AS SELECT g, count(*) AS n, sum(v) AS s FROM t GROUP BY g").await;
    run(&mut s, "CREATE MATERIALIZED VIEW both AS SELECT t.id, t.v, u.note FROM t LEFT JOIN u ON t.id = u.id").await;
    disk.record();
    for round in 1..=8u64 {
        let first = round * 10;
        run(&mut s, &format!("INSERT INTO t SELECT i, i % 7, i FROM generate_series({first}, {}) AS i", first + 9)).await;
        disk.set_note(round);
        run(&mut s, &format!("UPDATE t SET v = v + {round} WHERE id % 5 = {}", round % 5)).await;
        run(&mut s, &format!("INSERT INTO u SELECT i, 'n' FROM generate_series({first}, {}) AS i", first + 4)).await;
        run(&mut s, &format!("DELETE FROM u WHERE id % 3 = {}", round % 3)).await;
        assert!(instance.checkpoint(LONG).unwrap(), "{:?}", instance.checkpoints());
    }
    drop(s);
    drop(instance);
    let snapshots = disk.recorded();
    assert!(snapshots.len() > 100, "{}", snapshots.len());
    let (mut n_restored, mut n_rebuilt, mut n_states) = (0, 0, 0);
    let (step, seed) = (crate::common::size("REGAUGE_CRASH_STEP", 9), crate::common::size("REGAUGE_SEED", 0));
    let states = snapshots.iter().enumerate().step_by(step).flat_map(|(i, snapshot)| {
        let chance = (i + seed) as u64;
        let ways = [Keep::None, Keep::All, Keep::Some(chance), Keep::Sectors(chance)];
        // at each call in every way, or at some, in turn
        let taken = if step == 1 { ways.to_vec() } else { vec![ways[(i / step + seed) % 4]] };
        taken.into_iter().map(move |keep| (i, snapshot, keep))
    });
    for (i, snapshot, keep) in states {
        let after = SimDisk::after_crash(snapshot, keep);
        let instance = open(&after, 1 + i % 3, true);
        let status = instance.checkpoints();
        assert_eq!(status.damaged, Vec::<String>::new(), "what power leaves is no damage: state {i} {keep:?}");
        n_restored += status.opened.values().filter(|o| o.is_ok()).count();
        n_rebuilt += status.opened.values().filter(|o| o.is_err()).count();
        n_states += 1;
        let mut s = instance.session(SessionOptions::default()).unwrap();
        let count: Vec<String> = run(&mut s, "SELECT count(*) / 10, count(*) % 10 FROM t").await;
        let (rounds, rest) = count[0].split_once('|').unwrap();
        assert!(
            rest == "0" && rounds.parse::<u64>().unwrap() >= snapshot.note,
            "state {i} {keep:?}: {count:?} {}",
            snapshot.note
        );
        for (view, query) in CHECKS {
            assert_eq!(run(&mut s, view).await, run(&mut s, query).await, "state {i} {keep:?}: {view}");
        }
        // and it goes on
        run(&mut s, "INSERT INTO t VALUES (-1, 0, 1)").await;
        assert!(instance.checkpoint(LONG).unwrap(), "{:?}", instance.checkpoints());
    }
    println!(
        "{n_states} crash states of {} calls, {n_restored} versions restored, {n_rebuilt} rebuilt, 0 wrong",
        snapshots.len()
    );
    println!("soak: cases={n_states} faults={n_states}");
    assert!(n_restored > n_states, "restored={n_restored} rebuilt={n_rebuilt} of {n_states} states");
}
