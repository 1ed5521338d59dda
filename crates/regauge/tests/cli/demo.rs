//! The README's first command, without a terminal.

use crate::text;
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[test]
fn the_demo_ends_with_one_line_that_says_every_view_is_equal() {
    let ran = Command::new(env!("CARGO_BIN_EXE_regauge")).args(["demo", "flights", "--json"]).output().unwrap();
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let out = text(&ran.stdout);
    let line: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((&line["equal"], &line["views"], &line["events"]), (&true.into(), &4.into(), &367_687.into()), "{out}");
    let digest = line["digest"].as_str().unwrap();
    assert!(digest.len() == 64 && digest.bytes().any(|b| b != b'0'), "{digest}");
    for figure in ["live_events_per_s", "rebuild_events_per_s", "freshness_ms_p50", "freshness_ms_p99"] {
        assert!(line[figure].as_f64().unwrap() > 0.0, "{figure} in {out}");
    }
}

#[test]
fn a_demo_that_is_told_to_stop_leaves_nothing_behind() {
    let tmp = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_regauge"));
    demo.args(["demo", "flights", "--speed", "1"]).env("TMPDIR", tmp.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut demo = demo.spawn().unwrap();
    let begun = Instant::now();
    while std::fs::read_dir(tmp.path()).unwrap().next().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it makes a folder");
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = Command::new("kill").arg(demo.id().to_string()).status().unwrap();
    assert!(told.success());
    assert_eq!(demo.wait().unwrap().code(), Some(1));
    let left: Vec<_> = std::fs::read_dir(tmp.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn without_a_folder_for_temporary_files_it_says_so_and_makes_none() {
    let tmp = tempfile::tempdir().unwrap();
    let missing = tmp.path().join("missing");
    let ran =
        Command::new(env!("CARGO_BIN_EXE_regauge")).args(["demo", "flights", "--json"]).env("TMPDIR", &missing).output().unwrap();
    assert!(!ran.status.success());
    let said = text(&ran.stderr);
    assert!(said.contains("TMPDIR"), "{said}");
    assert!(!missing.exists());
}
