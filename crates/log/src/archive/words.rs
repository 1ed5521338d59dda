//! A dictionary of a column's texts that is made while they come.
//!
//! Each text is looked up by a hash of which half stays beside its place, so that growing hashes nothing again and hardly any two texts are compared that differ.

use super::{
    deltas::pack,
    pages::{Dictionary, PAGE_BYTES},
};
use crate::format::wire::put_u64;
use arrow::buffer::NullBuffer;
use hashbrown::{HashTable, hash_table::Entry};
use regauge_types::hash::hash_bytes;

/// Texts that are looked up together: their tables are larger than the caches near the processor, and it waits for several at once.
const BLOCK: usize = 128;

/// See the module.
#[derive(Default)]
pub(super) struct Words {
    places: HashTable<Word>,
    n_words: u32,
    /// As the page of the dictionary has them: each behind its length in 4 bytes.
    page: Vec<u8>,
    /// Of the open page's values.
    taken: Vec<u32>,
}

/// A text that is known.
#[derive(Clone, Copy)]
struct Word {
    /// Half of its hash.
    half: u32,
    place: u32,
    /// Where in the page it begins.
    from: u32,
}

impl Word {
    fn is(&self, half: u32, text: &[u8], page: &[u8]) -> bool {
        let Some((before, rest)) = page.split_at_checked(self.from as usize) else { return false };
        let len = before.last_chunk().map_or(0, |len| u32::from_le_bytes(*len) as usize);
        self.half == half && len == text.len() && rest.get(..len) == Some(text)
    }
}

/// Half a hash as one that is spread over all bits.
fn spread(half: u32) -> u64 {
    u64::from(half).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Words {
    /// Takes the values of a page's next rows, those that `nulls` leaves out skipped, until there are too many; returns how many rows that were.
    pub(super) fn push<'a>(&mut self, rows: impl ExactSizeIterator<Item = &'a [u8]>, nulls: Option<&NullBuffer>) -> usize {
        let n = rows.len();
        if nulls.is_some_and(|nulls| nulls.null_count() == n) {
            return n;
        }
        self.taken.reserve(n);
        let mut block: Vec<(usize, u32, &[u8])> = Vec::with_capacity(BLOCK.min(n));
        for (row, text) in rows.enumerate().filter(|(row, _)| nulls.is_none_or(|nulls| nulls.is_valid(*row))) {
            block.push((row, u32::try_from(hash_bytes(text) >> 32).unwrap_or(0), text));
            if block.len() == BLOCK {
                if let Some(row) = self.take(&block) {
                    return row;
                }
                block.clear();
            }
        }
        self.take(&block).unwrap_or(n)
    }

    /// Takes the texts of some rows, with half of each one's hash; returns the row with which it stopped.
    fn take(&mut self, block: &[(usize, u32, &[u8])]) -> Option<usize> {
        let mut found = [None; BLOCK];
        for (found, (_, half, _)) in found.iter_mut().zip(block) {
            *found = self.places.find(spread(*half), |word| word.half == *half).copied();
        }
        for (found, (row, half, text)) in found.into_iter().zip(block) {
            if self.are_many() {
                return Some(*row);
            }
            let known = found.filter(|word| word.is(*half, text, &self.page)).map(|word| word.place);
            let Some(place) = known.or_else(|| self.place(*half, text)) else { return Some(*row) };
            self.taken.push(place);
        }
        None
    }

    /// The place of a text that may be new; `None` beyond what 32 bits name: then there are more than enough.
    fn place(&mut self, half: u32, text: &[u8]) -> Option<u32> {
        let page = &mut self.page;
        match self.places.entry(spread(half), |word| word.is(half, text, page), |word| spread(word.half)) {
            Entry::Occupied(found) => Some(found.get().place),
            Entry::Vacant(free) => {
                let (place, after) = (self.n_words, self.n_words.checked_add(1)?);
                let from = u32::try_from(page.len() + 4).ok()?;
                let len = u32::try_from(text.len()).ok()?;
                from.checked_add(len)?;
                page.extend_from_slice(&len.to_le_bytes());
                page.extend_from_slice(text);
                free.insert(Word { half, place, from });
                self.n_words = after;
                Some(place)
            }
        }
    }

    /// Whether no more should be taken.
    pub(super) fn are_many(&self) -> bool {
        self.page.len() >= PAGE_BYTES
    }

    /// Bytes of the chunk, about.
    pub(super) fn len(&self) -> usize {
        self.page.len() + self.taken.len()
    }

    pub(super) fn memory(&self) -> usize {
        self.places.allocation_size() + self.page.capacity() + self.taken.capacity() * size_of::<u32>()
    }

    /// Appends the places of the page's values: how many bits each has, then one run of them.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>) {
        let greatest = u64::from(self.n_words.saturating_sub(1));
        let width = u64::BITS - greatest.leading_zeros();
        // At most 32.
        out.push(u8::try_from(width).unwrap_or(32));
        let n = self.taken.len();
        if width == 0 && n > 0 {
            // One word alone: its place takes no byte.
            put_u64(out, (n as u64) << 1);
        } else if n > 0 {
            let groups = n.div_ceil(8);
            put_u64(out, (groups as u64) << 1 | 1);
            let end = out.len() + groups * width as usize;
            pack(self.taken.iter().map(|place| u64::from(*place)), width, out);
            out.resize(end, 0);
        }
        self.taken.clear();
    }

    pub(super) fn into_dictionary(self) -> Dictionary {
        Dictionary { n_values: self.n_words as usize, page: self.page }
    }
}
