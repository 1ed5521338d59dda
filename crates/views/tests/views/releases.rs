//! What another release wrote is told from what is damaged, by both versions: checkpoints are built again, backups are refused.
#![allow(clippy::disallowed_methods, reason = "it changes files of real folders")]

use crate::common::{run, site_with_checkpoints};
use regauge_log::folder::{FORMAT_VERSION, format_text};
use regauge_types::Env;
use regauge_views::{
    Config, Instance,
    backup::{self, Vault},
};
use std::{path::PathBuf, time::Duration};

const LONG: Duration = Duration::from_secs(60);

/// Files of a folder whose names end so.
fn files(dir: &std::path::Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_release_is_told_by_both_versions_and_built_again() {
    let mut site = site_with_checkpoints(2);
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (k INT PRIMARY KEY, n INT); CREATE MATERIALIZED VIEW v AS SELECT sum(n) AS n FROM t").await;
    run(&mut s, "INSERT INTO t VALUES (1, 10), (2, 20); FLUSH").await;
    assert!(site.instance().checkpoint(LONG).unwrap());
    drop(s);
    site.instance = None;
    let own = regauge_state::checkpoint::FORMAT_VERSION;
    for other in [own + 1, own - 1, 900] {
        for path in files(&site.dir.path().join("checkpoint"), ".rgc") {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[8..12].copy_from_slice(&other.to_le_bytes());
            let hash = blake3::hash(&[&bytes[..20], &bytes[36..]].concat());
            bytes[20..36].copy_from_slice(&hash.as_bytes()[..16]);
            std::fs::write(&path, bytes).unwrap();
        }
        site.reopen();
        let told = site.instance().checkpoints().damaged;
        let both = format!("format of another release version={other} supported={own}");
        assert!(!told.is_empty() && told.iter().all(|text| text.contains(&both)), "{told:?}");
        let mut s = site.session();
        run(&mut s, "FLUSH").await;
        assert_eq!(run(&mut s, "SELECT n FROM v").await, ["30"]);
        drop(s);
        site.instance = None;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_newer_release_is_refused_by_both_versions_and_nothing_is_written() {
    let site = site_with_checkpoints(1);
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (k INT PRIMARY KEY); INSERT INTO t VALUES (1); FLUSH").await;
    let target = tempfile::tempdir().unwrap();
    run(&mut s, &format!("BACKUP TO '{}'", target.path().display())).await;
    let dataset = site.instance().log().dataset();
    let env = Env::real();
    let restore = |to: &std::path::Path| backup::restore(&env, &Vault::in_folder(&env, target.path()), None, to).map(drop);
    let manifest = files(&target.path().join("backup"), "").pop().unwrap();
    let whole = std::fs::read_to_string(&manifest).unwrap();
    let json = whole.split_once('\n').unwrap().0;
    let signed = |json: &str| format!("{json}\nblake3 {}\n", blake3::hash(json.as_bytes()).to_hex());
    assert_eq!(whole, signed(json));
    let refused = |text: &str, both: &str| {
        std::fs::write(&manifest, text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let error = restore(folder.path()).unwrap_err();
        assert_eq!(error.sqlstate, "0A000", "{error}");
        assert!(error.to_string().contains(both) && error.hint.is_some(), "{error}");
        assert!(files(folder.path(), "").is_empty(), "something was written");
    };
    // The backup's own format.
    let newer = json.replacen("\"format\":1", "\"format\":7", 1);
    assert_ne!(newer, json);
    refused(&signed(&newer), "found=7 supported=1");
    // That of the folder within it.
    let (now, then) = (format_text(FORMAT_VERSION, dataset), format_text(FORMAT_VERSION + 1, dataset));
    let (now, hash) = (blake3::hash(now.as_bytes()).to_hex(), blake3::hash(then.as_bytes()).to_hex());
    let newer = json.replace(now.as_str(), hash.as_str());
    assert_ne!(newer, json);
    let chunk = target.path().join("chunk").join(&hash[..2]).join(hash.as_str());
    std::fs::create_dir_all(chunk.parent().unwrap()).unwrap();
    std::fs::write(&chunk, &then).unwrap();
    refused(&signed(&newer), &format!("found={} supported={FORMAT_VERSION}", FORMAT_VERSION + 1));
    // As it was it is restored, and one of an older format as well: that is how the folder begins, and opening makes it one of now.
    let old = format_text(1, dataset);
    let hash = blake3::hash(old.as_bytes()).to_hex();
    let chunk = target.path().join("chunk").join(&hash[..2]).join(hash.as_str());
    std::fs::create_dir_all(chunk.parent().unwrap()).unwrap();
    std::fs::write(&chunk, &old).unwrap();
    for text in [whole.clone(), signed(&json.replace(now.as_str(), hash.as_str()))] {
        std::fs::write(&manifest, text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        restore(folder.path()).unwrap();
        let restored = Instance::open(Config::new(folder.path()).workers(1)).unwrap();
        let mut s = restored.session(regauge_views::SessionOptions::default()).unwrap();
        assert_eq!(run(&mut s, "SELECT k FROM t").await, ["1"]);
        let now = std::fs::read_to_string(folder.path().join("FORMAT")).unwrap();
        assert!(now.contains(&format!("format {FORMAT_VERSION}\n")), "{now}");
    }
}
