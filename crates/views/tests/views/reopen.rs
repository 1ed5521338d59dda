//! There is no clean-shutdown state: an instance that was dropped without a word comes back as it was.

use crate::common::{code, run, site};

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_instance_comes_back_with_everything() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT NOT NULL DEFAULT 'd')").await;
    run(&mut s, "CREATE STREAM m (n INT) WITH (partitions = 2)").await;
    run(&mut s, "CREATE VIEW v AS SELECT v, n FROM t JOIN m ON t.id = m.n").await;
    run(&mut s, "CREATE TABLE gone (id INT PRIMARY KEY)").await;
    run(&mut s, "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')").await;
    run(&mut s, "UPDATE t SET v = 'B' WHERE id = 2").await;
    run(&mut s, "DELETE FROM t WHERE id = 3").await;
    run(&mut s, "INSERT INTO m VALUES (1), (2), (2)").await;
    run(&mut s, "DROP TABLE gone").await;
    let token = s.token();
    drop(s);
    for _ in 0..2 {
        site.reopen();
        let mut s = site.session();
        run(&mut s, &format!("SET regauge.token = '{token}'")).await;
        assert_eq!(run(&mut s, "SELECT * FROM t ORDER BY id").await, ["1|a", "2|B"]);
        assert_eq!(run(&mut s, "SELECT * FROM v ORDER BY n").await, ["a|1", "B|2", "B|2"]);
        assert_eq!(code(&mut s, "SELECT * FROM gone").await, "42P01");
        assert_eq!(code(&mut s, "INSERT INTO t VALUES (2, 'x')").await, "23505");
        assert_eq!(run(&mut s, "INSERT INTO t VALUES (3) RETURNING v").await, ["d"]);
        run(&mut s, "DELETE FROM t WHERE id = 3").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_open_once() {
    let site = site();
    let second = regauge_views::Instance::open(regauge_views::Config::new(site.dir.path()));
    let error = second.err().unwrap();
    assert!(error.hint.is_some(), "{error}");
}
