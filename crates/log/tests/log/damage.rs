//! Damaged bytes are reported with file and offset, never cut off, never served (promise I14).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use regauge_log::testing::{Keep, SimDisk};
use regauge_log::{Commit, LogError};
use regauge_types::ErrorKind;

use crate::common::*;

const FILE: &str = "/data/journal/00000000000000000001.rgj";

/// A journal of some commits, the last one alone in its batch. Closed well, the mark covers it; else only its first part.
fn journal(closed: bool) -> (Arc<SimDisk>, Vec<Commit>, usize) {
    let disk = SimDisk::new(1);
    let log = open(&sim(&disk), quiet()).unwrap();
    log.commit(define(&[topic(1, 1), topic(2, 2)])).unwrap();
    for n in 0..5_i64 {
        log.commit(by(append(2, &[n, n + 10]), "p", 1, n as u64)).unwrap();
    }
    let before_last = disk.bytes(Path::new(FILE)).unwrap().len();
    log.commit(append(1, &[7])).unwrap();
    let commits = all(&log).unwrap();
    if closed {
        drop(log);
    } else {
        // The machine stops with everything synced and the mark behind.
        disk.plan(0, regauge_log::testing::Fault::Crash);
        drop(log);
        disk.reboot(Keep::None);
    }
    (disk, commits, before_last)
}

enum Read {
    Commits(Vec<Commit>),
    Corrupt(PathBuf, u64),
}

fn read(disk: &Arc<SimDisk>) -> Read {
    match open(&sim(disk), quiet()).and_then(|log| all(&log)) {
        Ok(commits) => Read::Commits(commits),
        Err(error) => match error {
            LogError::Corrupt { file, offset, .. } => Read::Corrupt(file, offset),
            LogError::NewerFormat { path, .. } => Read::Corrupt(path, 0),
            other => panic!("not reported as corruption: {other}"),
        },
    }
}

