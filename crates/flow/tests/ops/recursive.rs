//! Recursion against a search of the graph from scratch: reachability, distances, paths counted; edges come and go, cycles are cut.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use proptest::prelude::*;
use regauge_flow::operator::FlowError;
use regauge_flow::ops::Serial;
use regauge_plan::flowplan::*;
use regauge_plan::scalar::{CompareOp, Scalar};
use regauge_plan::value::Value;
use regauge_types::Epoch;

use crate::drive::{Rng, Run, base, on, plan, source};
use crate::run::{Change, at, by_topic, engine, install};
use crate::value::*;
use crate::{cases, compare};

fn c(i: usize) -> Scalar {
    Scalar::Column(i)
}

fn map(exprs: Vec<Scalar>, filter: Option<Scalar>) -> Op {
    Op::Map { filter, exprs: Some(exprs) }
}

/// Columns 0 and 3 of a source as two bigints.
fn two(p: &mut FlowPlan, source: usize) -> usize {
    let cast = Scalar::Cast { arg: Box::new(c(3)), to: DataType::Int64 };
    on(p, map(vec![c(0), cast], None), vec![source])
}

fn step() -> FlowPlan {
    FlowPlan { nodes: vec![], root: 0, output: vec![], key: None }
}

fn given(p: &mut FlowPlan, input: usize, n: usize) -> usize {
    p.push(Op::Given { input }, vec![], (vec![DataType::Int64; n], false)).unwrap()
}

fn push(p: &mut FlowPlan, op: Op, inputs: Vec<usize>) -> usize {
    p.root = p.push(op, inputs, (vec![], false)).unwrap();
    p.root
}

fn on_first() -> Op {
    Op::Join { kind: JoinKind::Inner, on: vec![(0, 0)], nulls_equal: false, residual: None }
}

pub fn limits(steps: u64, rows: u64) -> RecursionLimits {
    RecursionLimits { steps, rows }
}

/// Nodes that edges (source 0) lead to from the starts (source 1).
pub fn reach(distinct: bool, limits: RecursionLimits) -> FlowPlan {
    let mut p = plan(2, false);
    let edges = two(&mut p, 0);
    let starts = on(&mut p, map(vec![c(0)], None), vec![1]);
    let mut s = step();
    let (rows, others) = (given(&mut s, 0, 2), given(&mut s, 1, 2));
    let joined = push(&mut s, on_first(), vec![rows, others]);
    // node, level, from, to
    push(&mut s, map(vec![c(3), c(1)], None), vec![joined]);
    on(&mut p, Op::Recursive { step: Box::new(s), distinct, limits }, vec![starts, edges]);
    p.validate().unwrap();
    p
}

/// Pairs (node, hops) with at most `hops_max` hops.
fn distances(hops_max: i64) -> FlowPlan {
    let mut p = plan(2, false);
    let edges = two(&mut p, 0);
    let starts = on(&mut p, map(vec![c(0), Scalar::Literal(Value::int8(0))], None), vec![1]);
    let mut s = step();
    let (rows, others) = (given(&mut s, 0, 3), given(&mut s, 1, 2));
    let joined = push(&mut s, on_first(), vec![others, rows]);
    // from, to, node, hops, level
    let more = Scalar::Call { func: "pg_add".into(), args: vec![c(3), Scalar::Literal(Value::int8(1))], ty: DataType::Int64 };
    let bound = compare(CompareOp::Lt, c(3), Scalar::Literal(Value::int8(hops_max)));
    push(&mut s, map(vec![c(1), more, c(4)], Some(bound)), vec![joined]);
    on(&mut p, Op::Recursive { step: Box::new(s), distinct: true, limits: RecursionLimits::default() }, vec![starts, edges]);
    p.validate().unwrap();
    p
}

fn edge(a: i128, b: i128, d: i64) -> Change {
    (0, vec![V::Int(a), V::Null, V::Null, V::Int(b), V::Null, V::Null, V::Null], d)
}

