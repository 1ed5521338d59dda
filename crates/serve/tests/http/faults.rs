//! What is told when something of ours breaks, and when an answer is cut off.

use crate::client::Server;
use regauge_serve::http::HttpOptions;
use regauge_types::env::{Clock, Env};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// A clock that the thread which closes epochs cannot read any more, once it is told so.
struct Broken {
    real: Arc<dyn Clock>,
    now: AtomicBool,
}

impl Clock for Broken {
    fn wall_ms(&self) -> u64 {
        self.real.wall_ms()
    }
    fn steady(&self) -> Duration {
        let is_driver = std::thread::current().name() == Some("regauge-epochs");
        assert!(!(is_driver && self.now.load(Ordering::SeqCst)), "planted");
        self.real.steady()
    }
    fn sleep(&self, time: Duration) {
        self.real.sleep(time);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_so_when_views_stand_still_for_ever() {
    let clock = Arc::new(Broken { real: Env::real().clock, now: AtomicBool::new(false) });
    let dir = tempfile::tempdir().unwrap();
    let server = Server::opened(dir, HttpOptions::default(), |config| config.env.clock = clock.clone()).await;
    server.sql("CREATE TABLE t (id INT PRIMARY KEY)").await.rows();
    server.sql("CREATE MATERIALIZED VIEW v AS SELECT id FROM t").await.rows();
    assert_eq!(server.get("/healthz").await.status, 200);
    clock.now.store(true, Ordering::SeqCst);
    let mut answer = server.get("/healthz").await;
    for _ in 0..6_000 {
        if answer.status != 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = server.get("/healthz").await;
    }
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("views stand still") && !answer.body.contains("planted"), "{answer:?}");
    server.sql("SELECT id FROM v").await.fails(503, "57P02");
    server.stop().await;
}

/// All that a stream says until there is so much.
async fn read_until(stream: &mut TcpStream, text: &mut String, until: &str) {
    while !text.contains(until) {
        let mut some = [0; 4096];
        let n = stream.read(&mut some).await.unwrap();
        assert!(n > 0, "the stream ended early: {text}");
        *text += std::str::from_utf8(&some[..n]).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_are_cut_off_by_the_servers_stop_say_so() {
    let server = Server::start().await;
    server.sql("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (4711)").await.rows();
    let (accept, body) = (("accept", "application/x-ndjson"), br#"{"sql": "SUBSCRIBE TO t"}"#);
    let mut lines = server.begin("POST", "/v1/sql", &[accept, ("content-type", "application/json")], body).await;
    let mut events = server.begin("GET", "/v1/views/t/changes", &[], b"").await;
    let (mut of_lines, mut of_events) = (String::new(), String::new());
    read_until(&mut lines, &mut of_lines, "4711").await;
    read_until(&mut events, &mut of_events, "4711").await;
    server.stop().await;
    lines.read_to_string(&mut of_lines).await.unwrap();
    events.read_to_string(&mut of_events).await.unwrap();
    let last = of_lines.lines().rev().find(|line| line.starts_with(['{', '['])).unwrap();
    assert!(last.starts_with(r#"{"error":{"#) && last.contains(r#""57P01""#), "an end like any other: {of_lines}");
    assert!(of_lines.ends_with("0\r\n\r\n"), "{of_lines}");
    let (_, last) = of_events.rsplit_once("event: ").unwrap();
    assert!(last.starts_with("error\ndata: ") && last.contains(r#""57P01""#), "an end like any other: {of_events}");
}
