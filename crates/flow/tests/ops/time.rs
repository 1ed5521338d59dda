//! Windows that grow, sessions, and what is sent only when it is closed, against the naive evaluator; and what they cost.

use arrow::datatypes::DataType;
use proptest::prelude::*;
use regauge_plan::flowplan::*;
use regauge_plan::scalar::Scalar;

use crate::drive::{Rng, Run, check, history, on, plan, random_row};
use crate::run::{at, by_topic, engine, install};
use crate::value::*;
use crate::{call, cases};

const TS: usize = 4;

fn session(partition: &[usize], gap_us: i64) -> Op {
    Op::Session { partition: partition.to_vec(), ts: TS, gap_us, on_close: false }
}

fn sound(op: &Op, append_only: bool) -> FlowPlan {
    let mut p = plan(1, append_only);
    on(&mut p, op.clone(), vec![0]);
    p.validate().unwrap_or_else(|e| panic!("{e}: {op:?}"));
    assert_eq!(FlowPlan::from_bytes(&p.to_bytes()).unwrap(), p, "bytes read back");
    p
}

/// Source 1 gives the watermark, in its time column.
fn closing(make: impl Fn(&mut FlowPlan) -> (Op, Vec<usize>)) -> FlowPlan {
    let mut p = plan(2, true);
    let mark = on(&mut p, Op::Map { filter: None, exprs: Some(vec![Scalar::Column(TS)]) }, vec![1]);
    let (op, mut inputs) = make(&mut p);
    inputs.push(mark);
    on(&mut p, op, inputs);
    p.validate().unwrap_or_else(|e| panic!("{e}: {:?}", p.nodes));
    assert_eq!(FlowPlan::from_bytes(&p.to_bytes()).unwrap(), p, "bytes read back");
    p
}

pub fn closing_sessions(partition: &[usize], gap_us: i64) -> FlowPlan {
    closing(|_| (Op::Session { partition: partition.to_vec(), ts: TS, gap_us, on_close: true }, vec![0]))
}

pub fn closing_groups(keys: &[usize], key: usize, plus_us: i64, size_us: i64) -> FlowPlan {
    closing(|p| {
        let tumble = on(p, Op::Tumble { ts: TS, size_us, offset_us: 0 }, vec![0]);
        let aggs = vec![
            call(AggFunc::Count, &[], DataType::Int64),
            call(AggFunc::Sum, &[3], DataType::Int64),
            call(AggFunc::Max, &[1], DataType::Utf8),
            AggCall { distinct: true, ..call(AggFunc::Count, &[5], DataType::Int64) },
        ];
        (Op::Close { keys: keys.to_vec(), aggs, key, plus_us }, vec![tumble])
    })
}

