//! How a plan is cut into stages: the nodes that one worker runs by direct calls, without an exchange between them.
//!
//! ```text
//!   source ─▶ map ─▶ (by key) aggregate ─▶ map ─▶ (by row) output        stage 0 │ stage 1 │ stage 2
//!        └──────────▶ (stays) union ◀────────┘                           one timely operator per stage
//! ```
//! Invariant: a stage's inputs come from stages before it only, so an epoch closes stage by stage; each stage but the last sends to a
//! later one, so whoever sees the output's frontier pass an epoch has seen every stage close it. Rows of a node are where its
//! [`Place`] says; an exchange is put in only where an operator needs them elsewhere. With one worker there is one stage.
//! Pure: it knows neither timely nor threads. Nodes that the root does not need are left out.

use crate::image::Home;
use crate::operator::{Operator, Routing};
use regauge_plan::flowplan::{FlowPlan, JoinKind, Op};
use regauge_plan::scalar::Scalar;

/// Who gets rows on their way to another stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// The same worker.
    Stay,
    /// The flow's one worker.
    One,
    /// Every worker gets all rows.
    All,
    /// The owner of the frozen hash of these columns.
    Hash(Vec<usize>),
}

/// Where a node's rows go. The output is the node after the plan's last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// To a node of the same stage.
    Here { node: usize, input: usize },
    /// To a node of a later stage, through the sending stage's port of this number.
    Sent { port: usize, node: usize, input: usize, spread: Spread },
}

/// A plan, cut.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Nodes of each stage, in the plan's order; the output is in the last stage.
    pub stages: Vec<Vec<usize>>,
    /// The later stages that each stage sends to: its ports.
    pub ports: Vec<Vec<usize>>,
    /// Where the rows of each node go; by node.
    pub wires: Vec<Vec<Wire>>,
    /// Nodes that only the flow's one worker finishes; by node.
    pub on_one: Vec<bool>,
    /// By node, and of the output: the columns by whose hash its rows are on workers, if they are.
    pub homes: Vec<Home>,
}

/// What is known of the worker that a row of a node is on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Anywhere,
    One,
    /// The owner of the hash of these columns of the row, so equal rows are on one worker.
    Hash(Vec<usize>),
}

impl Shape {
    /// Cuts a validated plan for so many workers; an operator for each node but the sources.
    pub fn new(plan: &FlowPlan, operators: &[Option<Box<dyn Operator>>], peers: usize) -> Shape {
        let n = plan.nodes.len();
        let needed = needed(plan);
        let mut places: Vec<Place> = Vec::with_capacity(n);
        let mut levels = vec![0; n + 1];
        let mut spreads: Vec<Vec<Option<Spread>>> = Vec::with_capacity(n + 1);
        for (node, spec) in plan.nodes.iter().enumerate() {
            let need = |input: usize| operators[node].as_ref().map_or(Routing::Any, |o| o.routing(input));
            let ways = spec.inputs.iter().enumerate().map(|(i, from)| exchange(&need(i), &places[*from], peers));
            let ways: Vec<Option<Spread>> = ways.collect();
            levels[node] = level(&spec.inputs, &ways, &levels);
            spreads.push(ways);
            places.push(place(plan, node, &places));
        }
        let root = &plan.nodes[plan.root];
        let need = match (&places[plan.root], &plan.key) {
            (Place::Anywhere, _) if root.append_only => Routing::Any,
            (Place::Anywhere, Some(key)) => Routing::Hash(key.clone()),
            (Place::Anywhere, None) => Routing::Hash((0..root.types.len()).collect()),
            _ => Routing::Any,
        };
        let way = exchange(&need, &places[plan.root], peers);
        levels[n] = level(&[plan.root], std::slice::from_ref(&way), &levels);
        spreads.push(vec![way]);

        let home = |place: &Place| if let Place::Hash(columns) = place { Some(columns.clone()) } else { None };
        let mut homes: Vec<Home> = places.iter().map(home).collect();
        homes.push(if let Routing::Hash(columns) = &need { Some(columns.clone()) } else { home(&places[plan.root]) });

        let n_stages = levels[n] + 1;
        let mut shape = Shape {
            stages: vec![vec![]; n_stages],
            ports: vec![vec![]; n_stages],
            wires: vec![vec![]; n + 1],
            on_one: places.iter().map(|p| *p == Place::One).collect(),
            homes,
        };
        for node in (0..=n).filter(|i| *i == n || needed[*i]) {
            shape.stages[levels[node]].push(node);
            let inputs: &[usize] = if node == n { std::slice::from_ref(&plan.root) } else { &plan.nodes[node].inputs };
            for (input, from) in inputs.iter().enumerate() {
                let (a, b) = (levels[*from], levels[node]);
                let wire = if a == b {
                    Wire::Here { node, input }
                } else {
                    let port = shape.port(a, b);
                    Wire::Sent { port, node, input, spread: spreads[node][input].clone().unwrap_or(Spread::Stay) }
                };
                shape.wires[*from].push(wire);
            }
        }
        shape
    }

