//! The promises of the incremental operators, against a naive evaluator that recomputes everything.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::print_stdout, clippy::disallowed_methods)]

mod cluster;
mod drive;
mod engine;
mod measure;
mod naive;
mod naive_over;
mod naive_time;
mod over;
mod recursive;
mod restore;
mod rows;
mod run;
mod spill;
mod time;
mod value;

use arrow::datatypes::{DataType, Field};
use drive::{Rng, Run, base, check, history, on, plan, source};
use proptest::prelude::*;
use regauge_flow::operator::FlowError;
use regauge_plan::flowplan::*;
use regauge_plan::scalar::{CompareOp, Scalar};
use regauge_plan::value::Value;
use std::sync::Arc;
use value::*;

fn compare(op: CompareOp, left: Scalar, right: Scalar) -> Scalar {
    Scalar::Compare { op, left: Box::new(left), right: Box::new(right) }
}

fn asc(column: usize) -> OrderKey {
    OrderKey { column, descending: false, nulls_first: false }
}

fn desc(column: usize) -> OrderKey {
    OrderKey { column, descending: true, nulls_first: true }
}

fn call(func: AggFunc, args: &[usize], output: DataType) -> AggCall {
    AggCall { func, args: args.to_vec(), distinct: false, filter: None, order: vec![], direct: vec![], output }
}

fn numeric(scale: i8) -> DataType {
    DataType::Decimal128(38, scale)
}

/// Every accumulator there is, over the base columns.
fn all_calls() -> Vec<AggCall> {
    use AggFunc::*;
    use DataType::*;
    let list = |ty: DataType| List(Arc::new(Field::new_list_field(ty, true)));
    let ts = base()[4].clone();
    let mut calls = vec![
        call(Count, &[], Int64),
        call(Count, &[0], Int64),
        call(Sum, &[3], Int64),
        call(Sum, &[0], numeric(0)),
        call(Sum, &[2], Float64),
        call(Sum, &[6], numeric(2)),
        call(Avg, &[3], numeric(16)),
        call(Avg, &[6], numeric(16)),
        call(Avg, &[2], Float64),
        call(BoolAnd, &[5], Boolean),
        call(BoolOr, &[5], Boolean),
        call(StringAgg, &[1, 1], Utf8),
        call(ArrayAgg, &[3], list(Int32)),
    ];
    for (i, ty) in base().into_iter().enumerate().filter(|(i, _)| *i != 5) {
        calls.push(call(Min, &[i], ty.clone()));
        calls.push(call(Max, &[i], ty));
    }
    calls.push(AggCall { filter: Some(5), ..call(Count, &[], Int64) });
    calls.push(AggCall { filter: Some(5), ..call(Max, &[4], ts) });
    calls.push(AggCall { distinct: true, ..call(Count, &[1], Int64) });
    calls.push(AggCall { distinct: true, ..call(Count, &[2], Int64) });
    calls.push(AggCall { distinct: true, filter: Some(5), ..call(Sum, &[3], Int64) });
    calls.push(AggCall { distinct: true, order: vec![desc(3)], ..call(ArrayAgg, &[3], list(Int32)) });
    calls.push(AggCall { order: vec![desc(0), asc(2)], ..call(StringAgg, &[1, 1], Utf8) });
    calls.extend(small_states());
    calls.extend(ordered_sets());
    calls
}

/// Bits, and what has an exact result among the statistical ones.
fn small_states() -> Vec<AggCall> {
    use AggFunc::*;
    use DataType::*;
    let mut calls = vec![
        call(BitAnd, &[3], Int32),
        call(BitOr, &[0], Int64),
        call(BitXor, &[3], Int32),
        call(AggFunc::Spread(regauge_plan::flowplan::Spread::Count), &[2, 2], Int64),
    ];
    calls.push(AggCall { distinct: true, ..call(BitXor, &[0], Int64) });
    use regauge_plan::flowplan::Spread::{DevPop, DevSamp, VarPop, VarSamp};
    for spread in [VarSamp, VarPop, DevSamp, DevPop] {
        calls.push(call(AggFunc::Spread(spread), &[6], numeric(16)));
    }
    calls.push(AggCall { distinct: true, filter: Some(5), ..call(AggFunc::Spread(VarPop), &[6], numeric(16)) });
    calls
}

