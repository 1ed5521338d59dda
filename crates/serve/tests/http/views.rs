//! Views, their changes, metrics and the page.

use crate::client::Server;
use serde_json::json;
use tokio::io::AsyncReadExt;

async fn server() -> Server {
    let server = Server::start().await;
    server.sql("CREATE TABLE t (k INT PRIMARY KEY, g TEXT, n BIGINT)").await.rows();
    server.sql("CREATE MATERIALIZED VIEW v AS SELECT g, sum(n) AS total FROM t GROUP BY g").await.rows();
    server.sql("INSERT INTO t VALUES (1, 'a', 10), (2, 'a', 5), (3, 'b,c', 1)").await.rows();
    server.sql("FLUSH").await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_found_by_key_and_by_column() {
    let server = server().await;
    let rows = |answer: crate::client::Answer| answer.json()["rows"].clone();
    assert_eq!(rows(server.get("/v1/views/v?key=a").await), json!([["a", "15"]]));
    assert_eq!(rows(server.get("/v1/views/v?g=b%2Cc").await), json!([["b,c", "1"]]));
    assert_eq!(rows(server.get("/v1/views/v?key=b,c").await), json!([["b,c", "1"]]));
    assert_eq!(rows(server.get("/v1/views/t?g=a&n=5").await), json!([[2, "a", 5]]));
    assert_eq!(rows(server.get("/v1/views/t?limit=1").await).as_array().unwrap().len(), 1);
    assert_eq!(rows(server.get("/v1/views/v?key='%20OR%20true").await), json!([]));
    server.get("/v1/views/v?nothing=1").await.fails(400, "42703");
    server.get("/v1/views/t?k=x").await.fails(400, "22P02");
    server.get("/v1/views/nothing").await.fails(404, "42P01");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_at_an_epoch_is_shown_again() {
    let server = server().await;
    let rows = |answer: crate::client::Answer| answer.json()["rows"].clone();
    let epoch = server.sql("SHOW regauge.epoch").await.rows()[0][0].to_string();
    let epoch = epoch.trim_matches('"');
    server.sql("DELETE FROM t WHERE k < 3").await.rows();
    server.sql("FLUSH").await;
    assert_eq!(rows(server.get("/v1/views/v?key=a").await), json!([]));
    assert_eq!(rows(server.get(&format!("/v1/views/v?key=a&epoch={epoch}")).await), json!([["a", "15"]]));
    assert_eq!(rows(server.get(&format!("/v1/views/t?g=a&n=5&epoch={epoch}")).await), json!([[2, "a", 5]]));
    let sql = format!("SELECT v.total, t.k FROM v JOIN t USING (g) ORDER BY t.k AS OF EPOCH {epoch}");
    assert_eq!(server.sql(&sql).await.rows(), json!([["15", 1], ["15", 2], ["1", 3]]));
    server.get("/v1/views/v?epoch=x").await.fails(400, "22023");
    server.get("/v1/views/v?epoch=9000000000").await.fails(400, "22023");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_as_events_and_sum_up_to_the_view() {
    let server = server().await;
    let mut stream = server.begin("GET", "/v1/views/v/changes", &[], b"").await;
    let mut text = String::new();
    let mut read = async |until: &str| {
        while !text.contains(until) {
            let mut some = [0; 4096];
            let n = stream.read(&mut some).await.unwrap();
            assert!(n > 0, "the stream ended before {until:?}: {text}");
            text += std::str::from_utf8(&some[..n]).unwrap();
        }
        text.clone()
    };
    let first = read("event: progress").await;
    assert!(first.contains("event: columns\ndata: [{\"name\":\"g\",\"type\":\"text\"}"), "{first}");
    assert!(first.contains("\"diff\":1,\"row\":[\"a\",\"15\"]"), "{first}");
    server.sql("INSERT INTO t VALUES (4, 'a', 100)").await.rows();
    let then = read("[\"a\",\"115\"]").await;
    assert!(then.contains("\"diff\":-1,\"row\":[\"a\",\"15\"]"), "{then}");
    // A client that comes again goes on behind the last id that it saw.
    let ids: Vec<String> = then.lines().filter_map(|l| l.strip_prefix("id: ")).map(str::to_owned).collect();
    let mut again = server.begin("GET", "/v1/views/v/changes", &[("last-event-id", &ids[0])], b"").await;
    let mut told = String::new();
    while !told.contains("[\"a\",\"115\"]") {
        let mut some = [0; 4096];
        let n = again.read(&mut some).await.unwrap();
        assert!(n > 0, "the stream ended: {told}");
        told += std::str::from_utf8(&some[..n]).unwrap();
    }
    assert!(told.contains("\"diff\":-1,\"row\":[\"a\",\"15\"]") && !told.contains("b,c"), "{told}");
    server.get("/v1/views/v/changes?wrong=1").await.fails(400, "22023");
    // A stream without end does not hold up the stop.
    server.stop().await;
}

/// What a stream of events says until that is enough.
async fn read_until(stream: &mut tokio::net::TcpStream, enough: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    while !enough(&text) {
        let mut some = [0; 4096];
        let n = stream.read(&mut some).await.unwrap();
        assert!(n > 0, "the stream ended early: {text}");
        text += std::str::from_utf8(&some[..n]).unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_id_that_is_too_old_is_told_what_to_do_and_forgotten() {
    let server = server().await;
    let mut stream = server.begin("GET", "/v1/views/v/changes", &[], b"").await;
    let text = read_until(&mut stream, |text| text.split_once("id: ").is_some_and(|(_, id)| id.contains('\n'))).await;
    let old = text.lines().find_map(|l| l.strip_prefix("id: ")).unwrap().to_owned();
    drop(stream);
    server.sql("INSERT INTO t VALUES (4, 'a', 100)").await.rows();
    // A view that was built anew knows its present rows, and not how it came to them.
    let dir = server.stop().await;
    let server = Server::over(dir, regauge_serve::http::HttpOptions::default()).await;
    server.sql("FLUSH").await;
    server.sql("INSERT INTO t VALUES (5, 'a', 1)").await.rows();
    let mut stream = server.begin("GET", "/v1/views/v/changes", &[("last-event-id", &old)], b"").await;
    // The event may come in pieces; its end is the stream's.
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("\"code\":\"40001\"") && text.contains("without Last-Event-ID"), "{text}");
    assert!(text.contains("event: error\nid:\ndata: "), "{text}");
    let mut stream = server.begin("GET", "/v1/views/v/changes", &[], b"").await;
    read_until(&mut stream, |text| text.contains("\"row\":[\"a\",\"116\"]")).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_the_page_say_what_is_here() {
    let server = server().await;
    server.post("/v1/topics/t/records", &[], b"{\"k\": 9, \"g\": \"<b>\", \"n\": 1}\n").await.json();
    let metrics = server.get("/metrics").await;
    let value = |name: &str| {
        let line = metrics.body.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name}: {}", metrics.body));
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    assert_eq!(value("regauge_http_append_rows_total"), 1.0);
    assert!(value("regauge_commits_total") >= 4.0);
    assert!(value("regauge_journal_bytes") > 100.0);
    assert!(value("regauge_view_lag_commits{view=\"v\",version=\"1\"}") >= 0.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_cpu_seconds_total") > 0.0);
    server.sql("CREATE TABLE \"<script>\" (k INT PRIMARY KEY)").await.rows();
    let page = server.get("/").await;
    assert!(page.body.contains("<td>v<td class=n>1<td>live"), "{}", page.body);
    assert!(!page.body.contains("<script>") && page.body.contains("&lt;script&gt;"));
    assert!(server.get("/openapi.yaml").await.body.starts_with("openapi: 3"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_with_a_row_that_fails_is_shown_as_errored_until_it_heals() {
    let server = server().await;
    server.sql("CREATE MATERIALIZED VIEW q AS SELECT 10 / n AS q FROM t").await.rows();
    server.sql("INSERT INTO t VALUES (7, 'z', 0)").await.rows();
    server.sql("FLUSH").await;
    let refusal = server.get("/v1/views/q").await.fails(503, "RG002");
    assert_eq!(refusal["message"], "view \"q\" has an error: division by zero table=t k=7");
    let metrics = server.get("/metrics").await.body;
    for line in
        ["regauge_view_up{view=\"q\",version=\"1\",state=\"errored\"} 0", "regauge_view_error_rows{view=\"q\",version=\"1\"} 1"]
    {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let page = server.get("/").await.body;
    assert!(page.contains("<td>q<td class=n>1<td>errored") && page.contains("division by zero row=(0) n_rows=1"), "{page}");
    server.sql("DELETE FROM t WHERE k = 7").await.rows();
    server.sql("FLUSH").await;
    assert_eq!(server.get("/v1/views/q?limit=2").await.status, 200);
    assert!(server.get("/metrics").await.body.contains("regauge_view_up{view=\"q\",version=\"1\",state=\"live\"} 1"));
    server.stop().await;
}
