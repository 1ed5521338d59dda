//! What the files of a data folder hold, read only: beside a running process as well as over a folder that does not open.
//!
//! Guarantees: nothing is written and no lock is taken; every checksum, number and chain is verified; damage is told with file and
//! offset, by the rules of recovery ([`recover::decide_tail`]). Not promised beside a running process: that the last commits are in
//! it. A frame that is being written while it is read is looked at again before it is called torn.
//! Cost: one pass over the journal, holding one frame; over the archive too, if it is verified.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use regauge_types::env::OpenMode;
use regauge_types::{CATALOG_TOPIC, DataSetId, Env, Hlc, Lsn};

use crate::LogError;
use crate::archive::{Archive, ArchiveOptions, DiskStore, Manifest, Objects};
use crate::folder::{self, Folder};
use crate::format::body::RawBody;
use crate::format::frame::{self, Kind, Seed};
use crate::format::mark::{Mark, SLOT_LEN};
use crate::journal::file::{Walk, WalkError, read_up_to};
use crate::journal::files::Files;
use crate::journal::reader::{Reader, Source};
use crate::journal::recover::{self, Tail};
use crate::model::Commit;
use crate::options::LogOptions;
use crate::state::LogState;
use crate::topics::Topics;

/// How often, and how long apart, a frame that may be in the middle of being written is read again.
const AGAIN: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// A data folder, looked at.
pub struct Inspection {
    env: Env,
    folder: Folder,
    /// Which data set.
    pub dataset: DataSetId,
    /// The durable mark.
    pub mark: Mark,
    /// First lsns of the journal's files.
    files: Vec<u64>,
}

/// One journal file.
#[derive(Debug)]
pub struct JournalFile {
    /// The file.
    pub path: PathBuf,
    /// The lsn in its name.
    pub first_lsn: Lsn,
    /// Its length.
    pub bytes: u64,
    /// Whole commits.
    pub commits: u64,
    /// Rows in them.
    pub rows: u64,
    /// The last of them; the one before `first_lsn` if there is none.
    pub last_lsn: Lsn,
    /// Its clock.
    pub last_hlc: Hlc,
    /// Up to here frames are whole.
    pub whole_bytes: u64,
    /// Why it does not go on although bytes follow: `None`, or a write that never finished.
    pub torn: Option<String>,
    /// What is damaged.
    pub damage: Option<LogError>,
    /// Topics after the last commit.
    topics: Topics,
    /// Checksum that the next file's first frame chains to.
    chain: u32,
}

impl Inspection {
    /// Reads the folder's format and mark.
    pub fn open(env: Env, dir: &Path) -> Result<Self, LogError> {
        let folder = Folder::new(dir);
        let (dataset, _) = folder::read_format(&env, &folder.format())?;
        let path = folder.mark();
        let bytes = env.disk.read_all(&path, 4 * SLOT_LEN as u64).map_err(LogError::io("read", &path))?;
        let mark = Mark::newest(&bytes, &Seed(dataset.0)).map_err(|e| LogError::corrupt(&path, 0, e.0))?;
        let files = folder.journal_files(&env)?;
        Ok(Self { env, folder, dataset, mark, files })
    }

    /// Walks over all journal files. Damage in one does not keep the others from being told.
    pub fn journal(&self) -> Result<Vec<JournalFile>, LogError> {
        let mut out: Vec<JournalFile> = Vec::new();
        for first in &self.files {
            // A file above the mark is one that is being begun: it has no commit that was acknowledged.
            if *first > self.mark.file && out.last().is_some_and(|f| f.damage.is_none()) && self.is_empty(*first)? {
                continue;
            }
            let before = out.last().filter(|f| f.damage.is_none()).map(|f| (f.last_lsn, f.chain));
            out.push(self.file(*first, before)?);
        }
        if !self.files.contains(&self.mark.file) {
            let path = self.folder.journal_file(self.mark.file);
            return Err(LogError::corrupt(&path, 0, "the journal file that the durable mark names is missing"));
        }
        Ok(out)
    }

