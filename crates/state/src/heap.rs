//! Byte strings by slot: the home of text, binary and encoded values inside operator state.
//!
//! ```text
//! slot      0      1      2                 chunks  [3 a b c|4 D E F G|garbage|2 x y|..]  [..]      64 KiB each
//! at     [0:0]  [0:4]  [0:11]  chunk:offset          a length (1 byte below 128), then the bytes
//! ```
//!
//! A slot costs four bytes beside its value and the value's length (a fifth once there are more than 65,536 chunks, 4 GiB).
//! Invariant: `at[slot]` points to a length and as many bytes, all in one chunk; a value too long for a chunk has one of its own. A
//! slot may be written again; what it leaves behind is garbage, and once more than half of the bytes (and 64 KiB) are garbage they
//! are copied out in slot order, so space stays within a factor of two of what lives and each write pays O(its length) amortised.
//! Chunks do not move when the heap grows. Does not know what the bytes mean, nor which slots are alive (the owner clears a slot it frees).

use crate::segments::Segments;

/// Bytes of garbage below which compaction is not worth its fixed cost.
const COMPACT_BYTES_MIN: usize = 64 * 1024;

/// Bytes of a chunk as a power of two.
const CHUNK_BITS: u32 = 16;
const CHUNK: usize = 1 << CHUNK_BITS;

/// Variable-length values addressed by slot.
#[derive(Debug, Default)]
pub struct Heap {
    chunks: Vec<Vec<u8>>,
    at: Segments<u32>,
    /// What of a place does not fit 32 bits; only there once it is needed, then for slots up to the last that needed it.
    high: Segments<u8>,
    n_used: usize,
    n_garbage: usize,
    /// Bytes that the chunks have room for.
    n_held: usize,
}

/// Bytes of a length.
fn n_prefix(len: usize) -> usize {
    (usize::BITS - (len | 1).leading_zeros()).div_ceil(7) as usize
}

/// Writes a length, seven bits a byte, the lowest first; the top bit says that more follow.
fn write_len(mut len: usize, mut write: impl FnMut(u8)) {
    while len >= 0x80 {
        write(u8::try_from(len & 0x7f).expect("masked to seven bits") | 0x80);
        len >>= 7;
    }
    write(u8::try_from(len).expect("less than 128"));
}

/// A value and the bytes that its length takes.
#[inline]
fn read(bytes: &[u8]) -> (&[u8], usize) {
    let (mut len, mut n) = (usize::from(bytes[0]), 1);
    if len >= 0x80 {
        len &= 0x7f;
        loop {
            let byte = usize::from(bytes[n]);
            len |= (byte & 0x7f) << (7 * n);
            n += 1;
            if byte < 0x80 {
                break;
            }
        }
    }
    (&bytes[n..n + len], n)
}

impl Heap {
    #[inline]
    fn place(&self, slot: u32) -> (usize, usize) {
        let s = slot as usize;
        let low = self.at[s] as usize;
        let high = if s < self.high.len() { usize::from(self.high[s]) << (32 - CHUNK_BITS) } else { 0 };
        (high | low >> CHUNK_BITS, low & (CHUNK - 1))
    }

    /// The bytes of `slot`; a slot never written is empty.
    #[inline]
    pub fn get(&self, slot: u32) -> &[u8] {
        let (chunk, offset) = self.place(slot);
        read(&self.chunks[chunk][offset..]).0
    }

    /// Number of slots (one above the greatest ever written).
    pub fn n_slots(&self) -> usize {
        self.at.len()
    }

    /// Stores a value behind all others.
    #[inline]
    fn append(&mut self, value: &[u8]) -> (u32, u8) {
        let n_needed = n_prefix(value.len()) + value.len();
        if self.chunks.last().is_none_or(|last| last.len() + n_needed > CHUNK) {
            // only the first chunk grows: small state stays small
            let n = if self.chunks.is_empty() { n_needed } else { n_needed.max(CHUNK) };
            self.chunks.push(Vec::with_capacity(n));
            self.n_held += n;
        }
        let chunk = self.chunks.len() - 1;
        let last = &mut self.chunks[chunk];
        if last.capacity() - last.len() < n_needed {
            let before = last.capacity();
            last.reserve_exact((before * 2).clamp(last.len() + n_needed, CHUNK) - last.len());
            self.n_held += last.capacity() - before;
        }
        let offset = last.len();
        write_len(value.len(), |byte| last.push(byte));
        last.extend_from_slice(value);
        self.n_used += n_needed;
        let place = (chunk << CHUNK_BITS | offset) as u64;
        let low = u32::try_from(place & 0xffff_ffff).expect("masked to 32 bits");
        (low, u8::try_from(place >> 32).expect("memory ends long before 2^24 chunks"))
    }

