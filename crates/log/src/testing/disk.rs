//! A disk in memory that keeps exactly the clauses of `types::env` and nothing more.
//!
//! ```text
//!  write_at ─▶ cache (what reads see) ─▶ pending ops ──sync──▶ durable (what a crash leaves)
//!  open, rename, remove ─▶ names ─▶ pending names ──sync_dir──▶ durable names
//! ```
//!
//! Each call has a number. At one of them a fault can be planned: the machine stops, or the call fails with EIO or ENOSPC. A failed sync marks pages clean: the
//! cache goes on showing what the disk does not have, and no later sync writes it (Rebello et al., "Can Applications Recover from fsync Failures?", 2020). A
//! crash keeps of the pending writes all, none, some of them in any order, or some of their 512-byte sectors.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use regauge_types::env::{Disk, File, Lock, OpenMode};

use super::SimRandom;

/// The unit that a disk writes whole.
pub const SECTOR: u64 = 512;

/// What happens at a planned call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The machine stops before the call has returned; every later call fails.
    Crash,
    /// The call fails.
    Eio,
    /// The call fails for want of room, if it is one that may.
    Enospc,
}

/// What a crash leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// All of it.
    All,
    /// Nothing.
    None,
    /// Each write and each name, or not.
    Some(u64),
    /// Each sector of each write, or not; each name, or not.
    Sectors(u64),
}

/// Everything on the disk at a call; see [`SimDisk::record`].
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The call's number.
    pub call: u64,
    /// What [`SimDisk::set_note`] was last told.
    pub note: u64,
    /// The call, for people.
    pub what: String,
    world: World,
}

type Inode = usize;

#[derive(Debug, Clone)]
enum Pending {
    Write(u64, Arc<[u8]>),
    Length(u64),
}

#[derive(Debug, Clone, Default)]
struct Content {
    cache: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
enum NameOp {
    Put(PathBuf, Inode),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Inode),
    MakeDir(PathBuf),
}

#[derive(Debug, Clone, Default)]
struct World {
    inodes: Vec<Content>,
    names: BTreeMap<PathBuf, Inode>,
    dirs: BTreeSet<PathBuf>,
    durable_names: BTreeMap<PathBuf, Inode>,
    durable_dirs: BTreeSet<PathBuf>,
    pending: Vec<(PathBuf, NameOp)>,
}

#[derive(Debug, Default)]
struct Inner {
    world: World,
    locks: BTreeSet<PathBuf>,
    calls: u64,
    plan: Option<(u64, Fault)>,
    down: bool,
    fired: BTreeMap<(Fault, &'static str), u64>,
    syncs: u64,
    capacity: Option<u64>,
    recording: Option<Vec<Snapshot>>,
    note: u64,
    random: u64,
}

/// The disk.
#[derive(Debug, Default)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

impl SimDisk {
    /// An empty disk with a root folder. `seed` decides how much of a failing write is done.
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        let root = BTreeSet::from([PathBuf::from("/")]);
        let world = World { dirs: root.clone(), durable_dirs: root, ..World::default() };
        Arc::new(Self { inner: Arc::new(Mutex::new(Inner { world, random: seed, ..Inner::default() })) })
    }

    /// A disk as a crash at that call would have left it.
    #[must_use]
    pub fn after_crash(snapshot: &Snapshot, keep: Keep) -> Arc<Self> {
        let mut world = snapshot.world.clone();
        world.crash(keep);
        Arc::new(Self { inner: Arc::new(Mutex::new(Inner { world, ..Inner::default() })) })
    }

    /// The same disk and the same machine once more, each going on for itself: what is not synced is not synced there either. No lock is
    /// held and no fault is planned; calls are counted on. `seed` as in [`SimDisk::new`].
    #[must_use]
    pub fn fork(&self, seed: u64) -> Arc<Self> {
        let inner = self.inner.lock();
        let (world, calls, note, capacity) = (inner.world.clone(), inner.calls, inner.note, inner.capacity);
        Arc::new(Self { inner: Arc::new(Mutex::new(Inner { world, calls, note, capacity, random: seed, ..Inner::default() })) })
    }

    /// Plans a fault at the call of that number, counted from now.
    pub fn plan(&self, in_calls: u64, fault: Fault) {
        let mut inner = self.inner.lock();
        inner.plan = Some((inner.calls + in_calls, fault));
    }

