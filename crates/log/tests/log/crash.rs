//! A workload of 200 operations (`REGAUGE_CRASH_OPERATIONS`; 60 for failing calls), and a crash or a failing disk at every single call of it
//! (promises I1, I13).
//!
//! The log is opened again every 45 operations, on the same machine. So a fault within such a piece meets what it would have met in the
//! whole workload if it is run on a copy of the machine as that piece found it, and n operations cost n times one, not n times n.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use regauge_log::testing::{Fault, Keep, SimDisk, SimRandom, Snapshot};
use regauge_log::{Commit, Committed, Log, LogError, LogOptions, Transaction};
use regauge_types::{ErrorKind, Lsn};

use crate::common::*;

/// What was asked for, in order, and what was acknowledged.
#[derive(Default, Clone)]
struct Ledger {
    submitted: Vec<Vec<i64>>,
    acked: Vec<Option<Committed>>,
    /// How many commits the producer has sent.
    sequence: u64,
}

/// How many operations are run.
fn n_operations(usual: usize) -> usize {
    std::env::var("REGAUGE_CRASH_OPERATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// The pieces of a workload; the log is opened at the beginning of each.
fn pieces(n_operations: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n_operations).step_by(45).map(move |from| from..(from + 45).min(n_operations))
}

impl Ledger {
    fn n_acked(&self) -> usize {
        self.acked.iter().rposition(Option::is_some).map_or(0, |last| last + 1)
    }

    /// What the log holds is what was acknowledged, byte for byte, and then perhaps some that were not, whole and in order.
    fn verify(&self, commits: &[Commit], n_acked: usize) {
        assert!(commits.len() >= n_acked, "lost: {} of {n_acked} acknowledged commits are there", commits.len());
        assert!(commits.len() <= self.submitted.len(), "{} commits from {} transactions", commits.len(), self.submitted.len());
        for (n, commit) in commits.iter().enumerate() {
            assert_eq!(commit.lsn, Lsn(n as u64 + 1));
            assert!(n == 0 || commit.hlc > commits[n - 1].hlc);
            match self.acked.get(n).and_then(Option::as_ref).filter(|_| n < n_acked) {
                Some(receipt) => assert_same(commit, receipt, &self.submitted[n]),
                None => assert_eq!(ids_of(commit), self.submitted[n], "lsn={}", commit.lsn),
            }
        }
    }

    /// Goes on with what a reopened log says about the unacknowledged ones.
    fn settle(&mut self, log: &Log) {
        let n = log.durable().0 as usize;
        self.submitted.truncate(n);
        self.acked.truncate(n);
    }
}

fn options() -> LogOptions {
    LogOptions { journal_file_bytes: 6_000, tail_bytes: 3_000, dedup_window: 5, ..quiet() }
}

/// One operation: transactions that are submitted together.
fn operation(n: usize, random: &SimRandom, sequence: &mut u64) -> Vec<Transaction> {
    let mut next = n as i64 * 1000;
    let mut ids = |n: u64| {
        (0..n)
            .map(|_| {
                next += 1;
                next
            })
            .collect::<Vec<i64>>()
    };
    match random.below(20) {
        0 => vec![append(2, &ids(100))],
        1 | 2 => {
            let mut txn = append(1, &ids(3));
            txn.appends.extend(append(2, &ids(5)).appends);
            vec![txn]
        }
        3 => (0..4).map(|_| append(1, &ids(2))).collect(),
        4 => vec![Transaction::default()],
        5 => {
            let mut txn = define(&[topic(10 + n as u32, 2)]);
            txn.appends = append(10 + n as u32, &ids(3)).appends;
            vec![txn]
        }
        6..10 => {
            *sequence += 1;
            vec![by(append(2, &ids(2)), "p", 1, *sequence - 1)]
        }
        _ => vec![append(1, &ids(1))],
    }
}

fn ids_in(txn: &Transaction) -> Vec<i64> {
    let mut out: Vec<i64> = txn.appends.iter().flat_map(|a| ids(&a.rows)).collect();
    out.sort_unstable();
    out
}

/// The first operation, again if there was no room for it: all others rest on it.
fn define_topics(log: &Log, ledger: &mut Ledger) -> Result<(), LogError> {
    let topics = || define(&[topic(1, 1), topic(2, 3)]);
    ledger.submitted.push(vec![]);
    ledger.acked.push(None);
    let receipt = match log.commit(topics()) {
        Err(LogError::DiskFull { .. }) => log.commit(topics())?,
        other => other?,
    };
    ledger.acked[0] = Some(receipt);
    Ok(())
}

/// Runs a workload of so many operations.
fn run(disk: &Arc<SimDisk>, n_operations: usize, ledger: &mut Ledger) -> Result<(), LogError> {
    pieces(n_operations).try_for_each(|piece| run_piece(disk, piece, ledger).map(drop))
}

/// Runs a piece of it; ends early when the log does. Commits that found no room are forgotten, as the log promises.
fn run_piece(disk: &Arc<SimDisk>, piece: Range<usize>, ledger: &mut Ledger) -> Result<Log, LogError> {
    let env = sim(disk);
    let random = SimRandom::new(42 + piece.start as u64);
    let log = open(&env, options())?;
    for n in piece {
        if n == 0 {
            define_topics(&log, ledger)?;
            disk.set_note(ledger.n_acked() as u64);
            continue;
        }
        let pending: Vec<_> = operation(n, &random, &mut ledger.sequence)
            .into_iter()
            .map(|txn| {
                let (ids, by_producer) = (ids_in(&txn), txn.producer.is_some());
                (log.submit(txn), ids, by_producer)
            })
            .collect();
        // Everything is submitted before anything is waited for, but written in this order.
        let first = ledger.submitted.len();
        ledger.submitted.extend(pending.iter().map(|(_, ids, _)| ids.clone()));
        ledger.acked.resize(ledger.submitted.len(), None);
        let mut full = false;
        for (at, (pending, _, by_producer)) in pending.into_iter().enumerate() {
            match pending.and_then(regauge_log::Pending::wait) {
                Ok(receipt) => {
                    ledger.acked[first + at] = Some(receipt);
                    disk.set_note(ledger.n_acked() as u64);
                }
                Err(error @ LogError::DiskFull { .. }) => {
                    assert_eq!(error.kind(), ErrorKind::Exhausted);
                    ledger.sequence -= u64::from(by_producer);
                    full = true;
                }
                Err(error) => {
                    assert!(matches!(error, LogError::OutcomeUnknown { .. } | LogError::Poisoned { .. }), "{error}");
                    assert_eq!(error.kind(), ErrorKind::Unavailable);
                    assert!(
                        matches!(log.commit(append(1, &[1])), Err(LogError::Poisoned { .. })),
                        "a poisoned log takes a commit"
                    );
                    // Reads of what is durable go on.
                    let commits = all(&log)?;
                    ledger.verify(&commits, ledger.n_acked());
                    assert_eq!(tail_all(&log)?, commits);
                    return Err(error);
                }
            }
        }
        if full {
            let kept: Vec<bool> = ledger.acked[first..].iter().map(Option::is_some).collect();
            let mut keep = kept.iter();
            let mut at = 0;
            ledger.submitted.retain(|_| {
                at += 1;
                at <= first || *keep.next().unwrap()
            });
            let mut at = 0;
            ledger.acked.retain(|receipt| {
                at += 1;
                at <= first || receipt.is_some()
            });
        }
    }
    Ok(log)
}

/// Opens what a crash left, checks it, goes on, crashes again at the worst, checks again.
fn survive(disk: &Arc<SimDisk>, ledger: &Ledger, n_acked: usize) {
    let mut ledger = ledger.clone();
    let log = open(&sim(disk), options()).unwrap_or_else(|e| panic!("recovery failed: {e}"));
    let commits = all(&log).unwrap();
    ledger.verify(&commits, n_acked);
    ledger.settle(&log);
    let txn = if log.durable() == Lsn::ZERO { define(&[topic(1, 1), topic(2, 3)]) } else { append(2, &[-1, -2, -3]) };
    ledger.submitted.push({
        let mut ids = ids_in(&txn);
        ids.sort_unstable();
        ids
    });
    ledger.acked.resize(ledger.submitted.len() - 1, None);
    ledger.acked.push(Some(log.commit(txn).unwrap()));
    drop(log);
    disk.reboot(Keep::None);
    let log = open(&sim(disk), options()).unwrap();
    let again = all(&log).unwrap();
    assert_eq!(again.len(), commits.len() + 1);
    assert_eq!(again[..commits.len()], commits[..], "what was readable before is there");
    let receipt = ledger.acked.last().and_then(Option::as_ref).unwrap();
    assert_same(&again[commits.len()], receipt, &ledger.submitted[commits.len()]);
}

fn keeps(seed: u64) -> [Keep; 4] {
    [Keep::All, Keep::None, Keep::Some(seed), Keep::Sectors(seed)]
}

/// Runs the cases on the machine's cores.
fn each<T: Sync>(cases: &[T], check: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    check(case);
                }
            });
        }
    });
}

