//! The log: a handle that all threads share, and the one thread that writes.
//!
//! Why a writer thread, and not the first waiter as leader: `submit` returns before anyone waits, so somebody must write although nobody is there; a panicking or
//! cancelled client never holds the disk; and the idle mark has an owner. It costs two thread switches a commit, some 10 us beside an fdatasync of 100 us and more.
//! While one batch is being synced the next one fills: N concurrent commits share one fdatasync, without any delay to wait for them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use parking_lot::{Condvar, Mutex, RwLock};
use regauge_types::env::{Joining, Lock};
use regauge_types::{DataSetId, Env, Hlc, HlcClock, Lsn, SchemaId, TopicId};

use crate::LogError;
use crate::archive::{Archive, ArchiveReport, Notes};
use crate::archiving::{self, Archiving};
use crate::folder::Folder;
use crate::format::frame::Seed;
use crate::journal::reader::{Reader, Source};
use crate::journal::recover;
use crate::journal::writer::{WriteError, Writer};
use crate::ledger::Ledger;
use crate::model::{CommitIter, CommitSource, Committed, Judge, ProducerSeq, Skip, TopicSpec, Transaction};
use crate::options::LogOptions;
use crate::prefix::{self, Prefix};
use crate::prepare::prepare;
use crate::publish::{Board, Failure, Ticket};
use crate::scan::{Scan, ScanSpec};
use crate::section::{Batch, Section, Status};
use crate::tail::Tail;
use crate::topics::Topics;

/// An open log. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

/// Ends the writer and only then lets the folder go.
struct Inner {
    shared: Arc<Shared>,
    archiving: Archiving,
    thread: Mutex<Option<Box<dyn Joining>>>,
    _lock: Box<dyn Lock>,
}

/// What handles, tails and the writer thread share.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) options: LogOptions,
    pub(crate) source: Source,
    pub(crate) dataset: DataSetId,
    pub(crate) section: Mutex<Section>,
    /// There is something to write, or to end.
    work: Condvar,
    /// There is room for another commit to wait.
    room: Condvar,
    /// A copy of the section's topics, for preparing and reading without its lock.
    topics: RwLock<Topics>,
    pub(crate) board: Board,
    /// Whom to tell what became durable; empty when nobody archives in the background.
    pub(crate) archive_notes: OnceLock<Notes>,
    /// Bytes of commits that became durable since it was opened.
    written: AtomicU64,
}

/// A commit that is in order but perhaps not durable yet.
pub struct Pending {
    shared: Arc<Shared>,
    committed: Committed,
    ticket: Option<Arc<Ticket>>,
}

impl Pending {
    /// Blocks until the commit is durable, or is known not to be.
    pub fn wait(self) -> Result<Committed, LogError> {
        let outcome = self.ticket.as_ref().map_or(Ok(()), |ticket| self.shared.board.wait(ticket));
        outcome.map_err(|failure| failure.error(self.committed.lsn, self.committed.hlc))?;
        Ok(self.committed)
    }

    /// The receipt as it will be; nothing may be told to anyone before [`Pending::wait`] returned.
    #[must_use]
    pub fn expected(&self) -> &Committed {
        &self.committed
    }

    /// Whether [`Pending::wait`] would return at once.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.ticket.as_ref().is_none_or(|ticket| self.shared.board.is_decided(ticket))
    }
}

