//! What a statement fails with: the kind tells a program what to do, the SQLSTATE tells a driver, message, detail and hint tell a
//! person, the hint being what to type next.
//!
//! Every error of a crate below is translated here and nowhere else, so that one cause has one SQLSTATE.

use crate::catalog::Name;
use regauge_types::ErrorKind;
use std::fmt;

/// SQLSTATE codes: PostgreSQL's where one fits, `RG...` where none does.
#[allow(missing_docs)]
pub mod sqlstate {
    pub const SUCCESSFUL: &str = "00000";
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub const CONNECTION_DOES_NOT_EXIST: &str = "08003";
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    pub const CARDINALITY: &str = "21000";
    pub const STRING_TOO_LONG: &str = "22001";
    pub const NUMERIC_OUT_OF_RANGE: &str = "22003";
    pub const DIVISION_BY_ZERO: &str = "22012";
    pub const INVALID_PARAMETER: &str = "22023";
    pub const INVALID_TEXT: &str = "22P02";
    pub const BAD_COPY: &str = "22P04";
    pub const NOT_IN_REPERTOIRE: &str = "22021";
    pub const NOT_NULL: &str = "23502";
    pub const UNIQUE: &str = "23505";
    pub const ACTIVE_TRANSACTION: &str = "25001";
    pub const NO_ACTIVE_TRANSACTION: &str = "25P01";
    pub const FAILED_TRANSACTION: &str = "25P02";
    pub const DEPENDENT_OBJECTS: &str = "2BP01";
    pub const INVALID_SCHEMA: &str = "3F000";
    pub const SERIALIZATION: &str = "40001";
    pub const SYNTAX: &str = "42601";
    pub const SNAPSHOT_TOO_OLD: &str = "72000";
    pub const DUPLICATE_COLUMN: &str = "42701";
    pub const UNDEFINED_COLUMN: &str = "42703";
    pub const UNDEFINED_OBJECT: &str = "42704";
    pub const DATATYPE_MISMATCH: &str = "42804";
    pub const WRONG_OBJECT: &str = "42809";
    pub const UNDEFINED_TABLE: &str = "42P01";
    pub const DUPLICATE_FUNCTION: &str = "42723";
    pub const DUPLICATE_TABLE: &str = "42P07";
    pub const DUPLICATE_SCHEMA: &str = "42P06";
    pub const CHECK: &str = "23514";
    pub const INVALID_TABLE_DEFINITION: &str = "42P16";
    pub const INDETERMINATE_TYPE: &str = "42P18";
    pub const OUT_OF_MEMORY: &str = "53200";
    pub const DISK_FULL: &str = "53100";
    pub const LIMIT_EXCEEDED: &str = "54000";
    pub const IN_USE: &str = "55006";
    pub const CANT_CHANGE_NOW: &str = "55P02";
    pub const QUERY_CANCELED: &str = "57014";
    pub const SHUTDOWN: &str = "57P01";
    pub const CRASHED: &str = "57P02";
    pub const IO: &str = "58030";
    pub const INTERNAL: &str = "XX000";
    pub const CORRUPT: &str = "XX001";
    pub const CAUSAL_TIMEOUT: &str = "RG001";
    pub const VIEW_ERRORED: &str = "RG002";
    pub const VOLATILE: &str = "RG003";
    pub const VERSION_NOT_READY: &str = "RG004";
    pub const FENCED: &str = "RG005";
}
use sqlstate as code;

/// Why a statement failed.
#[derive(Clone, Debug)]
pub struct Error {
    /// What the caller can do about it.
    pub kind: ErrorKind,
    /// Five characters, see [`sqlstate`].
    pub sqlstate: &'static str,
    /// What happened, lowercase.
    pub message: String,
    /// More of it.
    pub detail: Option<String>,
    /// What to type next.
    pub hint: Option<String>,
    /// Where in the statement's text, in characters from 1.
    pub position: Option<u32>,
    /// What it is about, for programs; boxed, because few errors have it.
    pub subject: Option<Box<Subject>>,
}

/// The relation, column and constraint that an error is about: fields of their own on the wire, so that a program need not read
/// the message. Constraints have the names that PostgreSQL gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The relation.
    pub relation: Name,
    /// Its column.
    pub column: Option<String>,
    /// Its constraint.
    pub constraint: Option<String>,
}