fn start(a: i128, d: i64) -> Change {
    (1, vec![V::Int(a), V::Null, V::Null, V::Int(0), V::Null, V::Null, V::Null], d)
}

#[derive(Default)]
struct Graph {
    edges: BTreeMap<(i128, i128), i64>,
    starts: BTreeMap<i128, i64>,
}

impl Graph {
    fn apply(&mut self, changes: &[Change]) {
        for (s, row, d) in changes {
            let (a, b) = (as_int(&row[0]), as_int(&row[3]));
            if *s == 0 {
                *self.edges.entry((a, b)).or_default() += d;
            } else {
                *self.starts.entry(a).or_default() += d;
            }
        }
        self.edges.retain(|_, n| *n != 0);
        self.starts.retain(|_, n| *n != 0);
    }

    fn reach(&self) -> Bag {
        let mut seen: BTreeSet<i128> = self.starts.keys().copied().collect();
        let mut todo: Vec<i128> = seen.iter().copied().collect();
        while let Some(a) = todo.pop() {
            for (_, b) in self.edges.keys().filter(|(x, _)| *x == a) {
                if seen.insert(*b) {
                    todo.push(*b);
                }
            }
        }
        seen.into_iter().map(|n| (vec![V::Int(n)], 1)).collect()
    }

    fn distances(&self, hops_max: i128) -> Bag {
        let mut seen: BTreeSet<(i128, i128)> = self.starts.keys().map(|n| (*n, 0)).collect();
        let mut todo: Vec<(i128, i128)> = seen.iter().copied().collect();
        while let Some((a, hops)) = todo.pop() {
            for (_, b) in self.edges.keys().filter(|(x, _)| *x == a && hops < hops_max) {
                if seen.insert((*b, hops + 1)) {
                    todo.push((*b, hops + 1));
                }
            }
        }
        seen.into_iter().map(|(n, h)| (vec![V::Int(n), V::Int(h)], 1)).collect()
    }

    /// How many paths lead to each node, over edges that go up only.
    fn paths(&self) -> Bag {
        let mut n: BTreeMap<i128, i64> = self.starts.clone();
        for a in 0..20 {
            let here = n.get(&a).copied().unwrap_or(0);
            for ((_, b), copies) in self.edges.iter().filter(|((x, _), _)| *x == a) {
                *n.entry(*b).or_default() += here * copies;
            }
        }
        n.into_iter().filter(|(_, n)| *n != 0).map(|(node, n)| (vec![V::Int(node)], n)).collect()
    }
}

/// Epochs of edges among `n` nodes; the last takes everything back.
pub fn history(rng: &mut Rng, n: usize, up: bool) -> Vec<Vec<Change>> {
    let (mut live, mut epochs): (Vec<Change>, Vec<Vec<Change>>) = (vec![], vec![]);
    for _ in 0..8 {
        let mut epoch = vec![];
        for _ in 0..rng.below(8) + 1 {
            if !live.is_empty() && rng.one_in(2) {
                let (s, row, d) = live.swap_remove(rng.below(live.len()));
                epoch.push((s, row, -d));
            } else {
                let (a, b) = (rng.below(n) as i128, rng.below(n) as i128);
                let (a, b) = if up { (a.min(b), a.max(b) + i128::from(a == b)) } else { (a, b) };
                let change = if rng.one_in(6) { start(a, 1) } else { edge(a, b, 1) };
                live.push(change.clone());
                epoch.push(change);
            }
        }
        for i in (1..epoch.len()).rev() {
            epoch.swap(i, rng.below(i + 1));
        }
        epochs.push(epoch);
    }
    epochs.push(live.into_iter().map(|(s, row, d)| (s, row, -d)).collect());
    epochs
}

