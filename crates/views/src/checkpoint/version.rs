//! A version's section of a checkpoint: its operators' state, its rows, the digest of its rows.
//!
//! ```text
//!   section before:   [image][image] .. [changed][gone][changed]      [rows][rows] .. [rows changed]      [digest]
//!   this one:         the same blocks, named again, and behind them what changed; or, when that is much, all put together
//! ```
//! Invariant: the images of a node, in the order in which they stand, restore the state at the checkpoint's commit; the rows sum up to the
//! output there; the digest is that of these rows, kept up by changes (so it does not come from the rows that it is compared with).
//! Cost: what changed; and now and then, amortised, what is there. It knows neither operators nor files.

use super::{
    is_much, kind, of_backfill, of_version, rows,
    take::{Job, OfVersion, failed},
    within,
};
use crate::error::{Error, Result};
use regauge_flow::{
    engine::{Given, Later, NodeImages, Saved, merge},
    image::{Image, Of, Step},
};
use regauge_plan::FlowPlan;
use regauge_state::checkpoint::{Block, Label, Section, Store, Writer, decode, encode};
use regauge_types::{Delta, Digest};
use std::{collections::BTreeMap, sync::Arc};

/// Rows of one block.
const BLOCK_ROWS: usize = 65_536;
/// Buckets that are put together at once: what is in memory beside what is there is one sixteenth of it.
const BUCKETS_AT_ONCE: usize = 16;

/// Writes a section.
pub(super) struct Writing<'a, 'w> {
    pub job: &'a Job,
    pub version: &'a OfVersion,
    pub writer: &'a mut Writer<'w>,
}

const fn label(kind: u8) -> Label {
    Label { kind, node: 0, worker: 0, part: 0, of: 256 }
}

fn odd() -> Error {
    Error::internal("a checkpoint's block does not read")
}

fn is_image(block: &Block) -> bool {
    matches!(block.label.kind, kind::IMAGE | kind::IMAGE_GONE | kind::IMAGE_CHANGED)
}

fn step_and_owner(block: &Block) -> Result<(Step, Of)> {
    let step = match block.label.kind {
        kind::IMAGE => Step::Whole,
        kind::IMAGE_GONE => Step::Gone,
        kind::IMAGE_CHANGED => Step::Changed,
        _ => return Err(odd()),
    };
    let of = if block.label.of == 256 { Of::All } else { Of::Bucket(u8::try_from(block.label.of).map_err(|_| odd())?) };
    Ok((step, of))
}

/// As [`image`], read when it is needed.
pub(super) fn later(store: &Store, block: &Block) -> Result<Later> {
    let (step, of) = step_and_owner(block)?;
    let (store, block) = (store.clone(), *block);
    Ok(Later { of, step, read: Arc::new(move || image(&store, &block).map_err(|e| e.to_string())) })
}

/// The image that a block of that kind holds.
pub(super) fn image(store: &Store, block: &Block) -> Result<Image> {
    let (step, of) = step_and_owner(block)?;
    let tables = decode(&store.read(block).map_err(failed)?).map_err(failed)?;
    Ok(Image { part: block.label.part, of, step, tables })
}

/// The digest that a block of that kind holds.
pub(super) fn digest(store: &Store, block: &Block) -> Result<Digest> {
    let bytes = store.read(block).map_err(failed)?;
    let mut lanes = [0u64; 4];
    for (lane, bytes) in lanes.iter_mut().zip(bytes.chunks_exact(8)) {
        *lane = u64::from_le_bytes(bytes.try_into().map_err(|_| odd())?);
    }
    if bytes.len() == 32 { Ok(Digest(lanes)) } else { Err(odd()) }
}

/// The digest of rows.
pub(super) fn digest_of<'a>(deltas: impl IntoIterator<Item = &'a Delta>) -> Result<Digest> {
    let mut digest = Digest::default();
    for delta in deltas {
        digest.add_delta(delta).map_err(|e| Error::internal(e.to_string()))?;
    }
    Ok(digest)
}

fn n_bytes(blocks: &[Block], is_base: bool, base: u8) -> u64 {
    blocks.iter().filter(|b| (b.label.kind == base) == is_base).map(|b| b.place.len).sum()
}

