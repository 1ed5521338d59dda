//! A folder of Parquet files as a target, with a manifest that is published atomically: the commit.
//!
//! ```text
//!   data files ──fsync──▶ manifest n+1 under another name ──fsync──▶ the same as its own name, if nobody has that (hard link)
//! ```
//! Guarantee: [`crate::target::Target`]'s. The next number can be taken once; the manifest under it says whose incarnation may go on, so
//! that a zombie, which builds on an older number, finds its own taken and publishes nothing. A reader that takes the files of
//! the newest manifest has the relation at its epoch, and keeps it: files that go out of the manifest stay for [`KEPT_MS`]. Cost: the manifest
//! names all files, and a whole takes their place when there are [`FILES_MAX`]; writes are at least an interval apart.
//! It does not know how to reach a bucket: this release has local folders only.

pub mod files;
pub mod manifest;

use crate::{
    error::Fault,
    options::Options,
    protocol::{Mark, Record},
    target::{Cuts, Rows, Target, Write},
};
use async_trait::async_trait;
use files::Writer;
use futures::TryStreamExt;
use manifest::{DataFile, FORMAT, Manifest};
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path};
use regauge_types::{Delta, Env, env::OpenMode};
use regauge_views::{
    Error, Result as Judged,
    catalog::Sink,
    follow::{Feed, Source},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// The connector's name.
pub const CONNECTOR: &str = "parquet";

/// Everything that a target of this kind may be cut at, in order.
pub const STEPS: [&str; 8] = ["listed", "claimed", "written", "synced", "prepared", "linked", "published", "answered"];

/// Files of changes after which a whole takes their place.
pub const FILES_MAX: usize = 256;
/// How long a file stays that the newest manifest does not name: for readers on their way.
pub const KEPT_MS: u64 = 60 * 60 * 1000;
/// Rows of one file of a whole, about.
const FILE_ROWS: u64 = 1 << 20;

/// Options of the connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// An absolute path of the server.
    pub path: PathBuf,
    /// Time from one write to the next, at least.
    pub interval: Duration,
    /// Whether a folder of another sink is taken over, files and all.
    pub replace: bool,
}

impl Settings {
    /// Reads them.
    pub fn read(options: &mut Options<'_>) -> Judged<Settings> {
        let path = options.required("path")?;
        let invalid = |message: String| Error::new(regauge_types::ErrorKind::Invalid, "22023", message);
        if path.contains("://") {
            let error = Error::new(regauge_types::ErrorKind::Unsupported, "0A000", "only folders of the server are offered");
            return Err(error.hint("path = '/absolute/path', which may be a mounted bucket with hard links"));
        }
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(invalid(format!("option \"path\" is an absolute path path={path}")));
        }
        Ok(Settings {
            path: PathBuf::from(path),
            interval: Duration::from_millis(options.number("interval_ms", 1000, 0, 3_600_000)?),
            replace: options.word("existing", &["refuse", "replace"])? == "replace",
        })
    }
}

/// See the module's header.
pub struct Parquet {
    settings: Settings,
    env: Env,
    id: String,
    store: Option<LocalFileSystem>,
    /// The newest manifest, as far as we know.
    last: Option<Manifest>,
    cuts: Arc<dyn Cuts>,
}

fn refused(error: impl std::fmt::Display) -> Fault {
    Fault::Refused(error.to_string())
}

impl Parquet {
    /// Of a sink.
    #[must_use]
    pub fn new(feed: &Feed, sink: &Sink, settings: Settings, cuts: Arc<dyn Cuts>) -> Parquet {
        Parquet { settings, env: feed.env().clone(), id: feed.name_of(sink), store: None, last: None, cuts }
    }

    fn store(&mut self) -> Result<&LocalFileSystem, Fault> {
        if self.store.is_none() {
            for folder in ["manifest", "data"] {
                self.env.disk.create_dir_durable(&self.settings.path.join(folder)).map_err(refused)?;
            }
            self.store = Some(LocalFileSystem::new_with_prefix(&self.settings.path).map_err(refused)?);
        }
        self.store.as_ref().ok_or(Fault::Moved)
    }

