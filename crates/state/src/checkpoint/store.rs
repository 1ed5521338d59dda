//! The folder of checkpoints: written by one, read by one; see the module's header for what it promises.

use super::{
    CheckpointError,
    manifest::{Block, Label, Manifest, NotOne, Place, checksum},
};
use parking_lot::Mutex;
use regauge_types::{
    DataSetId,
    env::{Env, File, OpenMode},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// First bytes of a run.
const RUN_MAGIC: &[u8; 8] = b"RGRUN001";
/// Bytes before the first block: the above and the run's number.
const RUN_HEAD: u64 = 16;
/// Manifests that are kept.
const KEPT: usize = 2;
/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;
/// The largest manifest that is read.
const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// A number from here on is no name of ours: none could follow it for ever.
const NUMBERS_END: u64 = 1 << 63;

/// A folder of checkpoints.
#[derive(Clone)]
pub struct Store {
    env: Env,
    dir: PathBuf,
    dataset: DataSetId,
    /// Manifests that somebody reads, and how many do. Held while old ones are removed.
    held: Arc<Mutex<BTreeMap<u64, usize>>>,
}

/// A checkpoint that somebody reads: neither it nor its runs are removed as long as this lives.
pub struct Held {
    store: Store,
    manifest: Manifest,
}

impl Held {
    /// The checkpoint.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its files: their names and where they are, the manifest last.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let blocks = self.manifest.sections.iter().flat_map(|s| &s.blocks);
        let runs: BTreeSet<u64> = blocks.map(|b| b.place.run).collect();
        let runs = runs.into_iter().map(|no| self.store.run_path(no));
        runs.chain([self.store.manifest_path(self.manifest.no)]).collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.store.held.lock();
        if let Some(n) = held.get_mut(&self.manifest.no) {
            *n -= 1;
            if *n == 0 {
                held.remove(&self.manifest.no);
            }
        }
    }
}

/// A checkpoint that is being written.
pub struct Writer<'a> {
    store: &'a Store,
    no: u64,
    file: Arc<dyn File>,
    path: PathBuf,
    buffer: Vec<u8>,
    end: u64,
    /// Blocks that stand already.
    known: HashMap<[u8; 16], Place>,
    /// Runs that are mostly garbage: what lives there is written anew.
    leaving: BTreeSet<u64>,
    n_reused: u64,
    /// A manifest may name the run.
    is_named: bool,
}

impl Drop for Writer<'_> {
    /// A checkpoint that came to nothing gives its room back: on a full disk the log needs it.
    fn drop(&mut self) {
        if !self.is_named
            && let Err(error) = self.store.env.disk.remove(&self.path)
        {
            tracing::debug!(%error, run = self.no, "a run that nobody names stays until the next checkpoint");
        }
    }
}

