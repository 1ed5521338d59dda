//! COPY FROM STDIN over the wire.

use crate::{
    common::{code, rows, site, sqlstate},
    raw::{Raw, bind, execute, field, message, parse, query, sync},
};
use bytes::Bytes;
use futures::SinkExt;

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_pieces_of_any_size() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, s TEXT)").await.unwrap();
    let csv: String = (0..20_000).map(|i| format!("{i},\"line {i}\nquoted \"\"{i}\"\"\"\n")).collect();
    for (first, size) in [(0, 1), (10_000, 7), (15_000, 65_536)] {
        let last = if size == 1 { 200 } else { first + 5_000 };
        let lines: Vec<&str> = csv.split_inclusive("\"\n").collect();
        let part = lines[first..last].concat();
        let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN (FORMAT csv)").await.unwrap();
        futures::pin_mut!(sink);
        for piece in part.as_bytes().chunks(size) {
            sink.feed(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert_eq!(sink.finish().await.unwrap(), u64::try_from(last - first).unwrap());
    }
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["10200"]);
    assert_eq!(rows(&client, "SELECT s FROM t WHERE id = 12345").await, ["line 12345\nquoted \"12345\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_midway_leaves_nothing_and_the_rest_is_thrown_away() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await.unwrap();
    let mut raw = Raw::admitted(&site).await;
    for (rows, expected, detail) in [
        ("1\t2\n3\n5\t6\n", "22P04", "COPY t, line 2"),
        ("1\t2\n1\t2\t3\n", "22P04", "COPY t, line 2"),
        ("1\t2\nx\t4\n", "22P02", "COPY t, line 2, column id"),
        ("1\t2\n1\t3\n", "23505", ""),
        ("1\t99999999999\n", "22003", "COPY t, line 1, column n"),
        ("1\t2\0\n", "22021", ""),
    ] {
        raw.send(&query("COPY t FROM STDIN")).await;
        assert_eq!(raw.answer().await.unwrap().0, b'G');
        raw.send(&[message(b'd', rows.as_bytes()), message(b'd', b"7\t8\n"), message(b'c', b""), query("SELECT 1")].concat())
            .await;
        let failed = raw.until_ready().await;
        assert_eq!(field(&failed[0].1, b'C'), expected, "{rows:?}");
        assert!(field(&failed[0].1, b'D').contains(detail), "{rows:?}: {}", field(&failed[0].1, b'D'));
        assert_eq!(raw.letters().await, "TDCZ", "{rows:?}");
    }
    raw.send(&[query("COPY t FROM STDIN"), message(b'd', b"1\t2\n"), message(b'f', b"I have changed my mind\0")].concat()).await;
    let failed = raw.until_ready().await;
    assert_eq!((failed[0].0, field(&failed[1].1, b'C').as_str()), (b'G', "57014"));
    assert!(field(&failed[1].1, b'M').contains("changed my mind"));
    assert_eq!(code(&client, "SELECT 1").await, "00000");
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_extended_protocol_fails_up_to_its_sync() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    let mut raw = Raw::admitted(&site).await;
    let begin = [parse("", "COPY t FROM STDIN"), bind("", ""), execute("", 0), sync()].concat();
    raw.send(&[&begin[..], &message(b'd', b"1\n"), &message(b'c', b""), &sync()].concat()).await;
    assert_eq!(raw.letters().await, "12GCZ");
    raw.send(
        &[&begin[..], &message(b'd', b"x\n"), &message(b'd', b"2\n"), &message(b'c', b""), &sync(), &query("SELECT 1")].concat(),
    )
    .await;
    assert_eq!(raw.letters().await, "12GEZ");
    assert_eq!(raw.letters().await, "TDCZ");
    assert_eq!(rows(&client, "SELECT id FROM t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_within_a_transaction_is_part_of_it() {
    let site = site().await;
    let mut client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let sink = transaction.copy_in::<_, Bytes>("COPY t FROM STDIN").await.unwrap();
    futures::pin_mut!(sink);
    sink.send(Bytes::from_static(b"1\n2\n")).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 2);
    assert_eq!(transaction.query("SELECT id FROM t", &[]).await.unwrap().len(), 2);
    transaction.rollback().await.unwrap();
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["0"]);
    client.batch_execute("BEGIN").await.unwrap();
    let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN").await.unwrap();
    futures::pin_mut!(sink);
    sink.send(Bytes::from_static(b"1\nx\n")).await.unwrap();
    assert_eq!(sqlstate(&sink.finish().await.unwrap_err()), "22P02");
    assert_eq!(code(&client, "SELECT 1").await, "25P02");
}
