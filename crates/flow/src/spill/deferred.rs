//! Rows that wait because their keys are not here, and how they are worked off: ascending by hash, some at a time.

use crate::operator::FlowError;
use arrow::array::UInt32Array;
use regauge_types::Delta;

/// Rows that are worked off at once, but for those of one key.
const ROWS: usize = 8192;

/// See the module's header.
#[derive(Default)]
pub(super) struct Deferred {
    /// By input: rows and the hashes of their keys.
    waiting: Vec<(Vec<Delta>, Vec<u64>)>,
    n_bytes: usize,
    working: Option<Working>,
}

struct Working {
    /// By input.
    rows: Vec<Option<Delta>>,
    /// Hash, input, row; descending, so that the next are at the end.
    order: Vec<(u64, u32, u32)>,
}

/// Rows of one input with the hashes of their keys.
pub(super) type Batch = (usize, Delta, Vec<u64>);

impl Deferred {
    /// These rows wait.
    pub fn put(&mut self, input: usize, rows: Delta, hashes: &[u64]) {
        while self.waiting.len() <= input {
            self.waiting.push((vec![], vec![]));
        }
        self.n_bytes += rows.rows.get_array_memory_size() + rows.n_rows() * 16;
        self.waiting[input].0.push(rows);
        self.waiting[input].1.extend_from_slice(hashes);
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// The next rows, all of some keys; empty once nothing waits.
    pub fn next(&mut self) -> Result<Vec<Batch>, FlowError> {
        let Some(working) = &mut self.working else {
            if self.n_bytes == 0 {
                return Ok(vec![]);
            }
            self.begin()?;
            return self.next();
        };
        let mut from = working.order.len().saturating_sub(ROWS);
        if let Some((first, ..)) = working.order.get(from).copied() {
            // all rows of a key, however many
            while from > 0 && working.order[from - 1].0 == first {
                from -= 1;
            }
        }
        let some = working.order.split_off(from);
        let mut batches = vec![];
        for (input, rows) in working.rows.iter().enumerate() {
            let Some(delta) = rows else { continue };
            let mine = || some.iter().filter(|(_, i, _)| *i as usize == input);
            let places: UInt32Array = mine().map(|(.., row)| *row).collect::<Vec<u32>>().into();
            if !places.is_empty() {
                batches.push((input, delta.take(&places)?, mine().map(|(hash, ..)| *hash).collect()));
            }
        }
        if from == 0 {
            self.working = None;
            self.n_bytes = 0;
        }
        Ok(batches)
    }

    fn begin(&mut self) -> Result<(), FlowError> {
        let (mut rows, mut order) = (vec![], vec![]);
        for (input, (deltas, hashes)) in (0u32..).zip(std::mem::take(&mut self.waiting)) {
            order.extend(hashes.into_iter().zip(0u32..).map(|(hash, row)| (hash, input, row)));
            let all = match deltas.first() {
                Some(first) => Some(Delta::concat(&first.rows.schema(), &deltas)?),
                None => None,
            };
            rows.push(all);
        }
        order.sort_unstable_by(|a, b| b.cmp(a));
        self.working = Some(Working { rows, order });
        Ok(())
    }
}
