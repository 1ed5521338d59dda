//! `/v1/topics/{name}/records`.

use crate::client::Server;
use arrow::{
    array::{Int64Array, RecordBatch, StringArray},
    ipc::{
        CompressionType,
        writer::{IpcWriteOptions, StreamWriter},
    },
};
use regauge_serve::http::HttpOptions;
use serde_json::json;
use std::sync::Arc;

const PATH: &str = "/v1/topics/t/records";

async fn server(table: &str) -> Server {
    let server = Server::start().await;
    server.sql(table).await.rows();
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn ndjson_becomes_typed_rows_of_one_commit() {
    let server =
        server("CREATE STREAM t (a BIGINT, b TEXT, n NUMERIC(30,10), at TIMESTAMPTZ, f DOUBLE PRECISION, x BYTEA)").await;
    let body = concat!(
        "{\"a\": 9223372036854775807, \"b\": \"h\\u00e9\", \"n\": 12345678901234567890.0123456789, \"at\": \"2024-02-29T12:00:00.5Z\"}\r\n",
        "\n",
        "{\"b\": {\"nested\": [1, 2]}, \"f\": 1e3, \"x\": \"\\\\x00ff\", \"a\": null}\n",
    );
    let answer = server.post(PATH, &[], body.as_bytes()).await.json();
    assert_eq!((&answer["rows"], &answer["duplicate"]), (&json!(2), &json!(false)), "{answer}");
    assert_eq!(answer["placed"], json!([{ "partition": 0, "first_offset": 0, "rows": 2 }]));
    let rows = server.sql("SELECT a, b, n, at, f, x FROM t").await.rows();
    assert_eq!(
        rows,
        json!([
            ["9223372036854775807", "hé", "12345678901234567890.0123456789", "2024-02-29 12:00:00.5+00", null, null],
            [null, "{\"nested\": [1, 2]}", null, null, 1000, "\\x00ff"],
        ])
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_column_takes_any_value_as_the_json_it_is() {
    let server = server("CREATE STREAM t (k UUID, b JSONB, j JSON)").await;
    let body = concat!(
        "{\"k\": \"A0EEBC999C0B4EF8BB6D6BB9BD380A11\", \"b\": {\"y\": [1.50, null], \"x\": 1e2}, \"j\": {\"a\" : 1,\"a\":2}}\n",
        "{\"b\": \"a text\", \"j\": [true]}\n",
        "{\"b\": null, \"j\": -0.10}\n",
    );
    server.post(PATH, &[], body.as_bytes()).await.json();
    let rows = server.sql("SELECT k, b, j, b::text FROM t").await.rows();
    assert_eq!(
        rows,
        json!([
            [
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                { "x": 100, "y": [1.5, null] },
                { "a": 2 },
                "{\"x\": 100, \"y\": [1.50, null]}"
            ],
            [null, "a text", [true], "\"a text\""],
            [null, null, -0.1, null],
        ])
    );
    server.post(PATH, &[], b"{\"k\": \"x\"}\n").await.fails(400, "22P02");
    server.post(PATH, &[], b"{\"b\": \"\\u0000\"}\n").await.fails(400, "22P05");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_named_and_nothing_is_stored() {
    let server = server("CREATE TABLE t (k INT PRIMARY KEY, v VARCHAR(3))").await;
    let cases = [
        ("{\"k\": 1}\n{\"k\": \"x\"}\n", "22P02", 2, Some("k")),
        ("{\"k\": 1}\n\n{\"k\": 2, \"w\": 1}\n", "42703", 3, Some("w")),
        ("{\"k\": 1}\n{\"v\": \"a\"}\n", "23502", 2, Some("k")),
        ("{\"k\": null}\n", "23502", 1, Some("k")),
        ("{\"k\": 1, \"k\": 2}\n", "22P04", 1, Some("k")),
        ("{\"k\": 1, \"v\": \"long\"}\n", "22001", 1, Some("v")),
        ("{\"k\": 1, \"v\": \"\\u0000\"}\n", "22021", 1, Some("v")),
        ("{\"k\": 99999999999}\n", "22003", 1, Some("k")),
        ("{\"k\": 1} {\"k\": 2}\n", "22P02", 1, None),
        ("{\"k\": 1,}\n", "22P02", 1, None),
        ("[1]\n", "22P02", 1, None),
        ("{\"k\": 1\n", "22P02", 1, None),
        ("{\"k\": [1]}\n", "22P02", 1, Some("k")),
    ];
    for (body, code, line, column) in cases {
        let failure = server.post(PATH, &[], body.as_bytes()).await.fails(400, code);
        assert_eq!((&failure["line"], failure["column"].as_str()), (&json!(line), column), "{body:?}: {failure}");
    }
    server.post(PATH, &[], b"{\"k\": 1, \"v\": \"\xff\"}\n").await.fails(400, "22021");
    let nested = format!("{{\"k\": {}", "[".repeat(100_000));
    server.post(PATH, &[], nested.as_bytes()).await.fails(400, "22P02");
    assert_eq!(server.sql("SELECT count(*) FROM t").await.rows(), json!([[0]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_is_read_by_its_header() {
    let server = server("CREATE TABLE t (k INT PRIMARY KEY, v TEXT DEFAULT 'none', n INT DEFAULT 5)").await;
    let csv = [("content-type", "text/csv; charset=utf-8")];
    let answer = server.post(PATH, &csv, b"v,k\n\"a, \"\"b\"\"\",1\n,2\n").await;
    assert_eq!(answer.json()["rows"], 2, "{answer:?}");
    let rows = server.sql("SELECT k, v, n FROM t ORDER BY k").await.rows();
    assert_eq!(rows, json!([[1, "a, \"b\"", 5], [2, null, 5]]));
    let failure = server.post(PATH, &csv, b"k,v\n3,a\n4\n").await.fails(400, "22P04");
    assert_eq!(failure["line"], 3, "{failure}");
    server.post(PATH, &csv, b"k,w\n3,a\n").await.fails(400, "42703");
    assert_eq!(server.sql("SELECT count(*) FROM t").await.rows(), json!([[2]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_is_taken_where_no_record_says_the_column() {
    let server = server("CREATE TABLE t (k INT PRIMARY KEY, v TEXT DEFAULT 'none')").await;
    assert_eq!(server.post(PATH, &[], b"{\"k\": 1}\n{\"k\": 2}\n").await.status, 200);
    let failure = server.post(PATH, &[], b"{\"k\": 3}\n{\"k\": 4, \"v\": null}\n").await.fails(400, "22P04");
    assert_eq!(failure["column"], "v");
    assert_eq!(server.sql("SELECT k, v FROM t ORDER BY k").await.rows(), json!([[1, "none"], [2, "none"]]));
    server.stop().await;
}

fn arrow_body(options: IpcWriteOptions) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter([
        ("k", Arc::new(Int64Array::from(vec![1, 2])) as _),
        ("v", Arc::new(StringArray::from(vec![Some("a"), None])) as _),
    ])
    .unwrap();
    let mut writer = StreamWriter::try_new_with_options(vec![], &batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.write(&batch.slice(0, 0)).unwrap();
    writer.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arrow_stream_is_rows_and_broken_bytes_are_not() {
    let server = server("CREATE TABLE t (k INT PRIMARY KEY, v TEXT)").await;
    let arrow = [("content-type", "application/vnd.apache.arrow.stream")];
    let good = arrow_body(IpcWriteOptions::default());
    let compressed = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
    server.post(PATH, &arrow, &arrow_body(compressed)).await.fails(501, "0A000");
    let mut refused = 0;
    for cut in (0..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[cut] ^= 0xff;
        for bytes in [&bytes[..], &good[..cut]] {
            let answer = server.post(PATH, &arrow, bytes).await;
            if answer.status == 200 {
                server.sql("DELETE FROM t").await.rows();
            } else {
                assert!(answer.status < 500 && answer.json()["code"].is_string(), "{answer:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "hardly anything broken was refused: {refused}");
    assert_eq!(server.post(PATH, &arrow, &good).await.json()["rows"], 2);
    assert_eq!(server.sql("SELECT k, v FROM t ORDER BY k").await.rows(), json!([[1, "a"], [2, null]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_a_producer_is_stored_once() {
    for (create, body) in [("CREATE STREAM t (k INT)", "{\"k\": 1}\n"), ("CREATE TABLE t (k INT PRIMARY KEY)", "{\"k\": 1}\n")] {
        let server = server(create).await;
        let first = [("regauge-producer", "p"), ("regauge-sequence", "0")];
        let stored = server.post(PATH, &first, body.as_bytes()).await.json();
        let again = server.post(PATH, &first, body.as_bytes()).await.json();
        assert_eq!((&stored["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)), "{create}: {again}");
        assert_eq!((&stored["lsn"], &stored["placed"]), (&again["lsn"], &again["placed"]));
        server.post(PATH, &[("regauge-producer", "p"), ("regauge-sequence", "2")], b"{\"k\": 2}\n").await.fails(409, "55P02");
        server.post(PATH, &[("regauge-producer", "p#1"), ("regauge-sequence", "0")], b"{\"k\": 2}\n").await.json();
        server.post(PATH, &[("regauge-producer", "p"), ("regauge-sequence", "1")], b"{\"k\": 3}\n").await.fails(409, "RG005");
        server.post(PATH, &[("regauge-producer", "p")], b"{\"k\": 3}\n").await.fails(400, "22023");
        server.post(PATH, &[("regauge-producer", "p#1"), ("regauge-sequence", "1")], b"\n").await.fails(400, "22P04");
        // The same after a restart.
        let server = Server::over(server.stop().await, HttpOptions::default()).await;
        assert_eq!(
            server.post(PATH, &[("regauge-producer", "p#1"), ("regauge-sequence", "0")], b"{\"k\": 2}\n").await.json()["duplicate"],
            true
        );
        assert_eq!(server.sql("SELECT k FROM t ORDER BY k").await.rows(), json!([[1], [2]]), "{create}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_answered_also_when_it_does_not_read_any_more() {
    let server = server("CREATE STREAM t (k INT, v TEXT)").await;
    let first = [("regauge-producer", "p"), ("regauge-sequence", "0")];
    let body = b"{\"k\": 1, \"v\": \"a\"}\n{\"k\": 2}\n";
    let stored = server.post(PATH, &first, body).await.json();
    server.sql("ALTER STREAM t DROP COLUMN v").await.rows();
    let again = server.post(PATH, &first, body).await.json();
    assert_eq!(again["duplicate"], true, "{again}");
    assert_eq!((&stored["lsn"], &stored["placed"], &stored["rows"]), (&again["lsn"], &again["placed"], &again["rows"]));
    let next = [("regauge-producer", "p"), ("regauge-sequence", "1")];
    assert_ne!(server.post(PATH, &next, body).await.status, 200, "it was never stored");
    assert_eq!(server.sql("SELECT k FROM t ORDER BY k").await.rows(), json!([[1], [2]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_no_records_says_so() {
    let server = server("CREATE TABLE t (k INT PRIMARY KEY); CREATE MATERIALIZED VIEW v AS SELECT k FROM t").await;
    server.post("/v1/topics/nothing/records", &[], b"{}\n").await.fails(404, "42P01");
    server.post("/v1/topics/v/records", &[], b"{\"k\": 1}\n").await.fails(400, "42809");
    server.post(PATH, &[("content-type", "application/xml")], b"<k/>").await.fails(415, "08P01");
    server.post(PATH, &[], b"{\"k\": 1}\n").await.json();
    server.post(PATH, &[], b"{\"k\": 2}\n{\"k\": 1}\n").await.fails(409, "23505");
    assert_eq!(server.sql("SELECT k FROM t").await.rows(), json!([[1]]));
    server.stop().await;
}
