//! Values of SECRET objects: encrypted files beside the journal, which knows their names only.
//!
//! ```text
//!   secrets/key            32 bytes in hexadecimal (0600), unless the process was given a key
//!   secrets/<32 digits>    version 1 (1 byte) · nonce (12) · ChaCha20-Poly1305 of the value, with the file's name as what is authenticated
//! ```
//! Invariant: a value is in memory where it was asked for, encrypted on disk, and nowhere else: the catalog's events hold the name of
//! the file, never what is in it. A value that is changed gets a file of its own, written just before the commit that names it and
//! removed if that is not to be, so that of a transaction which is rolled back nothing is left. A file that no secret names is removed
//! when the secret has left it, or when the folder is opened next. Promised to whom has the files without the key: nothing can be read
//! and nothing exchanged. Not promised: anything against whom has both; that a disk forgets what was removed from it. Cost: a file for
//! each value. It does not know roles.

use crate::error::{Error, Result, sqlstate as code};
use parking_lot::Mutex;
use regauge_types::{Env, ErrorKind};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::{
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
};

const FOLDER: &str = "secrets";
const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
const VERSION: u8 = 1;
/// Bytes of a value.
pub const VALUE_MAX: usize = 64 << 10;
/// Digits of a file's name.
const NAME_DIGITS: usize = 32;

/// A value that is not shown by who prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

impl SecretValue {
    /// A value.
    #[must_use]
    pub fn new(value: String) -> SecretValue {
        SecretValue(value)
    }

    /// It, for who hands it to where it is needed.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

/// A key that the process was given, in the place of the folder's.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; KEY_BYTES]);

impl SecretKey {
    /// 64 digits of hexadecimal.
    #[must_use]
    pub fn parse(text: &str) -> Option<SecretKey> {
        let text = text.trim();
        let mut bytes = [0; KEY_BYTES];
        if text.len() != 2 * KEY_BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(SecretKey(bytes))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// The files of a data folder.
pub struct Secrets {
    env: Env,
    dir: PathBuf,
    given: Option<SecretKey>,
    /// One writer at a time, since the key is made by the first.
    writing: Mutex<()>,
}

impl Secrets {
    /// Those of a data folder; nothing is made before the first one is kept.
    #[must_use]
    pub fn of(env: Env, data: &Path, given: Option<SecretKey>) -> Secrets {
        Secrets { env, dir: data.join(FOLDER), given, writing: Mutex::new(()) }
    }

    /// A name for the file of a value, which no other has.
    pub fn new_name(&self, value: &SecretValue) -> Result<String> {
        let bytes = value.0.len();
        if bytes > VALUE_MAX {
            return Err(Error::invalid(
                code::LIMIT_EXCEEDED,
                format!("the value of a secret is too long bytes={bytes} max={VALUE_MAX}"),
            ));
        }
        let mut name = [0; NAME_DIGITS / 2];
        self.env.random.fill(&mut name);
        Ok(hex(&name))
    }

    /// Keeps a value in the file of a name.
    pub fn keep(&self, name: &str, value: &SecretValue) -> Result<()> {
        let _one = self.writing.lock();
        self.env.disk.create_dir_durable(&self.dir).map_err(unusable)?;
        let key = self.key(true)?;
        let mut nonce = [0; NONCE_LEN];
        self.env.random.fill(&mut nonce);
        let mut sealed = value.0.as_bytes().to_vec();
        let done = key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name.as_bytes()), &mut sealed);
        done.map_err(|_| Error::internal("a secret cannot be encrypted"))?;
        let bytes = [[VERSION].as_slice(), &nonce, &sealed].concat();
        self.env.disk.replace(&self.dir.join(name), &bytes, true).map_err(unusable)
    }

