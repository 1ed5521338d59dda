//! Columns that have no dictionary because their values do not repeat come back as they were, and stand in the file as it is said.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_possible_wrap)]

use super::archive_support::*;
use arrow::{
    array::*,
    compute::concat_batches,
    datatypes::{DataType, Field, Schema},
};
use bytes::Bytes;
use parquet::{
    basic::Encoding,
    file::reader::{FileReader, SerializedFileReader},
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
    let (d, p) = (Encoding::DELTA_BINARY_PACKED, Encoding::PLAIN);
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
        (p, Arc::new(StringArray::from_iter(wide().map(|v| v.map(|v| "x".repeat(v.rem_euclid(30) as usize) + &v.to_string()))))),
        (p, Arc::new(BinaryArray::from_iter(wide().map(|v| v.map(i64::to_le_bytes))))),
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