    fn port(&mut self, from: usize, to: usize) -> usize {
        let ports = &mut self.ports[from];
        ports.iter().position(|p| *p == to).unwrap_or_else(|| {
            ports.push(to);
            ports.len() - 1
        })
    }
}

/// Which nodes the root is made of.
fn needed(plan: &FlowPlan) -> Vec<bool> {
    let mut needed = vec![false; plan.nodes.len()];
    needed[plan.root] = true;
    for node in (0..plan.nodes.len()).rev().filter(|i| *i <= plan.root) {
        if needed[node] {
            plan.nodes[node].inputs.iter().for_each(|i| needed[*i] = true);
        }
    }
    needed
}

/// The exchange that rows need which are at `place`, if any.
fn exchange(need: &Routing, place: &Place, peers: usize) -> Option<Spread> {
    if peers == 1 {
        return None;
    }
    match (need, place) {
        (Routing::Any, _) | (Routing::One, Place::One) => None,
        (Routing::Hash(need), Place::Hash(have)) if need == have => None,
        (Routing::One, _) => Some(Spread::One),
        (Routing::All, _) => Some(Spread::All),
        (Routing::Hash(need), _) => Some(Spread::Hash(need.clone())),
    }
}

fn level(inputs: &[usize], ways: &[Option<Spread>], levels: &[usize]) -> usize {
    inputs.iter().zip(ways).map(|(from, way)| levels[*from] + usize::from(way.is_some())).max().unwrap_or(0)
}

/// Where a node's rows are, given where those of its inputs are.
fn place(plan: &FlowPlan, node: usize, places: &[Place]) -> Place {
    let spec = &plan.nodes[node];
    let by = |columns: Vec<usize>| if columns.is_empty() { Place::One } else { Place::Hash(columns) };
    let of_input = |i: usize| spec.inputs.get(i).map_or(Place::Anywhere, |i| places[*i].clone());
    match &spec.op {
        Op::Source { .. } => Place::Anywhere,
        Op::Rows { .. } => Place::One,
        Op::Map { exprs: None, .. } => of_input(0),
        Op::Map { exprs: Some(exprs), .. } => renamed(of_input(0), exprs),
        // A window keeps its input's columns and puts the bounds behind them.
        Op::Tumble { .. } | Op::Hop { .. } | Op::Cumulate { .. } => of_input(0),
        Op::Temporal { .. } if plan.nodes[spec.inputs[0]].append_only => of_input(0),
        Op::Temporal { by, .. } => Place::Hash(by.clone()),
        Op::Join { on, .. } | Op::AsOf { on, .. } if on.is_empty() => Place::One,
        Op::AsOf { on, .. } => Place::Hash(on.iter().map(|(left, _)| *left).collect()),
        Op::Join { kind: JoinKind::Full, .. } => Place::Anywhere,
        Op::Join { kind: JoinKind::Right, on, .. } => {
            let n_left = plan.nodes[spec.inputs[0]].types.len();
            Place::Hash(on.iter().map(|(_, right)| n_left + right).collect())
        }
        Op::Join { on, .. } => Place::Hash(on.iter().map(|(left, _)| *left).collect()),
        Op::Aggregate { keys, .. } | Op::Close { keys, .. } => by((0..keys.len()).collect()),
        Op::Distinct | Op::SetOp { .. } => Place::Hash((0..spec.types.len()).collect()),
        Op::TopK { partition, .. } | Op::Window { partition, .. } | Op::Session { partition, .. } => by(partition.clone()),
        Op::Union => {
            let first = of_input(0);
            if spec.inputs.iter().all(|i| places[*i] == first) { first } else { Place::Anywhere }
        }
        Op::FlatMap { keep, .. } => {
            let kept: Vec<Scalar> = keep.iter().map(|c| Scalar::Column(*c)).collect();
            renamed(of_input(0), &kept)
        }
        Op::Recursive { .. } => Place::One,
        #[allow(unreachable_patterns)]
        _ => Place::Anywhere,
    }
}

