//! The archive under a real log: what was committed is what a scan gives, whatever was archived, crashed or restarted.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use super::archive_support::small;
use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema},
};
use regauge_log::{
    Append, ArchiveSettings, Definition, Log, LogError, LogOptions, Scan, ScanColumn, ScanSpec, TopicSpec, Transaction,
    archive::BackgroundOptions,
    testing::{self, Keep, SimClock, SimDisk},
};
use regauge_types::{COLUMN_ID_KEY, ColumnId, Env, Lsn, SchemaId, TopicId};
use std::{path::Path, sync::Arc, time::Duration};

fn topic() -> TopicSpec {
    let id = Field::new("id", DataType::Int64, true).with_metadata([(COLUMN_ID_KEY.to_owned(), "1".to_owned())].into());
    let schema = Arc::new(Schema::new(vec![id]));
    TopicSpec { id: TopicId(1), name: "t".into(), partitions: 2, partition_by: vec![0], schema_id: SchemaId(1), schema }
}

fn define() -> Transaction {
    Transaction { define: vec![Definition::Topic(topic())], ..Transaction::default() }
}

fn append(ids: std::ops::Range<i64>) -> Transaction {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    let rows = RecordBatch::try_new(topic().schema, vec![column]).unwrap();
    Transaction { appends: vec![Append { topic: TopicId(1), partition: None, rows }], ..Transaction::default() }
}

fn quiet() -> LogOptions {
    LogOptions {
        mark_idle: None,
        archive: ArchiveSettings { background: None, sizes: small(), store: None },
        ..LogOptions::default()
    }
}

fn spec(split: Option<(usize, usize)>) -> ScanSpec {
    ScanSpec { split, ..ScanSpec::all(TopicId(1), vec![ScanColumn::User(ColumnId(1)), ScanColumn::Offset], Lsn(u64::MAX)) }
}

fn ids(scan: Scan) -> Result<Vec<i64>, LogError> {
    let mut ids = Vec::new();
    for batch in scan {
        ids.extend_from_slice(batch?.rows.column(0).as_primitive::<Int64Type>().values());
    }
    ids.sort_unstable();
    Ok(ids)
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn a_log_scans_what_was_committed_before_and_after_archiving_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(Env::real(), dir.path(), quiet()).unwrap();
    log.commit(define()).unwrap();
    for round in 0..6 {
        for n in 0..10 {
            let first = (round * 10 + n) * 5;
            log.commit(append(first..first + 5)).unwrap();
        }
        let expected: Vec<i64> = (0..(round + 1) * 50).collect();
        assert_eq!(ids(log.scan(&spec(None)).unwrap()).unwrap(), expected);
        match round % 3 {
            0 => assert_eq!(log.archive_now().unwrap().archived, log.durable()),
            1 => {
                drop(log);
                log = Log::open(Env::real(), dir.path(), quiet()).unwrap();
            }
            _ => {}
        }
        let parts: Vec<Scan> = (0..3).map(|i| is_send(log.scan(&spec(Some((i, 3)))).unwrap())).collect();
        let mut united: Vec<i64> = parts.into_iter().flat_map(|scan| ids(scan).unwrap()).collect();
        united.sort_unstable();
        assert_eq!(united, expected);
    }
    assert!(dir.path().join("archive/manifest").exists());
    let manifest = log.archive().manifest();
    assert_eq!(manifest.state.lsn, manifest.archived, "the journal's state is in the manifest");
}

#[test]
fn the_background_thread_archives_a_busy_log_and_stops_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let background = BackgroundOptions { trigger_bytes: 4096, trigger_rows: 100, ..BackgroundOptions::default() };
    let options = LogOptions {
        archive: ArchiveSettings { background: Some(background), sizes: small(), store: None },
        ..LogOptions::default()
    };
    let log = Log::open(Env::real(), dir.path(), options.clone()).unwrap();
    log.commit(define()).unwrap();
    for n in 0..60 {
        log.commit(append(n * 10..n * 10 + 10)).unwrap();
        assert_eq!(ids(log.scan(&spec(None)).unwrap()).unwrap().len() as i64, n * 10 + 10);
    }
    let clock = Env::real().clock;
    while log.archive().archived().0 < 51 {
        assert!(clock.steady() < Duration::from_secs(120), "archived={}", log.archive().archived());
        clock.sleep(Duration::from_millis(5));
    }
    let clone = log.clone();
    log.close();
    assert!(matches!(clone.archive_now(), Err(LogError::Closed)));
    drop((log, clone));
    let again = Log::open(Env::real(), dir.path(), options).unwrap();
    assert_eq!(ids(again.scan(&spec(None)).unwrap()).unwrap(), (0..600).collect::<Vec<_>>());
}

#[test]
fn what_is_archived_from_memory_is_what_is_archived_from_the_files() {
    let archived = |tail_bytes: u64| {
        let disk = SimDisk::new(1);
        let env = testing::env(&disk, &Arc::new(SimClock::new(1_790_000_000_000)), 7);
        let log = Log::open(env, Path::new("/data"), LogOptions { tail_bytes, ..quiet() }).unwrap();
        log.commit(define()).unwrap();
        let mut calls = 0;
        for n in 0..60_i64 {
            log.commit(append(n * n..(n + 1) * (n + 1))).unwrap();
            if n % 25 == 24 || n == 59 {
                let before = disk.calls();
                assert_eq!(log.archive_now().unwrap().archived, log.durable());
                calls += disk.calls() - before;
            }
        }
        log.archive().verify().unwrap();
        let found = ids(log.scan(&spec(None)).unwrap()).unwrap();
        assert_eq!(found, (0..3600).collect::<Vec<_>>());
        let segments = log.archive().manifest().segments.clone();
        (calls, segments.iter().map(|s| (s.topic, s.partition, s.first_offset, s.rows, s.last_lsn, s.crc)).collect::<Vec<_>>())
    };
    let (memory, files, both) = (archived(1 << 20), archived(0), archived(4000));
    assert!(memory.0 < both.0 && both.0 <= files.0, "calls of the disk: {} < {} <= {}", memory.0, both.0, files.0);
    assert_eq!(memory.1, files.1);
    assert_eq!(both.1, files.1);
}

