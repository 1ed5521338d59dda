//! Two processes over loopback: the test starts this binary twice again, each half feeds rows of its own, and the union of what both
//! publish is the answer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;

use arrow::datatypes::DataType;
use regauge_flow::engine::{Cluster, Engine, Feed, History, Install};
use regauge_plan::flowplan::*;
use regauge_state::trace::TraceReader;
use regauge_types::{Delta, Epoch};

use crate::call;
use crate::drive::{Rng, history, on, plan, random_row, source};
use crate::naive::evaluate;
use crate::run::*;
use crate::value::*;

const ROLE: &str = "REGAUGE_TEST_CLUSTER";
const WORKERS: usize = 2;
/// What a process says when it has found the others.
const MET: &str = "the processes have met";

fn joined_and_grouped() -> FlowPlan {
    let mut p = plan(2, false);
    let j = on(&mut p, Op::Join { kind: JoinKind::Left, on: vec![(0, 0)], nulls_equal: false, residual: None }, vec![0, 1]);
    let calls = vec![call(AggFunc::Count, &[], DataType::Int64), call(AggFunc::Max, &[9], DataType::Float64)];
    on(&mut p, Op::Aggregate { keys: vec![1], aggs: calls }, vec![j]);
    p
}

fn global() -> FlowPlan {
    let mut p = plan(1, false);
    on(&mut p, Op::Aggregate { keys: vec![], aggs: vec![call(AggFunc::Count, &[], DataType::Int64)] }, vec![0]);
    p
}

fn epochs() -> Vec<Vec<Change>> {
    history(&mut Rng(11), 2, 8, 60, true, 6)
}

/// What one process does: half of the rows of each epoch, and what it has published at each.
#[test]
fn one_process_of_a_cluster() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut parts = role.split(' ');
    let process: usize = parts.next().unwrap().parse().unwrap();
    let addresses: Vec<String> = parts.map(str::to_owned).collect();
    let n = addresses.len();
    let engine = start(WORKERS, Some(Cluster { process, addresses }), regauge_types::env::Env::real());
    println!("{MET}");
    failures_are_heard_of_in_both(&engine, process);
    let epochs = epochs();
    let plans = [joined_and_grouped(), global()];
    // the past is the same log for both; each worker of the cluster reads its share
    let readers: Vec<_> = plans.iter().zip(1..).map(|(p, id)| install(&engine, id, p, &epochs[0], 1)).collect();
    let kept: Vec<_> = readers.iter().map(|r| r.pin(Epoch(1)).unwrap()).collect();
    for (i, changes) in epochs[1..].iter().enumerate() {
        let mine: Vec<Change> = changes.iter().enumerate().filter(|(i, _)| i % n == process).map(|(_, c)| c.clone()).collect();
        for (p, id) in plans.iter().zip(1..) {
            engine.feed(id, Epoch(i as u64 + 2), by_topic(&mine, p.nodes[0].append_only));
        }
    }
    let mut out = std::io::stdout().lock();
    for epoch in 1..=epochs.len() as u64 {
        for (i, reader) in readers.iter().enumerate() {
            let (rows, errors) = at(reader, epoch);
            assert!(errors.is_empty(), "{errors:?}");
            rows.iter().for_each(|(row, n)| writeln!(out, "row {i} {epoch} {n} {row:?}").unwrap());
        }
    }
    writeln!(out, "end").unwrap();
    out.flush().unwrap();
    drop(kept);
    // a dropped flow is dropped in all processes before they stop
    engine.drop_flow(1);
    drop(engine);
}

/// A past that one worker cannot read.
struct Damaged;

impl History for Damaged {
    fn open(&self, worker: usize, _: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        let damaged = (worker == 0).then(|| Err("bytes are damaged".to_owned()));
        Box::new(damaged.into_iter())
    }
}

/// Flows that fail in one process: readers in the other hear why, and the flows after them are not touched.
fn failures_are_heard_of_in_both(engine: &Engine, process: usize) {
    let failure = |reader: &TraceReader, epoch, told: &str, elsewhere: bool| {
        let why = reader.wait(Epoch(epoch), LONG).expect_err("the failure is heard of in time").to_string();
        assert!(why.contains(told), "process {process}: {why}");
        assert_eq!(why.contains("in another process"), elsewhere, "process {process}: {why}");
    };
    // in the first stage, while nobody has come to the end of an epoch: worker 0 is of process 0
    let p = joined_and_grouped();
    let feeds = p.sources().into_iter().map(|id| (id, Feed::History(Arc::new(Damaged)))).collect();
    let reader = engine.install(Install { id: 101, plan: p, sources: feeds, as_of: Epoch(1), restore: None }).unwrap();
    failure(&reader, 1, "past cannot be read: bytes are damaged", process != 0);
    // in the last stage, which has nobody behind it: all rows of flow 102 are on worker 102 mod 4, which is of process 1
    let p = global();
    let reader = install(engine, 102, &p, &[], 1);
    let row = || (0, random_row(&mut Rng(1), 3), -1);
    let mine: Vec<Change> = if process == 0 { vec![row()] } else { vec![] };
    engine.feed(102, Epoch(2), by_topic(&mine, false));
    // the shards of process 0 are complete at 2: they have no rows of it; what comes after must not be waited for
    failure(&reader, 3, "negative multiplicity in aggregate", process != 1);
    engine.drop_flow(101);
    engine.drop_flow(102);
}

