//! Random histories, and running a plan over them epoch by epoch beside the oracle.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};
use regauge_flow::operator::Failed;
use regauge_flow::ops::Serial;
use regauge_plan::flowplan::*;
use regauge_types::{ColumnId, TopicId};

use crate::naive::{Errors, evaluate};
use crate::value::*;

/// A small deterministic generator; the seed is proptest's.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// bigint, text, double, int, timestamp, boolean, numeric(12,2): the columns of every test source.
pub fn base() -> Vec<DataType> {
    vec![
        DataType::Int64,
        DataType::Utf8,
        DataType::Float64,
        DataType::Int32,
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Boolean,
        DataType::Decimal128(12, 2),
    ]
}

pub fn source(i: u32) -> SourceId {
    SourceId::Topic(TopicId(i))
}

/// A plan with `n` sources of the base columns.
pub fn plan(n: u32, append_only: bool) -> FlowPlan {
    let mut plan = FlowPlan { nodes: vec![], root: 0, output: vec![], key: None };
    for i in 0..n {
        let columns = (0..7).map(ColumnId).collect();
        plan.push(Op::Source { id: source(i), columns }, vec![], (base(), append_only)).unwrap();
    }
    plan
}

/// Adds a node and makes it the root.
pub fn on(plan: &mut FlowPlan, op: Op, inputs: Vec<usize>) -> usize {
    plan.root = plan.push(op, inputs, (vec![], true)).expect("a sound node");
    let column = |(i, ty): (usize, &DataType)| OutputColumn { name: format!("c{i}"), ty: ty.clone() };
    plan.output = plan.nodes[plan.root].types.iter().enumerate().map(column).collect();
    plan.root
}

pub fn random_row(rng: &mut Rng, n_keys: usize) -> Row {
    let texts = ["", "a", "ab", "b", "12", "7", "x\0y", "ünï"];
    let floats = [0.0, 1.5, -2.25, f64::NAN, f64::INFINITY, 0.25, 100.0];
    let mut row = vec![
        V::Int(rng.below(n_keys) as i128 - 2),
        V::Text(rng.pick(&texts).to_string()),
        float(rng.pick(&floats)),
        V::Int(rng.pick(&[i32::MAX, i32::MIN, 0, 1, 2, -7]).into()),
        V::Int(rng.below(60) as i128 - 30),
        V::Bool(rng.one_in(2)),
        V::Int(rng.below(2000) as i128 - 1000),
    ];
    for v in &mut row {
        if rng.one_in(9) {
            *v = V::Null;
        }
    }
    row
}

/// Epochs of changes, each (source, row, diff); deletes name rows that exist, and an epoch's order is not causal.
pub fn history(
    rng: &mut Rng,
    n_sources: u32,
    n_epochs: usize,
    rows_max: usize,
    deletes: bool,
    n_keys: usize,
) -> Vec<Vec<(u32, Row, i64)>> {
    let mut live: Vec<(u32, Row)> = Vec::new();
    let mut epochs = Vec::new();
    for _ in 0..n_epochs {
        let mut epoch = Vec::new();
        for _ in 0..rng.below(rows_max) + 1 {
            if deletes && !live.is_empty() && rng.one_in(2) {
                let (s, row) = live.swap_remove(rng.below(live.len()));
                epoch.push((s, row, -1));
            } else {
                let s = rng.below(n_sources as usize) as u32;
                let row = if !live.is_empty() && rng.one_in(4) { rng.pick(&live).1 } else { random_row(rng, n_keys) };
                live.push((s, row.clone()));
                epoch.push((s, row, 1));
            }
        }
        if deletes {
            for i in (1..epoch.len()).rev() {
                epoch.swap(i, rng.below(i + 1));
            }
        }
        epochs.push(epoch);
    }
    if deletes {
        // the last epoch takes everything back
        epochs.push(live.into_iter().map(|(s, row)| (s, row, -1)).collect());
    }
    epochs
}

/// What a plan has sent so far, run with batches of at most `batch_max` rows.
pub struct Run {
    pub serial: Serial,
    types: Vec<DataType>,
    append_only: bool,
    pub rows: Bag,
    pub errors: Errors,
    /// Every error with the row that it names: a retraction must take away what its row had added.
    pub named: BTreeMap<Failed, i64>,
}

impl Run {
    pub fn new(plan: &FlowPlan) -> Run {
        Run {
            serial: Serial::new(plan).unwrap(),
            types: base(),
            append_only: plan.nodes[0].append_only,
            rows: Bag::new(),
            errors: Errors::new(),
            named: BTreeMap::new(),
        }
    }

    pub fn step(&mut self, epoch: &[(u32, Row, i64)], batch_max: usize) {
        let mut inputs = Vec::new();
        for part in epoch.chunks(batch_max) {
            let mut of: BTreeMap<u32, Vec<(Row, i64)>> = BTreeMap::new();
            part.iter().for_each(|(s, row, d)| of.entry(*s).or_default().push((row.clone(), *d)));
            inputs.extend(of.into_iter().map(|(s, rows)| (source(s), delta(&self.types, &rows, self.append_only))));
        }
        let step = self.serial.step(&inputs).unwrap();
        step.deltas.iter().for_each(|d| add_delta(&mut self.rows, d));
        for (e, d) in step.errors {
            *self.errors.entry(e.error.sqlstate.to_string()).or_insert(0) += d;
            *self.named.entry(e).or_insert(0) += d;
        }
        self.named.retain(|_, n| *n != 0);
        self.errors.retain(|_, n| *n != 0);
    }
}

/// The promise: after every epoch the sum of what was sent is the query's answer, for every way of cutting epochs into batches.
pub fn check(plan: &FlowPlan, epochs: &[Vec<(u32, Row, i64)>]) {
    let mut runs: Vec<(usize, Run)> = [1, 7, 100_000].into_iter().map(|n| (n, Run::new(plan))).collect();
    let mut sources: BTreeMap<SourceId, Bag> = BTreeMap::new();
    for (i, epoch) in epochs.iter().enumerate() {
        for (s, row, d) in epoch {
            add(sources.entry(source(*s)).or_default(), row.clone(), *d);
        }
        let (rows, errors) = evaluate(plan, &sources);
        for (batch_max, run) in &mut runs {
            run.step(epoch, *batch_max);
            assert_eq!(run.rows, rows, "epoch {i}, batches of {batch_max}, plan {:?}", plan.nodes);
            assert_eq!(run.errors, errors, "errors in epoch {i}, batches of {batch_max}, plan {:?}", plan.nodes);
            assert!(run.named.values().all(|n| *n > 0), "an error is taken back that was not there: {:?}", run.named);
        }
        let named = &runs[0].1.named;
        assert!(
            runs.iter().all(|(_, run)| &run.named == named),
            "rows named in epoch {i} depend on batches, plan {:?}",
            plan.nodes
        );
    }
    // Many epochs or one: the same sum.
    let mut whole = Run::new(plan);
    whole.step(&epochs.concat(), 50);
    assert_eq!(whole.rows, runs[0].1.rows, "all in one epoch");
    assert_eq!(whole.errors, runs[0].1.errors, "errors, all in one epoch");
    assert_eq!(whole.named, runs[0].1.named, "rows named, all in one epoch");
}
