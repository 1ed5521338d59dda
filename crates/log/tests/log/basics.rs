//! What a caller sees: places, errors, folders.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parking_lot::Mutex;
use regauge_log::testing::{SimClock, SimDisk, env};
use regauge_log::{Append, Definition, Judge, Log, LogError, LogOptions, Refusal, Transaction};
use regauge_types::env::{Disk, OpenMode};
use regauge_types::{Env, ErrorKind, Hlc, Lsn, SchemaId, TopicId};

use crate::common::*;

#[test]
fn a_commit_over_several_topics_is_one_place_in_the_journal() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), quiet()).unwrap();
    let mut txn = define(&[topic(1, 1), topic(2, 4)]);
    txn.appends = [append(1, &[1, 2, 3]), append(2, &(10..40).collect::<Vec<_>>())].into_iter().flat_map(|t| t.appends).collect();
    txn.cause = Some(Bytes::from_static(b"seen"));
    let receipt = log.commit(txn).unwrap();
    assert_eq!(receipt.lsn, Lsn(1));
    assert_eq!(receipt.placed.iter().map(|p| p.n_rows).sum::<u64>(), 33);
    assert!(receipt.placed.len() > 2, "30 rows fall into more than one of four partitions");
    let second = log.commit(append(1, &[4])).unwrap();
    assert_eq!((second.lsn, second.placed[0].first_offset), (Lsn(2), 3));
    assert!(second.hlc > receipt.hlc);

    drop(log);
    let log = open(&sim(&disk), quiet()).unwrap();
    for commits in [all(&log).unwrap(), tail_all(&log).unwrap()] {
        assert_eq!(commits.len(), 2);
        assert_same(&commits[0], &receipt, &[1, 2, 3].into_iter().chain(10..40).collect::<Vec<_>>());
        assert_same(&commits[1], &second, &[4]);
        assert!(commits[0].parts.iter().all(|p| p.cause.as_deref() == Some(b"seen")));
        assert_eq!(commits[1].parts[0].cause, None);
        assert_eq!(commits[1].parts[0].rows.schema(), schema(), "column ids come back");
    }
    assert_eq!(log.topics(), vec![topic(1, 1), topic(2, 4)]);
    assert_eq!((log.durable(), log.last_hlc()), (Lsn(2), second.hlc));
}

#[test]
fn rows_of_one_key_keep_their_partition_and_their_order() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), quiet()).unwrap();
    log.commit(define(&[topic(1, 8)])).unwrap();
    for round in 0..5 {
        let batch: Vec<i64> = (0..200).map(|i| (i * 31 + round) % 50).collect();
        log.commit(append(1, &batch)).unwrap();
    }
    let mut home = std::collections::HashMap::new();
    let mut next = std::collections::HashMap::new();
    for part in all(&log).unwrap().iter().flat_map(|c| &c.parts) {
        assert_eq!(part.first_offset, *next.get(&part.partition).unwrap_or(&0));
        next.insert(part.partition, part.first_offset + part.rows.num_rows() as u64);
        for id in ids(&part.rows) {
            assert_eq!(*home.entry(id).or_insert(part.partition), part.partition);
        }
    }
    assert!(next.len() > 4);
}

