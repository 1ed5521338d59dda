//! Sequences of rows as images: the rows with their copies, by the bucket of their partition. Their order is found again from the rows.

use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use regauge_state::{GroupIndex, Sequences, Weights};
use regauge_types::Delta;

use super::parts::{batch, schema_of};
use crate::image::{IMAGE_ROWS, Image, by_bucket, int64, table};
use crate::operator::FlowError;

/// Images of all rows, between epochs.
pub(super) fn save(index: &GroupIndex, rows: &Sequences, to: &mut Vec<Image>) -> Result<(), FlowError> {
    for (bucket, groups) in by_bucket(index) {
        let slots: Vec<u32> = groups.iter().flat_map(|g| rows.slots(*g, 0..rows.n_slots(*g))).collect();
        for slots in slots.chunks(IMAGE_ROWS) {
            let mut columns = rows.gather(slots);
            columns.push(int64(slots.iter().map(|slot| rows.copies(*slot, Weights::Now))));
            to.push(Image::new(0, bucket, vec![table(columns, slots.len())?]));
        }
    }
    Ok(())
}

/// The rows of an image, to be pushed again.
pub(super) fn rows(image: &Image, types: &[DataType]) -> Result<Delta, FlowError> {
    let (columns, copies) = image.read().numbered(types)?;
    let n = copies.len();
    Ok(Delta::new(batch(&schema_of(types), columns, n)?, Int64Array::from(copies)))
}
