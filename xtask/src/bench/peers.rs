//! The peers: DuckDB from PyPI in an environment of its own, PostgreSQL as the tests find it. `bench/peer.py` does their work.

use super::ours::last_line;
use crate::{needs, step};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Rows of the look-ups, as in `regauge bench lookup`.
const LOOKUP_ROWS: &str = "1000000";
const LOOKUP_SECONDS: &str = "10";

/// Installed peers.
pub struct Peers {
    python: PathBuf,
    script: PathBuf,
    version: String,
}

impl Peers {
    /// Makes the environment where it is missing.
    pub fn install(root: &Path, cache: &Path) -> Result<Peers> {
        let venv = cache.join("venv");
        let python = venv.join("bin/python");
        let version = || {
            let out = Command::new(&python).args(["-c", "import duckdb; print(duckdb.__version__)"]).output().ok()?;
            let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
            (out.status.success() && !text.is_empty()).then_some(text)
        };
        if version().is_none() {
            step::wait(
                Command::new("python3").args(["-m", "venv"]).arg(&venv),
                "python3 -m venv (Debian: apt-get install python3-venv)",
            )?;
            step::wait(Command::new(&python).args(["-m", "pip", "install", "-q", "duckdb"]), "pip install duckdb")?;
        }
        let version = version().context("DuckDB was installed and cannot be imported")?;
        Ok(Peers { script: root.join("bench/peer.py"), version: format!("DuckDB {version}"), python })
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// One command of the script.
    pub fn duckdb(&self, args: &[&str]) -> Result<Value> {
        last_line(Command::new(&self.python).arg(&self.script).args(args), "bench/peer.py")
    }

    /// Point look-ups by pgbench, asked of PostgreSQL and of ours over the same wire.
    pub fn lookups(&self, ours: &Path) -> Result<(Value, Value)> {
        let binaries = needs::install_for_tests().and(needs::postgres_bin().context("no PostgreSQL"))?;
        let (binaries, ours) = (binaries.to_str().context("path is not text")?, ours.to_str().context("path is not text")?);
        let postgres = self.duckdb(&["postgres", binaries, LOOKUP_ROWS, LOOKUP_SECONDS])?;
        Ok((postgres, self.duckdb(&["wire", binaries, ours, LOOKUP_ROWS, LOOKUP_SECONDS])?))
    }
}
