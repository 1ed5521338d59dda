//! State that is saved and restored: every operator, at every epoch, with other numbers of workers, goes on as if nothing had happened.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Field};
use proptest::prelude::*;
use regauge_flow::engine::merge;
use regauge_flow::image::{Image, Of, Step, owned};
use regauge_flow::operator::{Failed, Finish, Operator, Out, Routing};
use regauge_flow::ops;
use regauge_flow::spill::Budget;
use regauge_plan::flowplan::*;
use regauge_plan::scalar::Scalar;
use regauge_plan::value::Value;
use regauge_state::checkpoint::{decode, encode};
use regauge_types::Delta;
use regauge_types::hash::{hash_columns, worker};
use std::sync::Arc;

use crate::drive::{Rng, Run, base, history, on, plan, source};
use crate::run::Change;
use crate::value::*;
use crate::{all_calls, asc, call, compare, desc, over, recursive, rows, temporal, time, with_clock};

/// A number for each kind of operator. A new kind does not compile here until it has one, and is then asked for a case.
fn kind(op: &Op) -> usize {
    match op {
        Op::Source { .. } => 0,
        Op::Given { .. } => 1,
        Op::Rows { .. } => 2,
        Op::Map { .. } => 3,
        Op::Join { .. } => 4,
        Op::Aggregate { .. } => 5,
        Op::Distinct => 6,
        Op::TopK { .. } => 7,
        Op::Window { .. } => 8,
        Op::Union => 9,
        Op::SetOp { .. } => 10,
        Op::AsOf { .. } => 11,
        Op::Temporal { .. } => 12,
        Op::Tumble { .. } => 13,
        Op::Hop { .. } => 14,
        Op::FlatMap { .. } => 15,
        Op::Recursive { .. } => 16,
        Op::Cumulate { .. } => 17,
        Op::Session { .. } => 18,
        Op::Close { .. } => 19,
    }
}

const N_KINDS: usize = 20;

/// The same for aggregate functions.
fn function(func: AggFunc) -> usize {
    match func {
        AggFunc::Count => 0,
        AggFunc::Sum => 1,
        AggFunc::Avg => 2,
        AggFunc::Min => 3,
        AggFunc::Max => 4,
        AggFunc::BoolAnd => 5,
        AggFunc::BoolOr => 6,
        AggFunc::StringAgg => 7,
        AggFunc::ArrayAgg => 8,
        AggFunc::BitAnd => 9,
        AggFunc::BitOr => 10,
        AggFunc::BitXor => 11,
        AggFunc::Spread(_) => 12,
        AggFunc::PercentileCont => 13,
        AggFunc::PercentileDisc => 14,
        AggFunc::Mode => 15,
    }
}

const N_FUNCTIONS: usize = 16;

/// What crosses a checkpoint: the images as bytes and back.
fn through_bytes(images: Vec<Image>) -> Vec<Image> {
    let back = |i: Image| Image { tables: decode(&encode(&i.tables).unwrap()).unwrap(), ..i };
    images.into_iter().map(back).collect()
}

/// A plan whose every operator runs on several workers, with an exchange before each.
pub(crate) struct Fleet {
    plan: FlowPlan,
    /// By node, then worker.
    operators: Vec<Vec<Box<dyn Operator>>>,
    turn: usize,
}

impl Fleet {
    fn new(plan: &FlowPlan, peers: usize) -> Fleet {
        Fleet::within(plan, peers, None)
    }

    /// Whose operators keep within a budget, if they can.
    pub(crate) fn within(plan: &FlowPlan, peers: usize, budget: Option<&Arc<Budget>>) -> Fleet {
        let is_source = |i: usize| matches!(plan.nodes[i].op, Op::Source { .. });
        let shared = Arc::new(plan.clone());
        let make = |i: usize| {
            let spilling = budget.and_then(|budget| regauge_flow::engine::within(&shared, i, budget).unwrap());
            spilling.unwrap_or_else(|| ops::build(plan, i).unwrap())
        };
        let of = |i: usize| if is_source(i) { vec![] } else { (0..peers).map(|_| make(i)).collect() };
        Fleet { plan: plan.clone(), operators: (0..plan.nodes.len()).map(of).collect(), turn: 0 }
    }

