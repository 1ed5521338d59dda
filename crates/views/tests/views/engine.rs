//! Materialized views over the engine itself: what is maintained equals what a SELECT computes, before and after the data,
//! through errors, restarts and drops.

use crate::common::{Site, attempt, code, run, site, site_with};
use regauge_views::Session;
use std::time::Duration;

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, g TEXT, n INT); CREATE TABLE u (g TEXT PRIMARY KEY, label TEXT)";

const WRITES: [&str; 6] = [
    "INSERT INTO t VALUES (1, 'a', 10), (2, 'a', 20), (3, 'b', 30), (4, 'c', 5), (5, NULL, 7), (6, 'b', 30)",
    "INSERT INTO u VALUES ('a', 'first'), ('c', 'third')",
    "UPDATE t SET n = n + 1 WHERE g = 'a'",
    "DELETE FROM t WHERE id = 4",
    "UPDATE u SET label = 'FIRST' WHERE g = 'a'; INSERT INTO u VALUES ('b', 'second'); DELETE FROM u WHERE g = 'c'",
    "INSERT INTO t VALUES (7, 'c', 70); UPDATE t SET g = 'b' WHERE id = 1",
];

/// Each operator's query.
const QUERIES: [(&str, &str); 9] = [
    ("mapped", "SELECT id, n * 2 AS twice FROM t WHERE n > 10"),
    ("grouped", "SELECT g, count(*) AS c, sum(n) AS s, min(n) AS lo, max(n) AS hi FROM t GROUP BY g"),
    ("whole", "SELECT count(*) AS c, sum(n) AS s FROM t"),
    ("inner_joined", "SELECT t.id, t.n, u.label FROM t JOIN u ON t.g = u.g"),
    ("left_joined", "SELECT t.id, u.label FROM t LEFT JOIN u ON t.g = u.g"),
    ("topped", "SELECT id, n FROM t ORDER BY n DESC, id LIMIT 3"),
    ("distinct_", "SELECT DISTINCT g FROM t"),
    ("unioned", "SELECT g FROM t UNION ALL SELECT g FROM u"),
    ("self_joined", "SELECT a.id, b.n FROM t a JOIN t b ON a.id = b.n - 29"),
];

async fn sorted(s: &mut Session, sql: &str) -> Vec<String> {
    let mut rows = run(s, sql).await;
    rows.sort();
    rows
}

