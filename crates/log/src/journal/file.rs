//! One journal file: its header, and walking over its frames.
//!
//! The walk verifies every checksum before it hands out a byte, holds at most one frame or one read-ahead in memory, and reserves never more than the file is long.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regauge_types::env::File;

use crate::LogError;
use crate::format::frame::{HEADER_LEN, Header, Kind, Seed, crc32c};
use crate::format::wire::Malformed;

/// Bytes of a file's header.
pub const FILE_HEADER_LEN: usize = 64;
const MAGIC: [u8; 8] = *b"RGJRNL01";
const VERSION: u32 = 1;
/// Read-ahead of a walk. 256 KiB: where larger reads of a warm file stop being faster.
const READ_AHEAD: u64 = 256 << 10;

/// The header's bytes: magic, version, data set, first lsn, checksum in the last four.
#[must_use]
pub fn header(first_lsn: u64, seed: &Seed) -> [u8; FILE_HEADER_LEN] {
    let mut out = [0; FILE_HEADER_LEN];
    out[0..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[16..32].copy_from_slice(&seed.0);
    out[32..40].copy_from_slice(&first_lsn.to_le_bytes());
    let crc = seed.crc(&out[..60]);
    out[60..].copy_from_slice(&crc.to_le_bytes());
    out
}

fn version_of(header: &[u8]) -> u32 {
    header.get(8..12).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

/// All bytes of a file without commits: header and state. Returns the state frame's checksum too, to which the next frame chains.
pub fn head(first_lsn: u64, state: &[u8], hlc: u64, run: u32, previous: u32, seed: &Seed) -> Result<(Vec<u8>, u32), LogError> {
    let body_len =
        u32::try_from(state.len()).ok().filter(|n| *n <= crate::format::frame::BODY_LEN_MAX).ok_or(LogError::TooLarge {
            what: "log state",
            size: state.len() as u64,
            max: u64::from(crate::format::frame::BODY_LEN_MAX),
        })?;
    let header_of_state =
        Header { body_len, body_crc: crc32c(state), kind: Kind::State, flags: 0, lsn: first_lsn - 1, hlc, lag: 0, run, previous };
    let mut out = header(first_lsn, seed).to_vec();
    out.resize(FILE_HEADER_LEN + HEADER_LEN, 0);
    let crc = header_of_state.write(&mut out[FILE_HEADER_LEN..], seed);
    out.extend_from_slice(state);
    Ok((out, crc))
}

/// Why a walk stopped.
#[derive(Debug)]
pub enum WalkError {
    /// The operating system refused, or a newer release wrote the file.
    Io(LogError),
    /// No valid frame at this offset.
    Bad {
        /// Where.
        offset: u64,
        /// Why.
        reason: Malformed,
    },
}

impl WalkError {
    /// As corruption, where the place must be valid.
    #[must_use]
    pub fn into_corrupt(self, path: &Path) -> LogError {
        match self {
            Self::Io(error) => error,
            Self::Bad { offset, reason } => LogError::corrupt(path, offset, reason.0),
        }
    }
}

/// A frame, verified.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its header.
    pub header: Header,
    /// The header's checksum, to which the next frame chains.
    pub crc: u32,
    /// Its body.
    pub body: &'a [u8],
}

/// Walks over the frames of a file.
pub struct Walk {
    file: Arc<dyn File>,
    path: PathBuf,
    seed: Seed,
    at: u64,
    limit: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl Walk {
    /// Begins at the file's header, which is verified, and ends at `limit`.
    pub fn open(file: Arc<dyn File>, path: &Path, seed: Seed, first_lsn: u64, limit: u64) -> Result<Self, WalkError> {
        let mut walk = Self { file, path: path.to_owned(), seed, at: 0, limit, buffer: Vec::new(), buffer_at: 0 };
        let found = walk.window(FILE_HEADER_LEN)?;
        let expected = header(first_lsn, &seed);
        if found != Some(&expected[..]) {
            let reason = match found {
                None => "journal file has no header".to_owned(),
                Some(bytes) if bytes[0..8] != MAGIC => "this is not a journal file".to_owned(),
                Some(bytes) if seed.crc(&bytes[..60]).to_le_bytes() != bytes[60..] => {
                    "checksum of the journal file's header differs".to_owned()
                }
                // Behind the checksum: a flipped bit must not look like another release.
                Some(bytes) if version_of(bytes) > VERSION => {
                    let (path, found) = (path.to_owned(), version_of(bytes));
                    return Err(WalkError::Io(LogError::NewerFormat { path, found, supported: VERSION }));
                }
                Some(_) => "journal file has another version, data set or first lsn than expected".to_owned(),
            };
            return Err(WalkError::Bad { offset: 0, reason: Malformed(reason) });
        }
        walk.at = FILE_HEADER_LEN as u64;
        Ok(walk)
    }

    /// Goes to a frame's offset.
    pub fn seek(&mut self, offset: u64) {
        self.at = offset;
    }

    /// Where the next frame begins.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Moves the limit to the end that the file has now, and forgets what was read ahead: it may have been written since.
    pub fn refresh(&mut self) -> Result<(), WalkError> {
        self.buffer.clear();
        self.limit = self.file.len().map_err(|e| WalkError::Io(LogError::io("read", &self.path)(e)))?;
        Ok(())
    }

    /// The next frame, or `None` exactly at the limit.
    pub fn step(&mut self) -> Result<Option<Frame<'_>>, WalkError> {
        let offset = self.at;
        if offset == self.limit {
            return Ok(None);
        }
        let bad = |reason| WalkError::Bad { offset, reason };
        let seed = self.seed;
        let (header, crc) = match self.window(HEADER_LEN)? {
            Some(bytes) => Header::read(bytes, &seed).map_err(bad)?,
            None => return Err(bad(Malformed::new("file ends within a frame header"))),
        };
        let len = usize::try_from(header.frame_len()).map_err(|_| bad(Malformed::new("frame is longer than memory")))?;
        if self.window(len)?.is_none() {
            return Err(bad(Malformed::new(format!("file ends within a frame lsn={} body_len={}", header.lsn, header.body_len))));
        }
        self.at = offset + header.frame_len();
        let start = usize::try_from(offset - self.buffer_at).map_err(|_| bad(Malformed::new("frame lies outside its buffer")))?;
        let body = &self.buffer[start + HEADER_LEN..start + len];
        header.check_body(body).map_err(bad)?;
        Ok(Some(Frame { offset, header, crc, body }))
    }

    /// `n` bytes from the current position on, or `None` if the limit or the file's end comes before.
    fn window(&mut self, n: usize) -> Result<Option<&[u8]>, WalkError> {
        let end = self.at.saturating_add(n as u64);
        if end > self.limit {
            return Ok(None);
        }
        if self.at < self.buffer_at || end > self.buffer_at + self.buffer.len() as u64 {
            let wanted = (n as u64).max(READ_AHEAD).min(self.limit - self.at);
            let read = read_up_to(&*self.file, self.at, wanted, &mut self.buffer);
            self.buffer_at = self.at;
            read.map_err(|e| WalkError::Io(LogError::io("read", &self.path)(e)))?;
        }
        let start = usize::try_from(self.at - self.buffer_at).unwrap_or(usize::MAX);
        Ok(self.buffer.get(start..start.saturating_add(n)))
    }
}

/// Reads `wanted` bytes, or as many as there are, in place of what `buffer` held.
pub fn read_up_to(file: &dyn File, offset: u64, wanted: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
    let wanted = usize::try_from(wanted).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // What is there already is read over, and need not be zeroed first.
    buffer.resize(wanted, 0);
    let mut filled = 0;
    while filled < wanted {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) => {
                buffer.clear();
                return Err(error);
            }
        }
    }
    buffer.truncate(filled);
    Ok(())
}
