//! Rows on their way out: a stream of batches, written row by row, suspended when the client wants no more for now.
//!
//! Invariant: at most one batch and one output buffer are held; the next batch is asked for when the last one is written. A slow
//! client therefore holds up its own statement only.

use super::{
    encode::Encoder,
    frame::{Fault, Wire},
    types::Shape,
};
use futures::StreamExt;
use regauge_plan::local::Zone;
use regauge_views::{Error, response::RowStream};
use std::{future::Future, time::Duration};

/// Why rows ended early.
pub enum Ended {
    /// The client is gone.
    Gone,
    /// It is told.
    Failed(Error),
}

impl From<Fault> for Ended {
    fn from(_: Fault) -> Ended {
        Ended::Gone
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        Ended::Failed(error)
    }
}

/// An answer that is being sent.
pub struct Cursor {
    stream: RowStream,
    shapes: Vec<Shape>,
    batch: Option<(Encoder, usize)>,
    tag: String,
    /// Rows come when they come: each batch is sent at once, and a client that has gone is noticed.
    live: bool,
    zone: Zone,
}

impl Cursor {
    /// Rows of a query.
    #[must_use]
    pub fn new(stream: RowStream, shapes: Vec<Shape>, tag: String, zone: Zone) -> Cursor {
        Cursor { stream, shapes, batch: None, tag, live: false, zone }
    }

    /// Changes without end.
    #[must_use]
    pub fn live(stream: RowStream, shapes: Vec<Shape>, zone: Zone) -> Cursor {
        Cursor { stream, shapes, batch: None, tag: "SUBSCRIBE".to_owned(), live: true, zone }
    }

    /// Its columns.
    #[must_use]
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Sends rows, at most `rows_max` unless that is 0. The tag of the whole when there are no more; `None` when there may be.
    pub async fn send(&mut self, wire: &mut Wire, rows_max: usize) -> Result<Option<String>, Ended> {
        let mut sent = 0;
        loop {
            let Some((encoder, next)) = &mut self.batch else {
                let item = match self.live {
                    true => watched(&mut self.stream, wire).await?,
                    false => attended(self.stream.next(), || (), wire).await?,
                };
                let Some(batch) = item else { return Ok(Some(self.tagged(sent))) };
                self.batch = Some((Encoder::new(&batch?, &self.shapes, self.zone)?, 0));
                continue;
            };
            while *next < encoder.n_rows() {
                if rows_max > 0 && sent == rows_max {
                    return Ok(None);
                }
                encoder.row(*next, &mut wire.output)?;
                *next += 1;
                sent += 1;
                wire.relieve().await?;
            }
            self.batch = None;
        }
    }

    fn tagged(&self, sent: usize) -> String {
        match self.tag.as_str() {
            tag @ ("SHOW" | "EXPLAIN" | "DESCRIBE" | "SUBSCRIBE") => tag.to_owned(),
            tag => format!("{tag} {sent}"),
        }
    }
}

/// What some work comes to. When its client goes meanwhile, it is told to end, and is waited for.
pub async fn attended<T>(work: impl Future<Output = T>, end: impl FnOnce(), wire: &mut Wire) -> Result<T, Ended> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return Ok(done),
        () = departed(wire) => {}
    }
    end();
    work.await;
    Err(Ended::Gone)
}

/// Ends when the client has gone; what it sends meanwhile is read later.
async fn departed(wire: &mut Wire) {
    /// What takes less is not watched.
    const AFTER: Duration = Duration::from_secs(1);
    tokio::time::sleep(AFTER).await;
    while wire.n_waiting() < AHEAD_BYTES {
        if wire.fill().await.is_err() {
            return;
        }
    }
    std::future::pending().await
}

/// Bytes that a client may send ahead.
const AHEAD_BYTES: usize = 1 << 20;

/// The next batch, all before it sent; meanwhile the client may go, and may send what is read later.
async fn watched(
    stream: &mut RowStream,
    wire: &mut Wire,
) -> Result<Option<regauge_views::Result<arrow::array::RecordBatch>>, Ended> {
    wire.flush().await?;
    loop {
        if wire.n_waiting() >= AHEAD_BYTES {
            return Ok(stream.next().await);
        }
        tokio::select! {
            item = stream.next() => return Ok(item),
            read = wire.fill() => read?,
        }
    }
}
