//! A scan of a table copies what its statement needs: the answer is that of a scan which copies all.

use crate::common::{code, run, site};

const MANY: &str =
    "INSERT INTO t SELECT i, CASE WHEN i % 10 = 0 THEN NULL ELSE i % 7 END, 'text ' || i FROM generate_series(1, 20000) AS i";

#[tokio::test(flavor = "multi_thread")]
async fn conditions_leave_out_the_rows_for_which_they_are_not_true_and_no_others() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT, x TEXT)").await;
    run(&mut s, MANY).await;
    let steps: &[(&str, &[&str])] = &[
        (
            "SELECT id, x FROM t WHERE id % 5000 = 1 ORDER BY id",
            &["1|text 1", "5001|text 5001", "10001|text 10001", "15001|text 15001"],
        ),
        ("SELECT count(*) FROM t", &["20000"]),
        ("SELECT count(*), count(n) FROM t WHERE id > 10000 AND n IS NULL", &["1000|0"]),
        ("SELECT count(*) FROM t WHERE n <> 3", &["15429"]),
        ("SELECT count(*) FROM t WHERE NOT (n <> 3)", &["2571"]),
        ("SELECT count(*) FROM t WHERE (n = 3) IS NOT TRUE", &["17429"]),
        // what may fail is asked of rows that pass the rest
        ("SELECT count(*) FROM t WHERE id <> 5 AND 10 / (id - 5) > 4", &["2"]),
        ("SELECT count(*) FROM t WHERE 10 / (id - 5) > 4 AND id <> 5", &["2"]),
        ("SELECT count(*) FROM t WHERE x LIKE 'text 1999_'", &["10"]),
        ("SELECT count(*) FROM t WHERE random() < 2 AND id <= 10", &["10"]),
        ("SELECT count(*) FROM t WHERE id IN (SELECT n FROM t WHERE id < 4)", &["3"]),
        ("SELECT count(*) FROM t a WHERE EXISTS (SELECT 1 FROM t b WHERE b.id = a.n AND b.x = 'text 3')", &["2571"]),
        ("UPDATE t SET x = 'changed' WHERE id % 4000 = 0", &["UPDATE 5"]),
        ("SELECT id FROM t WHERE x = 'changed' ORDER BY id", &["4000", "8000", "12000", "16000", "20000"]),
        ("DELETE FROM t WHERE id % 8000 = 0 RETURNING id, x", &["8000|changed", "16000|changed"]),
        ("INSERT INTO t SELECT id + 20000, n, x FROM t WHERE id % 4000 = 0", &["INSERT 0 3"]),
        ("SELECT id FROM t WHERE x = 'changed' ORDER BY id", &["4000", "12000", "20000", "24000", "32000", "40000"]),
        ("SELECT count(*), sum(id) FROM t WHERE id > 0", &["20001|200082000"]),
    ];
    for (sql, expected) in steps {
        assert_eq!(run(&mut s, sql).await, *expected, "{sql}");
    }
    assert_eq!(code(&mut s, "SELECT count(*) FROM t WHERE 10 / (id - 5) > 4").await, "22012");
    assert_eq!(code(&mut s, "SELECT count(*) FROM t WHERE id > 0 AND 10 / (id - 5) > 4").await, "22012");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transactions_own_rows_stand_in_the_place_of_those_that_it_read() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT, x TEXT)").await;
    run(&mut s, MANY).await;
    run(&mut s, "BEGIN").await;
    run(&mut s, "UPDATE t SET n = 100 WHERE id % 6000 = 1").await;
    run(&mut s, "DELETE FROM t WHERE id = 6001").await;
    run(&mut s, "INSERT INTO t VALUES (30000, 100, 'new')").await;
    assert_eq!(run(&mut s, "SELECT id FROM t WHERE n = 100 ORDER BY id").await, ["1", "12001", "18001", "30000"]);
    assert_eq!(run(&mut s, "SELECT count(*) FROM t WHERE id % 6000 = 1 AND n < 100").await, ["0"]);
    run(&mut s, "ROLLBACK").await;
    assert_eq!(run(&mut s, "SELECT id, n FROM t WHERE id % 6000 = 1 ORDER BY id").await, ["1|1", "6001|2", "12001|3", "18001|4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_mean_what_the_session_says_of_time() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id BIGINT PRIMARY KEY, at TIMESTAMPTZ)").await;
    run(&mut s, "INSERT INTO t VALUES (1, '2024-01-01 20:00+00'), (2, '2024-01-01 10:00+00'), (3, '2024-01-02 20:00+00')").await;
    const OF_DAY: &str = "SELECT id FROM t WHERE at::date = DATE '2024-01-02' ORDER BY id";
    assert_eq!(run(&mut s, OF_DAY).await, ["3"]);
    run(&mut s, "SET TIME ZONE 'Asia/Tokyo'").await;
    assert_eq!(run(&mut s, OF_DAY).await, ["1"]);
    run(&mut s, "ALTER TABLE t ADD COLUMN kind TEXT").await;
    assert_eq!(run(&mut s, "SELECT id, kind FROM t WHERE at::date = DATE '2024-01-02' AND kind IS NULL").await, ["1|NULL"]);
}
