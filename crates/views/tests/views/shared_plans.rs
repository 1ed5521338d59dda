//! Sessions share plans of texts; each answers as if it had planned its own. (That plans for any values are found again is tested by `open_plans.rs`.)

use crate::common::{attempt, code, run, site};
use regauge_views::SessionOptions;

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_differ_in_settings_answer_the_same_text_by_their_own() {
    let site = site();
    let mut a = site.session();
    run(&mut a, "CREATE SCHEMA one; CREATE SCHEMA two").await;
    run(
        &mut a,
        "CREATE TABLE one.t (id INT PRIMARY KEY, at TIMESTAMPTZ); CREATE TABLE two.t (id INT PRIMARY KEY, at TIMESTAMPTZ)",
    )
    .await;
    run(&mut a, "INSERT INTO one.t VALUES (1, '2026-07-01 12:00+00'); INSERT INTO two.t VALUES (2, '2026-07-01 12:00+00')").await;
    let text = "SELECT id, at::text, '2026-01-01 00:00'::timestamptz = at, date_trunc('day', at)::text FROM t";
    let wanted = [
        ("SET search_path = one", "1|2026-07-01 12:00:00+00|false|2026-07-01 00:00:00+00"),
        ("SET search_path = two", "2|2026-07-01 12:00:00+00|false|2026-07-01 00:00:00+00"),
        ("SET search_path = one; SET timezone = 'Asia/Tokyo'", "1|2026-07-01 21:00:00+09|false|2026-07-01 00:00:00+09"),
        ("SET search_path = two; SET timezone = 'Asia/Tokyo'", "2|2026-07-01 21:00:00+09|false|2026-07-01 00:00:00+09"),
    ];
    for round in 0..3 {
        for (settings, row) in wanted {
            let mut s = site.session();
            run(&mut s, settings).await;
            assert_eq!(run(&mut s, text).await, [row], "{settings}, round {round}");
            // and one that comes to these settings later
            run(&mut a, settings).await;
            assert_eq!(run(&mut a, text).await, [row], "{settings}, round {round}, the session that had others");
            run(&mut a, "RESET ALL").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_somebody_else_may_run_is_refused_to_who_may_not() {
    let site = site();
    let mut root = site.session();
    run(&mut root, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)").await;
    run(&mut root, "INSERT INTO t VALUES (1, 'a'); CREATE ROLE r LOGIN").await;
    let role = || site.instance().session(SessionOptions { user: "r".to_owned(), ..SessionOptions::default() }).unwrap();
    let texts = ["SELECT v FROM t WHERE id = 1", "UPDATE t SET v = 'b' WHERE id = 1", "DELETE FROM t WHERE id = 7"];
    for round in 0..2 {
        for text in texts {
            run(&mut root, text).await;
            assert_eq!(code(&mut role(), text).await, "42501", "{text}, round {round}");
        }
        run(&mut root, "GRANT SELECT, UPDATE, DELETE ON t TO r").await;
        for text in texts {
            assert!(attempt(&mut role(), text).await.is_ok(), "{text}, round {round}");
        }
        run(&mut root, "REVOKE ALL ON t FROM r").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_catalog_and_an_open_transaction_are_those_of_the_session() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, "CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 10)").await;
    let text = "SELECT * FROM t ORDER BY id";
    assert_eq!((run(&mut a, text).await, run(&mut b, text).await), (vec!["1|10".to_owned()], vec!["1|10".to_owned()]));
    run(&mut a, "BEGIN; INSERT INTO t VALUES (2, 20)").await;
    assert_eq!(run(&mut a, text).await, ["1|10", "2|20"]);
    assert_eq!(run(&mut b, text).await, ["1|10"]);
    assert_eq!(run(&mut site.session(), text).await, ["1|10"]);
    run(&mut a, "ALTER TABLE t ADD COLUMN w INT DEFAULT 5").await;
    assert_eq!(run(&mut a, text).await, ["1|10|5", "2|20|5"]);
    assert_eq!(run(&mut b, text).await, ["1|10"]);
    run(&mut a, "ROLLBACK").await;
    assert_eq!(run(&mut site.session(), text).await, ["1|10"]);
    run(&mut a, "ALTER TABLE t ADD COLUMN w INT DEFAULT 5").await;
    assert_eq!(run(&mut b, text).await, ["1|10|5"]);
    run(&mut a, "DROP TABLE t; CREATE TABLE t (id TEXT PRIMARY KEY)").await;
    assert_eq!(run(&mut b, text).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_run_one_plan_at_once() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, k INT); CREATE TABLE u (k INT PRIMARY KEY, name TEXT)").await;
    run(&mut s, "INSERT INTO u SELECT k, 'n' || k FROM generate_series(0, 9) AS g(k)").await;
    run(&mut s, "INSERT INTO t SELECT id, id % 10 FROM generate_series(1, 2000) AS g(id)").await;
    let text = "SELECT u.name, count(*), sum(t.id) FROM t JOIN u ON t.k = u.k GROUP BY u.name ORDER BY u.name";
    let expected = run(&mut s, text).await;
    assert_eq!((expected.len(), expected[0].as_str()), (10, "n0|200|201000"));
    let tasks = (0..8).map(|_| {
        let (mut s, expected) = (site.session(), expected.clone());
        tokio::spawn(async move {
            for _ in 0..20 {
                assert_eq!(run(&mut s, text).await, expected);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// What a scalar subquery gave stands in its plan, where every run of it would find it: of another epoch, or not committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_scalar_subquery_is_of_the_statement_that_asks_it() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v INT); CREATE TABLE u (id INT PRIMARY KEY, x INT)").await;
    run(&mut s, "INSERT INTO t SELECT g, 0 FROM generate_series(0, 20000) AS g(g); INSERT INTO u VALUES (1, 0)").await;
    let text = "SELECT count(*), min(id + (SELECT max(x) FROM u)), max(id + (SELECT max(x) FROM u)) FROM t WHERE id >= (SELECT min(x) FROM u)";
    // somebody reads what only they have written, over and over
    let mut open = site.session();
    run(&mut open, "BEGIN; UPDATE u SET x = 7000 WHERE id = 1").await;
    let mine = tokio::spawn(async move {
        for _ in 0..40 {
            assert_eq!(run(&mut open, text).await, ["13001|14000|27000"]);
        }
    });
    let readers = (0..4).map(|_| {
        let mut s = site.session();
        tokio::spawn(async move {
            for _ in 0..40 {
                assert_eq!(run(&mut s, text).await, ["20001|0|20000"]);
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let changes = (0..3).map(|_| {
        let mut s = site.session();
        tokio::spawn(async move {
            for _ in 0..15 {
                run(&mut s, "UPDATE t SET v = v + 1 WHERE id = (SELECT max(x) FROM u)").await;
            }
        })
    });
    for task in readers.into_iter().chain(changes.collect::<Vec<_>>()).chain([mine]) {
        task.await.unwrap();
    }
    assert_eq!(run(&mut s, "SELECT id, v FROM t WHERE v > 0").await, ["0|45"]);
}
