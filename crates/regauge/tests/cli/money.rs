//! Money moves between accounts and none comes or goes: the total is 0 on every read, of the table, of views over it and over the moves,
//! and at each epoch of a subscription, through `kill -9`, restarts and other numbers of workers.
//!
//! Two tellers move money with UPDATEs and write each move into a stream in the same transaction, so that the balances can be made twice:
//! by the table, and by a view over the moves; a third one moves it in bulk, in a stream only. A teller numbers its transactions and asks
//! after the last one when the server is back.

use crate::server::{Dice, Server, wire};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// 3 in CI; `REGAUGE_MONEY_CYCLES=100` for more.
const CYCLES: &str = "REGAUGE_MONEY_CYCLES";
const ACCOUNTS: u64 = 60;
const TELLERS: usize = 2;
/// The thread that reads; the one after it subscribes.
const READER: usize = TELLERS + 1;
/// Moves of one transaction of the third teller.
const BULK: u64 = 500;

/// What one teller knows, from one server to the next.
#[derive(Default)]
struct Teller {
    /// Transactions that were acknowledged.
    acked: u64,
}

#[derive(Default)]
struct Ledger {
    tellers: [Mutex<Teller>; TELLERS + 1],
    /// Moves that were acknowledged.
    moves: AtomicU64,
    conflicts: AtomicU64,
    reads: AtomicU64,
    epochs: AtomicU64,
}

/// Where a server is, for threads.
#[derive(Clone)]
struct Address {
    pg: SocketAddr,
    authorization: String,
    stop: Arc<AtomicBool>,
}

impl Address {
    async fn connect(&self) -> Option<Client> {
        let (client, connection) = wire(self.pg, &self.authorization).connect(NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    }

    fn is_open(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }
}

/// What a statement came to.
enum Came {
    Done,
    /// Somebody else was first.
    Conflict,
    /// The server is going, or gone.
    Gone,
}

/// A view that was rebuilt, or too slow, cannot show what was asked for in time: a statement that says so is asked again.
fn is_late(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|e| ["RG001", "RG004"].contains(&e.code().code()))
}

async fn run(client: &Client, sql: &str) -> Came {
    let Err(error) = client.batch_execute(sql).await else { return Came::Done };
    match error.as_db_error().map(|e| e.code().code()) {
        Some("40001") => Came::Conflict,
        None | Some("57P01") => Came::Gone,
        Some(code) => panic!("{sql}: {code} {error:?}"),
    }
}

