//! Checkpoints on a simulated disk: a crash within every call, a failing call, every damaged byte.

use regauge_log::testing::{Fault, Keep, SimClock, SimDisk, env};
use regauge_state::checkpoint::{CheckpointError, Label, Manifest, Section, Store};
use regauge_types::{DataSetId, Lsn, env::Disk};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DATASET: DataSetId = DataSetId([7; 16]);
const N_BLOCKS: u64 = 12;

fn dir() -> &'static Path {
    Path::new("/data/checkpoint")
}

fn store(disk: &Arc<SimDisk>) -> Result<Store, CheckpointError> {
    Store::open(env(disk, &Arc::new(SimClock::new(1)), 1), dir(), DATASET)
}

/// A disk with a data folder that is there for good, as the log makes it before anybody thinks of checkpoints.
fn disk_with_folder() -> Arc<SimDisk> {
    let disk = SimDisk::new(5);
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

/// What block `i` holds at checkpoint `n`: most stay as they were.
fn content(n: u64, i: u64) -> Vec<u8> {
    let since = if i < N_BLOCKS / 2 { 0 } else { n - n % (i - N_BLOCKS / 2 + 1) };
    format!("block {i} since {since} ").repeat(4 + i as usize * 3).into_bytes()
}

fn label(i: u64) -> Label {
    Label { kind: 1, node: i as u32, worker: 0, part: 0, of: 256 }
}

/// Takes the checkpoint of commit `n`.
fn take(store: &Store, last: Option<&Manifest>, n: u64) -> Result<Manifest, CheckpointError> {
    let mut writer = store.begin(last)?;
    let mut blocks = vec![];
    for i in 0..N_BLOCKS {
        let same =
            last.and_then(|l| l.sections[0].blocks.get(i as usize)).filter(|_| n > 0 && content(n, i) == content(n - 1, i));
        // one way for blocks that are known to be the same, one for those that turn out to be
        blocks.push(match same.filter(|_| i % 2 == 0) {
            Some(block) => writer.keep(block)?,
            None => writer.put(label(i), &content(n, i))?,
        });
    }
    let sections = vec![Section { name: b"all".to_vec(), fingerprint: [3; 32], blocks }];
    let manifest = Manifest { dataset: DATASET, no: writer.no(), lsn: Lsn(n), own: vec![], sections };
    writer.publish(&manifest)?;
    Ok(manifest)
}

/// Everything that a checkpoint names is as it was written.
fn check(store: &Store, manifest: &Manifest) -> Result<(), CheckpointError> {
    for block in &manifest.sections[0].blocks {
        let bytes = store.read(block)?;
        assert_eq!(bytes, content(manifest.lsn.0, block.label.node.into()), "wrong bytes that nobody noticed");
    }
    Ok(())
}

/// The newest checkpoint that reads back whole.
fn newest(store: &Store) -> Option<Manifest> {
    let usable = |no: u64| {
        let manifest = store.load(no).ok()?;
        check(store, &manifest).ok().map(|()| manifest)
    };
    store.manifests().unwrap().into_iter().find_map(usable)
}

#[test]
fn a_crash_within_any_call_leaves_the_last_checkpoint_or_the_one_that_was_being_written() {
    let disk = disk_with_folder();
    disk.record();
    disk.set_note(0);
    let at = store(&disk).unwrap();
    let mut last = None;
    for n in 1..=9 {
        last = Some(take(&at, last.as_ref(), n).unwrap());
        disk.set_note(n);
    }
    let (snapshots, mut n_states, mut seen) = (disk.recorded(), 0, std::collections::BTreeSet::new());
    assert!(snapshots.len() > 60, "{}", snapshots.len());
    for snapshot in &snapshots {
        let keeps = [Keep::All, Keep::None, Keep::Some(1), Keep::Some(2), Keep::Some(3), Keep::Sectors(4), Keep::Sectors(5)];
        for keep in keeps {
            n_states += 1;
            let after = SimDisk::after_crash(snapshot, keep);
            let at = store(&after).unwrap();
            let found = newest(&at);
            let (acked, lsn) = (snapshot.note, found.as_ref().map_or(0, |m| m.lsn.0));
            assert!(lsn == acked || lsn == acked + 1, "acked={acked} found={lsn} {keep:?} {:?}", snapshot.what);
            seen.insert(lsn - acked);
            // and it goes on from there: nothing of a number that was begun is in the way
            let next = take(&at, found.as_ref(), lsn + 1).unwrap();
            check(&at, &next).unwrap();
            assert_eq!(newest(&at).unwrap().lsn, Lsn(lsn + 1));
        }
    }
    assert_eq!(seen.len(), 2, "both outcomes were met");
    assert!(n_states > 400, "{n_states}");
}

#[test]
fn a_call_that_fails_fails_the_checkpoint_and_the_next_one_goes_on() {
    let count = {
        let disk = disk_with_folder();
        let at = store(&disk).unwrap();
        let first = take(&at, None, 1).unwrap();
        let before = disk.calls();
        take(&at, Some(&first), 2).unwrap();
        disk.calls() - before
    };
    let (mut n_failed, mut n_left) = (0, 0);
    for fault in [Fault::Eio, Fault::Enospc] {
        for call in 0..count {
            let disk = disk_with_folder();
            let at = store(&disk).unwrap();
            let first = take(&at, None, 1).unwrap();
            disk.plan(call, fault);
            let second = take(&at, Some(&first), 2);
            n_failed += u64::from(second.is_err());
            let is_run = |p: &PathBuf| p.extension().is_some_and(|e| e == "rgr");
            n_left += u64::from(second.is_err() && disk.paths().iter().filter(|p| is_run(p)).count() > 1);
            let known = second.unwrap_or(first);
            // a want of room that met a call which needs none waits for the next that does
            let third = take(&at, Some(&known), 3).or_else(|_| take(&at, Some(&known), 3)).unwrap();
            check(&at, &third).unwrap();
            // power goes: what was acknowledged is there
            disk.reboot(Keep::None);
            assert_eq!(newest(&store(&disk).unwrap()).unwrap().lsn, Lsn(3), "{fault:?} call={call}");
        }
    }
    assert!(n_failed > 10, "{n_failed}");
    // but for the calls from the rename on, a run that came to nothing is gone
    assert!(n_left <= 4, "failed={n_failed} left={n_left}");
}

#[test]
fn a_damaged_byte_of_any_file_is_noticed_and_so_is_a_block_in_anothers_place() {
    let disk = disk_with_folder();
    let at = store(&disk).unwrap();
    let first = take(&at, None, 1).unwrap();
    let second = take(&at, Some(&first), 2).unwrap();
    let files: Vec<PathBuf> = disk.paths().into_iter().filter(|p| p.starts_with(dir())).collect();
    assert_eq!(files.len(), 4, "{files:?}");
    let of = |path: &Path| disk.bytes(path).unwrap();
    let (mut n_noticed, mut n_done) = (0, 0);
    let turn = crate::common::size("REGAUGE_SEED", 0);
    let mut judge = |path: &Path, bytes: Vec<u8>, what: &str| {
        let good = of(path);
        n_done += 1;
        disk.damage(path, bytes);
        // never wrong bytes: `check` compares; each manifest reads as it was or not at all
        for (no, known) in [(first.no, &first), (second.no, &second)] {
            match at.load(no).and_then(|m| check(&at, &m).map(|()| m)) {
                Ok(manifest) => assert_eq!(&manifest, known, "{what}"),
                Err(CheckpointError::Corrupt { path: named, .. }) => {
                    assert_eq!(named, path, "the damaged file is the one that is named");
                    n_noticed += 1;
                }
                Err(other) => panic!("{what}: {other}"),
            }
        }
        disk.damage(path, good);
    };
    for path in &files {
        let good = of(path);
        let is_manifest = path.extension().is_some_and(|e| e == "rgc");
        for at in (0..good.len()).step_by(1) {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << ((at + turn) % 8);
            judge(path, bytes, &format!("bit of {} at {at}", path.display()));
        }
        for len in (0..good.len()).step_by(if is_manifest { 1 } else { 7 }) {
            judge(path, good[..len].to_vec(), &format!("{} cut to {len}", path.display()));
        }
    }
    // stale and swapped: a file in the place of the other of its kind
    for kind in ["rgc", "rgr"] {
        let pair: Vec<&PathBuf> = files.iter().filter(|p| p.extension().is_some_and(|e| e == kind)).collect();
        for (to, from) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            judge(to, of(from), &format!("{} in the place of {}", from.display(), to.display()));
        }
    }
    println!("soak: cases={n_done} faults={n_done}");
    assert!(n_noticed > 1500, "{n_noticed}");
    let foreign = Store::open(env(&disk, &Arc::new(SimClock::new(1)), 1), dir(), DataSetId([8; 16])).unwrap();
    assert!(matches!(foreign.load(second.no), Err(CheckpointError::Corrupt { .. })), "another data set's");
}

#[test]
fn what_did_not_change_is_not_written_again_and_what_nobody_names_goes() {
    let disk = disk_with_folder();
    let at = store(&disk).unwrap();
    let mut last: Option<Manifest> = None;
    let whole: u64 = (0..N_BLOCKS).map(|i| content(1, i).len() as u64).sum();
    for n in 1..=60 {
        let manifest = take(&at, last.as_ref(), n).unwrap();
        check(&at, &manifest).unwrap();
        if let Some(last) = &last {
            let wrote: u64 = manifest.sections[0].blocks.iter().filter(|b| b.place.run == manifest.no).map(|b| b.place.len).sum();
            let changed: u64 =
                (0..N_BLOCKS).filter(|i| content(n, *i) != content(n - 1, *i)).map(|i| content(n, i).len() as u64).sum();
            // a run that is mostly garbage is written anew, so that space stays bounded
            assert!(wrote <= changed + whole / 2, "n={n} wrote={wrote} changed={changed} whole={whole}");
            check(&at, last).unwrap();
        }
        last = Some(manifest);
        assert!(disk.used() < whole * 6 + 20_000, "n={n} used={} whole={whole}", disk.used());
    }
    assert_eq!(at.manifests().unwrap().len(), 2, "the last two are kept");
}
