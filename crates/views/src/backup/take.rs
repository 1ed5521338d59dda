//! Taking a backup of an open instance.
//!
//! Order matters: the checkpoint is held and the archive's manifest is pinned first, and only then it is looked how far the log is durable. So both
//! are of commits that are in the backup, and what was acknowledged before this began is, too. Cost: memory of one chunk.

use super::{
    CHUNK_BYTES,
    vault::{FORMAT, FileEntry, Manifest, Vault},
};
use crate::error::{Error, Result, sqlstate as code};
use bytes::Bytes;
use regauge_log::{Log, LogOptions, archive::Manifest as Archived, folder::format_text, prefix};
use regauge_state::checkpoint::{CheckpointError, Held, Store};
use regauge_types::{
    Env, ErrorKind,
    env::{File, OpenMode},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What a backup is taken of.
#[derive(Clone)]
pub struct Parts {
    /// The world outside.
    pub env: Env,
    /// The log.
    pub log: Log,
    /// The checkpoints, if they are on.
    pub checkpoints: Option<Store>,
    /// Set when nobody wants it any more.
    pub stop: Arc<AtomicBool>,
}

impl Parts {
    /// Of a folder that nobody has open: its log alone is opened.
    pub fn of_closed(env: &Env, data: &Path) -> Result<Parts> {
        let mut options = LogOptions::default();
        options.archive.background = None;
        let log = Log::open(env.clone(), data, options).map_err(Error::from_log)?;
        let folder = crate::checkpoint::folder(data);
        let io = |e: std::io::Error| Error::new(ErrorKind::Unavailable, code::IO, format!("cannot look for checkpoints: {e}"));
        let is_there = env.disk.exists(&folder).map_err(io)?;
        let checkpoints = is_there.then(|| Store::open(env.clone(), &folder, log.dataset())).transpose().map_err(failed)?;
        Ok(Parts { env: env.clone(), log, checkpoints, stop: Arc::default() })
    }
}

/// A backup that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its number.
    pub number: u64,
    /// It has everything up to this commit.
    pub lsn: u64,
    /// Files.
    pub n_files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Those that were not there before.
    pub bytes_written: u64,
}

struct Taking<'a> {
    parts: &'a Parts,
    vault: &'a Vault,
    files: Vec<FileEntry>,
    bytes_written: u64,
}

fn failed(error: CheckpointError) -> Error {
    let kind = if matches!(error, CheckpointError::Corrupt { .. }) { ErrorKind::Corrupt } else { ErrorKind::Unavailable };
    Error::new(kind, if kind == ErrorKind::Corrupt { code::CORRUPT } else { code::IO }, error.to_string())
        .hint("checkpoints are for speed alone: stop the server, move the folder checkpoint away and start it again")
}

/// Takes a backup.
pub fn take(parts: &Parts, vault: &Vault) -> Result<Taken> {
    let begun_ms = parts.env.clock.wall_ms();
    let held = parts.checkpoints.as_ref().map(Store::hold).transpose().map_err(failed)?.flatten();
    let archived = parts.log.archive().manifest();
    let journal = parts.log.prefix().map_err(Error::from_log)?;
    if archived.archived > journal.lsn || held.as_ref().is_some_and(|h| h.manifest().lsn > journal.lsn) {
        return Err(Error::internal("the archive or a checkpoint is ahead of the log"));
    }
    parts.log.verify_prefix(&journal).map_err(Error::from_log)?;
    let mut taking = Taking { parts, vault, files: vec![], bytes_written: 0 };
    taking.bytes("FORMAT", format_text(regauge_log::folder::FORMAT_VERSION, journal.dataset).as_bytes())?;
    for file in &journal.files {
        taking.file(&prefix::name(file.first_lsn), &file.path, Some(file.bytes))?;
    }
    taking.bytes("journal/mark", &journal.mark)?;
    taking.archive(&archived)?;
    if let (Some(held), Some(store)) = (&held, &parts.checkpoints) {
        taking.checkpoint(held, store)?;
    }
    let checkpoint = held.as_ref().map(|h| h.manifest().lsn.0);
    let Taking { files, bytes_written, .. } = taking;
    let mut manifest = Manifest {
        format: FORMAT,
        number: 0,
        dataset: journal.dataset.to_string(),
        lsn: journal.lsn.0,
        clock: journal.hlc.0,
        archived: archived.archived.0,
        checkpoint,
        begun_ms,
        files,
    };
    let number = vault.publish(&mut manifest)?;
    let (n_files, bytes) = (manifest.files.len(), manifest.bytes());
    tracing::info!(backup = number, lsn = %journal.lsn, files = n_files, bytes, bytes_written, "backup");
    Ok(Taken { number, lsn: journal.lsn.0, n_files, bytes, bytes_written })
}

