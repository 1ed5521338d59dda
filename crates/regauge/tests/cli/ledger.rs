//! The ledger of a stream (promise I12) through `regauge append`, and under `kill -9`.
//!
//! Each client sends batches with bad records among them under sequences, many of them twice on purpose, and the one whose answer was
//! lost until it is answered. So what is stored and dead-lettered is known to the record; of what was skipped it is known that it is a multiple of
//! a batch, at least what was acknowledged, and at most that and the requests whose answers were lost.

use crate::{
    regauge,
    server::{Server, post},
    sql, text,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// 4 in CI.
const CYCLES: &str = "REGAUGE_LEDGER_KILLS";
const CLIENTS: usize = 2;
const GOOD: u64 = 3;
const BAD: u64 = 2;
const STREAM: &str = "CREATE STREAM s (k BIGINT NOT NULL, v VARCHAR(3)) WITH (on_error = 'dead_letter')";

#[derive(Default)]
struct Client {
    /// Batches that were acknowledged.
    acked: u64,
    /// Acknowledged to have come again.
    again: u64,
    /// Requests whose answers were lost.
    lost: u64,
}

fn ledger(server: &Server) -> [u64; 4] {
    let rows = server.sql("SELECT consumed, stored, dead_lettered, skipped FROM regauge.topics WHERE name = 's'");
    [0, 1, 2, 3].map(|at| rows[0][at].as_u64().or_else(|| rows[0][at].as_str()?.parse().ok()).unwrap())
}

fn count(server: &Server, relation: &str) -> u64 {
    server.sql(&format!("SELECT count(*) FROM {relation}"))[0][0].as_u64().unwrap()
}

fn body(no: usize, batch: u64) -> String {
    let k = |i: u64| no as u64 * 1_000_000_000 + batch * GOOD + i;
    let mut lines: Vec<String> = (0..GOOD).map(|i| json!({ "k": k(i), "v": "a" }).to_string()).collect();
    lines.insert(1, json!({ "k": null, "v": format!("{no}") }).to_string());
    lines.push(format!("{{\"k\": {no} no json"));
    lines.join("\n")
}

fn send(no: usize, client: &Mutex<Client>, address: SocketAddr, authorization: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let batch = client.lock().unwrap().acked;
        let times = if batch.is_multiple_of(3) { 2 } else { 1 };
        for _ in 0..times {
            let id = format!("p{no}");
            let headers = [("regauge-producer", id.as_str()), ("regauge-sequence", &batch.to_string())];
            match post(address, authorization, "/v1/topics/s/records", &headers, body(no, batch).as_bytes()) {
                Ok((200, answer)) => {
                    assert_eq!((&answer["rows"], &answer["dead_lettered"]), (&json!(GOOD), &json!(BAD)), "{answer}");
                    client.lock().unwrap().again += u64::from(answer["duplicate"] == true);
                }
                Ok((503, _)) | Err(_) => {
                    client.lock().unwrap().lost += 1;
                    return;
                }
                Ok((status, answer)) => panic!("client {no} batch {batch}: {status} {answer}"),
            }
        }
        client.lock().unwrap().acked += 1;
    }
}

#[test]
fn a_killed_servers_ledger_is_exact() {
    let cycles: u64 = std::env::var(CYCLES).ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let dir = tempfile::tempdir().unwrap();
    let mut server = Some(Server::start_with(dir.path(), &["--checkpoint-every-ms", "20"]));
    server.as_ref().unwrap().sql(STREAM);
    let clients: Arc<Vec<Mutex<Client>>> = Arc::new((0..CLIENTS).map(|_| Mutex::default()).collect());
    let acked = || clients.iter().map(|c| c.lock().unwrap().acked).sum::<u64>();
    for cycle in 0..cycles {
        let running = server.take().unwrap();
        let (stop, before) = (Arc::new(AtomicBool::new(false)), acked());
        let threads: Vec<_> = (0..CLIENTS)
            .map(|no| {
                let (clients, stop) = (clients.clone(), stop.clone());
                let (http, authorization) = (running.http, running.authorization.clone());
                std::thread::spawn(move || send(no, &clients[no], http, &authorization, &stop))
            })
            .collect();
        let begun = Instant::now();
        while acked() < before + 4 {
            assert!(begun.elapsed() < Duration::from_secs(60), "cycle {cycle}: nothing was acknowledged");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(cycle.wrapping_mul(7_919_777) % 60_000));
        running.kill();
        stop.store(true, Ordering::Release);
        threads.into_iter().for_each(|t| t.join().unwrap());
        let again = Server::start_with(dir.path(), &["--checkpoint-every-ms", "20"]);
        check(cycle, &again, &clients);
        server = Some(again);
    }
    let skipped = clients.iter().map(|c| c.lock().unwrap().again).sum::<u64>();
    println!("{cycles} kills, {} acknowledged batches, {skipped} that came again: the ledger is exact", acked());
    assert!(skipped > 0);
    assert_eq!(server.unwrap().stop(), Some(0));
}

