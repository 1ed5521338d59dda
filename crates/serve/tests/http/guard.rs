//! Who may come in.

use crate::client::Server;
use regauge_serve::http::HttpOptions;
use std::sync::Arc;

fn locked() -> HttpOptions {
    HttpOptions {
        verify: Some(Arc::new(|user, password| user == "regauge" && password == "secret")),
        hosts: vec!["data.example".to_owned()],
        ..HttpOptions::default()
    }
}

/// `regauge:secret`, `regauge:wrong`
const RIGHT: (&str, &str) = ("authorization", "Basic cmVnYXVnZTpzZWNyZXQ=");
const WRONG: (&str, &str) = ("authorization", "Basic cmVnYXVnZTp3cm9uZw==");

#[tokio::test(flavor = "multi_thread")]
async fn without_the_password_only_health_is_told() {
    let server = Server::with(locked()).await;
    assert_eq!(server.get("/healthz").await.body, "ok\n");
    for path in ["/", "/metrics", "/openapi.yaml", "/v1/views/x", "/v1/nothing"] {
        let refused = server.get(path).await;
        refused.fails(401, "28P01");
        assert!(refused.header("www-authenticate").is_some());
        server.request("GET", path, &[WRONG], b"").await.fails(401, "28P01");
    }
    server.post("/v1/sql", &[], b"{\"sql\": \"SELECT 1\"}").await.fails(401, "28P01");
    assert_eq!(server.post("/v1/sql", &[RIGHT], b"{\"sql\": \"SELECT 1\"}").await.status, 200);
    let page = server.request("GET", "/", &[RIGHT], b"").await;
    assert!(page.status == 200 && page.header("content-security-policy").is_some());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_name_or_page_gets_nothing_even_with_the_password() {
    let server = Server::with(locked()).await;
    let sql = b"{\"sql\": \"SELECT 1\"}";
    server.post("/v1/sql", &[RIGHT, ("host", "evil.example")], sql).await.fails(421, "08004");
    let own = format!("http://{}", server.address);
    for origin in ["http://evil.example", "null", "http://localhost:1", "file://", own.trim_start_matches("http://")] {
        server.post("/v1/sql", &[RIGHT, ("origin", origin)], sql).await.fails(403, "42501");
    }
    assert_eq!(server.post("/v1/sql", &[RIGHT, ("origin", &own)], sql).await.status, 200);
    assert_eq!(server.post("/v1/sql", &[RIGHT, ("host", "data.example")], sql).await.status, 200);
    server.stop().await;
}
