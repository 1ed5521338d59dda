//! The life of versions and the epochs they are fed, with a stand-in for the engine.

use crate::common::{attempt, code, lines, run};
use crate::mirror::Mirror;
use futures::StreamExt;
use regauge_views::{Config, Instance, Response, Session, SessionOptions};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;

struct Site {
    mirror: Arc<Mirror>,
    instance: Option<Instance>,
    dir: TempDir,
}

fn site() -> Site {
    let mut site = Site { mirror: Arc::default(), instance: None, dir: tempfile::tempdir().unwrap() };
    site.open();
    site
}

impl Site {
    fn open(&mut self) {
        self.instance = None;
        self.mirror = Arc::default();
        let mut config = Config::new(self.dir.path());
        // a machine may be slow
        config.limits.causal_timeout = Duration::from_secs(120);
        self.instance = Some(Instance::open_with(config, self.mirror.clone()).unwrap());
    }

    fn session(&self) -> Session {
        self.instance.as_ref().unwrap().session(SessionOptions::default()).unwrap()
    }
}

const T: &str = "CREATE TABLE t (id INT PRIMARY KEY, n INT)";
const V: &str = "CREATE MATERIALIZED VIEW v AS SELECT n, id FROM t";

#[tokio::test(flavor = "multi_thread")]
async fn a_view_before_and_a_view_after_the_data_are_equal() {
    let site = site();
    let mut s = site.session();
    run(&mut s, T).await;
    run(&mut s, V).await;
    run(&mut s, "INSERT INTO t VALUES (1, 10), (2, 20), (3, 30)").await;
    run(&mut s, "UPDATE t SET n = n + 1 WHERE id < 3; DELETE FROM t WHERE id = 3").await;
    run(&mut s, "CREATE MATERIALIZED VIEW w AS SELECT n, id FROM t").await;
    run(&mut s, "CREATE MATERIALIZED VIEW over AS SELECT id FROM v").await;
    run(&mut s, "INSERT INTO t VALUES (4, 40)").await;
    let expected = ["11|1", "21|2", "40|4"];
    assert_eq!(run(&mut s, "SELECT * FROM v ORDER BY id").await, expected);
    assert_eq!(run(&mut s, "SELECT * FROM w ORDER BY id").await, expected);
    assert_eq!(run(&mut s, "SELECT * FROM over ORDER BY id").await, ["1", "2", "4"]);
    assert_eq!(
        run(&mut s, "SELECT count(*) FROM v JOIN t USING (id) JOIN w USING (id) WHERE v.n = t.n AND w.n = t.n").await,
        ["3"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_text_may_create_a_view_and_read_it() {
    let site = site();
    let mut s = site.session();
    let rows = run(&mut s, &format!("{T}; INSERT INTO t VALUES (1, 7); {V}; SELECT n FROM v")).await;
    assert_eq!(rows, ["7"]);
    run(&mut s, "CREATE MATERIALIZED VIEW soon WITH (async) AS SELECT id FROM t").await;
    assert_eq!(run(&mut s, "SELECT id FROM soon").await, ["1"]);
    run(&mut s, "FLUSH").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_reads_its_writes_through_a_view_and_a_token_does_so_for_another() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, T).await;
    run(&mut a, V).await;
    for id in 0..50 {
        run(&mut a, &format!("INSERT INTO t VALUES ({id}, 0)")).await;
        assert_eq!(run(&mut a, "SELECT count(*) FROM v").await, [(id + 1).to_string()]);
        let token = a.token();
        run(&mut b, &format!("SET regauge.token = '{token}'")).await;
        assert_eq!(run(&mut b, "SELECT count(*) FROM v").await, [(id + 1).to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_would_be_stale_fails_and_other_reads_do_not_wait() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, T).await;
    run(&mut a, V).await;
    run(&mut b, "SELECT * FROM v").await;
    site.mirror.hold(true);
    run(&mut a, "INSERT INTO t VALUES (1, 1)").await;
    run(&mut a, "SET regauge.causal_timeout = '50ms'").await;
    assert_eq!(code(&mut a, "SELECT * FROM v").await, "RG001");
    assert_eq!(run(&mut a, "SELECT n FROM t").await, ["1"]);
    assert_eq!(run(&mut b, "SELECT * FROM v").await, [""; 0]);
    site.mirror.hold(false);
    run(&mut a, "SET regauge.causal_timeout = '60s'").await;
    assert_eq!(run(&mut a, "SELECT n FROM v").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linearizable_session_shows_what_others_were_told_to_be_written() {
    let site = site();
    let (mut a, mut b, mut c) = (site.session(), site.session(), site.session());
    run(&mut a, T).await;
    run(&mut a, V).await;
    run(&mut b, "SELECT * FROM v").await;
    run(&mut b, "SET regauge.linearizable = on; SET regauge.causal_timeout = '50ms'").await;
    let point = b.prepare("SELECT n FROM v WHERE id = $1", &[]).await.unwrap();
    site.mirror.hold(true);
    run(&mut a, "INSERT INTO t VALUES (1, 1)").await;
    assert_eq!(run(&mut c, "SELECT * FROM v").await, [""; 0], "by default what others write is seen when it is there");
    assert_eq!(code(&mut b, "SELECT * FROM v").await, "RG001");
    let one: Vec<arrow::array::ArrayRef> = vec![Arc::new(arrow::array::Int32Array::from(vec![1]))];
    assert_eq!(b.run(&point, &one).await.err().map(|e| e.sqlstate), Some("RG001"));
    run(&mut b, "BEGIN").await;
    assert_eq!(code(&mut b, "SELECT * FROM v").await, "RG001");
    run(&mut b, "ROLLBACK; RESET regauge.linearizable; SET regauge.linearizable = on; SET regauge.causal_timeout = '60s'").await;
    site.mirror.hold(false);
    for n in 1..200 {
        run(&mut a, &format!("UPDATE t SET n = {n} WHERE id = 1")).await;
        assert_eq!(run(&mut b, "SELECT n FROM v").await, [n.to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_statement_sees_tables_and_views_at_one_epoch() {
    let site = site();
    let mut s = site.session();
    run(&mut s, T).await;
    run(&mut s, V).await;
    run(&mut s, "INSERT INTO t VALUES (1, 0), (2, 0)").await;
    let mut writer = site.session();
    let writing = tokio::spawn(async move {
        for _ in 0..100 {
            run(&mut writer, "UPDATE t SET n = n + 1").await;
        }
    });
    while !writing.is_finished() {
        assert_eq!(run(&mut s, "SELECT count(DISTINCT n) FROM (SELECT n FROM t UNION ALL SELECT n FROM v) x").await, ["1"]);
    }
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transactions_views_stay_at_its_snapshot() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, T).await;
    run(&mut a, V).await;
    run(&mut a, "INSERT INTO t VALUES (1, 1)").await;
    run(&mut a, "BEGIN").await;
    assert_eq!(run(&mut a, "SELECT n FROM t").await, ["1"]);
    run(&mut b, "UPDATE t SET n = 2").await;
    run(&mut a, "INSERT INTO t VALUES (9, 9)").await;
    assert_eq!(run(&mut a, "SELECT n FROM v").await, ["1"]);
    run(&mut a, "COMMIT").await;
    assert_eq!(run(&mut a, "SELECT n FROM v ORDER BY n").await, ["2", "9"]);
}

/// Found by the simulation: what a version missed it is fed in one piece, and a reader who had begun to wait for it before that was shown the
/// piece's beginning as if it were a boundary within it.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_waits_for_a_view_that_falls_behind_is_never_shown_an_earlier_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let mirror: Arc<Mirror> = Arc::default();
    let mut config = Config::new(dir.path());
    // a machine may be slow
    config.limits.causal_timeout = std::time::Duration::from_secs(120);
    config.limits.epochs_in_flight = 1;
    let instance = Instance::open_with(config, mirror.clone()).unwrap();
    let session = || instance.session(SessionOptions::default()).unwrap();
    let mut writer = session();
    run(&mut writer, T).await;
    run(&mut writer, V).await;
    let (mut shown, mut refused) = (0, 0);
    for round in 0..4 {
        run(&mut writer, "FLUSH").await;
        mirror.hold(true);
        // two epochs that it is fed and does not come to; the third one is closed without it, a moment later
        for id in 0..3 {
            run(&mut writer, &format!("INSERT INTO t VALUES ({}, 0)", round * 10 + id)).await;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let mut reader = session();
        run(&mut reader, "BEGIN").await;
        let n = run(&mut reader, "SELECT count(*) FROM t").await;
        let waiting = tokio::spawn(async move { attempt(&mut reader, "SELECT count(*) FROM v").await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        run(&mut writer, &format!("INSERT INTO t VALUES ({}, 0)", round * 10 + 3)).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        mirror.hold(false);
        match waiting.await.unwrap() {
            Ok(rows) => {
                assert_eq!(rows, n, "round {round}: the view and its table at one epoch");
                shown += 1;
            }
            Err(error) => {
                assert_eq!(error.sqlstate, "RG004", "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!(shown + refused, 4);
    assert_eq!(run(&mut writer, "SELECT count(*) FROM v").await, ["16"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_come_back_from_their_stored_plans() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, T).await;
    run(&mut s, V).await;
    run(&mut s, "CREATE MATERIALIZED VIEW over AS SELECT id FROM v").await;
    run(&mut s, "INSERT INTO t VALUES (1, 1), (2, 2)").await;
    run(&mut s, "DELETE FROM t WHERE id = 1").await;
    drop(s);
    site.open();
    let mut s = site.session();
    assert_eq!(run(&mut s, "SELECT n FROM v").await, ["2"]);
    assert_eq!(run(&mut s, "SELECT id FROM over").await, ["2"]);
    run(&mut s, "INSERT INTO t VALUES (3, 3)").await;
    assert_eq!(run(&mut s, "SELECT id FROM over ORDER BY id").await, ["2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn drop_stops_what_runs_and_what_failed_says_why() {
    let site = site();
    let mut s = site.session();
    run(&mut s, T).await;
    run(&mut s, V).await;
    run(&mut s, "CREATE MATERIALIZED VIEW over AS SELECT id FROM v").await;
    assert_eq!(code(&mut s, "DROP MATERIALIZED VIEW v").await, "2BP01");
    run(&mut s, "DROP TABLE t CASCADE").await;
    for _ in 0..6000 {
        if site.mirror.n_flows() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(site.mirror.n_flows(), 0);
    run(&mut s, T).await;
    run(&mut s, V).await;
    site.mirror.fail_all("worker panicked");
    run(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    let error = attempt(&mut s, "SELECT * FROM v").await.unwrap_err();
    assert_eq!(error.sqlstate, "RG002", "{error}");
    assert!(error.message.contains("worker panicked"));
    assert_eq!(run(&mut s, "SELECT n FROM t").await, ["1"]);
    run(&mut s, "DROP MATERIALIZED VIEW v").await;
    run(&mut s, "DROP TABLE t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_sums_up_to_the_view() {
    let site = site();
    let (mut s, mut w) = (site.session(), site.session());
    run(&mut s, T).await;
    run(&mut s, V).await;
    run(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    let Response::Subscription(mut sub) = s.execute("SUBSCRIBE TO v WITH (snapshot)").await.unwrap().pop().unwrap() else {
        panic!()
    };
    run(&mut w, "UPDATE t SET n = 5").await;
    run(&mut w, "INSERT INTO t VALUES (2, 2)").await;
    let mut sum = std::collections::BTreeMap::<String, i64>::new();
    let wanted = std::collections::BTreeMap::from([("5|1".to_owned(), 1), ("2|2".to_owned(), 1)]);
    while sum != wanted {
        let batch = tokio::time::timeout(Duration::from_secs(120), sub.stream.next()).await.unwrap().unwrap().unwrap();
        for line in lines(&[batch]) {
            let mut parts = line.splitn(3, '|');
            let (_, diff, row) = (parts.next(), parts.next().unwrap().parse::<i64>().unwrap(), parts.next().unwrap());
            *sum.entry(row.to_owned()).or_default() += diff;
            sum.retain(|_, n| *n != 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn volatile_views_are_refused_and_explained_ones_tell_their_plan() {
    let site = site();
    let mut s = site.session();
    run(&mut s, T).await;
    let error = attempt(&mut s, "CREATE MATERIALIZED VIEW r AS SELECT id, random() FROM t").await.unwrap_err();
    assert!(error.message.contains("random"), "{error}");
    run(&mut s, V).await;
    let plan = run(&mut s, "EXPLAIN ANALYZE MATERIALIZED VIEW v").await;
    assert!(plan.iter().any(|l| l.starts_with("fingerprint ")) && plan.iter().any(|l| l.contains(" mirror ")), "{plan:?}");
    let shown = run(&mut s, "SHOW MATERIALIZED VIEWS").await;
    assert!(shown[0].starts_with("public|v|1|live|"), "{shown:?}");
}
