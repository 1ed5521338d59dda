//! Statements that end early: by their client's wish, by their time, by the server's end.

use crate::{
    common::{Site, code, rows, site, sqlstate},
    raw::Raw,
};
use futures::StreamExt;
use std::time::{Duration, Instant};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_postgres::{CancelToken, NoTls, SimpleQueryMessage};

/// Much longer than any test waits.
const ENDLESS: &str = "SELECT count(*) FROM t a, t b, t c, t d";

/// How long anything is waited for.
const LONG: Duration = Duration::from_secs(120);

/// Sends a cancel request and waits until the server has done what it asks, which is when it closes: none comes late.
async fn cancel(site: &Site, token: &CancelToken) {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    token.cancel_query_raw(&mut stream, NoTls).await.unwrap();
    let mut answer = vec![];
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("the server keeps it open");
    assert_eq!(answer, b"", "nobody is told whether there was anything to cancel");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_ends_the_statement_and_only_with_the_right_secret() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    let values: Vec<String> = (0..2000).map(|i| format!("({i})")).collect();
    client.batch_execute(&format!("INSERT INTO t VALUES {}", values.join(","))).await.unwrap();
    // Wrong secrets, and one with nothing behind it.
    for pid in 0..10u32 {
        let mut raw = Raw::new(&site).await;
        raw.send(&[16u32, 80_877_102, pid, 7].map(u32::to_be_bytes).concat()).await;
        assert_eq!(raw.answer().await, None);
    }
    // It finds nothing running, and ends nothing that comes later.
    let token = client.cancel_token();
    cancel(&site, &token).await;
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
    let running = tokio::spawn(async move { (code(&client, ENDLESS).await, client) });
    // The request may come before the statement runs: then it means nothing, and is sent again.
    let begun = Instant::now();
    while !running.is_finished() {
        assert!(begun.elapsed() < LONG, "it is not cancelled");
        cancel(&site, &token).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (ended, client) = running.await.unwrap();
    assert_eq!(ended, "57014");
    assert_eq!(rows(&client, "SELECT 2").await, ["2"]);
    client.batch_execute("SET statement_timeout = '200ms'").await.unwrap();
    assert_eq!(code(&client, ENDLESS).await, "57014");
    assert_eq!(sqlstate(&client.query(ENDLESS, &[]).await.unwrap_err()), "57014");
    client.batch_execute("SET statement_timeout = 0").await.unwrap();
    assert_eq!(rows(&client, "SELECT 3").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_tells_its_clients_why() {
    let mut site = site().await;
    let mut idle = Raw::admitted(&site).await;
    let busy = site.client().await;
    busy.batch_execute("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1),(2),(3)").await.unwrap();
    let mut changes = Box::pin(busy.simple_query_raw("SUBSCRIBE t").await.unwrap());
    // It runs: a row has come.
    while !matches!(timeout(LONG, changes.next()).await.unwrap().unwrap().unwrap(), SimpleQueryMessage::Row(_)) {}
    site.stop.cancel();
    assert_eq!(idle.last_words().await, "57P01");
    let ended = async {
        loop {
            if let Err(ended) = changes.next().await.expect("it does not end without a word") {
                return ended;
            }
        }
    };
    let ended = timeout(LONG, ended).await.expect("it ends");
    assert_eq!(sqlstate(&ended), "57P01", "it is the server's end, and not the client's wish");
    site.serving.take().unwrap().await.unwrap();
    // Somebody else may have got the port by now, and knows another password.
    let again = timeout(LONG, site.config().connect(NoTls)).await;
    assert!(!matches!(again, Ok(Ok(_))), "it still lets clients in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_idles_too_long_is_ended() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("SET idle_in_transaction_session_timeout = '100ms'; BEGIN").await.unwrap();
    let begun = Instant::now();
    while !client.is_closed() {
        assert!(begun.elapsed() < LONG, "it idles on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rows(&site.client().await, "SELECT 1").await, ["1"]);
}
