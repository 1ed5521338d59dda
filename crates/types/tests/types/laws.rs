//! Laws, over random rows.

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array};
use proptest::prelude::*;
use regauge_types::key::KeyOrder;
use regauge_types::token::TokenError;
use regauge_types::{CausalToken, DataSetId, Delta, Digest, Hlc, HlcClock, Lsn, TokenKey, hash, key};
use std::{cmp::Ordering, sync::Arc};

type Row = (Option<i64>, Option<String>, Option<f64>);

fn row() -> impl Strategy<Value = Row> {
    let float = prop_oneof![Just(0.0), Just(-0.0), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), any::<f64>()];
    (
        proptest::option::of(prop_oneof![any::<i64>(), -2i64..3]),
        proptest::option::of("[\\x00ab]{0,3}"),
        proptest::option::of(float),
    )
}

fn batch(rows: &[Row]) -> RecordBatch {
    let a: ArrayRef = Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>());
    let b: ArrayRef = Arc::new(rows.iter().map(|r| r.1.as_deref()).collect::<StringArray>());
    let c: ArrayRef = Arc::new(rows.iter().map(|r| r.2).collect::<Float64Array>());
    RecordBatch::try_from_iter_with_nullable([("a", a, true), ("b", b, true), ("c", c, true)]).unwrap()
}

/// SQL's order of one value: NaN greatest and equal to itself, one zero, NULL where asked.
fn sql_cmp<T: PartialOrd>(a: Option<&T>, b: Option<&T>, order: KeyOrder) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, _) => {
            if order.nulls_first {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (_, None) => {
            if order.nulls_first {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (Some(a), Some(b)) => {
            let nan = |x: &T| x.partial_cmp(x).is_none();
            let order_of = a.partial_cmp(b).unwrap_or_else(|| nan(a).cmp(&nan(b)));
            if order.descending { order_of.reverse() } else { order_of }
        }
    }
}

fn order() -> impl Strategy<Value = KeyOrder> {
    (any::<bool>(), any::<bool>()).prop_map(|(descending, nulls_first)| KeyOrder { descending, nulls_first, exact: false })
}

proptest! {
    #[test]
    fn key_bytes_order_as_sql_does(x in row(), y in row(), orders in [order(), order(), order()]) {
        let rows = batch(&[x.clone(), y.clone()]);
        let keys = key::encode_ordered(rows.columns(), &orders, 2).unwrap();
        let wished = sql_cmp(x.0.as_ref(), y.0.as_ref(), orders[0])
            .then(sql_cmp(x.1.as_ref(), y.1.as_ref(), orders[1]))
            .then(sql_cmp(x.2.as_ref(), y.2.as_ref(), orders[2]));
        prop_assert_eq!(keys.get(0).cmp(keys.get(1)), wished);
    }

    #[test]
    fn equal_keys_have_equal_hashes(x in row(), y in row()) {
        let rows = batch(&[x, y]);
        let keys = key::encode(rows.columns(), 2).unwrap();
        let hashes = hash::hash_columns(rows.columns(), 2).unwrap();
        if keys.get(0) == keys.get(1) {
            prop_assert_eq!(hashes[0], hashes[1]);
        }
    }

    #[test]
    fn a_digest_forgets_order_and_batches_and_what_was_taken_away(
        rows in proptest::collection::vec((row(), -3i64..4), 0..20), cut in 0usize..20, turn in 0usize..20,
    ) {
        let delta = |rows: &[(Row, i64)]| {
            let diffs: Int64Array = rows.iter().map(|r| r.1).collect::<Vec<_>>().into();
            Delta::new(batch(&rows.iter().map(|r| r.0.clone()).collect::<Vec<_>>()), diffs)
        };
        let mut whole = Digest::default();
        whole.add_delta(&delta(&rows)).unwrap();

        let mut turned = rows.clone();
        turned.rotate_left(turn.min(rows.len()));
        let (left, right) = turned.split_at(cut.min(rows.len()));
        let (mut a, mut b) = (Digest::default(), Digest::default());
        a.add_delta(&delta(left)).unwrap();
        b.add_delta(&delta(right)).unwrap();
        prop_assert_eq!(a.merge(&b), whole);

        let mut consolidated = Digest::default();
        consolidated.add_delta(&delta(&rows).consolidate().unwrap()).unwrap();
        prop_assert_eq!(consolidated, whole);

        whole.add_delta(&delta(&rows).negate()).unwrap();
        prop_assert_eq!(whole, Digest::default());
    }

    #[test]
    fn a_token_with_any_bit_changed_is_refused(bit in 0usize..57 * 8, lsn in any::<u64>(), secret in any::<[u8; 16]>()) {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let key = TokenKey::derive(&secret);
        let token = CausalToken { data_set: DataSetId([7; 16]), incarnation: 3, lsn: Lsn(lsn), hlc: Hlc(9) };
        let text = token.encode(&key);
        prop_assert_eq!(CausalToken::decode(&text, &key), Ok(token));
        let mut bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(CausalToken::decode(&URL_SAFE_NO_PAD.encode(bytes), &key).is_err());
        prop_assert_eq!(CausalToken::decode(&text, &TokenKey::derive(b"another")), Err(TokenError::Forged));
    }

    #[test]
    fn hostile_token_text_is_refused(text in ".{0,100}") {
        prop_assert!(CausalToken::decode(&text, &TokenKey::derive(b"k")).is_err());
    }

    #[test]
    fn a_clock_issues_each_moment_once_and_after_all_it_saw(steps in proptest::collection::vec((any::<bool>(), 0u64..200_000), 1..50)) {
        let mut clock = HlcClock::new(60_000);
        let (mut last, mut wall) = (Hlc::ZERO, 0);
        for (observe, number) in steps {
            if observe {
                let seen = Hlc::from_ms(number);
                let before = clock.last();
                match clock.observe(seen, wall) {
                    Ok(()) => prop_assert!(clock.last() >= seen),
                    Err(e) => {
                        prop_assert!(e.ahead_ms > 60_000);
                        prop_assert_eq!(clock.last(), before, "a refused moment moves nothing");
                    }
                }
                last = last.max(clock.last());
            } else {
                wall = number; // wall clocks jump both ways
                let issued = clock.tick(wall);
                prop_assert!(issued > last);
                last = issued;
            }
        }
    }
}

#[test]
fn integers_of_any_width_hash_alike() {
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![Some(-5), None, Some(7)]));
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(-5), None, Some(7)]));
    assert_eq!(hash::hash_columns(&[narrow], 3).unwrap(), hash::hash_columns(&[wide], 3).unwrap());
}

