//! The run file: how other commands find the server of a data folder.
//!
//! ```text
//!   <data>/serve.json   {"pid": 4711, "pg": "127.0.0.1:5433", "http": null, "passfile": "/.../data/passfile"}
//! ```
//! Invariant: it is there while a server runs and names its doors; a server that was killed leaves it behind, so it counts only
//! when somebody answers at its address. It holds no secret.

use anyhow::Context;
use regauge_types::Env;
use serde::{Deserialize, Serialize};
use std::{
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

const FILE: &str = "serve.json";
/// A server on this machine answers at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// A server and its doors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// Where it speaks the Postgres wire.
    pub pg: SocketAddr,
    /// Where it speaks HTTP, if it does.
    pub http: Option<SocketAddr>,
    /// Its passwords, in libpq's form.
    pub passfile: PathBuf,
}

impl Running {
    /// Leaves the file; it goes with what is returned.
    pub fn leave(&self, data: &Path) -> anyhow::Result<Left> {
        let path = data.join(FILE);
        let env = Env::real();
        env.disk
            .replace(&path, serde_json::to_string(self)?.as_bytes(), false)
            .with_context(|| format!("cannot write the run file path={}", path.display()))?;
        Ok(Left { path })
    }

    /// The server that runs over a data folder.
    pub fn find(data: &Path) -> Option<Running> {
        let bytes = Env::real().disk.read_all(&data.join(FILE), 1 << 16).ok()?;
        let mut running: Running = serde_json::from_slice(&bytes).ok()?;
        // The server may see its folder under another name than we do: a container's, for one.
        let beside = running.passfile.file_name().map(|name| data.join(name));
        running.passfile = beside.filter(|path| path.exists()).unwrap_or(running.passfile);
        TcpStream::connect_timeout(&running.pg, PATIENCE).ok().map(|_| running)
    }
}

impl Running {
    /// A user of the server, and the password.
    pub fn login(&self) -> anyhow::Result<(String, String)> {
        let path = &self.passfile;
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the passwords path={}", path.display()))?;
        regauge_serve::secret::login(&text).with_context(|| format!("file holds no password path={}", path.display()))
    }
}

/// Removes the run file when the server ends.
pub struct Left {
    path: PathBuf,
}

impl Drop for Left {
    fn drop(&mut self) {
        if let Err(error) = Env::real().disk.remove(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the run file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_a_killed_server_left_counts_as_none() {
        let dir = tempfile::tempdir().expect("folder");
        assert_eq!(Running::find(dir.path()), None);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
        let running =
            Running { pid: 1, pg: listener.local_addr().expect("address"), http: None, passfile: dir.path().join("passfile") };
        let left = running.leave(dir.path()).expect("left");
        assert_eq!(Running::find(dir.path()), Some(running));
        drop(listener);
        assert_eq!(Running::find(dir.path()), None);
        drop(left);
        assert!(!dir.path().join(FILE).exists());
    }
}
