//! What operator state promises, against plain maps.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use proptest::prelude::*;
use regauge_state::{Columns, GroupIndex, Heap, Incoming, JoinSide, OrderedGroups, ProbeAt, bucket_of, canonical_floats};

type Key = (Option<i64>, Option<String>);

fn columns(keys: &[Key]) -> Vec<ArrayRef> {
    let ints: Int64Array = keys.iter().map(|k| k.0).collect();
    let texts: StringArray = keys.iter().map(|k| k.1.as_deref()).collect();
    vec![Arc::new(ints), Arc::new(texts)]
}

/// A poor hash on purpose: chains and table slots collide.
fn hashes(keys: &[Key]) -> Vec<u64> {
    keys.iter().map(|k| (k.0.unwrap_or(9) as u64 % 3) << 56 | u64::from(k.1.is_some())).collect()
}

fn key() -> impl Strategy<Value = Key> {
    (proptest::option::of(0i64..4), proptest::option::of("[ab]{0,2}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_keys_have_one_id_and_come_back_as_they_went_in(batches in proptest::collection::vec(proptest::collection::vec(key(), 1..20), 1..8)) {
        let mut index = GroupIndex::new(&[DataType::Int64, DataType::Utf8]).unwrap();
        let mut known: BTreeMap<Key, u32> = BTreeMap::new();
        for batch in batches {
            let (mut ids, mut created) = (Vec::new(), Vec::new());
            index.intern(&columns(&batch), &hashes(&batch), &mut ids, &mut created).unwrap();
            for (key, id) in batch.iter().zip(&ids) {
                prop_assert_eq!(*known.entry(key.clone()).or_insert(*id), *id);
            }
            let back = index.keys(&ids).unwrap();
            for (i, (key, column)) in batch.iter().map(|k| (k, back[0].as_primitive::<Int64Type>())).enumerate() {
                prop_assert_eq!(key.0, column.is_valid(i).then(|| column.value(i)));
                prop_assert_eq!(key.1.as_deref(), back[1].is_valid(i).then(|| back[1].as_string::<i32>().value(i)));
            }
            prop_assert_eq!(index.n_groups(), known.len());
            // every second batch, one group goes; its id may serve another key
            if let Some((key, id)) = known.iter().next().map(|(k, id)| (k.clone(), *id)).filter(|_| batch.len() % 2 == 0) {
                index.remove(&[id], &hashes(std::slice::from_ref(&key)));
                known.remove(&key);
            }
        }
    }

    #[test]
    fn keys_of_several_integers_have_one_id_and_come_back_as_they_went_in(keys in proptest::collection::vec((proptest::option::of(-1i64..2), proptest::option::of(0i32..2)), 1..60)) {
        let mut index = GroupIndex::new(&[DataType::Int64, DataType::Date32]).unwrap();
        let mut known: BTreeMap<(Option<i64>, Option<i32>), u32> = BTreeMap::new();
        for batch in keys.chunks(7) {
            let longs: Int64Array = batch.iter().map(|k| k.0).collect();
            let days: arrow::array::Date32Array = batch.iter().map(|k| k.1).collect();
            let mut ids = Vec::new();
            // one hash for all: only the keys tell groups apart
            index.intern(&[Arc::new(longs), Arc::new(days)], &vec![7; batch.len()], &mut ids, &mut Vec::new()).unwrap();
            for (key, id) in batch.iter().zip(&ids) {
                prop_assert_eq!(*known.entry(*key).or_insert(*id), *id);
            }
            let back = index.keys(&ids).unwrap();
            for (i, key) in batch.iter().enumerate() {
                let (longs, days) = (back[0].as_primitive::<Int64Type>(), back[1].as_primitive::<arrow::datatypes::Date32Type>());
                prop_assert_eq!(*key, (longs.is_valid(i).then(|| longs.value(i)), days.is_valid(i).then(|| days.value(i))));
            }
            prop_assert_eq!(index.n_groups(), known.len());
            if let Some((key, id)) = known.iter().next().map(|(k, id)| (*k, *id)).filter(|(_, id)| id % 2 == 0) {
                index.remove(&[id], &[7]);
                known.remove(&key);
            }
        }
    }

    #[test]
    fn a_side_of_a_join_holds_the_weights_of_its_rows_and_finds_them_by_key(batches in proptest::collection::vec(proptest::collection::vec((key(), -2i64..3), 1..20), 1..8)) {
        let mut side = JoinSide::new(&[DataType::Int64, DataType::Utf8], vec![0], false).unwrap();
        let mut known: BTreeMap<Key, i64> = BTreeMap::new();
        for batch in batches {
            let keys: Vec<Key> = batch.iter().map(|b| b.0.clone()).collect();
            let diffs: Vec<i64> = batch.iter().map(|b| b.1).collect();
            let rows: Vec<u32> = (0..keys.len() as u32).collect();
            // the hash of the key column alone, and of the row: both poor
            let key_hashes: Vec<u64> = keys.iter().map(|k| (k.0.unwrap_or(9) as u64 % 3) << 56).collect();
            let cols = columns(&keys);
            let mut placed = Vec::new();
            side.apply(&Incoming { columns: &cols, rows: &rows, key_hashes: &key_hashes, row_hashes: &hashes(&keys), diffs: Some(&diffs) }, &mut placed).unwrap();
            batch.iter().for_each(|(k, d)| *known.entry(k.clone()).or_insert(0) += d);
            known.retain(|_, w| *w != 0);
            let mut zero: Vec<(u32, usize)> = placed.iter().filter(|p| side.weight(p.slot) == 0).map(|p| (p.slot, p.row as usize)).collect();
            zero.sort_unstable();
            zero.dedup_by_key(|z| z.0);
            zero.into_iter().for_each(|(s, row)| side.remove(s, key_hashes[row], hashes(&keys)[row]));
            prop_assert_eq!(side.n_rows(), known.len());

            let (mut found, mut slots, mut at) = (Vec::new(), Vec::new(), ProbeAt::default());
            while !side.probe(&key_hashes, &rows, &mut at, slots.len() + 3, &mut found, &mut slots) {}
            side.retain_same_key(&cols[..1], false, &mut found, &mut slots);
            for (row, key) in keys.iter().enumerate() {
                let mut expected: Vec<i64> = known.iter().filter(|(k, _)| k.0.is_some() && k.0 == key.0).map(|(_, w)| *w).collect();
                let mut got: Vec<i64> = found.iter().zip(&slots).filter(|(r, _)| **r == row as u32).map(|(_, s)| side.weight(*s)).collect();
                expected.sort_unstable();
                got.sort_unstable();
                prop_assert_eq!(got, expected);
            }
        }
    }
}

#[test]
fn a_key_that_is_nan_or_a_zero_has_one_canonical_form() {
    let odd: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 0.0, f64::NAN, -f64::NAN, 1.0]));
    let bits: Vec<u64> =
        canonical_floats(&odd).as_primitive::<arrow::datatypes::Float64Type>().values().iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits[0], bits[1]);
    assert_eq!(bits[2], bits[3]);
    assert_eq!(bits[4], 1f64.to_bits());
}

