//! `/v1/sql`.

use crate::client::Server;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_answers_with_tag_columns_and_rows() {
    let server = Server::start().await;
    let made = server
        .sql("CREATE TABLE t (k INT PRIMARY KEY, v TEXT, n NUMERIC(6,2)); INSERT INTO t VALUES (1, 'a', 1.5), (2, NULL, NULL)")
        .await;
    let results = made.json()["results"].clone();
    assert_eq!((&results[0]["tag"], &results[1]["tag"]), (&json!("CREATE TABLE"), &json!("INSERT 0 2")), "{made:?}");
    let read = server.sql("SELECT k, v, n FROM t ORDER BY k").await.json();
    let result = &read["results"][0];
    assert_eq!(result["tag"], "SELECT 2");
    assert_eq!(result["columns"][2], json!({ "name": "n", "type": "numeric(6,2)" }));
    assert_eq!(result["rows"], json!([[1, "a", "1.50"], [2, null, null]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_a_double_loses_are_strings() {
    let server = Server::start().await;
    let answer = server
        .sql("SELECT 9007199254740991::bigint, 9007199254740993::bigint, 0.1::float8, 'NaN'::float8, DATE '2024-02-29', '\\x0aff'::bytea")
        .await;
    assert_eq!(answer.rows(), json!([[9_007_199_254_740_991_i64, "9007199254740993", 0.1, "NaN", "2024-02-29", "\\x0aff"]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_take_the_types_of_what_they_meet() {
    let server = Server::start().await;
    server.sql("CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT, b BOOLEAN)").await.rows();
    let body = json!({ "sql": "INSERT INTO t VALUES ($1, $2, $3)", "params": [7, "it's; DROP TABLE t", true] });
    assert_eq!(server.post("/v1/sql", &[], body.to_string().as_bytes()).await.status, 200);
    let body = json!({ "sql": "SELECT v, b FROM t WHERE k = $1", "params": ["7"] });
    assert_eq!(server.post("/v1/sql", &[], body.to_string().as_bytes()).await.rows(), json!([["it's; DROP TABLE t", true]]));
    let body = json!({ "sql": "SELECT v FROM t WHERE k = $1", "params": [[1]] });
    server.post("/v1/sql", &[], body.to_string().as_bytes()).await.fails(400, "22023");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_json_with_a_sqlstate_and_leave_nothing() {
    let server = Server::start().await;
    server.sql("CREATE TABLE t (k INT PRIMARY KEY)").await.rows();
    server.sql("SELEC 1").await.fails(400, "42601");
    server.sql("SELECT * FROM nothing").await.fails(400, "42P01");
    server.sql("SELECT 1/0").await.fails(400, "22012");
    server.sql("INSERT INTO t VALUES (1); INSERT INTO t VALUES (1)").await.fails(409, "23505");
    assert_eq!(server.sql("SELECT count(*) FROM t").await.rows(), json!([[0]]), "the two statements were one transaction");
    server.sql("COPY t FROM STDIN").await.fails(501, "0A000");
    server.sql("SUBSCRIBE TO t").await.fails(501, "0A000");
    server.post("/v1/sql", &[], b"{\"sql\": 1}").await.fails(400, "08P01");
    server.post("/v1/sql", &[("content-type", "text/plain")], b"SELECT 1").await.fails(415, "08P01");
    server.get("/v1/nothing").await.fails(404, "42704");
    server.get("/v1/sql").await.fails(405, "0A000");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ndjson_gives_rows_as_lines_and_ends_with_the_tag() {
    let server = Server::start().await;
    server.sql("CREATE TABLE t (k INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await.rows();
    let body = json!({ "sql": "SELECT k FROM t ORDER BY k; SELECT 10/(k-2) FROM t" }).to_string();
    let answer = server.post("/v1/sql", &[("accept", "application/x-ndjson")], body.as_bytes()).await;
    let lines: Vec<serde_json::Value> = answer.body.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines[0]["columns"][0]["name"], "k", "{answer:?}");
    assert_eq!(lines[1..4], [json!([1]), json!([2]), json!({ "tag": "SELECT 2", "notices": [] })]);
    assert_eq!(lines.last().unwrap()["error"]["code"], "22012", "an error is the last line: {answer:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_cancels_its_statement() {
    let server = Server::start().await;
    server.sql("CREATE STREAM s (a BIGINT)").await.rows();
    let rows: String = (0..3000).map(|n| format!("{{\"a\":{n}}}\n")).collect();
    assert_eq!(server.post("/v1/topics/s/records", &[], rows.as_bytes()).await.status, 200);
    let json = [("content-type", "application/json")];
    let stream = [("content-type", "application/json"), ("accept", "application/x-ndjson")];
    // One that computes and has nothing to send yet, and one that has begun to send and would never end.
    let long = json!({ "sql": "SELECT count(*) FROM s a, s b, s c WHERE a.a + b.a > c.a" }).to_string();
    let computing = server.begin("POST", "/v1/sql", &json, long.as_bytes()).await;
    wait_for(&server, 1).await;
    let endless = json!({ "sql": "SUBSCRIBE TO s" }).to_string();
    let mut sending = server.begin("POST", "/v1/sql", &stream, endless.as_bytes()).await;
    sending.read_exact(&mut [0; 16]).await.unwrap();
    assert_eq!(server.instance.sessions(), 2);
    drop(sending);
    wait_for(&server, 1).await;
    drop(computing);
    wait_for(&server, 0).await;
    server.stop().await;
}

async fn wait_for(server: &Server, sessions: usize) {
    let begun = Instant::now();
    while server.instance.sessions() != sessions {
        assert!(begun.elapsed() < Duration::from_secs(120), "{} sessions instead of {sessions}", server.instance.sessions());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_when_its_time_is_up() {
    let server = Server::start().await;
    server.sql("CREATE STREAM s (a BIGINT)").await.rows();
    let rows: String = (0..3000).map(|n| format!("{{\"a\":{n}}}\n")).collect();
    assert_eq!(server.post("/v1/topics/s/records", &[], rows.as_bytes()).await.status, 200);
    let body = json!({ "sql": "SELECT count(*) FROM s a, s b, s c WHERE a.a + b.a > c.a", "timeout_ms": 50 }).to_string();
    server.post("/v1/sql", &[], body.as_bytes()).await.fails(504, "57014");
    server.stop().await;
}
