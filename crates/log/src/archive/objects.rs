//! What the archive asks of its object store, as plain blocking calls with the log's errors, and how its objects are named.
//!
//! ```text
//! manifest/00000000000000000007                       the newest number is the archive
//! segment/<topic>/<partition>/<first offset>-<nonce>.parquet
//! ```
//!
//! A folder answers on the calling thread. A store that needs a runtime (S3) gets a handle: the future runs there and the
//! caller waits on a channel, so no caller has to be outside of a runtime or inside of one.

use crate::error::LogError;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};
use regauge_types::{Lsn, TopicId};
use std::{fmt, future::Future, ops::Range, sync::Arc};
use tokio::runtime::Handle;

/// The archive's object store. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    runtime: Option<Handle>,
}

/// Where a manifest stands.
#[must_use]
pub(crate) fn manifest_path(number: u64) -> Path {
    Path::from(format!("manifest/{number:020}"))
}

/// Where a segment stands. The nonce keeps a second attempt apart from what a crashed one has left.
#[must_use]
pub(crate) fn segment_path(topic: TopicId, partition: u32, first_offset: u64, nonce: u64) -> Path {
    Path::from(format!("segment/{topic}/{partition}/{first_offset:020}-{nonce:016x}.parquet"))
}

/// Bytes at `offset` of `object` are not what was written there.
pub(crate) fn corrupt(object: &Path, offset: u64, what: impl Into<String>) -> LogError {
    LogError::Corrupt { file: object.as_ref().into(), offset, reason: what.into() }
}

/// The source of a segment or of its rows broke a promise: reported, because guessing on would lose or double records.
pub(crate) fn broken(what: impl Into<String>) -> LogError {
    LogError::Internal { reason: what.into() }
}

fn failed(object: &Path, source: Error) -> LogError {
    LogError::Store { object: object.to_string(), source: Box::new(source) }
}

/// The lsn of a column or of a statistic.
pub(crate) fn lsn_of(value: i64) -> Option<Lsn> {
    u64::try_from(value).ok().map(Lsn)
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({})", self.store)
    }
}

impl Objects {
    /// Wraps a store. Without `runtime`, its futures are driven on the calling thread.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, runtime: Option<Handle>) -> Objects {
        Objects { store, runtime }
    }

    fn wait<T: Send + 'static>(&self, work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Result<T, Error> {
        let Some(runtime) = &self.runtime else { return futures::executor::block_on(work) };
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        runtime.spawn(async move {
            // The receiver waits below; it is gone only if its thread panicked.
            let _ = send.send(work.await);
        });
        let lost = |_| Error::Generic { store: "runtime", source: "the runtime was shut down".into() };
        receive.recv().map_err(lost).and_then(|result| result)
    }

    /// Makes an object that must not exist yet: `Ok(false)` if it does.
    pub(crate) fn create(&self, object: &Path, bytes: impl Into<PutPayload>) -> Result<bool, LogError> {
        let (store, path, bytes) = (Arc::clone(&self.store), object.clone(), bytes.into());
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.wait(async move { store.put_opts(&path, bytes, options).await }) {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(e) => Err(failed(object, e)),
        }
    }

    /// Whether there is such an object.
    pub(crate) fn exists(&self, object: &Path) -> Result<bool, LogError> {
        let (store, path) = (Arc::clone(&self.store), object.clone());
        match self.wait(async move { store.head(&path).await }) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(failed(object, e)),
        }
    }

    /// A whole object of at most `bytes_max` bytes.
    pub(crate) fn get(&self, object: &Path, bytes_max: u64) -> Result<Bytes, LogError> {
        let (store, path) = (Arc::clone(&self.store), object.clone());
        let (size, bytes) = self
            .wait(async move {
                let found = store.get(&path).await?;
                let size = found.meta.size;
                Ok((size, if size > bytes_max { Bytes::new() } else { found.bytes().await? }))
            })
            .map_err(|e| failed(object, e))?;
        if size > bytes_max {
            return Err(corrupt(object, bytes_max, format!("object is too large bytes={size} max={bytes_max}")));
        }
        Ok(bytes)
    }

    /// Byte ranges of an object, each whole. The caller has checked them against the object's length in the manifest; an
    /// object that is shorter than that, or absent, is corruption.
    pub(crate) fn ranges(&self, object: &Path, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, LogError> {
        let (store, path, wanted) = (Arc::clone(&self.store), object.clone(), ranges.clone());
        let found = self.wait(async move { store.get_ranges(&path, &wanted).await });
        let first = ranges.first().map_or(0, |r| r.start);
        match found {
            Ok(bytes) => {
                let whole =
                    bytes.len() == ranges.len() && bytes.iter().zip(&ranges).all(|(b, r)| b.len() as u64 == r.end - r.start);
                if whole { Ok(bytes) } else { Err(corrupt(object, first, "object is shorter than the manifest says")) }
            }
            Err(Error::NotFound { .. }) => Err(corrupt(object, 0, "object named by the manifest does not exist")),
            Err(e) if is_short(&e) => Err(corrupt(object, first, "object is shorter than the manifest says")),
            Err(e) => Err(failed(object, e)),
        }
    }

    /// One byte range of an object; as [`Objects::ranges`].
    pub(crate) fn range(&self, object: &Path, range: Range<u64>) -> Result<Bytes, LogError> {
        let found = self.ranges(object, std::iter::once(range).collect())?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// The numbers of all manifests, ascending. Other names are not ours and are left alone.
    pub(crate) fn manifest_numbers(&self) -> Result<Vec<u64>, LogError> {
        let (store, prefix) = (Arc::clone(&self.store), Path::from("manifest"));
        let under = prefix.clone();
        let found =
            self.wait(async move { store.list(Some(&prefix)).try_collect::<Vec<_>>().await }).map_err(|e| failed(&under, e))?;
        let mut numbers: Vec<u64> = found
            .iter()
            .filter_map(|meta| {
                let number = meta.location.filename()?.parse().ok()?;
                (manifest_path(number) == meta.location).then_some(number)
            })
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(crate) fn delete(&self, object: &Path) -> Result<(), LogError> {
        let (store, path) = (Arc::clone(&self.store), object.clone());
        self.wait(async move { store.delete(&path).await }).map_err(|e| failed(object, e))
    }

    /// Makes an object under a name of the caller's that must be free: `Ok(false)` if it is not.
    pub fn put_new(&self, name: &str, bytes: Bytes) -> Result<bool, LogError> {
        self.create(&Path::from(name), bytes)
    }

    /// Makes an object, or puts another in its place.
    pub fn put_over(&self, name: &str, bytes: Bytes) -> Result<(), LogError> {
        let (store, path) = (Arc::clone(&self.store), Path::from(name));
        let object = path.clone();
        self.wait(async move { store.put(&path, bytes.into()).await }).map(|_| ()).map_err(|e| failed(&object, e))
    }

    /// As [`Objects::get`], by name.
    pub fn read(&self, name: &str, bytes_max: u64) -> Result<Bytes, LogError> {
        self.get(&Path::from(name), bytes_max)
    }

    /// Bytes of an object that a manifest vouches for; as [`Objects::ranges`].
    pub fn read_range(&self, object: &Path, range: Range<u64>) -> Result<Bytes, LogError> {
        self.range(object, range)
    }

    /// The length of an object; `None` if there is none.
    pub fn size(&self, name: &str) -> Result<Option<u64>, LogError> {
        let (store, path) = (Arc::clone(&self.store), Path::from(name));
        let object = path.clone();
        match self.wait(async move { store.head(&path).await }) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed(&object, e)),
        }
    }

    /// Names and lengths of the objects under a prefix, in order.
    pub fn names(&self, prefix: &str) -> Result<Vec<(String, u64)>, LogError> {
        let (store, prefix) = (Arc::clone(&self.store), Path::from(prefix));
        let under = prefix.clone();
        let found =
            self.wait(async move { store.list(Some(&prefix)).try_collect::<Vec<_>>().await }).map_err(|e| failed(&under, e))?;
        let mut names: Vec<_> = found.into_iter().map(|meta| (meta.location.to_string(), meta.size)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Begins an object of any length.
    pub(crate) fn upload(&self, object: &Path) -> Upload {
        Upload { objects: self.clone(), object: object.clone(), multipart: None, part: Vec::new(), part_bytes: 0 }
    }
}

/// Whether a read went beyond the end, in the dialects of the stores.
fn is_short(error: &Error) -> bool {
    let Error::Generic { source, .. } = error else { return false };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(source.as_ref());
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::UnexpectedEof;
        }
        cause = e.source();
    }
    false
}