    fn is_global(&self, node: usize) -> bool {
        self.operators[node].first().is_some_and(|o| o.routing(0) == Routing::One)
    }

    /// The parts of a delta, by worker.
    fn split(&mut self, node: usize, input: usize, delta: &Delta) -> Vec<(usize, Delta)> {
        let peers = self.operators[node].len();
        match self.operators[node][0].routing(input) {
            Routing::One => vec![(0, delta.clone())],
            Routing::All => (0..peers).map(|w| (w, delta.clone())).collect(),
            Routing::Any => {
                self.turn += 1;
                vec![(self.turn % peers, delta.clone())]
            }
            Routing::Hash(columns) => {
                let keys: Vec<_> = columns.iter().map(|c| delta.rows.column(*c).clone()).collect();
                let hashes = hash_columns(&keys, delta.n_rows()).unwrap();
                let of = |w: usize| (0u32..).zip(&hashes).filter(|(_, h)| worker(**h, peers) == w).map(|(row, _)| row).collect();
                (0..peers).map(|w| (w, delta.take(&of(w)).unwrap())).filter(|(_, d)| !d.is_empty()).collect()
            }
        }
    }

    pub(crate) fn step(&mut self, epoch: &[Change], batch_max: usize, to: &mut Sum) {
        let mut sent: Vec<Vec<Delta>> = vec![];
        for node in 0..self.plan.nodes.len() {
            let spec = self.plan.nodes[node].clone();
            if let Op::Source { id, .. } = &spec.op {
                let mine: Vec<(Row, i64)> =
                    epoch.iter().filter(|(s, ..)| source(*s) == *id).map(|(_, row, d)| (row.clone(), *d)).collect();
                sent.push(mine.chunks(batch_max).map(|c| delta(&base(), c, self.plan.nodes[0].append_only)).collect());
                continue;
            }
            let mut out = Out::default();
            for (input, from) in spec.inputs.iter().enumerate() {
                for delta in sent[*from].clone() {
                    for (w, part) in self.split(node, input, &delta) {
                        self.operators[node][w].push(input, part, &mut out).unwrap();
                    }
                }
            }
            let n = if self.is_global(node) { 1 } else { self.operators[node].len() };
            for operator in &mut self.operators[node][..n] {
                while operator.finish(&mut out).unwrap() == Finish::More {}
            }
            for (error, d) in out.errors {
                *to.errors.entry(error).or_default() += d;
            }
            sent.push(out.deltas);
        }
        sent[self.plan.root].iter().for_each(|d| add_delta(&mut to.rows, d));
        to.errors.retain(|_, n| *n != 0);
    }

    pub(crate) fn save(&self) -> Vec<Vec<Image>> {
        let of_node = |(node, operators): (usize, &Vec<Box<dyn Operator>>)| {
            let mut all: Vec<Image> = vec![];
            let mut shared: Option<Vec<Image>> = None;
            for operator in &operators[..if self.is_global(node) { 1 } else { operators.len() }] {
                let mut images = vec![];
                operator.save(&None, &mut images).unwrap();
                let (of_all, own): (Vec<Image>, Vec<Image>) = images.into_iter().partition(|i| i.of == Of::All);
                all.extend(own);
                assert!(shared.get_or_insert_with(|| of_all.clone()) == &of_all, "what all know is the same on all");
            }
            all.extend(shared.unwrap_or_default());
            through_bytes(all)
        };
        self.operators.iter().enumerate().map(of_node).collect()
    }

    fn restored(plan: &FlowPlan, images: &[Vec<Image>], peers: usize) -> Fleet {
        Fleet::restored_within(plan, images, peers, None)
    }

    pub(crate) fn restored_within(plan: &FlowPlan, images: &[Vec<Image>], peers: usize, budget: Option<&Arc<Budget>>) -> Fleet {
        let mut fleet = Fleet::within(plan, peers, budget);
        for (node, images) in images.iter().enumerate() {
            let one = fleet.is_global(node).then_some(0);
            let (whole, changes): (Vec<&Image>, Vec<&Image>) = images.iter().partition(|i| i.step == Step::Whole);
            for (me, operator) in fleet.operators[node].iter_mut().enumerate() {
                operator.restore(&owned(whole.clone(), one, me, peers).collect::<Vec<_>>()).unwrap();
                match one {
                    Some(0) if me > 0 => {}
                    Some(_) => operator.restore_changes(&changes, &|_| true).unwrap(),
                    None => operator.restore_changes(&changes, &|h| worker(h, peers) == me).unwrap(),
                }
            }
        }
        fleet
    }

