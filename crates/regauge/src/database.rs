//! A data folder, opened in this process.

use crate::{Config, Connection, Result};
use regauge_views::{Instance, SessionOptions};
use std::path::Path;

/// An open data folder. Clones share it, and the last one closes it; a crash at any moment loses nothing acknowledged.
#[derive(Clone)]
pub struct Database {
    instance: Instance,
}

impl Database {
    /// Opens a folder, or makes one, with the defaults of [`Config`].
    ///
    /// Blocks while the catalog and the tables' keys are read; views catch up in the background, and a read waits for those it
    /// names. Errors: 55006 when another process has the folder, XX001 when it is damaged, 58P01 and kin from the file system.
    pub fn open(dir: impl AsRef<Path>) -> Result<Database> {
        Database::with(Config::new(dir.as_ref()))
    }

    /// As [`Database::open`], with the engine's threads, limits, clock and disk given.
    pub fn with(config: Config) -> Result<Database> {
        let instance = Instance::open(config)?;
        regauge_serve::pg_catalog::install(&instance);
        Ok(Database { instance })
    }

    /// A session of its own: settings, a transaction, and what it has seen. Any number may be open.
    pub fn connect(&self) -> Result<Connection> {
        Ok(Connection::new(self.instance.session(SessionOptions::default())?))
    }

    /// What lies below, for who wants to serve it or to watch its versions.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }
}
