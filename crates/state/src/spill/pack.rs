//! Keys, ascending by hash, with the rows of each: what a block holds.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | number of keys |
//! | 8 each | their hashes, ascending |
//! | 4 each | how many rows of the first table each has; 0: it is gone |
//! | rest | the tables, as `checkpoint::encode` writes them, in LZ4 |
//!
//! Where a pack is flat, every table has a row for each row of the first one, in the same order, so keys can be picked out and packs be
//! put together without knowing what the columns mean.

use super::SpillError;
use crate::checkpoint::{decode, encode_with};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;

/// See the module's header.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pack {
    /// Ascending; each once.
    pub hashes: Vec<u64>,
    /// Rows of each.
    pub counts: Vec<u32>,
    /// All rows; none at all if no key has rows.
    pub tables: Vec<RecordBatch>,
}

impl Pack {
    /// Without keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Rows of the first table.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.counts.iter().map(|n| *n as usize).sum()
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, SpillError> {
        let n = u32::try_from(self.hashes.len()).map_err(|_| ArrowError::InvalidArgumentError("too many keys".into()))?;
        let mut bytes = n.to_le_bytes().to_vec();
        self.hashes.iter().for_each(|h| bytes.extend_from_slice(&h.to_le_bytes()));
        self.counts.iter().for_each(|n| bytes.extend_from_slice(&n.to_le_bytes()));
        bytes.extend(encode_with(&self.tables, Some(CompressionType::LZ4_FRAME))?);
        Ok(bytes)
    }

    /// `None` for bytes that are not one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Pack> {
        let (n, rest) = bytes.split_first_chunk::<4>()?;
        let n = usize::try_from(u32::from_le_bytes(*n)).ok()?;
        let (hashes, rest) = rest.split_at_checked(n.checked_mul(8)?)?;
        let (counts, rest) = rest.split_at_checked(n.checked_mul(4)?)?;
        let hashes = hashes.chunks_exact(8).filter_map(|b| Some(u64::from_le_bytes(b.try_into().ok()?))).collect();
        let counts = counts.chunks_exact(4).filter_map(|b| Some(u32::from_le_bytes(b.try_into().ok()?))).collect();
        Some(Pack { hashes, counts, tables: decode(rest).ok()? })
    }

    /// These keys of a flat pack, named by their places, ascending.
    pub fn pick(&self, places: &[usize]) -> Result<Pack, SpillError> {
        if places.len() == self.hashes.len() {
            return Ok(self.clone());
        }
        let (mut rows, mut from, mut next): (Vec<u32>, u32, usize) = (vec![], 0, 0);
        for place in places {
            from += self.counts[next..*place].iter().sum::<u32>();
            rows.extend(from..from + self.counts[*place]);
            from += self.counts[*place];
            next = place + 1;
        }
        let tables = if rows.is_empty() { vec![] } else { self.take(&rows.into())? };
        let of = |all: &[u32]| places.iter().map(|p| all[*p]).collect();
        Ok(Pack { hashes: places.iter().map(|p| self.hashes[*p]).collect(), counts: of(&self.counts), tables })
    }

    fn take(&self, rows: &UInt32Array) -> Result<Vec<RecordBatch>, ArrowError> {
        self.tables.iter().map(|table| take_record_batch(table, rows)).collect()
    }

    /// Flat packs as one: rows of a key that more than one has stand behind one another.
    pub fn merge(packs: &[Pack]) -> Result<Pack, SpillError> {
        let packs: Vec<&Pack> = packs.iter().filter(|p| !p.is_empty()).collect();
        if let [one] = packs.as_slice() {
            return Ok((*one).clone());
        }
        let (mut keys, mut from): (Vec<(u64, u32, u32)>, u32) = (vec![], 0);
        for pack in &packs {
            for (hash, n) in pack.hashes.iter().zip(&pack.counts) {
                keys.push((*hash, from, *n));
                from += n;
            }
        }
        keys.sort_unstable();
        let rows: UInt32Array = keys.iter().flat_map(|(_, from, n)| *from..*from + *n).collect::<Vec<u32>>().into();
        let (mut hashes, mut counts) = (vec![], vec![]);
        for of_key in keys.chunk_by(|a, b| a.0 == b.0) {
            hashes.push(of_key[0].0);
            counts.push(of_key.iter().map(|k| k.2).sum());
        }
        let with_rows: Vec<&Pack> = packs.into_iter().filter(|p| !p.tables.is_empty()).collect();
        let n_tables = with_rows.first().map_or(0, |p| p.tables.len());
        let mut tables = Vec::with_capacity(n_tables);
        for at in 0..n_tables {
            let all: Option<Vec<&RecordBatch>> = with_rows.iter().map(|p| p.tables.get(at)).collect();
            let all = all.ok_or_else(|| ArrowError::InvalidArgumentError("packs of different tables".into()))?;
            let whole = concat_batches(&all[0].schema(), all)?;
            tables.push(take_record_batch(&whole, &rows)?);
        }
        Ok(Pack { hashes, counts, tables })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use std::sync::Arc;

    fn pack(keys: &[(u64, &[i64])]) -> Pack {
        let values: Vec<i64> = keys.iter().flat_map(|(_, v)| v.iter().copied()).collect();
        let table = |f: fn(i64) -> i64| {
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values.iter().map(|v| f(*v))));
            RecordBatch::try_from_iter([("v", column)]).unwrap()
        };
        let tables = if values.is_empty() { vec![] } else { vec![table(|v| v), table(|v| -v)] };
        let counts = keys.iter().map(|(_, v)| u32::try_from(v.len()).unwrap()).collect();
        Pack { hashes: keys.iter().map(|k| k.0).collect(), counts, tables }
    }

    #[test]
    fn keys_are_picked_and_merged_with_their_rows() {
        let a = pack(&[(2, &[20, 21]), (5, &[]), (7, &[70])]);
        let b = pack(&[(1, &[10]), (7, &[71, 72])]);
        assert_eq!(a.pick(&[0, 2]).unwrap(), pack(&[(2, &[20, 21]), (7, &[70])]));
        assert_eq!(a.pick(&[1]).unwrap(), pack(&[(5, &[])]));
        let both = Pack::merge(&[a.clone(), Pack::default(), b]).unwrap();
        assert_eq!(both, pack(&[(1, &[10]), (2, &[20, 21]), (5, &[]), (7, &[70, 71, 72])]));
        assert_eq!(Pack::decode(&both.encode().unwrap()).unwrap(), both);
        let gone = pack(&[(5, &[])]);
        assert_eq!(Pack::decode(&gone.encode().unwrap()).unwrap(), gone);
        assert!(Pack::decode(&[1, 0, 0, 0]).is_none());
    }
}
