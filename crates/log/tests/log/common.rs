//! Topics and rows that tell by themselves whether they are the right ones: every value is a function of the row's id.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use regauge_log::testing::{self, SimClock, SimDisk};
use regauge_log::{Append, Commit, Committed, Definition, Log, LogError, LogOptions, ProducerSeq, TopicSpec, Transaction};
use regauge_types::{Env, Lsn, SchemaId, TopicId};

pub const NOW_MS: u64 = 1_790_000_000_000;

pub fn schema() -> SchemaRef {
    let field = |name: &str, ty, id: u32| {
        Field::new(name, ty, true).with_metadata([("regauge.column".to_owned(), id.to_string())].into())
    };
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64, 1),
        field("name", DataType::Utf8, 2),
        field("amount", DataType::Decimal128(20, 2), 3),
    ]))
}

pub fn rows(ids: &[i64]) -> RecordBatch {
    let names: StringArray = ids
        .iter()
        .map(|id| (id.rem_euclid(7) != 3).then(|| format!("name of {id} {}", "x".repeat(id.rem_euclid(40) as usize))))
        .collect();
    let amounts: Decimal128Array = ids.iter().map(|id| (id % 5 != 0).then_some(i128::from(*id) * 1_000_000_007)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.to_vec())),
        Arc::new(names),
        Arc::new(amounts.with_precision_and_scale(20, 2).unwrap()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// The ids of rows; panics unless every other value is what its id says.
pub fn ids(batch: &RecordBatch) -> Vec<i64> {
    let ids = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(batch, &rows(&ids), "rows differ from what was written");
    ids
}

pub fn topic(id: u32, partitions: u32) -> TopicSpec {
    let partition_by = if partitions > 1 { vec![0] } else { vec![] };
    TopicSpec { id: TopicId(id), name: format!("topic {id}"), partitions, partition_by, schema_id: SchemaId(1), schema: schema() }
}

pub fn define(specs: &[TopicSpec]) -> Transaction {
    Transaction { define: specs.iter().cloned().map(Definition::Topic).collect(), ..Transaction::default() }
}

pub fn append(topic: u32, ids: &[i64]) -> Transaction {
    Transaction { appends: vec![Append { topic: TopicId(topic), partition: None, rows: rows(ids) }], ..Transaction::default() }
}

pub fn by(mut txn: Transaction, id: &str, incarnation: u64, sequence: u64) -> Transaction {
    txn.producer = Some(ProducerSeq { id: id.to_owned(), incarnation, sequence });
    txn
}

/// Options without anything that depends on time.
pub fn quiet() -> LogOptions {
    LogOptions { mark_idle: None, ..LogOptions::default() }
}

pub fn sim(disk: &Arc<SimDisk>) -> Env {
    testing::env(disk, &Arc::new(SimClock::new(NOW_MS)), 7)
}

pub fn open(env: &Env, options: LogOptions) -> Result<Log, LogError> {
    Log::open(env.clone(), Path::new("/data"), options)
}

/// All durable commits, from the files.
pub fn all(log: &Log) -> Result<Vec<Commit>, LogError> {
    log.source().read(Lsn::ZERO, Lsn(u64::MAX), None)?.collect()
}

/// All durable commits, as a tail gives them.
pub fn tail_all(log: &Log) -> Result<Vec<Commit>, LogError> {
    let mut tail = log.tail(Lsn::ZERO);
    let mut out = Vec::new();
    loop {
        match tail.next(100)? {
            commits if commits.is_empty() => return Ok(out),
            commits => out.extend(commits),
        }
    }
}

/// Sorted ids of a commit's rows of all its parts.
pub fn ids_of(commit: &Commit) -> Vec<i64> {
    let mut out: Vec<i64> = commit.parts.iter().flat_map(|part| ids(&part.rows)).collect();
    out.sort_unstable();
    out
}

/// Whether a commit read back is the one that was acknowledged.
pub fn assert_same(commit: &Commit, receipt: &Committed, sorted_ids: &[i64]) {
    assert_eq!((commit.lsn, commit.hlc), (receipt.lsn, receipt.hlc));
    assert_eq!(ids_of(commit), sorted_ids, "lsn={}", commit.lsn);
    let placed: Vec<_> = commit.parts.iter().map(|p| (p.topic, p.partition, p.first_offset, p.rows.num_rows() as u64)).collect();
    let told: Vec<_> = receipt.placed.iter().map(|p| (p.topic, p.partition, p.first_offset, p.n_rows)).collect();
    assert_eq!(placed, told, "lsn={}", commit.lsn);
}

/// Which bit of a byte is flipped, counted from its place: REGAUGE_SEED, so that eight runs of `cargo xtask soak` flip all.
pub fn turn() -> usize {
    std::env::var("REGAUGE_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0)
}