    fn point(&mut self, slot: usize, (low, high): (u32, u8)) {
        self.at[slot] = low;
        if high > 0 || slot < self.high.len() {
            self.high.grow(slot + 1, 0);
            self.high[slot] = high;
        }
    }

    /// Adds a slot at the end.
    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        let place = self.append(value);
        self.at.push(place.0);
        if place.1 > 0 {
            self.point(self.at.len() - 1, place);
        }
    }

    /// Adds slots at the end, their values one after the other in `values`; `ends` are the ends of them there.
    pub fn extend(&mut self, values: &[u8], ends: impl Iterator<Item = usize>) {
        let mut begin = 0;
        for end in ends {
            self.push(&values[begin..end]);
            begin = end;
        }
    }

    /// Writes `slot`, growing with empty slots where needed.
    pub fn set(&mut self, slot: u32, value: &[u8]) {
        let s = slot as usize;
        if s == self.at.len() {
            self.push(value);
            return;
        }
        while self.at.len() <= s {
            self.push(&[]);
        }
        let (chunk, offset) = self.place(slot);
        let bytes = &mut self.chunks[chunk][offset..];
        let (old, n) = read(bytes);
        let (n_old, n_new) = (old.len() + n, value.len() + n_prefix(value.len()));
        if n_new <= n_old {
            let mut to = 0;
            write_len(value.len(), |byte| {
                bytes[to] = byte;
                to += 1;
            });
            bytes[to..n_new].copy_from_slice(value);
            self.n_garbage += n_old - n_new;
        } else {
            let place = self.append(value);
            self.point(s, place);
            self.n_garbage += n_old;
        }
        self.compact_if_worth_it();
    }

    /// Forgets the bytes of `slot`.
    pub fn clear(&mut self, slot: u32) {
        if (slot as usize) < self.at.len() {
            self.set(slot, &[]);
        }
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        self.n_held + self.chunks.capacity() * size_of::<Vec<u8>>() + self.at.n_bytes() + self.high.n_bytes()
    }

    fn compact_if_worth_it(&mut self) {
        if self.n_garbage < COMPACT_BYTES_MIN || self.n_garbage * 2 < self.n_used {
            return;
        }
        let old = std::mem::take(&mut self.chunks);
        (self.n_used, self.n_garbage, self.n_held) = (0, 0, 0);
        for slot in 0..u32::try_from(self.at.len()).expect("slots are u32") {
            let (chunk, offset) = self.place(slot);
            let place = self.append(read(&old[chunk][offset..]).0);
            self.point(slot as usize, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_slot_reads_as_it_was_last_written(writes in proptest::collection::vec((0u32..40, prop_oneof![0usize..5, 100usize..300, 20_000usize..150_000]), 1..120)) {
            let mut heap = Heap::default();
            let mut known: Vec<Vec<u8>> = Vec::new();
            for (i, (slot, len)) in writes.into_iter().enumerate() {
                let value = vec![u8::try_from(i % 251).unwrap_or(0); len];
                known.resize(known.len().max(slot as usize + 1), Vec::new());
                known[slot as usize] = value.clone();
                heap.set(slot, &value);
                prop_assert_eq!(heap.n_slots(), known.len());
                for (slot, value) in (0u32..).zip(&known) {
                    prop_assert_eq!(heap.get(slot), value.as_slice());
                }
            }
            let alive: usize = known.iter().map(Vec::len).sum();
            // garbage is at most half, and each chunk is left with less room than the next value needed
            prop_assert!(heap.n_bytes() <= (alive + COMPACT_BYTES_MIN) * 4 + CHUNK, "{} for {alive}", heap.n_bytes());
        }
    }

    #[test]
    fn a_length_takes_one_byte_below_128_and_seven_bits_a_byte_beyond() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 1 << 23] {
            let mut bytes = Vec::new();
            write_len(len, |b| bytes.push(b));
            assert_eq!(bytes.len(), n_prefix(len), "len={len}");
            let n = bytes.len();
            bytes.resize(n + len, 7);
            assert_eq!((read(&bytes).0.len(), read(&bytes).1), (len, n));
        }
    }

    #[test]
    fn a_slot_costs_little_more_than_its_value() {
        let mut heap = Heap::default();
        (0..100_000u32).for_each(|i| heap.push(format!("key number {i:07}").as_bytes()));
        assert!(heap.n_bytes() < 100_000 * (18 + 1 + 4) + 2 * CHUNK, "{}", heap.n_bytes());
        assert_eq!(heap.get(99_999), b"key number 0099999");
    }
}
