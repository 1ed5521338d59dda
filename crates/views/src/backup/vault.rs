//! Where backups are: chunks under the names of their hashes, and one manifest for each backup.
//!
//! ```text
//!   backup/<number, 20 digits>       a JSON document on one line, then a line "blake3 <64 digits>" of it
//!   chunk/<2 digits>/<64 digits>     bytes whose blake3 is the name
//! ```
//! Invariant: an object never changes; a manifest is made under a number that was free, after all that it names. So a process that dies, or
//! a target that is full, leaves chunks that the next backup finds, and no backup. Backups of several instances may share a store.
//! Cost of one more backup: a look for each chunk, and the chunks that are new.

use super::{CHUNK_BYTES, damaged};
use crate::error::{Error, Result};
use bytes::Bytes;
use regauge_log::archive::Objects;
use serde::{Deserialize, Serialize};

/// The format that this program writes; it reads no other.
pub(crate) const FORMAT: u32 = 1;
const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Within the data folder, parts joined by `/`.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Hashes of its chunks, in order.
    pub chunks: Vec<String>,
}

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this document.
    pub format: u32,
    /// Its number in the store.
    pub number: u64,
    /// Whose data, 32 digits.
    pub dataset: String,
    /// It has everything up to this commit.
    pub lsn: u64,
    /// The clock of that commit.
    pub clock: u64,
    /// The archive in it has everything up to here.
    pub archived: u64,
    /// The commit of the checkpoint in it.
    pub checkpoint: Option<u64>,
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: u64,
    /// What it consists of.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// All bytes of its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }
}

/// See the module's header. Clones share it.
#[derive(Clone, Debug)]
pub struct Vault {
    objects: Objects,
}

fn manifest_name(number: u64) -> String {
    format!("backup/{number:020}")
}

fn chunk_name(hash: &str) -> String {
    format!("chunk/{}/{hash}", hash.get(..2).unwrap_or_default())
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether a path leads nowhere but to a file of a data folder.
fn is_safe(path: &str) -> bool {
    let part = |p: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        !p.is_empty() && p.len() <= 200 && !p.starts_with('.') && p.bytes().all(plain)
    };
    path.split('/').count() <= 8 && path.split('/').all(part)
}

impl Vault {
    /// Backups in an object store.
    #[must_use]
    pub fn new(objects: Objects) -> Vault {
        Vault { objects }
    }

    /// Backups in a folder.
    #[must_use]
    pub fn in_folder(env: &regauge_types::Env, dir: &std::path::Path) -> Vault {
        let store = regauge_log::archive::DiskStore::new(env.clone(), dir);
        Vault::new(Objects::new(std::sync::Arc::new(store), None))
    }

    /// Numbers of the backups that are there, ascending; whether they read is another question.
    pub fn numbers(&self) -> Result<Vec<u64>> {
        let names = self.objects.names("backup").map_err(Error::from_log)?;
        let number = |name: &str| {
            let number = name.strip_prefix("backup/")?.parse().ok()?;
            (manifest_name(number) == name).then_some(number)
        };
        Ok(names.iter().filter_map(|(name, _)| number(name)).collect())
    }

    /// Reads a backup's manifest.
    pub fn load(&self, number: u64) -> Result<Manifest> {
        let name = manifest_name(number);
        let bytes = self.objects.read(&name, MANIFEST_BYTES_MAX).map_err(Error::from_log)?;
        let manifest = parse(&bytes).map_err(|not| match not {
            NotOne::Damaged(why) => damaged(format!("{why} object={name}")),
            NotOne::OfAnother(found) => of_another(&found, FORMAT, &name),
        })?;
        if manifest.number != number {
            return Err(damaged(format!("manifest has another one's number object={name}")));
        }
        Ok(manifest)
    }

