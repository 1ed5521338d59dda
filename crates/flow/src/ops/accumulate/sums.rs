//! Exact sums by group: 64 bits each until the first sum that does not fit, from then on 192 bits each.
//!
//! Two's complement of 192 bits is a low u128 and a high i64: 2^64 numerics of any size cannot overflow it. Widening is once for all
//! groups and never undone; a sum is the same number in either form, so what is shown does not depend on when it happened.

use arrow::datatypes::i256;
use regauge_state::Segments;

/// One sum a group.
pub(super) enum Sums {
    Narrow(Segments<i64>),
    Wide { low: Segments<u128>, high: Segments<i64> },
}

impl Sums {
    /// Makes room for groups below `n_ids`.
    pub(super) fn grow(&mut self, n_ids: usize) {
        match self {
            Sums::Narrow(sums) => sums.grow(n_ids, 0),
            Sums::Wide { low, high } => {
                low.grow(n_ids, 0);
                high.grow(n_ids, 0);
            }
        }
    }

    /// The sum of a group.
    pub(super) fn get(&self, g: usize) -> i256 {
        match self {
            Sums::Narrow(sums) => i256::from_i128(i128::from(sums[g])),
            Sums::Wide { low, high } => i256::from_parts(low[g], i128::from(high[g])),
        }
    }

    /// Makes it a group's sum; `None` if it has more than 192 bits.
    pub(super) fn put(&mut self, g: usize, sum: i256) -> Option<()> {
        if let (Sums::Narrow(sums), Some(narrow)) = (&mut *self, sum.to_i128().and_then(|s| i64::try_from(s).ok())) {
            sums[g] = narrow;
            return Some(());
        }
        self.widen();
        let Sums::Wide { low: lows, high: highs } = self else { return None };
        let (low, high) = sum.to_parts();
        (lows[g], highs[g]) = (low, i64::try_from(high).ok()?);
        Some(())
    }

    /// Makes a group's sum 0.
    pub(super) fn clear(&mut self, g: usize) {
        match self {
            Sums::Narrow(sums) => sums[g] = 0,
            Sums::Wide { low, high } => (low[g], high[g]) = (0, 0),
        }
    }

    /// Adds `value` times `diff`.
    #[inline]
    pub(super) fn add(&mut self, g: usize, value: i128, diff: i64) {
        if let Sums::Narrow(sums) = self {
            let sum = i64::try_from(value).ok().and_then(|v| v.checked_mul(diff)).and_then(|v| sums[g].checked_add(v));
            if let Some(sum) = sum {
                sums[g] = sum;
                return;
            }
        }
        self.add_wide(g, value, diff);
    }

    fn widen(&mut self) {
        if let Sums::Narrow(sums) = self {
            let (mut low, mut high) = (Segments::default(), Segments::default());
            for sum in sums.iter() {
                low.push(i128::from(*sum).cast_unsigned());
                high.push(if *sum < 0 { -1 } else { 0 });
            }
            *self = Sums::Wide { low, high };
        }
    }

    fn add_wide(&mut self, g: usize, value: i128, diff: i64) {
        self.widen();
        let Sums::Wide { low: lows, high: highs } = self else { return };
        let (low, high) = match value.checked_mul(i128::from(diff)) {
            Some(product) => (product.cast_unsigned(), if product < 0 { -1 } else { 0 }),
            None => {
                let (low, high) = i256::from_i128(value).wrapping_mul(i256::from_i128(i128::from(diff))).to_parts();
                (low, i64::try_from(high).expect("a product of 127 and 63 bits"))
            }
        };
        let (sum, carry) = lows[g].overflowing_add(low);
        lows[g] = sum;
        highs[g] = highs[g].wrapping_add(high).wrapping_add(i64::from(carry));
    }

    /// Bytes of memory held.
    pub(super) fn n_bytes(&self) -> usize {
        match self {
            Sums::Narrow(sums) => sums.n_bytes(),
            Sums::Wide { low, high } => low.n_bytes() + high.n_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_outgrows_64_bits_is_exact_and_so_are_those_of_other_groups() {
        let mut sums = Sums::Narrow(Segments::default());
        sums.grow(3);
        let mut known = [i256::ZERO; 3];
        let steps = [
            (0, 5i128, 3i64),
            (1, -7, 1),
            (0, i128::from(i64::MAX), 1),
            (2, i128::from(i64::MIN), 1),
            (1, i128::from(i64::MAX), i64::MAX),
            (0, i128::MAX, -2),
            (1, i128::from(i64::MAX), -i64::MAX),
            (2, i128::MIN, i64::MIN),
            (0, i128::MAX, 2),
        ];
        for (i, (g, value, diff)) in steps.into_iter().enumerate() {
            sums.add(g, value, diff);
            known[g] = known[g].wrapping_add(i256::from_i128(value).wrapping_mul(i256::from_i128(i128::from(diff))));
            assert!((0..3).all(|g| sums.get(g) == known[g]), "step={i}");
            assert_eq!(matches!(sums, Sums::Narrow(_)), i < 2, "step={i}");
        }
    }
}
