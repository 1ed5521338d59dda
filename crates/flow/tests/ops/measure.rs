//! What the engine costs, to be looked at and not asserted: `cargo test --workspace --test ops -- --ignored --nocapture measure`.
//! A debug build tells little; say which profile with the figures.

use std::time::{Duration, Instant};

use arrow::datatypes::DataType;
use regauge_flow::ops::Serial;
use regauge_plan::flowplan::*;
use regauge_state::trace::published;
use regauge_types::{Delta, Epoch, TopicId};

use crate::call;
use crate::drive::{base, on, plan, source};
use crate::run::*;
use crate::value::*;

/// User and system time of this process, in steps of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: u64 =
        stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn rows(from: i128, n: i128, n_keys: i128) -> Vec<(Row, i64)> {
    let row =
        |i: i128| vec![V::Int(i % n_keys), V::Text("k".into()), float(1.5), V::Int(1), V::Int(i), V::Bool(true), V::Int(100)];
    (from..from + n).map(|i| (row(i), 1)).collect()
}

/// A source, eight maps, a count by key: ten operators.
fn ten() -> FlowPlan {
    let mut p = plan(1, true);
    for i in 0..8 {
        on(&mut p, Op::Map { filter: None, exprs: None }, vec![i]);
    }
    on(&mut p, Op::Aggregate { keys: vec![0], aggs: vec![call(AggFunc::Count, &[], DataType::Int64)] }, vec![8]);
    p
}

fn report(what: &str, n: usize, wall: Duration, cpu: Duration, mut waits: Vec<Duration>) {
    waits.sort();
    let at = |p: f64| waits.get((waits.len() as f64 * p) as usize).copied().unwrap_or_default();
    let per = |d: Duration| d.as_secs_f64() * 1e6 / n as f64;
    println!("{what}: wall_us_each={:.2} cpu_us_each={:.2} p50={:?} p99={:?}", per(wall), per(cpu), at(0.5), at(0.99));
}

#[test]
#[ignore = "prints figures"]
fn measure() {
    const EPOCHS: usize = 10_000;
    let p = ten();
    let small: Vec<Delta> = (0..EPOCHS).map(|i| fed(&rows(i as i128, 1, 1000), true)).collect();
    let large: Vec<Delta> = (0..123).map(|i| fed(&rows(i * 8192, 8192, 100_000), true)).collect();

    let direct = |epochs: Vec<Vec<Delta>>, what: &str, n: usize| {
        let mut serial = Serial::new(&p).unwrap();
        let (mut publishers, reader) = published(p.schema(), None, 1);
        let (start, before) = (Instant::now(), cpu());
        let mut waits = vec![];
        for (epoch, deltas) in (1..).zip(epochs) {
            let begin = Instant::now();
            let inputs: Vec<_> = deltas.into_iter().map(|d| (source(0), delta_under(&d))).collect();
            for d in serial.step(&inputs).unwrap().deltas {
                let rows = arrow::array::RecordBatch::try_new(p.schema(), d.rows.columns().to_vec()).unwrap();
                publishers[0].publish(Epoch(epoch), d.with_rows(rows), vec![]).unwrap();
            }
            publishers[0].advance(Epoch(epoch)).unwrap();
            waits.push(begin.elapsed());
        }
        report(what, n, start.elapsed(), cpu() - before, waits);
        drop(reader);
    };
    direct(small.iter().map(|d| vec![d.clone()]).collect(), "direct calls, epochs of 1 row", EPOCHS);
    direct(vec![large.clone()], "direct calls, 1 M rows in one epoch, per row", 123 * 8192);

    for workers in [1, 2] {
        let engine = engine(workers);
        let reader = install(&engine, 1, &p, &[], 1);
        at(&reader, 1);
        let (start, before, mut waits) = (Instant::now(), cpu(), vec![]);
        for (epoch, delta) in (2..).zip(&small) {
            let begin = Instant::now();
            engine.feed(1, Epoch(epoch), vec![(TopicId(0), delta.clone())]);
            reader.wait(Epoch(epoch), LONG).unwrap();
            waits.push(begin.elapsed());
        }
        report(&format!("{workers} workers, epochs of 1 row, one at a time"), EPOCHS, start.elapsed(), cpu() - before, waits);
        let (start, before) = (Instant::now(), cpu());
        for (epoch, delta) in (2..).zip(&small) {
            engine.feed(1, Epoch(epoch + EPOCHS as u64), vec![(TopicId(0), delta.clone())]);
        }
        reader.wait(Epoch(2 * EPOCHS as u64 + 1), LONG).unwrap();
        report(&format!("{workers} workers, epochs of 1 row, 8 on their way"), EPOCHS, start.elapsed(), cpu() - before, vec![]);
        let past = Past { batches: large.clone() };
        let sources = [(topic(0), regauge_flow::engine::Feed::History(std::sync::Arc::new(past)))].into();
        let (start, before) = (Instant::now(), cpu());
        let install = regauge_flow::engine::Install { id: 2, plan: p.clone(), sources, as_of: Epoch(1), restore: None };
        let reader = engine.install(install).unwrap();
        reader.wait(Epoch(1), LONG).unwrap();
        report(&format!("{workers} workers, a past of 1 M rows, per row"), 123 * 8192, start.elapsed(), cpu() - before, vec![]);
    }
}

/// Without the ids of columns, as operators see it.
fn delta_under(d: &Delta) -> Delta {
    let fields: Vec<_> =
        base().into_iter().enumerate().map(|(i, t)| arrow::datatypes::Field::new(format!("c{i}"), t, true)).collect();
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(fields));
    d.with_rows(arrow::array::RecordBatch::try_new(schema, d.rows.columns().to_vec()).unwrap())
}
