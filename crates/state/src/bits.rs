//! Growing bitmaps: one bit a slot, and one that costs nothing while every bit is set, the validity of a state column.

use arrow::buffer::NullBuffer;

/// Which slots hold a value. `None` inside means: all of them.
#[derive(Debug, Default)]
pub struct Validity {
    words: Option<Vec<u64>>,
}

impl Validity {
    /// Whether `slot` holds a value.
    #[inline]
    pub fn is_valid(&self, slot: u32) -> bool {
        match &self.words {
            None => true,
            Some(words) => words.get(slot as usize / 64).is_none_or(|w| (w >> (slot % 64)) & 1 == 1),
        }
    }

    /// Whether any slot was ever null.
    pub fn may_have_nulls(&self) -> bool {
        self.words.is_some()
    }

    /// Says whether `slot` holds a value. The bitmap is only made by the first null.
    #[inline]
    pub fn set(&mut self, slot: u32, valid: bool) {
        if valid && self.words.is_none() {
            return;
        }
        let words = self.words.get_or_insert_default();
        let at = slot as usize / 64;
        if at >= words.len() {
            words.resize(at + 1, u64::MAX);
        }
        let bit = 1u64 << (slot % 64);
        if valid { words[at] |= bit } else { words[at] &= !bit }
    }

    /// The null buffer of the gathered `slots`, `None` if all are valid.
    pub fn gather(&self, slots: &[u32]) -> Option<NullBuffer> {
        self.words.as_ref()?;
        let nulls: NullBuffer = slots.iter().map(|s| self.is_valid(*s)).collect();
        (nulls.null_count() > 0).then_some(nulls)
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        self.words.as_ref().map_or(0, |w| w.capacity() * 8)
    }
}

/// A set of slots, one bit each.
#[derive(Debug, Default)]
pub struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// Whether `slot` is in the set.
    #[inline]
    pub fn has(&self, slot: u32) -> bool {
        self.words.get(slot as usize / 64).is_some_and(|w| (w >> (slot % 64)) & 1 == 1)
    }

    /// Puts `slot` in; whether it was not in before.
    #[inline]
    pub fn insert(&mut self, slot: u32) -> bool {
        let (at, bit) = (slot as usize / 64, 1u64 << (slot % 64));
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let word = &mut self.words[at];
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes `slot` out.
    #[inline]
    pub fn remove(&mut self, slot: u32) {
        if let Some(word) = self.words.get_mut(slot as usize / 64) {
            *word &= !(1u64 << (slot % 64));
        }
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}
