//! Flows whose operators misbehave: they fail or are slow, and nobody else is hurt.

use super::*;
use crate::image::{Home, Image};
use crate::operator::{Finish, Out, Routing};
use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use regauge_plan::flowplan::OutputColumn;
use regauge_types::{COLUMN_ID_KEY, ColumnId};
use std::sync::atomic::{AtomicUsize, Ordering};

const LONG: Duration = Duration::from_secs(300);

fn rows(values: std::ops::Range<i64>) -> Delta {
    let field = Field::new("a", DataType::Int64, true).with_metadata([(COLUMN_ID_KEY.to_owned(), "0".to_owned())].into());
    let column = Arc::new(Int64Array::from_iter_values(values));
    Delta::ones(RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap())
}

fn source() -> SourceId {
    SourceId::Topic(TopicId(1))
}

/// Distinct rows of one topic.
fn plan() -> FlowPlan {
    let mut plan = FlowPlan { nodes: vec![], root: 0, output: vec![], key: None };
    let op = Op::Source { id: source(), columns: vec![ColumnId(0)] };
    plan.push(op, vec![], (vec![DataType::Int64], false)).unwrap();
    plan.root = plan.push(Op::Distinct, vec![0], (vec![], true)).unwrap();
    plan.output = vec![OutputColumn { name: "a".to_owned(), ty: DataType::Int64 }];
    plan
}

/// Batches of so many rows, counted as they are read.
struct Past {
    n: usize,
    each: i64,
    read: Arc<AtomicUsize>,
}

impl History for Past {
    fn open(&self, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        let (read, each) = (Arc::clone(&self.read), self.each);
        let mine = (0..self.n).filter(move |i| i % workers == worker);
        Box::new(mine.map(move |i| {
            read.fetch_add(1, Ordering::SeqCst);
            let from = i as i64 * each;
            Ok(rows(from..from + each))
        }))
    }
}

/// A wrapped operator that does something before it is given so many rows.
struct Wrapped {
    inner: Box<dyn Operator>,
    before: Arc<dyn Fn(usize) + Send + Sync>,
}

impl Operator for Wrapped {
    fn push(&mut self, input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError> {
        (self.before)(delta.n_rows());
        self.inner.push(input, delta, out)
    }
    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        self.inner.finish(out)
    }
    fn routing(&self, input: usize) -> Routing {
        self.inner.routing(input)
    }
    fn stats(&self) -> OpStats {
        self.inner.stats()
    }
    fn save(&self, _home: &Home, _to: &mut Vec<Image>) -> Result<(), FlowError> {
        Err(FlowError::Unsaved("a wrapped operator"))
    }
    fn restore(&mut self, _images: &[&Image]) -> Result<(), FlowError> {
        Err(FlowError::Unsaved("a wrapped operator"))
    }
}

fn engine(workers: usize) -> Engine {
    Engine::start(EngineConfig { workers, queue_epochs: 4, cluster: None, memory: None }, Env::real()).unwrap()
}

fn install(engine: &Engine, id: FlowId, past: Past, before: Arc<dyn Fn(usize) + Send + Sync>) -> TraceReader {
    let sources = HashMap::from([(source(), Feed::History(Arc::new(past)))]);
    let make = move |plan: &FlowPlan| {
        let wrap = |inner| -> Box<dyn Operator> { Box::new(Wrapped { inner, before: Arc::clone(&before) }) };
        Ok(operators(plan, None)?.into_iter().map(|o| o.map(wrap)).collect())
    };
    engine.install_with(Install { id, plan: plan(), sources, as_of: Epoch(1), restore: None }, None, &make).unwrap().0
}

fn no_past() -> Past {
    Past { n: 0, each: 10, read: Arc::default() }
}

fn feed(engine: &Engine, id: FlowId, epoch: u64) {
    let from = epoch as i64 * 10;
    engine.feed(id, Epoch(epoch), vec![(TopicId(1), rows(from..from + 10))]);
}

