//! One checkpoint, on a thread of its own: waits for the versions' states, reads traces and heads at its commit, writes and publishes.
//!
//! A version whose state cannot be had (it failed, or an operator cannot save) is left out with a line in the log; the others are in. What
//! did not change since the checkpoint before is named again and not written. Cost: reading what it writes; it holds a pin on its commit
//! meanwhile, and a head's lock for one page at a time.

use super::{tables, version, within};
use crate::{
    error::{Error, Result},
    judge::SharedHead,
    read::Pin,
    version::{registry::Key, trace::Trace},
};
use regauge_flow::engine::{Saved, Saving};
use regauge_state::checkpoint::{CheckpointError, Manifest, Section, Store};
use regauge_types::{DataSetId, Digest, Lsn, TopicId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long a wait for a version's state lasts before it is looked whether anybody still wants it.
const LOOK: Duration = Duration::from_millis(50);

/// So many of them for one that reads its history: others are not kept waiting for longer.
const BUILDING_LOOKS: u32 = 400;

/// A version whose state is asked for.
pub struct OfVersion {
    /// Which.
    pub key: Key,
    /// Of its plan and of what functions give ([`regauge_plan::Fingerprint::of_state`]).
    pub fingerprint: [u8; 32],
    /// The plan, in bytes.
    pub plan: Arc<[u8]>,
    /// Its operators' state, once it is there.
    pub saving: Arc<Saving>,
    /// Its output.
    pub trace: Arc<dyn Trace>,
    /// Of which commit: the checkpoint's, or one within the history that it is reading.
    pub at: Lsn,
    /// Of one that reads its history: the rows that it has read.
    pub building: Option<u64>,
}

/// What is to be taken.
pub struct Job {
    /// Where to.
    pub store: Store,
    /// Whose data.
    pub dataset: DataSetId,
    /// The checkpoint before.
    pub last: Option<Arc<Manifest>>,
    /// Of which commit.
    pub at: Lsn,
    /// What the driver keeps beside.
    pub own: Vec<u8>,
    /// Versions.
    pub versions: Vec<OfVersion>,
    /// Versions of which it is to have what the last one has of them, half-built as they are.
    pub carried: Vec<(Key, [u8; 32])>,
    /// Tables, and whether their rows have no keys of their own.
    pub heads: Vec<(TopicId, SharedHead, bool)>,
    /// Keeps the commit readable.
    pub pin: Pin,
    /// Set when nobody wants it any more.
    pub stop: Arc<AtomicBool>,
}

/// What was taken.
pub struct Taken {
    /// The checkpoint.
    pub manifest: Manifest,
    /// Bytes written, bytes that stood already.
    pub n_bytes: (u64, u64),
    /// The versions whose operators' states are in it, and the digests of their rows.
    pub versions: BTreeMap<Key, Digest>,
    /// Those of them that are half-built.
    pub building: BTreeSet<Key>,
    /// For how long at most a worker did nothing else.
    pub pause: Duration,
}

pub(super) fn failed(error: CheckpointError) -> Error {
    Error::internal(error.to_string())
}

impl Job {
    /// Does it.
    pub fn run(self) -> Result<Taken> {
        let mut states = Vec::with_capacity(self.versions.len());
        let mut carried = self.carried.clone();
        // those that are live first: the others may take as long as is given to all of them together
        let (live, building): (Vec<_>, Vec<_>) = self.versions.iter().partition(|version| version.building.is_none());
        let mut looks = 0;
        for version in live.into_iter().chain(building) {
            match self.state(version, &mut looks)? {
                Ok(saved) => states.push((version, saved)),
                Err(why) if version.building.is_some() => {
                    tracing::debug!(view = %version.key.0, version = %version.key.1, %why, "of a version that reads its history the checkpoint before is kept");
                    carried.push((version.key, version.fingerprint));
                }
                Err(why) => {
                    tracing::warn!(view = %version.key.0, version = %version.key.1, %why, "version is left out of the checkpoint; it will be rebuilt from the log");
                }
            }
        }
        let mut pauses: BTreeMap<usize, Duration> = BTreeMap::new();
        for (worker, pause) in states.iter().flat_map(|(_, saved)| &saved.pauses) {
            *pauses.entry(*worker).or_default() += *pause;
        }
        let last = self.last.as_deref();
        let mut writer = self.store.begin(last).map_err(failed)?;
        let (mut sections, mut versions, mut building) = (vec![], BTreeMap::new(), BTreeSet::new());
        for (version, saved) in states {
            let (section, digest) = match (version::Writing { job: &self, version, writer: &mut writer }).section(saved) {
                Ok(written) => written,
                // it was dropped, or failed, while it was written, and nothing else is wrong: nobody will ask for what stands there of it
                Err(error) => match version.trace.failure() {
                    Some(why) if error.to_string().contains(&why) => {
                        tracing::warn!(view = %version.key.0, version = %version.key.1, %why, "version ended while it was written; it is left out of the checkpoint");
                        continue;
                    }
                    _ => return Err(error),
                },
            };
            sections.push(section);
            versions.insert(version.key, digest);
            building.extend(version.building.map(|_| version.key));
        }
        for (key, fingerprint) in carried {
            let half = last
                .and_then(|last| last.sections.iter().find(|s| within(&s.name, key).is_some() && s.fingerprint == fingerprint));
            if let Some(half) = half {
                let blocks = half.blocks.iter().map(|block| writer.keep(block).map_err(failed)).collect::<Result<_>>()?;
                sections.push(Section { name: half.name.clone(), fingerprint, blocks });
            }
        }
        for (topic, head, copies) in &self.heads {
            sections.push(tables::Writing { job: &self, writer: &mut writer }.section(*topic, head, *copies)?);
        }
        let manifest = Manifest { dataset: self.dataset, no: writer.no(), lsn: self.at, own: self.own.clone(), sections };
        let n_bytes = writer.n_bytes();
        self.wanted()?;
        writer.publish(&manifest).map_err(failed)?;
        drop(self.pin);
        for (_, head, _) in &self.heads {
            head.write().forget_changed(self.at);
        }
        Ok(Taken { manifest, n_bytes, versions, building, pause: pauses.into_values().max().unwrap_or_default() })
    }

    /// Fails once nobody wants it any more.
    pub(super) fn wanted(&self) -> Result<()> {
        if self.stop.load(Ordering::Acquire) { Err(Error::internal("instance is closing")) } else { Ok(()) }
    }

    /// The state of a version's operators, or why there is none. `looks` counts those at versions that read their history.
    fn state(&self, version: &OfVersion, looks: &mut u32) -> Result<Result<Saved, String>> {
        loop {
            self.wanted()?;
            if let Some(given) = version.saving.wait(LOOK) {
                return Ok(given);
            }
            *looks += u32::from(version.building.is_some());
            if version.building.is_some() && *looks >= BUILDING_LOOKS {
                return Ok(Err("it has not come to the next part of its history in time".to_owned()));
            }
            if let Some(why) = version.trace.failure() {
                return Ok(Err(why));
            }
        }
    }
}
