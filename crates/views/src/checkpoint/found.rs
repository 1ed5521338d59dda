//! The checkpoint that an opening begins with: the newest that reads back whole, its blocks included.
//!
//! Every block is verified before anything is built from it, so a damaged checkpoint is never half used: the one before is taken, or
//! none, with a warning that names file and place. Cost: reading the checkpoint twice, by as many threads as there are workers (tables by one).

use super::{board::Board, folder, kind, of_table, of_version, own, rows, tables, version, within};
use crate::{
    config::Config,
    error::{Error, Result},
    event_time::Times,
    table::{
        head::{Head, by_ids},
        writes::{RowRef, copies, keys_of, whole_rows},
    },
    version::registry::Key,
};
use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::SchemaRef,
};
use regauge_flow::{
    engine::{Later, Restore},
    image::Image,
};
use regauge_state::checkpoint::{Block, CheckpointError, Manifest, Section, Store, decode};
use regauge_state::trace::RowError;
use regauge_types::{DataSetId, Delta, Digest, Hlc, Lsn, TopicId, env::Threads, side_by_side::side_by_side};
use std::sync::Arc;

/// Blocks of fewer bytes together are read by one thread. Few where assertions are on, so that tests and the simulation come to it.
const ALONE_BYTES: u64 = if cfg!(debug_assertions) { 1 << 12 } else { 1 << 20 };

/// Who reads.
#[derive(Clone)]
struct Crew {
    threads: Arc<dyn Threads>,
    n: usize,
}

impl Crew {
    /// What `work` makes of each block, in order; the first error.
    fn each<R: Send + 'static, E: Send + From<Error> + 'static>(
        &self,
        blocks: Vec<Block>,
        work: impl Fn(&Block) -> std::result::Result<R, E> + Send + Sync + 'static,
    ) -> std::result::Result<Vec<R>, E> {
        let is_small = blocks.iter().map(|b| b.place.len).sum::<u64>() < ALONE_BYTES;
        let n = if is_small { 1 } else { self.n };
        let done = side_by_side(&self.threads, n, blocks, move |block| work(&block));
        done.map_err(|why| Error::internal(format!("a checkpoint cannot be read: {why}")))?.into_iter().collect()
    }
}

/// What a block of a version has.
enum Content {
    /// One that is read when its operator takes it in.
    Later(usize, Later),
    Image(usize, Image),
    Rows(Vec<Delta>, Digest),
    Errors(Vec<(RowError, i64)>),
    Digest(Digest),
}

/// See the module's header.
pub struct Found {
    store: Store,
    crew: Crew,
    manifest: Arc<Manifest>,
    /// Operators' states are read when operators take them in: there may not be memory for a whole one.
    pub reads_later: bool,
    /// How far event time had come.
    pub times: Times,
}

