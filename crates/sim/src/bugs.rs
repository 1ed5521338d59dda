//! Bugs that are planted on purpose, so that the harness itself is tested: each is a mistake that somebody could make, in the place where it
//! would be made, put into what the simulation hands to the system. Nothing of them is in the system's own code.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The journal is never synced.
    SyncSkipped,
    /// Commits are acknowledged while their sync is still to come.
    AckBeforeSync,
    /// A failed sync of the journal passes for one that succeeded.
    SyncErrorSwallowed,
    /// A failed write of the journal passes for one that succeeded.
    WriteErrorSwallowed,
    /// Folders are never synced.
    DirSyncSkipped,
    /// Segments of the archive are never synced.
    ArchiveSyncSkipped,
    /// A write of the journal is lost.
    WriteDropped,
    /// A write of the journal goes to another place.
    WriteMisplaced,
    /// An epoch's rows of one topic do not reach a version.
    DeltaLost,
    /// They reach it twice.
    DeltaDoubled,
    /// They reach it with the next epoch.
    DeltaLate,
    /// Rows that are taken away stay.
    RetractionLost,
    /// Rows that are taken away are added.
    RetractionAdded,
    /// A version begins with the past read twice.
    PastDoubled,
    /// A version begins without the share of one worker.
    PastShort,
    /// A version that was restored lacks a row that its checkpoint had.
    RestoredShort,
    /// A version is restored with the state of another moment: what came since is applied a second time.
    RestoredStale,
    /// A read of one view is served from the epoch before.
    SnapshotStale,
    /// The statements of a transaction are committed one by one.
    TransactionTorn,
    /// A transaction that was refused is acknowledged.
    RefusalAcknowledged,
    /// The token that a client brings is not looked at.
    TokenIgnored,
    /// A producer's retry is stored under a new number.
    RetryRenumbered,
    /// Two sessions read a balance, and both write what they make of it.
    UpdateLost,
    /// AS OF EPOCH answers with what is there now.
    PastIsNow,
    /// AS OF EPOCH answers with the epoch before the one that is named.
    PastIsNeighbour,
    /// Views forget epochs that are promised to be kept.
    PastForgotten,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 26] = [
        Bug::SyncSkipped,
        Bug::AckBeforeSync,
        Bug::SyncErrorSwallowed,
        Bug::WriteErrorSwallowed,
        Bug::DirSyncSkipped,
        Bug::ArchiveSyncSkipped,
        Bug::WriteDropped,
        Bug::WriteMisplaced,
        Bug::DeltaLost,
        Bug::DeltaDoubled,
        Bug::DeltaLate,
        Bug::RetractionLost,
        Bug::RetractionAdded,
        Bug::PastDoubled,
        Bug::PastShort,
        Bug::RestoredShort,
        Bug::RestoredStale,
        Bug::SnapshotStale,
        Bug::TransactionTorn,
        Bug::RefusalAcknowledged,
        Bug::TokenIgnored,
        Bug::RetryRenumbered,
        Bug::UpdateLost,
        Bug::PastIsNow,
        Bug::PastIsNeighbour,
        Bug::PastForgotten,
    ];

    /// The bug of a name.
    pub fn named(name: &str) -> Option<Bug> {
        Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
    }
}