fn ordered_sets() -> Vec<AggCall> {
    use AggFunc::*;
    use DataType::*;
    let list = |ty: DataType| List(Arc::new(Field::new_list_field(ty, true)));
    let half = || vec![Value::float8(0.5)];
    let some = || vec![Value::float8(0.0), Value::null(Float64), Value::float8(0.3), Value::float8(1.0), Value::float8(0.75)];
    vec![
        AggCall { order: vec![asc(2)], direct: half(), ..call(PercentileCont, &[2], Float64) },
        AggCall { order: vec![desc(2)], direct: some(), ..call(PercentileCont, &[2], list(Float64)) },
        AggCall { order: vec![asc(1)], direct: half(), ..call(PercentileDisc, &[1], Utf8) },
        AggCall { order: vec![desc(3)], direct: some(), filter: Some(5), ..call(PercentileDisc, &[3], list(Int32)) },
        AggCall { order: vec![asc(3)], ..call(Mode, &[3], Int32) },
        AggCall { order: vec![desc(1)], ..call(Mode, &[1], Utf8) },
    ]
}

fn cases(n: u32) -> ProptestConfig {
    ProptestConfig { cases: n, failure_persistence: None, ..ProptestConfig::default() }
}

fn run(op: Op, n_sources: u32, seed: u64, append_only: bool) {
    let rng = &mut Rng(seed);
    let mut p = plan(n_sources, append_only);
    on(&mut p, op, (0..n_sources as usize).collect());
    let n_keys = rng.pick(&[2, 5, 40]);
    let epochs = history(rng, n_sources, 5, 40, !append_only, n_keys);
    check(&p, &epochs);
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn a_map_sums_to_its_query_and_its_errors_heal(seed: u64, append_only: bool) {
        let cast = Scalar::Cast { arg: Box::new(Scalar::Column(1)), to: DataType::Int64 };
        let filter = Some(compare(CompareOp::Gt, Scalar::Column(3), Scalar::Literal(Value::int4(-1))));
        run(Op::Map { filter, exprs: Some(vec![Scalar::Column(2), cast, Scalar::Column(0)]) }, 1, seed, append_only);
    }

    #[test]
    fn a_filter_that_fails_gives_an_error_and_no_row(seed: u64) {
        let cast = Scalar::Cast { arg: Box::new(Scalar::Column(1)), to: DataType::Int64 };
        run(Op::Map { filter: Some(compare(CompareOp::Lt, cast, Scalar::Literal(Value::int8(10)))), exprs: None }, 1, seed, false);
    }

    #[test]
    fn a_join_sums_to_its_query(seed: u64, append_only: bool, nulls_equal: bool, with_residual: bool, two_keys: bool) {
        let on = if two_keys { vec![(0, 0), (2, 2)] } else { vec![(1, 1)] };
        let residual = with_residual.then(|| compare(CompareOp::Le, Scalar::Column(4), Scalar::Column(11)));
        use JoinKind::*;
        for kind in [Inner, Left, Right, Full, LeftSemi, LeftAnti] {
            run(Op::Join { kind, on: on.clone(), nulls_equal, residual: residual.clone() }, 2, seed, append_only);
        }
    }

    #[test]
    fn an_error_in_a_joins_residual_has_the_diff_of_its_pair(seed: u64) {
        let cast = Scalar::Cast { arg: Box::new(Scalar::Column(1)), to: DataType::Int64 };
        let residual = Some(compare(CompareOp::Ne, cast, Scalar::Column(7)));
        for kind in [JoinKind::Inner, JoinKind::Full, JoinKind::LeftAnti] {
            run(Op::Join { kind, on: vec![(5, 5), (3, 3)], nulls_equal: false, residual: residual.clone() }, 2, seed, false);
        }
    }

    #[test]
    fn a_join_without_keys_sums_to_its_query(seed: u64, append_only: bool, with_residual: bool, nulls_equal: bool) {
        let residual = with_residual.then(|| compare(CompareOp::Lt, Scalar::Column(4), Scalar::Column(11)));
        use JoinKind::*;
        for kind in [Inner, Left, Right, Full, LeftSemi, LeftAnti] {
            run(Op::Join { kind, on: vec![], nulls_equal, residual: residual.clone() }, 2, seed, append_only);
        }
    }

    #[test]
    fn every_aggregate_sums_to_its_query(seed: u64, append_only: bool) {
        for keys in [vec![], vec![0], vec![1], vec![2], vec![3], vec![4], vec![0, 1, 2]] {
            run(Op::Aggregate { keys, aggs: all_calls() }, 1, seed, append_only);
        }
    }

    #[test]
    fn distinct_and_set_operations_sum_to_their_queries(seed: u64, append_only: bool) {
        run(Op::Distinct, 1, seed, append_only);
        run(Op::Union, 2, seed, append_only);
        for all in [false, true] {
            run(Op::SetOp { kind: SetOpKind::Intersect, all }, 2, seed, append_only);
            run(Op::SetOp { kind: SetOpKind::Except, all }, 2, seed, append_only);
        }
    }

    #[test]
    fn top_k_sums_to_its_query(seed: u64, append_only: bool, row_number: bool, limit in 0u64..6, offset in 0u64..4) {
        for (partition, order) in [(vec![], vec![]), (vec![0], vec![desc(2)]), (vec![5, 3], vec![asc(1), desc(4)])] {
            run(Op::TopK { partition, order, limit, offset, row_number }, 1, seed, append_only);
        }
        run(Op::TopK { partition: vec![1], order: vec![asc(6)], limit: u64::MAX, offset, row_number }, 1, seed, append_only);
    }

    #[test]
    fn windows_sum_to_their_queries(seed: u64, size_us in 1i64..20, slide_us in 1i64..20, offset in 0i64..20) {
        run(Op::Tumble { ts: 4, size_us, offset_us: offset % size_us }, 1, seed, false);
        run(Op::Hop { ts: 4, slide_us, size_us, offset_us: offset % slide_us }, 1, seed, true);
    }

    #[test]
    fn an_as_of_join_sums_to_its_query(seed: u64, append_only: bool, outer: bool, two_keys: bool) {
        use AsOfMatch::*;
        for matching in [AtOrBefore, Before, AtOrAfter, After] {
            let on = if two_keys { vec![(5, 5), (0, 0)] } else { vec![(0, 0)] };
            // timestamps, floats (with NaN), text, numerics and integers are moments alike
            for moment in [(4, 4), (2, 2), (1, 1), (6, 6), (0, 0)] {
                run(Op::AsOf { outer, on: on.clone(), moment, matching }, 2, seed, append_only);
            }
            run(Op::AsOf { outer, on: vec![], moment: (4, 4), matching }, 2, seed, append_only);
        }
    }

    #[test]
    fn a_temporal_filter_sums_to_its_query_as_the_clock_goes(seed: u64, append_only: bool, inclusive: bool, sides in 0usize..5) {
        let rng = &mut Rng(seed);
        let p = temporal(sides, inclusive, append_only);
        let past = history(rng, 1, 6, 30, !append_only, 4);
        let epochs = with_clock(rng, past);
        check(&p, &epochs);
    }

    #[test]
    fn random_trees_of_operators_sum_to_their_queries(seed: u64, append_only: bool) {
        let rng = &mut Rng(seed);
        let p = random_tree(rng, append_only);
        let epochs = history(rng, 3, 4, 12, !append_only, 4);
        check(&p, &epochs);
    }
}

