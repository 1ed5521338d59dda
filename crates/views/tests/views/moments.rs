//! now() and its kin are the moment of the statement; and what a library cannot compute ends a statement, not its session.

use crate::common::{attempt, code, run, site};

#[tokio::test(flavor = "multi_thread")]
async fn now_is_one_moment_of_a_statement_and_moves_on() {
    let site = site();
    let mut s = site.session();
    assert_eq!(run(&mut s, "SELECT now() = now(), now() IS NULL").await, ["true|false"]);
    let first = run(&mut s, "SELECT now()").await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_ne!(run(&mut s, "SELECT now()").await, first, "a plan that was kept kept its moment");
    run(&mut s, "SELECT current_date, current_timestamp").await;
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMPTZ)").await;
    run(&mut s, "INSERT INTO t VALUES (1, now())").await;
    assert_eq!(run(&mut s, "SELECT id FROM t WHERE at <= now() AND at > now() - INTERVAL '1 hour'").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_library_panics_about_is_an_error_and_the_session_lives_on() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);").await;
    // each panicked somewhere below when it was found; that it may be computed one day is fine
    let odd = [
        "SELECT TIMESTAMPTZ '2024-01-01 00:00:00+00' AT TIME ZONE 'Europe/Berlin'",
        "SELECT overlay('Txxxxas' PLACING 'hom' FROM 2 FOR 4)",
        "SELECT date_bin('15 minutes', TIMESTAMP '2024-01-01 00:20', TIMESTAMP '2024-01-01')",
    ];
    for sql in odd {
        if let Err(error) = attempt(&mut s, sql).await {
            assert_eq!(error.sqlstate.len(), 5, "{error}");
        }
        assert_eq!(run(&mut s, "SELECT id FROM t").await, ["1"], "after {sql}");
        run(&mut s, "BEGIN; INSERT INTO t VALUES (2);").await;
        if attempt(&mut s, sql).await.is_err() {
            assert_eq!(code(&mut s, "SELECT 1").await, "25P02", "a failed statement fails its transaction: {sql}");
        }
        run(&mut s, "ROLLBACK").await;
        assert_eq!(run(&mut s, "SELECT id FROM t").await, ["1"], "after {sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn now_is_when_the_transaction_began() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, up TIMESTAMPTZ DEFAULT now(), n INT DEFAULT 3)").await;
    for write in [
        "INSERT INTO t (id) VALUES (1) RETURNING up = now()",
        "INSERT INTO t VALUES (2, now()) RETURNING up = current_timestamp",
        "INSERT INTO t SELECT 3, now() RETURNING up = transaction_timestamp()",
        "UPDATE t SET up = now() WHERE id = 1 RETURNING up = now()",
        "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET up = now() RETURNING up = now()",
        "WITH w AS (INSERT INTO t VALUES (4, now()) RETURNING up) SELECT up = now() FROM w",
    ] {
        assert_eq!(run(&mut s, write).await, ["true"], "{write}");
    }
    let before = run(&mut s, "SELECT now()").await;
    run(&mut s, "BEGIN").await;
    let first = run(&mut s, "SELECT now()").await;
    assert_eq!(run(&mut s, &format!("SELECT now() > '{}'", before[0])).await, ["true"], "{first:?} {before:?}");
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        assert_eq!(run(&mut s, "SELECT now()").await, first);
        let parts = "SELECT statement_timestamp() > now(), clock_timestamp() > now(), 'now'::timestamptz = now(), current_date = now()::date";
        assert_eq!(run(&mut s, parts).await, ["true|true|true|true"]);
    }
    let prepared = s.prepare("INSERT INTO t (id) VALUES ($1) RETURNING up = now()", &[]).await.unwrap();
    let id: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Int32Array::from(vec![5]));
    s.run(&prepared, &[id]).await.unwrap();
    run(&mut s, "COMMIT").await;
    assert_eq!(run(&mut s, &format!("SELECT up = '{}' FROM t WHERE id = 5", first[0])).await, ["true"]);
    assert_eq!(run(&mut s, &format!("SELECT now() > '{}'", first[0])).await, ["true"]);
    // One text is one transaction.
    let all = run(
        &mut s,
        "INSERT INTO t VALUES (6, now()); INSERT INTO t (id) VALUES (7); SELECT count(DISTINCT up) FROM t WHERE id IN (6, 7)",
    )
    .await;
    assert_eq!(all.last().map(String::as_str), Some("1"));
    assert_eq!(code(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT id, statement_timestamp() AS at FROM t").await, "RG003");
}
