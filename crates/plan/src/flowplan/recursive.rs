//! Recursion: the step of an [`Op::Recursive`](super::Op::Recursive) as a plan of its own, what makes it sound, and its bytes.
//!
//! ```text
//!   base ───────────▶ Recursive ───▶ rows                    step: Given 0 ─▶ join ─▶ map ─▶ root
//!   tables ─────────▶   │   ▲                                      Given 1 ───┘
//!                     rows  │ rows of the next level               (rows, level)          (rows, level)
//!                       └─▶ step
//! ```
//! Rows within the step carry their level in a column more: how many steps made them. Every operator of the step is linear in them and
//! hands the level on, so a row of the step's output says of which level its cause is, in whatever order rows come.
//! Invariant of a sound step: exactly one path leads from `Given 0` to the root ([`levels`]).

use arrow::datatypes::DataType;

use super::codec::{Bad, Reader, Writer};
use super::op::{JoinKind, Op};
use super::validate::ok;
use super::{FlowPlan, Node};
use crate::scalar::Scalar;

/// Steps after which a recursion is taken for one that does not end.
pub const STEPS_MAX: u64 = 10_000;
/// Rows that a recursion may hold.
pub const ROWS_MAX: u64 = 10_000_000;

/// When a recursion that goes on is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecursionLimits {
    /// The greatest level; rows beyond it are errors.
    pub steps: u64,
    /// Rows that may stand at once; more fail the version.
    pub rows: u64,
}

impl Default for RecursionLimits {
    fn default() -> Self {
        RecursionLimits { steps: STEPS_MAX, rows: ROWS_MAX }
    }
}

/// Where the level stands in the rows of each node of a step; `None` for what does not come from `Given 0`.
///
/// # Errors
/// What keeps the step from being linear.
pub fn levels(step: &FlowPlan) -> Result<Vec<Option<usize>>, &'static str> {
    let mut levels: Vec<Option<usize>> = Vec::with_capacity(step.nodes.len());
    for node in &step.nodes {
        let of = |i: usize| node.inputs.get(i).and_then(|n| levels.get(*n).copied().flatten());
        let level = match &node.op {
            Op::Given { input: 0 } => Some(node.types.len().checked_sub(1).ok_or("a row without its level")?),
            Op::Given { .. } => None,
            op => Some(passed(op, [of(0), of(1)], node, step)?),
        };
        levels.push(level);
    }
    Ok(levels)
}

/// Where an operator puts the level that stands at `from` in its inputs.
fn passed(op: &Op, from: [Option<usize>; 2], node: &Node, step: &FlowPlan) -> Result<usize, &'static str> {
    let [left, right] = from;
    match op {
        Op::Map { exprs: None, .. } => left.ok_or("a step without its rows"),
        Op::Map { exprs: Some(exprs), .. } => {
            let level = left.ok_or("a step without its rows")?;
            exprs.iter().rposition(|e| *e == Scalar::Column(level)).ok_or("a step loses the level")
        }
        Op::FlatMap { keep, .. } => {
            let level = left.ok_or("a step without its rows")?;
            keep.iter().rposition(|c| *c == level).ok_or("a step loses the level")
        }
        Op::Join { kind, .. } => match (kind, left, right) {
            (_, Some(_), Some(_)) => Err("a step reads its rows twice"),
            (JoinKind::Full, ..) => Err("a step is not linear"),
            (JoinKind::Right, Some(_), None) | (JoinKind::Left | JoinKind::LeftSemi | JoinKind::LeftAnti, None, Some(_)) => {
                Err("a step reads its rows on the side that an outer join fills up")
            }
            (_, Some(level), None) => Ok(level),
            (_, None, Some(level)) => {
                let width = node.inputs.first().and_then(|l| step.nodes.get(*l)).map_or(0, |l| l.types.len());
                Ok(width + level)
            }
            (_, None, None) => Err("a step without its rows"),
        },
        Op::Tumble { .. } | Op::Hop { .. } => left.ok_or("a step without its rows"),
        _ => Err("a step is not linear"),
    }
}

/// Is the step sound over inputs of these types?
pub(super) fn check(step: &FlowPlan, inputs: &[&[DataType]]) -> Result<(), &'static str> {
    for (i, node) in step.nodes.iter().enumerate() {
        step.check_node(i, node)?;
        if let Op::Given { input } = &node.op {
            let want = inputs.get(*input).ok_or("a step reads an input that is not there")?;
            let mut want = want.to_vec();
            want.extend((*input == 0).then_some(DataType::Int64));
            ok(node.types == want, "a step's input has other types")?;
        }
    }
    let levels = levels(step)?;
    let root = step.nodes.get(step.root).ok_or("the step's root is no node")?;
    ok(levels.get(step.root).copied().flatten() == root.types.len().checked_sub(1), "a step does not end in the level")?;
    let base = inputs.first().ok_or("wrong number of inputs")?;
    let is_row = root.types.split_last().is_some_and(|(level, row)| *level == DataType::Int64 && row == *base);
    ok(is_row, "a step gives other rows than it takes")
}

pub(super) fn write(w: &mut Writer, distinct: bool, limits: RecursionLimits) {
    w.flag(distinct);
    w.u64(limits.steps);
    w.u64(limits.rows);
}

pub(super) fn read(r: &mut Reader<'_>) -> Result<(bool, RecursionLimits), Bad> {
    Ok((r.flag()?, RecursionLimits { steps: r.u64()?, rows: r.u64()? }))
}
