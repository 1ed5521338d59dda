//! CREATE and DROP, alone and in transactions.

use crate::common::{attempt, code, run, site};

#[tokio::test(flavor = "multi_thread")]
async fn ddl_and_dml_commit_together() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, "BEGIN").await;
    run(&mut a, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    run(&mut a, "INSERT INTO t VALUES (1, 1)").await;
    run(&mut a, "CREATE VIEW v AS SELECT n FROM t").await;
    assert_eq!(run(&mut a, "SELECT * FROM v").await, ["1"]);
    assert_eq!(code(&mut b, "SELECT * FROM t").await, "42P01");
    run(&mut a, "COMMIT").await;
    assert_eq!(run(&mut b, "SELECT * FROM v").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_taken_once() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    assert_eq!(code(&mut s, "CREATE STREAM t (n INT)").await, "42P07");
    run(&mut s, "CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY)").await;
    assert_eq!(code(&mut s, "CREATE TABLE u (id INT PRIMARY KEY, id TEXT)").await, "42701");
    assert_eq!(code(&mut s, "CREATE TABLE other.u (id INT PRIMARY KEY)").await, "3F000");
    assert_eq!(code(&mut s, "DROP TABLE nope").await, "42P01");
    run(&mut s, "DROP TABLE IF EXISTS nope").await;
    assert_eq!(code(&mut s, "DROP STREAM t").await, "42809");
    run(&mut s, "DROP TABLE t").await;
    run(&mut s, "CREATE TABLE t (id TEXT PRIMARY KEY)").await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn drop_asks_about_dependants_and_cascades() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&mut s, "CREATE VIEW v AS SELECT id FROM t").await;
    run(&mut s, "CREATE VIEW w AS SELECT id FROM v").await;
    assert_eq!(code(&mut s, "DROP TABLE t").await, "2BP01");
    assert_eq!(code(&mut s, "DROP VIEW v").await, "2BP01");
    run(&mut s, "DROP VIEW v, w").await;
    run(&mut s, "CREATE VIEW v AS SELECT id FROM t; CREATE VIEW w AS SELECT id FROM v").await;
    run(&mut s, "DROP TABLE t CASCADE").await;
    assert_eq!(code(&mut s, "SELECT * FROM w").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_races_are_judged_at_commit() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&mut a, "BEGIN").await;
    run(&mut a, "INSERT INTO t VALUES (1)").await;
    run(&mut b, "DROP TABLE t").await;
    assert_eq!(code(&mut a, "COMMIT").await, "40001");
    run(&mut a, "BEGIN; CREATE TABLE x (id INT PRIMARY KEY)").await;
    run(&mut b, "CREATE TABLE x (id TEXT PRIMARY KEY)").await;
    assert_eq!(code(&mut a, "COMMIT").await, "40001");
}