#[test]
fn the_bucket_is_the_top_byte_of_the_hash() {
    assert_eq!(bucket_of(0xab00_0000_0000_0001), 0xab);
}

#[test]
fn a_heap_keeps_its_bytes_within_a_small_factor_of_what_lives() {
    let mut heap = Heap::default();
    for round in 0u32..200 {
        for slot in 0..100 {
            heap.set(slot, &vec![slot as u8; 100 + round as usize]);
        }
    }
    assert!((0..100).all(|s| heap.get(s) == vec![s as u8; 299].as_slice()));
    assert!(heap.n_bytes() < 400_000, "{}", heap.n_bytes());
}

#[test]
fn a_freed_slot_is_used_again() {
    let mut all = Columns::new(&[DataType::Int64, DataType::Utf8]).unwrap();
    let rows = columns(&[(Some(1), Some("one".into())), (None, None), (Some(3), Some("three".into()))]);
    let mut slots = Vec::new();
    all.insert(&rows, &[0, 1, 2], &mut slots).unwrap();
    all.remove(slots[1]);
    let mut again = Vec::new();
    all.insert(&rows, &[2, 0], &mut again).unwrap();
    assert_eq!(again, vec![1, 3]);
    assert!(all.same_bits(1, &rows, 2) && all.same_bits(3, &rows, 0) && !all.same_bits(0, &rows, 1));
    assert_eq!((all.n_slots(), all.n_alive()), (4, 4));
}

