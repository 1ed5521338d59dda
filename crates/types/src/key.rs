//! Frozen, order-preserving bytes of a row: comparing the bytes compares the rows as SQL does.
//!
//! Table keys, order keys of top-k, sorted runs and digests rest on it (golden vectors in `tests/types/golden.txt`; arrow-row is used
//! in memory only, because it may change between releases).
//!
//! ```text
//! value := marker payload          marker: 00 null first · 01 value · ff null last       descending: payload bytes inverted
//! bool                1 byte       numbers, dates, times: 8 bytes of i64, sign bit flipped, big-endian (all widths alike)
//! decimal, interval  16 bytes of i128, likewise          float: 8 bytes of f64 bits, positive: sign set, negative: inverted
//! text, bytes        each 00 as 00 ff, then 00 00        list: elements as values, then 00 (values have markers 01 or ff)
//! lists of lists: their elements as one list, then, if there are any, the number of dimensions in a byte and the length of each in 4
//! bytes, big-endian
//! jsonb (LargeUtf8)  as bytes: those of [`crate::jsonb`]
//!
//! exact: the same, and behind it what tells equal values apart that are written differently:
//! interval    months, days: 4 bytes of i32 each       jsonb    its text as bytes       float    -0 keeps its sign, below 0
//! lists of these: the key by value as bytes, then the exact one
//! ```
//! Two notions, never mixed: a key by its *value* groups, joins and looks up as SQL does; an *exact* key names a row as it is shown,
//! so that what is taken back is what was given. Exact keys order as the others do, and each can be read back ([`from_exact`]).
//! Unsigned 64-bit numbers above the signed range are refused by no one and wrap: we store none. A decimal's bytes are of its
//! own scale: compare only within a column.

use crate::arrays;
use crate::hash::{UnsupportedType, canonical_f64, interval_length_ns};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;

/// How one column takes part in the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyOrder {
    /// Greatest first.
    pub descending: bool,
    /// NULL before all values, else after them.
    pub nulls_first: bool,
    /// Equal values that are written differently are told apart.
    pub exact: bool,
}

impl KeyOrder {
    /// Ascending, NULL last, equal values told apart by how they are written.
    pub const EXACT: KeyOrder = KeyOrder { descending: false, nulls_first: false, exact: true };
}

/// Encoded keys of many rows in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of one row.
    #[must_use]
    pub fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.get(row))
    }
}

/// Canonical keys (ascending, NULL last) of `n_rows` rows over the given columns.
pub fn encode(columns: &[ArrayRef], n_rows: usize) -> Result<Keys, UnsupportedType> {
    encode_ordered(columns, &vec![KeyOrder::default(); columns.len()], n_rows)
}

/// Keys of rows as they are shown: two are equal when the rows are the same bytes (but for NaN, which is shown one way).
pub fn encode_exact(columns: &[ArrayRef], n_rows: usize) -> Result<Keys, UnsupportedType> {
    encode_ordered(columns, &vec![KeyOrder::EXACT; columns.len()], n_rows)
}

/// Keys whose byte order is the wished order of the rows. `orders` has one entry per column.
pub fn encode_ordered(columns: &[ArrayRef], orders: &[KeyOrder], n_rows: usize) -> Result<Keys, UnsupportedType> {
    let columns = columns.iter().map(Column::new).collect::<Result<Vec<_>, _>>()?;
    let mut keys = Keys { bytes: Vec::with_capacity(n_rows * columns.len() * 9), ends: Vec::with_capacity(n_rows) };
    for row in 0..n_rows {
        for (column, order) in columns.iter().zip(orders) {
            column.put(row, *order, &mut keys.bytes);
        }
        keys.ends.push(keys.bytes.len());
    }
    Ok(keys)
}

type Get<'a, T> = Box<dyn Fn(usize) -> T + 'a>;