#[test]
fn wrong_appends_are_refused_and_leave_no_trace() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), quiet()).unwrap();
    log.commit(define(&[topic(1, 2), topic(2, 1)])).unwrap();
    log.commit(Transaction { define: vec![Definition::DropTopic(TopicId(2))], ..Transaction::default() }).unwrap();
    let other = Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, true)]));
    let other_rows = RecordBatch::try_new(other, vec![Arc::new(Int32Array::from(vec![1]))]).unwrap();
    let one = |topic, partition, rows| Transaction {
        appends: vec![Append { topic: TopicId(topic), partition, rows }],
        ..Transaction::default()
    };
    let mut big_cause = append(1, &[1]);
    big_cause.cause = Some(Bytes::from(vec![0; 70_000]));
    let mut future = append(1, &[1]);
    future.clock_floor = Hlc::from_ms(NOW_MS + 3_600_000);
    let mut bad_name = define(&[topic(3, 1)]);
    if let Definition::Topic(spec) = &mut bad_name.define[0] {
        spec.name = "topic 1".to_owned();
    }
    let mut half = append(1, &[1]);
    half.appends.extend(append(9, &[2]).appends);
    let cases: Vec<(Transaction, ErrorKind, &str)> = vec![
        (append(9, &[1]), ErrorKind::NotFound, "unknown topic"),
        (append(2, &[1]), ErrorKind::NotFound, "dropped"),
        (half, ErrorKind::NotFound, "unknown topic"),
        (one(1, Some(2), rows(&[1])), ErrorKind::Invalid, "partition is out of range"),
        (one(1, None, other_rows), ErrorKind::Invalid, "number of columns expected=3 got=1"),
        (big_cause, ErrorKind::Exhausted, "cause is too large"),
        (future, ErrorKind::Invalid, "too far ahead"),
        (define(&[topic(1, 1)]), ErrorKind::Invalid, "id is taken"),
        (define(&[topic(2, 1)]), ErrorKind::Invalid, "id is taken"),
        (define(&[topic(3, 1), topic(3, 1)]), ErrorKind::Invalid, "id is taken"),
        (define(&[topic(3, 0)]), ErrorKind::Invalid, "impossible number of partitions"),
        (bad_name, ErrorKind::Invalid, "name is taken"),
        (by(append(1, &[1]), "", 0, 0), ErrorKind::Invalid, "producer id"),
    ];
    let before = log.last_hlc();
    for (txn, kind, text) in cases {
        let error = log.commit(txn).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!(log.topics().len(), 1);
    let receipt = log.commit(append(1, &[5])).unwrap();
    assert_eq!((receipt.lsn, receipt.placed[0].first_offset), (Lsn(3), 0));
    assert_eq!(receipt.hlc.ms(), before.ms(), "the far clock moved nothing");
}

#[test]
fn a_new_schema_holds_for_new_rows_and_old_rows_keep_theirs() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), quiet()).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    log.commit(append(1, &[1, 2])).unwrap();
    let mut fields = schema().fields().to_vec();
    fields.push(Arc::new(Field::new("more", DataType::Int32, true)));
    let wider = Arc::new(Schema::new(fields));
    let change = |id| Transaction {
        define: vec![Definition::Schema { topic: TopicId(1), id: SchemaId(id), schema: Arc::clone(&wider) }],
        ..Transaction::default()
    };
    assert_eq!(log.commit(change(1)).unwrap_err().kind(), ErrorKind::Invalid);
    log.commit(change(2)).unwrap();
    assert_eq!(log.commit(append(1, &[3])).unwrap_err().kind(), ErrorKind::Invalid);
    let mut columns = rows(&[3]).columns().to_vec();
    columns.push(Arc::new(Int32Array::from(vec![9])));
    let new_rows = RecordBatch::try_new(Arc::clone(&wider), columns).unwrap();
    log.commit(Transaction {
        appends: vec![Append { topic: TopicId(1), partition: None, rows: new_rows.clone() }],
        ..Transaction::default()
    })
    .unwrap();
    drop(log);
    let log = open(&sim(&disk), quiet()).unwrap();
    let commits = all(&log).unwrap();
    assert_eq!((commits[1].parts[0].schema_id, &commits[1].parts[0].rows), (SchemaId(1), &rows(&[1, 2])));
    assert_eq!((commits[3].parts[0].schema_id, &commits[3].parts[0].rows), (SchemaId(2), &new_rows));
    assert_eq!(log.source().schema(TopicId(1), SchemaId(1)), Some(schema()));
    assert_eq!(log.topics()[0].schema, wider);
}

#[test]
fn one_row_costs_at_most_150_bytes() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), quiet()).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    let before = disk.used();
    for id in 0..100 {
        log.commit(by(append(1, &[id]), "a producer", 1, id as u64)).unwrap();
    }
    let bytes = (disk.used() - before) / 100;
    let payload = 8 + 20 + 16;
    println!("bytes per append of one row: {bytes}, of which about {payload} are the row's own");
    assert!(bytes <= 150, "bytes={bytes}");
}

#[test]
fn clocks_ascend_over_restarts_although_the_wall_clock_jumps_back() {
    let disk = SimDisk::new(1);
    let clock = Arc::new(SimClock::new(NOW_MS));
    let world = env(&disk, &clock, 1);
    let mut last = Hlc::ZERO;
    for step in 0..6_u64 {
        clock.set_ms(if step % 2 == 0 { NOW_MS - step * 10_000 } else { NOW_MS + step });
        let log = open(&world, quiet()).unwrap();
        if step == 0 {
            log.commit(define(&[topic(1, 1)])).unwrap();
        }
        for id in 0..10 {
            let mut txn = append(1, &[id]);
            txn.clock_floor = Hlc(last.0 + 5);
            let hlc = log.commit(txn).unwrap().hlc;
            assert!(hlc.0 > last.0 + 5);
            last = hlc;
        }
    }
}

