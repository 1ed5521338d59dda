//! What a restored folder becomes at its first opening: an instance of its own, beside the one that it was copied from.
//!
//! Commits after the backup's have other contents here than there under the same numbers. So nothing goes on that rests on numbers of both:
//!
//! | what | here |
//! |---|---|
//! | causal tokens | not in a backup: a new key is made, and a token of the other instance is refused |
//! | sinks | paused: their targets may be ahead of this log, and the other instance may still write there; RESUME takes a target over (the next incarnation) |
//! | producers | go on: their windows are those of the backup's commit; what they wrote there afterwards they send again |
//! | roles, passwords, grants | as they were; the first user's password is made anew |
//! | checkpoints | used: a checkpoint of the other instance's later commits is told apart by their clocks |
//!
//! Invariant: the marker goes when all of this is durable, so a crash in between does it again, to the same end.

use super::vault::Manifest;
use crate::{
    catalog::{self, Catalog, Event, SinkSpec},
    error::{Error, Result, sqlstate as code},
};
use regauge_log::{Append, Log, Transaction};
use regauge_types::{CATALOG_TOPIC, Env, ErrorKind};
use std::path::Path;

/// The file that says that a folder was restored and never opened since.
pub const MARKER: &str = "RESTORED";

/// What the marker says.
pub(super) fn text(manifest: &Manifest) -> String {
    format!("backup {}\ndataset {}\nlsn {}\nbegun_ms {}\n", manifest.number, manifest.dataset, manifest.lsn, manifest.begun_ms)
}

/// Does what is left to do of a restore, if anything is.
pub fn settle(env: &Env, dir: &Path, log: &Log, catalog: &mut Catalog) -> Result<()> {
    let marker = dir.join(MARKER);
    let failed = |e: std::io::Error| {
        Error::new(ErrorKind::Unavailable, code::IO, format!("cannot finish a restore: {e} path={}", marker.display()))
    };
    if !env.disk.exists(&marker).map_err(failed)? {
        return Ok(());
    }
    let running = catalog.sinks().filter(|s| !s.spec.paused);
    let events: Vec<Event> =
        running.map(|s| Event::SinkAltered { sink: s.id, spec: SinkSpec { paused: true, ..s.spec.clone() } }).collect();
    if !events.is_empty() {
        let rows = catalog::encode(&events).map_err(Error::internal)?;
        let appends = vec![Append { topic: CATALOG_TOPIC, partition: None, rows }];
        let committed = log.commit(Transaction { appends, ..Transaction::default() }).map_err(Error::from_log)?;
        catalog.apply_all(committed.lsn, &events).map_err(|e| Error::internal(e.to_string()))?;
    }
    tracing::info!(
        sinks_paused = events.len(),
        "the folder was restored from a backup: sinks wait for ALTER SINK .. RESUME, tokens of the other instance are refused"
    );
    env.disk.remove(&marker).map_err(failed)?;
    env.disk.sync_dir(dir).map_err(failed)
}
