//! A manifest: the one file that makes blocks a checkpoint.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `RGCKPT01` |
//! | 4 | format version |
//! | 8 | length of the payload |
//! | 16 | blake3, cut to 16 bytes, of the 20 bytes above and the payload |
//! | n | the payload: data set (16), number (8), lsn (8), its owner's own bytes (8 + n), number of sections (8), then each: name (8 + n), fingerprint (32), number of blocks (8), then each: kind (1), node, worker, part, whose (4 each; 256 for all), run (8), offset (8), length (8), blake3 cut to 16 bytes |
//!
//! All numbers little-endian. Invariant: every byte of the file is covered by the checksum or compared.

use super::{
    FORMAT_VERSION,
    wire::{Put, Take},
};
use regauge_types::{DataSetId, Lsn};

const MAGIC: &[u8; 8] = b"RGCKPT01";
/// Bytes before the payload.
const HEAD: usize = 8 + 4 + 8 + 16;
/// Of a checksum.
pub(super) const HASH: usize = 16;

/// What a block is, in its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// Which kind; its owner's numbering.
    pub kind: u8,
    /// A node.
    pub node: u32,
    /// The worker that wrote it.
    pub worker: u32,
    /// A part of the node's state.
    pub part: u32,
    /// A bucket, or 256 for all.
    pub of: u32,
}

/// Where bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The run's number.
    pub run: u64,
    /// Its first byte there.
    pub offset: u64,
    /// How many.
    pub len: u64,
}

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub label: Label,
    /// Where it is.
    pub place: Place,
    /// Checksum of its bytes.
    pub hash: [u8; HASH],
}

/// What belongs together: a version, a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: Vec<u8>,
    /// Of what gives its blocks their meaning: a plan, a schema.
    pub fingerprint: [u8; 32],
    /// Its state.
    pub blocks: Vec<Block>,
}

/// See the module's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Whose data it is.
    pub dataset: DataSetId,
    /// Its number; ascends.
    pub no: u64,
    /// The state is that of the commits up to here.
    pub lsn: Lsn,
    /// What its owner keeps beside the sections.
    pub own: Vec<u8>,
    /// Sections.
    pub sections: Vec<Section>,
}

/// Why bytes are not a manifest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotOne {
    Damaged(&'static str),
    Version(u32),
}

pub(crate) fn checksum(parts: &[&[u8]]) -> [u8; HASH] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut cut = [0; HASH];
    cut.copy_from_slice(&hasher.finalize().as_bytes()[..HASH]);
    cut
}

impl Manifest {
    /// The section of this name.
    #[must_use]
    pub fn section(&self, name: &[u8]) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut payload = Put::default();
        payload.raw(&self.dataset.0);
        payload.u64(self.no);
        payload.u64(self.lsn.0);
        payload.bytes(&self.own);
        payload.u64(self.sections.len() as u64);
        for section in &self.sections {
            payload.bytes(&section.name);
            payload.raw(&section.fingerprint);
            payload.u64(section.blocks.len() as u64);
            for Block { label, place, hash } in &section.blocks {
                payload.u8(label.kind);
                [label.node, label.worker, label.part, label.of].into_iter().for_each(|n| payload.u32(n));
                [place.run, place.offset, place.len].into_iter().for_each(|n| payload.u64(n));
                payload.raw(hash);
            }
        }
        let mut head = Put::default();
        head.raw(MAGIC);
        head.u32(FORMAT_VERSION);
        head.u64(payload.0.len() as u64);
        let hash = checksum(&[&head.0, &payload.0]);
        [head.0, hash.to_vec(), payload.0].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Manifest, NotOne> {
        let (head, payload) = bytes.split_at_checked(HEAD).ok_or(NotOne::Damaged("it ends early"))?;
        let (told, hash) = head.split_at(HEAD - HASH);
        if checksum(&[told, payload]) != *hash {
            return Err(NotOne::Damaged("its checksum does not agree"));
        }
        let mut told = Take(told);
        let (magic, version, len) = (told.raw::<8>(), told.u32().unwrap_or(0), told.u64());
        if magic.as_ref() != Some(MAGIC) {
            return Err(NotOne::Damaged("it does not begin as one"));
        }
        // behind the checksum: a flipped bit must not look like another release
        if version != FORMAT_VERSION {
            return Err(NotOne::Version(version));
        }
        if len != Some(payload.len() as u64) {
            return Err(NotOne::Damaged("its length does not agree"));
        }
        Manifest::read(&mut Take(payload)).ok_or(NotOne::Damaged("its content does not read"))
    }

    fn read(from: &mut Take<'_>) -> Option<Manifest> {
        let (dataset, no, lsn) = (DataSetId(from.raw()?), from.u64()?, Lsn(from.u64()?));
        let own = from.bytes()?.to_vec();
        let mut sections = vec![];
        for _ in 0..from.u64()? {
            let (name, fingerprint) = (from.bytes()?.to_vec(), from.raw()?);
            let mut blocks = vec![];
            for _ in 0..from.u64()? {
                let label =
                    Label { kind: from.u8()?, node: from.u32()?, worker: from.u32()?, part: from.u32()?, of: from.u32()? };
                let place = Place { run: from.u64()?, offset: from.u64()?, len: from.u64()? };
                blocks.push(Block { label, place, hash: from.raw()? });
            }
            sections.push(Section { name, fingerprint, blocks });
        }
        from.0.is_empty().then_some(Manifest { dataset, no, lsn, own, sections })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_and_no_bit_of_it_can_change_unseen() {
        let label = Label { kind: 1, node: 2, worker: 0, part: 3, of: 256 };
        let block = Block { label, place: Place { run: 7, offset: 16, len: 9 }, hash: [5; HASH] };
        let section = Section { name: b"v".to_vec(), fingerprint: [9; 32], blocks: vec![block, block] };
        let all = Manifest { dataset: DataSetId([1; 16]), no: 7, lsn: Lsn(99), own: vec![1, 2], sections: vec![section] };
        let bytes = all.to_bytes();
        assert_eq!(Manifest::from_bytes(&bytes), Ok(all));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Manifest::from_bytes(&flipped), Err(NotOne::Damaged(_))), "bit={bit}");
        }
        for len in 0..bytes.len() {
            assert!(matches!(Manifest::from_bytes(&bytes[..len]), Err(NotOne::Damaged(_))), "len={len}");
        }
        assert!(Manifest::from_bytes(&[bytes, vec![0]].concat()).is_err());
    }
}
