//! What came of the records that were consumed (I12): by topic and by producer, how many are stored and how many were skipped because they came again.
//!
//! Invariant: a function of the journal's prefix, kept in the [`state`](crate::state) that every commit changes, so no crash can part it from the log.
//! Cost: one number a topic, and one pair for each topic that a producer wrote to. It does not know dead letters: those are records of another topic.

use std::collections::BTreeMap;

use regauge_types::{Lsn, TopicId};

/// Records of one topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// They have an offset.
    pub stored: u64,
    /// They came again.
    pub skipped: u64,
}

/// A producer that is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerTally {
    /// Its id.
    pub id: String,
    /// Its greatest incarnation.
    pub incarnation: u64,
    /// The sequence that it sends next.
    pub next: u64,
    /// What it sent in all its incarnations, by topic. What was stored before the release that counts it is not in it.
    pub topics: BTreeMap<TopicId, Tally>,
}

/// All of it as of one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The last commit in order; it may not be durable yet.
    pub lsn: Lsn,
    /// Topics, dropped ones too.
    pub topics: BTreeMap<TopicId, Tally>,
    /// Producers by id.
    pub producers: Vec<ProducerTally>,
}

impl Ledger {
    /// Of a topic.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Tally {
        self.topics.get(&id).copied().unwrap_or_default()
    }
}
