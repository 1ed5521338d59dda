//! Aggregates whose state takes rows in and out (variances, bits, sums of intervals): one state moves with the frame, so that a frame
//! costs the rows that enter and leave it.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::frame::Frames;
use super::{Computed, TakingPart};
use crate::flowplan::WindowCall;
use crate::functions::kept::{Keeper, Kept, Lanes};
use crate::functions::{EvalError, EvalResult};

/// A state over a stretch of rows.
struct Moving<'a> {
    keeper: &'a Keeper,
    lanes: Lanes<'a>,
    part: &'a TakingPart,
    kept: Kept,
    start: usize,
    end: usize,
}

impl Moving<'_> {
    fn add(&mut self, rows: std::ops::Range<usize>, diff: i64) {
        for row in rows {
            if self.part.has(row) {
                self.kept.add(&self.lanes, row, diff);
            }
        }
    }

    fn to(&mut self, start: usize, end: usize) {
        if start >= self.end || end <= self.start {
            self.kept = self.keeper.empty();
            self.add(start..end, 1);
        } else {
            self.add(start..self.start, 1);
            self.add(self.start..start, -1);
            self.add(self.end..end, 1);
            self.add(end..self.end, -1);
        }
        (self.start, self.end) = (start, end);
    }
}

/// One value a row.
pub(super) fn kept(
    call: &WindowCall,
    func: crate::flowplan::AggFunc,
    args: &[ArrayRef],
    part: &TakingPart,
    frame: &Frames<'_>,
    n: usize,
) -> EvalResult<Computed> {
    let types: Vec<DataType> = args.iter().map(|a| a.data_type().clone()).collect();
    let keeper = Keeper::new(func, &types, &call.output);
    let keeper = keeper.ok_or_else(|| EvalError::internal("a window aggregate over odd types"))?;
    let mut moving = Moving { keeper: &keeper, lanes: Lanes::new(args)?, part, kept: keeper.empty(), start: 0, end: 0 };
    let (mut errors, mut values) = (vec![], Vec::with_capacity(n));
    for row in 0..n {
        let (start, end) = frame.whole(row);
        moving.to(start, end);
        // What is taken out goes, and comes back for the next row.
        let out: Vec<(usize, usize)> = if frame.is_one() { vec![] } else { gaps(start, end, frame.ranges(row)) };
        out.iter().for_each(|(a, b)| moving.add(*a..*b, -1));
        values.push(keeper.value(&moving.kept).unwrap_or_else(|e| {
            errors.push((row, e));
            None
        }));
        out.iter().for_each(|(a, b)| moving.add(*a..*b, 1));
    }
    Ok((keeper.array(values.into_iter())?, errors))
}

/// What of a stretch is not in these ranges.
fn gaps(start: usize, end: usize, ranges: [(usize, usize); 3]) -> Vec<(usize, usize)> {
    let mut at = start;
    let mut out = vec![];
    for (a, b) in ranges.into_iter().filter(|(a, b)| a < b) {
        if at < a {
            out.push((at, a));
        }
        at = b;
    }
    if at < end {
        out.push((at, end));
    }
    out
}
