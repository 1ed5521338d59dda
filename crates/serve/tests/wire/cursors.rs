//! Cursors that scroll and that outlive their transaction, and the one namespace of cursors and portals.

use crate::{
    common::{code, rows, site},
    raw::{Raw, bind, execute, field, message, parse, query, sync},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_scrolls_goes_back_and_one_that_does_not_says_so() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    client.batch_execute("INSERT INTO t SELECT generate_series(1, 20000)").await.unwrap();
    client.batch_execute("BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id FROM t ORDER BY id").await.unwrap();
    assert_eq!(rows(&client, "FETCH LAST FROM c").await, ["20000"]);
    assert_eq!(rows(&client, "FETCH BACKWARD 2 FROM c").await, ["19999", "19998"]);
    assert_eq!(rows(&client, "FETCH ABSOLUTE 9000 FROM c").await, ["9000"]);
    assert_eq!(rows(&client, "MOVE BACKWARD 10 IN c; FETCH NEXT FROM c").await, ["8991"]);
    assert_eq!(rows(&client, "FETCH FIRST c").await, ["1"]);
    assert_eq!(rows(&client, "FETCH PRIOR c").await, [""; 0]);
    assert_eq!(rows(&client, "FETCH RELATIVE 5 FROM c").await, ["5"]);
    assert_eq!(rows(&client, "FETCH RELATIVE 0 FROM c").await, ["5"]);
    client.batch_execute("DECLARE forward CURSOR FOR SELECT id FROM t ORDER BY id").await.unwrap();
    assert_eq!(rows(&client, "FETCH ABSOLUTE 3 FROM forward").await, ["3"]);
    assert_eq!(code(&client, "FETCH PRIOR FROM forward").await, "55000");
    assert_eq!(rows(&client, "ROLLBACK; SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_with_hold_outlives_a_commit_and_no_rollback() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)").await.unwrap();
    client.batch_execute("DECLARE alone CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY id").await.unwrap();
    client.batch_execute("BEGIN; DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY id").await.unwrap();
    client.batch_execute("DECLARE gone CURSOR FOR SELECT id FROM t").await.unwrap();
    assert_eq!(rows(&client, "FETCH 2 FROM held").await, ["1", "2"]);
    client.batch_execute("COMMIT; DELETE FROM t").await.unwrap();
    assert_eq!(rows(&client, "FETCH ALL FROM held").await, ["3"]);
    assert_eq!(rows(&client, "FETCH BACKWARD ALL FROM held").await, ["3", "2", "1"]);
    assert_eq!(rows(&client, "FETCH ALL FROM alone").await, ["1", "2", "3"]);
    assert_eq!(code(&client, "FETCH BACKWARD 1 FROM alone").await, "55000");
    assert_eq!(code(&client, "FETCH 1 FROM gone").await, "34000");
    client.batch_execute("BEGIN; DECLARE undone CURSOR WITH HOLD FOR SELECT 1; ROLLBACK").await.unwrap();
    assert_eq!(code(&client, "FETCH 1 FROM undone").await, "34000");
    client.batch_execute("CLOSE held; DISCARD ALL").await.unwrap();
    for name in ["held", "alone"] {
        assert_eq!(code(&client, &format!("FETCH 1 FROM {name}")).await, "34000");
    }
    assert_eq!(code(&client, "DECLARE c CURSOR FOR SELECT 1").await, "25P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_takes_parameters() {
    let site = site().await;
    let mut client = site.client().await;
    let transaction = client.transaction().await.unwrap();
    let declare =
        transaction.prepare("DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 9) AS g(n) WHERE n > $1::int").await.unwrap();
    transaction.execute(&declare, &[&7i32]).await.unwrap();
    let got: Vec<i32> = transaction.query("FETCH ALL FROM c", &[]).await.unwrap().iter().map(|r| r.get(0)).collect();
    assert_eq!(got, [8, 9]);
}

/// Describe or close of a portal.
fn portal(kind: u8, name: &str) -> Vec<u8> {
    message(kind, format!("P{name}\0").as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_describes_runs_and_closes_what_declare_made() {
    let site = site().await;
    let mut raw = Raw::admitted(&site).await;
    raw.send(&query("BEGIN; DECLARE c CURSOR FOR SELECT n, n::text AS s FROM generate_series(1, 5) AS g(n)")).await;
    raw.until_ready().await;
    raw.send(&[portal(b'D', "c"), sync()].concat()).await;
    let answers = raw.until_ready().await;
    assert_eq!((answers[0].0, u16::from_be_bytes(answers[0].1[..2].try_into().unwrap())), (b'T', 2));
    raw.send(&[execute("c", 2), execute("c", 2), execute("c", 2), sync()].concat()).await;
    assert_eq!(raw.letters().await, "DDsDDsDCZ");
    // One namespace: neither may take the other's name.
    raw.send(&[parse("one", "SELECT 1"), bind("c", "one"), sync()].concat()).await;
    let answers = raw.until_ready().await;
    assert_eq!((answers[1].0, field(&answers[1].1, b'C')), (b'E', "42P03".to_owned()));
    raw.send(&[query("ROLLBACK"), query("BEGIN")].concat()).await;
    raw.until_ready().await;
    raw.until_ready().await;
    raw.send(&[bind("p", "one"), sync(), query("SAVEPOINT a; DECLARE p CURSOR FOR SELECT 2")].concat()).await;
    assert_eq!(raw.letters().await, "2Z");
    let answers = raw.until_ready().await;
    let error = answers.iter().find(|a| a.0 == b'E').expect("an error");
    assert_eq!(field(&error.1, b'C'), "42P03");
    // Each closes what the other has opened.
    raw.send(&[query("ROLLBACK TO a; CLOSE p"), execute("p", 0), sync()].concat()).await;
    raw.until_ready().await;
    let answers = raw.until_ready().await;
    assert_eq!(field(&answers[0].1, b'C'), "34000");
    raw.send(&[query("ROLLBACK; BEGIN; DECLARE c CURSOR FOR SELECT 1"), portal(b'C', "c"), sync(), query("FETCH c")].concat())
        .await;
    raw.until_ready().await;
    assert_eq!(raw.letters().await, "3Z");
    let answers = raw.until_ready().await;
    assert_eq!(field(&answers[0].1, b'C'), "34000");
    raw.send(&[query("ROLLBACK"), portal(b'D', "c"), sync()].concat()).await;
    raw.until_ready().await;
    let answers = raw.until_ready().await;
    assert_eq!(field(&answers[0].1, b'C'), "34000");
}
