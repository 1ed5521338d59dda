//! Functions of language SQL: what a view keeps of them, what is refused, and what a restart brings back.

use crate::common::{attempt, code, run, site};

#[tokio::test(flavor = "multi_thread")]
async fn a_view_keeps_the_function_that_it_was_created_with() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    run(&mut s, "CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE SQL AS 'SELECT x + 1'").await;
    run(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT sum(f(id)) AS n FROM t").await;
    run(&mut s, "CREATE VIEW p AS SELECT sum(f(id)) AS n FROM t").await;
    assert_eq!(code(&mut s, "CREATE FUNCTION f(y INT) RETURNS INT LANGUAGE SQL AS 'SELECT y'").await, "42723");
    run(&mut s, "CREATE OR REPLACE FUNCTION f(x INT) RETURNS INT LANGUAGE SQL AS 'SELECT x * 100'").await;
    assert_eq!(run(&mut s, "SELECT m.n, p.n, f(7) FROM m, p").await, ["5|5|700"]);
    run(&mut s, "INSERT INTO t VALUES (3)").await;
    drop(s);
    site.reopen();
    let mut s = site.session();
    assert_eq!(run(&mut s, "SELECT m.n, p.n, f(7) FROM m, p").await, ["9|9|700"]);
    run(&mut s, "DROP FUNCTION f").await;
    run(&mut s, "INSERT INTO t VALUES (4)").await;
    assert_eq!(run(&mut s, "SELECT m.n, p.n FROM m, p").await, ["14|14"]);
    assert_eq!(code(&mut s, "SELECT f(7)").await, "42883");
    drop(s);
    site.reopen();
    let mut s = site.session();
    assert_eq!(code(&mut s, "SELECT f(7)").await, "42883");
    assert_eq!(run(&mut s, "SELECT m.n, p.n FROM m, p").await, ["14|14"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_made_and_rolled_back_with_its_transaction() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, "BEGIN").await;
    run(&mut a, "CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE SQL RETURN x + 1").await;
    assert_eq!(run(&mut a, "SELECT f(1)").await, ["2"]);
    assert_eq!(code(&mut b, "SELECT f(1)").await, "42883");
    run(&mut a, "ROLLBACK").await;
    assert_eq!(code(&mut a, "SELECT f(1)").await, "42883");
    // Two make the same one at once: the second is told.
    run(&mut a, "BEGIN; CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE SQL RETURN x + 1").await;
    run(&mut b, "CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE SQL RETURN x + 2").await;
    assert_eq!(code(&mut a, "COMMIT").await, "40001");
    assert_eq!(run(&mut a, "SELECT f(1)").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_never_taken_for_another() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE goods (id INT PRIMARY KEY, price INT); CREATE TABLE bids (id INT PRIMARY KEY, price INT)").await;
    run(&mut s, "INSERT INTO goods VALUES (1, 10), (2, 20); INSERT INTO bids VALUES (1, 15)").await;
    // A parameter that a column of the body would hide.
    let hidden =
        "CREATE FUNCTION f(price INT) RETURNS BIGINT LANGUAGE SQL AS 'SELECT count(*) FROM goods WHERE goods.price > price'";
    let refused = attempt(&mut s, hidden).await.unwrap_err();
    assert!(refused.sqlstate == "42702" && refused.hint.as_deref().is_some_and(|h| h.contains("$1")), "{refused}");
    run(
        &mut s,
        "CREATE FUNCTION f(price INT) RETURNS BIGINT LANGUAGE SQL AS 'SELECT count(*) FROM goods WHERE goods.price > $1'",
    )
    .await;
    // An argument that would mean the body's column.
    assert_eq!(code(&mut s, "SELECT f(price) FROM bids").await, "42702");
    assert_eq!(code(&mut s, "SELECT f(goods.price) FROM bids goods").await, "42702");
    assert_eq!(run(&mut s, "SELECT f(b.price) FROM bids b").await, ["1"]);
    assert_eq!(run(&mut s, "SELECT f(b.price + (SELECT 5)) FROM bids b").await, ["0"]);
    // Schemas: the body means what it meant where it was created.
    run(&mut s, "CREATE SCHEMA other; CREATE TABLE other.goods (id INT PRIMARY KEY, price INT)").await;
    run(&mut s, "SET search_path = other, public").await;
    assert_eq!(run(&mut s, "SELECT f(5)").await, ["2"]);
    run(&mut s, "CREATE FUNCTION other.f(x INT) RETURNS INT LANGUAGE SQL RETURN -x").await;
    assert_eq!(run(&mut s, "SELECT f(5), public.f(5), other.f(5)").await, ["-5|2|-5"]);
    assert_eq!(code(&mut s, "DROP SCHEMA other").await, "2BP01");
    run(&mut s, "DROP SCHEMA other CASCADE").await;
    assert_eq!(run(&mut s, "SELECT f(5)").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_function_is_refused_with_a_reason() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    for (sql, expected) in [
        ("CREATE FUNCTION upper(x TEXT) RETURNS TEXT LANGUAGE SQL AS 'SELECT x'", "42723"),
        ("CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE plpgsql AS 'BEGIN RETURN x; END'", "0A000"),
        ("CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE SQL AS 'INSERT INTO t VALUES (1)'", "0A000"),
        ("CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE SQL AS 'SELECT 1; SELECT 2'", "0A000"),
        ("CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE SQL AS 'SELECT f(x)'", "42883"),
        ("CREATE FUNCTION f(x INT) RETURNS BIGINT LANGUAGE SQL AS 'SELECT sum(x)'", "0A000"),
        ("CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE SQL AS 'SELECT $2'", "42P02"),
        ("CREATE FUNCTION f(x INT) RETURNS trigger LANGUAGE SQL AS 'SELECT 1'", "0A000"),
        ("CREATE FUNCTION f(x INT DEFAULT 1, y INT) RETURNS INT LANGUAGE SQL AS 'SELECT 1'", "42P13"),
        ("CREATE FUNCTION f(x INT) LANGUAGE SQL AS 'SELECT 1'", "42P13"),
        ("CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE SQL AS 'SELECT'", "42601"),
        ("CREATE FUNCTION nowhere.f(x INT) RETURNS INT LANGUAGE SQL AS 'SELECT 1'", "3F000"),
        ("DROP FUNCTION f(INT)", "42883"),
    ] {
        assert_eq!(code(&mut s, sql).await, expected, "{sql}");
    }
    run(&mut s, "CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE SQL RETURN x; CREATE FUNCTION f(x INT, y INT) RETURNS INT LANGUAGE SQL RETURN x").await;
    run(&mut s, "CREATE FUNCTION twice(x FLOAT8) RETURNS FLOAT8 LANGUAGE SQL RETURN x + x").await;
    run(&mut s, "CREATE FUNCTION all_of() RETURNS SETOF INT LANGUAGE SQL AS 'SELECT id FROM t'").await;
    for (sql, expected) in [
        ("SELECT f()", "42883"),
        ("SELECT f(1, 2, 3)", "42883"),
        ("SELECT f(z => 1)", "42883"),
        ("SELECT f(1, x => 2)", "42883"),
        ("SELECT f(DISTINCT 1)", "42809"),
        ("SELECT f(1) OVER ()", "42809"),
        ("SELECT f('x')", "22P02"),
        ("SELECT all_of()", "0A000"),
        ("SELECT twice(random())", "0A000"),
        ("SELECT * FROM all_of() WITH ORDINALITY", "0A000"),
        ("DROP FUNCTION f", "42725"),
    ] {
        assert_eq!(code(&mut s, sql).await, expected, "{sql}");
    }
    run(&mut s, "DROP FUNCTION f(INT, INT)").await;
    assert_eq!(run(&mut s, "SELECT f(4)").await, ["4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_double_are_bounded() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE FUNCTION f0(x INT) RETURNS INT LANGUAGE SQL RETURN x + x").await;
    let mut refused = None;
    for n in 1..40 {
        let sql = format!("CREATE FUNCTION f{n}(x INT) RETURNS INT LANGUAGE SQL RETURN f{before}(f{before}(x))", before = n - 1);
        if let Err(error) = attempt(&mut s, &sql).await {
            refused = Some((n, error));
            break;
        }
    }
    let (n, error) = refused.expect("forty functions that double");
    assert_eq!(error.sqlstate, "54001", "f{n}: {error}");
    assert_eq!(run(&mut s, "SELECT f0(1)").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_stand_wherever_expressions_do() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE FUNCTION plus(x INT, y INT DEFAULT 1) RETURNS INT LANGUAGE SQL RETURN x + y").await;
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT DEFAULT plus(40, 2), CHECK (plus(n) > 0))").await;
    run(&mut s, "INSERT INTO t (id) VALUES (plus(0))").await;
    assert_eq!(code(&mut s, "INSERT INTO t VALUES (9, -5)").await, "23514");
    assert_eq!(run(&mut s, "UPDATE t SET n = plus(n) WHERE plus(id) = 2 RETURNING plus(n)").await, ["44"]);
    run(&mut s, "INSERT INTO t VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET n = plus(t.n, 10)").await;
    assert_eq!(run(&mut s, "SELECT id, n FROM t ORDER BY plus(id)").await, ["1|53"]);
    let prepared = s.prepare("SELECT plus($1, n) FROM t", &[]).await.unwrap();
    assert_eq!(prepared.params, [arrow::datatypes::DataType::Int32]);
    run(&mut s, "PREPARE q (int) AS SELECT plus($1)").await;
    assert_eq!(run(&mut s, "EXECUTE q (4)").await, ["5"]);
    run(&mut s, "CREATE OR REPLACE FUNCTION plus(x INT, y INT DEFAULT 1) RETURNS INT LANGUAGE SQL RETURN x - y").await;
    assert_eq!(run(&mut s, "EXECUTE q (4)").await, ["3"]);
    assert_eq!(run(&mut s, "SELECT plus(4), plus(5) AS p").await, ["3|4"]);
    assert_eq!(run(&mut s, "DELETE FROM t WHERE plus(id) = 0 RETURNING id").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_function_takes_a_name_that_tells_of_the_instance_or_its_users() {
    let site = site();
    let mut s = site.session();
    let names = [
        "pg_mine",
        "json_mine",
        "jsonb_mine",
        "current_user_id",
        "session_user_id",
        "inet_mine",
        "has_table_privilege",
        "has_any_privilege",
    ];
    for name in names {
        let sql = format!("CREATE FUNCTION {name}(x TEXT) RETURNS TEXT LANGUAGE SQL AS 'SELECT x'");
        assert_eq!(code(&mut s, &sql).await, "42723", "{name}");
    }
    run(&mut s, "CREATE FUNCTION has_paid(x INT) RETURNS BOOLEAN LANGUAGE SQL RETURN x > 0").await;
    assert_eq!(run(&mut s, "SELECT has_paid(1)").await, ["true"]);
}
