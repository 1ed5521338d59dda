//! Functions with OVER: random calls over random changes against the naive evaluator, and how much work a change costs.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use proptest::prelude::*;
use regauge_plan::flowplan::*;
use regauge_plan::value::{Datum, Value};

use crate::drive::{Rng, Run, base, check, history, on, plan};
use crate::run::{at, engine, install};
use crate::value::*;
use crate::{cases, numeric};

const UP: Bound = Bound::UnboundedPreceding;
const UF: Bound = Bound::UnboundedFollowing;

fn call(func: WindowFunc, args: Vec<Arg>, output: DataType) -> WindowCall {
    WindowCall { func, args, filter: None, frame: Frame::default(), output }
}

fn column(c: usize) -> Arg {
    Arg::Column(c)
}

fn int4(n: i32) -> Arg {
    Arg::Constant(Value::int4(n))
}

/// Functions that do not look at a frame.
fn numbers(rng: &mut Rng) -> Vec<WindowCall> {
    use WindowFunc::*;
    let mut all = vec![
        call(RowNumber, vec![], DataType::Int64),
        call(Rank, vec![], DataType::Int64),
        call(DenseRank, vec![], DataType::Int64),
        call(PercentRank, vec![], DataType::Float64),
        call(CumeDist, vec![], DataType::Float64),
        call(Ntile, vec![int4(rng.below(6) as i32)], DataType::Int32),
    ];
    for func in [Lag, Lead] {
        let c = rng.below(7);
        let ty = base()[c].clone();
        all.push(call(func, vec![column(c)], ty.clone()));
        all.push(call(func, vec![column(c), int4(rng.below(9) as i32 - 3)], ty.clone()));
        all.push(call(func, vec![column(c), int4(2), column(c)], ty.clone()));
        all.push(call(func, vec![column(c), Arg::Constant(Value::null(DataType::Int32))], ty.clone()));
        all.push(call(func, vec![column(c), column(3), Arg::Constant(Value::null(ty.clone()))], ty));
    }
    all
}

/// Every function that looks at a frame.
fn framed() -> Vec<WindowCall> {
    use AggFunc::*;
    use regauge_plan::flowplan::Spread as Kind;
    let agg = |f, args: &[usize], output| call(WindowFunc::Agg(f), args.iter().map(|c| column(*c)).collect(), output);
    let list = |ty: DataType| DataType::List(Arc::new(Field::new_list_field(ty, true)));
    let ts = base()[4].clone();
    vec![
        call(WindowFunc::FirstValue, vec![column(1)], DataType::Utf8),
        call(WindowFunc::LastValue, vec![column(3)], DataType::Int32),
        call(WindowFunc::NthValue, vec![column(4), int4(2)], ts.clone()),
        agg(Count, &[], DataType::Int64),
        agg(Count, &[0], DataType::Int64),
        agg(Sum, &[3], DataType::Int64),
        agg(Sum, &[0], numeric(0)),
        agg(Sum, &[6], numeric(2)),
        agg(Sum, &[2], DataType::Float64),
        agg(Avg, &[3], numeric(16)),
        agg(Avg, &[6], numeric(16)),
        agg(Avg, &[2], DataType::Float64),
        agg(Min, &[2], DataType::Float64),
        agg(Max, &[1], DataType::Utf8),
        agg(Max, &[4], ts),
        agg(BoolAnd, &[5], DataType::Boolean),
        agg(BoolOr, &[5], DataType::Boolean),
        agg(BitAnd, &[0], DataType::Int64),
        agg(BitXor, &[3], DataType::Int32),
        agg(AggFunc::Spread(Kind::VarPop), &[6], numeric(16)),
        agg(AggFunc::Spread(Kind::Count), &[2, 2], DataType::Int64),
        WindowCall { filter: Some(5), ..agg(AggFunc::Spread(Kind::DevSamp), &[6], numeric(16)) },
        agg(StringAgg, &[1, 1], DataType::Utf8),
        agg(ArrayAgg, &[0], list(DataType::Int64)),
        WindowCall { filter: Some(5), ..agg(Sum, &[3], DataType::Int64) },
        WindowCall { filter: Some(5), ..agg(ArrayAgg, &[3], list(DataType::Int32)) },
    ]
}

fn bounds(rng: &mut Rng, offset: impl Fn(&mut Rng) -> Value) -> (Bound, Bound) {
    let mut some = |is_start: bool| match rng.below(4) {
        0 => {
            if is_start {
                UP
            } else {
                UF
            }
        }
        1 => Bound::CurrentRow,
        2 => Bound::Preceding(offset(rng)),
        _ => Bound::Following(offset(rng)),
    };
    (some(true), some(false))
}