    fn sync(&self, path: &str) -> Result<(), Fault> {
        self.env.disk.open(&self.settings.path.join(path), OpenMode::Read).and_then(|file| file.sync()).map_err(refused)
    }

    fn sync_dir(&self, path: &str) -> Result<(), Fault> {
        self.env.disk.sync_dir(&self.settings.path.join(path)).map_err(refused)
    }

    /// The newest manifest; none: the folder is new.
    async fn newest(&mut self) -> Result<Option<Manifest>, Fault> {
        let store = self.store()?;
        let listed: Vec<_> = store.list(Some(&Path::from("manifest"))).try_collect().await.map_err(refused)?;
        let numbers = listed.iter().filter_map(|o| Manifest::number_of(o.location.filename()?));
        let Some(number) = numbers.max() else { return Ok(None) };
        let path = Path::from(format!("manifest/{}", Manifest::name(number)));
        let bytes = store.get(&path).await.map_err(refused)?.bytes().await.map_err(refused)?;
        let manifest = Manifest::read(&bytes);
        manifest.map(Some).map_err(|why| Fault::Refused(format!("the manifest {path} cannot be read: {why}")))
    }

    /// Publishes a manifest under its number; false if somebody was first.
    async fn publish(&mut self, manifest: &Manifest) -> Result<bool, Fault> {
        let bytes = serde_json::to_vec_pretty(manifest).map_err(refused)?;
        let name = Manifest::name(manifest.number);
        let (temporary, own) = (format!("manifest/new-{}-{name}", manifest.incarnation), format!("manifest/{name}"));
        self.store()?.put(&Path::from(temporary.as_str()), bytes.into()).await.map_err(refused)?;
        self.sync(&temporary)?;
        self.cuts.pass("prepared")?;
        let store = self.store()?;
        let linked = store.copy_if_not_exists(&Path::from(temporary.as_str()), &Path::from(own.as_str())).await;
        let first = match linked {
            Ok(()) => true,
            Err(object_store::Error::AlreadyExists { .. }) => false,
            Err(error) => return Err(refused(error)),
        };
        self.cuts.pass("linked")?;
        self.sync_dir("manifest")?;
        // Left behind, it counts for nothing.
        let _ = self.store()?.delete(&Path::from(temporary.as_str())).await;
        Ok(first)
    }

    /// Why our number was taken.
    async fn overtaken(&mut self, mine: u64) -> Fault {
        match self.newest().await {
            Ok(Some(there)) if there.sink != self.id || there.incarnation > mine => {
                Fault::Fenced { found: there.incarnation, mine }
            }
            Ok(_) => Fault::Moved,
            Err(fault) => fault,
        }
    }

    async fn file(
        &mut self,
        number: u64,
        mine: u64,
        part: usize,
        kind: &str,
        to: Mark,
        writer: Writer,
    ) -> Result<DataFile, Fault> {
        let rows = writer.n_rows();
        let bytes = writer.finish()?;
        let path = format!("data/{number:020}-{mine}-{part}.parquet");
        let file = DataFile { path, kind: kind.to_owned(), rows, bytes: bytes.len() as u64, epoch: to.epoch };
        self.store()?.put(&Path::from(file.path.as_str()), bytes.into()).await.map_err(refused)?;
        self.cuts.pass("written")?;
        self.sync(&file.path)?;
        Ok(file)
    }

    async fn files(&mut self, write: &Write<'_>, number: u64) -> Result<Vec<DataFile>, Fault> {
        let schema = write.source.relation.schema();
        let mut files = vec![];
        let mut writer = Writer::new(&schema)?;
        match write.rows {
            Rows::Changes(epochs) => {
                for (epoch, delta) in epochs {
                    writer.push(epoch.0, delta)?;
                }
                if writer.n_rows() > 0 {
                    files.push(self.file(number, write.mine, 0, "changes", write.to, writer).await?);
                }
            }
            Rows::Whole(batches) => {
                for batch in batches {
                    writer.push(write.to.epoch, &Delta::ones(batch.clone()))?;
                    if writer.n_rows() >= FILE_ROWS {
                        let full = std::mem::replace(&mut writer, Writer::new(&schema)?);
                        files.push(self.file(number, write.mine, files.len(), "base", write.to, full).await?);
                    }
                }
                // A reader finds the columns even where there are no rows.
                if writer.n_rows() > 0 || files.is_empty() {
                    files.push(self.file(number, write.mine, files.len(), "base", write.to, writer).await?);
                }
            }
        }
        Ok(files)
    }

