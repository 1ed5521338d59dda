//! One growing typed column addressed by slot: what arrow's immutable arrays lack.
//!
//! Rows are copied in from arrays ([`Grow::write`]) and gathered back out as arrays ([`Grow::gather`]), both vectorised per
//! column. Why not keep the arrow batches themselves: after thousands of small epochs `interleave` over them costs time in the
//! number of batches (300 us instead of 9 us after 5,000 appends, docs: measured), one growing column does not.
//! Invariant: all columns of a [`crate::Columns`] agree on which slots exist; a slot not written reads as an unspecified value.
//!
//! Two equalities, on purpose. *Same bits*: identity of a stored row, so that what is retracted is exactly what was inserted.
//! *Same key*: PostgreSQL's grouping and join equality, where NaN = NaN and 0.0 = -0.0.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, GenericByteArray, PrimitiveArray,
    downcast_primitive,
};
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, BinaryType, ByteArrayType, DataType, LargeUtf8Type, Utf8Type};
use arrow::row::{RowConverter, SortField};

use crate::bits::Validity;
use crate::error::StateError;
use crate::heap::Heap;
use crate::segments::Segments;

/// A column that grows and whose slots can be written again.
pub trait Grow: Debug + Send {
    /// Copies row `rows[i]` of `from` to `slots[i]`; slots are at most one beyond the end, in order of growth.
    fn write(&mut self, slots: &[u32], from: &dyn Array, rows: &[u32]);
    /// The values at `slots`, as an array of the column's type.
    fn gather(&self, slots: &[u32]) -> ArrayRef;
    /// Whether the value at `slot` and row `row` of `other` have the same bits (nulls are the same).
    fn same_bits(&self, slot: u32, other: &dyn Array, row: u32) -> bool;
    /// Clears `keep[i]` where slot `slots[i]` and row `rows[i]` of `other` have not the same bits.
    fn retain_same_bits(&self, slots: &[u32], other: &dyn Array, rows: &[u32], keep: &mut [bool]) {
        for ((slot, row), keep) in slots.iter().zip(rows).zip(keep) {
            *keep = *keep && self.same_bits(*slot, other, *row);
        }
    }
    /// Clears `keep[i]` where slot `slots[i]` and row `rows[i]` of `other` are not the same key; a null is the same as nothing,
    /// or as another null if `nulls_equal`.
    fn retain_same_key(&self, slots: &[u32], other: &dyn Array, rows: &[u32], nulls_equal: bool, keep: &mut [bool]);
    /// Gives back what `slot` holds on a heap; its value is unspecified until written again.
    fn clear(&mut self, slot: u32);
    /// Bytes of memory held.
    fn n_bytes(&self) -> usize;
}

/// A growing column for `ty`.
pub fn grow(ty: &DataType) -> Result<Box<dyn Grow>, StateError> {
    macro_rules! fixed {
        ($t:ty, $ty:expr) => {
            Box::new(Fixed::<$t> { ty: $ty.clone(), values: Segments::default(), valid: Validity::default() })
        };
    }
    Ok(downcast_primitive! {
        ty => (fixed, ty),
        DataType::Boolean => Box::new(Bools { values: Segments::default(), valid: Validity::default() }),
        DataType::Utf8 => Box::new(Bytes::<Utf8Type>::default()),
        DataType::LargeUtf8 => Box::new(Bytes::<LargeUtf8Type>::default()),
        DataType::Binary => Box::new(Bytes::<BinaryType>::default()),
        _ => Box::new(Encoded {
            converter: RowConverter::new(vec![SortField::new(ty.clone())]).map_err(|_| StateError::UnsupportedType { ty: ty.clone() })?,
            heap: Heap::default(),
        }),
    })
}

/// The rows that are written, if they are neighbours and go to the end of `n` slots in order: then they are one copy.
fn run_at_end(slots: &[u32], n: usize, rows: &[u32]) -> Option<std::ops::Range<usize>> {
    let (first_slot, first_row) = (*slots.first()?, *rows.first()?);
    let ascends = |from: u32, of: &[u32]| of.iter().zip(from..).all(|(a, b)| *a == b);
    let is_run = first_slot as usize == n && ascends(first_slot, slots) && ascends(first_row, rows);
    is_run.then(|| first_row as usize..first_row as usize + rows.len())
}

