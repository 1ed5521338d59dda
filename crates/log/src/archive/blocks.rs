//! Where an object's bytes wait until the column chunks they form are known and can be summed.
//!
//! In blocks, so that they are copied once, nothing grows by moving, and each block is given to the store as it is.

use super::{crc::Crc, objects::BLOCK_BYTES};
use std::{
    io::{self, Write},
    ops::Range,
};

/// See the module.
#[derive(Default)]
pub(super) struct Blocks {
    /// All but the last are full; of a row group before there is at most the rest of one.
    blocks: Vec<Vec<u8>>,
    /// Where in the object they begin.
    start: u64,
    /// Of their bytes these were counted in the file's checksum.
    summed: usize,
}

impl Blocks {
    /// Where in the object the first byte that is still here stands.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The bytes of `range`, relative to the start, as they lie.
    fn pieces(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().enumerate().filter_map(move |(i, block)| {
            let (from, to) = (i * BLOCK_BYTES, i * BLOCK_BYTES + block.len());
            let (from, to) = (range.start.clamp(from, to) - from, range.end.clamp(from, to) - from);
            block.get(from..to).filter(|piece| !piece.is_empty())
        })
    }

    /// The checksum of the bytes of `range`, relative to the start.
    pub(super) fn crc(&self, range: Range<usize>) -> u32 {
        let mut crc = Crc::default();
        self.pieces(range).for_each(|piece| crc.update(piece));
        crc.finish()
    }

    /// Bytes from the start on.
    pub(super) fn len(&self) -> usize {
        let full = self.blocks.len().saturating_sub(1);
        full * BLOCK_BYTES + self.blocks.last().map_or(0, Vec::len)
    }

    /// Adds what was not yet added to a checksum of the whole object.
    pub(super) fn sum(&mut self, crc: &mut Crc) {
        self.pieces(self.summed..self.len()).for_each(|piece| crc.update(piece));
        self.summed = self.len();
    }

    /// Takes the full blocks: nothing is added to them.
    pub(super) fn take_full(&mut self) -> Vec<Vec<u8>> {
        let n = self.blocks.iter().take_while(|block| block.len() == BLOCK_BYTES).count();
        self.start += (n * BLOCK_BYTES) as u64;
        self.summed = self.summed.saturating_sub(n * BLOCK_BYTES);
        self.blocks.drain(..n).collect()
    }

    /// Takes the rest, when the object is complete.
    pub(super) fn take_all(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.blocks)
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.blocks.last_mut() {
            Some(block) if block.len() < BLOCK_BYTES => {
                let n = bytes.len().min(BLOCK_BYTES - block.len());
                block.extend_from_slice(&bytes[..n]);
                Ok(n)
            }
            last => {
                // A small segment has small blocks; one that has filled a block will fill the next.
                let mut block = Vec::with_capacity(if last.is_some() || self.start > 0 { BLOCK_BYTES } else { 0 });
                let n = bytes.len().min(BLOCK_BYTES);
                block.extend_from_slice(&bytes[..n]);
                self.blocks.push(block);
                Ok(n)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::crc::crc;

    #[test]
    fn blocks_are_the_bytes_that_were_written_whatever_is_taken_between() {
        let bytes: Vec<u8> = (0..=250).cycle().take(5 * BLOCK_BYTES / 2).collect();
        for step in [1000, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, bytes.len()] {
            let (mut blocks, mut file, mut given) = (Blocks::default(), Crc::default(), Vec::new());
            for (i, piece) in bytes.chunks(step).enumerate() {
                blocks.write_all(piece).unwrap();
                let at = usize::try_from(blocks.start()).unwrap();
                assert_eq!(at + blocks.len(), (i * step + piece.len()));
                let (from, to) = (blocks.len() / 3, blocks.len());
                assert_eq!(blocks.crc(from..to), crc(&bytes[at + from..at + to]));
                if i % 3 == 2 {
                    blocks.sum(&mut file);
                    let full = blocks.take_full();
                    assert!(full.iter().all(|block| block.len() == BLOCK_BYTES) && blocks.len() < BLOCK_BYTES);
                    given.extend(full.concat());
                }
            }
            blocks.sum(&mut file);
            given.extend(blocks.take_all().concat());
            assert!(given == bytes, "step={step}");
            assert_eq!(file.finish(), crc(&bytes), "step={step}");
        }
    }
}
