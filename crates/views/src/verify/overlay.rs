//! A disk over another one that is never written: what is written stays in memory, and reads see it.
//!
//! So an instance can be opened over bytes that must not change: opening writes a few (the mark, the run). Cost: the pages that are written.
//! It is no disk to lose power on: syncing does nothing.

use parking_lot::Mutex;
use regauge_types::env::{Disk, File, Lock, OpenMode};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

const PAGE: u64 = 4096;
const PAGE_LEN: usize = 4096;

/// See the module's header.
pub struct Overlay {
    below: Arc<dyn Disk>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Arc<OverFile>>,
    dirs: BTreeSet<PathBuf>,
    /// Files below that are not there any more.
    gone: BTreeSet<PathBuf>,
}

struct OverFile {
    below: Option<Arc<dyn File>>,
    content: Mutex<Content>,
}

struct Content {
    len: u64,
    /// So much of the file below still shows.
    below_len: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE_LEN]>>,
}

struct NoLock;

impl Lock for NoLock {}

impl Overlay {
    /// Over a disk.
    #[must_use]
    pub fn new(below: Arc<dyn Disk>) -> Overlay {
        Overlay { below, state: Mutex::default() }
    }

    fn there(&self, state: &State, path: &Path) -> io::Result<bool> {
        if state.files.contains_key(path) || state.dirs.contains(path) {
            return Ok(true);
        }
        Ok(!state.gone.contains(path) && self.below.exists(path)?)
    }
}

impl Disk for Overlay {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        let is_there = self.there(&state, path)?;
        match mode {
            OpenMode::CreateNew if is_there => return Err(io::ErrorKind::AlreadyExists.into()),
            OpenMode::Read if !is_there => return Err(io::ErrorKind::NotFound.into()),
            _ => {}
        }
        if let Some(file) = state.files.get(path) {
            return Ok(file.clone());
        }
        let below = if is_there { Some(self.below.open(path, OpenMode::Read)?) } else { None };
        let len = below.as_ref().map_or(Ok(0), |f| f.len())?;
        let content = Mutex::new(Content { len, below_len: len, pages: BTreeMap::new() });
        let file = Arc::new(OverFile { below, content });
        state.files.insert(path.to_owned(), file.clone());
        Ok(file)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        for dir in path.ancestors() {
            if !self.there(&state, dir)? {
                state.dirs.insert(dir.to_owned());
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let below = match self.below.list(dir) {
            Ok(names) => Some(names),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if state.files.contains_key(dir) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if below.is_none() && !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut names: BTreeSet<String> =
            below.into_iter().flatten().filter(|name| !state.gone.contains(&dir.join(name))).collect();
        let own = state.files.keys().chain(&state.dirs).filter(|path| path.parent() == Some(dir));
        names.extend(own.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())));
        Ok(names.into_iter().collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.there(&self.state.lock(), path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.open(from, OpenMode::Read)?;
        let mut state = self.state.lock();
        let file = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.gone.insert(from.to_owned());
        state.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if !self.there(&state, path)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.files.remove(path);
        state.gone.insert(path.to_owned());
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(NoLock))
    }

    fn make_private(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// A part of a page: its number, where in it, how long.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset.saturating_add(len as u64);
    (offset / PAGE..end.div_ceil(PAGE)).filter_map(move |page| {
        let from = offset.max(page * PAGE);
        let to = end.min((page + 1) * PAGE);
        let within = usize::try_from(from - page * PAGE).ok()?;
        Some((page, within, usize::try_from(to.checked_sub(from)?).ok()?))
    })
}

impl OverFile {
    fn page_below(&self, content: &Content, page: u64) -> io::Result<Box<[u8; PAGE_LEN]>> {
        let mut bytes = Box::new([0; PAGE_LEN]);
        let at = page * PAGE;
        let n = usize::try_from(content.below_len.saturating_sub(at).min(PAGE)).unwrap_or(PAGE_LEN);
        if let Some(below) = self.below.as_ref().filter(|_| n > 0) {
            below.read_exact_at(&mut bytes[..n], at)?;
        }
        Ok(bytes)
    }
}

impl File for OverFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content.lock();
        let n = usize::try_from(content.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        if content.pages.is_empty() && content.below_len == content.len {
            // nothing was written: whole reads go through
            return match &self.below {
                Some(below) if n > 0 => below.read_at(&mut buf[..n], offset),
                _ => Ok(0),
            };
        }
        let mut done = 0;
        for (page, within, len) in parts(offset, n) {
            let out = &mut buf[done..done + len];
            match content.pages.get(&page) {
                Some(bytes) => out.copy_from_slice(&bytes[within..within + len]),
                None => out.copy_from_slice(&self.page_below(&content, page)?[within..within + len]),
            }
            done += len;
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.content.lock();
        let mut done = 0;
        for (page, within, len) in parts(offset, bytes.len()) {
            if !content.pages.contains_key(&page) {
                let below = self.page_below(&content, page)?;
                content.pages.insert(page, below);
            }
            if let Some(out) = content.pages.get_mut(&page) {
                out[within..within + len].copy_from_slice(&bytes[done..done + len]);
            }
            done += len;
        }
        content.len = content.len.max(offset.saturating_add(bytes.len() as u64));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = self.content.lock();
        content.below_len = content.below_len.min(len);
        drop(content.pages.split_off(&len.div_ceil(PAGE)));
        let within = usize::try_from(len % PAGE).unwrap_or(0);
        if within > 0
            && let Some(page) = content.pages.get_mut(&(len / PAGE))
        {
            page[within..].fill(0);
        }
        content.len = len;
        Ok(())
    }
}