async fn same(s: &mut Session, view: &str, query: &str, when: &str) -> usize {
    let (maintained, computed) = (sorted(s, &format!("SELECT * FROM {view}")).await, sorted(s, query).await);
    assert_eq!(maintained, computed, "{view} {when}");
    computed.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_maintained_is_what_a_select_computes_for_every_operator() {
    let site = site();
    let mut s = site.session();
    run(&mut s, TABLES).await;
    for (name, query) in QUERIES {
        run(&mut s, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
    }
    for write in WRITES {
        run(&mut s, write).await;
        for (name, query) in QUERIES {
            same(&mut s, name, query, write).await;
        }
    }
    for (name, query) in QUERIES {
        assert!(same(&mut s, name, query, "at the end").await > 0, "{name} is tested with rows");
    }
    run(&mut s, "DELETE FROM t; DELETE FROM u").await;
    for (name, query) in QUERIES {
        same(&mut s, name, query, "when all is deleted").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_made_after_the_data_equals_one_made_before() {
    let site = site();
    let mut s = site.session();
    run(&mut s, TABLES).await;
    for (name, query) in QUERIES {
        run(&mut s, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
    }
    for write in &WRITES[..4] {
        run(&mut s, write).await;
    }
    for (name, query) in QUERIES {
        run(&mut s, &format!("CREATE MATERIALIZED VIEW late_{name} AS {query}")).await;
    }
    for write in ["", WRITES[4], WRITES[5]] {
        if !write.is_empty() {
            run(&mut s, write).await;
        }
        for (name, query) in QUERIES {
            same(&mut s, &format!("late_{name}"), query, write).await;
            let early = format!("SELECT * FROM {name}");
            same(&mut s, &format!("late_{name}"), &early, write).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_follow_updates_and_deletes_and_vanish_with_their_last_row() {
    let site = site();
    let mut s = site.session();
    run(&mut s, TABLES).await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT g, sum(n) AS s, max(n) AS hi FROM t GROUP BY g").await;
    run(&mut s, "INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 9), (3, 'b', 5)").await;
    assert_eq!(sorted(&mut s, "SELECT * FROM v").await, ["a|10|9", "b|5|5"]);
    run(&mut s, "DELETE FROM t WHERE id = 2").await;
    assert_eq!(sorted(&mut s, "SELECT * FROM v").await, ["a|1|1", "b|5|5"], "the greatest is found again");
    run(&mut s, "UPDATE t SET g = 'a' WHERE id = 3").await;
    assert_eq!(sorted(&mut s, "SELECT * FROM v").await, ["a|6|5"], "no row, no group");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_over_views_follow_whether_made_before_or_after_the_data() {
    let site = site();
    let mut s = site.session();
    let (over, join) =
        ("SELECT count(*) AS groups, sum(s) AS total FROM v", "SELECT v.g, v.s, u.label FROM v LEFT JOIN u ON v.g = u.g");
    run(&mut s, TABLES).await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT g, sum(n) AS s FROM t GROUP BY g").await;
    run(&mut s, &format!("CREATE MATERIALIZED VIEW over AS {over}")).await;
    for write in &WRITES[..3] {
        run(&mut s, write).await;
        same(&mut s, "over", over, write).await;
    }
    assert_eq!(run(&mut s, "SELECT * FROM over").await, ["4|104"]);
    run(&mut s, &format!("CREATE MATERIALIZED VIEW joined AS {join}")).await;
    for write in &WRITES[3..] {
        run(&mut s, write).await;
        same(&mut s, "over", over, write).await;
        same(&mut s, "joined", join, write).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn division_by_zero_is_said_and_heals_when_its_cause_is_deleted_also_in_a_view_over_it() {
    let site = site();
    let mut s = site.session();
    run(&mut s, TABLES).await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT id, 100 / n AS q FROM t").await;
    run(&mut s, "CREATE MATERIALIZED VIEW over AS SELECT sum(q) AS s FROM v").await;
    run(&mut s, "INSERT INTO t VALUES (1, 'a', 10), (2, 'a', 0)").await;
    for view in ["v", "over"] {
        let error = attempt(&mut s, &format!("SELECT * FROM {view}")).await.unwrap_err();
        assert_eq!(error.sqlstate, "RG002", "{error}");
        assert!(error.message.contains("division by zero"), "{error}");
    }
    run(&mut s, "CREATE MATERIALIZED VIEW late AS SELECT q FROM v").await;
    assert_eq!(code(&mut s, "SELECT * FROM late").await, "RG002");
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["2"], "the table is not touched");
    run(&mut s, "DELETE FROM t WHERE id = 2").await;
    assert_eq!(run(&mut s, "SELECT * FROM v").await, ["1|10"]);
    assert_eq!(run(&mut s, "SELECT * FROM over").await, ["10"]);
    assert_eq!(run(&mut s, "SELECT * FROM late").await, ["10"]);
}

async fn written(site: &Site) -> Session {
    let mut s = site.session();
    run(&mut s, TABLES).await;
    for (name, query) in QUERIES {
        run(&mut s, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
    }
    run(&mut s, "CREATE MATERIALIZED VIEW over AS SELECT count(*) AS c FROM grouped").await;
    for write in &WRITES[..4] {
        run(&mut s, write).await;
    }
    s
}

#[tokio::test(flavor = "multi_thread")]
async fn views_come_back_from_their_stored_plans_and_go_on() {
    let mut site = site();
    drop(written(&site).await);
    site.reopen();
    let mut s = site.session();
    for write in ["", WRITES[4], WRITES[5]] {
        if !write.is_empty() {
            run(&mut s, write).await;
        }
        for (name, query) in QUERIES {
            same(&mut s, name, query, write).await;
        }
        same(&mut s, "over", "SELECT count(*) FROM grouped", write).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drop_ends_a_view_and_leaves_the_others() {
    let site = site();
    let mut s = written(&site).await;
    assert_eq!(code(&mut s, "DROP MATERIALIZED VIEW grouped").await, "2BP01");
    run(&mut s, "DROP MATERIALIZED VIEW over").await;
    run(&mut s, "DROP MATERIALIZED VIEW grouped").await;
    assert_eq!(code(&mut s, "SELECT * FROM grouped").await, "42P01");
    run(&mut s, WRITES[5]).await;
    same(&mut s, "inner_joined", QUERIES[3].1, "after the drop").await;
    run(&mut s, "CREATE MATERIALIZED VIEW grouped AS SELECT g FROM t GROUP BY g").await;
    same(&mut s, "grouped", "SELECT DISTINCT g FROM t", "made again").await;
    run(&mut s, "DROP TABLE t CASCADE").await;
    assert_eq!(run(&mut s, "SHOW MATERIALIZED VIEWS").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_read_at_one_epoch_while_others_write_and_epochs_are_forgotten() {
    let site = site();
    let mut s = site.session();
    run(&mut s, TABLES).await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT g, sum(n) AS s FROM t GROUP BY g").await;
    run(&mut s, "CREATE MATERIALIZED VIEW w AS SELECT sum(s) AS s FROM v").await;
    run(&mut s, "INSERT INTO t VALUES (1, 'a', 0), (2, 'b', 0)").await;
    let mut old = site.session();
    run(&mut old, "BEGIN").await;
    assert_eq!(run(&mut old, "SELECT sum(n) FROM t").await, ["0"]);
    let mut writer = site.session();
    // more commits than it takes for traces to forget, twice
    let writing = tokio::spawn(async move {
        for n in 0..1100 {
            run(&mut writer, "UPDATE t SET n = n + 1").await;
            // nobody else holds it back: a view that had too many epochs before it would be left behind, and with it the old epoch
            if n % 10 == 9 {
                run(&mut writer, "FLUSH").await;
            }
        }
        writer.token()
    });
    let both =
        "SELECT count(DISTINCT s) FROM (SELECT sum(n) AS s FROM t UNION ALL SELECT s FROM w UNION ALL SELECT sum(s) FROM v) x";
    while !writing.is_finished() {
        assert_eq!(run(&mut s, both).await, ["1"]);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let token = writing.await.unwrap();
    assert_eq!(run(&mut old, "SELECT s FROM w").await, ["0"], "a transaction's epoch is not forgotten");
    run(&mut old, "COMMIT").await;
    run(&mut old, &format!("SET regauge.token = '{token}'")).await;
    assert_eq!(run(&mut old, "SELECT s FROM w").await, ["2200"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_analyze_tells_what_operators_did() {
    let site = site();
    let mut s = written(&site).await;
    run(&mut s, "SELECT * FROM grouped").await;
    let lines = run(&mut s, "EXPLAIN ANALYZE MATERIALIZED VIEW grouped").await;
    let line = lines.iter().find(|l| l.contains(" Aggregate ")).unwrap_or_else(|| panic!("{lines:?}"));
    assert!(line.contains("rows_in=") && !line.contains("rows_in=0 "), "{line}");
}

/// It waited for a view that the driver had let go of meanwhile, until the session's patience was at its end: a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_flush_behind_a_drop_does_not_wait_for_what_is_gone() {
    let site = site_with(1);
    let mut s = site.session();
    run(&mut s, "CREATE STREAM s (k BIGINT)").await;
    for view in 0..8 {
        run(&mut s, &format!("CREATE MATERIALIZED VIEW v{view} AS SELECT k FROM s WHERE k > {view}")).await;
    }
    for view in 0..8 {
        run(&mut s, &format!("INSERT INTO s VALUES ({view})")).await;
        run(&mut s, &format!("DROP MATERIALIZED VIEW v{view}")).await;
        let flushed = tokio::time::timeout(Duration::from_secs(100), run(&mut s, "FLUSH")).await;
        assert!(flushed.is_ok(), "v{view} is dropped and is waited for");
    }
}