impl Log {
    /// Opens a data folder, or makes one. Errors: `InUse`, `NewerFormat`, `Corrupt`, `Io`.
    ///
    /// Cost: reading the last journal file (at most about `journal_file_bytes`), whatever the length of the log.
    pub fn open(env: Env, dir: &Path, options: LogOptions) -> Result<Self, LogError> {
        env.disk.create_dir_all(dir).map_err(LogError::io("make folder", dir))?;
        let folder = Folder::new(dir);
        let lock = env.disk.lock(&folder.lock()).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => LogError::InUse { path: dir.to_owned() },
            _ => LogError::io("lock", &folder.lock())(error),
        })?;
        let mut recovered = recover::open(&env, &folder, options.bounds())?;
        if recovered.torn_bytes > 0 {
            tracing::warn!(path = %recovered.path.display(), offset = recovered.end, bytes = recovered.torn_bytes, "a write had not finished; it was never acknowledged");
        }
        let files = Arc::new(std::mem::take(&mut recovered.files));
        let writer = Writer::new(env.clone(), folder.clone(), &recovered, Arc::clone(&files));
        let state = recovered.state;
        let mut clock = HlcClock::new(options.drift_ms_max);
        clock.observe_own(state.hlc.max(Hlc(recovered.mark.hlc)));
        let shared = Arc::new(Shared {
            source: Source { env: env.clone(), folder, seed: Seed(recovered.dataset.0), files },
            dataset: recovered.dataset,
            topics: RwLock::new(state.topics.clone()),
            board: Board::new(state.lsn, state.hlc, options.tail_bytes),
            section: Mutex::new(Section {
                state,
                clock,
                queue: Default::default(),
                spare: Vec::new(),
                pending_bytes: 0,
                in_flight: None,
                file_len: recovered.end,
                status: Status::Open,
                judge: None,
                judging: false,
            }),
            archive_notes: OnceLock::new(),
            written: AtomicU64::new(0),
            work: Condvar::new(),
            room: Condvar::new(),
            options,
            env,
        });
        let threads = Arc::clone(&shared.env.threads);
        let archiving = Archiving::open(&shared)?;
        let body = Arc::clone(&shared);
        let thread = threads
            .spawn("regauge-log", Box::new(move || body.write_until_closed(writer)))
            .map_err(LogError::io("start a thread for", dir))?;
        Ok(Self { inner: Arc::new(Inner { shared, archiving, thread: Mutex::new(Some(thread)), _lock: lock }) })
    }

    /// Sets who judges transactions. Once, before the first commit of this opening.
    pub fn set_judge(&self, judge: Arc<dyn Judge>) {
        self.inner.shared.section.lock().judge = Some(judge);
    }

    /// Appends a transaction and blocks until it is durable.
    pub fn commit(&self, txn: Transaction) -> Result<Committed, LogError> {
        self.submit(txn)?.wait()
    }

    /// Judges and orders a transaction now; it becomes durable while the caller goes on. Transactions of one thread get ascending lsns.
    /// Blocks while more than `pending_bytes_max` wait for the disk.
    pub fn submit(&self, txn: Transaction) -> Result<Pending, LogError> {
        let shared = &self.inner.shared;
        let topics = shared.topics();
        // What fails here fails again in the section, if it still does: there a duplicate is told apart first.
        let prepared = txn.appends.iter().map(|append| prepare(append, &topics, &shared.options).ok()).collect();
        let wall_ms = shared.env.clock.wall_ms();
        let mut section = shared.section.lock();
        shared.room.wait_while(&mut section, |s| {
            s.pending_bytes >= shared.options.pending_bytes_max && matches!(s.status, Status::Open)
        });
        let defines = !txn.define.is_empty();
        let (durable, _) = shared.board.durable();
        let admitted = section.admit(txn, prepared, wall_ms, durable, &shared.options)?;
        if defines {
            *shared.topics.write() = section.state.topics.clone();
        }
        drop(section);
        shared.work.notify_one();
        Ok(Pending { shared: Arc::clone(shared), committed: admitted.committed, ticket: admitted.ticket })
    }

    /// The receipt of a producer's append, if it is remembered, once it is durable. Changes nothing.
    pub fn find(&self, producer: &ProducerSeq) -> Result<Option<Committed>, LogError> {
        let shared = &self.inner.shared;
        let wall_ms = shared.env.clock.wall_ms();
        let admitted = {
            let section = shared.section.lock();
            section.duplicate(producer, wall_ms, shared.board.durable().0)?
        };
        let Some(admitted) = admitted else { return Ok(None) };
        Pending { shared: Arc::clone(shared), committed: admitted.committed, ticket: admitted.ticket }.wait().map(Some)
    }

    /// As [`Log::find`], and counts what of the append came again, if it is remembered. The count is durable with the answer. `skips` must
    /// not be empty.
    pub fn skip(&self, producer: &ProducerSeq, skips: &[Skip]) -> Result<Option<Committed>, LogError> {
        if skips.is_empty() {
            // Without any the commit would be one more append of the producer's.
            return Err(LogError::BadTransaction { reason: "nothing is skipped".to_owned() });
        }
        let shared = &self.inner.shared;
        let wall_ms = shared.env.clock.wall_ms();
        let admitted = {
            let mut section = shared.section.lock();
            let durable = shared.board.durable().0;
            let Some(first) = section.duplicate(producer, wall_ms, durable)? else { return Ok(None) };
            section.check_open()?;
            section.skip(producer, skips, first, wall_ms, &shared.options)?
        };
        shared.work.notify_one();
        Pending { shared: Arc::clone(shared), committed: admitted.committed, ticket: admitted.ticket }.wait().map(Some)
    }

    /// What came of the records that were consumed, as of the last commit in order.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.inner.shared.section.lock().state.ledger()
    }

    /// The last durable lsn.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.inner.shared.board.durable().0
    }

    /// Bytes of the commits that became durable since the log was opened, in the journal's encoding.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.inner.shared.written.load(Ordering::Relaxed)
    }

    /// The clock of the last durable commit; zero before the first.
    #[must_use]
    pub fn last_hlc(&self) -> Hlc {
        self.inner.shared.board.durable().1
    }

    /// Blocks until a commit beyond `lsn` is durable, or the time is up. Returns the last durable lsn.
    #[must_use]
    pub fn wait_beyond(&self, lsn: Lsn, time: Duration) -> Lsn {
        self.inner.shared.board.wait_beyond(lsn, time)
    }

    /// As [`Log::wait_beyond`], and no longer than until `stop` is set; who sets it calls [`Log::wake`] behind that.
    #[must_use]
    pub fn wait_beyond_unless(&self, lsn: Lsn, time: Duration, stop: &AtomicBool) -> Lsn {
        self.inner.shared.board.wait_beyond_unless(lsn, time, stop)
    }

    /// Lets those who wait for commits look again at once, whether they are to stop.
    pub fn wake(&self) {
        self.inner.shared.board.wake();
    }

    /// Topics that take appends, by id, with their current schemas, as of the last commit in order.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicSpec> {
        self.inner.shared.topics().iter().filter(|t| !t.dropped).map(|t| t.spec.clone()).collect()
    }

    /// The next offset of each partition of a topic, as of the last commit in order; none for a topic that is not there.
    #[must_use]
    pub fn next_offsets(&self, topic: TopicId) -> Vec<u64> {
        let section = self.inner.shared.section.lock();
        (0..).map_while(|partition| section.state.next_offset(topic, partition)).collect()
    }

    /// The data set's identity.
    #[must_use]
    pub fn dataset(&self) -> DataSetId {
        self.inner.shared.dataset
    }

    /// Follows the log from the commit after `after`.
    #[must_use]
    pub fn tail(&self, after: Lsn) -> Tail {
        Tail::new(Arc::clone(&self.inner.shared), after)
    }

    /// The journal as a source of commits, for the archive and scans. It does not keep the log open.
    #[must_use]
    pub fn source(&self) -> Arc<dyn CommitSource> {
        Arc::<Shared>::clone(&self.inner.shared)
    }

    /// Reads rows of a topic: archive first, then journal. The scan does not keep the log open.
    pub fn scan(&self, spec: &ScanSpec) -> Result<Scan, LogError> {
        Scan::begin(self.archive(), self.source(), spec)
    }

    /// Archives all that is durable; what the background thread does when enough has come in.
    pub fn archive_now(&self) -> Result<ArchiveReport, LogError> {
        archiving::run(&self.inner.shared, self.archive())
    }

    /// The journal up to the last durable commit, as files to copy.
    pub fn prefix(&self) -> Result<Prefix, LogError> {
        prefix::of(&self.inner.shared.source, self.durable())
    }

    /// Reads what [`Log::prefix`] told again and compares every checksum.
    pub fn verify_prefix(&self, prefix: &Prefix) -> Result<(), LogError> {
        prefix::verify(&self.inner.shared.source, prefix)
    }

    /// The archive of this log.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        self.inner.archiving.archive()
    }

    /// Takes no more commits, makes durable what is in line, and lets the folder go when the last handle does. Called by the last handle's drop.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        self.archiving.stop();
        {
            let mut section = self.shared.section.lock();
            if matches!(section.status, Status::Open) {
                section.status = Status::Closed;
            }
        }
        self.shared.work.notify_all();
        self.shared.room.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && let Err(panic) = thread.join()
        {
            tracing::error!(%panic, "the log's writer panicked");
        }
        // A judge that holds the log would otherwise keep both alive.
        let judge = self.shared.section.lock().judge.take();
        drop(judge);
        self.shared.board.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl CommitSource for Shared {
    fn first(&self) -> Lsn {
        self.source.files.first()
    }

    fn durable(&self) -> Lsn {
        self.board.durable().0
    }

    fn read(&self, after: Lsn, up_to: Lsn, topic: Option<TopicId>) -> Result<CommitIter, LogError> {
        Ok(Box::new(self.reader(after, up_to, topic)?))
    }

    fn topics(&self) -> Vec<TopicSpec> {
        self.topics().iter().map(|t| t.spec.clone()).collect()
    }

    fn schema(&self, topic: TopicId, id: SchemaId) -> Option<SchemaRef> {
        self.topics().schema(topic, id).cloned()
    }
}

