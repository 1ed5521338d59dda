//! Columns that have no dictionary because their values do not repeat come back as they were, and stand in the file as it is said.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_possible_wrap)]

use super::archive_support::*;
use arrow::{
    array::*,
    buffer::{Buffer, OffsetBuffer},
    compute::concat_batches,
    datatypes::{DataType, Field, Schema},
};
use bytes::Bytes;
use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        reader::{FileReader, SerializedFileReader},
        statistics::Statistics,
    },
};
use regauge_log::{
    archive::ArchiveOptions,
    model::CommitSource,
    scan::{Scan, ScanColumn, ScanSpec},
};
use regauge_types::{COLUMN_ID_KEY, ColumnId, Lsn, TopicId};
use std::sync::Arc;

const ROWS: u64 = 3000;

/// All 64 bits of the n-th value, unlike its neighbours'; every seventh is null.
fn scattered() -> impl Iterator<Item = Option<u64>> + Clone {
    (0..ROWS).map(|n| (n % 7 != 3).then(|| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)))
}

/// How values that do not repeat are stored, and values of each type among which are its least and its greatest.
fn columns() -> Vec<(Encoding, ArrayRef)> {
    let (d, p, l) = (Encoding::DELTA_BINARY_PACKED, Encoding::PLAIN, Encoding::DELTA_LENGTH_BYTE_ARRAY);
    let ends = [Some(i64::MIN), Some(i64::MAX), Some(0), Some(-1)];
    let wide = || ends.into_iter().chain(scattered().skip(4).map(|v| v.map(|v| v as i64)));
    let narrow = || wide().map(|v| v.map(|v| v as i32));
    vec![
        (d, Arc::new(Int64Array::from_iter(wide()))),
        (d, Arc::new(Int32Array::from_iter(narrow()))),
        (d, Arc::new(Int16Array::from_iter(wide().map(|v| v.map(|v| v as i16))))),
        (d, Arc::new(UInt16Array::from_iter(wide().map(|v| v.map(|v| v as u16))))),
        (d, Arc::new(UInt32Array::from_iter(wide().map(|v| v.map(|v| v as u32))))),
        (d, Arc::new(Date32Array::from_iter(narrow()))),
        (d, Arc::new(Time64MicrosecondArray::from_iter(wide().map(|v| v.map(|v| v.rem_euclid(86_400_000_000)))))),
        (d, Arc::new(TimestampMicrosecondArray::from_iter(wide()))),
        (d, Arc::new(TimestampMicrosecondArray::from_iter(wide()).with_timezone("UTC"))),
        (d, Arc::new(Int64Array::from_iter((0..ROWS as i64).map(|n| (n % 5 != 0).then_some(n * 3))))),
        (p, Arc::new(Float64Array::from_iter(wide().map(|v| v.map(|v| v as f64 / 3.0))))),
        (l, Arc::new(StringArray::from_iter(wide().map(|v| v.map(|v| "x".repeat(v.rem_euclid(30) as usize) + &v.to_string()))))),
        (l, Arc::new(BinaryArray::from_iter(wide().map(|v| v.map(i64::to_le_bytes))))),
        (
            Encoding::RLE_DICTIONARY,
            Arc::new(StringArray::from_iter(wide().map(|v| v.map(|v| format!("kind {}", v.rem_euclid(9)))))),
        ),
        (
            Encoding::RLE_DICTIONARY,
            Arc::new(Int64Array::from_iter(scattered().enumerate().map(|(n, _)| Some((n as i64 % 3) << 60)))),
        ),
    ]
}

#[test]
fn columns_without_a_dictionary_come_back_as_they_were() {
    let columns = columns();
    let field = |i: usize, ty: &DataType| {
        Field::new(format!("c{i}"), ty.clone(), true).with_metadata([(COLUMN_ID_KEY.to_owned(), (i + 1).to_string())].into())
    };
    let fields: Vec<Field> = columns.iter().enumerate().map(|(i, (_, c))| field(i, c.data_type())).collect();
    let schema = Arc::new(Schema::new(fields));
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns.iter().map(|(_, c)| Arc::clone(c)).collect()).unwrap();
    let journal = Arc::new(VecJournal::new(&[]));
    // The first commit alone, of 1,500 rows, decides; the last ones come in small pieces, and the second half in a run of its own.
    journal.commit_rows(1, rows.slice(0, 1500));
    for at in (1500..3000).step_by(100) {
        journal.commit_rows(1, rows.slice(at, 100));
    }
    let disk = MemoryDisk::default();
    let archive = open(&disk, ArchiveOptions { row_group_rows: 1000, step_rows: 1 << 20, ..small() }).unwrap();
    archive.run(&*journal, Lsn(5), None).unwrap();
    archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
    archive.verify().unwrap();
    let ids = (1..=columns.len() as u32).map(|id| ScanColumn::User(ColumnId(id))).collect();
    let scan = Scan::begin(&archive, journal as Arc<dyn CommitSource>, &ScanSpec::all(TopicId(1), ids, Lsn(u64::MAX))).unwrap();
    let found: Vec<RecordBatch> = scan.map(|batch| batch.unwrap().rows).collect();
    let found = concat_batches(&found[0].schema(), &found).unwrap();
    for ((_, wanted), column) in columns.iter().zip(found.columns()) {
        assert_eq!(column.to_data(), wanted.to_data());
    }
    let mut files = 0;
    for (name, bytes) in disk.files().into_iter().filter(|(name, _)| name.to_string_lossy().ends_with(".parquet")) {
        let file = SerializedFileReader::new(Bytes::from(bytes)).unwrap();
        let group = file.metadata().row_group(0);
        for (i, (encoding, _)) in columns.iter().enumerate() {
            let data: Vec<Encoding> = group.column(i).encodings().filter(|e| *e != Encoding::RLE).collect();
            assert!(data.contains(encoding), "column {i} of {name:?}: {data:?}");
            assert!(*encoding == Encoding::RLE_DICTIONARY || !data.contains(&Encoding::RLE_DICTIONARY), "column {i}: {data:?}");
        }
        files += 1;
    }
    assert_eq!(files, 2);
}