/// PostgreSQL's equality of keys on native values: NaN = NaN, 0.0 = -0.0.
#[inline]
#[allow(clippy::eq_op)]
fn same_native<N: ArrowNativeTypeOp>(a: N, b: N) -> bool {
    a == b || (a != a && b != b)
}

#[derive(Debug)]
struct Fixed<T: ArrowPrimitiveType> {
    ty: DataType,
    values: Segments<T::Native>,
    valid: Validity,
}

impl<T: ArrowPrimitiveType + Debug> Grow for Fixed<T> {
    fn write(&mut self, slots: &[u32], from: &dyn Array, rows: &[u32]) {
        let from = from.as_primitive::<T>();
        let values = from.values();
        if let Some(run) = run_at_end(slots, self.values.len(), rows) {
            self.values.extend_from_slice(&values[run]);
        } else {
            for (slot, row) in slots.iter().zip(rows) {
                let value = values[*row as usize];
                let at = *slot as usize;
                if at == self.values.len() {
                    self.values.push(value);
                } else {
                    self.values[at] = value;
                }
            }
        }
        if from.null_count() > 0 || self.valid.may_have_nulls() {
            for (slot, row) in slots.iter().zip(rows) {
                self.valid.set(*slot, from.is_valid(*row as usize));
            }
        }
    }

    fn gather(&self, slots: &[u32]) -> ArrayRef {
        let values: Vec<T::Native> = slots.iter().map(|s| self.values[*s as usize]).collect();
        Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), self.valid.gather(slots)).with_data_type(self.ty.clone()))
    }

    fn same_bits(&self, slot: u32, other: &dyn Array, row: u32) -> bool {
        let other = other.as_primitive::<T>();
        match (self.valid.is_valid(slot), other.is_valid(row as usize)) {
            (true, true) => self.values[slot as usize].is_eq(other.value(row as usize)),
            (a, b) => a == b,
        }
    }

    fn retain_same_bits(&self, slots: &[u32], other: &dyn Array, rows: &[u32], keep: &mut [bool]) {
        let other = other.as_primitive::<T>();
        let values = other.values();
        let same = |slot: u32, row: u32| self.values[slot as usize].is_eq(values[row as usize]);
        if !self.valid.may_have_nulls() && other.null_count() == 0 {
            for ((slot, row), keep) in slots.iter().zip(rows).zip(keep) {
                *keep &= same(*slot, *row);
            }
            return;
        }
        for ((slot, row), keep) in slots.iter().zip(rows).zip(keep) {
            let (mine, theirs) = (self.valid.is_valid(*slot), other.is_valid(*row as usize));
            *keep &= mine == theirs && (!mine || same(*slot, *row));
        }
    }

    fn retain_same_key(&self, slots: &[u32], other: &dyn Array, rows: &[u32], nulls_equal: bool, keep: &mut [bool]) {
        let other = other.as_primitive::<T>();
        let values = other.values();
        if !self.valid.may_have_nulls() && other.null_count() == 0 {
            for ((slot, row), keep) in slots.iter().zip(rows).zip(keep) {
                *keep &= same_native(self.values[*slot as usize], values[*row as usize]);
            }
            return;
        }
        for ((slot, row), keep) in slots.iter().zip(rows).zip(keep) {
            *keep &= match (self.valid.is_valid(*slot), other.is_valid(*row as usize)) {
                (true, true) => same_native(self.values[*slot as usize], values[*row as usize]),
                (false, false) => nulls_equal,
                _ => false,
            };
        }
    }

    fn clear(&mut self, _slot: u32) {}

    fn n_bytes(&self) -> usize {
        self.values.n_bytes() + self.valid.n_bytes()
    }
}

#[derive(Debug)]
struct Bools {
    values: Segments<bool>,
    valid: Validity,
}