/// Bytes per part: above every store's minimum (5 MiB), small beside a row group.
const PART_BYTES: usize = 8 << 20;

/// Bytes that an [`Upload`] takes at a time, but the last. A part is a whole number of them.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;

/// An object that grows: one put when it is small, equal parts when not. Nothing is visible before [`Upload::finish`].
pub(crate) struct Upload {
    objects: Objects,
    object: Path,
    multipart: Option<Box<dyn MultipartUpload>>,
    part: Vec<Bytes>,
    part_bytes: usize,
}

impl Upload {
    /// Appends a block of [`BLOCK_BYTES`], or the last one; sends whole parts, so at most one part stays in memory.
    pub(crate) fn write(&mut self, block: Bytes) -> Result<(), LogError> {
        if self.part_bytes >= PART_BYTES {
            self.send()?;
        }
        self.part_bytes += block.len();
        self.part.push(block);
        Ok(())
    }

    fn send(&mut self) -> Result<(), LogError> {
        self.part_bytes = 0;
        let part = PutPayload::from_iter(std::mem::take(&mut self.part));
        if self.multipart.is_none() {
            let (store, path) = (Arc::clone(&self.objects.store), self.object.clone());
            let begun = self.objects.wait(async move { store.put_multipart(&path).await });
            self.multipart = Some(begun.map_err(|e| failed(&self.object, e))?);
        }
        let Some(multipart) = &mut self.multipart else { return Ok(()) };
        let sent = multipart.put_part(part);
        self.objects.wait(sent).map_err(|e| failed(&self.object, e))
    }

    /// Makes the object visible and durable.
    pub(crate) fn finish(mut self) -> Result<(), LogError> {
        if self.multipart.is_none() {
            let whole = PutPayload::from_iter(std::mem::take(&mut self.part));
            return match self.objects.create(&self.object, whole)? {
                true => Ok(()),
                false => Err(broken(format!("segment name is taken object={}", self.object))),
            };
        }
        self.send()?;
        let Some(mut multipart) = self.multipart.take() else { return Ok(()) };
        let done = self.objects.wait(async move { multipart.complete().await });
        done.map(|_| ()).map_err(|e| failed(&self.object, e))
    }
}

impl Drop for Upload {
    /// An upload that was not finished is taken back where the store can; what stays is garbage that no manifest names.
    fn drop(&mut self) {
        if let Some(mut multipart) = self.multipart.take() {
            let aborted = self.objects.wait(async move { multipart.abort().await });
            if let Err(e) = aborted {
                tracing::debug!(object = %self.object, error = %e, "an unfinished upload stays behind");
            }
        }
    }
}