/// Epochs of rows, none of them before the watermark that the epochs before have brought.
pub fn watermarked(rng: &mut Rng, n_epochs: usize, rows_max: usize) -> Vec<Vec<(u32, Row, i64)>> {
    let mut mark = -31i128;
    let mut epochs = vec![];
    for _ in 0..n_epochs {
        let mut epoch = vec![];
        for _ in 0..rng.below(rows_max) + 1 {
            let mut row = random_row(rng, 3);
            if row[TS] != V::Null {
                row[TS] = V::Int(mark + rng.below(25) as i128);
            }
            epoch.push((0, row.clone(), 1));
            if rng.one_in(5) {
                epoch.push((0, row, 1));
            }
        }
        if rng.one_in(2) {
            mark += rng.below(30) as i128;
            let mut row = random_row(rng, 3);
            row[TS] = V::Int(mark);
            epoch.push((1, row, 1));
        }
        epochs.push(epoch);
    }
    epochs
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn windows_that_grow_sum_to_their_query(seed: u64, step_us in 1i64..9, n in 1i64..6, offset in 0i64..40, append_only: bool) {
        let size_us = step_us * n;
        let p = sound(&Op::Cumulate { ts: TS, step_us, size_us, offset_us: offset % size_us }, append_only);
        let epochs = history(&mut Rng(seed), 1, 4, 12, !append_only, 3);
        check(&p, &epochs);
    }

    #[test]
    fn sessions_sum_to_their_query(seed: u64, gap_us in 1i64..9, append_only: bool) {
        let rng = &mut Rng(seed);
        let partition = rng.pick(&[vec![], vec![0], vec![5], vec![1, 5], vec![TS]]);
        let p = sound(&session(&partition, gap_us), append_only);
        let rows_max = rng.pick(&[3, 20]);
        let epochs = history(rng, 1, 6, rows_max, !append_only, 3);
        check(&p, &epochs);
    }

    #[test]
    fn closed_sessions_sum_to_their_query(seed: u64, gap_us in 1i64..12) {
        let rng = &mut Rng(seed);
        let partition = rng.pick(&[vec![], vec![0], vec![5]]);
        let epochs = watermarked(rng, 8, 8);
        check(&closing_sessions(&partition, gap_us), &epochs);
    }

    #[test]
    fn closed_groups_sum_to_their_query(seed: u64, size_us in 1i64..15, plus in 0i64..3) {
        let rng = &mut Rng(seed);
        let epochs = watermarked(rng, 8, 8);
        // by the end, and by the start with the size
        check(&closing_groups(&[8], 0, 0, size_us), &epochs);
        check(&closing_groups(&[0, 7, 8], 2, plus, size_us), &epochs);
        check(&closing_groups(&[7, 5], 0, size_us + plus, size_us), &epochs);
    }
}

proptest! {
    #![proptest_config(cases(25))]

    #[test]
    fn any_number_of_workers_gives_the_same_sessions_and_closes_the_same_windows(seed: u64, gap_us in 1i64..9) {
        let rng = &mut Rng(seed);
        let partition = rng.pick(&[vec![], vec![0], vec![1, 5]]);
        let plans = [closing_sessions(&partition, gap_us), closing_groups(&[0, 8], 1, 0, gap_us * 2)];
        let epochs = watermarked(rng, 5, 12);
        for p in plans {
            let mut serial = Run::new(&p);
            let engines = [engine(1), engine(3)];
            let readers: Vec<_> = engines.iter().map(|e| install(e, 1, &p, &[], 1)).collect();
            for (i, epoch) in epochs.iter().enumerate() {
                serial.step(epoch, 5);
                let number = i as u64 + 2;
                for (engine, reader) in engines.iter().zip(&readers) {
                    engine.feed(1, regauge_types::Epoch(number), by_topic(epoch, true));
                    prop_assert_eq!(&at(reader, number).0, &serial.rows);
                }
            }
            // a rebuild over all of it as one past
            let rebuilt = engine(2);
            let reader = install(&rebuilt, 1, &p, &epochs.concat(), 1);
            prop_assert_eq!(&at(&reader, 1).0, &serial.rows);
        }
    }
}

fn row(key: i128, ts: i128) -> Row {
    vec![V::Int(key), V::Null, V::Null, V::Int(1), V::Int(ts), V::Null, V::Null]
}

#[test]
fn merged_sessions_retract_their_parts_and_a_row_taken_out_divides_them_again() {
    let p = sound(&session(&[0], 5), false);
    let bounds = |run: &Run| -> Vec<(i128, i128, i128)> {
        run.rows.keys().map(|r| (as_int(&r[TS]), as_int(&r[7]), as_int(&r[8]))).collect()
    };
    let mut run = Run::new(&p);
    run.step(&[(0, row(1, 1), 1), (0, row(1, 4), 1), (0, row(1, 9), 1)], 10);
    assert_eq!(bounds(&run), [(1, 1, 9), (4, 1, 9), (9, 9, 14)], "a row just a gap later begins a session");
    run.step(&[(0, row(1, 6), 1)], 10);
    assert_eq!(bounds(&run), [(1, 1, 14), (4, 1, 14), (6, 1, 14), (9, 1, 14)]);
    run.step(&[(0, row(1, 6), -1)], 10);
    assert_eq!(bounds(&run), [(1, 1, 9), (4, 1, 9), (9, 9, 14)]);
}

