//! Arrays as bytes: each array a byte string of its own, so that a column of them is as flat as a column of bytes.
//!
//! ```text
//! array := varint count, the items as a column of `small`; nulls always as bits, so that `count` bytes of nothing cost something
//! ```
//! Items are of a flat type that the log stores, or arrays of such. Cost: one small array of arrow for each array that is read.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, ListArray, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field};

use regauge_types::arrays::{DIMS_MAX, depth};

use super::small::{put_items, take_items};
use super::wire::{Input, Malformed, put_len};

/// An array's type, of which there is one for each type of items.
pub fn of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The type of an array's items, if arrays of them are stored.
pub fn item(data_type: &DataType) -> Option<&DataType> {
    let DataType::List(field) = data_type else { return None };
    let stored = match field.data_type() {
        DataType::List(_) => depth(data_type) <= DIMS_MAX && item(field.data_type()).is_some(),
        flat => !matches!(flat, DataType::Null | DataType::Utf8View | DataType::Interval(_)),
    };
    (stored && of(field.data_type().clone()) == *data_type).then(|| field.data_type())
}

/// One array's bytes.
pub fn put(items: &ArrayRef, out: &mut Vec<u8>) -> Result<(), Malformed> {
    put_len(out, items.len());
    put_items(items, out)
}

/// An array of its bytes.
pub fn take(bytes: &[u8], item: &DataType) -> Result<ArrayRef, Malformed> {
    let mut input = Input::new(bytes);
    let n = usize::try_from(input.u32()?).unwrap_or(usize::MAX);
    // A value takes a byte, its absence a bit.
    if n > bytes.len().saturating_mul(8) {
        return Err(Malformed::new(format!("impossible length of an array n={n}")));
    }
    let items = take_items(&mut input, item, n)?;
    input.end()?;
    Ok(items)
}

/// A column of arrays out of the bytes of each.
pub fn column(data_type: &DataType, rows: &[Option<&[u8]>]) -> Result<ArrayRef, Malformed> {
    let (DataType::List(field), Some(item)) = (data_type, item(data_type)) else {
        return Err(Malformed::new(format!("column type is not stored type={data_type}")));
    };
    let arrays = rows.iter().map(|row| row.map(|bytes| take(bytes, item)).transpose()).collect::<Result<Vec<_>, _>>()?;
    let lengths = arrays.iter().map(|a| a.as_ref().map_or(0, |a| a.len()));
    if lengths.clone().try_fold(0usize, usize::checked_add).is_none_or(|n| i32::try_from(n).is_err()) {
        return Err(Malformed::new("arrays of one column are too long"));
    }
    let parts: Vec<&dyn Array> = arrays.iter().flatten().map(AsRef::as_ref).collect();
    let malformed = |e: arrow::error::ArrowError| Malformed::new(e.to_string());
    let items = if parts.is_empty() { new_empty_array(item) } else { concat(&parts).map_err(malformed)? };
    let valid: Vec<bool> = rows.iter().map(Option::is_some).collect();
    let nulls = Some(NullBuffer::from(valid)).filter(|n| n.null_count() > 0);
    let list = ListArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths(lengths), items, nulls).map_err(malformed)?;
    Ok(Arc::new(list))
}

/// A column of arrays as one of bytes.
pub fn flat(column: &ArrayRef) -> Result<ArrayRef, Malformed> {
    let list = column.as_list_opt::<i32>().ok_or_else(|| Malformed::new("not a column of arrays"))?;
    let bytes = |row: usize| {
        let mut out = vec![];
        list.is_valid(row).then(|| put(&list.value(row), &mut out).map(|()| out)).transpose()
    };
    let rows = (0..list.len()).map(bytes).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(BinaryArray::from_iter(rows)))
}

/// The inverse of [`flat`].
pub fn unflat(bytes: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, Malformed> {
    let bytes = bytes.as_binary_opt::<i32>().ok_or_else(|| Malformed::new("arrays stand as bytes"))?;
    let rows: Vec<Option<&[u8]>> = bytes.iter().collect();
    column(data_type, &rows)
}
