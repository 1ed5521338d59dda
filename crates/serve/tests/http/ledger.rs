//! Bad records over HTTP, and `regauge.topics`: consumed = stored + dead_lettered + skipped (promise I12).

use crate::client::Server;
use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    ipc::writer::StreamWriter,
};
use regauge_serve::http::HttpOptions;
use serde_json::{Value, json};
use std::sync::Arc;

const PATH: &str = "/v1/topics/t/records";
const TABLE: &str = "CREATE STREAM t (k INT NOT NULL, v VARCHAR(3), CHECK (k < 1000)) WITH (on_error = 'dead_letter')";

/// Headers, the body, how many good and how many bad records it has.
type Body<'a> = (&'a [(&'a str, &'a str)], &'a [u8], u64, u64);

async fn server(sql: &str) -> Server {
    let server = Server::start().await;
    regauge_serve::pg_catalog::install(&server.instance);
    server.sql(sql).await.rows();
    server
}

async fn ledger(server: &Server) -> Value {
    server.sql("SELECT consumed, stored, dead_lettered, skipped FROM regauge.topics WHERE name = 't'").await.rows()[0].clone()
}

async fn letters(server: &Server, columns: &str) -> Value {
    server.sql("FLUSH").await;
    server.sql(&format!("SELECT {columns} FROM t_dead ORDER BY _offset")).await.rows()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_no_records_go_beside_those_that_are() {
    let server = server(TABLE).await;
    let mut body = b"{\"k\": 1}\n\n{\"k\": \"x\", \"v\": \"a\"}\nnot json\n{\"k\": 2, \"w\": 1}\n{\"v\": \"a\"}\n".to_vec();
    body.extend(b"{\"k\": 3, \"v\": \"long\"}\n{\"v\": \"b\", \"k\": 4}\n{\"k\": 5000}\n{\"k\": 5, \"v\": \"\xff\"}\n");
    body.extend(b"{\"k\": 6, \"k\": 7}\n{\"k\": 99999999999}\n{\"k\": 8,\n");
    let answer = server.post(PATH, &[], &body).await.json();
    assert_eq!((&answer["rows"], &answer["dead_lettered"], &answer["duplicate"]), (&json!(2), &json!(10), &json!(false)));
    assert_eq!(answer["placed"], json!([{ "partition": 0, "first_offset": 0, "rows": 2 }]));
    assert_eq!(
        letters(&server, "position, sqlstate, column_name, record").await,
        json!([
            [3, "22P02", "k", "{\"k\": \"x\", \"v\": \"a\"}"],
            [4, "22P02", null, "not json"],
            [5, "42703", "w", "{\"k\": 2, \"w\": 1}"],
            [6, "23502", "k", "{\"v\": \"a\"}"],
            [7, "22001", "v", "{\"k\": 3, \"v\": \"long\"}"],
            [9, "23514", null, "{\"k\": 5000}"],
            [10, "22021", null, null],
            [11, "22P04", "k", "{\"k\": 6, \"k\": 7}"],
            [12, "22003", "k", "{\"k\": 99999999999}"],
            [13, "22P02", null, "{\"k\": 8,"],
        ])
    );
    assert_eq!(server.sql("SELECT k, v FROM t ORDER BY k").await.rows(), json!([[1, null], [4, "b"]]));
    assert_eq!(ledger(&server).await, json!([12, 2, 10, 0]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_and_every_wish_adds_up_and_a_retry_is_skipped() {
    let server = server(TABLE).await;
    let csv = ("content-type", "text/csv");
    let arrow = ("content-type", "application/vnd.apache.arrow.stream");
    let rows = RecordBatch::try_from_iter([
        ("k", Arc::new(Int64Array::from(vec![Some(1), None, Some(99_999_999_999), Some(2000), Some(2)])) as ArrayRef),
        ("v", Arc::new(StringArray::from(vec!["a", "b", "c", "d", "long"])) as ArrayRef),
    ])
    .unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    let ipc = writer.into_inner().unwrap();
    let named = |sequence: &'static str| [("regauge-producer", "p"), ("regauge-sequence", sequence)];
    let (mut consumed, mut stored, mut dead, mut skipped) = (0, 0, 0, 0);
    let bodies: [Body<'_>; 4] = [
        (&[], b"{\"k\": 1}\n{\"k\": null}\n", 1, 1),
        (&[csv], b"k,v\n1,a\nx,a\n2,toolong\n3\n4,\"b\n", 1, 4),
        (&[arrow], &ipc, 1, 4),
        (&[("regauge-on-error", "dead_letter")], b"{\"z\": 1}\n", 0, 1),
    ];
    for (at, (headers, body, good, bad)) in bodies.into_iter().enumerate() {
        let sequence = ["0", "1", "2", "3"][at];
        let headers: Vec<_> = headers.iter().copied().chain(named(sequence)).collect();
        for round in 0..3 {
            let answer = server.post(PATH, &headers, body).await.json();
            assert_eq!((&answer["rows"], &answer["dead_lettered"]), (&json!(good), &json!(bad)), "{at} {answer}");
            assert_eq!(answer["duplicate"], json!(round > 0), "{at}");
            consumed += good + bad;
            if round == 0 {
                (stored, dead) = (stored + good, dead + bad);
            } else {
                skipped += good + bad;
            }
            assert_eq!(ledger(&server).await, json!([consumed, stored, dead, skipped]), "{at}");
        }
    }
    let refused = [
        ([("regauge-on-error", "fail")], &b"{\"k\": 1}\n{\"k\": null}\n"[..], 400, "23502"),
        ([("regauge-on-error", "ignore")], b"{\"k\": 1}\n", 400, "0A000"),
        ([csv], b"k,w\n1,2\n", 400, "42703"),
        ([arrow], b"no stream", 400, "22P04"),
    ];
    for (headers, body, status, code) in refused {
        let answer = server.post(PATH, &headers, body).await;
        // What is not offered has a status of its own.
        assert!(answer.status == status || code == "0A000", "{answer:?}");
        assert_eq!(answer.json()["code"], code);
    }
    assert_eq!(ledger(&server).await, json!([consumed, stored, dead, skipped]));
    let producers =
        "SELECT producer, name, incarnation, next_sequence, consumed, stored, dead_lettered, skipped FROM regauge.producers";
    assert_eq!(server.sql(producers).await.rows(), json!([["p", "t", 0, 4, consumed, stored, dead, skipped]]));
    let origin = "format, producer, sequence, position, record";
    let of = letters(&server, origin).await;
    assert_eq!(of[0], json!(["ndjson", "p", 0, 2, "{\"k\": null}"]));
    assert_eq!(of[4], json!(["csv", "p", 1, 6, "4,\"b"]));
    assert_eq!(of[6], json!(["row", "p", 2, 3, "{\"k\":\"99999999999\",\"v\":\"c\"}"]));
    // The same after the folder was opened anew; a stream that goes takes its ledger with it.
    let dir = server.stop().await;
    let server = Server::over(dir, HttpOptions::default()).await;
    regauge_serve::pg_catalog::install(&server.instance);
    assert_eq!(ledger(&server).await, json!([consumed, stored, dead, skipped]));
    server.sql("ALTER STREAM t RENAME TO u").await.rows();
    let renamed = server.sql("SELECT consumed, dead_lettered FROM regauge.topics WHERE name = 'u'").await.rows();
    assert_eq!(renamed, json!([[consumed, dead]]));
    server.sql("DROP STREAM u").await.rows();
    assert_eq!(server.sql("SELECT count(*) FROM regauge.topics").await.rows(), json!([[0]]));
    assert_eq!(server.sql("SELECT count(*) FROM regauge.producers").await.rows(), json!([[0]]));
    server.stop().await;
}
