//! No room: typed errors, nothing lost, nothing half done, and on it goes when there is room (promise I13).

use std::sync::Arc;

use parking_lot::Mutex;
use regauge_log::testing::{Fault, Keep, SimDisk};
use regauge_log::{Definition, Judge, LogError, LogOptions, Refusal, Transaction};
use regauge_types::{ErrorKind, Hlc, Lsn, TopicId};

use crate::common::*;

#[test]
fn a_full_disk_fails_commits_typed_reads_go_on_and_writes_resume_with_room() {
    let disk = SimDisk::new(1);
    let mut log = open(&sim(&disk), LogOptions { journal_file_bytes: 2000, ..quiet() }).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    let mut kept = Vec::new();
    for round in 0..5_i64 {
        disk.set_capacity(Some(disk.used() + 3000));
        let mut failed = 0;
        for n in 0..60 {
            let id = round * 1000 + n;
            match log.commit(by(append(1, &[id, id + 500]), "p", 1, kept.len() as u64)) {
                Ok(receipt) => kept.push((receipt, id)),
                Err(error) => {
                    failed += 1;
                    assert!(
                        matches!(error, LogError::DiskFull { .. })
                            && error.kind() == ErrorKind::Exhausted
                            && error.hint().is_some(),
                        "{error}"
                    );
                    assert_eq!(all(&log).unwrap().len(), kept.len() + 1);
                }
            }
        }
        assert!(failed > 0 && failed < 60, "failed={failed}");
        disk.set_capacity(None);
        if round == 2 {
            drop(log);
            disk.reboot(Keep::None);
            log = open(&sim(&disk), LogOptions { journal_file_bytes: 2000, ..quiet() }).unwrap();
        }
    }
    let commits = all(&log).unwrap();
    assert_eq!(commits.len(), kept.len() + 1);
    for (commit, (receipt, id)) in commits[1..].iter().zip(&kept) {
        assert_same(commit, receipt, &[*id, *id + 500]);
    }
}

#[test]
fn a_full_disk_takes_back_definitions_producers_and_offsets_too() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), quiet()).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    let first = log.commit(by(append(1, &[1]), "p", 1, 0)).unwrap();
    disk.set_capacity(Some(disk.used()));
    let fails = |txn| assert!(matches!(log.commit(txn), Err(LogError::DiskFull { .. })));
    fails(define(&[topic(2, 1)]));
    fails(Transaction { define: vec![Definition::DropTopic(TopicId(1))], ..Transaction::default() });
    fails(by(append(1, &[2]), "p", 1, 1));
    fails(by(append(1, &[2]), "p", 2, 0));
    disk.set_capacity(None);
    assert_eq!(log.topics(), vec![topic(1, 1)]);
    assert!(log.commit(by(append(1, &[1]), "p", 1, 0)).unwrap().duplicate, "the newer incarnation never happened");
    let second = log.commit(by(append(1, &[2]), "p", 1, 1)).unwrap();
    assert_eq!((second.lsn, second.placed[0].first_offset), (Lsn(3), 1));
    assert!(second.hlc > first.hlc);
    log.commit(define(&[topic(2, 1)])).unwrap();
}

#[test]
fn several_commits_without_room_all_fail_and_all_are_taken_back() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), quiet()).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    disk.set_capacity(Some(disk.used() + 500));
    let pending: Vec<_> = (0..50).map(|n| log.submit(append(1, &[n])).unwrap()).collect();
    let outcomes: Vec<_> = pending.into_iter().map(regauge_log::Pending::wait).collect();
    let n_stored = outcomes.iter().filter(|o| o.is_ok()).count();
    assert!(outcomes.iter().any(Result::is_err));
    assert_eq!(all(&log).unwrap().len(), n_stored + 1);
    disk.set_capacity(None);
    let receipt = log.commit(append(1, &[99])).unwrap();
    assert_eq!((receipt.lsn.0, receipt.placed[0].first_offset), (n_stored as u64 + 2, n_stored as u64));
}

/// Waits until the writer has done what it does behind an acknowledgement: no call for 300 ms.
fn settle(disk: &SimDisk) {
    let (mut calls, mut quiet) = (u64::MAX, 0);
    for _ in 0..1200 {
        let now = disk.calls();
        quiet = if now == calls { quiet + 1 } else { 0 };
        if quiet == 3 {
            return;
        }
        calls = now;
        regauge_types::Env::real().clock.sleep(std::time::Duration::from_millis(100));
    }
    panic!("the disk never comes to rest: calls={calls}");
}

#[test]
fn without_room_for_a_new_file_the_old_one_goes_on() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), LogOptions { journal_file_bytes: 1, ..quiet() }).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    // The next call that can fail for want of room is that of the new file: its making, its length, its bytes.
    for (n, call) in [0, 1, 2].into_iter().enumerate() {
        // A new file is begun after the commit before it was acknowledged: a fault planned meanwhile would hit that file's mark.
        settle(&disk);
        let files = disk.paths().len();
        // Each commit asks for a file; the plan lets the commit's own write and sync pass.
        disk.plan(2 + call, Fault::Enospc);
        log.commit(append(1, &[n as i64 * 10])).unwrap();
        log.commit(append(1, &[n as i64 * 10 + 1])).unwrap();
        log.commit(append(1, &[n as i64 * 10 + 2])).unwrap();
        assert!(disk.paths().len() > files);
    }
    assert!(!disk.fired().is_empty());
    drop(log);
    disk.reboot(Keep::None);
    let log = open(&sim(&disk), quiet()).unwrap();
    assert_eq!(all(&log).unwrap().len(), 10);
}

/// Notes what it admitted; forgets if it can.
struct Notes {
    admitted: Mutex<Vec<Lsn>>,
    can_forget: bool,
}

impl Judge for Notes {
    fn judge(&self, lsn: Lsn, _: Hlc, _: &mut Transaction) -> Result<(), Refusal> {
        self.admitted.lock().push(lsn);
        Ok(())
    }
    fn revoke(&self, from: Lsn) -> bool {
        if self.can_forget {
            self.admitted.lock().retain(|lsn| *lsn < from);
        }
        self.can_forget
    }
}

#[test]
fn the_judge_is_told_what_never_happened_and_if_it_cannot_forget_the_log_stops() {
    for can_forget in [true, false] {
        let disk = SimDisk::new(1);
        let log = open(&sim(&disk), quiet()).unwrap();
        let notes = Arc::new(Notes { admitted: Mutex::default(), can_forget });
        log.set_judge(Arc::<Notes>::clone(&notes));
        log.commit(define(&[topic(1, 1)])).unwrap();
        disk.set_capacity(Some(disk.used()));
        assert!(matches!(log.commit(append(1, &[1])), Err(LogError::DiskFull { .. })));
        disk.set_capacity(None);
        if can_forget {
            assert_eq!(*notes.admitted.lock(), [Lsn(1)]);
            assert_eq!(log.commit(append(1, &[1])).unwrap().lsn, Lsn(2));
            assert_eq!(*notes.admitted.lock(), [Lsn(1), Lsn(2)]);
        } else {
            assert!(matches!(log.commit(append(1, &[1])), Err(LogError::Poisoned { .. })));
            assert_eq!(all(&log).unwrap().len(), 1);
            drop(log);
            let log = open(&sim(&disk), quiet()).unwrap();
            assert_eq!(log.commit(append(1, &[1])).unwrap().lsn, Lsn(2));
        }
    }
}