/// A frame, and an order that it can stand over.
fn frame(rng: &mut Rng) -> (Frame, Vec<OrderKey>) {
    let exclude = rng.pick(&[Exclude::NoOthers, Exclude::NoOthers, Exclude::CurrentRow, Exclude::Group, Exclude::Ties]);
    let key = |rng: &mut Rng, column| OrderKey { column, descending: rng.one_in(2), nulls_first: rng.one_in(2) };
    let few = |rng: &mut Rng| Value::int8(rng.below(4) as i64);
    let (units, order, (start, end)) = match rng.below(4) {
        0 => {
            let columns: Vec<usize> = (0..rng.below(3)).map(|_| rng.below(7)).collect();
            let order = columns.into_iter().map(|c| key(rng, c)).collect();
            (Units::Rows, order, bounds(rng, few))
        }
        1 => {
            let c = rng.below(7);
            (Units::Groups, vec![key(rng, c)], bounds(rng, few))
        }
        2 => {
            let columns: Vec<usize> = (0..rng.below(3)).map(|_| rng.below(7)).collect();
            let order = columns.into_iter().map(|c| key(rng, c)).collect();
            let (start, end) =
                rng.pick(&[(UP, Bound::CurrentRow), (Bound::CurrentRow, UF), (UP, UF), (Bound::CurrentRow, Bound::CurrentRow)]);
            (Units::Range, order, (start, end))
        }
        _ => {
            let c = rng.pick(&[0usize, 2, 3, 4, 6]);
            let offset = move |rng: &mut Rng| match c {
                0 | 3 => Value::int8(rng.below(4) as i64),
                2 => Value::float8(rng.pick(&[0.0, 0.25, 3.0, f64::INFINITY])),
                4 => Value {
                    ty: DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
                    datum: Datum::Interval { months: 0, days: 0, nanos: rng.below(20) as i64 * 1000 },
                },
                _ => Value { ty: numeric(2), datum: Datum::Decimal(rng.below(400) as i128) },
            };
            (Units::Range, vec![key(rng, c)], bounds(rng, offset))
        }
    };
    (Frame { units, start, end, exclude }, order)
}

/// A window node over a source, with what a query may write.
pub fn random(rng: &mut Rng) -> Op {
    let (frame, order) = frame(rng);
    let mut calls: Vec<WindowCall> = framed().into_iter().map(|c| WindowCall { frame: frame.clone(), ..c }).collect();
    calls.extend(numbers(rng));
    // few together, so that a call's own reach shows
    let n = rng.below(4) + 1;
    let mut some = vec![];
    for _ in 0..n {
        some.push(rng.pick(&calls));
    }
    let mut order = order;
    let mut seen = vec![];
    order.retain(|k| {
        !seen.contains(&k.column) && {
            seen.push(k.column);
            true
        }
    });
    Op::Window { partition: rng.pick(&[vec![], vec![5], vec![0], vec![1, 5]]), order, calls: some }
}

