//! Which offsets belong to which part of a shared scan.
//!
//! Offsets are dealt out in blocks, round robin, each partition beginning with another part. It is a function of partition
//! and offset alone: workers that begin at different moments, with different manifests, still read disjoint parts. A block
//! is as long as a row group, so parts share none (one written under another setting is cut; then both read its chunks).

use crate::error::LogError;
use std::ops::Range;

/// One part of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    index: u64,
    count: u64,
    block_rows: u64,
}

impl Split {
    pub(super) fn new(split: Option<(usize, usize)>, block_rows: u64) -> Result<Split, LogError> {
        let (index, count) = split.unwrap_or((0, 1));
        if index >= count {
            return Err(LogError::BadScan { reason: format!("there is no such part part={index} parts={count}") });
        }
        Ok(Split { index: index as u64, count: count as u64, block_rows: block_rows.max(1) })
    }

    /// The offsets of a range that are ours, ascending and joined.
    pub(super) fn of(&self, partition: u32, offsets: Range<u64>) -> Vec<Range<u64>> {
        if offsets.is_empty() {
            return Vec::new();
        }
        if self.count == 1 {
            return std::iter::once(offsets).collect();
        }
        let mut ours = Vec::new();
        // Block b is ours if (b + partition) mod count = index.
        let shift = u64::from(partition) % self.count;
        let first = offsets.start / self.block_rows;
        let mut block = first + (self.index + 2 * self.count - shift - first % self.count) % self.count;
        while let Some(start) = block.checked_mul(self.block_rows).filter(|start| *start < offsets.end) {
            let end = start.saturating_add(self.block_rows);
            ours.push(start.max(offsets.start)..end.min(offsets.end));
            block += self.count;
        }
        ours
    }

    /// Whether any offset of a range is ours.
    pub(super) fn touches(&self, partition: u32, offsets: Range<u64>) -> bool {
        !self.of(partition, offsets).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_belongs_to_exactly_one_part() {
        for count in 1..5 {
            for partition in 0..4 {
                for range in [0..0, 0..1, 0..10, 7..31, 9..10, 10..20, 100..133] {
                    let mut seen = Vec::new();
                    for index in 0..count {
                        let split = Split::new(Some((index, count)), 10).expect("index is below count");
                        seen.extend(split.of(partition, range.clone()).into_iter().flatten());
                    }
                    seen.sort_unstable();
                    assert_eq!(seen, range.clone().collect::<Vec<_>>(), "count={count} partition={partition}");
                }
            }
        }
    }

    #[test]
    fn a_part_beyond_the_last_is_refused() {
        assert!(Split::new(Some((2, 2)), 10).is_err());
        assert!(Split::new(Some((0, 0)), 10).is_err());
    }
}