/// The journal with other bytes in one of its files.
fn damaged(closed: bool, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Arc<SimDisk> {
    let (disk, ..) = journal(closed);
    let path = Path::new(file);
    let mut bytes = disk.bytes(path).unwrap();
    change(&mut bytes);
    disk.damage(path, bytes);
    disk
}

#[test]
fn a_flipped_bit_below_the_mark_is_reported_with_file_and_offset() {
    let (disk, ..) = journal(true);
    let len = disk.bytes(Path::new(FILE)).unwrap().len();
    for at in 0..len {
        let disk = damaged(true, FILE, |bytes| bytes[at] ^= 1 << ((at + turn()) % 8));
        match read(&disk) {
            Read::Corrupt(file, offset) => {
                assert_eq!(file, Path::new(FILE), "byte {at}");
                assert!(offset <= at as u64, "byte {at} reported at {offset}");
            }
            Read::Commits(_) => panic!("a flipped bit of byte {at} went unnoticed"),
        }
        let bytes = disk.bytes(Path::new(FILE)).unwrap();
        assert_eq!(bytes.len(), len, "nothing was cut");
    }
    println!("flipped a bit in each of {len} bytes");
    println!("soak: cases={len} faults={len}");
}

#[test]
fn a_truncated_file_is_reported_at_every_length_below_the_mark() {
    let (disk, ..) = journal(true);
    let whole = disk.bytes(Path::new(FILE)).unwrap().len();
    println!("soak: cases={whole} faults={whole}");
    for len in 0..whole {
        let disk = damaged(true, FILE, |bytes| bytes.truncate(len));
        assert!(
            matches!(read(&disk), Read::Corrupt(file, offset) if file == Path::new(FILE) && offset <= len as u64),
            "length {len}"
        );
    }
}

#[test]
fn zeroed_swapped_and_stale_blocks_are_reported() {
    let (disk, ..) = journal(true);
    let len = disk.bytes(Path::new(FILE)).unwrap().len();
    let block = 64;
    let mut n = 0;
    for at in (0..len - block).step_by(block) {
        for other in (0..len - block).step_by(block) {
            let disk = damaged(true, FILE, |bytes| {
                if at == other {
                    bytes[at..at + block].fill(0);
                } else {
                    let copied = bytes[other..other + block].to_vec();
                    bytes[at..at + block].copy_from_slice(&copied);
                }
            });
            assert!(matches!(read(&disk), Read::Corrupt(..)), "block {at} from {other}");
            n += 1;
        }
    }
    println!("soak: cases={n} faults={n}");
}

#[test]
fn damage_above_the_mark_is_reported_if_a_later_frame_proves_it_was_synced() {
    let (_, commits, before_last) = journal(false);
    for at in 0..before_last {
        let disk = damaged(false, FILE, |bytes| bytes[at] ^= 0x10);
        assert!(
            matches!(read(&disk), Read::Corrupt(file, _) if file == Path::new(FILE)),
            "byte {at} of the synced {before_last}"
        );
    }
    // The last batch has no witness. It may be cut as never finished; it is never served wrong.
    let (disk, ..) = journal(false);
    let len = disk.bytes(Path::new(FILE)).unwrap().len();
    for at in before_last..len {
        for cut in [false, true] {
            let disk = damaged(false, FILE, |bytes| if cut { bytes.truncate(at) } else { bytes[at] ^= 0x10 });
            match read(&disk) {
                Read::Commits(found) => assert_eq!(found, commits[..commits.len() - 1]),
                Read::Corrupt(..) => panic!("byte {at}: the last batch looks unfinished"),
            }
        }
    }
}

#[test]
fn either_slot_of_the_mark_and_every_byte_of_the_format_file_may_rot() {
    let (disk, commits, _) = journal(true);
    let mark = "/data/journal/mark";
    for at in 0..disk.bytes(Path::new(mark)).unwrap().len() {
        let disk = damaged(true, mark, |bytes| bytes[at] ^= 0x04);
        match read(&disk) {
            Read::Commits(found) => assert_eq!(found, commits),
            Read::Corrupt(file, _) => panic!("byte {at} of one slot: {}", file.display()),
        }
    }
    let disk = damaged(true, mark, |bytes| bytes.fill(0));
    assert!(matches!(read(&disk), Read::Corrupt(file, 0) if file == Path::new(mark)));
    let format = "/data/FORMAT";
    for at in 0..disk.bytes(Path::new(format)).unwrap().len() {
        let disk = damaged(true, format, |bytes| bytes[at] ^= 0x04);
        assert!(matches!(read(&disk), Read::Corrupt(file, _) if file == Path::new(format)), "byte {at}");
    }
}

#[test]
fn a_missing_file_is_reported() {
    for name in [FILE, "/data/journal/mark", "/data/FORMAT"] {
        let (disk, ..) = journal(true);
        let env = sim(&disk);
        env.disk.remove(Path::new(name)).unwrap();
        let error = open(&env, quiet()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_missing_file_in_the_middle_is_reported_when_it_is_read() {
    let disk = SimDisk::new(1);
    let options = regauge_log::LogOptions { journal_file_bytes: 1000, ..quiet() };
    let log = open(&sim(&disk), options).unwrap();
    log.commit(define(&[topic(1, 1)])).unwrap();
    (0..60).for_each(|n| drop(log.commit(append(1, &[n])).unwrap()));
    drop(log);
    let files: Vec<_> = disk.paths().into_iter().filter(|p| p.extension().is_some_and(|e| e == "rgj")).collect();
    assert!(files.len() > 3);
    let env = sim(&disk);
    env.disk.remove(&files[1]).unwrap();
    assert!(matches!(read(&disk), Read::Corrupt(..)));
}

#[test]
fn a_torn_tail_stays_on_the_disk_until_it_is_overwritten_and_never_comes_back() {
    let (disk, commits, before_last) = journal(false);
    let path = Path::new(FILE);
    let mut torn = disk.bytes(path).unwrap();
    // The last commit and, behind it, a copy of an old frame: leftovers of a write that was cut.
    let leftover = torn[before_last..].to_vec();
    torn[before_last + 50] ^= 1;
    torn.extend_from_slice(&leftover);
    disk.damage(path, torn.clone());
    for round in 0..3 {
        let log = open(&sim(&disk), quiet()).unwrap();
        assert_eq!(all(&log).unwrap(), commits[..commits.len() - 1]);
        assert_eq!(disk.bytes(path).unwrap(), torn, "round {round}: opening cuts nothing");
    }
    let log = open(&sim(&disk), quiet()).unwrap();
    let receipt = log.commit(append(1, &[7])).unwrap();
    drop(log);
    let log = open(&sim(&disk), quiet()).unwrap();
    let found = all(&log).unwrap();
    assert_eq!(found.len(), commits.len());
    assert_same(found.last().unwrap(), &receipt, &[7]);
}

#[test]
fn a_journal_of_a_newer_release_is_told_from_a_damaged_one() {
    use regauge_log::format::frame::{Seed, crc32c};
    let (disk, ..) = journal(true);
    let log = open(&sim(&disk), quiet()).unwrap();
    let seed = Seed(log.dataset().0);
    drop(log);
    let path = Path::new(FILE);
    let whole = disk.bytes(path).unwrap();
    let state_len = u32::from_le_bytes(whole[68..72].try_into().unwrap()) as usize;
    let newer = |what: &str| {
        let mut bytes = whole.clone();
        if what == "file" {
            bytes[8..12].copy_from_slice(&9u32.to_le_bytes());
            let crc = seed.crc(&bytes[..60]);
            bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        } else {
            bytes[112] = 9;
            let crc = crc32c(&bytes[112..112 + state_len]);
            bytes[72..76].copy_from_slice(&crc.to_le_bytes());
            let crc = seed.crc(&bytes[64..108]);
            bytes[108..112].copy_from_slice(&crc.to_le_bytes());
        }
        bytes
    };
    for (what, ours) in [("file", 1), ("state", u32::from(whole[112]))] {
        disk.damage(path, newer(what));
        let error = open(&sim(&disk), quiet()).err().unwrap();
        assert!(matches!(error, LogError::NewerFormat { found: 9, supported, .. } if supported == ours), "{what}: {error}");
        // With the checksum as it was it is damage.
        let mut bytes = newer(what);
        let crc = if what == "file" { 60..64 } else { 72..76 };
        bytes[crc.clone()].copy_from_slice(&whole[crc]);
        disk.damage(path, bytes);
        assert_eq!(open(&sim(&disk), quiet()).err().unwrap().kind(), ErrorKind::Corrupt, "{what}");
    }
    disk.damage(path, whole);
    assert!(open(&sim(&disk), quiet()).is_ok());
}
