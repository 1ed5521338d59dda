//! What the archive's tests share: a journal that is a `Vec`, and the rows that a scan of it should give.
#![allow(clippy::cast_possible_truncation)]

pub use super::archive_disk::{Chance, Crash, MemoryDisk};

use arrow::{
    array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
    util::display::array_value_to_string,
};
use bytes::Bytes;
use parking_lot::Mutex;
use regauge_log::{
    LogError,
    archive::{Archive, ArchiveOptions, DiskStore, Objects},
    model::{Commit, CommitIter, CommitSource, Part, TopicSpec},
    scan::{Scan, ScanColumn, ScanSpec},
};
use regauge_types::{
    COLUMN_ID_KEY, ColumnId, DataSetId, Hlc, Lsn, SchemaId, TopicId,
    env::{Env, Random},
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub const DATA_SET: DataSetId = DataSetId([7; 16]);

/// Draws the same numbers in each process, as a simulation does.
struct Seeded(AtomicU64);

impl Random for Seeded {
    fn next_u64(&self) -> u64 {
        Chance(self.0.fetch_add(1, Ordering::SeqCst)).next()
    }
}

pub fn env(disk: &MemoryDisk) -> Env {
    Env { disk: Arc::new(disk.clone()), random: Arc::new(Seeded(AtomicU64::new(1))), ..Env::real() }
}

pub fn root() -> &'static Path {
    Path::new("/data/archive")
}

/// Options so small that a few rows show every boundary.
pub fn small() -> ArchiveOptions {
    ArchiveOptions { row_group_rows: 16, row_group_bytes: 1 << 20, memory_bytes: 1 << 22, step_rows: 40, manifests_kept: 3 }
}

pub fn objects(disk: &MemoryDisk) -> Objects {
    Objects::new(Arc::new(DiskStore::new(env(disk), root())), None)
}

pub fn open(disk: &MemoryDisk, options: ArchiveOptions) -> Result<Archive, LogError> {
    Archive::open(env(disk), objects(disk), DATA_SET, options)
}

// -------------------------------------------------------------------------------------------------------------- the journal

/// A journal that is a `Vec`, with the schemas that its topics had.
#[derive(Default)]
pub struct VecJournal(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    commits: Vec<Commit>,
    schemas: BTreeMap<(TopicId, SchemaId), SchemaRef>,
    /// Rows so far, by topic and partition.
    ends: BTreeMap<(TopicId, u32), u64>,
}

pub const N_PARTITIONS: u32 = 3;

/// The life of the test topics' schema: add a column, rename one; drop one and widen another; add it again under a new id.
pub fn schema(version: u32) -> SchemaRef {
    let field =
        |name: &str, ty, id: u32| Field::new(name, ty, true).with_metadata([(COLUMN_ID_KEY.to_owned(), id.to_string())].into());
    Arc::new(Schema::new(match version {
        0 => vec![field("a", DataType::Int64, 1), field("b", DataType::Utf8, 2)],
        1 => vec![field("c", DataType::Int32, 3), field("renamed", DataType::Int64, 1), field("b", DataType::Utf8, 2)],
        2 => vec![field("renamed", DataType::Int64, 1), field("c", DataType::Int64, 3)],
        _ => vec![field("b", DataType::Utf8, 4), field("c", DataType::Int64, 3), field("renamed", DataType::Int64, 1)],
    }))
}

/// Values that a row's place decides, nulls among them.
fn values(schema: &SchemaRef, topic: TopicId, partition: u32, first: u64, n: usize) -> RecordBatch {
    let mut chance = Chance(u64::from(topic.0) << 48 | u64::from(partition) << 32 | first);
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        let mut draw = |_| Some(chance.next() % 1000).filter(|v| v % 7 != 0);
        let drawn = (0..n).map(&mut draw);
        match field.data_type() {
            DataType::Int32 => Arc::new(drawn.map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
            DataType::Int64 => Arc::new(drawn.map(|v| v.map(|v| v as i64)).collect::<Int64Array>()),
            _ => Arc::new(drawn.map(|v| v.map(|v| format!("text {v}"))).collect::<StringArray>()),
        }
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).expect("columns of the schema")
}

/// Rows of a commit: topic, partition, number.
pub type Rows = (u32, u32, usize);

