//! Crashes, failing writes and rotten bytes: nothing archived is lost, doubled, or read as something else.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use super::archive_support::*;
use crate::common::turn;
use regauge_log::{LogError, archive::Archive, model::CommitSource, scan::ScanSpec};
use regauge_types::{ErrorKind, Lsn, TopicId};
use std::{path::PathBuf, sync::Arc};

const TOPICS: [u32; 2] = [1, 2];

/// A journal of 8 commits over both topics, and a change of schema.
fn journal() -> Arc<VecJournal> {
    let journal = VecJournal::new(&TOPICS);
    for n in 0..8u32 {
        if n == 3 {
            journal.evolve(1);
        }
        let rows: &[Rows] = if n == 5 { &[(1, 1, 3), (2, 0, 1)] } else { &[(1, 0, 3)] };
        journal.commit_with(rows, (n % 4 == 0).then(|| vec![n as u8].into()));
    }
    Arc::new(journal)
}

/// Archives the journal in two runs; stops at the first error.
fn archive_all(archive: &Archive, journal: &VecJournal) -> Result<(), LogError> {
    for target in [5, u64::MAX] {
        archive.run(journal, Lsn(target), None)?;
    }
    Ok(())
}

#[test]
fn a_crash_at_any_operation_loses_and_doubles_nothing() {
    let journal = journal();
    let total = {
        let disk = MemoryDisk::default();
        archive_all(&open(&disk, small()).unwrap(), &journal).unwrap();
        disk.ops()
    };
    assert!(total > 40, "the workload is worth crashing ops={total}");
    let mut seen = std::collections::BTreeSet::new();
    for op in 0..=total {
        for crash in [Crash::Lose, Crash::Keep, Crash::Some(op)] {
            let disk = MemoryDisk::default();
            disk.die_at(op);
            let archive = open(&disk, small()).unwrap();
            let done = archive_all(&archive, &journal);
            assert_eq!(done.is_ok(), op == total);
            let found = disk.after(crash);
            let files_before = found.files();
            let again = open(&found, small()).unwrap();
            assert!(again.archived() >= archive.proven(), "what was acknowledged is there op={op} crash={crash:?}");
            assert_eq!(found.files(), files_before, "recovery changes nothing");
            seen.insert(again.archived());
            check_all(&again, &journal, &TOPICS);
            again.verify().unwrap();
            archive_all(&again, &journal).unwrap();
            assert_eq!(again.archived(), journal.durable());
            check_all(&again, &journal, &TOPICS);
        }
    }
    assert_eq!(seen.len(), 3, "crashes hit each moment between two publications");
}

/// Eight runs are there; the ninth merges them, and later ones delete what it took in.
#[test]
fn a_crash_while_segments_are_merged_and_deleted_loses_nothing() {
    let full = VecJournal::new(&[1]);
    (0..13).for_each(|_| {
        full.commit(&[(1, 0, 2)]);
    });
    let full = Arc::new(full);
    let before = MemoryDisk::default();
    {
        let archive = open(&before, small()).unwrap();
        (1..=8).for_each(|lsn| assert_eq!(archive.run(&*full, Lsn(lsn), None).unwrap().segments, 1));
    }
    let workload = |disk: &MemoryDisk| -> Result<(), LogError> {
        let archive = open(disk, small())?;
        (9..=13).try_for_each(|lsn| archive.run(&*full, Lsn(lsn), None).map(|_| ()))
    };
    let total = {
        let disk = before.copy();
        workload(&disk).unwrap();
        assert!(open(&disk, small()).unwrap().manifest().segments.len() < 6, "segments were merged");
        let left = disk.files().iter().filter(|(path, _)| path.display().to_string().contains("/segment/")).count();
        assert!(left < 8, "and deleted left={left}");
        disk.ops() - before.ops()
    };
    for op in 0..=total {
        for crash in [Crash::Lose, Crash::Keep, Crash::Some(op)] {
            let disk = before.copy();
            disk.die_at(before.ops() + op);
            let _ = workload(&disk);
            let again = open(&disk.after(crash), small()).unwrap();
            assert!(again.archived() >= Lsn(8));
            again.verify().unwrap();
            check_all(&again, &full, &[1]);
            again.run(&*full, Lsn(u64::MAX), None).unwrap();
            check_all(&again, &full, &[1]);
        }
    }
}

