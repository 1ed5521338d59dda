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

/// See the module.
#[derive(Default)]
pub(super) struct Words {
    /// Half of the hash, and the place.
    places: HashTable<(u32, u32)>,
    known: Known,
    /// Of the open page's values.
    taken: Vec<u32>,
}

/// The texts, as the page of the dictionary has them: each behind its length in 4 bytes.
#[derive(Default)]
struct Known {
    page: Vec<u8>,
    /// Where each text begins and ends.
    ranges: Vec<(u32, u32)>,
}

impl Known {
    fn get(&self, place: u32) -> &[u8] {
        let (from, to) = self.ranges[place as usize];
        &self.page[from as usize..to as usize]
    }

    /// `None` beyond what 32 bits name: then there are more than enough.
    fn add(&mut self, text: &[u8]) -> Option<u32> {
        let place = u32::try_from(self.ranges.len()).ok()?;
        let from = u32::try_from(self.page.len() + 4).ok()?;
        let len = u32::try_from(text.len()).ok()?;
        let to = from.checked_add(len)?;
        self.page.extend_from_slice(&len.to_le_bytes());
        self.page.extend_from_slice(text);
        self.ranges.push((from, to));
        Some(place)
    }
}

impl Words {
    /// Takes the values of a page's next rows, those that `nulls` leaves out skipped, until there are too many; returns how many rows that were.
    pub(super) fn push<'a>(&mut self, rows: impl ExactSizeIterator<Item = &'a [u8]>, nulls: Option<&NullBuffer>) -> usize {
        let n = rows.len();
        if nulls.is_some_and(|nulls| nulls.null_count() == n) {
            return n;
        }
        self.taken.reserve(n);
        for (i, text) in rows.enumerate() {
            if nulls.is_some_and(|nulls| nulls.is_null(i)) {
                continue;
            }
            if self.are_many() {
                return i;
            }
            let Some(place) = self.place(text) else { return i };
            self.taken.push(place);
        }
        n
    }

    fn place(&mut self, text: &[u8]) -> Option<u32> {
        // The upper half; which slot it goes to is spread over all bits again.
        let half = u32::try_from(hash_bytes(text) >> 32).unwrap_or(0);
        let spread = |half: u32| u64::from(half).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let known = &mut self.known;
        match self.places.entry(spread(half), |(h, at)| *h == half && known.get(*at) == text, |(h, _)| spread(*h)) {
            Entry::Occupied(found) => Some(found.get().1),
            Entry::Vacant(free) => {
                let place = known.add(text)?;
                free.insert((half, place));
                Some(place)
            }
        }
    }

    /// Whether no more should be taken.
    pub(super) fn are_many(&self) -> bool {
        self.known.page.len() >= PAGE_BYTES
    }

    /// Bytes of the chunk, about.
    pub(super) fn len(&self) -> usize {
        self.known.page.len() + self.taken.len()
    }

    pub(super) fn memory(&self) -> usize {
        let (places, ranges) = (self.places.allocation_size(), self.known.ranges.capacity() * size_of::<(u32, u32)>());
        places + ranges + self.known.page.capacity() + self.taken.capacity() * size_of::<u32>()
    }

    /// Appends the places of the page's values: how many bits each has, then one run of them.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>) {
        let greatest = self.known.ranges.len().saturating_sub(1) as u64;
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
        Dictionary { n_values: self.known.ranges.len(), page: self.known.page }
    }
}