    /// Removes what no reader can still be on its way to.
    async fn sweep(&mut self, newest: &Manifest) -> Result<(), Fault> {
        let now = self.env.clock.wall_ms();
        let named: std::collections::BTreeSet<&str> = newest.files.iter().map(|f| f.path.as_str()).collect();
        let store = self.store()?;
        let all: Vec<_> = store.list(None).try_collect().await.map_err(refused)?;
        for object in all {
            let path = object.location.to_string();
            let age = now.saturating_sub(u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(now));
            let ours = match path.split_once('/') {
                Some(("data", name)) => name.ends_with(".parquet") && !named.contains(path.as_str()),
                Some(("manifest", name)) => Manifest::number_of(name).is_none_or(|n| n < newest.number),
                _ => false,
            };
            if ours && age > KEPT_MS {
                store.delete(&object.location).await.map_err(refused)?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Target for Parquet {
    async fn ask(&mut self, mine: Option<u64>, source: &Source) -> Result<Record, Fault> {
        loop {
            let there = self.newest().await?;
            self.cuts.pass("listed")?;
            let foreign = there.as_ref().is_some_and(|m| m.sink != self.id);
            if foreign && mine.is_some() {
                return Err(Fault::Fenced { found: there.map_or(0, |m| m.incarnation), mine: mine.unwrap_or(0) });
            }
            if foreign && !self.settings.replace {
                let folder = self.settings.path.display();
                let hint = "give another path, or existing = 'replace' if its files may go";
                return Err(Fault::Refused(format!("the folder {folder} is another sink's; {hint}")));
            }
            if mine.is_some() {
                self.last.clone_from(&there);
                return Ok(there.map(|m| m.record()).unwrap_or_default());
            }
            let kept = there.filter(|_| !foreign);
            let (number, incarnation) = match (&kept, self.newest().await?) {
                (Some(kept), _) => (kept.number + 1, kept.incarnation + 1),
                (None, Some(other)) => (other.number + 1, other.incarnation + 1),
                (None, None) => (1, 1),
            };
            let key = source.key.iter().flatten().filter_map(|at| source.relation.columns.get(*at)).map(|c| c.name.clone());
            let next = Manifest {
                format: FORMAT,
                number,
                sink: self.id.clone(),
                relation: source.relation.name.to_string(),
                incarnation,
                key: key.collect(),
                ..kept.unwrap_or_default()
            };
            if self.publish(&next).await? {
                self.cuts.pass("claimed")?;
                self.sweep(&next).await?;
                let record = next.record();
                self.last = Some(next);
                self.cuts.pass("answered")?;
                return Ok(record);
            }
        }
    }

    async fn write(&mut self, write: Write<'_>) -> Result<(), Fault> {
        let Some(last) = self.last.take().filter(|m| m.incarnation == write.mine) else { return Err(Fault::Moved) };
        if last.record().mark != write.from {
            return Err(Fault::Moved);
        }
        let number = last.number + 1;
        let files = self.files(&write, number).await?;
        self.sync_dir("data")?;
        self.cuts.pass("synced")?;
        let whole = matches!(write.rows, Rows::Whole(_));
        let mut next = Manifest { number, version: Some(write.to.version), epoch: Some(write.to.epoch), ..last };
        if whole {
            next.files.clear();
            let key = write.source.key.iter().flatten().filter_map(|at| write.source.relation.columns.get(*at));
            next.key = key.map(|c| c.name.clone()).collect();
        }
        next.files.extend(files);
        if !self.publish(&next).await? {
            return Err(self.overtaken(write.mine).await);
        }
        self.cuts.pass("published")?;
        if whole {
            self.sweep(&next).await?;
        }
        self.last = Some(next);
        Ok(())
    }

    fn interval(&self) -> Duration {
        self.settings.interval
    }

    fn wants_whole(&self) -> bool {
        self.last.as_ref().is_some_and(|m| m.files.iter().filter(|f| f.kind == "changes").count() >= FILES_MAX)
    }
}
