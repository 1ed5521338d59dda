//! The engine's promises: the same answer whatever the number of workers and wherever epochs are cut, flows that come and go, and
//! live epochs that do not wait for a past.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::datatypes::DataType;
use regauge_flow::engine::{Engine, Feed, History, Install};
use regauge_plan::flowplan::*;
use regauge_plan::scalar::{CompareOp, Scalar};
use regauge_plan::value::Value;
use regauge_state::trace::{RowError, TraceReader};
use regauge_types::env::Env;
use regauge_types::{ColumnId, Delta, Epoch, TopicId};

use crate::drive::{Rng, base, history, on, plan, source};
use crate::naive::evaluate;
use crate::run::*;
use crate::value::*;
use crate::{all_calls, asc, call, compare, desc, random_tree, temporal, with_clock};

/// A plan of each operator, and some of several.
fn plans() -> Vec<(&'static str, FlowPlan)> {
    let c = Scalar::Column;
    let filter = |op, column, value| Some(compare(op, c(column), Scalar::Literal(value)));
    let mut all = vec![];
    let mut one = |name: &'static str, n: u32, op: Op| {
        let mut p = plan(n, false);
        on(&mut p, op, (0..n as usize).collect());
        all.push((name, p));
    };
    let cast = Scalar::Cast { arg: Box::new(c(1)), to: DataType::Int64 };
    let exprs = Some(vec![c(2), cast, c(0)]);
    one("map", 1, Op::Map { filter: filter(CompareOp::Gt, 3, Value::int4(-1)), exprs });
    one("group", 1, Op::Aggregate { keys: vec![1], aggs: all_calls() });
    one("global", 1, Op::Aggregate { keys: vec![], aggs: all_calls() });
    one("distinct", 1, Op::Distinct);
    one("union", 2, Op::Union);
    one("except", 2, Op::SetOp { kind: SetOpKind::Except, all: true });
    one("intersect", 2, Op::SetOp { kind: SetOpKind::Intersect, all: false });
    one("top", 1, Op::TopK { partition: vec![0], order: vec![desc(2)], limit: 2, offset: 1, row_number: true });
    one("global top", 1, Op::TopK { partition: vec![], order: vec![asc(4)], limit: 3, offset: 0, row_number: false });
    one("hop", 1, Op::Hop { ts: 4, slide_us: 5, size_us: 12, offset_us: 1 });
    one("tumble", 1, Op::Tumble { ts: 4, size_us: 9, offset_us: 0 });
    let as_of = |outer, on, matching| Op::AsOf { outer, on, moment: (4, 4), matching };
    one("as of", 2, as_of(false, vec![(0, 0)], AsOfMatch::AtOrBefore));
    one("as of, left", 2, as_of(true, vec![(0, 0), (5, 5)], AsOfMatch::After));
    one("as of, without keys", 2, as_of(true, vec![], AsOfMatch::Before));
    use JoinKind::*;
    let kinds = [("inner", Inner), ("left", Left), ("right", Right), ("full", Full), ("semi", LeftSemi), ("anti", LeftAnti)];
    for (name, kind) in kinds {
        one(name, 2, Op::Join { kind, on: vec![(0, 0)], nulls_equal: false, residual: None });
    }
    for (name, kind) in kinds {
        let residual = Some(compare(CompareOp::Lt, c(0), c(7)));
        one(name, 2, Op::Join { kind, on: vec![], nulls_equal: false, residual });
        one(name, 2, Op::Join { kind, on: vec![], nulls_equal: false, residual: None });
    }

    let mut p = plan(2, false);
    let j = on(&mut p, Op::Join { kind: Inner, on: vec![(0, 0)], nulls_equal: false, residual: None }, vec![0, 1]);
    let g = on(&mut p, Op::Aggregate { keys: vec![1], aggs: vec![call(AggFunc::Count, &[], DataType::Int64)] }, vec![j]);
    on(&mut p, Op::Map { filter: None, exprs: Some(vec![c(1)]) }, vec![g]);
    all.push(("joined, grouped, and the key dropped", p));

    // both inputs are one node: a source, and one that retracts at an epoch's end
    for (name, kind) in kinds {
        let join = |on| Op::Join { kind, on: vec![on], nulls_equal: false, residual: None };
        let mut p = plan(1, false);
        on(&mut p, join((0, 0)), vec![0, 0]);
        let calls = vec![call(AggFunc::Count, &[], DataType::Int64)];
        let g = on(&mut p, Op::Aggregate { keys: vec![0], aggs: calls }, vec![0]);
        on(&mut p, join((0, 1)), vec![g, g]);
        all.push((name, p.clone()));
        p.root = 1;
        p.output = p.nodes[1].types.iter().map(|ty| OutputColumn { name: "c".into(), ty: ty.clone() }).collect();
        all.push((name, p));
    }

    let mut p = plan(1, false);
    let m = on(&mut p, Op::Map { filter: filter(CompareOp::Ne, 0, Value::int8(1)), exprs: None }, vec![0]);
    let d = on(&mut p, Op::Distinct, vec![m]);
    on(&mut p, Op::Union, vec![m, d]);
    all.push(("around an exchange", p));
    all
}

