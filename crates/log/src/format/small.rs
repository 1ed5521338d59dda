//! A few rows as bytes: column by column, nulls as bits, numbers as long as they are large. No header, no padding, no schema.
//!
//! ```text
//! column := flag (0 no nulls · 1 nulls · 2 all null)   [bits, 1 = value, least first, if flag 1]   value of each row that has one
//! value  := integer, date, time, timestamp: zigzag LEB128      bool: 1 byte      float: its bits, little-endian
//!           decimal: zigzag LEB128 of 128 bits                 text, bytes, jsonb, json: length, bytes      uuid: 16 bytes
//!           interval: months, days, nanoseconds, zigzag each   array: bytes, see `list`
//! ```
//!
//! A row of bigint, bigint, text of 10 takes about 20 bytes. Column-wise, because that is how arrow is read and built; it is meant for less than some
//! hundred rows: beyond that an Arrow message is decoded ten times faster.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray, LargeStringArray, NullArray,
    PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray, StringViewArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, SchemaRef, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};

use super::list;
use super::wire::{Input, Malformed, put_bytes};

/// More rows than this are not decoded: what a hostile count of rows of no bytes (all null) may cost is bounded by it.
pub const ROWS_MAX: usize = 1 << 16;

const NO_NULLS: u8 = 0;
const NULLS: u8 = 1;
const ALL_NULL: u8 = 2;

/// Appends rows of a schema that the log stores.
pub fn encode(rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Malformed> {
    rows.columns().iter().try_for_each(|column| put_column(column, out))
}

/// Reads `n_rows` rows of `schema`.
pub fn decode(bytes: &[u8], schema: &SchemaRef, n_rows: usize) -> Result<RecordBatch, Malformed> {
    if n_rows > ROWS_MAX {
        return Err(Malformed::new(format!("too many rows for this encoding n_rows={n_rows} max={ROWS_MAX}")));
    }
    let mut input = Input::new(bytes);
    let columns =
        schema.fields().iter().map(|field| take_column(&mut input, field.data_type(), n_rows)).collect::<Result<Vec<_>, _>>()?;
    input.end()?;
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|e| Malformed::new(e.to_string()))
}