impl<'a> Writing<'a, '_> {
    /// The section, and the digest of the version's rows.
    pub fn section(mut self, saved: Saved) -> Result<(Section, Digest)> {
        let (key, fingerprint, job) = (self.version.key, self.version.fingerprint, self.job);
        let whole = of_version(key);
        let name = self.version.building.map_or_else(|| whole.clone(), |rows| of_backfill(key, self.version.at, rows));
        let sections = job.last.as_deref().map(|last| &last.sections).into_iter().flatten();
        let mut before = sections.filter(|s| s.name == whole || within(&s.name, key).is_some());
        let before = before.find(|s| s.fingerprint == fingerprint);
        let mut nodes: BTreeMap<usize, Vec<NodeImages>> = BTreeMap::new();
        saved.nodes.into_iter().for_each(|n| nodes.entry(n.node).or_default().push(n));
        let mut blocks = vec![];
        for (node, given) in nodes {
            blocks.extend(self.node(node, given, before)?);
        }
        let digest = self.rows(saved.rows, before, &mut blocks)?;
        let bytes: Vec<u8> = digest.0.iter().flat_map(|lane| lane.to_le_bytes()).collect();
        blocks.push(self.writer.put(label(kind::DIGEST), &bytes).map_err(failed)?);
        Ok((Section { name, fingerprint, blocks }, digest))
    }

    fn node(&mut self, node: usize, given: Vec<NodeImages>, before: Option<&Section>) -> Result<Vec<Block>> {
        let number = u32::try_from(node).map_err(|_| odd())?;
        let old = || before.into_iter().flat_map(|s| &s.blocks).filter(|b| is_image(b) && b.label.node == number);
        let n_changes = given.iter().filter(|g| matches!(g.given, Given::Changes(_))).count();
        if n_changes > 0 && (n_changes < given.len() || before.is_none()) {
            return Err(Error::internal("changes of a state that is not there"));
        }
        let mut blocks = vec![];
        if n_changes > 0 {
            for block in old() {
                blocks.push(self.writer.keep(block).map_err(failed)?);
            }
        }
        for NodeImages { worker, given, .. } in given {
            self.job.wanted()?;
            let worker = u32::try_from(worker).map_err(|_| odd())?;
            match given {
                Given::Same => {
                    for block in old().filter(|b| b.label.worker == worker) {
                        blocks.push(self.writer.keep(block).map_err(failed)?);
                    }
                }
                Given::Copied(copied) => {
                    for block in copied.read() {
                        self.job.wanted()?;
                        let ((part, bucket), bytes) = block.map_err(|e| Error::internal(e.to_string()))?;
                        let label = Label { kind: kind::IMAGE, node: number, worker, part: *part, of: (*bucket).into() };
                        blocks.push(self.writer.put(label, &bytes).map_err(failed)?);
                    }
                }
                Given::Whole(images) | Given::Changes(images) => {
                    for image in images {
                        blocks.push(self.put(number, worker, &image)?);
                    }
                }
            }
        }
        let (base, changes) = (n_bytes(&blocks, true, kind::IMAGE), n_bytes(&blocks, false, kind::IMAGE));
        if is_much(base, changes) { self.merge(node, blocks) } else { Ok(blocks) }
    }

    fn put(&mut self, node: u32, worker: u32, image: &Image) -> Result<Block> {
        let of = if let Of::Bucket(bucket) = image.of { bucket.into() } else { 256 };
        let kind = match image.step {
            Step::Whole => kind::IMAGE,
            Step::Gone => kind::IMAGE_GONE,
            Step::Changed => kind::IMAGE_CHANGED,
        };
        let label = Label { kind, node, worker, part: image.part, of };
        self.writer.put(label, &encode(&image.tables).map_err(failed)?).map_err(failed)
    }

    /// A node's images and the changes behind them as images.
    fn merge(&mut self, node: usize, blocks: Vec<Block>) -> Result<Vec<Block>> {
        let plan = FlowPlan::from_bytes(&self.version.plan).map_err(|e| Error::internal(e.to_string()))?;
        let number = u32::try_from(node).map_err(|_| odd())?;
        let (base, changes): (Vec<Block>, Vec<Block>) = blocks.into_iter().partition(|b| b.label.kind == kind::IMAGE);
        // those that are of any bucket are read once, the others when it is their turn; all in their order
        let is_of_any = |b: &&Block| b.label.of == 256;
        let mut of_any = BTreeMap::new();
        for (at, block) in changes.iter().enumerate().filter(|(_, b)| is_of_any(b)) {
            of_any.insert(at, self.read(block)?);
        }
        let mut merged = vec![];
        for first in (0..256usize).step_by(BUCKETS_AT_ONCE) {
            self.job.wanted()?;
            let buckets = first..first + BUCKETS_AT_ONCE;
            let here = base.iter().filter(|b| usize::try_from(b.label.of).is_ok_and(|of| buckets.contains(&of)));
            let mut images = here.map(|b| self.read(b)).collect::<Result<Vec<_>>>()?;
            for (at, block) in changes.iter().enumerate() {
                match of_any.get(&at) {
                    Some(image) => images.push(image.clone()),
                    None if usize::try_from(block.label.of).is_ok_and(|of| buckets.contains(&of)) => {
                        images.push(self.read(block)?)
                    }
                    None => {}
                }
            }
            for image in merge(&plan, node, &images, buckets).map_err(|e| Error::internal(e.to_string()))? {
                merged.push(self.put(number, 0, &image)?);
            }
        }
        tracing::debug!(view = %self.version.key.0, version = %self.version.key.1, node, "changes are put together");
        Ok(merged)
    }

    /// A block of the checkpoint before or of this one.
    fn read(&mut self, block: &Block) -> Result<Image> {
        self.writer.settle().map_err(failed)?;
        image(&self.job.store, block)
    }

    /// The output; its digest.
    fn rows(&mut self, changed: Option<Vec<Delta>>, before: Option<&Section>, blocks: &mut Vec<Block>) -> Result<Digest> {
        let at = self.version.at.into();
        let errors = self.version.trace.all_errors(at).map_err(|f| Error::internal(f.to_string()))?;
        if !errors.is_empty() {
            let bytes = encode(&[rows::of_errors(&errors)?]).map_err(failed)?;
            blocks.push(self.writer.put(label(kind::ERRORS), &bytes).map_err(failed)?);
        }
        let old =
            |wanted: &'static [u8]| before.into_iter().flat_map(|s| &s.blocks).filter(move |b| wanted.contains(&b.label.kind));
        let known = old(&[kind::DIGEST]).next().map(|block| digest(&self.job.store, block)).transpose()?;
        let version = self.version;
        let state = || version.trace.state(at).map_err(|f| Error::internal(f.to_string()));
        let (Some(changed), Some(known)) = (changed, known) else { return self.all_rows(&state()?.0, blocks) };
        let mut mine = vec![];
        for block in old(&[kind::ROWS, kind::ROWS_CHANGED]) {
            mine.push(self.writer.keep(block).map_err(failed)?);
        }
        let mut kept = known;
        if let Some(first) = changed.first() {
            let all = Delta::concat(&first.rows.schema(), &changed).map_err(Error::arrow)?;
            let sum = all.consolidate().map_err(|e| Error::internal(e.to_string()))?;
            kept = known.merge(&digest_of([&sum])?);
            for piece in sum.chunks(BLOCK_ROWS).filter(|piece| !piece.is_empty()) {
                self.job.wanted()?;
                let bytes = encode(&[rows::of_delta(&piece)?]).map_err(failed)?;
                mine.push(self.writer.put(label(kind::ROWS_CHANGED), &bytes).map_err(failed)?);
            }
        }
        if !is_much(n_bytes(&mine, true, kind::ROWS), n_bytes(&mine, false, kind::ROWS)) {
            blocks.extend(mine);
            return Ok(kept);
        }
        let found = self.all_rows(&state()?.0, blocks)?;
        if found == kept { Ok(found) } else { Err(self.misfit(kept, found)) }
    }

    fn misfit(&self, kept: Digest, found: Digest) -> Error {
        let (view, version) = self.version.key;
        let text = "digest that was kept up by changes is not that of the rows";
        Error::internal(format!("{text} view={view} version={version} kept={kept} rows={found}"))
    }

    fn all_rows(&mut self, pieces: &[Delta], blocks: &mut Vec<Block>) -> Result<Digest> {
        let mut digest = Digest::default();
        for piece in pieces.iter().flat_map(|p| p.chunks(BLOCK_ROWS).collect::<Vec<_>>()) {
            self.job.wanted()?;
            digest = digest.merge(&digest_of([&piece])?);
            let bytes = encode(&[rows::of_delta(&piece)?]).map_err(failed)?;
            blocks.push(self.writer.put(label(kind::ROWS), &bytes).map_err(failed)?);
        }
        Ok(digest)
    }
}