#[test]
fn a_panic_in_an_operator_fails_its_version_and_no_other() {
    for workers in [1, 2, 3] {
        let engine = engine(workers);
        let well = install(&engine, 1, no_past(), Arc::new(|_| {}));
        let ill = install(&engine, 2, no_past(), Arc::new(|_| panic!("the operator broke")));
        let over = SourceId::Version(regauge_types::ViewId(2), regauge_types::VersionNo(1));
        let mut reads = plan();
        reads.nodes[0].op = Op::Source { id: over, columns: vec![ColumnId(0)] };
        let sources = HashMap::from([(over, Feed::Trace(ill.clone()))]);
        let over = engine.install(Install { id: 3, plan: reads, sources, as_of: Epoch(1), restore: None }).unwrap();
        for epoch in 2..8 {
            (1..4).for_each(|id| feed(&engine, id, epoch));
        }
        assert_eq!(well.wait(Epoch(7), LONG).unwrap(), Epoch(7));
        assert_eq!(well.snapshot(Epoch(7)).unwrap().net().unwrap().n_rows(), 60);
        let why = ill.wait(Epoch(7), LONG).unwrap_err().to_string();
        assert!(why.contains("version panicked: the operator broke"), "{why}");
        let why = over.wait(Epoch(7), LONG).unwrap_err().to_string();
        assert!(why.contains("the operator broke"), "who reads it fails with its reason: {why}");
        // the workers that the panic went through still take flows
        let late = install(&engine, 4, Past { n: 3, each: 10, read: Arc::default() }, Arc::new(|_| {}));
        assert_eq!(late.wait(Epoch(1), LONG).unwrap(), Epoch(1));
        assert_eq!(late.snapshot(Epoch(1)).unwrap().net().unwrap().n_rows(), 30);
    }
}