/// A filter of source 0 by its timestamps; the clock is source 1's.
pub(crate) fn temporal(sides: usize, inclusive: bool, append_only: bool) -> FlowPlan {
    let mut p = plan(2, append_only);
    let clock = on(&mut p, Op::Map { filter: None, exprs: Some(vec![Scalar::Column(4)]) }, vec![1]);
    let (from, until) = match sides {
        0 => (vec![(4, inclusive)], vec![]),
        1 => (vec![], vec![(4, inclusive)]),
        2 => (vec![(4, true)], vec![(4, true)]),
        3 => (vec![(4, inclusive)], vec![(4, true)]),
        _ => (vec![], vec![]),
    };
    on(&mut p, Op::Temporal { from, until, by: (0..7).collect() }, vec![0, clock]);
    p
}

/// The history of source 0 with a clock that goes on in most epochs.
pub(crate) fn with_clock(rng: &mut Rng, mut epochs: Vec<Vec<(u32, Row, i64)>>) -> Vec<Vec<(u32, Row, i64)>> {
    let mut now = -40;
    for epoch in &mut epochs {
        if rng.one_in(5) {
            continue;
        }
        now += rng.below(25) as i128;
        let mut row = rows(0..1)[0].1.clone();
        row[4] = V::Int(now);
        epoch.insert(rng.below(epoch.len() + 1), (1, row, 1));
    }
    epochs
}