struct Naive<'a> {
    plan: &'a FlowPlan,
    sources: BTreeMap<SourceId, Bag>,
}

impl Naive<'_> {
    fn add(&mut self, changes: &[Change]) {
        for (s, row, d) in changes {
            add(self.sources.entry(source(*s)).or_default(), row.clone(), *d);
        }
    }

    /// The rows, and the number of errors.
    fn answer(&self) -> (Bag, i64) {
        let (rows, errors) = evaluate(self.plan, &self.sources);
        (rows, errors.values().sum())
    }
}

fn n_errors(errors: &[(RowError, i64)]) -> i64 {
    errors.iter().map(|(_, n)| n).sum()
}

/// Runs a history with so many of its epochs as past and `step` epochs fed as one; checks every epoch; the last digest, or the last
/// errors with the rows that they name.
fn follow(engine: &Engine, id: u64, p: &FlowPlan, epochs: &[Vec<Change>], n_past: usize, step: usize, what: &str) -> String {
    let mut naive = Naive { plan: p, sources: BTreeMap::new() };
    naive.add(&epochs[..n_past].concat());
    let mut expected = vec![(1, naive.answer())];
    let ones = p.nodes[0].append_only;
    let reader = install(engine, id, p, &epochs[..n_past].concat(), 1);
    let kept = reader.pin(Epoch(1)).unwrap();
    // several epochs are on their way at once
    for (i, some) in epochs[n_past..].chunks(step).enumerate() {
        let (changes, epoch) = (some.concat(), i as u64 * 3 + 2);
        naive.add(&changes);
        expected.push((epoch, naive.answer()));
        engine.feed(id, Epoch(epoch), by_topic(&changes, ones));
    }
    for (epoch, (rows, n)) in &expected {
        let (got, errors) = at(&reader, *epoch);
        assert_eq!(&got, rows, "{what} epoch={epoch} past={n_past} step={step}");
        assert_eq!(n_errors(&errors), *n, "errors of {what} epoch={epoch} past={n_past} step={step}: {errors:?}");
    }
    drop(kept);
    let last = expected.last().unwrap();
    let last = snapshot(&reader, last.0);
    let digest = last.digest().map_or_else(|_| format!("{:?}", last.errors()), |digest| format!("{digest:?}"));
    engine.drop_flow(id);
    digest
}

#[test]
fn every_operator_answers_the_same_for_any_number_of_workers_and_any_epochs() {
    let engines: Vec<Engine> = (1..=4).map(engine).collect();
    let mut id = 0;
    for (name, p) in plans() {
        for seed in 0..2 {
            let mut epochs = history(&mut Rng(seed * 77 + 5), 2, 6, 25, true, 5);
            epochs.pop(); // keep rows to the end
            let mut digests = vec![];
            for (workers, engine) in (1..).zip(&engines) {
                for (n_past, step) in [(0, 1), (3, 2), (6, 1)] {
                    id += 1;
                    digests.push(follow(engine, id, &p, &epochs, n_past, step, &format!("{name}, {workers} workers")));
                }
            }
            assert!(digests.iter().all(|d| d == &digests[0]), "{name}: {digests:?}");
        }
    }
}

#[test]
fn a_temporal_filter_answers_the_same_for_any_number_of_workers_and_any_epochs() {
    let engines: Vec<Engine> = (1..=4).map(engine).collect();
    let mut id = 0;
    for (sides, append_only) in (0..4).flat_map(|sides| [(sides, false), (sides, true)]) {
        let rng = &mut Rng(sides as u64 + 11);
        let p = temporal(sides, rng.one_in(2), append_only);
        let past = history(rng, 1, 6, 25, !append_only, 5);
        let mut epochs = with_clock(rng, past);
        epochs.truncate(6); // keep rows to the end
        let mut digests = vec![];
        for (workers, engine) in (1..).zip(&engines) {
            for (n_past, step) in [(0, 1), (3, 2), (6, 1)] {
                id += 1;
                let what = format!("sides {sides}, {workers} workers");
                digests.push(follow(engine, id, &p, &epochs, n_past, step, &what));
            }
        }
        assert!(digests.iter().all(|d| d == &digests[0]), "{sides}: {digests:?}");
    }
}

