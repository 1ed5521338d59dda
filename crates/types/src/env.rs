//! The world outside, as traits: any run can be replayed from its seed when these four come from a simulation.
//!
//! The contract each implementation keeps is written at the method; `tests` of `regauge-log` hold a simulated disk that keeps
//! exactly these clauses and nothing more.

use std::{io, path::Path, sync::Arc, time::Duration};

/// Wall and steady time.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970; may jump in either direction.
    fn wall_ms(&self) -> u64;
    /// The same in microseconds, where the clock is as fine.
    fn wall_us(&self) -> u64 {
        self.wall_ms().saturating_mul(1000)
    }
    /// Time since some fixed moment of this process; never goes back.
    fn steady(&self) -> Duration;
    /// Blocks the calling thread.
    fn sleep(&self, time: Duration);
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, to read.
    Read,
    /// An existing or new file, to read and write.
    ReadWrite,
    /// A file that must not exist yet, to read and write.
    CreateNew,
}

/// A file. Not promised: that written bytes survive a crash before [`File::sync`], in any order or whole.
pub trait File: Send + Sync {
    /// Reads up to `buf.len()` bytes; 0 at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`. After an error any part of them may be there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all earlier writes, and the length, durable (fdatasync). After an error nothing may be assumed of any write since
    /// the last success, and a second call proves nothing (I13).
    fn sync(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether there is no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reads exactly `buf.len()` bytes, or `UnexpectedEof`.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    buf = &mut buf[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }
}

/// Held for as long as the value lives; another process (or opener) that asks meanwhile gets `WouldBlock`.
pub trait Lock: Send + Sync {}

/// A file system. Not promised: that a new, renamed or removed name survives a crash before [`Disk::sync_dir`].
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Makes a folder and its parents.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names of the files and folders in a folder, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Whether there is a file or folder of this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Gives a file another name, replacing what had it; atomic.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the exclusive lock of a file, making it if need be.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
    /// Restricts a file to its owner (0600).
    fn make_private(&self, path: &Path) -> io::Result<()>;

    /// The whole content of a file of at most `bytes_max` bytes; `InvalidData` beyond.
    fn read_all(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = file.len()?;
        if len > bytes_max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("file is too large bytes={len} max={bytes_max}")));
        }
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Makes a folder and its parents so that they are there after any crash: a name is durable when the folder that holds it is synced.
    fn create_dir_durable(&self, dir: &Path) -> io::Result<()> {
        let mut fresh = vec![];
        for folder in dir.ancestors() {
            if self.exists(folder)? {
                break;
            }
            fresh.push(folder);
        }
        self.create_dir_all(dir)?;
        // The folder itself may have been made by somebody who was cut off before its name was durable.
        let all = if fresh.is_empty() { vec![dir] } else { fresh };
        all.into_iter().filter_map(Path::parent).try_for_each(|above| match above.as_os_str().is_empty() {
            true => self.sync_dir(Path::new(".")),
            false => self.sync_dir(above),
        })
    }

    /// Replaces or makes a small file so that after any crash it has the old or the new content, and the new one after Ok:
    /// temporary name, sync, rename, directory sync.
    fn replace(&self, path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
        let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let temporary = path.with_extension("tmp");
        let file = self.open(&temporary, OpenMode::ReadWrite)?;
        if private {
            self.make_private(&temporary)?;
        }
        file.set_len(0)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        self.rename(&temporary, path)?;
        self.sync_dir(dir)
    }
}

/// Randomness.
pub trait Random: Send + Sync {
    /// 64 random bits; from the operating system in production, so good enough for keys.
    fn next_u64(&self) -> u64;

    /// Fills with random bytes.
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// A started thread.
pub trait Joining: Send {
    /// Waits until it has ended; `Err` with the panic's message when it panicked.
    fn join(self: Box<Self>) -> Result<(), String>;
}

/// Threads.
pub trait Threads: Send + Sync {
    /// Starts a thread of that name.
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Joining>>;
}

/// All of the world outside, passed down from the binary or the simulation.
#[derive(Clone)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Threads.
    pub threads: Arc<dyn Threads>,
}

impl Env {
    /// The operating system's.
    #[must_use]
    pub fn real() -> Env {
        crate::real::env()
    }
}
