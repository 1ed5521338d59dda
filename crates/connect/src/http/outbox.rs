//! What is on its way to a webhook, durable before the first request of it: a retry after any crash sends the same bytes under the same
//! key, wherever epochs are cut then.
//!
//! ```text
//!   <data>/sinks/<id>/state.json     incarnation, mark, and of the bodies on their way: their mark and how many were taken
//!   <data>/sinks/<id>/bodies.ndjson  those bodies, one a line
//! ```
//! The bodies are there before the state that names them, and stay until a state does not.

use crate::{
    error::Fault,
    protocol::{Mark, Record},
};
use regauge_types::Env;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Bodies of one write are no longer than this together.
const BYTES_MAX: u64 = 1 << 30;

/// As it is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// As of [`Record`].
    pub incarnation: u64,
    /// Version and epoch up to which everything was taken.
    #[serde(default)]
    pub mark: Option<(u32, u64)>,
    /// What is on its way.
    #[serde(default)]
    pub pending: Option<Pending>,
}

/// Bodies on their way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Version and epoch that the mark is when all are taken.
    pub to: (u32, u64),
    /// How many were taken: a prefix.
    pub taken: usize,
}

/// See the module's header.
pub struct Outbox {
    env: Env,
    dir: PathBuf,
}

fn refused(error: impl std::fmt::Display) -> Fault {
    Fault::Refused(format!("the outbox cannot be used: {error}"))
}

impl Outbox {
    /// In a folder.
    #[must_use]
    pub fn new(env: Env, dir: PathBuf) -> Outbox {
        Outbox { env, dir }
    }

    /// As it was left.
    pub fn load(&self) -> Result<State, Fault> {
        self.env.disk.create_dir_durable(&self.dir).map_err(refused)?;
        let path = self.dir.join("state.json");
        if !self.env.disk.exists(&path).map_err(refused)? {
            return Ok(State::default());
        }
        let bytes = self.env.disk.read_all(&path, 1 << 20).map_err(refused)?;
        serde_json::from_slice(&bytes).map_err(|e| Fault::Hopeless(format!("the outbox is damaged: {e} file={}", path.display())))
    }

    /// From now on it is so.
    pub fn store(&self, state: &State) -> Result<(), Fault> {
        let bytes = serde_json::to_vec(state).map_err(refused)?;
        self.env.disk.replace(&self.dir.join("state.json"), &bytes, true).map_err(refused)
    }

    /// Keeps bodies; they count once a state names them.
    pub fn keep(&self, bodies: &[String]) -> Result<(), Fault> {
        let mut bytes = bodies.join("\n").into_bytes();
        bytes.push(b'\n');
        if bytes.len() as u64 > BYTES_MAX {
            return Err(Fault::Refused(format!("the rows of one write are too large for the outbox bytes={}", bytes.len())));
        }
        self.env.disk.replace(&self.dir.join("bodies.ndjson"), &bytes, true).map_err(refused)
    }

    /// The bodies that the state names.
    pub fn bodies(&self) -> Result<Vec<String>, Fault> {
        let bytes = self.env.disk.read_all(&self.dir.join("bodies.ndjson"), BYTES_MAX).map_err(refused)?;
        let text = String::from_utf8(bytes).map_err(refused)?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl State {
    /// What the protocol asks.
    #[must_use]
    pub fn record(&self) -> Record {
        let mark = self.mark.map(|(version, epoch)| Mark { version, epoch });
        Record { incarnation: self.incarnation, mark }
    }
}
