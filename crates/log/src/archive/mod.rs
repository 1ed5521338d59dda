//! The archive: the log's history by column, in Parquet, where other tools can read it and a rebuild reads only what it needs.
//!
//! ```text
//!   journal ──commits (archived, target]──▶ run ──rows──▶ segment_write ──▶ objects ──▶ disk_store, or any S3
//!                                            └──▶ manifest <n+1> (the commit point)
//!   scan ◀── segment_read ◀── objects, by the manifest that the scan pinned when it began; then the journal after it
//! ```
//!
//! Invariant: the manifest in force names, for each partition, all rows of the commits up to its `archived`, once each.
//! Segments and manifests never change; a reader that holds a [`Manifest`] needs no lock, and pins what it names.
//! A corrupt newest manifest is an error at open and not passed over: objects become visible whole, so it can only be rot,
//! and an older manifest may be the wrong archive for a journal whose files were dropped since.
//! It never knows: producers, judges, the journal's files (it sees a [`CommitSource`]).

mod background;
mod blocks;
pub(crate) mod columns;
mod crc;
mod deltas;
mod disk_store;
mod encoder;
mod encodings;
mod manifest;
mod merge;
mod numbers;
pub(crate) mod objects;
mod pages;
pub(crate) mod rows;
mod run;
pub(crate) mod segment_read;
mod segment_write;
mod texts;
mod words;

pub use background::{ArchiveWork, Background, BackgroundOptions, Notes};
pub use columns::{check_archivable, schema_from_bytes};
pub use disk_store::DiskStore;
pub use manifest::{JournalState, Manifest, SchemaEntry, SegmentInfo};
pub use objects::Objects;
pub use run::ArchiveReport;

use crate::{error::LogError, model::CommitSource};
use manifest::MANIFEST_BYTES_MAX;
use objects::{corrupt, manifest_path};
use parking_lot::Mutex;
use regauge_types::{DataSetId, Lsn, env::Env};
use run::Step;
use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Sizes of the archive.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveOptions {
    /// Most rows of a row group, and the unit in which [`ScanSpec::split`](crate::scan::ScanSpec) deals out offsets. A quarter
    /// of a million: a few per cent larger than a million, but a scan by several workers is even, and a row group fits in memory.
    pub row_group_rows: u64,
    /// A row group ends when its encoded bytes reach this.
    pub row_group_bytes: usize,
    /// Bytes that a run may hold.
    pub memory_bytes: usize,
    /// A run publishes a manifest after about this many rows, so that a crash costs no more than these.
    pub step_rows: u64,
    /// How many manifests stay: the one in force and those before it, for an operator after rot.
    pub manifests_kept: usize,
}

impl Default for ArchiveOptions {
    fn default() -> ArchiveOptions {
        ArchiveOptions {
            row_group_rows: 1 << 18,
            row_group_bytes: 64 << 20,
            memory_bytes: 256 << 20,
            step_rows: 1 << 22,
            manifests_kept: 8,
        }
    }
}

/// See the module.
pub struct Archive {
    env: Env,
    objects: Objects,
    options: ArchiveOptions,
    current: Mutex<Arc<Manifest>>,
    /// One run at a time. Lock order: `running`, then `current`.
    running: Mutex<Running>,
    /// The archived lsn of the last manifest that this process saw become durable.
    proven: AtomicU64,
    closed: AtomicBool,
}

#[derive(Default)]
struct Running {
    /// A publication failed with an unknown outcome: the store may hold a newer manifest than `current`.
    unsure: bool,
    /// Former manifests of this process, while somebody may hold them.
    former: Vec<Weak<Manifest>>,
    /// Segments that were taken in by others, with the number of the last manifest that names them.
    retired: Vec<(u64, SegmentInfo)>,
}

impl Archive {
    /// Opens the archive of a data set, which is empty if the store has no manifest.
    ///
    /// Errors: `Corrupt` for a damaged manifest, or one of another data set; `NewerFormat`; `Store`.
    pub fn open(env: Env, objects: Objects, data_set: DataSetId, mut options: ArchiveOptions) -> Result<Archive, LogError> {
        options.row_group_rows = options.row_group_rows.max(1);
        let newest = newest(&objects, data_set)?;
        Ok(Archive {
            env,
            objects,
            options,
            current: Mutex::new(Arc::new(newest)),
            running: Mutex::default(),
            proven: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        })
    }