impl VecJournal {
    pub fn new(topics: &[u32]) -> VecJournal {
        let journal = VecJournal::default();
        for topic in topics {
            journal.0.lock().schemas.insert((TopicId(*topic), SchemaId(0)), schema(0));
        }
        journal
    }

    /// The topic's next schema.
    pub fn evolve(&self, topic: u32) {
        let mut inner = self.0.lock();
        let version = inner.schemas.keys().filter(|(t, _)| *t == TopicId(topic)).count() as u32;
        if version < 4 {
            inner.schemas.insert((TopicId(topic), SchemaId(version)), schema(version));
        }
        // Commits that only define things have no parts.
        let lsn = Lsn(inner.commits.len() as u64 + 1);
        inner.commits.push(Commit { lsn, hlc: hlc(lsn), parts: Vec::new() });
    }

    pub fn commit(&self, rows: &[Rows]) -> Lsn {
        self.commit_with(rows, None)
    }

    pub fn commit_with(&self, rows: &[Rows], cause: Option<Bytes>) -> Lsn {
        let mut inner = self.0.lock();
        let lsn = Lsn(inner.commits.len() as u64 + 1);
        let mut parts = Vec::new();
        for (topic, partition, n) in rows {
            let topic = TopicId(*topic);
            let (schema_id, schema) = inner
                .schemas
                .range((topic, SchemaId(0))..=(topic, SchemaId(u32::MAX)))
                .next_back()
                .map(|((_, id), s)| (*id, Arc::clone(s)))
                .expect("a topic");
            let end = inner.ends.entry((topic, *partition)).or_default();
            let first_offset = *end;
            *end += *n as u64;
            parts.push(Part {
                topic,
                partition: *partition,
                first_offset,
                schema_id,
                rows: values(&schema, topic, *partition, first_offset, *n),
                cause: cause.clone(),
            });
        }
        inner.commits.push(Commit { lsn, hlc: hlc(lsn), parts });
        lsn
    }

    /// A commit of given rows, in a schema of their own.
    pub fn commit_rows(&self, topic: u32, rows: RecordBatch) {
        let mut inner = self.0.lock();
        let topic = TopicId(topic);
        inner.schemas.insert((topic, SchemaId(0)), rows.schema());
        let lsn = Lsn(inner.commits.len() as u64 + 1);
        let end = inner.ends.entry((topic, 0)).or_default();
        let first_offset = *end;
        *end += rows.num_rows() as u64;
        let part = Part { topic, partition: 0, first_offset, schema_id: SchemaId(0), rows, cause: None };
        inner.commits.push(Commit { lsn, hlc: hlc(lsn), parts: vec![part] });
    }

    pub fn commits(&self) -> Vec<Commit> {
        self.0.lock().commits.clone()
    }

    /// What a scan should give, by partition: the model that it is judged by.
    pub fn expected(&self, spec: &ScanSpec) -> Found {
        let mut found = Found::new();
        for commit in &self.0.lock().commits {
            if commit.lsn <= spec.after || commit.lsn > spec.up_to {
                continue;
            }
            for part in &commit.parts {
                let wanted = spec.partitions.as_ref().is_none_or(|list| list.contains(&part.partition));
                if part.topic == spec.topic && wanted {
                    let rows = (0..part.rows.num_rows())
                        .map(|row| spec.columns.iter().map(|column| cell(commit, part, row, *column)).collect());
                    found.entry(part.partition).or_default().extend(rows);
                }
            }
        }
        found.retain(|_, rows| !rows.is_empty());
        found
    }
}

pub fn hlc(lsn: Lsn) -> Hlc {
    Hlc::from_ms(1_000_000 + lsn.0 * 3)
}

fn cell(commit: &Commit, part: &Part, row: usize, column: ScanColumn) -> String {
    match column {
        ScanColumn::User(ColumnId(id)) => {
            let position = part.rows.schema().fields().iter().position(|f| f.metadata()[COLUMN_ID_KEY] == id.to_string());
            position.map_or(String::new(), |i| array_value_to_string(part.rows.column(i), row).expect("a value"))
        }
        ScanColumn::Offset => (part.first_offset + row as u64).to_string(),
        ScanColumn::Partition => part.partition.to_string(),
        ScanColumn::Lsn => commit.lsn.to_string(),
        ScanColumn::CommitTs => commit.hlc.0.to_string(),
        ScanColumn::Schema => part.schema_id.to_string(),
        ScanColumn::Cause => part.cause.as_ref().map_or(String::new(), |c| c.iter().map(|b| format!("{b:02x}")).collect()),
    }
}

