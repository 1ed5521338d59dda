//! Room for the planner: parsing, binding and optimising recurse over what a statement nests, and a server's worker thread has 2 MiB.
//!
//! A future wrapped by [`roomy`] is polled on a stack of its own when the thread's is small. What it holds across waits is in the
//! future, so the borrowed stack is empty between polls. Cost: one mapping per poll on small threads, nothing on large ones.
//! Statements are bounded by the parser's limits, so the room is enough; nothing here bounds them.

use crate::{error::Result, session::panicked};
use futures::FutureExt;
use regauge_plan::local::{self, Moment, Zone};
use std::{future::Future, panic::AssertUnwindSafe};

/// With less than this left on the thread's stack, a new one is taken.
const LEFT_BYTES_MIN: usize = 6 << 20;

/// The size of the new one.
const STACK_BYTES: usize = 16 << 20;

/// The same future with room to recurse, and with this zone and moment as its own; a panic in it is an error.
pub(crate) async fn roomy<T, F: Future<Output = Result<T>>>((zone, moment): (Zone, Moment), future: F) -> Result<T> {
    let mut future = Box::pin(AssertUnwindSafe(future).catch_unwind());
    let outcome = std::future::poll_fn(move |context| {
        let future = future.as_mut();
        let (_zone, _moment) = (local::enter(zone), moment.enter());
        stacker::maybe_grow(LEFT_BYTES_MIN, STACK_BYTES, || future.poll(context))
    });
    outcome.await.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

/// The same future, moments in it being of this zone: of a plain view's query, for one, which keeps the zone it was made in.
pub(crate) async fn within<T>(zone: Zone, future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    std::future::poll_fn(move |context| {
        let _zone = local::enter(zone);
        future.as_mut().poll(context)
    })
    .await
}

/// The same for what does not wait.
pub(crate) fn roomy_now<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LEFT_BYTES_MIN, STACK_BYTES, work)
}
