//! Privileges as a set, under PostgreSQL's letters and words.
//!
//! ```text
//!   r SELECT   a INSERT   w UPDATE   d DELETE   D TRUNCATE   x REFERENCES   t TRIGGER      relations
//!   U USAGE    C CREATE   c CONNECT  T TEMPORARY                                          schemas, sequences, the database
//!   X EXECUTE                                                                             functions
//! ```
//! The letters go to the catalog's events and do not change their meaning.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

/// A set of privileges.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Privileges(u16);

/// In PostgreSQL's order: a letter and a word each.
const ALL: [(Privileges, char, &str); 12] = [
    (Privileges::INSERT, 'a', "INSERT"),
    (Privileges::SELECT, 'r', "SELECT"),
    (Privileges::UPDATE, 'w', "UPDATE"),
    (Privileges::DELETE, 'd', "DELETE"),
    (Privileges::TRUNCATE, 'D', "TRUNCATE"),
    (Privileges::REFERENCES, 'x', "REFERENCES"),
    (Privileges::TRIGGER, 't', "TRIGGER"),
    (Privileges::EXECUTE, 'X', "EXECUTE"),
    (Privileges::USAGE, 'U', "USAGE"),
    (Privileges::CREATE, 'C', "CREATE"),
    (Privileges::TEMPORARY, 'T', "TEMPORARY"),
    (Privileges::CONNECT, 'c', "CONNECT"),
];

#[allow(missing_docs)]
impl Privileges {
    pub const NONE: Privileges = Privileges(0);
    pub const INSERT: Privileges = Privileges(1);
    pub const SELECT: Privileges = Privileges(1 << 1);
    pub const UPDATE: Privileges = Privileges(1 << 2);
    pub const DELETE: Privileges = Privileges(1 << 3);
    pub const TRUNCATE: Privileges = Privileges(1 << 4);
    pub const REFERENCES: Privileges = Privileges(1 << 5);
    pub const TRIGGER: Privileges = Privileges(1 << 6);
    pub const EXECUTE: Privileges = Privileges(1 << 7);
    pub const USAGE: Privileges = Privileges(1 << 8);
    pub const CREATE: Privileges = Privileges(1 << 9);
    pub const TEMPORARY: Privileges = Privileges(1 << 10);
    pub const CONNECT: Privileges = Privileges(1 << 11);
}

impl Privileges {
    /// Whatever there is.
    pub(super) const EVERY: Privileges = Privileges(u16::MAX);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Privileges) -> Privileges {
        Privileges(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Privileges) -> Privileges {
        Privileges(self.0 & other.0)
    }

    /// The first without the second.
    #[must_use]
    pub const fn without(self, other: Privileges) -> Privileges {
        Privileges(self.0 & !other.0)
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn has(self, other: Privileges) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether it holds nothing.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many it holds.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// A privilege by its word, in any case.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Privileges> {
        if word.eq_ignore_ascii_case("temp") {
            return Some(Privileges::TEMPORARY);
        }
        ALL.iter().find(|(_, _, w)| w.eq_ignore_ascii_case(word)).map(|(p, _, _)| *p)
    }

    /// Each one with its letter and word.
    pub fn each(self) -> impl Iterator<Item = (Privileges, char, &'static str)> {
        ALL.into_iter().filter(move |(p, _, _)| self.has(*p))
    }

    /// Words, joined by commas.
    #[must_use]
    pub fn words(self) -> String {
        self.each().map(|(_, _, word)| word).collect::<Vec<_>>().join(", ")
    }

    /// Letters.
    #[must_use]
    pub fn letters(self) -> String {
        self.each().map(|(_, letter, _)| letter).collect()
    }
}

impl fmt::Debug for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.letters())
    }
}

impl Serialize for Privileges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.letters())
    }
}

impl<'de> Deserialize<'de> for Privileges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Privileges, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.chars().try_fold(Privileges::NONE, |all, letter| {
            let found = ALL.iter().find(|(_, l, _)| *l == letter);
            found.map(|(p, _, _)| all.with(*p)).ok_or_else(|| D::Error::custom(format!("unknown privilege letter={letter:?}")))
        })
    }
}

/// Kinds of things that privileges are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Tables, streams, views.
    Relation,
    /// Sequences.
    Sequence,
    /// Schemas.
    Schema,
    /// The database.
    Database,
    /// Functions.
    Function,
    /// Secrets.
    Secret,
}

impl Kind {
    /// All that there are on such a thing: what its owner has.
    #[must_use]
    pub fn all(self) -> Privileges {
        use Privileges as P;
        match self {
            Kind::Relation => {
                P::INSERT.with(P::SELECT).with(P::UPDATE).with(P::DELETE).with(P::TRUNCATE).with(P::REFERENCES).with(P::TRIGGER)
            }
            Kind::Sequence => P::SELECT.with(P::UPDATE).with(P::USAGE),
            Kind::Schema => P::USAGE.with(P::CREATE),
            Kind::Database => P::CREATE.with(P::TEMPORARY).with(P::CONNECT),
            Kind::Function => P::EXECUTE,
            Kind::Secret => P::USAGE,
        }
    }

    /// What everybody has before anything was granted.
    #[must_use]
    pub fn world(self) -> Privileges {
        match self {
            Kind::Database => Privileges::TEMPORARY.with(Privileges::CONNECT),
            Kind::Function => Privileges::EXECUTE,
            _ => Privileges::NONE,
        }
    }

    /// As statements and errors name the kind.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Relation => "relation",
            Kind::Sequence => "sequence",
            Kind::Schema => "schema",
            Kind::Database => "database",
            Kind::Function => "function",
            Kind::Secret => "secret",
        }
    }

    /// `defaclobjtype` of `pg_default_acl`.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Kind::Relation => "r",
            Kind::Sequence => "S",
            Kind::Schema => "n",
            Kind::Database => "d",
            Kind::Function => "f",
            Kind::Secret => "x",
        }
    }
}
