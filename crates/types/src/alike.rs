//! Rows that have a hash in common.
//!
//! ```text
//!   hashes ─▶ shared out by some of their bits, parts of about [`PART_ROWS`] ─▶ a table for each part ─▶ (first of a hash, another of it)
//! ```
//! One table for all of ten million rows misses the caches with each row; a part's table fits in one, and sharing rows out is two passes in order.
//! Idea: partitioned hash joins (Shatdal, Kant and Naughton, 1994; Manegold, Boncz and Kersten, 2002).

use std::collections::{HashMap, hash_map::Entry};

/// Rows of a part, about: hashes, numbers and table take some 400 KB.
const PART_ROWS: usize = 1 << 14;
/// Bits of a hash that say which part it is of, at most: so many places are written to at a time.
const BITS_MAX: u32 = 12;

type Table = HashMap<u64, u32, foldhash::fast::FixedState>;

/// For each row whose hash an earlier one has, the first that has it, and that row. Rows of one hash ascend; there is no other order.
pub(crate) fn pairs(hashes: &[u64]) -> Vec<(u32, u32)> {
    let n_parts = (hashes.len() / PART_ROWS).next_power_of_two();
    let bits = n_parts.trailing_zeros().min(BITS_MAX);
    let mut pairs = vec![];
    let mut table = Table::with_capacity_and_hasher(hashes.len().min(2 * PART_ROWS), foldhash::fast::FixedState::with_seed(0));
    if bits == 0 {
        of_part(hashes.iter().copied().zip(0..), &mut table, &mut pairs);
        return pairs;
    }
    // not the first bits: by these rows are shared out among workers
    let part = |hash: u64| usize::try_from((hash << 8) >> (64 - bits)).expect("a few bits");
    let mut ends = vec![0; 1 << bits];
    hashes.iter().for_each(|hash| ends[part(*hash)] += 1);
    let mut places: Vec<usize> = ends
        .iter_mut()
        .scan(0, |all, n| {
            let begin = *all;
            *all += *n;
            *n = *all;
            Some(begin)
        })
        .collect();
    let mut shared = vec![(0, 0); hashes.len()];
    for (row, hash) in (0u32..).zip(hashes) {
        let place = &mut places[part(*hash)];
        shared[*place] = (*hash, row);
        *place += 1;
    }
    let mut begin = 0;
    for end in ends {
        table.clear();
        of_part(shared[begin..end].iter().copied(), &mut table, &mut pairs);
        begin = end;
    }
    pairs
}

fn of_part(rows: impl Iterator<Item = (u64, u32)>, table: &mut Table, pairs: &mut Vec<(u32, u32)>) {
    for (hash, row) in rows {
        match table.entry(hash) {
            Entry::Vacant(entry) => drop(entry.insert(row)),
            Entry::Occupied(entry) => pairs.push((*entry.get(), row)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_hash_are_found_however_many_parts_there_are() {
        for n in [0usize, 1, 100, PART_ROWS - 1, PART_ROWS, 3 * PART_ROWS, 9 * PART_ROWS + 17] {
            // each hash up to three times, far apart; and some that have all bits of a part in common
            let spread = |i: usize| (i as u64 % (n as u64 / 3 + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let hashes: Vec<u64> = (0..n).map(|i| if i % 5 == 0 { i as u64 / 10 } else { spread(i) }).collect();
            let mut first = HashMap::new();
            let mut wanted = vec![];
            for (row, hash) in (0u32..).zip(&hashes) {
                let earlier = *first.entry(*hash).or_insert(row);
                if earlier != row {
                    wanted.push((earlier, row));
                }
            }
            let mut found = pairs(&hashes);
            found.sort_unstable_by_key(|(_, row)| *row);
            assert_eq!(found, wanted, "n={n}");
        }
    }
}
