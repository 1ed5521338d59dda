//! Clients that append, over HTTP and over the Postgres wire, and know what was acknowledged.
//!
//! Each numbers its rows 0, 1, 2, .. and goes on only when a batch was acknowledged; after the server went down it sends the same batch
//! again under the same sequence (HTTP) or looks whether it is there (wire). What was acknowledged is there once; the batch in flight is
//! there whole or not at all; the views equal their queries. A refusal for want of room is no acknowledgement: the batch is sent again.

use crate::server::{Server, post, wire};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Clients that speak HTTP.
const HTTP_CLIENTS: usize = 2;
/// Rows of a batch.
pub const BATCH: u64 = 5;
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

/// What all clients know, from one server to the next.
pub struct Load {
    clients: Clients,
    signs: Arc<Signs>,
}

/// What clients are told, and tell, while they work.
#[derive(Default)]
struct Signs {
    /// Batches that were refused for want of room.
    refused: AtomicU64,
    /// The disk under the server may be gone: an error of any kind means that nothing more comes of it.
    may_fail: AtomicBool,
}

impl Signs {
    fn full(&self) {
        self.refused.fetch_add(1, Ordering::AcqRel);
    }

    fn may_fail(&self) -> bool {
        self.may_fail.load(Ordering::Acquire)
    }
}

/// Clients at work.
pub struct Working {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Working {
    /// Tells them to stop, and waits for them.
    pub fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.threads.into_iter().for_each(|t| t.join().unwrap());
    }
}

impl Load {
    /// Makes the relations.
    pub fn new(server: &Server) -> Load {
        server.sql("CREATE STREAM s (c BIGINT, k BIGINT)");
        server.sql("CREATE TABLE t (c BIGINT, k BIGINT, PRIMARY KEY (c, k))");
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT c, count(*) AS n, sum(k) AS total FROM s GROUP BY c");
        server
            .sql("CREATE MATERIALIZED VIEW w AS SELECT s.c, count(*) AS n FROM s JOIN t ON s.c = t.c AND s.k = t.k GROUP BY s.c");
        Load { clients: Arc::new((0..=WIRE).map(|_| Mutex::default()).collect()), signs: Arc::default() }
    }

    /// Lets them work against a server until they are told to stop or it goes away.
    pub fn start(&self, server: &Server) -> Working {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |no: usize| {
            let (clients, stop, signs) = (self.clients.clone(), stop.clone(), self.signs.clone());
            let (http, pg, authorization) = (server.http, server.pg, server.authorization.clone());
            std::thread::spawn(move || match no {
                WIRE => over_the_wire(&clients[no], pg, &authorization, &stop, &signs),
                _ => over_http(no, &clients[no], http, &authorization, &stop, &signs),
            })
        };
        Working { threads: (0..=WIRE).map(start).collect(), stop }
    }

    /// Batches that were acknowledged.
    pub fn acked(&self) -> u64 {
        self.clients.iter().map(|c| c.lock().unwrap().acked).sum()
    }

    /// Batches of each client that were acknowledged.
    pub fn acked_each(&self) -> Vec<u64> {
        self.clients.iter().map(|c| c.lock().unwrap().acked).collect()
    }

    /// Batches that were refused for want of room.
    pub fn refused(&self) -> u64 {
        self.signs.refused.load(Ordering::Acquire)
    }

    /// Whether errors of any kind may come from now on: the disk under the server goes away, or is there again.
    pub fn may_fail(&self, may: bool) {
        self.signs.may_fail.store(may, Ordering::Release);
    }

    /// Batches that were told to have been stored before their answer was lost.
    pub fn duplicates(&self) -> u64 {
        self.clients.iter().map(|c| c.lock().unwrap().duplicates).sum()
    }

    /// Clients forget what they were told after a moment of which they knew this much, where it is not there: the disk went with a sync under way.
    /// How many batches that is. What they had been told by then must be there; nobody may be at work.
    pub fn take_back(&self, when: &str, known: &[u64], server: &Server) -> u64 {
        let mut n_forgotten = 0;
        for ((no, client), known) in self.clients.iter().enumerate().zip(known) {
            let mut client = client.lock().unwrap();
            let count = |relation| server.sql(&format!("SELECT count(*) FROM {relation} WHERE c = {no}"))[0][0].as_u64().unwrap();
            let stored = count("s").min(count("t")) / BATCH;
            assert!(stored >= *known, "{when} client {no}: {known} batches acknowledged before, {stored} there");
            let forgotten = client.acked.saturating_sub(stored);
            assert!(forgotten <= 1, "{when} client {no}: {} batches acknowledged, {stored} there", client.acked);
            client.acked -= forgotten;
            n_forgotten += forgotten;
        }
        n_forgotten
    }

