//! Transactions: all or nothing, one snapshot, own writes, first committer wins.

use crate::common::{attempt, code, run, site};
use regauge_views::TransactionStatus;

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_sees_its_writes_and_others_only_after_commit() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    run(&mut a, "INSERT INTO t VALUES (1, 1)").await;
    run(&mut a, "BEGIN").await;
    run(&mut a, "INSERT INTO t VALUES (2, 2)").await;
    run(&mut a, "UPDATE t SET n = n + 10").await;
    run(&mut a, "DELETE FROM t WHERE id = 1").await;
    assert_eq!(run(&mut a, "SELECT * FROM t").await, ["2|12"]);
    assert_eq!(run(&mut a, "SELECT n FROM t WHERE id = 1").await, [""; 0]);
    assert_eq!(run(&mut b, "SELECT * FROM t").await, ["1|1"]);
    run(&mut a, "COMMIT").await;
    assert_eq!(run(&mut b, "SELECT * FROM t").await, ["2|12"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_leaves_nothing() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&mut s, "BEGIN; INSERT INTO t VALUES (1); CREATE TABLE u (id INT PRIMARY KEY); ROLLBACK").await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["0"]);
    assert_eq!(code(&mut s, "SELECT * FROM u").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_only_rolls_back() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&mut s, "BEGIN").await;
    run(&mut s, "INSERT INTO t VALUES (1)").await;
    assert_eq!(code(&mut s, "INSERT INTO t VALUES (1)").await, "23505");
    assert_eq!(s.status(), TransactionStatus::Failed);
    assert_eq!(code(&mut s, "SELECT 1").await, "25P02");
    assert_eq!(run(&mut s, "COMMIT").await, ["ROLLBACK"]);
    assert_eq!(s.status(), TransactionStatus::Idle);
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_one_text_are_one_transaction() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    assert_eq!(code(&mut s, "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); INSERT INTO t VALUES (1)").await, "23505");
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["0"]);
    assert_eq!(run(&mut s, "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); SELECT count(*) FROM t").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_does_not_move() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    run(&mut a, "INSERT INTO t VALUES (1, 1)").await;
    run(&mut a, "BEGIN").await;
    assert_eq!(run(&mut a, "SELECT n FROM t").await, ["1"]);
    run(&mut b, "UPDATE t SET n = 2").await;
    run(&mut b, "INSERT INTO t VALUES (2, 2)").await;
    assert_eq!(run(&mut a, "SELECT id, n FROM t").await, ["1|1"]);
    run(&mut a, "COMMIT").await;
    assert_eq!(run(&mut a, "SELECT n FROM t ORDER BY id").await, ["2", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_committer_wins_per_key() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    run(&mut a, "INSERT INTO t VALUES (1, 1), (2, 2)").await;
    for s in [&mut a, &mut b] {
        run(s, "BEGIN").await;
        run(s, "SELECT * FROM t").await;
    }
    run(&mut a, "UPDATE t SET n = 10 WHERE id = 1").await;
    run(&mut b, "UPDATE t SET n = 20 WHERE id = 1").await;
    run(&mut a, "COMMIT").await;
    assert_eq!(code(&mut b, "COMMIT").await, "40001");
    assert_eq!(run(&mut b, "SELECT n FROM t WHERE id = 1").await, ["10"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn write_skew_is_what_snapshot_isolation_allows() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, "CREATE TABLE duty (who TEXT PRIMARY KEY, on_call BOOLEAN)").await;
    run(&mut a, "INSERT INTO duty VALUES ('x', true), ('y', true)").await;
    run(&mut a, "BEGIN").await;
    run(&mut b, "BEGIN").await;
    run(&mut a, "UPDATE duty SET on_call = false WHERE who = 'x' AND (SELECT count(*) FROM duty WHERE on_call) > 1").await;
    run(&mut b, "UPDATE duty SET on_call = false WHERE who = 'y' AND (SELECT count(*) FROM duty WHERE on_call) > 1").await;
    run(&mut a, "COMMIT").await;
    run(&mut b, "COMMIT").await;
    assert_eq!(run(&mut a, "SELECT count(*) FROM duty WHERE on_call").await, ["0"]);
    assert_eq!(code(&mut a, "SET default_transaction_isolation = 'serializable'").await, "0A000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_carries_what_was_seen_to_another_session() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&mut a, "INSERT INTO t VALUES (1)").await;
    let token = run(&mut a, "SHOW regauge.token").await.remove(0);
    run(&mut b, &format!("SET regauge.token = '{token}'")).await;
    assert_eq!(run(&mut b, "SELECT id FROM t").await, ["1"]);
    let mut forged = token.into_bytes();
    forged[40] = if forged[40] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    assert_eq!(code(&mut b, &format!("SET regauge.token = '{forged}'")).await, "22023");
    let elsewhere = crate::common::site();
    let foreign = elsewhere.session().token();
    assert_eq!(code(&mut b, &format!("SET regauge.token = '{foreign}'")).await, "22023");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_at_its_time_and_at_its_clients_wish() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    let values: Vec<String> = (0..1000).map(|i| format!("({i})")).collect();
    run(&mut s, &format!("INSERT INTO t VALUES {}", values.join(","))).await;
    run(&mut s, "SET statement_timeout = '100ms'").await;
    let long = "SELECT count(*) FROM t a, t b, t c, t d";
    assert_eq!(code(&mut s, long).await, "57014");
    run(&mut s, "SET statement_timeout = 0").await;
    let cancel = s.cancel_handle();
    let waiting = tokio::spawn(async move { code(&mut s, long).await });
    // Before the statement runs it means nothing, and is said again.
    for tries in 0.. {
        if waiting.is_finished() {
            break;
        }
        assert!(tries < 2400, "it hears no cancel");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        cancel.cancel();
    }
    assert_eq!(waiting.await.unwrap(), "57014");
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_back_to_a_savepoint_takes_back_what_was_written_since_and_a_failure_with_it() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    assert_eq!(code(&mut s, "SAVEPOINT a").await, "25P01");
    for sql in ["BEGIN", "INSERT INTO t VALUES (1, 10)", "SAVEPOINT a", "INSERT INTO t VALUES (2, 20)", "UPDATE t SET n = 11"] {
        run(&mut s, sql).await;
    }
    run(&mut s, "CREATE TABLE u (id INT PRIMARY KEY)").await;
    assert_eq!(run(&mut s, "SELECT id, n FROM t ORDER BY id").await, ["1|11", "2|11"]);
    assert_eq!(code(&mut s, "SELECT * FROM nope").await, "42P01");
    assert_eq!(code(&mut s, "SELECT 1").await, "25P02");
    assert_eq!(code(&mut s, "RELEASE a").await, "25P02");
    assert_eq!(run(&mut s, "ROLLBACK TO SAVEPOINT a").await, ["ROLLBACK"]);
    assert_eq!(run(&mut s, "SELECT id, n FROM t ORDER BY id").await, ["1|10"]);
    assert_eq!(code(&mut s, "SELECT * FROM u").await, "42P01");
    run(&mut s, "ROLLBACK TO a").await;
    run(&mut s, "SAVEPOINT b").await;
    run(&mut s, "INSERT INTO t VALUES (3, 30)").await;
    run(&mut s, "RELEASE SAVEPOINT b").await;
    assert_eq!(code(&mut s, "ROLLBACK TO b").await, "3B001");
    run(&mut s, "ROLLBACK TO a").await;
    run(&mut s, "INSERT INTO t VALUES (4, 40)").await;
    run(&mut s, "COMMIT").await;
    let mut other = site.session();
    assert_eq!(run(&mut other, "SELECT id, n FROM t ORDER BY id").await, ["1|10", "4|40"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_materialized_view_is_read_in_the_transaction_that_creates_it() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 1), (2, 5)").await;
    run(&mut a, "BEGIN").await;
    run(&mut a, "CREATE MATERIALIZED VIEW total AS SELECT count(*) AS c, sum(n) AS s FROM t").await;
    assert_eq!(run(&mut a, "SELECT * FROM total").await, ["2|6"]);
    run(&mut a, "INSERT INTO t VALUES (3, 10)").await;
    run(&mut a, "CREATE VIEW doubled AS SELECT s * 2 AS d FROM total").await;
    run(&mut a, "CREATE MATERIALIZED VIEW above AS SELECT c FROM total WHERE s > 10").await;
    assert_eq!(run(&mut a, "SELECT d, s, above.c FROM doubled, total, above").await, ["32|16|3"]);
    assert_eq!(code(&mut b, "SELECT * FROM total").await, "42P01");
    run(&mut a, "COMMIT").await;
    assert_eq!(run(&mut a, "SELECT d, s, above.c FROM doubled, total, above").await, ["32|16|3"]);
    assert_eq!(run(&mut b, "SELECT * FROM total").await, ["3|16"]);
    run(&mut a, "BEGIN; CREATE MATERIALIZED VIEW gone AS SELECT n FROM t").await;
    assert_eq!(run(&mut a, "SELECT count(*) FROM gone").await, ["3"]);
    run(&mut a, "ROLLBACK").await;
    assert_eq!(code(&mut a, "SELECT * FROM gone").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_whose_last_rows_fail_leaves_nothing() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE w (id INT PRIMARY KEY)").await;
    for last in
        ["SELECT 1 / (id - id) FROM w", "COPY (SELECT 1 / (id - id) FROM w) TO STDOUT", "SELECT (SELECT id FROM w)::int / 0"]
    {
        let text = format!("INSERT INTO w VALUES (1); {last}");
        // The rows are read to their end, as a client reads them.
        let outcome = match s.execute(&text).await {
            Ok(responses) => {
                let mut failed = Ok(vec![]);
                for response in responses {
                    failed = crate::common::answer(response).await;
                }
                failed
            }
            Err(error) => Err(error),
        };
        assert_eq!(outcome.map_err(|e| e.sqlstate), Err("22012"), "{text}");
        assert_eq!(run(&mut s, "SELECT count(*) FROM w").await, ["0"], "{text}");
    }
    assert_eq!(run(&mut s, "INSERT INTO w VALUES (1), (2); SELECT sum(id) FROM w").await, ["3"]);
    assert_eq!(run(&mut s, "SELECT count(*) FROM w").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_waits_for_what_stands_before_it_in_its_text() {
    let site = site();
    let (mut s, mut other) = (site.session(), site.session());
    run(&mut s, "CREATE STREAM w (id INT); CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM w").await;
    for n in 1..=20 {
        run(&mut s, "INSERT INTO w VALUES (1); FLUSH").await;
        assert_eq!(run(&mut other, "SELECT n FROM n").await, [n.to_string()]);
    }
    // It has committed it, so nothing after it takes it back; of an explicit transaction it commits nothing.
    assert_eq!(
        attempt(&mut s, "INSERT INTO w VALUES (1); FLUSH; SELECT 1 / 0 FROM w").await.map_err(|e| e.sqlstate),
        Err("22012")
    );
    assert_eq!(run(&mut s, "SELECT count(*) FROM w").await, ["21"]);
    run(&mut s, "BEGIN; INSERT INTO w VALUES (1); FLUSH; ROLLBACK").await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM w").await, ["21"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_does_not_undo_what_a_statement_has_judged() {
    let site = site();
    let (mut s, mut other) = (site.session(), site.session());
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, mine BOOL); CREATE MATERIALIZED VIEW n AS SELECT id, count(*) AS n FROM t GROUP BY id").await;
    // Within an INSERT that reads no relation: the key was free by the snapshot that is kept.
    run(&mut s, "BEGIN; INSERT INTO t VALUES (1, pg_try_advisory_xact_lock(7))").await;
    run(&mut other, "INSERT INTO t VALUES (1, false)").await;
    assert!(["40001", "23505"].contains(&code(&mut s, "COMMIT").await));
    assert_eq!(run(&mut other, "SELECT id, mine FROM t").await, ["1|false"]);
    // By itself, having waited for who writes the same key.
    run(&mut other, "SELECT pg_advisory_lock(8)").await;
    let waits = tokio::spawn(async move {
        let text = "INSERT INTO t SELECT 2, true WHERE pg_advisory_lock(8) IS NOT NULL";
        let outcome = attempt(&mut s, text).await;
        (s, outcome)
    });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    run(&mut other, "INSERT INTO t VALUES (2, false)").await;
    run(&mut other, "SELECT pg_advisory_unlock(8)").await;
    let (mut s, outcome) = waits.await.unwrap();
    assert_eq!(outcome.map_err(|e| e.sqlstate), Err("23505"));
    run(&mut other, "FLUSH").await;
    assert_eq!(run(&mut other, "SELECT id, n FROM n ORDER BY id").await, ["1|1", "2|1"]);
    // A read-only transaction is one however it was said.
    run(&mut s, "BEGIN; SELECT set_config('transaction_read_only', 'on', true)").await;
    assert_eq!(code(&mut s, "INSERT INTO t VALUES (3, true)").await, "25006");
    run(&mut s, "ROLLBACK").await;
    // Rows that WITH names are not a table of that name.
    let locked = "WITH t AS (SELECT id FROM t WHERE id = 2) SELECT * FROM (SELECT * FROM t LIMIT 1 FOR UPDATE) x";
    assert_eq!(code(&mut s, locked).await, "0A000");
    assert_eq!(code(&mut s, "SELECT count(pg_try_advisory_lock(g)) FROM generate_series(1, 1000000000) g").await, "53200");
    run(&mut s, "SELECT pg_advisory_unlock_all()").await;
    assert_eq!(run(&mut other, "SELECT pg_try_advisory_lock(1)").await, ["true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_does_not_wait_for_a_view_that_is_dropped_meanwhile() {
    let site = site();
    let (mut s, mut other) = (site.session(), site.session());
    run(&mut s, "CREATE STREAM w (id INT); INSERT INTO w SELECT * FROM generate_series(1, 20000)").await;
    let drops = tokio::spawn(async move {
        for _ in 0..30 {
            run(&mut other, "CREATE MATERIALIZED VIEW z AS SELECT id, count(*) AS n FROM w GROUP BY id").await;
            run(&mut other, "DROP MATERIALIZED VIEW z").await;
        }
    });
    while !drops.is_finished() {
        run(&mut s, "INSERT INTO w VALUES (1); FLUSH").await;
    }
    drops.await.unwrap();
}

/// Its reader waited for the view until `regauge.causal_timeout`, here two minutes, and was told RG004 then.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_reads_a_view_which_is_gone_is_told_at_once() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut b, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    run(&mut b, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t").await;
    run(&mut b, "CREATE MATERIALIZED VIEW other AS SELECT id FROM t").await;
    run(&mut a, "BEGIN").await;
    assert_eq!(run(&mut a, "SELECT id FROM t").await, ["1"]);
    run(&mut b, "DROP MATERIALIZED VIEW v").await;
    run(&mut b, "INSERT INTO t VALUES (2)").await;
    // What shows the commit behind it is fed by whoever has stopped the view.
    assert_eq!(run(&mut b, "SELECT count(*) FROM other").await, ["2"]);
    let read = tokio::time::timeout(std::time::Duration::from_secs(60), attempt(&mut a, "SELECT n FROM v"));
    assert_eq!(read.await.expect("is told").unwrap_err().sqlstate, "42P01");
}
