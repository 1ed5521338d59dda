//! Roles over HTTP: the same passwords and the same rights as on the Postgres wire.

use crate::client::Server;
use base64::{Engine, engine::general_purpose::STANDARD};
use regauge_serve::{http::HttpOptions, login::Logins, secret::Passwords};
use regauge_types::Env;
use regauge_views::{Config, Instance};
use std::sync::{Arc, OnceLock};

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A server that asks the instance it serves who may come in.
async fn locked() -> (Server, String) {
    let dir = tempfile::tempdir().unwrap();
    // The folder's file of passwords is there before the server is.
    drop(Instance::open(Config::new(dir.path())).unwrap());
    let passwords = Passwords::open(&Env::real(), dir.path()).unwrap();
    let line = std::fs::read_to_string(passwords.passfile()).unwrap();
    let first = line.trim().rsplit(':').next().unwrap().to_owned();
    let logins: Arc<OnceLock<Logins>> = Arc::default();
    let asked = logins.clone();
    let verify = Arc::new(move |user: &str, password: &str| asked.get().is_some_and(|l| l.verify(user, password)));
    let server = Server::over(dir, HttpOptions { verify: Some(verify), ..HttpOptions::default() }).await;
    logins.set(Logins::new(server.instance.clone(), passwords)).unwrap();
    (server, basic("regauge", &first))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_reads_and_appends_what_it_may() {
    let (server, root) = locked().await;
    let sql = |who: String, sql: &'static str| {
        let server = &server;
        async move {
            let body = serde_json::json!({ "sql": sql }).to_string();
            server.post("/v1/sql", &[("authorization", &who)], body.as_bytes()).await
        }
    };
    for text in [
        "CREATE ROLE alice LOGIN PASSWORD 'pa:ss'",
        "CREATE STREAM clicks (page text)",
        "CREATE MATERIALIZED VIEW per_page AS SELECT page, count(*) AS n FROM clicks GROUP BY page",
        "CREATE TABLE hidden_thing (k int PRIMARY KEY)",
        "GRANT INSERT ON clicks TO alice",
    ] {
        assert_eq!(sql(root.clone(), text).await.status, 200, "{text}");
    }
    let alice = basic("alice", "pa:ss");
    for wrong in [basic("alice", "pass"), basic("nobody", "pa:ss"), basic("alice", "")] {
        sql(wrong, "SELECT 1").await.fails(401, "28P01");
    }
    // The second time the password is known to be right.
    for _ in 0..2 {
        assert_eq!(sql(alice.clone(), "SHOW is_superuser").await.status, 200);
    }
    let headers = [("authorization", alice.as_str())];
    let stored = server.post("/v1/topics/clicks/records", &headers, b"{\"page\": \"a\"}\n").await;
    assert_eq!(stored.status, 200, "{stored:?}");
    server.post("/v1/topics/hidden_thing/records", &headers, b"{\"nonsense\": 1}\n").await.fails(403, "42501");
    for path in ["/v1/views/clicks", "/v1/views/per_page", "/v1/views/hidden_thing?nonsense=1", "/v1/views/per_page/changes"] {
        server.request("GET", path, &headers, b"").await.fails(403, "42501");
    }
    for path in ["/", "/metrics"] {
        let page = server.request("GET", path, &headers, b"").await;
        assert!(page.status == 200 && !page.body.contains("per_page") && !page.body.contains("hidden_thing"), "{page:?}");
        assert!(server.request("GET", path, &[("authorization", &root)], b"").await.body.contains("per_page"));
    }
    assert_eq!(sql(root.clone(), "GRANT SELECT ON per_page TO alice").await.status, 200);
    assert_eq!(server.request("GET", "/v1/views/per_page", &headers, b"").await.status, 200);
    assert_eq!(sql(root.clone(), "ALTER ROLE alice PASSWORD 'other'").await.status, 200);
    sql(alice, "SELECT 1").await.fails(401, "28P01");
    assert_eq!(sql(basic("alice", "other"), "SELECT 1").await.status, 200);
    assert_eq!(sql(root, "ALTER ROLE alice NOLOGIN").await.status, 200);
    sql(basic("alice", "other"), "SELECT 1").await.fails(401, "28P01");
}
