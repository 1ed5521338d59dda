//! Advisory locks between connections, rows locked within writing statements, `set_config`: what several clients see of each other.

use crate::{
    common::{Site, code, rows, site},
    raw::{Raw, field, query},
};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_postgres::{CancelToken, Client, NoTls};

/// How long anything is waited for.
const LONG: Duration = Duration::from_secs(120);

/// Whether somebody else holds a key: asked by a session that gives it back at once.
async fn is_free(client: &Client, key: i64) -> bool {
    let free = rows(client, &format!("SELECT pg_try_advisory_lock({key})")).await == ["t"];
    if free {
        assert_eq!(rows(client, &format!("SELECT pg_advisory_unlock({key})")).await, ["t"]);
    }
    free
}

async fn until_free(client: &Client, key: i64) {
    let begun = Instant::now();
    while !is_free(client, key).await {
        assert!(begun.elapsed() < LONG, "key={key} is still held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A statement that waits on a connection of its own, and its answer.
async fn waiting(site: &Site, sql: &'static str) -> (CancelToken, JoinHandle<(String, Client)>) {
    let client = site.client().await;
    let cancel = client.cancel_token();
    let running = tokio::spawn(async move { (code(&client, sql).await, client) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!running.is_finished(), "{sql} does not wait");
    (cancel, running)
}

/// What a statement answers that is cancelled, again and again until it ends.
async fn cancelled(cancel: CancelToken, running: JoinHandle<(String, Client)>) -> String {
    let begun = Instant::now();
    while !running.is_finished() {
        assert!(begun.elapsed() < LONG, "it is not cancelled");
        cancel.cancel_query(NoTls).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_waited_for_until_it_is_given_back() {
    let site = site().await;
    let (one, two) = (site.client().await, site.client().await);
    rows(&one, "SELECT pg_advisory_lock(1)").await;
    assert!(!is_free(&two, 1).await && is_free(&one, 1).await && is_free(&two, 2).await);
    let (_, running) = waiting(&site, "SELECT pg_advisory_lock(1)").await;
    assert_eq!(rows(&one, "SELECT pg_advisory_unlock(1)").await, ["t"]);
    let (answer, three) = running.await.unwrap();
    assert_eq!(answer, "00000");
    assert!(!is_free(&two, 1).await);
    // A session that ends gives everything back.
    drop(three);
    until_free(&two, 1).await;
    // Shared among those who share.
    rows(&one, "SELECT pg_advisory_lock_shared(1)").await;
    rows(&two, "SELECT pg_advisory_lock_shared(1)").await;
    assert_eq!(rows(&two, "SELECT pg_try_advisory_lock(1)").await, ["f"]);
    assert_eq!(rows(&one, "SELECT pg_advisory_unlock_shared(1)").await, ["t"]);
    assert_eq!(rows(&two, "SELECT pg_try_advisory_lock(1)").await, ["t"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_its_statement_is_cancelled_or_its_time_is_over_or_its_client_has_gone() {
    let site = site().await;
    let (one, two) = (site.client().await, site.client().await);
    rows(&one, "SELECT pg_advisory_lock(1)").await;
    let (cancel, running) = waiting(&site, "SELECT pg_advisory_lock(1)").await;
    assert_eq!(cancelled(cancel, running).await, "57014");
    assert_eq!(code(&two, "SET statement_timeout = '100ms'; SELECT pg_advisory_lock(1)").await, "57014");
    two.batch_execute("SET statement_timeout = 0; SET lock_timeout = '100ms'").await.unwrap();
    assert_eq!(code(&two, "SELECT pg_advisory_xact_lock(1)").await, "55P03");
    assert_eq!(rows(&one, "SELECT pg_advisory_unlock(1)").await, ["t"]);
    // A client that goes while it waits leaves the line, in which others stood behind it.
    rows(&one, "SELECT pg_advisory_lock_shared(1)").await;
    let mut gone = Raw::admitted(&site).await;
    gone.send(&query("SELECT pg_advisory_lock(1)")).await;
    let passes = async || rows(&two, "SELECT pg_try_advisory_lock_shared(1)").await == ["t"];
    while passes().await {
        rows(&two, "SELECT pg_advisory_unlock_shared(1)").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(gone);
    let left = async {
        while !passes().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG, left).await.expect("it still stands in line");
    // And who sleeps wakes.
    let (cancel, running) = waiting(&site, "SELECT pg_sleep(100000)").await;
    assert_eq!(cancelled(cancel, running).await, "57014");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transactions_locks_end_with_it_or_with_the_savepoint_that_took_them_back() {
    let site = site().await;
    let (one, two) = (site.client().await, site.client().await);
    for end in ["COMMIT", "ROLLBACK"] {
        one.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(1); SAVEPOINT s; SELECT pg_advisory_xact_lock(2)").await.unwrap();
        // Asking about a statement is no end of the transaction.
        one.prepare("SHOW work_mem").await.unwrap();
        assert!(!is_free(&two, 1).await && !is_free(&two, 2).await);
        one.batch_execute("ROLLBACK TO s").await.unwrap();
        assert!(!is_free(&two, 1).await && is_free(&two, 2).await);
        one.batch_execute(end).await.unwrap();
        assert!(is_free(&two, 1).await);
    }
    // By itself a statement is a transaction; one that fails ends it, too.
    rows(&one, "SELECT pg_advisory_xact_lock(1)").await;
    assert!(is_free(&two, 1).await);
    assert_eq!(code(&one, "SELECT pg_advisory_xact_lock(1), 1 / (SELECT 0)").await, "22012");
    assert!(is_free(&two, 1).await);
    assert_eq!(code(&one, "BEGIN; SELECT pg_advisory_xact_lock(1); SELECT 1 / (SELECT 0)").await, "22012");
    one.batch_execute("ROLLBACK").await.unwrap();
    assert!(is_free(&two, 1).await);
    // With parameters, whose types the function tells.
    let locked = one.query_one("SELECT pg_try_advisory_lock($1), pg_try_advisory_lock($2, $3)", &[&7_i64, &1_i32, &2_i32]).await;
    assert!(locked.unwrap().get::<_, bool>(0) && !is_free(&two, 7).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_fails_lets_go_at_once_of_what_no_savepoint_brings_back() {
    let site = site().await;
    let (one, two) = (site.client().await, site.client().await);
    one.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    let fail = async || assert_eq!(code(&one, "SELECT 1 / (SELECT 0)").await, "22012");
    let table = "BEGIN; LOCK TABLE t IN SHARE MODE NOWAIT; COMMIT";
    one.batch_execute("BEGIN; SELECT pg_advisory_lock(1); SELECT pg_advisory_xact_lock(2); LOCK TABLE t").await.unwrap();
    one.batch_execute("SAVEPOINT s; SELECT pg_advisory_xact_lock(3), pg_advisory_lock(4)").await.unwrap();
    fail().await;
    assert!(is_free(&two, 3).await, "taken since the savepoint");
    assert!(!is_free(&two, 2).await, "ROLLBACK TO has it still");
    assert_eq!(code(&two, table).await, "55P03");
    two.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(code(&one, "SELECT 1").await, "25P02");
    assert!(!is_free(&two, 2).await, "another failure changes nothing");
    one.batch_execute("ROLLBACK TO s; SELECT pg_advisory_xact_lock(3)").await.unwrap();
    assert!(!is_free(&two, 2).await && !is_free(&two, 3).await);
    one.batch_execute("RELEASE s").await.unwrap();
    fail().await;
    assert!(is_free(&two, 2).await && is_free(&two, 3).await);
    assert_eq!(code(&two, table).await, "00000");
    // The session's own are not of the transaction, whatever becomes of it.
    assert!(!is_free(&two, 1).await && !is_free(&two, 4).await);
    one.batch_execute("ROLLBACK").await.unwrap();
    assert!(!is_free(&two, 1).await && !is_free(&two, 4).await);
    // A statement that has ended by a cancel, or by its time, has failed like others.
    one.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(2); SET LOCAL statement_timeout = '50ms'").await.unwrap();
    assert_eq!(code(&one, "SELECT pg_sleep(100000)").await, "57014");
    assert!(is_free(&two, 2).await);
    one.batch_execute("ROLLBACK; BEGIN; SELECT pg_advisory_xact_lock(2)").await.unwrap();
    assert!(!is_free(&two, 2).await, "the next transaction takes its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_wait_in_a_circle_is_told() {
    let site = site().await;
    let (one, two) = (site.client().await, site.client().await);
    one.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(1)").await.unwrap();
    two.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(2)").await.unwrap();
    let running = tokio::spawn(async move { (code(&one, "SELECT pg_advisory_xact_lock(2)").await, one) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Who is told has lost its transaction, and with it the lock that the other one waits for: nobody has rolled back yet.
    let second = code(&two, "SELECT pg_advisory_xact_lock(1)").await;
    let (first, _one) = tokio::time::timeout(LONG, running).await.expect("it waits for a transaction that has failed").unwrap();
    let mut answers = [first, second];
    answers.sort();
    assert_eq!(answers, ["00000", "40P01"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_a_lock_sees_what_was_committed_under_it() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE counted (id int PRIMARY KEY, n int); INSERT INTO counted VALUES (1, 0)").await.unwrap();
    // Each locks, reads and writes what follows from it: without a wait, or with an older read, counts would be lost or fail.
    let ways = [
        "SELECT pg_advisory_xact_lock(1)",
        "LOCK TABLE counted IN ACCESS EXCLUSIVE MODE",
        "LOCK TABLE counted",
        "LOCK TABLE counted IN SHARE UPDATE EXCLUSIVE MODE",
    ];
    for (round, lock) in ways.into_iter().enumerate() {
        let mut workers = vec![];
        for _ in 0..3 {
            let client = site.client().await;
            workers.push(tokio::spawn(async move {
                for _ in 0..8 {
                    client.batch_execute("BEGIN").await.unwrap();
                    client.batch_execute(lock).await.unwrap();
                    let n: i32 = rows(&client, "SELECT n FROM counted WHERE id = 1").await[0].parse().unwrap();
                    client.batch_execute(&format!("UPDATE counted SET n = {} WHERE id = 1", n + 1)).await.unwrap();
                    client.batch_execute("COMMIT").await.unwrap();
                }
            }));
        }
        for worker in workers {
            worker.await.unwrap();
        }
        let n = rows(&client, "SELECT n FROM counted").await;
        assert_eq!(n, [((round + 1) * 24).to_string()], "{lock}");
    }
    // Who does not lock is not held up; who locked then does not commit.
    let (one, two) = (site.client().await, site.client().await);
    one.batch_execute("BEGIN; LOCK TABLE counted IN EXCLUSIVE MODE").await.unwrap();
    assert_eq!(code(&two, "BEGIN; LOCK TABLE counted IN SHARE MODE NOWAIT").await, "55P03");
    two.batch_execute("ROLLBACK; UPDATE counted SET n = 0").await.unwrap();
    one.batch_execute("INSERT INTO counted VALUES (2, 0)").await.unwrap();
    assert_eq!(code(&one, "COMMIT").await, "40001");
    assert_eq!(code(&two, "BEGIN; LOCK TABLE counted IN SHARE MODE NOWAIT; COMMIT").await, "00000");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_take_jobs_with_skip_locked_take_each_once() {
    let site = site().await;
    let client = site.client().await;
    client
        .batch_execute("CREATE TABLE jobs (id int PRIMARY KEY, state text); CREATE TABLE done (id int PRIMARY KEY)")
        .await
        .unwrap();
    client.batch_execute("INSERT INTO jobs SELECT g, 'new' FROM generate_series(1, 40) g").await.unwrap();
    let work = async |client: Client| {
        let mut mine = vec![];
        loop {
            let take = "UPDATE jobs SET state = 'run' WHERE id = (SELECT id FROM jobs WHERE state = 'new' ORDER BY id LIMIT 1 \
                        FOR UPDATE SKIP LOCKED) RETURNING id";
            match client.query(take, &[]).await {
                Ok(rows) => match rows.first() {
                    Some(row) => mine.push(row.get::<_, i32>(0)),
                    None => return mine,
                },
                // Another one was first more often than the statement is run again by itself.
                Err(error) => assert_eq!(crate::common::sqlstate(&error), "40001"),
            }
        }
    };
    let mut workers = vec![];
    for _ in 0..3 {
        workers.push(tokio::spawn(work(site.client().await)));
    }
    let mut all = vec![];
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (1..=40).collect::<Vec<i32>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_by_itself_is_judged_by_the_rows_that_its_subquery_locks() {
    let site = site().await;
    let (one, two) = (site.client().await, site.client().await);
    one.batch_execute("CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY, n int)").await.unwrap();
    one.batch_execute("INSERT INTO a VALUES (1, 0); INSERT INTO b VALUES (1, 0)").await.unwrap();
    let both = "UPDATE a SET n = n + (SELECT n FROM b WHERE id = 1 FOR UPDATE) + 1 WHERE id = 1";
    one.batch_execute("BEGIN").await.unwrap();
    one.batch_execute(both).await.unwrap();
    // The row of b that the sum rests on is written meanwhile.
    two.batch_execute("UPDATE b SET n = 5 WHERE id = 1").await.unwrap();
    assert_eq!(code(&one, "COMMIT").await, "40001");
    // Without a transaction around it the statement is run again until it fits.
    one.batch_execute(both).await.unwrap();
    assert_eq!(rows(&one, "SELECT n FROM a").await, ["6"]);
    assert_eq!(rows(&one, "SELECT n FROM b").await, ["5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_of_settings_that_set_config_changes() {
    let site = site().await;
    let mut raw = Raw::admitted(&site).await;
    let told = |answers: &[(u8, Vec<u8>)]| {
        let of = |(_, body): &(u8, Vec<u8>)| String::from_utf8_lossy(body).replace('\0', "=");
        answers.iter().filter(|(letter, _)| *letter == b'S').map(of).collect::<Vec<_>>()
    };
    raw.send(&query("SELECT set_config('application_name', 'me', false)")).await;
    assert_eq!(told(&raw.until_ready().await), ["application_name=me="]);
    raw.send(&query("SELECT set_config('application_name', 'me', false)")).await;
    assert_eq!(told(&raw.until_ready().await), [""; 0]);
    raw.send(&query("BEGIN; SELECT set_config('application_name', 'you', true); COMMIT")).await;
    raw.until_ready().await;
    raw.send(&query("SHOW application_name")).await;
    let answers = raw.until_ready().await;
    assert!(answers.iter().any(|(letter, body)| *letter == b'D' && body.ends_with(b"me")));
    raw.send(&query("SELECT pg_advisory_unlock(5)")).await;
    let answers = raw.until_ready().await;
    let notice = &answers.iter().find(|(letter, _)| *letter == b'N').expect("a warning").1;
    assert_eq!(field(notice, b'M'), "you don't own a lock of type ExclusiveLock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_set_for_a_transaction_by_set_config() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE ROLE web; CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    client.batch_execute("BEGIN; SELECT set_config('role', 'web', true), set_config('app.claims', '{}', true)").await.unwrap();
    assert_eq!(rows(&client, "SELECT current_user").await, ["web"]);
    assert_eq!(code(&client, "SELECT * FROM t").await, "42501");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(rows(&client, "SELECT current_user").await, ["regauge"]);
    assert_eq!(code(&client, "SELECT set_config('role', 'nobody_here', false)").await, "22023");
    client.batch_execute("SET ROLE web").await.unwrap();
    assert_eq!(code(&client, "SET log_statement = 'all'").await, "42501");
    assert_eq!(code(&client, "SHOW data_directory").await, "42501");
    client.batch_execute("RESET ROLE; SET log_statement = 'all'").await.unwrap();
    assert_eq!(rows(&client, "SHOW port").await, [site.address.port().to_string()]);
    assert_eq!(rows(&client, "SHOW data_directory").await, [site.dir.path().display().to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_without_an_end_ends_with_its_statement() {
    let site = site().await;
    let client = site.client().await;
    // No machine comes to the end of these.
    for sql in [
        "SELECT count(*) FROM generate_series(1, 1000000000000000)",
        "SELECT sum(g) FROM generate_series(1, 1000000000000000) g WHERE g % 2 = 0",
        "SELECT count(*) FROM generate_series(1, 3) a, generate_series(a, 1000000000000000) b",
    ] {
        client.batch_execute("SET statement_timeout = '200ms'").await.unwrap();
        assert_eq!(code(&client, sql).await, "57014", "{sql}");
        client.batch_execute("SET statement_timeout = 0").await.unwrap();
        let (cancel, running) = waiting(&site, sql).await;
        assert_eq!(cancelled(cancel, running).await, "57014", "{sql}");
    }
}
