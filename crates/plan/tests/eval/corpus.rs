//! Every expression of `corpus/exprs.txt` over every row of `corpus/rows.txt` gives PostgreSQL's value, type and error
//! (`corpus/expected.txt`, made by `corpus/regenerate.py`), both as a batch query and compiled.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::scalar::ScalarValue;
use regauge_plan::eval::compile;
use regauge_plan::functions::{EvalError, cast};
use regauge_plan::pgtypes::{parse_text, type_by_name, type_name};
use regauge_plan::value::Value;

use crate::lower::{analysed, lower, session};

/// What PostgreSQL says of one expression.
pub struct Expected {
    pub expr: String,
    pub ty: String,
    pub rows: Vec<String>,
}

pub fn rows() -> RecordBatch {
    let text = include_str!("corpus/rows.txt");
    let mut lines = text.split('\n').filter(|l| !l.is_empty() && !l.starts_with('#'));
    let fields: Vec<Field> = lines
        .next()
        .unwrap()
        .split('\t')
        .map(|c| {
            let (name, ty) = c.split_once(' ').unwrap();
            let (ty, modifiers) = ty.split_once('(').unwrap_or((ty, ""));
            let modifiers: Vec<i64> = modifiers.trim_end_matches(')').split(',').flat_map(str::parse).collect();
            Field::new(name, type_by_name(ty, &modifiers).unwrap(), true)
        })
        .collect();
    let lines: Vec<Vec<&str>> = lines.map(|l| l.split('\t').collect()).collect();
    let columns: Vec<ArrayRef> = fields
        .iter()
        .enumerate()
        .map(|(i, f)| {
            let values = lines.iter().map(|l| match l[i] {
                "\\N" => Value::null(f.data_type().clone()),
                text => parse_text(f.data_type(), text).unwrap(),
            });
            ScalarValue::iter_to_array(values.map(|v| v.to_scalar().unwrap())).unwrap()
        })
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

pub fn expected() -> Vec<Expected> {
    let mut all: Vec<Expected> = vec![];
    let n_rows = rows().num_rows();
    let mut lines = include_str!("corpus/expected.txt").split('\n');
    while let Some(line) = lines.next() {
        let Some(expr) = line.strip_prefix("= ") else { continue };
        let ty = lines.next().unwrap().strip_prefix(": ").unwrap().to_string();
        let rows = (0..n_rows).map(|_| lines.next().unwrap().to_string()).collect();
        all.push(Expected { expr: expr.to_string(), ty, rows });
    }
    all
}

/// The value as the corpus writes it.
fn texts(array: &ArrayRef) -> Vec<String> {
    let as_text: ArrayRef = match array.as_boolean_opt() {
        Some(b) => {
            return b.iter().map(|v| v.map_or("\\N".to_string(), |v| v.to_string())).collect();
        }
        None => cast::text_column(array).unwrap(),
    };
    as_text.as_string::<i32>().iter().map(|v| v.unwrap_or("\\N").replace('\n', " ")).collect()
}

/// numeric: equal at the coarser of the two scales (our scales belong to types, PostgreSQL's to values). double: equal, or
/// within two units of the last place for functions of the math library. Everything else: the same text.
fn same(expr: &str, ty: &str, ours: &str, theirs: &str) -> bool {
    if ours == theirs {
        return true;
    }
    if ours.starts_with('!') || theirs.starts_with('!') || ours == "\\N" || theirs == "\\N" {
        return false;
    }
    match ty {
        "numeric" => {
            let scale = |s: &str| s.split_once('.').map_or(0, |(_, f)| f.len());
            // functions of the math library are good to 15 digits only
            let library = ["exp", "ln(", "log(", "power(", "degrees", "radians"].iter().any(|f| expr.contains(f));
            let digits = scale(ours).min(scale(theirs)).min(if library { 11 } else { 16 });
            let round = |s: &str| regauge_plan::pgtypes::parse_decimal(s, 38, digits as i8).ok();
            // a result that was rounded once more may differ by one unit of the coarser scale
            let slack = i128::from(scale(ours) != scale(theirs) && digits > 0);
            round(ours).zip(round(theirs)).is_some_and(|(a, b)| (a - b).abs() <= slack)
        }
        "double precision" | "real" => {
            let (a, b): (f64, f64) = (ours.parse().unwrap(), theirs.parse().unwrap());
            let library = expr.contains('(') && ty != "real";
            library && ((a - b).abs() <= 4.0 * f64::EPSILON * a.abs().max(b.abs()))
        }
        _ => false,
    }
}

fn report(wrong: &[String]) {
    for w in wrong {
        println!("{w}");
    }
    assert!(wrong.is_empty(), "{} differences", wrong.len());
}

fn error_text(e: &EvalError) -> String {
    format!("!{} {}", e.sqlstate, e.message)
}

/// Where we differ and say so; see the headers of `pgtypes` and `functions`.
fn known_difference(expr: &str, ours: &str, theirs: &str) -> bool {
    // a Decimal128 has neither NaN nor infinity
    let special = matches!(theirs, "NaN" | "Infinity" | "-Infinity" | "!22003 numeric field overflow");
    let no_decimal = ours.starts_with("!0A000 cannot convert") && special;
    let no_nan = expr == "s::numeric(10,2)" && theirs == "NaN" && ours.starts_with("!22P02");
    let no_infinity = expr.starts_with("extract") && theirs.ends_with("Infinity") && ours == "\\N";
    no_decimal || no_nan || no_infinity
}

#[test]
fn a_compiled_expression_gives_postgres_values_types_and_errors_in_every_batch() {
    let rows = rows();
    let n = rows.num_rows();
    let context = session(vec![rows.clone()]);
    let runtime = tokio_free::runtime();
    let types: Vec<DataType> = rows.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    // 400 rows in an order without pattern
    let mut state = 7u64;
    let places: Vec<u32> = (0..400)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u32 % n as u32
        })
        .collect();
    let index = UInt32Array::from(places.clone());
    let shuffled = arrow::compute::take_record_batch(&rows, &index).unwrap();
    let (mut wrong, mut n_values) = (vec![], 0);
    for Expected { expr, ty, rows: want } in expected() {
        let sql = format!("SELECT {expr} FROM t");
        let planned = runtime
            .block_on(context.state().create_logical_plan(&sql))
            .map_err(|e| EvalError::from_datafusion(&e))
            .and_then(|plan| analysed(&context, plan));
        let program = planned.and_then(|(e, schema)| compile(&lower(&e, &schema), &types));
        let program = match program {
            Ok(p) => p,
            Err(e) => {
                // refused by us when planning: right only if PostgreSQL refuses, at once or in every row
                let want = if ty.starts_with('!') { ty.clone() } else { want[0].clone() };
                if !want.starts_with(&format!("!{}", e.sqlstate)) && !known_difference(&expr, &error_text(&e), &want) {
                    wrong.push(format!("{expr}: planning gives {}, expected {ty} {want}", error_text(&e)));
                }
                continue;
            }
        };
        if ty.starts_with('!') {
            wrong.push(format!("{expr}: planned as {}, expected {ty}", type_name(program.data_type())));
            continue;
        }
        if type_name(program.data_type()) != ty {
            wrong.push(format!("{expr}: has type {}, expected {ty}", type_name(program.data_type())));
            continue;
        }
        for (batch, places) in [(&rows, (0..n as u32).collect()), (&shuffled, places.clone())] {
            let got = program.eval(batch);
            let mut ours = texts(&got.values);
            for (row, e) in &got.errors {
                assert_eq!(ours[*row], "\\N", "{expr}: a failed row has a value");
                ours[*row] = error_text(e);
            }
            for (ours, place) in ours.iter().zip(&places) {
                n_values += 1;
                let want = &want[*place as usize];
                if !same(&expr, &ty, ours, want) && !known_difference(&expr, ours, want) {
                    wrong.push(format!("{expr} in row {place}: {ours} expected {want}"));
                }
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(n_values > 100_000);
    report(&wrong);
}

#[test]
fn a_batch_query_gives_postgres_values_types_and_errors() {
    let rows = rows();
    let n = rows.num_rows();
    let runtime = tokio_free::runtime();
    let all: Vec<Expected> = expected().into_iter().filter(|e| !e.ty.starts_with('!')).collect();
    let bad = |e: &Expected| e.rows.iter().any(|r| r.starts_with('!'));
    let (failing, fine): (Vec<_>, Vec<_>) = all.iter().partition(|e| bad(e));
    let mut wrong = vec![];
    let query = |batch: RecordBatch, exprs: &[&Expected]| -> Result<RecordBatch, EvalError> {
        let list: Vec<String> = exprs.iter().enumerate().map(|(i, e)| format!("{} AS c{i}", e.expr)).collect();
        let context = session(vec![batch]);
        let run = async { context.sql(&format!("SELECT {} FROM t", list.join(", "))).await?.collect().await };
        let batches = runtime.block_on(run).map_err(|e| EvalError::from_datafusion(&e))?;
        Ok(arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap())
    };
    let mut judge = |batch: &RecordBatch, exprs: &[&Expected], places: &[usize]| {
        for (e, column) in exprs.iter().zip(batch.columns()) {
            if type_name(column.data_type()) != e.ty {
                wrong.push(format!("{}: has type {}, expected {}", e.expr, type_name(column.data_type()), e.ty));
                continue;
            }
            for (ours, place) in texts(column).iter().zip(places) {
                if !same(&e.expr, &e.ty, ours, &e.rows[*place]) && !known_difference(&e.expr, ours, &e.rows[*place]) {
                    wrong.push(format!("{} in row {place}: {ours} expected {}", e.expr, e.rows[*place]));
                }
            }
        }
    };
    // numerics that PostgreSQL makes infinite are errors here: known, and judged by the other test
    let fine: Vec<&Expected> = fine.into_iter().filter(|e| !(e.ty == "numeric" && e.rows.iter().any(|r| r == "NaN"))).collect();
    for exprs in fine.chunks(40) {
        match query(rows.clone(), exprs) {
            Ok(batch) => judge(&batch, exprs, &(0..n).collect::<Vec<_>>()),
            Err(e) => panic!("{:?}: {}", exprs.iter().map(|e| &e.expr).collect::<Vec<_>>(), error_text(&e)),
        }
    }
    let mut messages = vec![];
    for e in failing {
        let good: Vec<usize> = (0..n).filter(|i| !e.rows[*i].starts_with('!')).collect();
        let bad: Vec<&String> = e.rows.iter().filter(|r| r.starts_with('!')).collect();
        match query(rows.clone(), &[e]) {
            // Arrow's LIKE takes a trailing escape character for itself; compiled patterns refuse it
            Ok(_) if e.expr == "s like '\\'" => {}
            Ok(_) => messages.push(format!("{}: no error, expected {}", e.expr, bad[0])),
            Err(error) => {
                let ours = error_text(&error);
                if !bad.contains(&&ours) && !bad.iter().any(|b| known_difference(&e.expr, &ours, b)) {
                    messages.push(format!("{}: {ours}, expected {}", e.expr, bad[0]));
                }
            }
        }
        let special =
            e.rows.iter().any(|r| r.ends_with("NaN") || r.ends_with("Infinity")) && e.ty == "numeric" || e.expr.contains("'\\'");
        if good.is_empty() || special {
            continue;
        }
        let index = UInt32Array::from(good.iter().map(|i| *i as u32).collect::<Vec<_>>());
        match query(arrow::compute::take_record_batch(&rows, &index).unwrap(), &[e]) {
            Ok(batch) => judge(&batch, &[e], &good),
            Err(error) => messages.push(format!("{}: {} although no row is bad", e.expr, error_text(&error))),
        }
    }
    wrong.extend(messages);
    report(&wrong);
}

pub mod tokio_free {
    //! Planning is asynchronous in name only; batch queries need a runtime.
    pub fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }
}
