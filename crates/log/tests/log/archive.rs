//! The archive's promises: a scan over archive and journal is the log, whatever was archived when.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::disallowed_methods)]

use super::archive_support::*;
use arrow::{
    array::*,
    datatypes::{DataType, Field, IntervalMonthDayNano, Schema, TimeUnit},
};
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{memory::InMemory, path::Path as ObjectPath, *};
use proptest::prelude::*;
use regauge_log::{
    LogError,
    archive::*,
    model::CommitSource,
    scan::{Scan, ScanColumn, ScanSpec},
};
use regauge_types::{COLUMN_ID_KEY, ColumnId, DataSetId, ErrorKind, Lsn, SchemaId, TopicId, env::Env};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

#[derive(Clone, Debug)]
enum Event {
    Commit(Vec<Rows>, Option<Vec<u8>>),
    Evolve(u32),
    Archive,
    ArchiveUpTo(u64),
    Reopen,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let rows = (1..3u32, 0..N_PARTITIONS, prop_oneof![3 => 0..4usize, 1 => 0..60usize]);
    let cause = proptest::option::weighted(0.3, proptest::collection::vec(any::<u8>(), 0..4));
    let event = prop_oneof![
        12 => (proptest::collection::vec(rows, 0..4), cause).prop_map(|(rows, cause)| Event::Commit(rows, cause)),
        1 => (1..3u32).prop_map(Event::Evolve),
        2 => Just(Event::Archive),
        1 => (0..40u64).prop_map(Event::ArchiveUpTo),
        1 => Just(Event::Reopen),
    ];
    proptest::collection::vec(event, 1..40)
}

#[derive(Clone, Debug)]
struct Question {
    topic: u32,
    after: u64,
    up_to: u64,
    columns: Vec<prop::sample::Index>,
    partitions: Option<Vec<u32>>,
    batch_rows: usize,
    splits: usize,
}

fn questions() -> impl Strategy<Value = Vec<Question>> {
    let columns = proptest::collection::vec(any::<prop::sample::Index>(), 0..5);
    let partitions = proptest::option::of(proptest::collection::vec(0..N_PARTITIONS + 1, 0..3));
    let batch_rows = prop_oneof![Just(0usize), Just(1), Just(3), Just(10), Just(1000)];
    let one = (1..3u32, 0..40u64, 0..45u64, columns, partitions, batch_rows, 1..5usize).prop_map(
        |(topic, after, up_to, columns, partitions, batch_rows, splits)| Question {
            topic,
            after,
            up_to,
            columns,
            partitions,
            batch_rows,
            splits,
        },
    );
    proptest::collection::vec(one, 1..5)
}

fn play(events: &[Event]) -> (MemoryDisk, Archive, Arc<VecJournal>) {
    let disk = MemoryDisk::default();
    let journal = Arc::new(VecJournal::new(&[1, 2]));
    let mut archive = open(&disk, small()).unwrap();
    for event in events {
        match event {
            Event::Commit(rows, cause) => {
                journal.commit_with(rows, cause.clone().map(Bytes::from));
            }
            Event::Evolve(topic) => journal.evolve(*topic),
            Event::Archive => {
                let report = archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
                assert_eq!(report.archived, journal.durable());
            }
            Event::ArchiveUpTo(lsn) => {
                archive.run(&*journal, Lsn(*lsn), None).unwrap();
            }
            Event::Reopen => archive = open(&disk, small()).unwrap(),
        }
    }
    (disk, archive, journal)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The promise: whatever was archived when, a scan is the filter of the commits, in offset order, and its splits are
    /// disjoint and together the whole.
    #[test]
    fn a_scan_is_the_filter_of_the_commits(events in events(), questions in questions()) {
        let (_, archive, journal) = play(&events);
        for q in questions {
            let known = all_columns(&journal, q.topic);
            let spec = ScanSpec {
                topic: TopicId(q.topic),
                partitions: q.partitions,
                columns: q.columns.iter().map(|i| *i.get(&known)).collect(),
                after: Lsn(q.after),
                up_to: Lsn(q.up_to),
                batch_rows: q.batch_rows,
                split: None,
            };
            let expected = journal.expected(&spec);
            let (found, _) = scanned(&archive, &journal, &spec).unwrap();
            prop_assert_eq!(&found, &expected);

            let mut with_offset = spec.clone();
            with_offset.columns.insert(0, ScanColumn::Offset);
            let mut united: std::collections::BTreeMap<u32, Vec<Vec<String>>> = Default::default();
            for index in 0..q.splits {
                let part = ScanSpec { split: Some((index, q.splits)), ..with_offset.clone() };
                let (rows, _) = scanned(&archive, &journal, &part).unwrap();
                for (partition, rows) in rows {
                    let offsets: Vec<u64> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
                    prop_assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "offsets ascend within a part");
                    united.entry(partition).or_default().extend(rows);
                }
            }
            for rows in united.values_mut() {
                rows.sort_by_key(|row| row[0].parse::<u64>().unwrap());
            }
            prop_assert_eq!(united, journal.expected(&with_offset));
        }
    }

    /// What is archived says the same after a restart, and all checksums are right.
    #[test]
    fn a_reopened_archive_is_the_same(events in events()) {
        let (disk, archive, journal) = play(&events);
        archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
        let again = open(&disk.after(Crash::Lose), small()).unwrap();
        prop_assert_eq!(&*again.manifest(), &*archive.manifest());
        again.verify().unwrap();
        check_all(&again, &journal, &[1, 2]);
    }
}

