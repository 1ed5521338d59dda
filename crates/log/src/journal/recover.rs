//! Opening: from the files of a folder to the state that the next commit follows. There is no clean shutdown to rely on (promise I11).
//!
//! `decide_tail` is the heart and is pure: given what was found behind the last whole frame, is it a write that never finished, or damage?
//! What recovery writes: the run's number and a new mark; frames that nothing proves synced, once more, byte by byte the same; the name of a file that never got a commit.
//! It removes nothing and cuts nothing: torn bytes stay where they are until the next commit overwrites them.
//! Cost: one journal file is read, whatever the length of the log.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regauge_types::env::{File, OpenMode};
use regauge_types::{DataSetId, Env, Hlc, Lsn};

use super::file::{self, Walk, WalkError};
use super::files::Files;
use crate::LogError;
use crate::folder::{self, Folder};
use crate::format::body::RawBody;
use crate::format::frame::{self, Kind, Seed};
use crate::format::mark::{Mark, SLOT_LEN};
use crate::format::wire::Malformed;
use crate::producers::Bounds;
use crate::state::LogState;

/// A folder, ready to be written.
pub struct Recovered {
    /// The data set.
    pub dataset: DataSetId,
    /// After the last commit.
    pub state: LogState,
    /// The files.
    pub files: Files,
    /// The last file, open for writing.
    pub file: Arc<dyn File>,
    /// Its path.
    pub path: PathBuf,
    /// Its first lsn.
    pub first_lsn: u64,
    /// Where the next frame goes.
    pub end: u64,
    /// Checksum that the next frame chains to.
    pub chain: u32,
    /// The mark's file, open for writing.
    pub mark_file: Arc<dyn File>,
    /// The mark as it is now; its run is ours.
    pub mark: Mark,
    /// Bytes behind `end` that were cut, for the operator to know.
    pub torn_bytes: u64,
}

/// What is behind the last whole frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Tail {
    /// A write that never finished, or nothing.
    Torn,
    /// Damage to bytes that were synced: why we know.
    Damage(String),
}

/// Judges the place where no valid frame is. `offset` is that place, `expected` the lsn that would stand there, `later` the first whole valid frame behind it.
#[must_use]
pub fn decide_tail(offset: u64, expected: u64, mark: &Mark, later: Option<&frame::Header>) -> Tail {
    if offset < mark.length {
        return Tail::Damage(format!("below the durable mark at {}", mark.length));
    }
    match later {
        Some(header) if header.durable() >= expected => {
            Tail::Damage(format!("frame {} behind it says that lsn {} was synced", header.lsn, header.durable()))
        }
        _ => Tail::Torn,
    }
}

/// Makes a data set, or recovers the one that is there. The folder's lock is held by the caller.
pub fn open(env: &Env, folder: &Folder, bounds: Bounds) -> Result<Recovered, LogError> {
    let journal = folder.journal();
    env.disk.create_dir_all(&journal).map_err(LogError::io("make folder", &journal))?;
    let exists = |path: &Path| env.disk.exists(path).map_err(LogError::io("look for", path));
    let has_format = exists(&folder.format())?;
    let has_mark = exists(&folder.mark())?;
    let names = folder.journal_files(env)?;
    if !has_format && (has_mark || !names.is_empty()) {
        return Err(LogError::corrupt(&folder.format(), 0, "the format file is missing beside a journal"));
    }
    let (dataset, found) =
        if has_format { folder::read_format(env, &folder.format())? } else { (mint(env, folder)?, folder::FORMAT_VERSION) };
    let seed = Seed(dataset.0);
    if !has_mark {
        take_over(env, folder, dataset, found)?;
        make(env, folder, &seed, &names, bounds)?;
    }
    recover(env, folder, (dataset, found), bounds)
}

/// From here on this program writes to the data set, so that an older one must not open it any more.
fn take_over(env: &Env, folder: &Folder, dataset: DataSetId, found: u32) -> Result<(), LogError> {
    if found < folder::FORMAT_VERSION {
        let path = folder.format();
        tracing::info!(path = %folder.root.display(), found, now = folder::FORMAT_VERSION, "the folder takes on this release's format");
        let text = folder::format_text(folder::FORMAT_VERSION, dataset);
        env.disk.replace(&path, text.as_bytes(), false).map_err(LogError::io("write", &path))?;
    }
    Ok(())
}