fn follow(p: &FlowPlan, epochs: &[Vec<Change>], answer: impl Fn(&Graph) -> Bag) {
    let mut runs: Vec<(usize, Run)> = [1, 3, 1000].into_iter().map(|n| (n, Run::new(p))).collect();
    let mut graph = Graph::default();
    for (i, epoch) in epochs.iter().enumerate() {
        graph.apply(epoch);
        for (batch, run) in &mut runs {
            run.step(epoch, *batch);
            assert_eq!(
                run.rows,
                answer(&graph),
                "epoch {i} batches of {batch} edges {:?} starts {:?}",
                graph.edges,
                graph.starts
            );
            assert!(run.errors.is_empty(), "{:?}", run.errors);
        }
    }
    let mut whole = Run::new(p);
    whole.step(&epochs.concat(), 50);
    assert_eq!(whole.rows, runs[0].1.rows, "all in one epoch");
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn what_is_reached_is_what_a_search_finds_with_cycles_that_come_and_go(seed: u64) {
        let rng = &mut Rng(seed);
        let n = rng.pick(&[2, 4, 7, 15]);
        follow(&reach(true, RecursionLimits::default()), &history(rng, n, false), Graph::reach);
    }

    #[test]
    fn distances_within_a_bound_are_those_of_a_search(seed: u64) {
        let rng = &mut Rng(seed);
        let n = rng.pick(&[2, 4, 9]);
        follow(&distances(5), &history(rng, n, false), |g| g.distances(5));
    }

    #[test]
    fn union_all_counts_the_paths_of_a_graph_without_cycles(seed: u64) {
        let rng = &mut Rng(seed);
        let n = rng.pick(&[3, 6, 12]);
        follow(&reach(false, RecursionLimits::default()), &history(rng, n, true), Graph::paths);
    }
}

/// A node was missing that is reached by a longer way only, when the shorter ways went one level after the other within an epoch.
#[test]
fn a_row_whose_levels_go_one_after_the_other_stands_at_the_next_that_is_left() {
    for seed in (0..400).chain([7_501_458_693_314_335_909]) {
        let rng = &mut Rng(seed);
        let n = rng.pick(&[2, 4, 7, 15]);
        follow(&reach(true, RecursionLimits::default()), &history(rng, n, false), Graph::reach);
    }
}

#[test]
fn any_number_of_workers_finds_the_same() {
    for workers in [1, 2, 3] {
        let engine = engine(workers);
        for (id, seed) in [(1, 5), (2, 77), (3, 1234)] {
            let epochs = history(&mut Rng(seed), 8, false);
            let (mut graph, p) = (Graph::default(), reach(true, RecursionLimits::default()));
            graph.apply(&epochs[0]);
            let reader = install(&engine, id, &p, &epochs[0], 1);
            assert_eq!(at(&reader, 1).0, graph.reach(), "workers={workers} seed={seed}");
            for (epoch, changes) in (2..).zip(&epochs[1..]) {
                graph.apply(changes);
                engine.feed(id, Epoch(epoch), by_topic(changes, false));
                assert_eq!(at(&reader, epoch).0, graph.reach(), "workers={workers} seed={seed} epoch={epoch}");
            }
            engine.drop_flow(id);
        }
    }
}

fn nodes(of: &[i128]) -> Bag {
    of.iter().map(|n| (vec![V::Int(*n)], 1)).collect()
}

#[test]
fn a_cycle_does_not_hold_itself_up_when_what_led_into_it_is_gone() {
    let mut run = Run::new(&reach(true, RecursionLimits::default()));
    run.step(&[start(0, 1), edge(0, 1, 1), edge(1, 2, 1), edge(2, 3, 1), edge(3, 1, 1)], 10);
    assert_eq!(run.rows, nodes(&[0, 1, 2, 3]));
    run.step(&[edge(0, 1, -1)], 10);
    assert_eq!(run.rows, nodes(&[0]));
    run.step(&[edge(0, 3, 1)], 10);
    assert_eq!(run.rows, nodes(&[0, 1, 2, 3]));
}