/// A node whose output has the base columns again, over random nodes before it.
fn grow_tree(rng: &mut Rng, p: &mut FlowPlan) {
    let c = Scalar::Column;
    let (a, b) = (rng.below(p.nodes.len()), rng.below(p.nodes.len()));
    let (a, b) = if p.nodes[a].types == base() { (a, b) } else { (p.root, b) };
    let b = if p.nodes[b].types == base() { b } else { 0 };
    let half = |exprs: [usize; 7]| Op::Map { filter: None, exprs: Some(exprs.into_iter().map(c).collect()) };
    match rng.below(10) {
        0 => {
            let op = rng.pick(&[CompareOp::Lt, CompareOp::Ne, CompareOp::Ge]);
            on(p, Op::Map { filter: Some(compare(op, c(0), Scalar::Literal(Value::int8(1)))), exprs: None }, vec![a]);
        }
        1 => {
            on(p, Op::Distinct, vec![a]);
        }
        2 => {
            on(p, Op::Union, vec![a, b]);
        }
        3 => {
            let kind = rng.pick(&[SetOpKind::Intersect, SetOpKind::Except]);
            on(p, Op::SetOp { kind, all: rng.one_in(2) }, vec![a, b]);
        }
        4 => {
            let (limit, offset) = (rng.below(3) as u64 + 1, rng.below(2) as u64);
            on(
                p,
                Op::TopK { partition: vec![rng.below(6)], order: vec![desc(rng.below(7))], limit, offset, row_number: false },
                vec![a],
            );
        }
        5 => {
            let kind = rng.pick(&[JoinKind::LeftSemi, JoinKind::LeftAnti]);
            let k = rng.below(6);
            on(p, Op::Join { kind, on: vec![(k, k)], nulls_equal: rng.one_in(2), residual: None }, vec![a, b]);
        }
        6 => {
            let kind = rng.pick(&[JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full]);
            let residual = rng.one_in(2).then(|| compare(CompareOp::Lt, c(4), c(11)));
            let j = on(p, Op::Join { kind, on: vec![(0, 0), (5, 5)], nulls_equal: rng.one_in(2), residual }, vec![a, b]);
            on(p, half([7, 1, 9, 3, 11, 5, 13]), vec![j]);
            // fan-out of joins over joins must not explode
            on(p, Op::Distinct, vec![p.root]);
        }
        7 => {
            use AggFunc::*;
            let b = base();
            let aggs = vec![
                call(Count, &[], DataType::Int64),
                call(Max, &[2], b[2].clone()),
                call(Min, &[3], b[3].clone()),
                call(Max, &[4], b[4].clone()),
                call(BoolOr, &[5], b[5].clone()),
                call(Min, &[6], b[6].clone()),
            ];
            let keys = if rng.one_in(3) { vec![0] } else { vec![1] };
            let g = on(p, Op::Aggregate { keys: keys.clone(), aggs }, vec![a]);
            if keys == [1] {
                on(p, half([1, 0, 2, 3, 4, 5, 6]), vec![g]);
            } else {
                let exprs = vec![c(1), Scalar::Literal(Value::text("k")), c(2), c(3), c(4), c(5), c(6)];
                on(p, Op::Map { filter: None, exprs: Some(exprs) }, vec![g]);
            }
        }
        8 => {
            // No keys: every row meets every row.
            let kind = rng.pick(&[JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::LeftAnti]);
            let residual = Some(compare(rng.pick(&[CompareOp::Lt, CompareOp::Ge]), c(0), c(7)));
            let half_only = kind == JoinKind::LeftAnti;
            let j = on(p, Op::Join { kind, on: vec![], nulls_equal: rng.one_in(2), residual }, vec![a, b]);
            if !half_only {
                on(p, half([7, 1, 9, 3, 11, 5, 13]), vec![j]);
            }
            on(p, Op::Distinct, vec![p.root]);
        }
        _ => {
            let w = on(p, Op::Hop { ts: 4, slide_us: 10, size_us: 20, offset_us: 3 }, vec![a]);
            on(p, half([0, 1, 2, 3, 7, 5, 6]), vec![w]);
        }
    }
}