impl Shared {
    pub(crate) fn topics(&self) -> Topics {
        self.topics.read().clone()
    }

    pub(crate) fn reader(&self, after: Lsn, up_to: Lsn, topic: Option<TopicId>) -> Result<Reader, LogError> {
        let up_to = up_to.min(self.board.durable().0);
        let first = self.source.files.first();
        if after.next() < first {
            return Err(LogError::Archived { after, first });
        }
        Ok(Reader::new(self.source.clone(), self.topics(), topic, after, up_to))
    }

    /// The writer thread: until the log is closed and nothing is in line, or the disk fails.
    fn write_until_closed(&self, mut writer: Writer) {
        let guard = PoisonOnPanic(self);
        while let Some(batch) = self.next_batch(&mut writer) {
            if !self.write(&mut writer, batch) {
                break;
            }
        }
        std::mem::forget(guard);
    }

    /// Waits for a batch; `None` when there will be none. Brings the mark up to date when it has waited for long enough, and at the end.
    fn next_batch(&self, writer: &mut Writer) -> Option<Batch> {
        let mut section = self.section.lock();
        section.in_flight = None;
        loop {
            if let Status::Poisoned(reason) = &section.status {
                // What is still in line was never written.
                let failure = Failure::Poisoned(reason.clone());
                self.take_back(&mut section, Batch::default(), writer.end(), &failure, &failure);
                return None;
            }
            if let Some(batch) = section.queue.pop_front() {
                let last = batch.commits.last().map(|(commit, _)| commit.lsn);
                section.in_flight = batch.first().zip(last).map(|(first, last)| (first, last, Arc::clone(&batch.ticket)));
                return Some(batch);
            }
            let closing = matches!(section.status, Status::Closed);
            let idle = match self.options.mark_idle.filter(|_| writer.mark_trails()) {
                _ if closing => true,
                Some(time) => self.work.wait_for(&mut section, time).timed_out() && section.queue.is_empty(),
                None => {
                    self.work.wait(&mut section);
                    false
                }
            };
            if idle && writer.mark_trails() {
                drop(section);
                let marked = writer.write_mark();
                section = self.section.lock();
                if let Err(error) = marked {
                    tracing::error!(%error, "the durable mark could not be written");
                    section.status = Status::Poisoned(describe(&error));
                }
            } else if closing {
                return None;
            }
        }
    }

