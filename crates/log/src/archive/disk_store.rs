//! An object store in a folder, over the [`Disk`] of `types::env`: so the simulated disk covers the archive too, and any S3
//! can take its place.
//!
//! Guarantees: after `Ok` an object survives power loss, and before it a reader sees the old object or none, never a part
//! (temporary name, sync, rename, sync of the folder and, once per process, of the folders above it; `object_store`'s own
//! `LocalFileSystem` does not sync). `PutMode::Create` refuses an existing name.
//! Not guaranteed: what is there after an error (the object may be whole and visible, yet gone after a power cut: the caller
//! writes under a new name); create-only between two processes (the data folder's lock keeps the second one out);
//! modification times (the epoch is reported) and entity tags.
//! Cost: everything runs on the calling thread and no future ever waits; a crash leaves at most one hidden temporary file
//! for each write that was under way, and nobody deletes those.

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};
use parking_lot::Mutex;
use regauge_types::env::{Disk, Env, File, OpenMode};
use std::{
    collections::{BTreeSet, HashSet},
    fmt, io,
    ops::Range,
    path::{Path as FsPath, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bytes read at once when a whole object is streamed.
const READ_CHUNK: u64 = 8 << 20;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct DiskStore(Arc<Inner>);

struct Inner {
    env: Env,
    root: PathBuf,
    /// Makes "is the name free" and "take the name" one step.
    publishing: Mutex<()>,
    /// Folders whose own names are durable. Only grows after a successful sync.
    durable_dirs: Mutex<HashSet<PathBuf>>,
}

impl DiskStore {
    /// A store of the objects below `root`, which is made at the first write.
    #[must_use]
    pub fn new(env: Env, root: &FsPath) -> DiskStore {
        DiskStore(Arc::new(Inner {
            env,
            root: root.to_owned(),
            publishing: Mutex::new(()),
            durable_dirs: Mutex::new(HashSet::new()),
        }))
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskStore({})", self.0.root.display())
    }
}

impl fmt::Display for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a part of a name may not be, so that no name leaves the root and none meets a temporary file.
fn is_safe(part: &str) -> bool {
    !part.is_empty() && part.len() <= 200 && !part.starts_with('.') && !part.contains(['/', '\\', '\0'])
}

/// Whether a listing failed because there is no such folder.
fn is_no_folder(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn failure(path: &FsPath, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path: path.display().to_string(), source: source.into() },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path: path.display().to_string(), source: source.into() },
        _ => Error::Generic { store: "disk", source: source.into() },
    }
}

fn refused(what: &str) -> Error {
    Error::NotSupported { source: what.to_owned().into() }
}

impl Inner {
    fn disk(&self) -> &dyn Disk {
        &*self.env.disk
    }

    fn file_path(&self, location: &Path) -> Result<PathBuf> {
        let mut path = self.root.clone();
        for part in location.parts() {
            if !is_safe(part.as_ref()) {
                return Err(refused("unsafe object name"));
            }
            path.push(part.as_ref());
        }
        if path == self.root {
            return Err(refused("empty object name"));
        }
        Ok(path)
    }

    /// Makes a folder so that it survives power loss: the names on the way to it are synced once, also when a former
    /// process made them, because that one may have died in between.
    fn ensure_dir(&self, dir: &FsPath) -> io::Result<()> {
        if self.durable_dirs.lock().contains(dir) {
            return Ok(());
        }
        self.disk().create_dir_all(dir)?;
        let outermost = self.root.parent().unwrap_or(&self.root);
        let mut synced = Vec::new();
        for above in dir.ancestors().skip(1) {
            self.disk().sync_dir(above)?;
            synced.push(above.to_owned());
            if above == outermost {
                break;
            }
        }
        // The outermost folder's own name is its owner's business.
        synced.retain(|d| d != outermost);
        let mut known = self.durable_dirs.lock();
        known.extend(synced);
        known.insert(dir.to_owned());
        Ok(())
    }