/// What fallible functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind, a code and a message.
    pub fn new(kind: ErrorKind, sqlstate: &'static str, message: impl Into<String>) -> Error {
        Error { kind, sqlstate, message: message.into(), detail: None, hint: None, position: None, subject: None }
    }

    /// Wrong input.
    pub fn invalid(sqlstate: &'static str, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, sqlstate, message)
    }

    /// Understood, and not offered.
    pub fn unsupported(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unsupported, code::FEATURE_NOT_SUPPORTED, message)
    }

    /// An invariant of ours does not hold.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Internal, code::INTERNAL, message)
    }

    /// Somebody else committed first.
    pub fn conflict(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Conflict, code::SERIALIZATION, message).hint("run the transaction again")
    }

    /// A relation that is not there.
    pub fn no_relation(name: impl fmt::Display) -> Error {
        Error::new(ErrorKind::NotFound, code::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
    }

    /// A column that is not there.
    pub fn no_column(column: &str, relation: impl fmt::Display) -> Error {
        let message = format!("column \"{column}\" of relation \"{relation}\" does not exist");
        Error::new(ErrorKind::NotFound, code::UNDEFINED_COLUMN, message)
    }

    /// The statement was cancelled.
    pub fn canceled(why: &str) -> Error {
        Error::new(ErrorKind::Unavailable, code::QUERY_CANCELED, format!("canceling statement due to {why}"))
    }

    /// A kernel failed on columns that were checked before: ours to explain.
    #[allow(clippy::needless_pass_by_value, reason = "goes to map_err")]
    pub fn arrow(error: arrow::error::ArrowError) -> Error {
        Error::internal(error.to_string())
    }

    /// With more of what happened.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Error {
        self.detail = Some(detail.into());
        self
    }

    /// Of a relation's constraint.
    #[must_use]
    pub fn of_constraint(mut self, relation: &Name, constraint: &str) -> Error {
        self.subject =
            Some(Box::new(Subject { relation: relation.clone(), column: None, constraint: Some(constraint.to_owned()) }));
        self
    }

    /// Of a relation's column.
    #[must_use]
    pub fn of_column(mut self, relation: &Name, column: &str) -> Error {
        self.subject = Some(Box::new(Subject { relation: relation.clone(), column: Some(column.to_owned()), constraint: None }));
        self
    }

    /// The column that it says to be its subject.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        self.subject.as_ref()?.column.as_deref()
    }

    /// The constraint that it says to be its subject.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        self.subject.as_ref()?.constraint.as_deref()
    }

    /// What to type next: its own hint, else what goes for every error of its code.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref().or_else(|| self.of_system_column()).or_else(|| advice(self.sqlstate))
    }

    /// What goes for a column that PostgreSQL's tables have besides their own.
    fn of_system_column(&self) -> Option<&'static str> {
        let is_missing = self.sqlstate == code::UNDEFINED_COLUMN;
        let words = || self.message.split(|c: char| !c.is_alphanumeric() && c != '_');
        let names = |all: &[&str]| is_missing && words().any(|word| all.contains(&word));
        match () {
            () if names(&["ctid", "xmin", "xmax", "cmin", "cmax"]) => {
                Some("rows have neither a place nor a transaction's number here: name them by the table's primary key")
            }
            () if names(&["tableoid"]) => {
                Some("a row is of the table that it is read from: 't'::regclass::oid gives that one's number")
            }
            () => None,
        }
    }

    /// With what to type next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }
}

/// What goes for every error of a code, where no better is known at the place of the mistake.
fn advice(sqlstate: &str) -> Option<&'static str> {
    Some(match sqlstate {
        code::SYNTAX => "the statement is wrong at or before the place that is named; statements are described in docs/sql.md",
        "42883" => "look at the number and the types of the arguments; a cast may help, docs/functions.md lists what there is",
        code::UNDEFINED_TABLE => "SHOW TABLES and SHOW VIEWS list what there is; a schema may have to be named",
        code::UNDEFINED_COLUMN => "DESCRIBE lists the columns of a relation",
        code::UNDEFINED_OBJECT => "look at its spelling; names in double quotes keep their case",
        code::DUPLICATE_TABLE => "take another name, DROP what is there, or write IF NOT EXISTS",
        code::DATATYPE_MISMATCH => "cast the value to the type that is expected",
        code::INVALID_TEXT => "write the value in the form of the type that is expected",
        code::NUMERIC_OUT_OF_RANGE => "cast to a wider type first, such as bigint or numeric",
        code::DIVISION_BY_ZERO => "NULLIF(divisor, 0) gives NULL instead",
        code::BAD_COPY => "each row needs as many fields as columns are named, in the format that COPY was told",
        code::NOT_IN_REPERTOIRE => "text is UTF-8 without NUL; other bytes are stored as bytea",
        code::STRING_TOO_LONG => "shorten the value, or take a longer type",
        code::NOT_NULL => "give the column a value, or a DEFAULT",
        code::UNIQUE => "INSERT .. ON CONFLICT says what to do with a key that is there",
        code::LIMIT_EXCEEDED | "54001" | "54011" => "split the statement, or do it in smaller parts",
        code::QUERY_CANCELED => "run it again, with a larger statement_timeout if that ended it",
        code::FAILED_TRANSACTION => "ROLLBACK",
        code::SERIALIZATION => "run the transaction again",
        _ => return None,
    })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.sqlstate)?;
        if let Some(detail) = &self.detail {
            write!(f, "; {detail}")?;
        }
        if let Some(hint) = self.advice() {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