    /// The commits of the catalog's topic, in order. `files` as [`Inspection::journal`] gave them.
    pub fn catalog(&self, files: &[JournalFile]) -> Result<Vec<Commit>, LogError> {
        let Some(last) = files.last() else { return Ok(Vec::new()) };
        let known = Files::default();
        files.iter().for_each(|file| known.add(file.first_lsn.0));
        let source =
            Source { env: self.env.clone(), folder: self.folder.clone(), seed: Seed(self.dataset.0), files: Arc::new(known) };
        let after = Lsn(files[0].first_lsn.0.saturating_sub(1));
        Reader::new(source, last.topics.clone(), Some(CATALOG_TOPIC), after, last.last_lsn).collect()
    }

    /// The archive in the folder; empty if there is none.
    pub fn archive(&self) -> Result<Arc<Manifest>, LogError> {
        Ok(self.open_archive()?.manifest())
    }

    /// Reads every byte of every segment.
    pub fn verify_archive(&self) -> Result<(), LogError> {
        self.open_archive()?.verify()
    }

    /// What is wrong with each slot of the durable mark by itself; the folder opens as long as one holds.
    pub fn mark_slots(&self) -> Result<Vec<LogError>, LogError> {
        let path = self.folder.mark();
        let bytes = self.env.disk.read_all(&path, 4 * SLOT_LEN as u64).map_err(LogError::io("read", &path))?;
        let seed = Seed(self.dataset.0);
        let mut damaged = vec![];
        for (at, slot) in (0..2).map(|no| (no * SLOT_LEN, bytes.get(no * SLOT_LEN..(no + 1) * SLOT_LEN))) {
            let read = slot.and_then(|slot| slot.first_chunk()).map(|slot| Mark::from_bytes(slot, &seed));
            match read {
                Some(Ok(_)) => {}
                Some(Err(why)) => damaged.push(LogError::corrupt(&path, at as u64, why.0)),
                None => damaged.push(LogError::corrupt(&path, at as u64, "a slot of the durable mark is cut off")),
            }
        }
        if bytes.len() > 2 * SLOT_LEN {
            damaged.push(LogError::corrupt(&path, 2 * SLOT_LEN as u64, "bytes behind the slots of the durable mark"));
        }
        Ok(damaged)
    }

    /// The archive, to read it.
    pub fn open_archive(&self) -> Result<Archive, LogError> {
        let store = DiskStore::new(self.env.clone(), &self.folder.archive());
        Archive::open(self.env.clone(), Objects::new(Arc::new(store), None), self.dataset, ArchiveOptions::default())
    }

    fn is_empty(&self, first: u64) -> Result<bool, LogError> {
        let file = self.file(first, None)?;
        Ok(file.commits == 0)
    }

    /// One file; `before` is where the one before it ended.
    fn file(&self, first: u64, before: Option<(Lsn, u32)>) -> Result<JournalFile, LogError> {
        let path = self.folder.journal_file(first);
        let handle = self.env.disk.open(&path, OpenMode::Read).map_err(LogError::io("open", &path))?;
        let bytes = handle.len().map_err(LogError::io("read", &path))?;
        let seed = Seed(self.dataset.0);
        let mut found = JournalFile {
            path: path.clone(),
            first_lsn: Lsn(first),
            bytes,
            commits: 0,
            rows: 0,
            last_lsn: Lsn(first.saturating_sub(1)),
            last_hlc: Hlc::ZERO,
            whole_bytes: 0,
            torn: None,
            damage: None,
            topics: Topics::default(),
            chain: 0,
        };
        let mut walk = match Walk::open(Arc::clone(&handle), &path, seed, first, bytes) {
            Ok(walk) => walk,
            Err(WalkError::Io(error)) => return Err(error),
            Err(bad) => {
                found.damage = Some(bad.into_corrupt(&path));
                return Ok(found);
            }
        };
        let mut state: Option<LogState> = None;
        let mut again = 0;
        let stopped = loop {
            let at = walk.position();
            match step(&mut walk, &mut state, &mut found, before) {
                Ok(true) => again = 0,
                Ok(false) => break None,
                Err(Stopped::Io(error)) => return Err(error),
                // Only what is at the end of the last file can be in the middle of being written.
                Err(Stopped::Bad(_)) if first >= self.mark.file && again < AGAIN => {
                    again += 1;
                    self.env.clock.sleep(PAUSE);
                    walk.seek(at);
                    match walk.refresh() {
                        Ok(()) => {}
                        Err(WalkError::Io(error)) => return Err(error),
                        Err(bad) => break Some(bad.into_corrupt(&path).to_string()),
                    }
                }
                Err(Stopped::Bad(reason)) => {
                    walk.seek(at);
                    break Some(reason);
                }
            }
        };
        found.whole_bytes = walk.position();
        found.topics = state.map(|s| s.topics).unwrap_or_default();
        if let Some(reason) = stopped {
            self.judge(&*handle, first, &mut found, reason)?;
        }
        let short = first == self.mark.file && found.whole_bytes < self.mark.length && found.damage.is_none();
        if short {
            let reason = format!("file is shorter than its durable mark at {}", self.mark.length);
            found.damage = Some(LogError::corrupt(&path, found.whole_bytes, reason));
        }
        Ok(found)
    }

