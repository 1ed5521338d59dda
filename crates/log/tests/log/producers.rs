//! Retries, fences, gaps (promise I2).

use std::time::Duration;

use regauge_log::testing::{SimClock, SimDisk, env};
use regauge_log::{LogError, LogOptions};
use std::sync::Arc;

use crate::common::*;

#[test]
fn a_retry_is_not_stored_twice_and_gets_the_first_receipt() {
    let disk = SimDisk::new(1);
    let options = LogOptions { journal_file_bytes: 1500, ..quiet() };
    let mut log = open(&sim(&disk), options.clone()).unwrap();
    log.commit(define(&[topic(1, 2)])).unwrap();
    let mut receipts = Vec::new();
    for n in 0..40 {
        receipts.push(log.commit(by(append(1, &[n as i64, n as i64 + 50]), "p", 3, n)).unwrap());
        if n % 9 == 0 {
            drop(log);
            log = open(&sim(&disk), options.clone()).unwrap();
        }
        for (sequence, first) in receipts.iter().enumerate() {
            let again = log.commit(by(append(1, &[sequence as i64]), "p", 3, sequence as u64)).unwrap();
            assert!(again.duplicate && !first.duplicate);
            assert_eq!((again.lsn, again.hlc, &again.placed), (first.lsn, first.hlc, &first.placed));
        }
    }
    assert_eq!(all(&log).unwrap().len(), 41);
}

#[test]
fn a_retry_of_a_commit_in_flight_waits_for_it() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), quiet()).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    for n in 0..200 {
        let first = log.submit(by(append(1, &[n]), "p", 1, n as u64)).unwrap();
        let second = log.commit(by(append(1, &[n]), "p", 1, n as u64)).unwrap();
        assert!(second.duplicate && first.is_decided(), "the retry was answered before the first was durable");
        assert_eq!(first.wait().unwrap().lsn, second.lsn);
    }
}

#[test]
fn an_older_incarnation_is_fenced_and_a_newer_one_begins_at_zero() {
    let disk = SimDisk::new(1);
    let mut log = open(&sim(&disk), quiet()).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    log.commit(by(append(1, &[1]), "p", 5, 0)).unwrap();
    log.commit(by(append(1, &[2]), "p", 7, 0)).unwrap();
    for round in 0..2 {
        let error = log.commit(by(append(1, &[3]), "p", 5, 1)).unwrap_err();
        assert!(matches!(error, LogError::Fenced { incarnation: 5, current: 7, .. }), "{error}");
        let error = log.commit(by(append(1, &[3]), "p", 8, 1)).unwrap_err();
        assert!(matches!(error, LogError::SequenceGap { expected: 0, got: 1, .. }), "{error}");
        let error = log.commit(by(append(1, &[3]), "p", 7, 2 + round)).unwrap_err();
        assert!(matches!(error, LogError::SequenceGap { .. }), "{error}");
        log.commit(by(append(1, &[4]), "p", 7, 1 + round)).unwrap();
        drop(log);
        log = open(&sim(&disk), quiet()).unwrap();
    }
    assert_eq!(all(&log).unwrap().len(), 5);
}

#[test]
fn below_the_window_it_is_refused_and_never_guessed() {
    let disk = SimDisk::new(1);
    let options = LogOptions { dedup_window: 4, ..quiet() };
    let mut log = open(&sim(&disk), options.clone()).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    for n in 0..10 {
        log.commit(by(append(1, &[n]), "p", 1, n as u64)).unwrap();
    }
    for _ in 0..2 {
        for n in 0..10 {
            match log.commit(by(append(1, &[n]), "p", 1, n as u64)) {
                Ok(receipt) => assert!(receipt.duplicate && n >= 6),
                Err(error) => assert!(n < 6 && matches!(error, LogError::BelowWindow { oldest: 6, .. }), "{error}"),
            }
        }
        drop(log);
        log = open(&sim(&disk), options.clone()).unwrap();
    }
    assert_eq!(all(&log).unwrap().len(), 11);
}

#[test]
fn too_many_producers_are_refused_until_one_was_silent_for_long() {
    let disk = SimDisk::new(1);
    let clock = Arc::new(SimClock::new(NOW_MS));
    let options = LogOptions { producers_max: 3, producer_idle: Duration::from_secs(60), ..quiet() };
    let log = open(&env(&disk, &clock, 1), options).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    for (n, id) in ["a", "b", "c"].iter().enumerate() {
        clock.set_ms(NOW_MS + n as u64 * 1000);
        log.commit(by(append(1, &[n as i64]), id, 1, 0)).unwrap();
    }
    assert!(matches!(log.commit(by(append(1, &[9]), "d", 1, 0)).unwrap_err(), LogError::ProducersFull { max: 3 }));
    log.commit(by(append(1, &[9]), "a", 1, 1)).unwrap();
    clock.set_ms(NOW_MS + 61_500);
    log.commit(by(append(1, &[10]), "d", 1, 0)).unwrap();
    assert!(log.commit(by(append(1, &[10]), "a", 1, 1)).unwrap().duplicate, "b was silent for longer than a");
    assert!(matches!(log.commit(by(append(1, &[11]), "b", 1, 1)).unwrap_err(), LogError::ProducersFull { .. }));
}