/// More rows than a page has, with one text that is larger than a page, long runs of nulls, and bytes where there is no value.
fn long_columns() -> Vec<(Compression, ArrayRef)> {
    const ROWS: i64 = 200_000;
    let packed = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
    let scattered = |n: i64| Chance(n as u64).next() as i64;
    let gap = |n: &i64| *n < 5000 || *n >= 150_000;
    let large = "a text as large as three pages ".repeat(100_000);
    let noise = |n: i64| u128::from(scattered(n) as u64) << 64 | u128::from(scattered(!n) as u64);
    let bytes: Vec<[u8; 16]> = (0..ROWS).map(|n| noise(n).to_le_bytes()).collect();
    let hidden = BinaryArray::new(
        OffsetBuffer::from_lengths(bytes.iter().map(|b| b.len())),
        Buffer::from(bytes.concat()),
        Some((0..ROWS).map(|n| n % 5 != 2).collect()),
    );
    let plain = Compression::UNCOMPRESSED;
    vec![
        (packed, Arc::new(TimestampMicrosecondArray::from_iter_values((0..ROWS).map(|n| n / 2 * 1000)))),
        (plain, Arc::new(Int64Array::from_iter_values((0..ROWS).map(scattered)))),
        (packed, Arc::new(Int64Array::from_iter((0..ROWS).map(|n| (n < 70_000 || n % 3 == 0).then_some(n % 100))))),
        (packed, Arc::new(Int64Array::from_iter((0..ROWS).map(|n| Some(n % 70_000).filter(|_| gap(&n)))))),
        (packed, Arc::new(StringArray::from_iter((0..ROWS).map(|n| Some(format!("number {n}")).filter(|_| gap(&n)))))),
        (
            packed,
            Arc::new(StringArray::from_iter_values(
                (0..ROWS).map(|n| if n == 100_001 { large.clone() } else { format!("{:x}", scattered(n)) }),
            )),
        ),
        (plain, Arc::new(hidden)),
        (packed, Arc::new(StringArray::from_iter((0..ROWS).map(|n| (n % 11 != 0).then(|| format!("kind {}", n % 300)))))),
        (packed, Arc::new(StringArray::from_iter_values((0..ROWS).map(|_| "always the same")))),
        (
            packed,
            Arc::new(StringArray::from_iter_values((0..ROWS).map(|n| match n {
                ..5000 => format!("kind {}", n % 10),
                _ => format!("unlike its neighbours, the {n}th"),
            }))),
        ),
    ]
}

#[test]
fn columns_of_many_pages_come_back_as_they_were() {
    let columns = long_columns();
    let field = |i: usize, ty: &DataType| {
        Field::new(format!("c{i}"), ty.clone(), true).with_metadata([(COLUMN_ID_KEY.to_owned(), (i + 1).to_string())].into())
    };
    let fields: Vec<Field> = columns.iter().enumerate().map(|(i, (_, c))| field(i, c.data_type())).collect();
    let schema = Arc::new(Schema::new(fields));
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns.iter().map(|(_, c)| Arc::clone(c)).collect()).unwrap();
    let journal = Arc::new(VecJournal::new(&[]));
    let mut at = 0;
    for n in [5000, 1, 60_000, 10_000].into_iter().cycle() {
        let n = n.min(rows.num_rows() - at);
        if n == 0 {
            break;
        }
        journal.commit_rows(1, rows.slice(at, n));
        at += n;
    }
    let disk = MemoryDisk::default();
    let archive = open(&disk, ArchiveOptions::default()).unwrap();
    archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
    archive.verify().unwrap();
    let ids = (1..=columns.len() as u32).map(|id| ScanColumn::User(ColumnId(id))).collect();
    let scan = Scan::begin(&archive, journal as Arc<dyn CommitSource>, &ScanSpec::all(TopicId(1), ids, Lsn(u64::MAX))).unwrap();
    let found: Vec<RecordBatch> = scan.map(|batch| batch.unwrap().rows).collect();
    let found = concat_batches(&found[0].schema(), &found).unwrap();
    for (i, ((_, wanted), column)) in columns.iter().zip(found.columns()).enumerate() {
        assert!(column.to_data() == wanted.to_data(), "column {i} is another one");
    }
    let (_, bytes) = disk.files().into_iter().find(|(name, _)| name.to_string_lossy().ends_with(".parquet")).unwrap();
    let file = SerializedFileReader::new(Bytes::from(bytes)).unwrap();
    let group = file.metadata().row_group(0);
    for (i, (compression, _)) in columns.iter().enumerate() {
        assert_eq!(group.column(i).compression(), *compression, "column {i}");
    }
    let range = |i: usize| {
        let Some(Statistics::Int64(found)) = group.column(i).statistics() else { panic!("column {i} has no statistics") };
        (found.min_opt().copied(), found.max_opt().copied(), found.null_count_opt())
    };
    assert_eq!(range(2), (Some(0), Some(99), Some(86_667)));
    assert_eq!(range(columns.len()), (Some(0), Some(199_999), Some(0)), "offsets");
    let given_up: Vec<Encoding> = group.column(columns.len() - 1).encodings().collect();
    assert!(
        given_up.contains(&Encoding::RLE_DICTIONARY) && given_up.contains(&Encoding::DELTA_LENGTH_BYTE_ARRAY),
        "{given_up:?}"
    );
}