/// Addresses at ports below those that the system hands out (32768 and up on Linux), so that nobody gets one by chance before the processes
/// listen there. Tests that run at the same time look for them at different places.
fn free_addresses(n: usize) -> Vec<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let from = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(100, Ordering::Relaxed)) % 12_000;
    let all = (0..12_000).map(|n| 20_000 + (n + from) % 12_000);
    let held: Vec<TcpListener> = all.filter_map(|port| TcpListener::bind(format!("127.0.0.1:{port}")).ok()).take(n).collect();
    held.iter().map(|l| l.local_addr().unwrap().to_string()).collect()
}

/// What both processes of a cluster tell, line by line, and which of them; nothing if one of them ended before they had found each other, as it does
/// when somebody else has its port.
fn told_by_both() -> Option<Vec<(usize, String)>> {
    let addresses = free_addresses(2);
    let me = std::env::current_exe().unwrap();
    let mut children: Vec<_> = (0..2)
        .map(|process| {
            Command::new(&me)
                .args(["--exact", "cluster::one_process_of_a_cluster", "--nocapture", "--test-threads=1"])
                .env(ROLE, format!("{process} {}", addresses.join(" ")))
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let outs: Vec<_> = children.iter_mut().map(|child| BufReader::new(child.stdout.take().unwrap())).collect();
    let (tell, heard) = channel();
    let told = std::thread::scope(|scope| {
        for (process, out) in outs.into_iter().enumerate() {
            let tell = tell.clone();
            scope.spawn(move || {
                out.lines().for_each(|line| tell.send((process, Some(line.unwrap()))).unwrap());
                tell.send((process, None)).unwrap();
            });
        }
        let (mut told, mut met, mut n_over) = (vec![], [false; 2], 0);
        while n_over < children.len() {
            match heard.recv().unwrap() {
                (process, Some(line)) => {
                    met[process] |= line.ends_with(MET);
                    told.push((process, line));
                }
                (_, None) if met == [true; 2] => n_over += 1,
                (_, None) => {
                    // the other one would look for it for ever
                    children.iter_mut().for_each(|child| child.kill().unwrap());
                    return None;
                }
            }
        }
        Some(told)
    });
    for child in &mut children {
        let ended = child.wait().unwrap();
        assert!(told.is_none() || ended.success());
    }
    told
}

#[test]
fn two_processes_publish_the_answer_together() {
    let told = told_by_both().or_else(told_by_both).expect("both begin");
    // (plan, epoch) to rows as text
    let mut union: BTreeMap<(usize, u64), BTreeMap<String, i64>> = BTreeMap::new();
    let (mut shares, mut ended) = ([0; 2], [false; 2]);
    for (process, line) in &told {
        // the harness begins its line without an end
        let line = line.find("row ").filter(|i| line[..*i].ends_with("... ") || *i == 0).map_or(&**line, |i| &line[i..]);
        ended[*process] |= line == "end";
        let Some(rest) = line.strip_prefix("row ") else { continue };
        let mut words = rest.splitn(4, ' ');
        let mut number = || words.next().unwrap().parse::<i64>().unwrap();
        let (i, epoch, n) = (number() as usize, number() as u64, number());
        *union.entry((i, epoch)).or_default().entry(words.next().unwrap().to_owned()).or_default() += n;
        shares[*process] += 1;
    }
    assert_eq!(ended, [true; 2], "both processes came to their end");
    assert!(shares.iter().all(|n| *n > 0), "both hold a part: {shares:?}");
    let mut sources: BTreeMap<SourceId, Bag> = BTreeMap::new();
    for (i, changes) in epochs().iter().enumerate() {
        for (s, row, d) in changes {
            add(sources.entry(source(*s)).or_default(), row.clone(), *d);
        }
        for (no, p) in [joined_and_grouped(), global()].iter().enumerate() {
            let (rows, _) = evaluate(p, &sources);
            let expected: BTreeMap<String, i64> = rows.iter().map(|(row, n)| (format!("{row:?}"), *n)).collect();
            let got = union.remove(&(no, i as u64 + 1)).unwrap_or_default();
            assert_eq!(got, expected, "plan {no}, epoch {}", i + 1);
        }
    }
}
