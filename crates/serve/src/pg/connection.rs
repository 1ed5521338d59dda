//! One client: its messages in order, and what each is answered with.
//!
//! ```text
//!   Query ─▶ script ─▶ step by step: rows, tags, COPY ─▶ ReadyForQuery
//!   Parse Bind Describe Execute Close ─▶ see `extended`; after an error everything is skipped up to Sync
//! ```
//! Invariant: after every ReadyForQuery the session's own status is what the client was told. An error spoils the transaction it
//! happened in and nothing else; what cannot be understood ends the connection.

use super::{
    Door, back,
    back::Severity,
    copy,
    extended::Extended,
    frame::{Fault, Io, Wire},
    message::{self, Front, violation},
    place,
    rows::{Cursor, Ended, attended},
    startup::{self, Admitted, REPORTED, Refused},
    types::Shape,
};
use regauge_types::ErrorKind;
use regauge_views::{Error, Response, Session, TransactionStatus, error::sqlstate as code};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Serves a client until one of both has had enough.
pub async fn serve(door: Arc<Door>, io: Box<dyn Io>, peer: SocketAddr) {
    let (mut wire, admitted) = match tokio::time::timeout(startup::TIME, let_in(&door, io)).await {
        Ok(Ok(both)) => both,
        Ok(Err((Some(mut wire), Refused::Told(error)))) => {
            tracing::info!(%peer, %error, "connection refused");
            back::error(&mut wire.output, Severity::Fatal, &error);
            return wire.close().await;
        }
        Ok(Err(_)) => return,
        Err(_) => return tracing::info!(%peer, "connection refused: it took too long to authenticate"),
    };
    let Admitted { mut session, seat } = admitted;
    session.hears(seat.pid);
    tracing::debug!(%peer, pid = seat.pid, "connected");
    let told = REPORTED.iter().map(|name| session.variable(name).unwrap_or_default()).collect();
    let mut connection = Connection { door, session, extended: Extended::default(), told, skipping: false };
    let why = connection.run(&mut wire).await;
    if let Some(error) = why {
        back::error(&mut wire.output, Severity::Fatal, &error);
    }
    // A client that does not read its last words does not keep the place.
    let _ = tokio::time::timeout(Duration::from_secs(5), wire.close()).await;
    tracing::debug!(%peer, pid = seat.pid, "disconnected");
}

async fn let_in(door: &Door, io: Box<dyn Io>) -> Result<(Wire, Admitted), (Option<Wire>, Refused)> {
    let (mut wire, parameters, secure) = startup::open(door, io).await?;
    match startup::admit(door, &mut wire, parameters, secure).await {
        Ok(admitted) => Ok((wire, admitted)),
        Err(refused) => Err((Some(wire), refused)),
    }
}

/// One client.
pub struct Connection {
    pub door: Arc<Door>,
    pub session: Session,
    pub extended: Extended,
    /// Values of the reported settings as the client knows them.
    told: Vec<String>,
    /// An error in the extended protocol: everything up to Sync is skipped.
    skipping: bool,
}

impl Connection {
    /// Answers messages; the error, if any, is the client's last word.
    async fn run(&mut self, wire: &mut Wire) -> Option<Error> {
        back::ready(&mut wire.output, self.session.status());
        loop {
            if wire.n_waiting() == 0 && wire.flush().await.is_err() {
                return None;
            }
            let front = match self.next(wire).await {
                Ok(front) => front,
                Err(Stop::Quiet) => return None,
                Err(Stop::Told(error)) => return Some(error),
                Err(Stop::Refused(_, _)) if self.skipping => continue,
                Err(Stop::Refused(kind, error)) => {
                    self.failed(wire, !matches!(kind, b'Q' | b'F'), error);
                    continue;
                }
            };
            match self.answer(wire, front).await {
                Ok(()) => {}
                Err(Stop::Quiet) => return None,
                Err(Stop::Told(error)) => return Some(error),
                // ended by the server's stop, which is not the client's wish
                Err(Stop::Refused(_, error)) if error.sqlstate == code::QUERY_CANCELED && self.door.stop.is_cancelled() => {
                    return Some(going());
                }
                Err(Stop::Refused(kind, error)) => self.failed(wire, kind != b'Q', error),
            }
        }
    }

