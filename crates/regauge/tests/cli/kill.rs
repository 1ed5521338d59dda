//! `kill -9` of the real server in the middle of appends, over HTTP and over the Postgres wire.
//!
//! Each client numbers its rows 0, 1, 2, .. and goes on only when a batch was acknowledged; after a kill it sends the same batch
//! again under the same sequence (HTTP) or looks whether it is there (wire). After each kill: what was acknowledged is there once;
//! the batch in flight is there whole or not at all; the view equals its query.

use crate::server::{Server, post};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// 8 in CI; `REGAUGE_KILL_CYCLES=200` for more, which `cargo xtask kill --cycles 200` sets.
const CYCLES: &str = "REGAUGE_KILL_CYCLES";
const HTTP_CLIENTS: usize = 2;
const BATCH: u64 = 5;
/// Rows of a client are numbered from its own thousand million.
const SPAN: u64 = 1_000_000_000;
/// The client that speaks the Postgres wire.
const WIRE: usize = HTTP_CLIENTS;

#[derive(Default)]
struct Client {
    /// Batches that were acknowledged.
    acked: u64,
    /// Of the batches sent, how many were told to have been stored before.
    duplicates: u64,
}

type Clients = Arc<Vec<Mutex<Client>>>;

#[test]
fn a_killed_server_loses_nothing_acknowledged_and_doubles_nothing() {
    let cycles: u64 = std::env::var(CYCLES).ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let dir = tempfile::tempdir().unwrap();
    // checkpoints all the time, so that kills meet them at every step; now and then a start that does without
    let start = |cycle: u64| match cycle % 5 {
        3 => Server::start_with(dir.path(), &["--checkpoint-every-ms", "0"]),
        _ => Server::start_with(
            dir.path(),
            &["--checkpoint-every-ms", "5", "--workers", ["1", "2", "3"][usize::try_from(cycle % 3).unwrap()]],
        ),
    };
    let server = start(0);
    server.sql("CREATE STREAM s (c BIGINT, k BIGINT)");
    server.sql("CREATE TABLE t (c BIGINT, k BIGINT, PRIMARY KEY (c, k))");
    server.sql("CREATE MATERIALIZED VIEW v AS SELECT c, count(*) AS n, sum(k) AS total FROM s GROUP BY c");
    server.sql("CREATE MATERIALIZED VIEW w AS SELECT s.c, count(*) AS n FROM s JOIN t ON s.c = t.c AND s.k = t.k GROUP BY s.c");
    let clients: Clients = Arc::new((0..=WIRE).map(|_| Mutex::default()).collect());
    let mut server = Some(server);
    let (mut restart, mut acked_before, mut checkpoints) = (Duration::ZERO, 0, std::collections::BTreeSet::new());
    for cycle in 0..cycles {
        let running = server.take().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..=WIRE)
            .map(|no| {
                let (clients, stop) = (clients.clone(), stop.clone());
                let (http, pg, authorization) = (running.http, running.pg, running.authorization.clone());
                std::thread::spawn(move || match no {
                    WIRE => over_the_wire(&clients[no], pg, &authorization, &stop),
                    _ => over_http(no, &clients[no], http, &authorization, &stop),
                })
            })
            .collect();
        // Until something was acknowledged in this cycle, and then for a time that differs from cycle to cycle.
        let begun = Instant::now();
        let acked = || clients.iter().map(|c| c.lock().unwrap().acked).sum::<u64>();
        while acked() == acked_before {
            assert!(begun.elapsed() < Duration::from_secs(60), "cycle {cycle}: no append was acknowledged");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(cycle.wrapping_mul(7_919_777) % 90_000));
        running.kill();
        stop.store(true, Ordering::Release);
        threads.into_iter().for_each(|t| t.join().unwrap());
        acked_before = acked();
        let begun = Instant::now();
        let again = start(cycle + 1);
        restart = restart.max(begun.elapsed());
        check(cycle, &again, &clients);
        let names = std::fs::read_dir(dir.path().join("checkpoint")).unwrap();
        let newest = names.filter_map(|n| n.unwrap().file_name().into_string().ok()).filter(|n| n.ends_with(".rgc")).max();
        checkpoints.extend(newest);
        server = Some(again);
    }
    let duplicates: u64 = clients.iter().map(|c| c.lock().unwrap().duplicates).sum();
    println!(
        "{cycles} kills, {} acknowledged commits of {BATCH} rows, {duplicates} that were stored before their kill and sent again, \
         none lost, none doubled; slowest start {restart:.1?}; {} of them found another checkpoint than the one before",
        acked_before,
        checkpoints.len()
    );
    assert!(checkpoints.len() > 1, "hardly any checkpoint was taken: {checkpoints:?}");
    assert!(acked_before > cycles, "the clients hardly got to work");
    assert_eq!(server.unwrap().stop(), Some(0));
}