#[test]
fn a_failing_operation_costs_one_run_and_nothing_else() {
    let journal = journal();
    let total = {
        let disk = MemoryDisk::default();
        archive_all(&open(&disk, small()).unwrap(), &journal).unwrap();
        disk.ops()
    };
    let mut failures = 0;
    for op in 0..total {
        // Also: the operation reports an error and has done its work; a reply was lost.
        for works in [false, true] {
            let disk = MemoryDisk::default();
            disk.fail_at(op, works);
            let archive = open(&disk, small()).unwrap();
            if let Err(error) = archive_all(&archive, &journal) {
                failures += 1;
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                check_all(&archive, &journal, &TOPICS);
                archive_all(&archive, &journal).unwrap();
            }
            assert_eq!(archive.archived(), journal.durable());
            assert_eq!(archive.proven(), journal.durable());
            // The power goes: all that was said to be archived is there.
            let again = open(&disk.after(Crash::Lose), small()).unwrap();
            assert_eq!(again.archived(), journal.durable(), "op={op} works={works}");
            again.verify().unwrap();
            check_all(&again, &journal, &TOPICS);
        }
    }
    assert!(failures > 40, "faults were injected failures={failures}");
}

/// An archive small enough to damage at every byte: two segments and a manifest.
fn specimen() -> (MemoryDisk, Arc<VecJournal>) {
    let journal = VecJournal::new(&[1]);
    for n in 0..6 {
        journal.commit(&[(1, n / 5, 4)]);
    }
    let disk = MemoryDisk::default();
    let options = regauge_log::archive::ArchiveOptions { row_group_rows: 8, manifests_kept: 1, ..small() };
    open(&disk, options).unwrap().run(&journal, Lsn(u64::MAX), None).unwrap();
    (disk, Arc::new(journal))
}

/// Opens and scans; corruption is the only error there may be.
fn read(disk: &MemoryDisk, journal: &Arc<VecJournal>) -> Result<bool, LogError> {
    let archive = open(disk, small())?;
    let spec = ScanSpec::all(TopicId(1), all_columns(journal, 1), journal.durable());
    let (found, _) = scanned(&archive, journal, &spec)?;
    assert_eq!(found, journal.expected(&spec), "damage must never become other rows");
    Ok(archive.archived() == journal.durable())
}

fn archived_files(disk: &MemoryDisk) -> Vec<(PathBuf, usize)> {
    disk.files().into_iter().map(|(path, bytes)| (path, bytes.len())).collect()
}

#[test]
fn a_flipped_bit_anywhere_is_corruption_or_makes_no_difference() {
    let (disk, journal) = specimen();
    assert!(read(&disk, &journal).unwrap());
    let (mut reported, mut harmless) = (0, 0);
    for (path, len) in archived_files(&disk) {
        for at in 0..len {
            let damaged = disk.copy();
            damaged.tamper(&path, |bytes| bytes[at] ^= 1 << ((at + turn()) % 8));
            match read(&damaged, &journal) {
                Ok(_) => {
                    harmless += 1;
                    let verified = open(&damaged, small()).unwrap().verify();
                    assert_eq!(verified.unwrap_err().kind(), ErrorKind::Corrupt, "a full check finds it");
                }
                Err(error @ LogError::Corrupt { .. }) => {
                    reported += 1;
                    assert!(error.to_string().contains("file="), "{error}");
                }
                Err(other) => panic!("path={} at={at} {other}", path.display()),
            }
        }
    }
    println!("soak: cases={n} faults={n}", n = reported + harmless);
    assert!(reported > 2000, "reported={reported}");
    // The leading magic is not looked at, nor is `_offset`, which is dense and therefore computed.
    assert!(harmless < 300, "harmless={harmless}");
}

