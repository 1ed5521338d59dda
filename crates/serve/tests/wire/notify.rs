//! LISTEN and NOTIFY between connections.

use crate::{
    common::{code, rows, site},
    raw::{Raw, query},
};
use std::collections::BTreeSet;

/// Channel and payload of a NotificationResponse.
fn note(body: &[u8]) -> (String, String) {
    let texts: Vec<String> = body[4..].split(|b| *b == 0).map(|t| String::from_utf8(t.to_vec()).unwrap()).collect();
    (texts[0].clone(), texts[1].clone())
}

/// The next thing that a client hears, which is a note.
async fn heard(raw: &mut Raw) -> (String, String) {
    let (kind, body) = raw.answer().await.expect("a note");
    assert_eq!(kind, b'A');
    note(&body)
}

/// What a statement is answered with, and the notes among it.
async fn said(raw: &mut Raw, sql: &str) -> (String, Vec<(String, String)>) {
    raw.send(&query(sql)).await;
    let answers = raw.until_ready().await;
    let letters = answers.iter().map(|(kind, _)| char::from(*kind)).collect();
    (letters, answers.iter().filter(|(kind, _)| *kind == b'A').map(|(_, body)| note(body)).collect())
}

fn of(channel: &str, payload: &str) -> (String, String) {
    (channel.to_owned(), payload.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_told_when_their_transaction_is_committed_and_not_before() {
    let site = site().await;
    let client = site.client().await;
    let mut raw = Raw::admitted(&site).await;
    assert_eq!(said(&mut raw, "LISTEN a; LISTEN \"B\"").await.0, "CCZ");
    client.batch_execute("NOTIFY nobody, 'x'; NOTIFY a").await.unwrap();
    assert_eq!(heard(&mut raw).await, of("a", ""));
    client.batch_execute("BEGIN; NOTIFY a, '1'; NOTIFY a, '1'; NOTIFY a, '2'; SAVEPOINT s; NOTIFY a, 'gone'").await.unwrap();
    client
        .batch_execute("ROLLBACK TO SAVEPOINT s; SELECT pg_notify('B', g::text) FROM generate_series(1, 2) AS g")
        .await
        .unwrap();
    assert_eq!(said(&mut raw, "SELECT 1").await, ("TDCZ".to_owned(), vec![]));
    client.batch_execute("COMMIT").await.unwrap();
    for expected in [of("a", "1"), of("a", "2"), of("B", "1"), of("B", "2")] {
        assert_eq!(heard(&mut raw).await, expected);
    }
    client.batch_execute("BEGIN; NOTIFY a, 'gone'; ROLLBACK").await.unwrap();
    assert_eq!(code(&client, "BEGIN; NOTIFY a, 'gone'; SELECT 1 / 0").await, "22012");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(code(&client, "SELECT pg_notify('a', 'gone'), 1 / 0").await, "22012");
    // Within a transaction nothing is told.
    assert_eq!(said(&mut raw, "BEGIN").await.0, "CZ");
    client.execute("SELECT pg_notify($1, $2)", &[&"a", &"late"]).await.unwrap();
    assert_eq!(said(&mut raw, "SELECT 1").await, ("TDCZ".to_owned(), vec![]));
    assert_eq!(said(&mut raw, "NOTIFY a, 'mine'").await, ("CZ".to_owned(), vec![]));
    assert_eq!(said(&mut raw, "COMMIT").await, ("CAAZ".to_owned(), vec![of("a", "late"), of("a", "mine")]));
    assert_eq!(said(&mut raw, "BEGIN; UNLISTEN a; LISTEN c; ROLLBACK").await.0, "CCCCZ");
    client.batch_execute("NOTIFY c, 'not heard'; NOTIFY a, 'still heard'").await.unwrap();
    assert_eq!(heard(&mut raw).await, of("a", "still heard"));
    assert_eq!(said(&mut raw, "UNLISTEN a").await.0, "CZ");
    client.batch_execute("NOTIFY a, 'not heard'; NOTIFY \"B\", 'heard'").await.unwrap();
    assert_eq!(heard(&mut raw).await, of("B", "heard"));
    assert_eq!(said(&mut raw, "DISCARD ALL").await.0, "CZ");
    client.batch_execute("NOTIFY \"B\", 'not heard'").await.unwrap();
    assert_eq!(said(&mut raw, "LISTEN a").await, ("CZ".to_owned(), vec![]));
    client.batch_execute("NOTIFY a, 'last'").await.unwrap();
    assert_eq!(heard(&mut raw).await, of("a", "last"));
    for (sql, expected) in [
        ("SELECT pg_notify('', 'x')".to_owned(), "22023"),
        ("SELECT pg_notify(NULL, 'x')".to_owned(), "22023"),
        (format!("LISTEN {}", "c".repeat(64)), "22023"),
        (format!("NOTIFY a, '{}'", "p".repeat(8000)), "22023"),
    ] {
        assert_eq!(code(&client, &sql).await, expected, "{}", &sql[..20]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_note_comes_once_and_after_what_was_committed_with_it() {
    let site = site().await;
    site.client().await.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, sender INT)").await.unwrap();
    let mut raw = Raw::admitted(&site).await;
    assert_eq!(said(&mut raw, "LISTEN news").await.0, "CZ");
    let mut senders = vec![];
    for sender in 0..4 {
        let client = site.client().await;
        senders.push(tokio::spawn(async move {
            for n in 0..10 {
                let id = sender * 100 + n;
                let sql = format!("BEGIN; INSERT INTO t VALUES ({id}, {sender}); NOTIFY news, '{id}'; COMMIT");
                client.batch_execute(&sql).await.unwrap();
            }
        }));
    }
    let mut told: Vec<String> = vec![];
    while told.len() < 40 {
        let (_, id) = heard(&mut raw).await;
        raw.send(&query(&format!("SELECT id FROM t WHERE id = {id}"))).await;
        told.push(id);
        let answers = raw.until_ready().await;
        assert_eq!(answers.iter().filter(|(kind, _)| *kind == b'D').count(), 1, "{told:?}");
        told.extend(answers.iter().filter(|(kind, _)| *kind == b'A').map(|(_, body)| note(body).1));
    }
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), 40, "{told:?}");
    // Those of one sender in its order.
    for sender in 0..4 {
        let ids: Vec<i32> = told.iter().map(|id| id.parse().unwrap()).filter(|id| id / 100 == sender).collect();
        assert!(ids.is_sorted() && ids.len() == 10, "{told:?}");
    }
    assert_eq!(rows(&site.client().await, "SELECT count(*) FROM t").await, ["40"]);
}