fn body(no: usize, batch: u64) -> String {
    (0..BATCH).map(|i| format!("{{\"c\": {no}, \"k\": {}}}\n", no as u64 * SPAN + batch * BATCH + i)).collect()
}

/// A batch goes into the stream and then, under the same number, into the table.
fn over_http(no: usize, client: &Mutex<Client>, address: SocketAddr, authorization: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let batch = client.lock().unwrap().acked;
        for topic in ["s", "t"] {
            let (path, id) = (format!("/v1/topics/{topic}/records"), format!("{topic}{no}"));
            let headers = [("regauge-producer", id.as_str()), ("regauge-sequence", &batch.to_string())];
            match post(address, authorization, &path, &headers, body(no, batch).as_bytes()) {
                Ok((200, answer)) => client.lock().unwrap().duplicates += u64::from(answer["duplicate"] == true && topic == "s"),
                // The server is going down and says so.
                Ok((503, _)) | Err(_) => return,
                Ok((status, answer)) => panic!("client {no} batch {batch}: {status} {answer}"),
            }
        }
        client.lock().unwrap().acked += 1;
    }
}

/// Each transaction appends to the stream and to the table; what became of the last one of the killed server is asked first.
fn over_the_wire(client: &Mutex<Client>, address: SocketAddr, authorization: &str, stop: &AtomicBool) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let password = STANDARD.decode(authorization.trim_start_matches("Basic ")).unwrap();
    let password = String::from_utf8(password).unwrap().split_once(':').unwrap().1.to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(address.port()).user("regauge").password(password).dbname("regauge");
        let Ok((connected, connection)) = config.connect(tokio_postgres::NoTls).await else { return };
        tokio::spawn(connection);
        let stored = format!("SELECT count(*) FROM t WHERE c = {WIRE}");
        let Ok(rows) = connected.query_one(&stored, &[]).await else { return };
        let stored = u64::try_from(rows.get::<_, i64>(0)).unwrap();
        {
            let mut client = client.lock().unwrap();
            assert_eq!(stored % BATCH, 0, "a transaction is there in part: {stored} rows");
            client.duplicates += stored / BATCH - client.acked;
            client.acked = stored / BATCH;
        }
        while !stop.load(Ordering::Acquire) {
            let batch = client.lock().unwrap().acked;
            let values: Vec<String> =
                (0..BATCH).map(|i| format!("({WIRE}, {})", WIRE as u64 * SPAN + batch * BATCH + i)).collect();
            let values = values.join(", ");
            let text = format!("BEGIN; INSERT INTO s VALUES {values}; INSERT INTO t VALUES {values}; COMMIT");
            match connected.batch_execute(&text).await {
                Ok(()) => client.lock().unwrap().acked += 1,
                Err(error) if error.as_db_error().is_some_and(|e| e.code().code() != "57P01") => {
                    panic!("batch {batch}: {error:?}")
                }
                Err(_) => return,
            }
        }
    });
}

fn check(cycle: u64, server: &Server, clients: &Clients) {
    for (no, client) in clients.iter().enumerate() {
        let acked = client.lock().unwrap().acked;
        for relation in ["s", "t"] {
            let rows = server.sql(&format!("SELECT count(*), count(DISTINCT k), min(k), max(k) FROM {relation} WHERE c = {no}"));
            let (n, distinct) = (rows[0][0].as_u64().unwrap(), rows[0][1].as_u64().unwrap());
            let whole = [acked * BATCH, (acked + 1) * BATCH];
            assert!(whole.contains(&n), "cycle {cycle} client {no} {relation}: {acked} batches acknowledged, {n} rows there");
            assert_eq!(n, distinct, "cycle {cycle} client {no} {relation}: rows are doubled");
            if n > 0 {
                let base = no as u64 * SPAN;
                assert_eq!(
                    (&rows[0][2], &rows[0][3]),
                    (&json!(base), &json!(base + n - 1)),
                    "cycle {cycle} client {no} {relation}"
                );
            }
        }
    }
    let view = server.sql("SELECT * FROM v ORDER BY c");
    assert_eq!(view, server.sql("SELECT c, count(*), sum(k) FROM s GROUP BY c ORDER BY c"), "cycle {cycle}");
    let view = server.sql("SELECT * FROM w ORDER BY c");
    assert_eq!(
        view,
        server.sql("SELECT s.c, count(*) FROM s JOIN t ON s.c = t.c AND s.k = t.k GROUP BY s.c ORDER BY s.c"),
        "cycle {cycle}"
    );
}
