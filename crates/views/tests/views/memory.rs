//! A query that needs more memory than it may hold fails alone: typed, and the session and its neighbours go on.

use super::common::{attempt, code, run};
use regauge_views::{Config, Instance, SessionOptions};

const ROWS: usize = 20_000;

fn opened(dir: &std::path::Path, query: usize, all: usize) -> Instance {
    let mut config = Config::new(dir).workers(1);
    // a machine may be slow
    config.limits.causal_timeout = std::time::Duration::from_secs(120);
    (config.limits.query_memory_bytes, config.limits.all_queries_memory_bytes) = (query, all);
    Instance::open(config).unwrap()
}

async fn filled(instance: &Instance) -> regauge_views::Session {
    let mut session = instance.session(SessionOptions::default()).unwrap();
    run(&mut session, "CREATE STREAM s (id BIGINT, name TEXT)").await;
    for from in (0..ROWS).step_by(2_000) {
        let values: Vec<String> = (from..from + 2_000).map(|i| format!("({i}, 'a name that takes some room {i}')")).collect();
        run(&mut session, &format!("INSERT INTO s VALUES {}", values.join(","))).await;
    }
    session
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_beyond_its_memory_fails_typed_and_the_session_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let instance = opened(dir.path(), 1 << 20, 64 << 20);
    let mut session = filled(&instance).await;
    for greedy in [
        "SELECT name, id FROM s ORDER BY name, id",
        "SELECT name, count(*) FROM s GROUP BY name",
        "SELECT a.name, b.id FROM s a JOIN s b ON a.name = b.name",
        "SELECT count(DISTINCT name) FROM s",
        "SELECT name, sum(id) OVER (ORDER BY name) FROM s",
    ] {
        assert_eq!(code(&mut session, greedy).await, "53200", "{greedy}");
        assert_eq!(run(&mut session, "SELECT count(*), max(id) FROM s").await, ["20000|19999"], "after {greedy}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_all_queries_hold_is_bounded_too_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let instance = opened(dir.path(), 64 << 20, 1 << 20);
    let mut session = filled(&instance).await;
    // Twice: what the first had reserved is given back when it fails.
    for _ in 0..2 {
        let error = attempt(&mut session, "SELECT name, count(*) FROM s GROUP BY name").await.unwrap_err();
        assert_eq!(error.sqlstate, "53200");
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("memory")), "{error:?}");
        assert_eq!(
            run(&mut session, "SELECT name FROM s WHERE id < 500 ORDER BY name LIMIT 1").await,
            ["a name that takes some room 0"]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_keeps_its_rows_keeps_no_more_than_a_query_may_hold() {
    let dir = tempfile::tempdir().unwrap();
    let instance = opened(dir.path(), 1 << 20, 64 << 20);
    let mut session = filled(&instance).await;
    // Forward only it keeps nothing.
    run(&mut session, "BEGIN; DECLARE c CURSOR FOR SELECT id, name, name || id AS again FROM s; MOVE ALL IN c; COMMIT").await;
    assert_eq!(code(&mut session, "DECLARE c CURSOR WITH HOLD FOR SELECT id, name, name || id AS again FROM s").await, "53200");
    run(&mut session, "BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id, name, name || id AS again FROM s").await;
    assert_eq!(run(&mut session, "FETCH c").await.len(), 1);
    assert_eq!(code(&mut session, "FETCH LAST FROM c").await, "53200");
    assert_eq!(run(&mut session, "ROLLBACK; SELECT count(*) FROM s").await, ["20000"]);
}
