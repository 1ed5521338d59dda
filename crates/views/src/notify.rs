//! LISTEN and NOTIFY: short messages between the sessions of an instance, told when the transaction that sends them is committed.
//!
//! ```text
//!   NOTIFY ─▶ notes of the transaction ─▶ its turn ─▶ is there room in every inbox? ─▶ commit ─▶ inboxes of who listens
//! ```
//! Invariant: a session gets the notes of transactions in the order in which they were committed, and those of one in the order in which it
//! sent them, each once. A note carries the commit that it came with, so who has read it reads no older state. An inbox that is full refuses
//! the commit of who sends, and nothing of it is told. Nothing of this outlives the process, as in PostgreSQL. Cost: transactions that send
//! notes commit one after the other; others do not know of it. It does not know statements, and nothing of the protocol that tells a client.

use crate::{
    error::{Error, Result},
    token::Seen,
};
use parking_lot::Mutex;
use regauge_types::ErrorKind;
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// PostgreSQL's limit: a payload has fewer bytes.
const PAYLOAD_BYTES: usize = 8000;
/// PostgreSQL's limit of a name.
const CHANNEL_BYTES: usize = 63;
/// What waits for one session: notes that nobody fetches do not take the memory of everybody.
const WAITING_BYTES: usize = 64 << 20;
/// Notes of one transaction.
pub const NOTES_MAX: usize = 65_536;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// To whom.
    pub channel: Arc<str>,
    /// What.
    pub payload: Arc<str>,
    /// The number of the session that sent it, as its protocol counts them; 0 where there is none.
    pub pid: i32,
}

impl Note {
    /// A note, if it is one.
    ///
    /// # Errors
    /// 22023.
    pub fn new(channel: &str, payload: &str, pid: i32) -> Result<Note> {
        let wrong = |message: &str| Err(Error::invalid("22023", message));
        match () {
            () if channel.is_empty() => wrong("channel name cannot be empty"),
            () if channel.len() > CHANNEL_BYTES => wrong("channel name too long"),
            () if payload.len() >= PAYLOAD_BYTES => wrong("payload string too long"),
            () => Ok(Note { channel: channel.into(), payload: payload.into(), pid }),
        }
    }

    fn bytes(&self) -> usize {
        self.payload.len() + size_of::<(Note, Seen)>()
    }
}

/// Who listens to what.
#[derive(Debug, Default)]
pub struct Channels {
    listening: Mutex<BTreeMap<String, BTreeMap<u64, Arc<Inbox>>>>,
    turn: tokio::sync::Mutex<()>,
    numbers: AtomicU64,
}

/// Notes that wait for a session.
#[derive(Debug)]
pub struct Inbox {
    number: u64,
    waiting: Mutex<Waiting>,
    arrived: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    notes: VecDeque<(Note, Seen)>,
    bytes: usize,
}

impl Inbox {
    /// Ends when there is a note.
    pub async fn heard(&self) {
        while self.waiting.lock().notes.is_empty() {
            self.arrived.notified().await;
        }
    }

    /// All that there are, each with what it makes seen.
    pub fn take(&self) -> Vec<(Note, Seen)> {
        let mut waiting = self.waiting.lock();
        waiting.bytes = 0;
        waiting.notes.drain(..).collect()
    }
}

