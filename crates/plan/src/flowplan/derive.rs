//! What follows from an operator and its inputs: output types and the append-only property. Lowering builds nodes with
//! it and validation checks stored ones against it, so that the two cannot disagree.

use arrow::datatypes::DataType;

use super::op::{JoinKind, Op, SetOpKind};
use super::{FlowPlan, Node};

impl Op {
    /// Types of the output over inputs of these types; `None` where a position is out of bounds or the number of inputs is
    /// wrong. For `Source`, `Rows` and `Given`, whose types come from outside, `given` is the answer.
    pub fn output_types(&self, inputs: &[&[DataType]], given: &[DataType]) -> Option<Vec<DataType>> {
        match (self, inputs) {
            (Op::Source { columns, .. }, []) => (columns.len() == given.len()).then(|| given.to_vec()),
            (Op::Rows { .. }, []) => Some(given.to_vec()),
            (Op::Map { exprs: None, .. } | Op::Distinct, [i]) => Some(i.to_vec()),
            (Op::Map { exprs: Some(exprs), .. }, [i]) => exprs.iter().map(|e| e.data_type(i)).collect(),
            (Op::Join { kind: JoinKind::LeftSemi | JoinKind::LeftAnti, .. }, [l, _]) => Some(l.to_vec()),
            (Op::Join { .. } | Op::AsOf { .. }, [l, r]) => Some([*l, *r].concat()),
            (Op::Aggregate { keys, aggs }, [i]) => {
                let keys = keys.iter().map(|k| i.get(*k).cloned());
                keys.chain(aggs.iter().map(|a| Some(a.output.clone()))).collect()
            }
            (Op::Temporal { .. }, [rows, _]) => Some(rows.to_vec()),
            (Op::TopK { row_number, .. }, [i]) => {
                let mut types = i.to_vec();
                types.extend(row_number.then_some(DataType::Int64));
                Some(types)
            }
            (Op::Window { calls, .. }, [i]) => {
                let mut types = i.to_vec();
                types.extend(calls.iter().map(|c| c.output.clone()));
                Some(types)
            }
            (Op::Union, [first, ..]) => Some(first.to_vec()),
            (Op::SetOp { .. }, [l, _]) => Some(l.to_vec()),
            (Op::Close { keys, aggs, .. }, [i, ..]) => {
                let keys = keys.iter().map(|k| i.get(*k).cloned());
                keys.chain(aggs.iter().map(|a| Some(a.output.clone()))).collect()
            }
            (Op::Tumble { ts, .. } | Op::Hop { ts, .. } | Op::Cumulate { ts, .. }, [i]) | (Op::Session { ts, .. }, [i, ..]) => {
                let ts = i.get(*ts)?;
                let mut types = i.to_vec();
                types.extend([ts.clone(), ts.clone()]);
                Some(types)
            }
            (Op::FlatMap { keep, lists, .. }, [i]) => {
                let kept = keep.iter().map(|c| i.get(*c).cloned());
                kept.chain(lists.iter().map(|l| Some(l.item.clone()))).collect()
            }
            (Op::Recursive { .. }, [base, ..]) => Some(base.to_vec()),
            (Op::Given { .. }, []) => Some(given.to_vec()),
            _ => None,
        }
    }

    /// Whether no row can leave the output when the inputs have this property. A source knows its own (`given`).
    ///
    /// The operators listed are monotone: more input never takes a row out of their output. An inner join multiplies,
    /// a union adds, a minimum of two growing multiplicities grows.
    pub fn append_only(&self, inputs: &[bool], given: bool) -> bool {
        let all = inputs.iter().all(|a| *a);
        match self {
            Op::Source { .. } | Op::Given { .. } => given,
            Op::Rows { .. } => true,
            Op::Map { .. } | Op::Distinct | Op::Union | Op::Tumble { .. } | Op::Hop { .. } | Op::Cumulate { .. } => all,
            Op::FlatMap { .. } => all,
            // What is closed stays so; the watermarks themselves are replaced.
            Op::Session { on_close: true, .. } | Op::Close { .. } => inputs.first().is_some_and(|rows| *rows),
            Op::Session { on_close: false, .. } => false,
            Op::Join { kind: JoinKind::Inner | JoinKind::LeftSemi, .. } => all,
            Op::SetOp { kind: SetOpKind::Intersect, .. } => all,
            Op::Temporal { until, .. } => all && until.is_empty(),
            // A nearer row takes the place of the one before.
            Op::AsOf { .. } => false,
            Op::Join { .. } | Op::SetOp { .. } | Op::Aggregate { .. } | Op::TopK { .. } | Op::Window { .. } => false,
            // A recursion may take back an error, never mind rows; and what it sends within an epoch is net anyway.
            Op::Recursive { .. } => false,
        }
    }
}

impl FlowPlan {
    /// Appends a node over existing ones and derives its types and property; `None` when a position is out of bounds.
    /// `given` are types and property of a source or of constant rows.
    pub fn push(&mut self, op: Op, inputs: Vec<usize>, given: (Vec<DataType>, bool)) -> Option<usize> {
        let nodes: Option<Vec<&Node>> = inputs.iter().map(|i| self.nodes.get(*i)).collect();
        let nodes = nodes?;
        let types: Vec<&[DataType]> = nodes.iter().map(|n| n.types.as_slice()).collect();
        let flags: Vec<bool> = nodes.iter().map(|n| n.append_only).collect();
        let (types, append_only) = (op.output_types(&types, &given.0)?, op.append_only(&flags, given.1));
        self.nodes.push(Node { op, inputs, types, append_only });
        Some(self.nodes.len() - 1)
    }
}
