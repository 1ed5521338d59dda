//! ALTER, RENAME, schemas, comments: dependants go by ids, and a restart brings all of it back.

use crate::common::{attempt, code, run, site};

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_table_is_still_read_by_its_views() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    run(&mut s, "INSERT INTO t VALUES (1, 10), (2, 20)").await;
    run(&mut s, "CREATE VIEW v AS SELECT t.id, n FROM t WHERE t.n > 5").await;
    run(&mut s, "CREATE VIEW cte AS WITH t AS (SELECT id FROM t) SELECT count(*) AS n FROM t").await;
    run(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT sum(n) AS n FROM v").await;
    run(&mut s, "ALTER TABLE t RENAME TO \"New T\"").await;
    // the old name is free, and means something else
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (7, 700)").await;
    run(&mut s, "INSERT INTO \"New T\" VALUES (3, 30)").await;
    for again in 0..2 {
        assert_eq!(run(&mut s, "SELECT * FROM v ORDER BY id").await, ["1|10", "2|20", "3|30"], "{again}");
        assert_eq!(run(&mut s, "SELECT n FROM cte").await, ["3"]);
        assert_eq!(run(&mut s, "FLUSH; SELECT n FROM m").await, ["60"]);
        drop(s);
        site.reopen();
        s = site.session();
    }
    assert_eq!(code(&mut s, "DROP TABLE \"New T\"").await, "2BP01");
    run(&mut s, "ALTER VIEW v RENAME TO w; ALTER MATERIALIZED VIEW m RENAME TO n").await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM w").await, ["3"]);
    assert_eq!(run(&mut s, "SELECT n FROM n").await, ["60"]);
    assert_eq!(code(&mut s, "SELECT * FROM v").await, "42P01");
    run(&mut s, "INSERT INTO \"New T\" VALUES (4, 40)").await;
    assert_eq!(run(&mut s, "SELECT n FROM n").await, ["100"]);
    assert_eq!(code(&mut s, "ALTER TABLE \"New T\" RENAME TO t").await, "42P07");
    assert_eq!(code(&mut s, "ALTER STREAM \"New T\" RENAME TO x").await, "42809");
    assert_eq!(code(&mut s, "ALTER TABLE nope RENAME TO x").await, "42P01");
    run(&mut s, "ALTER TABLE IF EXISTS nope RENAME TO x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renames_within_a_transaction_swap_two_tables() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    run(&mut s, "BEGIN; CREATE TABLE fresh AS SELECT 2 AS id; ALTER TABLE t RENAME TO old; ALTER TABLE fresh RENAME TO t").await;
    assert_eq!(run(&mut s, "SELECT id FROM t").await, ["2"]);
    run(&mut s, "COMMIT").await;
    run(&mut s, "DROP TABLE old; CREATE TABLE fresh (id INT PRIMARY KEY)").await;
    drop(s);
    site.reopen();
    let mut s = site.session();
    assert_eq!(run(&mut s, "SELECT id FROM t").await, ["2"]);
    assert_eq!(run(&mut s, "SELECT count(*) FROM fresh").await, ["0"]);
    run(&mut s, "BEGIN; ALTER TABLE t RENAME TO gone; ROLLBACK").await;
    assert_eq!(run(&mut s, "SELECT id FROM t").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_renamed_added_and_dropped() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, a INT, b TEXT)").await;
    run(&mut s, "INSERT INTO t VALUES (1, 10, 'x'), (2, 20, 'y')").await;
    run(&mut s, "CREATE VIEW all_of AS SELECT *, 1 AS one FROM t").await;
    run(&mut s, "CREATE VIEW some AS SELECT id, b FROM t").await;
    run(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT sum(a) AS a, count(b) AS b FROM t").await;
    run(&mut s, "ALTER TABLE t RENAME COLUMN a TO amount").await;
    assert_eq!(run(&mut s, "SELECT amount FROM t ORDER BY 1").await, ["10", "20"]);
    assert_eq!(run(&mut s, "SELECT id, a, b, one FROM all_of ORDER BY id").await, ["1|10|x|1", "2|20|y|1"]);
    run(&mut s, "ALTER TABLE t ADD COLUMN c INT DEFAULT 7, ADD d TEXT").await;
    assert_eq!(run(&mut s, "SELECT * FROM t ORDER BY id").await, ["1|10|x|7|NULL", "2|20|y|7|NULL"]);
    assert_eq!(run(&mut s, "SELECT * FROM all_of ORDER BY id").await, ["1|10|x|1", "2|20|y|1"]);
    run(&mut s, "INSERT INTO t VALUES (3, 30, 'z', DEFAULT, 'new')").await;
    assert_eq!(run(&mut s, "SELECT * FROM m").await, ["60|3"]);
    assert_eq!(code(&mut s, "ALTER TABLE t DROP COLUMN amount").await, "2BP01");
    assert_eq!(code(&mut s, "ALTER TABLE t DROP COLUMN id").await, "2BP01");
    run(&mut s, "ALTER TABLE t DROP COLUMN c").await;
    run(&mut s, "UPDATE t SET d = 'set' WHERE id = 1").await;
    run(&mut s, "DELETE FROM t WHERE id = 2").await;
    for again in 0..2 {
        assert_eq!(run(&mut s, "SELECT * FROM t ORDER BY id").await, ["1|10|x|set", "3|30|z|new"], "{again}");
        assert_eq!(run(&mut s, "FLUSH; SELECT * FROM m").await, ["40|2"]);
        assert_eq!(run(&mut s, "SELECT * FROM some ORDER BY id").await, ["1|x", "3|z"]);
        drop(s);
        site.reopen();
        s = site.session();
    }
    // a column that comes later is another one, under the same name too
    run(&mut s, "ALTER TABLE t ADD COLUMN c TEXT").await;
    assert_eq!(run(&mut s, "SELECT c FROM t WHERE id = 1").await, ["NULL"]);
    run(&mut s, "ALTER TABLE t DROP COLUMN amount CASCADE").await;
    assert_eq!(code(&mut s, "SELECT * FROM all_of").await, "42P01");
    assert_eq!(code(&mut s, "SELECT * FROM m").await, "42P01");
    assert_eq!(run(&mut s, "SELECT * FROM some ORDER BY id").await, ["1|x", "3|z"]);
    assert_eq!(run(&mut s, "SELECT * FROM t ORDER BY id").await, ["1|x|set|NULL", "3|z|new|NULL"]);
    assert_eq!(code(&mut s, "ALTER TABLE t ADD COLUMN b INT").await, "42701");
    run(&mut s, "ALTER TABLE t ADD COLUMN IF NOT EXISTS b INT; ALTER TABLE t DROP COLUMN IF EXISTS nope").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streams_old_records_read_as_the_current_columns() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE STREAM e (k INT, v INT) PARTITION BY (k) WITH (partitions = 2)").await;
    run(&mut s, "INSERT INTO e VALUES (1, 1), (2, 2)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT k, sum(v) AS v FROM e GROUP BY k").await;
    run(&mut s, "ALTER STREAM e ADD COLUMN note TEXT DEFAULT 'none'").await;
    run(&mut s, "ALTER STREAM e RENAME COLUMN v TO val").await;
    run(&mut s, "INSERT INTO e VALUES (1, 5, DEFAULT), (2, 6, 'said')").await;
    run(&mut s, "CREATE MATERIALIZED VIEW later AS SELECT note, count(*) AS n FROM e GROUP BY note").await;
    for again in 0..2 {
        let all = run(&mut s, "SELECT k, val, note FROM e ORDER BY val").await;
        assert_eq!(all, ["1|1|NULL", "2|2|NULL", "1|5|none", "2|6|said"], "{again}");
        assert_eq!(run(&mut s, "FLUSH; SELECT * FROM m ORDER BY k").await, ["1|6", "2|8"]);
        assert_eq!(run(&mut s, "SELECT * FROM later ORDER BY note").await, ["none|1", "said|1", "NULL|2"]);
        drop(s);
        site.reopen();
        s = site.session();
    }
    assert_eq!(code(&mut s, "ALTER STREAM e DROP COLUMN k").await, "2BP01");
    run(&mut s, "ALTER STREAM e DROP COLUMN note CASCADE").await;
    run(&mut s, "INSERT INTO e VALUES (1, 7)").await;
    assert_eq!(run(&mut s, "SELECT * FROM m ORDER BY k").await, ["1|13", "2|8"]);
    assert_eq!(run(&mut s, "SELECT max(val) FROM e").await, ["7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn not_null_and_defaults_change() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, NULL)").await;
    assert_eq!(code(&mut s, "ALTER TABLE t ALTER COLUMN n SET NOT NULL").await, "23502");
    run(&mut s, "UPDATE t SET n = 1").await;
    run(&mut s, "ALTER TABLE t ALTER COLUMN n SET NOT NULL, ALTER n SET DEFAULT 4").await;
    assert_eq!(run(&mut s, "INSERT INTO t (id) VALUES (2) RETURNING n").await, ["4"]);
    assert_eq!(code(&mut s, "INSERT INTO t VALUES (3, NULL)").await, "23502");
    run(&mut s, "ALTER TABLE t ALTER COLUMN n DROP NOT NULL, ALTER COLUMN n DROP DEFAULT").await;
    assert_eq!(run(&mut s, "INSERT INTO t (id) VALUES (3) RETURNING n").await, ["NULL"]);
    assert_eq!(code(&mut s, "ALTER TABLE t ALTER COLUMN id DROP NOT NULL").await, "42P16");
    assert_eq!(code(&mut s, "ALTER TABLE t ADD COLUMN x INT NOT NULL").await, "23502");
    run(&mut s, "CREATE STREAM e (n INT)").await;
    assert_eq!(code(&mut s, "BEGIN; INSERT INTO e VALUES (9); ALTER STREAM e ADD COLUMN y INT").await, "55006");
    run(&mut s, "ROLLBACK").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_is_one_transaction_and_outlives_a_restart() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); CREATE TABLE free (n INT)").await;
    run(&mut s, "INSERT INTO t VALUES (1, 10), (2, 20), (3, 30); INSERT INTO free VALUES (1), (1), (2)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT count(*) AS rows, sum(n) AS n FROM t").await;
    run(&mut s, "CREATE MATERIALIZED VIEW f AS SELECT n, count(*) AS rows FROM free GROUP BY n").await;
    run(&mut s, "BEGIN; DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (4, 40)").await;
    run(&mut s, "ALTER TABLE t ADD COLUMN a INT; ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'b'").await;
    run(&mut s, "UPDATE t SET a = n + id WHERE id <> 4; INSERT INTO t VALUES (5, 50, 5, 'five')").await;
    assert_eq!(code(&mut s, "SAVEPOINT s; ALTER TABLE t ALTER COLUMN a SET NOT NULL").await, "23502");
    run(&mut s, "ROLLBACK TO s; UPDATE t SET a = 0 WHERE a IS NULL; ALTER TABLE t ALTER a SET NOT NULL").await;
    run(&mut s, "ALTER TABLE t RENAME COLUMN b TO c; UPDATE t SET c = c || id WHERE id = 2").await;
    assert_eq!(run(&mut s, "SELECT * FROM t ORDER BY id").await, ["1|10|11|b", "2|20|22|b2", "4|40|0|b", "5|50|5|five"]);
    run(&mut s, "ALTER TABLE free ADD COLUMN k INT; UPDATE free SET k = 7 WHERE n = 1; DELETE FROM free WHERE n = 2").await;
    run(&mut s, "ALTER TABLE free ADD COLUMN l INT DEFAULT 8; INSERT INTO free VALUES (3)").await;
    let free = ["1|7|8", "1|7|8", "3|NULL|8"];
    assert_eq!(run(&mut s, "SELECT * FROM free ORDER BY n").await, free);
    assert_eq!(run(&mut site.session(), "SELECT * FROM t ORDER BY id").await, ["1|10", "2|20", "3|30"]);
    run(&mut s, "COMMIT").await;
    for again in 0..2 {
        let all = run(&mut s, "SELECT * FROM t ORDER BY id").await;
        assert_eq!(all, ["1|10|11|b", "2|20|22|b2", "4|40|0|b", "5|50|5|five"], "{again}");
        assert_eq!(run(&mut s, "SELECT * FROM free ORDER BY n").await, free, "{again}");
        assert_eq!(run(&mut s, "FLUSH; SELECT * FROM m").await, ["4|120"], "{again}");
        assert_eq!(run(&mut s, "SELECT * FROM f ORDER BY n").await, ["1|2", "3|1"], "{again}");
        drop(s);
        site.reopen();
        s = site.session();
    }
    run(&mut s, "UPDATE free SET l = n; ALTER TABLE free ADD COLUMN o INT; UPDATE free SET o = 1 WHERE n = 3").await;
    assert_eq!(run(&mut s, "SELECT * FROM free ORDER BY n").await, ["1|7|1|NULL", "1|7|1|NULL", "3|NULL|3|1"]);
    run(&mut s, "DELETE FROM free WHERE n = 1").await;
    assert_eq!(run(&mut s, "FLUSH; SELECT * FROM f").await, ["3|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_hold_relations_and_are_searched() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE SCHEMA a; CREATE SCHEMA IF NOT EXISTS a; CREATE SCHEMA b").await;
    assert_eq!(code(&mut s, "CREATE SCHEMA a").await, "42P06");
    assert_eq!(code(&mut s, "CREATE SCHEMA pg_mine").await, "42939");
    assert_eq!(code(&mut s, "CREATE TABLE nope.t (id INT PRIMARY KEY)").await, "3F000");
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    run(&mut s, "CREATE TABLE a.t (id INT PRIMARY KEY); INSERT INTO a.t VALUES (10), (11)").await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["1"]);
    run(&mut s, "SET search_path = a, public").await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["2"]);
    assert_eq!(run(&mut s, "SELECT count(*) FROM public.t").await, ["1"]);
    run(&mut s, "CREATE VIEW v AS SELECT count(*) AS n FROM t; CREATE MATERIALIZED VIEW m AS SELECT n FROM v").await;
    run(&mut s, "CREATE VIEW public.p AS SELECT t.id FROM t").await;
    run(&mut s, "SET search_path = b, public").await;
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    for again in 0..2 {
        assert_eq!(run(&mut s, "SELECT n FROM a.v").await, ["2"], "{again}");
        assert_eq!(run(&mut s, "FLUSH; SELECT n FROM a.m").await, ["2"]);
        assert_eq!(run(&mut s, "SELECT id FROM p ORDER BY id").await, ["10", "11"]);
        assert_eq!(run(&mut s, "SELECT count(*) FROM b.t").await, ["0"]);
        drop(s);
        site.reopen();
        s = site.session();
    }
    assert_eq!(code(&mut s, "ALTER TABLE a.t SET SCHEMA b").await, "42P07");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_goes_with_what_is_in_it() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE SCHEMA a; CREATE TABLE a.t (id INT PRIMARY KEY); CREATE VIEW v AS SELECT id FROM a.t").await;
    assert_eq!(code(&mut s, "DROP SCHEMA a").await, "2BP01");
    run(&mut s, "ALTER TABLE a.t SET SCHEMA public").await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM v").await, ["0"]);
    run(&mut s, "DROP SCHEMA a").await;
    assert_eq!(code(&mut s, "DROP SCHEMA a").await, "3F000");
    run(&mut s, "DROP SCHEMA IF EXISTS a").await;
    run(&mut s, "CREATE SCHEMA a; ALTER TABLE t SET SCHEMA a; DROP SCHEMA a CASCADE").await;
    assert_eq!(code(&mut s, "SELECT * FROM v").await, "42P01");
    assert_eq!(code(&mut s, "DROP SCHEMA public").await, "0A000");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_table_without_a_key_may_repeat() {
    let mut site = site();
    let (mut s, mut other) = (site.session(), site.session());
    run(&mut s, "CREATE TABLE t (a INT, b TEXT)").await;
    run(&mut s, "INSERT INTO t VALUES (1, 'x'), (1, 'x'), (2, NULL)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT a, count(*) AS n FROM t GROUP BY a").await;
    run(&mut s, "INSERT INTO t SELECT a, b FROM t").await;
    assert_eq!(run(&mut s, "SELECT * FROM m ORDER BY a").await, ["1|4", "2|2"]);
    run(&mut s, "UPDATE t SET a = 3 WHERE a = 2").await;
    run(&mut s, "BEGIN; INSERT INTO t VALUES (1, 'x'); DELETE FROM t WHERE a = 3; COMMIT").await;
    for again in 0..2 {
        assert_eq!(run(&mut s, "FLUSH; SELECT * FROM m ORDER BY a").await, ["1|5"], "{again}");
        assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["5"]);
        drop((s, other));
        site.reopen();
        (s, other) = (site.session(), site.session());
    }
    run(&mut s, "BEGIN; DELETE FROM t").await;
    run(&mut other, "UPDATE t SET b = 'y'").await;
    assert_eq!(code(&mut s, "COMMIT").await, "40001");
    assert_eq!(run(&mut s, "SELECT DISTINCT b FROM t").await, ["y"]);
    run(&mut s, "TRUNCATE t").await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["0"]);
    assert_eq!(run(&mut s, "SELECT * FROM m").await, [""; 0]);
    assert_eq!(code(&mut s, "INSERT INTO t VALUES (1, 'x') ON CONFLICT (a) DO NOTHING").await, "42P10");
}

