//! Rows to workers: the hash of each row once, then one `take` per worker that gets any.

use super::shape::Spread;
use crate::operator::FlowError;
use arrow::array::UInt32Array;
use regauge_types::{Delta, hash};
use std::sync::Arc;

/// Buffers that are kept from batch to batch.
#[derive(Default)]
pub(super) struct Spreader {
    hashes: Vec<u64>,
    rows: Vec<Vec<u32>>,
}

/// Which workers there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crew {
    /// All, of all processes.
    pub peers: usize,
    /// This one.
    pub me: usize,
    /// The one that holds what is global to the flow.
    pub one: usize,
}

impl Spreader {
    /// Parts of a delta, each with its worker; none is empty.
    pub fn split(&mut self, delta: Delta, spread: &Spread, crew: Crew) -> Result<Vec<(usize, Delta)>, FlowError> {
        let n = delta.n_rows();
        match spread {
            _ if n == 0 => return Ok(vec![]),
            Spread::Stay => return Ok(vec![(crew.me, delta)]),
            Spread::One => return Ok(vec![(crew.one, delta)]),
            Spread::All => return Ok((0..crew.peers).map(|worker| (worker, delta.clone())).collect()),
            Spread::Hash(columns) => {
                let columns: Vec<_> = columns.iter().map(|c| Arc::clone(delta.rows.column(*c))).collect();
                hash::hash_columns_into(&columns, n, &mut self.hashes)?;
            }
        }
        self.rows.resize(crew.peers, vec![]);
        self.rows.iter_mut().for_each(Vec::clear);
        for (row, h) in (0u32..).zip(&self.hashes) {
            self.rows[hash::worker(*h, crew.peers)].push(row);
        }
        let mut parts = Vec::new();
        for (worker, rows) in self.rows.iter_mut().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            if rows.len() == n {
                return Ok(vec![(worker, delta)]);
            }
            parts.push((worker, delta.take(&UInt32Array::from(std::mem::take(rows)))?));
        }
        Ok(parts)
    }
}
