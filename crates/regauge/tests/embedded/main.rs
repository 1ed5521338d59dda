//! The crate as a library, as a program that embeds it uses it: the examples run, and what they promise is looked at closely.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[allow(dead_code)]
#[path = "../../examples/append_and_subscribe.rs"]
mod append_and_subscribe;
#[allow(dead_code)]
#[path = "../../examples/embedded.rs"]
mod embedded;

#[allow(dead_code)]
#[path = "../../examples/rust_functions.rs"]
mod rust_functions;

mod functions;

use regauge::{
    Database, Param, ProducerSeq,
    arrow::array::{Int32Array, RecordBatch},
};
use std::{sync::Arc, time::Duration};

fn text(rows: &[&[&str]]) -> Vec<Vec<Option<String>>> {
    rows.iter().map(|row| row.iter().map(|cell| (*cell != "NULL").then(|| (*cell).to_owned())).collect()).collect()
}

fn numbers(values: &[i32]) -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(values.to_vec())) as _)]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_run_also_twice_over_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    embedded::run(dir.path()).await.unwrap();
    embedded::run(dir.path()).await.unwrap();
    let db = Database::open(dir.path()).unwrap();
    let rows = db.connect().unwrap().query("SELECT name, sold, turnover FROM turnover ORDER BY 1", &[]).await.unwrap();
    assert_eq!(rows.texts(), text(&[&["chair", "2", "178.00"], &["lamp", "6", "105.00"]]));
    drop(db);
    let dir = tempfile::tempdir().unwrap();
    append_and_subscribe::run(dir.path()).await.unwrap();
    let db = Database::open(dir.path()).unwrap();
    let rows = db.connect().unwrap().query("SELECT * FROM extremes ORDER BY sensor", &[]).await.unwrap();
    assert_eq!(rows.texts(), text(&[&["hall", "19", "21", "2"], &["roof", "-2", "4", "2"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_of_the_past_is_read_with_parameters_within_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = regauge::Config::new(dir.path()).workers(1);
    config.limits.history_commits = 100;
    let db = Database::with(config).unwrap();
    let mut c = db.connect().unwrap();
    c.execute("CREATE TABLE t (k INT PRIMARY KEY, n INT)", &[]).await.unwrap();
    c.execute("CREATE MATERIALIZED VIEW v AS SELECT k, n * 2 AS n FROM t", &[]).await.unwrap();
    c.execute("INSERT INTO t VALUES (1, 10), (2, 20)", &[]).await.unwrap();
    c.execute("FLUSH", &[]).await.unwrap();
    let epoch = c.query("SHOW regauge.epoch", &[]).await.unwrap().texts()[0][0].clone().unwrap();
    c.execute("UPDATE t SET n = n + 1", &[]).await.unwrap();
    for (of, then, now) in [("t", "10", "11"), ("v", "20", "22")] {
        let sql = format!("SELECT n FROM {of} WHERE k = $1");
        assert_eq!(c.query(&sql, &[Param::from(1)]).await.unwrap().texts(), text(&[&[now]]));
        let past = format!("{sql} AS OF EPOCH {epoch}");
        assert_eq!(c.query(&past, &[Param::from(1)]).await.unwrap().texts(), text(&[&[then]]));
    }
    let error = c.query("SELECT n FROM v AS OF EPOCH 1", &[]).await.unwrap_err();
    assert!(["72000", "42P01"].contains(&error.sqlstate), "{error}");
}

#[tokio::test]
async fn a_runtime_of_one_thread_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    embedded::run(dir.path()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_take_the_types_that_the_statement_wants() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path()).unwrap();
    let mut c = db.connect().unwrap();
    c.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, d DATE, n NUMERIC(6, 2), b BYTEA, f FLOAT8, ok BOOL, s TEXT)", &[])
        .await
        .unwrap();
    let row: [Param; 7] =
        [7_i64.into(), "2026-02-28".into(), "1.5".into(), vec![0_u8, 255].into(), 0.5.into(), true.into(), None::<String>.into()];
    let done = c.execute("INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7)", &row).await.unwrap();
    assert_eq!((done.tag.as_str(), done.rows.is_none()), ("INSERT 0 1", true));
    let rows = c.query("SELECT * FROM t WHERE k = $1 AND d + 1 = $2", &[7.into(), "2026-03-01".into()]).await.unwrap();
    assert_eq!(rows.texts(), text(&[&["7", "2026-02-28", "1.50", "\\x00ff", "0.5", "t", "NULL"]]));
    let shown = rows.to_string();
    assert!(shown.starts_with(" k | d          | n    | b") && shown.lines().count() == 3, "{shown}");

    let wrong = c.query("SELECT * FROM t WHERE d = $1", &["31 of June".into()]).await.unwrap_err();
    assert_eq!(wrong.sqlstate, "22007", "{wrong}");
    let few = c.query("SELECT * FROM t WHERE k = $1", &[]).await.unwrap_err();
    assert_eq!(few.sqlstate, "08P01", "{few}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_rows_and_what_is_no_table_says_where_to_go() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path()).unwrap();
    let mut c = db.connect().unwrap();
    c.batch("CREATE STREAM s (n INT)").await.unwrap();
    let none = c.query("INSERT INTO s VALUES (1)", &[]).await.unwrap_err();
    assert!(none.sqlstate == "07003" && none.hint.is_some(), "{none}");
    for (sql, word) in [("COPY s FROM STDIN", "append()"), ("SUBSCRIBE s", "subscribe()")] {
        let refused = c.execute(sql, &[]).await.unwrap_err();
        assert!(refused.hint.as_deref().is_some_and(|hint| hint.contains(word)), "{sql}: {refused}");
    }
    let Err(refused) = c.subscribe("SELECT 1").await else { panic!("a SELECT is no subscription") };
    assert!(refused.hint.is_some(), "{refused}");
    // The connection is as good as before.
    assert_eq!(c.query("SELECT count(*) FROM s", &[]).await.unwrap().texts(), text(&[&["1"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_is_stored_once_and_outlives_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let producer = ProducerSeq { id: "p".to_owned(), incarnation: 1, sequence: 0 };
    {
        let db = Database::open(dir.path()).unwrap();
        let mut c = db.connect().unwrap();
        c.batch("CREATE STREAM s (n INT); CREATE MATERIALIZED VIEW total AS SELECT sum(n) AS n FROM s").await.unwrap();
        assert!(!c.append("s", numbers(&[1, 2, 3]), Some(producer.clone())).await.unwrap().duplicate);
        assert!(c.append("s", numbers(&[1, 2, 3]), Some(producer.clone())).await.unwrap().duplicate);
    }
    let db = Database::open(dir.path()).unwrap();
    let mut c = db.connect().unwrap();
    assert!(c.append("s", numbers(&[1, 2, 3]), Some(producer)).await.unwrap().duplicate);
    assert_eq!(c.query("SELECT n FROM total", &[]).await.unwrap().texts(), text(&[&["6"]]));
    let taken = Database::open(dir.path()).map(|_| ()).unwrap_err();
    assert_eq!(taken.sqlstate, "55006", "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_goes_away_rolls_back_and_its_subscription_stays_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path()).unwrap();
    let mut c = db.connect().unwrap();
    c.batch("CREATE TABLE t (k INT PRIMARY KEY)").await.unwrap();
    let mut changes = db.connect().unwrap().subscribe("SUBSCRIBE t").await.unwrap();
    let mut other = db.connect().unwrap();
    other.batch("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    drop(other);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), changes.next_batch()).await.is_err(),
        "a change that nobody committed"
    );
    c.execute("INSERT INTO t VALUES ($1)", &[2.into()]).await.unwrap();
    let batch = tokio::time::timeout(Duration::from_secs(60), changes.next_batch()).await.unwrap().unwrap().unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (1, 3));
    assert_eq!(c.query("SELECT * FROM t", &[]).await.unwrap().texts(), text(&[&["2"]]));
}