/// Split scans that begin before and after an archive run still deal out every row once.
#[test]
fn parts_of_a_scan_may_begin_at_different_moments() {
    let disk = MemoryDisk::default();
    let journal = Arc::new(VecJournal::new(&[1]));
    let archive = open(&disk, small()).unwrap();
    for n in 0..30 {
        journal.commit(&[(1, n % N_PARTITIONS, 7)]);
    }
    let spec = |i| ScanSpec {
        split: Some((i, 3)),
        ..ScanSpec::all(TopicId(1), vec![ScanColumn::Partition, ScanColumn::Offset], Lsn(30))
    };
    let mut rows = Vec::new();
    for i in 0..3 {
        rows.extend(scanned(&archive, &journal, &spec(i)).unwrap().0.into_values().flatten());
        archive.run(&*journal, Lsn(13 * (i as u64 + 1)), None).unwrap();
    }
    rows.sort();
    let mut expected: Vec<_> = journal.expected(&spec(0)).into_values().flatten().collect();
    expected.sort();
    assert_eq!(rows, expected);
}

#[test]
fn a_scan_beside_archive_runs_sees_neither_gap_nor_double() {
    let disk = MemoryDisk::default();
    let journal = Arc::new(VecJournal::new(&[1]));
    let archive = Arc::new(open(&disk, small()).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let archiver = {
        let (archive, journal, stop) = (Arc::clone(&archive), Arc::clone(&journal), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut runs = 0;
            while !stop.load(Ordering::SeqCst) {
                archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
                runs += 1;
            }
            runs
        })
    };
    for n in 0..80u32 {
        journal.commit(&[(1, n % N_PARTITIONS, 3), (1, (n + 1) % N_PARTITIONS, 1)]);
        let spec = ScanSpec {
            batch_rows: 5,
            ..ScanSpec::all(TopicId(1), vec![ScanColumn::Offset, ScanColumn::User(ColumnId(1))], journal.durable())
        };
        let (found, _) = scanned(&archive, &journal, &spec).unwrap();
        assert_eq!(found, journal.expected(&spec));
    }
    stop.store(true, Ordering::SeqCst);
    assert!(archiver.join().unwrap() > 0);
    assert!(archive.manifest().number > 3, "the archive moved while scans ran");
}

#[test]
fn a_scan_ends_at_what_was_durable_when_it_began() {
    let disk = MemoryDisk::default();
    let journal = Arc::new(VecJournal::new(&[1]));
    let archive = open(&disk, small()).unwrap();
    journal.commit(&[(1, 0, 5)]);
    let spec = ScanSpec::all(TopicId(1), vec![ScanColumn::Offset], Lsn(u64::MAX));
    let scan = Scan::begin(&archive, Arc::clone(&journal) as Arc<dyn CommitSource>, &spec).unwrap();
    journal.commit(&[(1, 0, 5)]);
    archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
    assert_eq!(scan.map(|batch| batch.unwrap().rows.num_rows()).sum::<usize>(), 5);
}

