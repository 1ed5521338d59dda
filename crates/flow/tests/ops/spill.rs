//! State larger than memory: with a budget so small that nearly everything is on the disk, every operator sends what it sends without one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use proptest::prelude::*;
use regauge_flow::engine::{Engine, EngineConfig, Install};
use regauge_flow::spill::{Budget, Memory};
use regauge_plan::flowplan::*;
use regauge_types::Epoch;
use regauge_types::env::{Disk, Env, File, Lock, OpenMode};

use crate::drive::{Rng, Run, history};
use crate::restore::{Case, Chain, Fleet, Sum, cases};
use crate::run::{Change, LONG, at, by_topic, install, sources};

/// A folder of its own, removed in the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("regauge-spill-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Dir(std::env::temp_dir().join(name))
    }

    fn memory(&self, bytes: usize) -> Memory {
        Memory { bytes, dir: self.0.clone() }
    }

    fn n_files(&self) -> usize {
        std::fs::read_dir(&self.0).map_or(0, Iterator::count)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What is sent up to each epoch without a budget.
fn wanted(p: &FlowPlan, epochs: &[Vec<Change>]) -> Vec<Sum> {
    let mut whole = Run::new(p);
    let sum = |epoch: &Vec<Change>| {
        whole.step(epoch, 1000);
        Sum { rows: whole.rows.clone(), errors: whole.named.clone() }
    };
    epochs.iter().map(sum).collect()
}

/// The promise: with a budget, with any workers, and cut after any epoch into others with a budget or without one, or restored from a
/// checkpoint of changes, the same is sent. Gives the most bytes that were on the disk.
fn check(rng: &mut Rng, p: &FlowPlan, epochs: &[Vec<Change>]) -> u64 {
    let wanted = wanted(p, epochs);
    let dir = Dir::new();
    let budget = Budget::open(&Env::real(), &dir.memory(rng.pick(&[1, 3_000, 60_000]))).unwrap();
    let (mut fleet, mut sum, mut spilled) = (Fleet::within(p, 1 + rng.below(3), Some(&budget)), Sum::default(), 0);
    for (i, epoch) in epochs.iter().enumerate() {
        fleet.step(epoch, 9, &mut sum);
        assert_eq!(sum, wanted[i], "epoch {i}, plan {:?}", p.nodes);
        spilled = spilled.max(fleet.spilled());
        if rng.one_in(2) {
            continue;
        }
        let images = fleet.save();
        let (mut later, mut after, mut cut) = (images.clone(), sum.clone(), i);
        let with_changes = rng.one_in(2);
        if with_changes && i + 1 < epochs.len() {
            // changes that one without a budget remembered are taken in by one that has it
            let mut other = Fleet::restored_within(p, &images, 2, None);
            let mut chain = Chain::begin(&mut other, Some(images.clone()));
            cut = i + 1 + rng.below(epochs.len() - i - 1);
            epochs[i + 1..=cut].iter().for_each(|epoch| other.step(epoch, 9, &mut after));
            chain.cut(rng, &mut other);
            later = chain.images;
        }
        let within = (with_changes || rng.one_in(2)).then_some(&budget);
        let mut other = Fleet::restored_within(p, &later, rng.pick(&[1, 2, 3, 5]), within);
        for (j, epoch) in epochs.iter().enumerate().skip(cut + 1) {
            other.step(epoch, 9, &mut after);
            assert_eq!(after, wanted[j], "epoch {j} after a cut behind {cut}, changes={with_changes}, plan {:?}", p.nodes);
        }
        if rng.one_in(2) {
            fleet = Fleet::restored_within(p, &images, 1 + rng.below(3), Some(&budget));
        }
    }
    drop(fleet);
    assert_eq!(dir.n_files(), 0, "scratch files go with their operators");
    spilled
}

/// The first epoch as large as many: a rebuild.
fn with_past(rng: &mut Rng, (p, mut epochs): Case) -> Case {
    let is_timed = p.nodes.iter().any(|n| matches!(n.op, Op::Temporal { .. } | Op::Close { .. } | Op::Session { .. }));
    if !is_timed && epochs.len() > 2 {
        let later = epochs.split_off(1 + rng.below(epochs.len() - 1));
        epochs = std::iter::once(epochs.concat()).chain(later).collect();
    }
    (p, epochs)
}

proptest! {
    #![proptest_config(crate::cases(12))]

    #[test]
    fn every_operator_sends_within_a_budget_what_it_sends_without_one(seed: u64) {
        let rng = &mut Rng(seed);
        let mut spilled = 0;
        for case in cases(rng) {
            let (p, epochs) = with_past(rng, case);
            spilled += check(rng, &p, &epochs);
        }
        prop_assert!(spilled > 0, "something was spilled");
    }

    #[test]
    fn trees_of_operators_send_within_a_budget_what_they_send_without_one(seed: u64, append_only: bool) {
        let rng = &mut Rng(seed);
        let p = crate::random_tree(rng, append_only);
        let epochs = history(rng, 3, 8, 25, !append_only, 9);
        let (p, epochs) = with_past(rng, (p, epochs));
        check(rng, &p, &epochs);
    }
}

/// A join and an aggregate over it, of many keys.
fn large(append_only: bool, kind: JoinKind) -> FlowPlan {
    let mut p = crate::plan(2, append_only);
    let join = Op::Join { kind, on: vec![(0, 0)], nulls_equal: false, residual: None };
    let join = crate::on(&mut p, join, vec![0, 1]);
    let aggs = vec![
        crate::call(AggFunc::Count, &[], arrow::datatypes::DataType::Int64),
        crate::call(AggFunc::Max, &[4], crate::base()[4].clone()),
    ];
    crate::on(&mut p, Op::Aggregate { keys: vec![0], aggs }, vec![join]);
    p
}

#[test]
fn a_history_of_many_keys_is_merged_in_runs_and_read_back() {
    for (seed, kind) in [(1, JoinKind::Inner), (2, JoinKind::Left), (3, JoinKind::Full), (4, JoinKind::LeftAnti)] {
        for append_only in [true, false] {
            let rng = &mut Rng(seed);
            let p = large(append_only, kind);
            let epochs = history(rng, 2, 30, 400, !append_only, 3000);
            let wanted = wanted(&p, &epochs);
            let dir = Dir::new();
            let budget = Budget::open(&Env::real(), &dir.memory(40_000)).unwrap();
            let (mut fleet, mut sum) = (Fleet::within(&p, 2, Some(&budget)), Sum::default());
            for (i, epoch) in epochs.iter().enumerate() {
                fleet.step(epoch, 50, &mut sum);
                assert_eq!(sum, wanted[i], "epoch {i} {kind:?} append_only={append_only}");
            }
            assert!(fleet.spilled() > 20_000, "{kind:?} {}", fleet.spilled());
            assert!(dir.n_files() < 80, "runs are merged: {}", dir.n_files());
        }
    }
}

/// What the disk does with scratch files.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Eio,
    Full,
    Flip,
}

