//! A stand-in for the engine: keeps each plan's rows by epoch, for plans that only read and pick columns. It can be held, so that
//! a version that is slow, and what waits for it, can be looked at.

#![allow(clippy::disallowed_methods, reason = "the stand-in is no part of what is simulated")]

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parking_lot::{Condvar, Mutex};
use regauge_plan::{Op, Scalar};
use regauge_types::{COLUMN_ID_KEY, ColumnId, Delta, Epoch, TopicId};
use regauge_views::{
    Error, Result,
    read::reading::VersionRows,
    version::trace::{Begin, Dataflows, Figures, FlowId, Start, Trace, TraceFailure},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

#[derive(Default)]
pub struct Mirror {
    flows: Mutex<HashMap<FlowId, Arc<Flow>>>,
    /// While true nothing that is fed becomes visible.
    held: Arc<AtomicBool>,
}

struct Flow {
    schema: SchemaRef,
    columns: Vec<ColumnId>,
    picks: Vec<usize>,
    upstream: Option<Arc<Flow>>,
    state: Mutex<State>,
    moved: Condvar,
    held: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    upper: Epoch,
    fed: Epoch,
    changes: BTreeMap<Epoch, Vec<Delta>>,
    failure: Option<String>,
}

impl Mirror {
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Release);
        for flow in self.flows.lock().values() {
            flow.settle();
        }
    }

    pub fn fail_all(&self, why: &str) {
        for flow in self.flows.lock().values() {
            flow.state.lock().failure = Some(why.to_owned());
            flow.moved.notify_all();
        }
    }

    pub fn n_flows(&self) -> usize {
        self.flows.lock().len()
    }
}

impl Flow {
    fn settle(&self) {
        if !self.held.load(Ordering::Acquire) {
            let mut state = self.state.lock();
            state.upper = state.fed;
            self.moved.notify_all();
        }
    }

    /// Source columns by id, then the columns that the map picks.
    fn project(&self, delta: &Delta, by_id: bool) -> Delta {
        let schema = delta.rows.schema();
        let place = |id: &ColumnId| {
            let is = |f: &&arrow::datatypes::FieldRef| f.metadata().get(COLUMN_ID_KEY) == Some(&id.0.to_string());
            schema.fields().iter().position(|f| is(&f)).unwrap()
        };
        let source: Vec<usize> =
            if by_id { self.columns.iter().map(place).collect() } else { self.columns.iter().map(|c| c.0 as usize).collect() };
        let columns = self.picks.iter().map(|p| delta.rows.column(source[*p]).clone()).collect();
        delta.with_rows(RecordBatch::try_new(self.schema.clone(), columns).unwrap())
    }

    fn sum(&self, after: Epoch, up_to: Epoch) -> Delta {
        let state = self.state.lock();
        let range = state.changes.range(Epoch(after.0 + 1)..=up_to);
        let deltas: Vec<Delta> = range.flat_map(|(_, d)| d.iter().cloned()).collect();
        Delta::concat(&self.schema, &deltas).unwrap().consolidate().unwrap()
    }

    fn push(&self, epoch: Epoch, deltas: Vec<Delta>) {
        let mut state = self.state.lock();
        assert!(epoch > state.fed || state.fed == Epoch(0), "epochs ascend: {epoch} after {}", state.fed);
        state.changes.insert(epoch, deltas);
        state.fed = epoch;
        drop(state);
        self.settle();
    }
}

impl Dataflows for Mirror {
    fn install(&self, begin: Begin<'_>) -> Result<Arc<dyn Trace>> {
        let Begin { id, plan, sources, as_of, .. } = begin;
        let (mut columns, mut source, mut picks) = (vec![], None, None);
        for node in &plan.nodes {
            match &node.op {
                Op::Source { id, columns: c } => (columns, source) = (c.clone(), Some(*id)),
                Op::Map { filter: None, exprs: Some(exprs) } => {
                    let pick = |e: &Scalar| if let Scalar::Column(c) = e { Some(*c) } else { None };
                    picks = exprs.iter().map(pick).collect();
                }
                other => return Err(Error::unsupported(format!("the mirror cannot run {other:?}"))),
            }
        }
        let picks = picks.unwrap_or_else(|| (0..columns.len()).collect());
        let start = sources.get(&source.unwrap()).unwrap();
        let flow = Flow {
            schema: plan.schema(),
            columns,
            picks,
            upstream: if let Start::Flow(up) = start { Some(self.flows.lock().get(up).unwrap().clone()) } else { None },
            state: Mutex::default(),
            moved: Condvar::new(),
            held: self.held.clone(),
        };
        let past: Vec<Delta> = match start {
            // Three workers share the past; it has only the columns that the source names.
            Start::Past(past) => (0..3).flat_map(|w| past.open(w, 3)).map(|d| flow.project(&d.unwrap(), true)).collect(),
            Start::Flow(_) => vec![flow.project(&flow.upstream.as_ref().unwrap().sum(Epoch(0), as_of), false)],
        };
        flow.push(as_of, past);
        let flow = Arc::new(flow);
        self.flows.lock().insert(id, flow.clone());
        Ok(flow)
    }

    fn feed(&self, id: FlowId, epoch: Epoch, deltas: &[(TopicId, Delta)]) {
        let Some(flow) = self.flows.lock().get(&id).cloned() else { return };
        let prev = flow.state.lock().fed;
        let deltas = match &flow.upstream {
            None => deltas.iter().map(|(_, d)| flow.project(d, true)).collect(),
            Some(up) => vec![flow.project(&up.sum(prev, epoch), false)],
        };
        flow.push(epoch, deltas);
    }

    fn stop(&self, id: FlowId) {
        self.flows.lock().remove(&id);
    }

    fn operators(&self, _: FlowId) -> Vec<Figures> {
        vec![Figures { operator: "mirror".to_owned(), ..Figures::default() }]
    }
}

struct Net(Vec<RecordBatch>);

impl VersionRows for Net {
    fn batches(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.0.clone())
    }
}

impl Trace for Flow {
    fn upper(&self) -> Epoch {
        self.state.lock().upper
    }

    fn wait(&self, at: Epoch, time: Duration) -> Result<Epoch, TraceFailure> {
        let deadline = Instant::now() + time;
        let mut state = self.state.lock();
        while state.upper < at && !self.moved.wait_until(&mut state, deadline).timed_out() {
            if let Some(why) = &state.failure {
                return Err(TraceFailure::Failed(why.clone()));
            }
        }
        Ok(state.upper)
    }

    fn snapshot(&self, at: Epoch) -> Result<Arc<dyn VersionRows>, TraceFailure> {
        assert!(at <= self.upper(), "a snapshot ahead of the trace");
        let net = self.sum(Epoch(0), at);
        let rows = (0..net.n_rows()).flat_map(|r| {
            assert!(net.diff(r) > 0, "no multiplicity is negative");
            std::iter::repeat_n(net.rows.slice(r, 1), net.diff(r) as usize)
        });
        Ok(Arc::new(Net(rows.collect())))
    }

    fn changes(&self, after: Epoch, up_to: Epoch) -> Result<Vec<(Epoch, Delta)>, TraceFailure> {
        let state = self.state.lock();
        let range = state.changes.range(Epoch(after.0 + 1)..=up_to);
        Ok(range.flat_map(|(e, d)| d.iter().map(|d| (*e, d.clone()))).collect())
    }

    fn failure(&self) -> Option<String> {
        self.state.lock().failure.clone()
    }
}
