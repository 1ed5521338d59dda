//! The checkpoint that an opening begins with: the newest that reads back whole, its blocks included.
//!
//! Every block is verified before anything is built from it, so a damaged checkpoint is never half used: the one before is taken, or
//! none, with a warning that names file and place. Cost: reading the checkpoint once.

use super::{board::Board, folder, kind, of_table, of_version, own, rows, tables, version, within};
use crate::{
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
use regauge_flow::engine::Restore;
use regauge_state::checkpoint::{Block, CheckpointError, Manifest, Section, Store, decode};
use regauge_types::{DataSetId, Env, Hlc, Lsn, TopicId};
use std::{path::Path, sync::Arc};

/// See the module's header.
pub struct Found {
    store: Store,
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
    env: &Env,
    data: &Path,
    dataset: DataSetId,
    (first, durable): (Lsn, Lsn),
    clock_of: impl Fn(Lsn) -> std::result::Result<Hlc, String>,
    board: &Board,
) -> Result<(Store, Option<Found>)> {
    let store = Store::open(env.clone(), &folder(data), dataset).map_err(failed)?;
    for no in store.manifests().map_err(failed)? {
        let usable = store.load(no).and_then(|manifest| {
            verify(&store, &manifest)?;
            Ok(manifest)
        });
        let manifest = match usable {
            Ok(manifest) => manifest,
            Err(error) => {
                tracing::warn!(checkpoint = no, %error, "checkpoint cannot be used; the one before is tried");
                board.tell(|s| s.damaged.push(error.to_string()));
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
        return Ok((store.clone(), Some(Found { store, manifest: Arc::new(manifest), reads_later: false, times })));
    }
    Ok((store, None))
}

fn failed(error: CheckpointError) -> Error {
    Error::internal(error.to_string())
}

fn verify(store: &Store, manifest: &Manifest) -> std::result::Result<(), CheckpointError> {
    manifest.sections.iter().flat_map(|s| &s.blocks).try_for_each(|block| store.read(block).map(drop))
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

    fn tables(&self, block: &Block) -> Result<Vec<RecordBatch>> {
        decode(&self.store.read(block).map_err(failed)?).map_err(failed)
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
        let mut restore = Restore::default();
        let mut digest = None;
        for block in &section.blocks {
            match block.label.kind {
                kind::IMAGE | kind::IMAGE_GONE | kind::IMAGE_CHANGED => {
                    let node = usize::try_from(block.label.node).map_err(|_| odd())?;
                    if self.reads_later {
                        restore.later.entry(node).or_default().push(version::later(&self.store, block)?);
                    } else {
                        restore.images.entry(node).or_default().push(version::image(&self.store, block)?);
                    }
                }
                kind::ROWS | kind::ROWS_CHANGED => {
                    restore.rows.extend(self.tables(block)?.iter().map(rows::to_delta).collect::<Result<Vec<_>>>()?);
                }
                kind::ERRORS => {
                    for table in &self.tables(block)? {
                        restore.errors.extend(rows::to_errors(table)?);
                    }
                }
                kind::DIGEST => digest = Some(version::digest(&self.store, block)?),
                _ => return Err(odd()),
            }
        }
        let found = version::digest_of(&restore.rows)?;
        if digest == Some(found) {
            return Ok(restore);
        }
        let wanted = digest.map_or_else(|| "none".to_owned(), |d| d.to_string());
        Err(Error::internal(format!("its rows do not have the digest that it names wanted={wanted} found={found}")))
    }

    /// A table as it was, under the columns that it has now; `None` if the checkpoint does not have it. It remembers what is written from
    /// here on.
    pub fn head(&self, topic: TopicId, key: &[usize], schema: &SchemaRef) -> Result<Option<Head>> {
        let Some(section) = self.manifest.section(&of_table(topic)) else { return Ok(None) };
        let mut head = Head::new(schema.clone());
        for block in &section.blocks {
            let tables = self.tables(block)?;
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