    /// Waits for the client to say something, and tells it notes meanwhile.
    async fn waiting(&mut self, wire: &mut Wire) -> Result<(), Stop> {
        let (inbox, stop) = (self.session.inbox(), self.door.stop.clone());
        let Some(inbox) = inbox.filter(|_| self.session.status() == TransactionStatus::Idle) else { return Ok(()) };
        loop {
            tokio::select! {
                biased;
                first = wire.peek() => return first.map(|_| ()).map_err(|_| Stop::Quiet),
                () = stop.cancelled() => return Err(Stop::Told(going())),
                () = inbox.heard() => {
                    self.tell(wire);
                    wire.flush().await.map_err(|_| Stop::Quiet)?;
                }
            }
        }
    }

    /// Notes that have come. Within a transaction they wait for its end.
    fn tell(&mut self, wire: &mut Wire) {
        self.session.notes().iter().for_each(|note| back::note(&mut wire.output, note));
    }

    async fn next(&mut self, wire: &mut Wire) -> Result<Front, Stop> {
        self.waiting(wire).await?;
        let statement_bytes = self.door.statement_bytes;
        let idle = self.idle_limit();
        let stop = self.door.stop.clone();
        let read = wire.frame(|kind| message::bytes_max(kind, statement_bytes));
        let frame = tokio::select! {
            frame = read => frame,
            () = stop.cancelled() => return Err(Stop::Told(going())),
            () = waited(idle) => {
                let error = Error::new(ErrorKind::Unavailable, "25P03", "terminating connection due to idle-in-transaction timeout");
                return Err(Stop::Told(error));
            }
        };
        match frame {
            Ok(frame) => {
                let kind = frame.kind;
                message::read(frame).map_err(|error| Stop::Refused(kind, error))
            }
            Err(Fault::Gone) => Err(Stop::Quiet),
            Err(Fault::Violation(message)) => Err(Stop::Told(violation(message))),
            Err(Fault::TooLarge { kind, len }) => {
                let what = if matches!(kind, b'Q' | b'P') { "statement is too long" } else { "message is too long" };
                let error =
                    Error::new(ErrorKind::Exhausted, code::LIMIT_EXCEEDED, format!("{what} bytes={len} limit={statement_bytes}"));
                Err(Stop::Refused(kind, error.hint("split it, or load rows with COPY")))
            }
        }
    }

    fn idle_limit(&self) -> Option<Duration> {
        if self.session.status() == TransactionStatus::Idle {
            return None;
        }
        self.session.idle_in_transaction_timeout()
    }

    async fn answer(&mut self, wire: &mut Wire, front: Front) -> Result<(), Stop> {
        match front {
            Front::Terminate => Err(Stop::Quiet),
            Front::Sync => {
                self.skipping = false;
                if let Err(error) = self.session.close_implicit().await {
                    back::error(&mut wire.output, Severity::Error, &error);
                }
                self.ready(wire);
                Ok(())
            }
            _ if self.skipping => Ok(()),
            Front::Query(sql) => {
                // A pipeline that was not closed by Sync ends here.
                self.session.close_implicit().await.map_err(|e| Stop::Refused(b'Q', e))?;
                match self.query(wire, &sql).await {
                    Ok(()) => {
                        self.ready(wire);
                        Ok(())
                    }
                    Err(Ended::Gone) => Err(Stop::Quiet),
                    Err(Ended::Failed(error)) => Err(Stop::Refused(b'Q', place::placed(error, &sql))),
                }
            }
            Front::Flush => wire.flush().await.map_err(|_| Stop::Quiet),
            // What is left of a COPY that has failed.
            Front::CopyData(_) | Front::CopyDone | Front::CopyFail(_) => Ok(()),
            other => match self.extended(wire, other).await {
                Ok(()) => Ok(()),
                Err(Ended::Gone) => Err(Stop::Quiet),
                Err(Ended::Failed(error)) => Err(Stop::Refused(b'E', error)),
            },
        }
    }