/// A column, seen as what its values encode to.
enum Payload<'a> {
    Nothing,
    Bool(Get<'a, bool>),
    Int(Get<'a, i64>),
    Wide(Get<'a, i128>),
    Float(Get<'a, f64>),
    Bytes(Get<'a, &'a [u8]>),
    Jsonb(Get<'a, &'a str>),
    Span(&'a [IntervalMonthDayNano]),
    /// Lists, outermost first, and what they hold.
    List(Vec<&'a arrow::array::ListArray>, Box<Column<'a>>),
}

struct Column<'a> {
    array: &'a ArrayRef,
    payload: Payload<'a>,
}

impl<'a> Column<'a> {
    fn new(array: &'a ArrayRef) -> Result<Self, UnsupportedType> {
        macro_rules! int {
            ($t:ty) => {{
                let values = array.as_primitive::<$t>().values();
                Payload::Int(Box::new(move |i| i64::from(values[i])))
            }};
        }
        macro_rules! bytes {
            ($a:expr, $f:expr) => {{
                let a = $a;
                Payload::Bytes(Box::new(move |i| $f(a.value(i))))
            }};
        }
        let payload = match array.data_type() {
            DataType::Null => Payload::Nothing,
            DataType::Boolean => {
                let a = array.as_boolean();
                Payload::Bool(Box::new(move |i| a.value(i)))
            }
            DataType::Int8 => int!(Int8Type),
            DataType::Int16 => int!(Int16Type),
            DataType::Int32 => int!(Int32Type),
            DataType::Int64 => int!(Int64Type),
            DataType::UInt8 => int!(UInt8Type),
            DataType::UInt16 => int!(UInt16Type),
            DataType::UInt32 => int!(UInt32Type),
            DataType::UInt64 => {
                let values = array.as_primitive::<UInt64Type>().values();
                Payload::Int(Box::new(move |i| values[i].cast_signed()))
            }
            DataType::Date32 => int!(Date32Type),
            DataType::Time64(TimeUnit::Microsecond) => int!(Time64MicrosecondType),
            DataType::Time64(_) => int!(Time64NanosecondType),
            DataType::Timestamp(TimeUnit::Second, _) => int!(TimestampSecondType),
            DataType::Timestamp(TimeUnit::Millisecond, _) => int!(TimestampMillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => int!(TimestampMicrosecondType),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => int!(TimestampNanosecondType),
            DataType::Float32 => {
                let values = array.as_primitive::<Float32Type>().values();
                Payload::Float(Box::new(move |i| f64::from(values[i])))
            }
            DataType::Float64 => {
                let values = array.as_primitive::<Float64Type>().values();
                Payload::Float(Box::new(move |i| values[i]))
            }
            DataType::Decimal128(_, _) => {
                let values = array.as_primitive::<Decimal128Type>().values();
                Payload::Wide(Box::new(move |i| values[i]))
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Payload::Span(array.as_primitive::<IntervalMonthDayNanoType>().values())
            }
            DataType::Utf8 => bytes!(array.as_string::<i32>(), str::as_bytes),
            DataType::LargeUtf8 => {
                let values = array.as_string::<i64>();
                Payload::Jsonb(Box::new(move |i| values.value(i)))
            }
            DataType::Utf8View => bytes!(array.as_string_view(), str::as_bytes),
            DataType::Binary => bytes!(array.as_binary::<i32>(), std::convert::identity),
            DataType::LargeBinary => bytes!(array.as_binary::<i64>(), std::convert::identity),
            DataType::BinaryView => bytes!(array.as_binary_view(), std::convert::identity),
            DataType::FixedSizeBinary(_) => bytes!(array.as_fixed_size_binary(), std::convert::identity),
            DataType::List(_) => {
                let (levels, items) = arrays::levels(array.as_list::<i32>());
                Payload::List(levels, Box::new(Column::new(items)?))
            }
            other => return Err(UnsupportedType(other.clone())),
        };
        Ok(Column { array, payload })
    }

    fn put(&self, row: usize, order: KeyOrder, out: &mut Vec<u8>) {
        if matches!(self.payload, Payload::Nothing) || self.array.is_null(row) {
            return out.push(if order.nulls_first { 0x00 } else { 0xff });
        }
        out.push(0x01);
        let start = out.len();
        match &self.payload {
            Payload::Nothing => {}
            Payload::Bool(get) => out.push(u8::from(get(row))),
            Payload::Int(get) => out.extend_from_slice(&(get(row) ^ i64::MIN).to_be_bytes()),
            Payload::Wide(get) => put_i128(get(row), out),
            Payload::Float(get) => {
                let value = get(row);
                let bits = if order.exact && value == 0.0 { value.to_bits() } else { canonical_f64(value) };
                let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
                out.extend_from_slice(&ordered.to_be_bytes());
            }
            Payload::Bytes(get) => put_escaped(get(row), out),
            Payload::Jsonb(get) => {
                let mut key = vec![];
                crate::jsonb::put_order(get(row), &mut key);
                put_escaped(&key, out);
                if order.exact {
                    put_escaped(get(row).as_bytes(), out);
                }
            }
            Payload::Span(values) => {
                let v = values[row];
                put_i128(interval_length_ns(v.months, v.days, v.nanoseconds), out);
                if order.exact {
                    out.extend_from_slice(&(v.months ^ i32::MIN).to_be_bytes());
                    out.extend_from_slice(&(v.days ^ i32::MIN).to_be_bytes());
                }
            }
            Payload::List(levels, items) => {
                let (dims, range) = arrays::shape(levels, row);
                let put_dims = |out: &mut Vec<u8>| {
                    if levels.len() > 1 && !dims.is_empty() {
                        out.push(u8::try_from(dims.len()).unwrap_or(u8::MAX));
                        dims.iter().for_each(|n| out.extend_from_slice(&u32::try_from(*n).unwrap_or(u32::MAX).to_be_bytes()));
                    }
                };
                if order.exact && crate::forms::has_forms(self.array.data_type()) {
                    let mut key = vec![];
                    range.clone().for_each(|item| items.put(item, KeyOrder::default(), &mut key));
                    key.push(0x00);
                    put_dims(&mut key);
                    put_escaped(&key, out);
                }
                let order = KeyOrder { exact: order.exact, ..KeyOrder::default() };
                range.for_each(|item| items.put(item, order, out));
                out.push(0x00);
                put_dims(out);
            }
        }
        if order.descending {
            out[start..].iter_mut().for_each(|b| *b = !*b);
        }
    }
}

fn put_i128(value: i128, out: &mut Vec<u8>) {
    out.extend_from_slice(&(value ^ i128::MIN).to_be_bytes());
}

fn put_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(zero) = rest.iter().position(|b| *b == 0) {
        out.extend_from_slice(&rest[..=zero]);
        out.push(0xff);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0, 0]);
}
