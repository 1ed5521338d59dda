//! From a 64-bit hash to a dense id, split into 256 buckets by the hash's top byte.
//!
//! ```text
//! hash  = [ bucket: 8 bits | .......... | tag: 32 bits ]
//! tables[bucket] = [tag id] [tag id] [  -   ] [tag id] ..      8 bytes a place, 70 to 87 % of the places in use
//!                           ascending tags from an entry's home to its place; home = tag * n_homes / 2^32
//! ```
//!
//! Linear probing in order of the tags: a look-up reads neighbours (mostly one cache line) and ends at the first greater tag, and
//! growing is one pass in order, since a greater tag never has an earlier home. A bucket grows by a quarter or less, not by two: all
//! buckets fill alike, so doubling would leave all of them half empty at once. Sizes are those that size-class allocators hold
//! without rounding (four a doubling). Ideas: ordered hash tables (Amble and Knuth, 1974), Robin Hood hashing (Celis, 1986).
//!
//! The table stores no keys: the caller says whether the key behind an id is the one it looks for (only asked when bucket and
//! tag agree, 40 bits of the hash). Buckets are the frozen ones of `types::hash`, so they are the unit of checkpoints, spilling
//! and moving state; they also bound the pause of growing: a rehash moves one bucket, 1/256 of the keys.
//! Invariants: an id stands under one hash at most once; between an entry's home and its place no place is empty and no tag is greater.
//! What stands in a table's order never leaves this file except through [`BucketTable::ids`], whose callers sort.

/// Number of hash ranges; fixed by the frozen hash (`bucket = hash >> 56`).
pub const N_BUCKETS: usize = 256;

/// Nobody's id.
const NIL: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    tag: u32,
    /// [`NIL`] in an empty place, whose tag is then the greatest.
    id: u32,
}

const EMPTY: Place = Place { tag: u32::MAX, id: NIL };

/// One bucket.
#[derive(Debug, Default)]
struct Table {
    places: Vec<Place>,
    n_homes: u32,
    n: u32,
}

/// 256 hash tables of ids.
#[derive(Debug)]
pub struct BucketTable {
    tables: Vec<Table>,
    /// Places of all tables, those behind the ends that are reserved included.
    n_places: usize,
}