    /// The manifest in force. Holding it pins what it names: nothing of it is ever changed or deleted here.
    #[must_use]
    pub fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.current.lock())
    }

    /// Every commit up to here can be read from the archive.
    #[must_use]
    pub fn archived(&self) -> Lsn {
        self.current.lock().archived
    }

    /// Up to here the journal may forget its commits, if it ever wants to. Below [`Archive::archived`] until this process
    /// has published: a manifest found at open may have been left visible but not durable by a process that died.
    #[must_use]
    pub fn proven(&self) -> Lsn {
        Lsn(self.proven.load(Ordering::SeqCst))
    }

    /// The objects below, for scans.
    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The sizes it was opened with.
    #[must_use]
    pub fn options(&self) -> &ArchiveOptions {
        &self.options
    }

    /// A run in progress ends with `Closed` at its next commit, and none begins any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Archives the durable commits up to `target`. `state` is what the journal wants to find again; it must have been
    /// taken at or before `target`, and is kept for the next run if it was not.
    ///
    /// After an error the archive is as it was, for readers and for the next run: nothing but time was lost.
    pub fn run(&self, source: &dyn CommitSource, target: Lsn, state: Option<&JournalState>) -> Result<ArchiveReport, LogError> {
        let mut running = self.running.lock();
        if self.is_closed() {
            return Err(LogError::Closed);
        }
        let mut base = self.manifest();
        let mut report = ArchiveReport::default();
        let target = target.min(source.durable());
        if running.unsure {
            base = self.found_again(&base)?;
        }
        while base.archived < target || running.unsure {
            if self.is_closed() {
                return Err(LogError::Closed);
            }
            let step = self.step(&base, source, target, state)?;
            running.unsure = true;
            self.publish(&step.next)?;
            running.unsure = false;
            self.proven.store(step.next.archived.0, Ordering::SeqCst);
            running.retired.extend(step.retired.into_iter().map(|segment| (base.number, segment)));
            base = Arc::new(step.next);
            let before = std::mem::replace(&mut *self.current.lock(), Arc::clone(&base));
            running.former.push(Arc::downgrade(&before));
            drop(before);
            report.segments += step.segments;
            report.rows += step.rows;
            report.bytes += step.bytes;
            self.forget(&mut running);
        }
        Ok(ArchiveReport { archived: base.archived, manifest: base.number, ..report })
    }

    /// A rotten old segment must not keep new rows out of the archive: then none is merged.
    fn step(
        &self,
        base: &Manifest,
        source: &dyn CommitSource,
        target: Lsn,
        state: Option<&JournalState>,
    ) -> Result<Step, LogError> {
        match run::step(self, base, source, target, state, true) {
            Err(error @ LogError::Corrupt { .. }) => {
                tracing::error!(error = &error as &dyn std::error::Error, "archiving without merging small segments");
                run::step(self, base, source, target, state, false)
            }
            other => other,
        }
    }

    /// After an unknown outcome: what the store holds now. If our manifest is there it may not be durable, so the next run
    /// publishes its contents once more under the next number; only then do readers get it.
    fn found_again(&self, current: &Manifest) -> Result<Arc<Manifest>, LogError> {
        let found = newest(&self.objects, current.data_set)?;
        if found.archived < current.archived || found.number < current.number {
            return Err(corrupt(&manifest_path(current.number), 0, "a published manifest has disappeared"));
        }
        Ok(Arc::new(found))
    }

    fn publish(&self, manifest: &Manifest) -> Result<(), LogError> {
        let path = manifest_path(manifest.number);
        match self.objects.create(&path, manifest.encode())? {
            true => Ok(()),
            // An earlier attempt of ours whose reply was lost, or another process: `found_again` sorts it out.
            false => {
                Err(LogError::Store { object: path.to_string(), source: "another manifest of this number was published".into() })
            }
        }
    }

    /// Deletes manifests beyond those kept, and then segments that were merged into others and that no manifest names any
    /// more, neither in the store nor in the hands of a reader. Of what another process left behind nothing is deleted.
    fn forget(&self, running: &mut Running) {
        if let Err(error) = self.try_forget(running) {
            tracing::debug!(error = &error as &dyn std::error::Error, "old objects stay for now");
        }
    }

    fn try_forget(&self, running: &mut Running) -> Result<(), LogError> {
        let numbers = self.objects.manifest_numbers()?;
        let (old, kept) = numbers.split_at(numbers.len().saturating_sub(self.options.manifests_kept.max(1)));
        old.iter().try_for_each(|number| self.objects.delete(&manifest_path(*number)))?;
        running.former.retain(|manifest| manifest.strong_count() > 0);
        let pinned = running.former.iter().filter_map(Weak::upgrade).map(|manifest| manifest.number);
        let needed_from = pinned.chain(kept.first().copied()).min().unwrap_or(0);
        let (gone, still): (Vec<_>, Vec<_>) = running.retired.drain(..).partition(|(last, _)| *last < needed_from);
        running.retired = still;
        // One that cannot be deleted now stays as garbage.
        gone.iter().try_for_each(|(_, segment)| self.objects.delete(&segment.path()))
    }

    /// Reads every byte of one segment and compares checksums.
    pub fn verify_segment(&self, segment: &SegmentInfo) -> Result<(), LogError> {
        segment_read::verify(&self.objects, segment)
    }

    /// Numbers of the manifests that are there, ascending, and what is wrong with those that do not read.
    pub fn verify_manifests(&self) -> Result<(Vec<u64>, Vec<LogError>), LogError> {
        let numbers = self.objects.manifest_numbers()?;
        let read = |number: &u64| {
            let path = manifest_path(*number);
            Manifest::decode(&path, &self.objects.get(&path, MANIFEST_BYTES_MAX)?)
        };
        let damaged = numbers.iter().filter_map(|number| read(number).err()).collect();
        Ok((numbers, damaged))
    }

    /// Reads every byte of every segment and compares checksums; the first damage as an error.
    pub fn verify(&self) -> Result<(), LogError> {
        self.manifest().segments.iter().try_for_each(|info| segment_read::verify(&self.objects, info))
    }
}

/// The manifest in force in a store.
fn newest(objects: &Objects, data_set: DataSetId) -> Result<Manifest, LogError> {
    let Some(number) = objects.manifest_numbers()?.last().copied() else { return Ok(Manifest::empty(data_set)) };
    let path = manifest_path(number);
    let manifest = Manifest::decode(&path, &objects.get(&path, MANIFEST_BYTES_MAX)?)?;
    if manifest.number != number {
        return Err(corrupt(&path, 0, format!("manifest stands under another number number={}", manifest.number)));
    }
    if manifest.data_set != data_set {
        return Err(corrupt(
            &path,
            0,
            format!("archive belongs to another data set found={} expected={data_set}", manifest.data_set),
        ));
    }
    Ok(manifest)
}