#[test]
fn ten_thousand_commits_of_one_row_come_in_two_batches() {
    let disk = MemoryDisk::default();
    let journal = Arc::new(VecJournal::new(&[1]));
    for _ in 0..10_000 {
        journal.commit(&[(1, 0, 1)]);
    }
    let archive = open(&disk, ArchiveOptions::default()).unwrap();
    let spec = ScanSpec::all(TopicId(1), all_columns(&journal, 1), journal.durable());
    let (found, from_journal) = scanned(&archive, &journal, &spec).unwrap();
    assert_eq!(found, journal.expected(&spec));
    assert_eq!(from_journal, 2);
    // One segment for each hundred commits, and the last hundred only in the journal.
    for lsn in (100..10_000).step_by(100) {
        archive.run(&*journal, Lsn(lsn), None).unwrap();
    }
    let n_segments = archive.manifest().segments.len();
    assert!(n_segments < 30, "small segments are merged segments={n_segments}");
    let (again, from_archive) = scanned(&archive, &journal, &spec).unwrap();
    assert_eq!(again, found);
    assert!(from_archive <= 3, "small segments are gathered batches={from_archive}");
}

#[test]
fn a_column_added_later_is_null_before_and_a_dropped_one_can_still_be_read() {
    let disk = MemoryDisk::default();
    let journal = Arc::new(VecJournal::new(&[1]));
    let archive = open(&disk, small()).unwrap();
    for _ in 0..4 {
        journal.commit(&[(1, 0, 5)]);
        journal.evolve(1);
    }
    for archived in [0, 2, 5, 8] {
        archive.run(&*journal, Lsn(archived), None).unwrap();
        check_all(&archive, &journal, &[1]);
    }
    assert_eq!(archive.manifest().segments.len(), 4, "a segment has one schema");
    let spec = ScanSpec::all(TopicId(1), vec![ScanColumn::User(ColumnId(3)), ScanColumn::User(ColumnId(2))], Lsn(8));
    let scan = Scan::begin(&archive, Arc::clone(&journal) as Arc<dyn CommitSource>, &spec).unwrap();
    let schema = scan.schema();
    assert_eq!((schema.field(0).name().as_str(), schema.field(0).data_type()), ("c", &DataType::Int64), "the widened type");
    assert_eq!(schema.field(1).name(), "b");
    let unknown = ScanSpec::all(TopicId(1), vec![ScanColumn::User(ColumnId(99))], Lsn(8));
    let refused = Scan::begin(&archive, journal as Arc<dyn CommitSource>, &unknown).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

#[test]
fn unknown_topics_and_impossible_parts_are_refused() {
    let archive = open(&MemoryDisk::default(), small()).unwrap();
    let journal: Arc<dyn CommitSource> = Arc::new(VecJournal::new(&[1]));
    let spec = ScanSpec::all(TopicId(9), vec![], Lsn(1));
    assert!(matches!(Scan::begin(&archive, Arc::clone(&journal), &spec), Err(LogError::UnknownTopic { .. })));
    let spec = ScanSpec { split: Some((2, 2)), ..ScanSpec::all(TopicId(1), vec![], Lsn(1)) };
    assert_eq!(Scan::begin(&archive, journal, &spec).err().unwrap().kind(), ErrorKind::Invalid);
}

/// Counts the bytes that readers fetch.
#[derive(Debug)]
struct Counting(InMemory, Arc<AtomicU64>);

impl std::fmt::Display for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "counting")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, location: &ObjectPath, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.0.put_opts(location, payload, opts).await
    }
    async fn put_multipart_opts(&self, location: &ObjectPath, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }
    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        let got = self.0.get_opts(location, options).await?;
        self.1.fetch_add(got.range.end - got.range.start, Ordering::SeqCst);
        Ok(got)
    }
    async fn get_ranges(&self, location: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.1.fetch_add(ranges.iter().map(|r| r.end - r.start).sum(), Ordering::SeqCst);
        self.0.get_ranges(location, ranges).await
    }
    fn delete_stream(&self, locations: BoxStream<'static, Result<ObjectPath>>) -> BoxStream<'static, Result<ObjectPath>> {
        self.0.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

/// A topic of one narrow and one wide column, archived in row groups of 64 rows in a foreign store with its own runtime.
fn wide(runtime: &tokio::runtime::Runtime) -> (Archive, Arc<VecJournal>, Arc<AtomicU64>) {
    let field =
        |name: &str, ty, id: u32| Field::new(name, ty, true).with_metadata([(COLUMN_ID_KEY.to_owned(), id.to_string())].into());
    let schema = Arc::new(Schema::new(vec![field("narrow", DataType::Int32, 1), field("wide", DataType::Utf8, 2)]));
    let journal = Arc::new(VecJournal::new(&[]));
    let mut chance = Chance(3);
    for n in 0..64i32 {
        let noise: String = (0..60).map(|_| format!("{:016x}", chance.next())).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(n * 8..n * 8 + 8)),
            Arc::new(StringArray::from_iter_values((0..8).map(|i| format!("{i}{noise}")))),
        ];
        journal.commit_rows(1, RecordBatch::try_new(Arc::clone(&schema), columns).unwrap());
    }
    let read = Arc::new(AtomicU64::new(0));
    let objects = Objects::new(Arc::new(Counting(InMemory::new(), Arc::clone(&read))), Some(runtime.handle().clone()));
    let archive =
        Archive::open(Env::real(), objects, DATA_SET, ArchiveOptions { row_group_rows: 64, ..ArchiveOptions::default() })
            .unwrap();
    archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
    (archive, journal, read)
}