#[test]
fn random_plans_answer_the_same_for_any_number_of_workers() {
    let engines: Vec<Engine> = (1..=3).map(engine).collect();
    for seed in 0..25u64 {
        let rng = &mut Rng(seed);
        let append_only = rng.one_in(2);
        let p = random_tree(rng, append_only);
        let epochs = history(rng, 3, 4, 12, !append_only, 4);
        let mut digests = vec![];
        for (i, engine) in engines.iter().enumerate() {
            let n_past = rng.below(3);
            let step = rng.below(2) + 1;
            digests.push(follow(engine, seed, &p, &epochs, n_past, step, &format!("seed {seed}, {} workers", i + 1)));
        }
        assert!(digests.iter().all(|d| d == &digests[0]), "{seed}: {digests:?}");
    }
}

#[test]
fn a_version_over_a_version_follows_it_at_the_same_epochs() {
    for workers in 1..=3 {
        let engine = engine(workers);
        let mut p = plan(1, false);
        on(&mut p, Op::Distinct, vec![0]);
        let epochs = history(&mut Rng(3), 1, 6, 30, true, 4);
        let mut over = plan(1, false);
        over.nodes[0].op = Op::Source { id: version(), columns: (0..7).map(ColumnId).collect() };
        on(&mut over, Op::Aggregate { keys: vec![0], aggs: vec![call(AggFunc::Count, &[], DataType::Int64)] }, vec![0]);
        let below = install(&engine, 1, &p, &epochs[..2].concat(), 5);
        let sources = HashMap::from([(version(), Feed::Trace(below.clone()))]);
        let reader = engine.install(Install { id: 2, plan: over.clone(), sources, as_of: Epoch(5), restore: None }).unwrap();
        let kept = reader.pin(Epoch(5)).unwrap();
        let keep = below.pin(Epoch(5)).unwrap();
        for (i, changes) in epochs[2..].iter().enumerate() {
            // the one above is told first: it waits, and its worker does not
            engine.feed(2, Epoch(i as u64 + 6), vec![]);
            engine.feed(1, Epoch(i as u64 + 6), by_topic(changes, false));
        }
        for epoch in 5..5 + epochs.len() as u64 - 1 {
            let (rows, _) = at(&below, epoch);
            let (counted, _) = evaluate(&over, &BTreeMap::from([(version(), rows)]));
            assert_eq!(at(&reader, epoch).0, counted, "{workers} workers, epoch {epoch}");
        }
        drop((kept, keep));
    }
}

