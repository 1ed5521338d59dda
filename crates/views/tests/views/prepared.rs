//! Prepared statements: parameters have types, values take their places.

use crate::common::{answer, run, site};
use arrow::{
    array::{
        ArrayRef, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, IntervalMonthDayNano},
};
use std::sync::Arc;

fn int(n: i32) -> ArrayRef {
    Arc::new(Int32Array::from(vec![n]))
}

fn text(t: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![t]))
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_take_the_types_of_what_they_meet() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)").await;
    let insert = s.prepare("INSERT INTO t VALUES ($1, $2) RETURNING id", &[]).await.unwrap();
    assert_eq!(insert.params, [DataType::Int32, DataType::Utf8]);
    assert_eq!(insert.columns.as_ref().unwrap().field(0).name(), "id");
    for (id, v) in [(1, "it's"), (2, "'); DROP TABLE t; --")] {
        let rows = answer(s.run(&insert, &[int(id), text(v)]).await.unwrap()).await.unwrap();
        assert_eq!(rows, [id.to_string()]);
    }
    let select = s.prepare("SELECT v FROM t WHERE id = $1", &[]).await.unwrap();
    assert_eq!(select.params, [DataType::Int32]);
    assert_eq!(answer(s.run(&select, &[int(2)]).await.unwrap()).await.unwrap(), ["'); DROP TABLE t; --"]);
    let update = s.prepare("UPDATE t SET v = $2 WHERE id = $1", &[]).await.unwrap();
    assert_eq!(update.params, [DataType::Int32, DataType::Utf8]);
    assert_eq!(answer(s.run(&update, &[int(1), text("new")]).await.unwrap()).await.unwrap(), ["UPDATE 1"]);
    let given = s.prepare("SELECT $1 + 1", &[Some(DataType::Int64)]).await.unwrap();
    let seven: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    assert_eq!(answer(s.run(&given, &[seven]).await.unwrap()).await.unwrap(), ["8"]);
    assert_eq!(s.run(&given, &[]).await.err().unwrap().sqlstate, "08P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_parameter_arrives_as_the_value_it_was() {
    let site = site();
    let mut s = site.session();
    let year: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(14, 3, 4_000_000_000)]));
    let values: [(ArrayRef, &str); 5] = [
        (year, "INTERVAL '1 year 2 months 3 days 4 seconds'"),
        (Arc::new(TimestampMicrosecondArray::from(vec![-1])), "TIMESTAMP '1969-12-31 23:59:59.999999'"),
        (Arc::new(Date32Array::from(vec![-800_000])), "DATE '1970-01-01' - 800000"),
        (Arc::new(Float64Array::from(vec![f64::NEG_INFINITY])), "'-Infinity'::double precision"),
        (Arc::new(Decimal128Array::from(vec![-5]).with_precision_and_scale(38, 16).unwrap()), "-0.0000000000000005"),
    ];
    for (value, same) in values {
        let equal = s.prepare(&format!("SELECT $1 = {same}"), &[Some(value.data_type().clone())]).await.unwrap();
        assert_eq!(answer(s.run(&equal, &[value]).await.unwrap()).await.unwrap(), ["true"], "{same}");
    }
}