impl Taking<'_> {
    fn wanted(&self) -> Result<()> {
        if self.parts.stop.load(Ordering::Acquire) { Err(Error::canceled("user request")) } else { Ok(()) }
    }

    fn put(&mut self, bytes: Bytes) -> Result<String> {
        self.wanted()?;
        let len = bytes.len() as u64;
        let (hash, is_new) = self.vault.put(bytes)?;
        self.bytes_written += if is_new { len } else { 0 };
        Ok(hash)
    }

    /// A file whose bytes are at hand.
    fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let step = usize::try_from(CHUNK_BYTES).map_err(|e| Error::internal(e.to_string()))?;
        let chunks = bytes.chunks(step).map(|c| self.put(Bytes::copy_from_slice(c))).collect::<Result<_>>()?;
        self.files.push(FileEntry { path: path.to_owned(), bytes: bytes.len() as u64, chunks });
        Ok(())
    }

    /// The first bytes of a file of the folder, or all of them.
    fn file(&mut self, name: &str, path: &Path, bytes: Option<u64>) -> Result<()> {
        let io = |e: std::io::Error| {
            Error::new(ErrorKind::Unavailable, code::IO, format!("cannot read for a backup: {e} file={}", path.display()))
        };
        let file: Arc<dyn File> = self.parts.env.disk.open(path, OpenMode::Read).map_err(io)?;
        let bytes = bytes.map_or_else(|| file.len(), Ok).map_err(io)?;
        let mut chunks = vec![];
        for (offset, len) in pieces(bytes) {
            let mut chunk = vec![0; len];
            file.read_exact_at(&mut chunk, offset).map_err(io)?;
            chunks.push(self.put(chunk.into())?);
        }
        self.files.push(FileEntry { path: name.to_owned(), bytes, chunks });
        Ok(())
    }

    /// Holding the manifest keeps its segments.
    fn archive(&mut self, manifest: &Archived) -> Result<()> {
        if manifest.number == 0 {
            return Ok(());
        }
        let log = self.parts.log.clone();
        for segment in &manifest.segments {
            log.archive().verify_segment(segment).map_err(Error::from_log)?;
            let mut chunks = vec![];
            for (offset, len) in pieces(segment.bytes) {
                let range = offset..offset + len as u64;
                let bytes = log.archive().objects().read_range(&segment.path(), range).map_err(Error::from_log)?;
                chunks.push(self.put(bytes)?);
            }
            self.files.push(FileEntry { path: format!("archive/{}", segment.path()), bytes: segment.bytes, chunks });
        }
        self.bytes(&format!("archive/manifest/{:020}", manifest.number), &manifest.encode())
    }

    fn checkpoint(&mut self, held: &Held, store: &Store) -> Result<()> {
        for block in held.manifest().sections.iter().flat_map(|s| &s.blocks) {
            self.wanted()?;
            store.read(block).map_err(failed)?;
        }
        for path in held.files() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.file(&format!("checkpoint/{name}"), &path, None)?;
        }
        Ok(())
    }
}

/// Where chunks of a file of so many bytes begin, and how long they are.
fn pieces(bytes: u64) -> impl Iterator<Item = (u64, usize)> {
    let n = bytes.div_ceil(CHUNK_BYTES);
    (0..n).map(move |no| {
        let offset = no * CHUNK_BYTES;
        (offset, usize::try_from((bytes - offset).min(CHUNK_BYTES)).unwrap_or(usize::MAX))
    })
}
