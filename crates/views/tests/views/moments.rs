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