    /// Writes a batch and tells everyone. False when the log is poisoned.
    fn write(&self, writer: &mut Writer, mut batch: Batch) -> bool {
        let (file, file_len) = (writer.first_lsn(), writer.end());
        let wanted_new_file = batch.chunk.rotate.is_some();
        let outcome = writer.write(&mut batch.chunk);
        let mut section = self.section.lock();
        match outcome {
            Ok(()) => {
                // It stays in flight until the board has it: a repetition that came between would be answered at once.
                let n_bytes = batch.chunk.bytes.len() as u64;
                section.pending_bytes = section.pending_bytes.saturating_sub(n_bytes);
                section.recycle(std::mem::take(&mut batch.chunk.bytes));
                if wanted_new_file && writer.first_lsn() == file {
                    // It stayed with the old file, whose length counts again: the next commit asks for a new one.
                    section.file_len = section.file_len.saturating_add(file_len);
                }
                drop(section);
                let rows: usize =
                    batch.commits.iter().flat_map(|(commit, _)| &commit.parts).map(|part| part.rows.num_rows()).sum();
                self.written.fetch_add(n_bytes, Ordering::Relaxed);
                self.board.succeed(&batch.ticket, batch.commits);
                self.room.notify_all();
                if let Some(notes) = self.archive_notes.get() {
                    notes.note(n_bytes, rows as u64);
                }
                true
            }
            Err(WriteError::Full(path, error)) => {
                tracing::warn!(path = %path.display(), %error, "no room for commits");
                let failure = Failure::Full(path, error.kind(), error.to_string());
                self.take_back(&mut section, batch, writer.end(), &failure, &failure);
                !matches!(section.status, Status::Poisoned(_))
            }
            Err(WriteError::Failed(error)) => {
                tracing::error!(%error, "the log stops writing");
                let reason = describe(&error);
                section.status = Status::Poisoned(reason.clone());
                self.take_back(&mut section, batch, writer.end(), &Failure::Unknown(reason.clone()), &Failure::Poisoned(reason));
                false
            }
        }
    }

