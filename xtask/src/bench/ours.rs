//! Our side: the release binary's `bench` command, one process for each figure.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The built binary.
pub struct Ours(PathBuf);

impl Ours {
    /// Where cargo has put it.
    pub fn find(root: &Path) -> Result<Ours> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let out = Command::new(cargo).args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(root).output()?;
        let metadata: Value = serde_json::from_slice(&out.stdout).context("cargo metadata")?;
        let target = metadata["target_directory"].as_str().context("cargo metadata has no target_directory")?;
        Ours::at(Path::new(target).join("release/regauge"))
    }

    /// A binary that is there.
    pub fn at(path: impl Into<PathBuf>) -> Result<Ours> {
        let binary = path.into();
        if !binary.is_file() {
            bail!("the binary is not where it should be path={}", binary.display());
        }
        Ok(Ours(binary))
    }

    /// The binary itself.
    pub fn binary(&self) -> &Path {
        &self.0
    }

    /// Runs one bench; its last line is its report.
    pub fn run(&self, args: &[&str]) -> Result<Value> {
        let what = format!("regauge bench {}", args.join(" "));
        let mut command = Command::new(&self.0);
        last_line(command.arg("bench").args(args), &what)
    }
}

/// The JSON of a command's last line of output.
pub fn last_line(command: &mut Command, what: &str) -> Result<Value> {
    let out = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().with_context(|| format!("cannot run: {what}"))?;
    if !out.status.success() {
        bail!("failed: {what}, {}", out.status);
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let line = text.lines().last().with_context(|| format!("no output: {what}"))?;
    serde_json::from_str(line).with_context(|| format!("not a report: {what}: {line}"))
}
