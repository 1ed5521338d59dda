//! What drivers do with arrays, COPY TO, cursors and statements prepared in SQL.

use crate::common::{code, rows, site};
use futures::TryStreamExt;
use tokio_postgres::types::Type;

#[tokio::test(flavor = "multi_thread")]
async fn an_array_is_a_parameter_like_any_other() {
    let site = site().await;
    let client = site.client().await;
    client
        .batch_execute("CREATE TABLE t (id INT PRIMARY KEY, s TEXT); INSERT INTO t VALUES (1,'a'),(2,'b,\"c'),(3,NULL)")
        .await
        .unwrap();
    let among = client.prepare("SELECT id FROM t WHERE id = ANY($1) ORDER BY id").await.unwrap();
    assert_eq!(among.params(), [Type::INT4_ARRAY]);
    let ids = |rows: Vec<tokio_postgres::Row>| rows.iter().map(|r| r.get::<_, i32>(0)).collect::<Vec<_>>();
    assert_eq!(ids(client.query(&among, &[&vec![1i32, 3, 9]]).await.unwrap()), [1, 3]);
    assert_eq!(ids(client.query(&among, &[&Vec::<i32>::new()]).await.unwrap()), [0i32; 0]);
    assert_eq!(ids(client.query(&among, &[&None::<Vec<i32>>]).await.unwrap()), [0i32; 0]);
    let texts = client.query("SELECT id FROM t WHERE s = ANY($1)", &[&vec!["b,\"c", "x"]]).await.unwrap();
    assert_eq!(ids(texts), [2]);
    let none = client.query("SELECT id FROM t WHERE id <> ALL($1::int[]) ORDER BY id", &[&vec![1i32, 2]]).await.unwrap();
    assert_eq!(ids(none), [3]);
    let (texts, numbers) = (vec![Some("a b"), None], vec![7i64]);
    let back = client.query_one("SELECT $1::text[], $2::bigint[], cardinality($2::bigint[])", &[&texts, &numbers]).await.unwrap();
    assert_eq!(back.get::<_, Vec<Option<String>>>(0), [Some("a b".to_owned()), None]);
    assert_eq!((back.get::<_, Vec<i64>>(1), back.get::<_, i32>(2)), (vec![7], 1));
    // what a client binds as text
    assert_eq!(rows(&client, "SELECT id FROM t WHERE id = ANY('{2,3}') ORDER BY id").await, ["2", "3"]);
    assert_eq!(code(&client, "SELECT id FROM t WHERE id = ANY('{2,x}')").await, "22P02");
}

