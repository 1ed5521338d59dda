//! Functions of the program: in views, over deletes and restarts, absent, of another version, panicking.

use super::{rust_functions, text};
use regauge::{Config, Connection, Database, HostFunction, HostValue, Table, aggregate, arrow, function};
use std::path::Path;

fn open(dir: &Path, functions: Vec<HostFunction>) -> Database {
    Database::with_functions(Config::new(dir).workers(2), functions).unwrap()
}

/// With checkpoints.
fn open_with_checkpoints(dir: &Path, functions: Vec<HostFunction>) -> Database {
    let mut config = Config::new(dir).workers(2);
    config.checkpoints.enabled = true;
    Database::with_functions(config, functions).unwrap()
}

/// `scaled(n)` is n times a factor, the version's; 13 panics, what is below zero fails.
fn scaled(version: &str, factor: i64) -> HostFunction {
    times("scaled", version, factor)
}

/// The same by another name: a process has its functions in common, so what one test lacks another one must not register.
fn times(name: &str, version: &str, factor: i64) -> HostFunction {
    let made = function(name, version).takes(&["bigint"]).returns("bigint").strict().rows(move |row| match row {
        [HostValue::Int(13)] => panic!("thirteen is not taken"),
        [HostValue::Int(n)] if *n < 0 => Err(format!("{n} is below zero")),
        [HostValue::Int(n)] => Ok(HostValue::Int(n * factor)),
        other => Err(format!("{other:?}")),
    });
    made.unwrap()
}

/// The sum of the squares, NULLs counted as 1000.
fn squares() -> HostFunction {
    let step = |sum: &mut i64, row: &[HostValue<'_>]| {
        *sum += if let [HostValue::Int(n)] = row { n * n } else { 1000 };
        Ok(())
    };
    aggregate("squares", "1").takes(&["bigint"]).returns("bigint").fold(|| 0, step, |sum| Ok(HostValue::Int(sum))).unwrap()
}

/// Pairs joined in the order that they come in.
fn pairs() -> HostFunction {
    let step = |all: &mut String, row: &[HostValue<'_>]| {
        let [a, b] = row else { return Err("two".to_owned()) };
        let shown = |v: &HostValue<'_>| match v {
            HostValue::Int(n) => n.to_string(),
            HostValue::Text(t) => t.to_string(),
            _ => "-".to_owned(),
        };
        all.push_str(&format!("{}{} ", shown(a), shown(b)));
        Ok(())
    };
    let made = aggregate("pairs", "1")
        .takes(&["int", "text"])
        .returns("text")
        .fold(String::new, step, |all| Ok(HostValue::Text(all.trim_end().to_owned().into())));
    made.unwrap()
}

async fn rows(c: &mut Connection, sql: &str) -> Vec<Vec<Option<String>>> {
    c.query(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).texts()
}

