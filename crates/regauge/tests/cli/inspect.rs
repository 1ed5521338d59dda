//! `regauge inspect`.

use crate::{regauge, server::Server, sql, text};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn inspect(data: &Path, what: &str) -> (Option<i32>, Value, String) {
    let out = regauge(&["inspect", what, "--json", "--data", data.to_str().unwrap()]);
    (out.status.code(), serde_json::from_slice(&out.stdout).unwrap_or(Value::Null), text(&out.stderr))
}

fn journal_file(data: &Path) -> PathBuf {
    data.join("journal").join(format!("{:020}.rgj", 1))
}

#[test]
fn the_journal_and_the_catalog_are_told_beside_a_running_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.sql("CREATE TABLE t (k INT PRIMARY KEY)");
    server.sql("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t");
    for k in 0..10 {
        server.sql(&format!("INSERT INTO t VALUES ({k}), ({})", k + 100));
    }
    let (code, log, error) = inspect(dir.path(), "log");
    assert_eq!(code, Some(0), "{error}");
    let file = &log["files"][0];
    assert_eq!((&file["first_lsn"], &file["damage"]), (&1.into(), &Value::Null), "{log}");
    assert_eq!(file["last_lsn"], file["commits"]);
    assert!(file["rows"].as_u64().unwrap() >= 22 && file["last_lsn"].as_u64().unwrap() >= 12, "{log}");
    let (code, catalog, error) = inspect(dir.path(), "catalog");
    assert_eq!(code, Some(0), "{error}");
    let kinds: Vec<&str> = catalog["events"].as_array().unwrap().iter().map(|e| e["event"]["event"].as_str().unwrap()).collect();
    assert_eq!(kinds[0], "table_created", "{catalog}");
    assert!(kinds.contains(&"version_added") && catalog.to_string().contains("count(*)"), "{catalog}");
    assert_eq!(inspect(dir.path(), "archive").0, Some(0));
    assert_eq!(server.stop(), Some(0));
    let shown = regauge(&["inspect", "catalog", "--data", dir.path().to_str().unwrap()]);
    assert!(text(&shown.stdout).contains("table t (topic 1): k integer"), "{}", text(&shown.stdout));
}

#[test]
fn damage_is_named_with_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    sql(dir.path(), "CREATE TABLE t (k INT PRIMARY KEY); INSERT INTO t VALUES (1)");
    sql(dir.path(), "INSERT INTO t VALUES (2)");
    let path = journal_file(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let (_, log, _) = inspect(dir.path(), "log");
    let end = log["files"][0]["whole_bytes"].as_u64().unwrap();
    assert_eq!(end, whole.len() as u64);
    let mut bytes = whole.clone();
    let at = bytes.len() * 2 / 3;
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (code, log, error) = inspect(dir.path(), "log");
    assert_eq!(code, Some(1), "{log}");
    assert!(error.contains(path.to_str().unwrap()) && error.contains("offset="), "{error}");
    let offset: u64 = error.split("offset=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!(offset <= at as u64, "{error}");
    assert!(log["files"][0]["damage"].is_string(), "the figures are told all the same: {log}");
    assert_eq!(inspect(dir.path(), "catalog").0, Some(1));
    // A file that was cut below the mark.
    std::fs::write(&path, &whole[..at]).unwrap();
    assert_eq!(inspect(dir.path(), "log").0, Some(1));
    // A write that never finished is no damage.
    std::fs::write(&path, [&whole[..], b"RGF1 and no more"].concat()).unwrap();
    let (code, log, error) = inspect(dir.path(), "log");
    assert_eq!(code, Some(0), "{error}");
    assert!(log["files"][0]["torn"].is_string(), "{log}");
    assert!(sql(dir.path(), "SELECT 1").status.success());
}

#[test]
fn a_rotten_segment_of_the_archive_is_named() {
    let dir = tempfile::tempdir().unwrap();
    {
        let instance = regauge_views::Instance::open(regauge_views::Config::new(dir.path())).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(16 << 20).enable_all().build().unwrap();
        let mut session = instance.session(regauge_views::SessionOptions::default()).unwrap();
        runtime.block_on(session.execute("CREATE STREAM s (k INT); INSERT INTO s VALUES (1), (2), (3)")).unwrap();
        instance.log().archive_now().unwrap();
    }
    let (code, archive, error) = inspect(dir.path(), "archive");
    assert_eq!(code, Some(0), "{error}");
    let segments = archive["segments"].as_array().unwrap();
    let rows: u64 = segments.iter().map(|s| s["rows"].as_u64().unwrap()).sum();
    assert!(rows >= 4, "{archive}");
    let object = segments.last().unwrap()["object"].as_str().unwrap();
    let path = dir.path().join("archive").join(object);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (code, _, error) = inspect(dir.path(), "archive");
    assert!(code == Some(1) && error.contains(object), "{error}");
}

#[test]
fn a_folder_that_is_none_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = dir.path().join("nothing");
    let out = regauge(&["inspect", "log", "--data", nothing.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("no data folder"), "{}", text(&out.stderr));
    assert!(!nothing.exists());
}
