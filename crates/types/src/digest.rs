//! Order-free digest of a multiset of rows: equal multisets, equal digests, whatever the order, batches or workers (I9).
//!
//! Each row's exact bytes (see [`crate::key`]) are hashed with BLAKE3; the 32 bytes are four 64-bit lanes that are added
//! with wrap-around, times the row's multiplicity. Adding and taking away are inverse, so a digest is kept up by deltas.
//! Idea: homomorphic hashing (Bellare and Micciancio's AdHash, 1997; LtHash, Lewi et al., 2019), with far fewer lanes: it finds
//! mistakes, it does not withstand somebody who searches for collisions.

use crate::{Delta, hash::UnsupportedType, key};
use std::fmt;

/// Digest of a multiset; the empty one is all zeros. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub [u64; 4]);

impl Digest {
    /// Adds a row's canonical bytes `diff` times (negative takes away).
    pub fn add(&mut self, row: &[u8], diff: i64) {
        let hash = blake3::hash(row);
        for (lane, bytes) in self.0.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            *lane = lane.wrapping_add(u64::from_le_bytes(word).wrapping_mul(diff.cast_unsigned()));
        }
    }

    /// Adds all rows of a delta.
    pub fn add_delta(&mut self, delta: &Delta) -> Result<(), UnsupportedType> {
        let keys = key::encode_exact(delta.rows.columns(), delta.n_rows())?;
        keys.iter().enumerate().for_each(|(row, key)| self.add(key, delta.diff(row)));
        Ok(())
    }

    /// The digest of both multisets together.
    #[must_use]
    pub fn merge(&self, other: &Digest) -> Digest {
        let mut sum = *self;
        sum.0.iter_mut().zip(other.0).for_each(|(a, b)| *a = a.wrapping_add(b));
        sum
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|lane| write!(f, "{lane:016x}"))
    }
}
