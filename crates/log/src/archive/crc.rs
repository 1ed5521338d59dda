//! CRC-32C, the checksum of everything the archive writes.

use crc_fast::{CrcAlgorithm, Digest};

/// A checksum of bytes that come in pieces.
pub(crate) struct Crc(Digest);

impl Default for Crc {
    fn default() -> Crc {
        Crc(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Crc {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(&self) -> u32 {
        u32::try_from(self.0.finalize()).expect("a 32-bit crc has 32 bits")
    }
}

/// The checksum of `bytes`.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::default();
    crc.update(bytes);
    crc.finish()
}
