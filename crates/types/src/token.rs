//! Causal token: what a client has seen, as an opaque text it carries from one session to the next (I7).
//!
//! ```text
//!  byte   0        1..17        17..25        25..33   33..41   41..57
//!       version   data set   incarnation     lsn      hlc       mac          big-endian, base64url without padding
//! ```
//! The MAC (keyed BLAKE3, 16 bytes) covers everything before it. Guarantee: a token that verifies was minted by a holder of
//! the key for this data set. Not promised: secrecy of its content. A forged, cut, foreign or future-version token is refused
//! and moves no clock.

use crate::{DataSetId, Hlc, Lsn};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

const VERSION: u8 = 1;
const BODY: usize = 41;
const MAC: usize = 16;
const CONTEXT: &str = "regauge 2026-11-23 causal token mac v1";

/// What a client has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CausalToken {
    /// The data it speaks of.
    pub data_set: DataSetId,
    /// Restoring a backup mints a new one: tokens from before may name what no longer is.
    pub incarnation: u64,
    /// Everything up to this commit was seen.
    pub lsn: Lsn,
    /// The greatest clock seen.
    pub hlc: Hlc,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not base64url, or of a wrong length.
    #[error("causal token is malformed")]
    Malformed,
    /// Written by a release that we do not know.
    #[error("causal token has an unknown version version={0}")]
    Version(u8),
    /// The MAC does not fit: forged, damaged, or minted under another key.
    #[error("causal token does not verify")]
    Forged,
}

/// The key of the MAC; derived from the secret in the data folder. Debug prints nothing of it.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

impl TokenKey {
    /// Derives the key from a secret of any length.
    #[must_use]
    pub fn derive(secret: &[u8]) -> TokenKey {
        TokenKey(blake3::derive_key(CONTEXT, secret))
    }

    fn mac(&self, body: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.0, body)
    }
}

impl CausalToken {
    /// The text a client carries: 76 characters.
    #[must_use]
    pub fn encode(&self, key: &TokenKey) -> String {
        let mut bytes = Vec::with_capacity(BODY + MAC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.data_set.0);
        bytes.extend_from_slice(&self.incarnation.to_be_bytes());
        bytes.extend_from_slice(&self.lsn.0.to_be_bytes());
        bytes.extend_from_slice(&self.hlc.0.to_be_bytes());
        let mac = key.mac(&bytes);
        bytes.extend_from_slice(&mac.as_bytes()[..MAC]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Verifies and reads a client's text.
    pub fn decode(text: &str, key: &TokenKey) -> Result<CausalToken, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| TokenError::Malformed)?;
        let (&version, _) = bytes.split_first().ok_or(TokenError::Malformed)?;
        if version != VERSION {
            return Err(TokenError::Version(version));
        }
        if bytes.len() != BODY + MAC {
            return Err(TokenError::Malformed);
        }
        let (body, mac) = bytes.split_at(BODY);
        if !same(&key.mac(body).as_bytes()[..MAC], mac) {
            return Err(TokenError::Forged);
        }
        let number = |at: usize| {
            let mut b = [0; 8];
            b.copy_from_slice(&body[at..at + 8]);
            u64::from_be_bytes(b)
        };
        let mut id = [0; 16];
        id.copy_from_slice(&body[1..17]);
        Ok(CausalToken { data_set: DataSetId(id), incarnation: number(17), lsn: Lsn(number(25)), hlc: Hlc(number(33)) })
    }
}

/// Compares in a time that does not depend on where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}
