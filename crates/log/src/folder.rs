//! The data folder: who may use it, which format it has, which data set it is.
//!
//! ```text
//! LOCK                     held by the one process that has the folder open
//! FORMAT                   text: version and data set id, with a checksum; written first, so that every other file can be told from a foreign one
//! journal/mark             the durable mark; its first appearance ends the making of a data set
//! journal/<lsn>.rgj        commits from that lsn on, 20 digits
//! archive/                 the archive's objects, unless they are elsewhere
//! ```

use std::path::{Path, PathBuf};

use regauge_types::{DataSetId, Env};

use crate::LogError;
use crate::format::frame::crc32c;

/// The newest format that this program reads, and the one it writes: raised by every release whose files an older one would misread or take for
/// damaged. `docs/formats.md` says what each brought. An older folder is read, and becomes one of this format when it is opened.
pub const FORMAT_VERSION: u32 = 2;
const FORMAT_LEN_MAX: u64 = 4096;
const JOURNAL_SUFFIX: &str = ".rgj";

/// Where things are.
#[derive(Debug, Clone)]
pub struct Folder {
    /// The data folder.
    pub root: PathBuf,
}

impl Folder {
    /// Names only; nothing is opened.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The lock file.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    /// The format file.
    #[must_use]
    pub fn format(&self) -> PathBuf {
        self.root.join("FORMAT")
    }

    /// The folder of the journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The folder of the archive.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.root.join("archive")
    }

    /// The durable mark.
    #[must_use]
    pub fn mark(&self) -> PathBuf {
        self.journal().join("mark")
    }

    /// A journal file.
    #[must_use]
    pub fn journal_file(&self, first_lsn: u64) -> PathBuf {
        self.journal().join(format!("{first_lsn:020}{JOURNAL_SUFFIX}"))
    }

    /// The first lsn that a journal file's name tells; `None` for other files.
    #[must_use]
    pub fn first_lsn(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(JOURNAL_SUFFIX)?;
        (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
    }

    /// First lsns of the journal files, ascending.
    pub fn journal_files(&self, env: &Env) -> Result<Vec<u64>, LogError> {
        let dir = self.journal();
        let names = env.disk.list(&dir).map_err(LogError::io("list folder", &dir))?;
        let mut out: Vec<u64> = names.iter().filter_map(|n| Self::first_lsn(n)).collect();
        out.sort_unstable();
        Ok(out)
    }
}

/// The format file's text.
#[must_use]
pub fn format_text(version: u32, dataset: DataSetId) -> String {
    let text = format!("regauge data folder\nformat {version}\ndataset {dataset}\n");
    let crc = crc32c(text.as_bytes());
    format!("{text}crc {crc:08x}\n")
}

/// Reads the format file: the data set and the format. The version is looked at first, because a newer one may have another shape.
pub fn read_format(env: &Env, path: &Path) -> Result<(DataSetId, u32), LogError> {
    let bytes = env.disk.read_all(path, FORMAT_LEN_MAX).map_err(LogError::io("read", path))?;
    parse_format(&bytes, path)
}

/// The same of its bytes, from wherever they come.
pub fn parse_format(bytes: &[u8], path: &Path) -> Result<(DataSetId, u32), LogError> {
    let corrupt = |reason: &str| LogError::corrupt(path, 0, reason);
    let text = std::str::from_utf8(bytes).map_err(|_| corrupt("format file is not text"))?;
    let (head, crc) = text.rsplit_once("crc ").ok_or_else(|| corrupt("format file has no checksum"))?;
    if crc != format!("{:08x}\n", crc32c(head.as_bytes())) {
        return Err(corrupt("checksum of the format file differs"));
    }
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let found = field("format").and_then(|v| v.parse().ok()).ok_or_else(|| corrupt("format file has no version"))?;
    if found > FORMAT_VERSION {
        return Err(LogError::NewerFormat { path: path.to_owned(), found, supported: FORMAT_VERSION });
    }
    let hex = field("dataset").filter(|h| h.len() == 32 && h.is_ascii()).ok_or_else(|| corrupt("format file has no data set"))?;
    let mut id = [0; 16];
    for (byte, digits) in id.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| corrupt("data set is not hexadecimal"))?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| corrupt("data set is not hexadecimal"))?;
    }
    Ok((DataSetId(id), found))
}
