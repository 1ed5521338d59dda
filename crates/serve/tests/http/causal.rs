//! Tokens: what one request has written the next one reads (I7).

use crate::client::Server;
use regauge_serve::http::HttpOptions;
use serde_json::json;
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_read_through_a_view_by_who_carries_its_token() {
    let server = Server::start().await;
    server.sql("CREATE STREAM s (k INT)").await.rows();
    server.sql("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM s").await.rows();
    for n in 1..=30 {
        let written = server.post("/v1/topics/s/records", &[], b"{\"k\": 1}\n").await;
        let body = json!({ "sql": "SELECT n FROM v" }).to_string();
        let read = server.post("/v1/sql", &[("regauge-token", written.token())], body.as_bytes()).await;
        assert_eq!(read.rows(), json!([[n]]), "a read with the write's token is never stale");
        let view = server.request("GET", "/v1/views/v", &[("regauge-token", read.token())], b"").await;
        assert_eq!(view.json()["rows"], json!([[n]]));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_honoured_is_an_error() {
    let first = Server::start().await;
    let second = Server::start().await;
    let foreign = first.sql("SELECT 1").await;
    let answer = second.post("/v1/sql", &[("regauge-token", foreign.token())], b"{\"sql\": \"SELECT 1\"}").await;
    answer.fails(400, "22023");
    second.post("/v1/sql", &[("regauge-token", "nonsense")], b"{\"sql\": \"SELECT 1\"}").await.fails(400, "22023");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_has_seen_and_is_not_here_is_waited_for_and_then_refused() {
    // A restored backup: the same data set, and less of it than the client has seen.
    let dir = tempfile::tempdir().unwrap();
    let backup = tempfile::tempdir().unwrap();
    let server = Server::over(dir, HttpOptions::default()).await;
    server.sql("CREATE TABLE t (k INT PRIMARY KEY)").await.rows();
    let dir = server.stop().await;
    copy_folder(dir.path(), backup.path());
    let server = Server::over(dir, HttpOptions::default()).await;
    let mut seen = String::new();
    for k in 0..5 {
        seen = server.post("/v1/topics/t/records", &[], format!("{{\"k\": {k}}}\n").as_bytes()).await.token().to_owned();
    }
    server.stop().await;
    let restored = Server::patient(backup, HttpOptions::default(), std::time::Duration::from_secs(2)).await;
    restored.post("/v1/sql", &[("regauge-token", &seen)], b"{\"sql\": \"SELECT count(*) FROM t\"}").await.fails(504, "RG001");
    restored.post("/v1/topics/t/records", &[("regauge-token", &seen)], b"{\"k\": 1}\n").await.fails(504, "RG001");
    assert_eq!(restored.sql("SELECT count(*) FROM t").await.rows(), json!([[0]]));
    restored.stop().await;
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_a_token_errors_too() {
    let server = Server::start().await;
    server.sql("CREATE TABLE t (k INT PRIMARY KEY)").await.token();
    server.sql("SELECT * FROM nothing").await.token();
    server.post("/v1/topics/t/records", &[], b"{\"k\": 1}\n").await.token();
    server.post("/v1/topics/t/records", &[], b"{\"k\": 1}\n").await.token();
    server.get("/v1/views/t").await.token();
    server.get("/v1/views/nothing").await.token();
    server.stop().await;
}
