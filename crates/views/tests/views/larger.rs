//! Views whose state is larger than the memory that they may hold: the same answers, also after checkpoints and reopening; and what is told
//! when memory is at its end.

use super::common::{attempt, run};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use regauge_views::{
    Config, Instance, Session, SessionOptions,
    catalog::{Kind, Relation},
};
use std::{path::Path, sync::Arc, time::Duration};

const VIEWS: [&str; 6] = [
    "groups AS SELECT k, count(*) AS n, max(v) AS most, sum(v) AS total FROM a GROUP BY k",
    "joined AS SELECT a.k, count(*) AS n, sum(b.v) AS total FROM a JOIN b ON a.k = b.k GROUP BY a.k",
    "missing AS SELECT a.k, b.v FROM a LEFT JOIN b ON a.k = b.k WHERE a.k < 900",
    "pairs AS SELECT DISTINCT k, v % 7 AS r FROM a",
    "best AS SELECT k, v FROM (SELECT k, v, row_number() OVER (PARTITION BY k ORDER BY v DESC) AS place FROM a) q WHERE place <= 2",
    "texts AS SELECT name, array_agg(v ORDER BY v) AS all_of_them, count(DISTINCT v) AS d FROM t GROUP BY name",
];

fn opened(dir: &Path, workers: usize, memory: Option<usize>) -> Instance {
    let mut config = Config::new(dir).workers(workers);
    config.memory_bytes = memory;
    // unoptimised, and nearly everything goes to the disk and back for each epoch
    config.limits.causal_timeout = Duration::from_secs(120);
    Instance::open(config).unwrap()
}

fn session(instance: &Instance) -> Session {
    instance.session(SessionOptions::default()).unwrap()
}

async fn fill(s: &mut Session, round: usize) {
    for stream in ["a", "b"] {
        let rows: Vec<String> = (0..3000).map(|i| format!("({}, {})", (i * 7 + round * 1003) % 4000, i + round)).collect();
        run(s, &format!("INSERT INTO {stream} VALUES {}", rows.join(","))).await;
    }
    let rows: Vec<String> =
        (0..1000).map(|i| format!("({}, 'name {}', {i})", round * 1000 + i, (i * 13 + round) % 700)).collect();
    run(s, &format!("INSERT INTO t VALUES {}", rows.join(","))).await;
    run(s, &format!("DELETE FROM t WHERE v % 3 = {}", round % 3)).await;
}

