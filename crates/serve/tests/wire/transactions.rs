//! Transactions over the wire, and who was first.

use crate::{
    common::{code, rows, site, sqlstate},
    raw::{Raw, query},
};

#[tokio::test(flavor = "multi_thread")]
async fn ready_says_where_the_transaction_is() {
    let site = site().await;
    let mut raw = Raw::admitted(&site).await;
    for (sql, status) in [("BEGIN", b'T'), ("SELECT 1", b'T'), ("SELECT nothing", b'E'), ("SELECT 1", b'E'), ("ROLLBACK", b'I')] {
        raw.send(&query(sql)).await;
        assert_eq!(raw.until_ready().await.pop().unwrap().1, [status], "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_fail_on_their_way_spoil_the_transaction() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 0)").await.unwrap();
    client.batch_execute("BEGIN; INSERT INTO t VALUES (2, 1)").await.unwrap();
    assert_eq!(code(&client, "SELECT 1 / n FROM t").await, "22012");
    assert_eq!(code(&client, "SELECT 1").await, "25P02");
    assert_eq!(sqlstate(&client.prepare("SELECT 1").await.unwrap_err()), "25P02");
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(rows(&client, "SELECT id FROM t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_dropped_leaves_nothing_and_one_that_lost_says_so() {
    let site = site().await;
    let (mut client, other) = (site.client().await, site.client().await);
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 0)").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.execute("UPDATE t SET n = 5 WHERE id = $1", &[&1]).await.unwrap();
    assert_eq!(transaction.query_one("SELECT n FROM t", &[]).await.unwrap().get::<_, i32>(0), 5);
    drop(transaction);
    assert_eq!(rows(&client, "SELECT n FROM t").await, ["0"]);
    let transaction = client.transaction().await.unwrap();
    transaction.query("SELECT n FROM t", &[]).await.unwrap();
    other.batch_execute("UPDATE t SET n = n + 1").await.unwrap();
    transaction.execute("UPDATE t SET n = n + 10", &[]).await.unwrap();
    assert_eq!(sqlstate(&transaction.commit().await.unwrap_err()), "40001");
    assert_eq!(rows(&other, "SELECT n FROM t").await, ["1"]);
}

/// The size in CI; `REGAUGE_UPDATES` asks for another.
const UPDATES: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn two_connections_that_count_together_lose_nothing() {
    let n = std::env::var("REGAUGE_UPDATES").ok().map_or(UPDATES, |n| n.parse().unwrap());
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, n BIGINT); INSERT INTO t VALUES (1, 0)").await.unwrap();
    let mut counting = vec![];
    for simple in [true, false] {
        let client = site.client().await;
        counting.push(tokio::spawn(async move {
            let update = client.prepare("UPDATE t SET n = n + $1").await.unwrap();
            for _ in 0..n {
                if simple {
                    client.batch_execute("UPDATE t SET n = n + 1").await.unwrap();
                } else {
                    assert_eq!(client.execute(&update, &[&1i64]).await.unwrap(), 1);
                }
            }
        }));
    }
    for counted in counting {
        counted.await.unwrap();
    }
    assert_eq!(rows(&client, "SELECT n FROM t").await, [(2 * n).to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_connection_wrote_another_sees_when_it_carries_the_token() {
    let site = site().await;
    let (writer, reader) = (site.client().await, site.client().await);
    writer.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await.unwrap();
    writer.batch_execute("CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t").await.unwrap();
    for i in 1..=50 {
        writer.execute("INSERT INTO t VALUES ($1, $1)", &[&i]).await.unwrap();
        let token = rows(&writer, "SHOW regauge.token").await.remove(0);
        reader.batch_execute(&format!("SET regauge.token = '{token}'")).await.unwrap();
        assert_eq!(reader.query_one("SELECT n FROM m", &[]).await.unwrap().get::<_, i64>(0), i64::from(i));
    }
    assert_eq!(code(&reader, "SET regauge.token = 'made up'").await, "22023");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_columns_share_a_name_are_locked() {
    let site = site().await;
    let client = site.client().await;
    client
        .batch_execute(
            "CREATE TABLE a (id INT PRIMARY KEY, name TEXT); CREATE TABLE b (id INT PRIMARY KEY, a_id INT, name TEXT); \
             INSERT INTO a VALUES (1, 'x'), (2, 'y'); INSERT INTO b VALUES (1, 1, 'p'), (2, 2, 'q'), (3, 1, 'r'); FLUSH",
        )
        .await
        .unwrap();
    let joined = "SELECT b.id, a.id, b.name, a.name FROM b JOIN a ON a.id = b.a_id ORDER BY b.id DESC LIMIT 2";
    for lock in ["FOR UPDATE OF b", "FOR UPDATE", "FOR SHARE SKIP LOCKED"] {
        client.batch_execute("BEGIN").await.unwrap();
        assert_eq!(rows(&client, &format!("{joined} {lock}")).await, ["3|1|r|x", "2|2|q|y"], "{lock}");
        client.batch_execute("COMMIT").await.unwrap();
    }
    // As Django sends it: prepared, and in a cursor.
    client.batch_execute("BEGIN").await.unwrap();
    let statement = client.prepare(&format!("{joined} FOR UPDATE OF b")).await.unwrap();
    let names: Vec<&str> = statement.columns().iter().map(|c| c.name()).collect();
    assert_eq!(names, ["id", "id", "name", "name"]);
    assert_eq!(client.query(&statement, &[]).await.unwrap().len(), 2);
    client.batch_execute(&format!("DECLARE c CURSOR FOR {joined} FOR UPDATE OF b")).await.unwrap();
    assert_eq!(rows(&client, "FETCH ALL c").await, ["3|1|r|x", "2|2|q|y"]);
    client.batch_execute("COMMIT").await.unwrap();
    // And they are locked: who changes one of them meanwhile makes the other's commit fail.
    let other = site.client().await;
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(rows(&client, &format!("{joined} FOR UPDATE OF b")).await.len(), 2);
    other.batch_execute("UPDATE b SET name = 'z' WHERE id = 3").await.unwrap();
    assert_eq!(code(&client, "COMMIT").await, "40001");
}
