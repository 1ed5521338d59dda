//! Who may come in, by which password: the first superuser by the data folder's file, every other role by the catalog's verifier.
//!
//! Invariant: a role that is not there, may not log in, has no password or one that has run out is answered as one whose password is
//! wrong, after the same work, so that nobody learns which roles there are. Cost over HTTP, where a password comes with every
//! request: one PBKDF2 the first time, a keyed hash after that until the verifier is another. Nothing here prints a password.

use crate::secret::{self, Passwords};
use parking_lot::Mutex;
use regauge_views::{Instance, catalog::rights::scram::Verifier};
use std::{collections::HashMap, fmt, sync::Arc};

/// Passwords over HTTP that are remembered as proven.
const PROVEN_MAX: usize = 1024;

/// What every door asks. Clones share it.
#[derive(Clone)]
pub struct Logins(Arc<Inner>);

struct Inner {
    passwords: Passwords,
    instance: Instance,
    key: ring::hmac::Key,
    /// By role: its verifier, and the keyed hash of the password that fits it.
    proven: Mutex<HashMap<String, (String, Vec<u8>)>>,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins(..)")
    }
}

impl Logins {
    /// Of an instance and its file of passwords.
    #[must_use]
    pub fn new(instance: Instance, passwords: Passwords) -> Logins {
        let mut key = [0; 32];
        instance.config().env.random.fill(&mut key);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
        Logins(Arc::new(Inner { passwords, instance, key, proven: Mutex::default() }))
    }

    /// The verifier of a role that may come in now.
    fn known(&self, user: &str) -> Option<Verifier> {
        if user == secret::USER {
            return self.0.passwords.verifier(user);
        }
        let rights = self.0.instance.catalog().rights.clone();
        let role = rights.named(user).and_then(|id| rights.role(id)).filter(|role| role.login)?;
        let now_us = i64::try_from(self.0.instance.config().env.clock.wall_ms().saturating_mul(1000)).unwrap_or(i64::MAX);
        if role.valid_until_us.is_some_and(|until| until <= now_us) {
            return None;
        }
        Verifier::parse(role.verifier.as_deref()?)
    }

    /// What SCRAM asks for; of a role that may not come in, something that no password meets.
    #[must_use]
    pub fn verifier(&self, user: &str) -> Verifier {
        self.known(user).unwrap_or_else(|| self.0.passwords.mock(user))
    }

    /// Whether a role has this password and may come in.
    #[must_use]
    pub fn verify(&self, user: &str, password: &str) -> bool {
        if user == secret::USER {
            return self.0.passwords.verify(user, password);
        }
        let known = self.known(user);
        let text = known.as_ref().map(ToString::to_string);
        let message = format!("{}:{user}{password}", user.len());
        if let Some(text) = &text
            && let Some((of, tag)) = self.0.proven.lock().get(user)
            && of == text
            && ring::hmac::verify(&self.0.key, message.as_bytes(), tag).is_ok()
        {
            return true;
        }
        let verifier = known.unwrap_or_else(|| self.0.passwords.mock(user));
        let fits = verifier.is_of(password);
        if let Some(text) = text.filter(|_| fits) {
            let tag = ring::hmac::sign(&self.0.key, message.as_bytes()).as_ref().to_vec();
            let mut proven = self.0.proven.lock();
            if proven.len() >= PROVEN_MAX {
                proven.clear();
            }
            proven.insert(user.to_owned(), (text, tag));
            return true;
        }
        false
    }
}