impl Default for BucketTable {
    fn default() -> Self {
        BucketTable { tables: (0..N_BUCKETS).map(|_| Table::default()).collect(), n_places: 0 }
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

/// Places of the smallest table: one cache line.
const PLACES_MIN: usize = 8;

/// The next greater number of places after one that is 2^k times 4, 5, 6 or 7.
fn next_size(n: usize) -> usize {
    n + (1 << n.ilog2()) / 4
}

/// Places behind the last home, for what is pushed beyond it; a table that needs more gets more.
fn n_tail(n_places: usize) -> usize {
    (n_places / 8).clamp(1, 16)
}

impl Table {
    #[inline]
    fn home(&self, tag: u32) -> usize {
        usize::try_from((u64::from(tag) * u64::from(self.n_homes)) >> 32).expect("less than n_homes, a u32")
    }

    /// The place of the entry, or where it would have to stand.
    #[inline]
    fn find(&self, tag: u32, mut is: impl FnMut(u32) -> bool) -> Result<usize, usize> {
        let home = self.home(tag);
        for (from_home, place) in self.places[home..].iter().enumerate() {
            if place.tag < tag {
                continue;
            }
            if place.tag > tag || place.id == NIL {
                return Err(home + from_home);
            }
            if is(place.id) {
                return Ok(home + from_home);
            }
        }
        Err(self.places.len())
    }

    fn is_full(&self) -> bool {
        u64::from(self.n) * 8 >= u64::from(self.n_homes) * 7
    }

    fn grow(&mut self) {
        let mut size = PLACES_MIN;
        while size - n_tail(size) <= self.n_homes as usize {
            size = next_size(size);
        }
        let n_homes = size - n_tail(size);
        let old = std::mem::take(&mut self.places);
        self.n_homes = u32::try_from(n_homes).expect("ids are u32, and a bucket has at most a few more homes than ids");
        self.places = Vec::with_capacity(size);
        self.places.resize(size, EMPTY);
        let mut next = 0;
        for place in old.into_iter().filter(|p| p.id != NIL) {
            let at = self.home(place.tag).max(next);
            self.put(at, place);
            next = at + 1;
        }
    }

    /// Writes a place that may lie behind the end.
    fn put(&mut self, at: usize, place: Place) {
        if at == self.places.len() {
            if self.places.capacity() == at {
                self.places.reserve_exact(n_tail(at));
            }
            self.places.push(place);
        } else {
            self.places[at] = place;
        }
    }

    /// Puts an entry where [`Table::find`] said.
    #[inline]
    fn insert(&mut self, at: usize, place: Place) {
        let is_empty = |p: &Place| p.id == NIL;
        if self.places.get(at).is_none_or(is_empty) {
            self.put(at, place);
        } else {
            let hole = self.places[at..].iter().position(is_empty).map_or(self.places.len(), |n| at + n);
            self.put(hole, EMPTY);
            self.places.copy_within(at..hole, at + 1);
            self.places[at] = place;
        }
        self.n += 1;
    }

    /// Empties a place; what was pushed away from its home moves back by one.
    fn remove(&mut self, at: usize) {
        let mut hole = at;
        while let Some(next) = self.places.get(hole + 1).filter(|p| p.id != NIL && self.home(p.tag) <= hole) {
            self.places[hole] = *next;
            hole += 1;
        }
        self.places[hole] = EMPTY;
        self.n -= 1;
    }
}

/// Tables with fewer places than this are in the processor's caches anyway.
const WARM_PLACES_MIN: usize = 1 << 15;

impl BucketTable {
    /// Reads where these hashes have their places, and makes nothing of it. Look-ups one after the other wait for memory once each, since
    /// what is read decides how each goes on; here nothing is decided, so memory is waited for once for many, and the look-ups that
    /// follow find their places in the caches.
    pub fn warm(&self, hashes: impl Iterator<Item = u64>) {
        if self.n_places < WARM_PLACES_MIN {
            return;
        }
        let mut read = 0;
        for hash in hashes {
            let table = &self.tables[bucket_of(hash)];
            read ^= table.places.get(table.home(tag_of(hash))).map_or(0, |place| place.tag);
        }
        std::hint::black_box(read);
    }

    /// The id under `hash` for which `is` holds.
    #[inline]
    pub fn find(&self, hash: u64, is: impl FnMut(u32) -> bool) -> Option<u32> {
        let table = &self.tables[bucket_of(hash)];
        table.find(tag_of(hash), is).ok().map(|at| table.places[at].id)
    }

    /// The id under `hash` for which `is` holds, or what `make` gives, then stored; the flag says that it was made.
    #[inline]
    pub fn find_or_insert(&mut self, hash: u64, is: impl FnMut(u32) -> bool, make: impl FnOnce() -> u32) -> (u32, bool) {
        let tag = tag_of(hash);
        let table = &mut self.tables[bucket_of(hash)];
        match table.find(tag, is) {
            Ok(at) => (table.places[at].id, false),
            Err(mut at) => {
                let id = make();
                debug_assert_ne!(id, NIL);
                let n_before = table.places.capacity();
                if table.is_full() {
                    table.grow();
                    at = table.find(tag, |_| false).unwrap_or_else(|at| at);
                }
                table.insert(at, Place { tag, id });
                // a grown table may hold less than one that equal tags had made long
                self.n_places = self.n_places + table.places.capacity() - n_before;
                (id, true)
            }
        }
    }

    /// Puts `to` where `from` stands under `hash`; nothing happens if it does not stand there.
    pub fn replace(&mut self, hash: u64, from: u32, to: u32) {
        let table = &mut self.tables[bucket_of(hash)];
        if let Ok(at) = table.find(tag_of(hash), |id| id == from) {
            table.places[at].id = to;
        }
    }

    /// Removes `id` from under `hash`; whether it stood there.
    pub fn remove(&mut self, hash: u64, id: u32) -> bool {
        let table = &mut self.tables[bucket_of(hash)];
        let found = table.find(tag_of(hash), |i| i == id);
        found.map(|at| table.remove(at)).is_ok()
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.tables.iter().map(|t| t.n as usize).sum()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(|t| t.n == 0)
    }

    /// The ids of one bucket, in no order that may be shown: sort before use.
    pub fn ids(&self, bucket: usize) -> impl Iterator<Item = u32> + '_ {
        self.tables[bucket].places.iter().filter(|p| p.id != NIL).map(|p| p.id)
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        self.n_places * size_of::<Place>() + N_BUCKETS * size_of::<Table>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn check(table: &Table) {
        let mut n = 0;
        for (at, place) in table.places.iter().enumerate().filter(|(_, p)| p.id != NIL) {
            n += 1;
            let home = table.home(place.tag);
            assert!(home <= at, "an entry stands before its home");
            assert!(table.places[home..at].iter().all(|p| p.id != NIL && p.tag <= place.tag), "a look-up would end before it");
        }
        assert_eq!(n, table.n);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        /// Tags are near the ends or few, so that runs collide, wrap over the tail and have equal tags.
        #[test]
        fn a_table_holds_what_was_put_in_and_not_taken_out(steps in proptest::collection::vec((0u8..4, prop_oneof![0u32..6, (u32::MAX - 5)..=u32::MAX, any::<u32>()], any::<bool>()), 1..400)) {
            let mut all = BucketTable::default();
            let mut known: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
            let mut next_id = 0;
            for (kind, tag, other) in steps {
                let hash = u64::from(other) << 56 | u64::from(tag);
                let ids = known.entry(hash).or_default();
                match kind {
                    0 | 1 => {
                        let (id, new) = all.find_or_insert(hash, |_| false, || next_id);
                        prop_assert!(new && id == next_id);
                        ids.push(id);
                        next_id += 1;
                    }
                    2 => {
                        if let Some(id) = ids.pop() {
                            prop_assert!(all.remove(hash, id) && !all.remove(hash, id));
                        }
                    }
                    _ => {
                        if let Some(id) = ids.last_mut() {
                            all.replace(hash, *id, next_id);
                            *id = next_id;
                            next_id += 1;
                        }
                    }
                }
                all.tables.iter().for_each(check);
                for (hash, ids) in &known {
                    prop_assert!(ids.iter().all(|id| all.find(*hash, |i| i == *id) == Some(*id)));
                }
                prop_assert_eq!(all.len(), known.values().map(Vec::len).sum::<usize>());
            }
        }
    }

    #[test]
    fn many_keys_are_found_and_take_less_than_twelve_bytes_each() {
        let mut all = BucketTable::default();
        let hash = |i: u32| regauge_types::hash::hash_bytes(&i.to_le_bytes());
        for n in [1000u32, 10_000, 100_000, 300_000, 500_000] {
            for i in u32::try_from(all.len()).unwrap_or(0)..n {
                assert_eq!(all.find_or_insert(hash(i), |id| id == i, || i), (i, true));
            }
            assert!((0..n).all(|i| all.find(hash(i), |id| id == i) == Some(i)));
            assert!((n..n + 1000).all(|i| all.find(hash(i), |id| id == i).is_none()));
            let each = (all.n_bytes() - N_BUCKETS * size_of::<Table>()) / n as usize;
            assert!(n < 10_000 || each <= 12, "n={n} bytes a key={each}");
        }
        all.tables.iter().for_each(check);
        (0u32..500_000).filter(|i| i % 3 != 0).for_each(|i| assert!(all.remove(hash(i), i)));
        assert!((0u32..500_000).all(|i| all.find(hash(i), |id| id == i).is_some() == (i % 3 == 0)));
        all.tables.iter().for_each(check);
    }

    #[test]
    fn keys_of_one_hash_all_stand() {
        let mut all = BucketTable::default();
        for tag in [0, u64::from(u32::MAX)] {
            (0..2000).for_each(|id| assert_eq!(all.find_or_insert(tag, |i| i == id, || id), (id, true)));
            assert!((0..2000).all(|id| all.find(tag, |i| i == id) == Some(id)));
            (0..2000).for_each(|id| assert!(all.remove(tag, id)));
        }
        assert!(all.is_empty());
    }
}
