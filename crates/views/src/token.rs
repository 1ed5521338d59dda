//! Tokens of this instance: which data they speak of, and the key they are authenticated with.
//!
//! ```text
//!   file token.key (0600): magic "rgtk0001" · data set 16 bytes · incarnation 8 bytes big-endian · secret 32 bytes
//!                          · first 8 bytes of blake3 of the above; a file of an older release ends before it
//! ```
//! Invariant: the file is made once and never changes; who has it can mint tokens. A token from other data, another incarnation
//! or another key is refused and moves nothing.

use crate::error::{Error, Result, sqlstate as code};
use regauge_types::{CausalToken, DataSetId, Env, ErrorKind, Hlc, Lsn, TokenKey};
use std::{io, path::Path};

const MAGIC: &[u8; 8] = b"rgtk0001";
const LEN: usize = 8 + 16 + 8 + 32;
const SUM: usize = 8;
const FILE: &str = "token.key";

/// What a session has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Everything up to here.
    pub lsn: Lsn,
    /// The greatest clock.
    pub hlc: Hlc,
}

impl Seen {
    /// Takes in more.
    pub fn observe(&mut self, lsn: Lsn, hlc: Hlc) {
        self.lsn = self.lsn.max(lsn);
        self.hlc = self.hlc.max(hlc);
    }
}

/// Mints and verifies.
#[derive(Clone, Debug)]
pub struct Mint {
    data_set: DataSetId,
    incarnation: u64,
    key: TokenKey,
}

fn sum(bytes: &[u8]) -> [u8; SUM] {
    let mut first = [0; SUM];
    first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..SUM]);
    first
}

impl Mint {
    /// Reads the folder's file, or makes it.
    pub fn open(env: &Env, dir: &Path) -> Result<Mint> {
        let path = dir.join(FILE);
        let failed = |e: io::Error| {
            Error::new(ErrorKind::Unavailable, code::IO, format!("cannot use {FILE}: {e} path={}", path.display()))
        };
        if !env.disk.exists(&path).map_err(failed)? {
            let mut bytes = [0; LEN];
            env.random.fill(&mut bytes);
            bytes[..8].copy_from_slice(MAGIC);
            bytes[24..32].copy_from_slice(&1u64.to_be_bytes());
            env.disk.replace(&path, &[&bytes[..], &sum(&bytes)].concat(), true).map_err(failed)?;
        }
        let bytes = env.disk.read_all(&path, 4096).map_err(failed)?;
        Mint::parse(&bytes).ok_or_else(|| {
            let message = format!("file does not hold a token key path={}", path.display());
            Error::new(ErrorKind::Corrupt, code::CORRUPT, message)
                .hint("restore it from a backup; removing it makes old tokens invalid")
        })
    }

    fn parse(bytes: &[u8]) -> Option<Mint> {
        let (bytes, rest) = bytes.split_at_checked(LEN)?;
        if !bytes.starts_with(MAGIC) || !(rest.is_empty() || rest == sum(bytes)) {
            return None;
        }
        let data_set = DataSetId(bytes[8..24].try_into().ok()?);
        let incarnation = u64::from_be_bytes(bytes[24..32].try_into().ok()?);
        Some(Mint { data_set, incarnation, key: TokenKey::derive(&bytes[32..]) })
    }

    /// Whether a folder's file holds a key, looked at without making one; `None` if there is none.
    pub fn check(env: &Env, dir: &Path) -> io::Result<Option<bool>> {
        let path = dir.join(FILE);
        if !env.disk.exists(&path)? {
            return Ok(None);
        }
        Ok(Some(Mint::parse(&env.disk.read_all(&path, 4096)?).is_some()))
    }

    /// What a session carries to the next.
    #[must_use]
    pub fn mint(&self, seen: Seen) -> String {
        let token = CausalToken { data_set: self.data_set, incarnation: self.incarnation, lsn: seen.lsn, hlc: seen.hlc };
        token.encode(&self.key)
    }

    /// What a client says it has seen.
    pub fn verify(&self, text: &str) -> Result<Seen> {
        let hint = "take it as SHOW regauge.token gave it, from this instance";
        let refused = |message: String| Error::invalid(code::INVALID_PARAMETER, message).hint(hint);
        let token = CausalToken::decode(text, &self.key).map_err(|e| refused(e.to_string()))?;
        if token.data_set != self.data_set || token.incarnation != self.incarnation {
            return Err(refused(format!("causal token is of other data data_set={}", token.data_set)));
        }
        Ok(Seen { lsn: token.lsn, hlc: token.hlc })
    }

    /// What stands beside a record as its cause: lsn and clock, 16 bytes big-endian.
    #[must_use]
    pub fn cause(seen: Seen) -> Option<[u8; 16]> {
        if seen.lsn == Lsn::ZERO {
            return None;
        }
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seen.lsn.0.to_be_bytes());
        bytes[8..].copy_from_slice(&seen.hlc.0.to_be_bytes());
        Some(bytes)
    }
}
