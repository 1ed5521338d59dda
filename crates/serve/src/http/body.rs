//! A request's body in memory, within three limits: its own size, the size of all bodies at once, and time.

use super::failure::Failure;
use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use regauge_types::ErrorKind;
use regauge_views::{Error, error::sqlstate as code};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory for bodies. A request waits for its share before it reads a byte, so a client that sends much is held up by TCP.
pub(super) struct Budget {
    kib: Arc<Semaphore>,
    kib_max: usize,
}

/// A body, which gives its share back when it is dropped.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    /// Given back with the request, not with the bytes: rows made of them live as long.
    pub(super) share: OwnedSemaphorePermit,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Budget {
        let kib_max = (bytes_max >> 10).clamp(1, Semaphore::MAX_PERMITS);
        Budget { kib: Arc::new(Semaphore::new(kib_max)), kib_max }
    }

    /// Reads a body of at most `bytes_max`.
    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        bytes_max: usize,
        timeout: Duration,
    ) -> Result<Held, Failure> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
        if length.is_some_and(|n| n > bytes_max) {
            return Err(too_large(bytes_max));
        }
        let work = async {
            let kib = ((length.unwrap_or(bytes_max) >> 10) + 1).min(self.kib_max);
            let permits = self.kib.clone().acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX)).await;
            let share = permits.map_err(|_| Failure::from(Error::internal("the budget was closed")))?;
            let mut bytes = BytesMut::with_capacity(length.unwrap_or(0));
            let mut chunks = body.into_data_stream();
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(|e| Failure::bad(code::PROTOCOL_VIOLATION, format!("the body ended early: {e}")))?;
                if bytes.len() + chunk.len() > bytes_max {
                    return Err(too_large(bytes_max));
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(Held { bytes: bytes.freeze(), share })
        };
        match tokio::time::timeout(timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let message = format!("the body did not come in time timeout_s={}", timeout.as_secs());
                let error = Error::new(ErrorKind::Unavailable, code::PROTOCOL_VIOLATION, message);
                Err(Failure::new(StatusCode::REQUEST_TIMEOUT, error.hint("send it faster, or in smaller parts")))
            }
        }
    }
}

fn too_large(bytes_max: usize) -> Failure {
    let error = Error::new(ErrorKind::Exhausted, code::LIMIT_EXCEEDED, format!("body is too large max_bytes={bytes_max}"));
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, error.hint("send it in parts: appends take as many requests as it needs"))
}
