//! Statements that end early: by their client's wish, by their time, by the server's end.

use crate::{
    common::{code, rows, site, sqlstate},
    raw::Raw,
};
use std::time::Duration;
use tokio_postgres::NoTls;

/// Much longer than any test waits.
const ENDLESS: &str = "SELECT count(*) FROM t a, t b, t c, t d";

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
    let cancel = client.cancel_token();
    cancel.cancel_query(NoTls).await.unwrap();
    // The client does not wait until the request is read; what it finds running then is what it ends.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
    let running = tokio::spawn(async move { (code(&client, ENDLESS).await, client) });
    // The request may come before the statement runs: then it means nothing, and is sent again.
    while !running.is_finished() {
        cancel.cancel_query(NoTls).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (ended, client) = running.await.unwrap();
    assert_eq!(ended, "57014");
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.batch_execute("SET statement_timeout = '200ms'").await.unwrap();
    assert_eq!(code(&client, ENDLESS).await, "57014");
    assert_eq!(sqlstate(&client.query(ENDLESS, &[]).await.unwrap_err()), "57014");
    assert_eq!(rows(&client, "SELECT 2").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_tells_its_clients_why() {
    let mut site = site().await;
    let mut idle = Raw::admitted(&site).await;
    let busy = site.client().await;
    busy.batch_execute("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1),(2),(3)").await.unwrap();
    let running = tokio::spawn(async move { busy.simple_query("SUBSCRIBE t").await.map(|_| ()) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    site.stop.cancel();
    assert_eq!(idle.last_words().await, "57P01");
    let ended = running.await.unwrap().unwrap_err();
    assert!(["57014", "57P01"].contains(&sqlstate(&ended).as_str()));
    site.serving.take().unwrap().await.unwrap();
    assert!(tokio::net::TcpStream::connect(site.address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_idles_too_long_is_ended() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("SET idle_in_transaction_session_timeout = '100ms'; BEGIN").await.unwrap();
    while !client.is_closed() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rows(&site.client().await, "SELECT 1").await, ["1"]);
}
