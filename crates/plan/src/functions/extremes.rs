//! Every builtin, over every one, two or three types that it binds, with the greatest and least values and with whatever lies under
//! NULL: kernels compute all slots, so a panic on one that does not count would stop a view that is right.

use super::{builtins, udf};
use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
        Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, LargeStringArray, ListArray, ListBuilder,
        StringArray, StringBuilder, StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray, make_array,
    },
    buffer::NullBuffer,
    datatypes::{DataType, IntervalMonthDayNano},
};
use datafusion::logical_expr::ColumnarValue;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// Columns of four values, one of each type: the least, the greatest, zero and something plain.
fn columns() -> Vec<ArrayRef> {
    let long = "9".repeat(400);
    vec![
        Arc::new(BooleanArray::from(vec![false, true, false, true])),
        Arc::new(Int16Array::from(vec![i16::MIN, i16::MAX, 0, 3])),
        Arc::new(Int32Array::from(vec![i32::MIN, i32::MAX, 0, -1])),
        Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, 0, -1])),
        Arc::new(Float32Array::from(vec![f32::MIN, f32::MAX, f32::NAN, 0.5])),
        Arc::new(Float64Array::from(vec![f64::NEG_INFINITY, f64::MAX, f64::NAN, -0.0])),
        Arc::new(Decimal128Array::from(vec![i128::MIN, i128::MAX, 0, -1]).with_data_type(DataType::Decimal128(38, 16))),
        Arc::new(Decimal128Array::from(vec![i128::MIN, i128::MAX, 0, 7]).with_data_type(DataType::Decimal128(10, 2))),
        Arc::new(Decimal128Array::from(vec![i128::MIN, i128::MAX, 0, 7]).with_data_type(DataType::Decimal128(38, 0))),
        Arc::new(StringArray::from(vec!["", long.as_str(), "-2147483648", "ß\u{10ffff}%_\\"])),
        Arc::new(BinaryArray::from(vec![b"".as_slice(), b"\xff\x00", b"a", b"\\"])),
        Arc::new(LargeStringArray::from(vec![
            "null",
            "[9223372036854775808, -1e, \"\\u0001\", {\"\": []}]",
            "{\"a\": {\"b\": [1.50, null, true]}}",
            "-99999999999999999999999999999999999999999999.5",
        ])),
        Arc::new(StringViewArray::from(vec![" { \"a\" : 1e5 , \"a\":\"\\u0000\" } ", "[ ]", "\"x\"", "1E-400"])),
        Arc::new(FixedSizeBinaryArray::try_from_iter([[0; 16], [255; 16], [1; 16], [7; 16]].into_iter()).unwrap()),
        Arc::new(texts_in_arrays()),
        squares(),
        Arc::new(Date32Array::from(vec![i32::MIN, i32::MAX, 0, 20_000])),
        // A time of day lies within its day; there is no other way to make one.
        Arc::new(Time64MicrosecondArray::from(vec![0, 86_400_000_000, 1, 86_399_999_999])),
        Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, i64::MAX, 0, 1])),
        Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, i64::MAX, 0, 1]).with_timezone("UTC")),
        Arc::new(IntervalMonthDayNanoArray::from(vec![
            IntervalMonthDayNano::new(i32::MIN, i32::MIN, i64::MIN),
            IntervalMonthDayNano::new(i32::MAX, i32::MAX, i64::MAX),
            IntervalMonthDayNano::new(0, 0, 0),
            IntervalMonthDayNano::new(-1, 1, -1),
        ])),
    ]
}

/// Arrays of text: none, some, paths that lead to odd places, NULL within.
fn texts_in_arrays() -> ListArray {
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value(Vec::<Option<&str>>::new());
    lists.append_value([Some("a"), Some("b"), Some("-1")]);
    lists.append_value([Some("2147483648"), None]);
    lists.append_value([Some("0")]);
    lists.finish()
}

/// Arrays of two dimensions: none, some, more in one direction, NULL within.
fn squares() -> ArrayRef {
    let leaves = Int32Array::from(vec![Some(1), Some(i32::MAX), None, Some(i32::MIN), Some(0), Some(3), Some(4)]);
    let shapes = [Some(vec![]), Some(vec![2, 2]), Some(vec![1, 2]), Some(vec![1, 1])];
    let ty = regauge_types::arrays::nest(DataType::Int32, 2);
    regauge_types::arrays::build(&ty, Arc::new(leaves), &shapes).unwrap()
}

/// The same values, none of which counts.
fn under_null(column: &ArrayRef) -> ArrayRef {
    let data = column.to_data().into_builder().nulls(Some(NullBuffer::new_null(column.len()))).build().unwrap();
    make_array(data)
}

/// What of the builtins panics over these arguments.
fn panics(args: &[ArrayRef]) -> Vec<String> {
    let types: Vec<DataType> = args.iter().map(|a| a.data_type().clone()).collect();
    let mut found = vec![];
    for def in builtins() {
        let Ok(bound) = (def.bind)(&types) else { continue };
        if bound.args != types {
            continue;
        }
        let values: Vec<ColumnarValue> = args.iter().map(|a| ColumnarValue::Array(Arc::clone(a))).collect();
        let called = catch_unwind(AssertUnwindSafe(|| udf::call(def, &values, 4, &bound.ret).map(drop)));
        let dead = args.iter().any(|a| a.null_count() == a.len());
        match called {
            Err(_) => found.push(format!("{} panics over {types:?}, NULL: {dead}", def.name)),
            Ok(Err(error)) if error.to_string().contains("XX000") => found.push(format!("{} over {types:?}: {error}", def.name)),
            Ok(_) => {}
        }
    }
    found
}

#[test]
fn no_builtin_panics_over_extreme_values_nor_over_what_lies_under_null() {
    let columns = columns();
    let dead: Vec<ArrayRef> = columns.iter().map(under_null).collect();
    let mut found = vec![];
    for (a, none) in columns.iter().zip(&dead) {
        found.extend(panics(std::slice::from_ref(a)));
        found.extend(panics(std::slice::from_ref(none)));
        for (b, also_none) in columns.iter().zip(&dead) {
            // Also the other way round, so that each extreme meets each.
            let turned = arrow::compute::take(b, &Int32Array::from(vec![1, 0, 3, 2]), None).unwrap();
            for pair in [[a.clone(), b.clone()], [a.clone(), turned], [none.clone(), b.clone()], [a.clone(), also_none.clone()]] {
                found.extend(panics(&pair));
            }
            for c in &columns {
                found.extend(panics(&[a.clone(), b.clone(), c.clone()]));
            }
        }
    }
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "{} found:\n{}", found.len(), found.join("\n"));
}
