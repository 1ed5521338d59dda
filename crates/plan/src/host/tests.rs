//! Keys, panics, broken words, NULLs.

use super::*;
use arrow::array::{Array, AsArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::Int64Type;

fn double(version: &str, strict: bool) -> Arc<HostFunction> {
    let work = |args: &[ArrayRef], n: usize| -> Result<ArrayRef, String> {
        let of = args[0].as_primitive::<Int64Type>();
        assert_eq!(of.len(), n);
        if of.iter().flatten().any(|v| v == 13) {
            panic!("thirteen");
        }
        if of.iter().flatten().any(|v| v < 0) {
            return Err("below zero".to_owned());
        }
        Ok(Arc::new(of.iter().map(|v| Some(v.map_or(-1, |v| 2 * v))).collect::<Int64Array>()))
    };
    let function = HostFunction::new("double", version, vec![DataType::Int64], DataType::Int64, Work::Columns(Box::new(work)));
    keep(function.strict(strict))
}

fn called(function: &HostFunction, values: Vec<Option<i64>>) -> Result<ArrayRef, EvalError> {
    let text = |t: &str| crate::functions::udf::Col { array: Arc::new(StringArray::from(vec![t])), step: 0 };
    let n = values.len();
    let mode = if function.is_strict() { "strict" } else { "null" };
    let null = crate::functions::udf::Col { array: Arc::new(Int64Array::from(vec![None::<i64>])), step: 0 };
    let of = crate::functions::udf::Col { array: Arc::new(Int64Array::from(values)), step: 1 };
    let args = crate::functions::udf::Args { cols: vec![text(function.key()), text(mode), null, of], n, ret: &DataType::Int64 };
    (CALL.kernel)(&args)
}

#[test]
fn what_a_closure_does_is_a_value_or_an_error_of_its_rows() {
    let function = double("tested", false);
    let values = called(&function, vec![Some(1), None, Some(4)]).expect("values");
    assert_eq!(values.as_primitive::<Int64Type>(), &Int64Array::from(vec![2, -1, 8]));
    let panicked = called(&function, vec![Some(13)]).expect_err("it panics");
    assert_eq!((panicked.sqlstate, panicked.message.as_str()), ("38000", "rust function \"double\" panicked: thirteen"));
    let failed = called(&function, vec![Some(-1)]).expect_err("it fails");
    assert_eq!((failed.sqlstate, failed.message.as_str()), ("38000", "rust function \"double\" failed: below zero"));
    let strict = double("strict", true);
    let values = called(&strict, vec![None, Some(3), None, Some(5)]).expect("values");
    assert_eq!(values.as_primitive::<Int64Type>(), &Int64Array::from(vec![None, Some(6), None, Some(10)]));
    assert_eq!(called(&strict, vec![None]).expect("NULL").null_count(), 1);
}

#[test]
fn a_function_is_found_as_long_as_somebody_keeps_it() {
    let one = double("kept", false);
    let key = one.key().to_owned();
    assert_eq!(key, "double/kept(bigint)bigint");
    let other = double("kept", false);
    drop(other);
    assert!(find(&key).is_some());
    let keys = BTreeSet::from([key.clone()]);
    assert_eq!(missing(&keys), None);
    let newer = double("newer", false);
    drop(one);
    let why = missing(&keys).expect("it is gone");
    assert!(why.starts_with("rust function \"double\"(bigint) returning bigint version kept is not registered"), "{why}");
    assert!(why.contains("double/newer(bigint)bigint"), "{why}");
    drop(newer);
}

#[test]
fn a_result_that_breaks_the_functions_word_is_an_error() {
    let of = |ty: DataType, work: fn() -> ArrayRef| {
        let work = move |_: &[ArrayRef], _: usize| Ok(work());
        value::judged("f", &ty, 1, HostFunction::new("f", "1", vec![], ty.clone(), Work::Columns(Box::new(work))).once())
    };
    for (ty, work, sqlstate) in [
        (DataType::Int64, (|| Arc::new(Int32Array::from(vec![1])) as ArrayRef) as fn() -> ArrayRef, "38000"),
        (DataType::Int64, || Arc::new(Int64Array::from(vec![1, 2])), "38000"),
        (DataType::Utf8, || Arc::new(StringArray::from(vec!["a\0b"])), "22021"),
        (DataType::Date32, || Arc::new(arrow::array::Date32Array::from(vec![i32::MAX - 1])), "22008"),
    ] {
        assert_eq!(of(ty.clone(), work).expect_err("refused").sqlstate, sqlstate, "{ty}");
    }
    let long = value::column("f", &DataType::Int16, vec![HostValue::Int(40_000)]).expect_err("too large");
    assert_eq!(long.sqlstate, "22003");
    let other = value::column("f", &DataType::Int16, vec![HostValue::Bool(true)]).expect_err("no number");
    assert_eq!(other.sqlstate, "38000");
}

impl HostFunction {
    /// Its column for no arguments.
    fn once(&self) -> ArrayRef {
        match &self.work {
            Work::Columns(work) => work(&[], 1).expect("a column"),
            Work::Rows(_) | Work::Fold(_) => panic!("no columns"),
        }
    }
}
