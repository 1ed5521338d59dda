//! A real process, really killed. The child is this test binary itself: it appends from three threads and prints each acknowledgement.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use regauge_log::testing::SimRandom;
use regauge_log::{Log, LogOptions};
use regauge_types::Env;

use crate::common::*;

const DIR: &str = "REGAUGE_KILL_DIR";
const CYCLES: &str = "REGAUGE_KILL_CYCLES";
const THREADS: i64 = 3;
const SPAN: i64 = 1_000_000;

fn options() -> LogOptions {
    LogOptions { journal_file_bytes: 64 << 10, mark_idle: Some(Duration::from_millis(3)), ..LogOptions::default() }
}

/// How many rows of each thread a log holds; panics unless they are 0, 1, 2, ... once each.
fn stored(log: &Log) -> Vec<i64> {
    let mut next = vec![0; THREADS as usize];
    for commit in all(log).unwrap() {
        for id in ids_of(&commit) {
            let thread = (id / SPAN) as usize;
            assert_eq!(id % SPAN, next[thread], "lost, doubled or out of order: thread {thread} lsn {}", commit.lsn);
            next[thread] += 1;
        }
    }
    next
}

#[test]
#[ignore = "run as a child by kill_minus_nine_loses_and_doubles_nothing"]
fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let log = Log::open(Env::real(), &dir, options()).unwrap();
    if log.topics().is_empty() {
        log.commit(define(&[topic(1, 3)])).unwrap();
    }
    let next = stored(&log);
    std::thread::scope(|scope| {
        for (thread, next) in next.into_iter().enumerate() {
            let log = &log;
            scope.spawn(move || {
                for n in next.. {
                    let id = thread as i64 * SPAN + n;
                    let receipt = log.commit(by(append(1, &[id]), &format!("thread {thread}"), 1, n as u64)).unwrap();
                    assert!(!receipt.duplicate);
                    // One write a line, so that a kill tears no line that was told.
                    std::io::stdout().lock().write_all(format!("\nack {id} {}\n", receipt.lsn).as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn kill_minus_nine_loses_and_doubles_nothing() {
    let cycles: u64 = std::env::var(CYCLES).ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let dir = tempfile::tempdir().unwrap();
    let seed = std::env::var("REGAUGE_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let random = SimRandom::new(seed);
    let mut acked: HashMap<i64, u64> = HashMap::new();
    for cycle in 0..cycles {
        run_and_kill(dir.path(), Duration::from_micros(random.below(40_000)), &mut acked);
        let log = Log::open(Env::real(), dir.path(), options()).unwrap_or_else(|e| panic!("cycle {cycle}: {e}"));
        let next = stored(&log);
        for (id, lsn) in &acked {
            assert!(id % SPAN < next[(id / SPAN) as usize], "cycle {cycle}: acknowledged row {id} of lsn {lsn} is lost");
        }
        for (thread, next) in next.into_iter().enumerate().filter(|(_, next)| *next > 0) {
            let last = thread as i64 * SPAN + next - 1;
            let again = log.commit(by(append(1, &[last]), &format!("thread {thread}"), 1, next as u64 - 1)).unwrap();
            assert!(again.duplicate, "cycle {cycle}: a retry of the last append was stored again");
            assert!(acked.get(&last).is_none_or(|lsn| *lsn == again.lsn.0));
        }
    }
    println!("seed {seed}: {cycles} kills, {} acknowledged appends, none lost, none doubled", acked.len());
    assert!(acked.len() as u64 >= cycles, "the child hardly got to work");
}

/// Starts the child, lets it work for `time` after its first acknowledgement, kills it, collects what it told.
fn run_and_kill(dir: &Path, time: Duration, acked: &mut HashMap<i64, u64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut read = |acked: &mut HashMap<i64, u64>| {
        for line in lines.by_ref() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            if let ["ack", id, lsn] = words[..] {
                acked.insert(id.parse().unwrap(), lsn.parse().unwrap());
                return true;
            }
        }
        false
    };
    assert!(read(acked), "the child ended by itself");
    Env::real().clock.sleep(time);
    // SIGKILL: nothing of the process runs after it.
    child.kill().unwrap();
    while read(acked) {}
    child.wait().unwrap();
}