/// Opens the folder of checkpoints and looks for one to begin with, at most of the commit `durable`; the first commit that can be read one by
/// one is `first`, and `clock_of` tells the clock of one: a checkpoint whose commit has another clock is of another history of the log. What
/// cannot be used is told to `board`.
pub fn open(
    config: &Config,
    dataset: DataSetId,
    (first, durable): (Lsn, Lsn),
    clock_of: impl Fn(Lsn) -> std::result::Result<Hlc, String>,
    board: &Board,
) -> Result<(Store, Option<Found>)> {
    let crew = Crew { threads: config.env.threads.clone(), n: config.workers };
    let store = Store::open(config.env.clone(), &folder(&config.dir), dataset).map_err(failed)?;
    for no in store.manifests().map_err(failed)? {
        let usable = store.load(no).map_err(|e| e.to_string()).and_then(|manifest| {
            verify(&store, &crew, &manifest).map_err(|e| e.to_string())?;
            Ok(manifest)
        });
        let manifest = match usable {
            Ok(manifest) => manifest,
            Err(error) => {
                tracing::warn!(checkpoint = no, %error, "checkpoint cannot be used; the one before is tried");
                board.tell(|s| s.damaged.push(error));
                continue;
            }
        };
        let Some((clock, times)) = own::from_bytes(&manifest.own) else {
            board.tell(|s| s.damaged.push(format!("checkpoint does not tell clock and event times no={no}")));
            continue;
        };
        if manifest.lsn > durable || manifest.lsn.next() < first {
            tracing::warn!(checkpoint = no, lsn = %manifest.lsn, %first, %durable, "checkpoint is not of this log; versions are rebuilt");
            board.tell(|s| s.damaged.push(format!("checkpoint is not of this log lsn={} durable={durable}", manifest.lsn)));
            continue;
        }
        let other = match clock_of(manifest.lsn) {
            Ok(of_log) if of_log == clock => None,
            Ok(of_log) => Some(format!("its commit has another clock there expected={clock} found={of_log}")),
            Err(error) => Some(error),
        };
        if let Some(why) = other {
            tracing::warn!(checkpoint = no, lsn = %manifest.lsn, %why, "checkpoint is of another history of this log, as when an older copy of the folder was put back; versions are rebuilt");
            board.tell(|s| s.damaged.push(format!("checkpoint is of another history of this log lsn={}: {why}", manifest.lsn)));
            continue;
        }
        let last = (manifest.no, manifest.lsn);
        board.tell(|s| s.last = Some(last));
        return Ok((store.clone(), Some(Found { store, crew, manifest: Arc::new(manifest), reads_later: false, times })));
    }
    Ok((store, None))
}

fn failed(error: CheckpointError) -> Error {
    Error::internal(error.to_string())
}

fn verify(store: &Store, crew: &Crew, manifest: &Manifest) -> Result<()> {
    let (store, blocks) = (store.clone(), manifest.sections.iter().flat_map(|s| &s.blocks).copied().collect());
    crew.each(blocks, move |block| store.read(block).map(drop).map_err(failed)).map(drop)
}

fn decoded(store: &Store, block: &Block) -> Result<Vec<RecordBatch>> {
    decode(&store.read(block).map_err(failed)?).map_err(failed)
}

/// A block of a version's section; operators' states later, if so.
fn content(store: &Store, block: &Block, reads_later: bool) -> Result<Content> {
    let node = || usize::try_from(block.label.node).map_err(|_| odd());
    Ok(match block.label.kind {
        kind::IMAGE | kind::IMAGE_GONE | kind::IMAGE_CHANGED if reads_later => {
            Content::Later(node()?, version::later(store, block)?)
        }
        kind::IMAGE | kind::IMAGE_GONE | kind::IMAGE_CHANGED => Content::Image(node()?, version::image(store, block)?),
        kind::ROWS | kind::ROWS_CHANGED => {
            let rows = decoded(store, block)?.iter().map(rows::to_delta).collect::<Result<Vec<_>>>()?;
            let digest = version::digest_of(&rows)?;
            Content::Rows(rows, digest)
        }
        kind::ERRORS => {
            let errors = decoded(store, block)?.iter().map(rows::to_errors).collect::<Result<Vec<_>>>()?;
            Content::Errors(errors.into_iter().flatten().collect())
        }
        kind::DIGEST => Content::Digest(version::digest(store, block)?),
        _ => return Err(odd()),
    })
}

impl Found {
    /// The commit that everything in it is of.
    #[must_use]
    pub fn at(&self) -> Lsn {
        self.manifest.lsn
    }

    /// The checkpoint.
    #[must_use]
    pub fn manifest(&self) -> Arc<Manifest> {
        self.manifest.clone()
    }

    /// What a version of this plan had; an error says why there is nothing.
    pub fn version(&self, key: Key, fingerprint: &[u8; 32]) -> std::result::Result<Restore, String> {
        let section = self.manifest.section(&of_version(key)).ok_or("it is not in the checkpoint")?;
        if section.fingerprint != *fingerprint {
            return Err("the checkpoint is of another plan, or of a build whose functions give other values".to_owned());
        }
        self.restore(section).map_err(|e| e.to_string())
    }

