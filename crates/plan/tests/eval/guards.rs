//! AND, OR, CASE, COALESCE and IN evaluate an arm only for the rows that reach it, whatever else the batch holds: in batch
//! queries (where DataFusion's optimiser and kernels have other ideas) and compiled. And an error belongs to its row alone.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use proptest::prelude::*;
use regauge_plan::eval::{Program, compile, compile_predicate};
use regauge_plan::functions::EvalError;
use regauge_plan::scalar::{CompareOp, Scalar};
use regauge_plan::value::Value;

use crate::corpus::{self, tokio_free::runtime};
use crate::lower::{analysed, lower, session};

fn table(x: Vec<Option<i32>>) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("x", DataType::Int32, true)]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int32Array::from(x)) as ArrayRef]).unwrap()
}

/// Values that make every arm of every guard live in one batch, zeros in the minority and in the majority.
fn batches() -> Vec<RecordBatch> {
    let mixed = |zeros: i32| (0..100i32).map(|i| if i % 10 < zeros { Some(0) } else { Some(i - 50) }).collect::<Vec<_>>();
    vec![table(mixed(1)), table(mixed(9)), table(vec![Some(0); 8]), table(vec![Some(3); 8]), table(vec![None, Some(0), Some(1)])]
}

const GUARDED: &[&str] = &[
    "x <> 0 AND 10 / x > 1",
    "x IS NOT NULL AND x <> 0 AND 10 / x > 1 AND 100 / x > 20",
    "x = 0 OR 10 / x > 1",
    "NOT (x = 0 OR 10 / x > 1)",
    "CASE WHEN x <> 0 THEN 10 / x > 1 ELSE false END",
    "CASE WHEN x = 0 THEN 0 ELSE 10 / x END > 1",
    "CASE WHEN x = 0 THEN false WHEN 10 / x > 1 THEN true END",
    "CASE x WHEN 0 THEN 0 ELSE 10 / x END = 2",
    "COALESCE(NULLIF(x, 0), 1) > 0 AND COALESCE(CASE WHEN x = 0 THEN 7 END, 10 / x) > 1",
    "CASE WHEN true THEN 1 ELSE 1 / 0 END = 1",
    "CASE WHEN false THEN 1 / 0 ELSE 1 END = 1",
    "COALESCE(1, 1 / 0) = 1",
    "false AND 1 / 0 = 1",
    "true OR 1 / 0 = 1",
    "x IN (0, 1) OR 10 / x IN (1, 2)",
    "(x <> 0 AND 10 / x > 1) OR (x = 0 AND 10 / (x + 1) > 1)",
    "CASE WHEN x > 0 THEN 2147483647 + 0 * x ELSE 2147483647 - x * 0 END > 0",
];

