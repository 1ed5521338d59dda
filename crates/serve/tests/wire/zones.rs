//! The session's time zone over the wire, and what is counted in UTC whatever it is. What statements answer is judged by PostgreSQL in
//! `crates/oracle/tests/oracle/sessions.rs`.

use crate::{
    common::{rows, site},
    raw::{Raw, field, query},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_postgres::NoTls;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_brings_its_zone_and_is_told_when_it_changes() {
    let site = site().await;
    let mut config = site.config();
    config.options("-c timezone=europe/berlin");
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(rows(&client, "SHOW timezone").await, ["Europe/Berlin"]);
    let noon = "SELECT '2024-07-01 12:00+00'::timestamptz";
    assert_eq!(rows(&client, noon).await, ["2024-07-01 14:00:00+02"]);
    client.batch_execute("SET timezone = 'Asia/Tokyo'").await.unwrap();
    assert_eq!(rows(&client, noon).await, ["2024-07-01 21:00:00+09"]);
    // In binary form a moment is the same everywhere.
    let at: SystemTime = client.query_one(noon, &[]).await.unwrap().get(0);
    assert_eq!(at, UNIX_EPOCH + Duration::from_secs(1_719_835_200));
    client.batch_execute("RESET timezone").await.unwrap();
    assert_eq!(rows(&client, noon).await, ["2024-07-01 14:00:00+02"]);
    let mut raw = Raw::admitted(&site).await;
    raw.send(&query("BEGIN; SET LOCAL timezone = 'asia/kolkata'; COMMIT; SET TIME ZONE -8")).await;
    let told: Vec<_> = raw.until_ready().await.into_iter().filter(|(letter, _)| *letter == b'S').map(|(_, body)| body).collect();
    let zone = |name: &str| format!("TimeZone\0{name}\0").into_bytes();
    assert_eq!(told, [zone("Asia/Kolkata"), zone("UTC"), zone("<-08>+08")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_counts_in_utc_whatever_the_zone() {
    let site = site().await;
    let client = site.client().await;
    client
        .batch_execute(
            "SET timezone = 'America/New_York'; \
             CREATE TABLE t (id int PRIMARY KEY, at timestamptz, day text GENERATED ALWAYS AS (at::date::text) STORED)",
        )
        .await
        .unwrap();
    let mut raw = Raw::admitted(&site).await;
    raw.send(&query("SET timezone = 'America/New_York'")).await;
    raw.until_ready().await;
    raw.send(&query("CREATE MATERIALIZED VIEW v AS SELECT id, at::date AS day, at > '2024-07-01 12:00' AS late FROM t")).await;
    let answers = raw.until_ready().await;
    let notice = answers.iter().find(|(letter, _)| *letter == b'N').expect("a notice");
    assert!(field(&notice.1, b'M').contains("UTC"), "{}", field(&notice.1, b'M'));
    client.batch_execute("INSERT INTO t (id, at) VALUES (1, '2024-07-01 22:00'), (2, '2024-07-01 12:30+00')").await.unwrap();
    assert_eq!(rows(&client, "SELECT day FROM t ORDER BY id").await, ["2024-07-02", "2024-07-01"]);
    assert_eq!(rows(&client, "SELECT day FROM v ORDER BY id").await, ["2024-07-02", "2024-07-01"]);
    assert_eq!(rows(&client, "SELECT late FROM v ORDER BY id").await, ["t", "t"]);
    assert_eq!(rows(&client, "SELECT at::date FROM t ORDER BY id").await, ["2024-07-01", "2024-07-01"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_within_and_outside_are_warned_of_with_their_codes() {
    let site = site().await;
    let mut raw = Raw::admitted(&site).await;
    for (sql, code, message) in [
        ("COMMIT", "25P01", "there is no transaction in progress"),
        ("ROLLBACK", "25P01", "there is no transaction in progress"),
        ("BEGIN; BEGIN; COMMIT", "25001", "there is already a transaction in progress"),
        ("SET LOCAL work_mem = '8MB'", "25P01", "SET LOCAL can only be used in transaction blocks"),
    ] {
        raw.send(&query(sql)).await;
        let answers = raw.until_ready().await;
        let notice = &answers.iter().find(|(letter, _)| *letter == b'N').unwrap_or_else(|| panic!("{sql}")).1;
        assert_eq!((field(notice, b'S').as_str(), field(notice, b'C').as_str()), ("WARNING", code), "{sql}");
        assert_eq!(field(notice, b'M'), message, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_lock_a_row_one_commits() {
    let site = site().await;
    let (one, two) = (site.client().await, site.client().await);
    one.batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0), (3, 0)").await.unwrap();
    for client in [&one, &two] {
        client.batch_execute("BEGIN").await.unwrap();
        assert_eq!(rows(client, "SELECT n FROM t WHERE id = 1 FOR UPDATE").await, ["0"]);
    }
    // Neither changes the row that its decision rests on.
    one.batch_execute("UPDATE t SET n = 1 WHERE id = 2; COMMIT").await.unwrap();
    two.batch_execute("UPDATE t SET n = 1 WHERE id = 3").await.unwrap();
    assert_eq!(crate::common::code(&two, "COMMIT").await, "40001");
    assert_eq!(rows(&one, "SELECT sum(n) FROM t").await, ["1"]);
    // A lock against a write of somebody else.
    two.batch_execute("BEGIN").await.unwrap();
    assert_eq!(rows(&two, "SELECT n FROM t ORDER BY id LIMIT 1 FOR SHARE SKIP LOCKED").await, ["0"]);
    one.batch_execute("UPDATE t SET n = 7 WHERE id = 1").await.unwrap();
    two.batch_execute("INSERT INTO t VALUES (4, 4)").await.unwrap();
    assert_eq!(crate::common::code(&two, "COMMIT").await, "40001");
    // A table in SHARE MODE.
    two.batch_execute("BEGIN; LOCK TABLE t IN SHARE MODE; INSERT INTO t VALUES (5, 5)").await.unwrap();
    one.batch_execute("INSERT INTO t VALUES (6, 6)").await.unwrap();
    assert_eq!(crate::common::code(&two, "COMMIT").await, "40001");
    assert_eq!(rows(&one, "SELECT id FROM t ORDER BY id").await, ["1", "2", "3", "6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_explained_and_not_done() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)").await.unwrap();
    for (sql, first) in [
        ("EXPLAIN UPDATE t SET n = n + 1 WHERE id = 1", "Update on "),
        ("EXPLAIN DELETE FROM t AS x WHERE x.n > 0", "Delete on "),
        ("EXPLAIN INSERT INTO t SELECT id + 1, n FROM t", "Insert on "),
        ("EXPLAIN INSERT INTO t VALUES (2, 2)", "Insert on "),
    ] {
        let lines = rows(&client, sql).await;
        assert!(lines[0].starts_with(first) && lines[0].ends_with('t') && lines.len() > 1, "{sql}: {lines:?}");
    }
    assert_eq!(rows(&client, "SELECT n FROM t").await, ["1"]);
}
