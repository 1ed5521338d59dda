//! WITH RECURSIVE: the recursive term becomes a plan of its own, a step; whatever does not depend on the recursion stays outside and
//! is an input, maintained by the ordinary operators.
//!
//! The term is lowered over a node that stands for the rows of the recursion. What depends on that node moves into the step, and is
//! rewritten to hand on the level, a column more that stands somewhere in every row (see [`crate::flowplan::levels`]).

use std::collections::HashMap;

use arrow::datatypes::DataType;
use datafusion::logical_expr::{RecursiveQuery, TableScan};

use super::{Builder, Rel, Result, scalar};
use crate::bind::WorkTable;
use crate::error::PlanError;
use crate::flowplan::{FlowPlan, JoinKind, Op};
use crate::scalar::Scalar;

/// A recursion whose term is being lowered.
#[derive(Debug)]
pub(super) struct Open {
    name: String,
    node: usize,
}

impl Builder {
    pub(super) fn recursion(&mut self, r: &RecursiveQuery) -> Result<Rel> {
        let types: Vec<DataType> = r.static_term.schema().fields().iter().map(|f| scalar::output_type(f.data_type())).collect();
        let base = self.lower(&r.static_term)?;
        let base = self.cast_to(base, &types)?;
        let base = self.materialize_wide(base)?;
        // Not shared with an equal node: each stands for the rows of its own recursion.
        let given = (types.clone(), false);
        let node = self.plan.push(Op::Given { input: 0 }, vec![], given).ok_or_else(|| PlanError::internal("no input"))?;
        self.keys.push(None);
        self.open.push(Open { name: r.name.clone(), node });
        let term = self.lower(&r.recursive_term);
        self.open.pop();
        let term = self.cast_to(term?, &types)?;
        let root = self.materialize(term)?;
        let mut cut = Cut {
            from: &self.plan,
            step: FlowPlan { nodes: vec![], root: 0, output: vec![], key: None },
            distinct: r.is_distinct,
            inputs: vec![base],
            places: HashMap::new(),
        };
        cut.rows(node)?;
        cut.finish(node, root, &r.name)?;
        let (step, inputs) = (Box::new(cut.step), cut.inputs);
        let node = self.push(Op::Recursive { step, distinct: r.is_distinct, limits: self.limits }, inputs)?;
        Ok(self.rel(node))
    }

    /// The rows of the recursion that is being lowered.
    pub(super) fn work_table(&mut self, of: &WorkTable, scan: &TableScan) -> Result<Rel> {
        let open = self.open.iter().rev().find(|o| o.name == of.name);
        let node = open.ok_or_else(|| PlanError::internal("a recursive reference outside of its query"))?.node;
        let types = self.types(node).to_vec();
        let schema = of.schema.fields();
        let wanted: Vec<usize> = scan.projection.clone().unwrap_or_else(|| (0..types.len()).collect());
        let column = |c: &usize| {
            let (have, want) = (types.get(*c)?, scalar::output_type(schema.get(*c)?.data_type()));
            let e = Scalar::Column(*c);
            Some(if *have == want { e } else { Scalar::Cast { arg: Box::new(e), to: want } })
        };
        let exprs: Option<Vec<Scalar>> = wanted.iter().map(column).collect();
        Ok(Rel { node, filter: vec![], exprs: exprs.ok_or_else(|| PlanError::internal("a recursive reference is too wide"))? })
    }
}

/// A step being cut out of the plan.
struct Cut<'a> {
    from: &'a FlowPlan,
    step: FlowPlan,
    distinct: bool,
    /// Nodes outside that the step reads; the base is the first.
    inputs: Vec<usize>,
    /// Where a node of the plan stands in the step, and where its rows have the level.
    places: HashMap<usize, (usize, Option<usize>)>,
}

