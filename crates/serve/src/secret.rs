//! Passwords: made at the first start, kept in the data folder, asked by every door.
//!
//! ```text
//!   file passfile (0600), as libpq reads it: host:port:database:user:password, `\` before `:` and `\`
//!   *:*:*:regauge:CkYl...        32 characters of base64url, 192 bits of chance
//! ```
//! Invariant: there is always at least one user, and the file is only ever readable by its owner; `PGPASSFILE=` and the command
//! line take it as it is. A person may edit it while the server is down. Cost: one PBKDF2 per user at opening, one comparison per
//! `verify`. It does not know protocols, and it never prints a password.

use regauge_types::{Env, ErrorKind};
use regauge_views::{
    Error, Result,
    catalog::rights::scram::{ITERATIONS, SALT_BYTES, Verifier},
    error::sqlstate as code,
};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The user that the first start makes.
pub const USER: &str = "regauge";
const FILE: &str = "passfile";
const FILE_BYTES_MAX: u64 = 1 << 20;
const PASSWORD_BYTES: usize = 24;

/// What every door asks. Clones share it.
#[derive(Clone)]
pub struct Passwords(Arc<Kept>);

struct Kept {
    path: PathBuf,
    users: BTreeMap<String, User>,
    /// Of this process: gives users that do not exist a salt that stays the same, so that one cannot ask who exists.
    mock: [u8; 32],
}

struct User {
    password: String,
    verifier: Verifier,
}

impl Passwords {
    /// Reads the folder's file, or makes it with a new password.
    pub fn open(env: &Env, dir: &Path) -> Result<Passwords> {
        let path = dir.join(FILE);
        let failed = |e: io::Error| {
            Error::new(ErrorKind::Unavailable, code::IO, format!("cannot use {FILE}: {e} path={}", path.display()))
        };
        env.disk.create_dir_all(dir).map_err(failed)?;
        if env.disk.exists(&path).map_err(failed)? {
            env.disk.make_private(&path).map_err(failed)?;
        } else {
            env.disk.replace(&path, format!("*:*:*:{USER}:{}\n", generate(env)).as_bytes(), true).map_err(failed)?;
        }
        let bytes = env.disk.read_all(&path, FILE_BYTES_MAX).map_err(failed)?;
        let passwords = String::from_utf8(bytes).ok().map(|text| parse(&text)).unwrap_or_default();
        if passwords.is_empty() {
            let message = format!("file holds no password path={}", path.display());
            return Err(Error::new(ErrorKind::Corrupt, code::CORRUPT, message)
                .hint(format!("a line reads *:*:*:{USER}:PASSWORD; without the file the next start makes a new one")));
        }
        let proven = |(user, password): (String, String)| {
            let mut salt = [0; SALT_BYTES];
            env.random.fill(&mut salt);
            let verifier = Verifier::new(&password, &salt, ITERATIONS);
            (user, User { password, verifier })
        };
        let users = passwords.into_iter().map(proven).collect();
        let mut mock = [0; 32];
        env.random.fill(&mut mock);
        Ok(Passwords(Arc::new(Kept { path, users, mock })))
    }

    /// Whether a user has this password; takes as long for a wrong one as for a right one of its length.
    #[must_use]
    pub fn verify(&self, user: &str, password: &str) -> bool {
        match self.0.users.get(user) {
            Some(known) => same(known.password.as_bytes(), password.as_bytes()),
            None => false,
        }
    }

    /// The file, for `PGPASSFILE=`.
    #[must_use]
    pub fn passfile(&self) -> PathBuf {
        self.0.path.clone()
    }

    /// What SCRAM asks for.
    #[must_use]
    pub fn verifier(&self, user: &str) -> Option<Verifier> {
        self.0.users.get(user).map(|known| known.verifier.clone())
    }

    /// What SCRAM asks for of a user that does not exist: the same each time, and no password that anybody knows meets it.
    #[must_use]
    pub fn mock(&self, user: &str) -> Verifier {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.0.mock);
        let derived = |what: &str| ring::hmac::sign(&key, format!("{what}:{user}").as_bytes()).as_ref().to_vec();
        let password: String = derived("password").iter().map(|b| format!("{b:02x}")).collect();
        Verifier::new(&password, &derived("salt")[..SALT_BYTES], ITERATIONS)
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("path", &self.0.path).field("n_users", &self.0.users.len()).finish()
    }
}

fn generate(env: &Env) -> String {
    use base64::Engine as _;
    let mut bytes = [0; PASSWORD_BYTES];
    env.random.fill(&mut bytes);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// A user and a password out of a password file's text, for a client: those of [`USER`], or else of the first user by name.
#[must_use]
pub fn login(text: &str) -> Option<(String, String)> {
    let mut users = parse(text);
    users.remove_entry(USER).or_else(|| users.pop_first())
}

/// Users and passwords of a libpq password file; the first line of a user counts, as it does there.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut users = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let [_, _, _, user, password] = fields(line).as_slice()
            && !user.is_empty()
            && !password.is_empty()
        {
            users.entry(user.clone()).or_insert_with(|| password.clone());
        }
    }
    users
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, fields.last_mut()) {
            (':', _) => fields.push(String::new()),
            ('\\', Some(field)) => field.extend(chars.next()),
            (c, Some(field)) => field.push(c),
            (_, None) => {}
        }
    }
    fields
}

/// Compares without stopping at the first difference.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| all | std::hint::black_box(a ^ b));
    a.len() == b.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_password_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().expect("folder");
        let (first, second) = (Passwords::open(&Env::real(), dir.path()), Passwords::open(&Env::real(), dir.path()));
        let (first, second) = (first.expect("made"), second.expect("read"));
        let path = first.passfile();
        assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).expect("text");
        let password = text.trim_end().strip_prefix("*:*:*:regauge:").expect("libpq's form");
        assert_eq!(password.len(), 32);
        assert!(first.verify("regauge", password) && second.verify("regauge", password));
        assert!(!first.verify("regauge", &password[1..]) && !first.verify("regauge", "") && !first.verify("other", password));
        assert!(!format!("{first:?}").contains(password));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_file_that_a_person_wrote_is_read_as_libpq_reads_it() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("passfile");
        std::fs::write(&path, "# mine\nlocalhost:5433:*:regauge:a\\:b\\\\c\n*:*:*:regauge:second\n*:*:*:other:x\n")
            .expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("mode");
        let passwords = Passwords::open(&Env::real(), dir.path()).expect("read");
        assert!(
            passwords.verify("regauge", "a:b\\c") && !passwords.verify("regauge", "second") && passwords.verify("other", "x")
        );
        assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "nothing").expect("write");
        assert!(Passwords::open(&Env::real(), dir.path()).is_err());
    }

    #[test]
    fn a_user_that_does_not_exist_looks_like_one_that_does() {
        let dir = tempfile::tempdir().expect("folder");
        let passwords = Passwords::open(&Env::real(), dir.path()).expect("made");
        let (one, again, other) = (passwords.mock("eve"), passwords.mock("eve"), passwords.mock("mallory"));
        let known = passwords.verifier(USER).expect("the first user");
        assert_eq!((one.salt.len(), one.iterations, &one.salt), (known.salt.len(), known.iterations, &again.salt));
        assert_ne!(one.salt, other.salt);
    }
}