fn random_tree(rng: &mut Rng, append_only: bool) -> FlowPlan {
    let mut p = plan(3, append_only);
    for _ in 0..rng.below(5) + 1 {
        grow_tree(rng, &mut p);
    }
    p
}

fn rows(range: std::ops::Range<i128>) -> Vec<(u32, Row, i64)> {
    let row = |i: i128| vec![V::Int(i), V::Text(format!("k{i}")), float(1.5), V::Int(1), V::Int(i), V::Bool(true), V::Int(100)];
    range.map(|i| (0, row(i), 1)).collect()
}

/// Touched entries of state by an epoch of one row, after 20,000 keys.
fn touched_by_one_row(op: Op, n_sources: u32, row: Row) -> (u64, u64) {
    let mut p = plan(n_sources, false);
    let node = on(&mut p, op, (0..n_sources as usize).collect());
    let mut run = Run::new(&p);
    let many: Vec<_> = (0..n_sources).flat_map(|s| rows(0..20_000).into_iter().map(move |(_, r, d)| (s, r, d))).collect();
    run.step(&many, 8192);
    let before = run.serial.stats(node).unwrap();
    run.step(&[(0, row, 1)], 1);
    let after = run.serial.stats(node).unwrap();
    (after.touched - before.touched, after.rows_out - before.rows_out)
}

#[test]
fn an_epoch_of_one_row_costs_one_row_whatever_the_state() {
    let row = rows(77..78)[0].1.clone();
    let keys = vec![1];
    let join = |kind| Op::Join { kind, on: vec![(0, 0)], nulls_equal: false, residual: None };
    let top = Op::TopK { partition: vec![0], order: vec![asc(4)], limit: 3, offset: 0, row_number: true };
    let ops = [
        (Op::Aggregate { keys, aggs: all_calls() }, 1),
        (join(JoinKind::Inner), 2),
        (join(JoinKind::Full), 2),
        (join(JoinKind::LeftAnti), 2),
        (Op::Distinct, 1),
        (Op::SetOp { kind: SetOpKind::Except, all: true }, 2),
        (top, 1),
    ];
    for (op, n) in ops {
        let what = format!("{op:?}");
        let (touched, sent) = touched_by_one_row(op, n, row.clone());
        assert!((1..=8).contains(&touched) && sent <= 4, "{what}: touched={touched} sent={sent}");
    }
}

