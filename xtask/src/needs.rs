//! What the tests need beside Rust, found or installed: a PostgreSQL server (the oracle) and psql, and Python with two drivers. Nothing is skipped in silence: what is missing and cannot be installed is an error that says what to install.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::{python, step};

/// Where the needed programs are.
pub struct Found {
    postgres_bin: PathBuf,
    python: PathBuf,
    dbt: PathBuf,
}

impl Found {
    /// Tells the tests where to look, so that they need not search again.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("REGAUGE_POSTGRES_BIN", self.postgres_bin.display().to_string()),
            ("REGAUGE_PYTHON", self.python.display().to_string()),
            ("REGAUGE_DBT_PYTHON", self.dbt.display().to_string()),
        ]
    }
}

/// One need: how to see whether it is there, and the Debian packages that bring it.
struct Need {
    what: &'static str,
    packages: &'static [&'static str],
    met: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need {
        what: "a PostgreSQL server (initdb, postgres): the oracle",
        packages: &["postgresql"],
        met: || postgres_bin().is_some(),
    },
    Need { what: "psql: a client", packages: &["postgresql-client"], met: || on_path("psql").is_some() },
    Need { what: "Python with venv: the drivers", packages: &["python3-venv"], met: python::can_make },
];

/// Finds everything the tests need; as root on a Debian-like system installs what is missing.
pub fn install_for_tests() -> Result<Found> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !(need.met)()).collect();
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages.iter().copied()).collect();
        install(&missing, &packages)?;
    }
    match postgres_bin() {
        Some(postgres_bin) => Ok(Found { postgres_bin, python: python::with_drivers()?, dbt: python::with_dbt()? }),
        None => {
            let still: Vec<&str> = NEEDS.iter().filter(|need| !(need.met)()).map(|need| need.what).collect();
            bail!("installed the packages, but still missing: {}", still.join("; "))
        }
    }
}

fn install(missing: &[&Need], packages: &[&str]) -> Result<()> {
    let whats: Vec<String> = missing.iter().map(|need| format!("  {}", need.what)).collect();
    let line = format!("apt-get install {}", packages.join(" "));
    if on_path("apt-get").is_none() || !is_root() {
        bail!("the tests need, and this machine lacks:\n{}\ninstall it: {line}", whats.join("\n"));
    }
    println!("the tests need, and this machine lacks:\n{}\n$ {line}", whats.join("\n"));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        step::wait(&mut command, &format!("apt-get {}", args.join(" ")))
    };
    apt(&["update", "-q"])?;
    let mut args = vec!["install", "-y", "-q", "--no-install-recommends"];
    args.extend(packages);
    apt(&args)
}

/// The folder with `initdb` and `postgres`: from the environment, PATH, or Debian's place.
pub fn postgres_bin() -> Option<PathBuf> {
    let complete = |dir: &Path| dir.join("initdb").is_file() && dir.join("postgres").is_file();
    if let Some(dir) = std::env::var_os("REGAUGE_POSTGRES_BIN").map(PathBuf::from) {
        return complete(&dir).then_some(dir);
    }
    if let Some(dir) = path_folders().into_iter().find(|dir| complete(dir)) {
        return Some(dir);
    }
    // Debian keeps servers off the PATH, one folder per major version: take the newest.
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let dir = entry.path().join("bin");
            complete(&dir).then_some((version, dir))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, dir)| dir)
}

fn on_path(program: &str) -> Option<PathBuf> {
    path_folders().into_iter().map(|dir| dir.join(program)).find(|path| path.is_file())
}

fn path_folders() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}
