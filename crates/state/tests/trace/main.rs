//! The promises of a published trace.
#![allow(clippy::cast_possible_truncation)]
#![allow(clippy::unwrap_used)]

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use proptest::prelude::*;
use regauge_state::trace::{Publisher, RowError, TraceError, TraceReader, Turn, published};
use regauge_types::{
    Delta, Digest, Epoch,
    env::{Joining, Threads},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Int64, true)]))
}

fn delta(rows: &[(i64, i64, i64)]) -> Delta {
    let column = |f: fn(&(i64, i64, i64)) -> i64| Arc::new(rows.iter().map(f).collect::<Int64Array>()) as ArrayRef;
    let batch = RecordBatch::try_new(schema(), vec![column(|r| r.0), column(|r| r.1)]).unwrap();
    Delta::new(batch, rows.iter().map(|r| r.2).collect::<Vec<_>>().into())
}

fn rows(batches: &[RecordBatch]) -> Vec<(i64, i64)> {
    let value = |b: &RecordBatch, c: usize, i| b.column(c).as_any().downcast_ref::<Int64Array>().unwrap().value(i);
    let mut all: Vec<_> = batches.iter().flat_map(|b| (0..b.num_rows()).map(move |i| (value(b, 0, i), value(b, 1, i)))).collect();
    all.sort_unstable();
    all
}

fn at(reader: &TraceReader, epoch: u64) -> Vec<(i64, i64)> {
    rows(&reader.snapshot(Epoch(epoch)).unwrap().batches().unwrap())
}

fn step(writer: &mut Publisher, epoch: u64, changes: &[(i64, i64, i64)]) {
    writer.publish(Epoch(epoch), delta(changes), vec![]).unwrap();
    writer.advance(Epoch(epoch)).unwrap();
}

#[test]
fn a_pinned_epoch_reads_the_same_while_later_ones_are_published_and_merged() {
    let (mut writers, reader) = published(schema(), Some(vec![0]), 1);
    step(&mut writers[0], 1, &[(1, 10, 1), (2, 20, 2)]);
    let mut pin = reader.pin(Epoch(1)).unwrap();
    (2..200).for_each(|e| step(&mut writers[0], e, &[(1, e as i64 + 8, -1), (1, e as i64 + 9, 1)]));
    assert_eq!(at(&reader, 1), [(1, 10), (2, 20), (2, 20)]);
    assert_eq!(at(&reader, 199), [(1, 208), (2, 20), (2, 20)]);
    let snapshot = reader.snapshot(Epoch(199)).unwrap();
    assert_eq!(rows(&[snapshot.lookup(&[Arc::new(Int64Array::from(vec![1]))]).unwrap()]), [(1, 208)]);
    let mut expected = Digest::default();
    expected.add_delta(&delta(&[(2, 20, 2), (1, 208, 1)])).unwrap();
    assert_eq!(snapshot.digest().unwrap(), expected);
    pin.advance(Epoch(199));
    step(&mut writers[0], 200, &[]);
    assert!(matches!(reader.snapshot(Epoch(1)), Err(TraceError::Compacted { .. })));
    assert!(reader.size().0 <= 3, "layers are merged: {:?}", reader.size());
}

#[test]
fn a_large_result_with_few_changes_reads_as_their_sum_and_is_looked_up_by_key() {
    let (mut writers, reader) = published(schema(), Some(vec![0]), 1);
    let _held = reader.pin(Epoch(1)).unwrap();
    let first: Vec<(i64, i64, i64)> = (0..20_000).map(|k| (k % 10_000, k / 10_000, 1)).collect();
    writers[0].publish(Epoch(1), delta(&first[..9_000]), vec![]).unwrap();
    writers[0].publish(Epoch(1), delta(&first[9_000..]), vec![]).unwrap();
    writers[0].advance(Epoch(1)).unwrap();
    step(&mut writers[0], 2, &[(7, 0, 2), (8, 1, -1), (9_999, 5, 1)]);
    step(&mut writers[0], 3, &[(7, 0, -2), (9, 0, -1), (9_999, 5, -1), (10_000, 0, 1)]);
    let mut expected: Vec<(i64, i64)> = first.iter().map(|r| (r.0, r.1)).collect();
    expected.retain(|r| *r != (8, 1) && *r != (9, 0));
    expected.push((10_000, 0));
    expected.sort_unstable();
    assert_eq!(at(&reader, 3), expected);
    let found = |epoch: u64, k: i64| rows(&[reader.lookup(Epoch(epoch), &[Arc::new(Int64Array::from(vec![k]))]).unwrap()]);
    assert_eq!((found(2, 7), found(3, 7)), (vec![(7, 0), (7, 0), (7, 0), (7, 1)], vec![(7, 0), (7, 1)]));
    assert_eq!((found(1, 9_999), found(2, 9_999).len(), found(3, 9_999).len()), (vec![(9_999, 0), (9_999, 1)], 3, 2));
    assert_eq!((found(3, 8), found(3, 10_001)), (vec![(8, 0)], vec![]));
    step(&mut writers[0], 4, &[(8, 0, -2)]);
    assert!(matches!(reader.lookup(Epoch(4), &[Arc::new(Int64Array::from(vec![8]))]), Err(TraceError::Negative { .. })));
}

