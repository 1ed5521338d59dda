//! The one who writes: chunks of frames in, one write and one fdatasync each, and what became of them.
//!
//! It owns the end of the last file. It knows no lock, no waiter and no transaction: `log` brings the chunks one after the other and tells the waiters.
//! After an outcome of `Failed` it must not be used again (promise I13); after `Full` it stands where it stood before.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regauge_types::Env;
use regauge_types::env::{File, OpenMode};

use super::file;
use super::files::Files;
use super::recover::Recovered;
use crate::LogError;
use crate::folder::Folder;
use crate::format::frame::{Header, Seed};
use crate::format::mark::Mark;

/// Frames that go to the disk in one write.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Begin a new file first.
    pub rotate: Option<Rotation>,
    /// The frames, one behind the other, their headers still open.
    pub bytes: Vec<u8>,
    /// Where in `bytes` each frame begins, and its header but for `lag`, `run` and `previous`.
    pub frames: Vec<(usize, Header)>,
}

/// A new file, and the state that it begins with.
#[derive(Debug)]
pub struct Rotation {
    /// First lsn that goes there.
    pub first_lsn: u64,
    /// Greatest clock before it.
    pub hlc: u64,
    /// The state before it.
    pub state: Vec<u8>,
}

/// Why a chunk was not written.
#[derive(Debug)]
pub enum WriteError {
    /// There is no room; the file is as it was.
    Full(PathBuf, io::Error),
    /// Nobody knows what is on the disk.
    Failed(LogError),
}

/// The end of the journal.
pub struct Writer {
    env: Env,
    folder: Folder,
    seed: Seed,
    files: Arc<Files>,
    file: Arc<dyn File>,
    path: PathBuf,
    first_lsn: u64,
    end: u64,
    chain: u32,
    durable: u64,
    hlc: u64,
    mark_file: Arc<dyn File>,
    mark: Mark,
}

impl Writer {
    /// Goes on where recovery ended.
    #[must_use]
    pub fn new(env: Env, folder: Folder, recovered: &Recovered, files: Arc<Files>) -> Self {
        Self {
            env,
            folder,
            seed: Seed(recovered.dataset.0),
            files,
            file: Arc::clone(&recovered.file),
            path: recovered.path.clone(),
            first_lsn: recovered.first_lsn,
            end: recovered.end,
            chain: recovered.chain,
            durable: recovered.state.lsn.0,
            hlc: recovered.mark.hlc,
            mark_file: Arc::clone(&recovered.mark_file),
            mark: recovered.mark,
        }
    }

    /// First lsn of the last file.
    #[must_use]
    pub fn first_lsn(&self) -> u64 {
        self.first_lsn
    }

    /// Where the next frame goes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Writes a chunk and makes it durable. Without room for a new file the frames go behind those of the old one.
    pub fn write(&mut self, chunk: &mut Chunk) -> Result<(), WriteError> {
        if let Some(rotation) = &chunk.rotate {
            self.rotate(rotation)?;
        }
        let Some((_, last)) = chunk.frames.last().copied() else {
            return Ok(());
        };
        let chain = self.seal(chunk);
        if let Err(error) = self.file.write_at(&chunk.bytes, self.end) {
            return Err(self.give_up(error));
        }
        self.file.sync().map_err(|e| WriteError::Failed(LogError::io("sync", &self.path)(e)))?;
        for (at, header) in &chunk.frames {
            self.files.note(header.lsn, self.end + *at as u64);
        }
        self.chain = chain;
        self.end += chunk.bytes.len() as u64;
        (self.durable, self.hlc) = (last.lsn, last.hlc);
        Ok(())
    }

    /// Closes the headers; returns the last one's checksum.
    fn seal(&self, chunk: &mut Chunk) -> u32 {
        chunk.frames.iter().fold(self.chain, |previous, (at, header)| {
            // More than four billion commits in flight do not fit in memory; a lag that is too small would claim too much, one too large only too little.
            let lag = u32::try_from(header.lsn.saturating_sub(self.durable)).unwrap_or(u32::MAX);
            Header { lag, run: self.mark.run, previous, ..*header }.write(&mut chunk.bytes[*at..], &self.seed)
        })
    }

    /// After a failed write: back to where we stood, if the disk is merely full.
    fn give_up(&self, error: io::Error) -> WriteError {
        if !is_full(&error) {
            return WriteError::Failed(LogError::io("write", &self.path)(error));
        }
        match self.file.set_len(self.end) {
            Ok(()) => WriteError::Full(self.path.clone(), error),
            Err(cut) => WriteError::Failed(LogError::io("cut back a full file", &self.path)(cut)),
        }
    }

    /// Begins a new file, or stays with the old one if there is no room.
    fn rotate(&mut self, rotation: &Rotation) -> Result<(), WriteError> {
        let path = self.folder.journal_file(rotation.first_lsn);
        let (bytes, chain) = file::head(rotation.first_lsn, &rotation.state, rotation.hlc, self.mark.run, self.chain, &self.seed)
            .map_err(WriteError::Failed)?;
        let made = self.make_file(&path, &bytes);
        let file = match made {
            Ok(file) => file,
            Err(error) if is_full(&error) => {
                tracing::warn!(path = %path.display(), %error, "no room for a new journal file, staying with the old one");
                return self
                    .env
                    .disk
                    .remove(&path)
                    .or_else(ignore_missing)
                    .map_err(|e| WriteError::Failed(LogError::io("remove", &path)(e)));
            }
            Err(error) => return Err(WriteError::Failed(LogError::io("make", &path)(error))),
        };
        (self.file, self.path, self.first_lsn) = (file, path, rotation.first_lsn);
        (self.end, self.chain) = (bytes.len() as u64, chain);
        // Both slots, so that the loss of one does not make this file look unused.
        self.write_mark().and_then(|()| self.write_mark()).map_err(WriteError::Failed)?;
        self.files.add(rotation.first_lsn);
        Ok(())
    }

    fn make_file(&self, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
        let file = self.env.disk.open(path, OpenMode::ReadWrite)?;
        file.set_len(0)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        self.env.disk.sync_dir(&self.folder.journal())?;
        Ok(file)
    }

    /// Whether the mark trails.
    #[must_use]
    pub fn mark_trails(&self) -> bool {
        (self.mark.file, self.mark.length) != (self.first_lsn, self.end)
    }

    /// Brings the mark to where the journal is.
    pub fn write_mark(&mut self) -> Result<(), LogError> {
        self.mark = Mark {
            generation: self.mark.generation + 1,
            file: self.first_lsn,
            length: self.end,
            lsn: self.durable,
            hlc: self.hlc,
            run: self.mark.run,
        };
        let path = self.folder.mark();
        self.mark_file
            .write_at(&self.mark.to_bytes(&self.seed), self.mark.offset())
            .and_then(|()| self.mark_file.sync())
            .map_err(LogError::io("write", &path))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
