//! Fields of errors that programs read: schema, table, column, constraint, position. PostgreSQL 15 gives each of them as it stands here.

use crate::common::site;
use tokio_postgres::{Client, error::ErrorPosition};

/// `SQLSTATE table.column constraint`, and the detail.
async fn fields(client: &Client, sql: &str) -> String {
    let error = client.simple_query(sql).await.expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    let or = |value: Option<&str>| value.unwrap_or("-").to_owned();
    let of = [error.schema(), error.table(), error.column(), error.constraint()].map(or).join(" ");
    format!("{} {of}: {}", error.code().code(), or(error.detail()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_table_column_and_constraint() {
    let site = site().await;
    let client = site.client().await;
    client
        .batch_execute(
            "CREATE TABLE t (id INT PRIMARY KEY, n INT CHECK (n > 0), s TEXT NOT NULL, CONSTRAINT big CHECK (n + id < 1000), CHECK (id <> n)); \
             INSERT INTO t VALUES (2, 1, 'a'); CREATE SCHEMA o; CREATE TABLE o.p (a INT, b TEXT, PRIMARY KEY (a, b)); INSERT INTO o.p VALUES (1, 'x')",
        )
        .await
        .unwrap();
    for (sql, expected) in [
        ("INSERT INTO t VALUES (2, 1, 'b')", "23505 public t - t_pkey: Key (id)=(2) already exists."),
        ("INSERT INTO o.p VALUES (1, 'x')", "23505 o p - p_pkey: Key (a, b)=(1, x) already exists."),
        ("INSERT INTO t VALUES (3, -1, 'b')", "23514 public t - t_n_check: Failing row contains (3, -1, b)."),
        ("INSERT INTO t VALUES (3, 3, 'b')", "23514 public t - t_check: Failing row contains (3, 3, b)."),
        ("UPDATE t SET n = 5000", "23514 public t - big: Failing row contains (2, 5000, a)."),
        (
            "INSERT INTO t VALUES (4, 1, 'b'), (3, 2, NULL), (NULL, 1, 'a')",
            "23502 public t s -: Failing row contains (3, 2, null).",
        ),
        ("INSERT INTO t VALUES (NULL, 2, NULL)", "23502 public t id -: Failing row contains (null, 2, null)."),
        ("UPDATE t SET s = NULL", "23502 public t s -: Failing row contains (2, 1, null)."),
        ("INSERT INTO o.p VALUES (2, NULL)", "23502 o p b -: Failing row contains (2, null)."),
        ("ALTER TABLE t ADD COLUMN k INT NOT NULL", "23502 public t k -: -"),
        ("ALTER TABLE t ADD CONSTRAINT c2 CHECK (n > 5)", "23514 public t - c2: -"),
        ("SELECT 1 / 0", "22012 - - - -: -"),
    ] {
        assert_eq!(fields(&client, sql).await, expected, "{sql}");
    }
    let long = "INSERT INTO t VALUES (3, -1, repeat('\u{e9}', 50))";
    let cut = format!("23514 public t - t_n_check: Failing row contains (3, -1, {}...).", "\u{e9}".repeat(32));
    assert_eq!(fields(&client, long).await, cut);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_a_row_is_not_shown_it() {
    let site = site().await;
    let root = site.client().await;
    root.batch_execute("CREATE ROLE a LOGIN PASSWORD 'x'; CREATE TABLE t (id INT PRIMARY KEY, s TEXT NOT NULL, secret TEXT DEFAULT 'k'); GRANT INSERT ON t TO a")
        .await
        .unwrap();
    let (a, connection) = site.config().user("a").password("x").connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(fields(&a, "INSERT INTO t VALUES (1, NULL)").await, "23502 public t s -: -");
    assert_eq!(fields(&root, "INSERT INTO t VALUES (1, NULL)").await, "23502 public t s -: Failing row contains (1, null, k).");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_else_took_first_names_its_constraint() {
    let site = site().await;
    let (one, two) = (site.client().await, site.client().await);
    one.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await.unwrap();
    two.batch_execute("FLUSH").await.unwrap();
    one.batch_execute("BEGIN; SELECT * FROM t; INSERT INTO t VALUES (1, 1)").await.unwrap();
    two.batch_execute("INSERT INTO t VALUES (1, 2)").await.unwrap();
    assert_eq!(fields(&one, "COMMIT").await, "23505 public t - t_pkey: Key (id)=(1) already exists.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_there_has_its_place() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await.unwrap();
    for (sql, expected) in [
        ("SELECT x FROM t", Some(8)),
        ("SELECT nofn(1)", Some(8)),
        ("SELECT '\u{20ac}', * FROM nowhere", Some(20)),
        ("SELECT * FROM t WHERE nope.x = 1", Some(23)),
        ("SELECT * FROM t WHERE t.x = 1", Some(23)),
        ("INSERT INTO t (nocol) VALUES (1)", Some(16)),
        ("UPDATE t SET nocol = 1", Some(14)),
        ("SELECT id FROM t t1, t t2", Some(8)),
        ("SELECT 1; SELECT x FROM t", Some(18)),
        ("ALTER TABLE t DROP COLUMN nope", None),
        ("DROP TABLE nowhere", None),
    ] {
        let error = client.simple_query(sql).await.expect_err(sql);
        let at = |position: &ErrorPosition| match position {
            ErrorPosition::Original(at) => Some(*at),
            ErrorPosition::Internal { .. } => None,
        };
        assert_eq!(error.as_db_error().and_then(|e| e.position()).and_then(at), expected, "{sql}");
        if !sql.contains(';') {
            let error = client.query(sql, &[]).await.expect_err(sql);
            assert_eq!(error.as_db_error().and_then(|e| e.position()).and_then(at), expected, "prepared: {sql}");
        }
    }
}
