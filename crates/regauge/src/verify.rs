//! `regauge verify`: whether a data folder, or a folder of backups, is what was written there.
//!
//! Read only. The last line is one of counts. Exit codes: 0 everything that was looked at is right; 1 something is not: each fault on standard
//! error, with file, offset and what to do next.

use crate::{folder, print};
use anyhow::{Context, bail};
use clap::Args;
use regauge_types::Env;
use regauge_views::{
    backup::{self, Vault},
    verify::{self, Report},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

#[derive(Args)]
pub struct VerifyArgs {
    /// The data folder, or a folder of backups.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// Also recomputes every view from the log and compares it with what comes of the newest checkpoint; no server may have the folder
    /// open. Of a folder of backups the newest one is restored for it, beside the system's other temporary files.
    #[arg(long)]
    all: bool,
    /// Threads of the engine for --all.
    #[arg(long, default_value_t = folder::cores())]
    workers: usize,
}

pub async fn run(args: VerifyArgs) -> anyhow::Result<()> {
    let env = Env::real();
    let data = std::path::absolute(&args.data).with_context(|| format!("cannot find the folder data={}", args.data.display()))?;
    let report = if data.join("FORMAT").exists() || data.join("journal").exists() {
        of_folder(&env, &data, &args).await?
    } else if data.join("backup").is_dir() {
        of_backups(&env, &data, &args).await?
    } else {
        bail!("there is neither a data folder nor a folder of backups data={}\nhint: give --data", data.display());
    };
    report.notes.iter().for_each(|note| println!("note: {note}"));
    for fault in &report.faults {
        eprintln!("fault: {}\n  hint: {}", fault.what, fault.hint);
    }
    println!("{report}");
    match report.faults.len() {
        0 => Ok(()),
        1 => bail!("1 fault in {}", data.display()),
        n => bail!("{n} faults in {}", data.display()),
    }
}

async fn of_folder(env: &Env, data: &Path, args: &VerifyArgs) -> anyhow::Result<Report> {
    let _held = if args.all { alone(env, data)? } else { None };
    let (env, data) = (env.clone(), data.to_owned());
    let mut report = {
        let (env, data) = (env.clone(), data.clone());
        tokio::task::spawn_blocking(move || verify::files(&env, &data)).await?
    };
    passwords(&data, &mut report);
    if args.all
        && data.join("FORMAT").exists()
        && let Err(error) = verify::recompute(&env, &data, args.workers.max(1), &mut report).await
    {
        report.fault(format!("the folder does not open, so nothing is recomputed: {error}"), "mend what is named above first");
    }
    Ok(report)
}

/// The text has no checksum: people edit it.
fn passwords(data: &Path, report: &mut Report) {
    let path = data.join("passfile");
    if let Ok(text) = std::fs::read(&path) {
        let login = String::from_utf8(text).ok().and_then(|text| regauge_serve::secret::login(&text));
        if login.is_none() {
            let what = format!("file holds no password file={} offset=0", path.display());
            report.fault(what, "a line reads *:*:*:regauge:PASSWORD; without the file the next start makes a new one");
        }
    }
}

/// Sees to it that no server has the folder meanwhile.
fn alone(env: &Env, data: &Path) -> anyhow::Result<Option<Box<dyn regauge_types::env::Lock>>> {
    match env.disk.lock(&data.join("LOCK")) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            bail!(
                "the folder is in use, and --all needs it alone data={}\nhint: without --all it is verified beside a server; or take a backup and verify --all that",
                data.display()
            )
        }
        // A folder that cannot be written is not written by others either.
        Err(_) => Ok(None),
    }
}

const AGAIN: &str = "take another backup: chunks that are whole are not copied again";

async fn of_backups(env: &Env, dir: &Path, args: &VerifyArgs) -> anyhow::Result<Report> {
    let vault = Vault::in_folder(env, dir);
    let mut report = Report::default();
    let numbers = vault.numbers().map_err(print::explain)?;
    if numbers.is_empty() {
        bail!(
            "no backup here has ever come to its end data={}\nhint: regauge backup --to .. takes one; what an attempt left is used by it",
            dir.display()
        );
    }
    let mut seen = BTreeSet::new();
    for number in &numbers {
        match vault.load(*number) {
            Ok(mut manifest) => {
                report.notes.push(format!(
                    "backup {number}: everything up to lsn {} in {} files, {} bytes",
                    manifest.lsn,
                    manifest.files.len(),
                    manifest.bytes()
                ));
                // A chunk of several backups is read once, and named by the first of them.
                manifest.files.retain(|file| !file.chunks.iter().all(|c| seen.contains(c)) || file.chunks.is_empty());
                report.counts.bytes += manifest.bytes();
                backup::verify(&vault, &manifest)
                    .iter()
                    .for_each(|e| report.fault(format!("backup {number}: {}", e.message), AGAIN));
                seen.extend(manifest.files.into_iter().flat_map(|f| f.chunks));
            }
            Err(error) => report.fault(format!("backup {number}: {}", error.message), AGAIN),
        }
    }
    if !args.all || !report.is_sound() {
        return Ok(report);
    }
    let scratch = std::env::temp_dir().join(format!("regauge-verify-{}", std::process::id()));
    backup::restore(env, &vault, None, &scratch).map_err(print::explain)?;
    let restored = Box::pin(of_folder(env, &scratch, args)).await;
    if let Err(error) = std::fs::remove_dir_all(&scratch) {
        report.notes.push(format!("cannot remove what was restored to look at it: {error} path={}", scratch.display()));
    }
    let restored = restored?;
    report.counts = verify::Counts { bytes: report.counts.bytes, ..restored.counts };
    report.faults.extend(restored.faults);
    report.notes.extend(restored.notes);
    Ok(report)
}
