//! Names: plain numbers with a type each, so that an offset is never taken for an lsn.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $repr:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id!(
    /// A topic of the log. Never used again after a drop. 0 is the catalog.
    TopicId, u32
);
id!(
    /// A column of a topic or view, stable under rename: the name in `docs/formats.md`'s schemas.
    ColumnId, u32
);
id!(
    /// One shape of a topic's rows; a topic gets a new one whenever its columns change.
    SchemaId, u32
);
id!(
    /// A view's name in the catalog; what answers a read is one of its versions.
    ViewId, u32
);
id!(
    /// A version of a view, from 1.
    VersionNo, u32
);
id!(
    /// Position of a record in its partition, from 0, dense.
    Offset, u64
);
id!(
    /// Dense number of a commit in the journal, from 1; 0 stands before every commit.
    Lsn, u64
);
id!(
    /// One step of the engine: all commits up to and including the lsn of the same number.
    Epoch, u64
);

/// The catalog's own topic.
pub const CATALOG_TOPIC: TopicId = TopicId(0);

/// No topic of the log: a source by this name is the commit clock, one row for each epoch with the clock of its last commit.
pub const CLOCK_TOPIC: TopicId = TopicId(u32::MAX);

/// Field metadata key under which a schema carries its [`ColumnId`]s (decimal).
pub const COLUMN_ID_KEY: &str = "regauge.column";

impl Lsn {
    /// Before the first commit.
    pub const ZERO: Lsn = Lsn(0);

    /// The commit after this one.
    #[must_use]
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl From<Lsn> for Epoch {
    fn from(lsn: Lsn) -> Epoch {
        Epoch(lsn.0)
    }
}

impl From<Epoch> for Lsn {
    fn from(epoch: Epoch) -> Lsn {
        Lsn(epoch.0)
    }
}

/// A record's name: the same bytes for ever, once acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The topic.
    pub topic: TopicId,
    /// The partition, below the topic's number of partitions.
    pub partition: u32,
    /// The place in the partition.
    pub offset: Offset,
}

/// Identity of the data in a folder: minted when the folder is created; a restored backup mints a new incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataSetId(pub [u8; 16]);

impl fmt::Display for DataSetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}