/// Each pair: what one transaction does, what another has committed meanwhile, and what comes of the first.
#[tokio::test(flavor = "multi_thread")]
async fn two_transactions_change_the_catalog_side_by_side() {
    let cases = [
        // What has nothing to do with each other stands side by side, whatever kinds they are.
        ("CREATE TABLE x (id INT PRIMARY KEY)", "CREATE TABLE y (id INT PRIMARY KEY)", "00000"),
        ("CREATE MATERIALIZED VIEW x AS SELECT id FROM t", "CREATE MATERIALIZED VIEW y AS SELECT id FROM t", "00000"),
        ("CREATE TABLE x (id SERIAL PRIMARY KEY)", "CREATE SEQUENCE y", "00000"),
        ("CREATE VIEW x AS SELECT id FROM t", "CREATE VIEW y AS SELECT id FROM t", "00000"),
        ("COMMENT ON TABLE t IS 'a'", "COMMENT ON TABLE u IS 'b'", "00000"),
        ("ALTER TABLE t ADD COLUMN more INT", "ALTER TABLE u ADD COLUMN more INT", "00000"),
        ("CREATE TABLE s.x (id INT PRIMARY KEY)", "CREATE TABLE s.y (id INT PRIMARY KEY)", "00000"),
        // What one reads the other has changed.
        ("CREATE VIEW x AS SELECT id FROM t", "ALTER TABLE t RENAME COLUMN id TO no", "40001"),
        ("CREATE MATERIALIZED VIEW x AS SELECT n FROM t", "ALTER TABLE t DROP COLUMN n", "40001"),
        ("CREATE VIEW x AS SELECT id FROM t", "DROP TABLE t CASCADE", "40001"),
        ("CREATE OR REPLACE VIEW v AS SELECT id FROM t", "CREATE OR REPLACE VIEW v AS SELECT id FROM u WHERE n > 0", "40001"),
        ("ALTER TABLE t ADD COLUMN more INT", "ALTER TABLE t ADD COLUMN other INT", "40001"),
        ("DROP VIEW v", "DROP VIEW v", "40001"),
        // What one renames, alters or drops has got a reader meanwhile.
        ("ALTER TABLE t RENAME TO w", "CREATE VIEW x AS SELECT id FROM t", "40001"),
        ("ALTER TABLE t DROP COLUMN n", "CREATE VIEW x AS SELECT n FROM t", "40001"),
        ("DROP VIEW v", "CREATE VIEW x AS SELECT id FROM v", "40001"),
        // Names.
        ("ALTER TABLE t RENAME TO w", "ALTER TABLE u RENAME TO w", "40001"),
        ("CREATE SEQUENCE x", "CREATE SEQUENCE x", "40001"),
        ("CREATE TABLE x (id INT PRIMARY KEY)", "CREATE SEQUENCE x", "40001"),
        ("CREATE TABLE s.x (id INT PRIMARY KEY)", "DROP SCHEMA s", "40001"),
    ];
    for (first, second, wanted) in cases {
        let mut site = site();
        let (mut a, mut b) = (site.session(), site.session());
        let before = "CREATE TABLE t (id INT PRIMARY KEY, n INT); CREATE TABLE u (id INT PRIMARY KEY, n INT); \
                      CREATE VIEW v AS SELECT id FROM u; CREATE SCHEMA s; INSERT INTO t VALUES (1, 2)";
        run(&mut a, before).await;
        run(&mut a, &format!("BEGIN; {first}")).await;
        run(&mut b, second).await;
        let outcome = attempt(&mut a, "COMMIT").await.map_or_else(|e| e.sqlstate, |_| "00000");
        assert_eq!(outcome, wanted, "{first} beside {second}");
        if wanted == "00000" && first.contains(" x ") && second.contains(" y ") && first.contains("VIEW") {
            run(&mut a, "INSERT INTO t VALUES (5, 6)").await;
            for name in ["x", "y"] {
                assert_eq!(run(&mut b, &format!("FLUSH; SELECT id FROM {name} ORDER BY id")).await, ["1", "5"], "{first}");
            }
        }
        // What is stored says the same.
        let shown = run(&mut a, "SHOW TABLES").await;
        drop((a, b));
        site.reopen();
        assert_eq!(run(&mut site.session(), "SHOW TABLES").await, shown, "{first} beside {second}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn show_and_describe_tell_what_there_is() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(5) NOT NULL, d NUMERIC(10,2) DEFAULT 1.5)").await;
    run(&mut s, "CREATE STREAM m (at TIMESTAMPTZ)").await;
    assert_eq!(run(&mut s, "SHOW TABLES").await, ["public|t|table"]);
    assert_eq!(run(&mut s, "SHOW STREAMS").await, ["public|m|stream"]);
    let described = run(&mut s, "DESCRIBE t").await;
    assert_eq!(described, ["id|bigint|no|yes|NULL", "v|varchar(5)|no|no|NULL", "d|numeric(10,2)|yes|no|1.5"]);
    run(&mut s, "SET application_name = 'x'").await;
    assert_eq!(run(&mut s, "SHOW application_name").await, ["x"]);
    assert_eq!(code(&mut s, "SHOW nope").await, "42704");
}