impl Cut<'_> {
    fn push(&mut self, op: Op, inputs: Vec<usize>, types: Vec<DataType>) -> Result<usize> {
        let odd = || PlanError::internal("an operator of a recursion does not fit its inputs");
        self.step.push(op, inputs, (types, false)).ok_or_else(odd)
    }

    /// The recursion's own rows.
    fn rows(&mut self, given: usize) -> Result<()> {
        let mut types = self.from.nodes[given].types.clone();
        let level = types.len();
        types.push(DataType::Int64);
        let at = self.push(Op::Given { input: 0 }, vec![], types)?;
        self.places.insert(given, (at, Some(level)));
        Ok(())
    }

    /// Everything between the recursion's rows and the root, which ends in the level.
    fn finish(&mut self, given: usize, root: usize, name: &str) -> Result<()> {
        let mut depends = vec![false; self.from.nodes.len()];
        depends[given] = true;
        for (i, node) in self.from.nodes.iter().enumerate().skip(given + 1) {
            depends[i] = node.inputs.iter().any(|n| depends[*n]);
        }
        if !depends[root] {
            return Err(PlanError::unsupported(
                "a recursive term that does not use the rows before is not offered in a view",
                "write UNION without RECURSIVE",
            ));
        }
        let mut needed = vec![false; self.from.nodes.len()];
        let mut todo = vec![root];
        while let Some(i) = todo.pop() {
            if depends[i] && !std::mem::replace(&mut needed[i], true) {
                todo.extend(&self.from.nodes[i].inputs);
            }
        }
        for i in (given + 1..=root).filter(|i| needed[*i]) {
            self.node(i, &depends, name)?;
        }
        let (at, level) = self.places.get(&root).copied().ok_or_else(|| PlanError::internal("a step without its end"))?;
        let level = level.ok_or_else(|| PlanError::internal("a step without its level"))?;
        let width = self.step.nodes[at].types.len();
        self.step.root = if level + 1 == width {
            at
        } else {
            let last = (0..width).filter(|c| *c != level).chain([level]).map(Scalar::Column).collect();
            self.push(Op::Map { filter: None, exprs: Some(last) }, vec![at], vec![])?
        };
        Ok(())
    }

    fn input(&mut self, node: usize, depends: &[bool]) -> Result<(usize, Option<usize>)> {
        if let Some(place) = self.places.get(&node) {
            return Ok(*place);
        }
        if depends[node] {
            return Err(PlanError::internal("a step's operator stands before its input"));
        }
        let types = self.from.nodes[node].types.clone();
        let at = self.push(Op::Given { input: self.inputs.len() }, vec![], types)?;
        self.inputs.push(node);
        self.places.insert(node, (at, None));
        Ok((at, None))
    }

    fn node(&mut self, i: usize, depends: &[bool], name: &str) -> Result<()> {
        let node = &self.from.nodes[i];
        let mut inputs = vec![];
        let mut levels = vec![];
        for n in &node.inputs {
            let (at, level) = self.input(*n, depends)?;
            inputs.push(at);
            levels.push(level);
        }
        let twice = || {
            let message = format!("a correlated subquery over recursive query \"{name}\" is not offered in a view");
            PlanError::unsupported(message, "write a join")
        };
        if levels.iter().flatten().count() > 1 {
            return Err(twice());
        }
        let from = levels.iter().flatten().next().copied().unwrap_or(0);
        let moved = |c: usize| c + usize::from(c >= from);
        let column = |c: usize| Scalar::Column(moved(c));
        let (op, level) = match &node.op {
            Op::Map { filter, exprs } => {
                let filter = filter.clone().map(|f| f.map_columns(&column));
                let mut level = from;
                let exprs = exprs.clone().map(|exprs| {
                    let mut out: Vec<Scalar> = exprs.into_iter().map(|e| e.map_columns(&column)).collect();
                    level = out.len();
                    out.push(Scalar::Column(from));
                    out
                });
                (Op::Map { filter, exprs }, level)
            }
            Op::FlatMap { keep, lists, outer } => {
                let mut kept: Vec<usize> = keep.iter().map(|c| moved(*c)).collect();
                let level = kept.len();
                kept.push(from);
                let lists = lists.iter().map(|l| l.clone().map_columns(&column)).collect();
                (Op::FlatMap { keep: kept, lists, outer: *outer }, level)
            }
            Op::Join { kind, on, nulls_equal, residual } => {
                let of_left = levels.first().copied().flatten().is_some();
                let fits = match kind {
                    JoinKind::Inner => true,
                    JoinKind::Left | JoinKind::LeftSemi | JoinKind::LeftAnti => of_left,
                    JoinKind::Right => !of_left,
                    JoinKind::Full => false,
                };
                if !fits {
                    let message = format!("recursive reference to query \"{name}\" must not appear within an outer join");
                    return Err(PlanError::invalid("42P19", message));
                }
                let n_left = self.step.nodes[inputs[0]].types.len();
                let level = if of_left { from } else { n_left + from };
                let left = |c: usize| if of_left { moved(c) } else { c };
                let right = |c: usize| if of_left { c } else { moved(c) };
                let on = on.iter().map(|(l, r)| (left(*l), right(*r))).collect();
                let both = |c: usize| Scalar::Column(c + usize::from(c >= level));
                let residual = residual.clone().map(|r| r.map_columns(&both));
                (Op::Join { kind: *kind, on, nulls_equal: *nulls_equal, residual }, level)
            }
            Op::Distinct if self.distinct => {
                self.places.insert(i, (inputs[0], Some(from)));
                return Ok(());
            }
            Op::Aggregate { keys, aggs } if aggs.is_empty() && self.distinct && !keys.is_empty() => {
                let exprs: Vec<Scalar> = keys.iter().map(|k| column(*k)).chain([Scalar::Column(from)]).collect();
                (Op::Map { filter: None, exprs: Some(exprs) }, keys.len())
            }
            Op::Aggregate { aggs, .. } if !aggs.is_empty() => {
                let message = "aggregate functions are not allowed in a recursive query's recursive term";
                return Err(PlanError::invalid("42P19", message));
            }
            _ => {
                let message = "this recursive term cannot be maintained incrementally: it is not linear in the rows before";
                let hint =
                    "a recursive term joins, filters and computes; DISTINCT, windows, LIMIT and set operations stand outside";
                return Err(PlanError::unsupported(message, hint));
            }
        };
        let at = self.push(op, inputs, vec![])?;
        self.places.insert(i, (at, Some(level)));
        Ok(())
    }
}
