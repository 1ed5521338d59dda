//! A vector that grows without moving what it holds: full segments stay where they are, only the last one grows.
//!
//! ```text
//! segments  [8192 values] [8192 values] [8192 values] [.. ]        value i = segments[i >> 13][i & 8191]
//! ```
//!
//! Why not a `Vec`: doubling holds up to twice what is needed, three times while it copies, and the kernel clears every page of
//! each copy (which was two fifths of a rebuild's time once). Here at most one segment a column is empty; only the first one doubles,
//! so that small state stays small.
//! Invariant: all segments but the last hold exactly [`SEGMENT`] values. Cost: one more pointer on the way to a value.

use std::ops::{Index, IndexMut};

/// Values of a full segment as a power of two: 64 KiB of 8-byte values, which allocators hold without rounding.
const SEGMENT_BITS: u32 = 13;
const SEGMENT: usize = 1 << SEGMENT_BITS;

/// See the module's header.
#[derive(Debug)]
pub struct Segments<T> {
    segments: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Segments<T> {
    fn default() -> Self {
        Segments { segments: Vec::new(), len: 0 }
    }
}

impl<T> Segments<T> {
    /// Number of values.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The last segment, with room for at least one value, and how much room there is.
    #[inline]
    fn last(&mut self, n_more: usize) -> (&mut Vec<T>, usize) {
        let used = self.len & (SEGMENT - 1);
        if used == 0 && self.segments.len() << SEGMENT_BITS == self.len {
            self.segments.push(if self.len == 0 { Vec::new() } else { Vec::with_capacity(SEGMENT) });
        }
        let room = SEGMENT - used;
        let last = self.segments.last_mut().expect("made above if there was none");
        // a segment's doubling must end at its full size, not beyond
        if last.capacity() - used < n_more.min(room) && last.capacity() * 2 >= SEGMENT {
            last.reserve_exact(room);
        }
        (last, room)
    }

    /// Adds a value.
    #[inline]
    pub fn push(&mut self, value: T) {
        self.last(1).0.push(value);
        self.len += 1;
    }

    /// Forgets all values; gives back all but the first segment.
    pub fn clear(&mut self) {
        self.segments.truncate(1);
        self.segments.iter_mut().for_each(Vec::clear);
        self.len = 0;
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.segments.iter().flatten()
    }

    /// Bytes of memory held, what values point to left out.
    pub fn n_bytes(&self) -> usize {
        let Some(first) = self.segments.first() else { return 0 };
        let n_values = first.capacity() + (self.segments.len() - 1) * SEGMENT;
        n_values * size_of::<T>() + self.segments.capacity() * size_of::<Vec<T>>()
    }

    /// Grows to `len` values, new ones made by `make`; never shrinks.
    pub fn grow_with(&mut self, len: usize, mut make: impl FnMut() -> T) {
        while self.len < len {
            let missing = len - self.len;
            let (last, room) = self.last(missing);
            let n = missing.min(room);
            last.extend(std::iter::repeat_with(&mut make).take(n));
            self.len += n;
        }
    }
}

impl<T: Copy> Segments<T> {
    /// Grows to `len` values, new ones being `value`; never shrinks.
    pub fn grow(&mut self, len: usize, value: T) {
        while self.len < len {
            let missing = len - self.len;
            let (last, room) = self.last(missing);
            let n = missing.min(room);
            last.resize(last.len() + n, value);
            self.len += n;
        }
    }

    /// Adds values at the end.
    pub fn extend_from_slice(&mut self, mut values: &[T]) {
        while !values.is_empty() {
            let (last, room) = self.last(values.len());
            let (now, later) = values.split_at(room.min(values.len()));
            last.extend_from_slice(now);
            self.len += now.len();
            values = later;
        }
    }

    /// Values `from..to`.
    pub fn range(&self, from: usize, to: usize) -> Vec<T> {
        (from..to).map(|i| self[i]).collect()
    }
}

impl<T> Index<usize> for Segments<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.segments[at >> SEGMENT_BITS][at & (SEGMENT - 1)]
    }
}

impl<T> IndexMut<usize> for Segments<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.segments[at >> SEGMENT_BITS][at & (SEGMENT - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_they_were_put_across_segments() {
        let mut all = Segments::default();
        (0..10u64).for_each(|v| all.push(v));
        all.extend_from_slice(&(10..SEGMENT as u64 * 3 + 5).collect::<Vec<_>>());
        all.grow(SEGMENT * 3 + 7, 9);
        all.grow_with(SEGMENT * 4 + 1, || 8);
        assert_eq!(all.len(), SEGMENT * 4 + 1);
        assert!((0..SEGMENT * 3 + 5).all(|i| all[i] == i as u64));
        assert_eq!((all[SEGMENT * 3 + 5], all[SEGMENT * 3 + 6], all[SEGMENT * 3 + 7], all[SEGMENT * 4]), (9, 9, 8, 8));
        assert_eq!(all.iter().count(), all.len());
        assert_eq!(all.range(SEGMENT - 1, SEGMENT + 1), [SEGMENT as u64 - 1, SEGMENT as u64]);
    }

    #[test]
    fn at_most_one_segment_is_held_beyond_what_is_used() {
        for n in [1, 100, SEGMENT - 1, SEGMENT, SEGMENT + 1, SEGMENT * 5 + 17] {
            let mut all = Segments::default();
            (0..n as u64).for_each(|v| all.push(v));
            assert!(all.n_bytes() <= (n * 2).min(n + SEGMENT) * 8 + 1024, "n={n} bytes={}", all.n_bytes());
        }
    }
}
