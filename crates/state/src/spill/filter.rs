//! A Bloom filter of hashes whose bits for a key are all in one word: one cache line a look-up (Putze, Sanders and Singler, 2007).
//!
//! Four bits of a 64-bit word a key, about 12 bits of filter for each: one key in 40 that is not there passes. Never says no to a key that is.

/// See the module's header.
#[derive(Debug)]
pub struct Filter {
    words: Vec<u64>,
}

/// Keys for each word.
const KEYS_PER_WORD: usize = 5;

/// The frozen hash is also what keys are partitioned by; this takes its bits apart again (the finaliser of splitmix64).
fn mixed(hash: u64) -> u64 {
    let z = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn bits(mixed: u64) -> u64 {
    [0u32, 6, 12, 18].iter().fold(0, |bits, at| bits | 1 << ((mixed >> at) & 63))
}

impl Filter {
    /// For so many keys.
    #[must_use]
    pub fn new(n_keys: usize) -> Filter {
        Filter { words: vec![0; n_keys / KEYS_PER_WORD + 1] }
    }

    fn word(&self, mixed: u64) -> usize {
        usize::try_from((u128::from(mixed) * self.words.len() as u128) >> 64).expect("less than the number of words")
    }

    /// Puts a key in.
    pub fn insert(&mut self, hash: u64) {
        let mixed = mixed(hash);
        let word = self.word(mixed);
        self.words[word] |= bits(mixed);
    }

    /// Whether the key may be in.
    #[inline]
    #[must_use]
    pub fn may_have(&self, hash: u64) -> bool {
        let mixed = mixed(hash);
        let bits = bits(mixed);
        self.words[self.word(mixed)] & bits == bits
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regauge_types::hash::hash_bytes;

    #[test]
    fn a_key_that_was_put_in_always_passes_and_few_others_do() {
        let hash = |i: u32| hash_bytes(&i.to_le_bytes());
        let mut filter = Filter::new(50_000);
        (0..50_000).for_each(|i| filter.insert(hash(i)));
        assert!((0..50_000).all(|i| filter.may_have(hash(i))));
        let n = (50_000..150_000).filter(|i| filter.may_have(hash(*i))).count();
        assert!(n < 5_000, "one in {} passes", 100_000 / n.max(1));
        assert!(!Filter::new(0).may_have(7));
    }
}
