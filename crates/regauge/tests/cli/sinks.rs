//! `kill -9` of the real server while its sinks write into a real PostgreSQL: at the end the target holds what the relations hold.

#[allow(dead_code, reason = "what the tests of connect need besides")]
#[path = "../../../connect/tests/sinks/server.rs"]
mod postgres;

use crate::server::Server;
use std::time::{Duration, Instant};

/// 5 in CI; `REGAUGE_SINK_KILLS=20` for more.
const KILLS: &str = "REGAUGE_SINK_KILLS";

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

fn here(server: &Server, sql: &str) -> Vec<String> {
    let rows = server.sql(sql);
    let cell = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let row = |r: &serde_json::Value| r.as_array().unwrap().iter().map(cell).collect::<Vec<_>>().join("|");
    sorted(rows.as_array().unwrap().iter().map(row).collect())
}

async fn there(client: &tokio_postgres::Client, sql: &str) -> Vec<String> {
    let mut all = vec![];
    let messages = match client.simple_query(sql).await {
        // a sink that never lived long enough has not made its table yet
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => vec![],
        answer => answer.unwrap_or_else(|e| panic!("{e:?}: {sql}")),
    };
    for message in messages {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            all.push((0..row.len()).map(|at| row.get(at).unwrap_or("null")).collect::<Vec<_>>().join("|"));
        }
    }
    sorted(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_no_gap_and_no_double_in_its_target() {
    let kills: u64 = std::env::var(KILLS).ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    let (target, dir) = (postgres::Server::new().await, tempfile::tempdir().unwrap());
    let server = Server::start(dir.path());
    server.sql("CREATE STREAM s (who TEXT, n BIGINT)");
    server.sql("CREATE MATERIALIZED VIEW v AS SELECT who, count(*) AS c, sum(n) AS n FROM s GROUP BY who");
    let options = format!(
        "WITH (connector = 'postgres', host = '127.0.0.1', port = {}, user = 'postgres', database = 'postgres')",
        target.port
    );
    server.sql(&format!("CREATE SINK s_sink FROM s {options}"));
    server.sql(&format!("CREATE SINK v_sink FROM v {options}"));
    let client = target.client().await;
    let mut running = Some(server);
    let mut n = 0_u64;
    for kill in 0..kills {
        let server = running.take().unwrap();
        let until = Instant::now() + Duration::from_micros(200_000 + kill.wrapping_mul(7_919_777) % 300_000);
        loop {
            server.sql(&format!("INSERT INTO s VALUES ('w{}', {n}), ('w', {n})", n % 7));
            n += 1;
            if Instant::now() >= until {
                break;
            }
        }
        server.kill();
        running = Some(Server::start(dir.path()));
    }
    let server = running.unwrap();
    server.sql("FLUSH");
    let (stream, view) = (here(&server, "SELECT who, n::text FROM s"), here(&server, "SELECT who, c::text, n::text FROM v"));
    assert_eq!(stream.len() as u64, 2 * n, "the log lost a row");
    let begun = Instant::now();
    loop {
        let now = (there(&client, "SELECT who, n FROM s").await, there(&client, "SELECT who, c, n FROM v").await);
        if now == (stream.clone(), view.clone()) {
            break;
        }
        assert!(now.0.len() <= stream.len(), "a double in the target");
        assert!(begun.elapsed() < Duration::from_secs(180), "the target never got there: {} of {}", now.0.len(), stream.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let opened = there(&client, "SELECT DISTINCT incarnation FROM regauge_sinks").await;
    println!("sinks, kill -9: kills={kills} rows={} incarnations={opened:?} gaps=0 doubles=0", 2 * n);
}
