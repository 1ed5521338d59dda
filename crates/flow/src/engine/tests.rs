//! Flows whose operators misbehave: they fail or are slow, and nobody else is hurt.

use super::*;
use crate::image::{Home, Image};
use crate::operator::{Finish, Out, Routing};
use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use regauge_plan::flowplan::OutputColumn;
use regauge_types::{COLUMN_ID_KEY, ColumnId};
use std::sync::atomic::{AtomicUsize, Ordering};

const LONG: Duration = Duration::from_secs(60);

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
    Engine::start(EngineConfig { workers, queue_epochs: 4, cluster: None }, Env::real()).unwrap()
}

fn install(engine: &Engine, id: FlowId, past: Past, before: Arc<dyn Fn(usize) + Send + Sync>) -> TraceReader {
    let sources = HashMap::from([(source(), Feed::History(Arc::new(past)))]);
    let make = move |plan: &FlowPlan| {
        let wrap = |inner| -> Box<dyn Operator> { Box::new(Wrapped { inner, before: Arc::clone(&before) }) };
        Ok(operators(plan)?.into_iter().map(|o| o.map(wrap)).collect())
    };
    engine.install_with(Install { id, plan: plan(), sources, as_of: Epoch(1), restore: None }, &make).unwrap()
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