#[test]
fn a_guard_protects_in_batch_queries_whatever_the_batch_holds() {
    let runtime = runtime();
    for batch in batches() {
        for guard in GUARDED {
            for sql in [format!("SELECT {guard} AS v FROM t"), format!("SELECT x FROM t WHERE {guard}")] {
                let context = session(vec![batch.clone()]);
                let run = async { context.sql(&sql).await?.collect().await };
                if let Err(e) = runtime.block_on(run) {
                    panic!("{sql}: {e}");
                }
            }
        }
        // a filter above a projection is merged with the one below it
        let sql = "SELECT q FROM (SELECT 10 / x AS q FROM t WHERE x <> 0) s WHERE q > 1";
        let context = session(vec![batch.clone()]);
        let run = async { context.sql(sql).await?.collect().await };
        runtime.block_on(run).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

fn program(sql: &str, batch: &RecordBatch) -> Program {
    let context = session(vec![batch.clone()]);
    let plan = runtime().block_on(context.state().create_logical_plan(&format!("SELECT {sql} FROM t"))).unwrap();
    let (expr, schema) = analysed(&context, plan).unwrap();
    compile(&lower(&expr, &schema), &[DataType::Int32]).unwrap()
}

#[test]
fn a_guard_protects_compiled_expressions_and_both_ways_agree() {
    let runtime = runtime();
    for guard in GUARDED {
        for batch in batches() {
            let got = program(guard, &batch).eval(&batch);
            assert!(got.errors.is_empty(), "{guard}: {:?}", got.errors);
            let context = session(vec![batch.clone()]);
            let run = async { context.sql(&format!("SELECT {guard} AS v FROM t")).await?.collect().await };
            let batches = runtime.block_on(run).unwrap();
            let query = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
            assert_eq!(query.column(0), &got.values, "{guard}");
        }
    }
}

#[test]
fn without_a_guard_exactly_the_bad_rows_fail() {
    let batch = table((0..1000).map(|i| if i % 300 == 7 { Some(0) } else { Some(i + 1) }).collect());
    let got = program("100 / x", &batch).eval(&batch);
    let rows: Vec<usize> = got.errors.iter().map(|(row, _)| *row).collect();
    assert_eq!(rows, vec![7, 307, 607, 907]);
    assert!(got.errors.iter().all(|(_, e)| *e == EvalError::division_by_zero()));
    let values = got.values.as_primitive::<Int32Type>();
    for i in 0..1000 {
        let want = if i % 300 == 7 { None } else { Some(100 / (i as i32 + 1)) };
        assert_eq!(values.iter().nth(i).unwrap(), want, "row {i}");
    }
    // the same behind a filter, where rows are renumbered twice
    let got = program("CASE WHEN x < 500 THEN CASE WHEN x % 2 = 0 THEN 100 / x ELSE 1 END ELSE 2 END", &batch).eval(&batch);
    assert_eq!(got.errors.iter().map(|(row, _)| *row).collect::<Vec<_>>(), vec![7, 307, 607, 907]);
    // and every row bad
    let zeros = table(vec![Some(0); 100]);
    assert_eq!(program("100 / x", &zeros).eval(&zeros).errors.len(), 100);
    assert_eq!(program("1 / 0", &zeros).eval(&zeros).errors.len(), 100);
}

#[test]
fn a_predicate_selects_true_rows_only_and_reports_the_failed() {
    let x = || Box::new(Scalar::Column(0));
    let int = |v: i32| Scalar::Literal(Value::int4(v));
    let quotient = Scalar::Call { func: "pg_div".into(), args: vec![int(10), Scalar::Column(0)], ty: DataType::Int32 };
    let condition = Scalar::And(vec![
        Scalar::Compare { op: CompareOp::Ne, left: x(), right: Box::new(int(5)) },
        Scalar::Compare { op: CompareOp::Gt, left: Box::new(quotient), right: Box::new(int(1)) },
    ]);
    let predicate = compile_predicate(&condition, &[DataType::Int32]).unwrap();
    let got = predicate.select(&table(vec![Some(1), Some(0), None, Some(5), Some(20), Some(4)]));
    assert_eq!(got.rows.iter().collect::<Vec<_>>(), vec![true, false, false, false, false, true]);
    assert_eq!(got.errors, vec![(1, EvalError::division_by_zero())]);
    assert!(compile_predicate(&Scalar::Column(0), &[DataType::Int32]).is_err());
}

#[test]
fn a_plan_that_lies_is_refused_or_fails_its_rows_but_never_panics() {
    let input = [DataType::Int32, DataType::Utf8];
    let call = |func: &str, args, ty| Scalar::Call { func: func.into(), args, ty };
    let (x, s) = (|| Scalar::Column(0), || Scalar::Column(1));
    for lie in [
        Scalar::Column(2),
        call("pg_add", vec![x(), s()], DataType::Int32),
        call("pg_add", vec![x()], DataType::Int32),
        call("pg_add", vec![x(), x()], DataType::Int64),
        call("now", vec![], DataType::Int64),
        Scalar::Compare { op: CompareOp::Eq, left: Box::new(x()), right: Box::new(s()) },
        Scalar::And(vec![x()]),
        Scalar::Coalesce(vec![x(), s()]),
        Scalar::Cast { arg: Box::new(x()), to: DataType::Date32 },
    ] {
        assert!(compile(&lie, &input).is_err(), "{lie:?}");
    }
    let program = compile(&x(), &input).unwrap();
    let other = RecordBatch::try_new(
        Arc::new(Schema::new(vec![Field::new("x", DataType::Utf8, true)])),
        vec![Arc::new(arrow::array::StringArray::from(vec!["a"])) as ArrayRef],
    );
    assert_eq!(program.eval(&other.unwrap()).errors[0].1.sqlstate, "XX000");
}

/// Random boolean and integer expressions over two columns, many of which fail for some rows.
fn int_expr() -> impl Strategy<Value = Scalar> {
    let leaf = prop_oneof![
        Just(Scalar::Column(0)),
        Just(Scalar::Column(1)),
        prop_oneof![Just(0), Just(1), Just(-1), Just(7), Just(i32::MAX)].prop_map(|v| Scalar::Literal(Value::int4(v))),
        Just(Scalar::Literal(Value::null(DataType::Int32))),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let op = prop_oneof![Just("pg_add"), Just("pg_sub"), Just("pg_mul"), Just("pg_div"), Just("mod")];
        let comparison = prop_oneof![Just(CompareOp::Eq), Just(CompareOp::Lt), Just(CompareOp::Ge), Just(CompareOp::Distinct)];
        let condition = (comparison, inner.clone(), inner.clone()).prop_map(|(op, l, r)| Scalar::Compare {
            op,
            left: Box::new(l),
            right: Box::new(r),
        });
        let logic = (any::<bool>(), condition.clone(), condition)
            .prop_map(|(and, l, r)| if and { Scalar::And(vec![l, r]) } else { Scalar::Or(vec![l, r]) });
        prop_oneof![
            4 => (op, inner.clone(), inner.clone()).prop_map(|(f, l, r)| {
                Scalar::Call { func: f.into(), args: vec![l, r], ty: DataType::Int32 }
            }),
            2 => (logic, inner.clone(), prop::option::of(inner.clone())).prop_map(|(c, t, e)| Scalar::Case {
                branches: vec![(c, t)],
                otherwise: e.map(Box::new),
                ty: DataType::Int32,
            }),
            1 => (inner.clone(), inner).prop_map(|(l, r)| Scalar::Coalesce(vec![l, r])),
        ]
    })
}

proptest! {
    #[test]
    fn a_batch_evaluates_as_its_rows_do_one_by_one(
        expr in int_expr(),
        rows in prop::collection::vec((prop::option::weighted(0.8, -3i32..4), prop::option::weighted(0.8, any::<i32>())), 1..40),
    ) {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Int32, true)]));
        let (x, y): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let batch = RecordBatch::try_new(schema, vec![Arc::new(Int32Array::from(x)), Arc::new(Int32Array::from(y))]).unwrap();
        let program = compile(&expr, &[DataType::Int32, DataType::Int32]).unwrap();
        let whole = program.eval(&batch);
        for i in 0..batch.num_rows() {
            let one = program.eval(&batch.slice(i, 1));
            prop_assert_eq!(&whole.values.slice(i, 1), &one.values, "row {}", i);
            let error = whole.errors.iter().find(|(row, _)| *row == i).map(|(_, e)| e);
            prop_assert_eq!(error, one.errors.first().map(|(_, e)| e), "row {}", i);
        }
    }
}

#[test]
fn corpus_rows_have_every_type() {
    assert!(corpus::rows().num_columns() > 20);
}
