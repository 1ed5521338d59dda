//! Our own frozen hash of rows: partitioning, buckets and ramps rest on it, so it never changes (golden vectors in
//! `tests/types/golden.txt`).
//!
//! A value hashes by what it *is* for SQL equality, not by its width: smallint 1, integer 1 and bigint 1 agree, -0.0 agrees
//! with 0.0, all NaN agree, an interval hashes by its length with months of 30 days. Columns are folded left to right,
//! vectorised one column at a time. Cost: one multiply-xor round per fixed-width value, one per 8 bytes of text; no allocation
//! but the output. Ideas: the finaliser of MurmurHash3 (Appleby), the tail round of XXH64 (Collet).

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};

const SEED: u64 = 0x7265_6761_7567_6531; // "regauge1"
const NULL: u64 = 0x6e75_6c6c_6e75_6c6c;
const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;

/// A column whose type has no place in keys, rows and digests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("type is not supported in stored rows and keys type={0}")]
pub struct UnsupportedType(pub DataType);

/// Number of hash ranges that state is laid out in.
pub const BUCKETS: usize = 256;

/// Which of the [`BUCKETS`] a hash falls into.
#[must_use]
pub fn bucket(hash: u64) -> usize {
    usize::from((hash >> 56) as u8)
}

/// Which worker owns a hash: whole buckets go to one worker.
#[must_use]
pub fn worker(hash: u64, workers: usize) -> usize {
    bucket(hash) * workers / BUCKETS
}

/// Which partition of a topic a hash falls into.
#[must_use]
pub fn partition(hash: u64, partitions: u32) -> u32 {
    (((hash >> 32) * u64::from(partitions)) >> 32) as u32
}

/// Hashes `n_rows` rows over the given columns (each of that length). No columns: every row hashes alike.
pub fn hash_columns(columns: &[ArrayRef], n_rows: usize) -> Result<Vec<u64>, UnsupportedType> {
    let mut out = Vec::new();
    hash_columns_into(columns, n_rows, &mut out)?;
    Ok(out)
}

/// As [`hash_columns`], into a buffer that is kept.
pub fn hash_columns_into(columns: &[ArrayRef], n_rows: usize, out: &mut Vec<u64>) -> Result<(), UnsupportedType> {
    out.clear();
    out.resize(n_rows, SEED);
    columns.iter().try_for_each(|column| fold(column, out))
}

/// Hash of bytes: text, names, salts.
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut acc = SEED ^ (bytes.len() as u64).wrapping_mul(P1);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        acc = round(acc, u64::from_le_bytes(word));
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        acc = round(acc, u64::from_le_bytes(word));
    }
    mix(acc)
}

#[inline]
fn round(acc: u64, word: u64) -> u64 {
    (acc ^ word.wrapping_mul(P2).rotate_left(31).wrapping_mul(P1)).rotate_left(27).wrapping_mul(P1).wrapping_add(P2)
}

#[inline]
fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

#[inline]
fn combine(row: u64, value: u64) -> u64 {
    mix(row.rotate_left(25).wrapping_mul(P1) ^ value)
}

#[inline]
fn of_u64(x: u64) -> u64 {
    x.wrapping_mul(P2) ^ P1
}

#[inline]
fn of_i128(x: i128) -> u64 {
    // the halves: truncation is the point
    #[allow(clippy::cast_possible_truncation)]
    let (high, low) = ((x >> 64) as u64, x as u64);
    // a decimal that fits 64 bits hashes like that number, so that no width shows
    of_u64(low) ^ mix(high ^ (low.cast_signed() >> 63).cast_unsigned())
}

/// The bits by which floats compare equal: one zero, one NaN.
#[must_use]
pub(crate) fn canonical_f64(x: f64) -> u64 {
    if x == 0.0 {
        0
    } else if x.is_nan() {
        f64::NAN.to_bits() & !(1 << 63)
    } else {
        x.to_bits()
    }
}

/// An interval's length for comparison, in nanoseconds: months of 30 days, days of 24 hours (PostgreSQL's rule).
#[must_use]
pub fn interval_length_ns(months: i32, days: i32, nanoseconds: i64) -> i128 {
    const DAY: i128 = 86_400_000_000_000;
    (i128::from(months) * 30 + i128::from(days)) * DAY + i128::from(nanoseconds)
}

