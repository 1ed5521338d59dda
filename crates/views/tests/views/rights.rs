//! Roles over sessions: what a revoke means to who is at work, who owns what, and that a restart forgets none of it.

use crate::common::{Site, attempt, code, run, site};
use futures::StreamExt;
use regauge_views::{Error, Instance, ProducerSeq, Response, Session, SessionOptions};
use std::sync::Arc;

fn session(site: &Site, user: &str) -> Session {
    let instance: &Instance = site.instance.as_ref().unwrap();
    instance.session(SessionOptions { user: user.to_owned(), ..SessionOptions::default() }).unwrap()
}

async fn all(session: &mut Session, statements: &[&str]) {
    for sql in statements {
        run(session, sql).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoke_holds_at_the_next_statement_of_every_kind() {
    let site = site();
    let mut root = site.session();
    let script = ["CREATE ROLE a LOGIN", "CREATE TABLE t (k int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 2)"];
    all(&mut root, &script).await;
    run(&mut root, "GRANT SELECT, INSERT ON t TO a").await;
    let mut a = session(&site, "a");
    let point = a.prepare("SELECT v FROM t WHERE k = $1", &[]).await.unwrap();
    let one: arrow::array::ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![1]));
    assert!(a.run(&point, std::slice::from_ref(&one)).await.is_ok());
    assert_eq!(run(&mut a, "SELECT v FROM t").await, ["2"]);
    run(&mut a, "PREPARE p AS SELECT v FROM t").await;
    run(&mut a, "BEGIN").await;
    assert_eq!(run(&mut a, "SELECT v FROM t").await, ["2"]);
    run(&mut root, "REVOKE SELECT ON t FROM a").await;
    assert_eq!(code(&mut a, "SELECT v FROM t").await, "42501");
    run(&mut a, "ROLLBACK").await;
    assert_eq!(code(&mut a, "SELECT v FROM t").await, "42501");
    assert_eq!(code(&mut a, "EXECUTE p").await, "42501");
    assert_eq!(a.run(&point, &[one]).await.err().map(|e| e.sqlstate), Some("42501"));
    run(&mut a, "INSERT INTO t VALUES (2, 3)").await;
    let denied = attempt(&mut a, "SELECT v FROM t").await.expect_err("revoked");
    assert_eq!(denied.message, "permission denied for table t");
    assert!(denied.hint.is_some_and(|h| h.contains("GRANT SELECT ON t TO a")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_when_its_right_does() {
    let site = site();
    let mut root = site.session();
    let script = ["CREATE ROLE a LOGIN", "CREATE STREAM s (n bigint)", "GRANT SELECT ON s TO a", "INSERT INTO s VALUES (1)"];
    all(&mut root, &script).await;
    let mut a = session(&site, "a");
    let Some(Response::Subscription(mut changes)) = a.execute("SUBSCRIBE TO s").await.unwrap().pop() else { panic!("changes") };
    assert_eq!(changes.stream.next().await.unwrap().unwrap().num_rows(), 1);
    run(&mut root, "REVOKE SELECT ON s FROM a").await;
    run(&mut root, "INSERT INTO s VALUES (2)").await;
    let error: Error = changes.stream.next().await.unwrap().expect_err("the right is gone");
    assert_eq!(error.sqlstate, "42501");
    assert!(changes.stream.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_read_by_its_owners_rights_as_they_are() {
    let site = site();
    let mut root = site.session();
    let script = [
        "CREATE ROLE owner LOGIN",
        "CREATE ROLE reader LOGIN",
        "CREATE TABLE t (k int PRIMARY KEY)",
        "INSERT INTO t VALUES (7)",
        "GRANT CREATE ON SCHEMA public TO owner",
        "GRANT SELECT ON t TO owner",
    ];
    all(&mut root, &script).await;
    let (mut owner, mut reader) = (session(&site, "owner"), session(&site, "reader"));
    let views = [
        "CREATE VIEW v AS SELECT k FROM t",
        "CREATE MATERIALIZED VIEW m AS SELECT k FROM t",
        "CREATE MATERIALIZED VIEW mm AS SELECT k FROM m",
        "GRANT SELECT ON v, m, mm TO reader",
    ];
    all(&mut owner, &views).await;
    assert_eq!(code(&mut reader, "SELECT k FROM t").await, "42501");
    for view in ["v", "m", "mm"] {
        assert_eq!(run(&mut reader, &format!("SELECT k FROM {view}")).await, ["7"]);
    }
    run(&mut root, "REVOKE SELECT ON t FROM owner").await;
    for view in ["v", "m", "mm"] {
        let error = attempt(&mut reader, &format!("SELECT k FROM {view}")).await.expect_err("the owner lost it");
        assert_eq!(error.sqlstate, "42501");
        let told = format!("{} {}", error.message, error.detail.unwrap_or_default());
        assert!(told.contains("owner owner") && !told.contains(" t "), "{told}");
        assert_eq!(code(&mut root, &format!("SELECT k FROM {view}")).await, "42501");
    }
    // It was maintained meanwhile.
    run(&mut root, "INSERT INTO t VALUES (8)").await;
    run(&mut root, "GRANT SELECT ON t TO owner").await;
    run(&mut reader, "FLUSH").await;
    assert_eq!(run(&mut reader, "SELECT k FROM mm ORDER BY k").await, ["7", "8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_survive_a_restart_and_go_with_what_they_are_on() {
    let mut site = site();
    let mut root = site.session();
    let script = [
        "CREATE ROLE a LOGIN PASSWORD 'secret'",
        "CREATE ROLE b LOGIN",
        "CREATE ROLE g",
        "GRANT g TO b",
        "CREATE SCHEMA x AUTHORIZATION a",
        "CREATE TABLE t (k int PRIMARY KEY)",
        "ALTER TABLE t OWNER TO a",
        "GRANT SELECT ON t TO g",
        "ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA x GRANT INSERT ON TABLES TO b",
    ];
    all(&mut root, &script).await;
    drop(root);
    site.reopen();
    let (mut a, mut b) = (session(&site, "a"), session(&site, "b"));
    assert_eq!(run(&mut b, "SELECT count(*) FROM t").await, ["0"]);
    assert_eq!(code(&mut b, "INSERT INTO t VALUES (1)").await, "42501");
    all(&mut a, &["CREATE TABLE x.u (k int PRIMARY KEY)", "GRANT USAGE ON SCHEMA x TO b", "INSERT INTO t VALUES (1)"]).await;
    run(&mut b, "INSERT INTO x.u VALUES (1)").await;
    assert_eq!(code(&mut b, "SELECT * FROM x.u").await, "42501");
    let mut root = site.session();
    let refused = attempt(&mut root, "DROP ROLE a").await.expect_err("it owns things");
    assert_eq!(refused.sqlstate, "2BP01");
    let detail = refused.detail.unwrap();
    assert!(detail.contains("owner of table t") && detail.contains("owner of schema x"), "{detail}");
    all(&mut root, &["REASSIGN OWNED BY a TO b", "DROP OWNED BY a", "DROP ROLE a"]).await;
    assert_eq!(run(&mut b, "SELECT count(*) FROM x.u").await, ["1"]);
    assert_eq!(code(&mut a, "SELECT 1").await, "28000");
    all(&mut root, &["DROP OWNED BY b CASCADE", "DROP ROLE b, g"]).await;
    assert_eq!(code(&mut root, "SELECT * FROM t").await, "42P01");
    // A relation that comes later under the name begins anew.
    run(&mut root, "CREATE ROLE b LOGIN").await;
    run(&mut root, "CREATE TABLE t (k int PRIMARY KEY)").await;
    drop((root, a, b));
    site.reopen();
    assert_eq!(code(&mut session(&site, "b"), "SELECT * FROM t").await, "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_role_is_laid_down_when_it_is_taken_back() {
    let site = site();
    let mut root = site.session();
    all(&mut root, &["CREATE ROLE a LOGIN", "CREATE ROLE g", "GRANT g TO a", "CREATE TABLE t (k int)", "GRANT SELECT ON t TO g"])
        .await;
    let mut a = session(&site, "a");
    all(&mut a, &["SET ROLE g", "SELECT * FROM t"]).await;
    run(&mut root, "REVOKE g FROM a").await;
    assert_eq!(code(&mut a, "SELECT 1").await, "42501");
    run(&mut a, "RESET ROLE").await;
    assert_eq!(code(&mut a, "SELECT * FROM t").await, "42501");
    // A role made anew under the name is another one.
    all(&mut root, &["DROP OWNED BY g", "DROP ROLE g", "CREATE ROLE g SUPERUSER"]).await;
    assert_eq!(code(&mut a, "SET ROLE g").await, "42501");
    run(&mut a, "BEGIN").await;
    assert_eq!(code(&mut a, "SET LOCAL ROLE regauge").await, "42501");
    run(&mut a, "ROLLBACK").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_made_by_who_may_and_the_first_one_stays() {
    let site = site();
    let mut root = site.session();
    all(&mut root, &["CREATE ROLE maker LOGIN CREATEROLE", "CREATE ROLE other LOGIN", "CREATE ROLE boss SUPERUSER"]).await;
    let (mut maker, mut other) = (session(&site, "maker"), session(&site, "other"));
    all(
        &mut maker,
        &["CREATE ROLE made PASSWORD 'x'", "ALTER ROLE made LOGIN", "GRANT made TO other", "ALTER USER made RENAME TO m2"],
    )
    .await;
    for (sql, sqlstate) in [
        ("CREATE ROLE bad SUPERUSER", "42501"),
        ("ALTER ROLE maker SUPERUSER", "42501"),
        ("ALTER ROLE boss PASSWORD 'x'", "42501"),
        ("DROP ROLE boss", "42501"),
        ("GRANT boss TO maker", "42501"),
        ("DROP ROLE maker", "55006"),
        ("CREATE ROLE made2 REPLICATION", "0A000"),
        ("CREATE ROLE pg_x", "42939"),
        ("CREATE ROLE public", "42939"),
        ("CREATE ROLE m2", "42710"),
        ("ALTER ROLE nobody LOGIN", "42704"),
        ("CREATE TABLE t (k int)", "42501"),
        ("CREATE SCHEMA s", "42501"),
        ("SELECT * FROM pg_authid", "42501"),
    ] {
        if !sql.contains("pg_authid") {
            assert_eq!(code(&mut maker, sql).await, sqlstate, "{sql}");
        }
    }
    run(&mut other, "ALTER ROLE other PASSWORD 'mine'").await;
    for sql in ["ALTER ROLE other CREATEROLE", "ALTER ROLE maker PASSWORD 'x'", "CREATE ROLE z", "GRANT maker TO other"] {
        assert_eq!(code(&mut other, sql).await, "42501", "{sql}");
    }
    for (sql, sqlstate) in [
        ("ALTER ROLE regauge NOSUPERUSER", "0A000"),
        ("ALTER ROLE regauge PASSWORD 'x'", "0A000"),
        ("DROP ROLE regauge", "55006"),
        ("GRANT SELECT (k) ON t TO other", "0A000"),
        ("GRANT SELECT ON nothing TO other", "42P01"),
        ("GRANT maker TO maker", "0LP01"),
        ("CREATE ROLE a PASSWORD 'md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'", "0A000"),
        ("CREATE ROLE a VALID UNTIL 'soon'", "22007"),
    ] {
        assert_eq!(code(&mut root, sql).await, sqlstate, "{sql}");
    }
    assert_eq!(run(&mut root, "DROP ROLE IF EXISTS nobody, m2").await, ["DROP ROLE"]);
    let unknown = site.instance.as_ref().unwrap().session(SessionOptions { user: "m2".to_owned(), ..Default::default() });
    assert_eq!(unknown.err().map(|e| e.sqlstate), Some("28000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_need_insert_and_a_producers_name_is_its_roles() {
    let site = site();
    let mut root = site.session();
    all(&mut root, &["CREATE ROLE a LOGIN", "CREATE ROLE b LOGIN", "CREATE STREAM s (n bigint)", "GRANT INSERT ON s TO a, b"])
        .await;
    let rows = |n: i64| {
        let column: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![n]));
        arrow::array::RecordBatch::try_from_iter([("n", column)]).unwrap()
    };
    let producer = || Some(ProducerSeq { id: "p".to_owned(), incarnation: 0, sequence: 0 });
    let (mut a, mut b) = (session(&site, "a"), session(&site, "b"));
    assert!(!a.append_records("s", rows(1), producer()).await.unwrap().duplicate);
    assert!(a.append_records("s", rows(1), producer()).await.unwrap().duplicate);
    assert!(!b.append_records("s", rows(2), producer()).await.unwrap().duplicate);
    assert_eq!(run(&mut root, "SELECT count(*) FROM s").await, ["2"]);
    run(&mut root, "REVOKE INSERT ON s FROM b").await;
    assert_eq!(b.append_records("s", rows(3), None).await.err().map(|e| e.sqlstate), Some("42501"));
    assert_eq!(code(&mut a, "SELECT * FROM s").await, "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn sequences_count_for_who_may_use_them() {
    let site = site();
    let mut root = site.session();
    let script = [
        "CREATE ROLE a LOGIN",
        "CREATE TABLE t (id serial PRIMARY KEY, v int)",
        "CREATE TABLE u (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v int)",
        "GRANT INSERT ON t, u TO a",
    ];
    all(&mut root, &script).await;
    let mut a = session(&site, "a");
    run(&mut a, "INSERT INTO u (v) VALUES (1)").await;
    assert_eq!(code(&mut a, "INSERT INTO t (v) VALUES (1)").await, "42501");
    run(&mut root, "GRANT USAGE ON SEQUENCE t_id_seq TO a").await;
    run(&mut a, "INSERT INTO t (v) VALUES (1)").await;
    assert_eq!(code(&mut a, "SELECT setval('t_id_seq', 10)").await, "42501");
    run(&mut root, "ALTER TABLE t OWNER TO a").await;
    run(&mut a, "SELECT setval('t_id_seq', 10)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_part_of_their_transaction() {
    let site = site();
    let mut root = site.session();
    all(&mut root, &["CREATE ROLE a LOGIN", "CREATE TABLE t (k int PRIMARY KEY)"]).await;
    let mut a = session(&site, "a");
    all(&mut root, &["BEGIN", "GRANT SELECT ON t TO a", "SET LOCAL ROLE a", "SELECT * FROM t"]).await;
    assert_eq!(code(&mut a, "SELECT * FROM t").await, "42501");
    run(&mut root, "ROLLBACK").await;
    assert_eq!(code(&mut a, "SELECT * FROM t").await, "42501");
    all(&mut root, &["BEGIN", "GRANT SELECT ON t TO a", "SAVEPOINT s", "CREATE ROLE b", "ROLLBACK TO s", "COMMIT"]).await;
    run(&mut a, "SELECT * FROM t").await;
    assert_eq!(code(&mut root, "GRANT SELECT ON t TO b").await, "42704");
    assert_eq!(code(&mut root, "BEGIN READ ONLY; GRANT SELECT ON t TO PUBLIC").await, "25006");
}

/// A view of the first superuser over a table that role `a` may not read, and a materialized view of `a` over it.
async fn over_anothers_view(root: &mut Session, a: impl FnOnce() -> Session) -> Session {
    let script = [
        "CREATE ROLE a LOGIN",
        "GRANT CREATE ON SCHEMA public TO a",
        "CREATE TABLE secret (k int PRIMARY KEY, v int)",
        "INSERT INTO secret VALUES (41, 0), (42, 2)",
        "CREATE VIEW mid AS SELECT k, 10 / v AS share FROM secret WHERE k <> 4711",
        "GRANT SELECT ON mid TO a",
    ];
    all(root, &script).await;
    let mut a = a();
    run(&mut a, "CREATE MATERIALIZED VIEW own WITH (on_error = 'divert') AS SELECT share FROM mid").await;
    a
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_set_aside_are_told_to_who_may_read_all_that_they_came_from() {
    let site = site();
    let mut root = site.session();
    let mut a = over_anothers_view(&mut root, || session(&site, "a")).await;
    assert_eq!(run(&mut a, "SELECT share FROM own").await, ["5"]);
    for sql in ["SELECT subject FROM own_errors", "SELECT count(*) FROM own_errors", "SELECT subject FROM regauge_errors.own"] {
        assert_eq!(code(&mut a, sql).await, "42501", "{sql}");
    }
    assert_eq!(run(&mut root, "SELECT n_rows FROM regauge_errors.own").await, ["1"]);
    run(&mut root, "GRANT SELECT ON secret TO a").await;
    assert_eq!(run(&mut a, "SELECT n_rows FROM own_errors").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_shown_to_who_may_read_what_the_views_in_it_read() {
    let site = site();
    let mut root = site.session();
    let mut a = over_anothers_view(&mut root, || session(&site, "a")).await;
    for sql in ["EXPLAIN MATERIALIZED VIEW own", "EXPLAIN ANALYZE MATERIALIZED VIEW own", "EXPLAIN SELECT share FROM mid"] {
        assert_eq!(code(&mut a, sql).await, "42501", "{sql}");
    }
    assert!(run(&mut root, "EXPLAIN MATERIALIZED VIEW own").await.iter().any(|line| line.contains("4711")));
    run(&mut root, "GRANT SELECT ON secret TO a").await;
    assert!(run(&mut a, "EXPLAIN MATERIALIZED VIEW own").await.iter().any(|line| line.contains("4711")));
}

#[tokio::test(flavor = "multi_thread")]
async fn merge_needs_what_its_clauses_do_and_read() {
    let site = site();
    let mut root = site.session();
    let script = [
        "CREATE ROLE a LOGIN",
        "CREATE TABLE t (k int PRIMARY KEY, v int)",
        "CREATE TABLE s (k int, v int)",
        "CREATE TABLE hidden (k int)",
        "INSERT INTO s VALUES (1, 1)",
    ];
    all(&mut root, &script).await;
    let mut a = session(&site, "a");
    let insert = "MERGE INTO t USING s ON t.k = s.k WHEN NOT MATCHED THEN INSERT VALUES (k, v)";
    let update = "MERGE INTO t USING s ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = s.v + 1";
    let delete = "MERGE INTO t USING s ON t.k = s.k WHEN MATCHED THEN DELETE";
    // The first privilege that is missing is granted, one after the other.
    for (sql, grants) in
        [(insert, &["SELECT ON t", "SELECT ON s", "INSERT ON t"][..]), (update, &["UPDATE ON t"]), (delete, &["DELETE ON t"])]
    {
        for grant in grants {
            assert_eq!(code(&mut a, sql).await, "42501", "{sql} before GRANT {grant}");
            run(&mut root, &format!("GRANT {grant} TO a")).await;
        }
        assert_eq!(run(&mut a, sql).await, ["MERGE 1"], "{sql}");
    }
    let hidden = "MERGE INTO t USING s ON t.k = s.k AND EXISTS (SELECT 1 FROM hidden) WHEN MATCHED THEN DELETE";
    assert_eq!(code(&mut a, hidden).await, "42501");
    assert_eq!(code(&mut a, "MERGE INTO t USING hidden ON t.k = hidden.k WHEN MATCHED THEN DELETE").await, "42501");
    // Without a column of the table in sight no SELECT of it is needed.
    run(&mut root, "REVOKE SELECT ON t FROM a").await;
    assert_eq!(run(&mut a, "MERGE INTO t USING s ON false WHEN NOT MATCHED THEN INSERT VALUES (k, v)").await, ["MERGE 1"]);
    assert_eq!(code(&mut a, insert).await, "42501");
    let again = "MERGE INTO t USING s ON false WHEN NOT MATCHED THEN INSERT VALUES ((SELECT max(k) FROM t) + 1, v)";
    assert_eq!(code(&mut a, again).await, "42501");
}
