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
}

impl States {
    pub(super) fn new(keeper: Keeper) -> Self {
        States { keeper, groups: Segments::default() }
    }
}

impl Accumulator for States {
    fn resize(&mut self, n_ids: usize) {
        let keeper = &self.keeper;
        self.groups.grow_with(n_ids, || keeper.empty());
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        let lanes = Lanes::new(rows.args)?;
        for (row, group) in rows.groups.iter().enumerate() {
            self.groups[*group as usize].add(&lanes, row, rows.diff(row));
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
        self.groups[group as usize] = self.keeper.empty();
        Ok(())
    }

    fn n_bytes(&self) -> usize {
        self.groups.iter().map(Kept::heap_bytes).sum::<usize>() + self.groups.n_bytes()
    }

    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError> {
        each(pieces, to, |groups| bytes_table(groups.iter().map(|g| self.groups[*g as usize].to_bytes())))
    }

    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError> {
        let states = from.bytes()?;
        for (group, bytes) in groups.iter().zip(states.iter().flatten()) {
            let broken = || FlowError::Image("bytes that are no sums".into());
            self.groups[*group as usize].merge(bytes).ok_or_else(broken)?;
        }
        Ok(())
    }
}
