//! A disk that can be shut: what is to become durable waits, so that what others see meanwhile can be looked at.

#![allow(clippy::disallowed_methods, reason = "it stands between the log and a real folder")]

use parking_lot::{Condvar, Mutex};
use regauge_types::env::{Disk, Env, File, Lock, OpenMode};
use std::{io, path::Path, sync::Arc};

pub struct Gate {
    below: Arc<dyn Disk>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Whether it is shut, and how many wait before it.
    shut: Mutex<(bool, usize)>,
    moved: Condvar,
}

struct Behind {
    below: Arc<dyn File>,
    state: Arc<State>,
}

impl Gate {
    /// Over the real disk, open.
    pub fn new() -> Arc<Gate> {
        Arc::new(Gate { below: Env::real().disk, state: Arc::default() })
    }

    pub fn shut(&self) {
        self.state.shut.lock().0 = true;
    }

    pub fn open_up(&self) {
        self.state.shut.lock().0 = false;
        self.state.moved.notify_all();
    }

    /// Waits until a commit stands before the shut gate.
    pub async fn until_waited_for(&self) {
        for _ in 0..12_000 {
            if self.state.shut.lock().1 > 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("nobody comes to the gate");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open_up();
    }
}

impl File for Behind {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.below.read_at(buf, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.below.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        let mut shut = self.state.shut.lock();
        shut.1 += 1;
        while shut.0 {
            self.state.moved.wait(&mut shut);
        }
        shut.1 -= 1;
        drop(shut);
        self.below.sync()
    }
    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.below.set_len(len)
    }
}

impl Disk for Gate {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.below.open(path, mode)?;
        let journal = path.extension().is_some_and(|e| e == "rgj");
        Ok(if journal { Arc::new(Behind { below: file, state: self.state.clone() }) } else { file })
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.below.create_dir_all(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.below.list(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.below.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.below.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.below.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.below.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.below.lock(path)
    }
    fn make_private(&self, path: &Path) -> io::Result<()> {
        self.below.make_private(path)
    }
}
