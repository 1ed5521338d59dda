//! A role: its name, what it may do besides privileges on objects, and how it proves who it is.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A role's identity: stable under rename, never used again after a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoleId(pub u32);

impl RoleId {
    /// Everybody.
    pub const PUBLIC: RoleId = RoleId(0);
    /// The superuser that every instance has; it owns what nobody else owns.
    pub const BOOTSTRAP: RoleId = RoleId(10);
}

/// Its name.
pub const BOOTSTRAP: &str = "regauge";

/// A role.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Unique.
    pub name: String,
    /// Nothing is denied to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superuser: bool,
    /// It has what the roles have that it is a member of, without SET ROLE.
    pub inherit: bool,
    /// It may make roles.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub createrole: bool,
    /// Kept and shown; there is one database.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub createdb: bool,
    /// It may connect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub login: bool,
    /// Until when its password is good, in microseconds of Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until_us: Option<i64>,
    /// What its password is proven against, see [`super::scram`]; none: it has no password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<String>,
}

impl Role {
    /// As CREATE ROLE makes it without a word.
    #[must_use]
    pub fn new(name: &str) -> Role {
        Role {
            name: name.to_owned(),
            superuser: false,
            inherit: true,
            createrole: false,
            createdb: false,
            login: false,
            valid_until_us: None,
            verifier: None,
        }
    }

    pub(super) fn bootstrap() -> Role {
        Role { superuser: true, createrole: true, createdb: true, login: true, ..Role::new(BOOTSTRAP) }
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role").field("name", &self.name).field("superuser", &self.superuser).finish_non_exhaustive()
    }
}
