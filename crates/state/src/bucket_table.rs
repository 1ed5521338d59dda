//! From a 64-bit hash to a dense id, split into 256 buckets by the hash's top byte.
//!
//! ```text
//! hash  = [ bucket: 8 bits | .......... | tag: 32 bits ]
//! tables[bucket] : { (tag, id), .. }          13 bytes a key at the usual load
//! ```
//!
//! The table stores no keys: the caller says whether the key behind an id is the one it looks for (only asked when bucket and
//! tag agree, 40 bits of the hash). Buckets are the frozen ones of `types::hash`, so they are the unit of checkpoints, spilling
//! and moving state; they also bound the pause of growing: a rehash moves one bucket, 1/256 of the keys.
//! Invariant: an id stands under one hash at most once. Iteration order of a table never leaves this file except through
//! [`BucketTable::ids`], whose callers sort.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Number of hash ranges; fixed by the frozen hash (`bucket = hash >> 56`).
pub const N_BUCKETS: usize = 256;

#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u32,
    id: u32,
}

/// 256 hash tables of ids.
#[derive(Debug)]
pub struct BucketTable {
    tables: Vec<HashTable<Slot>>,
}

impl Default for BucketTable {
    fn default() -> Self {
        BucketTable { tables: (0..N_BUCKETS).map(|_| HashTable::new()).collect() }
    }
}

/// The low half of the hash.
#[inline]
fn tag_of(hash: u64) -> u32 {
    u32::try_from(hash & 0xffff_ffff).expect("masked to 32 bits")
}

/// The bucket of a hash.
#[inline]
pub fn bucket_of(hash: u64) -> usize {
    usize::from(hash.to_be_bytes()[0])
}

/// hashbrown takes its control byte from the top and the position from the bottom; a multiplication spreads the tag over both.
#[inline]
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(20)
}

impl BucketTable {
    /// The id under `hash` for which `is` holds.
    #[inline]
    pub fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag_of(hash);
        self.tables[bucket_of(hash)].find(spread(tag), |s| s.tag == tag && is(s.id)).map(|s| s.id)
    }

    /// The id under `hash` for which `is` holds, or what `make` gives, then stored; the flag says that it was made.
    #[inline]
    pub fn find_or_insert(&mut self, hash: u64, mut is: impl FnMut(u32) -> bool, make: impl FnOnce() -> u32) -> (u32, bool) {
        let tag = tag_of(hash);
        let table = &mut self.tables[bucket_of(hash)];
        match table.entry(spread(tag), |s| s.tag == tag && is(s.id), |s| spread(s.tag)) {
            Entry::Occupied(found) => (found.get().id, false),
            Entry::Vacant(place) => {
                let id = make();
                place.insert(Slot { tag, id });
                (id, true)
            }
        }
    }

    /// Puts `to` where `from` stands under `hash`; nothing happens if it does not stand there.
    pub fn replace(&mut self, hash: u64, from: u32, to: u32) {
        let tag = tag_of(hash);
        if let Some(slot) = self.tables[bucket_of(hash)].find_mut(spread(tag), |s| s.tag == tag && s.id == from) {
            slot.id = to;
        }
    }

    /// Removes `id` from under `hash`.
    pub fn remove(&mut self, hash: u64, id: u32) {
        let tag = tag_of(hash);
        if let Ok(found) = self.tables[bucket_of(hash)].find_entry(spread(tag), |s| s.tag == tag && s.id == id) {
            found.remove();
        }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.tables.iter().map(HashTable::len).sum()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(HashTable::is_empty)
    }

    /// The ids of one bucket, in no order that may be shown: sort before use.
    pub fn ids(&self, bucket: usize) -> impl Iterator<Item = u32> + '_ {
        self.tables[bucket].iter().map(|s| s.id)
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        self.tables.iter().map(HashTable::allocation_size).sum::<usize>() + N_BUCKETS * size_of::<HashTable<Slot>>()
    }
}