#[test]
fn no_money_comes_or_goes() {
    let cycles: u64 = std::env::var(CYCLES).ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let mut dice = Dice::of_the_environment();
    let dir = tempfile::tempdir().unwrap();
    let start = |dice: &mut Dice| {
        let (every, workers) = (dice.pick(&["20", "200", "0"]), dice.pick(&["1", "2", "3", "4"]));
        Server::start_with(dir.path(), &["--checkpoint-every-ms", every, "--workers", workers])
    };
    let mut server = start(&mut dice);
    for sql in [
        "CREATE TABLE accounts (id INT PRIMARY KEY, branch INT, balance BIGINT)",
        "CREATE STREAM moves (teller INT, no BIGINT, src INT, dst INT, amount BIGINT)",
        "CREATE STREAM bulk (no BIGINT, src INT, dst INT, amount BIGINT)",
        "CREATE MATERIALIZED VIEW total AS SELECT sum(balance)::bigint AS total, count(*) AS n FROM accounts",
        "CREATE MATERIALIZED VIEW by_branch AS SELECT branch, sum(balance)::bigint AS total FROM accounts GROUP BY branch",
        "CREATE MATERIALIZED VIEW moved AS SELECT account, sum(amount)::bigint AS balance FROM \
         (SELECT src AS account, -amount AS amount FROM moves UNION ALL SELECT dst, amount FROM moves) m GROUP BY account",
        "CREATE MATERIALIZED VIEW bulked AS SELECT account, sum(amount)::bigint AS balance FROM \
         (SELECT src AS account, -amount AS amount FROM bulk UNION ALL SELECT dst, amount FROM bulk) m GROUP BY account",
        "CREATE MATERIALIZED VIEW differ AS SELECT a.id FROM accounts a LEFT JOIN moved m ON a.id = m.account \
         WHERE a.balance <> coalesce(m.balance, 0)",
    ] {
        server.sql(sql);
    }
    server.sql(&format!("INSERT INTO accounts SELECT i, i % 7, 0 FROM generate_series(0, {}) AS i; FLUSH", ACCOUNTS - 1));
    let ledger = Arc::new(Ledger::default());
    let (mut kills, mut acked_before, mut seen_before) = (0, 0, (0, 0));
    for cycle in 0..cycles {
        let address =
            Address { pg: server.pg, authorization: server.authorization.clone(), stop: Arc::new(AtomicBool::new(false)) };
        let seed = dice.below(u64::MAX);
        let threads: Vec<_> = (0..TELLERS + 3)
            .map(|no| {
                let (address, ledger) = (address.clone(), ledger.clone());
                let dice = Dice(seed.wrapping_add(no as u64));
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        match no {
                            0..TELLERS => teller(no, &address, &ledger, dice).await,
                            TELLERS => bulk(&address, &ledger, dice).await,
                            READER => reader(&address, &ledger).await,
                            _ => subscriber(&address, &ledger).await,
                        }
                    });
                })
            })
            .collect();
        // in each cycle there are moves, reads and epochs of the subscription
        let until = |what: &str, counted: &AtomicU64, enough: u64| {
            let begun = std::time::Instant::now();
            while counted.load(Ordering::Acquire) < enough {
                assert!(begun.elapsed() < Duration::from_secs(120), "cycle {cycle}: no {what}");
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        until("move was acknowledged", &ledger.moves, acked_before + 1);
        until("read was answered", &ledger.reads, seen_before.0 + 2);
        until("epoch was complete", &ledger.epochs, seen_before.1 + 2);
        std::thread::sleep(Duration::from_millis(300 + dice.below(1500)));
        if dice.below(5) == 0 {
            address.stop.store(true, Ordering::Release);
            assert_eq!(server.stop(), Some(0), "cycle {cycle}");
        } else {
            server.kill();
            address.stop.store(true, Ordering::Release);
            kills += 1;
        }
        threads.into_iter().for_each(|t| t.join().unwrap());
        acked_before = ledger.moves.load(Ordering::Acquire);
        seen_before = (ledger.reads.load(Ordering::Acquire), ledger.epochs.load(Ordering::Acquire));
        server = start(&mut dice);
        check(cycle, &server, &ledger);
    }
    let (reads, epochs) = (ledger.reads.load(Ordering::Acquire), ledger.epochs.load(Ordering::Acquire));
    let moves = server.sql("SELECT count(*) FROM moves")[0][0].as_u64().unwrap();
    let bulk = server.sql("SELECT count(*) FROM bulk")[0][0].as_u64().unwrap();
    println!(
        "{moves} moves by UPDATE and {bulk} in bulk, {} refused for somebody who was first, through {kills} kills and {} stops; {reads} \
         reads and {epochs} epochs of a subscription, each with a total of 0",
        ledger.conflicts.load(Ordering::Acquire),
        cycles - kills
    );
    println!("soak: cases={} reads={reads} faults={cycles} faults:kill={kills} faults:stop={}", moves + bulk, cycles - kills);
    assert!(reads > cycles && epochs > cycles, "hardly anything was read");
    assert_eq!(server.stop(), Some(0));
}

/// A transaction with one to three moves, again and again.
async fn teller(no: usize, address: &Address, ledger: &Ledger, mut dice: Dice) {
    let Some(client) = address.connect().await else { return };
    let sql = format!("SELECT count(DISTINCT no), coalesce(max(no), -1) FROM moves WHERE teller = {no}");
    let Ok(row) = client.query_one(&sql, &[]).await else { return };
    let (n, last) = (row.get::<_, i64>(0).unsigned_abs(), row.get::<_, i64>(1));
    let known = ledger.tellers[no].lock().unwrap().acked;
    assert!(n == known || n == known + 1, "teller {no}: {known} transactions were acknowledged and {n} are there");
    assert_eq!(last + 1, n.cast_signed(), "teller {no}: numbers without a gap");
    ledger.tellers[no].lock().unwrap().acked = n;
    while address.is_open() {
        let n = ledger.tellers[no].lock().unwrap().acked;
        let mut sql = "BEGIN; ".to_owned();
        let moves = 1 + dice.below(3);
        for _ in 0..moves {
            let (src, dst, amount) = (dice.below(ACCOUNTS), dice.below(ACCOUNTS), 1 + dice.below(100));
            sql += &format!(
                "UPDATE accounts SET balance = balance - {amount} WHERE id = {src}; \
                 UPDATE accounts SET balance = balance + {amount} WHERE id = {dst}; \
                 INSERT INTO moves VALUES ({no}, {n}, {src}, {dst}, {amount}); "
            );
        }
        match run(&client, &(sql + "COMMIT")).await {
            Came::Done => {
                ledger.tellers[no].lock().unwrap().acked += 1;
                ledger.moves.fetch_add(moves, Ordering::AcqRel);
            }
            Came::Conflict => {
                ledger.conflicts.fetch_add(1, Ordering::AcqRel);
                // the failed transaction is still open, or over
                let _ = client.batch_execute("ROLLBACK").await;
            }
            Came::Gone => return,
        }
    }
}