/// The first step of a new data set: its identity.
fn mint(env: &Env, folder: &Folder) -> Result<DataSetId, LogError> {
    let mut id = [0; 16];
    env.random.fill(&mut id);
    let text = folder::format_text(folder::FORMAT_VERSION, DataSetId(id));
    env.disk.replace(&folder.format(), text.as_bytes(), false).map_err(LogError::io("write", &folder.format()))?;
    for dir in [folder.root.parent(), Some(folder.root.as_path())].into_iter().flatten() {
        if !dir.as_os_str().is_empty() {
            env.disk.sync_dir(dir).map_err(LogError::io("sync folder", dir))?;
        }
    }
    Ok(DataSetId(id))
}

/// The remaining steps: the first file, then the mark. Repeated from the start if a crash came between; but never over a commit.
fn make(env: &Env, folder: &Folder, seed: &Seed, names: &[u64], bounds: Bounds) -> Result<(), LogError> {
    let path = folder.journal_file(1);
    let state = LogState::new(bounds).to_bytes();
    let (bytes, _) = file::head(1, &state, 0, 0, 0, seed)?;
    for first in names {
        let found = folder.journal_file(*first);
        let len = open_file(env, &found, OpenMode::Read)?.len().map_err(LogError::io("read", &found))?;
        if *first != 1 || len > bytes.len() as u64 {
            return Err(LogError::corrupt(&folder.mark(), 0, "the durable mark is missing beside a journal with commits"));
        }
    }
    let write = LogError::io("write", &path);
    let file = open_file(env, &path, OpenMode::ReadWrite)?;
    file.set_len(0).and_then(|()| file.write_at(&bytes, 0)).and_then(|()| file.sync()).map_err(write)?;
    for dir in [&folder.root, &folder.journal()] {
        env.disk.sync_dir(dir).map_err(LogError::io("sync folder", dir))?;
    }
    let mark = Mark { generation: 1, file: 1, length: bytes.len() as u64, ..Mark::default() };
    let slots = [Mark { generation: 0, ..mark }.to_bytes(seed), mark.to_bytes(seed)].concat();
    env.disk.replace(&folder.mark(), &slots, false).map_err(LogError::io("write", &folder.mark()))
}

fn recover(env: &Env, folder: &Folder, (dataset, format): (DataSetId, u32), bounds: Bounds) -> Result<Recovered, LogError> {
    let seed = Seed(dataset.0);
    let (mark_file, mark) = read_mark(env, folder, &seed)?;
    let files = sort_files(env, folder, &seed, &mark)?;
    let path = folder.journal_file(mark.file);
    let file = open_file(env, &path, OpenMode::ReadWrite)?;
    let len = file.len().map_err(LogError::io("read", &path))?;
    if len < mark.length {
        return Err(LogError::corrupt(&path, len, format!("file is shorter than its durable mark at {}", mark.length)));
    }
    let mut found = Found { state: LogState::new(bounds), chain: 0, run: 0, end: 0, durable: 0, unproven: VecDeque::new() };
    let stopped = walk(&file, &path, seed, &mark, len, bounds, &files, &mut found)?;
    if let Some(reason) = stopped {
        judge_tail(&*file, &path, &seed, &mark, len, &found, &reason)?;
    }
    let run = mark
        .run
        .max(found.run)
        .checked_add(1)
        .ok_or_else(|| LogError::Internal { reason: "opened four billion times".to_owned() })?;
    // All that is there has been judged. What is written below, by an older release's rules, that release could still read.
    take_over(env, folder, dataset, format)?;
    rewrite_unproven(&*file, &path, &mark, &found)?;
    let mut recovered = Recovered {
        dataset,
        first_lsn: mark.file,
        end: found.end,
        chain: found.chain,
        torn_bytes: len - found.end,
        mark: Mark { length: found.end, lsn: found.state.lsn.0, hlc: found.state.hlc.0.max(mark.hlc), run, ..mark },
        state: found.state,
        files,
        file,
        path,
        mark_file,
    };
    // Both slots: whichever of them is torn or rots later, what is left knows this run and this file.
    for _ in 0..2 {
        recovered.mark.generation += 1;
        let write = LogError::io("write", &recovered.path);
        recovered
            .mark_file
            .write_at(&recovered.mark.to_bytes(&seed), recovered.mark.offset())
            .and_then(|()| recovered.mark_file.sync())
            .map_err(write)?;
    }
    Ok(recovered)
}