#[test]
fn a_log_with_an_archive_survives_a_power_cut_at_any_call() {
    let workload = |env: &Env, acked: &mut i64| -> Result<(), LogError> {
        let log = Log::open(env.clone(), Path::new("/data"), quiet())?;
        log.commit(define())?;
        for n in 0..4 {
            log.commit(append(n * 4..n * 4 + 4))?;
            *acked = n * 4 + 4;
            if n % 2 == 1 {
                log.archive_now()?;
            }
        }
        Ok(())
    };
    let env = |disk: &Arc<SimDisk>| testing::env(disk, &Arc::new(SimClock::new(1_790_000_000_000)), 7);
    let total = {
        let disk = SimDisk::new(1);
        workload(&env(&disk), &mut 0).unwrap();
        disk.calls()
    };
    let mut archived = 0;
    for call in 1..=total {
        for keep in [Keep::None, if call % 2 == 0 { Keep::All } else { Keep::Some(call) }, Keep::Sectors(call)] {
            let disk = SimDisk::new(call);
            disk.plan(call, testing::Fault::Crash);
            let mut acked = 0;
            let _ = workload(&env(&disk), &mut acked);
            disk.reboot(keep);
            let log = Log::open(env(&disk), Path::new("/data"), quiet()).unwrap();
            if log.topics().is_empty() {
                assert_eq!(acked, 0);
                continue;
            }
            let found = ids(log.scan(&spec(None)).unwrap()).unwrap();
            assert!(found.len() as i64 >= acked, "call={call} keep={keep:?} found={} acked={acked}", found.len());
            assert_eq!(found, (0..found.len() as i64).collect::<Vec<_>>(), "neither gap nor double");
            archived += u64::from(log.archive().archived() > Lsn::ZERO);
            log.archive_now().unwrap();
            assert_eq!(ids(log.scan(&spec(None)).unwrap()).unwrap(), found);
            log.archive().verify().unwrap();
        }
    }
    assert!(archived > 50, "crashes hit logs with an archive archived={archived}");
}

/// A call fails and the process goes on; a failed sync leaves pages that look written and are not. Then the power goes.
#[test]
fn what_was_said_to_be_archived_after_a_failed_call_survives_a_power_cut() {
    let env = |disk: &Arc<SimDisk>| testing::env(disk, &Arc::new(SimClock::new(1_790_000_000_000)), 7);
    let workload = |disk: &Arc<SimDisk>, before_archiving: &mut dyn FnMut(u64)| -> Result<(i64, Lsn), LogError> {
        let log = Log::open(env(disk), Path::new("/data"), quiet())?;
        log.commit(define())?;
        for n in 0..3 {
            log.commit(append(n * 4..n * 4 + 4))?;
            before_archiving(disk.calls());
            if log.archive_now().is_err() {
                log.archive_now()?;
            }
        }
        Ok((12, log.archive().proven()))
    };
    let mut archiving = Vec::new();
    let total = {
        let disk = SimDisk::new(1);
        workload(&disk, &mut |calls| archiving.push(calls)).unwrap();
        disk.calls()
    };
    let mut healed = 0;
    for call in archiving[0]..=total {
        for fault in [testing::Fault::Eio, testing::Fault::Enospc] {
            let disk = SimDisk::new(call);
            disk.plan(call, fault);
            let outcome = workload(&disk, &mut |_| {});
            disk.reboot(Keep::None);
            let log = Log::open(env(&disk), Path::new("/data"), quiet()).unwrap();
            log.archive().verify().unwrap();
            let found = ids(log.scan(&spec(None)).unwrap()).unwrap();
            assert_eq!(found, (0..found.len() as i64).collect::<Vec<_>>());
            if let Ok((acked, proven)) = outcome {
                healed += 1;
                assert_eq!(found.len() as i64, acked);
                assert!(
                    log.archive().archived() >= proven,
                    "call={call} fault={fault:?} proven={proven} archived={}",
                    log.archive().archived()
                );
            }
        }
    }
    assert!(healed > 100, "the archive goes on after a failure healed={healed}");
}

#[test]
fn a_journal_that_lost_archived_commits_is_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Env::real(), dir.path(), quiet()).unwrap();
    log.commit(define()).unwrap();
    let young = tempfile::tempdir().unwrap();
    drop(log);
    copy(dir.path(), young.path());
    let log = Log::open(Env::real(), dir.path(), quiet()).unwrap();
    log.commit(append(0..5)).unwrap();
    log.archive_now().unwrap();
    drop(log);
    copy(&dir.path().join("archive"), &young.path().join("archive"));
    let error = Log::open(Env::real(), young.path(), quiet()).err().unwrap();
    assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
}

#[allow(clippy::disallowed_methods)]
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
