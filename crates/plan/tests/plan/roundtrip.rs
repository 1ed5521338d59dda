//! Canonical bytes: whatever plan there can be, it reads back as itself.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use proptest::prelude::*;
use regauge_plan::scalar::{CompareOp, IsTest};
use regauge_plan::{Datum, FlowPlan, Node, Op, OrderKey, OutputColumn, Scalar, SourceId, Value};
use regauge_types::{ColumnId, TopicId, VersionNo, ViewId};

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::int8),
        any::<i32>().prop_map(Value::int4),
        any::<f64>().prop_map(Value::float8),
        any::<bool>().prop_map(Value::bool),
        any::<String>().prop_map(Value::text),
        (-9999i128..9999).prop_map(|v| Value { ty: DataType::Decimal128(4, 2), datum: Datum::Decimal(v) }),
        any::<Vec<u8>>().prop_map(|v| Value { ty: DataType::Binary, datum: Datum::Bytes(v) }),
        any::<i32>().prop_map(|v| Value { ty: DataType::Date32, datum: Datum::Date(v) }),
        any::<i64>().prop_map(|v| Value {
            ty: DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            datum: Datum::Timestamp(v)
        }),
        (any::<i32>(), any::<i32>(), any::<i64>()).prop_map(|(months, days, nanos)| Value {
            ty: DataType::Interval(IntervalUnit::MonthDayNano),
            datum: Datum::Interval { months, days, nanos }
        }),
        Just(Value::null(DataType::Utf8)),
    ]
}

/// Over one bigint column; boolean or anything.
fn scalar() -> impl Strategy<Value = Scalar> {
    let leaf = prop_oneof![Just(Scalar::Column(0)), value().prop_map(Scalar::Literal)];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let is = |s: Scalar| Scalar::Is { test: IsTest::Null, negated: true, arg: Box::new(s) };
        let pair = (inner.clone(), any::<bool>());
        prop_oneof![
            (inner.clone(), "[a-z_]{1,9}").prop_map(|(s, func)| Scalar::Call { func, args: vec![s], ty: DataType::Int64 }),
            inner.clone().prop_map(|s| Scalar::Compare {
                op: CompareOp::NotDistinct,
                left: Box::new(s.clone()),
                right: Box::new(s)
            }),
            proptest::collection::vec(inner.clone().prop_map(is), 1..4).prop_map(Scalar::And),
            proptest::collection::vec(inner.clone().prop_map(is), 1..4).prop_map(Scalar::Or),
            inner.clone().prop_map(move |s| Scalar::Not(Box::new(is(s)))),
            inner.clone().prop_map(move |s| Scalar::Case {
                branches: vec![(is(s), Scalar::Column(0))],
                otherwise: None,
                ty: DataType::Int64
            }),
            inner.clone().prop_map(|s| Scalar::Coalesce(vec![s.clone(), s])),
            inner.prop_map(|s| Scalar::Cast { arg: Box::new(s), to: DataType::Utf8 }),
            pair.prop_map(|(s, negated)| Scalar::InList { arg: Box::new(s.clone()), list: vec![s.clone(), s], negated }),
        ]
    })
}

