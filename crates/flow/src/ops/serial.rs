//! A whole plan on one thread: every node's operator, epoch by epoch, no exchange. For tests, and the shortest description of
//! what the runtime must do.

use regauge_plan::flowplan::{FlowPlan, Op, SourceId};
use regauge_types::Delta;

use super::build;
use crate::operator::{Failed, Finish, FlowError, OpStats, Operator, Out};

/// What one epoch sent out of the root.
#[derive(Debug, Default)]
pub struct Step {
    /// Rows, in the order they went out, not consolidated.
    pub deltas: Vec<Delta>,
    /// Rows that failed, of all nodes.
    pub errors: Vec<(Failed, i64)>,
}

/// See the module's header.
pub struct Serial {
    plan: FlowPlan,
    operators: Vec<Option<Box<dyn Operator>>>,
}

impl Serial {
    /// Builds every node.
    pub fn new(plan: &FlowPlan) -> Result<Self, FlowError> {
        let is_source = |i: usize| matches!(plan.nodes[i].op, Op::Source { .. });
        let operators: Result<_, FlowError> =
            (0..plan.nodes.len()).map(|i| if is_source(i) { Ok(None) } else { build(plan, i).map(Some) }).collect();
        Ok(Serial { plan: plan.clone(), operators: operators? })
    }

    /// One epoch: deltas of sources, each in the layout of the source node that reads it.
    pub fn step(&mut self, inputs: &[(SourceId, Delta)]) -> Result<Step, FlowError> {
        let of_source = |id: &SourceId| inputs.iter().filter(|(i, _)| i == id).map(|(_, d)| d.clone()).collect::<Vec<_>>();
        let (mut sent, mut errors): (Vec<Vec<Delta>>, Vec<_>) = (Vec::new(), Vec::new());
        for node in 0..self.plan.nodes.len() {
            let spec = &self.plan.nodes[node];
            if let Op::Source { id, .. } = &spec.op {
                sent.push(of_source(id));
                continue;
            }
            let operator = self.operators[node].as_mut().expect("every node but a source has an operator");
            let mut out = Out::default();
            for (input, from) in spec.inputs.iter().enumerate() {
                for delta in &sent[*from] {
                    operator.push(input, delta.clone(), &mut out)?;
                }
            }
            while operator.finish(&mut out)? == Finish::More {}
            errors.append(&mut out.errors);
            sent.push(out.deltas);
        }
        Ok(Step { deltas: sent.swap_remove(self.plan.root), errors })
    }

    /// Counters of one node; none for a source.
    pub fn stats(&self, node: usize) -> Option<OpStats> {
        self.operators.get(node)?.as_ref().map(|o| o.stats())
    }
}
