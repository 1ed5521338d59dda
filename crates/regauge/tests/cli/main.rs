//! The binary as a newcomer uses it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod append;
mod backfill;
mod backup;
mod demo;
mod full_disk;
mod inspect;
mod kill;
mod ledger;
mod load;
mod money;
mod power;
mod refusals;
mod secrets;
mod server;
mod shell;
mod sinks;

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Says that a test cannot run on this machine, and why: to `cargo xtask soak`, and to `cargo xtask test`, which repeats it at its end
/// (libtest hides what a test that passes has printed).
#[allow(clippy::print_stdout, reason = "for whoever runs it")]
fn not_run(test: &str, why: &str) {
    println!("soak: not run: {why}");
    if let Some(file) = std::env::var_os("REGAUGE_NOT_RUN") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        writeln!(file, "{test}: {why}").unwrap();
    }
}

fn sql(data: &Path, text: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_regauge")).args(["sql", "--data"]).arg(data).args(["-c", text]).output().unwrap()
}

fn regauge(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_regauge")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn with_input(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_regauge"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that ends early does not read all.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_one_run_wrote_the_next_one_reads() {
    let dir = tempfile::tempdir().unwrap();
    let made = sql(dir.path(), "CREATE TABLE t (k INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'one'), (2, 'two')");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let read = sql(dir.path(), "SELECT v FROM t WHERE k = 2");
    assert!(text(&read.stdout).contains("two") && text(&read.stdout).contains("(1 rows)"), "{}", text(&read.stdout));
}

#[test]
fn a_wrong_statement_says_why_and_exits_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = sql(dir.path(), "SELECT * FROM nothing_here");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("42P01"), "{}", text(&wrong.stderr));
}
