//! Errors are part of a view's result: reads name the record, SHOW says `errored`, and what takes the cause away heals. The same words for
//! any number of workers, whether the view was there before the data, and after a restart.

use crate::common::{Site, answer, attempt, code, run, site, site_with};
use arrow::array::{ArrayRef, Int32Array};
use futures::StreamExt;
use regauge_views::{Error, Response, Session};
use std::{sync::Arc, time::Duration};

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, g TEXT, n INT); CREATE TABLE u (g TEXT PRIMARY KEY, k INT)";

async fn refused(s: &mut Session, view: &str) -> Error {
    let error = attempt(s, &format!("SELECT * FROM {view}")).await.unwrap_err();
    assert_eq!(error.sqlstate, "RG002", "{view}: {error}");
    error
}

/// Message and detail of a read that fails.
async fn told(s: &mut Session, view: &str) -> String {
    let error = refused(s, view).await;
    format!("{}; {}", error.message, error.detail.unwrap_or_default())
}

/// State and error of a view as SHOW has them.
async fn shown(s: &mut Session, view: &str) -> String {
    run(s, "FLUSH").await;
    let lines = run(s, "SHOW MATERIALIZED VIEWS").await;
    let line = lines.iter().find(|l| l.split('|').nth(1) == Some(view)).unwrap_or_else(|| panic!("{view}: {lines:?}"));
    let cells: Vec<&str> = line.split('|').collect();
    format!("{}: {}", cells[3], cells[5])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_names_the_row_of_a_table_by_its_key_and_its_deletion_heals() {
    let site = site();
    let mut s = site.session();
    run(&mut s, TABLES).await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT 100 / n AS q FROM t").await;
    run(&mut s, "INSERT INTO t VALUES (1, 'a', 10), (2, 'a', 0), (3, 'b', 0)").await;
    // the view reads the column n alone: the key is found all the same
    assert_eq!(told(&mut s, "v").await, "view \"v\" has an error: division by zero table=t id=2; row=(0) n_rows=2");
    assert_eq!(shown(&mut s, "v").await, "errored: division by zero row=(0) n_rows=2");
    run(&mut s, "DELETE FROM t WHERE id = 2").await;
    assert_eq!(told(&mut s, "v").await, "view \"v\" has an error: division by zero table=t id=3; row=(0) n_rows=1");
    run(&mut s, "UPDATE t SET n = 5 WHERE id = 3").await;
    assert_eq!(run(&mut s, "SELECT * FROM v ORDER BY q").await, ["10", "20"]);
    assert_eq!(shown(&mut s, "v").await, "live: NULL");
    run(&mut s, "UPDATE t SET n = 0 WHERE id = 1").await;
    assert_eq!(told(&mut s, "v").await, "view \"v\" has an error: division by zero table=t id=1; row=(0) n_rows=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_names_the_record_of_a_stream_by_topic_partition_and_offset() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE STREAM clicks (page TEXT, ms INT) WITH (partitions = 4)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW fast AS SELECT page, 1000 / ms AS r FROM clicks WHERE page <> 'x'").await;
    for i in 0..40 {
        run(&mut s, &format!("INSERT INTO clicks VALUES ('x', 0), ('p{i}', {})", if i == 23 { 0 } else { i + 1 })).await;
    }
    let at = run(&mut s, "SELECT _partition, _offset FROM clicks WHERE page = 'p23'").await;
    let (partition, offset) = at[0].split_once('|').unwrap();
    let record = format!("topic=clicks partition={partition} offset={offset}");
    let expected = format!("view \"fast\" has an error: division by zero {record}; row=(p23, 0) n_rows=1");
    assert_eq!(told(&mut s, "fast").await, expected);
    // a rebuild says the same, and so does whoever asks again
    run(&mut s, "CREATE MATERIALIZED VIEW late AS SELECT page, 1000 / ms AS r FROM clicks WHERE page <> 'x'").await;
    assert_eq!(told(&mut s, "late").await, expected.replace("\"fast\"", "\"late\""));
    assert_eq!(told(&mut s, "fast").await, expected);
}

/// Views whose errors have no single record, and those that look through a view below.
async fn several(s: &mut Session) {
    run(s, TABLES).await;
    run(s, "CREATE TABLE big (id INT PRIMARY KEY, g TEXT, n NUMERIC(38, 0))").await;
    for (name, query) in [
        ("summed", "SELECT g, sum(n) AS s FROM big GROUP BY g"),
        ("joined", "SELECT t.id, u.k FROM t JOIN u ON t.g = u.g AND t.n / u.k > 1"),
        ("low", "SELECT id, n - 1 AS m FROM t WHERE n > 0"),
        ("high", "SELECT 100 / m AS q FROM low"),
        ("v", "SELECT id, 100 / n AS q FROM t"),
        ("over", "SELECT sum(q) AS s FROM v"),
    ] {
        run(s, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
    }
    run(s, "INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 1), (3, 'c', 7)").await;
    run(s, "INSERT INTO u VALUES ('a', 5), ('b', 1), ('c', 0)").await;
    let nines = "9".repeat(38);
    run(s, &format!("INSERT INTO big VALUES (1, 'x', {nines}), (2, 'x', {nines}), (3, 'y', 1)")).await;
}

/// What is said of each; of a pair, up to its values: the planner decides which columns a join carries.
const SEVERAL: [(&str, &str); 3] = [
    ("summed", "view \"summed\" has an error: value overflows numeric format group=(x); n_rows=1"),
    ("joined", "view \"joined\" has an error: division by zero row=("),
    ("high", "view \"high\" has an error: division by zero table=t id=2; row=(0) n_rows=1"),
];

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_pairs_are_named_by_their_values_and_heal() {
    let site = site();
    let mut s = site.session();
    several(&mut s).await;
    for (view, expected) in SEVERAL {
        let told = told(&mut s, view).await;
        assert!(told.starts_with(expected), "{told}");
        assert!(shown(&mut s, view).await.starts_with("errored: "), "{view}");
    }
    let pair = refused(&mut s, "joined").await.message;
    assert!(["7", "c", "0"].iter().all(|value| pair.split(['(', ',', ')']).any(|part| part.trim() == *value)), "{pair}");
    assert_eq!(shown(&mut s, "low").await, "live: NULL");
    run(&mut s, "UPDATE u SET k = 1 WHERE g = 'c'; UPDATE t SET n = 3 WHERE id = 2; DELETE FROM big WHERE id = 1").await;
    for view in ["summed", "joined", "high"] {
        assert_eq!(shown(&mut s, view).await, "live: NULL", "{view}");
    }
    assert_eq!(run(&mut s, "SELECT * FROM summed ORDER BY g").await, [format!("x|{}", "9".repeat(38)), "y|1".to_owned()]);
    assert_eq!(run(&mut s, "SELECT id FROM joined ORDER BY id").await, ["1", "2", "3"]);
    assert_eq!(run(&mut s, "SELECT q FROM high ORDER BY q").await, ["11", "16", "50"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_do_not_depend_on_workers_nor_on_a_restart() {
    let mut said = vec![];
    for workers in [1, 3] {
        let mut site = site_with(workers);
        let mut s = site.session();
        several(&mut s).await;
        let mut words = vec![];
        for (view, _) in SEVERAL {
            words.push(told(&mut s, view).await);
        }
        drop(s);
        site.reopen();
        let mut s = site.session();
        for ((view, _), before) in SEVERAL.iter().zip(&words) {
            assert_eq!(&told(&mut s, view).await, before, "{workers} workers, after a restart");
        }
        run(&mut s, "DELETE FROM t; DELETE FROM big").await;
        for (view, _) in SEVERAL {
            assert_eq!(run(&mut s, &format!("SELECT * FROM {view}")).await, [""; 0], "{view} heals after a restart");
        }
        said.push(words);
    }
    assert_eq!(said[0], said[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_an_errored_view_says_which_view_and_which_record() {
    let site = site();
    let mut s = site.session();
    several(&mut s).await;
    run(&mut s, "INSERT INTO t VALUES (4, 'd', 0)").await;
    let record = "division by zero in view \"v\" table=t id=4; row=(4, 0) n_rows=1";
    assert_eq!(told(&mut s, "over").await, format!("view \"over\" has an error: {record}"));
    assert_eq!(shown(&mut s, "over").await, "errored: division by zero in view \"v\" row=(4, 0) n_rows=1");
    run(&mut s, "CREATE MATERIALIZED VIEW third AS SELECT s + 1 AS s FROM over").await;
    assert_eq!(told(&mut s, "third").await, format!("view \"third\" has an error: {record}"), "over two views, and made late");
    run(&mut s, "DELETE FROM t WHERE id = 4").await;
    assert_eq!(run(&mut s, "SELECT s FROM third").await, ["125"]);
    for view in ["v", "over", "third"] {
        assert_eq!(shown(&mut s, view).await, "live: NULL", "{view}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_is_bounded_whatever_is_in_the_row() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE w (id INT PRIMARY KEY, a TEXT, b TEXT)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT a::int AS a, b FROM w").await;
    run(&mut s, &format!("INSERT INTO w VALUES (1, '{}', '{}')", "ü".repeat(100_000), "y".repeat(100_000))).await;
    let error = refused(&mut s, "v").await;
    assert!(error.message.contains("invalid input syntax for type integer") && error.message.contains("table=w id=1"), "{error}");
    assert!(error.to_string().len() < 1200, "{} bytes", error.to_string().len());
    run(&mut s, "UPDATE w SET a = '7', b = 'z'").await;
    assert_eq!(run(&mut s, "SELECT * FROM v").await, ["7|z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_where_a_row_fails() {
    let site: Site = site();
    let mut s = site.session();
    run(&mut s, TABLES).await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT id, 100 / n AS q FROM t").await;
    run(&mut s, "INSERT INTO t VALUES (1, 'a', 10)").await;
    run(&mut s, "SELECT * FROM v").await;
    let mut answers = s.execute("SUBSCRIBE v").await.unwrap();
    let Some(Response::Subscription(mut subscription)) = answers.pop() else { panic!("no subscription") };
    let first = subscription.stream.next().await.unwrap().unwrap();
    assert_eq!(first.num_rows(), 1);
    let mut writer = site.session();
    run(&mut writer, "INSERT INTO t VALUES (2, 'a', 0)").await;
    let told = tokio::time::timeout(Duration::from_secs(60), subscription.stream.next()).await.unwrap().unwrap().unwrap_err();
    assert!(told.sqlstate == "RG002" && told.message.contains("table=t id=2"), "{told}");
    assert!(subscription.stream.next().await.is_none(), "and nothing after it");
    assert_eq!(code(&mut writer, "SELECT * FROM v").await, "RG002");
}

#[tokio::test(flavor = "multi_thread")]
async fn diverted_rows_are_set_aside_and_the_others_can_be_read() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, TABLES).await;
    run(&mut s, "CREATE MATERIALIZED VIEW v WITH (on_error = 'divert') AS SELECT id, 100 / n AS q FROM t").await;
    run(&mut s, "CREATE MATERIALIZED VIEW over AS SELECT count(*) AS c, sum(q) AS s FROM v").await;
    run(&mut s, "INSERT INTO t VALUES (1, 'a', 10), (2, 'a', 0), (3, 'b', 0), (4, 'b', 50)").await;
    let aside = "SELECT * FROM v_errors ORDER BY subject";
    let two = ["22012|division by zero|v|row=(2, 0)|1", "22012|division by zero|v|row=(3, 0)|1"];
    for round in 0..2 {
        assert_eq!(run(&mut s, "SELECT * FROM v ORDER BY id").await, ["1|10", "4|2"], "{round}");
        assert_eq!(run(&mut s, aside).await, two, "{round}");
        assert_eq!(run(&mut s, "SELECT * FROM over").await, ["2|12"], "a view over it does not hear of them");
        let look = s.prepare("SELECT q FROM v WHERE id = $1", &[]).await.unwrap();
        let four: ArrayRef = Arc::new(Int32Array::from(vec![4]));
        assert_eq!(answer(s.run(&look, &[four]).await.unwrap()).await.unwrap(), ["2"], "by its key, too");
        assert_eq!(shown(&mut s, "v").await, "live: NULL");
        // one statement sees both at one epoch (I4): every row of t is in one of them
        let both = "SELECT (SELECT count(*) FROM v) + (SELECT sum(n_rows) FROM v_errors)";
        assert_eq!(run(&mut s, both).await, ["4"]);
        if round == 0 {
            drop(s);
            site.reopen();
            s = site.session();
        }
    }
    run(&mut s, "CREATE MATERIALIZED VIEW late WITH (on_error = 'divert') AS SELECT id, 100 / n AS q FROM t").await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM late_errors").await, ["2"], "a rebuild sets the same aside");
    run(&mut s, "UPDATE t SET n = 20 WHERE id = 2").await;
    assert_eq!(run(&mut s, "SELECT * FROM v ORDER BY id").await, ["1|10", "2|5", "4|2"]);
    assert_eq!(run(&mut s, aside).await, two[1..]);
    run(&mut s, "DELETE FROM t WHERE n = 0").await;
    assert_eq!(run(&mut s, aside).await, [""; 0]);
    assert_eq!(run(&mut s, "SELECT * FROM over").await, ["3|17"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_diverted_rows_comes_and_goes_with_its_view() {
    let site = site();
    let mut s = site.session();
    run(&mut s, TABLES).await;
    let create = "CREATE MATERIALIZED VIEW v WITH (on_error = 'divert') AS SELECT 100 / n AS q FROM t";
    run(&mut s, create).await;
    assert_eq!(run(&mut s, "SHOW VIEWS").await, ["public|v_errors|view"]);
    assert_eq!(
        run(&mut s, "DESCRIBE v_errors").await,
        [
            "sqlstate|text|yes|no|NULL",
            "message|text|yes|no|NULL",
            "met_in|text|yes|no|NULL",
            "subject|text|yes|no|NULL",
            "n_rows|bigint|yes|no|NULL"
        ]
    );
    for refused in ["DROP VIEW v_errors", "DROP VIEW v_errors CASCADE", "CREATE OR REPLACE VIEW v_errors AS SELECT 1"] {
        assert_eq!(code(&mut s, refused).await, "2BP01", "{refused}");
    }
    run(&mut s, "CREATE VIEW above AS SELECT count(*) AS n FROM v_errors").await;
    assert_eq!(code(&mut s, "DROP MATERIALIZED VIEW v").await, "2BP01", "something else depends on it");
    assert_eq!(run(&mut s, "SELECT * FROM above").await, ["0"]);
    let over = attempt(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT * FROM above").await.unwrap_err();
    assert!(over.sqlstate == "0A000" && over.message.contains("\"v_errors\""), "{over}");
    run(&mut s, "DROP VIEW above").await;
    run(&mut s, "DROP MATERIALIZED VIEW v").await;
    assert_eq!(run(&mut s, "SHOW VIEWS").await, [""; 0]);
    run(&mut s, "CREATE TABLE v_errors (id INT PRIMARY KEY)").await;
    assert_eq!(code(&mut s, create).await, "42P07", "the name is taken");
    assert_eq!(code(&mut s, "SELECT * FROM v").await, "42P01", "and nothing of it was made");
    run(&mut s, "CREATE MATERIALIZED VIEW w WITH (on_error = 'fail') AS SELECT 100 / n AS q FROM t").await;
    assert_eq!(code(&mut s, "SELECT * FROM w_errors").await, "42P01");
    assert_eq!(code(&mut s, "SELECT * FROM regauge_errors.w").await, "42P01");
    assert_eq!(code(&mut s, "CREATE MATERIALIZED VIEW x WITH (on_error = 'drop') AS SELECT id FROM t").await, "0A000");
    run(&mut s, "DROP TABLE t CASCADE").await;
    assert_eq!(run(&mut s, "SHOW MATERIALIZED VIEWS").await, [""; 0]);
}
