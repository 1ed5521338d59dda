//! Rows by slot: one growing column set with a free list, the storage under every operator's state.
//!
//! Invariant: a slot is either alive (given out by [`Columns::insert`], not yet removed) or on the free list; freed slots are
//! reused first, so the columns never hold more slots than rows were alive at once. Inserting and gathering n rows cost O(n),
//! however many epochs filled the columns. Does not know weights, keys or order.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use crate::column::{Grow, grow};
use crate::error::StateError;

/// A growing set of typed columns.
#[derive(Debug)]
pub struct Columns {
    columns: Vec<Box<dyn Grow>>,
    n_slots: usize,
    free: Vec<u32>,
}

impl Columns {
    /// An empty set of columns.
    pub fn new(types: &[DataType]) -> Result<Self, StateError> {
        Ok(Columns { columns: types.iter().map(grow).collect::<Result<_, _>>()?, n_slots: 0, free: Vec::new() })
    }

    /// Slots ever given out: one above the greatest slot.
    pub fn n_slots(&self) -> usize {
        self.n_slots
    }

    /// Slots alive.
    pub fn n_alive(&self) -> usize {
        self.n_slots - self.free.len()
    }

    /// Reserves a slot; its values are unspecified until [`Columns::write`].
    pub fn reserve(&mut self) -> Result<u32, StateError> {
        if let Some(slot) = self.free.pop() {
            return Ok(slot);
        }
        let slot = u32::try_from(self.n_slots).ok().filter(|s| *s < u32::MAX).ok_or(StateError::Full { n_rows: self.n_slots })?;
        self.n_slots += 1;
        Ok(slot)
    }

    /// Writes rows `rows` of `from` to reserved `slots`. New slots must be written in the order they were reserved.
    pub fn write(&mut self, slots: &[u32], from: &[ArrayRef], rows: &[u32]) {
        for (column, from) in self.columns.iter_mut().zip(from) {
            column.write(slots, from.as_ref(), rows);
        }
    }

    /// Stores rows `rows` of `from` and appends their slots to `slots`.
    pub fn insert(&mut self, from: &[ArrayRef], rows: &[u32], slots: &mut Vec<u32>) -> Result<(), StateError> {
        let first = slots.len();
        for _ in rows {
            slots.push(self.reserve()?);
        }
        self.write(&slots[first..], from, rows);
        Ok(())
    }

    /// Frees a slot.
    pub fn remove(&mut self, slot: u32) {
        for column in &mut self.columns {
            column.clear(slot);
        }
        self.free.push(slot);
    }

    /// Frees every slot and gives the memory back.
    pub fn clear(&mut self) {
        for slot in 0..u32::try_from(self.n_slots).unwrap_or(u32::MAX) {
            for column in &mut self.columns {
                column.clear(slot);
            }
        }
        self.free.clear();
        self.free.extend((0..u32::try_from(self.n_slots).unwrap_or(u32::MAX)).rev());
    }

    /// The rows at `slots`, one array per column.
    pub fn gather(&self, slots: &[u32]) -> Vec<ArrayRef> {
        self.columns.iter().map(|c| c.gather(slots)).collect()
    }

    /// The values of one column at `slots`.
    pub fn gather_column(&self, column: usize, slots: &[u32]) -> ArrayRef {
        self.columns[column].gather(slots)
    }

    /// Whether the row at `slot` and row `row` of `other` are the same bits in every column.
    pub fn same_bits(&self, slot: u32, other: &[ArrayRef], row: u32) -> bool {
        self.columns.iter().zip(other).all(|(c, o)| c.same_bits(slot, o.as_ref(), row))
    }

    /// Clears `keep[i]` where the row at `slots[i]` and row `rows[i]` of `other` are not the same bits in every column.
    pub fn retain_same_bits(&self, slots: &[u32], other: &[ArrayRef], rows: &[u32], keep: &mut [bool]) {
        for (column, other) in self.columns.iter().zip(other) {
            column.retain_same_bits(slots, other.as_ref(), rows, keep);
        }
    }

    /// Clears `keep[i]` where the values in `own[k]` at `slots[i]` differ, as keys, from `keys[k]` at `rows[i]`.
    pub fn retain_same_key(
        &self,
        own: &[usize],
        slots: &[u32],
        keys: &[ArrayRef],
        rows: &[u32],
        nulls_equal: bool,
        keep: &mut [bool],
    ) {
        for (column, key) in own.iter().zip(keys) {
            self.columns[*column].retain_same_key(slots, key.as_ref() as &dyn Array, rows, nulls_equal, keep);
        }
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        self.columns.iter().map(|c| c.n_bytes()).sum::<usize>() + self.free.capacity() * 4
    }
}
