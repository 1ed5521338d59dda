//! sum and avg over batch queries: PostgreSQL's types, exact whatever the order, and errors instead of wrapped numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::array_value_to_string;
use regauge_plan::functions::EvalError;

use crate::corpus::tokio_free::runtime;
use crate::lower::session;

fn batch(a4: Vec<Option<i32>>, a8: Vec<Option<i64>>, x: Vec<Option<f64>>, s: Vec<Option<&str>>) -> RecordBatch {
    let field = |name: &str, ty| Field::new(name, ty, true);
    let fields = vec![
        field("a4", DataType::Int32),
        field("a8", DataType::Int64),
        field("x", DataType::Float64),
        field("s", DataType::Utf8),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(a4)),
        Arc::new(Int64Array::from(a8)),
        Arc::new(Float64Array::from(x)),
        Arc::new(StringArray::from(s)),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// The one value of a query and its type.
fn ask(batches: Vec<RecordBatch>, sql: &str) -> Result<(String, DataType), EvalError> {
    let context = session(batches);
    let run = async { context.sql(sql).await?.collect().await };
    let out = runtime().block_on(run).map_err(|e| EvalError::from_datafusion(&e))?;
    let column = out.iter().find(|b| b.num_rows() > 0).unwrap().column(0);
    Ok((array_value_to_string(column, 0).unwrap(), column.data_type().clone()))
}

fn parts() -> Vec<RecordBatch> {
    vec![
        batch(vec![Some(i32::MAX), Some(1)], vec![Some(i64::MAX), None], vec![Some(1e16), Some(1.0)], vec![Some("b"), Some("a")]),
        batch(vec![Some(2), None], vec![Some(i64::MAX), Some(2)], vec![Some(-1e16), None], vec![None, Some("a")]),
    ]
}

#[test]
fn sums_and_averages_have_postgres_types_and_do_not_wrap() {
    let numeric = |s| DataType::Decimal128(38, s);
    for (sql, value, ty) in [
        ("sum(a4)", "2147483650", DataType::Int64),
        ("sum(a8)", "18446744073709551616", numeric(0)),
        ("avg(a4)", "715827883.3333333333333333", numeric(16)),
        ("sum(x)", "1.0", DataType::Float64),
        ("avg(x)", "0.3333333333333333", DataType::Float64),
        ("count(*)", "4", DataType::Int64),
        ("count(a8)", "3", DataType::Int64),
        ("min(s)", "a", DataType::Utf8),
        ("sum(a4) FILTER (WHERE a4 < 100)", "3", DataType::Int64),
        ("sum(DISTINCT a8)", "9223372036854775809", numeric(0)),
        ("sum(a4 * 0.5)", "1073741825.0", numeric(1)),
        ("string_agg(s, ',')", "a,a,b", DataType::Utf8),
        ("bool_and(a4 > 0)", "true", DataType::Boolean),
        ("var_pop(a4) FILTER (WHERE a4 < 9)", "0.2500000000000000", numeric(16)),
        ("stddev(DISTINCT a4) FILTER (WHERE a4 < 9)", "0.7071067811865475", numeric(16)),
        ("regr_count(a4, x)", "3", DataType::Int64),
        ("regr_sxx(x, a4) FILTER (WHERE a4 < 9)", "0.5", DataType::Float64),
        ("bit_or(a4) FILTER (WHERE a4 < 9)", "3", DataType::Int32),
        ("any_value(s)", "a", DataType::Utf8),
        ("mode() WITHIN GROUP (ORDER BY s DESC)", "a", DataType::Utf8),
        ("percentile_cont(0.25) WITHIN GROUP (ORDER BY a4)", "1.5", DataType::Float64),
        ("percentile_disc(0.5) WITHIN GROUP (ORDER BY a4 DESC)", "2", DataType::Int32),
    ] {
        for batches in [parts(), parts().into_iter().rev().collect()] {
            let got = ask(batches, &format!("SELECT {sql} FROM t")).unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(got, (value.to_string(), ty.clone()), "{sql}");
        }
    }
}

#[test]
fn an_empty_sum_is_null_and_nan_is_the_greatest() {
    let empty = vec![batch(vec![], vec![], vec![], vec![])];
    for sql in ["sum(a4)", "sum(a8)", "avg(x)", "min(x)"] {
        assert_eq!(ask(empty.clone(), &format!("SELECT {sql} FROM t")).unwrap().0, "", "{sql}");
    }
    let nan = vec![batch(vec![None; 3], vec![None; 3], vec![Some(f64::NAN), Some(f64::INFINITY), Some(1.0)], vec![None; 3])];
    assert_eq!(ask(nan.clone(), "SELECT max(x) FROM t").unwrap().0, "NaN");
    assert_eq!(ask(nan.clone(), "SELECT min(x) FROM t").unwrap().0, "1.0");
    assert_eq!(ask(nan, "SELECT sum(x) FROM t").unwrap().0, "NaN");
}

#[test]
fn an_overflowing_sum_of_doubles_is_an_error() {
    let huge = vec![batch(vec![None; 2], vec![None; 2], vec![Some(f64::MAX); 2], vec![None; 2])];
    assert_eq!(ask(huge, "SELECT sum(x) FROM t").unwrap_err().sqlstate, "22003");
}

#[test]
fn a_sum_over_a_sliding_window_takes_values_away_exactly() {
    let sql = "SELECT string_agg(CAST(w AS text), ' ' ORDER BY a4) FROM (SELECT a4, sum(x) OVER (ORDER BY a4 ROWS 1 PRECEDING) AS w FROM t) q";
    let rows =
        vec![batch(vec![Some(1), Some(2), Some(3)], vec![None; 3], vec![Some(1e300), Some(1.0), Some(0.1)], vec![None; 3])];
    assert_eq!(ask(rows, sql).unwrap().0, "1e+300 1e+300 1.1");
}
