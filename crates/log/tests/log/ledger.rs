//! What was skipped is a fact of the log (promise I12): it survives what the log survives, and is taken back with what did not happen.

use std::collections::BTreeMap;

use regauge_log::producers::Bounds;
use regauge_log::state::LogState;
use regauge_log::testing::{Keep, SimDisk};
use regauge_log::{Ledger, LogError, LogOptions, ProducerSeq, Skip, Tally, Transaction};
use regauge_types::{Lsn, TopicId};

use crate::common::*;

fn counted(mut txn: Transaction, n_rows: u64) -> Transaction {
    txn.skips = vec![Skip { topic: TopicId(1), n_rows }];
    txn
}

fn tally(ledger: &Ledger, topic: u32) -> (u64, u64) {
    let Tally { stored, skipped } = ledger.topic(TopicId(topic));
    (stored, skipped)
}

#[test]
fn a_repetition_is_a_commit_without_rows_and_is_counted_once_each_time() {
    let disk = SimDisk::new(1);
    let mut log = open(&sim(&disk), quiet()).unwrap();
    log.commit(define(&[topic(1, 3), topic(2, 1)])).unwrap();
    let send = |log: &regauge_log::Log, sequence| log.commit(by(counted(append(1, &[1, 2, 3]), 3), "p", 1, sequence)).unwrap();
    let first = send(&log, 0);
    assert_eq!((first.duplicate, tally(&log.ledger(), 1)), (false, (3, 0)));
    for round in 1..=2 {
        let again = send(&log, 0);
        assert!(again.duplicate && again.lsn == first.lsn && again.placed == first.placed);
        assert_eq!(tally(&log.ledger(), 1), (3, 3 * round));
    }
    // Without a count the old receipt costs nothing, as before.
    let before = log.durable();
    assert!(log.commit(by(append(1, &[1, 2, 3]), "p", 1, 0)).unwrap().duplicate);
    assert_eq!(log.durable(), before);
    send(&log, 1);
    let ledger = log.ledger();
    assert_eq!((tally(&ledger, 1), tally(&ledger, 2), tally(&ledger, 9)), ((6, 6), (0, 0), (0, 0)));
    let [producer] = ledger.producers.as_slice() else { panic!("{ledger:?}") };
    assert_eq!((producer.id.as_str(), producer.incarnation, producer.next), ("p", 1, 2));
    assert_eq!(producer.topics, BTreeMap::from([(TopicId(1), Tally { stored: 6, skipped: 6 })]));
    let rows: Vec<usize> = all(&log).unwrap().iter().map(|c| c.parts.iter().map(|p| p.rows.num_rows()).sum()).collect();
    assert_eq!(rows, [0, 3, 0, 0, 3]);
    // All of it is durable with its answer.
    drop(log);
    disk.reboot(Keep::None);
    log = open(&sim(&disk), quiet()).unwrap();
    assert_eq!(log.ledger(), ledger);
    assert!(send(&log, 1).duplicate);
    assert_eq!(tally(&log.ledger(), 1), (6, 9));
}

#[test]
fn a_higher_incarnation_goes_on_counting_and_a_look_counts_nothing() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), quiet()).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    let seq = |incarnation, sequence| ProducerSeq { id: "p".to_owned(), incarnation, sequence };
    let skips = [Skip { topic: TopicId(1), n_rows: 2 }];
    assert_eq!(log.skip(&seq(1, 0), &skips).unwrap(), None, "nothing came before");
    let first = log.commit(by(append(1, &[1, 2]), "p", 1, 0)).unwrap();
    assert_eq!(log.find(&seq(1, 0)).unwrap().map(|c| c.lsn), Some(first.lsn));
    assert_eq!(tally(&log.ledger(), 1), (2, 0));
    assert_eq!(log.skip(&seq(1, 0), &skips).unwrap().map(|c| (c.lsn, c.duplicate)), Some((first.lsn, true)));
    log.commit(by(append(1, &[5]), "p", 2, 0)).unwrap();
    let before = log.ledger();
    assert!(matches!(log.skip(&seq(1, 0), &[]), Err(LogError::BadTransaction { .. })), "it would be an append of its own");
    assert_eq!(log.ledger(), before);
    assert!(matches!(log.skip(&seq(1, 0), &skips), Err(LogError::Fenced { .. })));
    let unknown = [Skip { topic: TopicId(7), n_rows: 2 }];
    assert!(matches!(log.skip(&seq(2, 0), &unknown), Err(LogError::UnknownTopic { .. })));
    let ledger = log.ledger();
    assert_eq!(tally(&ledger, 1), (3, 2));
    assert_eq!(ledger.producers[0].topics, BTreeMap::from([(TopicId(1), Tally { stored: 3, skipped: 2 })]));
}

#[test]
fn what_finds_no_room_is_not_counted_and_files_of_the_journal_carry_the_sum_on() {
    let disk = SimDisk::new(1);
    let options = || LogOptions { journal_file_bytes: 1500, ..quiet() };
    let mut log = open(&sim(&disk), options()).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    let (mut stored, mut skipped) = (0, 0);
    for n in 0..60_u64 {
        log.commit(by(append(1, &[n as i64]), "p", 1, n)).unwrap();
        stored += 1;
        if n % 7 == 3 {
            disk.set_capacity(Some(disk.used()));
        }
        match log.commit(by(counted(append(1, &[n as i64]), 1), "p", 1, n)) {
            Ok(receipt) => {
                assert!(receipt.duplicate);
                skipped += 1;
            }
            Err(error) => assert!(matches!(error, LogError::DiskFull { .. }), "{error}"),
        }
        if n % 7 == 3 {
            // Nor does what would have fenced it.
            assert!(matches!(log.commit(by(append(1, &[1]), "p", 2, 0)), Err(LogError::DiskFull { .. })));
        }
        disk.set_capacity(None);
        let ledger = log.ledger();
        assert_eq!(tally(&ledger, 1), (stored, skipped), "n={n}");
        if n % 10 == 0 {
            drop(log);
            disk.reboot(Keep::None);
            log = open(&sim(&disk), options()).unwrap();
            assert_eq!(log.ledger(), ledger, "n={n}");
        }
    }
    assert!(skipped > 40 && skipped < 60, "some found no room: {skipped}");
}

#[test]
fn a_state_of_an_earlier_release_reads_as_one_that_skipped_nothing() {
    // As to_bytes of version 1 wrote it: lsn 0, clock 0, no topics, no producers; then a producer with one receipt.
    let bounds = Bounds { window: 8, producers_max: 8, idle_ms: 1 };
    let empty = LogState::from_bytes(&[1, 0, 0, 0, 0], bounds).unwrap();
    assert_eq!((empty.lsn, empty.ledger()), (Lsn(0), Ledger::default()));
    let one = [1, 5, 9, 0, 1, 1, b'p', 1, 1, 1, 5, 9, 1, 3, 0, 0, 2];
    let state = LogState::from_bytes(&one, bounds).unwrap();
    let [producer] = &state.ledger().producers[..] else { panic!("one producer") };
    assert_eq!((producer.id.as_str(), producer.next, producer.topics.len()), ("p", 1, 0));
    let again = LogState::from_bytes(&state.to_bytes(), bounds).unwrap();
    assert_eq!(again, state);
}