/// Threads that run when they are told to.
#[derive(Default)]
struct Waiting(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

struct Nobody;

impl Joining for Nobody {
    fn join(self: Box<Self>) -> Result<(), String> {
        Ok(())
    }
}

impl Threads for Waiting {
    fn spawn(&self, _: &str, body: Box<dyn FnOnce() + Send>) -> std::io::Result<Box<dyn Joining>> {
        self.0.lock().unwrap().push(body);
        Ok(Box::new(Nobody))
    }
}

#[test]
fn large_layers_are_merged_beside_the_writer_and_every_epoch_reads_right_before_and_behind_it() {
    let (writers, reader) = published(schema(), Some(vec![0]), 1);
    let waiting = Arc::new(Waiting::default());
    let threads: Arc<dyn Threads> = waiting.clone();
    let mut writer = writers.into_iter().next().unwrap().merging_beside(&threads, &Turn::default());
    let n = 200_000i64;
    step(&mut writer, 1, &(0..n).map(|k| (k, 0, 1)).collect::<Vec<_>>());
    let found = |epoch: u64, k: i64| rows(&[reader.lookup(Epoch(epoch), &[Arc::new(Int64Array::from(vec![k]))]).unwrap()]);
    assert_eq!(found(1, 5), [(5, 0)]);
    step(&mut writer, 2, &(0..n).filter(|k| k % 2 == 0).flat_map(|k| [(k, 0, -1), (k, 2, 1)]).collect::<Vec<_>>());
    assert_eq!((waiting.0.lock().unwrap().len(), reader.size().0), (1, 2), "the two layers wait for a thread");
    // epochs go on meanwhile, and theirs are merged among themselves
    (3..40).for_each(|e| step(&mut writer, e, &[(1, e as i64 - 3, -1), (1, e as i64 - 2, 1)]));
    assert!(waiting.0.lock().unwrap().len() == 1 && reader.size().0 <= 6, "{:?}", reader.size());
    let expected: Vec<(i64, i64)> = (0..n)
        .map(|k| {
            (
                k,
                if k == 1 {
                    37
                } else if k % 2 == 0 {
                    2
                } else {
                    0
                },
            )
        })
        .collect();
    let check = |epoch: u64| {
        assert_eq!(at(&reader, epoch), expected);
        assert_eq!((found(epoch, 1), found(epoch, 4), found(epoch, 7)), (vec![(1, 37)], vec![(4, 2)], vec![(7, 0)]));
    };
    check(39);
    let merge = waiting.0.lock().unwrap().pop().unwrap();
    merge();
    check(39);
    assert!(reader.size().1 < 200_100, "what cancels out is gone: {:?}", reader.size());
    // and the next ones
    step(&mut writer, 40, &(0..n).flat_map(|k| [(k, expected[k as usize].1, -1), (k, 9, 1)]).collect::<Vec<_>>());
    let (mut epoch, mut n_merges) = (40, 0);
    loop {
        assert_eq!(at(&reader, epoch), (0..n).map(|k| (k, 9)).collect::<Vec<_>>());
        let Some(merge) = waiting.0.lock().unwrap().pop() else { break };
        merge();
        (epoch, n_merges) = (epoch + 1, n_merges + 1);
        step(&mut writer, epoch, &[]);
    }
    assert!(n_merges > 0 && reader.size() == (1, 200_000), "{n_merges} {:?}", reader.size());
}

#[test]
fn a_row_taken_away_more_often_than_added_fails_the_version_and_names_the_row() {
    let (mut writers, reader) = published(schema(), None, 1);
    step(&mut writers[0], 1, &[(7, 70, -1)]);
    let Err(error) = reader.snapshot(Epoch(1)) else { panic!("was served") };
    assert!(error.to_string().contains("row=(7, 70)"), "{error}");
    assert!(matches!(reader.wait(Epoch(1), Duration::ZERO), Err(TraceError::Failed(_))));
}

fn divided() -> RowError {
    RowError::new("22012", "division by zero".to_owned(), 1, "row=(1, 0)".to_owned())
}

#[test]
fn errors_make_rows_unreadable_until_their_cause_is_retracted_on_another_shard() {
    let (mut writers, reader) = published(schema(), None, 2);
    writers[0].publish(Epoch(1), delta(&[(1, 1, 1)]), vec![(divided(), 2)]).unwrap();
    writers[0].advance(Epoch(3)).unwrap();
    assert_eq!(reader.upper(), Epoch(0));
    assert!(matches!(reader.snapshot(Epoch(1)), Err(TraceError::NotYet { .. })));
    writers[1].advance(Epoch(1)).unwrap();
    let told = reader.snapshot(Epoch(1)).unwrap().batches().unwrap_err();
    assert_eq!(told.to_string(), "division by zero row=(1, 0) n_rows=2");
    assert_eq!(reader.errors(Epoch(1)).unwrap(), [(divided(), 2)]);
    writers[1].publish(Epoch(2), delta(&[]), vec![(divided(), -2)]).unwrap();
    writers[1].advance(Epoch(2)).unwrap();
    assert_eq!(at(&reader, 2), [(1, 1)]);
    assert_eq!(reader.errors(Epoch(2)).unwrap(), []);
    assert!(matches!(writers[1].publish(Epoch(2), delta(&[]), vec![]), Err(TraceError::Closed { .. })));
}

#[test]
fn readers_see_whole_epochs_while_a_writer_goes_on() {
    let (mut writers, reader) = published(schema(), None, 1);
    step(&mut writers[0], 1, &[(0, 0, 1), (1, 0, 1)]);
    let _held = reader.pin(Epoch(1)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let reader = reader.clone();
            scope.spawn(move || {
                while reader.upper() < Epoch(300) {
                    let upper = reader.upper();
                    let seen = rows(&reader.snapshot(upper).unwrap().batches().unwrap());
                    assert!(seen.len() == 2 && seen[0].1 == seen[1].1, "half an epoch at {upper}: {seen:?}");
                }
            });
        }
        for e in 2..=300 {
            let (old, new) = (e as i64 - 2, e as i64 - 1);
            step(&mut writers[0], e, &[(0, old, -1), (1, old, -1), (0, new, 1), (1, new, 1)]);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_snapshot_is_the_sum_of_all_changes_up_to_it(steps in prop::collection::vec(prop::collection::vec((0usize..2, 0i64..4, 0i64..2, 1i64..3, any::<bool>()), 0..6), 1..20), pin in 1u64..20) {
        let (mut writers, reader) = published(schema(), None, 2);
        let held = reader.pin(Epoch(pin)).unwrap();
        let mut now: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        let mut history = vec![now.clone()];
        for (epoch, changes) in (1u64..).zip(&steps) {
            for (shard, k, v, n, add) in changes {
                let n = if *add { *n } else { -now.get(&(*k, *v)).copied().unwrap_or(0).min(*n) };
                *now.entry((*k, *v)).or_default() += n;
                writers[*shard].publish(Epoch(epoch), delta(&[(*k, *v, n)]), vec![]).unwrap();
            }
            writers.iter_mut().for_each(|w| w.advance(Epoch(epoch)).unwrap());
            history.push(now.clone());
        }
        let upper = steps.len() as u64;
        let expand = |m: &BTreeMap<(i64, i64), i64>| m.iter().flat_map(|(r, n)| std::iter::repeat_n(*r, usize::try_from(*n).unwrap())).collect::<Vec<_>>();
        for epoch in pin.min(upper)..=upper {
            prop_assert_eq!(at(&reader, epoch), expand(&history[epoch as usize]));
            let mut sum: BTreeMap<(i64, i64), i64> = history[pin.min(upper) as usize].clone();
            for change in reader.changes(Epoch(pin.min(upper)), Epoch(epoch)).unwrap() {
                for i in 0..change.rows.n_rows() {
                    let row = rows(&[change.rows.rows.slice(i, 1)])[0];
                    *sum.entry(row).or_default() += change.rows.diff(i);
                }
            }
            prop_assert_eq!(expand(&sum), expand(&history[epoch as usize]));
        }
        drop(held);
    }
}

#[test]
fn who_diverts_reads_the_rows_beside_errors_and_hands_none_of_them_on() {
    let (mut writers, strict) = published(schema(), Some(vec![0]), 1);
    writers[0].publish(Epoch(1), delta(&[(1, 10, 1), (2, 20, 1)]), vec![(divided(), 1)]).unwrap();
    writers[0].advance(Epoch(1)).unwrap();
    let diverting = strict.diverting();
    assert_eq!(at(&diverting, 1), [(1, 10), (2, 20)]);
    let key: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    assert_eq!(rows(&[diverting.lookup(Epoch(1), std::slice::from_ref(&key)).unwrap()]), [(2, 20)]);
    assert!(matches!(strict.lookup(Epoch(1), &[key]), Err(TraceError::Errored { .. })));
    assert_eq!(diverting.snapshot(Epoch(1)).unwrap().errors(), [(divided(), 1)], "and may ask for them");
    let handed_on =
        |reader: &TraceReader| reader.follow(0, None, Epoch(1)).unwrap().iter().map(|c| c.errors.len()).sum::<usize>();
    assert_eq!((handed_on(&diverting), handed_on(&strict)), (0, 1));
}
