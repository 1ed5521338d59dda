//! The archive of an open log: what joins the journal, the archive and the thread that feeds one from the other.
//!
//! Invariant: only durable commits are archived, so the archive is never ahead of the journal; if it is when both are opened,
//! commits have disappeared and that is corruption. A failure here reaches no writer: the journal has all that matters.
//! It knows neither Parquet nor frames.

use crate::{
    LogError,
    archive::{
        Archive, ArchiveOptions, ArchiveReport, ArchiveWork, Background, BackgroundOptions, DiskStore, JournalState, Objects,
    },
};
use crate::{
    log::Shared,
    model::{Commit, CommitIter, CommitSource, TopicSpec},
    tail::Tail,
};
use arrow::datatypes::SchemaRef;
use regauge_types::{Lsn, SchemaId, TopicId};
use std::{collections::VecDeque, sync::Arc};

/// Where and when the archive is written.
#[derive(Clone, Debug)]
pub struct ArchiveSettings {
    /// The object store; `None` for the folder `archive` of the data folder.
    pub store: Option<Objects>,
    /// Sizes of segments and runs.
    pub sizes: ArchiveOptions,
    /// When the background thread runs; `None` for no thread, then only [`Log::archive_now`](crate::Log::archive_now) archives.
    pub background: Option<BackgroundOptions>,
}

impl Default for ArchiveSettings {
    fn default() -> ArchiveSettings {
        ArchiveSettings { store: None, sizes: ArchiveOptions::default(), background: Some(BackgroundOptions::default()) }
    }
}

/// The archive and its thread, for as long as the log is open.
pub(crate) struct Archiving {
    archive: Arc<Archive>,
    background: Option<Background>,
}

impl Archiving {
    /// Opens the archive beside the recovered journal and starts the thread.
    pub(crate) fn open(shared: &Arc<Shared>) -> Result<Archiving, LogError> {
        let settings = &shared.options.archive;
        let folder = &shared.source.folder;
        let own_folder = || Objects::new(Arc::new(DiskStore::new(shared.env.clone(), &folder.archive())), None);
        let objects = settings.store.clone().unwrap_or_else(own_folder);
        let archive = Arc::new(Archive::open(shared.env.clone(), objects, shared.dataset, settings.sizes)?);
        check_together(shared, &archive)?;
        let background = settings.background.map(|options| start(shared, &archive, options)).transpose()?;
        Ok(Archiving { archive, background })
    }

    pub(crate) fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Ends a run in progress and the thread.
    pub(crate) fn stop(&self) {
        self.archive.close();
        if let Some(background) = &self.background {
            background.stop();
        }
    }
}

/// Between them, archive and journal must have every durable commit.
fn check_together(shared: &Shared, archive: &Archive) -> Result<(), LogError> {
    let (archived, durable, first) = (archive.archived(), shared.board.durable().0, shared.source.files.first());
    let reason = if archived > durable {
        format!("journal ends before the archive: commits have disappeared archived={archived} durable={durable}")
    } else if first > archived.next() {
        format!("journal begins after the archive's end: commits have disappeared archived={archived} first={first}")
    } else {
        return Ok(());
    };
    Err(LogError::Corrupt { file: shared.source.folder.journal(), offset: 0, reason })
}

fn start(shared: &Arc<Shared>, archive: &Arc<Archive>, options: BackgroundOptions) -> Result<Background, LogError> {
    let (journal, target) = (Arc::clone(shared), Arc::clone(archive));
    // It ends with the thread, and the thread with the log: no cycle stays.
    let work: ArchiveWork = Box::new(move || run(&journal, &target));
    let background = Background::start(&shared.env, options, work)
        .map_err(LogError::io("start the archiver of", &shared.source.folder.root))?;
    let notes = background.notes();
    notes.note(backlog_bytes(shared, archive.archived())?, 0);
    // Set once: a log is opened once.
    let _ = shared.archive_notes.set(notes);
    Ok(background)
}

/// Bytes of the journal files that hold commits which are not archived.
fn backlog_bytes(shared: &Shared, archived: Lsn) -> Result<u64, LogError> {
    if archived >= shared.board.durable().0 {
        return Ok(0);
    }
    let files = shared.source.files.all();
    let from = files.partition_point(|first| *first <= archived.next().0).saturating_sub(1);
    let mut bytes = 0;
    for first in files.iter().skip(from) {
        let path = shared.source.folder.journal_file(*first);
        let file = shared.env.disk.open(&path, regauge_types::env::OpenMode::Read).map_err(LogError::io("open", &path))?;
        bytes += file.len().map_err(LogError::io("read the length of", &path))?;
    }
    Ok(bytes)
}

/// Archives everything that is durable now.
pub(crate) fn run(shared: &Arc<Shared>, archive: &Archive) -> Result<ArchiveReport, LogError> {
    let state = durable_state(shared);
    archive.run(&Newest(Arc::clone(shared)), shared.board.durable().0, state.as_ref())
}

/// Rows that are taken from a tail at a time.
const TAIL_ROWS: usize = 8192;

/// The log as the archiver reads it: what is recent still is in memory, and need not be read, checked and decoded again.
struct Newest(Arc<Shared>);

impl CommitSource for Newest {
    fn first(&self) -> Lsn {
        self.0.first()
    }

    fn durable(&self) -> Lsn {
        self.0.durable()
    }

    fn read(&self, after: Lsn, up_to: Lsn, topic: Option<TopicId>) -> Result<CommitIter, LogError> {
        if topic.is_some() {
            return self.0.read(after, up_to, topic);
        }
        Ok(Box::new(Newer { tail: Tail::new(Arc::clone(&self.0), after), up_to, taken: VecDeque::new(), failed: false }))
    }

    fn topics(&self) -> Vec<TopicSpec> {
        CommitSource::topics(&*self.0)
    }

    fn schema(&self, topic: TopicId, id: SchemaId) -> Option<SchemaRef> {
        self.0.schema(topic, id)
    }
}

/// The commits of a tail up to an lsn.
struct Newer {
    tail: Tail,
    up_to: Lsn,
    taken: VecDeque<Commit>,
    failed: bool,
}

impl Iterator for Newer {
    type Item = Result<Commit, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.taken.is_empty() && !self.failed {
            match self.tail.next(TAIL_ROWS) {
                Ok(commits) => self.taken = commits.into(),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        self.taken.pop_front().filter(|commit| commit.lsn <= self.up_to).map(Ok)
    }
}

/// The state after the last commit in line, once that commit is durable; `None` if it was taken back.
fn durable_state(shared: &Shared) -> Option<JournalState> {
    let section = shared.section.lock();
    let state = JournalState { lsn: section.state.lsn, bytes: section.state.to_bytes().into() };
    let in_line = section.queue.back().map(|batch| &batch.ticket).or(section.in_flight.as_ref().map(|(_, _, ticket)| ticket));
    let ticket = in_line.map(Arc::clone);
    drop(section);
    match ticket {
        Some(ticket) => shared.board.wait(&ticket).is_ok().then_some(state),
        None => Some(state),
    }
}
