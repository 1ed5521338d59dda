//! What a program writes every day, over the extended protocol: WITH around writes, arrays in tables, its own functions.

use crate::common::{code, rows, site};
use tokio_postgres::types::Type;

#[tokio::test(flavor = "multi_thread")]
async fn with_around_writes_is_prepared_and_described() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, v NUMERIC(8,2)); CREATE TABLE old (id INT PRIMARY KEY, v NUMERIC(8,2), why TEXT)").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (1, 1.5), (2, 2.5), (3, 3.5)").await.unwrap();
    let moved = client
        .prepare(
            "WITH gone AS (DELETE FROM t WHERE id <= $1 RETURNING *), kept AS (INSERT INTO old SELECT id, v, $2 FROM gone RETURNING id, why) \
             SELECT g.id, k.why FROM gone g JOIN kept k USING (id) ORDER BY g.id",
        )
        .await
        .unwrap();
    assert_eq!(moved.params(), [Type::INT4, Type::TEXT]);
    let names: Vec<(&str, &Type)> = moved.columns().iter().map(|c| (c.name(), c.type_())).collect();
    assert_eq!(names, [("id", &Type::INT4), ("why", &Type::TEXT)]);
    let found = client.query(&moved, &[&2i32, &"late"]).await.unwrap();
    let found: Vec<(i32, String)> = found.iter().map(|r| (r.get(0), r.get(1))).collect();
    assert_eq!(found, [(1, "late".to_owned()), (2, "late".to_owned())]);
    assert_eq!(client.query(&moved, &[&2i32, &"again"]).await.unwrap().len(), 0);
    let changed = client.execute("WITH x AS (SELECT $1::int AS id) UPDATE t SET v = 0 FROM x WHERE t.id = x.id", &[&3i32]).await;
    assert_eq!(changed.unwrap(), 1);
    assert_eq!(rows(&client, "SELECT count(*), sum(v) FROM t").await, ["1|0.00"]);
    // A failure takes all parts back, a read-only transaction takes none.
    let fails = "WITH d AS (DELETE FROM t RETURNING id) INSERT INTO old SELECT 1, 1, 'x' FROM d";
    assert_eq!(code(&client, fails).await, "23505");
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["1"]);
    assert_eq!(code(&client, "BEGIN READ ONLY; WITH d AS (DELETE FROM t RETURNING id) SELECT * FROM d").await, "25006");
    client.batch_execute("ROLLBACK").await.unwrap();
    // In a transaction: what is written is read by the next statement, and goes with ROLLBACK.
    client.batch_execute("BEGIN; WITH d AS (DELETE FROM t) SELECT 1").await.unwrap();
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["0"]);
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_parts_asks_for_the_rights_of_all_of_them() {
    let site = site().await;
    let root = site.client().await;
    root.batch_execute("CREATE ROLE a LOGIN PASSWORD 'x'; CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE log (id INT); GRANT SELECT, INSERT ON t TO a").await.unwrap();
    let mut config = site.config();
    let (a, connection) = config.user("a").password("x").connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for sql in [
        "WITH d AS (DELETE FROM t RETURNING id) SELECT * FROM d",
        "WITH i AS (INSERT INTO log VALUES (1)) SELECT 1",
        "WITH l AS (SELECT id FROM log) INSERT INTO t SELECT id FROM l",
        "WITH i AS (INSERT INTO t VALUES (1) RETURNING id) UPDATE t SET id = 2",
    ] {
        assert_eq!(code(&a, sql).await, "42501", "{sql}");
    }
    a.batch_execute("WITH x AS (SELECT 1 AS id) INSERT INTO t SELECT id FROM x").await.unwrap();
    assert_eq!(rows(&root, "SELECT id FROM t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn arrays_go_into_tables_and_come_back_in_either_format() {
    let site = site().await;
    let client = site.client().await;
    client
        .batch_execute("CREATE TABLE t (id INT PRIMARY KEY, n INT[], s TEXT[], d FLOAT8[], b BIGINT[] DEFAULT '{1}')")
        .await
        .unwrap();
    let insert = client.prepare("INSERT INTO t (id, n, s, d) VALUES ($1, $2, $3, $4)").await.unwrap();
    assert_eq!(insert.params(), [Type::INT4, Type::INT4_ARRAY, Type::TEXT_ARRAY, Type::FLOAT8_ARRAY]);
    let texts = vec![Some("a b"), None, Some("q\"")];
    client.execute(&insert, &[&1i32, &vec![1i32, 2], &texts, &vec![0.5f64]]).await.unwrap();
    client.execute(&insert, &[&2i32, &Vec::<i32>::new(), &None::<Vec<String>>, &None::<Vec<f64>>]).await.unwrap();
    client.execute("UPDATE t SET n = n || $1 WHERE id = $2", &[&vec![7i32], &1i32]).await.unwrap();
    let row = client.query_one("SELECT n, s, d, b FROM t WHERE id = $1", &[&1i32]).await.unwrap();
    assert_eq!(row.get::<_, Vec<i32>>(0), [1, 2, 7]);
    assert_eq!(row.get::<_, Vec<Option<String>>>(1), [Some("a b".to_owned()), None, Some("q\"".to_owned())]);
    assert_eq!((row.get::<_, Vec<f64>>(2), row.get::<_, Vec<i64>>(3)), (vec![0.5], vec![1]));
    assert_eq!(rows(&client, "SELECT n, s, d FROM t ORDER BY id").await, [r#"{1,2,7}|{"a b",NULL,"q\""}|{0.5}"#, "{}|NULL|NULL"]);
    client.batch_execute("CREATE MATERIALIZED VIEW v AS SELECT id, n, n[1] AS first FROM t").await.unwrap();
    client.batch_execute("INSERT INTO t (id, n) VALUES (3, '{9,8}')").await.unwrap();
    assert_eq!(rows(&client, "SELECT n, first FROM v ORDER BY id").await, ["{1,2,7}|1", "{}|NULL", "{9,8}|9"]);
    assert_eq!(
        rows(
            &client,
            "SELECT column_name || ' ' || data_type FROM information_schema.columns WHERE table_name = 't' AND column_name = 'n'"
        )
        .await,
        ["n ARRAY"]
    );
    assert_eq!(
        rows(
            &client,
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 's'"
        )
        .await,
        ["text[]"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_function_is_called_by_a_cursor_and_by_what_sql_prepared() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE FUNCTION twice(x INT) RETURNS INT LANGUAGE SQL RETURN x * 2").await.unwrap();
    client.batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT twice(g) FROM generate_series(1, 3) g").await.unwrap();
    assert_eq!(rows(&client, "FETCH ALL FROM c").await, ["2", "4", "6"]);
    client.batch_execute("COMMIT; PREPARE p (int) AS SELECT twice($1)").await.unwrap();
    let found = client.query("EXECUTE p(twice(5))", &[]).await.unwrap();
    assert_eq!(found[0].get::<_, i32>(0), 20);
    client.batch_execute("BEGIN").await.unwrap();
    client.execute("DECLARE d CURSOR FOR SELECT twice(21)", &[]).await.unwrap();
    assert_eq!(client.query("FETCH d", &[]).await.unwrap()[0].get::<_, i32>(0), 42);
    client.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_nobody_gives_a_value_is_named() {
    let site = site().await;
    let client = site.client().await;
    for sql in ["SELECT $1", "SELECT 1 WHERE 1 = $1", "DELETE FROM t WHERE id = $2", "WITH x AS (SELECT $1) SELECT 1"] {
        assert_eq!(code(&client, sql).await, "42P02", "{sql}");
    }
    assert_eq!(rows(&client, "SELECT '$1', $$ $2 $$").await, ["$1| $2 "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_built_of_what_is_given() {
    let site = site().await;
    let client = site.client().await;
    assert_eq!(
        rows(
            &client,
            "SELECT json_build_object('n', 2.5, 'd', 0.5::float8, 'j', '[1]'::json, 'a', ARRAY[1,2], 't', DATE '2024-01-05')"
        )
        .await,
        [r#"{"n" : 2.5, "d" : 0.5, "j" : [1], "a" : [1,2], "t" : "2024-01-05"}"#]
    );
    assert_eq!(rows(&client, "SELECT json_build_array(1, 2.5, 'x', NULL, true)").await, [r#"[1, 2.5, "x", null, true]"#]);
    for sql in
        ["SELECT json_build_object(NULL, 1)", "SELECT json_build_object('a')::text", "SELECT json_build_object('a', 1, 'b')"]
    {
        assert_eq!(code(&client, sql).await, "22023", "{sql}");
    }
}
