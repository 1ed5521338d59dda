//! What people are told when something of ours breaks, and what waits for the disk.
#![allow(clippy::disallowed_methods, reason = "it opens real folders")]

use crate::{
    common::{answer, attempt, run},
    gate::Gate,
    veil::Veil,
};
use arrow::array::{Int32Array, RecordBatch};
use futures::StreamExt as _;
use regauge_types::env::{Clock, Env};
use regauge_views::{Config, Instance, Response, Session, SessionOptions, catalog::Kind};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const LONG: Duration = Duration::from_secs(120);

/// A clock that the thread which closes epochs cannot read any more, once it is told so.
struct Broken {
    real: Arc<dyn Clock>,
    now: AtomicBool,
}

impl Clock for Broken {
    fn wall_ms(&self) -> u64 {
        self.real.wall_ms()
    }
    fn steady(&self) -> Duration {
        let is_driver = std::thread::current().name() == Some("regauge-epochs");
        assert!(!(is_driver && self.now.load(Ordering::SeqCst)), "planted");
        self.real.steady()
    }
    fn sleep(&self, time: Duration) {
        self.real.sleep(time);
    }
}

fn config(dir: &tempfile::TempDir) -> Config {
    let mut config = Config::new(dir.path()).workers(1);
    config.limits.causal_timeout = LONG;
    config.checkpoints.every = crate::common::ONLY_WHEN_ASKED;
    config
}

fn session(instance: &Instance) -> Session {
    instance.session(SessionOptions::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_views_that_stand_still_for_ever_is_told_and_a_new_opening_has_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Broken { real: Env::real().clock, now: AtomicBool::new(false) });
    let mut config = config(&dir);
    config.env.clock = clock.clone();
    let instance = Instance::open(config.clone()).unwrap();
    let mut s = session(&instance);
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY); CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t").await;
    run(&mut s, "INSERT INTO t VALUES (1)").await;
    assert_eq!(run(&mut s, "SELECT n FROM v").await, ["1"]);
    assert!(instance.failure().is_none());
    let Some(Response::Subscription(mut changes)) = s.execute("SUBSCRIBE TO v").await.unwrap().pop() else { panic!() };
    assert!(changes.stream.next().await.unwrap().is_ok());
    let (mut reader, mut flusher) = (session(&instance), session(&instance));
    clock.now.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    let mut id = 1;
    // Until one is not shown any more: who has written waits for it.
    let error = loop {
        assert!(begun.elapsed() < LONG, "nothing is told");
        id += 1;
        run(&mut s, &format!("INSERT INTO t VALUES ({id})")).await;
        match attempt(&mut s, "SELECT n FROM v").await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => break error,
        }
    };
    assert_eq!(error.sqlstate, "57P02", "{error}");
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("start the server again")), "{error}");
    assert!(!error.to_string().contains("planted"), "what a panic says is not for everybody: {error}");
    assert!(begun.elapsed() < LONG / 2, "it was told when its time was over, not when it happened");
    assert_eq!(instance.until_failed().await.sqlstate, "57P02");
    for (session, sql) in
        [(&mut reader, "SELECT n FROM v"), (&mut flusher, "FLUSH"), (&mut s, "CREATE MATERIALIZED VIEW w AS SELECT id FROM t")]
    {
        assert_eq!(attempt(session, sql).await.unwrap_err().sqlstate, "57P02", "{sql}");
    }
    let mut last = None;
    while let Some(item) = tokio::time::timeout(LONG, changes.stream.next()).await.expect("the subscription stands still") {
        last = Some(item);
    }
    assert_eq!(last.unwrap().unwrap_err().sqlstate, "57P02");
    // What is written is written, and a folder that is opened again is as if nothing had happened.
    run(&mut s, "INSERT INTO t VALUES (0)").await;
    drop((s, reader, flusher, changes, instance));
    clock.now.store(false, Ordering::SeqCst);
    let instance = Instance::open(config).unwrap();
    let mut s = session(&instance);
    assert_eq!(run(&mut s, "FLUSH; SELECT n FROM v").await, [(id + 1).to_string()]);
    assert!(instance.failure().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_breaks_ends_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    let veil = Veil::over(&config);
    let instance = Instance::open_with(config, veil.clone()).unwrap();
    let mut s = session(&instance);
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY); CREATE MATERIALIZED VIEW v AS SELECT id FROM t").await;
    run(&mut s, "INSERT INTO t VALUES (1); FLUSH").await;
    let Some(Response::Subscription(mut changes)) = s.execute("SUBSCRIBE TO v").await.unwrap().pop() else { panic!() };
    assert_eq!(changes.stream.next().await.unwrap().unwrap().num_rows(), 1);
    veil.panic();
    run(&mut s, "INSERT INTO t VALUES (2)").await;
    let last = tokio::time::timeout(LONG, changes.stream.next()).await.expect("it stands still");
    assert_eq!(last.expect("it ends as if all were well").unwrap_err().sqlstate, "XX000");
    assert!(changes.stream.next().await.is_none());
}

