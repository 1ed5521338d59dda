//! The durable mark: how far the journal was known to be synced, in two slots written in turn.
//!
//! ```text
//! slot (512 bytes, one disk sector):  0 magic "RGMARK01"   8 generation   16 file   24 length   32 lsn   40 hlc   48 run   52 zero...   508 crc
//! file: slot of even generations at 0, of odd ones at 512
//! ```
//!
//! A slot that is torn leaves the other, so the mark as read is never ahead of what was synced, and at most one generation behind what was written.
//! It trails: frames carry the durable lsn themselves, and the mark is needed only for the last of them.

use super::frame::Seed;
use super::wire::Malformed;

/// Bytes of a slot: the unit that a disk writes whole.
pub const SLOT_LEN: usize = 512;
const MAGIC: [u8; 8] = *b"RGMARK01";

/// What the mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Ascends by one with each write.
    pub generation: u64,
    /// First lsn (the name) of the journal file that was being written.
    pub file: u64,
    /// Bytes of that file that were synced.
    pub length: u64,
    /// Last lsn within those.
    pub lsn: u64,
    /// Greatest clock within those.
    pub hlc: u64,
    /// Number of the opening that wrote it.
    pub run: u32,
}

impl Mark {
    /// Where this generation's slot stands in the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        (self.generation % 2) * SLOT_LEN as u64
    }

    /// The slot's bytes.
    #[must_use]
    pub fn to_bytes(&self, seed: &Seed) -> [u8; SLOT_LEN] {
        let mut out = [0; SLOT_LEN];
        out[0..8].copy_from_slice(&MAGIC);
        for (at, value) in [(8, self.generation), (16, self.file), (24, self.length), (32, self.lsn), (40, self.hlc)] {
            out[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        out[48..52].copy_from_slice(&self.run.to_le_bytes());
        let crc = seed.crc(&out[..SLOT_LEN - 4]);
        out[SLOT_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads one slot.
    pub fn from_bytes(slot: &[u8; SLOT_LEN], seed: &Seed) -> Result<Self, Malformed> {
        if slot[0..8] != MAGIC {
            return Err(Malformed::new("no durable mark begins here"));
        }
        if seed.crc(&slot[..SLOT_LEN - 4]).to_le_bytes() != slot[SLOT_LEN - 4..] {
            return Err(Malformed::new("checksum of the durable mark differs"));
        }
        let u64_at = |at: usize| {
            let mut out = [0; 8];
            out.copy_from_slice(&slot[at..at + 8]);
            u64::from_le_bytes(out)
        };
        let mut run = [0; 4];
        run.copy_from_slice(&slot[48..52]);
        Ok(Self {
            generation: u64_at(8),
            file: u64_at(16),
            length: u64_at(24),
            lsn: u64_at(32),
            hlc: u64_at(40),
            run: u32::from_le_bytes(run),
        })
    }

    /// The newer of the valid slots in the bytes of a mark file.
    pub fn newest(file: &[u8], seed: &Seed) -> Result<Self, Malformed> {
        file.chunks(SLOT_LEN)
            .take(2)
            .filter_map(|slot| Self::from_bytes(slot.first_chunk()?, seed).ok())
            .max_by_key(|mark| mark.generation)
            .ok_or_else(|| Malformed::new("neither slot of the durable mark is valid"))
    }
}
