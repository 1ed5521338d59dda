//! Values and errors of statements are PostgreSQL's: what has no value fails by name, what has one has PostgreSQL's type.

use crate::common::{answer, attempt, code, run, site};
use arrow::datatypes::DataType;
use regauge_views::{Error, Response, Session};

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_its_type_fails_in_every_statement_and_leaves_nothing() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT, b BIGINT, d NUMERIC(4,2))").await;
    run(&mut s, "INSERT INTO t VALUES (1, 2147483647, 9223372036854775807, 1.5)").await;
    let wrong: &[(&str, &str)] = &[
        ("SELECT n + 1 FROM t", "22003"),
        ("SELECT b * 2 FROM t", "22003"),
        ("SELECT 2147483647 + 1", "22003"),
        ("SELECT CAST(b AS INT) FROM t", "22003"),
        ("UPDATE t SET n = n + 1", "22003"),
        ("UPDATE t SET n = b", "22003"),
        ("INSERT INTO t (id, n) VALUES (2, 3000000000)", "22003"),
        ("INSERT INTO t (id, n) VALUES (2, 2147483647 + 1)", "22003"),
        ("INSERT INTO t (id, n) SELECT id + 1, n + 1 FROM t", "22003"),
        ("INSERT INTO t (id, d) VALUES (2, 100)", "22003"),
        ("DELETE FROM t WHERE n + 1 > 0", "22003"),
    ];
    for (sql, expected) in wrong {
        assert_eq!(code(&mut s, sql).await, *expected, "{sql}");
    }
    assert_eq!(run(&mut s, "SELECT * FROM t").await, ["1|2147483647|9223372036854775807|1.50"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn division_by_zero_fails_unless_a_guard_stands_before_it() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, x INT)").await;
    run(&mut s, "INSERT INTO t VALUES (1, 0), (2, 3), (3, 20), (4, NULL)").await;
    for sql in [
        "SELECT 1 / 0",
        "SELECT 10 / x FROM t",
        "SELECT 10 % x FROM t",
        "SELECT 1.0 / x FROM t",
        "UPDATE t SET x = 1 / x",
        "DELETE FROM t WHERE 10 / x > 1",
    ] {
        let error = attempt(&mut s, sql).await.unwrap_err();
        assert_eq!((error.sqlstate, error.message.as_str()), ("22012", "division by zero"), "{sql}");
    }
    assert_eq!(run(&mut s, "SELECT id FROM t WHERE x <> 0 AND 10 / x > 1").await, ["2"]);
    assert_eq!(run(&mut s, "SELECT id FROM t WHERE x = 0 OR 10 / x < 1 ORDER BY id").await, ["1", "3"]);
    assert_eq!(run(&mut s, "SELECT CASE WHEN x <> 0 THEN 10 / x END FROM t ORDER BY id").await, ["NULL", "3", "0", "NULL"]);
    assert_eq!(run(&mut s, "DELETE FROM t WHERE x <> 0 AND 10 / x > 1").await, ["DELETE 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_and_averages_are_exact() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, b BIGINT)").await;
    run(&mut s, "INSERT INTO t VALUES (1, 9223372036854775807), (2, 9223372036854775807), (3, NULL)").await;
    assert_eq!(run(&mut s, "SELECT sum(b), sum(id), count(b) FROM t").await, ["18446744073709551614|6|2"]);
    assert_eq!(run(&mut s, "SELECT avg(id) FROM t WHERE id < 3").await, ["1.5000000000000000"]);
    assert_eq!(run(&mut s, "SELECT sum(b), avg(b) FROM t WHERE id = 3").await, ["NULL|NULL"]);
    assert_eq!(run(&mut s, "SELECT 7 / 2, -7 / 2, 7 % 3, -7 % 3, 7 / 2.0 > 3.4").await, ["3|-3|1|-1|true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn casts_read_text_as_postgres_does() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT, n INT)").await;
    run(&mut s, "INSERT INTO t VALUES ('1', 7, ' 42 '), (2, 'x', 2.5)").await;
    assert_eq!(run(&mut s, "SELECT v, n FROM t ORDER BY id").await, ["7|42", "x|3"]);
    assert_eq!(
        run(&mut s, "SELECT CAST(v AS INT) + 1, 'yes'::boolean, CAST(2.5 AS INT) FROM t WHERE id = 1").await,
        ["8|true|3"]
    );
    let wrong: &[(&str, &str)] = &[
        ("SELECT 'x'::int", "22P02"),
        ("SELECT CAST(v AS INT) FROM t", "22P02"),
        ("SELECT 'maybe'::boolean", "22P02"),
        ("SELECT '1.5'::int", "22P02"),
        ("SELECT 'tomorrow-ish'::date", "22007"),
        ("SELECT '2024-02-30'::date", "22008"),
        ("SELECT * FROM t WHERE n = 'x'", "22P02"),
        ("INSERT INTO t VALUES (3, 'a', 'b')", "22P02"),
        ("UPDATE t SET n = 'b'", "22P02"),
        ("SELECT v + 1 FROM t", "42883"),
        ("SELECT id FROM t WHERE v = 1", "42883"),
    ];
    for (sql, expected) in wrong {
        assert_eq!(code(&mut s, sql).await, *expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_tells_the_types_that_its_rows_have() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, b BIGINT, n NUMERIC(6,2))").await;
    let query = "SELECT 1 + 1 AS a, id / 2 AS b, sum(b) AS c, avg(b) AS d, sum(id) AS e, count(*) AS f FROM t GROUP BY id";
    let wanted = [
        DataType::Int32,
        DataType::Int32,
        DataType::Decimal128(38, 0),
        DataType::Decimal128(38, 16),
        DataType::Int64,
        DataType::Int64,
    ];
    let prepared = s.prepare(query, &[]).await.unwrap();
    let types: Vec<DataType> = prepared.columns.unwrap().fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(types, wanted);
    run(&mut s, &format!("CREATE VIEW v AS {query}")).await;
    let described = run(&mut s, "DESCRIBE v").await.join("\n");
    for line in ["a|integer", "b|integer", "c|numeric", "d|numeric", "e|bigint", "f|bigint"] {
        assert!(described.lines().any(|l| l.starts_with(line)), "{line} in\n{described}");
    }
}

async fn copy(session: &mut Session, sql: &str, bytes: &[u8]) -> Result<Vec<String>, Error> {
    let Some(Response::CopyIn(mut copy)) = session.execute(sql).await?.pop() else { panic!("no copy") };
    copy.push(bytes)?;
    answer(session.finish_copy(*copy).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_reads_values_as_casts_do_and_names_line_and_column_of_a_bad_one() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT, ok BOOLEAN, d NUMERIC(4,2), at DATE, raw BYTEA)").await;
    let wrong: &[(&str, &str, &str)] = &[
        ("1,1,t,1,2024-01-01,\n2,1x,t,1,2024-01-01,\n", "22P02", "line 2, column n"),
        ("1,2147483648,t,1,2024-01-01,\n", "22003", "line 1, column n"),
        ("1,1,maybe,1,2024-01-01,\n", "22P02", "line 1, column ok"),
        ("1,1,t,100,2024-01-01,\n", "22003", "line 1, column d"),
        ("1,1,t,1,2024-02-30,\n", "22008", "line 1, column at"),
        ("1,1,t,1,soon,\n", "22007", "line 1, column at"),
        ("1,1,t,1,2024-01-01,\\xabc\n", "22023", "line 1, column raw"),
    ];
    for (bytes, sqlstate, detail) in wrong {
        let error = copy(&mut s, "COPY t FROM STDIN (FORMAT csv)", bytes.as_bytes()).await.unwrap_err();
        assert_eq!(error.sqlstate, *sqlstate, "{bytes} {error}");
        let found = error.detail.clone().unwrap_or_default();
        assert!(found.ends_with(detail), "{bytes} {error}");
    }
    let good = "1, 7 ,off,1.005,20240102,\\x00ff\n";
    assert_eq!(copy(&mut s, "COPY t FROM STDIN (FORMAT csv)", good.as_bytes()).await.unwrap(), ["COPY 1"]);
    assert_eq!(run(&mut s, "SELECT * FROM t").await, ["1|7|false|1.01|2024-01-02|00ff"]);
    assert_eq!(copy(&mut s, "COPY t (id, n) FROM STDIN", b"2\t-0\n").await.unwrap(), ["COPY 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_time_are_relations_of_a_plain_select() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE e (id INT PRIMARY KEY, at TIMESTAMP, n INT)").await;
    run(
        &mut s,
        "INSERT INTO e VALUES (1, '2024-01-01 00:10', 1), (2, '2024-01-01 00:50', 2), (3, '2024-01-01 01:00', 4), (4, NULL, 8)",
    )
    .await;
    let tumble =
        "SELECT extract(hour FROM window_start), sum(n) FROM TUMBLE(e, at, INTERVAL '1 hour') GROUP BY window_start ORDER BY 2";
    assert_eq!(run(&mut s, tumble).await, ["0|3", "1|4"]);
    let hop = "SELECT count(*) FROM HOP(public.e, at, INTERVAL '30 minutes', INTERVAL '1 hour')";
    assert_eq!(run(&mut s, hop).await, ["6"]);
    let named = "WITH few AS (SELECT * FROM e WHERE id < 3) SELECT sum(n) FROM TUMBLE(few, at, INTERVAL '1 hour')";
    assert_eq!(run(&mut s, named).await, ["3"]);
    run(&mut s, "CREATE VIEW v AS SELECT id, window_end FROM TUMBLE(e, at, INTERVAL '1 hour')").await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM v JOIN TUMBLE(e, at, INTERVAL '1 hour') w ON v.id = w.id").await, ["3"]);
    assert_eq!(code(&mut s, "DROP TABLE e").await, "2BP01");
    assert_eq!(code(&mut s, "SELECT * FROM TUMBLE(nope, at, INTERVAL '1 hour')").await, "42P01");
    assert_eq!(code(&mut s, "SELECT * FROM TUMBLE(e, n, INTERVAL '1 hour')").await, "42804");
    assert_eq!(run(&mut s, "SELECT row_number() OVER (ORDER BY id) - 5 FROM e ORDER BY 1 LIMIT 1").await, ["-4"]);
}