    /// Makes a manifest under the next number that is free; which one.
    pub fn publish(&self, manifest: &mut Manifest) -> Result<u64> {
        loop {
            let last = self.numbers()?.last().copied().unwrap_or(0);
            manifest.number = last.checked_add(1).ok_or_else(|| Error::internal("numbers of backups are used up"))?;
            let text = serde_json::to_string(manifest).map_err(|e| Error::internal(e.to_string()))?;
            let sum = blake3::hash(text.as_bytes()).to_hex();
            let bytes = Bytes::from(format!("{text}\nblake3 {sum}\n"));
            if self.objects.put_new(&manifest_name(manifest.number), bytes).map_err(Error::from_log)? {
                return Ok(manifest.number);
            }
        }
    }

    /// Sees to it that these bytes are there; their hash, and whether they were written now.
    pub fn put(&self, bytes: Bytes) -> Result<(String, bool)> {
        let hash = blake3::hash(&bytes).to_hex().to_string();
        let name = chunk_name(&hash);
        let there = self.objects.size(&name).map_err(Error::from_log)?;
        if there == Some(bytes.len() as u64) {
            return Ok((hash, false));
        }
        self.objects.put_over(&name, bytes).map_err(Error::from_log)?;
        Ok((hash, true))
    }

    /// The bytes of a chunk of a file, verified.
    pub fn chunk(&self, file: &FileEntry, no: usize) -> Result<Bytes> {
        let hash = file.chunks.get(no).ok_or_else(|| damaged(format!("chunk is not named file={} chunk={no}", file.path)))?;
        let (name, offset) = (chunk_name(hash), no as u64 * CHUNK_BYTES);
        let place = format!("file={} offset={offset} object={name}", file.path);
        if self.objects.size(&name).map_err(Error::from_log)?.is_none() {
            return Err(damaged(format!("chunk is gone {place}")));
        }
        let bytes = self.objects.read(&name, CHUNK_BYTES).map_err(|e| damaged(format!("{e} {place}")))?;
        let wanted = (file.bytes - offset).min(CHUNK_BYTES);
        if blake3::hash(&bytes).to_hex().as_str() != hash || bytes.len() as u64 != wanted {
            return Err(damaged(format!("chunk is not what was written {place}")));
        }
        Ok(bytes)
    }
}

/// Why bytes are not a manifest that is read.
enum NotOne {
    Damaged(String),
    /// Of another release: its format.
    OfAnother(String),
}

impl<T: Into<String>> From<T> for NotOne {
    fn from(why: T) -> NotOne {
        NotOne::Damaged(why.into())
    }
}

/// What another release wrote, as opposed to what is damaged.
pub(super) fn of_another(found: &str, supported: u32, what: &str) -> Error {
    let message = format!("backup has a format of another release found={found} supported={supported} object={what}");
    Error::unsupported(message).hint("use the release that wrote this backup, or a newer one")
}

fn parse(bytes: &[u8]) -> Result<Manifest, NotOne> {
    let text = std::str::from_utf8(bytes).map_err(|_| "manifest is not text")?;
    let (json, rest) = text.split_once('\n').ok_or("manifest is cut off")?;
    if rest != format!("blake3 {}\n", blake3::hash(json.as_bytes()).to_hex()) {
        return Err("manifest does not match its checksum".into());
    }
    // Before the rest is looked at: another format may have other fields.
    let of: serde_json::Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
    if of["format"] != FORMAT {
        return Err(NotOne::OfAnother(of["format"].to_string()));
    }
    let manifest: Manifest = serde_json::from_value(of).map_err(|e| e.to_string())?;
    for file in &manifest.files {
        let n_chunks = file.bytes.div_ceil(CHUNK_BYTES);
        if !is_safe(&file.path) || !file.chunks.iter().all(|c| is_hash(c)) || file.chunks.len() as u64 != n_chunks {
            return Err(format!("manifest names an impossible file file={:?}", file.path).into());
        }
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_of_the_folder_are_refused() {
        for good in ["FORMAT", "journal/00000000000000000001.rgj", "archive/segment/0/0/00000000000000000000-0f.parquet"] {
            assert!(is_safe(good), "{good}");
        }
        for bad in ["", "/etc/passwd", "a//b", "../x", "a/../b", ".hidden", "a/.b", "a\\b", "a\0b", "é"] {
            assert!(!is_safe(bad), "{bad:?}");
        }
    }
}
