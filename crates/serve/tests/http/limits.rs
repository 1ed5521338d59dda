//! Bodies, answers, connections, slow clients.

use crate::client::Server;
use regauge_serve::http::HttpOptions;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_and_the_server_lives_on() {
    let options = HttpOptions {
        statement_bytes_max: 1000,
        records_bytes_max: 2000,
        answer_bytes_max: 10_000,
        bodies_bytes_max: 4000,
        ..HttpOptions::default()
    };
    let server = Server::with(options).await;
    server.sql("CREATE STREAM t (k INT)").await.rows();
    server.sql(&format!("SELECT '{}'", "x".repeat(1000))).await.fails(413, "54000");
    server.post("/v1/topics/t/records", &[], "{\"k\": 1}\n".repeat(300).as_bytes()).await.fails(413, "54000");
    // A body that does not say its length.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /v1/topics/t/records HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 900, "{\"k\": 1}\n".repeat(100));
    for _ in 0..5 {
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(server.sql("SELECT count(*) FROM t").await.rows(), json!([[0]]));
    for _ in 0..12 {
        assert_eq!(server.post("/v1/topics/t/records", &[], "{\"k\": 123456}\n".repeat(140).as_bytes()).await.status, 200);
    }
    server.sql("SELECT k FROM t").await.fails(413, "54000");
    let body = json!({ "sql": "SELECT k FROM t" }).to_string();
    let streamed = server.post("/v1/sql", &[("accept", "application/x-ndjson")], body.as_bytes()).await;
    assert_eq!(streamed.body.lines().count(), 12 * 140 + 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_do_not_keep_others_out() {
    let options = HttpOptions {
        connections_max: 2,
        head_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
        ..HttpOptions::default()
    };
    let server = Server::with(options).await;
    // Two that never send a whole request hold all connections, until their time is up.
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"POST /v1/sql HTTP/1.1\r\nhost:").await.unwrap();
    let mut body = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /v1/sql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        server.address
    );
    body.write_all(head.as_bytes()).await.unwrap();
    // One that sends all at once is let in then. Where the server came to it too late, its own time was up: it asks again.
    let sql = json!({ "sql": "SELECT 1" }).to_string();
    let request = format!(
        "POST /v1/sql HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{sql}",
        server.address,
        sql.len()
    );
    let ask = async || {
        let mut stream = TcpStream::connect(server.address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map(|_| answer)
    };
    let begun = Instant::now();
    let answer = loop {
        match ask().await {
            Ok(answer) if !answer.is_empty() && !answer.starts_with("HTTP/1.1 408") => break answer,
            late => assert!(begun.elapsed() < Duration::from_secs(60), "{late:?}"),
        }
    };
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("[[1]]"), "{answer}");
    let mut answer = String::new();
    body.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    server.stop().await;
}
