//! What is kept of a password: PostgreSQL's verifier for SCRAM-SHA-256 (RFC 5802, RFC 7677), from which nobody gets the password.
//!
//! ```text
//!   SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>      each in base64
//!     SaltedPassword = PBKDF2-HMAC-SHA-256(SASLprep(password), salt, 4096)
//!     StoredKey = SHA-256(HMAC(SaltedPassword, "Client Key"))     ServerKey = HMAC(SaltedPassword, "Server Key")
//! ```
//! Cost: one PBKDF2, some milliseconds, for each password that is made or told in plain; a proof costs three hashes.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{digest, hmac, pbkdf2};
use std::{borrow::Cow, fmt, num::NonZeroU32};

const PREFIX: &str = "SCRAM-SHA-256$";
/// As in PostgreSQL.
pub const ITERATIONS: NonZeroU32 = match NonZeroU32::new(4096) {
    Some(n) => n,
    None => NonZeroU32::MIN,
};
/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;
const BYTES: usize = digest::SHA256_OUTPUT_LEN;

/// See the module's header.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Rounds of PBKDF2.
    pub iterations: NonZeroU32,
    /// Sent to the client.
    pub salt: Vec<u8>,
    stored_key: [u8; BYTES],
    server_key: [u8; BYTES],
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

impl Verifier {
    /// Of a password.
    #[must_use]
    pub fn new(password: &str, salt: &[u8], iterations: NonZeroU32) -> Verifier {
        // A password that SASLprep refuses is taken as it is, as PostgreSQL does.
        let prepared = stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password));
        let mut salted = [0; BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, prepared.as_bytes(), &mut salted);
        let stored_key = sha256(&mac(&salted, b"Client Key"));
        Verifier { iterations, salt: salt.to_vec(), stored_key, server_key: mac(&salted, b"Server Key") }
    }

    /// As it is written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Verifier> {
        let (head, keys) = text.strip_prefix(PREFIX)?.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let key = |text: &str| <[u8; BYTES]>::try_from(STANDARD.decode(text).ok()?).ok();
        Some(Verifier {
            iterations: iterations.parse().ok()?,
            salt: STANDARD.decode(salt).ok().filter(|s| !s.is_empty())?,
            stored_key: key(stored)?,
            server_key: key(server)?,
        })
    }

    /// Whether it is of this password.
    #[must_use]
    pub fn is_of(&self, password: &str) -> bool {
        same(&Verifier::new(password, &self.salt, self.iterations).stored_key, &self.stored_key)
    }

    /// The server's signature of an exchange, if the client's proof is that of who knows the password.
    #[must_use]
    pub fn signature(&self, exchange: &[u8], proof: &[u8]) -> Option<[u8; BYTES]> {
        let signature = mac(&self.stored_key, exchange);
        let proof = <[u8; BYTES]>::try_from(proof).ok()?;
        let mut client_key = [0; BYTES];
        for (key, (a, b)) in client_key.iter_mut().zip(proof.iter().zip(&signature)) {
            *key = a ^ b;
        }
        same(&sha256(&client_key), &self.stored_key).then(|| mac(&self.server_key, exchange))
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| STANDARD.encode(bytes);
        let (salt, stored, server) = (text(&self.salt), text(&self.stored_key), text(&self.server_key));
        write!(f, "{PREFIX}{}:{salt}${stored}:{server}", self.iterations)
    }
}

fn mac(key: &[u8], message: &[u8]) -> [u8; BYTES] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut bytes = [0; BYTES];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

fn sha256(bytes: &[u8]) -> [u8; BYTES] {
    let mut out = [0; BYTES];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Compares without stopping at the first difference.
fn same(a: &[u8; BYTES], b: &[u8; BYTES]) -> bool {
    a.iter().zip(b).fold(0, |all, (a, b)| all | std::hint::black_box(a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_exchange_of_the_rfc_is_proven() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let verifier = Verifier::new("pencil", &salt, ITERATIONS);
        let exchange = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
             r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
             c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").expect("base64");
        let signature = verifier.signature(exchange.as_bytes(), &proof).expect("proven");
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(verifier.signature(b"another exchange", &proof).is_none());
    }

    #[test]
    fn it_is_read_back_and_knows_its_password() {
        let verifier = Verifier::new("pass\u{2168}word", b"0123456789abcdef", ITERATIONS);
        let read = Verifier::parse(&verifier.to_string()).expect("its own text");
        assert_eq!(read, verifier);
        // SASLprep: U+2168 is IX.
        assert!(read.is_of("passIXword") && !read.is_of("password"));
        for bad in ["", "md5abc", "SCRAM-SHA-256$4096:AAAA", "SCRAM-SHA-256$0:AAAA$AAAA:AAAA"] {
            assert!(Verifier::parse(bad).is_none(), "{bad}");
        }
    }
}
