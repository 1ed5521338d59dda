//! `verify`: a folder whose bytes were changed is told, with the file and what to do next; one that was not is sound.
#![allow(clippy::disallowed_methods, reason = "it damages real files")]

use crate::common::{Site, run, site_with_checkpoints, size};
use regauge_state::checkpoint::{Label, Manifest, Store};
use regauge_types::{Env, Lsn};
use regauge_views::verify::{self, Report};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

const LONG: Duration = Duration::from_secs(60);

async fn made() -> Site {
    let mut site = site_with_checkpoints(2);
    let mut s = site.session();
    run(&mut s, "CREATE STREAM s (c BIGINT, k BIGINT)").await;
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    run(&mut s, "CREATE TABLE bag (x INT)").await;
    run(&mut s, "CREATE SEQUENCE n").await;
    run(&mut s, "CREATE MATERIALIZED VIEW per AS SELECT c, count(*) AS n, max(k) AS k FROM s GROUP BY c").await;
    run(&mut s, "CREATE MATERIALIZED VIEW errs AS SELECT id, 10 / v AS q FROM t").await;
    run(&mut s, "CREATE MATERIALIZED VIEW recent AS SELECT id FROM t WHERE now() > '2020-01-01'").await;
    for round in 0..3 {
        run(&mut s, &format!("INSERT INTO s SELECT i % 7, i FROM generate_series(1, 400 + {round}) AS i")).await;
        run(&mut s, &format!("INSERT INTO t SELECT i, i % 5 FROM generate_series({round} * 20 + 1, {round} * 20 + 20) AS i"))
            .await;
        run(&mut s, "INSERT INTO bag VALUES (1), (1), (2)").await;
        run(&mut s, "SELECT nextval('n')").await;
        run(&mut s, "DELETE FROM bag WHERE x = 2").await;
        run(&mut s, "FLUSH").await;
        assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
        site.instance().log().archive_now().unwrap();
    }
    // and some that no checkpoint and no segment has
    run(&mut s, "UPDATE t SET v = v + 1 WHERE id < 10; INSERT INTO s VALUES (1, 9999)").await;
    drop(s);
    site.instance = None;
    site
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

fn look(dir: &Path) -> Report {
    verify::files(&Env::real(), dir)
}

/// Bytes of a run that a manifest vouches for.
fn named(site: &Site) -> BTreeMap<PathBuf, Vec<(u64, u64)>> {
    let env = Env::real();
    let inspected = regauge_log::inspect::Inspection::open(env.clone(), site.dir.path()).unwrap();
    let folder = site.dir.path().join("checkpoint");
    let store = Store::look(env, &folder, inspected.dataset);
    let mut named: BTreeMap<PathBuf, Vec<(u64, u64)>> = BTreeMap::new();
    for no in store.manifests().unwrap() {
        for block in store.load(no).unwrap().sections.iter().flat_map(|s| &s.blocks) {
            let place = block.place;
            named
                .entry(folder.join(format!("run-{:020}.rgr", place.run)))
                .or_default()
                .push((place.offset, place.offset + place.len));
        }
    }
    named.values_mut().for_each(|places| places.push((0, 16)));
    named
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_of_any_file_is_named() {
    let site = made().await;
    let sound = look(site.dir.path());
    assert!(sound.is_sound(), "{sound} {:?}", sound.faults);
    let c = &sound.counts;
    assert!(c.commits > 20 && c.segments > 2 && c.checkpoints == 2 && c.blocks > 5 && c.events > 6, "{sound}");
    let named = named(&site);
    let (n_places, seed) = (size("REGAUGE_BITS_PLACES", 40), size("REGAUGE_SEED", 0));
    let (mut n, mut kinds) = (0, BTreeMap::<String, usize>::new());
    for path in files(site.dir.path()) {
        let name = path.strip_prefix(site.dir.path()).unwrap().to_string_lossy().into_owned();
        if name == "LOCK" {
            continue;
        }
        let whole = std::fs::read(&path).unwrap();
        let covered =
            |at: usize| named.get(&path).is_none_or(|places| places.iter().any(|(from, to)| (*from..*to).contains(&(at as u64))));
        let step = (whole.len() / n_places).max(1);
        let places = (seed % step..whole.len()).step_by(step).chain([whole.len() - 1]).filter(|at| covered(*at));
        let kind = name.split('/').take(2).collect::<Vec<_>>().join("/");
        for at in places {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << ((at + seed) % 8);
            std::fs::write(&path, &bytes).unwrap();
            let found = look(site.dir.path());
            let file = path.file_name().unwrap().to_string_lossy();
            assert!(
                found.faults.iter().any(|f| f.what.contains(&*file) && !f.hint.is_empty()),
                "{name} byte {at}: {found} {:?}",
                found.faults
            );
            assert!(
                found.faults.iter().any(|f| f.what.contains("offset=") || f.what.contains("format")),
                "{name} byte {at}: {:?}",
                found.faults
            );
            n += 1;
            *kinds.entry(kind.clone()).or_default() += 1;
        }
        // cut at lengths
        for len in (0..whole.len()).step_by((whole.len() / 12).max(1)).filter(|len| covered(whole.len() - 1) || *len < 16) {
            std::fs::write(&path, &whole[..len]).unwrap();
            let found = look(site.dir.path());
            assert!(!found.is_sound(), "{name} cut to {len}: {found}");
            n += 1;
        }
        std::fs::remove_file(&path).unwrap();
        // without its key or a manifest there is one less, and nothing wrong with what is left
        let optional = name == "token.key" || name.contains("manifest");
        assert!(optional || !look(site.dir.path()).is_sound(), "{name} is gone and nobody noticed");
        std::fs::write(&path, &whole).unwrap();
    }
    println!("{n} damages of {} kinds of files named: {kinds:?}", kinds.len());
    println!("soak: cases={n} faults={n}");
    assert!(look(site.dir.path()).is_sound());
    let all = recomputed(&site).await;
    assert!(all.is_sound(), "{all} {:?}", all.faults);
}

async fn recomputed(site: &Site) -> Report {
    let mut report = look(site.dir.path());
    verify::recompute(&Env::real(), site.dir.path(), 2, &mut report).await.unwrap();
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_recomputed_and_a_checkpoint_that_lies_is_told_and_nothing_is_changed() {
    let site = made().await;
    let before: Vec<(PathBuf, Vec<u8>)> =
        files(site.dir.path()).into_iter().map(|p| (p.clone(), std::fs::read(p).unwrap())).collect();
    let sound = recomputed(&site).await;
    let c = &sound.counts;
    assert!(sound.is_sound(), "{sound} {:?}", sound.faults);
    assert_eq!((c.views, c.tables, c.streams, c.records), (3, 2, 1, 1204), "{sound}");
    assert!(c.view_rows > 60 && c.table_rows > 60, "{sound}");
    let after: Vec<(PathBuf, Vec<u8>)> =
        files(site.dir.path()).into_iter().map(|p| (p.clone(), std::fs::read(p).unwrap())).collect();
    assert!(before == after, "a verification changed the folder");
    // checksums that agree over bytes that are wrong: rows left out, a digest of others, a table's rows left out
    let env = Env::real();
    let dataset = regauge_log::inspect::Inspection::open(env.clone(), site.dir.path()).unwrap().dataset;
    let folder = site.dir.path().join("checkpoint");
    for (case, text) in [("digest", "digest"), ("rows", "digest"), ("table", "table is not what the log makes it")] {
        let store = Store::open(env.clone(), &folder, dataset).unwrap();
        let last = store.load(store.manifests().unwrap()[0]).unwrap();
        let mut writer = store.begin(Some(&last)).unwrap();
        let mut sections = last.sections.clone();
        let is_table = |name: &[u8]| name.starts_with(b"table");
        let section = sections
            .iter_mut()
            .find(|s| is_table(&s.name) == (case == "table") && s.blocks.len() > usize::from(case == "rows"))
            .unwrap();
        match case {
            "digest" => {
                let block = section.blocks.iter_mut().find(|b| b.label.kind == 9).unwrap();
                *block = writer.put(Label { ..block.label }, &[7; 32]).unwrap();
            }
            "rows" => {
                let at = section.blocks.iter().position(|b| b.label.kind == 2 || b.label.kind == 5).unwrap();
                section.blocks.remove(at);
            }
            _ => section.blocks.clear(),
        }
        let manifest = Manifest { no: writer.no(), lsn: Lsn(last.lsn.0), sections, ..last.clone() };
        writer.publish(&manifest).unwrap();
        assert!(look(site.dir.path()).is_sound(), "{case}: every checksum agrees");
        let found = recomputed(&site).await;
        assert!(found.faults.iter().any(|f| f.what.contains(text)), "{case}: {found} {:?}", found.faults);
        // the one before takes its place again
        std::fs::remove_file(folder.join(format!("manifest-{:020}.rgc", manifest.no))).unwrap();
    }
    let sound = recomputed(&site).await;
    assert!(sound.is_sound(), "{sound} {:?}", sound.faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_checkpoints_that_disappears_is_made_anew_and_a_number_without_end_does_no_harm() {
    let mut site = made().await;
    let folder = site.dir.path().join("checkpoint");
    site.reopen_with(2, true);
    let mut s = site.session();
    run(&mut s, "INSERT INTO t VALUES (1000, 3)").await;
    assert!(site.instance().checkpoint(LONG).unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
    run(&mut s, "INSERT INTO t VALUES (1001, 3)").await;
    // the first one finds that what it stands on is gone, the next stands by itself
    let _ = site.instance().checkpoint(LONG).unwrap();
    run(&mut s, "INSERT INTO t VALUES (1002, 3)").await;
    assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
    assert!(folder.exists());
    // names at the end of the numbers
    let newest = files(&folder).into_iter().rfind(|p| p.extension().is_some_and(|e| e == "rgc")).unwrap();
    std::fs::copy(&newest, folder.join(format!("manifest-{}.rgc", u64::MAX))).unwrap();
    std::fs::write(folder.join(format!("run-{}.rgr", u64::MAX)), b"RGRUN001").unwrap();
    for n in 0..3 {
        run(&mut s, &format!("INSERT INTO t VALUES ({}, 3)", 2000 + n)).await;
        assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
    }
    drop(s);
    site.reopen_with(1, true);
    let status = site.instance().checkpoints();
    assert!(status.damaged.is_empty() && status.opened.values().all(Result::is_ok), "{status:?}");
    assert_eq!(
        run(&mut site.session(), "SELECT count(*) FROM recent").await,
        run(&mut site.session(), "SELECT count(*) FROM t").await
    );
    site.instance = None;
    let found = recomputed(&site).await;
    assert!(found.is_sound(), "{found} {:?}", found.faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_held_is_recomputed_and_not_waited_for() {
    let mut site = site_with_checkpoints(2);
    let mut s = site.session();
    run(&mut s, "CREATE STREAM s (k BIGINT)").await;
    run(&mut s, "INSERT INTO s SELECT i FROM generate_series(1, 2000) AS i").await;
    run(
        &mut s,
        "CREATE MATERIALIZED VIEW held WITH (async, backfill_rate = 0) AS SELECT k % 3 AS k, count(*) AS n FROM s GROUP BY k % 3",
    )
    .await;
    drop(s);
    site.instance = None;
    let report = tokio::time::timeout(LONG, recomputed(&site)).await.expect("it waits for a view that is held");
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}
