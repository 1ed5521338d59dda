//! BACKUP TO '..': for superusers, because it reads everything and writes where it is told.

use super::{Session, TransactionStatus};
use crate::{
    backup::{self, Vault},
    error::{Error, Result, sqlstate as code},
    response::{Response, Rows},
};
use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use regauge_types::ErrorKind;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Columns of its answer.
pub(super) fn columns() -> SchemaRef {
    let field = |name: &&str| Field::new(*name, DataType::Int64, true);
    Arc::new(Schema::new(["backup", "lsn", "files", "bytes", "bytes_written"].iter().map(field).collect::<Vec<_>>()))
}

/// Ends the copying when the statement is cancelled, or its session is gone.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Session {
    pub(super) async fn backup(&mut self, to: &str) -> Result<Response> {
        if !self.who(None)?.is_superuser() {
            return Err(Error::new(ErrorKind::Denied, "42501", "permission denied to take a backup")
                .hint("a superuser does, with BACKUP TO or regauge backup --to"));
        }
        if self.status() != TransactionStatus::Idle {
            return Err(Error::invalid(code::ACTIVE_TRANSACTION, "BACKUP cannot run inside a transaction block"));
        }
        let vault = self.vault(to)?;
        let parts = self.core.backup_parts();
        let wanted = Wanted(parts.stop.clone());
        let work = tokio::task::spawn_blocking(move || backup::take(&parts, &vault));
        let guard = self.guard();
        let taken = guard.run(async { work.await.map_err(|_| Error::internal("backup panicked"))? }).await;
        drop(wanted);
        let taken = taken?;
        let int = |n: u64| Arc::new(Int64Array::from(vec![i64::try_from(n).unwrap_or(i64::MAX)])) as ArrayRef;
        let values = [taken.number, taken.lsn, taken.n_files as u64, taken.bytes, taken.bytes_written].map(int).to_vec();
        let batch = RecordBatch::try_new(columns(), values).map_err(Error::arrow)?;
        Ok(Response::Rows(Rows::ready(columns(), vec![batch], "BACKUP")))
    }

    /// A folder of the server, outside of the data folder.
    fn vault(&self, to: &str) -> Result<Vault> {
        let refused = |message: String| Error::invalid(code::INVALID_PARAMETER, message);
        if to.contains("://") {
            return Err(Error::unsupported(format!("backups into an object store over the network are not offered to={to:?}"))
                .hint("BACKUP TO '/a/folder', which may be a mounted one"));
        }
        let path = Path::new(to);
        if !path.is_absolute() || path.components().any(|c| matches!(c, std::path::Component::ParentDir)) {
            return Err(refused(format!("a backup goes to a folder of the server, by its whole path to={to:?}"))
                .hint("BACKUP TO '/srv/backup'"));
        }
        let config = &self.core.config;
        let data = std::path::absolute(&config.dir).unwrap_or_else(|_| config.dir.clone());
        if path.starts_with(&data) || path.starts_with(&config.dir) {
            return Err(refused("a backup within the data folder would be lost with it".to_owned())
                .hint("give a folder elsewhere, best on another disk"));
        }
        Ok(Vault::in_folder(&config.env, path))
    }
}
