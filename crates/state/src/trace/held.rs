//! Bytes of memory that arrays hold, each allocation once.
//!
//! Columns may be slices of one allocation, which Arrow's own count has again for each of them; a budget that counted so refused after a restart
//! what it had taken before. Cost: a look at each buffer.

use arrow::{
    array::{Array, ArrayData, ArrayRef},
    buffer::Buffer,
};
use std::collections::HashSet;

/// Bytes of the allocations behind arrays.
#[derive(Default)]
pub(super) struct Held {
    seen: HashSet<usize>,
    bytes: usize,
}

impl Held {
    /// Counts what is behind an array, but for what was counted.
    pub fn add(&mut self, array: &ArrayRef) {
        self.data(&array.to_data());
    }

    /// All of it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn data(&mut self, data: &ArrayData) {
        data.buffers().iter().for_each(|buffer| self.buffer(buffer));
        if let Some(nulls) = data.nulls() {
            self.buffer(nulls.buffer());
        }
        data.child_data().iter().for_each(|child| self.data(child));
    }

    fn buffer(&mut self, buffer: &Buffer) {
        if self.seen.insert(buffer.data_ptr().addr().get()) {
            self.bytes += buffer.capacity();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{decode, encode};
    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use std::sync::Arc;

    fn held(batch: &RecordBatch) -> usize {
        let mut held = Held::default();
        batch.columns().iter().for_each(|column| held.add(column));
        held.bytes()
    }

    #[test]
    fn what_was_decoded_holds_as_much_as_what_was_encoded() {
        let column = |c: i64| Arc::new((0..4096).map(|i| (i % 7 != c).then_some(i)).collect::<Int64Array>()) as ArrayRef;
        let texts: ArrayRef = Arc::new((0..4096).map(|i| Some(format!("text {i}"))).collect::<StringArray>());
        let named = (0..8).map(|c| (format!("c{c}"), column(c))).chain([("t".to_owned(), texts)]);
        let batch = RecordBatch::try_from_iter(named).unwrap();
        let again = decode(&encode(std::slice::from_ref(&batch)).unwrap()).unwrap().pop().unwrap();
        assert_eq!(again, batch);
        let (fresh, decoded) = (held(&batch), held(&again));
        assert!(decoded <= fresh * 3 / 2, "fresh={fresh} decoded={decoded}");
        // A slice holds all that it is a slice of, and slices of one array hold it together.
        let mut both = Held::default();
        [batch.column(0).slice(0, 10), batch.column(0).slice(10, 10)].iter().for_each(|slice| both.add(slice));
        let mut whole = Held::default();
        whole.add(batch.column(0));
        assert_eq!(both.bytes(), whole.bytes());
    }
}