#[test]
fn a_past_is_not_read_faster_than_it_is_worked_off() {
    // a batch is as large as a parcel may be, so that one activation reads one
    let (n, each, workers) = (240, 8192, 2);
    let engine = engine(workers);
    let (read, pushed, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let before = {
        let (read, pushed, most) = (Arc::clone(&read), Arc::clone(&pushed), Arc::clone(&most));
        Arc::new(move |n_rows: usize| {
            // slow enough that a reader without bounds would be through
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(Duration::from_millis(1));
            let done = (pushed.fetch_add(n_rows, Ordering::SeqCst) + n_rows) / each;
            most.fetch_max(read.load(Ordering::SeqCst).saturating_sub(done), Ordering::SeqCst);
        })
    };
    let past = Past { n, each: each as i64, read: Arc::clone(&read) };
    let reader = install(&engine, 1, past, before);
    assert_eq!(reader.wait(Epoch(1), LONG).unwrap(), Epoch(1));
    assert_eq!(reader.snapshot(Epoch(1)).unwrap().net().unwrap().n_rows(), n * each);
    let most = most.load(Ordering::SeqCst);
    // for each worker 64 parcels, two to a batch, the batch that makes the last of them, four read ahead and one in the reader's hand
    assert!(most <= workers * (32 + 1 + 4 + 1), "read and not worked off: {most} of {n}");
}

#[test]
fn a_panic_while_the_past_is_read_fails_the_version() {
    struct Broken;
    impl History for Broken {
        fn open(&self, _: usize, _: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
            panic!("no disk")
        }
    }
    let engine = engine(2);
    let sources = HashMap::from([(source(), Feed::History(Arc::new(Broken)))]);
    let reader = engine.install(Install { id: 1, plan: plan(), sources, as_of: Epoch(1), restore: None }).unwrap();
    let why = reader.wait(Epoch(1), LONG).unwrap_err().to_string();
    assert!(why.contains("reading the past panicked"), "{why}");
}

/// Twelve rows a part, of which half were in the part before; parts end at epochs 1, 2, 3 and 4. None is read before it is let go.
struct Parts {
    /// Parts up to this epoch were read before.
    from: u64,
    open: Arc<AtomicUsize>,
}

impl History for Parts {
    fn open(&self, _: usize, _: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        Box::new(std::iter::once(Err("it is read in parts".to_owned())))
    }

    fn cuts(&self) -> Vec<Epoch> {
        (self.from + 1..4).map(Epoch).collect()
    }

    fn open_part(&self, part: usize, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        let no = usize::try_from(self.from).unwrap() + part;
        while self.open.load(Ordering::SeqCst) <= no {
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(Duration::from_millis(1));
        }
        let from = no as i64 * 6;
        Box::new((from..from + 12).filter(move |n| usize::try_from(*n).unwrap() % workers == worker).map(|n| Ok(rows(n..n + 1))))
    }
}

/// As [`Parts`], two parts to an epoch from the second on.
struct Runs(Parts);

impl History for Runs {
    fn open(&self, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        self.0.open(worker, workers)
    }

    fn cuts(&self) -> Vec<Epoch> {
        self.0.cuts()
    }

    fn run(&self, part: usize) -> usize {
        if part == 0 { 0 } else { part + 1 }
    }

    fn open_part(&self, part: usize, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        self.0.open_part(part, worker, workers)
    }
}

#[test]
fn parts_that_are_one_epoch_end_where_the_last_of_them_does() {
    for workers in [1, 2, 3] {
        let (engine, open) = (engine(workers), Arc::new(AtomicUsize::new(1)));
        let parts = Runs(Parts { from: 0, open: Arc::clone(&open) });
        let sources = HashMap::from([(source(), Feed::History(Arc::new(parts)))]);
        let install = Install { id: 1, plan: plan(), sources, as_of: Epoch(4), restore: None };
        let (reader, _pin) = engine.install_pinned(install, Epoch(1)).unwrap();
        assert_eq!(reader.wait(Epoch(1), LONG).unwrap(), Epoch(1));
        let (at_end, within) = (engine.save(1, Epoch(3), RESTORED + 1, None).unwrap(), Epoch(2));
        // half of the run is no epoch
        open.store(2, Ordering::SeqCst);
        assert_eq!(reader.wait(within, Duration::from_millis(50)).unwrap(), Epoch(1));
        open.store(4, Ordering::SeqCst);
        assert_eq!(reader.wait(Epoch(4), LONG).unwrap(), Epoch(4));
        let upto = |epoch: i64| (0..epoch * 6 + 6).collect::<Vec<i64>>();
        let all: Vec<Vec<i64>> = (1..=4).map(|epoch| shown(&reader, epoch)).collect();
        assert_eq!(all, [upto(1), upto(1), upto(3), upto(4)], "workers={workers}");
        assert!(at_end.wait(LONG).is_some_and(|saved| saved.is_ok()), "who asked at its end has it");
        feed(&engine, 1, 5);
        assert_eq!(reader.wait(Epoch(5), LONG).unwrap(), Epoch(5));
    }
}

/// Rows at an epoch, in order.
fn shown(reader: &TraceReader, at: u64) -> Vec<i64> {
    use arrow::{array::AsArray, datatypes::Int64Type};
    let snapshot = reader.snapshot(Epoch(at)).unwrap();
    let net = snapshot.net().unwrap();
    let mut all = net.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
    all.sort_unstable();
    all
}

#[test]
fn a_past_in_parts_is_an_epoch_each_and_goes_on_behind_any_that_was_saved() {
    let upto = |epoch: i64| (0..epoch * 6 + 6).collect::<Vec<i64>>();
    for workers in [1, 2, 3] {
        for cut in 1..=3u64 {
            let (engine_of, open) = (engine(workers), Arc::new(AtomicUsize::new(0)));
            let start = |engine: &Engine, from, restore| {
                let sources = HashMap::from([(source(), Feed::History(Arc::new(Parts { from, open: Arc::clone(&open) })))]);
                engine.install(Install { id: 1, plan: plan(), sources, as_of: Epoch(4), restore }).unwrap()
            };
            let reader = start(&engine_of, 0, None);
            let _pin = reader.pin(Epoch(1)).unwrap();
            // what ends before the cut, and then somebody asks
            open.store(usize::try_from(cut).unwrap() - 1, Ordering::SeqCst);
            assert!(reader.wait(Epoch(cut - 1), LONG).unwrap() >= Epoch(cut - 1));
            let saving = engine_of.save(1, Epoch(cut), RESTORED + 1, None).unwrap();
            open.store(4, Ordering::SeqCst);
            assert_eq!(reader.wait(Epoch(4), LONG).unwrap(), Epoch(4));
            (1..=4).for_each(|epoch| assert_eq!(shown(&reader, epoch), upto(epoch as i64), "epoch {epoch}"));
            let saved = saving.wait(LONG).unwrap().unwrap();
            let mut restore = Restore { at: Some(Epoch(cut)), ..Restore::default() };
            for node in saved.nodes {
                let Given::Whole(images) = node.given else { panic!("the first save is a whole one") };
                restore.images.entry(node.node).or_default().extend(images);
            }
            restore.rows.push(rows(0..cut as i64 * 6 + 6));
            // another number of workers, and only what is behind the cut
            let other = engine(4 - workers);
            let again = start(&other, cut, Some(restore));
            assert_eq!(again.wait(Epoch(4), LONG).unwrap(), Epoch(4));
            assert_eq!(shown(&again, 4), upto(4), "workers={workers} cut={cut}");
            feed(&other, 1, 5);
            assert_eq!(again.wait(Epoch(5), LONG).unwrap(), Epoch(5));
            assert_eq!(shown(&again, 5), [upto(4), (50..60).collect()].concat());
        }
    }
}
