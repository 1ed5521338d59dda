//! LISTEN, UNLISTEN and NOTIFY of a session. What a transaction says of them is done when it is committed: it listens first, and then its
//! notes are sent. Only who can tell its client at any time may listen ([`Session::hears`]).

use super::{Session, guard::Guard, txn::Txn};
use crate::{
    core::NotCommitted,
    error::{Error, Result},
    notify::{Inbox, NOTES_MAX, Note, once},
    response::Response,
    token::Seen,
};
use regauge_log::{Committed, ProducerSeq};
use std::sync::Arc;

/// What a transaction says of listening.
#[derive(Clone, Debug)]
pub struct Listening {
    /// None for all.
    pub channel: Option<String>,
    /// It begins, or ends.
    pub on: bool,
}

impl Session {
    /// The client of this session is told of notes whenever it is in no transaction ([`Session::notes`]); `pid` is the number by which it is
    /// known.
    pub fn hears(&mut self, pid: i32) {
        self.pid = pid;
        self.inbox = Some(self.core.channels.inbox());
    }

    /// Notes that wait for it.
    #[must_use]
    pub fn inbox(&self) -> Option<Arc<Inbox>> {
        self.inbox.clone()
    }

    /// Notes for its client; none within a transaction. What they came with it has seen from now on.
    pub fn notes(&mut self) -> Vec<Note> {
        let Some(inbox) = self.inbox.as_ref().filter(|_| self.txn.is_none()) else { return vec![] };
        let told = inbox.take();
        told.iter().for_each(|(_, seen)| self.seen.observe(seen.lsn, seen.hlc));
        told.into_iter().map(|(note, _)| note).collect()
    }

    pub(super) fn listen(&mut self, channel: Option<&str>, on: bool) -> Result<Response> {
        if let (true, Some(channel)) = (on, channel) {
            Note::new(channel, "", 0)?;
        }
        if on && self.inbox.is_none() {
            let error = Error::unsupported("LISTEN is for clients of the Postgres protocol");
            return Err(error.hint("SUBSCRIBE sends the changes of a view as they are committed"));
        }
        let listening = Listening { channel: channel.map(str::to_owned), on };
        match &mut self.txn {
            Some(txn) => txn.listening.push(listening),
            None => self.listens(&[listening]),
        }
        Ok(Response::command(if on { "LISTEN" } else { "UNLISTEN" }))
    }

    fn listens(&self, all: &[Listening]) {
        let Some(inbox) = &self.inbox else { return };
        for one in all {
            match &one.channel {
                Some(channel) if one.on => self.core.channels.listen(inbox, channel),
                channel => self.core.channels.unlisten(inbox, channel.as_deref()),
            }
        }
    }

    /// DISCARD ALL, and the end of the session.
    pub(super) fn unlisten(&self) {
        self.listens(&[Listening { channel: None, on: false }]);
    }

    pub(super) async fn notify(&mut self, channel: &str, payload: &str) -> Result<Response> {
        let note = Note::new(channel, payload, self.pid)?;
        match &mut self.txn {
            Some(txn) => noted(txn, vec![note])?,
            None => {
                let _turn = self.core.channels.turn().await;
                self.core.channels.check(std::slice::from_ref(&note))?;
                self.core.channels.send(&[note], self.now());
            }
        }
        Ok(Response::command("NOTIFY"))
    }

    /// Commits a transaction, and does what it says of notes.
    pub(super) async fn commit_of(
        &mut self,
        guard: &Guard,
        txn: &Txn,
        producer: Option<ProducerSeq>,
    ) -> Result<Option<Committed>, NotCommitted> {
        if txn.notes.is_empty() {
            let committed = self.commit_within(guard, txn, producer).await?;
            self.listens(&txn.listening);
            return Ok(committed);
        }
        let notes = once(&txn.notes);
        let _turn = self.core.channels.turn().await;
        self.core.channels.check(&notes).map_err(NotCommitted::Failed)?;
        let committed = self.commit_within(guard, txn, producer).await?;
        self.listens(&txn.listening);
        let seen = committed.as_ref().map_or_else(|| self.now(), |c| Seen { lsn: c.lsn, hlc: c.hlc });
        self.core.channels.send(&notes, seen);
        Ok(committed)
    }

    /// All that anybody was told to be written.
    fn now(&self) -> Seen {
        Seen { lsn: self.core.log.durable(), hlc: self.core.log.last_hlc() }
    }
}

/// Notes that a transaction sends when it is committed.
pub(super) fn noted(txn: &mut Txn, notes: Vec<Note>) -> Result<()> {
    if txn.notes.len() + notes.len() > NOTES_MAX {
        return Err(Error::invalid("54000", format!("a transaction sends more than {NOTES_MAX} notifications")));
    }
    txn.notes.extend(notes);
    Ok(())
}