    /// What a half-built version of this plan had, at which commit, and how many rows it had read; none if it was not being built.
    pub fn within(&self, key: Key, fingerprint: &[u8; 32]) -> Option<std::result::Result<(Restore, Lsn, u64), String>> {
        let of = |s: &Section| Some((s.clone(), within(&s.name, key)?));
        let (section, (at, rows)) = self.manifest.sections.iter().find_map(of).filter(|(s, _)| s.fingerprint == *fingerprint)?;
        Some(self.restore(&section).map(|restore| (restore, at, rows)).map_err(|e| e.to_string()))
    }

    fn restore(&self, section: &Section) -> Result<Restore> {
        let (store, reads_later) = (self.store.clone(), self.reads_later);
        let mut restore = Restore::default();
        let (mut wanted, mut found) = (None, Digest::default());
        for content in self.crew.each(section.blocks.clone(), move |block| content(&store, block, reads_later))? {
            match content {
                Content::Later(node, later) => restore.later.entry(node).or_default().push(later),
                Content::Image(node, image) => restore.images.entry(node).or_default().push(image),
                Content::Rows(rows, digest) => {
                    found = found.merge(&digest);
                    restore.rows.extend(rows);
                }
                Content::Errors(errors) => restore.errors.extend(errors),
                Content::Digest(digest) => wanted = Some(digest),
            }
        }
        if wanted == Some(found) {
            return Ok(restore);
        }
        let wanted = wanted.map_or_else(|| "none".to_owned(), |d| d.to_string());
        Err(Error::internal(format!("its rows do not have the digest that it names wanted={wanted} found={found}")))
    }

    /// A table as it was, under the columns that it has now; `None` if the checkpoint does not have it. It remembers what is written from
    /// here on.
    pub fn head(&self, topic: TopicId, key: &[usize], schema: &SchemaRef) -> Result<Option<Head>> {
        let Some(section) = self.manifest.section(&of_table(topic)) else { return Ok(None) };
        let mut head = Head::new(schema.clone());
        for block in &section.blocks {
            let tables = decoded(&self.store, block)?;
            let come = match (block.label.kind, tables.as_slice()) {
                (kind::HEAD, [rows]) => rows,
                (kind::HEAD_CHANGED, [gone, come]) => {
                    self.take_out(&mut head, key, schema, gone)?;
                    come
                }
                _ => return Err(odd()),
            };
            let batch = Arc::new(by_ids(come, schema).map_err(Error::arrow)?);
            let keys = if key.is_empty() { copies(&batch)? } else { keys_of(key, &batch)? };
            for (at, key) in keys.into_iter().enumerate() {
                head.load(self.at(), key, Some(RowRef { batch: batch.clone(), at }));
            }
        }
        head.track(self.at(), key.is_empty());
        Ok(Some(head))
    }

    /// Rows that went: by their keys, or, if they have none, any of those that are alike.
    fn take_out(&self, head: &mut Head, key: &[usize], schema: &SchemaRef, gone: &RecordBatch) -> Result<()> {
        let keys = match gone.columns() {
            [keys] if gone.schema().field(0).name() == tables::KEY && gone.schema().field(0).metadata().is_empty() => {
                Some(keys.as_binary_opt::<i32>().ok_or_else(odd)?)
            }
            _ => None,
        };
        match (keys, key.is_empty()) {
            (Some(keys), false) => keys.iter().flatten().for_each(|key| head.load(self.at(), key.into(), None)),
            // rows without keys that came and went again
            (Some(_), true) => {}
            (None, true) => {
                for row in whole_rows(&by_ids(gone, schema).map_err(Error::arrow)?)? {
                    let copy = head.alike(&row, self.at()).into_iter().next().ok_or_else(odd)?;
                    head.load(self.at(), copy, None);
                }
            }
            (None, false) => return Err(odd()),
        }
        Ok(())
    }
}

fn odd() -> Error {
    Error::internal("a checkpoint's block does not read")
}
