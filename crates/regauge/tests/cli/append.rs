//! `regauge append`: into a folder, and through the server that holds it.

use crate::{regauge, server::Server, sql, text};
use arrow::array::{Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use std::{fmt::Write, path::Path, sync::Arc};

/// The same 25 rows in three formats.
fn files(dir: &Path) {
    let mut ndjson = String::new();
    let mut csv = String::from("v,k\r\n");
    for k in 0..25 {
        writeln!(ndjson, "{{\"k\": {k}, \"v\": \"v{k}\"}}").unwrap();
        write!(csv, "\"v{k}\",{k}\r\n").unwrap();
    }
    std::fs::write(dir.join("rows.ndjson"), ndjson).unwrap();
    std::fs::write(dir.join("rows.csv"), csv).unwrap();
    let batch = RecordBatch::try_from_iter([
        ("k", Arc::new(Int64Array::from_iter_values(0..25)) as _),
        ("v", Arc::new(StringArray::from_iter_values((0..25).map(|k| format!("v{k}")))) as _),
    ])
    .unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(dir.join("rows.parquet")).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

const CHECK: &str = "SELECT count(*), count(DISTINCT k), sum(k), bool_and(v = 'v' || k) FROM t";

#[test]
fn three_formats_hold_the_same_rows() {
    for name in ["rows.ndjson", "rows.csv", "rows.parquet"] {
        for through_server in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            files(dir.path());
            let data = dir.path().join("data");
            sql(&data, "CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT)");
            let server = through_server.then(|| Server::start(&data));
            let file = dir.path().join(name);
            let done =
                regauge(&["append", "t", file.to_str().unwrap(), "--batch", "10", "--json", "--data", data.to_str().unwrap()]);
            assert!(done.status.success(), "{name}: {}", text(&done.stderr));
            let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
            assert_eq!(
                (&report["rows"], &report["batches"], &report["through_server"]),
                (&25.into(), &3.into(), &through_server.into())
            );
            let shown = match server {
                Some(server) => {
                    let rows = server.sql(CHECK);
                    assert_eq!(server.stop(), Some(0));
                    rows
                }
                None => {
                    let server = Server::start(&data);
                    server.sql(CHECK)
                }
            };
            assert_eq!(shown, serde_json::json!([[25, 25, "300", true]]), "{name} through_server={through_server}");
        }
    }
}

#[test]
fn a_wrong_row_is_named_by_file_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    sql(&data, "CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT)");
    let cases = [
        ("bad.ndjson", "{\"k\": 1}\n\n{\"k\": 2}\n{\"k\": \"x\"}\n", ":4: column k", "22P02"),
        ("bad.csv", "k,v\n3,a\n4,\"b\nc\"\n5\n", ":5", "22P04"),
        ("bad2.csv", "k,w\n6,a\n", ":1: column w", "42703"),
    ];
    for through_server in [false, true] {
        let server = through_server.then(|| Server::start(&data));
        for (name, content, place, code) in cases {
            let file = dir.path().join(name);
            std::fs::write(&file, content).unwrap();
            let failed = regauge(&[
                "append",
                "t",
                file.to_str().unwrap(),
                "--batch",
                "2",
                "--data",
                data.to_str().unwrap(),
                "--producer",
                name,
            ]);
            let error = text(&failed.stderr);
            assert_eq!(failed.status.code(), Some(1), "{error}");
            assert!(error.contains(&format!("{name}{place}")) && error.contains(code), "{through_server} {error}");
        }
        // which takes its run file away: the folder is nobody's then
        if let Some(server) = server {
            assert_eq!(server.stop(), Some(0));
        }
    }
    let rows = text(&sql(&data, "SELECT k FROM t ORDER BY k").stdout);
    assert!(rows.contains("(4 rows)"), "the batches before the wrong one are stored, once: {rows}");
}

#[test]
fn a_run_under_a_producer_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    files(dir.path());
    let data = dir.path().join("data");
    sql(&data, "CREATE STREAM t (k BIGINT, v TEXT)");
    let file = dir.path().join("rows.csv");
    let run = || {
        let done = regauge(&[
            "append",
            "t",
            file.to_str().unwrap(),
            "--batch",
            "2",
            "--json",
            "--producer",
            "p",
            "--data",
            data.to_str().unwrap(),
        ]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        (report["rows"].as_u64().unwrap(), report["rows_stored_before"].as_u64().unwrap())
    };
    assert_eq!(run(), (25, 0));
    assert_eq!(run(), (0, 25));
    let server = Server::start(&data);
    assert_eq!(run(), (0, 25));
    assert_eq!(server.sql("SELECT count(*) FROM t"), serde_json::json!([[25]]));
}

#[test]
fn what_cannot_be_appended_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    sql(&data, "CREATE TABLE t (k BIGINT PRIMARY KEY)");
    let cases: [(&[&str], i32, &str); 4] = [
        (&["t", "nothing.ndjson"], 1, "cannot read"),
        (&["t", "rows.xml"], 1, "--format"),
        (&["nothing", "-"], 1, "42P01"),
        (&["t"], 2, "FILE"),
    ];
    std::fs::write(dir.path().join("rows.xml"), "").unwrap();
    for (args, code, what) in cases {
        let mut all = vec!["append", "--data", data.to_str().unwrap()];
        all.extend_from_slice(args);
        let failed = crate::with_input(&all, b"{\"k\": 1}\n");
        assert_eq!(failed.status.code(), Some(code), "{args:?}: {}", text(&failed.stderr));
        assert!(text(&failed.stderr).contains(what), "{args:?}: {}", text(&failed.stderr));
    }
    let fine = crate::with_input(&["append", "t", "-", "--data", data.to_str().unwrap()], b"{\"k\": 1}\n");
    assert!(fine.status.success(), "{}", text(&fine.stderr));
}
