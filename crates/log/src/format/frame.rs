//! A frame: the unit that is whole or not there. 48 bytes of header, then the body.
//!
//! ```text
//!  0 magic    4 body_len  8 body_crc  12 kind 13 flags 14 zero  16 lsn      24 hlc     32 lag   36 run   40 previous 44 header_crc   48 body...
//! ```
//!
//! What each field is for:
//! * `body_crc` (CRC-32C of the body) is computed in the commit section; the header's own `header_crc`, over the other 44 bytes and the data set's id, by the
//!   writer when it seals the frame. So a header can be trusted, and its length followed, when the body cannot.
//! * `lag` = lsn - (last lsn known durable when the frame was written). A valid frame proves that everything up to `lsn - lag` had been synced: a
//!   hole before it is corruption if it lies in that range, and a write that never finished otherwise. This is the durable mark, for free, in each frame.
//! * `previous` is the `header_crc` of the frame before: frames chain over the whole journal, so a stale, swapped or misdirected block does not pass.
//! * `run` is the number of the opening that wrote it, recorded before it writes. It never descends, so that bytes of a torn tail, overwritten in part, cannot
//!   come back to life behind newer frames.

use super::wire::Malformed;

/// First bytes of each frame.
pub const MAGIC: [u8; 4] = *b"RGF1";
/// Length of the header.
pub const HEADER_LEN: usize = 48;
/// No body is longer: a bound for what a reader will reserve. Writers have lower limits.
pub const BODY_LEN_MAX: u32 = 1 << 30;

/// What a frame's body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A commit.
    Commit,
    /// What is known after `lsn`: topics, offsets, producers. Stands first in each file, so that recovery reads one file.
    State,
}

/// A frame's header. `flags` belong to the body's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes after the header.
    pub body_len: u32,
    /// CRC-32C of those.
    pub body_crc: u32,
    /// What they are.
    pub kind: Kind,
    /// For the body's decoder.
    pub flags: u8,
    /// The commit's number; for a state, that of the last commit before it.
    pub lsn: u64,
    /// The commit's clock; for a state, the greatest issued before it.
    pub hlc: u64,
    /// How far the durable lsn lay behind `lsn`.
    pub lag: u32,
    /// Which opening of the log wrote it.
    pub run: u32,
    /// `header_crc` of the frame before; 0 for the first of a journal.
    pub previous: u32,
}

impl Header {
    /// Last lsn that was durable when this frame was written.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.lsn.saturating_sub(u64::from(self.lag))
    }

    /// Length of the whole frame.
    #[must_use]
    pub fn frame_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.body_len)
    }

    /// Writes the header over the first [`HEADER_LEN`] bytes of `out`; returns its `header_crc`.
    pub fn write(&self, out: &mut [u8], seed: &Seed) -> u32 {
        out[0..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&self.body_len.to_le_bytes());
        out[8..12].copy_from_slice(&self.body_crc.to_le_bytes());
        out[12] = match self.kind {
            Kind::Commit => 1,
            Kind::State => 2,
        };
        out[13] = self.flags;
        out[14..16].fill(0);
        out[16..24].copy_from_slice(&self.lsn.to_le_bytes());
        out[24..32].copy_from_slice(&self.hlc.to_le_bytes());
        out[32..36].copy_from_slice(&self.lag.to_le_bytes());
        out[36..40].copy_from_slice(&self.run.to_le_bytes());
        out[40..44].copy_from_slice(&self.previous.to_le_bytes());
        let crc = seed.crc(&out[..44]);
        out[44..48].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// Reads a header and its `header_crc`. Everything is checked but the body.
    pub fn read(bytes: &[u8], seed: &Seed) -> Result<(Self, u32), Malformed> {
        let Some(b) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(Malformed::new(format!("frame header ends early left={}", bytes.len())));
        };
        if b[0..4] != MAGIC {
            return Err(Malformed::new("no frame begins here"));
        }
        let crc = u32_at(b, 44);
        if crc != seed.crc(&b[..44]) {
            return Err(Malformed::new("checksum of the frame header differs"));
        }
        let kind = match b[12] {
            1 => Kind::Commit,
            2 => Kind::State,
            other => return Err(Malformed::new(format!("unknown kind of frame kind={other}"))),
        };
        if b[14..16] != [0, 0] {
            return Err(Malformed::new("reserved bytes of the frame header are set"));
        }
        let header = Self {
            body_len: u32_at(b, 4),
            body_crc: u32_at(b, 8),
            kind,
            flags: b[13],
            lsn: u64_at(b, 16),
            hlc: u64_at(b, 24),
            lag: u32_at(b, 32),
            run: u32_at(b, 36),
            previous: u32_at(b, 40),
        };
        if header.body_len > BODY_LEN_MAX {
            return Err(Malformed::new(format!("frame is too long body_len={} max={BODY_LEN_MAX}", header.body_len)));
        }
        Ok((header, crc))
    }

    /// Checks a body against the header.
    pub fn check_body(&self, body: &[u8]) -> Result<(), Malformed> {
        if body.len() as u64 != u64::from(self.body_len) {
            return Err(Malformed::new(format!("frame ends early body_len={} left={}", self.body_len, body.len())));
        }
        if crc32c(body) != self.body_crc {
            return Err(Malformed::new(format!("checksum of the frame body differs lsn={}", self.lsn)));
        }
        Ok(())
    }
}

/// The data set's id, mixed into every checksum of a header: a frame of another folder is no frame here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 16]);

impl Seed {
    /// CRC-32C of the id and `bytes`.
    #[must_use]
    pub fn crc(&self, bytes: &[u8]) -> u32 {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        digest.update(&self.0);
        digest.update(bytes);
        low_half(digest.finalize())
    }
}

/// CRC-32C.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    low_half(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes))
}

/// Where in `bytes`, at or after `from`, the next whole valid frame begins. Used behind a broken frame only.
///
/// Cost: one search for the magic; checksums only where it is found.
#[must_use]
pub fn find_valid(bytes: &[u8], from: usize, seed: &Seed) -> Option<(usize, Header)> {
    let mut at = from;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.windows(MAGIC.len()).position(|w| w == MAGIC)) {
        let start = at + found;
        if let Ok((header, _)) = Header::read(&bytes[start..], seed) {
            let body = start + HEADER_LEN;
            let whole = usize::try_from(header.body_len).ok().and_then(|n| bytes.get(body..body.checked_add(n)?));
            if whole.is_some_and(|body| header.check_body(body).is_ok()) {
                return Some((start, header));
            }
        }
        at = start + 1;
    }
    None
}

/// A 32-bit checksum comes in the low half of a 64-bit result.
fn low_half(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(out)
}

fn u64_at(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}