#[test]
fn a_right_row_of_an_as_of_join_costs_the_left_rows_up_to_its_neighbour_whatever_the_state() {
    use AsOfMatch::*;
    // one group: 20,000 left rows, and a right row at each hundredth moment
    let at = |source: u32, ts: i128| {
        let mut row = rows(ts..ts + 1)[0].1.clone();
        row[0] = V::Int(1);
        (source, row, 1)
    };
    for (matching, moment) in [(AtOrBefore, 1930), (Before, 1930), (AtOrAfter, 1970), (After, 1970)] {
        let mut p = plan(2, false);
        let node = on(&mut p, Op::AsOf { outer: true, on: vec![(0, 0)], moment: (4, 4), matching }, vec![0, 1]);
        let mut run = Run::new(&p);
        run.step(&(0..20_000).map(|ts| at(0, ts)).collect::<Vec<_>>(), 8192);
        run.step(&(0..200).map(|n| at(1, n * 100)).collect::<Vec<_>>(), 8192);
        let before = run.serial.stats(node).unwrap();
        run.step(&[at(1, moment)], 1);
        let (s, row, _) = at(1, moment);
        let after = run.serial.stats(node).unwrap();
        // 1930..2000 or 1900..1970, each taken back and sent again
        let (touched, sent) = (after.touched - before.touched, after.rows_out - before.rows_out);
        assert!((138..=142).contains(&sent), "{matching:?}: sent={sent}");
        assert!((69..=80).contains(&touched), "{matching:?}: touched={touched}");
        run.step(&[(s, row, -1)], 1);
        let healed = run.serial.stats(node).unwrap();
        assert_eq!(healed.rows_out - after.rows_out, sent, "{matching:?}: back again");
        // a left row costs itself
        run.step(&[at(0, moment)], 1);
        let last = run.serial.stats(node).unwrap();
        assert!(last.touched - healed.touched <= 4 && last.rows_out - healed.rows_out == 1, "{matching:?}");
    }
}

#[test]
fn an_epoch_of_a_temporal_filter_costs_what_comes_and_goes_whatever_the_state() {
    let mut p = temporal(1, false, false);
    let node = p.root;
    p.output.truncate(7);
    let mut run = Run::new(&p);
    let clock = |now: i128| {
        let mut row = rows(0..1)[0].1.clone();
        row[4] = V::Int(now);
        (1, row, 1)
    };
    run.step(&[rows(0..20_000), vec![clock(-1)]].concat(), 8192);
    assert_eq!(run.rows.len(), 20_000);
    let before = run.serial.stats(node).unwrap();
    run.step(&[clock(6)], 1);
    let after = run.serial.stats(node).unwrap();
    assert_eq!((after.touched - before.touched, after.rows_out - before.rows_out), (7, 7), "0 to 6 went");
    assert_eq!(run.rows.len(), 19_993);
    // what has gone may be taken back, and changes nothing
    let (s, row, _) = rows(3..4)[0].clone();
    run.step(&[(s, row, -1)], 1);
    assert_eq!(run.rows.len(), 19_993);
    run.step(&[clock(i128::from(i64::MAX) - 1)], 1);
    assert!(run.rows.is_empty());
    assert_eq!(run.serial.stats(node).unwrap().state_rows, 0, "nothing is kept of what has gone");
}

