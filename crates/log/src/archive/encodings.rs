//! How each column of a segment is encoded, judged by its first rows.
//!
//! A dictionary pays where values repeat. Where they do not, each value is looked up in a table that is thrown away when it has become too large, and that look-up
//! was the dearest thing that the archiver did. Whole numbers without one are stored as differences, which are a few bits where neighbours
//! are alike; every reader of Parquet knows both. A segment that goes on unlike its beginning is larger than it had to be, never wrong.

use super::columns::{COMMIT_TS, LSN, N_SYSTEM, OFFSET};
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type, Schema},
};
use parquet::{basic::Encoding, file::properties::WriterPropertiesBuilder, schema::types::ColumnPath};
use regauge_types::hash::hash_bytes;

/// Fewer values tell nothing: then there is a dictionary.
const SAMPLE_MIN: usize = 256;
const SAMPLE_MAX: usize = 4096;

/// How the values of a column stand in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// In a dictionary, until it is full.
    Dictionary,
    /// Each for itself: texts and bytes with their lengths apart, others as they are.
    Plain,
    /// Whole numbers, by what lies between them.
    Differences,
}

/// One choice for each column of a segment that begins with `first`.
pub(super) fn choose(first: &RecordBatch) -> Vec<Choice> {
    let n_user = first.num_columns() - N_SYSTEM;
    let ours = first.schema_ref().fields().iter().skip(n_user).map(|field| match field.name().as_str() {
        // Ascending numbers.
        OFFSET | LSN | COMMIT_TS => Choice::Differences,
        _ => Choice::Dictionary,
    });
    first.columns().iter().take(n_user).map(of_column).chain(ours).collect()
}

/// Sets the encodings of the columns, for those that the library writes.
pub(super) fn set(mut builder: WriterPropertiesBuilder, schema: &Schema, choices: &[Choice]) -> WriterPropertiesBuilder {
    for (field, choice) in schema.fields().iter().zip(choices) {
        let path = ColumnPath::new(vec![field.name().clone()]);
        builder = match choice {
            Choice::Dictionary => builder,
            Choice::Plain => builder.set_column_dictionary_enabled(path, false),
            Choice::Differences => builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
        };
    }
    builder
}

fn of_column(column: &ArrayRef) -> Choice {
    use DataType as T;
    match column.data_type() {
        T::Int16 | T::Int32 | T::Int64 | T::UInt16 | T::UInt32 | T::Date32 | T::Time64(_) | T::Timestamp(_, _) => {
            whole_numbers(column)
        }
        T::Float64 => {
            let bits = column.as_primitive::<arrow::datatypes::Float64Type>().iter().take(SAMPLE_MAX).flatten();
            by_repetition(bits.map(f64::to_bits).collect())
        }
        // By their hashes: to sort texts is to compare them, and a mistake would cost nothing but bytes.
        T::Utf8 => {
            let texts = column.as_string::<i32>().iter().take(SAMPLE_MAX).flatten();
            by_repetition(texts.map(|text| hash_bytes(text.as_bytes())).collect())
        }
        T::Binary => by_repetition(column.as_binary::<i32>().iter().take(SAMPLE_MAX).flatten().map(hash_bytes).collect()),
        _ => Choice::Dictionary,
    }
}

/// Values of which few repeat: their dictionary would be given up after some thousand rows, and be stored all the same.
fn by_repetition(mut values: Vec<u64>) -> Choice {
    let n = values.len();
    let n_distinct = distinct(&mut values);
    if n >= SAMPLE_MIN && n_distinct > n / 4 * 3 { Choice::Plain } else { Choice::Dictionary }
}

/// A dictionary only for numbers that are far apart and repeat often: else differences are as small, and much cheaper.
fn whole_numbers(column: &ArrayRef) -> Choice {
    let sample = column.slice(0, column.len().min(SAMPLE_MAX));
    let Ok(numbers) = cast(&sample, &DataType::Int64) else { return Choice::Dictionary };
    let mut values: Vec<i64> = numbers.as_primitive::<Int64Type>().iter().flatten().collect();
    if values.len() < SAMPLE_MIN {
        return Choice::Dictionary;
    }
    let n = values.len();
    let differences = values.windows(2).map(|pair| i128::from(pair[1]) - i128::from(pair[0]));
    let (least, greatest) = differences.fold((i128::MAX, i128::MIN), |(min, max), d| (min.min(d), max.max(d)));
    let n_distinct = distinct(&mut values);
    let bits_of_differences = 128 - (greatest - least).leading_zeros();
    let bits_of_places = usize::BITS - n_distinct.leading_zeros();
    if n_distinct < n / 4 && 2 * bits_of_places < bits_of_differences { Choice::Dictionary } else { Choice::Differences }
}

fn distinct<T: Ord>(values: &mut Vec<T>) -> usize {
    values.sort_unstable();
    values.dedup();
    values.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use std::sync::Arc;

    fn of(numbers: impl Iterator<Item = i64>) -> Choice {
        of_column(&(Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef))
    }

    #[test]
    fn numbers_have_a_dictionary_only_where_they_repeat_and_are_far_apart() {
        let scattered = |n: i64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed());
        assert_eq!(of(0..1000), Choice::Differences, "ascending");
        assert_eq!(of((0..1000).map(|n| n % 7)), Choice::Differences, "near each other");
        assert_eq!(of((0..1000).map(|_| 5)), Choice::Differences, "all the same");
        assert_eq!(of((0..1000).map(|n| scattered(n % 9))), Choice::Dictionary, "nine of 64 bits");
        assert_eq!(of((0..1000).map(scattered)), Choice::Differences, "none repeats");
        assert_eq!(of((0..100).map(scattered)), Choice::Dictionary, "too few to tell");
        assert_eq!(of([i64::MIN, i64::MAX].into_iter().cycle().take(1000)), Choice::Dictionary, "differences beyond 64 bits");
        let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None; 5000]));
        assert_eq!(of_column(&nulls), Choice::Dictionary, "no value at all");
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values((0..1000).map(|n| n * 1_000_000)));
        assert_eq!(of_column(&times), Choice::Differences);
    }

    #[test]
    fn texts_and_fractions_have_a_dictionary_unless_most_are_unlike() {
        let texts =
            |n: i64| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..1000).map(|i| format!("text {}", i % n)))) };
        assert_eq!(of_column(&texts(10)), Choice::Dictionary);
        assert_eq!(of_column(&texts(1000)), Choice::Plain);
        let fractions =
            |n: i32| -> ArrayRef { Arc::new(Float64Array::from_iter_values((0..1000).map(|i| f64::from(i % n) / 3.0))) };
        assert_eq!(of_column(&fractions(10)), Choice::Dictionary);
        assert_eq!(of_column(&fractions(1000)), Choice::Plain);
    }
}