    /// The machine stops and starts again: what was not synced is lost as `keep` says, locks are gone, no fault is planned.
    pub fn reboot(&self, keep: Keep) {
        let mut inner = self.inner.lock();
        inner.world.crash(keep);
        (inner.locks, inner.plan, inner.down) = (BTreeSet::new(), None, false);
    }

    /// The program stops and nothing else does: what it wrote is in the system's memory as it was, locks are gone, no fault is planned.
    pub fn kill(&self) {
        let mut inner = self.inner.lock();
        (inner.locks, inner.plan, inner.down) = (BTreeSet::new(), None, false);
    }

    /// Takes a planned fault back, if it has not fired.
    pub fn unplan(&self) {
        self.inner.lock().plan = None;
    }

    /// Whether the machine stopped at a planned call.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.inner.lock().down
    }

    /// Number of calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.inner.lock().calls
    }

    /// Number of file syncs so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.inner.lock().syncs
    }

    /// How often each fault fired at each kind of call.
    #[must_use]
    pub fn fired(&self) -> BTreeMap<(Fault, &'static str), u64> {
        self.inner.lock().fired.clone()
    }

    /// Bytes that all files together may have; writes beyond fail with ENOSPC.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.inner.lock().capacity = bytes;
    }

    /// Bytes that all files together have.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.inner.lock().world.used()
    }

    /// From now on keeps a snapshot of each call that changes something, as if the machine stopped within it.
    pub fn record(&self) {
        self.inner.lock().recording = Some(Vec::new());
    }

    /// A number that snapshots carry: how far the user's own ledger was.
    pub fn set_note(&self, note: u64) {
        self.inner.lock().note = note;
    }

    /// Ends the recording.
    #[must_use]
    pub fn recorded(&self) -> Vec<Snapshot> {
        self.inner.lock().recording.take().unwrap_or_default()
    }

    /// A file's bytes as reads see them.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let inner = self.inner.lock();
        let inode = *inner.world.names.get(path)?;
        Some(inner.world.inodes[inode].cache.to_vec())
    }

    /// Puts bytes in place of a file's, on the disk itself: damage.
    pub fn damage(&self, path: &Path, bytes: Vec<u8>) {
        let mut inner = self.inner.lock();
        if let Some(inode) = inner.world.names.get(path).copied() {
            let bytes = Arc::new(bytes);
            inner.world.inodes[inode] = Content { cache: Arc::clone(&bytes), durable: bytes, pending: Vec::new() };
        }
    }

    /// Paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.inner.lock().world.names.keys().cloned().collect()
    }
}

impl Inner {
    /// Counts a call; tells the fault that fires at it.
    fn call(&mut self, what: &'static str, detail: &Path) -> io::Result<Option<Fault>> {
        if self.down {
            return Err(io::Error::other("the simulated machine is down"));
        }
        let call = self.calls;
        self.calls += 1;
        let changes = !matches!(what, "read" | "len" | "list" | "exists" | "lock");
        if changes && let Some(recording) = &mut self.recording {
            let what = format!("{what} {}", detail.display());
            recording.push(Snapshot { call, note: self.note, what, world: self.world.clone() });
        }
        let Some((_, fault)) = self.plan.filter(|(at, _)| *at <= call) else { return Ok(None) };
        let may = match fault {
            Fault::Crash | Fault::Eio => true,
            // Reading, and giving things other names, needs no room.
            Fault::Enospc => matches!(what, "write" | "sync" | "create" | "set_len" | "make_dir" | "sync_dir"),
        };
        if !may {
            return Ok(None);
        }
        self.plan = None;
        *self.fired.entry((fault, what)).or_default() += 1;
        self.down |= fault == Fault::Crash;
        Ok(Some(fault))
    }

    fn random(&mut self) -> SimRandom {
        self.random = self.random.wrapping_add(1);
        SimRandom::new(self.random)
    }
}

fn error(fault: Fault) -> io::Error {
    match fault {
        Fault::Crash => io::Error::other("the simulated machine went down"),
        Fault::Eio => io::Error::from_raw_os_error(5),
        Fault::Enospc => io::Error::from_raw_os_error(28),
    }
}

fn fail_if(fault: Option<Fault>) -> io::Result<()> {
    fault.map_or(Ok(()), |fault| Err(error(fault)))
}

impl World {
    fn used(&self) -> u64 {
        let inodes: BTreeSet<Inode> = self.names.values().copied().collect();
        inodes.iter().map(|inode| self.inodes[*inode].cache.len() as u64).sum()
    }

