//! `regauge backup`, `restore` and `verify` with the real server, and with kills in the middle.

use crate::{
    regauge,
    server::{Server, post},
    sql, text,
};
use serde_json::json;
use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// 6 in CI; more with `REGAUGE_BACKUP_CYCLES=100`.
const CYCLES: &str = "REGAUGE_BACKUP_CYCLES";

fn of(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn verified(data: &Path) -> String {
    let out = regauge(&["verify", "--all", "--workers", "2", "--data", of(data)]);
    assert_eq!(out.status.code(), Some(0), "{}{}", text(&out.stdout), text(&out.stderr));
    text(&out.stdout).lines().last().unwrap().to_owned()
}

#[test]
fn a_running_server_is_backed_up_restored_and_verified() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (data, to, other) = (dir.path().join("data"), place.path().join("it's backups"), place.path().join("other"));
    let nothing = regauge(&["backup", "--data", of(&data), "--to", of(&to)]);
    assert_eq!(nothing.status.code(), Some(1), "no folder is made by asking for its backup");
    assert!(!data.exists() && !to.exists());
    let server = Server::start_with(&data, &["--checkpoint-every-ms", "20"]);
    server.sql("CREATE TABLE t (k INT PRIMARY KEY, v TEXT)");
    server.sql("CREATE MATERIALIZED VIEW v AS SELECT v, count(*) AS n FROM t GROUP BY v");
    server.sql("CREATE ROLE clerk LOGIN PASSWORD 'a long password'; GRANT SELECT ON t TO clerk");
    server.sql("INSERT INTO t SELECT i, 'v' || i % 3 FROM generate_series(1, 300) AS i");
    let taken = regauge(&["backup", "--data", of(&data), "--to", of(&to), "--json"]);
    assert_eq!(taken.status.code(), Some(0), "{}", text(&taken.stderr));
    let taken: serde_json::Value = serde_json::from_slice(&taken.stdout).unwrap();
    assert_eq!((&taken["backup"], &taken["bytes"]), (&json!(1), &taken["bytes_written"]), "{taken}");
    server.sql("INSERT INTO t VALUES (1000, 'later')");
    // beside the running server: its files, but not its views
    let beside = regauge(&["verify", "--data", of(&data)]);
    assert_eq!(beside.status.code(), Some(0), "{}{}", text(&beside.stdout), text(&beside.stderr));
    let refused = regauge(&["verify", "--all", "--data", of(&data)]);
    assert!(refused.status.code() == Some(1) && text(&refused.stderr).contains("in use"), "{}", text(&refused.stderr));
    let full = regauge(&["restore", "--from", of(&to), "--data", of(&data)]);
    assert!(full.status.code() == Some(1) && text(&full.stderr).contains("not empty"), "{}", text(&full.stderr));
    assert_eq!(server.stop(), Some(0));

    let restored = regauge(&["restore", "--from", of(&to), "--data", of(&other)]);
    assert_eq!(restored.status.code(), Some(0), "{}", text(&restored.stderr));
    let line = verified(&other);
    assert!(line.starts_with("sound: ") && line.contains(" views=1 view_rows=3 tables=1 table_rows=300 "), "{line}");
    let line = verified(&to);
    assert!(line.starts_with("sound: ") && line.contains(" views=1 ") && line.ends_with("faults=0"), "{line}");
    let again = Server::start(&other);
    assert_eq!(again.sql("SELECT count(*) FROM t"), json!([[300]]));
    assert_eq!(again.sql("SELECT v, n FROM v ORDER BY v"), json!([["v0", 100], ["v1", 100], ["v2", 100]]));
    assert_eq!(again.sql("SELECT has_table_privilege('clerk', 't', 'SELECT')"), json!([[true]]));
    assert_eq!(again.stop(), Some(0));
    // the folder that nobody has open, and what is listed
    let closed = regauge(&["backup", "--data", of(&data), "--to", of(&to)]);
    assert_eq!(closed.status.code(), Some(0), "{}", text(&closed.stderr));
    let listed = text(&regauge(&["restore", "--list", "--from", of(&to), "--data", of(&other)]).stdout);
    assert!(listed.contains("backup 1: ") && listed.contains("backup 2: "), "{listed}");
    let first = place.path().join("first");
    assert_eq!(regauge(&["restore", "--from", of(&to), "--backup", "1", "--data", of(&first)]).status.code(), Some(0));
    assert!(text(&sql(&first, "SELECT count(*) FROM t").stdout).contains("300"));
    let newest = place.path().join("newest");
    assert_eq!(regauge(&["restore", "--from", of(&to), "--data", of(&newest)]).status.code(), Some(0));
    assert!(text(&sql(&newest, "SELECT count(*) FROM t").stdout).contains("301"));
}

