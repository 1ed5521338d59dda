//! The disk of a simulated machine: the log's `SimDisk` behind the baton, with faults drawn for each life and, in tests of the harness itself,
//! with a planted bug.
//!
//! Each call is a point at which another thread may go on. A call within which the machine stops never comes back.

use crate::{baton, bugs::Bug, shared::lock};
use regauge_log::testing::{Fault, Keep, SimDisk};
use regauge_types::env::{Disk, File, Lock, OpenMode};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// See the module's header.
pub struct WorldDisk {
    parts: Arc<Parts>,
}

struct Parts {
    disk: Arc<SimDisk>,
    bug: Option<Bug>,
    /// Calls that a planted bug could have spoiled.
    chances: AtomicU64,
    /// How often it did.
    spoiled: AtomicU64,
    /// A kind of call of journal files, and how many of them still go well before one fails.
    aimed: Mutex<Option<(&'static str, u64)>>,
}

impl WorldDisk {
    /// An empty disk.
    pub fn new(seed: u64, bug: Option<Bug>) -> Arc<WorldDisk> {
        let parts = Parts {
            disk: SimDisk::new(seed),
            bug,
            chances: AtomicU64::new(0),
            spoiled: AtomicU64::new(0),
            aimed: Mutex::default(),
        };
        Arc::new(WorldDisk { parts: Arc::new(parts) })
    }

    /// Plans a fault so many calls from now.
    pub fn plan(&self, in_calls: u64, fault: Fault) {
        self.parts.disk.plan(in_calls, fault);
    }

    /// Plans that a call of such a kind on a journal file fails, after so many that go well.
    pub fn plan_journal(&self, what: &'static str, after: u64) {
        *lock(&self.parts.aimed) = Some((what, after));
    }

    /// Nothing is planned any more.
    pub fn unplan(&self) {
        *lock(&self.parts.aimed) = None;
        self.parts.disk.unplan();
    }

    /// The power goes and comes back.
    pub fn power_cut(&self, keep: Keep) {
        self.parts.disk.reboot(keep);
    }

    /// The program was stopped.
    pub fn kill(&self) {
        self.parts.disk.kill();
    }

    /// No room from now on, or room again.
    pub fn fill(&self, full: bool) {
        let used = self.parts.disk.used();
        self.parts.disk.set_capacity(full.then_some(used));
    }

    /// How often each fault has fired, by its name.
    pub fn fired(&self) -> Vec<(String, u64)> {
        let name = |(fault, call): (Fault, &str)| format!("{fault:?}-{call}").to_lowercase();
        self.parts.disk.fired().into_iter().map(|(at, n)| (name(at), n)).collect()
    }

    /// How often any has.
    pub fn n_fired(&self) -> u64 {
        self.parts.disk.fired().values().sum()
    }

    /// How many files have such a path.
    pub fn n_files(&self, within: &str) -> u64 {
        self.parts.disk.paths().iter().filter(|path| path.starts_with(within)).count() as u64
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.parts.disk.calls()
    }
}

impl Parts {
    fn call<T>(&self, what: &str, path: &Path, call: impl FnOnce(&SimDisk) -> io::Result<T>) -> io::Result<T> {
        baton::point(baton::word(what.as_bytes()) ^ baton::word(path.as_os_str().as_encoded_bytes()));
        self.aim(what, path);
        let result = call(&self.disk);
        baton::note(u64::from(result.is_ok()));
        let machine = baton::machine();
        if result.is_err() && machine != 0 && self.disk.is_down() {
            baton::stop_machine(machine);
        }
        result
    }

    /// Lets this call fail if it is the one that was aimed at.
    fn aim(&self, what: &str, path: &Path) {
        let mut aimed = lock(&self.aimed);
        let Some((wanted, left)) = aimed.as_mut() else { return };
        if *wanted != what || !path.to_string_lossy().ends_with(".rgj") {
            return;
        }
        if *left > 0 {
            *left -= 1;
            return;
        }
        *aimed = None;
        self.disk.plan(0, Fault::Eio);
    }

    /// Whether a planted bug spoils this call: each time, or once in so many.
    fn spoils(&self, bug: Bug, path: &Path, within: &str, one_in: u64) -> bool {
        if self.bug != Some(bug) || !path.to_string_lossy().contains(within) {
            return false;
        }
        let n = self.chances.fetch_add(1, Ordering::Relaxed);
        let spoilt = n % one_in == one_in - 1;
        self.spoiled.fetch_add(u64::from(spoilt), Ordering::Relaxed);
        spoilt
    }
}

struct WorldFile {
    file: Arc<dyn File>,
    path: PathBuf,
    parts: Arc<Parts>,
}

impl File for WorldFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.parts.call("read", &self.path, |_| self.file.read_at(buf, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.parts.spoils(Bug::WriteDropped, &self.path, ".rgj", 20) {
            return Ok(());
        }
        let offset = if self.parts.spoils(Bug::WriteMisplaced, &self.path, ".rgj", 20) { offset + 512 } else { offset };
        let written = self.parts.call("write", &self.path, |_| self.file.write_at(bytes, offset));
        if written.is_err() && self.parts.spoils(Bug::WriteErrorSwallowed, &self.path, ".rgj", 1) {
            return Ok(());
        }
        written
    }

    fn sync(&self) -> io::Result<()> {
        if self.parts.spoils(Bug::SyncSkipped, &self.path, ".rgj", 1)
            || self.parts.spoils(Bug::ArchiveSyncSkipped, &self.path, "/archive/segment", 1)
        {
            return Ok(());
        }
        // acknowledged now, synced by the next one
        if self.parts.spoils(Bug::AckBeforeSync, &self.path, ".rgj", 2) {
            return Ok(());
        }
        let synced = self.parts.call("sync", &self.path, |_| self.file.sync());
        if synced.is_err() && self.parts.spoils(Bug::SyncErrorSwallowed, &self.path, ".rgj", 1) {
            return Ok(());
        }
        synced
    }

    fn len(&self) -> io::Result<u64> {
        self.parts.call("len", &self.path, |_| self.file.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.parts.call("set_len", &self.path, |_| self.file.set_len(len))
    }
}

impl Disk for WorldDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.parts.call("open", path, |disk| disk.open(path, mode))?;
        Ok(Arc::new(WorldFile { file, path: path.to_owned(), parts: self.parts.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.parts.call("make_dir", path, |disk| disk.create_dir_all(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.parts.call("list", dir, |disk| disk.list(dir))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.parts.call("exists", path, |disk| disk.exists(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.parts.call("rename", to, |disk| disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.parts.call("remove", path, |disk| disk.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.parts.spoils(Bug::DirSyncSkipped, dir, "", 1) {
            return Ok(());
        }
        self.parts.call("sync_dir", dir, |disk| disk.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.parts.call("lock", path, |disk| disk.lock(path))
    }

    fn make_private(&self, path: &Path) -> io::Result<()> {
        self.parts.call("make_private", path, |disk| disk.make_private(path))
    }
}