fn open_file(env: &Env, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>, LogError> {
    env.disk.open(path, mode).map_err(LogError::io("open", path))
}

fn read_mark(env: &Env, folder: &Folder, seed: &Seed) -> Result<(Arc<dyn File>, Mark), LogError> {
    let path = folder.mark();
    let file = open_file(env, &path, OpenMode::ReadWrite)?;
    let mut bytes = Vec::new();
    file::read_up_to(&*file, 0, 2 * SLOT_LEN as u64, &mut bytes).map_err(LogError::io("read", &path))?;
    let mark = Mark::newest(&bytes, seed).map_err(|e| LogError::corrupt(&path, 0, e.0))?;
    Ok((file, mark))
}

/// The files that count. One above the mark never got a commit: it gets another name, so that a later file cannot follow it.
fn sort_files(env: &Env, folder: &Folder, seed: &Seed, mark: &Mark) -> Result<Files, LogError> {
    let files = Files::default();
    let mut renamed = false;
    for first in folder.journal_files(env)? {
        if first <= mark.file {
            files.add(first);
            continue;
        }
        let path = folder.journal_file(first);
        let opened = open_file(env, &path, OpenMode::Read)?;
        let len = opened.len().map_err(LogError::io("read", &path))?;
        if let Some(offset) = first_commit(opened, &path, *seed, first, len)? {
            return Err(LogError::corrupt(
                &folder.mark(),
                0,
                format!("the durable mark does not know a file with commits file={first} offset={offset}"),
            ));
        }
        let aside = path.with_extension(format!("unused-{}", mark.generation));
        env.disk.rename(&path, &aside).map_err(LogError::io("rename", &path))?;
        renamed = true;
    }
    if renamed {
        env.disk.sync_dir(&folder.journal()).map_err(LogError::io("sync folder", &folder.journal()))?;
    }
    if files.all().last() != Some(&mark.file) {
        return Err(LogError::corrupt(
            &folder.journal_file(mark.file),
            0,
            "the journal file that the durable mark names is missing",
        ));
    }
    Ok(files)
}

fn first_commit(file: Arc<dyn File>, path: &Path, seed: Seed, first: u64, len: u64) -> Result<Option<u64>, LogError> {
    let mut walk = match Walk::open(file, path, seed, first, len) {
        Ok(walk) => walk,
        Err(WalkError::Io(error)) => return Err(error),
        Err(WalkError::Bad { .. }) => return Ok(None),
    };
    loop {
        match walk.step() {
            Ok(Some(frame)) if frame.header.kind == Kind::Commit => return Ok(Some(frame.offset)),
            Ok(Some(_)) => {}
            Ok(None) | Err(WalkError::Bad { .. }) => return Ok(None),
            Err(WalkError::Io(error)) => return Err(error),
        }
    }
}

/// What a walk over the last file found.
struct Found {
    state: LogState,
    chain: u32,
    run: u32,
    /// End of the last whole frame.
    end: u64,
    /// Greatest lsn that a frame proves synced.
    durable: u64,
    /// Lsn and end of the last frames, from the last one proven synced on.
    unproven: VecDeque<(u64, u64)>,
}

/// Follows the file to its end or to where no frame is that could follow; in that case returns why.
#[allow(clippy::too_many_arguments)]
fn walk(
    file: &Arc<dyn File>,
    path: &Path,
    seed: Seed,
    mark: &Mark,
    len: u64,
    bounds: Bounds,
    files: &Files,
    found: &mut Found,
) -> Result<Option<Malformed>, LogError> {
    let corrupt = |e: WalkError| e.into_corrupt(path);
    let mut walk = Walk::open(Arc::clone(file), path, seed, mark.file, len).map_err(corrupt)?;
    let first = walk.step().map_err(corrupt)?;
    let head = first.filter(|f| f.header.kind == Kind::State && f.header.lsn + 1 == mark.file);
    let Some(head) = head else {
        return Err(LogError::corrupt(
            path,
            file::FILE_HEADER_LEN as u64,
            "journal file does not begin with the state before its first commit",
        ));
    };
    if let Some(version) = LogState::newer(head.body) {
        return Err(LogError::NewerFormat { path: path.to_owned(), found: version, supported: LogState::SUPPORTED });
    }
    found.state = LogState::from_bytes(head.body, bounds).map_err(|e| LogError::corrupt(path, head.offset, e.0))?;
    (found.chain, found.run) = (head.crc, head.header.run);
    if found.state.lsn.0 != head.header.lsn {
        return Err(LogError::corrupt(path, head.offset, "state is of another lsn than its frame"));
    }
    found.end = walk.position();
    loop {
        let frame = match walk.step() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(None),
            Err(WalkError::Io(error)) => return Err(error),
            Err(WalkError::Bad { reason, .. }) => return Ok(Some(reason)),
        };
        if let Err(reason) = follows(&frame.header, found) {
            return Ok(Some(reason));
        }
        let (offset, header, crc) = (frame.offset, frame.header, frame.crc);
        let body = RawBody::read(frame.body, header.flags).map_err(|e| LogError::corrupt(path, offset, e.0))?;
        found.state.replay(Lsn(header.lsn), Hlc(header.hlc), &body).map_err(|e| LogError::corrupt(path, offset, e.0))?;
        (found.chain, found.run, found.end) = (crc, header.run, walk.position());
        files.note(header.lsn, offset);
        found.durable = found.durable.max(header.durable());
        found.unproven.push_back((header.lsn, found.end));
        while found.unproven.get(1).is_some_and(|(lsn, _)| *lsn <= found.durable) {
            found.unproven.pop_front();
        }
    }
}

