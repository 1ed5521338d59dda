//! A backup as a data folder again.
//!
//! Invariant: nothing is written before every chunk of the backup was read and agreed with its hash; the folder must be empty; its FORMAT is
//! written last, so what a crash leaves in the middle does not open and says so. Cost: the backup is read twice.

use super::{
    damaged,
    reborn::{self, MARKER},
    vault::{FileEntry, Manifest, Vault},
};
use crate::error::{Error, Result, sqlstate as code};
use regauge_types::{Env, ErrorKind, env::OpenMode};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The backup.
    pub manifest: Manifest,
}

/// Reads every chunk of a backup; what is wrong, each with the file that it is of.
pub fn verify(vault: &Vault, manifest: &Manifest) -> Vec<Error> {
    let chunks = manifest.files.iter().flat_map(|file| (0..file.chunks.len()).map(move |no| (file, no)));
    chunks.filter_map(|(file, no)| vault.chunk(file, no).err()).collect()
}

/// Puts a backup, the newest one unless a number is given, into an empty folder.
pub fn restore(env: &Env, vault: &Vault, number: Option<u64>, dir: &Path) -> Result<Restored> {
    let numbers = vault.numbers()?;
    let number = match number {
        Some(number) if numbers.contains(&number) => number,
        None if !numbers.is_empty() => numbers[numbers.len() - 1],
        _ => {
            let there: Vec<String> = numbers.iter().map(u64::to_string).collect();
            let message = number.map_or_else(|| "there is no backup".to_owned(), |n| format!("there is no backup number={n}"));
            let hint = if there.is_empty() {
                "give the folder that regauge backup --to wrote".to_owned()
            } else {
                format!("there are {}", there.join(", "))
            };
            return Err(Error::new(ErrorKind::NotFound, code::UNDEFINED_OBJECT, message).hint(hint));
        }
    };
    let manifest = vault.load(number)?;
    let format = manifest.files.iter().find(|f| f.path == "FORMAT").ok_or_else(|| damaged("manifest names no FORMAT"))?;
    match regauge_log::folder::parse_format(&vault.chunk(format, 0)?, Path::new("FORMAT")) {
        Err(regauge_log::LogError::NewerFormat { found, supported, .. }) => {
            return Err(super::vault::of_another(&found.to_string(), supported, "FORMAT"));
        }
        read => drop(read.map_err(|e| damaged(e.to_string()))?),
    }
    must_be_empty(env, dir)?;
    if let Some(first) = verify(vault, &manifest).into_iter().next() {
        return Err(first);
    }
    let mut folders = BTreeSet::from([dir.to_owned()]);
    for file in manifest.files.iter().filter(|f| f.path != "FORMAT") {
        write(env, vault, file, dir, &mut folders)?;
    }
    let failed = |e: std::io::Error| cannot_write(&e, dir);
    env.disk.replace(&dir.join(MARKER), reborn::text(&manifest).as_bytes(), false).map_err(failed)?;
    for folder in folders.iter().rev() {
        env.disk.sync_dir(folder).map_err(failed)?;
    }
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        env.disk.sync_dir(parent).map_err(failed)?;
    }
    let bytes = vault.chunk(format, 0)?;
    env.disk.replace(&dir.join("FORMAT"), &bytes, false).map_err(failed)?;
    Ok(Restored { manifest })
}

fn cannot_write(error: &std::io::Error, path: &Path) -> Error {
    let full = error.kind() == std::io::ErrorKind::StorageFull;
    let sqlstate = if full { code::DISK_FULL } else { code::IO };
    Error::new(ErrorKind::Unavailable, sqlstate, format!("cannot restore: {error} path={}", path.display()))
        .hint("the folder is not a data folder yet: remove what is in it, and restore again")
}

fn must_be_empty(env: &Env, dir: &Path) -> Result<()> {
    env.disk.create_dir_all(dir).map_err(|e| cannot_write(&e, dir))?;
    let names = env.disk.list(dir).map_err(|e| cannot_write(&e, dir))?;
    // What making a file system leaves in its root.
    if names.iter().all(|name| name == "lost+found") {
        return Ok(());
    }
    let message = format!("folder is not empty path={}", dir.display());
    Err(Error::new(ErrorKind::Invalid, code::IN_USE, message).hint("give --data a folder that is empty or does not exist"))
}

fn write(env: &Env, vault: &Vault, file: &FileEntry, dir: &Path, folders: &mut BTreeSet<PathBuf>) -> Result<()> {
    let path = dir.join(&file.path);
    let failed = |e: std::io::Error| cannot_write(&e, &path);
    for folder in path.ancestors().skip(1).take_while(|a| a.starts_with(dir)) {
        folders.insert(folder.to_owned());
    }
    if let Some(folder) = path.parent() {
        env.disk.create_dir_all(folder).map_err(failed)?;
    }
    let out = env.disk.open(&path, OpenMode::CreateNew).map_err(failed)?;
    let mut at = 0;
    for no in 0..file.chunks.len() {
        let bytes = vault.chunk(file, no)?;
        out.write_at(&bytes, at).map_err(failed)?;
        at += bytes.len() as u64;
    }
    out.sync().map_err(failed)
}
