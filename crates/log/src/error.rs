//! What can go wrong in the log, for three readers: the kind tells the caller what to do, the message the operator what happened, the source why.

use std::io;
use std::path::{Path, PathBuf};

use regauge_types::hlc::TooFarAhead;
use regauge_types::{ColumnId, ErrorKind, Hlc, Lsn, SchemaId, TopicId};

use crate::model::Refusal;

/// An error of the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused something that is not yet part of a commit.
    #[error("cannot {action} path={}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Stored bytes are not what was written (promise I14). Nothing was changed or cut.
    #[error("corrupt bytes: {reason} file={} offset={offset}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// First byte of what cannot be read.
        offset: u64,
        /// What was wrong.
        reason: String,
    },
    /// Another process has the data folder open.
    #[error("data folder is in use by another process path={}", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The data folder was written by a newer release.
    #[error("data folder has a newer format path={} found={found} supported={supported}", path.display())]
    NewerFormat {
        /// The file that says so.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest this program reads.
        supported: u32,
    },
    /// No topic has this id.
    #[error("unknown topic topic={topic}")]
    UnknownTopic {
        /// The id.
        topic: TopicId,
    },
    /// The topic was dropped.
    #[error("topic was dropped topic={topic}")]
    DroppedTopic {
        /// The id.
        topic: TopicId,
    },
    /// The rows do not have the topic's current schema.
    #[error("rows do not fit the topic's schema: {reason} topic={topic} schema={schema}")]
    WrongSchema {
        /// The topic.
        topic: TopicId,
        /// Its current schema.
        schema: SchemaId,
        /// The first difference.
        reason: String,
    },
    /// The partition named by an append does not exist.
    #[error("partition is out of range topic={topic} partition={partition} partitions={partitions}")]
    PartitionOutOfRange {
        /// The topic.
        topic: TopicId,
        /// What was asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// A definition contradicts what is defined already, or itself.
    #[error("bad definition: {reason} topic={topic}")]
    BadDefinition {
        /// The topic.
        topic: TopicId,
        /// Why.
        reason: String,
    },
    /// A column of a type that the log does not store.
    #[error("column type is not stored in the log column={column} type={data_type}")]
    UnsupportedType {
        /// The column's name.
        column: String,
        /// Its Arrow type.
        data_type: String,
    },
    /// One transaction is larger than a limit.
    #[error("{what} is too large size={size} max={max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How large, in bytes or items.
        size: u64,
        /// The limit, in the same unit.
        max: u64,
    },
    /// A value of the transaction's envelope is not allowed.
    #[error("bad transaction: {reason}")]
    BadTransaction {
        /// Why.
        reason: String,
    },
    /// The clock that the writer carries lies too far in the future; it moved nothing.
    #[error(transparent)]
    ClockAhead(#[from] TooFarAhead),
    /// A newer incarnation of the same producer has written.
    #[error("producer is fenced producer={producer:?} incarnation={incarnation} current={current}")]
    Fenced {
        /// The producer.
        producer: String,
        /// What it said.
        incarnation: u64,
        /// What the log has seen.
        current: u64,
    },
    /// A sequence is missing before this one: storing it would break the producer's order.
    #[error("producer left out a sequence producer={producer:?} expected={expected} got={got}")]
    SequenceGap {
        /// The producer.
        producer: String,
        /// The next sequence of this incarnation.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The append is too old for the log to know whether it was stored: it is not guessed.
    #[error("append is older than the dedup window producer={producer:?} sequence={sequence} oldest={oldest}")]
    BelowWindow {
        /// The producer.
        producer: String,
        /// What came.
        sequence: u64,
        /// The least sequence that is still remembered.
        oldest: u64,
    },
    /// Too many producers wrote lately for another one to be remembered.
    #[error("too many producers max={max}")]
    ProducersFull {
        /// The limit.
        max: usize,
    },
    /// The judge refused the transaction.
    #[error("refused: {0}")]
    Refused(#[source] Refusal),
    /// There is no room on the disk. The commit did not happen; later ones succeed once there is room.
    #[error("no room on the disk path={}", path.display())]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A write or fsync failed before. This commit did not happen, nor will any until the log is opened again (promise I13).
    #[error("log stopped writing after a failure: {reason}")]
    Poisoned {
        /// The first failure.
        reason: String,
    },
    /// The write or fsync that carried this commit failed: it is wholly there or wholly absent, and only opening the log again tells.
    #[error("outcome of the commit is unknown: {reason} lsn={lsn} hlc={hlc}")]
    OutcomeUnknown {
        /// The lsn that the commit has if it is there.
        lsn: Lsn,
        /// The clock that it has if it is there.
        hlc: Hlc,
        /// The failure.
        reason: String,
    },
    /// These commits have left the journal; the archive has them.
    #[error("commits are no longer in the journal asked_after={after} first={first}")]
    Archived {
        /// What was asked for: commits after this lsn.
        after: Lsn,
        /// The least lsn in the journal.
        first: Lsn,
    },
    /// The archive's object store refused something. The journal still has what is not archived.
    #[error("archive store failed object={object}")]
    Store {
        /// The object, or the prefix that was listed.
        object: String,
        /// What the store said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No schema of the topic has this column.
    #[error("unknown column topic={topic} column={column}")]
    UnknownColumn {
        /// The topic.
        topic: TopicId,
        /// The column's id.
        column: ColumnId,
    },
    /// A scan was asked for that cannot be.
    #[error("bad scan: {reason}")]
    BadScan {
        /// Why.
        reason: String,
    },
    /// The log was closed.
    #[error("log is closed")]
    Closed,
    /// Something of ours that cannot be.
    #[error("internal: {reason}")]
    Internal {
        /// What.
        reason: String,
    },
}

impl LogError {
    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. }
            | Self::InUse { .. }
            | Self::Poisoned { .. }
            | Self::OutcomeUnknown { .. }
            | Self::Store { .. }
            | Self::Closed => ErrorKind::Unavailable,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::NewerFormat { .. } | Self::UnsupportedType { .. } => ErrorKind::Unsupported,
            Self::UnknownTopic { .. } | Self::DroppedTopic { .. } | Self::UnknownColumn { .. } | Self::Archived { .. } => {
                ErrorKind::NotFound
            }
            Self::WrongSchema { .. }
            | Self::PartitionOutOfRange { .. }
            | Self::BadDefinition { .. }
            | Self::BadTransaction { .. }
            | Self::BadScan { .. }
            | Self::ClockAhead(_) => ErrorKind::Invalid,
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::SequenceGap { .. } | Self::BelowWindow { .. } | Self::Refused(_) => ErrorKind::Conflict,
            Self::TooLarge { .. } | Self::ProducersFull { .. } | Self::DiskFull { .. } => ErrorKind::Exhausted,
            Self::Internal { .. } => ErrorKind::Internal,
        }
    }

    /// What to do next, for people; `None` where the message says it all.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::InUse { .. } => "stop the other process, or open another folder",
            Self::NewerFormat { .. } => "use the release that wrote this folder, or a newer one",
            Self::Corrupt { .. } => "keep the folder as it is and restore from a backup; nothing was changed by this attempt",
            Self::Poisoned { .. } | Self::OutcomeUnknown { .. } => {
                "check the disk, then restart: what was acknowledged is there, and recovery tells about the rest"
            }
            Self::DiskFull { .. } => "make room; reads go on, and writes resume by themselves",
            Self::Fenced { .. } => "another process writes under this producer id",
            Self::SequenceGap { .. } | Self::BelowWindow { .. } => {
                "find out what was stored, then go on with a higher incarnation from sequence 0"
            }
            Self::ProducersFull { .. } => "reuse producer ids, or raise producers_max",
            Self::Archived { .. } => "read these commits with a scan",
            Self::TooLarge { .. } => "split the transaction, or raise the limit",
            Self::ClockAhead(_) => "check the clocks of the machines involved",
            _ => return None,
        })
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, reason: reason.into() }
    }
}
