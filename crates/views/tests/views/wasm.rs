//! WebAssembly functions: in every place of a statement, in views, after restarts, and when they fail.

use crate::common::{attempt, code, run, site};

const COLLATZ: &str = r#"CREATE FUNCTION collatz(n bigint) RETURNS integer LANGUAGE wasm IMMUTABLE STRICT AS $$
  (module (func (export "collatz") (param $n i64) (result i32)
    (local $steps i32)
    (loop $again
      (if (i64.eq (local.get $n) (i64.const 1)) (then (return (local.get $steps))))
      (local.set $n (if (result i64) (i64.eqz (i64.and (local.get $n) (i64.const 1)))
        (then (i64.div_u (local.get $n) (i64.const 2)))
        (else (i64.add (i64.mul (local.get $n) (i64.const 3)) (i64.const 1)))))
      (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
      (br $again))
    unreachable))
$$"#;

/// Texts in capital letters, of the alphabet without accents.
const SHOUT: &str = r#"AS $$
  (module (memory (export "memory") 1) (global $top (mut i32) (i32.const 0))
    (func (export "alloc") (param $n i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $top))
      (global.set $top (i32.add (global.get $top) (local.get $n)))
      (local.get $at))
    (func (export "shout") (param $at i32) (param $n i32) (result i32 i32)
      (local $i i32) (local $c i32)
      (loop $next
        (if (i32.lt_u (local.get $i) (local.get $n)) (then
          (local.set $c (i32.load8_u (i32.add (local.get $at) (local.get $i))))
          (if (i32.lt_u (i32.sub (local.get $c) (i32.const 97)) (i32.const 26))
            (then (i32.store8 (i32.add (local.get $at) (local.get $i)) (i32.sub (local.get $c) (i32.const 32)))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next))))
      (local.get $at) (local.get $n)))
$$"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_called_wherever_expressions_stand() {
    let site = site();
    let mut s = site.session();
    run(&mut s, COLLATZ).await;
    run(&mut s, &format!("CREATE FUNCTION shout(t text) RETURNS text LANGUAGE wasm STRICT {SHOUT}")).await;
    assert_eq!(
        run(&mut s, "SELECT collatz(27), collatz(NULL), shout('Straße ab'), shout(NULL)").await,
        ["111|NULL|STRAßE AB|NULL"]
    );
    assert_eq!(run(&mut s, "SELECT collatz FROM (SELECT collatz(n => 6::smallint)) AS c").await, ["8"]);
    run(
        &mut s,
        "CREATE TABLE t (id INT PRIMARY KEY, name TEXT DEFAULT shout('x'), loud TEXT GENERATED ALWAYS AS (shout(name)) STORED, \
         CHECK (collatz(id) < 100))",
    )
    .await;
    run(&mut s, "INSERT INTO t (id, name) VALUES (1, 'one'), (6, shout('six'))").await;
    run(&mut s, "INSERT INTO t (id) VALUES (7)").await;
    assert_eq!(code(&mut s, "INSERT INTO t (id) VALUES (27)").await, "23514");
    run(&mut s, "UPDATE t SET name = shout(name) || collatz(id) WHERE collatz(id) = 16").await;
    assert_eq!(run(&mut s, "SELECT * FROM t ORDER BY id").await, ["1|one|ONE", "6|SIX|SIX", "7|X16|X16"]);
    run(&mut s, "DELETE FROM t WHERE collatz(id) = 8").await;
    assert_eq!(run(&mut s, "SELECT id FROM t WHERE shout(name) IN ('ONE', 'X16') ORDER BY collatz(id) DESC").await, ["7", "1"]);
    assert_eq!(run(&mut s, "SELECT collatz(id), count(*) FROM t GROUP BY collatz(id) ORDER BY 1").await, ["0|1", "16|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_keeps_the_module_that_it_was_created_with() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    let f = |by: &str| {
        format!(
            r#"CREATE OR REPLACE FUNCTION f(x INT) RETURNS INT LANGUAGE wasm STRICT AS
               '(module (func (export "f") (param i32) (result i32) (i32.mul (local.get 0) (i32.const {by}))))'"#
        )
    };
    run(&mut s, &f("10")).await;
    run(&mut s, "CREATE VIEW p AS SELECT f(id) AS x FROM t").await;
    run(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT sum(x) AS n FROM p").await;
    run(&mut s, "CREATE MATERIALIZED VIEW k AS SELECT f(id) AS x, count(*) AS n FROM t GROUP BY f(id)").await;
    run(&mut s, &f("100")).await;
    run(&mut s, "INSERT INTO t VALUES (3)").await;
    assert_eq!(run(&mut s, "SELECT m.n, sum(k.x), f(1) FROM m, k GROUP BY m.n").await, ["60|60|100"]);
    drop(s);
    site.reopen();
    let mut s = site.session();
    run(&mut s, "DROP FUNCTION f; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (4)").await;
    assert_eq!(run(&mut s, "SELECT m.n, sum(k.x) FROM m, k GROUP BY m.n").await, ["90|90"]);
    assert_eq!(code(&mut s, "SELECT f(1)").await, "42883");
    drop(s);
    site.reopen_with(1, true);
    let mut s = site.session();
    run(&mut s, "DELETE FROM t WHERE id = 2").await;
    assert_eq!(run(&mut s, "SELECT m.n, sum(k.x) FROM m, k GROUP BY m.n").await, ["70|70"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_goes_when_nothing_names_it() {
    let site = site();
    let mut s = site.session();
    let modules = |s: &regauge_views::Session| s.catalog().modules().count();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&mut s, COLLATZ).await;
    run(&mut s, &format!("{}, 'collatz'", COLLATZ.replace("collatz(n bigint)", "other(n bigint)"))).await;
    assert_eq!(modules(&s), 1);
    run(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT collatz(id) AS n FROM t WHERE id > 0").await;
    run(&mut s, "DROP FUNCTION collatz; DROP FUNCTION other").await;
    assert_eq!(modules(&s), 1);
    run(&mut s, "INSERT INTO t VALUES (6)").await;
    assert_eq!(run(&mut s, "SELECT n FROM m").await, ["8"]);
    run(&mut s, "DROP MATERIALIZED VIEW m").await;
    assert_eq!(modules(&s), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_is_an_error_of_its_record_and_heals() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT); INSERT INTO t VALUES (1, 6), (2, 7)").await;
    run(&mut s, COLLATZ).await;
    run(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT id, collatz(n) AS steps FROM t").await;
    run(&mut s, "CREATE MATERIALIZED VIEW d WITH (on_error = 'divert') AS SELECT id, collatz(n) AS steps FROM t").await;
    // It never comes to 1 from 0.
    run(&mut s, "INSERT INTO t VALUES (3, 0)").await;
    let errored = attempt(&mut s, "SELECT * FROM m").await.unwrap_err();
    assert!(errored.sqlstate == "RG002" && errored.to_string().contains("fuel"), "{errored}");
    assert_eq!(run(&mut s, "SELECT * FROM d ORDER BY id").await, ["1|8", "2|16"]);
    assert_eq!(run(&mut s, "SELECT count(*) FROM d_errors").await, ["1"]);
    run(&mut s, "DELETE FROM t WHERE id = 3").await;
    assert_eq!(run(&mut s, "SELECT * FROM m ORDER BY id").await, ["1|8", "2|16"]);
    assert_eq!(run(&mut s, "SELECT count(*) FROM d_errors").await, ["0"]);
    // Only the rows that a guard lets through are computed.
    assert_eq!(run(&mut s, "SELECT CASE WHEN false THEN collatz(0) ELSE 1 END").await, ["1"]);
    let failed = attempt(&mut s, "SELECT collatz(0)").await.unwrap_err();
    assert!(failed.sqlstate == "54000" && failed.hint.is_some(), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_goes_in_and_comes_out() {
    let site = site();
    let mut s = site.session();
    let plain = |ty: &str, wasm: &str| {
        format!(
            r#"CREATE OR REPLACE FUNCTION same(x {ty}) RETURNS {ty} LANGUAGE wasm AS
               '(module (func (export "same") (param i32 {wasm}) (result i32 {wasm}) (local.get 0) (local.get 1)))'"#
        )
    };
    for (ty, wasm, value, shown) in [
        ("boolean", "i32", "true", "true"),
        ("smallint", "i32", "-32768", "-32768"),
        ("integer", "i32", "-2147483648", "-2147483648"),
        ("bigint", "i64", "9223372036854775807", "9223372036854775807"),
        ("real", "f32", "'1.5'", "1.5"),
        ("double precision", "f64", "'NaN'", "NaN"),
        ("date", "i32", "'2026-02-03'", "2026-02-03"),
        ("date", "i32", "'infinity'", "infinity"),
        ("timestamp", "i64", "'1999-12-31 23:59:59.123456'", "1999-12-31 23:59:59.123456"),
        ("timestamptz", "i64", "'2026-02-03 04:05:06+02'", "2026-02-03 02:05:06+00"),
    ] {
        run(&mut s, &plain(ty, wasm)).await;
        let sql = format!("SELECT same(CAST({value} AS {ty}))::text, same(NULL)::text");
        assert_eq!(run(&mut s, &sql).await, [format!("{shown}|NULL")], "{ty}");
    }
    let bytes = |ty: &str| {
        format!(
            r#"CREATE OR REPLACE FUNCTION same(x {ty}) RETURNS {ty} LANGUAGE wasm AS
               '(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) (i32.const 64))
                 (func (export "same") (param i32 i32 i32) (result i32 i32)
                   (if (result i32) (local.get 0) (then (i32.const -1)) (else (local.get 1))) (local.get 2)))'"#
        )
    };
    for (ty, value, shown) in [
        ("text", "'grüße'", "grüße"),
        ("bytea", r"'\x00ff10'", r"\x00ff10"),
        ("numeric", "'-12345678901234567890.125'", "-12345678901234567890.125"),
        ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("jsonb", r#"'{"b": [1, 2], "a": null}'"#, r#"{"a": null, "b": [1, 2]}"#),
        ("interval", "'1 month 2 days'", "1 mon 2 days"),
        ("time", "'12:34:56.5'", "12:34:56.5"),
    ] {
        run(&mut s, &bytes(ty)).await;
        let sql = format!("SELECT trim(trailing '0' FROM same(CAST({value} AS {ty}))::text), same(NULL)::text");
        let got = run(&mut s, &sql).await;
        assert_eq!(got, [format!("{}|NULL", shown.trim_end_matches('0'))], "{ty}");
    }
    // A text that is no value of the result's type.
    run(
        &mut s,
        r#"CREATE FUNCTION bad() RETURNS jsonb LANGUAGE wasm AS
           '(module (memory (export "memory") 1) (func (export "bad") (result i64) (i64.const 1)))'"#,
    )
    .await;
    assert!(["22P02", "22021"].contains(&code(&mut s, "SELECT bad()").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_function_is_refused_with_a_hint() {
    let site = site();
    let mut s = site.session();
    let with = |types: &str, module: &str| format!("CREATE FUNCTION f({types}) RETURNS bigint LANGUAGE wasm AS '{module}'");
    for (types, module, sqlstate) in [
        ("x bigint", "(module", "42601"),
        ("x bigint", "nothing", "42601"),
        ("x bigint", r"\x0061736d01000000ff", "42P13"),
        ("x bigint", r#"(module (func (export "g") (param i32 i64) (result i64) (i64.const 1)))"#, "42P13"),
        ("x bigint", r#"(module (func (export "f") (param i64) (result i64) (i64.const 1)))"#, "42P13"),
        ("x text", r#"(module (func (export "f") (param i32 i32 i32) (result i64) (i64.const 1)))"#, "42P13"),
        ("", r#"(module (import "a" "b" (func)) (func (export "f") (result i64) (i64.const 1)))"#, "42P13"),
    ] {
        let refused = attempt(&mut s, &with(types, module)).await.unwrap_err();
        assert!(refused.sqlstate == sqlstate, "{refused}: {module}");
        assert!(refused.hint.is_some(), "{refused}");
    }
    let rows = r#"CREATE FUNCTION f() RETURNS TABLE (a INT) LANGUAGE wasm AS '(module)'"#;
    assert_eq!(code(&mut s, rows).await, "0A000");
    assert_eq!(code(&mut s, "CREATE FUNCTION f() RETURNS INT LANGUAGE wasm RETURN 1").await, "42P13");
    assert_eq!(code(&mut s, "CREATE FUNCTION f() RETURNS INT LANGUAGE plv8 AS ''").await, "0A000");
    // Two of one name, by the number of their parameters; NULL for what strict functions are given none of.
    run(&mut s, &COLLATZ.replace("IMMUTABLE", "PARALLEL SAFE LEAKPROOF COST 5")).await;
    assert_eq!(code(&mut s, COLLATZ).await, "42723");
    assert_eq!(code(&mut s, "SELECT collatz()").await, "42883");
    assert_eq!(code(&mut s, "SELECT collatz('a')").await, "22P02");
    assert_eq!(code(&mut s, "SELECT regauge_wasm('00', 'f', 'null', NULL::INT)").await, "42883");
}

/// The longest text of a group, and how many there were: its values are handed over one by one.
const LONGEST: &str = r#"CREATE AGGREGATE longest(t text) RETURNS text LANGUAGE wasm STRICT AS $$
  (module (memory (export "memory") 1) (global $top (mut i32) (i32.const 0))
    (global $at (mut i32) (i32.const -1)) (global $n (mut i32) (i32.const -1))
    (func (export "alloc") (param $n i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $top))
      (global.set $top (i32.add (global.get $top) (local.get $n)))
      (local.get $at))
    (func (export "longest_step") (param $at i32) (param $n i32)
      (if (i32.gt_s (local.get $n) (global.get $n))
        (then (global.set $at (local.get $at)) (global.set $n (local.get $n)))))
    (func (export "longest_result") (result i32 i32) (global.get $at) (global.get $n)))
$$"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_follows_its_groups_rows() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, LONGEST).await;
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, g INT, name TEXT)").await;
    run(&mut s, "INSERT INTO t VALUES (1, 1, 'a'), (2, 1, 'ccc'), (3, 1, 'bbb'), (4, 2, NULL), (5, 3, 'zz')").await;
    let sql = "SELECT g, longest(name) AS l, longest(name ORDER BY name DESC) AS last, longest(DISTINCT name) FILTER (WHERE id > 2) AS f \
               FROM t GROUP BY g";
    run(&mut s, &format!("CREATE MATERIALIZED VIEW m AS {sql}")).await;
    let expected = ["1|bbb|ccc|bbb", "2|NULL|NULL|NULL", "3|zz|zz|zz"];
    assert_eq!(run(&mut s, &format!("{sql} ORDER BY g")).await, expected);
    assert_eq!(run(&mut s, "SELECT * FROM m ORDER BY g").await, expected);
    assert_eq!(run(&mut s, "SELECT longest(name) FROM t WHERE false").await, ["NULL"]);
    run(&mut s, "DELETE FROM t WHERE id IN (2, 3); UPDATE t SET name = 'yyyy' WHERE id = 4").await;
    let expected = ["1|a|a|NULL", "2|yyyy|yyyy|yyyy", "3|zz|zz|zz"];
    assert_eq!(run(&mut s, "SELECT * FROM m ORDER BY g").await, expected);
    drop(s);
    site.reopen();
    let mut s = site.session();
    run(&mut s, "INSERT INTO t VALUES (6, 3, 'zzz')").await;
    assert_eq!(run(&mut s, "SELECT l FROM m ORDER BY g").await, ["a", "yyyy", "zzz"]);
    assert_eq!(run(&mut s, &format!("{sql} HAVING longest(name) < 'b' ORDER BY g")).await, ["1|a|a|NULL"]);
    for (sql, sqlstate) in [
        ("SELECT longest(DISTINCT name) OVER () FROM t", "0A000"),
        ("SELECT longest(name ORDER BY name) OVER () FROM t", "0A000"),
        ("SELECT longest(name) WITHIN GROUP (ORDER BY name) FROM t", "0A000"),
        ("DROP FUNCTION longest", "42809"),
        ("CREATE AGGREGATE two(t text) RETURNS text LANGUAGE sql AS 'SELECT 1'", "0A000"),
        ("CREATE AGGREGATE two(t text) RETURNS text LANGUAGE wasm AS '(module)'", "42P13"),
        (
            &LONGEST
                .replace("CREATE AGG", "CREATE OR REPLACE AGG")
                .replace("(param $at i32) (param $n i32)\n", "(param $n i32) (local $at i32)\n"),
            "42P13",
        ),
    ] {
        assert_eq!(code(&mut s, sql).await, sqlstate, "{sql}");
    }
    run(&mut s, "DROP AGGREGATE longest(text)").await;
    assert_eq!(run(&mut s, "SELECT l FROM m ORDER BY g").await, ["a", "yyyy", "zzz"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_follows_the_frames_of_its_rows() {
    let site = site();
    let mut s = site.session();
    run(&mut s, LONGEST).await;
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, g INT, name TEXT)").await;
    run(&mut s, "INSERT INTO t VALUES (1, 1, 'a'), (2, 1, 'ccc'), (3, 1, 'bb'), (4, 2, NULL), (5, 2, 'zz')").await;
    let sql = "SELECT id, longest(name) OVER (PARTITION BY g ORDER BY id) AS l, \
               longest(name) FILTER (WHERE name <> 'ccc') OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS near FROM t";
    run(&mut s, &format!("CREATE MATERIALIZED VIEW m AS {sql}")).await;
    let expected = ["1|a|a", "2|ccc|bb", "3|ccc|bb", "4|NULL|bb", "5|zz|zz"];
    assert_eq!(run(&mut s, &format!("{sql} ORDER BY id")).await, expected);
    assert_eq!(run(&mut s, "SELECT * FROM m ORDER BY id").await, expected);
    run(&mut s, "DELETE FROM t WHERE id = 2").await;
    let expected = ["1|a|bb", "3|bb|bb", "4|NULL|bb", "5|zz|zz"];
    assert_eq!(run(&mut s, &format!("{sql} ORDER BY id")).await, expected);
    assert_eq!(run(&mut s, "SELECT * FROM m ORDER BY id").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_arguments_of_an_aggregate_stay_together() {
    let site = site();
    let mut s = site.session();
    // The sum of weights times values, NULLs counted as 1000.
    run(
        &mut s,
        r#"CREATE AGGREGATE weighed(w bigint, v bigint) RETURNS bigint LANGUAGE wasm AS '(module (global $n (mut i64) (i64.const 0))
             (func (export "weighed_step") (param i32 i64 i32 i64)
               (global.set $n (i64.add (global.get $n) (if (result i64) (i32.or (local.get 0) (local.get 2))
                 (then (i64.const 1000)) (else (i64.mul (local.get 1) (local.get 3)))))))
             (func (export "weighed_result") (result i64) (global.get $n)))'"#,
    )
    .await;
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, w BIGINT, v BIGINT)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT weighed(w, v) AS n FROM t").await;
    run(&mut s, "INSERT INTO t VALUES (1, 3, 10), (2, 1, 500), (3, 2, 7), (4, NULL, 9), (5, 2, 7), (6, 2, NULL)").await;
    assert_eq!(run(&mut s, "SELECT m.n, (SELECT weighed(w, v ORDER BY id DESC) FROM t) FROM m").await, ["2558|2558"]);
    run(&mut s, "UPDATE t SET v = v + 1 WHERE w = 2; DELETE FROM t WHERE id = 2").await;
    assert_eq!(run(&mut s, "SELECT m.n, (SELECT weighed(w, v) FROM t) FROM m").await, ["2062|2062"]);
    assert_eq!(code(&mut s, "SELECT weighed(DISTINCT w, v) FROM t").await, "0A000");
}
