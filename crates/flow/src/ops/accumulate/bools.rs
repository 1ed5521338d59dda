//! bool_and, bool_or: how many are true, how many are false.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};

use regauge_state::Segments;

use super::{Accumulator, Rows, Values, each};
use crate::image::{Tables, int64, table};
use crate::operator::FlowError;

/// Counts of [false, true] a group.
#[derive(Debug)]
pub(super) struct Bools {
    is_and: bool,
    counts: Segments<[i64; 2]>,
}

impl Bools {
    pub(super) fn new(is_and: bool) -> Self {
        Bools { is_and, counts: Segments::default() }
    }
}

impl Accumulator for Bools {
    fn resize(&mut self, n_ids: usize) {
        self.counts.grow(n_ids, [0; 2]);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        let values = rows.args[0].as_boolean();
        for (row, group) in rows.groups.iter().enumerate() {
            self.counts[*group as usize][usize::from(values.value(row))] += rows.diff(row);
        }
        Ok(())
    }

    fn values(&self, groups: &[u32]) -> Result<Values, FlowError> {
        let values: BooleanArray = groups
            .iter()
            .map(|g| match (self.counts[*g as usize], self.is_and) {
                ([0, 0], _) => None,
                ([falses, _], true) => Some(falses <= 0),
                ([_, trues], false) => Some(trues > 0),
            })
            .collect();
        Ok((Arc::new(values), Vec::new()))
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        self.counts[group as usize] = [0; 2];
        Ok(())
    }

    fn n_bytes(&self) -> usize {
        self.counts.n_bytes()
    }

    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError> {
        each(pieces, to, |groups| {
            let side = |i: usize| int64(groups.iter().map(move |g| self.counts[*g as usize][i]));
            table(vec![side(0), side(1)], groups.len())
        })
    }

    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError> {
        let [falses, trues] = from.numbers()?;
        for (g, (falses, trues)) in groups.iter().zip(falses.into_iter().zip(trues)) {
            self.counts[*g as usize] = [falses, trues];
        }
        Ok(())
    }
}
