//! The commit section: one mutex, in which a transaction is judged, stamped and put in line for the disk.
//!
//! ```text
//!  submit ─▶ prepare ─▶ ╔ section ═══════════════════════════════════════════════════╗ ─▶ queue of chunks ─▶ writer thread ─▶ board ─▶ waiters
//!            (outside)  ║ duplicate? ─ clock ─ define ─ judge ─ number ─ frame       ║     (one write, one fdatasync each)
//!                       ╚════════════════════════════════════════════════════════════╝
//! ```
//!
//! Invariant: the state in here is that of the last commit put in line; each chunk knows how to undo its commits, so that a full disk takes exactly
//! those back that never reached it. Whatever is refused leaves no trace. Lock order: section before board; the judge is called inside and must call nothing of the log.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::buffer::Buffer;
use regauge_types::{Hlc, HlcClock, Lsn};

use crate::LogError;
use crate::format::body::{RawBody, RawPart};
use crate::format::frame::{BODY_LEN_MAX, HEADER_LEN, Header, Kind, crc32c};
use crate::journal::writer::{Chunk, Rotation};
use crate::model::{Append, Commit, Committed, Definition, Judge, Part, Placed, ProducerSeq, Skip, Transaction};
use crate::options::LogOptions;
use crate::prepare::{Prepared, prepare};
use crate::producers::Verdict;
use crate::publish::Ticket;
use crate::state::{LogState, Undo};

/// A larger chunk's memory is not kept. 4 MiB: what a few sessions with batches of some thousand rows write at once.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// Longest cause, in bytes.
pub const CAUSE_LEN_MAX: usize = 64 << 10;

/// Commits that go to the disk together, and what belongs to them.
#[derive(Debug, Default)]
pub struct Batch {
    /// Their bytes.
    pub chunk: Chunk,
    /// The commits, with the lengths of their frames.
    pub commits: Vec<(Arc<Commit>, u64)>,
    /// How to take them back.
    pub undo: Vec<Undo>,
    /// Who waits for them.
    pub ticket: Arc<Ticket>,
}

impl Batch {
    /// First lsn in it.
    #[must_use]
    pub fn first(&self) -> Option<Lsn> {
        self.commits.first().map(|(commit, _)| commit.lsn)
    }

    fn holds(&self, lsn: Lsn) -> bool {
        self.first().is_some_and(|first| first <= lsn) && self.commits.last().is_some_and(|(last, _)| lsn <= last.lsn)
    }
}

/// Whether commits are taken.
#[derive(Debug, Clone)]
pub enum Status {
    /// Yes.
    Open,
    /// No: this is why, and only opening again helps.
    Poisoned(String),
    /// No more.
    Closed,
}

/// What the section's mutex guards.
pub struct Section {
    /// After the last commit in line.
    pub state: LogState,
    /// Never goes back.
    pub clock: HlcClock,
    /// In line, first to be written first.
    pub queue: VecDeque<Batch>,
    /// Memory of a chunk that was written, for the next one: it need not grow again, nor be given back to the system and taken from it.
    pub spare: Vec<u8>,
    /// Bytes in line and being written.
    pub pending_bytes: u64,
    /// What is being written: first and last lsn, ticket.
    pub in_flight: Option<(Lsn, Lsn, Arc<Ticket>)>,
    /// Length of the last file once all that is in line is written.
    pub file_len: u64,
    /// Whether commits are taken.
    pub status: Status,
    /// Asked about each transaction.
    pub judge: Option<Arc<dyn Judge>>,
    /// A judge is at work; still set afterwards only if it panicked.
    pub judging: bool,
}

/// A transaction that is in line, or was already stored.
#[derive(Debug)]
pub struct Admitted {
    /// Its receipt, once the ticket says so.
    pub committed: Committed,
    /// `None`: durable since long.
    pub ticket: Option<Arc<Ticket>>,
}

