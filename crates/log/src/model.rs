//! The values that pass through the log: what a writer hands in, what a reader gets back.
//!
//! Nothing here does anything. A `Transaction` is wished, a `Committed` is decided, a `Commit` is what every reader sees for ever after.
//! The log knows topics, partitions, offsets and clocks; it knows neither SQL nor keys nor what a row means.

use std::any::Any;
use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use regauge_types::{Hlc, Lsn, SchemaId, TopicId};

/// What a writer wants to be appended: all of it in one commit, or none of it.
#[derive(Default)]
pub struct Transaction {
    /// Catalog changes of the log itself; they hold for the appends of the same transaction.
    pub define: Vec<Definition>,
    /// Rows, in the order in which they get their offsets.
    pub appends: Vec<Append>,
    /// Names this append so that a retry is recognised (promise I2).
    pub producer: Option<ProducerSeq>,
    /// What the writer had seen; opaque to the log, given back with every part. At most 64 KiB.
    pub cause: Option<Bytes>,
    /// The commit's clock will be greater than this one (the token that the writer carries).
    pub clock_floor: Hlc,
    /// Counted as skipped, in a commit of its own, if the producer's append was stored before. Without a producer it means nothing.
    pub skips: Vec<Skip>,
    /// For the judge only; never stored.
    pub context: Option<Box<dyn Any + Send>>,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("define", &self.define)
            .field("appends", &self.appends)
            .field("producer", &self.producer)
            .field("cause", &self.cause)
            .field("clock_floor", &self.clock_floor)
            .field("skips", &self.skips)
            .finish_non_exhaustive()
    }
}

/// A change of what the log knows about a topic.
#[derive(Debug, Clone, PartialEq)]
pub enum Definition {
    /// A new topic. Its id and its name must be free; the id of a dropped topic stays taken.
    Topic(TopicSpec),
    /// From this commit on the topic's rows have this schema. Older records keep the schema they were written with.
    Schema {
        /// The topic.
        topic: TopicId,
        /// Greater than every earlier schema id of that topic.
        id: SchemaId,
        /// The columns of `partition_by` must keep their positions and types.
        schema: SchemaRef,
    },
    /// The topic takes no more appends. Its records stay readable.
    DropTopic(TopicId),
}

/// A topic as it is defined. `schema` and `schema_id` are the current ones.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSpec {
    /// Chosen by the catalog; never used again, not even after a drop.
    pub id: TopicId,
    /// For people; unique among topics that are not dropped.
    pub name: String,
    /// From 1 to 4096; fixed for ever, because a row's partition is a function of it.
    pub partitions: u32,
    /// Positions of the columns whose hash chooses the partition. Empty: partition 0 unless the append names one.
    pub partition_by: Vec<usize>,
    /// Id of `schema`.
    pub schema_id: SchemaId,
    /// All fields nullable; the column id stands in each field's metadata under `regauge.column`.
    pub schema: SchemaRef,
}

/// Rows for one topic.
#[derive(Debug, Clone)]
pub struct Append {
    /// The topic.
    pub topic: TopicId,
    /// Where the rows go. `None`: by the hash of `partition_by`. With a partition named the hash is not looked at:
    /// the caller has placed the rows (a source that keeps the partitions of the system it reads from).
    pub partition: Option<u32>,
    /// In the topic's current schema.
    pub rows: RecordBatch,
}

/// The name of one append, chosen by its producer.
///
/// Sequences of an incarnation are 0, 1, 2, ... without gaps. A producer that lost its place takes a higher incarnation and begins at 0 again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerSeq {
    /// Chosen once by the producer, 1 to 255 bytes.
    pub id: String,
    /// A higher one fences all lower ones for ever.
    pub incarnation: u64,
    /// Place of this append within the incarnation, from 0.
    pub sequence: u64,
}

/// Records that came again, and are not stored again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The topic that they were for.
    pub topic: TopicId,
    /// How many.
    pub n_rows: u64,
}

/// The receipt of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its place in the journal.
    pub lsn: Lsn,
    /// Its clock.
    pub hlc: Hlc,
    /// Where the rows of the appends stand, in the order of the journal's parts.
    pub placed: Vec<Placed>,
    /// True if this very append was stored before; all other fields are those of the first time.
    pub duplicate: bool,
}

/// A run of rows that got consecutive offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: u32,
    /// Offset of the first row.
    pub first_offset: u64,
    /// Offsets are `first_offset .. first_offset + n_rows`.
    pub n_rows: u64,
}

/// One commit as readers see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Its place in the journal.
    pub lsn: Lsn,
    /// Its clock; strictly ascending with the lsn.
    pub hlc: Hlc,
    /// At most one per append and partition; empty for a commit that only defines.
    pub parts: Vec<Part>,
}

/// Rows of one topic and one partition within a commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: u32,
    /// Offset of the first row; the others follow without gaps.
    pub first_offset: u64,
    /// The schema that `rows` was written with.
    pub schema_id: SchemaId,
    /// The rows; `rows.schema()` is the schema named by `schema_id`, column ids included.
    pub rows: RecordBatch,
    /// What the writer of the commit had seen.
    pub cause: Option<Bytes>,
}

/// Judges a transaction in the commit section, where all commits stand in one line.
///
/// Guaranteed by the log: calls are made one at a time, in lsn order, under the commit lock; a transaction that was refused consumes neither lsn nor
/// offsets nor a producer's sequence. Expected of the judge: that it is quick, calls the log for nothing, and forgets everything about a transaction it refuses.
pub trait Judge: Send + Sync {
    /// May complete the transaction (add rows, defaults, the row before) and must leave it alone when it refuses.
    /// `lsn` and `hlc` are those which the commit gets if nothing else is wrong with it; the same lsn comes again when it does not get it.
    fn judge(&self, lsn: Lsn, hlc: Hlc, txn: &mut Transaction) -> Result<(), Refusal>;

    /// Commits at and above `from` were admitted and then could not be written (disk full): they never happened.
    /// Called under the commit lock. Returns true if the judge has forgotten them all; if not, the log poisons itself,
    /// because later commits would be judged against rows that do not exist.
    fn revoke(&self, from: Lsn) -> bool {
        let _ = from;
        false
    }
}

/// Why the judge refused; the caller of `commit` gets the same value back.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What the archive and a scan need of the journal. The log implements it; a test can do so over a `Vec`.
pub trait CommitSource: Send + Sync {
    /// The least lsn that can still be read here; 1 until journal files are released to the archive.
    fn first(&self) -> Lsn;
    /// The last durable lsn; 0 when there is none.
    fn durable(&self) -> Lsn;
    /// Durable commits with `after < lsn <= min(up_to, durable)`, ascending. With a topic, parts of other topics are neither decoded nor returned, and
    /// commits without a part of it are left out. Errors: `Archived` if `after + 1` lies below `first`, `Corrupt`, `Io`.
    fn read(&self, after: Lsn, up_to: Lsn, topic: Option<TopicId>) -> Result<CommitIter, crate::LogError>;
    /// All topics, dropped ones included, with their current schema.
    fn topics(&self) -> Vec<TopicSpec>;
    /// A schema of a topic, current or older.
    fn schema(&self, topic: TopicId, id: SchemaId) -> Option<SchemaRef>;
}

/// Commits in lsn order. After an `Err` it ends.
pub type CommitIter = Box<dyn Iterator<Item = Result<Commit, crate::LogError>> + Send>;