#[test]
fn a_folder_in_use_or_from_a_newer_release_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Env::real(), dir.path(), quiet()).unwrap();
    let error = Log::open(Env::real(), dir.path(), quiet()).err().unwrap();
    assert!(matches!(error, LogError::InUse { .. }) && error.hint().is_some(), "{error}");
    let dataset = log.dataset();
    drop(log);
    let log = Log::open(Env::real(), dir.path(), quiet()).unwrap();
    assert_eq!(log.dataset(), dataset);
    drop(log);

    let disk = Env::real().disk;
    let format = dir.path().join("FORMAT");
    use regauge_log::folder::{FORMAT_VERSION, format_text};
    disk.replace(&format, format_text(FORMAT_VERSION + 1, dataset).as_bytes(), false).unwrap();
    let error = Log::open(Env::real(), dir.path(), quiet()).err().unwrap();
    assert!(
        matches!(error, LogError::NewerFormat { found, supported: FORMAT_VERSION, .. } if found == FORMAT_VERSION + 1),
        "{error}"
    );
    assert!(error.hint().is_some(), "{error}");
    // One of an older release that does not open stays what it was: that release may have what it takes.
    disk.replace(&format, format_text(1, dataset).as_bytes(), false).unwrap();
    let mark = dir.path().join("journal/mark");
    let whole = disk.read_all(&mark, 4096).unwrap();
    disk.replace(&mark, &vec![0xff; whole.len()], false).unwrap();
    assert!(Log::open(Env::real(), dir.path(), quiet()).is_err());
    assert_eq!(disk.read_all(&format, 4096).unwrap(), format_text(1, dataset).into_bytes());
    disk.replace(&mark, &whole, false).unwrap();
    // One of an older release is read, and no older release opens it from then on.
    drop(Log::open(Env::real(), dir.path(), quiet()).unwrap());
    let written = disk.read_all(&format, 4096).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), format_text(FORMAT_VERSION, dataset));
    disk.remove(&format).unwrap();
    let error = Log::open(Env::real(), dir.path(), quiet()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn a_folder_of_another_data_set_is_not_taken_for_ours() {
    let make = |seed| {
        let disk = SimDisk::new(seed);
        let log = open(&env(&disk, &Arc::new(SimClock::new(NOW_MS)), seed), quiet()).unwrap();
        log.commit(define(&[topic(1, 1)])).unwrap();
        log.commit(append(1, &[1])).unwrap();
        disk
    };
    let (ours, theirs) = (make(1), make(2));
    let file = Path::new("/data/journal/00000000000000000001.rgj");
    ours.damage(file, theirs.bytes(file).unwrap());
    let error = open(&sim(&ours), quiet()).err().unwrap();
    assert!(matches!(error, LogError::Corrupt { offset: 0, .. }), "{error}");
}

struct Odd(Mutex<Vec<Lsn>>);

impl Judge for Odd {
    fn judge(&self, lsn: Lsn, _: Hlc, txn: &mut Transaction) -> Result<(), Refusal> {
        self.0.lock().push(lsn);
        match txn.context.take().and_then(|c| c.downcast::<i64>().ok()) {
            Some(even) if *even % 2 == 0 => Err(Refusal("even".into())),
            Some(odd) => {
                txn.appends.extend(append(1, &[*odd + 1000]).appends);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[test]
fn the_judge_sees_every_transaction_once_in_order_and_may_refuse_or_complete_it() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), quiet()).unwrap();
    let judge = Arc::new(Odd(Mutex::default()));
    log.set_judge(Arc::<Odd>::clone(&judge));
    log.commit(define(&[topic(1, 1)])).unwrap();
    for id in 0..6 {
        let mut txn = by(append(1, &[id]), "p", 1, (id / 2) as u64);
        txn.context = Some(Box::new(id));
        match log.commit(txn) {
            Ok(_) => assert_eq!(id % 2, 1),
            Err(LogError::Refused(refusal)) => assert_eq!((id % 2, refusal.to_string()), (0, "even".to_owned())),
            Err(other) => panic!("{other}"),
        }
    }
    let lsns: Vec<u64> = judge.0.lock().iter().map(|l| l.0).collect();
    assert_eq!(lsns, [1, 2, 2, 3, 3, 4, 4], "a refused transaction consumes no lsn");
    let commits = all(&log).unwrap();
    assert_eq!(commits[1..].iter().map(ids_of).collect::<Vec<_>>(), [[1, 1001], [3, 1003], [5, 1005]]);
}

#[test]
fn a_tail_that_reads_files_is_bounded_by_bytes_too() {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), LogOptions { tail_bytes: 0, ..quiet() }).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    let ids: Vec<i64> = (0..200_000).collect();
    for _ in 0..20 {
        log.commit(append(1, &ids)).unwrap();
    }
    let mut tail = log.tail(Lsn::ZERO);
    let mut runs = vec![];
    while let commits = tail.next(usize::MAX).unwrap()
        && !commits.is_empty()
    {
        runs.push(commits.len());
    }
    // some 8 MiB at a time, of 32 and more
    assert!(runs.iter().sum::<usize>() == 21 && runs.iter().all(|n| *n < 12), "{runs:?}");
}