fn number(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let number: Option<u64> = (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?;
    number.filter(|n| *n < NUMBERS_END)
}

impl Store {
    /// The checkpoints of a data set in a folder, which is made if need be.
    pub fn open(env: Env, dir: &Path, dataset: DataSetId) -> Result<Store, CheckpointError> {
        env.disk.create_dir_all(dir).map_err(CheckpointError::io("make folder", dir))?;
        if let Some(parent) = dir.parent() {
            env.disk.sync_dir(parent).map_err(CheckpointError::io("sync folder", parent))?;
        }
        Ok(Store { env, dir: dir.to_owned(), dataset, held: Arc::default() })
    }

    /// As [`Store::open`], to look only: nothing is made.
    #[must_use]
    pub fn look(env: Env, dir: &Path, dataset: DataSetId) -> Store {
        Store { env, dir: dir.to_owned(), dataset, held: Arc::default() }
    }

    fn manifest_path(&self, no: u64) -> PathBuf {
        self.dir.join(format!("manifest-{no:020}.rgc"))
    }

    fn run_path(&self, no: u64) -> PathBuf {
        self.dir.join(format!("run-{no:020}.rgr"))
    }

    /// Numbers of manifests and of runs, ascending.
    fn numbers(&self) -> Result<(Vec<u64>, Vec<u64>), CheckpointError> {
        let names = match self.env.disk.list(&self.dir) {
            // somebody removed the folder under a running instance
            Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
            listed => listed.map_err(CheckpointError::io("list", &self.dir))?,
        };
        let of = |prefix, suffix| {
            let mut numbers: Vec<u64> = names.iter().filter_map(|n| number(n, prefix, suffix)).collect();
            numbers.sort_unstable();
            numbers
        };
        Ok((of("manifest-", ".rgc"), of("run-", ".rgr")))
    }

    /// Numbers of the manifests that are there, the newest first; whether they read is another question.
    pub fn manifests(&self) -> Result<Vec<u64>, CheckpointError> {
        let (mut manifests, _) = self.numbers()?;
        manifests.reverse();
        Ok(manifests)
    }

    /// Reads a manifest.
    pub fn load(&self, no: u64) -> Result<Manifest, CheckpointError> {
        let path = self.manifest_path(no);
        let bytes = self.env.disk.read_all(&path, MANIFEST_BYTES_MAX).map_err(CheckpointError::io("read", &path))?;
        let corrupt = |reason: &str| CheckpointError::Corrupt { path: path.clone(), offset: 0, reason: reason.to_owned() };
        let manifest = Manifest::from_bytes(&bytes).map_err(|not| match not {
            NotOne::Damaged(reason) => corrupt(reason),
            NotOne::Version(version) => CheckpointError::OtherFormat { path: path.clone(), version },
        })?;
        if manifest.no != no {
            return Err(corrupt("it has another one's number"));
        }
        if manifest.dataset != self.dataset {
            return Err(corrupt("it is another data set's"));
        }
        Ok(manifest)
    }

    /// Keeps the newest checkpoint that reads from being removed; `None` if there is none.
    pub fn hold(&self) -> Result<Option<Held>, CheckpointError> {
        let mut held = self.held.lock();
        for no in self.manifests()? {
            match self.load(no) {
                Ok(manifest) => {
                    *held.entry(no).or_default() += 1;
                    drop(held);
                    return Ok(Some(Held { store: self.clone(), manifest }));
                }
                Err(error @ CheckpointError::Io { .. }) => return Err(error),
                Err(error) => tracing::warn!(%error, "a checkpoint that does not read is passed over"),
            }
        }
        Ok(None)
    }

    /// Whether a checkpoint that was published is still there, its runs included; what is in them is another question.
    pub fn has(&self, manifest: &Manifest) -> Result<bool, CheckpointError> {
        let (manifests, runs) = self.numbers()?;
        let mut blocks = manifest.sections.iter().flat_map(|s| &s.blocks);
        Ok(manifests.contains(&manifest.no) && blocks.all(|b| runs.contains(&b.place.run)))
    }

    /// Compares the first bytes of a run with what stands there in every run.
    pub fn check_run(&self, no: u64) -> Result<u64, CheckpointError> {
        let path = self.run_path(no);
        let file = self.env.disk.open(&path, OpenMode::Read).map_err(CheckpointError::io("open", &path))?;
        let len = file.len().map_err(CheckpointError::io("read the length of", &path))?;
        let corrupt = |reason: &str| CheckpointError::Corrupt { path: path.clone(), offset: 0, reason: reason.to_owned() };
        if len < RUN_HEAD {
            return Err(corrupt("a run is cut off before its first block"));
        }
        let wanted = [RUN_MAGIC.as_slice(), &no.to_le_bytes()].concat();
        let mut head = vec![0; wanted.len()];
        file.read_exact_at(&mut head, 0).map_err(CheckpointError::io("read", &path))?;
        if head[..] == wanted[..] { Ok(len) } else { Err(corrupt("it does not begin as a run of this number")) }
    }

    /// The bytes of a block, verified.
    pub fn read(&self, block: &Block) -> Result<Vec<u8>, CheckpointError> {
        let Place { run, offset, len } = block.place;
        let path = self.run_path(run);
        let corrupt = |reason: &str| CheckpointError::Corrupt { path: path.clone(), offset, reason: reason.to_owned() };
        let file = self.env.disk.open(&path, OpenMode::Read).map_err(CheckpointError::io("open", &path))?;
        let there = file.len().map_err(CheckpointError::io("read the length of", &path))?;
        if offset.checked_add(len).is_none_or(|end| end > there) {
            return Err(corrupt("a block lies beyond its end"));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| corrupt("a block is too long"))?];
        file.read_exact_at(&mut bytes, offset).map_err(CheckpointError::io("read", &path))?;
        if checksum(&[&bytes]) == block.hash { Ok(bytes) } else { Err(corrupt("a block's checksum does not agree")) }
    }

    /// Begins a checkpoint beside `last`, the newest one, whose blocks may be named again.
    pub fn begin(&self, last: Option<&Manifest>) -> Result<Writer<'_>, CheckpointError> {
        let (manifests, runs) = self.numbers()?;
        if manifests.is_empty() && runs.is_empty() {
            // it may have been removed with all that was in it
            Store::open(self.env.clone(), &self.dir, self.dataset)?;
        }
        let no = manifests.last().max(runs.last()).copied().unwrap_or(0) + 1;
        if no >= NUMBERS_END {
            let path = self.manifest_path(no);
            return Err(CheckpointError::Io { what: "number a checkpoint", path, source: io::ErrorKind::InvalidInput.into() });
        }
        let leaving = last.map(|last| self.leaving(last)).transpose()?.unwrap_or_default();
        let blocks = last.into_iter().flat_map(|m| &m.sections).flat_map(|s| &s.blocks);
        let known = blocks.filter(|b| !leaving.contains(&b.place.run)).map(|b| (b.hash, b.place)).collect();
        let path = self.run_path(no);
        let file = self.env.disk.open(&path, OpenMode::CreateNew).map_err(CheckpointError::io("make", &path))?;
        let buffer = [RUN_MAGIC.as_slice(), &no.to_le_bytes()].concat();
        Ok(Writer { store: self, no, file, path, buffer, end: RUN_HEAD, known, leaving, n_reused: 0, is_named: false })
    }

    /// Runs of which a manifest uses less than half.
    fn leaving(&self, last: &Manifest) -> Result<BTreeSet<u64>, CheckpointError> {
        let mut used: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();
        for block in last.sections.iter().flat_map(|s| &s.blocks) {
            used.entry(block.place.run).or_default().insert(block.place.offset, block.place.len);
        }
        let mut leaving = BTreeSet::new();
        for (run, blocks) in used {
            let path = self.run_path(run);
            let file = self.env.disk.open(&path, OpenMode::Read).map_err(CheckpointError::io("open", &path))?;
            let len = file.len().map_err(CheckpointError::io("read the length of", &path))?;
            if blocks.values().sum::<u64>() * 2 < len {
                leaving.insert(run);
            }
        }
        Ok(leaving)
    }

    /// Removes what the last manifests do not name. A manifest that does not read keeps all runs: what it names is not known.
    fn collect(&self) -> Result<(), CheckpointError> {
        // nobody begins to hold one between the look and the removal
        let held = self.held.lock();
        let (manifests, runs) = self.numbers()?;
        let newest = manifests.len().saturating_sub(KEPT);
        let stays = |at: usize, no: u64| at >= newest || held.contains_key(&no);
        let numbers =
            |of: bool| manifests.iter().copied().enumerate().filter(move |(at, no)| stays(*at, *no) == of).map(|(_, no)| no);
        let (kept, old): (Vec<u64>, Vec<u64>) = (numbers(true).collect(), numbers(false).collect());
        let remove = |path: PathBuf| self.env.disk.remove(&path).map_err(CheckpointError::io("remove", &path));
        let mut needed = BTreeSet::new();
        for no in &kept {
            let manifest = self.load(*no)?;
            needed.extend(manifest.sections.iter().flat_map(|s| &s.blocks).map(|b| b.place.run));
        }
        old.iter().try_for_each(|no| remove(self.manifest_path(*no)))?;
        if !old.is_empty() {
            // a manifest must be gone for good before what it names goes
            self.env.disk.sync_dir(&self.dir).map_err(CheckpointError::io("sync folder", &self.dir))?;
        }
        let names = self.env.disk.list(&self.dir).map_err(CheckpointError::io("list", &self.dir))?;
        // what a crash left before its rename
        let unfinished = names.iter().filter(|name| number(name, "manifest-", ".tmp").is_some());
        unfinished.map(|name| self.dir.join(name)).try_for_each(remove)?;
        runs.iter().filter(|run| !needed.contains(run)).try_for_each(|no| remove(self.run_path(*no)))
    }
}