    /// Bytes on the disk.
    pub(crate) fn spilled(&self) -> u64 {
        self.operators.iter().flatten().map(|o| o.stats().spilled_bytes).sum()
    }

    /// The workers of a node that keep its state.
    fn keepers(&mut self, node: usize) -> &mut [Box<dyn Operator>] {
        let n = if self.is_global(node) { 1 } else { self.operators[node].len() };
        &mut self.operators[node][..n]
    }
}

/// Checkpoints one after another: copies of buckets taken between different epochs, and behind them the changes of each checkpoint.
pub(crate) struct Chain {
    /// By node.
    pub(crate) images: Vec<Vec<Image>>,
    /// By node: whether it remembers changes, and the buckets that are still to be copied.
    left: Vec<Option<Vec<usize>>>,
}

impl Chain {
    pub(crate) fn begin(fleet: &mut Fleet, images: Option<Vec<Vec<Image>>>) -> Chain {
        let n = fleet.operators.len();
        let buckets: Vec<usize> = if images.is_some() { vec![] } else { (0..256).collect() };
        let mut left = vec![];
        for node in 0..n {
            let tracks: BTreeSet<bool> = fleet.keepers(node).iter_mut().map(|o| o.track()).collect();
            assert!(tracks.len() <= 1, "workers agree");
            left.push(tracks.contains(&true).then(|| buckets.clone()));
        }
        Chain { images: images.unwrap_or_else(|| vec![vec![]; n]), left }
    }

    /// Between two epochs: some buckets, in any order.
    fn walk(&mut self, rng: &mut Rng, fleet: &mut Fleet, all: bool) {
        for (node, left) in self.left.iter_mut().enumerate() {
            let Some(left) = left else { continue };
            let n = if all { left.len() } else { rng.below(left.len() + 1) };
            for _ in 0..n {
                let bucket = left.swap_remove(rng.below(left.len()));
                for operator in fleet.keepers(node) {
                    let mut images = vec![];
                    operator.save_bucket(bucket, &mut images).unwrap();
                    self.images[node].extend(through_bytes(images));
                }
            }
        }
    }

    /// A checkpoint.
    pub(crate) fn cut(&mut self, rng: &mut Rng, fleet: &mut Fleet) {
        self.walk(rng, fleet, true);
        let whole = fleet.save();
        for (node, whole) in whole.into_iter().enumerate() {
            if self.left[node].is_none() {
                self.images[node] = whole;
                continue;
            }
            for operator in fleet.keepers(node) {
                let mut images = vec![];
                operator.save_changes(&mut images).unwrap();
                self.images[node].extend(through_bytes(images));
            }
            if rng.one_in(4) {
                let (plan, all) = (&fleet.plan, std::mem::take(&mut self.images[node]));
                let merged = (0..256).step_by(64).flat_map(|b| merge(plan, node, &all, b..b + 64).unwrap());
                self.images[node] = through_bytes(merged.collect());
                assert!(self.images[node].iter().all(|i| i.step == Step::Whole));
            }
        }
    }
}

