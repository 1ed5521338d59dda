//! Rows out of rows: arrays and series unfolded, beside what a loop over them gives.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use proptest::prelude::*;
use regauge_plan::flowplan::*;
use regauge_plan::scalar::Scalar;
use regauge_plan::value::Value;

use crate::cases;
use crate::drive::{Rng, Run, history, on, plan};
use crate::value::*;

fn c(i: usize) -> Scalar {
    Scalar::Column(i)
}

fn int(n: i64) -> Scalar {
    Scalar::Literal(Value::int8(n))
}

pub fn series(from: Scalar, to: Scalar) -> RowsOf {
    RowsOf { func: Some("pg_series".into()), args: vec![from, to], item: DataType::Int64 }
}

/// The characters of a text, as a list.
pub fn letters(of: usize) -> RowsOf {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    let args = vec![c(of), Scalar::Literal(Value::null(DataType::Utf8))];
    RowsOf { func: None, args: vec![Scalar::Call { func: "string_to_array".into(), args, ty: list }], item: DataType::Utf8 }
}

pub fn unfolding(lists: Vec<RowsOf>, outer: bool) -> FlowPlan {
    let mut p = plan(1, false);
    on(&mut p, Op::FlatMap { keep: vec![1, 0], lists, outer }, vec![0]);
    p.validate().unwrap();
    p
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn a_row_becomes_as_many_as_its_longest_list_has_elements(seed: u64, outer: bool) {
        let p = unfolding(vec![series(int(0), c(0)), letters(1)], outer);
        let epochs = history(&mut Rng(seed), 1, 5, 40, true, 6);
        let (mut all, mut run) = (Bag::new(), Run::new(&p));
        for epoch in &epochs {
            epoch.iter().for_each(|(_, row, d)| add(&mut all, row.clone(), *d));
            run.step(epoch, 7);
            let mut want = Bag::new();
            for (row, n) in &all {
                let numbers: Vec<V> = if let V::Int(to) = row[0] { (0..=to).map(V::Int).collect() } else { vec![] };
                let letters: Vec<V> = match &row[1] {
                    V::Text(t) => t.chars().map(|c| V::Text(c.into())).collect(),
                    _ => vec![],
                };
                let len = numbers.len().max(letters.len()).max(usize::from(outer));
                for i in 0..len {
                    let at = |list: &[V]| list.get(i).cloned().unwrap_or(V::Null);
                    add(&mut want, vec![row[1].clone(), row[0].clone(), at(&numbers), at(&letters)], *n);
                }
            }
            prop_assert_eq!(&run.rows, &want);
            prop_assert!(run.errors.is_empty());
        }
        prop_assert!(run.rows.is_empty());
    }
}

fn row(n: i128) -> (u32, Row, i64) {
    (0, vec![V::Int(n), V::Text("x".into()), V::Null, V::Null, V::Null, V::Null, V::Null], 1)
}

#[test]
fn a_series_without_end_is_an_error_of_its_row_and_heals() {
    let mut run = Run::new(&unfolding(vec![series(int(1), c(0))], false));
    run.step(&[row(2), row(1_000_000_000_000), row(i64::MAX.into())], 10);
    assert_eq!((run.rows.len(), run.errors.get("54000")), (2, Some(&2)));
    let (s, r, _) = row(1_000_000_000_000);
    run.step(&[(s, r, -1)], 10);
    let (s, r, _) = row(i64::MAX.into());
    run.step(&[(s, r, -1)], 10);
    assert_eq!((run.rows.len(), run.errors.len()), (2, 0));
}

#[test]
fn what_many_long_series_become_leaves_in_bounded_calls() {
    let to = 1_000_000;
    let p = unfolding(vec![series(int(1), c(0))], false);
    let mut operator = regauge_flow::ops::build(&p, p.root).unwrap();
    let rows: Vec<(Row, i64)> = (0..1_000).map(|_| (row(to).1, 1)).collect();
    let mut out = regauge_flow::operator::Out::default();
    operator.push(0, delta(&crate::drive::base(), &rows, false), &mut out).unwrap();
    // a billion rows in all: a call gives some, and has more
    let mut most = sent(&out);
    for _ in 0..20 {
        let mut out = regauge_flow::operator::Out::default();
        assert_eq!(operator.finish(&mut out).unwrap(), regauge_flow::operator::Finish::More);
        most = most.max(sent(&out));
    }
    assert!((1..=100_000).contains(&most), "one call sent {most} rows");
    assert!(operator.stats().touched <= 2_000_000, "lists are made when their turn comes: {:?}", operator.stats());
}

fn sent(out: &regauge_flow::operator::Out) -> usize {
    out.deltas.iter().map(regauge_types::Delta::n_rows).sum()
}
