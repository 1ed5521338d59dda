//! A disk without room under the real server: a small tmpfs in a mount namespace of the server's own.

use crate::{
    load::Load,
    not_run, regauge,
    server::{Dice, Server},
    text,
};
use serde_json::json;
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// 2 in CI; `REGAUGE_FULL_ROUNDS=50` for more.
const ROUNDS: &str = "REGAUGE_FULL_ROUNDS";

#[test]
fn a_full_disk_refuses_writes_and_keeps_reads_until_there_is_room() {
    if !may_mount() {
        // Said aloud, not passed over in silence: the simulated disk of the log's tests (`full_disk`) covers the log itself.
        not_run("full_disk", NOT_RUN);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // a checkpoint that ends would make room
    let (server, place) = on_a_small_disk(dir.path(), "4m", &["--checkpoint-every-ms", "0"]);
    server.sql("CREATE STREAM s (k INT, v TEXT)");
    server.sql("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM s");
    server.sql("INSERT INTO s VALUES (1, 'before'); FLUSH");
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
    println!("soak: cases=1 faults=1");
    assert_eq!(server.stop(), Some(0));
}

const NOT_RUN: &str = "no small disk can be mounted here: unshare --map-root-user --mount is not allowed";

/// A server whose folder is on a disk of that size, and the disk as it is seen from here.
fn on_a_small_disk(dir: &Path, size: &str, args: &[&str]) -> (Server, PathBuf) {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c"]);
    command.arg("mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" && shift 2 && exec \"$@\"");
    command.arg("sh").arg(size).arg(dir).arg(env!("CARGO_BIN_EXE_regauge"));
    command.args(["serve", "--pg-port", "0", "--http-port", "0"]).args(args).arg("--data").arg(dir.join("data"));
    // The server's folder is seen through its own root.
    let inside = |pid: u32| PathBuf::from(format!("/proc/{pid}/root{}", dir.display()));
    let server = Server::spawn(command, |pid| inside(pid).join("data"));
    let place = inside(server.child.id());
    (server, place)
}

#[test]
fn a_disk_that_is_full_again_and_again_under_load_loses_nothing() {
    if !may_mount() {
        not_run("full_disk", NOT_RUN);
        return;
    }
    let rounds: u64 = std::env::var(ROUNDS).ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let mut dice = Dice::of_the_environment();
    let dir = tempfile::tempdir().unwrap();
    let (server, place) = on_a_small_disk(dir.path(), "96m", &["--checkpoint-every-ms", "50", "--workers", "2"]);
    let load = Load::new(&server);
    let mut reads = 0;
    for round in 0..rounds {
        let working = load.start(&server);
        let acked = load.acked();
        until("appends are acknowledged", || load.acked() > acked);
        std::thread::sleep(Duration::from_millis(dice.below(200)));
        // the view has something of that: what is read then goes on being there
        server.sql("FLUSH");
        let refused = load.refused();
        fill(&place.join("filler"));
        until("an append is refused for want of room", || load.refused() > refused);
        let begun = Instant::now();
        let long = Duration::from_millis(dice.below(500));
        while reads == 0 || begun.elapsed() < long {
            let n = server.sql("SELECT count(*) FROM s")[0][0].as_u64().unwrap();
            assert!(n > 0 && server.sql("SELECT sum(n) FROM v")[0][0] != json!(null), "round {round}: reads go on");
            reads += 1;
        }
        std::fs::remove_file(place.join("filler")).unwrap();
        let acked = load.acked();
        until("appends are acknowledged again", || load.acked() > acked + 3);
        working.end();
        server.sql("FLUSH");
        load.check(&format!("round {round}"), &server);
    }
    println!(
        "{rounds} times full under load: {} appends refused, {reads} reads answered meanwhile, {} commits acknowledged, none lost",
        load.refused(),
        load.acked()
    );
    println!("soak: cases={} faults={rounds} faults:refused_append={}", load.acked(), load.refused());
    assert_eq!(server.stop(), Some(0));
}

fn until(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
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