/// Whether a valid frame is the one that stands here. One that is not is left over from a write that was cut before.
fn follows(header: &frame::Header, found: &Found) -> Result<(), Malformed> {
    let expected = found.state.lsn.0 + 1;
    if header.kind != Kind::Commit || header.lsn != expected {
        return Err(Malformed::new(format!("another frame stands here expected_lsn={expected} lsn={}", header.lsn)));
    }
    if header.previous != found.chain {
        return Err(Malformed::new(format!("frame does not chain to the one before lsn={expected}")));
    }
    if header.run < found.run {
        return Err(Malformed::new(format!(
            "frame is left over from an earlier run lsn={expected} run={} after={}",
            header.run, found.run
        )));
    }
    if header.hlc <= found.state.hlc.0 {
        return Err(Malformed::new(format!("clock does not ascend lsn={expected}")));
    }
    Ok(())
}

/// Reads what is behind the last whole frame and lets `decide_tail` judge it. The tail is as long as the commits in flight were, some 64 MiB.
fn judge_tail(
    file: &dyn File,
    path: &Path,
    seed: &Seed,
    mark: &Mark,
    len: u64,
    found: &Found,
    reason: &Malformed,
) -> Result<(), LogError> {
    let mut bytes = Vec::new();
    file::read_up_to(file, found.end, len - found.end, &mut bytes).map_err(LogError::io("read", path))?;
    let expected = found.state.lsn.0 + 1;
    // Any later frame will do, so the one that proves most is taken.
    let mut later: Option<frame::Header> = None;
    let mut from = 0;
    while let Some((at, header)) = frame::find_valid(&bytes, from, seed) {
        if later.is_none_or(|l| header.durable() > l.durable()) {
            later = Some(header);
        }
        from = at + frame::HEADER_LEN + header.body_len as usize;
    }
    match decide_tail(found.end, expected, mark, later.as_ref()) {
        Tail::Torn => Ok(()),
        Tail::Damage(proof) => Err(LogError::corrupt(path, found.end, format!("{reason}; {proof}"))),
    }
}

/// Writes the frames again that neither the mark nor a later frame proves synced, and syncs them. The bytes are those that were just verified, so
/// whatever a crash leaves of this is what was there.
fn rewrite_unproven(file: &dyn File, path: &Path, mark: &Mark, found: &Found) -> Result<(), LogError> {
    let proven =
        found.unproven.front().filter(|(lsn, _)| *lsn <= found.durable).map_or(mark.length, |(_, end)| mark.length.max(*end));
    if proven >= found.end {
        return Ok(());
    }
    let mut bytes = Vec::new();
    file::read_up_to(file, proven, found.end - proven, &mut bytes).map_err(LogError::io("read", path))?;
    file.write_at(&bytes, proven).and_then(|()| file.sync()).map_err(LogError::io("write again", path))
}