/// The promise for checkpoints that hold changes: as [`check`], and each goes on from the one before.
fn check_changes(rng: &mut Rng, p: &FlowPlan, epochs: &[Vec<Change>]) {
    let mut whole = Run::new(p);
    let mut wanted = vec![];
    for epoch in epochs {
        whole.step(epoch, 1000);
        wanted.push(Sum { rows: whole.rows.clone(), errors: whole.named.clone() });
    }
    let (mut fleet, mut sum) = (Fleet::new(p, 1 + rng.below(4)), Sum::default());
    let begins = rng.below(epochs.len());
    let mut chain = None;
    for (i, epoch) in epochs.iter().enumerate() {
        fleet.step(epoch, 9, &mut sum);
        if i < begins {
            continue;
        }
        let chain = chain.get_or_insert_with(|| Chain::begin(&mut fleet, None));
        if rng.one_in(3) {
            chain.walk(rng, &mut fleet, false);
            continue;
        }
        chain.cut(rng, &mut fleet);
        let peers = rng.pick(&[1, 2, 3, 5, 256]);
        let (mut other, mut after) = (Fleet::restored(p, &chain.images, peers), sum.clone());
        other.step(&[], 1, &mut after);
        assert_eq!(after, sum, "a restored state sends nothing by itself, cut after {i}, plan {:?}", p.nodes);
        for (j, epoch) in epochs.iter().enumerate().skip(i + 1) {
            other.step(epoch, 9, &mut after);
            assert_eq!(after, wanted[j], "epoch {j} with {peers} workers, cut after {i}, plan {:?}", p.nodes);
        }
        if rng.one_in(3) {
            // goes on from what was restored, whose changes are changes of the same images
            fleet = Fleet::restored(p, &chain.images, 1 + rng.below(4));
            *chain = Chain::begin(&mut fleet, Some(chain.images.clone()));
        }
    }
}

/// What was sent so far.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Sum {
    pub rows: Bag,
    pub errors: BTreeMap<Failed, i64>,
}

/// The promise: cut after any epoch, with any workers before and behind, all that follows is sent as if there had been no cut.
fn check(rng: &mut Rng, p: &FlowPlan, epochs: &[Vec<Change>]) {
    let mut whole = Run::new(p);
    let mut wanted = vec![];
    for epoch in epochs {
        whole.step(epoch, 1000);
        wanted.push(Sum { rows: whole.rows.clone(), errors: whole.named.clone() });
    }
    let (mut fleet, mut sum) = (Fleet::new(p, 1 + rng.below(4)), Sum::default());
    for (i, epoch) in epochs.iter().enumerate() {
        fleet.step(epoch, 9, &mut sum);
        assert_eq!(sum, wanted[i], "epoch {i} before the cut, plan {:?}", p.nodes);
        let images = fleet.save();
        let peers = rng.pick(&[1, 2, 3, 5, 256]);
        let (mut other, mut after) = (Fleet::restored(p, &images, peers), sum.clone());
        // a state that was restored and saved again is the same state
        if rng.one_in(4) {
            other = Fleet::restored(p, &other.save(), 1 + rng.below(3));
        }
        // an epoch without rows sends nothing again
        other.step(&[], 1, &mut after);
        assert_eq!(after, sum, "a restored state sends nothing by itself, cut after {i}, plan {:?}", p.nodes);
        for (j, epoch) in epochs.iter().enumerate().skip(i + 1) {
            other.step(epoch, 9, &mut after);
            assert_eq!(after, wanted[j], "epoch {j} with {peers} workers, cut after {i}, plan {:?}", p.nodes);
        }
        if rng.one_in(3) {
            // goes on from what was restored: cuts behind cuts
            fleet = Fleet::restored(p, &images, 1 + rng.below(4));
        }
    }
}

fn simple(op: Op, n: u32, append_only: bool) -> FlowPlan {
    let mut p = plan(n, append_only);
    on(&mut p, op, (0..n as usize).collect());
    p
}

/// A plan and epochs for it.
pub(crate) type Case = (FlowPlan, Vec<Vec<Change>>);

