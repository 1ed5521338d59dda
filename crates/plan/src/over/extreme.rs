//! min and max of frames.
//!
//! A frame that starts with its partition keeps the best row so far; any other asks a tree over the rows' ranks, O(log n) a frame.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use regauge_types::key::{KeyOrder, Keys, encode_ordered};

use super::frame::Frames;
use super::{TakingPart, index};
use crate::functions::{EvalError, EvalResult};

pub(super) fn extreme(is_max: bool, arg: &ArrayRef, part: &TakingPart, frame: &Frames<'_>, n: usize) -> EvalResult<ArrayRef> {
    let order = KeyOrder { descending: is_max, ..KeyOrder::EXACT };
    let keys = encode_ordered(std::slice::from_ref(arg), &[order], n).map_err(|e| EvalError::new("0A000", e.to_string()))?;
    let best = if frame.is_prefix() { prefixes(&keys, part, frame, n) } else { anywhere(&keys, part, frame, n) };
    Ok(take(arg, &best, None)?)
}

/// The best row up to each frame's end; the ends of a partition do not go back.
fn prefixes(keys: &Keys, part: &TakingPart, frame: &Frames<'_>, n: usize) -> UInt32Array {
    let mut best: Option<usize> = None;
    let (mut at, mut of) = (0, u32::MAX);
    let mut out = Vec::with_capacity(n);
    for row in 0..n {
        let (start, end) = frame.whole(row);
        if frame.part_of(row) != of || end < at {
            (of, best, at) = (frame.part_of(row), None, start);
        }
        for r in at..end {
            if part.has(r) && best.is_none_or(|b| keys.get(r) < keys.get(b)) {
                best = Some(r);
            }
        }
        at = at.max(end);
        out.push(best.map(index));
    }
    UInt32Array::from(out)
}

fn anywhere(keys: &Keys, part: &TakingPart, frame: &Frames<'_>, n: usize) -> UInt32Array {
    // Ranks: the position among all rows in order of keys; rows that take no part are behind all.
    let mut sorted: Vec<u32> = (0..n).filter(|row| part.has(*row)).map(index).collect();
    sorted.sort_by(|a, b| keys.get(*a as usize).cmp(keys.get(*b as usize)));
    let mut tree = vec![u32::MAX; 2 * n];
    for (rank, row) in sorted.iter().enumerate() {
        tree[n + *row as usize] = index(rank);
    }
    for node in (1..n).rev() {
        tree[node] = tree[2 * node].min(tree[2 * node + 1]);
    }
    let least = |a: usize, b: usize| {
        let (mut a, mut b, mut least) = (a + n, b + n, u32::MAX);
        while a < b {
            if a & 1 == 1 {
                least = least.min(tree[a]);
                a += 1;
            }
            if b & 1 == 1 {
                b -= 1;
                least = least.min(tree[b]);
            }
            (a, b) = (a / 2, b / 2);
        }
        least
    };
    let of = |row: usize| {
        let rank = frame.ranges(row).into_iter().filter(|(a, b)| a < b).map(|(a, b)| least(a, b)).min()?;
        sorted.get(rank as usize).copied()
    };
    (0..n).map(of).collect()
}