    fn crash(&mut self, keep: Keep) {
        let random = SimRandom::new(match keep {
            Keep::Some(seed) | Keep::Sectors(seed) => seed,
            Keep::All | Keep::None => 0,
        });
        let kept = |keep: Keep| match keep {
            Keep::All => true,
            Keep::None => false,
            Keep::Some(_) | Keep::Sectors(_) => random.one_in(2),
        };
        for content in &mut self.inodes {
            if content.pending.is_empty() {
                content.cache = Arc::clone(&content.durable);
                continue;
            }
            let mut disk = content.durable.to_vec();
            for op in std::mem::take(&mut content.pending) {
                match op {
                    Pending::Write(at, bytes) if matches!(keep, Keep::Sectors(_)) => {
                        write_sectors(&mut disk, at, &bytes, &random)
                    }
                    op if kept(keep) => op.apply(&mut disk),
                    _ => {}
                }
            }
            content.durable = Arc::new(disk);
            content.cache = Arc::clone(&content.durable);
        }
        for (_, op) in std::mem::take(&mut self.pending) {
            if kept(keep) {
                op.apply(&mut self.durable_names, &mut self.durable_dirs);
            }
        }
        // A folder that was lost takes what is in it along.
        let dirs = self.durable_dirs.clone();
        let reachable = |path: &Path| path.ancestors().skip(1).all(|dir| dir.as_os_str().is_empty() || dirs.contains(dir));
        self.durable_dirs.retain(|dir| reachable(dir));
        self.durable_names.retain(|name, _| reachable(name));
        (self.names, self.dirs) = (self.durable_names.clone(), self.durable_dirs.clone());
    }

    fn name_op(&mut self, op: NameOp) {
        let dir = op.dir();
        op.clone().apply(&mut self.names, &mut self.dirs);
        self.pending.push((dir, op));
    }
}

impl Pending {
    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, new) => write_bytes(bytes, at, &new),
            Self::Length(len) => bytes.resize(index(len), 0),
        }
    }
}