#[test]
fn an_acknowledged_commit_survives_a_crash_at_every_call() {
    let disk = SimDisk::new(3);
    let mut ledger = Ledger::default();
    let (mut kinds, mut n_calls): (BTreeMap<String, u64>, usize) = (BTreeMap::new(), 0);
    for piece in pieces(n_operations(200)) {
        disk.record();
        drop(run_piece(&disk, piece, &mut ledger).unwrap());
        assert_eq!(ledger.n_acked(), ledger.submitted.len());
        let snapshots = disk.recorded();
        for snapshot in &snapshots {
            *kinds.entry(snapshot.what.split(' ').next().unwrap().to_owned()).or_default() += 1;
        }
        n_calls += snapshots.len();
        each(&snapshots, |snapshot| {
            for keep in keeps(snapshot.call) {
                told(snapshot, keep, || survive(&SimDisk::after_crash(snapshot, keep), &ledger, snapshot.note as usize));
            }
        });
    }
    println!("crashed at {n_calls} calls of {} commits, four ways each: {kinds:?}", ledger.n_acked());
    println!("soak: cases={0} faults={0}", n_calls * 4);
    for kind in ["create", "write", "sync", "sync_dir", "rename", "open", "set_len", "make_dir"] {
        assert!(kinds.contains_key(kind), "no crash at {kind}");
    }
}

