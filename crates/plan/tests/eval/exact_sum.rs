//! The exact float sum against two oracles that share no code with it: integers (for doubles that are multiples of a
//! power of two) and Shewchuk's growing expansion, as in Python's `math.fsum` (for any exponent).

use proptest::prelude::*;
use regauge_plan::functions::exact_sum::ExactSum;

fn sum_of(values: &[f64]) -> ExactSum {
    let mut sum = ExactSum::new();
    values.iter().for_each(|v| sum.add(*v, 1));
    sum
}

fn any_finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |f| f.is_finite()),
        (-1000i32..1000).prop_map(|i| f64::from(i) / 10.0),
        Just(5e-324),
        Just(-5e-324),
        Just(f64::MAX / 64.0),
        Just(f64::MIN_POSITIVE),
        Just(1e16),
        Just(-0.0),
    ]
}

/// Exact expansion of non-overlapping doubles, rounded once at the end.
fn shewchuk(values: &[f64]) -> f64 {
    let mut partials: Vec<f64> = vec![];
    for &value in values {
        let mut x = value;
        let mut kept = vec![];
        for &p in &partials {
            let (mut a, mut b) = (x, p);
            if a.abs() < b.abs() {
                std::mem::swap(&mut a, &mut b);
            }
            let high = a + b;
            let low = b - (high - a);
            if low != 0.0 {
                kept.push(low);
            }
            x = high;
        }
        kept.push(x);
        partials = kept;
    }
    let mut rest = partials.iter().rev();
    let Some(&first) = rest.next() else { return 0.0 };
    let (mut high, mut low) = (first, 0.0);
    let mut next = None;
    while let Some(&y) = rest.next() {
        let x = high;
        high = x + y;
        low = y - (high - x);
        if low != 0.0 {
            next = rest.next().copied();
            break;
        }
    }
    // half-even across the remaining partials
    if let Some(n) = next
        && ((low < 0.0 && n < 0.0) || (low > 0.0 && n > 0.0))
    {
        let y = low * 2.0;
        let x = high + y;
        if y == x - high {
            high = x;
        }
    }
    high + 0.0
}

#[test]
fn a_sum_that_loses_everything_in_doubles_is_exact_here() {
    assert_eq!(sum_of(&[1e16, 1.0, -1e16]).value(), 1.0);
    assert_eq!(sum_of(&[0.1; 10]).value(), 1.0);
    assert_eq!(sum_of(&[f64::MAX, 1.0, -f64::MAX, 5e-324, -1.0]).value(), 5e-324);
    assert_eq!(sum_of(&[]).value().to_bits(), 0);
    assert_eq!(sum_of(&[-0.0]).value().to_bits(), 0);
    assert_eq!(sum_of(&[5e-324]).value(), 5e-324);
    assert_eq!(sum_of(&[f64::MIN_POSITIVE, -5e-324]).value(), f64::MIN_POSITIVE - 5e-324);
}

#[test]
fn nan_and_infinities_are_counted_apart_and_leave_as_they_came() {
    let mut sum = sum_of(&[1.5, f64::INFINITY]);
    assert_eq!(sum.value(), f64::INFINITY);
    sum.add(f64::NEG_INFINITY, 1);
    assert!(sum.value().is_nan());
    sum.sub(f64::INFINITY);
    assert_eq!(sum.value(), f64::NEG_INFINITY);
    sum.add(f64::NAN, 2);
    assert!(sum.value().is_nan());
    sum.add(-f64::NAN, -2);
    sum.sub(f64::NEG_INFINITY);
    assert_eq!(sum.value(), 1.5);
    assert_eq!(sum, sum_of(&[1.5]));
}

#[test]
fn a_sum_beyond_the_greatest_double_overflows_and_heals() {
    let mut sum = sum_of(&[f64::MAX, f64::MAX]);
    assert!(sum.overflows());
    assert_eq!(sum.value(), f64::INFINITY);
    sum.sub(f64::MAX);
    assert!(!sum.overflows());
    assert_eq!(sum.value(), f64::MAX);
    let mut inf = sum_of(&[f64::INFINITY]);
    assert!(!inf.overflows());
    inf.add(f64::MAX, i64::MAX);
    inf.add(f64::MAX, i64::MIN);
    inf.sub(f64::INFINITY);
    assert_eq!(inf.value(), -f64::MAX);
}

#[test]
fn ties_round_to_even() {
    let ulp = 2f64.powi(-52);
    assert_eq!(sum_of(&[1.0, ulp / 2.0]).value(), 1.0);
    assert_eq!(sum_of(&[1.0 + ulp, ulp / 2.0]).value(), 1.0 + 2.0 * ulp);
    assert_eq!(sum_of(&[1.0, ulp / 2.0, 5e-324]).value(), 1.0 + ulp);
    assert_eq!(sum_of(&[2.0 - ulp, ulp / 2.0]).value(), 2.0);
}

proptest! {
    #[test]
    fn equals_the_correctly_rounded_integer_sum(values in prop::collection::vec((-(1i64 << 53)..(1i64 << 53), -50i64..50), 0..60)) {
        let scale = 2f64.powi(-30);
        let mut sum = ExactSum::new();
        let mut exact = 0i128;
        for (v, diff) in &values {
            sum.add(*v as f64 * scale, *diff);
            exact += i128::from(*v) * i128::from(*diff);
        }
        prop_assert_eq!(sum.value(), exact as f64 * scale);
    }

    #[test]
    fn equals_the_growing_expansion_for_any_exponent(values in prop::collection::vec(any_finite().prop_map(|v| v / 1024.0), 0..30)) {
        prop_assert_eq!(sum_of(&values).value().to_bits(), shewchuk(&values).to_bits());
    }

    #[test]
    fn order_does_not_matter_and_merging_is_adding(
        values in prop::collection::vec(any_finite(), 0..40), seed in any::<u64>(), cut in 0usize..40,
    ) {
        let whole = sum_of(&values);
        let mut shuffled = values.clone();
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        prop_assert_eq!(&sum_of(&shuffled).to_bytes(), &whole.to_bytes());
        let (left, right) = shuffled.split_at(cut.min(shuffled.len()));
        let mut merged = sum_of(left);
        merged.merge(&sum_of(right));
        prop_assert_eq!(&merged.to_bytes(), &whole.to_bytes());
        let back = ExactSum::from_bytes(&whole.to_bytes()).unwrap();
        prop_assert_eq!(back.value().to_bits(), whole.value().to_bits());
    }

    #[test]
    fn retracting_what_was_added_returns_to_the_same_bits(
        stay in prop::collection::vec(any_finite(), 0..20), go in prop::collection::vec((any::<u64>().prop_map(f64::from_bits), 1i64..i64::MAX), 0..20),
    ) {
        let mut sum = sum_of(&stay);
        let before = (sum.to_bytes(), sum.value().to_bits());
        go.iter().for_each(|(v, diff)| sum.add(*v, *diff));
        go.iter().rev().for_each(|(v, diff)| sum.add(*v, -diff));
        prop_assert_eq!((sum.to_bytes(), sum.value().to_bits()), before);
    }

    #[test]
    fn hostile_bytes_are_refused_or_read_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Some(sum) = ExactSum::from_bytes(&bytes) {
            sum.value();
        }
    }
}
