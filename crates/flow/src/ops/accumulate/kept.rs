//! Aggregates of small state that takes rows in and out: variances and regression, bits, sums of intervals. What they keep and how it
//! becomes a value is the plan's, so that views, window frames and plain SELECTs give the same bits.

use regauge_plan::eval::EvalError;
use regauge_plan::functions::kept::{Keeper, Kept, Lanes};
use regauge_state::Segments;

use arrow::array::RecordBatch;

use super::{Accumulator, Rows, Values, each};
use crate::image::{Tables, bytes_table};
use crate::operator::FlowError;

/// One state a group.
pub(super) struct States {
    keeper: Keeper,
    groups: Segments<Kept>,
    /// Bytes that the groups hold elsewhere, kept as they change: what an operator holds is asked for at each epoch's end.
    elsewhere: usize,
}

impl States {
    pub(super) fn new(keeper: Keeper) -> Self {
        States { keeper, groups: Segments::default(), elsewhere: 0 }
    }

    fn change<T>(&mut self, group: u32, change: impl FnOnce(&mut Kept) -> T) -> T {
        let kept = &mut self.groups[group as usize];
        let before = kept.heap_bytes();
        let done = change(kept);
        self.elsewhere = self.elsewhere + kept.heap_bytes() - before;
        done
    }
}

impl Accumulator for States {
    fn resize(&mut self, n_ids: usize) {
        let (keeper, n_before) = (&self.keeper, self.groups.len());
        self.groups.grow_with(n_ids, || keeper.empty());
        if self.groups.len() > n_before {
            self.elsewhere += (self.groups.len() - n_before) * keeper.empty().heap_bytes();
        }
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        let lanes = Lanes::new(rows.args)?;
        for (row, group) in rows.groups.iter().enumerate() {
            self.change(*group, |kept| kept.add(&lanes, row, rows.diff(row)));
        }
        Ok(())
    }

    fn values(&self, groups: &[u32]) -> Result<Values, FlowError> {
        let mut errors: Vec<(usize, EvalError)> = Vec::new();
        let values: Vec<_> = groups
            .iter()
            .enumerate()
            .map(|(i, g)| {
                self.keeper.value(&self.groups[*g as usize]).unwrap_or_else(|e| {
                    errors.push((i, e));
                    None
                })
            })
            .collect();
        let array = self.keeper.array(values.into_iter())?;
        Ok((array, errors))
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        let empty = self.keeper.empty();
        self.change(group, |kept| *kept = empty);
        Ok(())
    }

    fn n_bytes(&self) -> usize {
        self.elsewhere + self.groups.n_bytes()
    }

    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError> {
        each(pieces, to, |groups| bytes_table(groups.iter().map(|g| self.groups[*g as usize].to_bytes())))
    }

    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError> {
        let states = from.bytes()?;
        for (group, bytes) in groups.iter().zip(states.iter().flatten()) {
            let broken = || FlowError::Image("bytes that are no sums".into());
            self.change(*group, |kept| kept.merge(bytes).ok_or_else(broken))?;
        }
        Ok(())
    }
}