#[test]
fn only_the_columns_and_row_groups_that_are_needed_are_read() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (archive, journal, read) = wide(&runtime);
    let info = archive.manifest().segments[0].clone();
    let cost = |spec: &ScanSpec| {
        read.store(0, Ordering::SeqCst);
        let (found, _) = scanned(&archive, &journal, spec).unwrap();
        assert!(spec.split.is_some() || found == journal.expected(spec), "the rows of the model");
        read.load(Ordering::SeqCst) - info.footer_bytes
    };
    let all = |columns| ScanSpec::all(TopicId(1), columns, Lsn(64));
    let everything = cost(&all(vec![ScanColumn::User(ColumnId(1)), ScanColumn::User(ColumnId(2))]));
    let narrow = cost(&all(vec![ScanColumn::User(ColumnId(1))]));
    assert!(narrow * 10 < everything, "narrow={narrow} everything={everything}");
    assert_eq!(cost(&all(vec![ScanColumn::Offset, ScanColumn::Partition, ScanColumn::Schema])), 0, "these need no data");
    assert_eq!(cost(&all(vec![])), 0);
    // 64 commits of 8 rows in row groups of 64 rows: commits 17..=24 are the third row group.
    let third = ScanSpec { after: Lsn(16), up_to: Lsn(24), ..all(vec![ScanColumn::User(ColumnId(1))]) };
    assert!(cost(&third) * 7 < narrow, "one of eight row groups, without the lsn column");
    let part = ScanSpec { split: Some((0, 8)), ..all(vec![ScanColumn::User(ColumnId(2))]) };
    assert!(cost(&part) * 7 < everything, "a part reads its own row groups only");
}

#[test]
fn the_same_commits_give_the_same_bytes() {
    let segments = || {
        let (disk, archive, journal) = play(&[
            Event::Commit(vec![(1, 0, 50), (2, 1, 3)], None),
            Event::Commit(vec![(1, 1, 5)], Some(vec![1, 2])),
            Event::Evolve(1),
            Event::Commit(vec![(1, 0, 2)], None),
        ]);
        archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
        disk.files()
    };
    let (first, second) = (segments(), segments());
    assert!(first.len() >= 5);
    assert_eq!(first, second);
}