impl Section {
    /// Judges and orders a transaction, at wall time `wall_ms`. `prepared` belongs to its appends, one each, where preparing succeeded.
    pub fn admit(
        &mut self,
        mut txn: Transaction,
        prepared: Vec<Option<Prepared>>,
        wall_ms: u64,
        durable: Lsn,
        options: &LogOptions,
    ) -> Result<Admitted, LogError> {
        self.check_open()?;
        if let Some(producer) = &txn.producer
            && let Some(admitted) = self.duplicate(producer, wall_ms, durable)?
        {
            return match txn.skips.is_empty() {
                true => Ok(admitted),
                false => self.skip(producer, &txn.skips, admitted, wall_ms, options),
            };
        }
        txn.skips.clear();
        self.commit(txn, prepared, wall_ms, options)
    }

    /// Counts what of an append came again, and gives the receipt of the first time once that is as durable as the records are.
    pub fn skip(
        &mut self,
        producer: &ProducerSeq,
        skips: &[Skip],
        first: Admitted,
        wall_ms: u64,
        options: &LogOptions,
    ) -> Result<Admitted, LogError> {
        if let Some(skip) = skips.iter().find(|skip| self.state.topics.get(skip.topic).is_none()) {
            return Err(LogError::UnknownTopic { topic: skip.topic });
        }
        let txn = Transaction { producer: Some(producer.clone()), skips: skips.to_vec(), ..Transaction::default() };
        let counted = self.commit(txn, Vec::new(), wall_ms, options)?;
        Ok(Admitted { committed: first.committed, ticket: counted.ticket })
    }

    /// Judges and orders what is no duplicate, or says of one that it came again.
    fn commit(
        &mut self,
        mut txn: Transaction,
        prepared: Vec<Option<Prepared>>,
        wall_ms: u64,
        options: &LogOptions,
    ) -> Result<Admitted, LogError> {
        if let Some(len) = txn.cause.as_ref().map(|c| c.len()).filter(|len| *len > CAUSE_LEN_MAX) {
            return Err(LogError::TooLarge { what: "cause", size: len as u64, max: CAUSE_LEN_MAX as u64 });
        }
        let mut clock = self.clock;
        clock.observe(txn.clock_floor, wall_ms)?;
        let hlc = clock.tick(wall_ms);
        let lsn = self.state.lsn.next();
        let define = txn.define.clone();

        let mut undo = Vec::new();
        let mut judged = false;
        let ordered = self
            .define_and_judge(lsn, hlc, &mut txn, &define, prepared, options, &mut undo, &mut judged)
            .and_then(|prepared| self.order(lsn, hlc, &txn, define, prepared, options, &mut undo));
        match ordered {
            Ok(committed) => {
                self.clock = clock;
                let batch = self.batch();
                batch.undo.append(&mut undo);
                let ticket = Some(Arc::clone(&batch.ticket));
                self.rotate_if_full(options);
                Ok(Admitted { committed, ticket })
            }
            Err(error) => {
                self.state.undo(undo);
                if judged {
                    self.revoke(lsn);
                }
                Err(error)
            }
        }
    }

    /// Whether commits are taken now.
    pub fn check_open(&self) -> Result<(), LogError> {
        match &self.status {
            Status::Open if self.judging => Err(LogError::Poisoned { reason: "the judge panicked".to_owned() }),
            Status::Open => Ok(()),
            Status::Poisoned(reason) => Err(LogError::Poisoned { reason: reason.clone() }),
            Status::Closed => Err(LogError::Closed),
        }
    }

    /// The receipt of an append that was admitted before; an error if a producer may not send this one now.
    pub fn duplicate(&self, seq: &ProducerSeq, wall_ms: u64, durable: Lsn) -> Result<Option<Admitted>, LogError> {
        Ok(match self.state.producers.check(seq, wall_ms)? {
            Verdict::New => None,
            Verdict::Duplicate(committed) => {
                if committed.lsn <= durable {
                    return Ok(Some(Admitted { committed, ticket: None }));
                }
                // In line or being written, unless the writer panicked: then nobody knows what came of it.
                let ticket = self
                    .ticket_of(committed.lsn)
                    .ok_or_else(|| LogError::Poisoned { reason: "what came of the first attempt is not known".to_owned() })?;
                Some(Admitted { committed, ticket: Some(ticket) })
            }
        })
    }