/// Calls `$do!` with the arrow type of an integer-like column, or evaluates `$other`.
macro_rules! integers {
    ($data_type:expr, $do:ident, $other:expr) => {
        match $data_type {
            DataType::Int8 => $do!(Int8Type),
            DataType::Int16 => $do!(Int16Type),
            DataType::Int32 => $do!(Int32Type),
            DataType::Int64 => $do!(Int64Type),
            DataType::UInt8 => $do!(UInt8Type),
            DataType::UInt16 => $do!(UInt16Type),
            DataType::UInt32 => $do!(UInt32Type),
            DataType::UInt64 => $do!(UInt64Type),
            DataType::Date32 => $do!(Date32Type),
            DataType::Time64(TimeUnit::Microsecond) => $do!(Time64MicrosecondType),
            DataType::Timestamp(TimeUnit::Second, _) => $do!(TimestampSecondType),
            DataType::Timestamp(TimeUnit::Millisecond, _) => $do!(TimestampMillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => $do!(TimestampMicrosecondType),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => $do!(TimestampNanosecondType),
            DataType::Decimal128(..) => $do!(Decimal128Type),
            _ => $other,
        }
    };
}

fn put_column(column: &ArrayRef, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let valid = put_nulls(column, out, true);
    put_values(column, &valid, out)
}

/// Items of an array: as a column, but that nulls are bits even where there is nothing else.
pub(super) fn put_items(items: &ArrayRef, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let valid = put_nulls(items, out, false);
    put_values(items, &valid, out)
}

fn put_values(column: &ArrayRef, valid: &[usize], out: &mut Vec<u8>) -> Result<(), Malformed> {
    macro_rules! put {
        ($t:ty) => {{
            let values = column.as_primitive::<$t>().values();
            valid.iter().for_each(|row| put_zigzag(out, i128::from(values[*row])));
        }};
    }
    integers!(column.data_type(), put, {
        match column.data_type() {
            DataType::Null => {}
            DataType::Boolean => valid.iter().for_each(|row| out.push(u8::from(column.as_boolean().value(*row)))),
            DataType::Float32 => {
                valid.iter().for_each(|row| out.extend(column.as_primitive::<Float32Type>().value(*row).to_bits().to_le_bytes()))
            }
            DataType::Float64 => {
                valid.iter().for_each(|row| out.extend(column.as_primitive::<Float64Type>().value(*row).to_bits().to_le_bytes()))
            }
            DataType::Utf8 => valid.iter().for_each(|row| put_bytes(out, column.as_string::<i32>().value(*row).as_bytes())),
            DataType::LargeUtf8 => valid.iter().for_each(|row| put_bytes(out, column.as_string::<i64>().value(*row).as_bytes())),
            DataType::Utf8View => valid.iter().for_each(|row| put_bytes(out, column.as_string_view().value(*row).as_bytes())),
            DataType::FixedSizeBinary(16) => valid.iter().for_each(|row| out.extend(column.as_fixed_size_binary().value(*row))),
            DataType::Binary => valid.iter().for_each(|row| put_bytes(out, column.as_binary::<i32>().value(*row))),
            DataType::Interval(IntervalUnit::MonthDayNano) => valid.iter().for_each(|row| {
                let value = column.as_primitive::<IntervalMonthDayNanoType>().value(*row);
                [i128::from(value.months), i128::from(value.days), i128::from(value.nanoseconds)]
                    .into_iter()
                    .for_each(|v| put_zigzag(out, v));
            }),
            DataType::List(_) => {
                let list = column.as_list::<i32>();
                for row in valid {
                    let mut bytes = vec![];
                    list::put(&list.value(*row), &mut bytes)?;
                    put_bytes(out, &bytes);
                }
            }
            other => return Err(Malformed::new(format!("column type is not stored type={other}"))),
        }
    });
    Ok(())
}

/// Appends flag and bits; returns the rows that have a value.
fn put_nulls(column: &ArrayRef, out: &mut Vec<u8>, may_be_short: bool) -> Vec<usize> {
    let valid: Vec<usize> = match column.data_type() {
        DataType::Null => Vec::new(),
        _ => (0..column.len()).filter(|row| column.is_valid(*row)).collect(),
    };
    if valid.len() == column.len() {
        out.push(NO_NULLS);
    } else if valid.is_empty() && may_be_short {
        out.push(ALL_NULL);
    } else {
        out.push(NULLS);
        let start = out.len();
        out.resize(start + column.len().div_ceil(8), 0);
        valid.iter().for_each(|row| out[start + row / 8] |= 1 << (row % 8));
    }
    valid
}

fn take_nulls(input: &mut Input<'_>, n_rows: usize) -> Result<Vec<bool>, Malformed> {
    match input.u8()? {
        NO_NULLS => Ok(vec![true; n_rows]),
        ALL_NULL => Ok(vec![false; n_rows]),
        NULLS => {
            let bits = input.take(n_rows.div_ceil(8))?;
            Ok((0..n_rows).map(|row| bits[row / 8] >> (row % 8) & 1 == 1).collect())
        }
        other => Err(Malformed::new(format!("unknown flag of a column flag={other}"))),
    }
}

/// The inverse of [`put_items`].
pub(super) fn take_items(input: &mut Input<'_>, data_type: &DataType, n: usize) -> Result<ArrayRef, Malformed> {
    take_column(input, data_type, n)
}

fn take_column(input: &mut Input<'_>, data_type: &DataType, n_rows: usize) -> Result<ArrayRef, Malformed> {
    let valid = take_nulls(input, n_rows)?;
    macro_rules! take {
        ($t:ty) => {
            Ok(take_integers::<$t>(input, data_type, &valid)?)
        };
    }
    integers!(data_type, take, {
        Ok(match data_type {
            DataType::Null => {
                // No value was stored; more are refused by the check for bytes that are left.
                Arc::new(NullArray::new(n_rows))
            }
            DataType::Boolean => Arc::new(BooleanArray::from(values(&valid, || match input.u8()? {
                0 => Ok(false),
                1 => Ok(true),
                other => Err(Malformed::new(format!("neither true nor false value={other}"))),
            })?)),
            DataType::Float32 => Arc::new(
                values(&valid, || Ok(f32::from_bits(u32::from_le_bytes(input.array()?))))?
                    .into_iter()
                    .collect::<PrimitiveArray<Float32Type>>(),
            ),
            DataType::Float64 => Arc::new(
                values(&valid, || Ok(f64::from_bits(u64::from_le_bytes(input.array()?))))?
                    .into_iter()
                    .collect::<PrimitiveArray<Float64Type>>(),
            ),
            DataType::Utf8 => Arc::new(StringArray::from(values(&valid, || input.text())?)),
            DataType::LargeUtf8 => Arc::new(LargeStringArray::from(values(&valid, || input.text())?)),
            DataType::Utf8View => Arc::new(StringViewArray::from(values(&valid, || input.text())?)),
            DataType::FixedSizeBinary(16) => {
                let uuids = values(&valid, || input.array::<16>())?;
                let uuids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids.into_iter(), 16);
                Arc::new(uuids.map_err(|e| Malformed::new(e.to_string()))?)
            }
            DataType::Binary => Arc::new(BinaryArray::from(values(&valid, || input.bytes())?)),
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                let intervals = values(&valid, || {
                    let (months, days, nanoseconds) = (take_zigzag(input)?, take_zigzag(input)?, take_zigzag(input)?);
                    let wide = |_| Malformed::new("interval is out of range");
                    let part = |v: i128| i32::try_from(v).map_err(wide);
                    Ok(IntervalMonthDayNano::new(part(months)?, part(days)?, i64::try_from(nanoseconds).map_err(wide)?))
                })?;
                Arc::new(intervals.into_iter().collect::<PrimitiveArray<IntervalMonthDayNanoType>>())
            }
            DataType::List(_) => list::column(data_type, &values(&valid, || input.bytes())?)?,
            other => return Err(Malformed::new(format!("column type is not stored type={other}"))),
        })
    })
}