    /// A new hidden file beside where the object will stand.
    fn temporary(&self, target: &FsPath) -> Result<(PathBuf, Arc<dyn File>)> {
        let dir = target.parent().unwrap_or(&self.root);
        self.ensure_dir(dir).map_err(|e| failure(dir, e))?;
        loop {
            // A random name, because files of crashed writers stay; a simulation may draw the same number again.
            let path = dir.join(format!(".{:016x}.tmp", self.env.random.next_u64()));
            match self.disk().open(&path, OpenMode::CreateNew) {
                Ok(file) => return Ok((path, file)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(failure(&path, e)),
            }
        }
    }

    /// Syncs the temporary file and gives it its name.
    fn publish(&self, temporary: &FsPath, file: &dyn File, target: &FsPath, create: bool) -> Result<()> {
        file.sync().map_err(|e| failure(temporary, e))?;
        let _one = self.publishing.lock();
        if create && self.disk().exists(target).map_err(|e| failure(target, e))? {
            return Err(failure(target, io::ErrorKind::AlreadyExists.into()));
        }
        self.disk().rename(temporary, target).map_err(|e| failure(target, e))?;
        let dir = target.parent().unwrap_or(&self.root);
        self.disk().sync_dir(dir).map_err(|e| failure(dir, e))
    }

    fn put(&self, location: &Path, payload: &PutPayload, create: bool) -> Result<PutResult> {
        let target = self.file_path(location)?;
        let (temporary, file) = self.temporary(&target)?;
        let written = write_payload(&*file, payload, 0)
            .map_err(|e| failure(&temporary, e))
            .and_then(|()| self.publish(&temporary, &*file, &target, create));
        if written.is_err() {
            // Only tidiness: a file that stays is ignored for ever.
            let _ = self.disk().remove(&temporary);
        }
        written.map(|()| PutResult { e_tag: None, version: None })
    }

    fn open(&self, location: &Path) -> Result<(Arc<dyn File>, ObjectMeta)> {
        let path = self.file_path(location)?;
        let file = self.disk().open(&path, OpenMode::Read).map_err(|e| failure(&path, e))?;
        let size = file.len().map_err(|e| failure(&path, e))?;
        Ok((file, meta(location.clone(), size)))
    }

    fn remove(&self, location: &Path) -> Result<()> {
        let path = self.file_path(location)?;
        self.disk().remove(&path).map_err(|e| failure(&path, e))?;
        let dir = path.parent().unwrap_or(&self.root);
        self.disk().sync_dir(dir).map_err(|e| failure(dir, e))
    }

    /// All objects below a prefix, in name order.
    fn walk(&self, prefix: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let start = prefix.cloned().unwrap_or_default();
        let mut found = Vec::new();
        let mut todo = vec![start];
        while let Some(at) = todo.pop() {
            let dir = if at.as_ref().is_empty() { self.root.clone() } else { self.file_path(&at)? };
            let names = match self.disk().list(&dir) {
                Ok(names) => names,
                Err(e) if is_no_folder(&e) => continue,
                Err(e) => return Err(failure(&dir, e)),
            };
            for name in names.iter().filter(|n| is_safe(n)) {
                let child = at.clone().join(name.as_str());
                // The disk's listing does not tell folders from files; only a folder can be listed.
                match self.disk().list(&dir.join(name)) {
                    Ok(_) => todo.push(child),
                    Err(e) if is_no_folder(&e) => match self.open(&child) {
                        Ok((_, meta)) => found.push(meta),
                        // Removed since it was listed.
                        Err(Error::NotFound { .. }) => {}
                        Err(e) => return Err(e),
                    },
                    Err(e) => return Err(failure(&dir.join(name), e)),
                }
            }
        }
        found.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }
}

fn meta(location: Path, size: u64) -> ObjectMeta {
    ObjectMeta { location, last_modified: Default::default(), size, e_tag: None, version: None }
}

fn write_payload(file: &dyn File, payload: &PutPayload, mut offset: u64) -> io::Result<()> {
    for bytes in payload {
        file.write_at(bytes, offset)?;
        offset += bytes.len() as u64;
    }
    Ok(())
}

fn read(file: &dyn File, range: Range<u64>, location: &Path) -> Result<Bytes> {
    let name = || FsPath::new(location.as_ref()).to_owned();
    let len = usize::try_from(range.end.saturating_sub(range.start))
        .map_err(|_| failure(&name(), io::ErrorKind::InvalidInput.into()))?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, range.start).map_err(|e| failure(&name(), e))?;
    Ok(bytes.into())
}