/// The place of rows whose columns are `exprs` of the input's.
fn renamed(place: Place, exprs: &[Scalar]) -> Place {
    let Place::Hash(columns) = place else { return place };
    let new = |old: &usize| exprs.iter().position(|e| matches!(e, Scalar::Column(c) if c == old));
    columns.iter().map(new).collect::<Option<Vec<_>>>().map_or(Place::Anywhere, Place::Hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops;
    use arrow::datatypes::DataType;
    use regauge_plan::flowplan::{AggCall, AggFunc, SourceId};
    use regauge_types::{ColumnId, TopicId};

    fn plan() -> FlowPlan {
        let mut plan = FlowPlan { nodes: vec![], root: 0, output: vec![], key: None };
        let source = Op::Source { id: SourceId::Topic(TopicId(1)), columns: vec![ColumnId(0), ColumnId(1)] };
        plan.push(source, vec![], (vec![DataType::Int64, DataType::Int64], false)).unwrap();
        plan
    }

    fn on(plan: &mut FlowPlan, op: Op, inputs: Vec<usize>) -> usize {
        plan.root = plan.push(op, inputs, (vec![], true)).unwrap();
        plan.root
    }

    fn count(keys: Vec<usize>) -> Op {
        let call = AggCall {
            func: AggFunc::Count,
            args: vec![],
            distinct: false,
            filter: None,
            order: vec![],
            direct: vec![],
            output: DataType::Int64,
        };
        Op::Aggregate { keys, aggs: vec![call] }
    }

    fn columns(of: &[usize]) -> Op {
        Op::Map { filter: None, exprs: Some(of.iter().map(|c| Scalar::Column(*c)).collect()) }
    }

    fn shape(plan: &FlowPlan, peers: usize) -> Shape {
        let operators: Vec<_> = (0..plan.nodes.len()).map(|i| ops::build(plan, i).ok()).collect();
        Shape::new(plan, &operators, peers)
    }

    #[test]
    fn one_worker_runs_a_plan_in_one_stage() {
        let mut p = plan();
        let g = on(&mut p, count(vec![1]), vec![0]);
        on(&mut p, Op::Union, vec![0, g]);
        let s = shape(&p, 1);
        assert_eq!(s.stages, [vec![0, 1, 2, 3]]);
        assert_eq!(s.ports, [Vec::<usize>::new()]);
    }

    #[test]
    fn rows_that_are_in_place_are_not_exchanged_again() {
        let mut p = plan();
        let g = on(&mut p, count(vec![1]), vec![0]);
        let m = on(&mut p, columns(&[1, 0]), vec![g]);
        let top = Op::TopK { partition: vec![1], order: vec![], limit: 1, offset: 0, row_number: false };
        on(&mut p, top, vec![m]);
        let s = shape(&p, 2);
        assert_eq!(s.stages, [vec![0], vec![1, 2, 3, 4]], "the key moved to column 1, and the output is keyed by it");
    }

    #[test]
    fn a_projection_that_drops_the_key_is_exchanged_by_whole_rows_before_it_is_published() {
        let mut p = plan();
        let g = on(&mut p, count(vec![1]), vec![0]);
        let m = on(&mut p, columns(&[1]), vec![g]);
        let s = shape(&p, 3);
        assert_eq!(s.stages, [vec![0], vec![1, 2], vec![3]]);
        let wire = Wire::Sent { port: 0, node: 3, input: 0, spread: Spread::Hash(vec![0]) };
        assert_eq!(s.wires[m], [wire]);
    }

    #[test]
    fn an_edge_around_an_exchange_stays_on_its_worker() {
        let mut p = plan();
        let d = on(&mut p, Op::Distinct, vec![0]);
        on(&mut p, Op::Union, vec![0, d]);
        let s = shape(&p, 2);
        assert_eq!(s.wires[0].len(), 2);
        assert!(matches!(&s.wires[0][1], Wire::Sent { spread: Spread::Stay, node: 2, .. }), "{:?}", s.wires);
        assert_eq!(s.ports, [vec![1], vec![2], vec![]]);
    }

    #[test]
    fn what_is_global_is_finished_on_one_worker() {
        let mut p = plan();
        on(&mut p, count(vec![]), vec![0]);
        let s = shape(&p, 2);
        assert_eq!(s.on_one, [false, true]);
        assert_eq!(s.stages, [vec![0], vec![1, 2]]);
    }
}