#[test]
fn every_type_of_the_journal_comes_back_as_it_was() {
    let field = |i: usize, ty: &DataType| {
        Field::new(format!("_{}", ["offset", "lsn", "x"][i.min(2)]), ty.clone(), true)
            .with_metadata([(COLUMN_ID_KEY.to_owned(), (i + 1).to_string())].into())
    };
    let intervals =
        vec![Some(IntervalMonthDayNano::new(1, -2, i64::MAX)), None, Some(IntervalMonthDayNano::new(i32::MIN, 0, -1))];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        Arc::new(UInt8Array::from(vec![Some(1), Some(255), None])),
        Arc::new(Int16Array::from(vec![None, Some(i16::MIN), Some(i16::MAX)])),
        Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(1)])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None])),
        Arc::new(Float32Array::from(vec![Some(-0.0), None, Some(f32::INFINITY)])),
        Arc::new(Float64Array::from(vec![Some(f64::from_bits(0x7ff8_0000_0000_0001)), Some(-0.0), None])),
        Arc::new(Decimal128Array::from(vec![Some(i128::MAX / 10), None, Some(-1)]).with_precision_and_scale(38, 16).unwrap()),
        Arc::new(StringArray::from(vec![Some(""), None, Some("naïve 🦀")])),
        Arc::new(BinaryArray::from(vec![Some(&b""[..]), None, Some(&b"\0\xff"[..])])),
        Arc::new(Date32Array::from(vec![Some(i32::MIN), None, Some(20_000)])),
        Arc::new(Time64MicrosecondArray::from(vec![Some(0), None, Some(86_399_999_999)])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(i64::MIN), None, Some(1)])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(i64::MAX)]).with_timezone("UTC")),
        Arc::new(IntervalMonthDayNanoArray::from(intervals)),
        Arc::new(
            FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([1; 16]), None, Some([255; 16])].into_iter(), 16).unwrap(),
        ),
        Arc::new(LargeStringArray::from(vec![Some("{\"a\": 1}"), None, Some("null")])),
        Arc::new(StringViewArray::from(vec![Some(" { \"a\" : \"longer than what a view holds\" }"), None, Some("1")])),
        Arc::new(ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>([
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
        ])),
        regauge_types::arrays::build(
            &regauge_types::arrays::nest(DataType::Utf8, 3),
            Arc::new(StringArray::from(vec![Some("a"), None, Some("b"), Some("c")])),
            &[Some(vec![2, 1, 2]), None, Some(vec![])],
        )
        .unwrap(),
        // Not SQL's, but the journal takes them.
        Arc::new(NullArray::new(3)),
        Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(1)])),
        Arc::new(UInt16Array::from(vec![Some(u16::MAX), None, Some(1)])),
        Arc::new(UInt32Array::from(vec![Some(u32::MAX), None, Some(1)])),
        Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(1)])),
        Arc::new(TimestampSecondArray::from(vec![Some(i64::MIN), None, Some(1)])),
        Arc::new(TimestampMillisecondArray::from(vec![Some(i64::MIN), None, Some(1)]).with_timezone("Europe/Berlin")),
        Arc::new(TimestampNanosecondArray::from(vec![Some(i64::MIN), None, Some(1)])),
    ];
    let schema = Arc::new(Schema::new(columns.iter().enumerate().map(|(i, c)| field(i, c.data_type())).collect::<Vec<_>>()));
    check_archivable(&schema).unwrap();
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns.clone()).unwrap();
    let journal = Arc::new(VecJournal::new(&[]));
    journal.commit_rows(1, rows.clone());
    let archive = open(&MemoryDisk::default(), small()).unwrap();
    let spec = ScanSpec::all(TopicId(1), (1..=columns.len() as u32).map(|id| ScanColumn::User(ColumnId(id))).collect(), Lsn(1));
    for archived in [0, 1] {
        archive.run(&*journal, Lsn(archived), None).unwrap();
        let scan = Scan::begin(&archive, Arc::clone(&journal) as Arc<dyn CommitSource>, &spec).unwrap();
        let found: Vec<_> = scan.map(|batch| batch.unwrap().rows).collect();
        assert_eq!(found.len(), 1);
        for (column, wanted) in found[0].columns().iter().zip(&columns) {
            // By bits: a NaN is not equal to itself, and -0.0 is to 0.0.
            assert_eq!(column.to_data(), wanted.to_data());
        }
    }
}