/// A past without an end until it is told.
struct Endless {
    stop: Arc<AtomicBool>,
    /// Iterators that live.
    open: Arc<AtomicUsize>,
    batch: Delta,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl History for Endless {
    fn open(&self, _: usize, _: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(Arc::clone(&self.open));
        let (stop, batch) = (Arc::clone(&self.stop), self.batch.clone());
        Box::new(std::iter::from_fn(move || {
            let _open = &open;
            (!stop.load(Ordering::SeqCst)).then(|| Ok(batch.clone()))
        }))
    }
}

fn many_rows(n: i128) -> Vec<(Row, i64)> {
    let row = |i: i128| vec![V::Int(i), V::Text("k".into()), float(1.5), V::Int(1), V::Int(i), V::Bool(true), V::Int(100)];
    (0..n).map(|i| (row(i), 1)).collect()
}

fn endless(engine: &Engine, id: u64, stop: &Arc<AtomicBool>, open: &Arc<AtomicUsize>) -> TraceReader {
    let mut p = plan(1, true);
    on(&mut p, Op::Aggregate { keys: vec![0], aggs: vec![call(AggFunc::Count, &[], DataType::Int64)] }, vec![0]);
    let past = Endless { stop: Arc::clone(stop), open: Arc::clone(open), batch: fed(&many_rows(500), true) };
    let sources = HashMap::from([(topic(0), Feed::History(Arc::new(past)))]);
    engine.install(Install { id, plan: p, sources, as_of: Epoch(1), restore: None }).unwrap()
}

#[test]
fn live_epochs_complete_while_a_past_is_still_being_read() {
    for workers in [1, 2] {
        let engine = engine(workers);
        let (stop, open) = (Arc::default(), Arc::default());
        let mut p = plan(1, false);
        on(&mut p, Op::Distinct, vec![0]);
        let live = install(&engine, 1, &p, &[], 1);
        let behind = endless(&engine, 2, &stop, &open);
        for (epoch, row) in (2..200).zip(many_rows(200)) {
            engine.feed(1, Epoch(epoch), vec![(TopicId(0), fed(&[row], false))]);
        }
        assert_eq!(at(&live, 199).0.len(), 198);
        assert_eq!(behind.upper(), Epoch(0), "its past cannot have ended");
        stop.store(true, Ordering::SeqCst);
        assert_eq!(at(&behind, 1).0.len(), 500, "and it goes on to its end");
    }
}

#[test]
fn a_flow_may_be_dropped_in_the_middle_of_its_past() {
    for workers in [1, 3] {
        let engine = engine(workers);
        let (stop, open) = (Arc::default(), Arc::<AtomicUsize>::default());
        let reader = endless(&engine, 1, &stop, &open);
        while open.load(Ordering::SeqCst) < workers {
            std::thread::yield_now();
        }
        engine.drop_flow(1);
        assert!(reader.wait(Epoch(1), LONG).is_err(), "readers hear of it");
        let mut p = plan(1, false);
        on(&mut p, Op::Distinct, vec![0]);
        let next = install(&engine, 2, &p, &[(0, many_rows(1)[0].0.clone(), 1)], 1);
        assert_eq!(at(&next, 1).0.len(), 1);
        drop(engine);
        assert_eq!(open.load(Ordering::SeqCst), 0, "nothing reads any more");
    }
}

#[test]
fn many_flows_come_and_go() {
    let engine = engine(2);
    let plans = plans();
    let rows: Vec<Change> = many_rows(20).into_iter().map(|(r, d)| (0, r, d)).collect();
    for round in 0..6u64 {
        let base_id = round * 1000;
        let readers: Vec<_> =
            plans.iter().enumerate().map(|(i, (_, p))| install(&engine, base_id + i as u64, p, &rows, 1)).collect();
        for (i, (name, p)) in plans.iter().enumerate() {
            let id = base_id + i as u64;
            if (i as u64 + round).is_multiple_of(3) {
                engine.drop_flow(id);
                engine.feed(id, Epoch(2), by_topic(&rows[..1], false));
                continue;
            }
            engine.feed(id, Epoch(2), by_topic(&rows[..1], false));
            let mut naive = Naive { plan: p, sources: BTreeMap::new() };
            naive.add(&rows);
            naive.add(&rows[..1]);
            assert_eq!(at(&readers[i], 2).0, naive.answer().0, "{name}");
        }
        (0..plans.len() as u64).for_each(|i| engine.drop_flow(base_id + i));
    }
}

#[test]
fn dropping_the_engine_ends_all_its_threads() {
    let running = Arc::new(AtomicUsize::new(0));
    let real = Env::real();
    let counted = Arc::new(Counted { inner: real.threads.clone(), running: Arc::clone(&running), started: AtomicUsize::new(0) });
    let env = Env { threads: counted.clone(), ..real };
    let (stop, open) = (Arc::default(), Arc::<AtomicUsize>::default());
    for workers in [1, 2] {
        let engine = start(workers, None, env.clone());
        for id in 0..3 {
            endless(&engine, id, &stop, &open);
        }
        while open.load(Ordering::SeqCst) < 3 * workers {
            std::thread::yield_now();
        }
        drop(engine);
        assert_eq!((running.load(Ordering::SeqCst), open.load(Ordering::SeqCst)), (0, 0));
    }
    assert_eq!(counted.started.load(Ordering::SeqCst), 1 + 3 + 2 * 3, "a worker, and a reader for each worker of each flow");
}

#[test]
fn who_feeds_too_fast_waits_and_a_dropped_flow_lets_it_go() {
    let engine = Arc::new(engine(2));
    let (stop, open) = (Arc::default(), Arc::default());
    let _behind = endless(&engine, 1, &stop, &open);
    let fed_up_to = Arc::new(AtomicUsize::new(0));
    let feeder = {
        let (engine, fed_up_to) = (Arc::clone(&engine), Arc::clone(&fed_up_to));
        std::thread::spawn(move || {
            for epoch in 2..100 {
                engine.feed(1, Epoch(epoch), vec![]);
                fed_up_to.store(epoch as usize, Ordering::SeqCst);
            }
        })
    };
    while fed_up_to.load(Ordering::SeqCst) < 9 {
        std::thread::yield_now();
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(fed_up_to.load(Ordering::SeqCst), 9, "eight epochs may wait");
    engine.drop_flow(1);
    feeder.join().unwrap();
    assert_eq!(base().len(), 7);
}