    fn ticket_of(&self, lsn: Lsn) -> Option<Arc<Ticket>> {
        let in_flight =
            self.in_flight.as_ref().filter(|(first, last, _)| (*first..=*last).contains(&lsn)).map(|(_, _, ticket)| ticket);
        in_flight.or_else(|| self.queue.iter().find(|batch| batch.holds(lsn)).map(|batch| &batch.ticket)).map(Arc::clone)
    }

    /// Definitions first, because they hold for the appends; then everything is checked; then the judge has the last word.
    #[allow(clippy::too_many_arguments)]
    fn define_and_judge(
        &mut self,
        lsn: Lsn,
        hlc: Hlc,
        txn: &mut Transaction,
        define: &[Definition],
        prepared: Vec<Option<Prepared>>,
        options: &LogOptions,
        undo: &mut Vec<Undo>,
        judged: &mut bool,
    ) -> Result<Vec<Prepared>, LogError> {
        for definition in define {
            self.state.define(definition, undo)?;
        }
        let prepared = self.prepare_again(&txn.appends, prepared, options)?;
        let Some(judge) = self.judge.clone() else { return Ok(prepared) };
        let (producer, skips) = (txn.producer.clone(), txn.skips.clone());
        self.judging = true;
        let verdict = judge.judge(lsn, hlc, txn);
        self.judging = false;
        verdict.map_err(LogError::Refused)?;
        *judged = true;
        if txn.producer != producer || txn.define != define || txn.skips != skips {
            return Err(LogError::Internal { reason: "the judge changed definitions, skips or the producer".to_owned() });
        }
        self.prepare_again(&txn.appends, prepared.into_iter().map(Some).collect(), options)
    }

    /// What was prepared, and prepares what was not or does not hold any more.
    fn prepare_again(
        &self,
        appends: &[Append],
        prepared: Vec<Option<Prepared>>,
        options: &LogOptions,
    ) -> Result<Vec<Prepared>, LogError> {
        let mut prepared = prepared.into_iter();
        let topics = &self.state.topics;
        let all: Vec<Prepared> = appends
            .iter()
            .map(|append| match prepared.next().flatten().filter(|p| p.holds(append, topics)) {
                Some(prepared) => Ok(prepared),
                None => prepare(append, topics, options),
            })
            .collect::<Result<_, LogError>>()?;
        let max = options.transaction_bytes_max.min(u64::from(BODY_LEN_MAX));
        match all.iter().map(Prepared::payload_len).sum::<u64>() {
            size if size > max => Err(LogError::TooLarge { what: "transaction", size, max }),
            _ => Ok(all),
        }
    }

    /// Gives out offsets and puts the frame in line. Nothing is in line if it fails.
    #[allow(clippy::too_many_arguments)]
    fn order(
        &mut self,
        lsn: Lsn,
        hlc: Hlc,
        txn: &Transaction,
        define: Vec<Definition>,
        prepared: Vec<Prepared>,
        options: &LogOptions,
        undo: &mut Vec<Undo>,
    ) -> Result<Committed, LogError> {
        let prepared: Vec<_> = prepared.into_iter().flat_map(|p| p.parts).collect();
        let placed = prepared
            .iter()
            .map(|part| {
                self.state.place(part.topic, part.partition, part.rows.num_rows() as u64, undo).ok_or_else(|| {
                    LogError::Internal { reason: format!("no offsets left topic={} partition={}", part.topic, part.partition) }
                })
            })
            .collect::<Result<Vec<Placed>, _>>()?;
        let raw_parts = prepared.iter().zip(&placed).map(|(part, at)| RawPart {
            topic: part.topic,
            partition: part.partition,
            first_offset: at.first_offset,
            schema_id: part.schema_id,
            n_rows: at.n_rows,
            encoding: part.encoding,
            payload: &part.payload[..],
        });
        let body = RawBody {
            define,
            producer: txn.producer.clone(),
            cause: txn.cause.clone(),
            skips: txn.skips.clone(),
            parts: raw_parts.collect(),
        };
        let frame_len = self.put_frame(lsn, hlc, &body, options)?;
        let parts = prepared
            .into_iter()
            .zip(&placed)
            .map(|(part, at)| Part {
                topic: part.topic,
                partition: part.partition,
                first_offset: at.first_offset,
                schema_id: part.schema_id,
                rows: part.rows,
                cause: txn.cause.clone(),
            })
            .collect();
        self.batch().commits.push((Arc::new(Commit { lsn, hlc, parts }), frame_len));
        match &txn.producer {
            Some(producer) if !txn.skips.is_empty() => {
                self.state.skip(producer, &txn.skips, undo);
                self.state.finish(lsn, hlc, None, &placed, undo);
            }
            producer => self.state.finish(lsn, hlc, producer.as_ref(), &placed, undo),
        }
        Ok(Committed { lsn, hlc, placed, duplicate: false })
    }