/// Many moves in one statement, in a stream only.
async fn bulk(address: &Address, ledger: &Ledger, mut dice: Dice) {
    let Some(client) = address.connect().await else { return };
    let Ok(row) = client.query_one("SELECT count(*) FROM bulk", &[]).await else { return };
    let (n, known) = (row.get::<_, i64>(0).unsigned_abs(), ledger.tellers[TELLERS].lock().unwrap().acked);
    assert!(n == known * BULK || n == (known + 1) * BULK, "{known} bulks were acknowledged and {n} moves are there");
    ledger.tellers[TELLERS].lock().unwrap().acked = n / BULK;
    while address.is_open() {
        let no = ledger.tellers[TELLERS].lock().unwrap().acked;
        let (a, b) = (1 + dice.below(50), dice.below(50));
        let sql = format!(
            "INSERT INTO bulk SELECT {no}, i % {ACCOUNTS}, (i * {a} + {b}) % {ACCOUNTS}, i % 90 FROM generate_series(1, {BULK}) AS i"
        );
        match run(&client, &sql).await {
            Came::Done => {
                ledger.tellers[TELLERS].lock().unwrap().acked += 1;
                ledger.moves.fetch_add(BULK, Ordering::AcqRel);
            }
            Came::Conflict => panic!("a stream has no first writer"),
            Came::Gone => return,
        }
    }
}

/// What must be 0, or not there, in one transaction.
const ZERO: &[&str] = &[
    "SELECT coalesce(sum(balance), 0)::bigint FROM accounts",
    "SELECT total FROM total",
    "SELECT coalesce(sum(total), 0)::bigint FROM by_branch",
    "SELECT coalesce(sum(balance), 0)::bigint FROM moved",
    "SELECT coalesce(sum(balance), 0)::bigint FROM bulked",
    "SELECT count(*) FROM differ",
    "SELECT count(*) FROM accounts a LEFT JOIN moved m ON a.id = m.account WHERE a.balance <> coalesce(m.balance, 0)",
];

/// Reads of all that must be 0, each time at one epoch.
async fn reader(address: &Address, ledger: &Ledger) {
    let Some(client) = address.connect().await else { return };
    'reads: while address.is_open() {
        if !matches!(run(&client, "BEGIN READ ONLY").await, Came::Done) {
            return;
        }
        for sql in ZERO {
            let messages = match client.simple_query(sql).await {
                Err(error) if is_late(&error) => {
                    if !matches!(run(&client, "ROLLBACK").await, Came::Done) {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue 'reads;
                }
                Err(_) => return,
                Ok(messages) => messages,
            };
            let row = messages.iter().find_map(|m| if let SimpleQueryMessage::Row(row) = m { row.get(0) } else { None });
            assert_eq!(row, Some("0"), "{sql}");
        }
        if !matches!(run(&client, "COMMIT").await, Came::Done) {
            return;
        }
        ledger.reads.fetch_add(1, Ordering::AcqRel);
    }
}

/// The totals of all branches as they change: 0 together at each epoch that is complete.
async fn subscriber(address: &Address, ledger: &Ledger) {
    use futures::StreamExt;
    let Some(client) = address.connect().await else { return };
    while address.is_open() {
        let Ok(messages) = client.simple_query_raw("SUBSCRIBE TO by_branch WITH (progress)").await else { return };
        futures::pin_mut!(messages);
        // what changes from here on
        let mut total = 0;
        loop {
            let row = match messages.next().await {
                Some(Ok(SimpleQueryMessage::Row(row))) => row,
                Some(Ok(_)) => continue,
                Some(Err(error)) if is_late(&error) => break,
                Some(Err(_)) | None => return,
            };
            if row.get("progress") == Some("t") {
                assert_eq!(total, 0, "epoch {:?}", row.get("epoch"));
                ledger.epochs.fetch_add(1, Ordering::AcqRel);
                continue;
            }
            let number = |name: &str| row.get(name).and_then(|text| text.parse::<i64>().ok());
            let (diff, of_branch) = (number("diff").unwrap(), number("total").unwrap());
            total += diff * of_branch;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// After a restart, nobody at work.
fn check(cycle: u64, server: &Server, ledger: &Ledger) {
    for sql in ZERO {
        assert_eq!(server.sql(sql), json!([[0]]), "cycle {cycle}: {sql}");
    }
    for (no, teller) in ledger.tellers[..TELLERS].iter().enumerate() {
        let n = server.sql(&format!("SELECT count(DISTINCT no) FROM moves WHERE teller = {no}"))[0][0].as_u64().unwrap();
        let acked = teller.lock().unwrap().acked;
        assert!(n == acked || n == acked + 1, "cycle {cycle} teller {no}: {acked} acknowledged, {n} there");
    }
}