impl Grow for Bools {
    fn write(&mut self, slots: &[u32], from: &dyn Array, rows: &[u32]) {
        let from = from.as_boolean();
        for (slot, row) in slots.iter().zip(rows) {
            let value = from.value(*row as usize);
            let at = *slot as usize;
            if at == self.values.len() {
                self.values.push(value);
            } else {
                self.values[at] = value;
            }
            self.valid.set(*slot, from.is_valid(*row as usize));
        }
    }

    fn gather(&self, slots: &[u32]) -> ArrayRef {
        let values: BooleanBuffer = slots.iter().map(|s| self.values[*s as usize]).collect();
        Arc::new(BooleanArray::new(values, self.valid.gather(slots)))
    }

    fn same_bits(&self, slot: u32, other: &dyn Array, row: u32) -> bool {
        let other = other.as_boolean();
        match (self.valid.is_valid(slot), other.is_valid(row as usize)) {
            (true, true) => self.values[slot as usize] == other.value(row as usize),
            (a, b) => a == b,
        }
    }

    fn retain_same_key(&self, slots: &[u32], other: &dyn Array, rows: &[u32], nulls_equal: bool, keep: &mut [bool]) {
        for ((slot, row), keep) in slots.iter().zip(rows).zip(keep) {
            *keep &= self.same_bits(*slot, other, *row) && (nulls_equal || self.valid.is_valid(*slot));
        }
    }

    fn clear(&mut self, _slot: u32) {}

    fn n_bytes(&self) -> usize {
        self.values.n_bytes() + self.valid.n_bytes()
    }
}

struct Bytes<T: ByteArrayType> {
    heap: Heap,
    valid: Validity,
    of: std::marker::PhantomData<T>,
}

impl<T: ByteArrayType> Debug for Bytes<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bytes").field("heap", &self.heap).field("valid", &self.valid).finish()
    }
}

impl<T: ByteArrayType> Default for Bytes<T> {
    fn default() -> Self {
        Bytes { heap: Heap::default(), valid: Validity::default(), of: std::marker::PhantomData }
    }
}

/// The bytes of row `row`, not looking at nulls.
#[inline]
fn raw<T: ByteArrayType>(array: &GenericByteArray<T>, row: u32) -> &[u8] {
    let offsets = array.value_offsets();
    &array.value_data()[offsets[row as usize].as_usize()..offsets[row as usize + 1].as_usize()]
}

impl<T: ByteArrayType> Grow for Bytes<T> {
    fn write(&mut self, slots: &[u32], from: &dyn Array, rows: &[u32]) {
        let from = from.as_bytes::<T>();
        if let Some(run) = run_at_end(slots, self.heap.n_slots(), rows).filter(|_| from.null_count() == 0) {
            let offsets = &from.value_offsets()[run.start..=run.end];
            let ends = offsets.iter().skip(1).map(|o| o.as_usize() - offsets[0].as_usize());
            self.heap.extend(&from.value_data()[offsets[0].as_usize()..offsets[rows.len()].as_usize()], ends);
            if self.valid.may_have_nulls() {
                slots.iter().for_each(|slot| self.valid.set(*slot, true));
            }
            return;
        }
        for (slot, row) in slots.iter().zip(rows) {
            let valid = from.is_valid(*row as usize);
            self.heap.set(*slot, if valid { raw(from, *row) } else { &[] });
            self.valid.set(*slot, valid);
        }
    }

    fn gather(&self, slots: &[u32]) -> ArrayRef {
        let n_bytes: usize = slots.iter().map(|s| self.heap.get(*s).len()).sum();
        let mut bytes = Vec::with_capacity(n_bytes);
        let mut offsets = Vec::with_capacity(slots.len() + 1);
        offsets.push(T::Offset::usize_as(0));
        for slot in slots {
            bytes.extend_from_slice(self.heap.get(*slot));
            offsets.push(T::Offset::usize_as(bytes.len()));
        }
        // Safety of `try_new` is checked for text: a pass over the bytes that costs less than the copy above.
        let array = GenericByteArray::<T>::try_new(
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Buffer::from_vec(bytes),
            self.valid.gather(slots),
        );
        Arc::new(array.expect("bytes were copied from arrays of this type"))
    }

