//! Statements that cannot be: each with its SQLSTATE, a message and, where something can be done, a hint. The server lives on.

use crate::{
    common::{code, rows, site, sqlstate},
    raw::{Raw, query},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_statement_has_its_code() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, n INT, s TEXT); CREATE STREAM st (n INT)").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (1, 2147483647, 'x')").await.unwrap();
    let nested = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let wide = format!("SELECT {}", vec!["1"; 20_000].join(","));
    for (sql, expected) in [
        ("SELEC 1", "42601"),
        ("SELECT (1", "42601"),
        ("SELECT nope FROM t", "42703"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT nofunction(1)", "42883"),
        ("INSERT INTO t VALUES ('x', 1, 'y')", "22P02"),
        ("SELECT s + 1 FROM t WHERE true AND s = 'x' AND n = 'text'", "22P02"),
        ("SELECT n + 1 FROM t", "22003"),
        ("SELECT 99999999999::int", "22003"),
        ("SELECT 1 / 0", "22012"),
        ("INSERT INTO t VALUES (1, 1, 'again')", "23505"),
        ("INSERT INTO t VALUES (NULL, 1, 'none')", "23502"),
        ("UPDATE st SET n = 1", "42809"),
        ("SELECT random() AS r", "00000"),
        ("CREATE MATERIALIZED VIEW v AS SELECT random() AS r FROM t", "RG003"),
        ("DROP TABLE nowhere", "42P01"),
        ("CREATE TABLE t (id INT PRIMARY KEY)", "42P07"),
        (nested.as_str(), "54001"),
        // told before it is planned, which nobody could cancel
        (wide.as_str(), "54011"),
        ("SELECT length(repeat('x', 1000000000))", "54000"),
        ("SELECT 1", "00000"),
    ] {
        let shown: String = sql.chars().take(60).collect();
        let told = client.simple_query(sql).await.err();
        let told = told.as_ref().and_then(|e| e.as_db_error());
        assert_eq!(told.map_or("00000", |e| e.code().code()), expected, "{shown}");
        if let Some(told) = told {
            assert!(!told.message().is_empty() && told.hint().is_some_and(|hint| !hint.is_empty()), "{shown}: {told:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_double_at_each_step_are_refused_before_they_fill_the_memory() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY); CREATE VIEW v0 AS SELECT id FROM t").await.unwrap();
    let step = |i: usize| format!("c{i} AS (SELECT 1 AS x FROM c{0} a, c{0} b)", i - 1);
    let steps: Vec<String> = (1..40).map(step).collect();
    let doubling = format!("WITH c0 AS (SELECT 1 AS x FROM t), {} SELECT count(*) FROM c39", steps.join(", "));
    assert_eq!(code(&client, &doubling).await, "54001");
    assert_eq!(code(&client, &format!("CREATE MATERIALIZED VIEW m AS {doubling}")).await, "54001");
    assert_eq!(code(&client, &format!("CREATE VIEW m AS {doubling}")).await, "54001");
    let mut refused_at = None;
    for i in 1..30 {
        let create = format!("CREATE VIEW v{i} AS SELECT a.id FROM v{0} a JOIN v{0} b ON a.id = b.id", i - 1);
        match code(&client, &create).await.as_str() {
            "00000" => {}
            other => {
                assert_eq!(other, "54001");
                refused_at = Some(i);
                break;
            }
        }
    }
    assert_eq!(refused_at, Some(11), "2^11 relations are more than 2,000");
    assert_eq!(code(&client, "SELECT 1").await, "00000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_is_refused_in_text_and_kept_in_bytea() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, s TEXT, y BYTEA)").await.unwrap();
    let nul = client.execute("INSERT INTO t VALUES (1, $1, NULL)", &[&"a\0b"]).await.unwrap_err();
    assert_eq!(sqlstate(&nul), "22021");
    let mut raw = Raw::admitted(&site).await;
    raw.send(&query("SELECT 'a\0b'")).await;
    assert_eq!(crate::raw::field(&raw.until_ready().await[0].1, b'C'), "08P01");
    client.execute("INSERT INTO t VALUES (1, 'fine', $1)", &[&&b"a\0b"[..]]).await.unwrap();
    assert_eq!(rows(&client, "SELECT y FROM t").await, ["\\x610062"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_divides_by_zero_fails_until_the_zero_is_gone() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 1)").await.unwrap();
    client.batch_execute("CREATE MATERIALIZED VIEW v AS SELECT id, 10 / n AS q FROM t").await.unwrap();
    assert_eq!(rows(&client, "SELECT q FROM v").await, ["10"]);
    client.batch_execute("INSERT INTO t VALUES (2, 0)").await.unwrap();
    let error = client.simple_query("SELECT q FROM v").await.unwrap_err();
    assert!(["22012", "RG002"].contains(&sqlstate(&error).as_str()), "{error:?}");
    client.batch_execute("UPDATE t SET n = 5 WHERE id = 2").await.unwrap();
    assert_eq!(rows(&client, "SELECT q FROM v ORDER BY id").await, ["10", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_what_was_dropped_is_refused() {
    let site = site().await;
    let (client, other) = (site.client().await, site.client().await);
    client.batch_execute("CREATE STREAM s (n INT); INSERT INTO s VALUES (1)").await.unwrap();
    let insert = client.prepare("INSERT INTO s VALUES ($1)").await.unwrap();
    client.execute(&insert, &[&2]).await.unwrap();
    other.batch_execute("DROP STREAM s").await.unwrap();
    assert_eq!(sqlstate(&client.execute(&insert, &[&3]).await.unwrap_err()), "42P01");
    assert_eq!(code(&client, "INSERT INTO s VALUES (4)").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_reads_writes_nothing() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await.unwrap();
    client.batch_execute("BEGIN READ ONLY").await.unwrap();
    assert_eq!(code(&client, "SELECT count(*) FROM t").await, "00000");
    assert_eq!(code(&client, "INSERT INTO t VALUES (1, 1)").await, "25006");
    client.batch_execute("ROLLBACK; BEGIN; SET TRANSACTION READ ONLY").await.unwrap();
    assert_eq!(code(&client, "CREATE TABLE u (id INT PRIMARY KEY)").await, "25006");
    client.batch_execute("ROLLBACK; SET default_transaction_read_only = on").await.unwrap();
    assert_eq!(code(&client, "DELETE FROM t").await, "25006");
    client.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    assert_eq!(code(&client, "INSERT INTO t VALUES (1, 1)").await, "00000");
    assert_eq!(rows(&client, "SELECT id FROM t").await, ["1"]);
}