impl Writer<'_> {
    /// Its number.
    #[must_use]
    pub fn no(&self) -> u64 {
        self.no
    }

    /// Bytes written, and bytes that stood already.
    #[must_use]
    pub fn n_bytes(&self) -> (u64, u64) {
        (self.end - RUN_HEAD, self.n_reused)
    }

    /// A block with these bytes.
    pub fn put(&mut self, label: Label, bytes: &[u8]) -> Result<Block, CheckpointError> {
        let hash = checksum(&[bytes]);
        let len = bytes.len() as u64;
        if let Some(place) = self.known.get(&hash).filter(|place| place.len == len) {
            self.n_reused += len;
            return Ok(Block { label, place: *place, hash });
        }
        let place = Place { run: self.no, offset: self.end, len };
        self.buffer.extend_from_slice(bytes);
        self.end += len;
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        self.known.insert(hash, place);
        Ok(Block { label, place, hash })
    }

    /// A block of the checkpoint before, as it is.
    pub fn keep(&mut self, block: &Block) -> Result<Block, CheckpointError> {
        if self.leaving.contains(&block.place.run) {
            let bytes = self.store.read(block)?;
            return self.put(block.label, &bytes);
        }
        self.n_reused += block.place.len;
        Ok(*block)
    }

    /// Makes what was put readable by [`Store::read`]; not durable yet.
    pub fn settle(&mut self) -> Result<(), CheckpointError> {
        if self.buffer.is_empty() { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), CheckpointError> {
        let at = self.end - self.buffer.len() as u64;
        self.file.write_at(&self.buffer, at).map_err(CheckpointError::io("write", &self.path))?;
        self.buffer.clear();
        Ok(())
    }

    /// Publishes the checkpoint. What is collected afterwards may fail without harm: the next one tries again.
    pub fn publish(mut self, manifest: &Manifest) -> Result<(), CheckpointError> {
        self.flush()?;
        self.file.sync().map_err(CheckpointError::io("sync", &self.path))?;
        let disk = &self.store.env.disk;
        let sync_dir = || disk.sync_dir(&self.store.dir).map_err(CheckpointError::io("sync folder", &self.store.dir));
        sync_dir()?;
        let path = self.store.manifest_path(self.no);
        let temporary = path.with_extension("tmp");
        let file = disk.open(&temporary, OpenMode::ReadWrite).map_err(CheckpointError::io("make", &temporary))?;
        let written = file.set_len(0).and_then(|()| file.write_at(&manifest.to_bytes(), 0)).and_then(|()| file.sync());
        written.map_err(CheckpointError::io("write", &temporary))?;
        self.is_named = true;
        disk.rename(&temporary, &path).map_err(CheckpointError::io("rename", &temporary))?;
        sync_dir()?;
        if let Err(error) = self.store.collect() {
            tracing::warn!(%error, "old checkpoints are not removed");
        }
        Ok(())
    }
}
