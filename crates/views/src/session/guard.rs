//! What ends a statement early: its client's wish, or its time.

use crate::{
    error::{Error, Result, sqlstate as code},
    response::{Response, RowStream, Rows},
    session::copy_out::CopyOut,
    session::subscribe::Subscription,
};
use futures::{FutureExt, StreamExt, future};
use parking_lot::Mutex;
use regauge_plan::{halt::Halt, local};
use std::{any::Any, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Cancels what a session is running; a session that runs nothing takes no notice.
#[derive(Clone, Default)]
pub struct CancelHandle(Arc<Mutex<CancellationToken>>);

impl CancelHandle {
    /// Cancels the statement that runs now, and the rows that it is still sending.
    pub fn cancel(&self) {
        self.0.lock().cancel();
    }

    fn renew(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.0.lock() = token.clone();
        token
    }
}

/// Watches one statement.
pub(super) struct Guard {
    token: CancellationToken,
    deadline: Option<Instant>,
}

impl Guard {
    pub(super) fn new(handle: &CancelHandle, timeout: Option<Duration>) -> Guard {
        Guard { token: handle.renew(), deadline: timeout.map(|t| Instant::now() + t) }
    }

    fn ended(&self) -> impl Future<Output = Error> + Send + 'static {
        let (token, deadline) = (self.token.clone(), self.deadline);
        async move {
            let time = async move {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                () = token.cancelled() => Error::canceled("user request"),
                () = time => Error::canceled("statement timeout").hint("SET statement_timeout = 0 lets it run as long as it needs"),
            }
        }
    }

    /// What steps ask that do not give way: planning, and what is done for a batch of rows.
    fn halt(&self) -> Halt {
        let (token, deadline) = (self.token.clone(), self.deadline);
        Halt::new(move || token.is_cancelled() || deadline.is_some_and(|at| Instant::now() >= at))
    }

    /// Runs a part of the statement. Input never panics; where we, or a library, are wrong about that, it is this statement's error
    /// and not the end of the session.
    pub(super) async fn run<T>(&self, part: impl Future<Output = Result<T>>) -> Result<T> {
        let halt = self.halt();
        let mut part = std::pin::pin!(AssertUnwindSafe(part).catch_unwind());
        let part = future::poll_fn(|context| {
            let _halt = halt.enter();
            part.as_mut().poll(context)
        });
        let outcome = tokio::select! {
            biased;
            error = self.ended() => return Err(error),
            outcome = part => outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))),
        };
        match outcome {
            // it has heard of its end by itself
            Err(error) if error.sqlstate == code::QUERY_CANCELED => match self.ended().now_or_never() {
                Some(ended) => Err(ended),
                None => Err(error),
            },
            outcome => outcome,
        }
    }

    /// Lets the statement's rows end early, with the error as the last item.
    pub(super) fn watch(&self, response: Response) -> Response {
        match response {
            Response::Rows(rows) => Response::Rows(Rows { stream: self.watched(rows.stream), ..rows }),
            Response::CopyOut(copy) => {
                let copy = *copy;
                Response::CopyOut(Box::new(CopyOut { stream: self.watched(copy.stream), ..copy }))
            }
            Response::Subscription(s) => Response::Subscription(Subscription { stream: self.watched(s.stream), ..s }),
            other => other,
        }
    }

    fn watched(&self, mut stream: RowStream) -> RowStream {
        // Rows come after the statement's own step: they are of its zone all the same.
        let (zone, halt) = (local::here(), self.halt());
        let stream = futures::stream::poll_fn(move |context| {
            let (_zone, _halt) = (local::enter(zone), halt.enter());
            stream.poll_next_unpin(context)
        });
        let ended = self.ended().shared();
        let whole = AssertUnwindSafe(stream).catch_unwind();
        let over = ended.clone();
        let stream = whole.map(move |item| match item.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))) {
            Err(error) if error.sqlstate == code::QUERY_CANCELED => Err(over.clone().now_or_never().unwrap_or(error)),
            item => item,
        });
        let stream = stream.take_until(ended.clone());
        let last = futures::stream::once(async move { ended.now_or_never() }).filter_map(|error| async move { error.map(Err) });
        stream.chain(last).boxed()
    }
}

/// A panic as an error.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("no message");
    tracing::error!(%text, "a statement panicked");
    Error::internal(format!("statement panicked: {text}")).hint("this is a fault of regauge: please report the statement")
}