async fn copied(client: &tokio_postgres::Client, sql: &str) -> String {
    let pieces: Vec<bytes::Bytes> = client.copy_out(sql).await.unwrap().try_collect().await.unwrap();
    String::from_utf8(pieces.concat()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_copy_gives_copy_takes() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, s TEXT, b BOOLEAN, n NUMERIC(6,2))").await.unwrap();
    client
        .batch_execute(
            "INSERT INTO t VALUES (1, E'tab\\t, \"q\" \\\\ \\n', true, 1.5), (2, '', false, NULL), (3, NULL, NULL, -0.25)",
        )
        .await
        .unwrap();
    let text = copied(&client, "COPY t TO STDOUT").await;
    assert_eq!(text, "1\ttab\\t, \"q\" \\\\ \\n\tt\t1.50\n2\t\tf\t\\N\n3\t\\N\t\\N\t-0.25\n");
    let csv = copied(&client, "COPY (SELECT id, s FROM t WHERE id > 1 ORDER BY id) TO STDOUT (FORMAT csv, HEADER)").await;
    assert_eq!(csv, "id,s\n2,\"\"\n3,\n");
    client.batch_execute("CREATE TABLE u (id INT PRIMARY KEY, s TEXT, b BOOLEAN, n NUMERIC(6,2))").await.unwrap();
    for form in ["", "(FORMAT csv, DELIMITER ';', NULL '-')"] {
        let out = copied(&client, &format!("COPY t TO STDOUT {form}")).await;
        let sink = client.copy_in::<_, bytes::Bytes>(&format!("COPY u FROM STDIN {form}")).await.unwrap();
        futures::pin_mut!(sink);
        futures::SinkExt::send(&mut sink, bytes::Bytes::from(out)).await.unwrap();
        assert_eq!(sink.finish().await.unwrap(), 3);
        let all = |table: &str| format!("SELECT * FROM {table} ORDER BY id");
        assert_eq!(rows(&client, &all("u")).await, rows(&client, &all("t")).await, "{form}");
        client.batch_execute("DELETE FROM u").await.unwrap();
    }
    assert_eq!(code(&client, "COPY nowhere TO STDOUT").await, "42P01");
    assert_eq!(code(&client, "COPY t TO '/tmp/x'").await, "0A000");
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_gives_its_rows_in_portions_until_its_transaction_ends() {
    let site = site().await;
    let mut client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    client.batch_execute("INSERT INTO t SELECT generate_series(1, 20000)").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("DECLARE \"C\" NO SCROLL CURSOR WITHOUT HOLD FOR SELECT id FROM t ORDER BY id").await.unwrap();
    let mut seen = vec![];
    loop {
        let rows = transaction.query("FETCH FORWARD 7000 FROM \"C\"", &[]).await.unwrap();
        if rows.is_empty() {
            break;
        }
        seen.push(rows.len());
    }
    assert_eq!(seen, [7000, 7000, 6000]);
    transaction.commit().await.unwrap();
    assert_eq!(code(&client, "FETCH 1 FROM \"C\"").await, "34000");
    let script = "BEGIN; DECLARE c CURSOR FOR SELECT id FROM t ORDER BY id; MOVE 2 IN c; FETCH NEXT FROM c";
    assert_eq!(rows(&client, script).await, ["3"]);
    assert_eq!(rows(&client, "FETCH c").await, ["4"]);
    assert_eq!(rows(&client, "CLOSE ALL; ROLLBACK; SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_prepared_in_sql_and_executed_with_values() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, s TEXT)").await.unwrap();
    client
        .batch_execute("PREPARE i AS INSERT INTO t VALUES ($1, $2); EXECUTE i(1, 'a'); EXECUTE i(1 + 1, 'it''s')")
        .await
        .unwrap();
    client.batch_execute("PREPARE q (int[]) AS SELECT s FROM t WHERE id = ANY($1) ORDER BY id").await.unwrap();
    assert_eq!(rows(&client, "EXECUTE q('{1,2}')").await, ["a", "it's"]);
    assert_eq!(rows(&client, "EXECUTE q(ARRAY[2])").await, ["it's"]);
    let described = client.query("EXECUTE q('{1}')", &[]).await.unwrap();
    assert_eq!(described[0].get::<_, &str>(0), "a");
    assert_eq!(code(&client, "EXECUTE i(1, 'again')").await, "23505");
    client.batch_execute("DEALLOCATE q").await.unwrap();
    assert_eq!(code(&client, "EXECUTE q('{1}')").await, "26000");
    client.batch_execute("DISCARD ALL").await.unwrap();
    assert_eq!(code(&client, "EXECUTE i(5, 'x')").await, "26000");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_a_parameter_like_any_other() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, y BYTEA)").await.unwrap();
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2)").await.unwrap();
    assert_eq!(insert.params(), [Type::INT4, Type::BYTEA]);
    let all: Vec<u8> = (0..=255).collect();
    for (id, bytes) in [(1i32, &b""[..]), (2, b"\\x41'"), (3, &all), (4, b"\x1f")] {
        client.execute(&insert, &[&id, &bytes]).await.unwrap();
        let found = client.query_one("SELECT id, y, $1::bytea FROM t WHERE y = $1", &[&bytes]).await.unwrap();
        assert_eq!((found.get::<_, i32>(0), found.get::<_, &[u8]>(1), found.get::<_, &[u8]>(2)), (id, bytes, bytes));
    }
    client.execute(&insert, &[&5i32, &None::<&[u8]>]).await.unwrap();
    assert_eq!(client.execute("UPDATE t SET y = y || $1 WHERE y = $2", &[&&b"\0"[..], &&b"\x1f"[..]]).await.unwrap(), 1);
    assert_eq!(rows(&client, "SELECT y FROM t WHERE id >= 4 ORDER BY id").await, ["\\x1f00", "NULL"]);
    // what is a string of bits in PostgreSQL
    assert_eq!(code(&client, "INSERT INTO t VALUES (6, x'1f')").await, "0A000");
}