/// What all views show.
async fn all(s: &mut Session) -> Vec<Vec<String>> {
    let mut answers = vec![];
    run(s, "FLUSH").await;
    for view in VIEWS {
        let name = view.split(' ').next().unwrap();
        let mut rows = run(s, &format!("SELECT * FROM {name}")).await;
        rows.sort_unstable();
        assert!(!rows.is_empty(), "{name}");
        answers.push(rows);
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_within_a_budget_answer_as_those_without_and_go_on_from_each_others_checkpoints() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let free = opened(other.path(), 1, None);
    let mut wanted = session(&free);
    let mut bound = opened(dir.path(), 2, Some(200_000));
    let tables = "CREATE STREAM a (k BIGINT, v BIGINT); CREATE STREAM b (k BIGINT, v BIGINT);
        CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, v BIGINT)";
    for s in [&mut wanted, &mut session(&bound)] {
        run(s, tables).await;
        fill(s, 0).await;
        // of a history that is there
        for view in VIEWS {
            run(s, &format!("CREATE MATERIALIZED VIEW {view}")).await;
        }
    }
    for (round, (workers, memory)) in [(2, Some(200_000)), (3, Some(1)), (1, None), (2, Some(400_000))].into_iter().enumerate() {
        let mut s = session(&bound);
        fill(&mut s, round + 1).await;
        fill(&mut wanted, round + 1).await;
        assert_eq!(all(&mut s).await, all(&mut wanted).await, "round {round}");
        let catalog = bound.catalog();
        let version = |r: &Arc<Relation>| match &r.kind {
            Kind::Materialized { routed, .. } => Some((r.view()?, *routed)),
            _ => None,
        };
        let has_spilled = |(view, no)| bound.versions().operators(view, no).iter().any(|f| f.spilled_bytes > 0);
        let n_spilled = catalog.relations().filter_map(version).filter(|v| has_spilled(*v)).count();
        assert_eq!(n_spilled > 0, bound.config().memory_bytes.is_some(), "round {round}: {n_spilled}");
        assert!(bound.checkpoint(Duration::from_secs(300)).unwrap(), "{:?}", bound.checkpoints());
        drop(s);
        drop(bound);
        bound = opened(dir.path(), workers, memory);
        let opened = bound.checkpoints();
        assert!(opened.damaged.is_empty() && opened.opened.values().all(Result::is_ok), "round {round}: {opened:?}");
        assert_eq!(all(&mut session(&bound)).await, all(&mut wanted).await, "round {round}, opened again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_refused_before_memory_ends_and_come_in_again_when_there_is_some() {
    let dir = tempfile::tempdir().unwrap();
    let bound = opened(dir.path(), 1, Some(16 << 20));
    let mut s = session(&bound);
    run(&mut s, "CREATE STREAM s (id BIGINT, name TEXT); CREATE MATERIALIZED VIEW v AS SELECT id, name FROM s").await;
    let batch = |from: i64| {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 2000));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values((from..from + 2000).map(|i| format!("{i:0500}"))));
        RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
    };
    let mut refused = None;
    for from in 0..60 {
        if let Err(error) = s.append("s", batch(from * 2000), None).await {
            refused = Some(error);
            break;
        }
        run(&mut s, "FLUSH").await;
    }
    let error = refused.expect("outputs cannot be spilled, and are counted");
    assert_eq!((error.sqlstate, error.hint.is_some()), ("53200", true), "{error:?}");
    let more = "CREATE MATERIALIZED VIEW w AS SELECT id FROM s";
    assert_eq!(attempt(&mut s, more).await.unwrap_err().sqlstate, "53200");
    assert_eq!(run(&mut s, "SELECT count(*) > 0 FROM v").await.len(), 1, "reads go on");
    run(&mut s, "DROP MATERIALIZED VIEW v").await;
    let mut waited = 0;
    while let Err(error) = s.append("s", batch(1_000_000), None).await {
        assert!(error.sqlstate == "53200" && waited < 1200, "{error:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        waited += 1;
    }
}

/// Groups of the view whose memory is looked at.
const GROUPS: usize = 30_000;

/// What views hold, once it is counted: that is after an epoch is shown, and a worker after the other. No group is held in less than a key.
async fn held(instance: &Instance) -> usize {
    let (mut last, mut n_same) = (0, 0);
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = instance.versions().memory().unwrap().0;
        n_same = if now == last { n_same + 1 } else { 0 };
        last = now;
        if now > GROUPS * 8 && n_same >= 2 {
            return now;
        }
    }
    panic!("what views hold does not settle: {last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_views_hold_after_reopening_is_what_they_held_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut bound = opened(dir.path(), 1, Some(64 << 20));
    let mut s = session(&bound);
    let view = "CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n, sum(v) AS a, min(v) AS b, max(v) AS c, avg(v) AS d FROM s GROUP BY k";
    run(&mut s, &format!("CREATE STREAM s (k BIGINT, v BIGINT); {view}")).await;
    run(&mut s, &format!("INSERT INTO s SELECT i, i FROM generate_series(1, {GROUPS}) AS i; FLUSH")).await;
    run(&mut s, "INSERT INTO s VALUES (1, 1); FLUSH").await;
    let before = held(&bound).await;
    let mut after = vec![];
    for _ in 0..2 {
        assert!(bound.checkpoint(Duration::from_secs(300)).unwrap());
        drop(s);
        drop(bound);
        bound = opened(dir.path(), 1, Some(64 << 20));
        s = session(&bound);
        run(&mut s, "INSERT INTO s VALUES (1, 1); FLUSH").await;
        after.push(held(&bound).await);
    }
    println!("held before {before}, after reopening {after:?}");
    assert!(after.iter().all(|after| *after <= before * 3 / 2), "before={before} after={after:?}");
}