    /// What does not go on is torn or damaged.
    fn judge(
        &self,
        handle: &dyn regauge_types::env::File,
        first: u64,
        found: &mut JournalFile,
        reason: String,
    ) -> Result<(), LogError> {
        let at = found.whole_bytes;
        if first < self.mark.file {
            found.damage = Some(LogError::corrupt(&found.path, at, format!("{reason}; a later file follows")));
            return Ok(());
        }
        let len = handle.len().map_err(LogError::io("read", &found.path))?;
        let mut bytes = Vec::new();
        read_up_to(handle, at, len.saturating_sub(at), &mut bytes).map_err(LogError::io("read", &found.path))?;
        let seed = Seed(self.dataset.0);
        let mut later: Option<frame::Header> = None;
        let mut from = 0;
        while let Some((start, header)) = frame::find_valid(&bytes, from, &seed) {
            if later.is_none_or(|l| header.durable() > l.durable()) {
                later = Some(header);
            }
            from = start + frame::HEADER_LEN + header.body_len as usize;
        }
        let mark = if first == self.mark.file { self.mark } else { Mark { length: 0, ..self.mark } };
        match recover::decide_tail(at, found.last_lsn.0 + 1, &mark, later.as_ref()) {
            Tail::Torn => found.torn = Some(reason),
            Tail::Damage(proof) => found.damage = Some(LogError::corrupt(&found.path, at, format!("{reason}; {proof}"))),
        }
        Ok(())
    }
}

enum Stopped {
    Io(LogError),
    Bad(String),
}

/// Passes one frame; false at the end.
fn step(
    walk: &mut Walk,
    state: &mut Option<LogState>,
    found: &mut JournalFile,
    before: Option<(Lsn, u32)>,
) -> Result<bool, Stopped> {
    let frame = match walk.step() {
        Ok(Some(frame)) => frame,
        Ok(None) => return Ok(false),
        Err(WalkError::Io(error)) => return Err(Stopped::Io(error)),
        Err(WalkError::Bad { reason, .. }) => return Err(Stopped::Bad(reason.0)),
    };
    let bad = |reason: String| Err(Stopped::Bad(reason));
    let Some(state) = state else {
        if frame.header.kind != Kind::State || frame.header.lsn + 1 != found.first_lsn.0 {
            return bad("journal file does not begin with the state before its first commit".to_owned());
        }
        if let Some((lsn, chain)) = before.filter(|(lsn, chain)| lsn.0 != frame.header.lsn || *chain != frame.header.previous) {
            return bad(format!("file does not follow the one before it lsn={lsn} chain={chain:08x}"));
        }
        let read = LogState::from_bytes(frame.body, LogOptions::default().bounds()).map_err(|e| Stopped::Bad(e.0))?;
        found.last_hlc = Hlc(frame.header.hlc);
        found.chain = frame.crc;
        *state = Some(read);
        return Ok(true);
    };
    let expected = found.last_lsn.0 + 1;
    if frame.header.kind != Kind::Commit || frame.header.lsn != expected || frame.header.previous != found.chain {
        return bad(format!("another frame stands here expected_lsn={expected} lsn={}", frame.header.lsn));
    }
    let body = RawBody::read(frame.body, frame.header.flags).map_err(|e| Stopped::Bad(e.0))?;
    state.replay(Lsn(expected), Hlc(frame.header.hlc), &body).map_err(|e| Stopped::Bad(e.0))?;
    found.commits += 1;
    found.rows += body.parts.iter().map(|p| p.n_rows).sum::<u64>();
    found.last_lsn = Lsn(expected);
    found.last_hlc = Hlc(frame.header.hlc);
    found.chain = frame.crc;
    Ok(true)
}