impl NameOp {
    fn dir(&self) -> PathBuf {
        let (Self::Put(path, _) | Self::Remove(path) | Self::Rename(_, path, _) | Self::MakeDir(path)) = self;
        path.parent().unwrap_or(Path::new("/")).to_owned()
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, Inode>, dirs: &mut BTreeSet<PathBuf>) {
        match self {
            Self::Put(path, inode) => {
                names.insert(path, inode);
            }
            Self::Remove(path) => {
                names.remove(&path);
            }
            Self::Rename(from, to, inode) => {
                if names.get(&from) == Some(&inode) {
                    names.remove(&from);
                }
                names.insert(to, inode);
            }
            Self::MakeDir(path) => {
                dirs.insert(path);
            }
        }
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("the simulated disk fits in memory")
}

fn write_bytes(bytes: &mut Vec<u8>, at: u64, new: &[u8]) {
    let (start, end) = (index(at), index(at) + new.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(new);
}

/// Each sector or not; and the file may have grown, with zeros, even where no sector came.
fn write_sectors(bytes: &mut Vec<u8>, at: u64, new: &[u8], random: &SimRandom) {
    let end = at + new.len() as u64;
    if random.one_in(2) && (bytes.len() as u64) < end {
        bytes.resize(index(end), 0);
    }
    let mut from = at;
    while from < end {
        let to = ((from / SECTOR + 1) * SECTOR).min(end);
        if random.one_in(2) {
            write_bytes(bytes, from, &new[index(from - at)..index(to - at)]);
        }
        from = to;
    }
}

struct SimFile {
    inner: Arc<Mutex<Inner>>,
    inode: Inode,
    path: PathBuf,
    writable: bool,
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.inner.lock();
        fail_if(inner.call("read", &self.path)?)?;
        let bytes = &inner.world.inodes[self.inode].cache;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let n = buf.len().min(bytes.len() - from);
        buf[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut inner = self.inner.lock();
        let mut fault = inner.call("write", &self.path)?;
        let grows = (offset + bytes.len() as u64).saturating_sub(inner.world.inodes[self.inode].cache.len() as u64);
        if fault.is_none() && inner.capacity.is_some_and(|capacity| grows > 0 && inner.world.used() + grows > capacity) {
            fault = Some(Fault::Enospc);
        }
        // A failing write has done some of its work; one within which the machine stops may have done all of it.
        let done = if fault.is_some() { index(inner.random().below(bytes.len() as u64 + 1)) } else { bytes.len() };
        let content = &mut inner.world.inodes[self.inode];
        let write = Pending::Write(offset, bytes[..done].into());
        write.clone().apply(Arc::make_mut(&mut content.cache));
        content.pending.push(write);
        if let Some(Snapshot { world, .. }) = inner.last_recorded() {
            world.inodes[self.inode].pending.push(Pending::Write(offset, bytes.into()));
        }
        fail_if(fault)
    }

    fn sync(&self) -> io::Result<()> {
        self.check_writable()?;
        let mut inner = self.inner.lock();
        let fault = inner.call("sync", &self.path)?;
        inner.syncs += 1;
        if fault == Some(Fault::Crash) {
            return fail_if(fault);
        }
        let random = inner.random();
        let content = &mut inner.world.inodes[self.inode];
        let pending = std::mem::take(&mut content.pending);
        let durable = Arc::make_mut(&mut content.durable);
        for op in pending {
            match (fault, op) {
                (None, op) => op.apply(durable),
                // Some sectors reached the disk, the others never will: the pages are clean now.
                (Some(_), Pending::Write(at, bytes)) => write_sectors(durable, at, &bytes, &random),
                (Some(_), op) => op.apply(durable),
            }
        }
        fail_if(fault)
    }

    fn len(&self) -> io::Result<u64> {
        let mut inner = self.inner.lock();
        fail_if(inner.call("len", &self.path)?)?;
        Ok(inner.world.inodes[self.inode].cache.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut inner = self.inner.lock();
        fail_if(inner.call("set_len", &self.path)?)?;
        let content = &mut inner.world.inodes[self.inode];
        if content.cache.len() as u64 != len {
            Pending::Length(len).apply(Arc::make_mut(&mut content.cache));
            content.pending.push(Pending::Length(len));
        }
        Ok(())
    }
}

impl Inner {
    fn last_recorded(&mut self) -> Option<&mut Snapshot> {
        self.recording.as_mut()?.last_mut()
    }
}

struct SimLock {
    inner: Arc<Mutex<Inner>>,
    path: PathBuf,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.inner.lock().locks.remove(&self.path);
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut inner = self.inner.lock();
        let found = inner.world.names.get(path).copied();
        let fault = inner.call(if found.is_some() || mode == OpenMode::Read { "open" } else { "create" }, path)?;
        fail_if(fault)?;
        let inode = match (found, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), _) => inode,
            (None, OpenMode::Read) => return Err(io::ErrorKind::NotFound.into()),
            (None, _) => {
                if !inner.world.dirs.contains(path.parent().unwrap_or(Path::new("/"))) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                inner.world.inodes.push(Content::default());
                let inode = inner.world.inodes.len() - 1;
                inner.world.name_op(NameOp::Put(path.to_owned(), inode));
                inode
            }
        };
        Ok(Arc::new(SimFile { inner: Arc::clone(&self.inner), inode, path: path.to_owned(), writable: mode != OpenMode::Read }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let fault = inner.call("make_dir", path)?;
        fail_if(fault)?;
        let mut missing: Vec<PathBuf> = path
            .ancestors()
            .filter(|d| !d.as_os_str().is_empty() && !inner.world.dirs.contains(*d))
            .map(Path::to_owned)
            .collect();
        missing.reverse();
        missing.into_iter().for_each(|dir| inner.world.name_op(NameOp::MakeDir(dir)));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut inner = self.inner.lock();
        fail_if(inner.call("list", dir)?)?;
        if !inner.world.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let all = inner.world.names.keys().chain(&inner.world.dirs);
        let mut names: Vec<String> = all
            .filter(|path| path.parent() == Some(dir))
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut inner = self.inner.lock();
        fail_if(inner.call("exists", path)?)?;
        Ok(inner.world.names.contains_key(path) || inner.world.dirs.contains(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        fail_if(inner.call("rename", to)?)?;
        let inode = *inner.world.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        inner.world.name_op(NameOp::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        fail_if(inner.call("remove", path)?)?;
        if !inner.world.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.world.name_op(NameOp::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        fail_if(inner.call("sync_dir", dir)?)?;
        let world = &mut inner.world;
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut world.pending).into_iter().partition(|(of, _)| of == dir);
        world.pending = later;
        now.into_iter().for_each(|(_, op)| op.apply(&mut world.durable_names, &mut world.durable_dirs));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut inner = self.inner.lock();
        fail_if(inner.call("lock", path)?)?;
        if !inner.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { inner: Arc::clone(&self.inner), path: path.to_owned() }))
    }

    fn make_private(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        fail_if(inner.call("make_private", path)?)
    }
}