#[test]
fn a_type_that_parquet_cannot_hold_is_refused_when_it_is_defined() {
    for ty in [DataType::Duration(TimeUnit::Second), DataType::Decimal128(2, -3)] {
        let schema = Schema::new(vec![Field::new("d", ty, true)]);
        assert_eq!(check_archivable(&schema).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn the_state_of_the_journal_stands_in_the_manifest_when_its_commits_do() {
    let disk = MemoryDisk::default();
    let journal = Arc::new(VecJournal::new(&[1]));
    let archive = open(&disk, small()).unwrap();
    journal.commit(&[(1, 0, 1)]);
    journal.commit(&[(1, 0, 1)]);
    let state = |lsn| JournalState { lsn: Lsn(lsn), bytes: Bytes::from(format!("state at {lsn}")) };
    archive.run(&*journal, Lsn(1), Some(&state(1))).unwrap();
    assert_eq!(archive.manifest().state, state(1));
    journal.commit(&[(1, 0, 1)]);
    archive.run(&*journal, Lsn(2), Some(&state(3))).unwrap();
    assert_eq!(archive.manifest().state, state(1), "a state ahead of the segments would skip commits");
    archive.run(&*journal, Lsn(3), Some(&state(3))).unwrap();
    let manifest = open(&disk, small()).unwrap().manifest();
    assert_eq!(manifest.state, state(3));
    let entry = &manifest.schemas[0];
    assert_eq!((entry.topic, entry.id), (TopicId(1), SchemaId(0)));
    assert_eq!(Arc::new(schema_from_bytes(&entry.bytes).unwrap()), schema(0));
}

#[test]
fn old_manifests_go_and_the_segments_of_the_new_ones_stay() {
    let disk = MemoryDisk::default();
    let journal = Arc::new(VecJournal::new(&[1]));
    let archive = open(&disk, small()).unwrap();
    let count = |part: &str| disk.files().iter().filter(|(path, _)| path.display().to_string().contains(part)).count();
    for _ in 0..8 {
        journal.commit(&[(1, 0, 2)]);
        archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
    }
    assert_eq!((count("/manifest/"), count("/segment/")), (3, 8));
}

/// Merged segments stay for as long as a manifest in the store or a scan in progress names them.
#[test]
fn merged_segments_are_deleted_when_nobody_needs_them() {
    let disk = MemoryDisk::default();
    let journal = Arc::new(VecJournal::new(&[1]));
    let archive = open(&disk, small()).unwrap();
    let segments = || disk.files().iter().filter(|(path, _)| path.display().to_string().contains("/segment/")).count();
    let run = || {
        journal.commit(&[(1, 0, 2)]);
        archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
    };
    (0..8).for_each(|_| run());
    let spec = ScanSpec::all(TopicId(1), vec![ScanColumn::Offset], Lsn(u64::MAX));
    let scan = Scan::begin(&archive, Arc::clone(&journal) as Arc<dyn CommitSource>, &spec).unwrap();
    run();
    assert_eq!(archive.manifest().segments.len(), 1, "nine became one");
    assert_eq!(segments(), 9);
    (0..5).for_each(|_| run());
    assert_eq!(segments(), 9 + 5, "a scan holds them");
    assert_eq!(scan.map(|batch| batch.unwrap().rows.num_rows()).sum::<usize>(), 16);
    run();
    assert_eq!(segments(), 7, "one of nine runs, and six more");
    check_all(&archive, &journal, &[1]);
    check_all(&open(&disk.after(Crash::Lose), small()).unwrap(), &journal, &[1]);
}

#[test]
fn a_rotten_segment_is_not_merged_and_keeps_no_new_rows_out() {
    let disk = MemoryDisk::default();
    let journal = Arc::new(VecJournal::new(&[1]));
    let archive = open(&disk, small()).unwrap();
    for n in 0..9 {
        journal.commit(&[(1, 0, 2)]);
        if n == 8 {
            let first = disk
                .files()
                .into_iter()
                .map(|(path, _)| path)
                .find(|path| path.display().to_string().contains("/segment/"))
                .unwrap();
            disk.tamper(&first, |bytes| bytes[10] ^= 1);
        }
        archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
    }
    assert_eq!(archive.manifest().segments.len(), 9);
    let newer = ScanSpec { after: Lsn(1), ..ScanSpec::all(TopicId(1), all_columns(&journal, 1), Lsn(9)) };
    assert_eq!(scanned(&archive, &journal, &newer).unwrap().0, journal.expected(&newer));
    let all = ScanSpec { after: Lsn(0), ..newer };
    assert_eq!(scanned(&archive, &journal, &all).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_run_without_news_writes_nothing() {
    let disk = MemoryDisk::default();
    let journal = VecJournal::new(&[1]);
    let archive = open(&disk, small()).unwrap();
    let report = archive.run(&journal, Lsn(u64::MAX), None).unwrap();
    assert_eq!(report, ArchiveReport::default());
    assert!(disk.files().is_empty());
    journal.evolve(1);
    let report = archive.run(&journal, Lsn(u64::MAX), None).unwrap();
    assert_eq!((report.archived, report.segments, report.manifest), (Lsn(1), 0, 1), "a commit without rows counts as archived");
}

#[test]
fn the_archive_of_another_data_set_is_not_taken_for_ours() {
    let disk = MemoryDisk::default();
    let journal = VecJournal::new(&[1]);
    journal.commit(&[(1, 0, 1)]);
    open(&disk, small()).unwrap().run(&journal, Lsn(1), None).unwrap();
    let error = Archive::open(env(&disk), objects(&disk), DataSetId([8; 16]), small()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_closed_archive_ends_its_run() {
    let journal = VecJournal::new(&[1]);
    journal.commit(&[(1, 0, 1)]);
    let archive = open(&MemoryDisk::default(), small()).unwrap();
    archive.close();
    assert!(matches!(archive.run(&journal, Lsn(1), None), Err(LogError::Closed)));
    assert_eq!(archive.archived(), Lsn(0));
}

/// Row groups leave early when memory is short; what is read is the same.
#[test]
fn a_run_with_little_memory_archives_the_same_rows() {
    let journal = Arc::new(VecJournal::new(&[1, 2]));
    for n in 0..60 {
        journal.commit(&[(1, n % 3, 200), (2, n % 2, 100)]);
    }
    let tight = ArchiveOptions { memory_bytes: 20_000, row_group_rows: 1 << 18, step_rows: 1 << 20, ..small() };
    let archive = open(&MemoryDisk::default(), tight).unwrap();
    archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
    check_all(&archive, &journal, &[1, 2]);
    archive.verify().unwrap();
}

/// Larger than the parts in which an object is sent, in several row groups because they are bounded in bytes.
#[test]
fn a_large_segment_is_sent_in_parts() {
    let field = Field::new("b", DataType::Binary, true).with_metadata([(COLUMN_ID_KEY.to_owned(), "1".to_owned())].into());
    let schema = Arc::new(Schema::new(vec![field]));
    let journal = Arc::new(VecJournal::new(&[]));
    let mut chance = Chance(9);
    let mut sent = Vec::new();
    for _ in 0..18 {
        let noise: Vec<u8> = (0..1 << 17).flat_map(|_| chance.next().to_le_bytes()).collect();
        let column: ArrayRef = Arc::new(BinaryArray::from_vec(vec![&noise]));
        journal.commit_rows(1, RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap());
        sent.push(noise);
    }
    let disk = MemoryDisk::default();
    let archive = open(&disk, small()).unwrap();
    archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
    let manifest = archive.manifest();
    assert!(manifest.segments.len() == 1 && manifest.segments[0].bytes > 16 << 20);
    archive.verify().unwrap();
    let again = open(&disk.after(Crash::Lose), small()).unwrap();
    let spec = ScanSpec::all(TopicId(1), vec![ScanColumn::User(ColumnId(1))], Lsn(18));
    let mut found = Vec::new();
    for batch in Scan::begin(&again, journal as Arc<dyn CommitSource>, &spec).unwrap() {
        found.extend(batch.unwrap().rows.column(0).as_binary::<i32>().iter().map(|value| value.unwrap().to_vec()));
    }
    assert!(found == sent, "the same bytes in the same order");
}

#[test]
fn the_background_thread_archives_when_enough_has_come_in_and_outlives_failures() {
    let tries = Arc::new(AtomicU64::new(0));
    let (seen, inside) = std::sync::mpsc::channel();
    let counted = Arc::clone(&tries);
    let work: ArchiveWork = Box::new(move || {
        let n = counted.fetch_add(1, Ordering::SeqCst);
        seen.send(n).unwrap();
        match n {
            0 => Err(LogError::Internal { reason: "the first try fails".into() }),
            1 => panic!("the second try panics"),
            _ => Ok(ArchiveReport::default()),
        }
    });
    let options = BackgroundOptions {
        trigger_bytes: 100,
        trigger_rows: 10,
        pause_min: Duration::from_millis(1),
        pause_max: Duration::from_millis(2),
    };
    let background = Background::start(&Env::real(), options, work).unwrap();
    let notes = background.notes();
    notes.note(60, 1);
    assert!(inside.recv_timeout(Duration::from_millis(30)).is_err(), "too little yet");
    notes.note(60, 1);
    for n in 0..3 {
        assert_eq!(inside.recv_timeout(Duration::from_secs(60)).unwrap(), n);
    }
    assert!(inside.recv_timeout(Duration::from_millis(30)).is_err(), "all done");
    notes.note(0, 10);
    assert_eq!(inside.recv_timeout(Duration::from_secs(60)).unwrap(), 3);
    background.stop();
    notes.note(1000, 1000);
    assert!(inside.recv_timeout(Duration::from_millis(30)).is_err(), "stopped");
    assert_eq!(tries.load(Ordering::SeqCst), 4);
}