fn sound(op: &Op) -> FlowPlan {
    let mut p = plan(1, false);
    on(&mut p, op.clone(), vec![0]);
    p.validate().unwrap_or_else(|e| panic!("{e}: {op:?}"));
    let bytes = p.to_bytes();
    assert_eq!(FlowPlan::from_bytes(&bytes).unwrap(), p, "bytes read back");
    p
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn window_functions_sum_to_their_query(seed: u64) {
        let rng = &mut Rng(seed);
        let p = sound(&random(rng));
        let n_keys = rng.pick(&[2, 5]);
        let rows_max = rng.pick(&[4, 30]);
        let epochs = history(rng, 1, 6, rows_max, true, n_keys);
        check(&p, &epochs);
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn a_few_changes_in_a_long_partition_give_what_the_whole_gives(seed: u64) {
        let rng = &mut Rng(seed);
        let Op::Window { order, calls, .. } = random(rng) else { unreachable!() };
        let p = sound(&Op::Window { partition: rng.pick(&[vec![], vec![5]]), order, calls });
        let n_keys = rng.pick(&[3, 40]);
        let mut live: Vec<Row> = (0..80 + rng.below(120)).map(|_| crate::drive::random_row(rng, n_keys)).collect();
        let mut epochs = vec![live.iter().map(|r| (0, r.clone(), 1)).collect::<Vec<_>>()];
        for _ in 0..10 {
            let mut epoch = vec![];
            for _ in 0..rng.below(4) + 1 {
                if rng.one_in(2) {
                    let gone = live.swap_remove(rng.below(live.len()));
                    epoch.push((0, gone, -1));
                } else {
                    let row = if rng.one_in(4) { rng.pick(&live) } else { crate::drive::random_row(rng, n_keys) };
                    live.push(row.clone());
                    epoch.push((0, row, 1));
                }
            }
            epochs.push(epoch);
        }
        check(&p, &epochs);
    }

    #[test]
    fn window_functions_are_the_same_with_any_number_of_workers(seed: u64) {
        let rng = &mut Rng(seed);
        let p = sound(&random(rng));
        let epochs = history(rng, 1, 4, 20, true, 5);
        let mut serial = Run::new(&p);
        let engines = [engine(1), engine(3)];
        let readers: Vec<_> = engines.iter().map(|e| install(e, 1, &p, &[], 1)).collect();
        for (i, epoch) in epochs.iter().enumerate() {
            serial.step(epoch, 5);
            let number = i as u64 + 2;
            for (engine, reader) in engines.iter().zip(&readers) {
                engine.feed(1, regauge_types::Epoch(number), crate::run::by_topic(epoch, false));
                let (rows, errors) = at(reader, number);
                prop_assert_eq!(&rows, &serial.rows);
                prop_assert_eq!(errors.iter().map(|(_, n)| n).sum::<i64>(), serial.errors.values().sum::<i64>());
            }
        }
    }
}

#[test]
fn an_error_takes_the_rows_place_and_heals() {
    let order = vec![OrderKey { column: 0, descending: false, nulls_first: false }];
    let big = WindowCall { frame: Frame::default(), ..call(WindowFunc::Agg(AggFunc::Sum), vec![column(2)], DataType::Float64) };
    let p = sound(&Op::Window { partition: vec![], order, calls: vec![big] });
    let row = |k: i128, x: f64| vec![V::Int(k), V::Null, float(x), V::Null, V::Null, V::Null, V::Null];
    let mut run = Run::new(&p);
    run.step(&[(0, row(1, f64::MAX), 1), (0, row(2, f64::MAX), 1), (0, row(3, -f64::MAX), 1)], 10);
    assert_eq!((run.rows.len(), run.errors.get("22003")), (2, Some(&1)), "only the second row's sum is out of range");
    run.step(&[(0, row(1, f64::MAX), -1)], 10);
    assert_eq!((run.rows.len(), run.errors.len()), (2, 0), "retracting the cause heals");
}

#[test]
fn taking_back_what_was_never_there_fails_the_window() {
    let p = sound(&Op::Window {
        partition: vec![0],
        order: vec![],
        calls: vec![call(WindowFunc::RowNumber, vec![], DataType::Int64)],
    });
    let mut serial = regauge_flow::ops::Serial::new(&p).unwrap();
    let never = vec![(vec![V::Int(1), V::Null, V::Null, V::Null, V::Null, V::Null, V::Null], -1)];
    let result = serial.step(&[(crate::drive::source(0), delta(&base(), &never, false))]);
    assert!(matches!(result, Err(regauge_flow::operator::FlowError::Negative { multiplicity: -1, .. })));
}

/// Rows that an epoch of one changed row touches and sends, near the end of a partition of 100,000.
fn touched_near_the_end(calls: Vec<WindowCall>, removes: bool) -> (u64, u64) {
    let order = vec![OrderKey { column: 4, descending: false, nulls_first: false }];
    let mut p = plan(1, false);
    let node = on(&mut p, Op::Window { partition: vec![5], order, calls }, vec![0]);
    p.validate().unwrap();
    let row = |i: i128| vec![V::Int(i), V::Text("k".into()), float(1.5), V::Int(1), V::Int(i), V::Bool(true), V::Int(100)];
    let mut run = Run::new(&p);
    let many: Vec<_> = (0..100_000).map(|i| (0, row(2 * i), 1)).collect();
    run.step(&many, 8192);
    let before = run.serial.stats(node).unwrap();
    let change = if removes { (0, row(199_900), -1) } else { (0, row(199_901), 1) };
    run.step(&[change], 1);
    let after = run.serial.stats(node).unwrap();
    (after.touched - before.touched, after.rows_out - before.rows_out)
}

#[test]
fn a_change_in_a_long_partition_costs_its_neighbourhood() {
    let rows = |a: Bound, b: Bound| Frame { units: Units::Rows, start: a, end: b, exclude: Exclude::NoOthers };
    let sum = |frame| WindowCall { frame, ..call(WindowFunc::Agg(AggFunc::Sum), vec![column(3)], DataType::Int64) };
    let lag = call(WindowFunc::Lag, vec![column(0), int4(3)], DataType::Int64);
    let lead = call(WindowFunc::Lead, vec![column(0)], DataType::Int64);
    let two = || Bound::Preceding(Value::int8(2));
    let groups = Frame { units: Units::Groups, start: two(), end: Bound::Following(Value::int8(1)), exclude: Exclude::Ties };
    let number = call(WindowFunc::RowNumber, vec![], DataType::Int64);
    let rank = call(WindowFunc::Rank, vec![], DataType::Int64);
    for (calls, most) in [
        (vec![lag.clone()], 20),
        (vec![lead.clone()], 20),
        (vec![lag, lead, sum(rows(two(), Bound::CurrentRow)), sum(groups)], 40),
        // 50 rows stand behind the change
        (vec![number, rank], 2 * 51 + 10),
    ] {
        for removes in [false, true] {
            let (touched, sent) = touched_near_the_end(calls.clone(), removes);
            assert!((1..=most).contains(&touched) && sent <= most, "{calls:?}: touched={touched} sent={sent}");
        }
    }
}