#[tokio::test(flavor = "multi_thread")]
async fn show_create_says_what_makes_it_again() {
    let site = site();
    let mut s = site.session();
    run(
        &mut s,
        "CREATE TABLE t (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n INT CHECK (n > 0), \
         v VARCHAR(5) NOT NULL DEFAULT 'x', twice INT GENERATED ALWAYS AS (n * 2) STORED)",
    )
    .await;
    run(&mut s, "CREATE STREAM e (k INT, at TIMESTAMPTZ, WATERMARK FOR at AS at - INTERVAL '5 seconds') PARTITION BY (k)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW m WITH (on_error = 'divert') AS SELECT n FROM t").await;
    run(&mut s, "CREATE VIEW v AS SELECT n FROM m").await;
    let told = |row: String| row.split_once('|').map(|(_, sql)| sql.to_owned()).unwrap();
    let mut texts = vec![];
    for what in ["TABLE t", "STREAM e", "MATERIALIZED VIEW m", "VIEW v"] {
        texts.push(told(run(&mut s, &format!("SHOW CREATE {what}")).await.remove(0)));
    }
    run(&mut s, "DROP VIEW v; DROP MATERIALIZED VIEW m; DROP TABLE t; DROP STREAM e").await;
    for text in &texts {
        attempt(&mut s, text).await.unwrap_or_else(|e| panic!("{text}: {e}"));
    }
    for (what, text) in ["TABLE t", "STREAM e", "MATERIALIZED VIEW m", "VIEW v"].into_iter().zip(&texts) {
        assert_eq!(&told(run(&mut s, &format!("SHOW CREATE {what}")).await.remove(0)), text);
    }
    assert_eq!(code(&mut s, "SHOW CREATE VIEW t").await, "42809");
    assert_eq!(run(&mut s, "INSERT INTO t (n) VALUES (4) RETURNING id, n, v, twice").await, ["1|4|x|8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_view_keeps_its_columns() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 5)").await;
    run(&mut s, "CREATE VIEW v AS SELECT id FROM t; CREATE VIEW w AS SELECT *, 9 AS nine FROM v").await;
    run(&mut s, "CREATE OR REPLACE VIEW v AS SELECT id, n AS more FROM t").await;
    assert_eq!(run(&mut s, "SELECT * FROM v").await, ["1|5"]);
    assert_eq!(run(&mut s, "SELECT * FROM w").await, ["1|9"]);
    assert_eq!(code(&mut s, "CREATE OR REPLACE VIEW v AS SELECT id FROM t").await, "42P16");
    assert_eq!(code(&mut s, "CREATE OR REPLACE VIEW v AS SELECT id AS other, n AS more FROM t").await, "42P16");
    assert_eq!(code(&mut s, "CREATE OR REPLACE VIEW v AS SELECT id::text, n AS more FROM t").await, "42P16");
    assert_eq!(code(&mut s, "CREATE OR REPLACE VIEW t AS SELECT 1 AS one").await, "42809");
    assert_eq!(code(&mut s, "CREATE OR REPLACE VIEW v AS SELECT id, nine AS more FROM w").await, "42P17");
    run(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT more FROM v").await;
    assert_eq!(code(&mut s, "CREATE OR REPLACE VIEW v AS SELECT id, n + 1 AS more FROM t").await, "2BP01");
    drop(s);
    site.reopen();
    let mut s = site.session();
    assert_eq!(run(&mut s, "SELECT * FROM w").await, ["1|9"]);
}