#[test]
fn a_recursion_that_does_not_end_is_an_error_that_heals_when_the_cycle_is_cut() {
    let mut run = Run::new(&reach(false, limits(100, 10_000)));
    run.step(&[start(0, 1), edge(0, 1, 1), edge(1, 2, 1)], 10);
    assert_eq!(run.rows, nodes(&[0, 1, 2]));
    run.step(&[edge(2, 1, 1)], 10);
    assert_eq!(run.errors.get("54000"), Some(&1));
    run.step(&[edge(1, 2, -1)], 10);
    assert!(run.errors.is_empty(), "{:?}", run.named);
    assert_eq!(run.rows, nodes(&[0, 1]));
    // the same with UNION, over numbers that grow
    let mut s = step();
    let rows = given(&mut s, 0, 2);
    let next = Scalar::Call { func: "pg_add".into(), args: vec![c(0), Scalar::Literal(Value::int8(1))], ty: DataType::Int64 };
    push(&mut s, map(vec![next, c(1)], None), vec![rows]);
    let mut p = plan(2, false);
    let starts = on(&mut p, map(vec![c(0)], None), vec![1]);
    on(&mut p, Op::Recursive { step: Box::new(s), distinct: true, limits: limits(50, 10_000) }, vec![starts]);
    p.validate().unwrap();
    let mut run = Run::new(&p);
    run.step(&[start(0, 1)], 1);
    assert_eq!((run.rows.len(), run.errors.get("54000")), (51, Some(&1)));
    run.step(&[start(0, -1)], 1);
    assert!(run.rows.is_empty() && run.errors.is_empty());
}

#[test]
fn more_rows_than_a_recursion_may_hold_fail_it() {
    // every step doubles: two edges to and fro
    let changes = [start(0, 1), edge(0, 1, 2), edge(1, 0, 2)];
    let mut serial = Serial::new(&reach(false, limits(10_000, 5_000))).unwrap();
    let inputs: Vec<_> = changes.iter().map(|(s, row, d)| (source(*s), delta(&base(), &[(row.clone(), *d)], false))).collect();
    assert!(matches!(serial.step(&inputs), Err(FlowError::Recursion { rows_max: 5_000 })));
}

/// Entries touched by one change.
fn touched(run: &mut Run, node: usize, change: Change) -> u64 {
    let before = run.serial.stats(node).unwrap().touched;
    run.step(&[change], 1);
    run.serial.stats(node).unwrap().touched - before
}

#[test]
fn a_small_change_costs_what_it_changes_whatever_is_stored() {
    let p = reach(true, RecursionLimits::default());
    let node = p.root;
    let mut run = Run::new(&p);
    // a tree of 20,000 nodes, ten children each; and a cycle far out
    let mut tree: Vec<Change> = (1..20_000).map(|n| edge((n - 1) / 10, n, 1)).collect();
    tree.extend([start(0, 1), edge(20_001, 20_002, 1), edge(20_002, 20_001, 1)]);
    run.step(&tree, 8192);
    assert_eq!(run.rows.len(), 20_000, "the cycle is not reached yet");
    let leaf = touched(&mut run, node, edge(19_998, 30_000, 1));
    let cycle = touched(&mut run, node, edge(19_997, 20_001, 1));
    let cut = touched(&mut run, node, edge(19_997, 20_001, -1));
    let twig = touched(&mut run, node, edge(19_998, 30_000, -1));
    // an edge that closes a cycle through the root changes nothing but derivations
    let back = touched(&mut run, node, edge(5, 0, 1));
    println!("touched: leaf={leaf} cycle={cycle} cut={cut} twig={twig} back={back}");
    assert!(
        [leaf, cycle, cut, twig, back].into_iter().all(|n| (1..=60).contains(&n)),
        "leaf={leaf} cycle={cycle} cut={cut} twig={twig} back={back}"
    );
}