#[test]
fn a_sum_out_of_range_is_an_error_of_its_group_and_heals() {
    let mut p = plan(1, false);
    let big = |g: &str| vec![V::Null, V::Text(g.into()), V::Null, V::Null, V::Null, V::Null, V::Int(0)];
    // sum(bigint) is wide; the double overflows
    let row = |g: &str, x: f64| {
        let mut r = big(g);
        r[2] = float(x);
        (0, r, 1)
    };
    on(&mut p, Op::Aggregate { keys: vec![1], aggs: vec![call(AggFunc::Sum, &[2], DataType::Float64)] }, vec![0]);
    let mut run = Run::new(&p);
    run.step(&[row("a", f64::MAX), row("b", 1.0)], 10);
    run.step(&[row("a", f64::MAX)], 10);
    assert_eq!(run.errors.get("22003"), Some(&1));
    assert_eq!(run.rows.len(), 1, "the failed group shows no row, the other is untouched");
    let (s, r, _) = row("a", f64::MAX);
    run.step(&[(s, r, -1)], 10);
    assert!(run.errors.is_empty(), "retracting the cause heals");
    assert_eq!(run.rows.get(&vec![V::Text("a".into()), float(f64::MAX)]), Some(&1));
}

#[test]
fn a_global_aggregate_has_one_row_before_any_input_and_after_all_is_gone() {
    let mut p = plan(1, false);
    on(&mut p, Op::Aggregate { keys: vec![], aggs: vec![call(AggFunc::Count, &[], DataType::Int64)] }, vec![0]);
    let mut run = Run::new(&p);
    run.step(&[], 1);
    assert_eq!(run.rows, Bag::from([(vec![V::Int(0)], 1)]));
    run.step(&[], 1);
    assert_eq!(run.rows, Bag::from([(vec![V::Int(0)], 1)]), "sent once");
}

#[test]
fn constant_rows_are_sent_once() {
    let mut p = FlowPlan { nodes: vec![], root: 0, output: vec![], key: None };
    let rows = vec![vec![Value::int8(1)], vec![Value::null(DataType::Int64)]];
    p.push(Op::Rows { rows }, vec![], (vec![DataType::Int64], true)).unwrap();
    let mut run = Run::new(&p);
    run.step(&[], 1);
    run.step(&[], 1);
    assert_eq!(run.rows, Bag::from([(vec![V::Int(1)], 1), (vec![V::Null], 1)]));
}

#[test]
fn taking_back_what_was_never_there_fails_the_operator() {
    for op in [Op::Distinct, Op::Aggregate { keys: vec![0], aggs: vec![] }] {
        let mut p = plan(1, false);
        on(&mut p, op, vec![0]);
        let mut serial = regauge_flow::ops::Serial::new(&p).unwrap();
        let never = vec![(rows(0..1)[0].1.clone(), -1)];
        let result = serial.step(&[(source(0), delta(&base(), &never, false))]);
        assert!(matches!(result, Err(FlowError::Negative { multiplicity: -1, .. })));
    }
}

#[test]
fn a_window_beyond_the_range_of_timestamps_is_an_error_of_its_row() {
    let mut p = plan(1, false);
    on(&mut p, Op::Hop { ts: 4, slide_us: 5, size_us: 10, offset_us: 0 }, vec![0]);
    let mut run = Run::new(&p);
    let mut row = rows(0..1)[0].1.clone();
    row[4] = V::Int(i64::MAX.into());
    run.step(&[(0, row.clone(), 1), (0, rows(3..4)[0].1.clone(), 1)], 10);
    assert_eq!(run.errors.get("22008"), Some(&1));
    assert_eq!(run.rows.len(), 2);
    run.step(&[(0, row, -1)], 10);
    assert!(run.errors.is_empty());
}

#[test]
fn an_epoch_larger_than_a_batch_leaves_in_bounded_pieces() {
    let mut p = plan(1, false);
    on(&mut p, Op::Aggregate { keys: vec![0], aggs: vec![call(AggFunc::Count, &[], DataType::Int64)] }, vec![0]);
    let mut run = Run::new(&p);
    run.step(&rows(0..20_000), 8192); // add_delta asserts the bound
    assert_eq!(run.rows.len(), 20_000);
}
