//! Byte strings by slot: the home of text, binary and encoded keys inside operator state.
//!
//! ```text
//! slot      0        1        2
//! start  [  0   |    7    |   3   ]        bytes  [a b c|D E F G|x y ...|garbage]
//! len    [  3   |    4    |   2   ]
//! ```
//!
//! Invariant: `start[s] .. start[s] + len[s]` lies inside `bytes` for every slot. A slot may be written again; what it leaves
//! behind is garbage, and once more than half of the bytes (and 64 KiB) are garbage they are copied out in slot order, so
//! space stays within a factor of two of what lives and each write pays O(its length) amortised.
//! Does not know what the bytes mean, nor which slots are alive (the owner clears a slot it frees).

/// Bytes of garbage below which compaction is not worth its fixed cost.
const COMPACT_BYTES_MIN: usize = 64 * 1024;

/// Variable-length values addressed by slot.
#[derive(Debug, Default)]
pub struct Heap {
    bytes: Vec<u8>,
    start: Vec<usize>,
    len: Vec<u32>,
    n_garbage: usize,
}

impl Heap {
    /// The bytes of `slot`; a slot never written is empty.
    #[inline]
    pub fn get(&self, slot: u32) -> &[u8] {
        let s = slot as usize;
        &self.bytes[self.start[s]..self.start[s] + self.len[s] as usize]
    }

    /// Number of slots (one above the greatest ever written).
    pub fn n_slots(&self) -> usize {
        self.start.len()
    }

    /// Adds a slot at the end.
    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        self.start.push(self.bytes.len());
        self.len.push(u32::try_from(value.len()).expect("a value is shorter than 4 GiB: rows are limited to 8 MiB"));
        self.bytes.extend_from_slice(value);
    }

    /// Adds slots at the end, their values one after the other in `values`; `ends` are the ends of them there.
    pub fn extend(&mut self, values: &[u8], ends: impl Iterator<Item = usize>) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(values);
        let mut begin = 0;
        for end in ends {
            self.start.push(base + begin);
            self.len.push(u32::try_from(end - begin).expect("a value is shorter than 4 GiB: rows are limited to 8 MiB"));
            begin = end;
        }
    }

    /// Writes `slot`, growing with empty slots where needed.
    pub fn set(&mut self, slot: u32, value: &[u8]) {
        let s = slot as usize;
        if s == self.start.len() {
            self.push(value);
            return;
        }
        while self.start.len() <= s {
            self.push(&[]);
        }
        let old = self.len[s] as usize;
        if value.len() <= old {
            let at = self.start[s];
            self.bytes[at..at + value.len()].copy_from_slice(value);
            self.n_garbage += old - value.len();
        } else {
            self.start[s] = self.bytes.len();
            self.bytes.extend_from_slice(value);
            self.n_garbage += old;
        }
        self.len[s] = u32::try_from(value.len()).expect("a value is shorter than 4 GiB: rows are limited to 8 MiB");
        self.compact_if_worth_it();
    }

    /// Forgets the bytes of `slot`.
    pub fn clear(&mut self, slot: u32) {
        if let Some(len) = self.len.get_mut(slot as usize) {
            self.n_garbage += *len as usize;
            *len = 0;
            self.compact_if_worth_it();
        }
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        self.bytes.capacity() + self.start.capacity() * size_of::<usize>() + self.len.capacity() * size_of::<u32>()
    }

    fn compact_if_worth_it(&mut self) {
        if self.n_garbage < COMPACT_BYTES_MIN || self.n_garbage * 2 < self.bytes.len() {
            return;
        }
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.n_garbage);
        for (start, len) in self.start.iter_mut().zip(&self.len) {
            let at = bytes.len();
            bytes.extend_from_slice(&self.bytes[*start..*start + *len as usize]);
            *start = at;
        }
        self.bytes = bytes;
        self.n_garbage = 0;
    }
}