async fn refused(c: &mut Connection, sql: &str) -> regauge::Error {
    match c.query(sql, &[]).await {
        Err(error) => error,
        Ok(table) => panic!("{sql} gave {}", Table::to_string(&table)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_runs_also_twice_over_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    rust_functions::run(dir.path()).await.unwrap();
    rust_functions::run(dir.path()).await.unwrap();
    let db = open(
        dir.path(),
        vec![rust_functions::slug().unwrap(), rust_functions::fahrenheit().unwrap(), rust_functions::longest().unwrap()],
    );
    let mut c = db.connect().unwrap();
    assert_eq!(rows(&mut c, "SELECT * FROM pages").await, text(&[&["hello-world", "68"]]));
    assert_eq!(rows(&mut c, "SELECT * FROM words").await, text(&[&["Hello,"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_follows_its_rows_and_an_error_of_one_heals_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), vec![]);
    db.register_function(scaled("1", 10)).unwrap();
    db.register_aggregate(squares()).unwrap();
    assert_eq!(db.register_aggregate(scaled("1", 10)).unwrap_err().sqlstate, "42809");
    let mut c = db.connect().unwrap();
    c.batch(
        "CREATE TABLE t (id INT PRIMARY KEY, g INT, n BIGINT);
         CREATE MATERIALIZED VIEW m AS SELECT id, scaled(n) AS n FROM t WHERE scaled(n) IS DISTINCT FROM 50;
         CREATE MATERIALIZED VIEW s AS SELECT g, squares(n) AS q, squares(DISTINCT n) FILTER (WHERE n > 1) AS d FROM t GROUP BY g;
         INSERT INTO t VALUES (1, 1, 1), (2, 1, 5), (3, 2, NULL), (4, 2, 3), (5, 2, 3)",
    )
    .await
    .unwrap();
    assert_eq!(
        rows(&mut c, "SELECT * FROM m ORDER BY id").await,
        text(&[&["1", "10"], &["3", "NULL"], &["4", "30"], &["5", "30"]])
    );
    assert_eq!(rows(&mut c, "SELECT * FROM s ORDER BY g").await, text(&[&["1", "26", "25"], &["2", "1018", "9"]]));
    c.batch("DELETE FROM t WHERE id IN (1, 5); UPDATE t SET n = 6 WHERE id = 2").await.unwrap();
    assert_eq!(rows(&mut c, "SELECT * FROM m ORDER BY id").await, text(&[&["2", "60"], &["3", "NULL"], &["4", "30"]]));
    assert_eq!(rows(&mut c, "SELECT * FROM s ORDER BY g").await, text(&[&["1", "36", "36"], &["2", "1009", "9"]]));
    // A panic and an error are those of the rows, and go with them.
    for (n, why) in [(13, "panicked: thirteen is not taken"), (-4, "failed: -4 is below zero")] {
        c.batch(&format!("INSERT INTO t VALUES (9, 3, {n})")).await.unwrap();
        let error = refused(&mut c, "SELECT * FROM m").await;
        assert!(error.sqlstate == "RG002" && format!("{error:?}").contains(why), "{error:?}");
        let error = refused(&mut c, &format!("SELECT scaled({n})")).await;
        assert!(error.sqlstate == "38000" && error.message.contains(why), "{error:?}");
        c.batch("DELETE FROM t WHERE id = 9").await.unwrap();
        assert_eq!(rows(&mut c, "SELECT count(*) FROM m").await, text(&[&["3"]]));
    }
    // Its rights are those of any function.
    c.batch("CREATE ROLE eve LOGIN; GRANT SELECT ON t TO eve; REVOKE EXECUTE ON FUNCTION scaled(bigint) FROM PUBLIC")
        .await
        .unwrap();
    c.batch("SET SESSION AUTHORIZATION eve").await.unwrap();
    assert_eq!(refused(&mut c, "SELECT scaled(1)").await.sqlstate, "42501");
    assert_eq!(
        refused(&mut c, "SELECT regauge_rust('scaled/1(bigint)bigint', 'strict', NULL::bigint, 1::bigint)").await.sqlstate,
        "42883"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_whose_function_is_absent_says_so_and_is_right_again_when_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    {
        let db = open_with_checkpoints(dir.path(), vec![times("grown", "1", 10)]);
        let mut c = db.connect().unwrap();
        c.batch(
            "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3);
             CREATE MATERIALIZED VIEW m AS SELECT id, grown(n) AS n FROM t;
             CREATE MATERIALIZED VIEW over_m AS SELECT sum(n) AS n FROM m;
             CREATE MATERIALIZED VIEW plain AS SELECT count(*) AS n FROM t",
        )
        .await
        .unwrap();
        assert_eq!(rows(&mut c, "SELECT n FROM over_m").await, text(&[&["60"]]));
        assert!(db.instance().checkpoint(std::time::Duration::from_secs(60)).unwrap());
    }
    {
        // Rows go while nobody can tell what their values were.
        let db = open_with_checkpoints(dir.path(), vec![]);
        let mut c = db.connect().unwrap();
        c.batch("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (4, 4)").await.unwrap();
        assert_eq!(rows(&mut c, "SELECT n FROM plain").await, text(&[&["3"]]));
        for view in ["m", "over_m"] {
            let error = refused(&mut c, &format!("SELECT * FROM {view}")).await;
            assert_eq!(error.sqlstate, "RG002", "{error:?}");
            let told = "rust function \"grown\"(bigint) returning bigint version 1 is not registered";
            assert!(error.message.contains(told), "{error:?}");
        }
        assert_eq!(
            rows(&mut c, "SELECT DISTINCT state FROM regauge.views WHERE name IN ('m', 'over_m')").await,
            text(&[&["errored"]])
        );
        let error = refused(&mut c, "SELECT grown(1)").await;
        assert!(error.sqlstate == "55000" && error.hint.is_some(), "{error:?}");
        assert!(db.instance().checkpoint(std::time::Duration::from_secs(60)).unwrap());
    }
    {
        // Another version is another function: the view is not given its answers in silence.
        let db = open_with_checkpoints(dir.path(), vec![times("grown", "2", 100)]);
        let mut c = db.connect().unwrap();
        assert_eq!(rows(&mut c, "SELECT grown(1)").await, text(&[&["100"]]));
        let error = refused(&mut c, "SELECT * FROM m").await;
        assert!(
            error.message.contains("version 1 is not registered") && error.message.contains("grown/2(bigint)bigint"),
            "{error:?}"
        );
    }
    {
        let db = open_with_checkpoints(dir.path(), vec![times("grown", "1", 10), times("grown", "2", 100)]);
        let mut c = db.connect().unwrap();
        assert_eq!(rows(&mut c, "SELECT * FROM m ORDER BY id").await, text(&[&["2", "20"], &["3", "30"], &["4", "40"]]));
        assert_eq!(rows(&mut c, "SELECT n FROM over_m").await, text(&[&["90"]]));
        // Statements have the last one; a view that is created again is rebuilt by it.
        assert_eq!(rows(&mut c, "SELECT grown(1)").await, text(&[&["100"]]));
        c.batch("DROP MATERIALIZED VIEW over_m; DROP MATERIALIZED VIEW m; CREATE MATERIALIZED VIEW m AS SELECT id, grown(n) AS n FROM t").await.unwrap();
        assert_eq!(rows(&mut c, "SELECT n FROM m ORDER BY id").await, text(&[&["200"], &["300"], &["400"]]));
    }
    let db = open(dir.path(), vec![times("grown", "2", 100)]);
    let mut c = db.connect().unwrap();
    assert_eq!(rows(&mut c, "SELECT n FROM m ORDER BY id").await, text(&[&["200"], &["300"], &["400"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_take_orders_and_frames() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), vec![squares(), pairs()]);
    let mut c = db.connect().unwrap();
    c.batch(
        "CREATE TABLE t (id INT PRIMARY KEY, g INT, w TEXT); INSERT INTO t VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 1, 'c'), (4, 2, 'd');
         CREATE MATERIALIZED VIEW m AS SELECT id, pairs(id, w) OVER (PARTITION BY g ORDER BY id) AS run,
             squares(id) FILTER (WHERE w <> 'b') OVER (ORDER BY id DESC ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS near FROM t;
         CREATE MATERIALIZED VIEW o AS SELECT g, pairs(id, w ORDER BY id DESC) AS p FROM t GROUP BY g",
    )
    .await
    .unwrap();
    let expected = text(&[&["1", "1a", "1"], &["2", "1a 2b", "9"], &["3", "1a 2b 3c", "25"], &["4", "4d", "16"]]);
    let live = "SELECT id, pairs(id, w) OVER (PARTITION BY g ORDER BY id), \
                squares(id) FILTER (WHERE w <> 'b') OVER (ORDER BY id DESC ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t ORDER BY id";
    assert_eq!(rows(&mut c, live).await, expected);
    assert_eq!(rows(&mut c, "SELECT * FROM m ORDER BY id").await, expected);
    assert_eq!(rows(&mut c, "SELECT * FROM o ORDER BY g").await, text(&[&["1", "3c 2b 1a"], &["2", "4d"]]));
    c.batch("DELETE FROM t WHERE id = 2").await.unwrap();
    let expected = text(&[&["1", "1a", "10"], &["3", "1a 3c", "25"], &["4", "4d", "16"]]);
    assert_eq!(rows(&mut c, "SELECT * FROM m ORDER BY id").await, expected);
    assert_eq!(rows(&mut c, "SELECT * FROM o ORDER BY g").await, text(&[&["1", "3c 1a"], &["2", "4d"]]));
    for sql in ["SELECT squares(DISTINCT id) OVER () FROM t", "SELECT squares(id ORDER BY id) OVER () FROM t"] {
        let error = refused(&mut c, sql).await;
        assert!(error.sqlstate == "0A000" && error.hint.is_some(), "{sql}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_without_a_form_of_their_own_are_text_and_volatile_ones_stay_out_of_views() {
    let dir = tempfile::tempdir().unwrap();
    let shown = |row: &[HostValue<'_>]| Ok(HostValue::Text(format!("{row:?}").into()));
    let all = function("shown", "1")
        .takes(&["boolean", "smallint", "real", "bytea", "date", "numeric(10,2)", "uuid"])
        .rows(shown)
        .unwrap();
    let numeric = function("half", "1").takes(&["numeric(10,2)"]).returns("numeric(10,2)").rows(|row| match row {
        [HostValue::Text(n)] => Ok(HostValue::Text(format!("{:.2}", n.parse::<f64>().unwrap() / 2.0).into())),
        _ => Ok(HostValue::Null),
    });
    let count = std::sync::atomic::AtomicI64::new(0);
    let counted = function("counted", "1").returns("bigint").volatile();
    let counted = counted.rows(move |_| Ok(HostValue::Int(count.fetch_add(1, std::sync::atomic::Ordering::Relaxed)))).unwrap();
    let db = open(dir.path(), vec![all, numeric.unwrap(), counted]);
    let mut c = db.connect().unwrap();
    let sql = "SELECT shown(true, 7::smallint, 0.5, '\\x00ff', '1970-01-03', 1.5, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')";
    let expected = "[Bool(true), Int(7), Float(0.5), Bytes([0, 255]), Int(2), Text(\"1.50\"), Text(\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\")]";
    assert_eq!(rows(&mut c, sql).await, text(&[&[expected]]));
    assert_eq!(rows(&mut c, "SELECT half(2.5), half(NULL), half(1) + 1").await, text(&[&["1.25", "NULL", "1.50"]]));
    let twice = rows(&mut c, "SELECT counted() FROM generate_series(1, 3)").await;
    assert_eq!(twice.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{twice:?}");
    c.batch("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    let error = c.batch("CREATE MATERIALIZED VIEW m AS SELECT id, counted() AS n FROM t").await.unwrap_err();
    assert!(error.sqlstate == "RG003" && error.hint.is_some(), "{error:?}");
    for (name, version, sqlstate) in [("Loud", "1", "22023"), ("quiet", "1'", "22023"), ("lower", "1", "42723")] {
        let made = function(name, version).rows(|_| Ok(HostValue::Null)).unwrap();
        assert_eq!(db.register_function(made).unwrap_err().sqlstate, sqlstate, "{name}");
    }
    assert_eq!(function("f", "1").takes(&["nothing"]).rows(|_| Ok(HostValue::Null)).unwrap_err().sqlstate, "42704");
    c.batch("CREATE FUNCTION taken(x INT) RETURNS INT LANGUAGE SQL AS 'SELECT x'").await.unwrap();
    let taken = function("taken", "1").takes(&["int"]).rows(|_| Ok(HostValue::Null)).unwrap();
    assert_eq!(db.register_function(taken).unwrap_err().sqlstate, "42723");
    // Columns of another type, or of another length, are an error and no more.
    let wrong = function("wrong", "1").takes(&["int"]).returns("bigint");
    let wrong = wrong.columns(|columns, _| Ok(columns[0].clone())).unwrap();
    db.register_function(wrong).unwrap();
    assert_eq!(refused(&mut c, "SELECT wrong(1)").await.sqlstate, "38000");
    let long = function("long", "1").takes(&["int"]).returns("int");
    let long = long.columns(|columns, n| Ok(arrow::array::new_null_array(columns[0].data_type(), n + 1))).unwrap();
    db.register_function(long).unwrap();
    assert_eq!(refused(&mut c, "SELECT long(1)").await.sqlstate, "38000");
}