/// Cases of every kind.
pub(crate) fn cases(rng: &mut Rng) -> Vec<Case> {
    use JoinKind::*;
    let mut all: Vec<Case> = vec![];
    let append_only = rng.one_in(2);
    let mut add = |rng: &mut Rng, op: Op, n: u32| {
        let n_keys = rng.pick(&[2, 5, 40]);
        all.push((simple(op, n, append_only), history(rng, n, 4, 25, !append_only, n_keys)));
    };
    let cast = Scalar::Cast { arg: Box::new(Scalar::Column(1)), to: DataType::Int64 };
    add(rng, Op::Map { filter: None, exprs: Some(vec![Scalar::Column(2), cast.clone(), Scalar::Column(0)]) }, 1);
    for kind in [Inner, Left, Right, Full, LeftSemi, LeftAnti] {
        let on = rng.pick(&[vec![], vec![(1, 1)], vec![(0, 0), (2, 2)]]);
        let residual = rng.one_in(2).then(|| compare(regauge_plan::scalar::CompareOp::Le, Scalar::Column(4), Scalar::Column(11)));
        let nulls_equal = rng.one_in(2);
        add(rng, Op::Join { kind, on, nulls_equal, residual }, 2);
    }
    let keys = rng.pick(&[vec![], vec![0], vec![1], vec![2], vec![0, 1, 2]]);
    add(rng, Op::Aggregate { keys, aggs: all_calls() }, 1);
    add(rng, Op::Distinct, 1);
    for (partition, order) in [(vec![], vec![]), (vec![0], vec![desc(2)]), (vec![5, 3], vec![asc(1), desc(4)])] {
        let (limit, offset, row_number) = (rng.below(5) as u64, rng.below(3) as u64, rng.one_in(2));
        add(rng, Op::TopK { partition, order, limit, offset, row_number }, 1);
    }
    let window = over::random(rng);
    add(rng, window, 1);
    add(rng, Op::Union, 2);
    for kind in [SetOpKind::Intersect, SetOpKind::Except] {
        let all = rng.one_in(2);
        add(rng, Op::SetOp { kind, all }, 2);
    }
    for matching in [AsOfMatch::AtOrBefore, AsOfMatch::Before, AsOfMatch::AtOrAfter, AsOfMatch::After] {
        let (on, c) = (rng.pick(&[vec![], vec![(0, 0)], vec![(5, 5), (0, 0)]]), rng.pick(&[4, 2, 1, 6, 0]));
        let outer = rng.one_in(2);
        add(rng, Op::AsOf { outer, on, moment: (c, c), matching }, 2);
    }
    add(rng, Op::Tumble { ts: 4, size_us: 7, offset_us: 2 }, 1);
    add(rng, Op::Hop { ts: 4, slide_us: 3, size_us: 7, offset_us: 2 }, 1);
    add(rng, Op::Cumulate { ts: 4, step_us: 3, size_us: 9, offset_us: 2 }, 1);
    let partition = rng.pick(&[vec![], vec![0], vec![1, 5]]);
    add(rng, Op::Session { partition, ts: 4, gap_us: 5, on_close: false }, 1);
    let sides = rng.below(5);
    let epochs = history(rng, 1, 6, 20, !append_only, 4);
    all.push((temporal(sides, rng.one_in(2), append_only), with_clock(rng, epochs)));
    let partition = rng.pick(&[vec![], vec![0], vec![5]]);
    all.push((time::closing_sessions(&partition, 6), time::watermarked(rng, 6, 8)));
    all.push((time::closing_groups(&[0, 7, 8], 2, 1, 9), time::watermarked(rng, 6, 8)));
    all.push((rows::unfolding(vec![rows::letters(1)], rng.one_in(2)), history(rng, 1, 4, 20, true, 6)));
    for distinct in [true, false] {
        all.push((recursive::reach(distinct, recursive::limits(9, 10_000)), recursive::history(rng, 6, !distinct)));
    }
    let mut constant = plan(1, false);
    let two = vec![vec![Value::int8(1)], vec![Value::null(DataType::Int64)]];
    let fixed = constant.push(Op::Rows { rows: two }, vec![], (vec![DataType::Int64], true)).unwrap();
    let column = on(&mut constant, Op::Map { filter: None, exprs: Some(vec![Scalar::Column(0)]) }, vec![0]);
    on(&mut constant, Op::Union, vec![fixed, column]);
    all.push((constant, history(rng, 1, 4, 10, true, 4)));
    all
}

#[test]
fn every_operator_and_every_aggregate_function_is_saved_and_restored_here() {
    let plans: Vec<FlowPlan> = cases(&mut Rng(1)).into_iter().map(|(p, _)| p).collect();
    let steps = plans.iter().flat_map(|p| &p.nodes).filter_map(|n| match &n.op {
        Op::Recursive { step, .. } => Some(step.as_ref()),
        _ => None,
    });
    let nodes: Vec<&Op> = plans.iter().chain(steps).flat_map(|p| &p.nodes).map(|n| &n.op).collect();
    let kinds: BTreeSet<usize> = nodes.iter().map(|op| kind(op)).collect();
    assert_eq!(kinds, (0..N_KINDS).collect(), "operators without a case");
    let calls = nodes.iter().filter_map(|op| if let Op::Aggregate { aggs, .. } = op { Some(aggs) } else { None });
    let functions: BTreeSet<usize> = calls.flatten().map(|c| function(c.func)).collect();
    assert_eq!(functions, (0..N_FUNCTIONS).collect(), "aggregate functions without a case");
}

