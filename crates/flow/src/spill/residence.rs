//! Which keys of a part are in memory, and what is known of each: eight bytes a key.
//!
//! ```text
//!   tables[bucket of the hash]:  [ the other 56 bits of the hash | 8 flags ] ..
//! ```
//! Exact: keys are told apart by all 64 bits of the hash, as runs do.

use hashbrown::HashTable;
use regauge_types::hash::{BUCKETS, bucket};

/// All that there is of the key is in memory.
pub(super) const COMPLETE: u8 = 1;
/// It was used since it was looked at last.
pub(super) const HOT: u8 = 2;
/// What the newest run has of it is what is in memory.
pub(super) const CLEAN: u8 = 4;
/// Some run has it.
pub(super) const COPY: u8 = 8;

/// See the module's header.
pub(super) struct Residence {
    tables: Vec<HashTable<u64>>,
}

/// Bits of all lengths of table depend on all bits of the hash.
fn spread(entry: u64) -> u64 {
    (entry >> 8).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32)
}

fn flags_of(entry: u64) -> u8 {
    u8::try_from(entry & 0xff).expect("masked to 8 bits")
}

impl Residence {
    pub fn new() -> Residence {
        Residence { tables: (0..BUCKETS).map(|_| HashTable::new()).collect() }
    }

    /// What is known of a key; `None` if it is not here.
    #[inline]
    pub fn get(&self, hash: u64) -> Option<u8> {
        let entry = hash << 8;
        self.tables[bucket(hash)].find(spread(entry), |e| e >> 8 == entry >> 8).map(|e| flags_of(*e))
    }

    /// Changes the flags of a key; whether it is here.
    #[inline]
    pub fn change(&mut self, hash: u64, set: u8, clear: u8) -> bool {
        let entry = hash << 8;
        match self.tables[bucket(hash)].find_mut(spread(entry), |e| e >> 8 == entry >> 8) {
            Some(e) => {
                *e = (*e & !u64::from(clear)) | u64::from(set);
                true
            }
            None => false,
        }
    }

    /// Changes the flags of a key; it is here from now on.
    #[inline]
    pub fn put(&mut self, hash: u64, set: u8, clear: u8) {
        if !self.change(hash, set, clear) {
            let entry = hash << 8;
            self.tables[bucket(hash)].insert_unique(spread(entry), entry | u64::from(set), |e| spread(*e));
        }
    }

    /// It is not here any more.
    pub fn remove(&mut self, hash: u64) {
        let entry = hash << 8;
        if let Ok(found) = self.tables[bucket(hash)].find_entry(spread(entry), |e| e >> 8 == entry >> 8) {
            found.remove();
        }
    }

    /// The keys of a bucket with their flags, ascending.
    pub fn of_bucket(&self, bucket: usize) -> Vec<(u64, u8)> {
        let top = (bucket as u64) << 56;
        let mut all: Vec<(u64, u8)> = self.tables[bucket].iter().map(|e| (top | e >> 8, flags_of(*e))).collect();
        all.sort_unstable();
        all
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        self.tables.iter().map(|t| t.capacity() * 10).sum::<usize>() + BUCKETS * size_of::<HashTable<u64>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_that_were_set_and_keys_are_told_apart_by_every_bit() {
        let mut here = Residence::new();
        let hash = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (0..5000).for_each(|i| here.put(hash(i), COMPLETE, 0));
        (0..5000).step_by(2).for_each(|i| here.put(hash(i), HOT, COMPLETE));
        assert!((0..5000).all(|i| here.get(hash(i)) == Some(if i % 2 == 0 { HOT } else { COMPLETE })));
        assert!((0..64).all(|bit| here.get(hash(7) ^ (1 << bit)).is_none()));
        assert!(!here.change(hash(6000), HOT, 0));
        (0..5000).step_by(3).for_each(|i| here.remove(hash(i)));
        assert!((0..5000).all(|i| here.get(hash(i)).is_none() == (i % 3 == 0)));
        let n: usize = (0..BUCKETS).map(|b| here.of_bucket(b).len()).sum();
        assert_eq!(n, 5000 - 1667);
        assert!(here.of_bucket(3).iter().all(|(h, _)| h >> 56 == 3 && here.get(*h).is_some()));
    }
}
