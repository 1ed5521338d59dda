//! Columns drawn at random, of each type that the archive encodes itself, come back as they were: whatever their values, NULLs, repetitions,
//! commits, row groups and merges. What reads them is the Parquet library.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_possible_wrap)]

use super::archive_support::*;
use arrow::{
    array::*,
    compute::concat_batches,
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use regauge_log::{
    archive::ArchiveOptions,
    model::CommitSource,
    scan::{Scan, ScanColumn, ScanSpec},
};
use regauge_types::{COLUMN_ID_KEY, ColumnId, Lsn, TopicId};
use std::sync::Arc;

/// How a stretch of a column looks.
#[derive(Clone, Copy)]
struct Stretch {
    /// Of 8 rows, so many are NULL.
    nulls: u64,
    /// How many different values; 0 for as many as there are rows.
    different: u64,
    /// Bytes that a text has at most.
    longest: u64,
}

fn stretch(chance: &mut Chance) -> Stretch {
    Stretch {
        nulls: [0, 0, 1, 4, 7, 8][chance.next() as usize % 6],
        different: [0, 0, 1, 2, 50, 3000][chance.next() as usize % 6],
        longest: [0, 3, 40, 40, 2000][chance.next() as usize % 5],
    }
}

/// The value of a row in 64 bits, and how long it is as a text.
fn value(chance: &mut Chance, of: Stretch) -> Option<(u64, usize)> {
    if chance.next() % 8 < of.nulls {
        return None;
    }
    let mut bits = chance.next();
    if of.different > 0 {
        bits = Chance(bits % of.different).next();
    }
    let narrow = [0, 1, 17, 40, 63][Chance(bits).next() as usize % 5];
    let ends = [i64::MIN as u64, i64::MAX as u64, 0, u64::MAX];
    let whole = if bits % 97 < 4 { ends[(bits % 97) as usize] } else { bits >> narrow };
    Some((whole, (Chance(bits ^ 1).next() % (of.longest + 1)) as usize))
}

/// The bytes of a text: the value's own, over and over.
fn bytes((bits, length): (u64, usize)) -> Vec<u8> {
    format!("{bits:x}").into_bytes().into_iter().cycle().take(length).collect()
}

/// A column of `n` rows, in stretches.
fn column(ty: &DataType, n: usize, chance: &mut Chance) -> ArrayRef {
    let mut of = stretch(chance);
    let mut left = 0;
    let values: Vec<Option<(u64, usize)>> = (0..n)
        .map(|_| {
            if left == 0 {
                (of, left) = (stretch(chance), 1 + chance.next() % 9000);
            }
            left -= 1;
            value(chance, of)
        })
        .collect();
    let numbers = || values.iter().map(|v| v.map(|(bits, _)| bits as i64));
    match ty {
        DataType::Int64 => Arc::new(Int64Array::from_iter(numbers())),
        DataType::Timestamp(TimeUnit::Millisecond, _) => Arc::new(TimestampMillisecondArray::from_iter(numbers())),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Arc::new(TimestampMicrosecondArray::from_iter(numbers())),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Arc::new(TimestampNanosecondArray::from_iter(numbers())),
        DataType::Time64(TimeUnit::Microsecond) => {
            Arc::new(Time64MicrosecondArray::from_iter(numbers().map(|v| v.map(|v| v.rem_euclid(86_400_000_000)))))
        }
        DataType::Binary => Arc::new(BinaryArray::from_iter(values.iter().map(|v| v.map(bytes)))),
        _ => Arc::new(StringArray::from_iter(values.iter().map(|v| v.map(|v| String::from_utf8(bytes(v)).unwrap())))),
    }
}

#[test]
fn what_is_drawn_comes_back_as_it_was() {
    let first = std::env::var("REGAUGE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    let cases: u64 = std::env::var("REGAUGE_ARCHIVE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    for seed in first..first + cases {
        drawn(seed);
    }
}

fn drawn(seed: u64) {
    let mut chance = Chance(seed);
    let types = [
        DataType::Int64,
        DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Utf8,
        DataType::Utf8,
        DataType::Binary,
    ];
    let n = [1, 255, 3000, 30_000][chance.next() as usize % 4] + chance.next() as usize % 3000;
    let columns: Vec<ArrayRef> = types.iter().map(|ty| column(ty, n, &mut chance)).collect();
    let field = |i: usize, ty: &DataType| {
        Field::new(format!("c{i}"), ty.clone(), true).with_metadata([(COLUMN_ID_KEY.to_owned(), (i + 1).to_string())].into())
    };
    let schema = Arc::new(Schema::new(types.iter().enumerate().map(|(i, ty)| field(i, ty)).collect::<Vec<_>>()));
    let rows = RecordBatch::try_new(schema, columns.clone()).unwrap();

    let options = ArchiveOptions {
        row_group_rows: [16, 1000, 20_000, 1 << 20][chance.next() as usize % 4],
        row_group_bytes: 8 << 20,
        memory_bytes: 16 << 20,
        step_rows: 1 << 20,
        manifests_kept: 3,
    };
    let disk = MemoryDisk::default();
    let archive = open(&disk, options).unwrap();
    let journal = Arc::new(VecJournal::new(&[]));
    let (mut at, mut lsn) = (0, 0);
    while at < n {
        let most = [1, 30, 300, 5000, 40_000][chance.next() as usize % 5];
        let take = (1 + chance.next() as usize % most).min(n - at);
        journal.commit_rows(1, rows.slice(at, take));
        (at, lsn) = (at + take, lsn + 1);
        // some runs end here, so that segments are merged later
        if chance.next().is_multiple_of(6) {
            archive.run(&*journal, Lsn(lsn), None).unwrap();
        }
    }
    archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
    archive.verify().unwrap();

    let ids = (1..=types.len() as u32).map(|id| ScanColumn::User(ColumnId(id))).collect();
    let scan = Scan::begin(&archive, journal as Arc<dyn CommitSource>, &ScanSpec::all(TopicId(1), ids, Lsn(u64::MAX))).unwrap();
    let found: Vec<RecordBatch> = scan.map(|batch| batch.unwrap().rows).collect();
    let found = concat_batches(&found[0].schema(), &found).unwrap();
    assert_eq!(found.num_rows(), n, "seed {seed}");
    for (i, (wanted, column)) in columns.iter().zip(found.columns()).enumerate() {
        assert!(column.to_data() == wanted.to_data(), "seed {seed}: column {i} of {n} rows is another one");
    }
}
