//! HTTP: SQL, records in, views out, metrics, health. Each request is a session of its own; what one has seen the next one sees
//! by the token in `Regauge-Token`.
//!
//! ```text
//!   accept (at most `connections_max`) ─▶ hyper: head within 10 s ─▶ guard: Host, Origin, password ─▶ route ─▶ Session
//! ```
//! Invariant: no answer tells anything to a caller that the guard has not let in, but `/healthz`. Memory is bounded: bodies of all
//! requests together by `bodies_bytes_max`, an answer in JSON by `answer_bytes_max`, streamed answers by a batch. A client that goes
//! away drops its request's future, and with it the query. It does not know operators, files of state, or other protocols.

mod body;
mod changes;
mod failure;
mod guard;
mod json;
mod metrics;
mod page;
mod records;
mod sql;
mod views;
mod visit;

pub use guard::Verify;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    middleware,
    routing::{get, post},
};
use body::Budget;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use metrics::Counters;
use regauge_views::Instance;
use std::{sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// What the door is opened with.
#[derive(Clone)]
pub struct HttpOptions {
    /// Whether a user has this password; `None` lets everybody in, for tests.
    pub verify: Option<Verify>,
    /// Names by which clients may call the server, beside those of the loopback.
    pub hosts: Vec<String>,
    /// Open connections; more wait in the listener's queue.
    pub connections_max: usize,
    /// Bytes of a statement with its parameters.
    pub statement_bytes_max: usize,
    /// Bytes of one body of records.
    pub records_bytes_max: usize,
    /// Bytes of all bodies that are held at once.
    pub bodies_bytes_max: usize,
    /// Bytes of an answer that is not streamed.
    pub answer_bytes_max: usize,
    /// Time for the head of a request, and for a connection to be idle.
    pub head_timeout: Duration,
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// Time that open requests get when the server stops.
    pub drain: Duration,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        HttpOptions {
            verify: None,
            hosts: vec![],
            connections_max: 256,
            statement_bytes_max: 16 << 20,
            records_bytes_max: 64 << 20,
            bodies_bytes_max: 256 << 20,
            answer_bytes_max: 64 << 20,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(5),
        }
    }
}

/// What all requests share.
struct Door {
    instance: Instance,
    options: HttpOptions,
    budget: Budget,
    counters: Counters,
    /// Ends streams that would not end by themselves.
    stopping: CancellationToken,
}

type Shared = Arc<Door>;

/// Serves until `shutdown` is cancelled; then open requests get `drain` to end.
pub async fn serve(instance: Instance, listener: TcpListener, options: HttpOptions, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(options.connections_max));
    let door = Arc::new(Door {
        budget: Budget::new(options.bodies_bytes_max),
        counters: Counters::default(),
        stopping: shutdown.clone(),
        instance,
        options,
    });
    let router = router(door.clone());
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = next => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Some((Ok((stream, _)), permit)) => {
                connections.spawn(connection(stream, router.clone(), door.clone(), shutdown.clone(), permit));
            }
            Some((Err(error), _)) => {
                // Out of file descriptors, most likely: the next attempt may do better, but not at once.
                tracing::warn!(%error, "http: cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            None => break,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(door.options.drain, ended).await.is_err() {
        tracing::warn!(open = connections.len(), "http: requests did not end in time");
    }
}

async fn connection(stream: TcpStream, router: Router, door: Shared, shutdown: CancellationToken, _permit: OwnedSemaphorePermit) {
    let _ = stream.set_nodelay(true);
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(door.options.head_timeout).max_buf_size(64 << 10);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(served);
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            match tokio::time::timeout(door.options.drain, served).await {
                Ok(outcome) => outcome,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "http: connection ended");
    }
}

/// `ok`, or 503 where views stand still for ever: who routes clients sends them elsewhere, who supervises starts it again. Nothing of what it
/// says is about anybody's data.
async fn health(State(door): State<Shared>) -> (StatusCode, String) {
    match door.instance.failure() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("failed: {}\n", error.message)),
    }
}

fn router(door: Shared) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.yaml", get(page::openapi))
        .route("/v1/sql", post(sql::sql))
        .route("/v1/topics/{topic}/records", post(records::records))
        .route("/v1/views/{view}", get(views::view))
        .route("/v1/views/{view}/changes", get(changes::changes))
        .fallback(failure::no_such_path)
        .method_not_allowed_fallback(failure::no_such_method)
        .layer(middleware::from_fn_with_state(door.clone(), guard::guard))
        .with_state(door)
}
