//! States that take rows in and out: what was taken away leaves no trace, in any order, and moments agree with sums of deviations.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit};
use proptest::prelude::*;
use regauge_plan::Datum;
use regauge_plan::flowplan::{AggFunc, Spread};
use regauge_plan::functions::kept::{Keeper, Kept, Lanes};

fn floats(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn keeper(spread: Spread) -> Keeper {
    let output = if spread == Spread::Count { DataType::Int64 } else { DataType::Float64 };
    Keeper::new(AggFunc::Spread(spread), &vec![DataType::Float64; spread.n_args()], &output).unwrap()
}

fn columns(spread: Spread, pairs: &[(f64, f64)]) -> Vec<ArrayRef> {
    let column = |of: fn(&(f64, f64)) -> f64| floats(&pairs.iter().map(of).collect::<Vec<_>>());
    [column(|p| p.0), column(|p| p.1)].into_iter().take(spread.n_args()).collect()
}

/// NaN is one value.
fn bits(value: Result<Option<Datum>, regauge_plan::functions::EvalError>) -> Result<Option<u64>, &'static str> {
    value.map_err(|e| e.sqlstate).map(|v| {
        v.map(|v| match v {
            Datum::Float(x) if x.is_nan() => f64::NAN.to_bits(),
            Datum::Float(x) => x.to_bits(),
            Datum::Int(n) => n.cast_unsigned(),
            other => panic!("no number: {other:?}"),
        })
    })
}

fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-1000i32..1000).prop_map(|i| f64::from(i) / 10.0),
        2 => any::<f64>(),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(1e200),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_that_came_and_went_leave_no_bit(
        stay in proptest::collection::vec((any_double(), any_double()), 0..8),
        go in proptest::collection::vec((any_double(), any_double()), 0..8),
    ) {
        for (spread, _) in Spread::all() {
            let keeper = keeper(spread);
            let (a, b) = (columns(spread, &stay), columns(spread, &go));
            let (stays, goes) = (Lanes::new(&a).unwrap(), Lanes::new(&b).unwrap());
            let (mut plain, mut moved): (Kept, Kept) = (keeper.empty(), keeper.empty());
            (0..stay.len()).for_each(|row| plain.add(&stays, row, 1));
            (0..go.len()).for_each(|row| moved.add(&goes, row, 2));
            (0..stay.len()).rev().for_each(|row| moved.add(&stays, row, 1));
            (0..go.len()).rev().for_each(|row| moved.add(&goes, row, -2));
            prop_assert_eq!(bits(keeper.value(&plain)), bits(keeper.value(&moved)), "{}", spread.name());
        }
    }

    #[test]
    fn moments_are_sums_of_deviations(pairs in proptest::collection::vec((-1000i32..1000, -1000i32..1000), 2..20)) {
        let pairs: Vec<(f64, f64)> = pairs.into_iter().map(|(y, x)| (f64::from(y) / 8.0, f64::from(x) / 8.0)).collect();
        let n = pairs.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
        let (my, mx) = (mean(|p| p.0), mean(|p| p.1));
        let sum = |of: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|(y, x)| of(y - my, x - mx)).sum::<f64>();
        let (syy, sxx, sxy) = (sum(&|y, _| y * y), sum(&|_, x| x * x), sum(&|y, x| y * x));
        let expected = |spread| match spread {
            // of the first argument alone
            Spread::VarSamp => Some(syy / (n - 1.0)),
            Spread::VarPop => Some(syy / n),
            Spread::DevSamp => Some((syy / (n - 1.0)).sqrt()),
            Spread::DevPop => Some((syy / n).sqrt()),
            Spread::CovarSamp => Some(sxy / (n - 1.0)),
            Spread::CovarPop => Some(sxy / n),
            Spread::Count => Some(n),
            Spread::Sxx => Some(sxx),
            Spread::Syy => Some(syy),
            Spread::Sxy => Some(sxy),
            Spread::AvgX => Some(mx),
            Spread::AvgY => Some(my),
            Spread::Corr if sxx > 0.0 && syy > 0.0 => Some(sxy / (sxx * syy).sqrt()),
            Spread::R2 if sxx > 0.0 && syy > 0.0 => Some(sxy * sxy / (sxx * syy)),
            Spread::Slope if sxx > 0.0 => Some(sxy / sxx),
            Spread::Intercept if sxx > 0.0 => Some(my - mx * sxy / sxx),
            _ => None,
        };
        for (spread, _) in Spread::all() {
            let keeper = keeper(spread);
            let columns = columns(spread, &pairs);
            let lanes = Lanes::new(&columns).unwrap();
            let mut kept = keeper.empty();
            (0..pairs.len()).for_each(|row| kept.add(&lanes, row, 1));
            let got = match keeper.value(&kept).unwrap() {
                Some(Datum::Float(x)) => x,
                Some(Datum::Int(n)) => n as f64,
                _ => continue,
            };
            if let Some(want) = expected(spread) {
                prop_assert!((got - want).abs() <= 1e-9 * want.abs().max(1.0), "{}: {got} for {want}", spread.name());
            }
        }
    }
}

#[test]
fn a_variance_of_great_numerics_is_exact_and_heals() {
    let ty = DataType::Decimal128(38, 0);
    let keeper = Keeper::new(AggFunc::Spread(Spread::DevPop), std::slice::from_ref(&ty), &DataType::Decimal128(38, 16)).unwrap();
    let column =
        |values: Vec<i128>| -> ArrayRef { Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, 0).unwrap()) };
    let all = [column(vec![1_000_000_000_000, 3_000_000_000_000, 10i128.pow(38) - 1, -(10i128.pow(38) - 1)])];
    let lanes = Lanes::new(&all).unwrap();
    let mut kept = keeper.empty();
    (0..2).for_each(|row| kept.add(&lanes, row, 1));
    let expected = Some(Datum::Decimal(10i128.pow(12 + 16)));
    assert_eq!(keeper.value(&kept).unwrap(), expected);
    (2..4).for_each(|row| kept.add(&lanes, row, i64::MAX / 8));
    assert_eq!(keeper.value(&kept).unwrap_err().sqlstate, "22003");
    (2..4).for_each(|row| kept.add(&lanes, row, -(i64::MAX / 8)));
    assert_eq!(keeper.value(&kept).unwrap(), expected);
}

#[test]
fn intervals_are_added_by_parts_and_a_mean_runs_down_into_days_and_time() {
    let ty = DataType::Interval(IntervalUnit::MonthDayNano);
    let column: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![
        IntervalMonthDayNano::new(1, 2, 3_000_000_000),
        IntervalMonthDayNano::new(2, 1, 0),
        IntervalMonthDayNano::new(i32::MAX, 0, 0),
    ]));
    let columns = [column];
    let lanes = Lanes::new(&columns).unwrap();
    for (func, months, days, nanos) in [(AggFunc::Sum, 3, 3, 3_000_000_000), (AggFunc::Avg, 1, 16, 43_201_500_000_000)] {
        let keeper = Keeper::new(func, std::slice::from_ref(&ty), &ty).unwrap();
        let mut kept = keeper.empty();
        (0..2).for_each(|row| kept.add(&lanes, row, 1));
        let expected = Some(Datum::Interval { months, days, nanos });
        assert_eq!(keeper.value(&kept).unwrap(), expected);
        kept.add(&lanes, 2, 1);
        assert_eq!(keeper.value(&kept).unwrap_err().sqlstate, "22008");
        kept.add(&lanes, 2, -1);
        assert_eq!(keeper.value(&kept).unwrap(), expected);
    }
}
