//! The folder of scratch files, and files of blocks that are read once, in order of writing or not: what a checkpoint hands over.

use super::SpillError;
use crate::checkpoint::checksum;
use regauge_types::env::{Disk, Env, File, OpenMode};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

/// A folder whose files nobody needs after a restart.
pub struct Scratch {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    next: AtomicU64,
}

impl Scratch {
    /// Makes the folder if need be, and empties it.
    pub fn open(env: &Env, dir: &Path) -> Result<Scratch, SpillError> {
        env.disk.create_dir_all(dir).map_err(SpillError::io("make the folder of", dir))?;
        for name in env.disk.list(dir).map_err(SpillError::io("list the folder of", dir))? {
            let path = dir.join(name);
            env.disk.remove(&path).map_err(SpillError::io("remove an old", &path))?;
        }
        Ok(Scratch { disk: Arc::clone(&env.disk), dir: dir.to_owned(), next: AtomicU64::new(0) })
    }

    pub(super) fn create(&self) -> Result<Sheet, SpillError> {
        let path = self.dir.join(format!("{:020}.rgs", self.next.fetch_add(1, Ordering::Relaxed)));
        let file = self.disk.open(&path, OpenMode::CreateNew).map_err(SpillError::io("make", &path))?;
        Ok(Sheet { disk: Arc::clone(&self.disk), path, file })
    }
}

/// A scratch file; removed with this.
pub(super) struct Sheet {
    disk: Arc<dyn Disk>,
    pub path: PathBuf,
    file: Arc<dyn File>,
}

impl Drop for Sheet {
    fn drop(&mut self) {
        if let Err(error) = self.disk.remove(&self.path) {
            tracing::debug!(%error, file = %self.path.display(), "a scratch file stays until the next opening");
        }
    }
}

/// Where a block of a sheet is.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub offset: u64,
    pub len: u32,
    check: [u8; 16],
}

impl Sheet {
    pub fn read(&self, at: &At) -> Result<Vec<u8>, SpillError> {
        let mut bytes = vec![0; at.len as usize];
        self.file.read_exact_at(&mut bytes, at.offset).map_err(SpillError::io("read", &self.path))?;
        if checksum(&[&bytes]) == at.check { Ok(bytes) } else { Err(self.damaged(at, "a block's checksum does not agree")) }
    }

    pub fn damaged(&self, at: &At, reason: &'static str) -> SpillError {
        SpillError::Corrupt { path: self.path.clone(), offset: at.offset, reason }
    }
}

/// Writes a sheet, block behind block.
pub(super) struct SheetWriter {
    pub sheet: Sheet,
    buffer: Vec<u8>,
    pub end: u64,
}

impl SheetWriter {
    pub fn begin(scratch: &Scratch) -> Result<SheetWriter, SpillError> {
        Ok(SheetWriter { sheet: scratch.create()?, buffer: vec![], end: 0 })
    }

    pub fn put(&mut self, bytes: &[u8]) -> Result<At, SpillError> {
        let too_long = |_| self.sheet.damaged(&At { offset: self.end, len: 0, check: [0; 16] }, "a block is too long");
        let len = u32::try_from(bytes.len()).map_err(too_long)?;
        let at = At { offset: self.end, len, check: checksum(&[bytes]) };
        self.buffer.extend_from_slice(bytes);
        self.end += u64::from(len);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(at)
    }

    pub fn flush(&mut self) -> Result<(), SpillError> {
        let at = self.end - self.buffer.len() as u64;
        self.sheet.file.write_at(&self.buffer, at).map_err(SpillError::io("write", &self.sheet.path))?;
        self.buffer.clear();
        Ok(())
    }
}

/// Blocks of bytes in a scratch file, each under a label.
pub struct Kept<L> {
    sheet: Sheet,
    blocks: Vec<(L, At)>,
}

/// Writes them.
pub struct KeptWriter<L> {
    writer: SheetWriter,
    blocks: Vec<(L, At)>,
}

impl<L> std::fmt::Debug for Kept<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("file", &self.sheet.path).field("blocks", &self.blocks.len()).finish()
    }
}

impl<L> KeptWriter<L> {
    /// Of nothing yet.
    pub fn begin(scratch: &Scratch) -> Result<KeptWriter<L>, SpillError> {
        Ok(KeptWriter { writer: SheetWriter::begin(scratch)?, blocks: vec![] })
    }

    /// One more.
    pub fn put(&mut self, label: L, bytes: &[u8]) -> Result<(), SpillError> {
        let at = self.writer.put(bytes)?;
        self.blocks.push((label, at));
        Ok(())
    }

    /// All are there.
    pub fn finish(mut self) -> Result<Kept<L>, SpillError> {
        self.writer.flush()?;
        Ok(Kept { sheet: self.writer.sheet, blocks: self.blocks })
    }
}

impl<L> Kept<L> {
    /// Labels in order of writing.
    pub fn labels(&self) -> impl Iterator<Item = &L> {
        self.blocks.iter().map(|(label, _)| label)
    }

    /// All blocks in order, read one at a time.
    pub fn read(&self) -> impl Iterator<Item = Result<(&L, Vec<u8>), SpillError>> {
        self.blocks.iter().map(|(label, at)| Ok((label, self.sheet.read(at)?)))
    }
}