fn check(cycle: u64, server: &Server, clients: &[Mutex<Client>]) {
    let [consumed, stored, dead, skipped] = ledger(server);
    assert_eq!(consumed, stored + dead + skipped, "cycle {cycle}");
    assert_eq!((stored, dead), (count(server, "s"), count(server, "s_dead")), "cycle {cycle}");
    let doubled = server.sql("SELECT count(*) - count(DISTINCT k) FROM s");
    assert_eq!(doubled[0][0], json!(0), "cycle {cycle}");
    let (mut least, mut most) = ([0; 3], [0; 3]);
    for client in clients {
        let client = client.lock().unwrap();
        // Of the batch in flight nothing is there, or all of it, good and bad.
        let batches = [client.acked, client.acked + 1];
        for (of, batches) in [(&mut least, batches[0]), (&mut most, batches[1])] {
            of[0] += batches * GOOD;
            of[1] += batches * BAD;
        }
        least[2] += client.again * (GOOD + BAD);
        most[2] += (client.again + client.lost) * (GOOD + BAD);
    }
    for (at, n) in [stored, dead, skipped].into_iter().enumerate() {
        assert!((least[at]..=most[at]).contains(&n), "cycle {cycle} {at}: {n} is not within {} and {}", least[at], most[at]);
    }
    assert_eq!((stored % GOOD, dead % BAD, skipped % (GOOD + BAD)), (0, 0, 0), "cycle {cycle}: a batch is there in part");
    assert_eq!(stored / GOOD, dead / BAD, "cycle {cycle}: good and bad records of a batch are one commit");
    let producers = server.sql("SELECT sum(consumed), sum(stored), sum(dead_lettered), sum(skipped) FROM regauge.producers");
    let sums: Vec<u64> = producers[0].as_array().unwrap().iter().map(|n: &Value| text_or_number(n)).collect();
    assert_eq!(sums, [consumed, stored, dead, skipped], "cycle {cycle}: all came from producers");
}

fn text_or_number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap()
}

#[test]
fn a_file_with_bad_records_adds_up_through_a_server_and_without() {
    let dir = tempfile::tempdir().unwrap();
    let ndjson: String =
        (0..20).map(|k| if k % 4 == 3 { format!("{{\"k\": \"{k}x\"}}\n") } else { format!("{{\"k\": {k}}}\n") }).collect();
    let csv: String = std::iter::once("v,k\n".to_owned())
        .chain((0..20).map(|k| format!("{},{k}\n", if k % 5 == 0 { "long" } else { "a" })))
        .collect();
    for (name, content, bad) in [("rows.ndjson", &ndjson, 5), ("rows.csv", &csv, 4)] {
        for through_server in [false, true] {
            let data = dir.path().join(format!("{name}-{through_server}"));
            assert!(sql(&data, STREAM).status.success());
            let file = dir.path().join(name);
            std::fs::write(&file, content).unwrap();
            let server = through_server.then(|| Server::start(&data));
            let (file, folder) = (file.to_str().unwrap().to_owned(), data.to_str().unwrap().to_owned());
            let args = ["append", "s", &file, "--batch", "3", "--json", "--producer", "p", "--data", &folder];
            let run = |more: &[&str]| regauge(&args.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>());
            let refused = run(&["--on-error", "fail"]);
            assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
            let wrong = run(&["--on-error", "ignore"]);
            assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong.stderr));
            let first = run(&[]);
            assert!(first.status.success(), "{}", text(&first.stderr));
            let report: Value = serde_json::from_slice(&first.stdout).unwrap();
            let again: Value = serde_json::from_slice(&run(&["--on-error", "dead_letter"]).stdout).unwrap();
            let before = report["rows_stored_before"].as_u64().unwrap();
            assert_eq!(report["rows"].as_u64().unwrap() + before, 20, "{report}");
            assert_eq!((&again["rows"], &again["rows_stored_before"]), (&json!(0), &json!(20)));
            let server = server.unwrap_or_else(|| Server::start(&data));
            let [consumed, stored, dead, skipped] = ledger(&server);
            assert_eq!((stored, dead, skipped), (20 - bad, bad, before + 20), "{name} {through_server} {report}");
            assert_eq!(consumed, 40 + before);
            assert_eq!((count(&server, "s"), count(&server, "s_dead")), (stored, dead));
            assert_eq!(server.stop(), Some(0));
        }
    }
}
