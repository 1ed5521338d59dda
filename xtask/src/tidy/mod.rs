//! `cargo xtask tidy`: what the compiler does not check. Pure checks take facts (edges, files) and
//! return complaints; this module gathers the facts from cargo and git and prints.

mod files;
mod walls;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs every check on the workspace; complains about all violations at once.
pub fn run(root: &Path) -> Result<()> {
    let edges = walls::edges(&output(root, &["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"])?)?;
    let architecture = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap_or_default();
    let tracked = files::read(root, &output(root, &["git", "ls-files", "-z", "--cached"])?)?;

    let walls = walls::check(&edges).into_iter().chain(walls::check_named(&edges, &architecture));
    let mut complaints: Vec<String> = walls.map(|complaint| complaint.to_string()).collect();
    complaints.extend(tracked.iter().flat_map(files::check));
    if complaints.is_empty() {
        println!("tidy: {} crates, {} edges, {} files", edges.packages.len(), edges.edges.len(), tracked.len());
        return Ok(());
    }
    for complaint in &complaints {
        println!("tidy: {complaint}");
    }
    bail!("tidy complains complaints={}", complaints.len())
}

fn output(root: &Path, command: &[&str]) -> Result<String> {
    let out = Command::new(command[0])
        .args(&command[1..])
        .current_dir(root)
        .output()
        .with_context(|| format!("cannot run: {}", command.join(" ")))?;
    if !out.status.success() {
        let error = String::from_utf8_lossy(&out.stderr);
        bail!("failed: {}: {}", command.join(" "), error.trim());
    }
    String::from_utf8(out.stdout).with_context(|| format!("not UTF-8: {}", command.join(" ")))
}