#[test]
fn damage_is_told_with_what_to_do_next() {
    let dir = tempfile::tempdir().unwrap();
    sql(dir.path(), "CREATE TABLE t (k INT PRIMARY KEY); INSERT INTO t VALUES (1)");
    sql(dir.path(), "INSERT INTO t VALUES (2)");
    assert!(verified(dir.path()).contains("tables=1 table_rows=2"));
    let path = dir.path().join("journal").join(format!("{:020}.rgj", 1));
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    for how in [&["verify", "--data"][..], &["verify", "--all", "--data"]] {
        let out = regauge(&[how, &[of(dir.path())]].concat());
        let (said, wrong) = (text(&out.stdout), text(&out.stderr));
        assert_eq!(out.status.code(), Some(1), "{said}{wrong}");
        assert!(wrong.contains(of(&path)) && wrong.contains("offset=") && wrong.contains("regauge restore"), "{wrong}");
        assert!(said.lines().last().unwrap().starts_with("DAMAGED: "), "{said}");
    }
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(regauge(&["verify", "--data", of(nothing.path())]).status.code(), Some(1), "an empty folder is not sound");
}

/// Rows 0, 1, 2, .. into a stream and a table, until the server is gone.
fn write(address: std::net::SocketAddr, authorization: &str, acked: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let k = acked.load(Ordering::Acquire);
        let pad = "x".repeat(2000);
        let body =
            json!({ "sql": format!("INSERT INTO s VALUES ({k}, '{pad}'); INSERT INTO t VALUES ({k}) ON CONFLICT DO NOTHING") })
                .to_string();
        match post(address, authorization, "/v1/sql", &[], body.as_bytes()) {
            Ok((200, _)) => acked.store(k + 1, Ordering::Release),
            _ => return,
        }
    }
}

#[test]
fn kills_in_the_middle_of_a_backup_leave_whole_backups_only() {
    let cycles: u64 = std::env::var(CYCLES).ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (data, to) = (dir.path().join("data"), place.path().join("backups"));
    let start = || Server::start_with(&data, &["--checkpoint-every-ms", "10", "--workers", "1"]);
    let mut running = Some(start());
    let server = running.as_ref().unwrap();
    server.sql("CREATE STREAM s (k BIGINT, pad TEXT); CREATE TABLE t (k BIGINT PRIMARY KEY)");
    server.sql("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, max(k) AS k FROM s");
    // some bytes that differ, so that a first backup takes its time
    server.sql("INSERT INTO s SELECT -i, repeat(md5(i::text), 40) FROM generate_series(1, 20000) AS i");
    let acked = Arc::new(AtomicU64::new(0));
    let (mut killed_server, mut killed_command, mut told) = (0, 0, 0);
    for cycle in 0..cycles {
        let stop = Arc::new(AtomicBool::new(false));
        let server = running.take().unwrap();
        let writer = {
            let (acked, stop, http, authorization) = (acked.clone(), stop.clone(), server.http, server.authorization.clone());
            std::thread::spawn(move || write(http, &authorization, &acked, &stop))
        };
        let before = acked.load(Ordering::Acquire);
        let mut command = Command::new(env!("CARGO_BIN_EXE_regauge"));
        command.args(["backup", "--data", of(&data), "--to", of(&to)]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_micros(20_000 + cycle.wrapping_mul(7_919_777) % 2_500_000));
        let ended = child.try_wait().unwrap();
        if cycle % 2 == 0 {
            killed_server += 1;
            server.kill();
        } else {
            killed_command += 1;
            let _ = child.kill();
            running = Some(server);
        }
        let status = child.wait().unwrap();
        told += u64::from(status.success());
        stop.store(true, Ordering::Release);
        writer.join().unwrap();
        if running.is_none() {
            running = Some(start());
        }
        // what is there is whole, and what was told to be there is there, with all that was acknowledged before it began
        let whole = std::fs::read_dir(to.join("backup")).map_or(0, |all| {
            let names = all.map(|e| e.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit())).count()
        });
        if whole > 0 {
            let line = verified(&to);
            assert!(line.contains(" views=1 "), "{line}");
        } else {
            assert!(!status.success(), "told to be done");
            let out = regauge(&["verify", "--all", "--data", of(&to)]);
            assert_eq!(out.status.code(), Some(1), "{}{}", text(&out.stdout), text(&out.stderr));
        }
        if status.success() {
            let other = tempfile::tempdir().unwrap();
            let out = regauge(&["restore", "--from", of(&to), "--data", of(other.path())]);
            assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
            let again = Server::start(other.path());
            let n = again.sql("SELECT count(*) FROM t")[0][0].as_u64().unwrap();
            assert!(n >= before, "acknowledged {before}, restored {n}");
            assert_eq!(again.sql("SELECT count(*) FROM s WHERE k >= 0 AND k NOT IN (SELECT k FROM t)"), json!([[0]]));
            assert_eq!(
                again.sql("SELECT count(*) FROM v JOIN (SELECT count(*) AS n, max(k) AS k FROM s) q ON v.n = q.n"),
                json!([[1]])
            );
        }
        assert!(ended.is_none() || ended.is_some_and(|s| s.success()), "cycle {cycle}: the backup failed by itself");
    }
    let out = regauge(&["backup", "--data", of(&data), "--to", of(&to)]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(running.unwrap().stop(), Some(0));
    verified(&to);
    println!(
        "{killed_server} kills of the server and {killed_command} of the command in the middle of a backup; {told} had been told to be done before"
    );
}