struct Faulty {
    inner: Arc<dyn Disk>,
    fault: Fault,
    left: Arc<AtomicI64>,
}

struct FaultyFile {
    inner: Arc<dyn File>,
    fault: Fault,
    left: Arc<AtomicI64>,
}

impl FaultyFile {
    fn is_now(&self) -> bool {
        self.left.fetch_sub(1, Ordering::SeqCst) == 0
    }
}

impl File for FaultyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let hit = self.fault != Fault::Full && self.is_now();
        if hit && self.fault == Fault::Eio {
            return Err(io::Error::from_raw_os_error(5));
        }
        let n = self.inner.read_at(buf, offset)?;
        if hit && n > 0 {
            buf[n / 2] ^= 4;
        }
        Ok(n)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.fault {
            Fault::Full if self.is_now() => Err(io::Error::from_raw_os_error(28)),
            _ => self.inner.write_at(bytes, offset),
        }
    }
    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
}

impl Disk for Faulty {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inner = self.inner.open(path, mode)?;
        Ok(Arc::new(FaultyFile { inner, fault: self.fault, left: Arc::clone(&self.left) }))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.inner.lock(path)
    }
    fn make_private(&self, path: &Path) -> io::Result<()> {
        self.inner.make_private(path)
    }
}

#[test]
fn a_disk_that_fails_fails_the_version_that_needs_it_and_never_gives_wrong_rows() {
    let p = large(true, JoinKind::Inner);
    let epochs = history(&mut Rng(8), 2, 6, 600, false, 500);
    let wanted = wanted(&p, &epochs);
    let n_last = epochs.len() as u64;
    let (mut failed, mut fine) = (0, 0);
    for (fault, says) in [(Fault::Eio, "error"), (Fault::Full, "No space left"), (Fault::Flip, "damaged")] {
        for after in [0, 1, 7, 100, 1_000_000] {
            let dir = Dir::new();
            let env = Env::real();
            let left = Arc::new(AtomicI64::new(after));
            let disk = Arc::new(Faulty { inner: Arc::clone(&env.disk), fault, left: Arc::clone(&left) });
            let config = EngineConfig { workers: 1, queue_epochs: 8, cluster: None, memory: Some(dir.memory(30_000)) };
            let engine = Engine::start(config, Env { disk, ..env }).unwrap();
            let reader = install(&engine, 1, &p, &epochs[0], 1);
            for (i, epoch) in (2u64..).zip(&epochs[1..]) {
                engine.feed(1, Epoch(i), by_topic(epoch, true));
            }
            match reader.wait(Epoch(n_last), LONG) {
                Ok(_) => {
                    assert!(left.load(Ordering::SeqCst) >= 0, "{fault:?} was met and nobody said so");
                    assert_eq!(at(&reader, n_last).0, wanted.last().unwrap().rows);
                    fine += 1;
                }
                Err(error) => {
                    assert!(error.to_string().contains(says), "{fault:?}: {error}");
                    failed += 1;
                }
            }
            // the process goes on, and so does whoever needs no scratch files
            let none: Vec<Change> = epochs[0].iter().take(3).cloned().collect();
            let sources = sources(&p, &none, 7, true).into_iter().collect();
            let small = Install { id: 2, plan: p.clone(), sources, as_of: Epoch(1), restore: None };
            let small = engine.install(small).unwrap();
            assert!(small.wait(Epoch(1), LONG).is_ok());
        }
    }
    assert!(failed >= 9 && fine >= 3, "failed={failed} fine={fine}");
}

#[test]
fn an_engine_within_a_budget_publishes_the_same_and_says_what_is_where() {
    let p = large(false, JoinKind::Left);
    let epochs = history(&mut Rng(5), 2, 8, 500, false, 400);
    let wanted = wanted(&p, &epochs);
    for workers in [1, 3] {
        let dir = Dir::new();
        let config = EngineConfig { workers, queue_epochs: 8, cluster: None, memory: Some(dir.memory(60_000)) };
        let engine = Engine::start(config, Env::real()).unwrap();
        let reader = install(&engine, 1, &p, &epochs[0], 1);
        for (i, epoch) in (2u64..).zip(&epochs[1..]) {
            engine.feed(1, Epoch(i), by_topic(epoch, false));
            assert_eq!(at(&reader, i).0, wanted[usize::try_from(i).unwrap() - 1].rows, "epoch {i}");
        }
        let spilled: u64 = engine.stats(1).iter().map(|n| n.stats.spilled_bytes).sum();
        let ((spilling, fixed), all) = engine.memory().unwrap();
        assert!(spilled > 0 && spilling < all && fixed > 0 && all == 60_000, "{spilled} {spilling} {fixed}");
        engine.drop_flow(1);
    }
}
