//! Every checksum of every file of a data folder, read only. Cost: one pass over its bytes, holding one frame or block.

use super::Report;
use crate::{catalog, checkpoint, token::Mint};
use regauge_log::{LogError, folder::Folder, inspect::Inspection};
use regauge_state::checkpoint::{CheckpointError, Store};
use regauge_types::Env;
use std::{collections::BTreeSet, path::Path};

const LOST: &str = "keep the folder as it is and restore from a backup: regauge restore --from .. --data NEWDIR";
const SLOT: &str = "the other slot of the mark holds: opening the folder writes both anew";
const ARCHIVE: &str = "the journal has these rows, too: stop the server, move the folder archive elsewhere and start it; the archive is written anew";
const CHECKPOINT: &str =
    "nothing is lost: stop the server, move the folder checkpoint elsewhere and start it; views are rebuilt from the log";
const TOKEN: &str =
    "stop the server, move token.key elsewhere and start it: a new key is made, and tokens handed out so far are refused";
const DISK: &str = "look at the disk, and run this again";

/// What a data folder may hold at its top besides what is looked at here.
const KNOWN: [&str; 9] =
    ["FORMAT", "LOCK", "journal", "archive", "checkpoint", "token.key", "passfile", "serve.json", "RESTORED"];

fn hint(error: &LogError, damaged: &'static str) -> &'static str {
    match error {
        LogError::Corrupt { .. } => damaged,
        LogError::NewerFormat { .. } => "use the release that wrote this folder, or a newer one",
        _ => DISK,
    }
}

/// With what it was caused by.
fn whole(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) if !error.to_string().contains(&source.to_string()) => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

/// See the module's header.
#[must_use]
pub fn files(env: &Env, dir: &Path) -> Report {
    let mut report = Report::default();
    let inspection = match Inspection::open(env.clone(), dir) {
        Ok(inspection) => inspection,
        Err(error) => {
            report.fault(whole(&error), hint(&error, LOST));
            return report;
        }
    };
    report.counts.bytes += length(env, &Folder::new(dir).format()) + length(env, &Folder::new(dir).mark());
    match inspection.mark_slots() {
        Ok(damaged) => damaged.iter().for_each(|e| report.fault(whole(e), SLOT)),
        Err(error) => report.fault(whole(&error), DISK),
    }
    journal(&inspection, &mut report);
    archive(env, dir, &inspection, &mut report);
    checkpoints(env, dir, &inspection, &mut report);
    match Mint::check(env, dir) {
        Ok(Some(true)) => report.counts.bytes += length(env, &dir.join("token.key")),
        Ok(None) => {}
        Ok(Some(false)) => report.fault(
            format!("corrupt bytes: file does not hold a token key file={} offset=0", dir.join("token.key").display()),
            TOKEN,
        ),
        Err(error) => report.fault(format!("cannot read file={}: {error}", dir.join("token.key").display()), DISK),
    }
    let other = env.disk.list(dir).unwrap_or_default().into_iter().filter(|name| !KNOWN.contains(&name.as_str()));
    report.notes.extend(other.map(|name| format!("not looked at: {name}")));
    report
}

fn length(env: &Env, path: &Path) -> u64 {
    env.disk.open(path, regauge_types::env::OpenMode::Read).and_then(|f| f.len()).unwrap_or(0)
}

fn journal(inspection: &Inspection, report: &mut Report) {
    let files = match inspection.journal() {
        Ok(files) => files,
        Err(error) => return report.fault(whole(&error), hint(&error, LOST)),
    };
    let mut damaged = false;
    for file in &files {
        report.counts.journal_files += 1;
        report.counts.commits += file.commits;
        report.counts.rows += file.rows;
        report.counts.bytes += file.whole_bytes;
        report.last = report.last.max(file.last_lsn);
        if let Some(error) = &file.damage {
            damaged = true;
            report.fault(whole(error), hint(error, LOST));
        } else if file.torn.is_some() {
            let left = file.bytes.saturating_sub(file.whole_bytes);
            report.notes.push(format!(
                "{left} bytes at the end are a write that never finished file={} offset={}",
                file.path.display(),
                file.whole_bytes
            ));
        }
    }
    for pair in files.windows(2).filter(|p| p[0].damage.is_none() && p[1].damage.is_none()) {
        if pair[0].last_lsn.next() != pair[1].first_lsn {
            damaged = true;
            report.fault(
                format!("corrupt bytes: a journal file is missing before it file={} offset=0", pair[1].path.display()),
                LOST,
            );
        }
    }
    if damaged {
        return;
    }
    let mut folded = catalog::Catalog::default();
    let commits = match inspection.catalog(&files) {
        Ok(commits) => commits,
        Err(error) => return report.fault(whole(&error), hint(&error, LOST)),
    };
    for commit in commits {
        for part in &commit.parts {
            let events = catalog::decode(&part.rows);
            let applied = events.and_then(|events| {
                report.counts.events += events.len() as u64;
                folded.apply_all(commit.lsn, &events).map_err(|e| e.to_string())
            });
            if let Err(why) = applied {
                return report.fault(format!("corrupt bytes: the catalog does not follow: {why} lsn={}", commit.lsn), LOST);
            }
        }
    }
}

fn archive(env: &Env, dir: &Path, inspection: &Inspection, report: &mut Report) {
    if !env.disk.exists(&Folder::new(dir).archive()).unwrap_or(false) {
        return;
    }
    let archive = match inspection.open_archive() {
        Ok(archive) => archive,
        Err(error) => return report.fault(format!("archive: {}", whole(&error)), hint(&error, ARCHIVE)),
    };
    match archive.verify_manifests() {
        Ok((numbers, damaged)) => {
            report.counts.archive_manifests += numbers.len() as u64;
            damaged.iter().for_each(|e| report.fault(format!("archive: {}", whole(e)), hint(e, ARCHIVE)));
        }
        Err(error) => report.fault(format!("archive: {}", whole(&error)), DISK),
    }
    let manifest = archive.manifest();
    if manifest.archived > report.last && report.is_sound() {
        report.fault(format!("archive: it is ahead of the journal archived={} last={}", manifest.archived, report.last), LOST);
    }
    for segment in &manifest.segments {
        report.counts.segments += 1;
        report.counts.bytes += segment.bytes;
        if let Err(error) = archive.verify_segment(segment) {
            report.fault(format!("archive: {}", whole(&error)), hint(&error, ARCHIVE));
        }
    }
}

fn checkpoints(env: &Env, dir: &Path, inspection: &Inspection, report: &mut Report) {
    let folder = checkpoint::folder(dir);
    if !env.disk.exists(&folder).unwrap_or(false) {
        return;
    }
    let store = Store::look(env.clone(), &folder, inspection.dataset);
    let hint = |error: &CheckpointError| if matches!(error, CheckpointError::Io { .. }) { DISK } else { CHECKPOINT };
    let numbers = match store.manifests() {
        Ok(numbers) => numbers,
        Err(error) => return report.fault(&error, hint(&error)),
    };
    let (mut runs, mut blocks) = (BTreeSet::new(), BTreeSet::new());
    for no in numbers {
        report.counts.checkpoints += 1;
        let manifest = match store.load(no) {
            Ok(manifest) => manifest,
            Err(error @ CheckpointError::OtherFormat { .. }) => {
                report.notes.push(error.to_string());
                continue;
            }
            Err(error) => {
                report.fault(&error, hint(&error));
                continue;
            }
        };
        if checkpoint::own::from_bytes(&manifest.own).is_none() {
            report.fault(format!("checkpoint does not tell clock and event times no={no}"), CHECKPOINT);
        }
        for block in manifest.sections.iter().flat_map(|s| &s.blocks) {
            if runs.insert(block.place.run)
                && let Err(error) = store.check_run(block.place.run)
            {
                report.fault(&error, hint(&error));
            }
            if blocks.insert((block.place.run, block.place.offset, block.place.len)) {
                report.counts.blocks += 1;
                report.counts.bytes += block.place.len;
                if let Err(error) = store.read(block) {
                    report.fault(&error, hint(&error));
                }
            }
        }
    }
}
