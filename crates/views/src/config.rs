//! What an instance is opened with: where, with which world outside, and within which limits.

use crate::checkpoint::CheckpointOptions;
use regauge_log::LogOptions;
use regauge_types::Env;
use std::{path::PathBuf, time::Duration};

/// Limits, each with a typed error where it is met.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of memory that one query may hold at once.
    pub query_memory_bytes: usize,
    /// Bytes of memory that all queries may hold together.
    pub all_queries_memory_bytes: usize,
    /// Bytes of one statement's text.
    pub statement_bytes: usize,
    /// Nesting of parentheses and the like.
    pub nesting: usize,
    /// Bytes of one row.
    pub row_bytes: usize,
    /// How often an autocommit statement that met a conflict is run again before it fails with 40001.
    pub autocommit_retries: u32,
    /// Changes after which an epoch closes even though more are waiting.
    pub epoch_rows: usize,
    /// Epochs fed to the engine and not yet complete, beyond which the driver waits.
    pub epochs_in_flight: usize,
    /// How long a read waits for what its token has seen, unless the session says otherwise.
    pub causal_timeout: Duration,
    /// Partitions of a stream that does not say.
    pub stream_partitions: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            query_memory_bytes: 1 << 30,
            all_queries_memory_bytes: 4 << 30,
            statement_bytes: 16 << 20,
            nesting: 128,
            row_bytes: 8 << 20,
            autocommit_retries: 10_000,
            epoch_rows: 65_536,
            epochs_in_flight: 16,
            causal_timeout: Duration::from_secs(5),
            stream_partitions: 1,
        }
    }
}

/// What an instance is opened with.
#[derive(Clone)]
pub struct Config {
    /// The data folder; made if need be.
    pub dir: PathBuf,
    /// Threads of the engine, shared by all versions; the machine's cores unless said otherwise.
    pub workers: usize,
    /// Clock, disk, chance and threads.
    pub env: Env,
    /// Limits.
    pub limits: Limits,
    /// Checkpoints.
    pub checkpoints: CheckpointOptions,
    /// Sizes of the log's files, and when its archive is written.
    pub log: LogOptions,
}

impl Config {
    /// The operating system's world and default limits.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Config {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (limits, checkpoints) = (Limits::default(), CheckpointOptions::default());
        Config { dir: dir.into(), workers, env: Env::real(), limits, checkpoints, log: LogOptions::default() }
    }

    /// With so many threads of the engine.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Config {
        self.workers = workers.max(1);
        self
    }
}
