//! One checkpoint, on a thread of its own: waits for the versions' states, reads traces and heads at its commit, writes and publishes.
//!
//! A version whose state cannot be had (it failed, or an operator cannot save) is left out with a line in the log; the others are in. What
//! did not change since the checkpoint before is named again and not written. Cost: reading what it writes; it holds a pin on its commit
//! meanwhile, and a head's lock for one page at a time.

use super::{kind, of_table, of_version, rows};
use crate::{
    error::{Error, Result},
    judge::SharedHead,
    read::Pin,
    table::writes::{Key as RowKey, gather},
    version::{registry::Key, trace::Trace},
};
use regauge_flow::{
    engine::{NodeImages, Saving},
    image::Of,
};
use regauge_state::checkpoint::{Block, CheckpointError, Label, Manifest, Section, Store, Writer, encode};
use regauge_types::{DataSetId, Lsn, TopicId};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Rows of one block of a trace or a table.
const BLOCK_ROWS: usize = 65_536;
/// Rows of a head that are read under one lock.
const PAGE_ROWS: usize = 8192;
/// How long a wait for a version's state lasts before it is looked whether anybody still wants it.
const LOOK: Duration = Duration::from_millis(50);

/// A version whose state is asked for.
pub struct OfVersion {
    /// Which.
    pub key: Key,
    /// Of its plan.
    pub fingerprint: [u8; 32],
    /// Its operators' state, once it is there.
    pub saving: Arc<Saving>,
    /// Its output.
    pub trace: Arc<dyn Trace>,
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
    /// Tables.
    pub heads: Vec<(TopicId, SharedHead)>,
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
    /// The versions whose operators' states are in it.
    pub versions: Vec<Key>,
}

fn failed(error: CheckpointError) -> Error {
    Error::internal(error.to_string())
}

impl Job {
    /// Does it.
    pub fn run(self) -> Result<Taken> {
        let mut states = Vec::with_capacity(self.versions.len());
        for version in &self.versions {
            match self.state(version)? {
                Ok(nodes) => states.push((version, nodes)),
                Err(why) => {
                    tracing::warn!(view = %version.key.0, version = %version.key.1, %why, "version is left out of the checkpoint; it will be rebuilt from the log");
                }
            }
        }
        let last = self.last.as_deref();
        let mut writer = self.store.begin(last).map_err(failed)?;
        let (mut sections, mut versions) = (vec![], vec![]);
        for (version, nodes) in states {
            sections.push(self.version(version, nodes, &mut writer)?);
            versions.push(version.key);
        }
        for (topic, head) in &self.heads {
            sections.push(self.head(*topic, head, &mut writer)?);
        }
        let manifest = Manifest { dataset: self.dataset, no: writer.no(), lsn: self.at, own: self.own.clone(), sections };
        let n_bytes = writer.n_bytes();
        self.wanted()?;
        writer.publish(&manifest).map_err(failed)?;
        drop(self.pin);
        Ok(Taken { manifest, n_bytes, versions })
    }

    fn wanted(&self) -> Result<()> {
        if self.stop.load(Ordering::Acquire) { Err(Error::internal("instance is closing")) } else { Ok(()) }
    }

    /// The state of a version's operators, or why there is none.
    fn state(&self, version: &OfVersion) -> Result<Result<Vec<NodeImages>, String>> {
        loop {
            self.wanted()?;
            if let Some(given) = version.saving.wait(LOOK) {
                return Ok(given);
            }
            if let Some(why) = version.trace.failure() {
                return Ok(Err(why));
            }
        }
    }

    fn version(&self, version: &OfVersion, nodes: Vec<NodeImages>, writer: &mut Writer<'_>) -> Result<Section> {
        let name = of_version(version.key);
        let before = self.last.as_deref().and_then(|last| last.section(&name));
        let mut blocks: Vec<Block> = vec![];
        for NodeImages { node, worker, images } in nodes {
            self.wanted()?;
            let odd = |_| Error::internal("a plan with too many nodes");
            let (node, worker) = (u32::try_from(node).map_err(odd)?, u32::try_from(worker).map_err(odd)?);
            let Some(images) = images else {
                let of_before = before.into_iter().flat_map(|s| &s.blocks);
                let mine = of_before.filter(|b| b.label.kind == kind::IMAGE && b.label.node == node && b.label.worker == worker);
                for block in mine {
                    blocks.push(writer.keep(block).map_err(failed)?);
                }
                continue;
            };
            for image in images {
                let of = if let Of::Bucket(bucket) = image.of { bucket.into() } else { 256 };
                let label = Label { kind: kind::IMAGE, node, worker, part: image.part, of };
                blocks.push(writer.put(label, &encode(&image.tables).map_err(failed)?).map_err(failed)?);
            }
        }
        let label = |kind| Label { kind, node: 0, worker: 0, part: 0, of: 256 };
        let (pieces, errors) = version.trace.state(self.at.into()).map_err(|f| Error::internal(f.to_string()))?;
        for piece in pieces.iter().flat_map(|p| p.chunks(BLOCK_ROWS).collect::<Vec<_>>()) {
            self.wanted()?;
            let bytes = encode(&[rows::of_delta(&piece)?]).map_err(failed)?;
            blocks.push(writer.put(label(kind::ROWS), &bytes).map_err(failed)?);
        }
        if !errors.is_empty() {
            let bytes = encode(&[rows::of_errors(&errors)?]).map_err(failed)?;
            blocks.push(writer.put(label(kind::ERRORS), &bytes).map_err(failed)?);
        }
        Ok(Section { name, fingerprint: version.fingerprint, blocks })
    }

    fn head(&self, topic: TopicId, head: &SharedHead, writer: &mut Writer<'_>) -> Result<Section> {
        let (mut blocks, mut after): (Vec<Block>, Option<RowKey>) = (vec![], None);
        loop {
            self.wanted()?;
            let (page, schema) = {
                let head = head.read();
                (head.page(self.at, after.as_ref(), PAGE_ROWS), head.schema().clone())
            };
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let batch = gather(&schema, page.iter().map(|(_, row)| Some(row)))?;
            let label = Label { kind: kind::HEAD, node: 0, worker: 0, part: 0, of: 256 };
            blocks.push(writer.put(label, &encode(&[batch]).map_err(failed)?).map_err(failed)?);
        }
        Ok(Section { name: of_table(topic), fingerprint: [0; 32], blocks })
    }
}
