//! Rows of a layer by the hash of their key: one sorted array, eight bytes a row and no more.
//!
//! ```text
//! words   [tag row] [tag row] [tag row] ..       ascending; tag: low 32 bits of the key's hash
//!               ^ tag * n / 2^32: hashes are even, so a row is about sqrt(n) places from here
//! ```
//!
//! Layers never change, so there is no need for room to grow, which costs a hash table as much again as what it holds. A look-up
//! begins where an even spread would put the tag and gallops from there: a few cache lines, whatever n. Rows that only the tag has
//! in common are given out, too: the caller compares keys.

use regauge_types::hash::{UnsupportedType, hash_columns};

use arrow::array::ArrayRef;

/// See the module.
#[derive(Default)]
pub(super) struct KeyIndex {
    words: Box<[u64]>,
}

fn tag_of(hash: u64) -> u64 {
    hash & 0xffff_ffff
}

impl KeyIndex {
    /// Of rows that come in pieces of key columns, with the number of rows of each; `n_rows` in all.
    pub fn new(n_rows: usize, pieces: impl Iterator<Item = (Vec<ArrayRef>, usize)>) -> Result<KeyIndex, UnsupportedType> {
        let mut words = Vec::with_capacity(n_rows);
        for (columns, n) in pieces {
            let first = words.len() as u64;
            let hashes = hash_columns(&columns, n)?;
            words.extend(hashes.into_iter().zip(first..).map(|(hash, row)| tag_of(hash) << 32 | row));
        }
        words.sort_unstable();
        Ok(KeyIndex { words: words.into_boxed_slice() })
    }

    /// Rows whose key may have this hash.
    pub fn rows(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let tag = tag_of(hash);
        let of_tag = self.words[self.first(tag)..].iter().take_while(move |word| **word >> 32 == tag);
        of_tag.map(|word| u32::try_from(word & 0xffff_ffff).expect("masked to 32 bits"))
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// The first place whose tag is not less.
    fn first(&self, tag: u64) -> usize {
        let (n, is_less) = (self.words.len(), |word: &u64| *word >> 32 < tag);
        let near = usize::try_from((u128::from(tag) * n as u128) >> 32).unwrap_or(n);
        let (mut from, mut to, mut step) = (near, near, 8);
        while from > 0 && !is_less(&self.words[from - 1]) {
            to = from;
            from = from.saturating_sub(step);
            step *= 2;
        }
        while to < n && is_less(&self.words[to]) {
            from = to + 1;
            to = (to + step).min(n);
            step *= 2;
        }
        from + self.words[from..to].partition_point(is_less)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use std::sync::Arc;

    fn index(pieces: &[Vec<i64>]) -> KeyIndex {
        let columns = pieces.iter().map(|p| (vec![Arc::new(Int64Array::from(p.clone())) as ArrayRef], p.len()));
        KeyIndex::new(pieces.iter().map(Vec::len).sum(), columns).expect("integers are keys")
    }

    #[test]
    fn every_row_is_found_under_its_key_and_few_others() {
        for n in [1usize, 2, 7, 100, 20_000] {
            // each key twice, in two pieces
            let keys: Vec<i64> = (0..n as i64).collect();
            let index = index(&[keys.clone(), keys.clone()]);
            let hashes = hash_columns(&[Arc::new(Int64Array::from(keys))], n).expect("integers are keys");
            let mut n_other = 0;
            for (row, hash) in (0u32..).zip(&hashes) {
                let found: Vec<u32> = index.rows(*hash).collect();
                assert!(found.contains(&row) && found.contains(&(row + u32::try_from(n).expect("small"))), "n={n} row={row}");
                n_other += found.len() - 2;
            }
            assert!(n_other <= n / 1000, "n={n} other={n_other}");
        }
    }

    #[test]
    fn places_far_from_where_an_even_spread_would_put_them_are_found() {
        // tags bunched at either end, and one in the middle
        let tags: Vec<u64> = (0..1000).chain([1 << 31]).chain(0xffff_ff00..=0xffff_ffff).collect();
        let index = KeyIndex { words: (0u64..).zip(&tags).map(|(row, tag)| tag << 32 | row).collect() };
        for (row, tag) in (0u32..).zip(&tags) {
            assert_eq!(index.rows(*tag).collect::<Vec<_>>(), [row], "tag={tag}");
        }
        assert_eq!(index.rows(5000).count() + KeyIndex::default().rows(0).count(), 0);
    }
}