proptest! {
    #![proptest_config(crate::cases(12))]

    #[test]
    fn an_operator_that_is_restored_goes_on_as_if_nothing_had_happened(seed: u64) {
        let rng = &mut Rng(seed);
        for (p, epochs) in cases(rng) {
            check(rng, &p, &epochs);
        }
    }

    #[test]
    fn an_operator_that_is_restored_from_changes_goes_on_as_if_nothing_had_happened(seed: u64) {
        let rng = &mut Rng(seed);
        for (p, epochs) in cases(rng) {
            check_changes(rng, &p, &epochs);
        }
    }

    #[test]
    fn trees_of_operators_are_restored_from_changes(seed: u64, append_only: bool) {
        let rng = &mut Rng(seed);
        let p = crate::random_tree(rng, append_only);
        let epochs = history(rng, 3, 6, 12, !append_only, 4);
        check_changes(rng, &p, &epochs);
    }

    #[test]
    fn trees_of_operators_are_restored(seed: u64, append_only: bool) {
        let rng = &mut Rng(seed);
        let p = crate::random_tree(rng, append_only);
        let epochs = history(rng, 3, 4, 12, !append_only, 4);
        check(rng, &p, &epochs);
    }
}

#[test]
fn sums_that_have_outgrown_64_bits_and_intervals_and_regressions_come_back() {
    use AggFunc::*;
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let wide = DataType::Decimal128(38, 0);
    let spread = |s| AggFunc::Spread(s);
    let aggs = vec![
        call(Sum, &[0], wide),
        call(spread(regauge_plan::flowplan::Spread::Corr), &[2, 2], DataType::Float64),
        call(spread(regauge_plan::flowplan::Spread::Slope), &[2, 2], DataType::Float64),
        call(ArrayAgg, &[0], list),
    ];
    let p = simple(Op::Aggregate { keys: vec![5], aggs }, 1, false);
    let row = |n: i128, x: f64| vec![V::Int(n), V::Null, float(x), V::Null, V::Null, V::Bool(true), V::Null];
    let big = i128::from(i64::MAX);
    let epochs: Vec<Vec<Change>> = vec![
        vec![(0, row(big, 1.5), 1), (0, row(big, f64::INFINITY), 1), (0, row(big - 1, 1e300), 1)],
        vec![(0, row(-7, -3.25), 1), (0, row(big, f64::INFINITY), -1)],
        vec![(0, row(big, 1.5), -1), (0, row(big - 1, 1e300), -1), (0, row(8, 2.0), 1)],
    ];
    (0..20).for_each(|seed| check(&mut Rng(seed), &p, &epochs));
    (0..20).for_each(|seed| check_changes(&mut Rng(seed), &p, &epochs));
}

#[test]
fn images_of_another_operator_are_refused() {
    let rng = &mut Rng(3);
    let mut fleets: Vec<(FlowPlan, Vec<Image>)> = vec![];
    for (p, epochs) in cases(rng) {
        let mut fleet = Fleet::new(&p, 1);
        fleet.step(&epochs[0], 100, &mut Sum::default());
        let images = fleet.save().swap_remove(p.root);
        fleets.push((p, images));
    }
    let (mut n_refused, mut n_panicked) = (0, 0);
    for (p, _) in &fleets {
        for (_, images) in fleets.iter().filter(|(_, images)| !images.is_empty()) {
            let mut operator = ops::build(p, p.root).unwrap();
            let images: Vec<&Image> = images.iter().collect();
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| operator.restore(&images))) {
                Ok(Err(_)) => n_refused += 1,
                Ok(Ok(())) => {}
                Err(_) => n_panicked += 1,
            }
        }
    }
    assert_eq!(n_panicked, 0);
    assert!(n_refused > 200, "{n_refused}");
}
