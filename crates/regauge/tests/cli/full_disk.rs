//! A disk without room under the real server: a small tmpfs in a mount namespace of the server's own.

use crate::{regauge, server::Server, text};
use serde_json::json;
use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

#[test]
fn a_full_disk_refuses_writes_and_keeps_reads_until_there_is_room() {
    if !may_mount() {
        // Said aloud, not passed over in silence: the simulated disk of the log's tests (`full_disk`) covers the log itself.
        eprintln!("no small disk can be mounted here: unshare --map-root-user --mount is not allowed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c"]);
    command.arg("mount -t tmpfs -o size=4m tmpfs \"$1\" && exec \"$2\" serve --pg-port 0 --http-port 0 --data \"$1/data\"");
    command.arg("sh").arg(dir.path()).arg(env!("CARGO_BIN_EXE_regauge"));
    // The server's folder is seen through its own root.
    let inside = |pid: u32| PathBuf::from(format!("/proc/{pid}/root{}", dir.path().display()));
    let server = Server::spawn(command, |pid| inside(pid).join("data"));
    let place = inside(server.child.id());
    server.sql("CREATE STREAM s (k INT, v TEXT)");
    server.sql("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM s");
    server.sql("INSERT INTO s VALUES (1, 'before')");
    fill(&place.join("filler"));

    let body = format!("{{\"k\": 2, \"v\": \"{}\"}}\n", "x".repeat(200_000));
    let producer = [("regauge-producer", "p"), ("regauge-sequence", "0")];
    let (status, refused) = server.post("/v1/topics/s/records", &producer, body.as_bytes()).unwrap();
    assert_eq!((status, &refused["code"]), (507, &json!("53100")), "{refused}");
    assert!(refused["hint"].as_str().unwrap().contains("make room"), "{refused}");
    assert_eq!(server.sql("SELECT k, v FROM s"), json!([[1, "before"]]), "reads go on");
    assert_eq!(server.sql("SELECT n FROM v"), json!([[1]]));
    let file = tempfile::NamedTempFile::with_suffix(".ndjson").unwrap();
    std::fs::write(file.path(), &body).unwrap();
    let data = place.join("data");
    let append = regauge(&["append", "s", file.path().to_str().unwrap(), "--data", data.to_str().unwrap()]);
    assert_eq!(append.status.code(), Some(1));
    assert!(text(&append.stderr).contains("53100"), "{}", text(&append.stderr));

    std::fs::remove_file(place.join("filler")).unwrap();
    let (status, stored) = server.post("/v1/topics/s/records", &producer, body.as_bytes()).unwrap();
    assert_eq!((status, &stored["duplicate"]), (200, &json!(false)), "writes resume by themselves: {stored}");
    assert_eq!(server.sql("SELECT k FROM s ORDER BY k"), json!([[1], [2]]));
    server.sql("FLUSH");
    assert_eq!(server.sql("SELECT n FROM v"), json!([[2]]));
    assert_eq!(server.stop(), Some(0));
}

fn may_mount() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /tmp"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Takes all room that is left.
fn fill(path: &std::path::Path) {
    let mut file = std::fs::File::create(path).unwrap();
    while file.write(&[0; 4096]).is_ok() {}
}