/// Since when a view can be read together with the others.
fn since(instance: &Instance, view: &str) -> Option<u64> {
    let catalog = instance.catalog();
    let relation = catalog.relations().find(|relation| relation.name.name == view)?;
    let Kind::Materialized { routed, .. } = &relation.kind else { return None };
    instance.versions().report(relation.view()?, *routed).since.map(|since| since.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_one_that_falls_behind_is_never_shown_as_it_was_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    config.limits.epochs_in_flight = 4;
    let veil = Veil::over(&config);
    let instance = Instance::open_with(config, veil.clone()).unwrap();
    let mut s = session(&instance);
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW below AS SELECT id, n FROM t").await;
    run(&mut s, "CREATE MATERIALIZED VIEW above AS SELECT count(*) AS n FROM below").await;
    run(&mut s, "CREATE MATERIALIZED VIEW beside AS SELECT count(*) AS n FROM above JOIN t ON above.n >= t.id").await;
    let (mut id, mut shown, mut refused) = (0, 0, 0);
    for round in 0..3 {
        run(&mut s, &format!("INSERT INTO t VALUES ({id}, {round}); FLUSH")).await;
        id += 1;
        veil.lag(Some(instance.log().durable().0));
        let begun = Instant::now();
        while since(&instance, "below").is_some() {
            assert!(begun.elapsed() < LONG, "round {round}: it never falls behind");
            run(&mut s, &format!("INSERT INTO t VALUES ({id}, {round})")).await;
            id += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Each of these is the end of an epoch of all but the one that lags, which will be fed them all in one piece.
        let mut readers = vec![];
        for _ in 0..3 {
            run(&mut s, &format!("INSERT INTO t VALUES ({id}, {round})")).await;
            id += 1;
            let mut reader = session(&instance);
            let n = run(&mut reader, "BEGIN; SELECT count(*) FROM t").await;
            readers.push((reader, n));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        veil.lag(None);
        for (reader, n) in &mut readers {
            match attempt(reader, "SELECT n FROM above").await {
                Ok(rows) => {
                    assert_eq!(&rows, n, "round {round}: a view over a view, and the table, at one epoch");
                    shown += 1;
                }
                Err(error) => {
                    assert_eq!(error.sqlstate, "RG004", "{error}");
                    refused += 1;
                }
            }
        }
        run(&mut s, "FLUSH").await;
        assert_eq!(run(&mut s, "SELECT n FROM above").await, [id.to_string()], "round {round}");
        assert_eq!(run(&mut s, "SELECT n FROM beside").await, [id.to_string()], "round {round}");
        let (below, above) = (since(&instance, "below").unwrap(), since(&instance, "above").unwrap());
        assert!(above >= below, "round {round}: {above} {below}");
    }
    assert_eq!(shown + refused, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_views_are_late_the_machine_is_waited_for_and_where_one_is_it_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    config.limits.epochs_in_flight = 2;
    let veil = Veil::over(&config);
    let instance = Instance::open_with(config, veil.clone()).unwrap();
    let mut s = session(&instance);
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    let mut t = session(&instance);
    let views = ["a", "b", "c", "d"];
    for view in views {
        run(&mut s, &format!("CREATE MATERIALIZED VIEW {view} AS SELECT count(*) AS n, '{view}' AS name FROM t")).await;
    }
    let mut id = 0;
    // Writes for longer than one version is waited for; which of the views stand with the others then.
    let mut while_late = async |late: &dyn Fn(Option<u64>)| {
        run(&mut s, "FLUSH").await;
        let before = views.map(|view| since(&instance, view).is_some());
        assert_eq!(before, [true; 4], "all stand together when it begins");
        late(Some(instance.log().durable().0));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(700) {
            run(&mut s, &format!("INSERT INTO t VALUES ({id})")).await;
            id += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (stand, took) = (views.map(|view| since(&instance, view).is_some()), begun.elapsed());
        late(None);
        while views.iter().any(|view| since(&instance, view).is_none()) {
            assert!(begun.elapsed() < LONG, "one never comes back");
            run(&mut s, "FLUSH").await;
        }
        (stand, took)
    };
    let mut seen = vec![];
    for _ in 0..5 {
        let (stand, took) = while_late(&|at| veil.lag_all(at)).await;
        // all together are waited for so long: a machine that stood still meanwhile shows nothing
        if took < Duration::from_millis(1_500) {
            seen.push(stand);
        }
        if seen.len() == 2 {
            break;
        }
    }
    assert!(!seen.is_empty() && seen.contains(&[true; 4]), "left behind with all the others late: {seen:?}");
    // and where they come forward, for longer than where none does
    let mut stood = false;
    for _ in 0..3 {
        run(&mut t, "FLUSH").await;
        let (begun, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
        let mut at = instance.log().durable().0;
        for n in 0.. {
            if begun.elapsed() > Duration::from_millis(3_500) {
                break;
            }
            at += u64::from(n % 3 == 0);
            veil.lag_all(Some(at));
            longest = longest.max(last.elapsed());
            last = Instant::now();
            run(&mut t, &format!("INSERT INTO t VALUES ({})", 1_000_000 + at * 10 + n % 3)).await;
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        let all = views.iter().all(|view| since(&instance, view).is_some());
        veil.lag_all(None);
        if longest < Duration::from_millis(1_000) {
            assert!(all, "left behind though all came forward, {longest:?} at the longest");
            stood = true;
            break;
        }
    }
    assert!(stood, "the machine stood still each time");
    let (stand, _) = while_late(&|at| veil.lag(at)).await;
    assert!(!stand[0], "one that is late by itself holds all up: {stand:?}");
    for view in views {
        assert_eq!(run(&mut t, &format!("SELECT n FROM {view}")).await, run(&mut t, "SELECT count(*) FROM t").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_own_lock_is_held_until_its_last_commit_is_durable_though_its_client_has_gone() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), Gate::new());
    let mut config = config(&dir);
    config.env.disk = gate.clone();
    let instance = Instance::open(config).unwrap();
    let (mut a, mut b) = (session(&instance), session(&instance));
    run(&mut a, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&mut a, "SELECT pg_advisory_lock(7)").await;
    gate.shut();
    let writing = tokio::spawn(async move {
        let _ = a.execute("INSERT INTO t VALUES (1)").await;
    });
    gate.until_waited_for().await;
    // Its client goes: the session with it, and not its commit.
    writing.abort();
    let _ = writing.await;
    assert_eq!(
        run(&mut b, "SELECT pg_try_advisory_lock(7)").await,
        ["false"],
        "who gets it would not see what was written under it"
    );
    gate.open_up();
    let begun = Instant::now();
    while run(&mut b, "SELECT pg_try_advisory_lock(7)").await != ["true"] {
        assert!(begun.elapsed() < LONG, "it is never given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(run(&mut b, "SELECT count(*) FROM t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_waits_for_the_disk_ends_with_the_statements_time() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), Gate::new());
    let mut config = config(&dir);
    config.env.disk = gate.clone();
    let instance = Instance::open(config).unwrap();
    let (mut a, mut b) = (session(&instance), session(&instance));
    run(&mut a, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&mut b, "SET statement_timeout = '300ms'").await;
    gate.shut();
    let writing = tokio::spawn(async move { attempt(&mut a, "INSERT INTO t VALUES (1)").await });
    gate.until_waited_for().await;
    // That the key is taken rests on a commit that is not durable: each of these waits for it, and for no longer than it may.
    let rows = RecordBatch::try_from_iter([("id", Arc::new(Int32Array::from(vec![1])) as _)]).unwrap();
    let appended = tokio::time::timeout(LONG, b.append_records("t", rows, None)).await.expect("it does not end");
    assert_eq!(appended.unwrap_err().sqlstate, "57014");
    let Some(Response::CopyIn(mut copy)) = b.execute("COPY t FROM STDIN").await.unwrap().pop() else { panic!() };
    copy.push(b"1\n").unwrap();
    let copied = tokio::time::timeout(LONG, b.finish_copy(*copy)).await.expect("it does not end");
    assert_eq!(copied.err().unwrap().sqlstate, "57014");
    for sql in ["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING"] {
        let ended = tokio::time::timeout(LONG, attempt(&mut b, sql)).await.expect("it does not end");
        assert_eq!(ended.unwrap_err().sqlstate, "57014", "{sql}");
    }
    gate.open_up();
    writing.await.unwrap().unwrap();
    run(&mut b, "SET statement_timeout = 0").await;
    let Some(Response::CopyIn(mut copy)) = b.execute("COPY t FROM STDIN").await.unwrap().pop() else { panic!() };
    copy.push(b"1\n").unwrap();
    assert_eq!(b.finish_copy(*copy).await.err().unwrap().sqlstate, "23505", "now it is for good");
    let done = b.execute("INSERT INTO t VALUES (1), (2) ON CONFLICT DO NOTHING").await.unwrap().pop().unwrap();
    assert_eq!(answer(done).await.unwrap(), ["INSERT 0 1"]);
}