#[test]
fn a_change_costs_the_sessions_that_it_touches() {
    let mut p = plan(1, false);
    let node = on(&mut p, session(&[0], 5), vec![0]);
    let mut run = Run::new(&p);
    // sessions of ten rows, a hundred apart
    let many: Vec<_> = (0..50_000).map(|i| (0, row(1, (i / 10) * 100 + i % 10), 1)).collect();
    run.step(&many, 8192);
    let before = run.serial.stats(node).unwrap();
    run.step(&[(0, row(1, 3003), 1), (0, row(1, 250_009), -1)], 10);
    let after = run.serial.stats(node).unwrap();
    assert!((1..60).contains(&(after.touched - before.touched)), "touched={}", after.touched - before.touched);
    assert!((after.rows_out - before.rows_out) < 60);
}

#[test]
fn what_has_closed_leaves_no_state() {
    for (p, open) in [(closing_sessions(&[0], 5), 3), (closing_groups(&[0, 8], 1, 0, 10), 1)] {
        let mut run = Run::new(&p);
        let node = p.root;
        for second in 0..500i128 {
            let rows = (0..3).map(|i| (0, row(second % 7, second * 20 + i), 1));
            let mark = (1, row(0, second * 20), 1);
            run.step(&rows.chain([mark]).collect::<Vec<_>>(), 10);
        }
        let stats = run.serial.stats(node).unwrap();
        assert_eq!(stats.state_rows, open, "only what the watermark has not passed: {:?}", p.nodes[node].op);
        assert!(stats.touched < 500 * 12, "closing costs what closes: touched={}", stats.touched);
        assert_eq!(run.rows.values().sum::<i64>(), if open == 3 { 499 * 3 } else { 499 });
        assert!(run.rows.values().all(|n| *n == 1));
    }
}

#[test]
fn a_session_beyond_the_range_of_time_is_an_error_of_its_row() {
    let p = sound(&session(&[], 10), false);
    let mut run = Run::new(&p);
    run.step(&[(0, row(1, i128::from(i64::MAX) - 5), 1), (0, row(1, 7), 1)], 10);
    assert_eq!((run.rows.len(), run.errors.get("22008")), (1, Some(&1)));
    run.step(&[(0, row(1, i128::from(i64::MAX) - 5), -1)], 10);
    assert_eq!((run.rows.len(), run.errors.len()), (1, 0));
}

#[test]
fn plans_that_do_not_hold_together_are_refused() {
    let refused = |op: Op, inputs: Vec<usize>| {
        let mut p = plan(2, true);
        p.push(Op::Map { filter: None, exprs: Some(vec![Scalar::Column(TS)]) }, vec![1], (vec![], true)).unwrap();
        let Some(root) = p.push(op.clone(), inputs, (vec![], true)) else { return };
        p.root = root;
        p.output = p.nodes[root].types.iter().map(|ty| OutputColumn { name: "c".into(), ty: ty.clone() }).collect();
        assert!(p.validate().is_err(), "{op:?}");
    };
    refused(session(&[0], 0), vec![0]);
    refused(session(&[9], 5), vec![0]);
    refused(Op::Session { partition: vec![], ts: 0, gap_us: 5, on_close: false }, vec![0]);
    refused(Op::Session { partition: vec![], ts: TS, gap_us: 5, on_close: true }, vec![0]);
    refused(session(&[0], 5), vec![0, 2]);
    refused(Op::Cumulate { ts: TS, step_us: 3, size_us: 10, offset_us: 0 }, vec![0]);
    refused(Op::Cumulate { ts: TS, step_us: 0, size_us: 10, offset_us: 0 }, vec![0]);
    refused(Op::Close { keys: vec![TS], aggs: vec![], key: 1, plus_us: 0 }, vec![0, 2]);
    refused(Op::Close { keys: vec![0], aggs: vec![], key: 0, plus_us: 0 }, vec![0, 2]);
    refused(Op::Close { keys: vec![TS], aggs: vec![], key: 0, plus_us: 0 }, vec![0]);
    refused(Op::Close { keys: vec![TS], aggs: vec![], key: 0, plus_us: 0 }, vec![0, 1]);
}