fn fold(column: &ArrayRef, out: &mut [u64]) -> Result<(), UnsupportedType> {
    macro_rules! number {
        ($t:ty, $f:expr) => {{
            fold_primitive::<$t>(column, out, $f);
            Ok(())
        }};
    }
    macro_rules! signed {
        ($t:ty) => {
            number!($t, |x| of_u64(i64::from(x).cast_unsigned()))
        };
    }
    macro_rules! bytes {
        ($array:expr, $as_bytes:expr) => {{
            let array = $array;
            fold_with(array, out, |i| hash_bytes($as_bytes(array.value(i))));
            Ok(())
        }};
    }
    match column.data_type() {
        DataType::Null => {
            out.iter_mut().for_each(|h| *h = combine(*h, NULL));
            Ok(())
        }
        DataType::Boolean => {
            let array: &BooleanArray = column.as_boolean();
            fold_with(array, out, |i| of_u64(u64::from(array.value(i))));
            Ok(())
        }
        DataType::Int8 => signed!(Int8Type),
        DataType::Int16 => signed!(Int16Type),
        DataType::Int32 => signed!(Int32Type),
        DataType::Int64 => signed!(Int64Type),
        DataType::UInt8 => number!(UInt8Type, |x| of_u64(u64::from(x))),
        DataType::UInt16 => number!(UInt16Type, |x| of_u64(u64::from(x))),
        DataType::UInt32 => number!(UInt32Type, |x| of_u64(u64::from(x))),
        DataType::UInt64 => number!(UInt64Type, of_u64),
        DataType::Float32 => number!(Float32Type, |x| of_u64(canonical_f64(f64::from(x)))),
        DataType::Float64 => number!(Float64Type, |x| of_u64(canonical_f64(x))),
        DataType::Decimal128(_, _) => number!(Decimal128Type, of_i128),
        DataType::Date32 => signed!(Date32Type),
        DataType::Time64(TimeUnit::Microsecond) => signed!(Time64MicrosecondType),
        DataType::Time64(_) => signed!(Time64NanosecondType),
        DataType::Timestamp(TimeUnit::Second, _) => signed!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => signed!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => signed!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => signed!(TimestampNanosecondType),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            number!(IntervalMonthDayNanoType, |x: arrow::datatypes::IntervalMonthDayNano| {
                of_i128(interval_length_ns(x.months, x.days, x.nanoseconds))
            })
        }
        DataType::Utf8 => bytes!(column.as_string::<i32>(), str::as_bytes),
        // jsonb: numbers are equal whatever zeros follow
        DataType::LargeUtf8 => {
            let array = column.as_string::<i64>();
            fold_with(array, out, |i| hash_bytes(crate::jsonb::normal(array.value(i)).as_bytes()));
            Ok(())
        }
        DataType::Utf8View => bytes!(column.as_string_view(), str::as_bytes),
        DataType::Binary => bytes!(column.as_binary::<i32>(), std::convert::identity),
        DataType::LargeBinary => bytes!(column.as_binary::<i64>(), std::convert::identity),
        DataType::BinaryView => bytes!(column.as_binary_view(), std::convert::identity),
        DataType::FixedSizeBinary(_) => bytes!(column.as_fixed_size_binary(), std::convert::identity),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let items = hash_columns(std::slice::from_ref(list.values()), list.values().len())?;
            let offsets = list.value_offsets();
            fold_with(list, out, |i| {
                let range = usize::try_from(offsets[i]).unwrap_or(0)..usize::try_from(offsets[i + 1]).unwrap_or(0);
                items[range.clone()].iter().fold(of_u64(range.len() as u64), |h, item| combine(h, *item))
            });
            Ok(())
        }
        other => Err(UnsupportedType(other.clone())),
    }
}

fn fold_primitive<T: ArrowPrimitiveType>(column: &ArrayRef, out: &mut [u64], hash: impl Fn(T::Native) -> u64) {
    let array = column.as_primitive::<T>();
    let values = array.values();
    if array.null_count() == 0 {
        out.iter_mut().zip(values.iter()).for_each(|(h, x)| *h = combine(*h, hash(*x)));
    } else {
        fold_with(array, out, |i| hash(values[i]));
    }
}

fn fold_with(array: &dyn Array, out: &mut [u64], hash: impl Fn(usize) -> u64) {
    for (i, h) in out.iter_mut().enumerate() {
        *h = combine(*h, if array.is_null(i) { NULL } else { hash(i) });
    }
}