fn source() -> impl Strategy<Value = SourceId> {
    prop_oneof![
        any::<u32>().prop_map(|t| SourceId::Topic(TopicId(t))),
        any::<u32>().prop_map(|t| SourceId::Watermark(TopicId(t))),
        (any::<u32>(), any::<u32>()).prop_map(|(v, n)| SourceId::Version(ViewId(v), VersionNo(n))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_plan_reads_back_as_itself(
        id in source(), column in any::<u32>(), append_only in any::<bool>(), exprs in proptest::collection::vec(scalar(), 1..5),
        limit in any::<u64>(), offset in any::<u64>(), descending in any::<bool>(), row_number in any::<bool>(),
        rows in proptest::collection::vec(any::<i64>(), 0..4), name in any::<String>(),
    ) {
        let mut plan = FlowPlan { nodes: vec![], root: 0, output: vec![], key: Some(vec![0]) };
        let given = (vec![DataType::Int64], append_only);
        let source = plan.push(Op::Source { id, columns: vec![ColumnId(column)] }, vec![], given).unwrap();
        let rows = rows.into_iter().map(|r| vec![Value::int8(r)]).collect();
        let rows = plan.push(Op::Rows { rows }, vec![], (vec![DataType::Int64], true)).unwrap();
        let union = plan.push(Op::Union, vec![source, rows], (vec![], false)).unwrap();
        let map = plan.push(Op::Map { filter: None, exprs: Some(exprs) }, vec![union], (vec![], false)).unwrap();
        let order = vec![OrderKey { column: 0, descending, nulls_first: !descending }];
        let top = Op::TopK { partition: vec![0], order, limit, offset, row_number };
        plan.root = plan.push(top, vec![map], (vec![], false)).unwrap();
        let Node { types, .. } = plan.nodes[plan.root].clone();
        plan.output = types.into_iter().enumerate().map(|(i, ty)| OutputColumn { name: format!("{name}{i}"), ty }).collect();
        prop_assert_eq!(plan.validate(), Ok(()));
        let bytes = plan.to_bytes();
        let read = FlowPlan::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&read, &plan);
        prop_assert_eq!(read.to_bytes(), bytes);
        prop_assert!(!plan.explain().is_empty());
    }
}

#[test]
fn percentiles_read_back_and_what_is_no_fraction_is_refused() {
    use regauge_plan::flowplan::{AggCall, AggFunc, Spread};
    let mut plan = FlowPlan { nodes: vec![], root: 0, output: vec![], key: None };
    let id = SourceId::Topic(TopicId(1));
    let source = plan.push(Op::Source { id, columns: vec![ColumnId(0)] }, vec![], (vec![DataType::Float64], true)).unwrap();
    let order = vec![OrderKey { column: 0, descending: true, nulls_first: true }];
    let call = |func, output, order: &[OrderKey], direct| AggCall {
        func,
        args: vec![0],
        distinct: false,
        filter: None,
        order: order.to_vec(),
        direct,
        output,
    };
    let list = DataType::List(std::sync::Arc::new(arrow::datatypes::Field::new_list_field(DataType::Float64, true)));
    let aggs = vec![
        call(AggFunc::PercentileCont, list, &order, vec![Value::float8(0.5), Value::null(DataType::Float64)]),
        call(AggFunc::PercentileDisc, DataType::Float64, &order, vec![Value::float8(1.0)]),
        call(AggFunc::Mode, DataType::Float64, &order, vec![]),
        call(AggFunc::Spread(Spread::VarPop), DataType::Float64, &[], vec![]),
    ];
    plan.root = plan.push(Op::Aggregate { keys: vec![], aggs }, vec![source], (vec![], false)).unwrap();
    let types = plan.nodes[plan.root].types.clone();
    plan.output = types.into_iter().enumerate().map(|(i, ty)| OutputColumn { name: format!("c{i}"), ty }).collect();
    assert_eq!(plan.validate(), Ok(()));
    assert_eq!(FlowPlan::from_bytes(&plan.to_bytes()).unwrap(), plan);
    let text = plan.explain();
    assert!(text.contains("percentile_cont(0.5, null) within group (order by $0 desc)"), "{text}");
    for (at, direct) in
        [(0, vec![Value::float8(1.5)]), (1, vec![]), (1, vec![Value::float8(f64::NAN)]), (2, vec![Value::float8(0.0)])]
    {
        let mut bad = plan.clone();
        let Op::Aggregate { aggs, .. } = &mut bad.nodes[plan.root].op else { panic!("no aggregate") };
        aggs[at].direct = direct;
        assert!(bad.validate().is_err(), "call {at}");
    }
}