    /// Nothing is lost, nothing doubled, nothing torn; nobody may be at work.
    pub fn check(&self, when: &str, server: &Server) {
        check(when, server, &self.clients);
    }
}

fn body(no: usize, batch: u64) -> String {
    (0..BATCH).map(|i| format!("{{\"c\": {no}, \"k\": {}}}\n", no as u64 * SPAN + batch * BATCH + i)).collect()
}

/// A batch goes into the stream and then, under the same number, into the table.
fn over_http(no: usize, client: &Mutex<Client>, address: SocketAddr, authorization: &str, stop: &AtomicBool, signs: &Signs) {
    'batches: while !stop.load(Ordering::Acquire) {
        let batch = client.lock().unwrap().acked;
        for topic in ["s", "t"] {
            let (path, id) = (format!("/v1/topics/{topic}/records"), format!("{topic}{no}"));
            let headers = [("regauge-producer", id.as_str()), ("regauge-sequence", &batch.to_string())];
            match post(address, authorization, &path, &headers, body(no, batch).as_bytes()) {
                Ok((200, answer)) => client.lock().unwrap().duplicates += u64::from(answer["duplicate"] == true && topic == "s"),
                Ok((507, _)) => {
                    signs.full();
                    std::thread::sleep(Duration::from_millis(20));
                    continue 'batches;
                }
                // The server is going down and says so.
                Ok((503, _)) | Err(_) => return,
                Ok(_) if signs.may_fail() => return,
                Ok((status, answer)) => panic!("client {no} batch {batch}: {status} {answer}"),
            }
        }
        client.lock().unwrap().acked += 1;
    }
}

/// Each transaction appends to the stream and to the table; what became of the last one of the killed server is asked first.
fn over_the_wire(client: &Mutex<Client>, address: SocketAddr, authorization: &str, stop: &AtomicBool, signs: &Signs) {
    let config = wire(address, authorization);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
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
                Err(error) if error.as_db_error().is_some_and(|e| e.code().code() == "53100") => {
                    signs.full();
                    let _ = connected.batch_execute("ROLLBACK").await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) if !signs.may_fail() && error.as_db_error().is_some_and(|e| e.code().code() != "57P01") => {
                    panic!("batch {batch}: {error:?}")
                }
                Err(_) => return,
            }
        }
    });
}

fn check(when: &str, server: &Server, clients: &Clients) {
    for (no, client) in clients.iter().enumerate() {
        let acked = client.lock().unwrap().acked;
        for relation in ["s", "t"] {
            let rows = server.sql(&format!("SELECT count(*), count(DISTINCT k), min(k), max(k) FROM {relation} WHERE c = {no}"));
            let (n, distinct) = (rows[0][0].as_u64().unwrap(), rows[0][1].as_u64().unwrap());
            let whole = [acked * BATCH, (acked + 1) * BATCH];
            assert!(whole.contains(&n), "{when} client {no} {relation}: {acked} batches acknowledged, {n} rows there");
            assert_eq!(n, distinct, "{when} client {no} {relation}: rows are doubled");
            if n > 0 {
                let base = no as u64 * SPAN;
                assert_eq!((&rows[0][2], &rows[0][3]), (&json!(base), &json!(base + n - 1)), "{when} client {no} {relation}");
            }
        }
    }
    let view = server.sql("SELECT * FROM v ORDER BY c");
    assert_eq!(view, server.sql("SELECT c, count(*), sum(k) FROM s GROUP BY c ORDER BY c"), "{when}");
    let view = server.sql("SELECT * FROM w ORDER BY c");
    assert_eq!(
        view,
        server.sql("SELECT s.c, count(*) FROM s JOIN t ON s.c = t.c AND s.k = t.k GROUP BY s.c ORDER BY s.c"),
        "{when}"
    );
}