#[async_trait]
impl ObjectStore for DiskStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match opts.mode {
            PutMode::Overwrite => self.0.put(location, &payload, false),
            PutMode::Create => self.0.put(location, &payload, true),
            PutMode::Update(_) => Err(refused("objects in a folder have no version to compare with")),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let target = self.0.file_path(location)?;
        let (temporary, file) = self.0.temporary(&target)?;
        Ok(Box::new(DiskUpload { store: self.clone(), target, temporary, file, len: 0, written: Arc::default() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (file, meta) = self.0.open(location)?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            None => 0..meta.size,
            Some(range) => range.as_range(meta.size).map_err(|e| Error::Generic { store: "disk", source: e.into() })?,
        };
        let end = if options.head { range.start } else { range.end };
        let location = location.clone();
        let chunks = stream::iter((range.start..end).step_by(usize::try_from(READ_CHUNK).unwrap_or(usize::MAX)))
            .map(move |at| read(&*file, at..end.min(at + READ_CHUNK), &location))
            .boxed();
        Ok(GetResult { payload: GetResultPayload::Stream(chunks), meta, range, attributes: Default::default() })
    }

    /// Exactly the ranges asked for: there is no round trip to save by reading what lies between them.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (file, meta) = self.0.open(location)?;
        let read_one = |range: &Range<u64>| {
            // Before the buffer is allocated: a range may come from damaged bytes.
            if range.end > meta.size {
                return Err(failure(FsPath::new(location.as_ref()), io::ErrorKind::UnexpectedEof.into()));
            }
            read(&*file, range.clone(), location)
        };
        ranges.iter().map(read_one).collect()
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let inner = Arc::clone(&self.0);
        locations.map(move |location| location.and_then(|l| inner.remove(&l).map(|()| l))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.0.walk(prefix) {
            Ok(found) => stream::iter(found.into_iter().map(Ok)).boxed(),
            Err(e) => stream::iter([Err(e)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let root = Path::default();
        let prefix = prefix.unwrap_or(&root);
        let mut common_prefixes = BTreeSet::new();
        let mut objects = Vec::new();
        for meta in self.0.walk(Some(prefix))? {
            let Some(mut rest) = meta.location.prefix_match(prefix) else { continue };
            let Some(first) = rest.next() else { continue };
            if rest.next().is_some() {
                common_prefixes.insert(prefix.clone().join(first.as_ref()));
            } else {
                drop(rest);
                objects.push(meta);
            }
        }
        Ok(ListResult { common_prefixes: common_prefixes.into_iter().collect(), objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (file, meta) = self.0.open(from)?;
        let bytes = read(&*file, 0..meta.size, from)?;
        self.0.put(to, &bytes.into(), options.mode == CopyMode::Create).map(|_| ())
    }
}

/// An object written in parts, into its temporary file; [`MultipartUpload::complete`] publishes it.
struct DiskUpload {
    store: DiskStore,
    target: PathBuf,
    temporary: PathBuf,
    file: Arc<dyn File>,
    len: u64,
    /// Bytes of the parts that were written without an error.
    written: Arc<AtomicU64>,
}

impl fmt::Debug for DiskUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskUpload({} bytes={})", self.target.display(), self.len)
    }
}

#[async_trait]
impl MultipartUpload for DiskUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (file, at, written) = (Arc::clone(&self.file), self.len, Arc::clone(&self.written));
        self.len += data.content_length() as u64;
        let temporary = self.temporary.clone();
        Box::pin(async move {
            write_payload(&*file, &data, at).map_err(|e| failure(&temporary, e))?;
            written.fetch_add(data.content_length() as u64, Ordering::SeqCst);
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        if self.written.load(Ordering::SeqCst) != self.len {
            return Err(refused("completing an upload of which a part failed"));
        }
        self.store.0.publish(&self.temporary, &*self.file, &self.target, false)?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.0.disk().remove(&self.temporary).map_err(|e| failure(&self.temporary, e))
    }
}
