//! The step of a recursion: operators of its own, run by direct calls.
//!
//! Each round of the recursion is an epoch to them: rows are pushed, then all are finished in order, so joins that answer at an
//! epoch's end do so at each round's. Knows nothing of levels.

use regauge_plan::flowplan::{FlowPlan, Op};
use regauge_types::Delta;

use crate::image::Image;
use crate::operator::{Finish, FlowError, OpStats, Operator, Out};
use crate::ops::build;

/// Parts of one operator's images: theirs are below it.
pub(super) const PARTS: u32 = 256;

/// See the module's header.
pub(super) struct Step {
    /// None for an input.
    nodes: Vec<Option<Box<dyn Operator>>>,
    /// By node: who reads it, at which input.
    wires: Vec<Vec<(usize, usize)>>,
    /// By input of the recursion: the nodes that stand for it.
    given: Vec<Vec<usize>>,
    root: usize,
}

impl Step {
    /// Builds the operators of a validated step.
    pub fn new(plan: &FlowPlan, n_inputs: usize) -> Result<Step, FlowError> {
        let odd = || FlowError::Plan("a step reads an input that is not there".into());
        let (mut nodes, mut given) = (vec![], vec![vec![]; n_inputs]);
        let mut wires = vec![vec![]; plan.nodes.len()];
        for (i, node) in plan.nodes.iter().enumerate() {
            if let Op::Given { input } = &node.op {
                given.get_mut(*input).ok_or_else(odd)?.push(i);
                nodes.push(None);
                continue;
            }
            for (input, from) in node.inputs.iter().enumerate() {
                wires.get_mut(*from).ok_or_else(odd)?.push((i, input));
            }
            nodes.push(Some(build(plan, i)?));
        }
        Ok(Step { nodes, wires, given, root: plan.root })
    }

    /// Rows of an input; what comes of them at once.
    pub fn push(&mut self, input: usize, delta: Delta, made: &mut Out) -> Result<(), FlowError> {
        let mut work = vec![];
        for node in self.given.get(input).into_iter().flatten() {
            self.forward(*node, &delta, &mut work, made);
        }
        self.carry(work, made)
    }

    /// The round has no more input.
    pub fn finish(&mut self, made: &mut Out) -> Result<(), FlowError> {
        for node in 0..self.nodes.len() {
            let Some(operator) = &mut self.nodes[node] else { continue };
            let mut more = true;
            let mut sent = vec![];
            while more {
                let mut out = Out::default();
                more = operator.finish(&mut out)? == Finish::More;
                made.errors.append(&mut out.errors);
                sent.append(&mut out.deltas);
            }
            let mut work = vec![];
            for delta in sent {
                self.forward(node, &delta, &mut work, made);
            }
            self.carry(work, made)?;
        }
        Ok(())
    }

    fn carry(&mut self, mut work: Vec<(usize, usize, Delta)>, made: &mut Out) -> Result<(), FlowError> {
        while let Some((node, input, delta)) = work.pop() {
            let Some(operator) = &mut self.nodes[node] else { continue };
            let mut out = Out::default();
            operator.push(input, delta, &mut out)?;
            made.errors.append(&mut out.errors);
            for delta in out.deltas {
                self.forward(node, &delta, &mut work, made);
            }
        }
        Ok(())
    }

    fn forward(&self, node: usize, delta: &Delta, work: &mut Vec<(usize, usize, Delta)>, made: &mut Out) {
        if node == self.root {
            made.emit(delta.clone());
        }
        work.extend(self.wires[node].iter().map(|(to, input)| (*to, *input, delta.clone())));
    }

    /// Counters of all its operators together.
    pub fn stats(&self) -> OpStats {
        self.nodes.iter().flatten().map(|o| o.stats()).fold(OpStats::default(), |sum, s| OpStats {
            touched: sum.touched + s.touched,
            state_rows: sum.state_rows + s.state_rows,
            state_bytes: sum.state_bytes + s.state_bytes,
            ..sum
        })
    }

    /// Images of all its operators; their parts are those of the operator behind the node's number.
    pub fn save(&self, to: &mut Vec<Image>) -> Result<(), FlowError> {
        for (node, operator) in (1u32..).zip(&self.nodes) {
            let Some(operator) = operator else { continue };
            let mut images = vec![];
            operator.save(&None, &mut images)?;
            for image in images {
                if image.part >= PARTS {
                    return Err(FlowError::Unsaved("a recursion within a recursion"));
                }
                to.push(Image { part: node * PARTS + image.part, ..image });
            }
        }
        Ok(())
    }

    /// Takes them in.
    pub fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        for (node, operator) in (1u32..).zip(&mut self.nodes) {
            let Some(operator) = operator else { continue };
            let of_node = images.iter().filter(|i| i.part / PARTS == node);
            let own: Vec<Image> = of_node.map(|i| Image { part: i.part % PARTS, ..(*i).clone() }).collect();
            operator.restore(&own.iter().collect::<Vec<_>>())?;
        }
        Ok(())
    }
}
