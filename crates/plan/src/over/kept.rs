//! Aggregates whose state takes rows in and out (variances, bits, sums of intervals): one state moves with the frame, so that a frame
//! costs the rows that enter and leave it, those that EXCLUDE takes out among them.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::frame::Frames;
use super::{Computed, TakingPart};
use crate::flowplan::WindowCall;
use crate::functions::kept::{Keeper, Kept, Lanes};
use crate::functions::{EvalError, EvalResult};

/// Stretches of rows: ascending, none in another; some may be empty.
type Ranges = [(usize, usize); 3];

/// A state over the rows of a frame.
struct Moving<'a> {
    keeper: &'a Keeper,
    lanes: Lanes<'a>,
    part: &'a TakingPart,
    kept: Kept,
    frame: Ranges,
}

impl Moving<'_> {
    fn add(&mut self, rows: std::ops::Range<usize>, diff: i64) {
        for row in rows {
            if self.part.has(row) {
                self.kept.add(&self.lanes, row, diff);
            }
        }
    }

    fn to(&mut self, frame: Ranges) {
        let (out, new) = (beyond(&self.frame, &frame), beyond(&frame, &self.frame));
        if n_rows(&out) + n_rows(&new) > n_rows(&frame) {
            self.kept = self.keeper.empty();
            frame.iter().for_each(|(a, b)| self.add(*a..*b, 1));
        } else {
            out.iter().for_each(|(a, b)| self.add(*a..*b, -1));
            new.iter().for_each(|(a, b)| self.add(*a..*b, 1));
        }
        self.frame = frame;
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
    let mut moving = Moving { keeper: &keeper, lanes: Lanes::new(args)?, part, kept: keeper.empty(), frame: Ranges::default() };
    let (mut errors, mut values) = (vec![], Vec::with_capacity(n));
    for row in 0..n {
        moving.to(frame.ranges(row));
        values.push(keeper.value(&moving.kept).unwrap_or_else(|e| {
            errors.push((row, e));
            None
        }));
    }
    Ok((keeper.array(values.into_iter())?, errors))
}

fn n_rows(ranges: &[(usize, usize)]) -> usize {
    ranges.iter().map(|(a, b)| b - a).sum()
}

/// What of the first is not in the second.
fn beyond(ranges: &Ranges, others: &Ranges) -> Vec<(usize, usize)> {
    let mut out = vec![];
    for (start, end) in ranges {
        let mut at = *start;
        for (a, b) in others.iter().filter(|(a, b)| a < b) {
            if at < *a.min(end) {
                out.push((at, *a.min(end)));
            }
            at = at.max(*b);
        }
        if at < *end {
            out.push((at, *end));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::beyond;

    #[test]
    fn what_enters_and_leaves_a_frame_is_what_one_has_and_the_other_has_not() {
        let mut seed = 7u64;
        let mut next = |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from((seed >> 33) % n).unwrap()
        };
        for _ in 0..2000 {
            let mut frame = || {
                let mut ends = [(); 6].map(|()| next(12));
                ends.sort_unstable();
                [(ends[0], ends[1]), (ends[2], ends[3]), (ends[4], ends[5])]
            };
            let (one, other) = (frame(), frame());
            let has = |ranges: &[(usize, usize)], row: usize| ranges.iter().filter(|(a, b)| (*a..*b).contains(&row)).count();
            let out = beyond(&one, &other);
            for row in 0..12 {
                assert_eq!(has(&out, row), usize::from(has(&one, row) == 1 && has(&other, row) == 0), "{one:?} {other:?} {row}");
            }
        }
    }
}