#[test]
fn an_ordered_group_keeps_what_leaves_and_comes_back_until_it_is_settled() {
    let mut groups = OrderedGroups::new(&[DataType::Int64]).unwrap();
    let rows: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![10, 20]))];
    groups.add(7, b"b", &rows, 1, 1).unwrap();
    groups.add(7, b"a", &rows, 0, 1).unwrap();
    groups.add(8, b"a", &rows, 0, 5).unwrap();
    let before: Vec<_> = groups.members(7).collect();
    assert_eq!(
        groups.gather(&before.iter().map(|m| m.slot).collect::<Vec<_>>())[0].as_primitive::<Int64Type>().values(),
        &[10, 20]
    );
    groups.add(7, b"b", &rows, 1, -1).unwrap();
    assert_eq!(groups.members(7).count(), 1);
    groups.add(7, b"b", &rows, 1, 1).unwrap();
    assert_eq!(groups.members(7).collect::<Vec<_>>(), before, "the same slots");
    groups.add(7, b"b", &rows, 1, -1).unwrap();
    groups.settle();
    assert_eq!(groups.n_rows(), 2);
    assert_eq!(groups.members(8).map(|m| m.count).sum::<i64>(), 5);
}

/// Against a tree of all members: groups that grow through each of their forms and shrink again, in any order.
#[test]
fn ordered_groups_are_one_sorted_table_whatever_their_size() {
    use std::collections::BTreeMap;
    let mut groups = OrderedGroups::new(&[DataType::Int64]).unwrap();
    let rows: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(0..100))];
    let mut model: BTreeMap<(u32, Vec<u8>), i64> = BTreeMap::new();
    let mut state = 7u64;
    let mut draw = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for step in 0..60_000u32 {
        let group = u32::try_from(draw(5)).unwrap();
        // group 0 has one or two rows, group 4 up to a hundred
        let row = u32::try_from(draw([2, 3, 33, 50, 100][group as usize])).unwrap();
        let key = format!("{:03}{}", 100 - row, "x".repeat(row as usize % 4)).into_bytes();
        // tides: at times there is more to take away than to add
        let diff = if draw(100) < if step / 3000 % 2 == 0 { 70 } else { 25 } { 1 } else { -1 };
        match draw(400) {
            0 => {
                groups.clear(group);
                model.retain(|(g, _), _| *g != group);
            }
            1..4 => {
                groups.remove_last(group);
                if let Some(key) = model.keys().rfind(|(g, _)| *g == group).cloned() {
                    model.remove(&key);
                }
            }
            _ => {
                let count = model.entry((group, key.clone())).or_default();
                *count += diff;
                assert_eq!(groups.add(group, &key, &rows, row, diff).unwrap(), *count);
            }
        }
        if draw(20) == 0 {
            groups.settle();
            model.retain(|_, count| *count != 0);
        }
        let of = |group: u32| model.iter().filter(move |((g, _), _)| *g == group).map(|((_, key), count)| (key.clone(), *count));
        let all = of(group).collect::<Vec<_>>();
        assert_eq!(groups.entries(group).map(|(k, m)| (k.to_vec(), m.count)).collect::<Vec<_>>(), all, "step {step}");
        assert_eq!(groups.first(group).map(|(k, m)| (k.to_vec(), m.count)), all.first().cloned());
        assert_eq!(groups.last(group).map(|(k, m)| (k.to_vec(), m.count)), all.last().cloned());
        assert_eq!(groups.n_rows(), model.len());
        if step % 16 == 0 {
            let shown = |(k, m): (&[u8], regauge_state::Member)| (k.to_vec(), m.count);
            let from = all.iter().filter(|(k, n)| *k >= key && *n > 0).cloned().collect::<Vec<_>>();
            assert_eq!(groups.members_from(group, &key).map(shown).collect::<Vec<_>>(), from);
            let before = all.iter().rev().filter(|(k, n)| *k < key && *n > 0).cloned().collect::<Vec<_>>();
            assert_eq!(groups.members_before(group, &key).map(shown).collect::<Vec<_>>(), before);
            let slots: Vec<u32> = groups.entries(group).map(|(_, m)| m.slot).collect();
            let rows = groups.gather(&slots)[0].as_primitive::<Int64Type>().values().to_vec();
            let wanted: Vec<i64> =
                all.iter().map(|(k, _)| 100 - std::str::from_utf8(&k[..3]).unwrap().parse::<i64>().unwrap()).collect();
            assert_eq!(rows, wanted, "step {step}");
        }
    }
    (0..5).for_each(|group| groups.clear(group));
    assert_eq!((groups.n_rows(), groups.key_bytes()), (0, 0));
}