#[test]
fn a_cut_file_is_corruption() {
    let (disk, journal) = specimen();
    for (path, len) in archived_files(&disk) {
        for keep in (0..len).filter(|keep| keep % 7 == 0 || len - keep < 20) {
            let damaged = disk.copy();
            damaged.tamper(&path, |bytes| bytes.truncate(keep));
            let error = read(&damaged, &journal).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "path={} keep={keep} {error}", path.display());
        }
    }
}

#[test]
fn a_missing_segment_is_corruption_and_a_manifest_with_more_bytes_too() {
    let (disk, journal) = specimen();
    for (path, _) in archived_files(&disk) {
        let damaged = disk.copy();
        if path.display().to_string().contains("/segment/") {
            damaged.forget(&path);
        } else {
            damaged.tamper(&path, |bytes| bytes.push(0));
        }
        assert_eq!(read(&damaged, &journal).unwrap_err().kind(), ErrorKind::Corrupt, "{}", path.display());
    }
}

#[test]
fn a_block_from_another_segment_is_not_taken_for_ours() {
    let (disk, journal) = specimen();
    let segments: Vec<_> =
        disk.files().into_iter().filter(|(path, _)| path.display().to_string().contains("/segment/")).collect();
    let (first, second) = (&segments[0], &segments[1]);
    for at in (4..first.1.len().min(second.1.len())).step_by(64) {
        let damaged = disk.copy();
        damaged.tamper(&first.0, |bytes| {
            let end = (at + 64).min(bytes.len()).min(second.1.len());
            bytes[at..end].copy_from_slice(&second.1[at..end]);
        });
        // Equal blocks change nothing; any other is reported by `read`'s own assertion or as corruption.
        if damaged.files() != disk.files() {
            assert_eq!(read(&damaged, &journal).unwrap_err().kind(), ErrorKind::Corrupt, "at={at}");
        }
    }
}

#[test]
fn the_newest_manifest_is_in_force_and_its_rot_is_not_passed_over() {
    let journal = journal();
    let disk = MemoryDisk::default();
    archive_all(&open(&disk, small()).unwrap(), &journal).unwrap();
    let newest =
        disk.files().into_iter().map(|(path, _)| path).rfind(|path| path.display().to_string().contains("/manifest/")).unwrap();
    disk.tamper(&newest, |bytes| bytes[40] ^= 1);
    assert_eq!(open(&disk, small()).err().unwrap().kind(), ErrorKind::Corrupt);
    // What an operator can do: without it the one before is in force, and the journal has the rest.
    disk.forget(&newest);
    let archive = open(&disk, small()).unwrap();
    assert!(archive.archived() < journal.durable());
    check_all(&archive, &journal, &TOPICS);
    archive.run(&*journal, Lsn(u64::MAX), None).unwrap();
    check_all(&archive, &journal, &TOPICS);
}

#[test]
fn a_manifest_of_a_newer_release_says_so() {
    let (disk, _) = specimen();
    let path =
        disk.files().into_iter().map(|(path, _)| path).find(|path| path.display().to_string().contains("/manifest/")).unwrap();
    disk.tamper(&path, |bytes| {
        bytes[4] = 2;
        let mut summed = bytes[..16].to_vec();
        summed.extend_from_slice(&bytes[20..]);
        let crc = crc_fast::crc32_iscsi(&summed);
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(matches!(open(&disk, small()), Err(LogError::NewerFormat { found: 2, .. })));
}

#[test]
fn another_writer_of_the_same_number_is_noticed_and_followed() {
    let journal = journal();
    let disk = MemoryDisk::default();
    let (one, two) = (open(&disk, small()).unwrap(), open(&disk, small()).unwrap());
    one.run(&*journal, Lsn(5), None).unwrap();
    assert_eq!(two.run(&*journal, Lsn(7), None).unwrap_err().kind(), ErrorKind::Unavailable);
    two.run(&*journal, Lsn(7), None).unwrap();
    assert_eq!(two.archived(), Lsn(7));
    check_all(&two, &journal, &TOPICS);
}
