//! What is said to who may not: PostgreSQL's words, and what would help.

use super::{Privileges, Rights, RoleId};
use crate::error::Error;
use regauge_types::ErrorKind;
use std::fmt::Display;

/// SQLSTATE `insufficient_privilege`.
pub(crate) const SQLSTATE: &str = "42501";

/// An error of [`SQLSTATE`].
pub(crate) fn error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Denied, SQLSTATE, message)
}

/// `permission denied for table t`
pub(super) fn privilege(rights: &Rights, role: RoleId, missing: Privileges, word: &str, name: impl Display) -> Error {
    let on = match word {
        "sequence" | "schema" | "database" => format!("{word} {name}"),
        _ => name.to_string(),
    };
    let hint = format!("its owner can GRANT {} ON {on} TO {}", missing.words(), rights.name(role));
    error(format!("permission denied for {word} {name}")).hint(hint)
}

/// `must be owner of table t`
pub(crate) fn ownership(word: &str, name: impl Display) -> Error {
    error(format!("must be owner of {word} {name}")).hint("its owner, a member of that role, or a superuser can")
}

/// A role that is not there.
pub(crate) fn no_role(name: &str) -> Error {
    let message = format!("role \"{name}\" does not exist");
    Error::new(ErrorKind::NotFound, crate::error::sqlstate::UNDEFINED_OBJECT, message).hint("\\du lists roles")
}
