//! Which columns of an operator's output are unique together, given its inputs' keys. NULLs count as equal values. A missing
//! key is always sound; a wrong one would not be.

use super::Builder;
use crate::flowplan::{JoinKind, Op, SetOpKind, WindowFunc};
use crate::scalar::Scalar;

pub(super) fn derive(b: &Builder, op: &Op, inputs: &[usize]) -> Option<Vec<usize>> {
    let key = |n: usize| inputs.get(n).and_then(|i| b.keys.get(*i)).cloned().flatten();
    let width = |n: usize| inputs.get(n).map_or(0, |i| b.types(*i).len());
    match op {
        Op::Source { .. } => None,
        Op::Rows { rows } => (rows.len() <= 1).then(Vec::new),
        Op::Map { exprs: None, .. } => key(0),
        Op::Map { exprs: Some(exprs), .. } => {
            let place = |k: &usize| exprs.iter().position(|e| *e == Scalar::Column(*k));
            key(0)?.iter().map(place).collect()
        }
        Op::Aggregate { keys, .. } | Op::Close { keys, .. } => Some((0..keys.len()).collect()),
        Op::Distinct => Some(key(0).unwrap_or_else(|| (0..width(0)).collect())),
        Op::TopK { partition, limit, row_number, .. } => {
            if *limit <= 1 {
                return Some(partition.clone());
            }
            key(0).or_else(|| row_number.then(|| partition.iter().copied().chain([width(0)]).collect()))
        }
        // A window keeps its input's rows; with a number for each of a partition they differ in any case.
        Op::Window { partition, calls, .. } => key(0).or_else(|| {
            let number = calls.iter().position(|c| c.func == WindowFunc::RowNumber)?;
            Some(partition.iter().copied().chain([width(0) + number]).collect())
        }),
        Op::Union => {
            if inputs.len() == 1 {
                key(0)
            } else {
                None
            }
        }
        Op::SetOp { all: false, .. } => Some((0..width(0)).collect()),
        Op::SetOp { kind: SetOpKind::Intersect | SetOpKind::Except, .. } => key(0),
        Op::Tumble { .. } | Op::Session { .. } => key(0),
        Op::FlatMap { .. } | Op::Given { .. } => None,
        Op::Recursive { distinct, .. } => distinct.then(|| (0..width(0)).collect()),
        Op::Cumulate { .. } => {
            let mut k = key(0)?;
            k.push(width(0) + 1);
            Some(k)
        }
        Op::Hop { .. } => {
            let mut k = key(0)?;
            k.push(width(0));
            Some(k)
        }
        // Each left row once at most.
        Op::AsOf { .. } | Op::Temporal { .. } => key(0),
        Op::Join { kind: JoinKind::LeftSemi | JoinKind::LeftAnti, .. } => key(0),
        // A row of one side without a partner may look like a row of the other.
        Op::Join { kind: JoinKind::Full, .. } => None,
        Op::Join { kind, on, .. } => {
            let (left, right) = (key(0), key(1));
            let right_once = right.as_ref().is_some_and(|k| k.iter().all(|c| on.iter().any(|(_, r)| r == c)));
            let left_once = left.as_ref().is_some_and(|k| k.iter().all(|c| on.iter().any(|(l, _)| l == c)));
            let shift = |k: Vec<usize>| k.into_iter().map(|c| c + width(0)).collect::<Vec<_>>();
            match kind {
                JoinKind::Inner | JoinKind::Left if right_once && left.is_some() => left,
                JoinKind::Inner | JoinKind::Right if left_once && right.is_some() => right.map(shift),
                _ => Some(left?.into_iter().chain(shift(right?)).collect()),
            }
        }
    }
}
