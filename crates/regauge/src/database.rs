//! A data folder, opened in this process.

use crate::{Config, Connection, Error, HostFunction, Result};
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

    /// As [`Database::with`], with functions and aggregates that SQL may call ([`crate::function`], [`crate::aggregate`]): those of the views
    /// in the folder among them. A view whose function is not given is errored, says which one it lacks, and is rebuilt when the folder
    /// is opened with it.
    pub fn with_functions(mut config: Config, functions: Vec<HostFunction>) -> Result<Database> {
        config.functions.extend(regauge_views::host::keep(functions));
        Database::with(config)
    }

    /// Makes a function one that SQL may call, from now on and until the database is closed; as of schema `public`, for everybody until
    /// that is revoked. Another version takes its place for statements to come: views keep the one they were created with, and it must be
    /// given at the next opening. Errors: 42723 for a name that is taken, 22023 for one that cannot be.
    pub fn register_function(&self, function: HostFunction) -> Result<()> {
        self.instance.register(function)
    }

    /// The same of an aggregate. Errors: 42809 for what is none.
    pub fn register_aggregate(&self, aggregate: HostFunction) -> Result<()> {
        if !aggregate.is_aggregate() {
            return Err(Error::invalid("42809", format!("\"{}\" is not an aggregate", aggregate.name())).hint("give it a fold()"));
        }
        self.instance.register(aggregate)
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