    fn put_frame(&mut self, lsn: Lsn, hlc: Hlc, body: &RawBody<&[Buffer]>, options: &LogOptions) -> Result<u64, LogError> {
        let max = options.transaction_bytes_max.min(u64::from(BODY_LEN_MAX));
        let chunk = &mut self.batch().chunk;
        let at = chunk.bytes.len();
        chunk.bytes.resize(at + HEADER_LEN, 0);
        let flags = body.write(&mut chunk.bytes);
        let written = &chunk.bytes[at + HEADER_LEN..];
        let size = written.len() as u64;
        let Some(body_len) = u32::try_from(size).ok().filter(|_| size <= max) else {
            chunk.bytes.truncate(at);
            return Err(LogError::TooLarge { what: "transaction", size, max });
        };
        let body_crc = crc32c(written);
        chunk.frames.push((
            at,
            Header { body_len, body_crc, kind: Kind::Commit, flags, lsn: lsn.0, hlc: hlc.0, lag: 0, run: 0, previous: 0 },
        ));
        let frame_len = HEADER_LEN as u64 + size;
        self.pending_bytes += frame_len;
        self.file_len += frame_len;
        Ok(frame_len)
    }

    /// The batch that takes the next commit.
    fn batch(&mut self) -> &mut Batch {
        if self.queue.is_empty() {
            let chunk = Chunk { bytes: std::mem::take(&mut self.spare), ..Chunk::default() };
            self.queue.push_back(Batch { chunk, ..Batch::default() });
        }
        let last = self.queue.len() - 1;
        &mut self.queue[last]
    }

    /// Takes the memory of a chunk that was written.
    pub fn recycle(&mut self, mut bytes: Vec<u8>) {
        if (self.spare.capacity()..=SPARE_BYTES_MAX).contains(&bytes.capacity()) {
            bytes.clear();
            self.spare = bytes;
        }
    }

    /// After a commit, so that the state to begin the new file with is the one at hand.
    fn rotate_if_full(&mut self, options: &LogOptions) {
        if self.file_len < options.journal_file_bytes {
            return;
        }
        let state = self.state.to_bytes();
        self.file_len = state.len() as u64;
        let rotate = Some(Rotation { first_lsn: self.state.lsn.0 + 1, hlc: self.state.hlc.0, state });
        self.queue.push_back(Batch { chunk: Chunk { rotate, ..Chunk::default() }, ..Batch::default() });
    }

    /// Takes back everything in line, after `failed`, which was before it; the judge is told. Returns what was in line, for its waiters.
    pub fn take_back(&mut self, failed: &mut Batch, file_len: u64) -> Vec<Batch> {
        let waiting: Vec<Batch> = self.queue.drain(..).collect();
        let first = std::iter::once(&*failed).chain(&waiting).find_map(Batch::first);
        let mut undo = std::mem::take(&mut failed.undo);
        let mut waiting = waiting;
        waiting.iter_mut().for_each(|batch| undo.append(&mut batch.undo));
        self.state.undo(undo);
        self.pending_bytes = 0;
        self.file_len = file_len;
        if let Some(first) = first {
            self.revoke(first);
        }
        waiting
    }

    /// Commits from `from` on never happened.
    fn revoke(&mut self, from: Lsn) {
        let forgotten = self.judge.as_ref().is_none_or(|judge| judge.revoke(from));
        if !forgotten && !matches!(self.status, Status::Poisoned(_)) {
            self.status = Status::Poisoned(format!("the judge cannot forget commits that did not happen from_lsn={from}"));
        }
    }
}
