//! CHECK, computed columns, sequences; UPDATE .. FROM and DELETE .. USING.

use crate::common::{attempt, code, run, site};

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_is_judged_wherever_rows_come_in() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT CHECK (n > 0), m INT, CONSTRAINT less CHECK (n < m))").await;
    run(&mut s, "INSERT INTO t VALUES (1, 1, 2), (2, NULL, NULL)").await;
    let error = attempt(&mut s, "INSERT INTO t VALUES (3, -5, 1)").await.unwrap_err();
    assert_eq!(
        (error.sqlstate, error.message.as_str()),
        ("23514", "new row for relation \"t\" violates check constraint \"t_n_check\"")
    );
    assert_eq!(error.detail.as_deref(), Some("Failing row contains (3, -5, 1)."));
    assert_eq!(code(&mut s, "UPDATE t SET m = 0").await, "23514");
    assert_eq!(code(&mut s, "INSERT INTO t VALUES (1, 1, 1) ON CONFLICT (id) DO UPDATE SET n = 9").await, "23514");
    assert_eq!(code(&mut s, "INSERT INTO t SELECT id + 10, n, n FROM t").await, "23514");
    assert_eq!(code(&mut s, "ALTER TABLE t ADD CHECK (id > 1)").await, "23514");
    run(&mut s, "ALTER TABLE t ADD CONSTRAINT small CHECK (id < 100)").await;
    assert_eq!(code(&mut s, "ALTER TABLE t ADD CONSTRAINT small CHECK (id < 100)").await, "42710");
    drop(s);
    site.reopen();
    let mut s = site.session();
    assert_eq!(code(&mut s, "INSERT INTO t VALUES (100, 1, 2)").await, "23514");
    run(&mut s, "ALTER TABLE t RENAME COLUMN n TO number").await;
    assert_eq!(code(&mut s, "INSERT INTO t VALUES (4, 0, 2)").await, "23514");
    run(&mut s, "ALTER TABLE t DROP CONSTRAINT small; INSERT INTO t VALUES (100, 1, 2)").await;
    assert_eq!(code(&mut s, "ALTER TABLE t DROP CONSTRAINT small").await, "42704");
    assert_eq!(code(&mut s, "CREATE TABLE u (id INT PRIMARY KEY, n INT CHECK (n))").await, "42804");
    assert_eq!(code(&mut s, "CREATE TABLE u (id INT PRIMARY KEY, CHECK (nope > 1))").await, "42703");
    assert_eq!(code(&mut s, "CREATE TABLE u (id INT PRIMARY KEY, CHECK (id = (SELECT 1)))").await, "0A000");
    run(&mut s, "CREATE STREAM e (n INT CHECK (n > 0)); INSERT INTO e VALUES (1)").await;
    assert_eq!(code(&mut s, "INSERT INTO e VALUES (0)").await, "23514");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_computed_column_follows_its_row() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, a INT, twice INT GENERATED ALWAYS AS (a * 2) STORED CHECK (twice < 100))")
        .await;
    assert_eq!(run(&mut s, "INSERT INTO t VALUES (1, 4, DEFAULT), (2, 5, DEFAULT) RETURNING twice").await, ["8", "10"]);
    assert_eq!(run(&mut s, "INSERT INTO t (id, a) SELECT 3, 6 RETURNING twice").await, ["12"]);
    assert_eq!(run(&mut s, "UPDATE t SET a = a + 1 WHERE id = 1 RETURNING twice").await, ["10"]);
    assert_eq!(code(&mut s, "INSERT INTO t VALUES (9, 1, 2)").await, "428C9");
    assert_eq!(code(&mut s, "UPDATE t SET twice = 2").await, "428C9");
    assert_eq!(code(&mut s, "INSERT INTO t VALUES (9, 70)").await, "23514");
    run(&mut s, "ALTER TABLE t RENAME COLUMN a TO b").await;
    drop(s);
    site.reopen();
    let mut s = site.session();
    assert_eq!(run(&mut s, "UPDATE t SET b = 1 WHERE id = 3 RETURNING twice").await, ["2"]);
    assert_eq!(code(&mut s, "ALTER TABLE t DROP COLUMN b").await, "2BP01");
    assert_eq!(
        code(&mut s, "CREATE TABLE u (id INT PRIMARY KEY, r TIMESTAMPTZ GENERATED ALWAYS AS (now()) STORED)").await,
        "42P17"
    );
    assert_eq!(
        code(&mut s, "CREATE TABLE u (id INT PRIMARY KEY, x INT DEFAULT 1 GENERATED ALWAYS AS (id) STORED)").await,
        "42601"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_never_gives_a_number_twice() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE SEQUENCE s START 5 INCREMENT 2").await;
    assert_eq!(code(&mut s, "SELECT currval('s')").await, "55000");
    assert_eq!(run(&mut s, "SELECT nextval('s')").await, ["5"]);
    assert_eq!(run(&mut s, "SELECT nextval('public.s'), currval('s'), lastval()").await, ["7|7|7"]);
    let mut other = site.session();
    assert_eq!(run(&mut other, "SELECT nextval('s')").await, ["9"]);
    assert_eq!(run(&mut s, "SELECT currval('s')").await, ["7"]);
    run(&mut s, "BEGIN; SELECT nextval('s'); ROLLBACK").await;
    assert_eq!(run(&mut s, "SELECT nextval('s') FROM (VALUES (1), (2), (3)) AS v(x)").await, ["13", "15", "17"]);
    drop((s, other));
    site.reopen();
    let mut s = site.session();
    let after: i64 = run(&mut s, "SELECT nextval('s')").await[0].parse().unwrap();
    assert!(after > 17 && after % 2 == 1, "{after}");
    assert_eq!(run(&mut s, "SELECT setval('s', 100)").await, ["100"]);
    assert_eq!(run(&mut s, "SELECT nextval('s')").await, ["102"]);
    assert_eq!(run(&mut s, "SELECT setval('s', 200, false)").await, ["200"]);
    assert_eq!(run(&mut s, "SELECT nextval('s')").await, ["200"]);
    // exactly where the first stretch ends
    run(&mut s, "CREATE SEQUENCE edge; SELECT nextval('edge')").await;
    assert_eq!(run(&mut s, "SELECT setval('edge', 32)").await, ["32"]);
    assert_eq!(run(&mut s, "SELECT nextval('edge')").await, ["33"]);
    run(&mut s, "CREATE SEQUENCE short MAXVALUE 2; SELECT nextval('short')").await;
    run(&mut s, "SELECT nextval('short')").await;
    assert_eq!(code(&mut s, "SELECT nextval('short')").await, "2200H");
    assert_eq!(code(&mut s, "SELECT nextval('nope')").await, "42P01");
    run(&mut s, "DROP SEQUENCE s").await;
    assert_eq!(code(&mut s, "SELECT nextval('s')").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setval_among_many_who_count_is_never_overwritten() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE SEQUENCE s").await;
    let counting = |mut session: regauge_views::Session, calls: usize| async move {
        let mut numbers: Vec<i64> = vec![];
        for _ in 0..calls {
            let rows = run(&mut session, "SELECT nextval('s') FROM generate_series(1, 40)").await;
            numbers.extend(rows.iter().map(|n| n.parse::<i64>().unwrap()));
        }
        numbers
    };
    for round in 1..=10 {
        let before: Vec<_> = (0..3).map(|_| tokio::spawn(counting(site.session(), 4))).collect();
        let floor = round * 1_000_000;
        run(&mut s, &format!("SELECT setval('s', {floor})")).await;
        let mut seen = counting(site.session(), 2).await;
        assert!(seen.iter().all(|n| *n > floor), "round={round}: {seen:?}");
        for task in before {
            seen.extend(task.await.unwrap());
        }
        let n = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), n, "a number was given twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_counts_by_its_own_sequence() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id SERIAL PRIMARY KEY, v TEXT)").await;
    assert_eq!(run(&mut s, "INSERT INTO t (v) VALUES ('a'), ('b') RETURNING id").await, ["1", "2"]);
    assert_eq!(run(&mut s, "INSERT INTO t VALUES (DEFAULT, 'c') RETURNING id").await, ["3"]);
    assert_eq!(run(&mut s, "INSERT INTO t (v) SELECT v FROM t ORDER BY v RETURNING id").await.len(), 3);
    assert_eq!(run(&mut s, "SELECT currval('t_id_seq')").await, ["6"]);
    assert_eq!(code(&mut s, "INSERT INTO t VALUES (6, 'd')").await, "23505");
    assert_eq!(code(&mut s, "DROP SEQUENCE t_id_seq").await, "2BP01");
    // within the transaction that makes it
    run(&mut s, "BEGIN; CREATE TABLE u (id BIGINT GENERATED BY DEFAULT AS IDENTITY (START WITH 10) PRIMARY KEY, v INT)").await;
    assert_eq!(run(&mut s, "INSERT INTO u (v) VALUES (1), (2) RETURNING id").await, ["10", "11"]);
    run(&mut s, "COMMIT").await;
    assert_eq!(run(&mut s, "INSERT INTO u (v) VALUES (3) RETURNING id").await, ["12"]);
    run(&mut s, "CREATE TABLE w (id INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v INT)").await;
    assert_eq!(code(&mut s, "INSERT INTO w VALUES (1, 1)").await, "428C9");
    assert_eq!(run(&mut s, "INSERT INTO w (v) VALUES (1) RETURNING id").await, ["1"]);
    run(&mut s, "TRUNCATE w RESTART IDENTITY").await;
    assert_eq!(run(&mut s, "INSERT INTO w (v) VALUES (1) RETURNING id").await, ["1"]);
    drop(s);
    site.reopen();
    let mut s = site.session();
    let next: i64 = run(&mut s, "INSERT INTO t (v) VALUES ('z') RETURNING id").await[0].parse().unwrap();
    assert!(next > 6, "{next}");
    run(&mut s, "DROP TABLE t").await;
    assert_eq!(code(&mut s, "SELECT nextval('t_id_seq')").await, "42P01");
    run(&mut s, "ALTER TABLE u ADD COLUMN no SERIAL").await;
    assert_eq!(run(&mut s, "SELECT count(DISTINCT no) FROM u").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_at_once_get_numbers_of_their_own() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id BIGSERIAL PRIMARY KEY, v INT)").await;
    let tasks: Vec<_> = (0..4)
        .map(|n| {
            let mut s = site.session();
            tokio::spawn(async move {
                for _ in 0..25 {
                    run(&mut s, &format!("INSERT INTO t (v) SELECT {n} FROM generate_series(1, 7)")).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(run(&mut s, "SELECT count(*), count(DISTINCT id) FROM t").await, ["700|700"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_changed_by_what_it_is_joined_with() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await;
    run(&mut s, "CREATE TABLE u (k INT PRIMARY KEY, id INT, n INT); INSERT INTO u VALUES (1, 1, 10), (2, 3, 30), (3, 3, 30)")
        .await;
    assert_eq!(run(&mut s, "UPDATE t SET n = t.n + u.n FROM u WHERE u.id = t.id").await, ["UPDATE 2"]);
    assert_eq!(run(&mut s, "SELECT * FROM t ORDER BY id").await, ["1|11", "2|2", "3|33"]);
    assert_eq!(run(&mut s, "UPDATE t AS x SET n = 0 FROM u WHERE u.id = x.id AND u.k = 1 RETURNING x.id, x.n").await, ["1|0"]);
    assert_eq!(run(&mut s, "DELETE FROM t USING u WHERE u.id = t.id RETURNING t.id").await, ["1", "3"]);
    assert_eq!(run(&mut s, "SELECT * FROM t").await, ["2|2"]);
}