#[test]
fn a_crash_within_recovery_loses_nothing_either() {
    let disk = SimDisk::new(4);
    disk.record();
    let mut ledger = Ledger::default();
    run(&disk, 60, &mut ledger).unwrap();
    let snapshots: Vec<_> = disk.recorded().into_iter().step_by(12).collect();
    let tried = AtomicUsize::new(0);
    each(&snapshots, |snapshot| {
        let disk = SimDisk::after_crash(snapshot, Keep::Sectors(snapshot.call));
        disk.record();
        let log = open(&sim(&disk), options()).unwrap();
        let found = all(&log).unwrap();
        drop(log);
        for inner in disk.recorded() {
            for keep in keeps(inner.call) {
                tried.fetch_add(1, Ordering::SeqCst);
                told(&inner, keep, || survive(&SimDisk::after_crash(&inner, keep), &ledger, snapshot.note as usize));
            }
        }
        // What was found once, and could be read, is found again.
        disk.reboot(Keep::None);
        let log = open(&sim(&disk), options()).unwrap();
        assert_eq!(all(&log).unwrap(), found);
    });
    println!("crashed {tried:?} times within recovery");
    assert!(tried.into_inner() > 500);
}

fn told(snapshot: &Snapshot, keep: Keep, check: impl FnOnce()) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
    if let Err(panic) = outcome {
        eprintln!("crash at call {} ({}), keeping {keep:?}, {} acknowledged", snapshot.call, snapshot.what, snapshot.note);
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_failing_or_full_disk_at_every_call_loses_nothing_and_reopening_heals() {
    let machine = SimDisk::new(5);
    let mut before = Ledger::default();
    let fired: Mutex<BTreeMap<(Fault, &str), u64>> = Mutex::default();
    let [unfired, poisoned, full, runs] = [(); 4].map(|()| AtomicUsize::new(0));
    for piece in pieces(n_operations(60)) {
        let (found, n_before) = (machine.fork(5), machine.calls());
        let mut after = before.clone();
        drop(run_piece(&machine, piece.clone(), &mut after).unwrap());
        let cases: Vec<_> =
            (0..machine.calls() - n_before).flat_map(|call| [(call, Fault::Eio), (call, Fault::Enospc)]).collect();
        each(&cases, |(call, fault)| {
            let disk = found.fork(*call);
            disk.plan(*call, *fault);
            let mut ledger = before.clone();
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                match run_piece(&disk, piece.clone(), &mut ledger) {
                    Ok(log) => {
                        // The machine went on: what it says now must hold after a crash.
                        // The fault may have been kept for this very read.
                        let commits = all(&log).or_else(|_| all(&log)).unwrap();
                        ledger.verify(&commits, ledger.submitted.len());
                        drop(log);
                        full.fetch_add(usize::from(*fault == Fault::Enospc), Ordering::SeqCst);
                    }
                    Err(_) => {
                        poisoned.fetch_add(1, Ordering::SeqCst);
                        // Opened again on the same machine, whose cache may show what the disk does not have.
                        let log = open(&sim(&disk), options()).unwrap();
                        ledger.verify(&all(&log).unwrap(), ledger.n_acked());
                        ledger.settle(&log);
                        ledger.acked.resize(ledger.submitted.len(), None);
                        // Whatever it shows now must survive a crash.
                        for (n, commit) in all(&log).unwrap().into_iter().enumerate() {
                            let placed = commit.parts.iter().map(|p| regauge_log::Placed {
                                topic: p.topic,
                                partition: p.partition,
                                first_offset: p.first_offset,
                                n_rows: p.rows.num_rows() as u64,
                            });
                            let seen = Committed { lsn: commit.lsn, hlc: commit.hlc, placed: placed.collect(), duplicate: false };
                            ledger.acked[n].get_or_insert(seen);
                        }
                    }
                }
                let inner = disk.fired();
                unfired.fetch_add(usize::from(inner.is_empty()), Ordering::SeqCst);
                inner.into_iter().for_each(|(key, n)| *fired.lock().entry(key).or_default() += n);
                let n_acked = ledger.n_acked();
                disk.reboot(Keep::None);
                survive(&disk, &ledger, n_acked);
            }));
            runs.fetch_add(1, Ordering::SeqCst);
            if let Err(panic) = outcome {
                eprintln!("{fault:?} at call {call} of the piece {piece:?}: fired {:?}", disk.fired());
                std::panic::resume_unwind(panic);
            }
        });
        before = after;
    }
    let fired = fired.into_inner();
    println!(
        "{runs:?} runs of {} commits, {poisoned:?} poisoned, {full:?} full or unhurt, {unfired:?} without a fault, fired {fired:?}",
        before.n_acked()
    );
    println!("soak: cases={} faults={}", runs.into_inner(), fired.values().sum::<u64>());
    for what in
        ["create", "write", "sync", "sync_dir", "rename", "open", "read", "len", "list", "exists", "lock", "make_dir", "set_len"]
    {
        assert!(fired.contains_key(&(Fault::Eio, what)), "EIO never fired at {what}");
    }
    for what in ["create", "write", "sync", "sync_dir", "make_dir", "set_len"] {
        assert!(fired.contains_key(&(Fault::Enospc, what)), "ENOSPC never fired at {what}");
    }
}
