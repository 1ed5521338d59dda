//! Rows as plain values, and multisets of them: what the naive evaluator works on. Shares no code with the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use regauge_types::Delta;

/// A value; the derived order is SQL's with NULLs last (floats hold order-preserving bits).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum V {
    Bool(bool),
    Int(i128),
    Float(i64),
    Text(String),
    List(Vec<V>),
    Null,
}

pub type Row = Vec<V>;
pub type Bag = BTreeMap<Row, i64>;

/// PostgreSQL's floats: one zero, one NaN above all.
pub fn float(x: f64) -> V {
    let x = if x == 0.0 {
        0.0
    } else if x.is_nan() {
        f64::NAN.abs()
    } else {
        x
    };
    let bits = x.to_bits() as i64;
    V::Float(if bits < 0 { bits ^ i64::MAX } else { bits })
}

pub fn as_f64(v: &V) -> f64 {
    let V::Float(o) = v else { panic!("not a float: {v:?}") };
    f64::from_bits(if *o < 0 { *o ^ i64::MAX } else { *o } as u64)
}

pub fn as_int(v: &V) -> i128 {
    let V::Int(i) = v else { panic!("not an integer: {v:?}") };
    *i
}

fn value_at(a: &ArrayRef, i: usize) -> V {
    if a.is_null(i) {
        return V::Null;
    }
    match a.data_type() {
        DataType::Boolean => V::Bool(a.as_boolean().value(i)),
        DataType::Int32 => V::Int(a.as_primitive::<Int32Type>().value(i).into()),
        DataType::Int64 => V::Int(a.as_primitive::<Int64Type>().value(i).into()),
        DataType::Decimal128(..) => V::Int(a.as_primitive::<Decimal128Type>().value(i)),
        DataType::Timestamp(..) => V::Int(a.as_primitive::<TimestampMicrosecondType>().value(i).into()),
        DataType::Float64 => float(a.as_primitive::<Float64Type>().value(i)),
        DataType::Utf8 => V::Text(a.as_string::<i32>().value(i).to_string()),
        DataType::List(_) => {
            let items = a.as_list::<i32>().value(i);
            V::List((0..items.len()).map(|j| value_at(&items, j)).collect())
        }
        other => panic!("no test value of type {other}"),
    }
}

/// Which of its zeros' signs a row is written with: always the same, so that what is taken back is what was given, and others
/// with other rows, so that equal values come in both forms.
fn is_odd(row: &Row) -> bool {
    format!("{row:?}").bytes().fold(0u8, u8::wrapping_add) % 2 == 1
}

fn column(values: Vec<&V>, odd: &[bool], ty: &DataType) -> ArrayRef {
    let ints = || values.iter().map(|v| if let V::Int(i) = v { Some(*i) } else { None });
    match ty {
        DataType::Boolean => {
            Arc::new(values.iter().map(|v| if let V::Bool(b) = v { Some(*b) } else { None }).collect::<BooleanArray>())
        }
        DataType::Int32 => Arc::new(ints().map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(ints().map(|v| v.map(|v| v as i64)).collect::<Int64Array>()),
        DataType::Decimal128(p, s) => Arc::new(ints().collect::<Decimal128Array>().with_precision_and_scale(*p, *s).unwrap()),
        DataType::Timestamp(..) => Arc::new(ints().map(|v| v.map(|v| v as i64)).collect::<TimestampMicrosecondArray>()),
        // zeros come with both signs, so that the engine must treat them as one value
        DataType::Float64 => {
            Arc::new(
                values
                    .iter()
                    .enumerate()
                    .map(|(i, v)| {
                        if let V::Float(_) = v {
                            Some(as_f64(v)).map(|x| if x == 0.0 && odd[i] { -0.0 } else { x })
                        } else {
                            None
                        }
                    })
                    .collect::<Float64Array>(),
            )
        }
        DataType::Utf8 => {
            Arc::new(values.iter().map(|v| if let V::Text(t) = v { Some(t.as_str()) } else { None }).collect::<StringArray>())
        }
        other => panic!("no test column of type {other}"),
    }
}

/// A delta of these rows.
pub fn delta(types: &[DataType], rows: &[(Row, i64)], ones: bool) -> Delta {
    let schema = Arc::new(Schema::new(
        types.iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), t.clone(), true)).collect::<Vec<_>>(),
    ));
    let odd: Vec<bool> = rows.iter().map(|r| is_odd(&r.0)).collect();
    let columns = types.iter().enumerate().map(|(i, t)| column(rows.iter().map(|r| &r.0[i]).collect(), &odd, t)).collect();
    let batch =
        RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows.len()))).unwrap();
    if ones { Delta::ones(batch) } else { Delta::new(batch, rows.iter().map(|r| r.1).collect::<Vec<_>>().into()) }
}

pub fn add(bag: &mut Bag, row: Row, diff: i64) {
    let n = bag.entry(row.clone()).or_insert(0);
    *n += diff;
    if *n == 0 {
        bag.remove(&row);
    }
}

pub fn add_delta(bag: &mut Bag, delta: &Delta) {
    assert!(delta.n_rows() <= 8192, "an emitted delta is bounded");
    for i in 0..delta.n_rows() {
        add(bag, delta.rows.columns().iter().map(|c| value_at(c, i)).collect(), delta.diff(i));
    }
}
