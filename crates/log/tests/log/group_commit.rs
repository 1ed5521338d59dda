//! One fsync for many: counted on a disk whose sync takes its time.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use regauge_log::testing::SimDisk;
use regauge_log::{Log, LogOptions};
use regauge_types::env::{Disk, File, Lock, OpenMode};
use regauge_types::{Env, Lsn};

use crate::common::*;

/// A disk whose sync of a journal file yields to other threads for a while.
struct Slow {
    below: Arc<SimDisk>,
    syncs: Arc<AtomicU64>,
}

struct SlowFile {
    below: Arc<dyn File>,
    syncs: Option<Arc<AtomicU64>>,
}

impl File for SlowFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.below.read_at(buf, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.below.write_at(bytes, offset)
    }
    #[allow(clippy::disallowed_methods)]
    fn sync(&self) -> io::Result<()> {
        if let Some(syncs) = &self.syncs {
            syncs.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        self.below.sync()
    }
    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.below.set_len(len)
    }
}

impl Disk for Slow {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let journal = path.extension().is_some_and(|e| e == "rgj");
        Ok(Arc::new(SlowFile { below: self.below.open(path, mode)?, syncs: journal.then(|| Arc::clone(&self.syncs)) }))
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

fn slow() -> (Env, Arc<AtomicU64>, Arc<SimDisk>) {
    let below = SimDisk::new(1);
    let syncs = Arc::new(AtomicU64::new(0));
    let mut env = sim(&below);
    env.disk = Arc::new(Slow { below: Arc::clone(&below), syncs: Arc::clone(&syncs) });
    (env, syncs, below)
}

#[test]
fn sixteen_writers_share_their_fsyncs_and_each_is_acknowledged_once() {
    let (env, syncs, _) = slow();
    let log = open(&env, quiet()).unwrap();
    log.commit(define(&[topic(1, 4)])).unwrap();
    let before = syncs.load(Ordering::SeqCst);
    let (threads, each) = (16_i64, 50_i64);
    let receipts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (log, receipts) = (&log, &receipts);
            scope.spawn(move || {
                let mut last = Lsn::ZERO;
                for n in 0..each {
                    let id = thread * 1000 + n;
                    let receipt = log.commit(append(1, &[id])).unwrap();
                    assert!(log.durable() >= receipt.lsn && receipt.lsn > last, "acknowledged means durable, in order");
                    last = receipt.lsn;
                    receipts.lock().push((receipt, id));
                }
            });
        }
    });
    let syncs = syncs.load(Ordering::SeqCst) - before;
    println!("commits: {}, fsyncs: {syncs}", threads * each);
    assert!(syncs * 4 <= (threads * each) as u64, "800 commits of 16 writers took {syncs} fsyncs");
    let mut receipts = receipts.into_inner();
    receipts.sort_by_key(|(r, _)| r.lsn);
    let commits = all(&log).unwrap();
    assert_eq!(commits.len(), receipts.len() + 1);
    for (commit, (receipt, id)) in commits[1..].iter().zip(&receipts) {
        assert_same(commit, receipt, &[*id]);
    }
}

#[test]
fn one_commit_costs_one_fsync() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), quiet()).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    let before = disk.syncs();
    for id in 0..50 {
        log.commit(append(1, &[id])).unwrap();
    }
    assert_eq!(disk.syncs() - before, 50);
}

#[test]
fn submitted_commits_are_in_the_order_of_submission_and_share_an_fsync() {
    let (env, syncs, _) = slow();
    let log = open(&env, quiet()).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    let before = syncs.load(Ordering::SeqCst);
    let pending: Vec<_> = (0..500).map(|id| log.submit(append(1, &[id])).unwrap()).collect();
    let expected: Vec<_> = pending.iter().map(|p| p.expected().clone()).collect();
    let receipts: Vec<_> = pending.into_iter().map(|p| p.wait().unwrap()).collect();
    assert_eq!(receipts, expected);
    assert!(receipts.windows(2).all(|w| w[1].lsn == w[0].lsn.next() && w[1].hlc > w[0].hlc));
    assert!(syncs.load(Ordering::SeqCst) - before < 100);
}

#[test]
fn submitted_commits_are_written_although_nobody_waits_and_closing_writes_the_rest() {
    let (env, _, _) = slow();
    let log = open(&env, quiet()).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    for id in 0..100 {
        drop(log.submit(append(1, &[id])).unwrap());
    }
    drop(log);
    let log = open(&env, quiet()).unwrap();
    assert_eq!(all(&log).unwrap().len(), 101);
}

#[test]
fn writers_wait_while_too_much_is_pending() {
    let (env, _, _) = slow();
    let options = LogOptions { pending_bytes_max: 1000, ..quiet() };
    let log = open(&env, options).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    let pending: Vec<_> = (0..300).map(|id| log.submit(append(1, &[id])).unwrap()).collect();
    let undecided = pending.iter().filter(|p| !p.is_decided()).count();
    assert!(undecided < 30, "{undecided} commits were pending with room for some ten");
    pending.into_iter().for_each(|p| drop(p.wait().unwrap()));
}

#[test]
fn an_idle_log_brings_its_mark_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { mark_idle: Some(std::time::Duration::from_millis(1)), ..LogOptions::default() };
    let log = Log::open(Env::real(), dir.path(), options).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    let mark = dir.path().join("journal/mark");
    let read = || Env::real().disk.read_all(&mark, 4096).unwrap();
    let before = read();
    log.commit(append(1, &[1])).unwrap();
    let env = Env::real();
    for _ in 0..12_000 {
        if read() != before {
            return;
        }
        env.clock.sleep(std::time::Duration::from_millis(5));
    }
    panic!("the mark did not move");
}