#[test]
fn a_tail_gives_each_commit_once_from_memory_and_from_files() {
    let disk = SimDisk::new(1);
    let options = LogOptions { tail_bytes: 2000, journal_file_bytes: 3000, ..quiet() };
    let log = open(&sim(&disk), options).unwrap();
    log.commit(define(&[topic(1, 2)])).unwrap();
    let (mut near, mut far) = (log.tail(Lsn::ZERO), log.tail(Lsn::ZERO));
    let mut seen = vec![Vec::new(), Vec::new()];
    for id in 0..200 {
        log.commit(append(1, &[id, id + 1000])).unwrap();
        seen[0].extend(near.next(1).unwrap());
        if id % 37 == 0 {
            seen[1].extend(far.next(25).unwrap());
        }
    }
    for (tail, seen) in [&mut near, &mut far].into_iter().zip(&mut seen) {
        while let commits = tail.next(10).unwrap()
            && !commits.is_empty()
        {
            seen.extend(commits);
        }
        assert_eq!(seen.iter().map(|c| c.lsn.0).collect::<Vec<_>>(), (1..=201).collect::<Vec<_>>());
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], all(&log).unwrap());
    let files = disk.list(Path::new("/data/journal")).unwrap();
    assert!(files.len() > 5, "{files:?}");
    assert_eq!(log.wait_beyond(Lsn(201), Duration::from_millis(1)), Lsn(201));
    assert_eq!(log.wait_beyond(Lsn(3), Duration::from_secs(60)), Lsn(201));
    let only: Vec<_> = log.source().read(Lsn(5), Lsn(8), Some(TopicId(1))).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(only, seen[0][5..8]);
    assert_eq!(log.source().read(Lsn(5), Lsn(8), Some(TopicId(2))).unwrap().count(), 0);
}

#[test]
fn recovery_reads_the_last_file_only() {
    let disk = SimDisk::new(1);
    let options = LogOptions { journal_file_bytes: 2000, ..quiet() };
    let log = open(&sim(&disk), options.clone()).unwrap();
    log.commit(define(&[topic(1, 2)])).unwrap();
    for id in 0..100 {
        log.commit(by(append(1, &[id]), "p", 1, id as u64)).unwrap();
    }
    drop(log);
    // Every older file is unreadable; opening does not mind, reading it tells.
    let files: Vec<_> = disk.paths().into_iter().filter(|p| p.extension().is_some_and(|e| e == "rgj")).collect();
    for file in &files[..files.len() - 1] {
        disk.damage(file, vec![0; 5000]);
    }
    let log = open(&sim(&disk), options).unwrap();
    assert_eq!(log.topics(), vec![topic(1, 2)]);
    let again = log.commit(by(append(1, &[7]), "p", 1, 7)).unwrap();
    assert!(again.duplicate && again.lsn == Lsn(9), "{again:?}");
    assert_eq!(log.commit(append(1, &[100])).unwrap().lsn, Lsn(102));
    match all(&log).unwrap_err() {
        LogError::Corrupt { file, offset: 0, .. } => assert_eq!(file, files[0]),
        other => panic!("{other}"),
    }
    let env = sim(&disk);
    assert!(env.disk.open(&files[0], OpenMode::Read).is_ok(), "nothing was removed");
}
