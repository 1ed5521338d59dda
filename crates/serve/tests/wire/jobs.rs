//! Tables as queues of jobs: many workers, and each job is given to one of them.

use crate::common::{Site, code, rows, site};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const JOBS: usize = 48;
const WORKERS: usize = 6;

async fn filled(site: &Site) {
    let client = site.client().await;
    client.batch_execute("CREATE TABLE jobs (id INT PRIMARY KEY, due INT, state TEXT DEFAULT 'new')").await.unwrap();
    client
        .batch_execute(&format!("INSERT INTO jobs (id, due) SELECT g, g % 7 FROM generate_series(1, {JOBS}) AS g"))
        .await
        .unwrap();
}

/// Runs a worker's turn, which says which job it did, until all are done.
async fn all_done<F, T>(site: &Site, turn: F) -> Vec<i32>
where
    F: Fn(tokio_postgres::Client) -> T + Send + Sync + Clone + 'static,
    T: Future<Output = (tokio_postgres::Client, Option<i32>)> + Send + 'static,
{
    let done: Arc<Mutex<Vec<i32>>> = Arc::default();
    let until = Instant::now() + Duration::from_secs(180);
    let mut workers = vec![];
    for _ in 0..WORKERS {
        let (mut client, done, turn) = (site.client().await, done.clone(), turn.clone());
        workers.push(tokio::spawn(async move {
            while done.lock().unwrap().len() < JOBS {
                assert!(Instant::now() < until, "jobs are left over: {:?}", done.lock().unwrap());
                let (back, job) = turn(client).await;
                client = back;
                match job {
                    Some(job) => done.lock().unwrap().push(job),
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let mut done = done.lock().unwrap().clone();
    done.sort_unstable();
    done
}

fn every_job() -> Vec<i32> {
    (1..).take(JOBS).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_that_one_statement_takes_is_given_once() {
    let site = site().await;
    filled(&site).await;
    let turn = |client: tokio_postgres::Client| async move {
        let sql = "UPDATE jobs SET state = 'done' WHERE id = (SELECT id FROM jobs WHERE state = 'new' ORDER BY due, id \
                   FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING id";
        let taken = client.query(sql, &[]).await.unwrap();
        assert!(taken.len() < 2);
        (client, taken.first().map(|row| row.get::<_, i32>(0)))
    };
    assert_eq!(all_done(&site, turn).await, every_job());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_that_a_transaction_holds_is_given_to_nobody_else() {
    let site = site().await;
    filled(&site).await;
    let at_work: Arc<Mutex<HashSet<i32>>> = Arc::default();
    let given_back: Arc<Mutex<HashSet<i32>>> = Arc::default();
    let turn = move |client: tokio_postgres::Client| {
        let (at_work, given_back) = (at_work.clone(), given_back.clone());
        async move {
            client.batch_execute("BEGIN").await.unwrap();
            let sql = "SELECT id FROM jobs WHERE state = 'new' ORDER BY due, id LIMIT 1 FOR UPDATE SKIP LOCKED";
            let Some(job) = client.query(sql, &[]).await.unwrap().first().map(|row| row.get::<_, i32>(0)) else {
                client.batch_execute("ROLLBACK").await.unwrap();
                return (client, None);
            };
            assert!(at_work.lock().unwrap().insert(job), "two workers have job {job}");
            tokio::task::yield_now().await;
            client.execute("UPDATE jobs SET state = 'done' WHERE id = $1", &[&job]).await.unwrap();
            // Every third job is given back once, and is somebody's later.
            let back = job % 3 == 0 && given_back.lock().unwrap().insert(job);
            at_work.lock().unwrap().remove(&job);
            client.batch_execute(if back { "ROLLBACK" } else { "COMMIT" }).await.unwrap();
            (client, (!back).then_some(job))
        }
    };
    assert_eq!(all_done(&site, turn).await, every_job());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_another_transaction_locked_are_skipped_or_refused() {
    let site = site().await;
    filled(&site).await;
    let (a, b) = (site.client().await, site.client().await);
    a.batch_execute("FLUSH").await.unwrap();
    b.batch_execute("FLUSH").await.unwrap();
    a.batch_execute("BEGIN").await.unwrap();
    let two = "SELECT id FROM jobs WHERE id < 7 ORDER BY id FOR UPDATE SKIP LOCKED";
    assert_eq!(rows(&a, &format!("{two} LIMIT 2")).await, ["1", "2"]);
    assert_eq!(rows(&a, &format!("{two} LIMIT 2")).await, ["1", "2"], "it is not in its own way");
    b.batch_execute("BEGIN").await.unwrap();
    assert_eq!(rows(&b, &format!("{two} LIMIT 2")).await, ["3", "4"]);
    assert_eq!(rows(&b, &format!("{two} OFFSET 1 FETCH FIRST 2 ROWS ONLY")).await, ["4", "5"]);
    assert_eq!(rows(&b, two).await, ["3", "4", "5", "6"]);
    assert_eq!(rows(&b, "SELECT id FROM jobs WHERE id = 9 FOR UPDATE NOWAIT").await, ["9"]);
    assert_eq!(code(&b, "SELECT id FROM jobs WHERE id = 1 FOR UPDATE NOWAIT").await, "55P03");
    assert_eq!(rows(&a, two).await, ["1", "2", "3", "4", "5", "6"], "what has failed holds nothing");
    b.batch_execute("ROLLBACK; BEGIN").await.unwrap();
    a.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(rows(&b, &format!("{two} LIMIT 2")).await, ["1", "2"]);
    // By itself a statement skips what others hold, and holds nothing afterwards.
    assert_eq!(rows(&a, &format!("{two} LIMIT 1")).await, ["3"]);
    b.batch_execute("COMMIT").await.unwrap();
    assert_eq!(rows(&a, &format!("{two} LIMIT 1")).await, ["1"]);
    // What a savepoint takes back is given back.
    a.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
    assert_eq!(rows(&a, &format!("{two} LIMIT 1")).await, ["1"]);
    a.batch_execute("ROLLBACK TO SAVEPOINT s").await.unwrap();
    assert_eq!(rows(&b, &format!("{two} LIMIT 1")).await, ["1"]);
    a.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transaction_that_has_read_before_is_given_what_is_left() {
    let site = site().await;
    filled(&site).await;
    let (old, other) = (site.client().await, site.client().await);
    old.batch_execute("FLUSH; BEGIN").await.unwrap();
    assert_eq!(rows(&old, "SELECT count(*) FROM jobs").await, [JOBS.to_string()]);
    other.batch_execute("UPDATE jobs SET state = 'done' WHERE id <= 3").await.unwrap();
    let next = "SELECT id FROM jobs WHERE state = 'new' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
    assert_eq!(rows(&old, next).await, ["4"], "the first three are not any more what it has read");
    old.batch_execute("COMMIT").await.unwrap();
}
