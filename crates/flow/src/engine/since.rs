//! What a worker has published since a save: how the output changed, without looking at the output.
//!
//! Invariant: the sum of what is kept is the sum of what was noted since the save began. Pieces are shared with the trace until there are
//! as many rows again as distinct ones were left the last time; then they are summed up, so that what is kept is at most about twice the
//! rows that differ, and each row is copied a bounded number of times. Nothing is kept until a save begins.

use crate::operator::FlowError;
use regauge_types::Delta;

/// Rows below which nothing is summed up.
const ROWS_MIN: usize = 65_536;

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// The save, and what came behind it.
    of: Option<(u64, Vec<Delta>)>,
    n_rows: usize,
    /// How many rows were left when it was summed up last.
    n_left: usize,
}

impl Since {
    /// From the save of this number on.
    pub fn begin(&mut self, no: u64) {
        *self = Since { of: Some((no, vec![])), n_rows: 0, n_left: 0 };
    }

    /// Rows are published.
    pub fn note(&mut self, rows: &Delta) -> Result<(), FlowError> {
        let Some((_, all)) = &mut self.of else { return Ok(()) };
        all.push(rows.clone());
        self.n_rows += rows.n_rows();
        if self.n_rows > ROWS_MIN.max(self.n_left * 2) {
            let sum = Delta::concat(&rows.rows.schema(), all)?.consolidate()?;
            (self.n_rows, self.n_left) = (sum.n_rows(), sum.n_rows());
            *all = vec![sum];
        }
        Ok(())
    }

    /// What came since the save `base`, if that is what is kept; from the save `no` on now.
    pub fn take(&mut self, no: u64, base: Option<u64>) -> Option<Vec<Delta>> {
        let of = self.of.take();
        self.begin(no);
        of.filter(|(of, _)| base == Some(*of)).map(|(_, all)| all)
    }
}
