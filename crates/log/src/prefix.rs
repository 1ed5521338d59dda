//! The journal up to a commit, as files: what a backup copies while the log goes on.
//!
//! Invariant: the files, cut at the lengths that are told, and the mark that is told beside them are a journal that ends with that
//! commit and was closed well. They do not change any more: a journal's file only grows, and none is removed while the log is open.
//! Cost: a walk over at most 256 KiB of one file.

use std::path::PathBuf;
use std::sync::Arc;

use regauge_types::env::OpenMode;
use regauge_types::{DataSetId, Hlc, Lsn};

use crate::LogError;
use crate::folder::Folder;
use crate::format::mark::{Mark, SLOT_LEN};
use crate::journal::file::Walk;
use crate::journal::reader::Source;

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Prefix {
    /// Whose journal.
    pub dataset: DataSetId,
    /// The last commit in it.
    pub lsn: Lsn,
    /// Its clock.
    pub hlc: Hlc,
    /// Its files, in order.
    pub files: Vec<PrefixFile>,
    /// The durable mark's file.
    pub mark: Vec<u8>,
}

/// A file, or the beginning of one.
#[derive(Debug, Clone)]
pub struct PrefixFile {
    /// Where it is.
    pub path: PathBuf,
    /// The lsn in its name.
    pub first_lsn: u64,
    /// So many of its bytes.
    pub bytes: u64,
}

/// The journal up to a commit that is durable.
pub(crate) fn of(source: &Source, up_to: Lsn) -> Result<Prefix, LogError> {
    let place = source.files.find(up_to.max(source.files.first()));
    let place =
        place.ok_or_else(|| LogError::Internal { reason: format!("journal has no file of its last commit lsn={up_to}") })?;
    let path = source.folder.journal_file(place.file);
    let file = source.env.disk.open(&path, OpenMode::Read).map_err(LogError::io("open", &path))?;
    let len = file.len().map_err(LogError::io("read the length of", &path))?;
    let mut walk = Walk::open(Arc::clone(&file), &path, source.seed, place.file, len).map_err(|e| e.into_corrupt(&path))?;
    if let Some(offset) = place.offset {
        walk.seek(offset);
    }
    let (hlc, run) = loop {
        let at = walk.position();
        let frame = walk.step().map_err(|e| e.into_corrupt(&path))?;
        let frame =
            frame.ok_or_else(|| LogError::corrupt(&path, at, format!("file ends before a durable commit lsn={up_to}")))?;
        if frame.header.lsn == up_to.0 {
            break (frame.header.hlc, frame.header.run);
        }
    };
    let length = walk.position();
    let mut files = vec![];
    for first_lsn in source.files.all().into_iter().filter(|first| *first <= place.file) {
        let path = source.folder.journal_file(first_lsn);
        let bytes = if first_lsn == place.file {
            length
        } else {
            let file = source.env.disk.open(&path, OpenMode::Read).map_err(LogError::io("open", &path))?;
            file.len().map_err(LogError::io("read the length of", &path))?
        };
        files.push(PrefixFile { path, first_lsn, bytes });
    }
    let mark = Mark { generation: 1, file: place.file, length, lsn: up_to.0, hlc, run };
    let slots = [Mark { generation: 0, ..mark }.to_bytes(&source.seed), mark.to_bytes(&source.seed)];
    let mark = slots.concat();
    debug_assert_eq!(mark.len(), 2 * SLOT_LEN);
    Ok(Prefix { dataset: DataSetId(source.seed.0), lsn: up_to, hlc: Hlc(hlc), files, mark })
}

/// Reads every frame of these files again, as recovery would; the first damage as an error.
pub fn verify(source: &Source, prefix: &Prefix) -> Result<(), LogError> {
    for part in &prefix.files {
        let file = source.env.disk.open(&part.path, OpenMode::Read).map_err(LogError::io("open", &part.path))?;
        let walk = Walk::open(file, &part.path, source.seed, part.first_lsn, part.bytes);
        let mut walk = walk.map_err(|e| e.into_corrupt(&part.path))?;
        while walk.step().map_err(|e| e.into_corrupt(&part.path))?.is_some() {}
    }
    Ok(())
}

/// The name of a journal's file within the data folder.
#[must_use]
pub fn name(first_lsn: u64) -> String {
    let path = Folder::new(std::path::Path::new("")).journal_file(first_lsn);
    path.to_string_lossy().into_owned()
}