#[test]
fn partitions_and_workers_are_used_evenly() {
    let n = 100_000u32;
    let column: ArrayRef = Arc::new((0..i64::from(n)).collect::<Int64Array>());
    let mut partitions = [0u32; 8];
    let mut workers = [0u32; 3];
    for h in hash::hash_columns(&[column], n as usize).unwrap() {
        partitions[hash::partition(h, 8) as usize] += 1;
        workers[hash::worker(h, 3)] += 1;
    }
    assert!(partitions.iter().all(|c| c.abs_diff(n / 8) < n / 80), "{partitions:?}");
    assert!(workers.iter().all(|c| c.abs_diff(n / 3) < n / 20), "{workers:?}");
}

#[test]
fn a_delta_splits_and_joins_without_loss() {
    let rows: Vec<Row> = (0..10).map(|i| (Some(i), None, None)).collect();
    let delta = Delta::new(batch(&rows), (0..10).collect::<Vec<i64>>().into());
    let pieces: Vec<Delta> = delta.chunks(3).collect();
    assert_eq!(pieces.iter().map(Delta::n_rows).collect::<Vec<_>>(), [3, 3, 3, 1]);
    assert_eq!(Delta::concat(&delta.rows.schema(), &pieces).unwrap(), delta);
    let picked = delta.take(&UInt32Array::from(vec![9, 0])).unwrap();
    assert_eq!((picked.diff(0), picked.diff(1)), (9, 0));
}
