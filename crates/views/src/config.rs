//! What an instance is opened with: where, with which world outside, and within which limits.

use crate::checkpoint::CheckpointOptions;
use regauge_log::LogOptions;
use regauge_types::Env;
use std::{path::PathBuf, time::Duration};

/// See [`Limits::history_commits`]: about as many as traces keep apart for readers that are on their way.
pub const HISTORY_COMMITS: u64 = 512;

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
    /// Epochs fed to the engine and not yet complete, beyond which the driver waits. Few: what comes meanwhile is the next epoch, and a row
    /// costs less in a larger one, so that views which cannot keep up with small epochs keep up with larger ones.
    pub epochs_in_flight: usize,
    /// Rows of history of streams after which a new version's state may be saved, so that a restart goes on from there.
    pub backfill_step_rows: u64,
    /// Whether histories are read no faster than views ask for (`backfill_rate`); who only looks reads them as they are.
    pub obeys_backfill_rates: bool,
    /// Whether writes wait, and then are refused, when views hold more memory than they may ([`Config::memory_bytes`]).
    pub refuses_beyond_memory: bool,
    /// How long a read waits for what its token has seen, unless the session says otherwise. Long: a machine that stalls for some seconds
    /// shall make an answer late, not turn it into an error.
    pub causal_timeout: Duration,
    /// Whether reads wait for whatever anybody was told to be written before they began, unless the session says otherwise
    /// (`regauge.linearizable`).
    pub linearizable: bool,
    /// Partitions of a stream that does not say.
    pub stream_partitions: u32,
    /// How many commits back of the last one that is shown `AS OF EPOCH` reads, at least. Memory: what tables and views had in each of
    /// these, where it differs; and reads of a view visit a layer for each epoch among them that changed it.
    pub history_commits: u64,
    /// Each trace is told what it may forget about each time so many commits have passed; not all of them at the same commit, because a trace merges
    /// what it may.
    pub forget_every: u64,
    /// Heads of tables, and catalogs, forget each time so many commits have passed: it costs a look at each key.
    pub compact_every: u64,
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
            epochs_in_flight: 3,
            backfill_step_rows: 1_000_000,
            obeys_backfill_rates: true,
            refuses_beyond_memory: true,
            causal_timeout: Duration::from_secs(60),
            linearizable: false,
            stream_partitions: 1,
            history_commits: HISTORY_COMMITS,
            forget_every: 32,
            compact_every: 4096,
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
    /// Bytes of memory that views may hold; what is beyond goes to files in the folder `scratch` of the data folder. `None`: as much as they
    /// need.
    pub memory_bytes: Option<usize>,
    /// Functions of the program that SQL may call, see [`crate::host`].
    pub functions: Vec<std::sync::Arc<regauge_plan::host::HostFunction>>,
    /// The key that values of secrets are encrypted with, in the place of the folder's own.
    pub secret_key: Option<crate::secrets::SecretKey>,
}

impl Config {
    /// The operating system's world and default limits.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Config {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (limits, checkpoints) = (Limits::default(), CheckpointOptions::default());
        Config {
            dir: dir.into(),
            workers,
            env: Env::real(),
            limits,
            checkpoints,
            log: LogOptions::default(),
            memory_bytes: None,
            functions: vec![],
            secret_key: None,
        }
    }

    /// With so many threads of the engine.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Config {
        self.workers = workers.max(1);
        self
    }
}