    async fn query(&mut self, wire: &mut Wire, sql: &str) -> Result<(), Ended> {
        let mut script = self.session.script(sql)?;
        if script.n_statements() == 0 {
            back::bare(&mut wire.output, b'I');
            return Ok(());
        }
        loop {
            let cancel = self.session.cancel_handle();
            let step = attended(self.session.step(&mut script), || cancel.cancel(), wire);
            let Some(response) = step.await?? else { return Ok(()) };
            self.simple(wire, response).await?;
        }
    }

    async fn simple(&mut self, wire: &mut Wire, response: Response) -> Result<(), Ended> {
        let tag = match response {
            Response::Rows(rows) => {
                rows.notices.iter().for_each(|n| back::said(&mut wire.output, n));
                let shapes = Shape::of(&rows.schema);
                self.all(wire, Cursor::new(rows.stream, shapes, rows.tag, self.session.zone())).await?
            }
            Response::Subscription(changes) => {
                let shapes = Shape::of(&changes.schema);
                self.all(wire, Cursor::live(changes.stream, shapes, self.session.zone())).await?
            }
            Response::Command { tag, notices } => {
                notices.iter().for_each(|n| back::said(&mut wire.output, n));
                self.settle(wire, &tag);
                tag
            }
            Response::CopyIn(copy) => copy::run(&mut self.session, wire, copy, self.door.statement_bytes).await?,
            Response::CopyOut(copy) => copy::send(wire, copy).await?,
        };
        back::complete(&mut wire.output, &tag);
        Ok(())
    }

    async fn all(&mut self, wire: &mut Wire, mut cursor: Cursor) -> Result<String, Ended> {
        check_width(cursor.shapes())?;
        back::columns(&mut wire.output, cursor.shapes());
        cursor.send(wire, 0).await?.ok_or_else(|| Error::internal("rows were suspended that have no limit").into())
    }

    /// What a command may have changed that the client or this connection keeps.
    pub fn settle(&mut self, wire: &mut Wire, tag: &str) {
        if matches!(tag, "SET" | "RESET" | "DISCARD ALL" | "COMMIT" | "ROLLBACK") {
            for (name, told) in REPORTED.iter().zip(&mut self.told) {
                let now = self.session.variable(name).unwrap_or_default();
                if now != *told {
                    back::parameter(&mut wire.output, name, &now);
                    *told = now;
                }
            }
        }
        for name in self.session.deallocated() {
            self.extended.deallocate(name.as_deref());
        }
        for name in self.session.portals_to_close() {
            self.extended.close(&name);
        }
    }

    fn ready(&mut self, wire: &mut Wire) {
        if self.session.settings_changed() {
            self.settle(wire, "SET");
        }
        if self.session.status() == TransactionStatus::Idle {
            self.extended.end();
            self.session.portals_ended();
            self.tell(wire);
        }
        back::ready(&mut wire.output, self.session.status());
    }

    fn failed(&mut self, wire: &mut Wire, extended: bool, error: Error) {
        let error = self.session.spoil(error);
        tracing::debug!(%error, "statement failed");
        back::error(&mut wire.output, Severity::Error, &error);
        if self.door.stop.is_cancelled() {
            return;
        }
        if extended {
            self.skipping = true;
        } else {
            self.ready(wire);
        }
    }
}

/// How a message ends otherwise than with an answer.
enum Stop {
    /// Nobody listens any more.
    Quiet,
    /// The connection ends with this.
    Told(Error),
    /// The message of this letter fails; the connection goes on.
    Refused(u8, Error),
}

/// The protocol counts columns in 16 bits, PostgreSQL up to 1,664; `*` may stand for more than are written.
pub fn check_width(shapes: &[Shape]) -> Result<(), Error> {
    use regauge_plan::parse::COLUMNS_MAX;
    if shapes.len() > COLUMNS_MAX {
        let message = format!("an answer has too many columns n={} max={COLUMNS_MAX}", shapes.len());
        return Err(Error::invalid("54011", message));
    }
    Ok(())
}

fn going() -> Error {
    Error::new(ErrorKind::Unavailable, code::SHUTDOWN, "terminating connection due to administrator command")
}

async fn waited(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}
