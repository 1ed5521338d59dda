//! INSERT, UPDATE, DELETE and SELECT mean what they mean in PostgreSQL.

use crate::common::{code, run, site};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_inserted_is_read_back() {
    let site = site();
    let mut s = site.session();
    assert_eq!(
        run(&mut s, "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT NOT NULL, n INT DEFAULT 7)").await,
        ["CREATE TABLE"]
    );
    assert_eq!(run(&mut s, "INSERT INTO t VALUES (1, 'a', 10), (2, 'b', NULL)").await, ["INSERT 0 2"]);
    assert_eq!(run(&mut s, "INSERT INTO t (name, id) VALUES ('c', 3)").await, ["INSERT 0 1"]);
    assert_eq!(run(&mut s, "INSERT INTO t VALUES (4, 'd', DEFAULT)").await, ["INSERT 0 1"]);
    assert_eq!(run(&mut s, "SELECT * FROM t ORDER BY id").await, ["1|a|10", "2|b|NULL", "3|c|7", "4|d|7"]);
    assert_eq!(run(&mut s, "SELECT name FROM t WHERE id = 3").await, ["c"]);
    assert_eq!(run(&mut s, "SELECT count(*), sum(n) FROM t").await, ["4|24"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_answer_as_in_postgres() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (a INT, b INT, c TEXT, PRIMARY KEY (a, b))").await;
    run(&mut s, "INSERT INTO t VALUES (1, 1, 'x'), (1, 2, 'y'), (2, 1, 'z')").await;
    let steps: &[(&str, &[&str])] = &[
        ("UPDATE t SET c = c || '!' WHERE a = 1 RETURNING b, c", &["1|x!", "2|y!"]),
        ("UPDATE t SET c = 'one' WHERE a = 1 AND b = 2", &["UPDATE 1"]),
        ("UPDATE t SET a = a + 1", &["UPDATE 3"]),
        ("SELECT * FROM t ORDER BY a, b", &["2|1|x!", "2|2|one", "3|1|z"]),
        ("DELETE FROM t WHERE c = 'nothing'", &["DELETE 0"]),
        ("DELETE FROM t AS d WHERE d.a = 3 RETURNING *", &["3|1|z"]),
        ("INSERT INTO t VALUES (2, 1, 'new') ON CONFLICT DO NOTHING", &["INSERT 0 0"]),
        (
            "INSERT INTO t VALUES (2, 1, 'new') ON CONFLICT (a, b) DO UPDATE SET c = t.c || '/' || EXCLUDED.c RETURNING c",
            &["x!/new"],
        ),
        (
            "INSERT INTO t VALUES (2, 1, 'no'), (9, 9, 'fresh') ON CONFLICT (b, a) DO UPDATE SET c = 'never' WHERE t.c = 'other' RETURNING a",
            &["9"],
        ),
        ("INSERT INTO t SELECT a + 10, b, upper(c) FROM t WHERE a = 2", &["INSERT 0 2"]),
        ("SELECT c FROM t WHERE a = 12 ORDER BY b", &["X!/NEW", "ONE"]),
    ];
    for (sql, expected) in steps {
        assert_eq!(run(&mut s, sql).await, *expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_refused_and_leave_nothing() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(3), w INT NOT NULL)").await;
    run(&mut s, "INSERT INTO t VALUES (1, 'a', 1)").await;
    let wrong: &[(&str, &str)] = &[
        ("INSERT INTO t VALUES (2, 'b', 2), (1, 'c', 3)", "23505"),
        ("INSERT INTO t VALUES (2, 'b', 2), (2, 'c', 3)", "23505"),
        ("INSERT INTO t VALUES (2, 'b', NULL)", "23502"),
        ("INSERT INTO t (id, v) VALUES (2, 'b')", "23502"),
        ("INSERT INTO t VALUES (NULL, 'b', 1)", "23502"),
        ("INSERT INTO t VALUES (2, 'long', 1)", "22001"),
        ("INSERT INTO t VALUES (2, 'b', 1, 1)", "42601"),
        ("INSERT INTO t (id, nope) VALUES (2, 'b')", "42703"),
        ("INSERT INTO t (id, id) VALUES (2, 2)", "42701"),
        ("INSERT INTO nope VALUES (1)", "42P01"),
        ("UPDATE t SET id = NULL", "23502"),
        ("UPDATE t SET nope = 1", "42703"),
        ("SELECT nope FROM t", "42703"),
        ("SELECT * FROM nope", "42P01"),
        ("SELEC 1", "42601"),
        ("INSERT INTO t VALUES (5, 'x', 1), (5, 'y', 2) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v", "21000"),
        ("INSERT INTO t VALUES (5, 'x', 1) ON CONFLICT (v) DO NOTHING", "42P10"),
    ];
    for (sql, expected) in wrong {
        assert_eq!(code(&mut s, sql).await, *expected, "{sql}");
    }
    assert_eq!(run(&mut s, "SELECT * FROM t").await, ["1|a|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_takes_appends_and_nothing_else() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE STREAM m (who BIGINT, body TEXT) PARTITION BY (who) WITH (partitions = 4)").await;
    run(&mut s, "INSERT INTO m VALUES (1, 'a'), (2, 'b')").await;
    run(&mut s, "INSERT INTO m (body) VALUES ('c') RETURNING body").await;
    assert_eq!(run(&mut s, "SELECT * FROM m ORDER BY body").await, ["1|a", "2|b", "NULL|c"]);
    assert_eq!(run(&mut s, "SELECT body, _offset >= 0, _commit_ts IS NOT NULL FROM m WHERE who = 2").await, ["b|true|true"]);
    assert_eq!(code(&mut s, "UPDATE m SET body = 'x'").await, "42809");
    assert_eq!(code(&mut s, "DELETE FROM m").await, "42809");
    assert_eq!(code(&mut s, "INSERT INTO m VALUES (1, 'a') ON CONFLICT DO NOTHING").await, "42809");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_with_its_sequence_is_stored_once() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE STREAM m (n INT)").await;
    assert_eq!(code(&mut s, "INSERT INTO m VALUES (1) WITH SEQUENCE 0").await, "22023");
    run(&mut s, "SET regauge.producer = 'p'").await;
    for sequence in [0, 0, 1, 1, 0] {
        run(&mut s, &format!("INSERT INTO m VALUES ({sequence}) WITH SEQUENCE {sequence}")).await;
    }
    assert_eq!(run(&mut s, "SELECT n FROM m ORDER BY n").await, ["0", "1"]);
    assert_eq!(code(&mut s, "INSERT INTO m VALUES (9) WITH SEQUENCE 9").await, "55P02");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_views_are_expanded_with_their_own_search_path() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    run(&mut s, "CREATE VIEW big AS SELECT id, n * 2 AS double FROM t WHERE n > 1").await;
    run(&mut s, "CREATE VIEW bigger (key, x) AS SELECT * FROM big WHERE double > 4").await;
    run(&mut s, "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await;
    assert_eq!(run(&mut s, "SELECT * FROM big ORDER BY id").await, ["2|4", "3|6"]);
    assert_eq!(run(&mut s, "SELECT b.key, x FROM bigger b").await, ["3|6"]);
    assert_eq!(code(&mut s, "INSERT INTO big VALUES (1, 1)").await, "42809");
}