    fn same_bits(&self, slot: u32, other: &dyn Array, row: u32) -> bool {
        let other = other.as_bytes::<T>();
        match (self.valid.is_valid(slot), other.is_valid(row as usize)) {
            (true, true) => self.heap.get(slot) == raw(other, row),
            (a, b) => a == b,
        }
    }

    fn retain_same_bits(&self, slots: &[u32], other: &dyn Array, rows: &[u32], keep: &mut [bool]) {
        let other = other.as_bytes::<T>();
        let no_nulls = !self.valid.may_have_nulls() && other.null_count() == 0;
        for ((slot, row), keep) in slots.iter().zip(rows).zip(keep) {
            let (mine, theirs) =
                if no_nulls { (true, true) } else { (self.valid.is_valid(*slot), other.is_valid(*row as usize)) };
            *keep &= mine == theirs && (!mine || self.heap.get(*slot) == raw(other, *row));
        }
    }

    fn retain_same_key(&self, slots: &[u32], other: &dyn Array, rows: &[u32], nulls_equal: bool, keep: &mut [bool]) {
        let other = other.as_bytes::<T>();
        for ((slot, row), keep) in slots.iter().zip(rows).zip(keep) {
            *keep &= match (self.valid.is_valid(*slot), other.is_valid(*row as usize)) {
                (true, true) => self.heap.get(*slot) == raw(other, *row),
                (false, false) => nulls_equal,
                _ => false,
            };
        }
    }

    fn clear(&mut self, slot: u32) {
        self.heap.clear(slot);
    }

    fn n_bytes(&self) -> usize {
        self.heap.n_bytes() + self.valid.n_bytes()
    }
}

/// Any other type arrow-row can encode (lists from array_agg, for one): its row encoding, in memory only.
#[derive(Debug)]
struct Encoded {
    converter: RowConverter,
    heap: Heap,
}

impl Encoded {
    fn encode(&self, array: &dyn Array) -> arrow::row::Rows {
        let whole = array.slice(0, array.len());
        self.converter.convert_columns(&[whole]).expect("the plan gives this column the type it was made for")
    }
}

impl Grow for Encoded {
    fn write(&mut self, slots: &[u32], from: &dyn Array, rows: &[u32]) {
        if rows.len() * 4 < from.len() {
            for (slot, row) in slots.iter().zip(rows) {
                let encoded = self.encode(&from.slice(*row as usize, 1));
                self.heap.set(*slot, encoded.row(0).data());
            }
            return;
        }
        let encoded = self.encode(from);
        for (slot, row) in slots.iter().zip(rows) {
            self.heap.set(*slot, encoded.row(*row as usize).data());
        }
    }

    fn gather(&self, slots: &[u32]) -> ArrayRef {
        let parser = self.converter.parser();
        let mut arrays = self
            .converter
            .convert_rows(slots.iter().map(|s| parser.parse(self.heap.get(*s))))
            .expect("bytes were made by this converter");
        arrays.swap_remove(0)
    }

    fn same_bits(&self, slot: u32, other: &dyn Array, row: u32) -> bool {
        self.encode(&other.slice(row as usize, 1)).row(0).data() == self.heap.get(slot)
    }

    fn retain_same_key(&self, slots: &[u32], other: &dyn Array, rows: &[u32], nulls_equal: bool, keep: &mut [bool]) {
        let encoded = self.encode(other);
        for ((slot, row), keep) in slots.iter().zip(rows).zip(keep) {
            *keep &= encoded.row(*row as usize).data() == self.heap.get(*slot) && (nulls_equal || other.is_valid(*row as usize));
        }
    }

    fn clear(&mut self, slot: u32) {
        self.heap.clear(slot);
    }

    fn n_bytes(&self) -> usize {
        self.heap.n_bytes()
    }
}