    fn take_back(&self, section: &mut Section, mut failed: Batch, file_len: u64, failure: &Failure, for_waiting: &Failure) {
        section.in_flight = None;
        let waiting = section.take_back(&mut failed, file_len);
        *self.topics.write() = section.state.topics.clone();
        self.board.fail(&failed.ticket, failure.clone());
        waiting.iter().for_each(|batch| self.board.fail(&batch.ticket, for_waiting.clone()));
        self.room.notify_all();
    }
}

/// A panic of the writer is as bad as a failed disk: nobody may wait for it for ever.
struct PoisonOnPanic<'a>(&'a Shared);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        let reason = "the writer panicked".to_owned();
        let mut section = self.0.section.lock();
        section.status = Status::Poisoned(reason.clone());
        let in_flight = section.in_flight.take();
        let waiting: Vec<Batch> = section.queue.drain(..).collect();
        drop(section);
        if let Some((_, _, ticket)) = in_flight {
            self.0.board.fail(&ticket, Failure::Unknown(reason.clone()));
        }
        waiting.iter().for_each(|batch| self.0.board.fail(&batch.ticket, Failure::Poisoned(reason.clone())));
        self.0.room.notify_all();
    }
}

/// An error with its sources, on one line.
fn describe(error: &LogError) -> String {
    let mut out = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        out = format!("{out}: {error}");
        source = error.source();
    }
    out
}