impl Channels {
    /// For a session that can be told.
    pub fn inbox(&self) -> Arc<Inbox> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Arc::new(Inbox { number, waiting: Mutex::default(), arrived: tokio::sync::Notify::new() })
    }

    /// From now on it gets the notes of a channel.
    pub fn listen(&self, inbox: &Arc<Inbox>, channel: &str) {
        self.listening.lock().entry(channel.to_owned()).or_default().insert(inbox.number, inbox.clone());
    }

    /// No more those of a channel, or of any.
    pub fn unlisten(&self, inbox: &Inbox, channel: Option<&str>) {
        self.listening.lock().retain(|name, inboxes| {
            if channel.is_none_or(|channel| channel == name) {
                inboxes.remove(&inbox.number);
            }
            !inboxes.is_empty()
        });
    }

    /// The right to commit what has notes.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Whether all inboxes have room for notes, which only who has the turn fills.
    ///
    /// # Errors
    /// 53200.
    pub fn check(&self, notes: &[Note]) -> Result<()> {
        let listening = self.listening.lock();
        let mut more: BTreeMap<u64, usize> = BTreeMap::new();
        for note in notes {
            for (number, inbox) in listening.get(&*note.channel).into_iter().flatten() {
                let bytes = more.entry(*number).or_insert_with(|| inbox.waiting.lock().bytes);
                *bytes += note.bytes();
                if *bytes > WAITING_BYTES {
                    let message = format!("too many notifications wait for a session that listens to \"{}\"", note.channel);
                    let error = Error::new(ErrorKind::Exhausted, "53200", message);
                    return Err(error.hint("a session is told when it is in no transaction: end that one"));
                }
            }
        }
        Ok(())
    }

    /// Puts notes into inboxes.
    pub fn send(&self, notes: &[Note], seen: Seen) {
        let listening = self.listening.lock();
        for note in notes {
            for inbox in listening.get(&*note.channel).into_iter().flat_map(BTreeMap::values) {
                let mut waiting = inbox.waiting.lock();
                waiting.bytes += note.bytes();
                waiting.notes.push_back((note.clone(), seen));
                inbox.arrived.notify_one();
            }
        }
    }
}

/// Of notes that say the same to the same the first.
pub fn once(notes: &[Note]) -> Vec<Note> {
    let mut known = HashSet::new();
    notes.iter().filter(|note| known.insert((&note.channel, &note.payload))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn note(channel: &str, payload: &str) -> Note {
        Note::new(channel, payload, 7).unwrap()
    }

    fn payloads(inbox: &Inbox) -> Vec<String> {
        inbox.take().into_iter().map(|(note, _)| note.payload.to_string()).collect()
    }

    #[test]
    fn who_listens_is_told_in_order_and_who_does_not_is_not() {
        let channels = Channels::default();
        let (a, b) = (channels.inbox(), channels.inbox());
        channels.listen(&a, "x");
        channels.listen(&a, "y");
        channels.listen(&b, "y");
        assert!(a.heard().now_or_never().is_none());
        let notes = once(&[note("x", "1"), note("y", "2"), note("x", "1"), note("z", "3"), note("x", "2")]);
        assert_eq!(notes.len(), 4);
        channels.check(&notes).unwrap();
        channels.send(&notes, Seen::default());
        assert!(a.heard().now_or_never().is_some());
        assert_eq!((payloads(&a), payloads(&b)), (vec!["1".into(), "2".into(), "2".into()], vec!["2".into()]));
        channels.unlisten(&a, Some("x"));
        channels.unlisten(&b, None);
        channels.send(&notes, Seen::default());
        assert_eq!((payloads(&a), payloads(&b)), (vec!["2".into()], vec![]));
    }

    #[test]
    fn an_inbox_that_is_full_refuses_and_what_is_no_note_is_none() {
        let channels = Channels::default();
        let (full, other) = (channels.inbox(), channels.inbox());
        channels.listen(&full, "x");
        channels.listen(&other, "y");
        let long = note("x", &"p".repeat(PAYLOAD_BYTES - 1));
        let mut sent = 0;
        while channels.check(std::slice::from_ref(&long)).is_ok() {
            channels.send(std::slice::from_ref(&long), Seen::default());
            sent += 1;
        }
        assert!((4_000..9_000).contains(&sent), "{sent}");
        assert_eq!(channels.check(&[note("y", ""), long.clone()]).unwrap_err().sqlstate, "53200");
        channels.check(&[note("y", "")]).unwrap();
        assert_eq!(full.take().len(), sent);
        channels.check(&[long]).unwrap();
        for (channel, payload) in [("", "x"), (&*"c".repeat(64), "x"), ("c", &*"p".repeat(8000))] {
            assert_eq!(Note::new(channel, payload, 0).unwrap_err().sqlstate, "22023");
        }
    }
}
