//! Weights of rows by slot: one byte for the small ones, which nearly all are.
//!
//! Invariant: a slot's weight stands in its byte unless the byte is [`LARGE`], then under its number in `large`.

use std::collections::HashMap;

use crate::segments::Segments;

/// Says that the weight does not fit the byte.
const LARGE: i8 = i8::MIN;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Weights {
    small: Segments<i8>,
    large: HashMap<u32, i64>,
}

impl Weights {
    /// The weight of `slot`.
    #[inline]
    pub fn get(&self, slot: u32) -> i64 {
        match self.small[slot as usize] {
            LARGE => self.large.get(&slot).copied().unwrap_or(0),
            small => i64::from(small),
        }
    }

    /// Makes it the weight of `slot`.
    #[inline]
    pub fn set(&mut self, slot: u32, weight: i64) {
        let small = i8::try_from(weight).ok().filter(|w| *w != LARGE);
        if self.small[slot as usize] == LARGE && small.is_some() {
            self.large.remove(&slot);
        }
        if small.is_none() {
            self.large.insert(slot, weight);
        }
        self.small[slot as usize] = small.unwrap_or(LARGE);
    }

    /// Makes room for slots below `n`, with weight 0.
    pub fn grow(&mut self, n: usize) {
        self.small.grow(n, 0);
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        self.small.n_bytes() + self.large.capacity() * size_of::<(u32, i64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_what_it_was_set_to_whatever_its_size() {
        let mut weights = Weights::default();
        weights.grow(2);
        for weight in [0, 1, -1, 127, 128, -127, -128, -129, i64::MAX, i64::MIN, 3] {
            weights.set(1, weight);
            assert_eq!((weights.get(0), weights.get(1)), (0, weight));
        }
        assert!(weights.large.is_empty(), "a weight that became small takes no room");
    }
}