    /// The value of a file.
    pub fn read(&self, name: &str) -> Result<SecretValue> {
        let lost = |why: &str| {
            let error = Error::new(ErrorKind::Corrupt, code::CORRUPT, format!("a secret cannot be read: {why}"));
            error.hint("ALTER SECRET .. AS gives it a value again")
        };
        if !is_name(name) {
            return Err(lost("its file has no such name"));
        }
        let most = (VALUE_MAX + 1 + NONCE_LEN + CHACHA20_POLY1305.tag_len()) as u64;
        let mut bytes = self.env.disk.read_all(&self.dir.join(name), most).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => lost("its file is not there"),
            _ => unusable(e),
        })?;
        let rest = match bytes.split_first_mut() {
            Some((version, rest)) if *version == VERSION => rest,
            _ => return Err(lost("its file is of another release")),
        };
        let Some((nonce, sealed)) = rest.split_first_chunk_mut::<NONCE_LEN>() else { return Err(lost("its file is cut")) };
        let opened = self.key(false)?.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(name.as_bytes()), sealed);
        let value = opened.map_err(|_| lost("it was encrypted with another key, or its file is damaged"))?;
        let text = std::str::from_utf8(value).map_err(|_| lost("its value is no text"))?;
        Ok(SecretValue(text.to_owned()))
    }

    /// Removes the files that are no secret's.
    pub fn retain(&self, named: &BTreeSet<String>) -> Result<()> {
        if !self.env.disk.exists(&self.dir).map_err(unusable)? {
            return Ok(());
        }
        let _one = self.writing.lock();
        for name in self.env.disk.list(&self.dir).map_err(unusable)? {
            let stem = name.strip_suffix(".tmp").unwrap_or(&name);
            if is_name(stem) && (stem != name || !named.contains(stem)) {
                self.env.disk.remove(&self.dir.join(&name)).map_err(unusable)?;
            }
        }
        self.env.disk.sync_dir(&self.dir).map_err(unusable)
    }

    /// Removes one file.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        if is_name(name) && self.env.disk.exists(&path).map_err(unusable)? {
            self.env.disk.remove(&path).map_err(unusable)?;
            self.env.disk.sync_dir(&self.dir).map_err(unusable)?;
        }
        Ok(())
    }

    fn key(&self, make: bool) -> Result<LessSafeKey> {
        let SecretKey(bytes) = match &self.given {
            Some(given) => given.clone(),
            None => self.own_key(make)?,
        };
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| Error::internal("a key has no 32 bytes"))?;
        Ok(LessSafeKey::new(key))
    }

    /// The folder's key, made if it is the first that is asked for.
    fn own_key(&self, make: bool) -> Result<SecretKey> {
        let path = self.dir.join(KEY_FILE);
        if self.env.disk.exists(&path).map_err(unusable)? {
            self.env.disk.make_private(&path).map_err(unusable)?;
            let text = self.env.disk.read_all(&path, 1 << 10).map_err(unusable)?;
            let key = std::str::from_utf8(&text).ok().and_then(SecretKey::parse);
            let message = "the key of the secrets cannot be read";
            return key.ok_or_else(|| Error::new(ErrorKind::Corrupt, code::CORRUPT, message));
        }
        let kept = self.env.disk.list(&self.dir).map_err(unusable)?.iter().any(|name| is_name(name));
        if !make || kept {
            let error = Error::new(ErrorKind::NotFound, code::UNDEFINED_OBJECT, "the key of the secrets is not there");
            return Err(error.hint("put back the file secrets/key of the data folder, or name the file of the key (--secret-key-file); or DROP the secrets"));
        }
        let mut bytes = [0; KEY_BYTES];
        self.env.random.fill(&mut bytes);
        self.env.disk.replace(&path, hex(&bytes).as_bytes(), true).map_err(unusable)?;
        Ok(SecretKey(bytes))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn is_name(name: &str) -> bool {
    name.len() == NAME_DIGITS && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn unusable(error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, code::IO, format!("cannot use the folder of secrets: {error}"))
}
