//! A disk in memory that keeps the clauses of `types::env` and no more: names and bytes that were not synced may be lost.
#![allow(clippy::cast_possible_truncation)]

use parking_lot::Mutex;
use regauge_types::env::{Disk, File, Lock, OpenMode};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// An in-memory disk with the clauses of `types::env` and no kindness beyond them.
/// `/data` exists and is durable.
#[derive(Clone)]
pub struct MemoryDisk(Arc<Mutex<State>>);

impl Default for MemoryDisk {
    fn default() -> MemoryDisk {
        let names: BTreeMap<_, _> = ["/", "/data"].map(|dir| (PathBuf::from(dir), None)).into();
        MemoryDisk(Arc::new(Mutex::new(State { durable_names: names.clone(), names, ..State::default() })))
    }
}

#[derive(Clone, Default)]
struct State {
    files: Vec<Content>,
    /// File number, or a folder.
    names: BTreeMap<PathBuf, Option<usize>>,
    durable_names: BTreeMap<PathBuf, Option<usize>>,
    ops: u64,
    /// From this operation on, everything fails.
    dies_at: Option<u64>,
    /// This operation fails; whether it has done its work all the same.
    fails_at: Option<(u64, bool)>,
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

/// What a crash leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Power cut: nothing.
    Lose,
    /// The process is killed: everything.
    Keep,
    /// Power cut: by chance.
    Some(u64),
}

impl MemoryDisk {
    pub fn ops(&self) -> u64 {
        self.0.lock().ops
    }

    pub fn die_at(&self, op: u64) {
        self.0.lock().dies_at = Some(op);
    }

    pub fn fail_at(&self, op: u64, works: bool) {
        self.0.lock().fails_at = Some((op, works));
    }

    /// A disk of its own with the same content and no plans to fail.
    pub fn copy(&self) -> MemoryDisk {
        let mut state = self.0.lock().clone();
        (state.dies_at, state.fails_at) = (None, None);
        MemoryDisk(Arc::new(Mutex::new(state)))
    }

    /// The disk as the next process finds it.
    pub fn after(&self, crash: Crash) -> MemoryDisk {
        let disk = self.copy();
        let mut state = disk.0.lock();
        let mut chance = Chance(match crash {
            Crash::Some(seed) => seed,
            _ => 0,
        });
        let kept = |chance: &mut Chance| match crash {
            Crash::Lose => false,
            Crash::Keep => true,
            Crash::Some(_) => chance.next().is_multiple_of(2),
        };
        for file in &mut state.files {
            if !kept(&mut chance) {
                // Of bytes that were written and not synced, any part may be there.
                let torn = match crash {
                    Crash::Some(_) if chance.next().is_multiple_of(2) => file.now.len() / 2,
                    _ => 0,
                };
                let mut content = file.durable.clone();
                if torn > content.len() {
                    content.extend_from_slice(&file.now[content.len()..torn]);
                }
                file.now = content;
            }
            file.durable = file.now.clone();
        }
        let (now, durable) = (state.names.clone(), state.durable_names.clone());
        let mut names = BTreeMap::new();
        for path in now.keys().chain(durable.keys()) {
            let found = if kept(&mut chance) { now.get(path) } else { durable.get(path) };
            if let Some(entry) = found {
                names.insert(path.clone(), *entry);
            }
        }
        let reachable: BTreeMap<_, _> = names
            .iter()
            .filter(|(path, _)| path.ancestors().skip(1).all(|dir| dir.parent().is_none() || names.contains_key(dir)))
            .map(|(path, entry)| (path.clone(), *entry))
            .collect();
        state.names = reachable.clone();
        state.durable_names = reachable;
        drop(state);
        disk
    }

    /// All files, by name.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.0.lock();
        state.names.iter().filter_map(|(path, entry)| Some((path.clone(), state.files[(*entry)?].now.clone()))).collect()
    }

    /// Changes a file's bytes behind everybody's back.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let file = state.names[path].expect("a file");
        change(&mut state.files[file].now);
    }

    pub fn forget(&self, path: &Path) {
        self.0.lock().names.remove(path);
    }

    /// Counts an operation that changes something; the work is done unless the operation fails without it.
    fn act<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock();
        let op = state.ops;
        state.ops += 1;
        if state.dies_at.is_some_and(|at| op >= at) {
            return Err(io::Error::other("the machine is down"));
        }
        match state.fails_at {
            Some((at, works)) if at == op => {
                if works {
                    work(&mut state)?;
                }
                Err(io::Error::other("one operation failed"))
            }
            _ => work(&mut state),
        }
    }

    fn look<T>(&self, work: impl FnOnce(&State) -> io::Result<T>) -> io::Result<T> {
        let state = self.0.lock();
        if state.dies_at.is_some_and(|at| state.ops > at) {
            return Err(io::Error::other("the machine is down"));
        }
        work(&state)
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let existing = self.look(|s| Ok(s.names.get(path).copied()))?;
        let file = match (existing, mode) {
            (Some(Some(_)), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Some(file)), _) => file,
            (Some(None), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (None, OpenMode::Read) => return Err(gone()),
            (None, _) => self.act(|s| {
                path.parent().filter(|dir| s.names.get(*dir) == Some(&None)).ok_or_else(gone)?;
                s.files.push(Content::default());
                let file = s.files.len() - 1;
                s.names.insert(path.to_owned(), Some(file));
                Ok(file)
            })?,
        };
        Ok(Arc::new(MemoryFile { disk: self.clone(), file }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if self.look(|s| Ok(s.names.contains_key(path)))? {
            return Ok(());
        }
        self.act(|s| {
            for dir in path.ancestors() {
                s.names.entry(dir.to_owned()).or_insert(None);
            }
            Ok(())
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.look(|s| match s.names.get(dir) {
            None => Err(gone()),
            Some(Some(_)) => Err(io::ErrorKind::NotADirectory.into()),
            Some(None) => Ok(s
                .names
                .keys()
                .filter(|p| p.parent() == Some(dir))
                .filter_map(|p| Some(p.file_name()?.to_str()?.to_owned()))
                .collect()),
        })
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.look(|s| Ok(s.names.contains_key(path)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.act(|s| {
            let entry = s.names.remove(from).ok_or_else(gone)?;
            s.names.insert(to.to_owned(), entry);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.act(|s| s.names.remove(path).map(|_| ()).ok_or_else(gone))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.act(|s| {
            s.durable_names.retain(|path, _| path.parent() != Some(dir));
            let now: Vec<_> = s.names.iter().filter(|(p, _)| p.parent() == Some(dir)).map(|(p, e)| (p.clone(), *e)).collect();
            s.durable_names.extend(now);
            Ok(())
        })
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Lock>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn make_private(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.look(|s| {
            let now = &s.files[self.file].now;
            let from = now.len().min(offset as usize);
            let n = buf.len().min(now.len() - from);
            buf[..n].copy_from_slice(&now[from..from + n]);
            Ok(n)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.act(|s| {
            let now = &mut s.files[self.file].now;
            let end = offset as usize + bytes.len();
            if now.len() < end {
                now.resize(end, 0);
            }
            now[offset as usize..end].copy_from_slice(bytes);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.act(|s| {
            let file = &mut s.files[self.file];
            file.durable = file.now.clone();
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.look(|s| Ok(s.files[self.file].now.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.act(|s| {
            s.files[self.file].now.resize(len as usize, 0);
            Ok(())
        })
    }
}

/// splitmix64.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
