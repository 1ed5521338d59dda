//! Values that SQL takes for equal and that are written differently: which types have such, one form for each value, and the way back
//! from an exact key to the value that it was made of.
//!
//! ```text
//!   jsonb       1   1.0   1.00              the form of a value: numbers without zeros behind the point
//!   interval    1 day   24:00:00            months of 30 days, days of 24 hours, the rest
//!   arrays of these, and of floats          element by element
//! ```
//! Floats that stand alone have forms, too (-0 and 0, and NaNs); whoever keeps them gives them one. Cost: a pass over the column,
//! and only for these types. It does not know when a form matters: see [`crate::key`].

use crate::{
    arrays,
    hash::{canonical_f64, interval_length_ns},
    jsonb,
};
use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, Float64Array, IntervalMonthDayNanoArray, LargeStringArray, ListArray, new_null_array,
};
use arrow::datatypes::{DataType, Float32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use std::sync::Arc;

const DAY_NS: i128 = 86_400_000_000_000;

/// Whether equal values of a type may be shown differently. Not floats, but arrays of them.
#[must_use]
pub fn has_forms(ty: &DataType) -> bool {
    match ty {
        DataType::LargeUtf8 | DataType::Interval(IntervalUnit::MonthDayNano) => true,
        DataType::List(item) => has_forms(item.data_type()) || item.data_type().is_floating(),
        _ => false,
    }
}

/// The column with one form for values that are equal; without a copy where there is nothing to change.
#[must_use]
pub fn canonical(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            if values.values().iter().all(|v| canonical_f64(*v) == v.to_bits()) {
                return Arc::clone(column);
            }
            Arc::new(values.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v + 0.0 }))
        }
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            if !values.values().iter().any(|v| v.is_nan() || (*v == 0.0 && v.is_sign_negative())) {
                return Arc::clone(column);
            }
            Arc::new(values.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 }))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            Arc::new(column.as_primitive::<IntervalMonthDayNanoType>().unary::<_, IntervalMonthDayNanoType>(justified))
        }
        DataType::LargeUtf8 => {
            let texts = column.as_string::<i64>();
            if !texts.value_data().contains(&b'.') {
                return Arc::clone(column);
            }
            Arc::new(texts.iter().map(|t| t.map(jsonb::normal)).collect::<LargeStringArray>())
        }
        DataType::List(item) if has_forms(column.data_type()) => {
            let list = column.as_list::<i32>();
            let items = canonical(list.values());
            Arc::new(ListArray::new(Arc::clone(item), list.offsets().clone(), items, list.nulls().cloned()))
        }
        _ => Arc::clone(column),
    }
}

/// The form of an interval's length with as many months of 30 days as there are, then days.
fn justified(v: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let mut rest = interval_length_ns(v.months, v.days, v.nanoseconds);
    let mut take = |unit: i128| {
        let n = rest.div_euclid(unit).clamp(i32::MIN.into(), i32::MAX.into());
        rest -= n * unit;
        i32::try_from(n).unwrap_or(0)
    };
    let (months, days) = (take(30 * DAY_NS), take(DAY_NS));
    // what months and days of 32 bits leave of a sum of three such parts fits the third
    IntervalMonthDayNano::new(months, days, i64::try_from(rest).unwrap_or(i64::MAX))
}

/// The values that single-column exact keys ([`crate::key::encode_exact`]) were made of; `None` for bytes that are none of this type's. A NULL key
/// is a NULL.
#[must_use]
pub fn from_exact<'a>(keys: impl Iterator<Item = Option<&'a [u8]>>, ty: &DataType) -> Option<ArrayRef> {
    let mut values = Values::new(ty)?;
    for key in keys {
        match key {
            Some(mut bytes) => {
                values.read(&mut bytes)?;
                if !bytes.is_empty() {
                    return None;
                }
            }
            None => values.null(),
        }
    }
    values.finish(ty)
}

/// Values as they are read.
enum Values {
    Floats(Vec<Option<f64>>),
    Spans(Vec<Option<IntervalMonthDayNano>>),
    Texts(Vec<Option<String>>),
    /// Arrays of so many dimensions, and their elements.
    Lists {
        depth: usize,
        shapes: Vec<Option<Vec<usize>>>,
        items: Box<Values>,
    },
}

impl Values {
    fn new(ty: &DataType) -> Option<Values> {
        Some(match ty {
            DataType::Float32 | DataType::Float64 => Values::Floats(vec![]),
            DataType::Interval(IntervalUnit::MonthDayNano) => Values::Spans(vec![]),
            DataType::LargeUtf8 => Values::Texts(vec![]),
            DataType::List(_) => {
                let items = Box::new(Values::new(arrays::leaf(ty))?);
                Values::Lists { depth: arrays::depth(ty), shapes: vec![], items }
            }
            _ => return None,
        })
    }