impl CommitSource for VecJournal {
    fn first(&self) -> Lsn {
        Lsn(1)
    }

    fn durable(&self) -> Lsn {
        Lsn(self.0.lock().commits.len() as u64)
    }

    fn read(&self, after: Lsn, up_to: Lsn, topic: Option<TopicId>) -> Result<CommitIter, LogError> {
        let mut commits = self.commits();
        commits.retain(|c| c.lsn > after && c.lsn <= up_to);
        if let Some(topic) = topic {
            for commit in &mut commits {
                commit.parts.retain(|part| part.topic == topic);
            }
            commits.retain(|c| !c.parts.is_empty());
        }
        Ok(Box::new(commits.into_iter().map(Ok)))
    }

    fn topics(&self) -> Vec<TopicSpec> {
        let inner = self.0.lock();
        let mut topics: BTreeMap<TopicId, TopicSpec> = BTreeMap::new();
        for ((id, schema_id), schema) in &inner.schemas {
            let spec = TopicSpec {
                id: *id,
                name: format!("t{id}"),
                partitions: N_PARTITIONS,
                partition_by: vec![],
                schema_id: *schema_id,
                schema: Arc::clone(schema),
            };
            topics.insert(*id, spec);
        }
        topics.into_values().collect()
    }

    fn schema(&self, topic: TopicId, id: SchemaId) -> Option<SchemaRef> {
        self.0.lock().schemas.get(&(topic, id)).cloned()
    }
}

// ----------------------------------------------------------------------------------------------------------------- the scan

/// Every column that a test topic can have.
pub fn all_columns(journal: &VecJournal, topic: u32) -> Vec<ScanColumn> {
    let inner = journal.0.lock();
    let known = |id: u32| {
        inner
            .schemas
            .iter()
            .any(|((t, _), s)| t.0 == topic && s.fields().iter().any(|f| f.metadata()[COLUMN_ID_KEY] == id.to_string()))
    };
    let users = (1..=4).filter(|id| known(*id)).map(|id| ScanColumn::User(ColumnId(id)));
    let ours =
        [ScanColumn::Offset, ScanColumn::Partition, ScanColumn::Lsn, ScanColumn::CommitTs, ScanColumn::Schema, ScanColumn::Cause];
    users.chain(ours).collect()
}

/// Rows as texts, by partition.
pub type Found = BTreeMap<u32, Vec<Vec<String>>>;

/// The rows of a scan, and how many batches they came in.
pub fn scanned(archive: &Archive, journal: &Arc<VecJournal>, spec: &ScanSpec) -> Result<(Found, usize), LogError> {
    let scan = Scan::begin(archive, Arc::clone(journal) as Arc<dyn CommitSource>, spec)?;
    let schema = scan.schema();
    let mut found = Found::new();
    let mut n_batches = 0;
    for batch in scan {
        let batch = batch?;
        n_batches += 1;
        assert_eq!(batch.rows.schema(), schema, "every batch has the scan's schema");
        assert!(batch.rows.num_rows() > 0, "a batch has rows");
        assert!(spec.batch_rows == 0 || batch.rows.num_rows() <= spec.batch_rows, "a batch is not larger than asked for");
        let texts = |row| batch.rows.columns().iter().map(|c| array_value_to_string(c, row).expect("a value")).collect();
        found.entry(batch.partition).or_default().extend((0..batch.rows.num_rows()).map(texts));
    }
    Ok((found, n_batches))
}

/// A scan of everything, against the model; panics with the difference.
pub fn check_all(archive: &Archive, journal: &Arc<VecJournal>, topics: &[u32]) {
    for topic in topics {
        let spec = ScanSpec::all(TopicId(*topic), all_columns(journal, *topic), journal.durable());
        let (found, _) = scanned(archive, journal, &spec).expect("a scan");
        assert_eq!(found, journal.expected(&spec), "topic={topic}");
    }
}