/// One optional value a row.
fn values<T>(valid: &[bool], mut take: impl FnMut() -> Result<T, Malformed>) -> Result<Vec<Option<T>>, Malformed> {
    valid.iter().map(|valid| valid.then(&mut take).transpose()).collect()
}

fn take_integers<T: ArrowPrimitiveType<Native: TryFrom<i128>>>(
    input: &mut Input<'_>,
    data_type: &DataType,
    valid: &[bool],
) -> Result<ArrayRef, Malformed> {
    let numbers = values(valid, || {
        let value = take_zigzag(input)?;
        T::Native::try_from(value).map_err(|_| Malformed::new(format!("number does not fit its column value={value}")))
    })?;
    let array: PrimitiveArray<T> = numbers.into_iter().collect();
    Ok(Arc::new(array.with_data_type(data_type.clone())))
}

/// Small numbers of either sign in few bytes.
fn put_zigzag(out: &mut Vec<u8>, value: i128) {
    let mut bits = ((value << 1) ^ (value >> 127)).cast_unsigned();
    while bits >= 0x80 {
        out.push(bits.to_le_bytes()[0] | 0x80);
        bits >>= 7;
    }
    out.push(bits.to_le_bytes()[0]);
}

fn take_zigzag(input: &mut Input<'_>) -> Result<i128, Malformed> {
    let mut bits = 0_u128;
    for shift in (0..128).step_by(7) {
        let byte = input.u8()?;
        let group = u128::from(byte & 0x7f);
        if shift == 126 && group > 3 {
            break;
        }
        bits |= group << shift;
        if byte & 0x80 == 0 {
            if byte == 0 && shift > 0 {
                return Err(Malformed::new("number with a superfluous byte"));
            }
            return Ok((bits >> 1).cast_signed() ^ -((bits & 1).cast_signed()));
        }
    }
    Err(Malformed::new("number is longer than 128 bits"))
}