    fn null(&mut self) {
        match self {
            Values::Floats(all) => all.push(None),
            Values::Spans(all) => all.push(None),
            Values::Texts(all) => all.push(None),
            Values::Lists { shapes, .. } => shapes.push(None),
        }
    }

    /// One value with its marker.
    fn read(&mut self, bytes: &mut &[u8]) -> Option<()> {
        match take::<1>(bytes)? {
            [0x01] => {}
            [0xff] => {
                self.null();
                return Some(());
            }
            _ => return None,
        }
        match self {
            Values::Floats(all) => {
                let ordered = u64::from_be_bytes(take(bytes)?);
                all.push(Some(f64::from_bits(if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered })));
            }
            Values::Spans(all) => {
                let length = i128::from_be_bytes(take(bytes)?) ^ i128::MIN;
                let (months, days) = (i32::from_be_bytes(take(bytes)?) ^ i32::MIN, i32::from_be_bytes(take(bytes)?) ^ i32::MIN);
                let rest = i64::try_from(length.checked_sub(interval_length_ns(months, days, 0))?).ok()?;
                all.push(Some(IntervalMonthDayNano::new(months, days, rest)));
            }
            Values::Texts(all) => {
                unescaped(bytes)?;
                all.push(Some(String::from_utf8(unescaped(bytes)?).ok()?));
            }
            Values::Lists { depth, shapes, items } => {
                // what such arrays are ordered by stands first
                unescaped(bytes)?;
                let mut n = 0_usize;
                while *bytes.first()? != 0x00 {
                    items.read(bytes)?;
                    n += 1;
                }
                *bytes = &bytes[1..];
                let dims = match (n, *depth) {
                    (0, _) => vec![],
                    (n, 1) => vec![n],
                    (n, depth) => {
                        let [written] = take(bytes)?;
                        (usize::from(written) == depth).then_some(())?;
                        let dim = |_| Some(usize::try_from(u32::from_be_bytes(take(bytes)?)).unwrap_or(usize::MAX));
                        let dims = (0..depth).map(dim).collect::<Option<Vec<_>>>()?;
                        let product = dims.iter().try_fold(1_usize, |product, n| product.checked_mul(*n));
                        product.filter(|product| *product == n).map(|_| dims)?
                    }
                };
                shapes.push(Some(dims));
            }
        }
        Some(())
    }

    fn finish(self, ty: &DataType) -> Option<ArrayRef> {
        Some(match (self, ty) {
            #[expect(clippy::cast_possible_truncation, reason = "it was a float of 32 bits")]
            (Values::Floats(all), DataType::Float32) => {
                Arc::new(all.into_iter().map(|v| v.map(|v| v as f32)).collect::<Float32Array>())
            }
            (Values::Floats(all), _) => Arc::new(Float64Array::from(all)),
            (Values::Spans(all), _) => Arc::new(IntervalMonthDayNanoArray::from(all)),
            (Values::Texts(all), _) => Arc::new(LargeStringArray::from(all)),
            (Values::Lists { shapes, items, .. }, DataType::List(_)) => {
                if shapes.is_empty() {
                    return Some(new_null_array(ty, 0));
                }
                arrays::build(ty, items.finish(arrays::leaf(ty))?, &shapes).ok()?
            }
            _ => return None,
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

/// Bytes up to their end mark, as they were.
fn unescaped(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![];
    loop {
        let zero = bytes.iter().position(|b| *b == 0)?;
        out.extend_from_slice(&bytes[..zero]);
        let mark = *bytes.get(zero + 1)?;
        *bytes = &bytes[zero + 2..];
        match mark {
            0x00 => return Some(out),
            0xff => out.push(0),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hash::hash_columns, key};
    use arrow::array::BinaryArray;
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use proptest::prelude::*;

    fn columns() -> Vec<ArrayRef> {
        let span = |m, d, n| Some(IntervalMonthDayNano::new(m, d, n));
        let day = 86_400_000_000_000;
        let spans = IntervalMonthDayNanoArray::from(vec![
            span(0, 1, 0),
            span(0, 0, day),
            span(1, 0, 0),
            span(0, 30, 0),
            span(1, -1, day),
            None,
            span(i32::MAX, i32::MAX, i64::MAX),
            span(i32::MIN, i32::MIN, i64::MIN),
        ]);
        let texts = ["1", "1.0", "1.00", "[1.50, {\"a\\u0001\": 2}]", "[1.5, {\"a\\u0001\": 2.0}]", "null", "\"1.0\"", "0.0"];
        let texts = LargeStringArray::from(texts.map(Some).to_vec());
        let floats = Float64Array::from(vec![0.0, -0.0, 1.5, f64::NAN, f64::NEG_INFINITY, -1.0, 3.0, 4.0]);
        let list = |items: ArrayRef| -> ArrayRef {
            let field = arrow::datatypes::Field::new_list_field(items.data_type().clone(), true);
            let offsets = OffsetBuffer::new(vec![0, 1, 2, 2, 4, 8].into());
            Arc::new(ListArray::new(Arc::new(field), offsets, items, Some(NullBuffer::from(vec![true, true, true, false, true]))))
        };
        let squares = |items: ArrayRef| -> ArrayRef {
            let shapes = [Some(vec![1, 2]), Some(vec![2, 1]), None, Some(vec![]), Some(vec![2, 2])];
            arrays::build(&arrays::nest(items.data_type().clone(), 2), items, &shapes).unwrap()
        };
        let all: Vec<ArrayRef> = vec![Arc::new(spans), Arc::new(texts), Arc::new(floats)];
        let lists: Vec<ArrayRef> = all.iter().cloned().map(list).collect();
        let squares: Vec<ArrayRef> = all.iter().cloned().map(squares).collect();
        all.into_iter().chain(lists).chain(squares).collect()
    }

    #[test]
    fn an_exact_key_gives_the_very_value_back_and_orders_as_the_value_does() {
        for column in columns() {
            let n = column.len();
            let exact = key::encode_exact(std::slice::from_ref(&column), n).unwrap();
            let keys: BinaryArray = exact.iter().map(Some).collect();
            let back = from_exact(keys.iter(), column.data_type()).unwrap();
            let again = key::encode_exact(&[back], n).unwrap();
            assert_eq!(exact, again, "{}", column.data_type());
            let values = key::encode(std::slice::from_ref(&column), n).unwrap();
            for a in 0..n {
                for b in 0..n {
                    if values.get(a) < values.get(b) {
                        assert!(exact.get(a) < exact.get(b), "{} {a} {b}", column.data_type());
                    }
                }
            }
        }
    }

    #[test]
    fn equal_values_have_one_form_and_one_hash_and_others_do_not() {
        for column in columns() {
            let n = column.len();
            let one = canonical(&column);
            let by_value = key::encode(std::slice::from_ref(&column), n).unwrap();
            let form = key::encode_exact(std::slice::from_ref(&one), n).unwrap();
            let hashes = [hash_columns(std::slice::from_ref(&column), n).unwrap(), hash_columns(&[one], n).unwrap()];
            assert_eq!(hashes[0], hashes[1], "{}", column.data_type());
            for a in 0..n {
                for b in 0..n {
                    let equal = by_value.get(a) == by_value.get(b);
                    assert_eq!(equal, form.get(a) == form.get(b), "{} {a} {b}", column.data_type());
                    assert!(!equal || hashes[0][a] == hashes[0][b]);
                }
            }
        }
    }

    #[test]
    fn a_change_of_form_is_a_change_and_its_retraction_cancels_it() {
        use crate::Delta;
        let span = |m, d, n| IntervalMonthDayNano::new(m, d, n);
        let spans: ArrayRef =
            Arc::new(IntervalMonthDayNanoArray::from(vec![span(0, 1, 0), span(0, 0, 86_400_000_000_000), span(0, 1, 0)]));
        let texts: ArrayRef = Arc::new(LargeStringArray::from(vec!["1", "1.0", "1"]));
        for column in [spans, texts] {
            let batch = arrow::array::RecordBatch::try_from_iter([("c", column)]).unwrap();
            let changed = Delta::new(batch.slice(0, 2), vec![-1, 1].into());
            assert_eq!(changed.consolidate().unwrap(), changed);
            let (there, back) = (Delta::new(batch.slice(1, 2), vec![-1, 1].into()), changed);
            let both = Delta::concat(&batch.schema(), &[back, there]).unwrap();
            assert!(both.consolidate().unwrap().is_empty());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_an_interval_is_its_form_is_as_long(months: i32, days: i32, ns: i64) {
            let form = justified(IntervalMonthDayNano::new(months, days, ns));
            prop_assert_eq!(
                interval_length_ns(form.months, form.days, form.nanoseconds),
                interval_length_ns(months, days, ns)
            );
            prop_assert_eq!(justified(form), form);
        }

        #[test]
        fn bytes_that_are_no_key_are_refused_and_nothing_panics(bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..40)) {
            for column in columns() {
                let _ = from_exact([Some(bytes.as_slice())].into_iter(), column.data_type());
            }
        }
    }
}
