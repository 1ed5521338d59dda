//! Backups of an instance that is being written, and what is restored of them.
#![allow(clippy::disallowed_methods, reason = "it damages and removes real files")]

use crate::common::{Site, attempt, run, site_with, site_with_checkpoints};
use regauge_log::archive::{DiskStore, Objects};
use regauge_log::testing::{Fault, Keep, SimClock, SimDisk, env as sim_env};
use regauge_types::Env;
use regauge_views::{
    Config, Instance, Result, Session, SessionOptions,
    backup::{self, Parts, Taken, Vault},
    catalog::Relation,
    sinks::{Connectors, Judgement},
    verify,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

const LONG: Duration = Duration::from_secs(300);
const WRITERS: u64 = 4;

fn vault(dir: &Path) -> Vault {
    Vault::in_folder(&Env::real(), dir)
}

async fn take(instance: &Instance, dir: &Path) -> Result<Taken> {
    let (parts, vault) = (instance.backup_parts(), vault(dir));
    tokio::task::spawn_blocking(move || backup::take(&parts, &vault)).await.unwrap()
}

fn restore(from: &Path, number: u64, to: &Path) -> Result<backup::Restored> {
    backup::restore(&Env::real(), &vault(from), Some(number), to)
}

fn open(dir: &Path, workers: usize) -> Instance {
    Instance::open(Config::new(dir).workers(workers)).unwrap()
}

fn session(instance: &Instance) -> Session {
    instance.session(SessionOptions::default()).unwrap()
}

/// Rows of a stream and of a table by writer, and two views of them.
async fn make(s: &mut Session) {
    run(s, "CREATE STREAM s (c BIGINT, k BIGINT)").await;
    run(s, "CREATE TABLE t (c BIGINT, k BIGINT, v TEXT, PRIMARY KEY (c, k))").await;
    run(s, "CREATE MATERIALIZED VIEW per AS SELECT c, count(*) AS n, sum(k) AS total FROM s GROUP BY c").await;
    run(s, "CREATE MATERIALIZED VIEW both AS SELECT s.c, s.k, t.v FROM s JOIN t ON s.c = t.c AND s.k = t.k").await;
}

const SHOWN: [&str; 4] = [
    "SELECT c, k FROM s ORDER BY c, k",
    "SELECT c, k, v FROM t ORDER BY c, k",
    "SELECT c, n, total FROM per ORDER BY c",
    "SELECT c, k, v FROM both ORDER BY c, k",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_under_four_writers_and_checkpoints_is_the_instance_at_its_commit() {
    let site = site_with_checkpoints(2);
    let target = tempfile::tempdir().unwrap();
    make(&mut site.session()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let acked: Arc<Vec<AtomicU64>> = Arc::new((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
    let writers: Vec<_> = (0..WRITERS)
        .map(|c| {
            let (mut s, stop, acked) = (site.session(), stop.clone(), acked.clone());
            tokio::spawn(async move {
                let mut k = 0;
                while !stop.load(Ordering::Acquire) {
                    // a stream and a table in one transaction; now and then a row of the table changes
                    run(
                        &mut s,
                        &format!("BEGIN; INSERT INTO s VALUES ({c}, {k}); INSERT INTO t VALUES ({c}, {k}, 'v{k}'); COMMIT"),
                    )
                    .await;
                    acked[usize::try_from(c).unwrap()].store(k + 1, Ordering::Release);
                    k += 1;
                    if k % 8 == 0 {
                        run(&mut s, &format!("UPDATE t SET v = 'u{k}' WHERE c = {c} AND k = {}", k / 2)).await;
                    }
                }
            })
        })
        .collect();
    // every backup has some of each writer, and a checkpoint and an archive to copy
    until_acked(&acked, 1).await;
    assert!(site.instance().checkpoint(LONG).unwrap());
    site.instance().log().archive_now().unwrap();
    let keeper = {
        let (instance, stop) = (site.instance().clone(), stop.clone());
        tokio::task::spawn_blocking(move || {
            while !stop.load(Ordering::Acquire) {
                instance.checkpoint(LONG).unwrap();
                instance.log().archive_now().unwrap();
            }
        })
    };
    let mut taken = vec![];
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let before: Vec<u64> = acked.iter().map(|a| a.load(Ordering::Acquire)).collect();
        taken.push((before, take(site.instance(), target.path()).await.unwrap()));
    }
    until_acked(&acked, 9).await;
    stop.store(true, Ordering::Release);
    for writer in writers {
        writer.await.unwrap();
    }
    keeper.await.unwrap();
    let (mut with_checkpoint, mut with_archive) = (0, 0);
    for (no, (before, taken)) in (1..).zip(&taken) {
        assert_eq!(taken.number, no);
        let dir = tempfile::tempdir().unwrap();
        let restored = restore(target.path(), no, dir.path()).unwrap().manifest;
        assert_eq!((restored.lsn, restored.files.len()), (taken.lsn, taken.n_files));
        with_checkpoint += u64::from(restored.checkpoint.is_some());
        with_archive += u64::from(restored.archived > 0);
        let found = verify::files(&Env::real(), dir.path());
        assert!(found.is_sound() && found.last.0 == taken.lsn, "{found} {:?}", found.faults);
        let instance = open(dir.path(), 1 + no as usize % 3);
        let mut s = session(&instance);
        let shown =
            [run(&mut s, SHOWN[0]).await, run(&mut s, SHOWN[1]).await, run(&mut s, SHOWN[2]).await, run(&mut s, SHOWN[3]).await];
        // each writer's rows are those up to one of its commits, and at least those that it was told of before
        let mut wanted: BTreeMap<u64, u64> = BTreeMap::new();
        for row in &shown[0] {
            let (c, k) = row.split_once('|').unwrap();
            let n = wanted.entry(c.parse().unwrap()).or_default();
            assert_eq!(k.parse::<u64>().unwrap(), *n, "a gap or a double: {row}");
            *n += 1;
        }
        for (c, before) in before.iter().enumerate() {
            let n = wanted.get(&(c as u64)).copied().unwrap_or(0);
            assert!(n >= *before, "writer {c}: acknowledged {before}, restored {n}");
        }
        assert_eq!(shown[1].len(), shown[0].len(), "a transaction is there in part");
        assert_eq!(shown[2], run(&mut s, "SELECT c, count(*), sum(k) FROM s GROUP BY c ORDER BY c").await);
        assert_eq!(shown[3], shown[1], "every record has its row");
        // and it is the source at that commit: what the source's log says up to there
        assert_eq!(topics(&instance, taken.lsn), topics(site.instance(), taken.lsn), "backup {no}");
        let mut report = verify::Report::default();
        drop(s);
        drop(instance);
        verify::recompute(&Env::real(), dir.path(), 2, &mut report).await.unwrap();
        assert!(report.is_sound() && report.counts.views == 2, "{report} {:?}", report.faults);
    }
    assert!(with_checkpoint >= 4 && with_archive >= 4, "checkpoint={with_checkpoint} archive={with_archive}");
}

/// Waits until each writer was told of so many commits.
async fn until_acked(acked: &[AtomicU64], n: u64) {
    let begun = std::time::Instant::now();
    while !acked.iter().all(|a| a.load(Ordering::Acquire) >= n) {
        assert!(begun.elapsed() < LONG, "the writers hardly got to work: {acked:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All rows of all topics up to a commit, with their commits.
fn topics(instance: &Instance, up_to: u64) -> Vec<String> {
    let mut all = vec![];
    let up_to = regauge_types::Lsn(up_to);
    for commit in instance.log().source().read(regauge_types::Lsn::ZERO, up_to, None).unwrap() {
        let commit = commit.unwrap();
        for part in commit.parts {
            let rows = crate::common::lines(&[part.rows]).join(";");
            all.push(format!("{} {} {} {} {rows}", commit.lsn, commit.hlc, part.topic, part.first_offset));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_target_is_not_copied_again() {
    let site = site_with_checkpoints(1);
    let target = tempfile::tempdir().unwrap();
    let mut s = site.session();
    make(&mut s).await;
    run(&mut s, "INSERT INTO s SELECT i % 3, i FROM generate_series(1, 40000) AS i").await;
    run(&mut s, "FLUSH").await;
    assert!(site.instance().checkpoint(LONG).unwrap());
    site.instance().log().archive_now().unwrap();
    let first = take(site.instance(), target.path()).await.unwrap();
    assert_eq!(first.bytes, first.bytes_written);
    // what is written behind it: the journal's last chunk, mark and little else
    run(&mut s, "INSERT INTO t VALUES (1, 1, 'one')").await;
    let second = take(site.instance(), target.path()).await.unwrap();
    assert!(second.lsn > first.lsn && second.bytes > first.bytes - 100_000);
    let journal = std::fs::metadata(site.dir.path().join("journal").join(format!("{:020}.rgj", 1))).unwrap().len();
    assert!(second.bytes_written <= journal + 10_000, "{second:?} journal={journal}");
    let third = take(site.instance(), target.path()).await.unwrap();
    assert_eq!((third.lsn, third.bytes_written, third.number), (second.lsn, 0, 3), "nothing happened in between");
    // a folder that nobody has open
    drop(s);
    let mut site = site;
    site.instance = None;
    let parts = Parts::of_closed(&Env::real(), site.dir.path()).unwrap();
    let closed = backup::take(&parts, &vault(target.path())).unwrap();
    assert_eq!(closed.lsn, third.lsn);
}

#[tokio::test(flavor = "multi_thread")]
async fn restoring_twice_gives_two_instances_and_a_folder_in_use_is_refused() {
    let site = site_with(1);
    let (target, dirs) = (tempfile::tempdir().unwrap(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    let mut s = site.session();
    make(&mut s).await;
    run(&mut s, "INSERT INTO t VALUES (1, 1, 'one')").await;
    assert_eq!(restore(target.path(), 1, dirs[0].path()).unwrap_err().sqlstate, "42704", "there is no backup");
    let to = target.path().to_str().unwrap();
    let answer = run(&mut s, &format!("BACKUP TO '{to}'")).await;
    assert!(answer[0].starts_with("1|"), "{answer:?}");
    run(&mut s, "INSERT INTO t VALUES (1, 2, 'later')").await;
    for (at, dir) in dirs.iter().enumerate() {
        restore(target.path(), 1, dir.path()).unwrap();
        let again = restore(target.path(), 1, dir.path()).unwrap_err();
        assert_eq!(again.sqlstate, "55006", "{again}");
        let instance = open(dir.path(), 2);
        let mut s = session(&instance);
        assert_eq!(run(&mut s, "SELECT v FROM t").await, ["one"]);
        run(&mut s, &format!("INSERT INTO t VALUES (2, {at}, 'own')")).await;
        assert_eq!(run(&mut s, "SELECT k FROM t WHERE c = 2").await, [at.to_string()], "each goes its own way");
        assert_eq!(run(&mut s, "SELECT count(*) FROM both").await, ["0"]);
        // a restored instance is backed up like any other, beside the one that it came from
        run(&mut s, &format!("BACKUP TO '{to}'")).await;
    }
    assert_eq!(vault(target.path()).numbers().unwrap(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_take_one_and_where_to() {
    let site = site_with(1);
    let target = tempfile::tempdir().unwrap();
    let to = target.path().to_str().unwrap().to_owned();
    let mut s = site.session();
    run(&mut s, "CREATE ROLE clerk LOGIN").await;
    let code = |e: regauge_views::Error| e.sqlstate;
    let mut clerk = site.instance().session(SessionOptions { user: "clerk".to_owned(), ..SessionOptions::default() }).unwrap();
    assert_eq!(attempt(&mut clerk, &format!("BACKUP TO '{to}'")).await.map_err(code), Err("42501"));
    run(&mut s, "BEGIN").await;
    assert_eq!(attempt(&mut s, &format!("BACKUP TO '{to}'")).await.map_err(code), Err("25001"));
    run(&mut s, "ROLLBACK").await;
    assert_eq!(attempt(&mut s, "BACKUP TO 'here'").await.map_err(code), Err("22023"));
    assert_eq!(attempt(&mut s, "BACKUP TO 's3://bucket/x'").await.map_err(code), Err("0A000"));
    let within = site.dir.path().join("backups");
    assert_eq!(attempt(&mut s, &format!("BACKUP TO '{}'", within.display())).await.map_err(code), Err("22023"));
    assert_eq!(vault(target.path()).numbers().unwrap(), Vec::<u64>::new());
}

/// Takes every option.
struct Any;

impl Connectors for Any {
    fn judge(&self, _: &Relation, _: &BTreeMap<String, String>) -> Result<Judgement> {
        Ok(Judgement::default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_instance_is_one_of_its_own() {
    let site = site_with(1);
    let (target, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    site.instance().sinks().register(Arc::new(Any));
    let mut s = site.session();
    make(&mut s).await;
    run(&mut s, "CREATE ROLE clerk LOGIN PASSWORD 'a long password'; GRANT SELECT ON t TO clerk").await;
    for name in ["one", "two"] {
        run(&mut s, &format!("CREATE SINK {name} FROM per WITH (connector = 'any')")).await;
    }
    run(&mut s, "ALTER SINK two PAUSE").await;
    let token = s.token();
    let producer = |sequence| regauge_views::ProducerSeq { id: "p".to_owned(), incarnation: 0, sequence };
    let rows = |k: i64| {
        let column = |n: i64| Arc::new(arrow::array::Int64Array::from(vec![n])) as arrow::array::ArrayRef;
        arrow::array::RecordBatch::try_from_iter_with_nullable([("c", column(1), true), ("k", column(k), true)]).unwrap()
    };
    assert!(!s.append("s", rows(0), Some(producer(0))).await.unwrap());
    take(site.instance(), target.path()).await.unwrap();
    assert!(!s.append("s", rows(1), Some(producer(1))).await.unwrap());
    restore(target.path(), 1, dir.path()).unwrap();
    assert!(dir.path().join(backup::MARKER).exists());
    assert!(!dir.path().join("token.key").exists() && !dir.path().join("passfile").exists(), "no secret goes along");
    for opening in 0..2 {
        let instance = open(dir.path(), 1);
        instance.sinks().register(Arc::new(Any));
        assert!(!dir.path().join(backup::MARKER).exists());
        let mut s = session(&instance);
        let paused: Vec<(String, bool)> = instance.catalog().sinks().map(|s| (s.name.name.clone(), s.spec.paused)).collect();
        if opening == 0 {
            assert_eq!(paused, [("one".to_owned(), true), ("two".to_owned(), true)]);
            run(&mut s, "ALTER SINK one RESUME").await;
        } else {
            assert_eq!(paused, [("one".to_owned(), false), ("two".to_owned(), true)], "only once");
        }
        assert_eq!(s.set_token(&token).await.unwrap_err().sqlstate, "22023", "a token of the other instance");
        let clerk = SessionOptions { user: "clerk".to_owned(), ..SessionOptions::default() };
        assert_eq!(run(&mut instance.session(clerk).unwrap(), "SELECT count(*) FROM t").await, ["0"]);
        // what the backup has is told to have been stored; what came after it is stored anew
        assert!(s.append("s", rows(0), Some(producer(0))).await.unwrap());
        assert_eq!(s.append("s", rows(1), Some(producer(1))).await.unwrap(), opening == 1);
        assert_eq!(run(&mut s, "SELECT k FROM s ORDER BY k").await, ["0", "1"]);
    }
    // the source was not touched by any of it
    assert_eq!(site.instance().catalog().sinks().filter(|s| s.spec.paused).count(), 1);
}

fn objects(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(objects(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_with_the_file_named_and_nothing_is_written() {
    let site = site_with_checkpoints(1);
    let target = tempfile::tempdir().unwrap();
    let mut s = site.session();
    make(&mut s).await;
    run(&mut s, "INSERT INTO s SELECT i % 3, i FROM generate_series(1, 500) AS i").await;
    assert!(site.instance().checkpoint(LONG).unwrap());
    site.instance().log().archive_now().unwrap();
    let taken = take(site.instance(), target.path()).await.unwrap();
    let all = objects(target.path());
    assert!(all.len() > 8, "{all:?}");
    let mut n = 0;
    for path in &all {
        let whole = std::fs::read(path).unwrap();
        let len = whole.len();
        let mut flipped: Vec<Vec<u8>> = [0, len / 2, len - 1]
            .map(|at| {
                let mut bytes = whole.clone();
                bytes[at] ^= 1;
                bytes
            })
            .to_vec();
        flipped.extend([whole[..len / 2].to_vec(), whole[..len - 1].to_vec(), [&whole[..], b"x"].concat()]);
        for bytes in flipped.into_iter().map(Some).chain([None]) {
            match &bytes {
                Some(bytes) => std::fs::write(path, bytes).unwrap(),
                None => std::fs::remove_file(path).unwrap(),
            }
            let dir = tempfile::tempdir().unwrap();
            let error = backup::restore(&Env::real(), &vault(target.path()), None, dir.path()).unwrap_err();
            let is_manifest = path.parent().unwrap().ends_with("backup");
            let named = error.message.contains("file=")
                || (is_manifest && (error.message.contains("object=") || error.message.contains("no backup")));
            assert!(named, "{} {:?}: {error}", path.display(), bytes.map(|b| b.len()));
            assert!(error.hint.is_some(), "{error}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was written");
            n += 1;
        }
        std::fs::write(path, &whole).unwrap();
    }
    println!("{n} damaged backups of {} objects refused", all.len());
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(backup::restore(&Env::real(), &vault(target.path()), None, dir.path()).unwrap().manifest.lsn, taken.lsn);
}

/// The source on the real disk, the target on one that fails, fills up or goes down at one call after the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_fails_at_any_call_has_a_whole_backup_or_none_and_takes_the_next() {
    let mut site = site_with_checkpoints(1);
    let mut s = site.session();
    make(&mut s).await;
    run(&mut s, "INSERT INTO s SELECT i % 3, i FROM generate_series(1, 300) AS i; INSERT INTO t SELECT 1, i, 'x' FROM generate_series(1, 50) AS i").await;
    let shown = run(&mut s, SHOWN[3]).await;
    assert!(site.instance().checkpoint(LONG).unwrap());
    site.instance().log().archive_now().unwrap();
    drop(s);
    site.instance = None;
    let parts = Parts::of_closed(&Env::real(), site.dir.path()).unwrap();
    let on = |disk: &Arc<SimDisk>| {
        let env = sim_env(disk, &Arc::new(SimClock::new(1)), 7);
        Vault::new(Objects::new(Arc::new(DiskStore::new(env, Path::new("/vault"))), None))
    };
    let count = {
        let disk = SimDisk::new(3);
        backup::take(&parts, &on(&disk)).unwrap();
        disk.calls()
    };
    let (mut n_failed, mut n_states, mut n_whole) = (0, 0, 0);
    for fault in [Fault::Eio, Fault::Enospc, Fault::Crash] {
        for call in 0..count {
            let disk = SimDisk::new(call);
            disk.plan(call, fault);
            let outcome = backup::take(&parts, &on(&disk));
            n_failed += u64::from(outcome.is_err());
            n_states += 1;
            disk.unplan();
            if fault == Fault::Crash || call % 3 == 0 {
                disk.reboot([Keep::None, Keep::All, Keep::Some(call), Keep::Sectors(call)][call as usize % 4]);
            }
            let vault = on(&disk);
            // what is there is whole
            for number in vault.numbers().unwrap() {
                let manifest = vault.load(number).unwrap();
                assert_eq!(backup::verify(&vault, &manifest).len(), 0, "{fault:?} call={call}");
                n_whole += 1;
            }
            if let Ok(taken) = &outcome {
                assert!(
                    vault.numbers().unwrap().contains(&taken.number),
                    "{fault:?} call={call}: an acknowledged backup is gone"
                );
            }
            let again = backup::take(&parts, &vault).unwrap_or_else(|e| panic!("{fault:?} call={call}: {e}"));
            assert_eq!(backup::verify(&vault, &vault.load(again.number).unwrap()).len(), 0);
        }
    }
    println!("{n_states} faults of {count} calls: {n_failed} backups failed, {n_whole} were whole");
    assert!(n_failed > count && n_whole > 0, "failed={n_failed} whole={n_whole} calls={count}");
    // a restore whose disk fails at any call makes no data folder, or the whole of it
    let target = tempfile::tempdir().unwrap();
    backup::take(&parts, &vault(target.path())).unwrap();
    let env_of = |disk: &Arc<SimDisk>| sim_env(disk, &Arc::new(SimClock::new(1)), 7);
    let count = {
        let disk = SimDisk::new(3);
        backup::restore(&env_of(&disk), &vault(target.path()), None, Path::new("/data")).unwrap();
        disk.calls()
    };
    let mut n_made = 0;
    for fault in [Fault::Eio, Fault::Enospc, Fault::Crash] {
        for call in 0..count {
            let disk = SimDisk::new(call);
            disk.plan(call, fault);
            let outcome = backup::restore(&env_of(&disk), &vault(target.path()), None, Path::new("/data"));
            disk.unplan();
            disk.reboot([Keep::None, Keep::All, Keep::Some(call)][call as usize % 3]);
            let made = disk.paths().contains(&PathBuf::from("/data/FORMAT"));
            assert!(made || outcome.is_err(), "{fault:?} call={call}: a restore that was told to be done is not there");
            if made {
                let found = verify::files(&env_of(&disk), Path::new("/data"));
                assert!(found.is_sound() && found.last.0 > 3, "{fault:?} call={call}: {found} {:?}", found.faults);
                assert!(disk.paths().contains(&Path::new("/data").join(backup::MARKER)));
                n_made += 1;
            }
        }
    }
    println!("{} restores, of {count} calls, {n_made} whole", 3 * count);
    let dir = tempfile::tempdir().unwrap();
    restore(target.path(), 1, dir.path()).unwrap();
    assert_eq!(run(&mut session(&open(dir.path(), 2)), SHOWN[3]).await, shown);
}

/// While a backup holds a checkpoint, later ones do not remove what it reads.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_backup_reads_is_not_removed_under_it() {
    let site: Site = site_with_checkpoints(1);
    let mut s = site.session();
    make(&mut s).await;
    run(&mut s, "INSERT INTO t VALUES (1, 1, 'one')").await;
    assert!(site.instance().checkpoint(LONG).unwrap());
    let store = site.instance().backup_parts().checkpoints.unwrap();
    let held = store.hold().unwrap().unwrap();
    for k in 2..8 {
        run(&mut s, &format!("UPDATE t SET v = 'v{k}'")).await;
        run(&mut s, "INSERT INTO s SELECT i, i FROM generate_series(1, 2000) AS i").await;
        assert!(site.instance().checkpoint(LONG).unwrap());
    }
    let n_files = || std::fs::read_dir(site.dir.path().join("checkpoint")).unwrap().count();
    assert!(held.files().len() >= 2 && held.files().iter().all(|f| f.exists()), "{:?}", held.files());
    for block in held.manifest().sections.iter().flat_map(|s| &s.blocks) {
        store.read(block).unwrap();
    }
    let (manifest, before) = (held.files().pop().unwrap(), n_files());
    drop(held);
    run(&mut s, "UPDATE t SET v = 'last'").await;
    assert!(site.instance().checkpoint(LONG).unwrap());
    assert!(!manifest.exists() && n_files() <= before, "what nobody reads any more is removed");
}
