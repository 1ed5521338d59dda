//! bit_and, bit_or, bit_xor: how often each bit is set, among how many values. A narrow integer's sign fills the upper bits, so that
//! 64 of them stand for any width.

use crate::flowplan::AggFunc;

/// Counts of one group.
#[derive(Debug, Clone)]
pub struct Bits {
    n: i64,
    ones: [i64; 64],
}

impl Default for Bits {
    fn default() -> Self {
        Bits { n: 0, ones: [0; 64] }
    }
}

impl Bits {
    pub(super) fn add(&mut self, value: i64, diff: i64) {
        self.n += diff;
        let mut left = value.cast_unsigned();
        while left != 0 {
            self.ones[left.trailing_zeros() as usize] += diff;
            left &= left - 1;
        }
    }

    /// The number of values, then of each bit.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        std::iter::once(&self.n).chain(&self.ones).flat_map(|n| n.to_le_bytes()).collect()
    }

    pub(super) fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let (words, rest) = bytes.as_chunks::<8>();
        if words.len() != 1 + self.ones.len() || !rest.is_empty() {
            return None;
        }
        for (sum, word) in std::iter::once(&mut self.n).chain(&mut self.ones).zip(words) {
            *sum += i64::from_le_bytes(*word);
        }
        Some(())
    }

    /// NULL for no values.
    pub(super) fn value(&self, func: AggFunc) -> Option<i64> {
        let set = |ones: i64| match func {
            AggFunc::BitAnd => ones == self.n,
            AggFunc::BitOr => ones != 0,
            _ => ones % 2 != 0,
        };
        let bits = self.ones.iter().enumerate().fold(0u64, |bits, (at, ones)| bits | u64::from(set(*ones)) << at);
        (self.n != 0).then_some(bits.cast_signed())
    }
}
